package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // date literals need zones everywhere

	"github.com/catalogsync/catalogsync/simulator/fault"
	"github.com/catalogsync/catalogsync/simulator/internal/bulk"
	"github.com/catalogsync/catalogsync/simulator/internal/oauth"
	"github.com/catalogsync/catalogsync/simulator/internal/rest"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/seed"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
	"github.com/catalogsync/catalogsync/simulator/ledger"
)

// Server is one org with everything around it. Its methods may be called at the same time.
type Server struct {
	URL        string // origin under Start: "http://127.0.0.1:43817"; empty after New
	ControlURL string // origin of the control API under Start with ControlListen

	opts   Options
	db     *store.DB
	ledger *ledger.Ledger
	faults *fault.Plan
	pipe   *save.Pipeline
	oauth  *oauth.Server
	rest   *rest.API
	bulk   *bulk.Jobs
	front  *front
	seeded seed.Result

	mu      sync.Mutex
	servers []*http.Server
	closed  chan struct{}
	lates   sync.WaitGroup
}

func (o *Options) defaults() error {
	set := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	set(&o.ClientID, "simulator-client")
	set(&o.ClientSecret, "simulator-secret")
	set(&o.Username, "admin@simulator.example")
	set(&o.Password, "simulator-password")
	set(&o.APIVersion, "67.0")
	set(&o.Listen, "127.0.0.1:0")
	o.APIVersion = strings.TrimPrefix(o.APIVersion, "v")
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.DailyLimit == 0 {
		o.DailyLimit = 100_000
	}
	if o.SessionTimeout == 0 {
		o.SessionTimeout = 2 * time.Hour
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(o.APIVersion, ".0"))
	switch {
	case err != nil || n < 47 || n > 99:
		return fmt.Errorf("api version %q: want 47.0 or newer, such as 67.0", o.APIVersion)
	case o.DailyLimit < 0 || o.BulkRate < 0 || o.BulkQueryRate < 0 || o.Latency < 0 || o.SessionTimeout < 0:
		return errors.New("daily limit, bulk rate, latency and session time-out must not be negative")
	case strings.Contains(o.Listen, "salesforce.com") || strings.Contains(o.Listen, "force.com"):
		return fmt.Errorf("listen address %q: a simulator must not answer for Salesforce's own hosts", o.Listen)
	}
	return nil
}

// New makes an org without listening anywhere.
func New(o Options) (*Server, error) {
	if err := o.defaults(); err != nil {
		return nil, fmt.Errorf("simulator options: %w", err)
	}
	sch, err := schema.New()
	if err != nil {
		return nil, err
	}
	if o.StateCountryPicklists {
		if err := sch.StateCodes(); err != nil {
			return nil, err
		}
	}
	for _, spec := range o.ExternalIDFields {
		if _, _, err := sch.AddExternalID(spec); err != nil {
			return nil, fmt.Errorf("simulator options: %w", err)
		}
	}
	s := &Server{opts: o, ledger: ledger.New(), faults: fault.NewPlan(o.Seed), closed: make(chan struct{})}
	restored, err := s.openDB(sch)
	if err != nil {
		return nil, err
	}
	s.pipe = save.New(s.db, s.ledger, s.faults)
	newest, _ := strconv.Atoi(strings.TrimSuffix(o.APIVersion, ".0"))
	s.rest = rest.New(s.db, s.pipe, s.seeded.OrgID, newest, o.DailyLimit)
	s.oauth = oauth.New(oauth.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, Password: o.Password, SecurityToken: o.SecurityToken, RedirectURIs: o.RedirectURIs,
		JWTCerts: o.JWTCerts, Rotation: o.Rotation, SessionTimeout: o.SessionTimeout, RunAs: s.seeded.AdminID, OrgID: s.seeded.OrgID, Latest: o.APIVersion,
	}, s.db)
	s.bulk = bulk.New(s.db, s.pipe, s.faults, bulk.Config{Rate: o.BulkRate, QueryRate: o.BulkQueryRate, Seed: o.Seed, Ordered: o.OrderedResults, Contention: o.LockContention})
	s.front = &front{s: s, routes: map[string]int64{}}
	if restored {
		s.opts.SeedRecords, s.opts.SampleCases, s.opts.RecordTypes = nil, false, nil
	}
	if err := s.fill(); err != nil {
		return nil, err
	}
	return s, nil
}

