package simulator

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"time"

	"github.com/catalogsync/catalogsync/simulator/fault"
	"github.com/catalogsync/catalogsync/simulator/ledger"
)

// Server is one org with everything around it. Its methods may be called at the same time.
type Server struct {
	URL        string // origin under Start: "http://127.0.0.1:43817"; empty after New
	ControlURL string // origin of the control API under Start with ControlListen

	opts    Options
	ledger  *ledger.Ledger
	faults  *fault.Plan
	handler http.Handler
	control http.Handler
	servers []*http.Server
}

// New makes an org without listening anywhere.
func New(o Options) (*Server, error) {
	if o.Seed == 0 {
		o.Seed = 1
	}
	return &Server{opts: o, ledger: ledger.New(), faults: fault.NewPlan(o.Seed), handler: http.NotFoundHandler(), control: http.NotFoundHandler()}, nil
}

// Start makes an org and serves it on o.Listen (default: a free port on loopback) until Close.
func Start(o Options) (*Server, error) {
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if s.URL, err = s.serve(o.Listen, s.Handler()); err != nil {
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
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second}
	s.servers = append(s.servers, srv)
	go func() { _ = srv.Serve(l) }()
	return "http://" + l.Addr().String(), nil
}

// Handler serves the org: OAuth, REST and Bulk. It must see the raw path (no ServeMux in front: clients double slashes).
func (s *Server) Handler() http.Handler { return s.handler }

// ControlHandler serves the control API; see the README for its routes.
func (s *Server) ControlHandler() http.Handler { return s.control }

// Close stops listening, ends jobs that run, and writes Options.StateFile if one is set.
func (s *Server) Close() error {
	var errs []error
	for _, srv := range s.servers {
		errs = append(errs, srv.Close())
	}
	return errors.Join(errs...)
}

// ClientID is the consumer key of the registered app.
func (s *Server) ClientID() string { return s.opts.ClientID }

// ClientSecret is the consumer secret of the registered app.
func (s *Server) ClientSecret() string { return s.opts.ClientSecret }

// OrgID is the org's 18-character id.
func (s *Server) OrgID() string { return "" }

// UserID is the 18-character id of the user that client credentials run as.
func (s *Server) UserID() string { return "" }

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
func (s *Server) Counters() Counters { return Counters{} }

// Count is the number of live records of an object ("Contact").
func (s *Server) Count(object string) int { return 0 }

// Records yields the records of an object in the order of their creation, deleted ones (recycle bin) included.
func (s *Server) Records(object string) iter.Seq[Record] { return func(func(Record) bool) {} }

// Record is the record with a 15- or 18-character id; ok is false if there is none.
func (s *Server) Record(id string) (r Record, ok bool) { return Record{}, false }

// Create adds a record as the setup user, through the same checks as any save; the value "" is null. The effect is in
// the ledger with the request id "setup". It returns the record's id.
func (s *Server) Create(object string, fields map[string]string) (string, error) { return "", nil }

// Update changes fields of a record as Create does.
func (s *Server) Update(id string, fields map[string]string) error { return nil }

// Delete moves a record to the recycle bin.
func (s *Server) Delete(id string) error { return nil }

// ConvertLead converts a lead into a contact (of a new account named after Company) and returns the contact's id.
func (s *Server) ConvertLead(id string) (contactID string, err error) { return "", nil }

// ExpireSessions ends every access token; refresh tokens live on.
func (s *Server) ExpireSessions() {}

// SetAPIUsed sets how many API requests of the last 24 hours are used up.
func (s *Server) SetAPIUsed(n int) {}

// SetClockOffset moves the org's clock against the machine's.
func (s *Server) SetClockOffset(d time.Duration) {}
