// Package token owns the access tokens of linked orgs: the one in force is in the memory of every auth process and,
// sealed, in a bucket that they share.
//
// One call to Salesforce serves everybody who wants a token of the connection at that time, in whatever process. A
// refresh token is sent by the one process whose turn it is, after a durable note that it is being sent, and once: what
// Salesforce gives in its place is durable before anybody sees the access token. What Salesforce answers decides where
// the connection stands: a token makes it linked, a definite no makes it need a reconnect, and anything else changes
// nothing and is not asked again before a pause has passed.
package token

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// Options are the limits of a [Source].
type Options struct {
	// BackoffBase is the pause after the first request without an answer; it doubles with each further one up to
	// BackoffCap. The pause is drawn from the upper half.
	BackoffBase, BackoffCap time.Duration
	// Burst is how many token requests one connection may make at once, Every how often it gets one more. A caller who
	// rejects every token must not lock the connected user out of Salesforce, which allows some 3,600 logins an hour.
	Burst int
	Every time.Duration
	// CallTimeout bounds one call.
	CallTimeout time.Duration
	// Lease is after what time without a sign of life another process takes a turn over. Where a refresh token may be on
	// its way it waits CallTimeout longer: no answer can come after that.
	Lease time.Duration
	// Settle is how long a refresh token whose answer was lost is left alone before it is sent once more: Salesforce may
	// still be at work on the first call.
	Settle time.Duration
	// Durable is how long it is tried to store what Salesforce gave.
	Durable time.Duration
	// Grace is how long calls under way may go on while the process stops.
	Grace time.Duration
	// KeepFrom is after what time without a refresh a refresh token is renewed, so that it does not reach the 30 days
	// after which Salesforce ends it. KeepSpread is over what time connections are spread beyond that.
	KeepFrom, KeepSpread time.Duration
	// Now is the wall clock.
	Now func() time.Time
}

// DefaultOptions are the limits for real orgs.
func DefaultOptions() Options {
	return Options{
		BackoffBase: time.Second, BackoffCap: time.Minute, Burst: 20, Every: 10 * time.Second,
		CallTimeout: oauth.RefreshTimeout, Lease: 6 * time.Second, Settle: 5 * time.Second, Durable: time.Minute, Grace: 10 * time.Second,
		KeepFrom: 14 * 24 * time.Hour, KeepSpread: 6 * 24 * time.Hour, Now: time.Now,
	}
}

// Deps are what a [Source] needs.
type Deps struct {
	OAuth     *oauth.Client
	Conns     *connection.Store
	Bus       *bus.Bus
	Vault     *vault.Vault
	Audit     *audit.Log
	Log       *slog.Logger
	Telemetry telemetry.Providers
}

// Grant is what a service needs to call an org's API.
type Grant struct {
	AccessToken config.Secret
	InstanceURL string // origin
	OrgID       string // 18 characters
}

// Source hands out access tokens. It is safe for concurrent use.
type Source struct {
	oauth  *oauth.Client
	conns  *connection.Store
	turns  *turns
	shares *shares
	audit  *audit.Log
	log    *slog.Logger
	tracer trace.Tracer
	meters meters
	opt    Options

	ctx     context.Context // ends with Close: the life of requests, which outlive those who asked
	cancel  context.CancelFunc
	flights sync.WaitGroup

	mu       sync.Mutex
	stopping bool
	entries  map[string]*entry // by connection id
}

// entry is what is known of one connection.
type entry struct {
	grant   Grant // zero when none is known
	tenant  string
	version int64   // of the credentials that the grant was got with
	epoch   uint64  // the turn that brought the grant
	flight  *flight // the request that is under way; nil when none is

	failures int       // requests without an answer since the last with one
	retryAt  time.Time // no request before
	lastErr  *errs.Error
	limiter  *rate.Limiter
}

// New opens the buckets and returns a source. It starts nothing.
func New(ctx context.Context, d Deps, opt Options) (*Source, error) {
	m, err := newMeters(d.Telemetry)
	if err != nil {
		return nil, err
	}
	turns, err := openTurns(ctx, d.Bus, opt.Lease)
	if err != nil {
		return nil, err
	}
	shares, err := openShares(ctx, d.Bus, d.Vault)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.Background())
	return &Source{
		oauth: d.OAuth, conns: d.Conns, turns: turns, shares: shares, audit: d.Audit, log: d.Log,
		tracer: d.Telemetry.Tracer.Tracer(scope), meters: m, opt: opt, ctx: life, cancel: cancel, entries: map[string]*entry{},
	}, nil
}

// Close lets the requests that are under way come to their end for a while, and then ends them.
func (s *Source) Close() {
	s.mu.Lock()
	s.stopping = true // no request starts any more
	s.mu.Unlock()
	defer time.AfterFunc(s.opt.Grace, s.cancel).Stop()
	s.flights.Wait()
	s.cancel()
}