// openDB reads the state file or, without one, makes a new org.
func (s *Server) openDB(sch *schema.Schema) (restored bool, err error) {
	if s.opts.StateFile != "" {
		f, err := os.Open(s.opts.StateFile)
		switch {
		case err == nil:
			defer f.Close()
			if s.db, s.opts.Seed, err = store.Load(f, sch, seed.Index); err != nil {
				return false, fmt.Errorf("state file %s: %w", s.opts.StateFile, err)
			}
			s.seeded = seed.Result{OrgID: s.db.FixedID("00D", 1), AdminID: s.db.FixedID("005", 1)}
			return true, nil
		case !errors.Is(err, os.ErrNotExist):
			return false, fmt.Errorf("state file: %w", err)
		}
	}
	s.db = store.New(sch, s.opts.Seed)
	s.seeded = seed.Org(s.db, s.opts.Username, edition(s.opts.DailyLimit))
	return false, nil
}

// SaveState writes a snapshot of all records and custom fields; the file is whole or not there.
func (s *Server) SaveState(file string) error {
	tmp := file + ".new"
	f, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	if err := errors.Join(s.db.Save(f, s.opts.Seed), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("state file %s: %w", tmp, err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	return nil
}

func edition(limit int) string {
	if limit <= 15_000 {
		return "Developer Edition"
	}
	return "Enterprise Edition"
}

// fill loads faults and makes the seed records.
func (s *Server) fill() error {
	if s.opts.FaultsFile != "" {
		data, err := os.ReadFile(s.opts.FaultsFile)
		if err != nil {
			return fmt.Errorf("faults file: %w", err)
		}
		var rules []fault.Rule
		if err := json.Unmarshal(data, &rules); err != nil {
			return fmt.Errorf("faults file %s: %w", s.opts.FaultsFile, err)
		}
		if err := s.faults.Add(rules...); err != nil {
			return fmt.Errorf("faults file %s: %w", s.opts.FaultsFile, err)
		}
	}
	for _, spec := range s.opts.RecordTypes {
		object, name, _ := strings.Cut(spec, ".")
		label := strings.ReplaceAll(name, "_", " ")
		if _, err := s.Create("RecordType", map[string]string{"SobjectType": object, "DeveloperName": name, "Name": label, "IsActive": "true"}); err != nil {
			return fmt.Errorf("record type %q: want Object.Developer_Name: %w", spec, err)
		}
	}
	for _, object := range s.db.Schema.Names() {
		if n := s.opts.SeedRecords[object]; n > 0 {
			if err := seed.Records(s.db, s.pipe, save.Caller{UserID: s.seeded.AdminID, RequestID: "seed"}, object, n, s.opts.Seed); err != nil {
				return err
			}
		}
	}
	if s.opts.SampleCases {
		if err := s.sampleCases(); err != nil {
			return fmt.Errorf("sample cases: %w", err)
		}
	}
	for object := range s.opts.SeedRecords {
		if s.db.Table(object) == nil {
			return fmt.Errorf("seed records: no object %q", object)
		}
	}
	return nil
}

// Start makes an org and serves it on o.Listen (default: a free port on loopback) until Close.
func Start(o Options) (*Server, error) {
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	if s.URL, err = s.serve(s.opts.Listen, s.Handler()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if o.ControlListen != "" {
		if s.ControlURL, err = s.serve(o.ControlListen, s.ControlHandler()); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func (s *Server) serve(addr string, h http.Handler) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", addr, err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelWarn)}
	s.servers = append(s.servers, srv)
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Log.Error("simulator stopped serving", "addr", addr, "err", err)
		}
	}()
	return "http://" + l.Addr().String(), nil
}

// later runs fn after a delay unless the org closes first.
func (s *Server) later(d time.Duration, fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return
	default:
	}
	s.lates.Add(1)
	go func() {
		defer s.lates.Done()
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			fn()
		case <-s.closed:
		}
	}()
}

