// Package token owns the access tokens of linked orgs. They live in memory alone.
//
// One request to Salesforce serves everybody who wants a token of the connection at that time. What Salesforce answers
// decides where the connection stands: a token makes it linked, a definite no makes it need a reconnect, and anything
// else changes nothing and is not asked again before a pause has passed.
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
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
}

// DefaultOptions are the limits for real orgs.
func DefaultOptions() Options {
	return Options{BackoffBase: time.Second, BackoffCap: time.Minute, Burst: 20, Every: 10 * time.Second}
}

// Grant is what a service needs to call an org's API.
type Grant struct {
	AccessToken config.Secret
	InstanceURL string // origin
	OrgID       string // 18 characters
}

// Source hands out access tokens. It is safe for concurrent use.
type Source struct {
	oauth    *oauth.Client
	conns    *connection.Store
	log      *slog.Logger
	tracer   trace.Tracer
	requests metric.Int64Counter
	opt      Options

	ctx     context.Context // ends with Close: the life of requests, which outlive those who asked
	cancel  context.CancelFunc
	flights sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*entry // by connection id
}

// entry is what is known of one connection.
type entry struct {
	grant   Grant // zero when none is known
	tenant  string
	version int64   // of the credentials that the grant was got with
	flight  *flight // the request that is under way; nil when none is

	failures int       // requests without an answer since the last with one
	retryAt  time.Time // no request before
	lastErr  *errs.Error
	limiter  *rate.Limiter
}

// flight is one token request; its results may be read once done is closed.
type flight struct {
	done    chan struct{}
	grant   Grant
	conn    connection.Connection // as it stands after the request
	refusal error                 // Salesforce's no, once it is recorded; nil when it said yes or nothing
	err     error                 // why there is no token, for callers
}