// Token returns a token of the tenant's connection that is not the rejected one.
func (s *Source) Token(ctx context.Context, tenant, id string, rejected config.Secret) (Grant, error) {
	if rejected.IsZero() {
		if g, ok := s.known(tenant, id); ok {
			return g, nil
		}
	}
	for range 3 {
		f, err := s.ask(ctx, want{tenant: tenant, id: id, rejected: rejected})
		switch {
		case err != nil:
			return Grant{}, err
		case f.skipped, f.err == nil && f.grant.AccessToken.Equal(rejected):
			continue // it was another's, who wanted something else
		}
		return f.grant, f.err
	}
	return Grant{}, errs.New(errs.Unavailable, "token_still_rejected", "the access token that was refused is still the one in force: try again")
}

// Refused records that the org's API has refused a token that took the place of a refused one for the very same call. If
// it is still the one in force, asking for a third would not help: the connection needs a reconnect, and that is the
// error. It is nil when there is another token by now.
func (s *Source) Refused(ctx context.Context, tenant, id string, refused config.Secret) error {
	conn, err := s.usable(ctx, tenant, id)
	if err != nil {
		return err
	}
	have, _, err := s.turns.read(ctx, id)
	if err != nil {
		return err
	}
	g, ok, err := s.current(ctx, conn, have)
	if err != nil || !ok || !g.AccessToken.Equal(refused) {
		return err
	}
	now, err := s.mustReconnect(ctx, conn, "session_refused",
		"Salesforce's API refuses the access tokens that Salesforce has just given. Check that the app grants the scope api, that API access is not blocked for the user, and that the org's session settings admit this program's address; then test the connection")
	if err == nil && now.State == connection.NeedsReconnect {
		err = now.NeedsReconnectError()
	}
	return err
}

// Result is what a test of a connection found.
type Result struct {
	Connection connection.Connection // as it stands after the test
	Refusal    error                 // a *oauth.Refusal or *oauth.Untrusted; nil when Salesforce gave a token
}

// Test asks Salesforce for a new token, whatever is known, and whatever state the connection is in. An error says that
// there was no answer, or that asking now could end a token that is in use.
func (s *Source) Test(ctx context.Context, conn connection.Connection) (Result, error) {
	for {
		f, err := s.ask(ctx, want{tenant: conn.Tenant, id: conn.ID, test: true})
		switch {
		case err != nil:
			return Result{}, err
		case !f.want.test:
			continue // another's, who may have been content with a known token
		case f.refusal != nil:
			return Result{Connection: f.conn, Refusal: f.refusal}, nil
		}
		return Result{Connection: f.conn}, f.err
	}
}

// Adopt makes a token known that was got while linking. Processes that cannot be told ask for one of their own.
func (s *Source) Adopt(conn connection.Connection, tok oauth.Token) {
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	g := Grant{AccessToken: tok.AccessToken, InstanceURL: tok.InstanceURL, OrgID: tok.OrgID}
	epoch, err := s.turns.adopt(ctx, conn)
	if err == nil {
		err = s.shares.put(ctx, conn, epoch, g)
	}
	if err != nil {
		s.log.WarnContext(ctx, "token of a new link not shared", append(s.attrs(conn), telemetry.Err(err))...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entry(conn.Tenant, conn.ID).learn(g, conn.CredentialVersion, epoch)
}

// Current returns the access token in force, if one is known to any process. It asks nobody for one.
func (s *Source) Current(ctx context.Context, conn connection.Connection) (Grant, bool, error) {
	have, _, err := s.turns.read(ctx, conn.ID)
	if err != nil {
		return Grant{}, false, err
	}
	return s.current(ctx, conn, have)
}

// Forget erases the connection's access token here and where the processes share it.
func (s *Source) Forget(ctx context.Context, conn connection.Connection) error {
	s.drop(conn.ID)
	return s.shares.erase(ctx, conn.ID)
}

// Surrender returns the connection's access token for the last time, to be revoked, and forgets it everywhere; empty where
// none is known.
func (s *Source) Surrender(conn connection.Connection) config.Secret {
	ctx, cancel := context.WithTimeout(s.ctx, giveBack)
	defer cancel()
	g, _, err := s.Current(ctx, conn)
	if err = errors.Join(err, s.Forget(ctx, conn)); err != nil {
		s.log.WarnContext(ctx, "access token not surrendered; it ends by itself", append(s.attrs(conn), telemetry.Err(err))...)
	}
	return g.AccessToken
}

// drop forgets the token in this process.
func (s *Source) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[id]; e != nil {
		e.grant = Grant{}
	}
}

// known returns the token in this process's memory.
func (s *Source) known(tenant, id string) (Grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil || e.tenant != tenant || e.grant.AccessToken.IsZero() {
		return Grant{}, false
	}
	return e.grant, true
}

// entry returns the connection's entry. The caller holds the lock.
func (s *Source) entry(tenant, id string) *entry {
	e := s.entries[id]
	if e == nil {
		e = &entry{tenant: tenant, limiter: rate.NewLimiter(rate.Every(s.opt.Every), s.opt.Burst)}
		s.entries[id] = e
	}
	return e
}

// learn keeps a token, unless a later turn or a newer link has brought one already.
func (e *entry) learn(g Grant, version int64, epoch uint64) {
	if version >= e.version && epoch >= e.epoch {
		e.grant, e.version, e.epoch, e.failures, e.retryAt = g, version, epoch, 0, time.Time{}
	}
}

// current returns the token in force by the connection's record, from memory or from where the processes share it.
func (s *Source) current(ctx context.Context, conn connection.Connection, have turn) (Grant, bool, error) {
	s.mu.Lock()
	e := s.entry(conn.Tenant, conn.ID)
	if !e.grant.AccessToken.IsZero() && e.version == conn.CredentialVersion && e.epoch == have.TokenEpoch {
		defer s.mu.Unlock()
		return e.grant, true, nil
	}
	s.mu.Unlock()
	if have.TokenEpoch == 0 {
		return Grant{}, false, nil
	}
	g, ok, err := s.shares.get(ctx, conn, have.TokenEpoch)
	if ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		e.learn(g, conn.CredentialVersion, have.TokenEpoch)
	}
	return g, ok, err
}

