package auth_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// crowd asks for a token from 100 callers at once and returns what they got.
func crowd(t *testing.T, p *process, connection, rejected string) []string {
	t.Helper()
	got := make([]string, 100)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			tok, err := p.token(t, "acme", connection, rejected)
			if err != nil {
				t.Error(err)
			}
			got[i] = tok
		})
	}
	wg.Wait()
	return slices.Compact(slices.Sorted(slices.Values(got)))
}

func TestACrowdCausesOneTokenRequest(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	b, keyFile := testkit.Bus(t), filepath.Join(t.TempDir(), "key")
	p := start(t, b, keyFile, o)
	c := p.link(t, "acme", o)
	p.stop()

	p = start(t, b, keyFile, o) // finds the token that the other one left
	if got := crowd(t, p, c.GetId(), ""); len(got) != 1 || got[0] != tokenOf(orgA, 1) || o.requests() != 1 {
		t.Errorf("a crowd got %d tokens by %d requests", len(got), o.requests()-1)
	}
	for n := range 2 {
		if got := crowd(t, p, c.GetId(), tokenOf(orgA, n+1)); len(got) != 1 || got[0] != tokenOf(orgA, n+2) || o.requests() != n+2 {
			t.Errorf("a crowd whose token was rejected got %d tokens by %d requests", len(got), o.requests()-n-1)
		}
	}
	if tok := p.mustToken(t, "acme", c.GetId(), tokenOf(orgA, 2)); tok != tokenOf(orgA, 3) || o.requests() != 3 {
		t.Errorf("a token that was replaced long ago was rejected and %d requests were made", o.requests()-3)
	}
}

func TestATokenRequestOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	c := p.link(t, "acme", o)
	asked, answer := make(chan struct{}), make(chan struct{})
	o.set(func(o *org) {
		o.script = func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			<-answer
			refuse("retry_request", "retry your request")(w, r)
		}
	})
	ctx, leave := context.WithCancel(as(t, "acme"))
	first, req := make(chan error), p.ask(t, "acme", c.GetId(), tokenOf(orgA, 1))
	go func() {
		_, err := p.tokens.GetAccessToken(ctx, req)
		first <- err
	}()
	<-asked
	leave()
	if err := <-first; errs.KindOf(err) != errs.Unavailable {
		t.Errorf("who left got %v", err)
	}
	second := make(chan error)
	go func() {
		_, err := p.token(t, "acme", c.GetId(), tokenOf(orgA, 1))
		second <- err
	}()
	close(answer)
	wantError(t, <-second, errs.Unavailable, "salesforce_busy", "retry your request")
	if o.requests() != 2 {
		t.Errorf("%d requests", o.requests())
	}
}

func TestADefiniteRefusalNeedsAReconnect(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	c := p.link(t, "acme", o)
	o.set(func(o *org) { o.script = refuse("invalid_grant", "no client credentials user enabled") })
	_, err := p.token(t, "acme", c.GetId(), tokenOf(orgA, 1))
	wantError(t, err, errs.Precondition, "needs_reconnect", "no client credentials user enabled", "Run As user")
	asked := o.requests()
	_, err = p.token(t, "acme", c.GetId(), "")
	wantError(t, err, errs.Precondition, "needs_reconnect", "no client credentials user enabled")
	if o.requests() != asked {
		t.Error("Salesforce was asked again")
	}
	got := p.connection(t, "acme", c.GetId())
	if got.GetState() != authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT || got.GetReason() == "" {
		t.Errorf("connection is %v", got)
	}

	test, err := p.conns.TestConnection(as(t, "acme"), &authv1.TestConnectionRequest{})
	if err != nil || test.GetOk() || test.GetError() != "invalid_grant" ||
		test.GetErrorDescription() != "no client credentials user enabled" || test.GetAdvice() == "" {
		t.Errorf("test says %v, %v", test, err)
	}
	o.set(func(o *org) { o.script = nil })
	test, err = p.conns.TestConnection(as(t, "acme"), &authv1.TestConnectionRequest{ConnectionId: c.GetId()})
	if err != nil || !test.GetOk() || test.GetConnection().GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKED || test.GetConnection().GetReason() != "" {
		t.Errorf("test after the org was mended says %v, %v", test, err)
	}
	p.mustToken(t, "acme", c.GetId(), "")
}

