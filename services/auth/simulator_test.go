package auth_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// rehearsal links tenant acme to a simulated org.
func rehearsal(t *testing.T) (*simulator.Server, *process, *authv1.Connection) {
	t.Helper()
	sim, err := simulator.Start(simulator.Options{ClientSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	p := world(t, &org{Server: &httptest.Server{URL: sim.URL}})
	req := linkRequest(sim.URL, secret)
	req.GetClientCredentials().ClientId = sim.ClientID()
	res, err := p.conns.LinkConnection(as(t, "acme"), req)
	if err != nil {
		t.Fatal(err)
	}
	return sim, p, res.GetConnection()
}

// api calls the org's API and returns the status.
func api(t *testing.T, instance, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, instance+"/services/data/v67.0/limits", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

func TestASimulatedOrg(t *testing.T) {
	t.Parallel()
	sim, p, c := rehearsal(t)
	if c.GetOrgId() != sim.OrgID() || c.GetUserId() != sim.UserID() || c.GetUsername() != "admin@simulator.example" {
		t.Errorf("connection is %v", c)
	}
	first := p.mustToken(t, "acme", c.GetId(), "")
	if status := api(t, c.GetInstanceUrl(), first); status != http.StatusOK {
		t.Errorf("the API answers %d", status)
	}
	sim.ExpireSessions()
	if status := api(t, c.GetInstanceUrl(), first); status != http.StatusUnauthorized {
		t.Errorf("the API answers %d to an expired token", status)
	}
	before := sim.Counters().Requests
	got := crowd(t, p, c.GetId(), first)
	if n := sim.Counters().Requests - before; len(got) != 1 || n != 1 {
		t.Errorf("a crowd got %d tokens by %d requests", len(got), n)
	}
	if status := api(t, c.GetInstanceUrl(), got[0]); status != http.StatusOK {
		t.Errorf("the API answers %d to the new token", status)
	}
}

func TestASimulatedOrgInTrouble(t *testing.T) {
	t.Parallel()
	for _, rule := range []fault.Rule{
		{Kind: fault.ResetBefore},
		{Kind: fault.ResetAfter},
		{Kind: fault.Truncate},
		{Kind: fault.HTML},
		{Kind: fault.Empty},
		{Kind: fault.Error, Status: 503, Code: "SERVER_UNAVAILABLE", Message: "x"},
	} {
		t.Run(string(rule.Kind), func(t *testing.T) {
			t.Parallel()
			sim, p, c := rehearsal(t)
			first := p.mustToken(t, "acme", c.GetId(), "")
			sim.ExpireSessions()
			rule.Path, rule.Count = "/services/oauth2/token", 1
			if err := sim.Faults().Add(rule); err != nil {
				t.Fatal(err)
			}
			_, err := p.token(t, "acme", c.GetId(), first)
			if errs.KindOf(err) != errs.Unavailable || errs.RetryAfter(err) <= 0 {
				t.Errorf("error is %v", err)
			}
			if got := p.connection(t, "acme", ""); got.GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKED {
				t.Errorf("connection is %v", got)
			}
			if res, err := p.conns.TestConnection(as(t, "acme"), &authv1.TestConnectionRequest{}); err != nil || !res.GetOk() {
				t.Errorf("test says %v, %v", res, err)
			}
			if status := api(t, c.GetInstanceUrl(), p.mustToken(t, "acme", c.GetId(), first)); status != http.StatusOK {
				t.Errorf("the API answers %d", status)
			}
		})
	}
}

func TestASimulatedOrgRefusesAnotherSecret(t *testing.T) {
	t.Parallel()
	sim, p, c := rehearsal(t)
	req := linkRequest(sim.URL, "another-secret")
	req.GetClientCredentials().ClientId = sim.ClientID()
	_, err := p.conns.LinkConnection(as(t, "acme"), req)
	wantError(t, err, errs.Precondition, "salesforce_refused", "invalid_client", "consumer secret")
	p.mustToken(t, "acme", c.GetId(), "") // the link that was there is not harmed
	req.GetClientCredentials().ClientId = "another-key"
	_, err = p.conns.LinkConnection(as(t, "acme"), req)
	wantError(t, err, errs.Precondition, "salesforce_refused", "invalid_client_id", "consumer key")
}
