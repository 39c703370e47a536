package oauth_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
)

func TestConsentSendsChallengeThenVerifierAndSecret(t *testing.T) {
	t.Parallel()
	verifier := oauth.NewVerifier()
	var sent url.Values
	c, origin := host(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		sent = r.PostForm
		answer(http.StatusOK, good(map[string]any{"refresh_token": refreshToken}))(w, r)
	})
	consent := oauth.Consent{Host: origin, ClientID: "k", ClientSecret: creds.ClientSecret, RedirectURI: "https://sync.example.com/oauth/callback", Verifier: verifier}
	to, err := consent.AuthorizeURL(config.NewSecret("s"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(verifier.Secret().Expose()))
	want := url.Values{
		"response_type": {"code"}, "client_id": {"k"}, "redirect_uri": {consent.RedirectURI}, "scope": {"api refresh_token id"}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "prompt": {"login consent"},
	}
	if diff := cmp.Diff(want, u.Query()); diff != "" || u.Path != "/services/oauth2/authorize" || strings.Contains(to, verifier.Secret().Expose()) {
		t.Errorf("%s: %s", u.Path, diff)
	}
	tok, err := c.Redeem(t.Context(), consent, config.NewSecret("aPrx==+/ä"))
	if err != nil {
		t.Fatal(err)
	}
	want = url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"k"}, "client_secret": {secret}, "redirect_uri": {consent.RedirectURI},
		"code": {"aPrx==+/ä"}, "code_verifier": {verifier.Secret().Expose()},
	}
	if diff := cmp.Diff(want, sent); diff != "" || tok.RefreshToken.Expose() != refreshToken {
		t.Error(diff)
	}
}

func TestConsentWithoutVerifierIsImpossible(t *testing.T) {
	t.Parallel()
	c, origin := host(t, func(http.ResponseWriter, *http.Request) { t.Error("Salesforce was asked") })
	consent := oauth.Consent{Host: origin, ClientID: "k", ClientSecret: creds.ClientSecret, RedirectURI: "x"}
	if to, err := consent.AuthorizeURL(config.NewSecret("s")); err == nil {
		t.Errorf("the browser is sent to %s", to)
	}
	if _, err := c.Redeem(t.Context(), consent, config.NewSecret("code")); err == nil {
		t.Error("a code was redeemed")
	}
	for _, s := range []string{"", "short", strings.Repeat("x", 42), strings.Repeat("x", 129)} {
		if _, err := oauth.RestoreVerifier(config.NewSecret(s)); err == nil {
			t.Errorf("a verifier of %d characters was taken", len(s))
		}
	}
	a := oauth.NewVerifier()
	if b := oauth.NewVerifier(); a.Secret().Equal(b.Secret()) {
		t.Error("two verifiers are the same")
	}
	if b, err := oauth.RestoreVerifier(a.Secret()); err != nil || !b.Secret().Equal(a.Secret()) {
		t.Errorf("a verifier does not come back: %v", err)
	}
}

// privateKey is an RSA key and its PEM.
func privateKey(t testing.TB, bits int) (*rsa.PrivateKey, config.Secret) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key, config.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
}