// usable returns the connection, or the error that says why nobody gets a token for it.
func (s *Source) usable(ctx context.Context, tenant, id string) (connection.Connection, error) {
	conn, err := s.conns.Find(ctx, tenant, id)
	switch {
	case err != nil:
		return conn, err
	case conn.State == connection.Unlinked:
		return conn, conn.UnlinkedError()
	case conn.State != connection.Linked:
		return conn, conn.NeedsReconnectError()
	}
	return conn, nil
}

// mustReconnect records that the connection is of no use any more, and erases its token. It returns the connection as it
// now stands.
func (s *Source) mustReconnect(ctx context.Context, conn connection.Connection, code, reason string) (connection.Connection, error) {
	now, err := s.conns.MustReconnect(ctx, conn, code, reason)
	switch {
	case err != nil:
		return conn, err
	case now.State == connection.Unlinked:
		return now, now.UnlinkedError()
	case now.CredentialVersion != conn.CredentialVersion:
		return now, replaced(conn)
	}
	s.meters.event(ctx, "needs_reconnect")
	s.log.WarnContext(ctx, "connection needs a reconnect", append(s.attrs(conn), slog.String(telemetry.KeyCode, code), slog.String(telemetry.KeyReason, reason))...)
	if err := s.Forget(ctx, conn); err != nil {
		s.log.WarnContext(ctx, "token of no use not erased", append(s.attrs(conn), telemetry.Err(err))...)
	}
	return now, nil
}

func replaced(c connection.Connection) *errs.Error {
	return errs.New(errs.Unavailable, "credentials_replaced", "the credentials of connection %q were replaced just now: try again", c.Name)
}

func (s *Source) attrs(c connection.Connection) []any {
	return []any{slog.String(telemetry.KeyTenant, c.Tenant), slog.String(telemetry.KeyConnection, c.ID), slog.String(telemetry.KeyOrg, c.OrgID)}
}

// Run keeps what is known current and refresh tokens alive, until ctx ends. Requests that are under way then come to
// their end.
func (s *Source) Run(ctx context.Context) error {
	defer s.Close()
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { s.watchConnections(ctx) })
	watching.Go(func() { s.watchShares(ctx) })
	s.KeepAlive(ctx, tick.C)
	return nil
}

// watchConnections forgets the tokens of connections that somebody else changes.
func (s *Source) watchConnections(ctx context.Context) {
	for conn, err := range s.conns.Watch(ctx) {
		if err != nil {
			s.log.ErrorContext(ctx, "a tenant's connections cannot be read", telemetry.Err(err))
			continue
		}
		s.mu.Lock()
		if e := s.entries[conn.ID]; e != nil && (conn.State != connection.Linked || conn.CredentialVersion > e.version) {
			e.grant, e.failures, e.retryAt = Grant{}, 0, time.Time{}
		}
		s.mu.Unlock()
	}
}

// watchShares forgets tokens in whose place another process has got a later one.
func (s *Source) watchShares(ctx context.Context) {
	for entry, err := range s.shares.bucket.Watch(ctx, "") {
		if err != nil || entry.Deleted {
			continue // an access token lives longer than it is shared
		}
		s.mu.Lock()
		if e := s.entries[entry.Key]; e != nil && entry.Value.Epoch > e.epoch {
			e.grant = Grant{}
		}
		s.mu.Unlock()
	}
}

// scope is the name of this package's instruments.
const scope = "github.com/catalogsync/catalogsync/services/auth"
