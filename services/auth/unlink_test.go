package auth_test

import (
	"bytes"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
)

// told returns what is told of the end of a connection; nil when nothing is.
func told(t testing.TB, b *bus.Bus, tenant, id string) *eventv1.ConnectionUnlinked {
	t.Helper()
	m, err := b.Get(t.Context(), event.StreamEvents, event.ConnectionUnlinked(tenant, id))
	if errs.ReasonOf(err) == "no_message" {
		return nil
	}
	e := &eventv1.ConnectionUnlinked{}
	if err == nil {
		err = m.Unmarshal(e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// stored returns everything that a bucket holds of a key prefix.
func stored(t testing.TB, b *bus.Bus, bucket, prefix string) (all []byte) {
	t.Helper()
	for m, err := range b.Read(t.Context(), "KV_"+bucket, "$KV."+bucket+"."+prefix+">", 0) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m.Data...)
	}
	return all
}

func actions(t testing.TB, b *bus.Bus, tenant, prefix string) (found []string) {
	t.Helper()
	log, err := audit.Open(t.Context(), b, "test")
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := log.List(t.Context(), audit.Query{Tenant: tenant, ActionPrefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		found = append(found, e.GetActor()+" "+e.GetAction()+" "+e.GetSubject())
	}
	return found
}

func unlink(t testing.TB, p *process, id string) *authv1.UnlinkConnectionResponse {
	t.Helper()
	res, err := p.conns.UnlinkConnection(as(t, "acme"), &authv1.UnlinkConnectionRequest{ConnectionId: id})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestUnlinkRevokesAndErases(t *testing.T) {
	t.Parallel()
	sim := newSim(t, simulator.Options{Rotation: true})
	b := testkit.Bus(t)
	p := start(t, b, filepath.Join(t.TempDir(), "key"), at(sim))
	c := p.byConsent(t, beginRequest(sim))
	token := p.mustToken(t, "acme", c.GetId(), "")
	token = p.mustToken(t, "acme", c.GetId(), token) // a rotation: the second refresh token is in force
	if len(stored(t, b, "CREDENTIALS", c.GetId()+".")) == 0 {
		t.Fatal("no credentials are stored: the test proves nothing")
	}
	again := p.begin(t, &authv1.BeginLinkRequest{ConnectionId: c.GetId()}) // with the connection's consumer secret
	other := p.begin(t, beginRequest(sim))
	p.openLink(t, other.GetTicket(), "browser")
	if !bytes.Contains(stored(t, b, "LINKS", ""), []byte(`"sealed"`)) {
		t.Fatal("nothing is sealed in pending links: the test proves nothing")
	}
	res := unlink(t, p, "")
	if !res.GetRevoked() || res.GetRevokeProblem() != "" || res.GetConnection().GetState() != authv1.ConnectionState_CONNECTION_STATE_UNLINKED || res.GetConnection().GetUnlinkedAt() == nil {
		t.Errorf("unlinked: %v", res)
	}
	if status := api(t, c.GetInstanceUrl(), token); status != 401 {
		t.Errorf("the API answers %d to the revoked token", status)
	}
	for _, bucket := range []string{"CREDENTIALS", "ACCESS_TOKENS"} {
		if left := stored(t, b, bucket, ""); len(left) > 0 {
			t.Errorf("%d bytes are left in %s", len(left), bucket)
		}
	}
	if left := stored(t, b, "LINKS", ""); bytes.Contains(left, []byte(`"sealed"`)) || len(left) == 0 {
		t.Errorf("pending links are %s", left)
	}
	for _, id := range []string{again.GetLinkId(), other.GetLinkId()} {
		if l := p.linkState(t, id); l.GetState() != authv1.LinkState_LINK_STATE_FAILED || l.GetError() != "unlinked" || l.GetAdvice() == "" {
			t.Errorf("a pending link is %v", l)
		}
	}
	_, err := p.conns.ShowLink(byPage(t), &authv1.ShowLinkRequest{Ticket: again.GetTicket()})
	wantError(t, err, errs.NotFound, "bad_ticket")
	_, err = p.token(t, "acme", c.GetId(), "")
	wantError(t, err, errs.Precondition, "unlinked")
	_, err = p.conns.TestConnection(as(t, "acme"), &authv1.TestConnectionRequest{ConnectionId: c.GetId()})
	wantError(t, err, errs.Precondition, "unlinked")
	_, err = p.conns.GetConnection(as(t, "acme"), &authv1.GetConnectionRequest{})
	wantError(t, err, errs.NotFound, "not_linked")
	_, err = p.conns.BeginLink(as(t, "acme"), &authv1.BeginLinkRequest{ConnectionId: c.GetId()})
	wantError(t, err, errs.Precondition, "unlinked")
	if e := told(t, b, "acme", c.GetId()); e == nil || e.GetReplaced() || e.GetTenant() != "acme" || e.GetConnectionId() != c.GetId() {
		t.Errorf("told: %v", e)
	}
	// Once more is the same; and nobody else's is found.
	if twice := unlink(t, p, c.GetId()); !twice.GetRevoked() || twice.GetRevokeProblem() != "" {
		t.Errorf("unlinked again: %v", twice)
	}
	if n := bytes.Count(p.log.bytes(), []byte("msg=unlinked ")); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	_, err = p.conns.UnlinkConnection(as(t, "umbrella"), &authv1.UnlinkConnectionRequest{ConnectionId: c.GetId()})
	wantError(t, err, errs.NotFound, "no_such_connection")
	if got := actions(t, b, "acme", "token.revoke"); len(got) != 1 || got[0] != "test token.revoke "+c.GetId() {
		t.Errorf("audit log: %q", got)
	}
	if got := actions(t, b, "acme", "key.destroy"); len(got) != 1 || got[0] != "test key.destroy acme" {
		t.Errorf("audit log: %q", got) // the tenant's data key goes with its last connection
	}
	if got := actions(t, b, "acme", "link.finish"); len(got) != 1 || !strings.HasPrefix(got[0], "test link.finish lnk_") {
		t.Errorf("audit log: %q", got)
	}
	// Linking again makes another connection, and a link that was begun since is not ended by unlinking once more.
	begun := p.begin(t, beginRequest(sim))
	unlink(t, p, c.GetId())
	if l := p.linkState(t, begun.GetLinkId()); l.GetState() != authv1.LinkState_LINK_STATE_PENDING {
		t.Errorf("a link that was begun later is %v", l)
	}
	if again := p.byConsent(t, beginRequest(sim)); again.GetId() == c.GetId() || len(p.list(t, "acme")) != 3 { // with the one that waits
		t.Errorf("linked again: %v", again)
	}
}

// at is a simulated org as a host that auth may call.
func at(sim *simulator.Server) *org { return &org{Server: serverAt(sim.URL)} }

// TestUnlinkOneOfTwo: links that wait for another connection of the tenant, or for a new one, go on.
func TestUnlinkOneOfTwo(t *testing.T) {
	t.Parallel()
	sim := newSim(t, simulator.Options{})
	p := sims(t, sim)
	target := p.byConsent(t, beginRequest(sim))
	req := beginRequest(sim)
	req.Name, req.Purpose = "North", authv1.Purpose_PURPOSE_SOURCE
	source := p.byConsent(t, req)
	ends := p.begin(t, &authv1.BeginLinkRequest{ConnectionId: target.GetId()})
	goesOn := []string{p.begin(t, &authv1.BeginLinkRequest{ConnectionId: source.GetId()}).GetLinkId(), p.begin(t, beginRequest(sim)).GetLinkId()}
	unlink(t, p, target.GetId())
	if l := p.linkState(t, ends.GetLinkId()); l.GetState() != authv1.LinkState_LINK_STATE_FAILED || l.GetError() != "unlinked" {
		t.Errorf("the link of the connection is %v", l)
	}
	for _, id := range goesOn {
		if l := p.linkState(t, id); l.GetState() != authv1.LinkState_LINK_STATE_PENDING {
			t.Errorf("another link is %v", l)
		}
	}
}

func TestUnlinkWhenSalesforceDoesNotAnswer(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	o.noOne = true
	b := testkit.Bus(t)
	p := start(t, b, filepath.Join(t.TempDir(), "key"), o)
	c := p.link(t, "acme", o)
	res := unlink(t, p, c.GetId())
	if res.GetRevoked() || !strings.Contains(res.GetRevokeProblem(), "HTTP 503") || !strings.Contains(res.GetRevokeProblem(), "Connected Apps OAuth Usage") {
		t.Errorf("unlinked: %v", res)
	}
	o.set(func(o *org) { o.noOne = false })
	if twice := unlink(t, p, c.GetId()); twice.GetRevoked() || twice.GetRevokeProblem() != res.GetRevokeProblem() {
		t.Errorf("unlinked again: %v", twice)
	}
	if left := stored(t, b, "CREDENTIALS", ""); len(left) > 0 {
		t.Errorf("%d bytes of credentials are left", len(left))
	}
	if told(t, b, "acme", c.GetId()) == nil {
		t.Error("nobody is told")
	}
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	a, z := newOrg(t, orgA), newOrg(t, orgB)
	p := world(t, a, z)
	req := linkRequest(a.URL, secret)
	req.Name, req.CompanyNames = "Sales", []string{"Acme"}
	res, err := p.conns.LinkConnection(as(t, "acme"), req)
	if err != nil {
		t.Fatal(err)
	}
	c := res.GetConnection()
	// Client id and secret are replaced, and everything else stays.
	a.set(func(o *org) { o.secret = "S3cr3t-canary-third" })
	req = linkRequest("", "S3cr3t-canary-third")
	req.GetClientCredentials().ClientId, req.ConnectionId = "3MVG9second", c.GetId()
	res, err = p.conns.LinkConnection(as(t, "acme"), req)
	if err != nil {
		t.Fatal(err)
	}
	if n := res.GetConnection(); n.GetId() != c.GetId() || n.GetName() != "Sales" || len(n.GetCompanyNames()) != 1 || n.GetClientId() != "3MVG9second" || n.GetHost() != a.URL {
		t.Errorf("connection is %v", n)
	}
	// Another org is refused with both names, by every flow, and nothing changes.
	req = linkRequest(z.URL, secret)
	req.ConnectionId = c.GetId()
	_, err = p.conns.LinkConnection(as(t, "acme"), req)
	host := func(o *org) string { return strings.TrimPrefix(o.URL, "http://") }
	wantError(t, err, errs.Precondition, "other_org", orgA, orgB, host(a), host(z))
	if got := p.connection(t, "acme", ""); got.GetOrgId() != orgA || got.GetClientId() != "3MVG9second" {
		t.Errorf("connection is %v", got)
	}
	z.set(func(o *org) {
		o.change = map[string]any{"scope": "api id refresh_token", "refresh_token": "5Aep861other"}
	})
	begun := p.begin(t, &authv1.BeginLinkRequest{ConnectionId: c.GetId(), Host: z.URL, ClientId: key, ClientSecret: secret})
	u, err := url.Parse(p.openLink(t, begun.GetTicket(), "browser"))
	if err != nil {
		t.Fatal(err)
	}
	link, err := p.finish(t, url.Values{"state": {u.Query().Get("state")}, "code": {"aPrx"}}, "browser")
	if err != nil || link.GetError() != "other_org" || !strings.Contains(link.GetErrorDescription(), orgA) || !strings.Contains(link.GetErrorDescription(), orgB) {
		t.Errorf("consent for another org: %v, %v", link, err)
	}
	z.set(func(o *org) {
		if len(o.revoked) != 1 || o.revoked[0] != "5Aep861other" {
			t.Errorf("%d tokens of the other org are given back", len(o.revoked))
		}
	})
	if got := p.connection(t, "acme", ""); got.GetOrgId() != orgA || got.GetClientId() != "3MVG9second" {
		t.Errorf("connection is %v", got)
	}
	req.ConnectionId = "con_none"
	_, err = p.conns.LinkConnection(as(t, "acme"), req)
	wantError(t, err, errs.NotFound, "no_such_connection")
}

// TestReconnectRevokes: the refresh token of before is ended once the new one is stored, and a host that does not answer
// does not keep anybody from linking.
func TestReconnectRevokes(t *testing.T) {
	t.Parallel()
	o := newOrg(t, orgA)
	b := testkit.Bus(t)
	p := start(t, b, filepath.Join(t.TempDir(), "key"), o)
	again := func(id, refresh string) *authv1.Connection {
		t.Helper()
		o.set(func(o *org) {
			o.change = map[string]any{"scope": "api id refresh_token", "refresh_token": refresh}
		})
		begun := p.begin(t, &authv1.BeginLinkRequest{ConnectionId: id, Host: o.URL, ClientId: key, ClientSecret: secret})
		u, err := url.Parse(p.openLink(t, begun.GetTicket(), "browser"))
		if err != nil {
			t.Fatal(err)
		}
		link, err := p.finish(t, url.Values{"state": {u.Query().Get("state")}, "code": {"aPrx"}}, "browser")
		if err != nil || link.GetError() != "" || link.GetConnection().GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKED {
			t.Fatalf("linked: %v, %v", link, err)
		}
		return link.GetConnection()
	}
	revoked := func(want ...string) {
		t.Helper()
		o.set(func(o *org) {
			if strings.Join(o.revoked, " ") != strings.Join(want, " ") {
				t.Errorf("revoked are %q, want %q", o.revoked, want)
			}
		})
	}
	c := again("", "5Aep861one")
	again(c.GetId(), "5Aep861one") // the app gives the same one
	revoked()
	again(c.GetId(), "5Aep861two")
	revoked("5Aep861one")
	if got := actions(t, b, "acme", "token.revoke"); len(got) != 1 || got[0] != "test token.revoke "+c.GetId() {
		t.Errorf("audit log: %q", got)
	}
	o.set(func(o *org) { o.noOne = true })
	if n := again(c.GetId(), "5Aep861three"); n.GetId() != c.GetId() {
		t.Errorf("linked: %v", n)
	}
	o.set(func(o *org) { o.noOne = false })
	// In another flow there is no refresh token any more.
	p.link(t, "acme", o)
	revoked("5Aep861one", "5Aep861three")
}

func TestReplaceOrg(t *testing.T) {
	t.Parallel()
	a, z := newOrg(t, orgA), newOrg(t, orgB)
	b := testkit.Bus(t)
	p := start(t, b, filepath.Join(t.TempDir(), "key"), a, z)
	old := p.link(t, "acme", a)
	req := linkRequest(z.URL, secret)
	req.ReplaceOrg = orgB
	_, err := p.conns.LinkConnection(as(t, "acme"), req)
	wantError(t, err, errs.Precondition, "replace_org_differs", orgA)
	req.ReplaceOrg = orgA[:15] // ids have two lengths
	res, err := p.conns.LinkConnection(as(t, "acme"), req)
	if err != nil {
		t.Fatal(err)
	}
	if c := res.GetConnection(); c.GetId() == old.GetId() || c.GetOrgId() != orgB || p.connection(t, "acme", "").GetId() != c.GetId() {
		t.Errorf("connection is %v", c)
	}
	if got := p.connection(t, "acme", old.GetId()); got.GetState() != authv1.ConnectionState_CONNECTION_STATE_UNLINKED {
		t.Errorf("the connection before is %v", got)
	}
	if e := told(t, b, "acme", old.GetId()); e == nil || !e.GetReplaced() || e.GetDataKeyDestroyed() {
		t.Errorf("told: %v", e)
	}
	if left := stored(t, b, "CREDENTIALS", old.GetId()+"."); len(left) > 0 {
		t.Errorf("%d bytes of the credentials before are left", len(left))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.revoked) != 1 || a.revoked[0] != tokenOf(orgA, 1) {
		t.Errorf("%d tokens of the org before are revoked", len(a.revoked))
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	a, z := newOrg(t, orgA), newOrg(t, orgB)
	p := world(t, a, z)
	source := func(o *org, name string, companies ...string) (*authv1.Connection, error) {
		req := linkRequest(o.URL, secret)
		req.Name, req.Purpose, req.CompanyNames = name, authv1.Purpose_PURPOSE_SOURCE, companies
		res, err := p.conns.LinkConnection(as(t, "acme"), req)
		return res.GetConnection(), err
	}
	_, err := source(a, "")
	wantError(t, err, errs.Invalid, "missing_name")
	one, err := source(a, "North", "Acme North")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.conns.GetConnection(as(t, "acme"), &authv1.GetConnectionRequest{})
	wantError(t, err, errs.NotFound, "not_linked") // a source is no write target
	_, err = source(z, "north")
	wantError(t, err, errs.Conflict, "name_taken", "North")
	two, err := source(z, "South")
	if err != nil || two.GetId() == one.GetId() {
		t.Fatalf("%v, %v", two, err)
	}
	again, err := source(a, "North 2")
	if err != nil || again.GetId() != one.GetId() || again.GetCompanyNames()[0] != "Acme North" {
		t.Errorf("linked again: %v, %v", again, err)
	}
	target := p.link(t, "acme", z) // the same org may be source and target
	if target.GetPurpose() != authv1.Purpose_PURPOSE_WRITE_TARGET || len(p.list(t, "acme")) != 3 {
		t.Errorf("target is %v", target)
	}
	up, err := p.conns.UpdateConnection(as(t, "acme"), &authv1.UpdateConnectionRequest{ConnectionId: two.GetId(), CompanyNames: []string{" B ", "C"}})
	if err != nil || up.GetConnection().GetName() != "South" || strings.Join(up.GetConnection().GetCompanyNames(), ",") != "B,C" {
		t.Errorf("updated: %v, %v", up, err)
	}
	_, err = p.conns.UpdateConnection(as(t, "acme"), &authv1.UpdateConnectionRequest{ConnectionId: two.GetId(), Name: "SALESFORCE"})
	wantError(t, err, errs.Conflict, "name_taken")
	_, err = p.conns.UpdateConnection(as(t, "umbrella"), &authv1.UpdateConnectionRequest{ConnectionId: two.GetId(), Name: "x"})
	wantError(t, err, errs.NotFound, "no_such_connection")
	_, err = p.conns.UpdateConnection(as(t, "acme"), &authv1.UpdateConnectionRequest{ConnectionId: two.GetId(), Name: strings.Repeat("x", 81)})
	wantError(t, err, errs.Invalid, "invalid_connection")
	unlink(t, p, "") // the write target, not the first of the list
	if got := p.connection(t, "acme", one.GetId()); got.GetState() != authv1.ConnectionState_CONNECTION_STATE_LINKED {
		t.Errorf("source is %v", got)
	}
	if got := p.connection(t, "acme", target.GetId()); got.GetState() != authv1.ConnectionState_CONNECTION_STATE_UNLINKED {
		t.Errorf("target is %v", got)
	}
}

// TestLinkWithASignedKey links with a key that was made here and with one that was brought.
func TestLinkWithASignedKey(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	keyFile := filepath.Join(t.TempDir(), "key")
	p := start(t, b, keyFile)
	res, err := p.conns.CreateSigningKey(as(t, "acme"), &authv1.CreateSigningKeyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	made := res.GetKey()
	p.stop()
	brought, pemKey := certificate(t)
	sim := newSim(t, simulator.Options{JWTCerts: [][]byte{[]byte(made.GetCertificatePem()), brought}})
	p = start(t, b, keyFile, at(sim))
	req := func(jwt *authv1.JwtBearer) *authv1.LinkConnectionRequest {
		jwt.ClientId = sim.ClientID()
		if jwt.Username == "" {
			jwt.Username = "admin@simulator.example"
		}
		return &authv1.LinkConnectionRequest{Host: sim.URL, Credentials: &authv1.LinkConnectionRequest_JwtBearer{JwtBearer: jwt}}
	}
	linked, err := p.conns.LinkConnection(as(t, "acme"), req(&authv1.JwtBearer{SigningKeyId: made.GetId()}))
	if err != nil {
		t.Fatal(err)
	}
	c := linked.GetConnection()
	if c.GetFlow() != authv1.Flow_FLOW_JWT_BEARER || c.GetOrgId() != sim.OrgID() {
		t.Errorf("connection is %v", c)
	}
	p.mustToken(t, "acme", c.GetId(), p.mustToken(t, "acme", c.GetId(), "")) // a second one, by the stored key
	keys, err := p.conns.ListSigningKeys(as(t, "acme"), &authv1.ListSigningKeysRequest{})
	if err != nil || len(keys.GetKeys()) != 1 || keys.GetKeys()[0].GetConnectionId() != c.GetId() {
		t.Errorf("keys are %v, %v", keys, err)
	}
	if keys, err := p.conns.ListSigningKeys(as(t, "umbrella"), &authv1.ListSigningKeysRequest{}); err != nil || len(keys.GetKeys()) != 0 {
		t.Errorf("keys of another tenant are %v, %v", keys, err)
	}
	for name, tc := range map[string]struct {
		jwt    *authv1.JwtBearer
		kind   errs.Kind
		reason string
		words  []string
	}{
		"no key":           {&authv1.JwtBearer{}, errs.Invalid, "invalid_link_request", []string{"no key to sign with"}},
		"two keys":         {&authv1.JwtBearer{SigningKeyId: "x", PrivateKeyPem: pemKey}, errs.Invalid, "invalid_link_request", []string{"set one of them"}},
		"a key of nobody":  {&authv1.JwtBearer{SigningKeyId: "key_x"}, errs.NotFound, "no_such_key", nil},
		"no PEM":           {&authv1.JwtBearer{PrivateKeyPem: "canary"}, errs.Invalid, "invalid_link_request", []string{"not in PEM format"}},
		"a certificate":    {&authv1.JwtBearer{PrivateKeyPem: string(brought)}, errs.Invalid, "invalid_link_request", []string{"holds certificate"}},
		"another user":     {&authv1.JwtBearer{PrivateKeyPem: pemKey, Username: "nobody@acme.example"}, errs.Precondition, "salesforce_refused", []string{"user hasn't approved this consumer", "pre-authorise"}},
		"an evil audience": {&authv1.JwtBearer{PrivateKeyPem: pemKey, Audience: "https://evil.example"}, errs.Invalid, "audience_refused", nil},
	} {
		_, err := p.conns.LinkConnection(as(t, "acme"), req(tc.jwt))
		if errs.KindOf(err) != tc.kind || errs.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range tc.words {
			if !strings.Contains(errs.Message(err), w) {
				t.Errorf("%s: %q does not say %q", name, errs.Message(err), w)
			}
		}
	}
	// The key that was brought takes the place of the one that was made, which goes.
	linked, err = p.conns.LinkConnection(as(t, "acme"), req(&authv1.JwtBearer{PrivateKeyPem: pemKey}))
	if err != nil || linked.GetConnection().GetId() != c.GetId() {
		t.Fatalf("%v, %v", linked, err)
	}
	if left := stored(t, b, "SIGNING_KEYS", ""); len(left) > 0 {
		t.Errorf("%d bytes of the key before are left", len(left))
	}
	unlink(t, p, "")
	if left := stored(t, b, "CREDENTIALS", ""); len(left) > 0 || bytes.Contains(p.log.bytes(), []byte(pemKey[100:140])) {
		t.Errorf("%d bytes of credentials are left, or the log holds the key", len(left))
	}
}
