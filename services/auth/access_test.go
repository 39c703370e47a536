package auth_test

import (
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/lease/leasetest"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
	"github.com/catalogsync/catalogsync/simulator"
)

func TestTokensAreForHoldersOfLeasesAndGrantsAlone(t *testing.T) {
	t.Parallel()
	a, z := newOrg(t, orgA), newOrg(t, orgB)
	p := world(t, a, z)
	ca, cz := p.link(t, "acme", a).GetId(), p.link(t, "umbrella", z).GetId()
	held := p.ask(t, "acme", ca, "").GetLease()
	if tok := p.mustToken(t, "acme", ca, ""); tok != tokenOf(orgA, 1) {
		t.Errorf("who holds a lease gets %q", tok)
	}
	with := func(fn func(*authv1.TaskLease)) *authv1.TaskLease {
		l := &authv1.TaskLease{RunId: held.GetRunId(), Stage: held.GetStage(), Number: held.GetNumber(), Epoch: held.GetEpoch()}
		fn(l)
		return l
	}
	grantOf := func(tenant, id string) string {
		t.Helper()
		res, err := p.tokens.CreateGrant(as(t, tenant), &authv1.CreateGrantRequest{ConnectionId: id})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetGrant()
	}
	grant, foreign := grantOf("acme", ca), grantOf("umbrella", cz)
	settled := p.ledger
	settled.Put(t, leasetest.Run{ID: "over", Tenant: "acme", ConnectionID: ca, State: "succeeded"},
		leasetest.Task{RunID: "over", Tenant: "acme", Stage: "apply", Number: 1, State: "leased", Epoch: 1})
	settled.Put(t, leasetest.Run{ID: "half", Tenant: "acme", ConnectionID: ca, State: "running"},
		leasetest.Task{RunID: "half", Tenant: "acme", Stage: "apply", Number: 1, State: "settled", Epoch: 1})

	for name, c := range map[string]struct {
		tenant string
		req    *authv1.GetAccessTokenRequest
		reason string // empty: a token
	}{
		"nothing":                      {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca}, "no_lease"},
		"an empty lease":               {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Lease: &authv1.TaskLease{}}, "no_lease"},
		"another tenant":               {"umbrella", &authv1.GetAccessTokenRequest{ConnectionId: ca, Lease: held}, "no_lease"},
		"another connection":           {"acme", &authv1.GetAccessTokenRequest{ConnectionId: cz, Lease: held}, "no_lease"},
		"a lower epoch":                {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Lease: with(func(l *authv1.TaskLease) { l.Epoch = 0 })}, "no_lease"},
		"a higher epoch":               {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Lease: with(func(l *authv1.TaskLease) { l.Epoch++ })}, "no_lease"},
		"another task":                 {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Lease: with(func(l *authv1.TaskLease) { l.Number++ })}, "no_lease"},
		"a run that has ended":         {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Lease: with(func(l *authv1.TaskLease) { l.RunId = "over" })}, "no_lease"},
		"a task that has ended":        {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Lease: with(func(l *authv1.TaskLease) { l.RunId = "half" })}, "no_lease"},
		"a lease, and a grant beside":  {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Lease: with(func(l *authv1.TaskLease) { l.Epoch++ }), Grant: grant}, "no_lease"},
		"a grant":                      {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Grant: grant}, ""},
		"the same grant":               {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Grant: grant}, ""},
		"another's grant":              {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Grant: foreign}, "no_grant"},
		"a grant, as another tenant":   {"umbrella", &authv1.GetAccessTokenRequest{ConnectionId: ca, Grant: grant}, "no_grant"},
		"a grant, for another org":     {"acme", &authv1.GetAccessTokenRequest{ConnectionId: cz, Grant: grant}, "no_grant"},
		"a grant that nobody has made": {"acme", &authv1.GetAccessTokenRequest{ConnectionId: ca, Grant: strings.Repeat("x", len(grant))}, "no_grant"},
	} {
		res, err := p.tokens.GetAccessToken(as(t, c.tenant), c.req)
		if c.reason == "" {
			if err != nil || res.GetAccessToken() != tokenOf(orgA, 1) || res.GetOrgId() != orgA || res.GetInstanceUrl() != a.URL {
				t.Errorf("%s: %v", name, err)
			}
		} else if errs.KindOf(err) != errs.Denied || errs.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, want %s", name, err, c.reason)
		}
	}
	_, err := p.tokens.CreateGrant(as(t, "umbrella"), &authv1.CreateGrantRequest{ConnectionId: ca})
	wantError(t, err, errs.NotFound, "no_such_connection")
	_, err = p.tokens.CreateGrant(t.Context(), &authv1.CreateGrantRequest{ConnectionId: ca})
	wantError(t, err, errs.Unauthenticated, "no_tenant")
	if a.requests() != 1 || z.requests() != 1 {
		t.Errorf("%d and %d token requests", a.requests(), z.requests())
	}
}

