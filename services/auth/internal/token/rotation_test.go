package token_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/token"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// crowd rejects a token from n callers at once, spread over the processes, and returns the different tokens they got.
func crowd(t *testing.T, offices []*office, c connection.Connection, n int, rejected config.Secret) []string {
	t.Helper()
	got := make([]string, n)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			g, err := offices[i%len(offices)].Token(t.Context(), c.Tenant, c.ID, rejected)
			if err != nil {
				t.Error(err)
			}
			got[i] = g.AccessToken.Expose()
		})
	}
	wg.Wait()
	return slices.Compact(slices.Sorted(slices.Values(got)))
}

// TestRotations is the proof of one token call per rotation: 100 callers in 3 processes reject each token at once.
func TestRotations(t *testing.T) {
	t.Parallel()
	const rotations, callers = 150, 100
	w := newWorld(t)
	offices := []*office{w.office(t, quick()), w.office(t, quick()), w.office(t, quick())}
	c := w.consent(t, offices[0], "acme")
	rejected := config.Secret{}
	for i := range rotations {
		got := crowd(t, offices, c, callers, rejected)
		if len(got) != 1 || got[0] == rejected.Expose() {
			t.Fatalf("rotation %d: %d different tokens", i+1, len(got))
		}
		if calls := w.calls(); calls != int64(i+1) {
			t.Fatalf("rotation %d: %d token calls", i+1, calls)
		}
		rejected = config.NewSecret(got[0])
	}
	if n := w.sim.Counters(); n.Rotations != rotations || n.Reuses != 0 {
		t.Errorf("the org saw %+v", n)
	}
	now := find(t, offices[1], c)
	if now.CredentialVersion != c.CredentialVersion+rotations || now.State != connection.Linked || time.Since(now.TokenAt) > time.Minute {
		t.Errorf("connection is %+v", now)
	}
	rotated := int64(0)
	for _, o := range offices {
		rotated += o.events(t)["rotated"]
	}
	if rotated != rotations {
		t.Errorf("%d rotations counted", rotated)
	}
	// A process that knows nothing finds the token that the others share, and goes on from the refresh token they left.
	fresh := w.office(t, quick())
	if tok := mustToken(t, fresh, c, config.Secret{}); !tok.Equal(rejected) || w.calls() != rotations {
		t.Errorf("a new process did not share the token, after %d calls", w.calls())
	}
	mustToken(t, fresh, c, rejected)
	if n := w.sim.Counters(); n.Rotations != rotations+1 || n.Reuses != 0 {
		t.Errorf("the org saw %+v", n)
	}
}