// Handler serves the org: OAuth, REST and Bulk. It must see the raw path (no ServeMux in front: clients double slashes).
func (s *Server) Handler() http.Handler { return s.front }

// ControlHandler serves the control API; see the README for its routes.
func (s *Server) ControlHandler() http.Handler { return s.controlHandler() }

// Close stops listening, ends jobs that run, and writes Options.StateFile if one is set.
func (s *Server) Close() error {
	var errs []error
	for _, srv := range s.servers {
		errs = append(errs, srv.Close())
	}
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		return errors.Join(errs...)
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.lates.Wait()
	s.bulk.Close()
	if s.opts.StateFile != "" {
		errs = append(errs, s.SaveState(s.opts.StateFile))
	}
	return errors.Join(errs...)
}

// ClientID is the consumer key of the registered app.
func (s *Server) ClientID() string { return s.opts.ClientID }

// ClientSecret is the consumer secret of the registered app.
func (s *Server) ClientSecret() string { return s.opts.ClientSecret }

// OrgID is the org's 18-character id.
func (s *Server) OrgID() string { return s.seeded.OrgID }

// UserID is the 18-character id of the user that client credentials run as.
func (s *Server) UserID() string { return s.seeded.AdminID }

// AccessToken opens a session of the admin user without any OAuth flow, for tests that are not about logging in.
func (s *Server) AccessToken() string { return s.oauth.NewSession(s.seeded.AdminID) }

// RefreshToken makes the admin user's approval of the app without any OAuth flow, for tests that are not about consent.
func (s *Server) RefreshToken() string { return s.oauth.NewGrant(s.seeded.AdminID) }

// Effects lists every effect applied so far, oldest first.
func (s *Server) Effects() []Effect { return s.ledger.Since(0, 0) }

// EffectsSince lists the effects with apply numbers above after, at most limit of them (0: all).
func (s *Server) EffectsSince(after int64, limit int) []Effect { return s.ledger.Since(after, limit) }

// EffectCount is the number of effects so far, which is also the last apply number.
func (s *Server) EffectCount() int64 { return s.ledger.Len() }

// WatchEffects yields the effects above after, then each new one, until ctx ends.
func (s *Server) WatchEffects(ctx context.Context, after int64) iter.Seq[Effect] {
	return s.ledger.Watch(ctx, after)
}

// Faults is the plan of faults: s.Faults().Add(fault.Rule{...}).
func (s *Server) Faults() *Faults { return s.faults }

// Counters tells what was asked so far.
func (s *Server) Counters() Counters {
	logins := s.oauth.Counters()
	s.front.mu.Lock()
	defer s.front.mu.Unlock()
	return Counters{
		Requests: s.front.requests, APICalls: s.rest.Used.Load(), Routes: maps.Clone(s.front.routes), Effects: s.ledger.Len(),
		Tokens: logins.Tokens, Rotations: logins.Rotations, Reuses: logins.Reuses,
	}
}

// Issued tells every authorization code, access token and refresh token that was given, oldest first: what a client must
// never write down.
func (s *Server) Issued() []string { return s.oauth.Issued() }

// ExpireSessions ends every access token; refresh tokens live on.
func (s *Server) ExpireSessions() { s.oauth.ExpireAll() }

// SetAPIUsed sets how many API requests of the last 24 hours are used up.
func (s *Server) SetAPIUsed(n int) { s.rest.Used.Store(int64(n)) }

// SetClockOffset moves the org's clock against the machine's.
func (s *Server) SetClockOffset(d time.Duration) { s.db.SetOffset(d) }