func TestLinkingAgainEndsNeedsReconnect(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	c := p.link(t, "acme", o)
	o.set(func(o *org) { o.secret = "S3cr3t-canary-second" })
	_, err := p.token(t, "acme", c.GetId(), tokenOf(orgA, 1))
	wantError(t, err, errs.Precondition, "needs_reconnect", "invalid client credentials")
	if got := p.link(t, "acme", o); got.GetId() != c.GetId() || got.GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKED {
		t.Errorf("connection is %v", got)
	}
	p.mustToken(t, "acme", c.GetId(), "")
}

func TestTroubleChangesNothing(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]http.HandlerFunc{
		"logins collide":    refuse("retry_request", "retry your request"),
		"too many logins":   refuse("rate_limit_exceeded", ""),
		"fault":             func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"connection broken": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"page of a proxy":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusForbidden) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrg(t, orgA)
			p := world(t, o)
			c := p.link(t, "acme", o)
			o.set(func(o *org) { o.script = script })

			test, err := p.conns.TestConnection(as(t, "acme"), &authv1.TestConnectionRequest{})
			if err == nil && test.GetOk() || err != nil && errs.KindOf(err) != errs.Unavailable {
				t.Errorf("test says %v, %v", test, err)
			}
			if tok := p.mustToken(t, "acme", c.GetId(), ""); tok != tokenOf(orgA, 1) {
				t.Error("a token that nobody rejected is no longer given")
			}
			_, err = p.token(t, "acme", c.GetId(), tokenOf(orgA, 1))
			if errs.KindOf(err) != errs.Unavailable || errs.RetryAfter(err) <= 0 {
				t.Errorf("error is %v, to be tried after %v", err, errs.RetryAfter(err))
			}
			if got := p.connection(t, "acme", ""); got.GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKED {
				t.Errorf("connection is %v", got)
			}
			o.set(func(o *org) { o.script = nil })
			if test, err = p.conns.TestConnection(as(t, "acme"), &authv1.TestConnectionRequest{}); err != nil || !test.GetOk() {
				t.Errorf("test by an admin says %v, %v", test, err)
			}
			p.mustToken(t, "acme", c.GetId(), tokenOf(orgA, 1))
		})
	}
}

func TestTheSameTokenAgainIsNoNewToken(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	c := p.link(t, "acme", o)
	o.set(func(o *org) { o.change = map[string]any{"access_token": tokenOf(orgA, 1)} })
	_, err := p.token(t, "acme", c.GetId(), tokenOf(orgA, 1))
	wantError(t, err, errs.Unavailable, "token_still_rejected", "scope api")
}

func TestWhoRejectsEveryTokenIsSlowedDown(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	c := p.link(t, "acme", o)
	tok, err := tokenOf(orgA, 1), error(nil)
	for range 100 {
		var next string
		if next, err = p.token(t, "acme", c.GetId(), tok); err != nil {
			break
		}
		tok = next
	}
	wantError(t, err, errs.RateLimited, "too_many_token_requests", "rejects every token")
	if errs.RetryAfter(err) <= 0 || o.requests() > 50 {
		t.Errorf("%d requests, retry after %v", o.requests(), errs.RetryAfter(err))
	}
}

func TestAHostThatBelongsToAnotherOrgNow(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	c := p.link(t, "acme", o)
	o.set(func(o *org) { o.id = orgB })
	_, err := p.token(t, "acme", c.GetId(), tokenOf(orgA, 1))
	wantError(t, err, errs.Precondition, "needs_reconnect", orgA, orgB)
	test, err := p.conns.TestConnection(as(t, "acme"), &authv1.TestConnectionRequest{})
	if err != nil || test.GetOk() || test.GetAdvice() == "" {
		t.Errorf("test says %v, %v", test, err)
	}
}

