package oauth_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
)

const (
	secret = "S3cr3t-canary-0123456789"
	org15  = "00D5g000001AbCd"
	org18  = "00D5g000001AbCdEAK"
	user18 = "005dM00000awSFJQA2"
)

var creds = oauth.ClientCredentials{ClientID: "3MVG9key", ClientSecret: config.NewSecret(secret)}

// host serves one handler as an org's host and returns a client that may call it.
func host(t *testing.T, h http.HandlerFunc) (*oauth.Client, string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	policy := salesforce.HostPolicy{AllowDev: []string{srv.URL}}
	return oauth.New(salesforce.NewHTTPClient(policy), policy), srv.URL
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func sign(key, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// good is a token response as an org sends it, with the changes of the test.
func good(changes map[string]any) string {
	id := "https://login.salesforce.com/id/" + org15 + "/" + user18
	r := map[string]any{
		"access_token": org15 + "!AQ0AQ", "instance_url": "https://acme.my.salesforce.com", "id": id,
		"token_type": "Bearer", "issued_at": "1795289018000", "signature": sign(secret, id+"1795289018000"), "scope": "id api",
	}
	for k, v := range changes {
		if v == nil {
			delete(r, k)
		} else {
			r[k] = v
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestTokenRequestAndResponse(t *testing.T) {
	t.Parallel()
	c, origin := host(t, func(w http.ResponseWriter, r *http.Request) {
		got := fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL.Path, r.FormValue("grant_type"), r.FormValue("client_id"), r.FormValue("client_secret"))
		if want := "POST /services/oauth2/token client_credentials 3MVG9key " + secret; got != want {
			t.Errorf("request is %q, want %q", got, want)
		}
		answer(http.StatusOK, good(nil))(w, r)
	})
	got, err := c.Token(t.Context(), origin, creds)
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessToken.Expose() != org15+"!AQ0AQ" {
		t.Error("the access token is not the one of the response")
	}
	got.AccessToken = config.Secret{}
	want := oauth.Token{
		InstanceURL: "https://acme.my.salesforce.com", OrgID: org18, UserID: user18,
		Scopes: []string{"id", "api"}, IssuedAt: time.UnixMilli(1795289018000).UTC(),
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config.Secret{})); diff != "" {
		t.Error(diff)
	}
}

func TestTokenResponsesThatCount(t *testing.T) {
	t.Parallel()
	id := "https://login.salesforce.com/id/" + org18 + "/" + user18
	for name, tc := range map[string]struct {
		changes map[string]any
		api     bool
	}{
		"without a signature":             {map[string]any{"signature": nil}, true},
		"without scopes":                  {map[string]any{"scope": nil}, true},
		"scope full":                      {map[string]any{"scope": "full"}, true},
		"scope without api":               {map[string]any{"scope": "id chatter_api"}, false},
		"empty scope":                     {map[string]any{"scope": ""}, false},
		"without a time":                  {map[string]any{"issued_at": nil, "signature": nil}, true},
		"fields that nobody expects":      {map[string]any{"api_instance_url": "https://api.salesforce.com", "token_format": "opaque"}, true},
		"org id in 18 characters":         {map[string]any{"id": id, "signature": sign(secret, id+"1795289018000")}, true},
		"token type in other letter case": {map[string]any{"token_type": "bearer"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, origin := host(t, answer(http.StatusOK, good(tc.changes)))
			got, err := c.Token(t.Context(), origin, creds)
			if err != nil {
				t.Fatal(err)
			}
			if got.OrgID != org18 || (got.Missing("api") == nil) != tc.api {
				t.Errorf("org %s, may use the API: %v", got.OrgID, got.Missing("api") == nil)
			}
		})
	}
}

func TestInstanceURLDefaultsToHost(t *testing.T) {
	t.Parallel()
	c, origin := host(t, answer(http.StatusOK, good(map[string]any{"instance_url": nil})))
	got, err := c.Token(t.Context(), origin, creds)
	if err != nil {
		t.Fatal(err)
	}
	if got.InstanceURL != origin {
		t.Errorf("instance URL is %s, want %s", got.InstanceURL, origin)
	}
}

func TestTokenResponsesThatAreNotTrusted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		changes map[string]any
		want    string
	}{
		"signature by another secret":  {map[string]any{"signature": sign("other", "x")}, "signature"},
		"signature that is no base64":  {map[string]any{"signature": "%%"}, "signature"},
		"id changed after signing":     {map[string]any{"id": "https://login.salesforce.com/id/00D5g000001AbCe/" + user18}, "signature"},
		"instance outside Salesforce":  {map[string]any{"instance_url": "https://evil.example"}, "instance_url"},
		"instance is an address":       {map[string]any{"instance_url": "https://169.254.169.254"}, "instance_url"},
		"instance without https":       {map[string]any{"instance_url": "http://acme.my.salesforce.com"}, "instance_url"},
		"id outside Salesforce":        {map[string]any{"id": "https://evil.example/id/" + org15 + "/" + user18, "signature": nil}, "its id"},
		"no id":                        {map[string]any{"id": nil, "signature": nil}, "its id"},
		"id without a user":            {map[string]any{"id": "https://login.salesforce.com/id/" + org15, "signature": nil}, "/id/<org>/<user>"},
		"id of something else":         {map[string]any{"id": "https://login.salesforce.com/id/0035g000001AbCd/" + user18, "signature": nil}, "00D"},
		"id with wrong check letters":  {map[string]any{"id": "https://login.salesforce.com/id/00D5g000001AbCdAAA/" + user18, "signature": nil}, "do not fit"},
		"id with characters of no id":  {map[string]any{"id": "https://login.salesforce.com/id/00D5g000001Ab-d/" + user18, "signature": nil}, "no Salesforce id"},
		"token that is no bearer":      {map[string]any{"token_type": "mac"}, "Bearer"},
		"user id of a contact, though": {map[string]any{"id": "https://login.salesforce.com/id/" + org15 + "/0035g000001AbCd", "signature": nil}, "005"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, origin := host(t, answer(http.StatusOK, good(tc.changes)))
			_, err := c.Token(t.Context(), origin, creds)
			u, ok := errors.AsType[*oauth.Untrusted](err)
			if !ok || !strings.Contains(u.Error(), tc.want) {
				t.Errorf("error is %v, want Untrusted that says %q", err, tc.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status      int
		body        string
		code, words string
		definite    bool
		advice      string
	}{
		"secret wrong":           {400, `{"error":"invalid_client","error_description":"invalid client credentials"}`, "invalid_client", "invalid client credentials", true, "consumer secret"},
		"key unknown":            {400, `{"error":"invalid_client_id","error_description":"client identifier invalid"}`, "invalid_client_id", "client identifier invalid", true, "2 to 10 minutes"},
		"no run-as user":         {400, `{"error":"invalid_grant","error_description":"no client credentials user enabled"}`, "invalid_grant", "no client credentials user enabled", true, "Run As"},
		"login host":             {400, `{"error":"invalid_grant","error_description":"request not supported on this domain"}`, "invalid_grant", "request not supported on this domain", true, "My Domain"},
		"address not admitted":   {400, `{"error":"invalid_grant","error_description":"ip restricted"}`, "invalid_grant", "ip restricted", true, "trusted IP ranges"},
		"app not installed":      {400, `{"error":"invalid_client","error_description":"app must be installed into org"}`, "invalid_client", "app must be installed into org", true, "install"},
		"grant ended":            {400, `{"error":"invalid_grant","error_description":"expired access/refresh token"}`, "invalid_grant", "expired access/refresh token", true, "Link the org again"},
		"text nobody knows":      {400, `{"error":"invalid_grant","error_description":"the moon is full"}`, "invalid_grant", "the moon is full", true, "Link the org again"},
		"code nobody knows":      {400, `{"error":"moon_phase","error_description":"full"}`, "moon_phase", "full", true, "not known here"},
		"code nobody knows, 500": {500, `{"error":"moon_phase","error_description":"full"}`, "moon_phase", "full", false, "not known here"},
		"logins collided":        {400, `{"error":"retry_request","error_description":"retry your request"}`, "retry_request", "retry your request", false, "try again"},
		"server at fault":        {503, `{"error":"server_error"}`, "server_error", "", false, "Salesforce is at fault"},
		"refusal with status OK": {200, `{"error":"inactive_org","error_description":"org is locked"}`, "inactive_org", "org is locked", true, "Salesforce"},
		"secret echoed":          {400, `{"error":"invalid_client","error_description":"no such secret ` + secret + ` or ` + org15 + `!AQcanary.x"}`, "invalid_client", "no such secret [redacted] or [redacted]", true, ""},
		"text with line breaks":  {400, `{"error":"invalid_client","error_description":"a\r\nlevel=ERROR b"}`, "invalid_client", "a  level=ERROR b", true, ""},
		"text without end":       {400, `{"error":"invalid_client","error_description":"` + strings.Repeat("x", 5000) + `"}`, "invalid_client", strings.Repeat("x", 512) + "…", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, origin := host(t, answer(tc.status, tc.body))
			_, err := c.Token(t.Context(), origin, creds)
			r, ok := errors.AsType[*oauth.Refusal](err)
			if !ok {
				t.Fatalf("error is %v, want a Refusal", err)
			}
			if r.Code != tc.code || r.Description != tc.words || r.Definite() != tc.definite || r.Status != tc.status {
				t.Errorf("refusal is %+v, definite %v", *r, r.Definite())
			}
			if !strings.Contains(r.Advice(), tc.advice) {
				t.Errorf("advice is %q, want it to say %q", r.Advice(), tc.advice)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
				t.Error("the error holds the secret")
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	html := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, "<html>you sent %s</html>", body)
		}
	}
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"a page":            {html(http.StatusOK), "no token response"},
		"a page, not found": {html(http.StatusNotFound), "HTTP 404"},
		"a gateway's fault": {html(http.StatusBadGateway), "at fault or overloaded"},
		"an empty object":   {answer(http.StatusOK, "{}"), "no token response"},
		"an array":          {answer(http.StatusUnauthorized, `[{"errorCode":"INVALID_SESSION_ID"}]`), "HTTP 401"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(w, `{"access_token":`)
		}, "no token response"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://acme.my.salesforce.com/services/oauth2/token", http.StatusFound)
		}, "redirect"},
		"a closed connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "could not be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, origin := host(t, tc.handler)
			_, err := c.Token(t.Context(), origin, creds)
			n, ok := errors.AsType[*oauth.NoAnswer](err)
			if !ok || !strings.Contains(n.Error(), tc.want) || !strings.Contains(n.Error(), origin) {
				t.Errorf("error is %v, want NoAnswer that says %q and the host", err, tc.want)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
				t.Error("the error holds the secret")
			}
		})
	}
}