// TestALostAnswer goes through the ways in which an answer does not come. Where the org has rotated the connection is
// lost, and says so at once when the one retry is refused; where it has not, nothing has happened.
func TestALostAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule    fault.Rule
		applied bool
	}{
		"reset before":      {fault.Rule{Kind: fault.ResetBefore}, false},
		"no answer":         {fault.Rule{Kind: fault.HangBefore}, false},
		"maintenance page":  {fault.Rule{Kind: fault.HTML, Status: 503}, false},
		"page with 200":     {fault.Rule{Kind: fault.HTML}, false},
		"proxy's refusal":   {fault.Rule{Kind: fault.HTML, Status: 403}, false},
		"empty":             {fault.Rule{Kind: fault.Empty, Status: 200}, false},
		"reset after":       {fault.Rule{Kind: fault.ResetAfter}, true},
		"no answer, though": {fault.Rule{Kind: fault.HangAfter}, true},
		"cut off":           {fault.Rule{Kind: fault.Truncate}, true},
		"applied twice":     {fault.Rule{Kind: fault.Duplicate}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			opt := quick()
			opt.CallTimeout = 500 * time.Millisecond
			a, b := w.office(t, opt), w.office(t, opt)
			hit, other := w.consent(t, a, "acme"), w.consent(t, a, "umbrella")
			first := mustToken(t, a, hit, config.Secret{})
			otherFirst := mustToken(t, b, other, config.Secret{})

			c.rule.Path, c.rule.Count = "/services/oauth2/token", 1
			w.sim.Faults().MustAdd(c.rule)
			var err error
			if c.rule.Kind != fault.Duplicate { // its second answer is a refusal, which is no lost answer
				_, err = a.Token(t.Context(), hit.Tenant, hit.ID, first)
				if errs.KindOf(err) != errs.Unavailable || errs.ReasonOf(err) != "refresh_unknown" || errs.RetryAfter(err) <= 0 {
					t.Fatalf("error is %v", err)
				}
				if got := find(t, b, hit); got.State != connection.Linked {
					t.Errorf("connection is %s before anybody knows", got.State)
				}
				if n := a.events(t)["unknown"]; n != 1 {
					t.Errorf("%d unknown answers counted", n)
				}
			}
			var g token.Grant
			began := time.Now()
			for deadline := began.Add(10 * time.Second); time.Now().Before(deadline); {
				if g, err = b.Token(t.Context(), hit.Tenant, hit.ID, first); errs.KindOf(err) != errs.Unavailable {
					break
				}
			}
			got := find(t, a, hit)
			if c.applied {
				want := "lost_reply"
				if c.rule.Kind == fault.Duplicate {
					want = "invalid_grant"
				}
				if errs.ReasonOf(err) != "needs_reconnect" || got.State != connection.NeedsReconnect || got.ReasonCode != want || got.Reason == "" {
					t.Errorf("error is %v, connection %s (%s): %s", err, got.State, got.ReasonCode, got.Reason)
				}
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("it took %v to say so", d)
				}
			} else if err != nil || g.AccessToken.Equal(first) || got.State != connection.Linked {
				t.Errorf("error is %v, connection %s (%s)", err, got.State, got.Reason)
			}
			n := w.sim.Counters()
			if c.applied && n.Reuses != 1 || !c.applied && n.Reuses != 0 {
				t.Errorf("the org saw %d reuses", n.Reuses)
			}
			mustToken(t, a, other, otherFirst)
			if got := find(t, a, other); got.State != connection.Linked {
				t.Errorf("another connection is %s: %s", got.State, got.Reason)
			}
		})
	}
}

// TestALostAnswerWhileATokenWorks keeps the access token that works: a retry that turns out to be a reuse would end it.
func TestALostAnswerWhileATokenWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.office(t, quick()), w.office(t, quick())
	c := w.consent(t, a, "acme")
	first := mustToken(t, a, c, config.Secret{})
	w.sim.Faults().MustAdd(fault.Rule{Kind: fault.ResetAfter, Path: "/services/oauth2/token", Count: 1})
	if _, err := a.Test(t.Context(), c); errs.ReasonOf(err) != "refresh_unknown" {
		t.Fatalf("error is %v", err)
	}
	calls := w.calls()
	for _, o := range []*office{a, b} {
		for range 3 {
			if _, err := o.Test(t.Context(), c); errs.ReasonOf(err) != "refresh_unknown" {
				t.Errorf("error is %v", err)
			}
			if tok := mustToken(t, o, c, config.Secret{}); !tok.Equal(first) {
				t.Error("the token that works is no longer given")
			}
		}
	}
	if w.calls() != calls || w.sim.Counters().Reuses != 0 || find(t, a, c).State != connection.Linked {
		t.Errorf("%d more calls, %+v", w.calls()-calls, w.sim.Counters())
	}
	// Only when it ends the refresh token is sent once more.
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if _, err = b.Token(t.Context(), c.Tenant, c.ID, first); errs.KindOf(err) != errs.Unavailable {
			break
		}
	}
	if got := find(t, a, c); errs.ReasonOf(err) != "needs_reconnect" || got.ReasonCode != "lost_reply" {
		t.Errorf("error is %v, connection %s (%s)", err, got.State, got.ReasonCode)
	}
	if got := w.calls() - calls; got != 1 {
		t.Errorf("%d calls after the lost answer", got)
	}
}

// TestWhatNeverReachedSalesforceChangesNothing: nothing was sent, so nothing is unknown.
func TestWhatNeverReachedSalesforceChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.office(t, quick())
	c := w.consent(t, a, "acme")
	if err := w.sim.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := a.Token(t.Context(), c.Tenant, c.ID, config.Secret{}); errs.KindOf(err) != errs.Unavailable || errs.ReasonOf(err) != "salesforce_unreachable" {
			t.Errorf("error is %v", err)
		}
	}
	if n := a.events(t)["unknown"]; n != 0 || find(t, a, c).State != connection.Linked {
		t.Errorf("%d unknown answers, connection %s", n, find(t, a, c).State)
	}
}

