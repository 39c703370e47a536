package e2e_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/test/harness"
)

// browser goes from page to page as a person's does, and remembers what it was shown.
type browser struct {
	t      *testing.T
	client *http.Client
	pages  testkit.Places
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, client: &http.Client{Jar: jar}, pages: make(testkit.Places)}
}

func (b *browser) page(res *http.Response, err error) (body, at string) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	raw, err := io.ReadAll(res.Body)
	if err := res.Body.Close(); err != nil {
		b.t.Error(err)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	at = res.Request.URL.Scheme + "://" + res.Request.URL.Host + res.Request.URL.Path
	return string(raw), at
}

var (
	ticketField = regexp.MustCompile(`name="ticket" value="([^"]+)"`)
	flowField   = regexp.MustCompile(`name="flow" value="([^"]+)"`)
)

func field(t *testing.T, re *regexp.Regexp, page string) string {
	t.Helper()
	m := re.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no %s in:\n%s", re, page)
	}
	return m[1]
}

// post sends a form from a page, as a browser does.
func (b *browser) post(to string, form url.Values) (body, at string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.page(b.client.Do(req))
}

// consent opens the page of a pending link and says yes to everything.
func (b *browser) consent(start string) (lastPage string) {
	b.t.Helper()
	u, err := url.Parse(start)
	if err != nil {
		b.t.Fatal(err)
	}
	body, _ := b.page(b.client.Get(start))
	body, at := b.post(u.Scheme+"://"+u.Host+"/oauth/start", url.Values{"ticket": {field(b.t, ticketField, body)}})
	flow := field(b.t, flowField, body)
	body, at = b.post(at, url.Values{"flow": {flow}, "do": {"login"}, "username": {"admin@simulator.example"}, "pw": {"simulator-password"}})
	if strings.Contains(body, "oaapprove") {
		body, at = b.post(at, url.Values{"flow": {flow}, "do": {"allow"}})
	}
	if !strings.HasSuffix(at, "/oauth/callback") {
		b.t.Fatalf("the browser ended at %s:\n%s", at, body)
	}
	b.pages["the page after consent"] = []byte(body)
	return body
}