// New returns a source.
func New(client *oauth.Client, conns *connection.Store, log *slog.Logger, tel telemetry.Providers, opt Options) (*Source, error) {
	const scope = "github.com/catalogsync/catalogsync/services/auth"
	requests, err := tel.Meter.Meter(scope).Int64Counter("catalogsync_auth_token_requests",
		metric.WithDescription("Token requests to Salesforce, by result: granted, refused or unanswered."))
	if err != nil {
		return nil, fmt.Errorf("metric of token requests: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Source{
		oauth: client, conns: conns, log: log, tracer: tel.Tracer.Tracer(scope), requests: requests, opt: opt,
		ctx: ctx, cancel: cancel, entries: map[string]*entry{},
	}, nil
}

func (s *Source) count(ctx context.Context, result string) {
	s.requests.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}

// Close ends the requests that are under way and waits for them.
func (s *Source) Close() {
	s.mu.Lock()
	s.cancel() // no request starts any more
	s.mu.Unlock()
	s.flights.Wait()
}

// Token returns a token of the tenant's connection that is not the rejected one.
func (s *Source) Token(ctx context.Context, tenant, id string, rejected config.Secret) (Grant, error) {
	if g, ok := s.known(tenant, id, rejected); ok {
		return g, nil
	}
	conn, err := s.conns.Find(ctx, tenant, id)
	if err != nil {
		return Grant{}, err
	}
	if conn.State != connection.Linked {
		return Grant{}, conn.NeedsReconnectError()
	}
	f, g, err := s.board(ctx, conn, rejected, false)
	if f == nil || err != nil {
		return g, err
	}
	select {
	case <-f.done:
		return f.grant, f.err
	case <-ctx.Done():
		return Grant{}, ctx.Err()
	}
}

// Result is what a test of a connection found.
type Result struct {
	Connection connection.Connection // as it stands after the test
	Refusal    error                 // a *oauth.Refusal or *oauth.Untrusted; nil when Salesforce gave a token
}

// Test asks Salesforce for a new token, whatever is known, and whatever state the connection is in. An error says that
// there was no answer.
func (s *Source) Test(ctx context.Context, conn connection.Connection) (Result, error) {
	f, _, err := s.board(ctx, conn, config.Secret{}, true)
	if err != nil {
		return Result{}, err
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	if f.refusal != nil {
		return Result{Connection: f.conn, Refusal: f.refusal}, nil
	}
	return Result{Connection: f.conn}, f.err
}

// Adopt makes a token known that was got while linking.
func (s *Source) Adopt(conn connection.Connection, tok oauth.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(conn)
	e.learn(Grant{AccessToken: tok.AccessToken, InstanceURL: tok.InstanceURL, OrgID: tok.OrgID}, conn.CredentialVersion)
}

// Watch forgets the tokens of connections that somebody else changes, until ctx ends.
func (s *Source) Watch(ctx context.Context) {
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

// known returns the token that is known, unless it is the rejected one.
func (s *Source) known(tenant, id string, rejected config.Secret) (Grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil || e.tenant != tenant || e.grant.AccessToken.IsZero() || e.grant.AccessToken.Equal(rejected) {
		return Grant{}, false
	}
	return e.grant, true
}

// entry returns the connection's entry. The caller holds the lock.
func (s *Source) entry(conn connection.Connection) *entry {
	e := s.entries[conn.ID]
	if e == nil {
		e = &entry{tenant: conn.Tenant, limiter: rate.NewLimiter(rate.Every(s.opt.Every), s.opt.Burst)}
		s.entries[conn.ID] = e
	}
	return e
}

// board returns the request to wait for, starting one where none is under way, or a token that came to be known in
// between. A test starts one even while Salesforce is given a pause.
func (s *Source) board(ctx context.Context, conn connection.Connection, rejected config.Secret, test bool) (*flight, Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(conn)
	if !test && !e.grant.AccessToken.IsZero() && !e.grant.AccessToken.Equal(rejected) && e.version >= conn.CredentialVersion {
		return nil, e.grant, nil
	}
	if e.flight != nil {
		return e.flight, Grant{}, nil
	}
	if s.ctx.Err() != nil {
		return nil, Grant{}, errs.New(errs.Unavailable, "stopping", "auth is being stopped; try again")
	}
	if wait := time.Until(e.retryAt); wait > 0 && !test {
		again := *e.lastErr
		again.RetryAfter = wait
		return nil, Grant{}, &again
	}
	if r := e.limiter.Reserve(); r.Delay() > 0 {
		wait := r.Delay()
		r.Cancel()
		limited := errs.New(errs.RateLimited, "too_many_token_requests",
			"connection %q has asked Salesforce for tokens too often: something rejects every token, or tests follow each other too fast", conn.Name)
		limited.RetryAfter = wait
		return nil, Grant{}, limited
	}
	f := &flight{done: make(chan struct{})}
	e.flight = f
	if e.grant.AccessToken.Equal(rejected) {
		e.grant = Grant{} // others need not find out by themselves
	}
	s.flights.Go(func() { s.fly(ctx, e, f, conn, rejected) })
	return f, Grant{}, nil
}

// fly makes one token request. It outlives the call that started it, because others wait for it too.
func (s *Source) fly(caller context.Context, e *entry, f *flight, conn connection.Connection, rejected config.Secret) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), oauth.Timeout+5*time.Second)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	ctx, span := s.tracer.Start(ctx, "salesforce token request", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String(telemetry.KeyConnection, conn.ID), attribute.String(telemetry.KeyOrg, conn.OrgID)))
	defer span.End()

	tok, err := s.request(ctx, conn, rejected)
	if err == nil {
		f.conn, err = s.granted(ctx, conn, tok)
	} else {
		f.conn, f.refusal, err = s.refused(ctx, conn, err)
	}
	if err != nil {
		span.SetStatus(otelcodes.Error, errs.ReasonOf(err))
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	e.flight, f.err = nil, err
	switch {
	case err == nil:
		f.grant = Grant{AccessToken: tok.AccessToken, InstanceURL: tok.InstanceURL, OrgID: tok.OrgID}
		e.learn(f.grant, conn.CredentialVersion)
	case errs.KindOf(err) == errs.Unavailable:
		f.err = s.pause(e, err)
	case e.version <= conn.CredentialVersion:
		e.grant = Grant{}
	}
	close(f.done)
}

// learn keeps a token, unless a newer link has brought one already.
func (e *entry) learn(g Grant, version int64) {
	if version >= e.version {
		e.grant, e.version, e.failures, e.retryAt = g, version, 0, time.Time{}
	}
}