func TestJWT(t *testing.T) {
	t.Parallel()
	key, text := privateKey(t, 2048)
	for name, audience := range map[string]string{"the host": "", "another": "https://login.salesforce.com"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent url.Values
			c, origin := host(t, func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				sent = r.PostForm
				answer(http.StatusOK, good(nil))(w, r)
			})
			before := time.Now()
			if _, err := c.JWT(t.Context(), origin, oauth.JWTCredentials{ClientID: "k", Username: "u@acme.example", Audience: audience, PrivateKey: text}); err != nil {
				t.Fatal(err)
			}
			if sent.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || len(sent) != 2 {
				t.Errorf("sent %d fields, grant %s", len(sent), sent.Get("grant_type"))
			}
			parts := strings.Split(sent.Get("assertion"), ".")
			if len(parts) != 3 {
				t.Fatal("the assertion is no JWT")
			}
			sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
			signature, err := base64.RawURLEncoding.DecodeString(parts[2])
			if err = errors.Join(err, rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature)); err != nil {
				t.Error(err)
			}
			header, _ := base64.RawURLEncoding.DecodeString(parts[0])
			payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
			var claims map[string]any
			if err := json.Unmarshal(payload, &claims); err != nil || !strings.Contains(string(header), `"RS256"`) {
				t.Fatalf("header %s, %v", header, err)
			}
			exp, _ := claims["exp"].(float64)
			if left := time.Unix(int64(exp), 0).Sub(before); left > 180*time.Second || left < 60*time.Second {
				t.Errorf("it is good for %s", left)
			}
			delete(claims, "exp")
			if audience == "" {
				audience = origin
			}
			if diff := cmp.Diff(map[string]any{"iss": "k", "sub": "u@acme.example", "aud": audience}, claims); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPrivateKeys(t *testing.T) {
	t.Parallel()
	key, pkcs1 := privateKey(t, 2048)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	pkcs8 := block("PRIVATE KEY", der)
	for name, text := range map[string]string{"PKCS 1": pkcs1.Expose(), "PKCS 8": "\n " + pkcs8 + "\n"} {
		if got, err := oauth.ParsePrivateKey(config.NewSecret(text)); err != nil || !got.Equal(key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // it must be refused
	if err != nil {
		t.Fatal(err)
	}
	for text, word := range map[string]string{
		"":                                  "PEM",
		"canary":                            "PEM",
		pkcs8[:len(pkcs8)/2]:                "PEM",
		pkcs8 + pkcs8:                       "more than one",
		block("CERTIFICATE", der):           "holds certificate",
		block("ENCRYPTED PRIVATE KEY", der): "password",
		block("PRIVATE KEY", der[:100]):     "damaged",
		block("RSA PRIVATE KEY", der):       "damaged",
		block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)): "1024 bits",
	} {
		_, err := oauth.ParsePrivateKey(config.NewSecret(text))
		if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.40q: %v, want it to say %q", text, err, word)
		}
	}
	c, origin := host(t, func(http.ResponseWriter, *http.Request) { t.Error("Salesforce was asked") })
	if _, err := c.JWT(t.Context(), origin, oauth.JWTCredentials{ClientID: "k", Username: "u", PrivateKey: config.NewSecret("x")}); err == nil {
		t.Error("a JWT was signed without a key")
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	for status, gone := range map[int]bool{200: true, 400: true, 401: true, 404: true, 429: false, 500: false, 503: false, 302: false} {
		c, origin := host(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || r.URL.Path != "/services/oauth2/revoke" || r.PostFormValue("token") != refreshToken || r.URL.RawQuery != "" {
				t.Errorf("request is %s %s", r.Method, r.URL)
			}
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, "error=unsupported_token_type&error_description="+refreshToken)
		})
		err := c.Revoke(t.Context(), origin, config.NewSecret(refreshToken))
		if _, unknown := errors.AsType[*oauth.NoAnswer](err); unknown == gone || gone != (err == nil) || strings.Contains(fmt.Sprint(err), refreshToken) {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

func TestMissingScopes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		granted []string
		needed  string
		missing string
	}{
		{nil, "api refresh_token id", ""}, // it did not say
		{[]string{}, "api refresh_token id", "api refresh_token id"},
		{[]string{"api", "id", "refresh_token"}, "api refresh_token id", ""},
		{[]string{"api", "id", "offline_access"}, "api refresh_token id", ""},
		{[]string{"full"}, "api refresh_token id", "refresh_token"},
		{[]string{"full", "refresh_token"}, "api refresh_token id", ""},
		{[]string{"id", "web"}, "api", "api"},
	} {
		got := oauth.Token{Scopes: tc.granted}.Missing(strings.Fields(tc.needed)...)
		if strings.Join(got, " ") != tc.missing {
			t.Errorf("%q granted: %q is missing, want %q", tc.granted, got, tc.missing)
		}
		for _, scope := range got {
			if advice := oauth.ScopeAdvice(scope); !strings.Contains(advice, "("+scope) || !strings.Contains(advice, "OAuth settings") {
				t.Errorf("%s: %s", scope, advice)
			}
		}
	}
}

