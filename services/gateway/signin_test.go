package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	"github.com/catalogsync/catalogsync/internal/audit"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/gateway"
)

// startSignIn is a gateway at which people of the issuer sign in.
func startSignIn(t *testing.T, change ...func(*gateway.Config)) (*world, *testkit.Issuer) {
	t.Helper()
	iss := testkit.NewIssuer(t)
	w := start(t, append([]func(*gateway.Config){func(c *gateway.Config) {
		c.OIDC.Issuer, c.OIDC.ClientID, c.OIDC.ClientSecret = iss.URL, iss.ClientID, config.NewSecret(iss.ClientSecret)
	}}, change...)...)
	return w, iss
}

func TestTokensOfAnIssuer(t *testing.T) {
	t.Parallel()
	w, iss := startSignIn(t)
	now := time.Now()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	otherEC, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(iss.RSA.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	b64 := base64.RawURLEncoding.EncodeToString
	claims, err := json.Marshal(iss.Claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	bare := b64([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + b64(claims) + "."
	good := iss.Token(t, iss.Claims(nil))
	parts := strings.Split(good, ".")
	change := func(kv ...any) string {
		c := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			c[kv[i].(string)] = kv[i+1]
		}
		return iss.Token(t, iss.Claims(c))
	}
	const in, unknown, denied = errs.OK, errs.Unauthenticated, errs.Denied
	tests := []struct {
		name   string
		token  string
		kind   errs.Kind
		reason string
	}{
		{"RS256", good, in, ""},
		{"ES256", iss.Sign(t, jose.ES256, iss.EC, "ec", iss.Claims(nil)), in, ""},
		{"one audience of several", change("aud", []string{"other", iss.ClientID}), in, ""},
		{"several roles", change("catalogsync_role", []string{"viewer", "owner", "nonsense"}), in, ""},
		{"clock a little behind", change("nbf", now.Add(2*time.Minute).Unix()), in, ""},

		{"expired", change("exp", now.Add(-time.Second).Unix()), unknown, "expired_token"},
		{"long expired", change("exp", 1), unknown, "expired_token"},
		{"no expiry", change("exp", nil), unknown, "expired_token"},
		{"not yet valid", change("nbf", now.Add(time.Hour).Unix()), unknown, "invalid_token"},
		{"made in the future", change("iat", now.Add(time.Hour).Unix()), unknown, "invalid_token"},
		{"another audience", change("aud", "other"), unknown, "invalid_token"},
		{"other audiences", change("aud", []string{"other", iss.ClientID + "2"}), unknown, "invalid_token"},
		{"no audience", change("aud", nil), unknown, "invalid_token"},
		{"for the use of another", change("aud", []string{iss.ClientID, "other"}, "azp", "other"), unknown, "invalid_token"},
		{"another issuer", change("iss", "https://evil.example"), unknown, "invalid_token"},
		{"issuer with a slash", change("iss", iss.URL+"/"), unknown, "invalid_token"},
		{"no issuer", change("iss", nil), unknown, "invalid_token"},
		{"about nobody", change("sub", nil), unknown, "invalid_token"},
		{"expiry is text", change("exp", "tomorrow"), unknown, "invalid_token"},
		{"alg none", bare, unknown, "invalid_token"},
		{"alg none with a signature", bare + parts[2], unknown, "invalid_token"},
		{"alg NONE", b64([]byte(`{"alg":"NONE"}`)) + "." + b64(claims) + ".", unknown, "invalid_token"},
		{"HS256 with the public key", iss.Sign(t, jose.HS256, public, "rsa", iss.Claims(nil)), unknown, "invalid_token"},
		{"HS256 with the key's DER", iss.Sign(t, jose.HS256, der, "rsa", iss.Claims(nil)), unknown, "invalid_token"},
		{"HS256 with our secret", iss.Sign(t, jose.HS256, []byte(iss.ClientSecret+"                "), "rsa", iss.Claims(nil)), unknown, "invalid_token"},
		{"an algorithm that is not pinned", iss.Sign(t, jose.RS512, iss.RSA, "rsa", iss.Claims(nil)), unknown, "invalid_token"},
		{"another one", iss.Sign(t, jose.PS256, iss.RSA, "rsa", iss.Claims(nil)), unknown, "invalid_token"},
		{"key of somebody else", iss.Sign(t, jose.RS256, other, "rsa", iss.Claims(nil)), unknown, "invalid_token"},
		{"elliptic key of somebody else", iss.Sign(t, jose.ES256, otherEC, "ec", iss.Claims(nil)), unknown, "invalid_token"},
		{"key that is not known", iss.Sign(t, jose.RS256, other, "new", iss.Claims(nil)), unknown, "invalid_token"},
		{"key under the wrong name", iss.Sign(t, jose.RS256, iss.RSA, "ec", iss.Claims(nil)), unknown, "invalid_token"},
		{"claims of another token", parts[0] + "." + strings.Split(change("catalogsync_role", "owner"), ".")[1] + "." + parts[2], unknown, "invalid_token"},
		{"no signature", parts[0] + "." + parts[1] + ".", unknown, "invalid_token"},
		{"rubbish", "a.b.c", unknown, "invalid_token"},
		{"empty parts", "..", unknown, "invalid_token"},
		{"too long", parts[0] + "." + strings.Repeat("x", 12<<10) + "." + parts[2], unknown, "invalid_token"},

		{"no tenant", change("catalogsync_tenant", nil), denied, "no_tenant"},
		{"empty tenant", change("catalogsync_tenant", ""), denied, "no_tenant"},
		{"tenant with wildcards", change("catalogsync_tenant", "a.>"), denied, "no_tenant"},
		{"tenant is a list", change("catalogsync_tenant", []string{"acme"}), denied, "no_tenant"},
		{"no role", change("catalogsync_role", nil), denied, "no_role"},
		{"unknown role", change("catalogsync_role", "root"), denied, "no_role"},
		{"role of the installation", change("catalogsync_role", "operator"), denied, "no_role"},
		{"role of services", change("catalogsync_role", "internal"), denied, "no_role"},
		{"role in capitals", change("catalogsync_role", "ADMIN"), denied, "no_role"},
		{"role by its name in the proto", change("catalogsync_role", "ROLE_OWNER"), denied, "no_role"},
		{"role is a number", change("catalogsync_role", 4), denied, "no_role"},
	}
	for _, tt := range tests {
		_, err := w.do(with(t.Context(), tt.token), watchRun)
		if errs.KindOf(err) != tt.kind || tt.reason != "" && errs.ReasonOf(err) != tt.reason {
			t.Errorf("%s: %v %s (%v), want %v %s", tt.name, errs.KindOf(err), errs.ReasonOf(err), err, tt.kind, tt.reason)
		}
		if err != nil && len(tt.token) > 20 && strings.Contains(errs.Message(err), tt.token[:20]) {
			t.Errorf("%s: the error shows the token", tt.name)
		}
		a := w.http(t, "GET", "/v1/status", tt.token, "")
		if want := map[errs.Kind]int{in: 200, unknown: 401, denied: 403}[tt.kind]; a.status != want {
			t.Errorf("%s by HTTP: %d %s, want %d", tt.name, a.status, a.body, want)
		}
	}
	for _, c := range w.got(watchRun) {
		if c.caller.Tenant != "acme" || c.caller.Subject != "oidc:person-1" || c.caller.Role != admin && c.caller.Role != owner {
			t.Errorf("called for %+v", c.caller)
		}
	}
	if n := iss.Fetches.Load(); n > 10 {
		t.Errorf("the keys were fetched %d times: bad tokens make us ask", n)
	}
}

func TestIssuerThatIsDown(t *testing.T) {
	t.Parallel()
	w, iss := startSignIn(t)
	iss.Down.Store(true)
	_, err := w.do(with(t.Context(), iss.Token(t, iss.Claims(nil))), watchRun)
	wantError(t, "a call", err, errs.Unavailable, "issuer_unavailable", iss.URL)
	if a := w.http(t, "GET", "/signin", "", ""); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "try again later") {
		t.Errorf("%d %s", a.status, a.body)
	}
	iss.Down.Store(false)
	testkit.Eventually(t, 30*time.Second, func() error {
		_, err := w.do(with(t.Context(), iss.Token(t, iss.Claims(nil))), watchRun)
		return err
	})
}

// browser is somebody's browser: it keeps cookies and follows links.
type browser struct {
	t      *testing.T
	w      *world
	client *http.Client
}

func (w *world) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	return &browser{t, w, &http.Client{Jar: jar, Transport: tr}}
}

func (b *browser) do(method, address string, headers ...string) answer {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.w.url + address
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(""))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// follow says whether redirects are followed.
func (b *browser) follow(yes bool) {
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if yes {
		b.client.CheckRedirect = nil
	}
}

func (b *browser) cookie(name string) string {
	u, err := url.Parse(b.w.url)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

const sessionCookie, flowCookie = "catalogsync-session", "catalogsync-signin"

func TestSigningInWithABrowser(t *testing.T) {
	t.Parallel()
	w, iss := startSignIn(t)
	b := w.browser(t)
	if a := b.do("GET", "/v1/status"); a.status != http.StatusUnauthorized {
		t.Errorf("before: %d %s", a.status, a.body)
	}
	iss.SignsIn(map[string]any{"catalogsync_role": "admin"})
	a := b.do("GET", "/signin")
	if a.status != http.StatusOK || !strings.Contains(a.body, `url=/signin/done`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for header, want := range map[string]string{
		"Cache-Control": "no-store", "Content-Security-Policy": "frame-ancestors 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
	} {
		if !strings.Contains(a.header.Get(header), want) {
			t.Errorf("%s is %q", header, a.header.Get(header))
		}
	}
	set := strings.Join(a.header.Values("Set-Cookie"), "\n")
	if !strings.Contains(set, sessionCookie+"=") || !strings.Contains(set, "HttpOnly") || !strings.Contains(set, "SameSite=Strict") || !strings.Contains(set, "Path=/") {
		t.Errorf("cookies are %s", set)
	}
	first := b.cookie(sessionCookie)
	if first == "" || b.cookie(flowCookie) != "" {
		t.Fatalf("cookies after the sign-in: %q, %q", first, b.cookie(flowCookie))
	}
	if a = b.do("GET", "/v1/status"); a.status != http.StatusOK {
		t.Errorf("with the session: %d %s", a.status, a.body)
	}
	if a = b.do("GET", "/signin/done"); !strings.Contains(a.body, "tenant acme as admin") {
		t.Errorf("%d %s", a.status, a.body)
	}

	// Pages of other sites cannot do anything with it.
	for _, h := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"} {
		for _, path := range []string{"/v1/runs/run_1:cancel", "/signout", "/v1/people:import"} {
			if a := b.do("POST", path, h); a.status != http.StatusForbidden || a.problem() != "PERMISSION_DENIED cross_origin" {
				t.Errorf("POST %s with %s: %d %s", path, h, a.status, a.body)
			}
		}
	}
	if len(w.got("/catalogsync.sync.v1.RunService/CancelRun")) > 0 {
		t.Error("a page of another site cancelled a run")
	}
	if a := b.do("POST", "/v1/runs/run_1:cancel", "Sec-Fetch-Site: same-origin", "Content-Type: application/json"); a.status != http.StatusOK {
		t.Errorf("a page of ours: %d %s", a.status, a.body)
	}

	// Signing in again gives a new session and ends the old one.
	b.do("GET", "/signin")
	second := b.cookie(sessionCookie)
	if second == "" || second == first {
		t.Errorf("the second session is %q", second)
	}
	if a := w.http(t, "GET", "/v1/status", "", "", "Cookie: "+sessionCookie+"="+first); a.status != http.StatusUnauthorized {
		t.Errorf("the old session: %d %s", a.status, a.body)
	}
	if a := b.do("POST", "/signout", "Sec-Fetch-Site: same-origin"); a.status != http.StatusOK || b.cookie(sessionCookie) != "" {
		t.Errorf("signing out: %d %s", a.status, a.body)
	}
	if a := w.http(t, "GET", "/v1/status", "", "", "Cookie: "+sessionCookie+"="+second); a.status != http.StatusUnauthorized || !strings.Contains(a.problem(), "no_session") {
		t.Errorf("after signing out: %d %s", a.status, a.body)
	}
	log, err := audit.Open(t.Context(), w.bus, "test")
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := log.List(t.Context(), audit.Query{Tenant: "acme", ActionPrefix: "sign_in"})
	if err != nil || len(entries) != 2 || entries[0].GetActor() != "oidc:person-1" || entries[0].GetDetail() != "ada@example.com" || entries[0].GetRole() != admin {
		t.Errorf("audit entries are %v, %v", entries, err)
	}
}

func TestSignInsThatAreNot(t *testing.T) {
	t.Parallel()
	w, iss := startSignIn(t)
	// begin returns where the issuer would send the browser back to.
	begin := func(b *browser) *url.URL {
		b.follow(false)
		a := b.do("GET", "/signin")
		a = b.do("GET", a.header.Get("Location"))
		u, err := url.Parse(a.header.Get("Location"))
		if err != nil || a.status != http.StatusFound {
			t.Fatalf("%d %s %v", a.status, a.body, err)
		}
		return u
	}
	with := func(u *url.URL, key string, values ...string) string {
		q := u.Query()
		q.Del(key)
		for _, v := range values {
			q.Add(key, v)
		}
		c := *u
		c.RawQuery = q.Encode()
		return c.String()
	}
	refused := func(name string, b *browser, address, want string) {
		t.Helper()
		a := b.do("GET", address)
		if a.status < 400 || a.status >= 500 || !strings.Contains(a.body, want) || b.cookie(sessionCookie) != "" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	own := w.browser(t)
	back := begin(own)
	refused("another browser", w.browser(t), back.String(), "not begun in this browser")
	refused("no state", own, with(back, "state"), "not begun in this browser")
	back = begin(own)
	refused("another state", own, with(back, "state", strings.Repeat("x", 43)), "not begun in this browser")
	back = begin(own)
	refused("two states", own, with(back, "state", back.Query().Get("state"), "x"), "not begun in this browser")
	back = begin(own)
	refused("another issuer", own, with(back, "iss", "https://evil.example"), "another issuer")
	back = begin(own)
	refused("no code", own, with(back, "code"), "no code")
	back = begin(own)
	refused("another code", own, with(back, "code", "guessed"), "does not take the code")
	back = begin(own)
	refused("an error", own, with(back, "error", "access_denied"), "access_denied")
	back = begin(own)
	refused("markup", own, with(back, "error", "<script>alert(1)</script>"), "cannot be shown")
	back = begin(own)
	b2 := w.browser(t)
	other := begin(b2)
	refused("the code of another sign-in", own, with(back, "code", other.Query().Get("code")), "does not take the code")

	for name, tt := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"another nonce": {map[string]any{"nonce": "x"}, "not of this sign-in"}, "no nonce": {map[string]any{"nonce": nil}, "not of this sign-in"},
		"another audience": {map[string]any{"aud": "other"}, "not one that"}, "no tenant": {map[string]any{"catalogsync_tenant": nil}, "names no tenant"},
		"no role": {map[string]any{"catalogsync_role": nil}, "names no role"}, "expired": {map[string]any{"exp": 1}, "expired"},
	} {
		iss.SignsIn(tt.claims)
		b := w.browser(t)
		refused(name, b, begin(b).String(), tt.want)
	}

	iss.SignsIn(nil)
	b := w.browser(t)
	back = begin(b)
	if a := b.do("GET", back.String()); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	session := b.cookie(sessionCookie)
	if a := b.do("GET", back.String()); a.status < 400 || b.cookie(sessionCookie) != session {
		t.Errorf("the same way back twice: %d %s", a.status, a.body)
	}
	for range 1000 {
		a := w.http(t, "GET", "/signin/callback?code=x&state="+rand.Text(), "", "", "Cookie: "+flowCookie+"="+base64.RawURLEncoding.EncodeToString([]byte(rand.Text() + rand.Text())[:32]))
		if a.status != http.StatusUnauthorized {
			t.Fatalf("a guessed state: %d %s", a.status, a.body)
		}
	}
}

// Behind https, the cookies are ones that no other host can set.
func TestCookiesBehindHTTPS(t *testing.T) {
	t.Parallel()
	w, _ := startSignIn(t, func(c *gateway.Config) { c.PublicURL = "https://sync.example.com" })
	b := w.browser(t)
	b.follow(false)
	a := b.do("GET", "/signin")
	set := a.header.Get("Set-Cookie")
	for _, want := range []string{"__Host-catalogsync-signin=", "; Secure", "; HttpOnly", "; Path=/", "SameSite=Lax"} {
		if !strings.Contains(set, want) {
			t.Errorf("cookie %q has no %q", set, want)
		}
	}
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Query().Get("redirect_uri") != "https://sync.example.com/signin/callback" || u.Query().Get("code_challenge_method") != "S256" {
		t.Errorf("location is %v, %v", u, err)
	}
	// A page at the public origin may call, though the request names another host.
	if a := b.do("POST", "/signout", "Origin: https://sync.example.com"); a.status != http.StatusOK {
		t.Errorf("a page of ours: %d %s", a.status, a.body)
	}
}

// A stream ends soon after the session did.
func TestStreamsOfAnEndedSessionAreCut(t *testing.T) {
	t.Parallel()
	w, iss := startSignIn(t)
	w.answer(watchRun, func(ctx context.Context, _ message, send func(message) error) error {
		if err := send(watchAnswer()); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	b := w.browser(t)
	b.do("GET", "/signin")
	stream, err := w.runs().WatchRun(withAuthorization(t.Context(), "Session "+b.cookie(sessionCookie)), watchRequest())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	b.do("POST", "/signout")
	_, err = stream.Recv()
	wantError(t, "the stream of a session", err, errs.Unauthenticated, "no_session")

	short := iss.Token(t, iss.Claims(map[string]any{"exp": time.Now().Add(2 * time.Second).Unix()}))
	if stream, err = w.runs().WatchRun(with(t.Context(), short), watchRequest()); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantError(t, "the stream of a token", err, errs.Unauthenticated, "expired_token")
}

func TestNobodySignsInWithoutAnIssuer(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, path := range []string{"/signin", "/signin/callback", "/signin/done"} {
		if a := w.http(t, "GET", path, "", ""); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	_, err := w.do(withAuthorization(t.Context(), "Session x"), gatewayv1.StatusService_GetStatus_FullMethodName)
	wantError(t, "a session", err, errs.Unauthenticated, "malformed_token")
	_, err = w.do(with(t.Context(), "a.b.c"), gatewayv1.StatusService_GetStatus_FullMethodName)
	wantError(t, "a JSON web token", err, errs.Unauthenticated, "malformed_token")
}

func TestIssuerIsConfiguredCompletely(t *testing.T) {
	t.Parallel()
	good := func(change func(*gateway.Config)) error {
		c := gateway.DefaultConfig()
		c.OIDC.Issuer, c.OIDC.ClientID = "https://accounts.example.com/realm", "us"
		change(&c)
		return c.Validate()
	}
	if err := good(func(*gateway.Config) {}); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*gateway.Config){
		"-oidc-issuer":       func(c *gateway.Config) { c.OIDC.Issuer = "http://accounts.example.com" },
		"-oidc-client-id":    func(c *gateway.Config) { c.OIDC.ClientID = "" },
		"-oidc-algorithms":   func(c *gateway.Config) { c.OIDCAlgorithms = "RS256,HS256" },
		"-oidc-algorithms: ": func(c *gateway.Config) { c.OIDCAlgorithms = "none" },
		"is empty":           func(c *gateway.Config) { c.OIDCAlgorithms = "" },
		"-oidc-tenant-claim": func(c *gateway.Config) { c.OIDC.TenantClaim = "" },
		"-oidc-role-claim":   func(c *gateway.Config) { c.OIDC.RoleClaim = "" },
		"-public-url":        func(c *gateway.Config) { c.HTTPListen, c.InsecureHTTP = "0.0.0.0:8081", true },
		"only on this":       func(c *gateway.Config) { c.PublicURL = "http://sync.example.com" },
		"-insecure-http":     func(c *gateway.Config) { c.HTTPListen, c.PublicURL = ":8081", "https://sync.example.com" },
		"-public-key":        func(c *gateway.Config) { c.PublicCert = "cert.pem" },
		"-calls-per-second":  func(c *gateway.Config) { c.CallsPerSecond = 0 },
	} {
		if err := good(change); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("error is %v, want it to name %s", err, want)
		}
	}
}