// pause decides how long Salesforce is left alone and returns err with that time. The caller holds the lock.
func (s *Source) pause(e *entry, err error) error {
	bound := s.opt.BackoffCap
	if e.failures < 16 {
		bound = min(bound, s.opt.BackoffBase<<e.failures)
	}
	e.failures++
	paused := *errs.From(err)
	paused.RetryAfter = max(bound/2+rand.N(bound/2+1), errs.RetryAfter(err))
	e.lastErr, e.retryAt = &paused, time.Now().Add(paused.RetryAfter)
	return &paused
}

// request makes the request and checks the answer against the connection.
func (s *Source) request(ctx context.Context, conn connection.Connection, rejected config.Secret) (oauth.Token, error) {
	creds, err := s.conns.Credentials(ctx, conn)
	if err != nil {
		return oauth.Token{}, err
	}
	tok, err := s.oauth.Token(ctx, conn.Host, oauth.ClientCredentials{ClientID: creds.ClientID, ClientSecret: creds.ClientSecret})
	if err != nil {
		return oauth.Token{}, err
	}
	if tok.OrgID != conn.OrgID {
		return oauth.Token{}, &oauth.Untrusted{Host: conn.Host, Problem: "it is for org " + tok.OrgID + ", and the connection is to org " + conn.OrgID +
			": the host belongs to another org now, or the sandbox was refreshed. Link again"}
	}
	if tok.AccessToken.Equal(rejected) {
		return oauth.Token{}, errs.New(errs.Unavailable, "token_still_rejected",
			"Salesforce gives the same access token again that its API has just refused: check that the app grants the scope api and that API access is not blocked in the org")
	}
	return tok, nil
}

// granted records that there is a token.
func (s *Source) granted(ctx context.Context, conn connection.Connection, tok oauth.Token) (connection.Connection, error) {
	s.count(ctx, "granted")
	if conn.State == connection.Linked && conn.InstanceURL == tok.InstanceURL {
		return conn, nil
	}
	now, err := s.conns.Good(ctx, conn, tok.InstanceURL)
	if err == nil {
		s.log.InfoContext(ctx, "connection is usable", s.attrs(conn)...)
	}
	return now, err
}

// refused records why there is no token. It returns Salesforce's no, where it was one, and the error for callers.
func (s *Source) refused(ctx context.Context, conn connection.Connection, err error) (connection.Connection, error, error) {
	if n, ok := errors.AsType[*oauth.NoAnswer](err); ok {
		s.count(ctx, "unanswered")
		return conn, nil, errs.Wrap(n.Err, errs.Unavailable, "salesforce_unreachable", "%s", n.Error())
	}
	var reason string
	if r, ok := errors.AsType[*oauth.Refusal](err); ok {
		if !r.Definite() {
			s.count(ctx, "unanswered")
			return conn, r, busy(r)
		}
		reason = r.Error() + ". " + r.Advice()
	} else if u, ok := errors.AsType[*oauth.Untrusted](err); ok {
		reason = u.Error()
	} else {
		return conn, nil, err // not about Salesforce
	}
	s.count(ctx, "refused")
	now, storeErr := s.conns.Refused(ctx, conn, reason)
	switch {
	case storeErr != nil:
		return conn, nil, storeErr
	case now.CredentialVersion != conn.CredentialVersion:
		return now, nil, errs.New(errs.Unavailable, "credentials_replaced", "the credentials of connection %q were replaced just now: try again", conn.Name)
	}
	s.log.WarnContext(ctx, "connection needs a reconnect", append(s.attrs(conn), slog.String(telemetry.KeyReason, reason))...)
	return now, err, now.NeedsReconnectError()
}

// busy is a refusal that time may mend.
func busy(r *oauth.Refusal) *errs.Error {
	e := errs.New(errs.Unavailable, "salesforce_busy", "%s. %s", r.Error(), r.Advice())
	if r.Code == "rate_limit_exceeded" {
		e.RetryAfter = time.Minute
	}
	return e
}

func (s *Source) attrs(c connection.Connection) []any {
	return []any{slog.String(telemetry.KeyTenant, c.Tenant), slog.String(telemetry.KeyConnection, c.ID), slog.String(telemetry.KeyOrg, c.OrgID)}
}
