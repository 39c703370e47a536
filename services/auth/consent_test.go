package auth_test

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/simulator"
)

const callback = "http://127.0.0.1:8081/oauth/callback"

// byPage returns a context in which the gateway's pages call.
func byPage(t testing.TB) context.Context {
	return rpc.WithCaller(t.Context(), rpc.Caller{Subject: "gateway", Role: optionsv1.Role_ROLE_INTERNAL})
}

// session is the hash of a browser session's cookie.
func session(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// newSim starts a simulated org.
func newSim(t testing.TB, o simulator.Options) *simulator.Server {
	t.Helper()
	sim, err := simulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return sim
}

// sims starts auth beside simulated orgs.
func sims(t testing.TB, all ...*simulator.Server) *process {
	t.Helper()
	var orgs []*org
	for _, s := range all {
		orgs = append(orgs, at(s))
	}
	return world(t, orgs...)
}

func beginRequest(sim *simulator.Server) *authv1.BeginLinkRequest {
	return &authv1.BeginLinkRequest{Host: sim.URL, ClientId: sim.ClientID(), ClientSecret: sim.ClientSecret()}
}

// begin begins a link by consent for tenant acme.
func (p *process) begin(t testing.TB, req *authv1.BeginLinkRequest) *authv1.BeginLinkResponse {
	t.Helper()
	res, err := p.conns.BeginLink(as(t, "acme"), req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// openLink goes to the authorize URL with a browser session.
func (p *process) openLink(t testing.TB, ticket, browser string) string {
	t.Helper()
	res, err := p.conns.OpenLink(byPage(t), &authv1.OpenLinkRequest{Ticket: ticket, SessionHash: session(browser), RedirectUri: callback})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetAuthorizeUrl()
}

var flowField = regexp.MustCompile(`name="flow" value="([^"]+)"`)

// consent goes through Salesforce's pages and returns what the redirect brings; nil when there is none, with the page.
func consent(t testing.TB, authorizeURL, decision string) (url.Values, string) {
	t.Helper()
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	read := func(res *http.Response, err error) (string, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return string(body), res.Header.Get("Location")
	}
	body, location := read(client.Get(authorizeURL))
	u, err := url.Parse(authorizeURL)
	if err != nil {
		t.Fatal(err)
	}
	flow := flowField.FindStringSubmatch(body)
	for _, step := range []url.Values{
		{"do": {"login"}, "username": {"admin@simulator.example"}, "pw": {"simulator-password"}},
		{"do": {decision}},
	} {
		if flow == nil || location != "" || step.Get("do") == decision && !strings.Contains(body, "oaapprove") {
			break
		}
		step.Set("flow", flow[1])
		body, location = read(client.PostForm(u.Scheme+"://"+u.Host+"/services/oauth2/authorize", step))
	}
	if location == "" {
		return nil, body
	}
	back, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, callback+"?") {
		t.Fatalf("the browser is sent to %s", location)
	}
	return back.Query(), body
}

// finish hands in what the redirect brought.
func (p *process) finish(t testing.TB, q url.Values, browser string) (*authv1.GetLinkResponse, error) {
	t.Helper()
	res, err := p.conns.FinishLink(byPage(t), &authv1.FinishLinkRequest{
		State: q.Get("state"), SessionHash: session(browser), Code: q.Get("code"),
		Error: q.Get("error"), ErrorDescription: q.Get("error_description"),
	})
	return res.GetLink(), err
}

// byConsent links by consent, which must succeed.
func (p *process) byConsent(t testing.TB, req *authv1.BeginLinkRequest) *authv1.Connection {
	t.Helper()
	begun := p.begin(t, req)
	q, _ := consent(t, p.openLink(t, begun.GetTicket(), "browser"), "allow")
	link, err := p.finish(t, q, "browser")
	if err != nil {
		t.Fatal(err)
	}
	if link.GetState() != authv1.LinkState_LINK_STATE_LINKED {
		t.Fatalf("link is %v", link)
	}
	return link.GetConnection()
}

func (p *process) linkState(t testing.TB, id string) *authv1.GetLinkResponse {
	t.Helper()
	res, err := p.conns.GetLink(as(t, "acme"), &authv1.GetLinkRequest{LinkId: id})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (p *process) list(t testing.TB, tenant string) []*authv1.Connection {
	t.Helper()
	res, err := p.conns.ListConnections(as(t, tenant), &authv1.ListConnectionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetConnections()
}

func TestLinkByConsent(t *testing.T) {
	t.Parallel()
	sim := newSim(t, simulator.Options{Rotation: true})
	p := sims(t, sim)
	req := beginRequest(sim)
	req.Name, req.CompanyNames = "Sales", []string{"Acme", " Acme ", "Acme Ltd"}
	begun := p.begin(t, req)
	if s := p.linkState(t, begun.GetLinkId()); s.GetState() != authv1.LinkState_LINK_STATE_PENDING {
		t.Errorf("begun link is %v", s)
	}
	if all := p.list(t, "acme"); len(all) != 1 || all[0].GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKING || all[0].GetName() != "Sales" {
		t.Errorf("connections are %v", all)
	}
	if all := p.list(t, "umbrella"); len(all) != 0 {
		t.Errorf("connections of another tenant are %v", all)
	}
	shown, err := p.conns.ShowLink(byPage(t), &authv1.ShowLinkRequest{Ticket: begun.GetTicket()})
	if err != nil || shown.GetTenant() != "acme" || shown.GetAuthor() != "test" || shown.GetHost() != sim.URL {
		t.Errorf("link is shown as %v, %v", shown, err)
	}
	authorize := p.openLink(t, begun.GetTicket(), "browser")
	u, err := url.Parse(authorize)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("scope") != "api refresh_token id" ||
		q.Get("redirect_uri") != callback || q.Get("response_type") != "code" || len(q.Get("state")) < 43 {
		t.Errorf("authorize URL is %s", authorize)
	}
	if s := p.linkState(t, begun.GetLinkId()); s.GetState() != authv1.LinkState_LINK_STATE_OPENED {
		t.Errorf("opened link is %v", s)
	}
	back, _ := consent(t, authorize, "allow")
	link, err := p.finish(t, back, "browser")
	if err != nil || link.GetState() != authv1.LinkState_LINK_STATE_LINKED {
		t.Fatalf("link is %v, %v", link, err)
	}
	c := link.GetConnection()
	if c.GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKED || c.GetFlow() != authv1.Flow_FLOW_WEB_SERVER || c.GetOrgId() != sim.OrgID() ||
		c.GetUsername() != "admin@simulator.example" || c.GetUserEmail() == "" || c.GetOrgName() != strings.TrimPrefix(sim.URL, "http://") || c.GetHost() != sim.URL {
		t.Errorf("connection is %v", c)
	}
	if diff := cmp.Diff([]string{"Acme", "Acme Ltd"}, c.GetCompanyNames()); diff != "" {
		t.Error(diff)
	}
	if s := p.linkState(t, begun.GetLinkId()); s.GetState() != authv1.LinkState_LINK_STATE_LINKED || s.GetConnection().GetId() != c.GetId() {
		t.Errorf("finished link is %v", s)
	}
	if all := p.list(t, "acme"); len(all) != 1 || all[0].GetId() != c.GetId() {
		t.Errorf("connections are %v", all)
	}
	// The refresh token works, again and again.
	token := p.mustToken(t, "acme", c.GetId(), "")
	for range 3 {
		token = p.mustToken(t, "acme", c.GetId(), token)
		if status := api(t, c.GetInstanceUrl(), token); status != http.StatusOK {
			t.Errorf("the API answers %d", status)
		}
	}
}

func TestConsentIsRefused(t *testing.T) {
	t.Parallel()
	sim := newSim(t, simulator.Options{})
	p := sims(t, sim)
	begun := p.begin(t, beginRequest(sim))
	q, _ := consent(t, p.openLink(t, begun.GetTicket(), "browser"), "deny")
	link, err := p.finish(t, q, "browser")
	if err != nil || link.GetState() != authv1.LinkState_LINK_STATE_FAILED || link.GetError() != "access_denied" ||
		link.GetErrorDescription() != "end-user denied authorization" || !strings.Contains(link.GetAdvice(), "allow access") {
		t.Errorf("link is %v, %v", link, err)
	}
	if s := p.linkState(t, begun.GetLinkId()); s.GetState() != authv1.LinkState_LINK_STATE_FAILED || s.GetError() != "access_denied" {
		t.Errorf("link is %v", s)
	}
	if all := p.list(t, "acme"); len(all) != 0 {
		t.Errorf("connections are %v", all)
	}
}

// TestStatesWorkOnce proves that neither a ticket nor a state works twice, elsewhere or for somebody else.
func TestStatesWorkOnce(t *testing.T) {
	t.Parallel()
	sim := newSim(t, simulator.Options{})
	p := sims(t, sim)
	begun := p.begin(t, beginRequest(sim))
	q, _ := consent(t, p.openLink(t, begun.GetTicket(), "browser"), "allow")
	bad := func(what string, q url.Values, browser string) {
		t.Helper()
		_, err := p.finish(t, q, browser)
		wantError(t, err, errs.NotFound, "bad_state", "Begin the link again")
		if all := p.list(t, "acme"); what != "again" && len(all) > 0 && all[0].GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKING {
			t.Errorf("%s: connections are %v", what, all)
		}
	}
	bad("another browser", q, "other")
	bad("no browser", q, "")
	// A state of another link in the same browser, with this link's code, is refused by Salesforce: the challenge differs.
	other := p.begin(t, beginRequest(sim))
	foreign, _ := consent(t, p.openLink(t, other.GetTicket(), "browser"), "allow")
	mixed := url.Values{"state": {foreign.Get("state")}, "code": {q.Get("code")}}
	link, err := p.finish(t, mixed, "browser")
	if err != nil || link.GetState() != authv1.LinkState_LINK_STATE_FAILED || link.GetError() != "invalid_grant" || link.GetErrorDescription() != "invalid code verifier" {
		t.Errorf("a code of another link: %v, %v", link, err)
	}
	bad("the state that was used up so", foreign, "browser")
	_, err = p.conns.ShowLink(byPage(t), &authv1.ShowLinkRequest{Ticket: begun.GetTicket()})
	wantError(t, err, errs.NotFound, "bad_ticket", "works once")
	_, err = p.conns.OpenLink(byPage(t), &authv1.OpenLinkRequest{Ticket: begun.GetTicket(), SessionHash: session("x"), RedirectUri: callback})
	wantError(t, err, errs.NotFound, "bad_ticket")

	third := p.begin(t, beginRequest(sim))
	q, _ = consent(t, p.openLink(t, third.GetTicket(), "browser"), "allow")
	if link, err := p.finish(t, q, "browser"); err != nil || link.GetState() != authv1.LinkState_LINK_STATE_LINKED {
		t.Fatalf("link is %v, %v", link, err)
	}
	bad("again", q, "browser")
	before := sim.Counters().Requests
	bad("again", q, "other")
	if sim.Counters().Requests != before {
		t.Error("Salesforce was asked about a state that does not work")
	}
}

func TestLinksOfOtherTenantsAreNotSeen(t *testing.T) {
	t.Parallel()
	sim := newSim(t, simulator.Options{})
	p := sims(t, sim)
	begun := p.begin(t, beginRequest(sim))
	for _, id := range []string{begun.GetLinkId(), "", "lnk_x", "..", "*", ">", strings.Repeat("x", 5000)} {
		_, err := p.conns.GetLink(as(t, "umbrella"), &authv1.GetLinkRequest{LinkId: id})
		wantError(t, err, errs.NotFound, "no_such_link")
	}
	for name, call := range map[string]func(context.Context) error{
		"ShowLink": func(ctx context.Context) error {
			_, err := p.conns.ShowLink(ctx, &authv1.ShowLinkRequest{Ticket: begun.GetTicket()})
			return err
		},
		"OpenLink": func(ctx context.Context) error {
			_, err := p.conns.OpenLink(ctx, &authv1.OpenLinkRequest{Ticket: begun.GetTicket(), SessionHash: session("x"), RedirectUri: callback})
			return err
		},
		"FinishLink": func(ctx context.Context) error {
			_, err := p.conns.FinishLink(ctx, &authv1.FinishLinkRequest{})
			return err
		},
	} {
		if err := call(as(t, "acme")); errs.KindOf(err) != errs.Denied {
			t.Errorf("%s by an admin: %v", name, err)
		}
	}
}

func TestRedirectURIs(t *testing.T) {
	t.Parallel()
	sim := newSim(t, simulator.Options{RedirectURIs: []string{"https://sync.example.com/oauth/callback"}})
	p := sims(t, sim)
	for uri, ok := range map[string]bool{
		"https://sync.example.com/oauth/callback":   true,
		"http://127.0.0.1:1/oauth/callback":         true,
		"http://[::1]:1/oauth/callback":             true,
		"http://localhost/oauth/callback":           true,
		"http://sync.example.com/oauth/callback":    false,
		"https://sync.example.com/oauth/callback?x": false,
		"https://sync.example.com/oauth/":           false,
		"https://u@sync.example.com/oauth/callback": false,
		"javascript:alert(1)":                       false,
		"":                                          false,
	} {
		begun := p.begin(t, beginRequest(sim))
		_, err := p.conns.OpenLink(byPage(t), &authv1.OpenLinkRequest{Ticket: begun.GetTicket(), SessionHash: session("x"), RedirectUri: uri})
		if ok != (err == nil) || !ok && errs.ReasonOf(err) != "bad_redirect_uri" {
			t.Errorf("%q: %v", uri, err)
		}
	}
	// One that the app does not list ends at a page of Salesforce.
	q, page := consent(t, p.openLink(t, p.begin(t, beginRequest(sim)).GetTicket(), "x"), "allow")
	if q != nil || !strings.Contains(page, "redirect_uri_mismatch") {
		t.Errorf("the browser comes back with %v", q)
	}
}

func TestConsentNeedsAnApp(t *testing.T) {
	t.Parallel()
	sim := newSim(t, simulator.Options{})
	p := sims(t, sim)
	req := beginRequest(sim)
	req.ClientId = ""
	_, err := p.conns.BeginLink(as(t, "acme"), req)
	wantError(t, err, errs.Invalid, "missing_client_id", "consumer key")
	// A link by consent is renewed with its own app.
	c := p.byConsent(t, beginRequest(sim))
	again := p.byConsent(t, &authv1.BeginLinkRequest{ConnectionId: c.GetId()})
	if again.GetId() != c.GetId() || again.GetClientId() != sim.ClientID() || again.GetHost() != sim.URL {
		t.Errorf("connection is %v", again)
	}
}

// TestLoginPolicies proves that what the org's policies refuse is told in Salesforce's words, with advice, and that nothing
// is stored.
func TestLoginPolicies(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		policy        simulator.LoginPolicy
		code, says    string
		advice        string
		inBrowser     bool   // the policy already ends the consent at a page of Salesforce
		page          string // what that page says
		noCredentials bool   // it does not concern client credentials
	}{
		"ip":       {policy: simulator.LoginPolicy{RestrictIP: true}, code: "invalid_grant", says: "ip restricted", advice: "trusted IP ranges", inBrowser: true, page: "check your username"},
		"hours":    {policy: simulator.LoginPolicy{OutsideHours: true}, code: "invalid_grant", says: "invalid login hours", advice: "login hours", inBrowser: true, page: "check your username"},
		"blocked":  {policy: simulator.LoginPolicy{BlockApp: true}, code: "app_blocked", says: "this app is blocked by admin", advice: "Connected Apps OAuth Usage", inBrowser: true, page: "app must be installed"},
		"run-as":   {policy: simulator.LoginPolicy{NoRunAs: true}, code: "invalid_grant", says: "no client credentials user enabled", advice: "Run As"},
		"collide":  {policy: simulator.LoginPolicy{Collide: 1}, code: "retry_request", says: "retry your request", advice: "try again"},
		"no api":   {policy: simulator.LoginPolicy{NoAPI: true}, code: "", says: "api is not among them", advice: "Manage user data via APIs"},
		"API only": {policy: simulator.LoginPolicy{APIOnly: true}, inBrowser: true, page: "check your username", noCredentials: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := newSim(t, simulator.Options{})
			p := sims(t, sim)
			sim.SetLoginPolicy(tc.policy)
			if !tc.noCredentials {
				req := linkRequest(sim.URL, sim.ClientSecret())
				req.GetClientCredentials().ClientId = sim.ClientID()
				_, err := p.conns.LinkConnection(as(t, "acme"), req)
				if text := errs.Message(err); err == nil || !strings.Contains(text, tc.code) || !strings.Contains(text, tc.says) || !strings.Contains(text, tc.advice) {
					t.Errorf("client credentials: %v", err)
				}
			}
			sim.SetLoginPolicy(tc.policy)
			begun := p.begin(t, beginRequest(sim))
			q, page := consent(t, p.openLink(t, begun.GetTicket(), "browser"), "allow")
			if tc.inBrowser {
				if q != nil || !strings.Contains(page, tc.page) {
					t.Errorf("the browser comes back with %v, from a page that says %s", q, page)
				}
			} else if !tc.policy.NoRunAs { // which concerns client credentials alone
				link, err := p.finish(t, q, "browser")
				all := link.GetError() + " " + link.GetErrorDescription() + " " + link.GetAdvice()
				if err != nil || link.GetState() != authv1.LinkState_LINK_STATE_FAILED || !strings.Contains(all, tc.advice) || !strings.Contains(all, tc.says) && tc.code != "" {
					t.Errorf("consent: %v, %v", link, err)
				}
			}
			for _, c := range p.list(t, "acme") {
				if c.GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKING {
					t.Errorf("connection %v", c)
				}
			}
		})
	}
}

// TestWhatConsentLacks proves that a consent which is not enough is given back to Salesforce.
func TestWhatConsentLacks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change map[string]any
		api    bool
		code   string
		words  []string
	}{
		"a scope":         {map[string]any{"scope": "api id", "refresh_token": "5Aep861canary"}, false, "missing_scope", []string{"refresh_token is not among them", "Perform requests at any time"}},
		"two scopes":      {map[string]any{"scope": "refresh_token", "refresh_token": "5Aep861canary"}, false, "missing_scope", []string{"api and id", "Manage user data"}},
		"a refresh token": {map[string]any{"scope": "api id refresh_token"}, false, "no_refresh_token", []string{"valid until revoked"}},
		"the web":         {map[string]any{"scope": "api id refresh_token", "refresh_token": "5Aep861canary"}, true, "api_only_user", []string{"licence for integrations", "client credentials"}},
		"our host": {
			map[string]any{"scope": "api id refresh_token", "refresh_token": "5Aep861canary", "instance_url": "https://evil.example"},
			false,
			"answer_not_trusted",
			[]string{"instance_url"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrg(t, orgA)
			o.set(func(o *org) { o.change, o.apiOnly = tc.change, tc.api })
			p := world(t, o)
			begun := p.begin(t, &authv1.BeginLinkRequest{Host: o.URL, ClientId: key, ClientSecret: secret})
			u, err := url.Parse(p.openLink(t, begun.GetTicket(), "browser"))
			if err != nil {
				t.Fatal(err)
			}
			link, err := p.finish(t, url.Values{"state": {u.Query().Get("state")}, "code": {"aPrxcanary=="}}, "browser")
			all := link.GetErrorDescription() + " " + link.GetAdvice()
			if err != nil || link.GetState() != authv1.LinkState_LINK_STATE_FAILED || link.GetError() != tc.code {
				t.Fatalf("link is %v, %v", link, err)
			}
			for _, w := range tc.words {
				if !strings.Contains(all, w) {
					t.Errorf("it says %q, not %q", all, w)
				}
			}
			if len(p.list(t, "acme")) != 0 {
				t.Error("a connection was stored")
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			if given := o.revoked; tc.code != "answer_not_trusted" && (len(given) != 1 || tc.change["refresh_token"] != nil && given[0] != "5Aep861canary") {
				t.Errorf("revoked: %d tokens", len(given))
			}
		})
	}
}