func TestASecondRefusalNeedsAReconnect(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	p := world(t, o)
	c := p.link(t, "acme", o).GetId()
	second := p.mustToken(t, "acme", c, tokenOf(orgA, 1))
	req := p.ask(t, "acme", c, tokenOf(orgA, 1)) // a token of the past: others have got another one meanwhile
	req.RefusedAgain = true
	if res, err := p.tokens.GetAccessToken(as(t, "acme"), req); err != nil || res.GetAccessToken() != second {
		t.Errorf("a token of the past: %v", err)
	}
	req = p.ask(t, "acme", c, second)
	req.RefusedAgain = true
	_, err := p.tokens.GetAccessToken(as(t, "acme"), req)
	wantError(t, err, errs.Precondition, "needs_reconnect", "refuses the access tokens", "API access")
	if got := p.connection(t, "acme", c); got.GetReasonCode() != "session_refused" || o.requests() != 2 {
		t.Errorf("connection is %v after %d requests", got, o.requests())
	}
}

// TestThreeServicesRotateOnce is the proof for whole services: 100 workers ask three auth processes over gRPC.
func TestThreeServicesRotateOnce(t *testing.T) {
	t.Parallel()
	const rotations, callers = 500, 100
	sim, err := simulator.Start(simulator.Options{Rotation: true, ClientSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	nats, keyFile, host := testkit.NATS(t), filepath.Join(t.TempDir(), "key"), &org{Server: &httptest.Server{URL: sim.URL}}
	var services []*process
	for range 3 {
		services = append(services, startAs(t, nats.Bus(t), keyFile, auth.NewUnlimited, host))
	}
	b := nats.Bus(t)
	sets, err := connection.OpenKeySets(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Load(t.Context(), sets, keyFile, false)
	if err != nil {
		t.Fatal(err)
	}
	conns, err := connection.Open(t.Context(), b, v, testkit.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	linked, err := conns.Link(t.Context(), connection.Connection{
		Tenant: "acme", Flow: connection.WebServer, Host: sim.URL, InstanceURL: sim.URL, OrgID: sim.OrgID(), UserID: sim.UserID(),
	}, connection.Credentials{ClientID: sim.ClientID(), ClientSecret: config.NewSecret(secret), RefreshToken: config.NewSecret(sim.RefreshToken())}, connection.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	c := linked.Connection
	rejected := ""
	for i := range rotations {
		got := make([]string, callers)
		var wg sync.WaitGroup
		for j := range got {
			wg.Go(func() {
				tok, err := services[j%len(services)].token(t, "acme", c.ID, rejected)
				if err != nil {
					t.Error(err)
				}
				got[j] = tok
			})
		}
		wg.Wait()
		different := slices.Compact(slices.Sorted(slices.Values(got)))
		n := sim.Counters()
		if len(different) != 1 || different[0] == rejected || n.Routes["POST /services/oauth2/token"] != int64(i+1) || n.Rotations != int64(i+1) || n.Reuses != 0 {
			t.Fatalf("rotation %d: %d different tokens, the org saw %+v", i+1, len(different), n)
		}
		rejected = different[0]
	}
	if status := api(t, sim.URL, rejected); status != 200 {
		t.Errorf("the API answers %d to the last token", status)
	}
}