func TestInstanceURLIsFollowed(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	c := p.link(t, "acme", o)
	o.set(func(o *org) { o.change = map[string]any{"instance_url": "https://acme--new.my.salesforce.com"} })
	res, err := p.tokens.GetAccessToken(as(t, "acme"), p.ask(t, "acme", c.GetId(), tokenOf(orgA, 1)))
	if err != nil || res.GetInstanceUrl() != "https://acme--new.my.salesforce.com" || res.GetOrgId() != orgA {
		t.Errorf("%v, %v", res.GetInstanceUrl(), err)
	}
	if got := p.connection(t, "acme", "").GetInstanceUrl(); got != "https://acme--new.my.salesforce.com" {
		t.Errorf("connection says %s", got)
	}
}

func TestProcessesShareWhatWasLinked(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	b, keyFile := testkit.Bus(t), filepath.Join(t.TempDir(), "key")
	p, q := start(t, b, keyFile, o), start(t, b, keyFile, o)
	c := p.link(t, "acme", o)
	old := q.mustToken(t, "acme", c.GetId(), "")
	o.set(func(o *org) { o.secret = "S3cr3t-canary-second" })
	p.link(t, "acme", o)
	testkit.Eventually(t, 10*time.Second, func() error {
		if q.mustToken(t, "acme", c.GetId(), "") == old {
			return errors.New("the other process gives the token of the old credentials")
		}
		return nil
	})
}

func TestTenantsSeeTheirOwnConnectionsOnly(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	c := p.link(t, "acme", o)
	for _, tenant := range []string{"umbrella", "acme.x", "acm", "ACME", "acme "} {
		_, err := p.conns.GetConnection(as(t, tenant), &authv1.GetConnectionRequest{ConnectionId: c.GetId()})
		wantError(t, err, errs.NotFound, "no_such_connection")
		_, err = p.conns.TestConnection(as(t, tenant), &authv1.TestConnectionRequest{ConnectionId: c.GetId()})
		wantError(t, err, errs.NotFound, "no_such_connection")
		_, err = p.token(t, tenant, c.GetId(), "")
		wantError(t, err, errs.NotFound, "no_such_connection")
		list, err := p.conns.ListConnections(as(t, tenant), &authv1.ListConnectionsRequest{})
		if err != nil || len(list.GetConnections()) != 0 {
			t.Errorf("tenant %q sees %v, %v", tenant, list, err)
		}
	}
	_, err := p.tokens.GetAccessToken(t.Context(), &authv1.GetAccessTokenRequest{ConnectionId: c.GetId()})
	wantError(t, err, errs.Unauthenticated, "no_tenant")
	_, err = p.token(t, "acme", "", "")
	wantError(t, err, errs.Invalid, "missing_connection_id")
	if o.requests() != 1 {
		t.Error("Salesforce was asked")
	}
}

func TestListLinkedConnections(t *testing.T) {
	t.Parallel()
	a, b := newOrg(t, orgA), newOrg(t, orgB)
	p := world(t, a, b)
	want := []string{p.link(t, "acme", a).GetId(), p.link(t, "umbrella", b).GetId()}
	list := func(ctx context.Context) (ids []string, err error) {
		stream, err := p.tokens.ListLinkedConnections(ctx, &authv1.ListLinkedConnectionsRequest{})
		if err != nil {
			return nil, err
		}
		for {
			res, err := stream.Recv()
			if err != nil {
				return ids, err
			}
			ids = append(ids, res.GetConnection().GetId())
		}
	}
	internal := rpc.WithCaller(t.Context(), rpc.Caller{Subject: "scheduler", Role: optionsv1.Role_ROLE_INTERNAL})
	if got, _ := list(internal); !slices.Equal(got, want) {
		t.Errorf("linked are %v, want %v", got, want)
	}
	b.set(func(o *org) { o.script = refuse("inactive_org", "org is locked") })
	_, err := p.token(t, "umbrella", want[1], tokenOf(orgB, 1))
	wantError(t, err, errs.Precondition, "needs_reconnect")
	if got, _ := list(internal); !slices.Equal(got, want[:1]) {
		t.Errorf("linked are %v, want %v", got, want[:1])
	}
	for _, ctx := range []context.Context{t.Context(), as(t, "acme")} {
		_, err := list(ctx)
		wantError(t, err, errs.Denied, "internal_only")
	}
}