// TestTroubleAtSalesforceIsNoLostAnswer: an OAuth error by which Salesforce refuses is an answer, and a refresh token that
// it came for is still good.
func TestTroubleAtSalesforceIsNoLostAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	opt := quick()
	opt.Settle = time.Hour // nothing may have to settle
	a := w.office(t, opt)
	c := w.consent(t, a, "acme")
	w.sim.SetLoginPolicy(simulator.LoginPolicy{Collide: 2})
	if _, err := a.Token(t.Context(), c.Tenant, c.ID, config.Secret{}); errs.KindOf(err) != errs.Unavailable || errs.ReasonOf(err) != "salesforce_busy" {
		t.Errorf("error is %v", err)
	}
	if r, err := a.Test(t.Context(), c); err != nil || r.Refusal == nil || r.Connection.State != connection.Linked {
		t.Errorf("a test says %+v, %v", r, err)
	}
	if n := a.events(t); n["unknown"] != 0 || n["needs_reconnect"] != 0 || find(t, a, c).State != connection.Linked {
		t.Errorf("events %v, connection %s", n, find(t, a, c).State)
	}
	if r, err := a.Test(t.Context(), c); err != nil || r.Refusal != nil || w.calls() != 3 {
		t.Errorf("a test says %+v, %v after %d calls", r, err, w.calls())
	}
}

func TestARevokedRefreshToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.office(t, quick()), w.office(t, quick())
	c := w.consent(t, a, "acme")
	first := mustToken(t, a, c, config.Secret{})
	creds, err := a.conns.Credentials(t.Context(), find(t, a, c))
	if err != nil {
		t.Fatal(err)
	}
	w.revoke(t, creds.RefreshToken)
	for _, o := range []*office{a, b, a} {
		if _, err := o.Token(t.Context(), c.Tenant, c.ID, first); errs.ReasonOf(err) != "needs_reconnect" {
			t.Errorf("error is %v", err)
		}
	}
	got := find(t, b, c)
	if got.State != connection.NeedsReconnect || got.ReasonCode != "invalid_grant" || w.calls() != 2 {
		t.Errorf("connection is %s (%s) after %d calls", got.State, got.ReasonCode, w.calls())
	}
	if n := a.events(t); n["reuse_suspected"] != 1 || n["needs_reconnect"] != 1 || n["unknown"] != 0 {
		t.Errorf("events are %v", n)
	}
	if _, ok, err := a.Current(t.Context(), got); ok || err != nil {
		t.Errorf("its access token is still known: %v, %v", ok, err)
	}
}

// TestAPolicyOfTheOrgIsNoLostToken: the user may not sign in now, and the refresh token is as good as before.
func TestAPolicyOfTheOrgIsNoLostToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.office(t, quick())
	c := w.consent(t, a, "acme")
	w.sim.SetLoginPolicy(simulator.LoginPolicy{RestrictIP: true})
	if _, err := a.Token(t.Context(), c.Tenant, c.ID, config.Secret{}); errs.ReasonOf(err) != "needs_reconnect" {
		t.Errorf("error is %v", err)
	}
	got := find(t, a, c)
	if got.ReasonCode != "invalid_grant" || a.events(t)["reuse_suspected"] != 0 {
		t.Errorf("connection is %s (%s), events %v", got.State, got.ReasonCode, a.events(t))
	}
	w.sim.SetLoginPolicy(simulator.LoginPolicy{})
	if r, err := a.Test(t.Context(), got); err != nil || r.Refusal != nil || r.Connection.State != connection.Linked || r.Connection.ReasonCode != "" {
		t.Errorf("after the policy was lifted: %+v, %v", r, err)
	}
	mustToken(t, a, c, config.Secret{})
}

func TestAMissingScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.office(t, quick())
	c := w.consent(t, a, "acme")
	w.sim.SetLoginPolicy(simulator.LoginPolicy{NoAPI: true})
	if _, err := a.Token(t.Context(), c.Tenant, c.ID, config.Secret{}); errs.ReasonOf(err) != "needs_reconnect" {
		t.Errorf("error is %v", err)
	}
	if got := find(t, a, c); got.ReasonCode != "scope_missing" {
		t.Errorf("connection is %s (%s): %s", got.State, got.ReasonCode, got.Reason)
	}
	w.sim.SetLoginPolicy(simulator.LoginPolicy{})
	if r, err := a.Test(t.Context(), find(t, a, c)); err != nil || r.Refusal != nil || w.sim.Counters().Reuses != 0 {
		t.Errorf("the refresh token that came with it was lost: %+v, %v", r, err)
	}
}

// TestSalesforceFailsWhileItRotates: an OAuth error that says that Salesforce itself has failed leaves it as unknown
// as no answer at all what became of the refresh token.
func TestSalesforceFailsWhileItRotates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code    string
		status  int
		applied bool
	}{
		"before":              {"server_error", http.StatusInternalServerError, false},
		"after":               {"server_error", http.StatusInternalServerError, true},
		"after, unknown":      {"unknown_error", http.StatusBadRequest, true},
		"after, maintenance":  {"service_unavailable", http.StatusServiceUnavailable, true},
		"after, a new code":   {"moon_phase", http.StatusBadGateway, true},
		"before, maintenance": {"service_unavailable", http.StatusBadRequest, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var fails atomic.Bool
			front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/services/oauth2/token" || !fails.CompareAndSwap(true, false) {
					w.sim.Handler().ServeHTTP(rw, r)
					return
				}
				if c.applied {
					w.sim.Handler().ServeHTTP(httptest.NewRecorder(), r)
				}
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(c.status)
				_, _ = fmt.Fprintf(rw, `{"error":%q}`, c.code)
			}))
			t.Cleanup(front.Close)
			a := open(t, w.nats.Bus(t), w.keyFile, front.URL, quick())
			linked, err := a.conns.Link(t.Context(), connection.Connection{
				Tenant: "acme", Flow: connection.WebServer, Host: front.URL, InstanceURL: front.URL, OrgID: w.sim.OrgID(), UserID: w.sim.UserID(),
			}, connection.Credentials{
				ClientID: w.sim.ClientID(), ClientSecret: config.NewSecret(w.sim.ClientSecret()), RefreshToken: config.NewSecret(w.sim.RefreshToken()),
			}, connection.Terms{})
			if err != nil {
				t.Fatal(err)
			}
			conn := linked.Connection
			first := mustToken(t, a, conn, config.Secret{})
			fails.Store(true)
			_, err = a.Test(t.Context(), conn)
			if errs.ReasonOf(err) != "refresh_unknown" || errs.RetryAfter(err) <= 0 || !strings.Contains(errs.Message(err), c.code) {
				t.Fatalf("error is %v", err)
			}
			if n := a.events(t); n["unknown"] != 1 || n["needs_reconnect"] != 0 {
				t.Errorf("events are %v", n)
			}
			// The access token that works stays in use, and nothing is asked that could end it.
			calls := w.calls()
			if _, err := a.Test(t.Context(), conn); errs.ReasonOf(err) != "refresh_unknown" || w.calls() != calls || w.sim.Counters().Reuses != 0 {
				t.Errorf("error is %v after %d more calls", err, w.calls()-calls)
			}
			if tok := mustToken(t, a, conn, config.Secret{}); !tok.Equal(first) {
				t.Error("the token that works is no longer given")
			}
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
				if _, err = a.Token(t.Context(), conn.Tenant, conn.ID, first); errs.KindOf(err) != errs.Unavailable {
					break
				}
			}
			got := find(t, a, conn)
			if c.applied && (errs.ReasonOf(err) != "needs_reconnect" || got.ReasonCode != "lost_reply") || !c.applied && (err != nil || got.State != connection.Linked) {
				t.Errorf("error is %v, connection %s (%s)", err, got.State, got.ReasonCode)
			}
			if n := a.events(t)["reuse_suspected"]; n != 0 {
				t.Errorf("%d reuses suspected", n)
			}
		})
	}
}