func TestHostIsCheckedWhenDialled(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(answer(http.StatusOK, good(nil)))
	t.Cleanup(srv.Close)
	c := oauth.New(salesforce.NewHTTPClient(salesforce.HostPolicy{}), salesforce.HostPolicy{})
	if _, err := c.Token(t.Context(), srv.URL, creds); err == nil {
		t.Error("a host that the policy does not admit was called")
	}
}

func TestTokenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c, origin := host(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	if _, err := c.Token(ctx, origin, creds); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

func TestUserInfo(t *testing.T) {
	t.Parallel()
	const body = `{"sub":"x","user_id":"` + user18 + `","organization_id":"` + org15 + `","preferred_username":"api@example.com",` +
		`"email":"ops@example.com","is_salesforce_integration_user":true,"urls":{"custom_domain":"https://acme.my.salesforce.com","rest":"x"},"address":{}}`
	for name, tc := range map[string]struct {
		status int
		body   string
		want   oauth.User
		err    string
	}{
		"an answer":         {200, body, oauth.User{OrgID: org18, UserID: user18, Username: "api@example.com", Email: "ops@example.com", Domain: "acme.my.salesforce.com", APIOnly: true}, ""},
		"bad token":         {403, "Bad_OAuth_Token", oauth.User{}, "Bad_OAuth_Token"},
		"error as JSON":     {400, `{"error":"invalid_token","error_description":"no ` + org15 + `!AQtoken"}`, oauth.User{}, `no [redacted]`},
		"fault":             {500, "", oauth.User{}, "at fault"},
		"page":              {200, "<html>", oauth.User{}, "no token response"},
		"without an org":    {200, `{"user_id":"` + user18 + `"}`, oauth.User{}, "organization_id"},
		"with another user": {200, `{"organization_id":"` + org15 + `","user_id":"x"}`, oauth.User{}, "user_id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, origin := host(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/services/oauth2/userinfo" || r.Header.Get("Authorization") != "Bearer "+org15+"!AQtoken" {
					t.Errorf("request is %s with %q", r.URL, r.Header.Get("Authorization"))
				}
				answer(tc.status, tc.body)(w, r)
			})
			got, err := c.UserInfo(t.Context(), oauth.Token{AccessToken: config.NewSecret(org15 + "!AQtoken"), InstanceURL: origin})
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Fatalf("error is %v, want %q", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