// TestEveryErrorHasAdvice goes through all of Salesforce's OAuth errors that are known, and their texts.
func TestEveryErrorHasAdvice(t *testing.T) {
	t.Parallel()
	unknown := (&oauth.Refusal{Code: "moon_phase"}).Advice()
	general := (&oauth.Refusal{Code: "invalid_grant", Description: "x"}).Advice()
	for _, code := range strings.Fields(`invalid_grant invalid_client_id invalid_client invalid_app_access app_not_found app_blocked fail_close_app_blocked
		oauth_flow_disabled ecapp_policy_not_found oauth_policy_not_found inactive_user inactive_org redirect_uri_mismatch redirect_uri_missing invalid_request
		invalid_scope unsupported_grant_type retry_request unsupported_response_type unsupported_token_type invalid_assertion_type rate_limit_exceeded
		access_denied immediate_unsuccessful authorization_pending slow_down invalid_token invalid_session_level login_error bad_jti_claim
		invalid_basic_auth_header server_error service_unavailable system_down unknown_error use_dpop_nonce invalid_dpop_proof OAUTH_APPROVAL_ERROR_GENERIC`) {
		r := &oauth.Refusal{Code: code, Status: 400}
		if r.Advice() == unknown || r.Advice() == "" {
			t.Errorf("%s has no advice", code)
		}
		wait := strings.Contains("retry_request rate_limit_exceeded slow_down authorization_pending server_error service_unavailable system_down unknown_error", code)
		if r.Definite() == wait {
			t.Errorf("%s is definite: %v", code, r.Definite())
		}
	}
	for _, text := range []string{
		"expired access/refresh token", "expired authorization code", "invalid authorization code", "invalid code verifier", "authentication failure",
		"authentication failure - Invalid Password", "inactive user", "activation secret invalid", "ip restricted", "invalid login hours",
		"user hasn't approved this consumer", "audience is invalid", "Audience validation failed", "invalid assertion", "request not supported on this domain",
		"no client credentials user enabled", "api only user",
	} {
		if a := (&oauth.Refusal{Code: "invalid_grant", Description: text}).Advice(); a == general || a == unknown {
			t.Errorf("invalid_grant %q has no advice of its own", text)
		}
	}
	// Nothing is asked again until somebody tests, so whoever lifts a policy must hear of it.
	for _, text := range []string{"ip restricted", "invalid login hours"} {
		if a := (&oauth.Refusal{Code: "invalid_grant", Description: text}).Advice(); !strings.Contains(a, "then test the connection") {
			t.Errorf("invalid_grant %q: %s", text, a)
		}
	}
}

// TestEvilAnswers proves for several hundred origins that a token response which names them is not believed, as the API's
// origin or in the identity URL.
func TestEvilAnswers(t *testing.T) {
	t.Parallel()
	var hosts []string
	for _, h := range strings.Fields(`127.0.0.1 127.1 2130706433 0x7f000001 0177.0.0.1 0.0.0.0 localhost 169.254.169.254 2852039166 0xA9FEA9FE 10.0.0.1 172.16.0.1
		192.168.0.1 100.64.0.1 [::1] [::] [::ffff:127.0.0.1] [fd00:ec2::254] [fe80::1] [64:ff9b::7f00:1] metadata.google.internal evil.example salesforce.com
		my.salesforce.com xmy.salesforce.com acme.salesforce.com acme.force.com acme.lightning.force.com acme.my.site.com acme.my.salesforce-sites.com
		acme.my.salesforce.com.evil.example acme.my.salesforce.com. login.salesforce.com. acme.my.salesforce.mil acme.my.sfcrmproducts.cn na1.salesforce.com
		-a.my.salesforce.com a..my.salesforce.com a_b.my.salesforce.com acmé.my.salesforce.com user@acme.my.salesforce.com acme.my.salesforce.com@evil.example
		acme.my.salesforce.com:8443 acme.my.salesforce.com:80 evil.example#acme.my.salesforce.com evil.example?acme.my.salesforce.com evil.example\acme.my.salesforce.com`) {
		hosts = append(hosts, "https://"+h, "http://"+h, "//"+h, h)
	}
	hosts = append(hosts, "http://acme.my.salesforce.com", "ftp://acme.my.salesforce.com", "https://acme.my.salesforce.com/x", "https://acme.my.salesforce.com?x", "javascript:alert(1)", "https:acme.my.salesforce.com", "https://acme.my.salesforce.com\r\nx", " ")
	c, origin := host(t, func(w http.ResponseWriter, r *http.Request) {
		changes := map[string]any{"signature": nil}
		if evil := r.FormValue("client_id"); strings.HasPrefix(evil, "id ") {
			changes["id"] = evil[3:] + "/id/" + org15 + "/" + user18
		} else {
			changes["instance_url"] = evil[4:]
		}
		answer(http.StatusOK, good(changes))(w, r)
	})
	tried := 0
	for _, h := range hosts {
		for _, where := range []string{"id ", "url "} {
			if where == "id " && strings.HasPrefix(h, "https://acme.my.salesforce.com") && (strings.HasSuffix(h, "/x") || strings.HasSuffix(h, "?x")) {
				continue // the path is looked at by itself
			}
			tried++
			_, err := c.Token(t.Context(), origin, oauth.ClientCredentials{ClientID: where + h, ClientSecret: creds.ClientSecret})
			if _, ok := errors.AsType[*oauth.Untrusted](err); !ok {
				t.Errorf("%s%q: %v", where, h, err)
			}
		}
	}
	if tried < 300 {
		t.Errorf("%d variants", tried)
	}
	t.Logf("%d variants refused", tried)
}