// P6: linking by consent, runs, rotations, refusals, the doctor, the audit and unlinking leave no secret in any log, file,
// page, answer or error, in any encoding.
func TestNoSecretIsWrittenDown(t *testing.T) {
	t.Parallel()
	org := startOrg(t, func(o *simulator.Options) { o.Rotation, o.ClientSecret = true, "consumer-secret-7c1f5e" })
	s := harness.OneProcess(t, org.URL)
	x := s.Tenant(t, "acme")
	places := make(testkit.Places)
	said := func(what string, m proto.Message, err error) {
		t.Helper()
		if err != nil {
			places["the error of "+what] = fmt.Appendf(nil, "%v %+v", err, err)
			return
		}
		raw, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		places["the answer of "+what] = raw
	}

	begun, err := x.Connections.BeginLink(x.Context(t.Context()), &authv1.BeginLinkRequest{Host: org.URL, ClientId: org.ClientID(), ClientSecret: org.ClientSecret()})
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	if page := b.consent(begun.GetUrl()); !strings.Contains(page, "linked") {
		t.Errorf("the last page:\n%s", page)
	}
	link, err := x.Connections.GetLink(x.Context(t.Context()), &authv1.GetLinkRequest{LinkId: begun.GetLinkId()})
	said("GetLink", link, err)
	if link.GetState() != authv1.LinkState_LINK_STATE_LINKED {
		t.Fatalf("the link is %v: %s %s", link.GetState(), link.GetError(), link.GetErrorDescription())
	}
	x.SaveMap(t, "Contact", externalID)
	x.Import(t, people(t, sample.Options{People: 200, Seed: 1}), directoryv1.ImportMode_IMPORT_MODE_FULL)
	for range 3 {
		said("a run", x.Run(t), nil)
		org.ExpireSessions() // so that the next one rotates the refresh token
	}
	if c := org.Counters(); c.Rotations == 0 || c.Reuses != 0 {
		t.Errorf("%d rotations, %d refresh tokens that came twice", c.Rotations, c.Reuses)
	}

	// Refusals, with secrets of their own.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	wrong := "a-wrong-secret-91b2c4"
	for what, req := range map[string]*authv1.LinkConnectionRequest{
		"a link with a wrong secret": {Host: org.URL, Credentials: &authv1.LinkConnectionRequest_ClientCredentials{
			ClientCredentials: &authv1.ClientCredentials{ClientId: org.ClientID(), ClientSecret: wrong},
		}},
		"a link with an unknown key": {Host: org.URL, Credentials: &authv1.LinkConnectionRequest_JwtBearer{
			JwtBearer: &authv1.JwtBearer{ClientId: org.ClientID(), Username: "admin@simulator.example", PrivateKeyPem: private},
		}},
		"a link with a broken key": {Host: org.URL, Credentials: &authv1.LinkConnectionRequest_JwtBearer{
			JwtBearer: &authv1.JwtBearer{ClientId: org.ClientID(), Username: "admin@simulator.example", PrivateKeyPem: private[:len(private)-200]},
		}},
		"a link with the secret in the host": {Host: "https://user:" + wrong + "@acme.my.salesforce.com", Credentials: &authv1.LinkConnectionRequest_ClientCredentials{
			ClientCredentials: &authv1.ClientCredentials{ClientId: org.ClientID(), ClientSecret: wrong},
		}},
	} {
		res, err := x.Connections.LinkConnection(x.Context(t.Context()), req)
		if err == nil {
			t.Errorf("%s was taken", what)
		}
		said(what, res, err)
	}
	signing, err := x.Connections.CreateSigningKey(x.Context(t.Context()), &authv1.CreateSigningKeyRequest{})
	said("CreateSigningKey", signing, err)

	// The rest over HTTP.
	get := func(method, path string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.HTTP+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+x.Token())
		body, _ := b.page(http.DefaultClient.Do(req))
		if strings.HasPrefix(path, "/v1/") && !json.Valid([]byte(body)) {
			t.Errorf("%s %s answers %s", method, path, body)
		}
		places[method+" "+path] = []byte(body)
	}
	get(http.MethodGet, "/v1/connections")
	get(http.MethodPost, "/v1/connections:test")
	get(http.MethodPost, "/v1/connections:diagnose")
	get(http.MethodGet, "/v1/audit?page_size=1000")
	get(http.MethodGet, "/v1/why/P0000001")
	get(http.MethodGet, "/oauth/callback?state=none&code=none")
	unlinked, err := x.Connections.UnlinkConnection(x.Context(t.Context()), &authv1.UnlinkConnectionRequest{})
	said("UnlinkConnection", unlinked, err)
	if err != nil || !unlinked.GetRevoked() {
		t.Errorf("unlinked: %v, %v", unlinked, err)
	}

	for _, p := range s.All {
		places["the log of "+p.Name] = []byte(p.Output())
	}
	for name, content := range b.pages {
		places[name] = content
	}
	places.AddFiles(t, s.Data, "auth.key", "operator.token") // these two hold what they are for
	for what, text := range map[string]string{"the audit": "token.refresh", "the log": "linked", "a file": org.ClientID()} {
		if !places.Has(text) {
			t.Errorf("%s is not among what was searched: the search proves nothing", what)
		}
	}
	secrets := map[string]string{
		"the consumer secret": org.ClientSecret(), "a wrong consumer secret": wrong, "a private key": strings.Split(private, "\n")[10],
		"the API token": x.Token(), "the operator's token": s.Operator,
	}
	issued := org.Issued()
	if len(issued) < 6 {
		t.Errorf("the org gave %d codes and tokens", len(issued))
	}
	for i, token := range issued {
		secrets[fmt.Sprintf("code or token %d of the org", i)] = token
	}
	places.MustLack(t, secrets)
}
