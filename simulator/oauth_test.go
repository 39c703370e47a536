package simulator_test

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
	"math/big"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
)

const callback = "http://localhost/cb"

// authorize walks through the pages and gives the callback's query.
func (o *org) authorize(more url.Values, decision string) url.Values {
	o.t.Helper()
	q := url.Values{"response_type": {"code"}, "client_id": {o.ClientID()}, "redirect_uri": {callback}, "state": {"s t"}}
	for k, v := range more {
		q[k] = v
	}
	r := o.do("GET", "/services/oauth2/authorize?"+q.Encode(), "")
	flow := regexp.MustCompile(`name="flow" value="([^"]+)"`).FindStringSubmatch(r.body)
	if flow == nil {
		o.t.Fatalf("no login page: %d %s", r.status, r.body)
	}
	post := func(v url.Values) reply {
		v.Set("flow", flow[1])
		return o.do("POST", "/services/oauth2/authorize", v.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	if r := post(url.Values{"do": {"login"}, "username": {"admin@simulator.example"}, "pw": {"wrong"}}); !strings.Contains(r.body, "check your username and password") {
		o.t.Errorf("wrong password: %s", r.body)
	}
	if r := post(url.Values{"do": {"login"}, "username": {"admin@simulator.example"}, "pw": {"simulator-password"}}); !strings.Contains(r.body, `id="oaapprove"`) {
		o.t.Fatalf("no consent page: %s", r.body)
	}
	r = post(url.Values{"do": {decision}})
	u, err := url.Parse(r.header.Get("Location"))
	if err != nil || r.status != 302 || !strings.HasPrefix(u.String(), callback+"?") {
		o.t.Fatalf("callback: %d %s", r.status, u)
	}
	return u.Query()
}

func (o *org) tokenCall(v url.Values) (int, string) {
	v.Set("client_id", o.ClientID())
	v.Set("client_secret", o.ClientSecret())
	return o.form("/services/oauth2/token", v)
}

func TestWebServerFlow(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{Rotation: true})
	verifier := strings.Repeat("v", 171)
	sum := sha256.Sum256([]byte(verifier))
	challenge := url.Values{"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}}
	if q := o.authorize(challenge, "deny"); q.Get("error") != "access_denied" || q.Get("state") != "s t" {
		t.Errorf("denied: %v", q)
	}
	redeem := func(code, verifier string) (int, string) {
		return o.tokenCall(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}})
	}
	for v, want := range map[string]string{"": "code verifier required", "x": "invalid code verifier"} {
		status, body := redeem(o.authorize(challenge, "allow").Get("code"), v)
		o.want(reply{status, nil, body}, 400, `{"error":"invalid_grant","error_description":"`+want+`"}`)
	}
	code := o.authorize(challenge, "allow").Get("code")
	if !strings.HasSuffix(code, "==") {
		t.Errorf("code %q", code)
	}
	status, body := redeem(code, verifier)
	o.want(reply{status, nil, body}, 200, `{"access_token":"00D*","refresh_token":"5Aep861*","signature":"*","scope":"id api refresh_token","instance_url":"`+o.URL+`","id":"`+o.URL+`/id/`+o.OrgID()+`/`+o.UserID()+`","token_type":"Bearer","issued_at":"*"}`)
	status, again := redeem(code, verifier)
	o.want(reply{status, nil, again}, 400, `{"error":"invalid_grant","error_description":"invalid authorization code"}`)
	first := field(t, body, "refresh_token")
	refresh := func(token string) (int, string) {
		return o.tokenCall(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
	}
	_, body = refresh(first)
	second, access := field(t, body, "refresh_token"), field(t, body, "access_token")
	if second == first {
		t.Error("the refresh token did not rotate")
	}
	if r := o.do("GET", "/limits", "", "Authorization", "Bearer "+access); r.status != 200 {
		t.Errorf("refreshed session: %d", r.status)
	}
	dead := `{"error":"invalid_grant","error_description":"expired access/refresh token"}`
	status, body = refresh(first)
	o.want(reply{status, nil, body}, 400, dead)
	status, body = refresh(second) // the reuse above killed the grant
	o.want(reply{status, nil, body}, 400, dead)
	if r := o.do("GET", "/limits", "", "Authorization", "Bearer "+access); r.status != 401 {
		t.Errorf("session of a killed grant: %d", r.status)
	}
	for q, want := range map[string]string{
		"client_id=x&redirect_uri=" + callback + "&response_type=code":                           "invalid_client_id",
		"client_id=" + o.ClientID() + "&redirect_uri=https://evil.example/cb&response_type=code": "redirect_uri_mismatch",
	} {
		if r := o.do("GET", "/services/oauth2/authorize?"+q, ""); r.status != 400 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", q, r.status, r.body)
		}
	}
	for q, want := range map[string]string{
		"code_challenge=x&code_challenge_method=plain&response_type=code": "invalid_request", "response_type=token": "unsupported_response_type", "response_type=code&immediate=true": "immediate_unsuccessful",
		"response_type=code&scope=nonsense": "invalid_scope",
	} {
		r := o.do("GET", "/services/oauth2/authorize?client_id="+o.ClientID()+"&redirect_uri="+callback+"&"+q, "")
		if r.status != 302 || !strings.Contains(r.header.Get("Location"), "error="+want) {
			t.Errorf("%s: %d %s", q, r.status, r.header.Get("Location"))
		}
	}
}

func TestOtherFlows(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	o := start(t, simulator.Options{SecurityToken: "TOK", JWTCerts: [][]byte{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}})
	sign := func(claims map[string]any) url.Values {
		c, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(c)
		sum := sha256.Sum256([]byte(text))
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {text + "." + base64.RawURLEncoding.EncodeToString(sig)}}
	}
	soon := time.Now().Add(time.Minute).Unix()
	for _, c := range []struct {
		name   string
		claims map[string]any
		want   string
	}{
		{"good", map[string]any{"iss": o.ClientID(), "sub": "admin@simulator.example", "aud": "https://login.salesforce.com", "exp": soon}, `{"access_token":"*`},
		{"sf CLI: milliseconds", map[string]any{"iss": o.ClientID(), "sub": "admin@simulator.example", "aud": o.URL + "/", "exp": time.Now().UnixMilli() + 300}, `{"access_token":"*`},
		{"go-salesforce: text", map[string]any{"iss": o.ClientID(), "sub": "admin@simulator.example", "aud": "https://login.salesforce.com", "exp": fmt.Sprint(soon)}, `{"access_token":"*`},
		{"stale", map[string]any{"iss": o.ClientID(), "sub": "admin@simulator.example", "aud": o.URL, "exp": 1}, `*"error_description":"expired authorization code"}`},
		{"audience", map[string]any{"iss": o.ClientID(), "sub": "admin@simulator.example", "aud": "https://x", "exp": soon}, `*"error_description":"audience is invalid"}`},
		{"user", map[string]any{"iss": o.ClientID(), "sub": "x", "aud": o.URL, "exp": soon}, `*"error_description":"user hasn't approved this consumer"}`},
		{"app", map[string]any{"iss": "x", "sub": "x", "aud": o.URL, "exp": soon}, `{"error":"invalid_client_id",*`},
	} {
		if _, body := o.form("/services/oauth2/token", sign(c.claims)); !like(body, c.want) {
			t.Errorf("JWT %s: %s", c.name, body)
		}
	}
	_, body := o.form("/services/oauth2/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"a.b.c"}})
	o.want(reply{400, nil, body}, 400, `{"error":"invalid_grant","error_description":"invalid assertion"}`)
	login := url.Values{"grant_type": {"password"}, "username": {"admin@simulator.example"}, "password": {"simulator-passwordTOK"}}
	_, body = o.tokenCall(login)
	if strings.Contains(body, `"scope"`) {
		t.Errorf("the password flow answers no scope: %s", body)
	}
	token := field(t, body, "access_token")
	_, body = o.form("/services/oauth2/introspect", url.Values{"token": {token}, "client_id": {o.ClientID()}, "client_secret": {o.ClientSecret()}})
	o.want(reply{200, nil, body}, 200, `{"active":true,"scope":"id api","client_id":"simulator-client","username":"admin@simulator.example","sub":"*","token_type":"access_token","exp":*}`)
	status, _ := o.form("/services/oauth2/revoke", url.Values{"token": {token}})
	if r := o.do("GET", "/limits", "", "Authorization", "Bearer "+token); status != 200 || r.status != 401 {
		t.Errorf("revoke: %d, then %d", status, r.status)
	}
	if r := o.do("GET", "/services/oauth2/userinfo", "", "Authorization", "Bearer "+token); r.status != 403 || r.body != "Bad_OAuth_Token" {
		t.Errorf("userinfo with a dead token: %d %s", r.status, r.body)
	}
	for want, p := range map[string]simulator.LoginPolicy{"ip restricted": {RestrictIP: true}, "invalid login hours": {OutsideHours: true}, "no client credentials user enabled": {NoRunAs: true}, "retry your request": {Collide: 1}, "this app is blocked by admin": {BlockApp: true}} {
		o.SetLoginPolicy(p)
		_, body := o.tokenCall(url.Values{"grant_type": {"client_credentials"}})
		o.want(reply{400, nil, body}, 400, `{"error":"*","error_description":"`+want+`"}`)
	}
	o.SetLoginPolicy(simulator.LoginPolicy{NoAPI: true})
	_, body = o.tokenCall(url.Values{"grant_type": {"client_credentials"}})
	o.want(o.do("GET", "/limits", "", "Authorization", "Bearer "+field(t, body, "access_token")), 401, `[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]`)
	o.want(o.query("SELECT COUNT() FROM LoginHistory WHERE Status = 'Restricted IP'"), 200, `{"totalSize":1,"done":true,"records":[]}`)
}

func TestIDToken(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	code := o.authorize(url.Values{"scope": {"openid api"}, "nonce": {"n-1"}}, "allow").Get("code")
	_, body := o.tokenCall(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}})
	access := field(t, body, "access_token")
	parts := strings.Split(field(t, body, "id_token"), ".")
	if len(parts) != 3 {
		t.Fatalf("id_token in %s", body)
	}
	var claims struct {
		AtHash, Sub, Aud, Iss, Nonce string
		Exp, Iat                     int64
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err := errors.Join(err, json.Unmarshal([]byte(strings.Replace(string(raw), "at_hash", "atHash", 1)), &claims)); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(access))
	if claims.Sub != o.URL+"/id/"+o.OrgID()+"/"+o.UserID() || claims.Aud != o.ClientID() || claims.Iss != o.URL || claims.Nonce != "n-1" || claims.Exp <= claims.Iat ||
		claims.AtHash != base64.RawURLEncoding.EncodeToString(sum[:16]) {
		t.Errorf("claims %+v", claims)
	}
	var keys struct {
		Keys []struct{ Kty, N, E, Alg string }
	}
	if err := json.Unmarshal([]byte(o.do("GET", "//id/keys", "").body), &keys); err != nil || len(keys.Keys) != 1 {
		t.Fatalf("keys %+v: %v", keys, err)
	}
	n, _ := base64.RawURLEncoding.DecodeString(keys.Keys[0].N)
	e, _ := base64.RawURLEncoding.DecodeString(keys.Keys[0].E)
	sig, _ := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], sig); err != nil {
		t.Errorf("signature: %v", err)
	}
	if _, body := o.tokenCall(url.Values{"grant_type": {"client_credentials"}}); strings.Contains(body, "id_token") {
		t.Errorf("an id_token without openid: %s", body)
	}
}

func TestAPIOnlyUser(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	o.SetLoginPolicy(simulator.LoginPolicy{APIOnly: true})
	q := url.Values{"response_type": {"code"}, "client_id": {o.ClientID()}, "redirect_uri": {callback}}
	flow := regexp.MustCompile(`name="flow" value="([^"]+)"`).FindStringSubmatch(o.do("GET", "/services/oauth2/authorize?"+q.Encode(), "").body)
	login := url.Values{"flow": {flow[1]}, "do": {"login"}, "username": {"admin@simulator.example"}, "pw": {"simulator-password"}}
	if r := o.do("POST", "/services/oauth2/authorize", login.Encode(), "Content-Type", "application/x-www-form-urlencoded"); strings.Contains(r.body, "oaapprove") {
		t.Errorf("an API-only user got to the consent page: %s", r.body)
	}
	if status, body := o.tokenCall(url.Values{"grant_type": {"client_credentials"}}); status != 200 {
		t.Errorf("client credentials: %d %s", status, body)
	}
	o.want(o.query("SELECT Status FROM LoginHistory WHERE Status = 'API Only User'"), 200, `{"totalSize":1,*`)
}

func TestCountersOfRefreshTokens(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{Rotation: true})
	refresh := func(token string) (int, string) {
		return o.tokenCall(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
	}
	before := o.Counters().Tokens // logging in for other calls
	first := o.RefreshToken()
	status, body := refresh(first)
	if status != 200 {
		t.Fatal(body)
	}
	second := field(t, body, "refresh_token")
	if c := o.Counters(); c.Tokens != before+1 || c.Rotations != 1 || c.Reuses != 0 {
		t.Errorf("after a rotation: %+v", c)
	}
	for range 3 { // the first ends the grant
		if status, _ := refresh(first); status != 400 {
			t.Error("a refresh token works twice")
		}
	}
	if status, _ := refresh(second); status != 400 {
		t.Error("the grant outlives the second use of a refresh token")
	}
	if c := o.Counters(); c.Tokens != before+1 || c.Rotations != 1 || c.Reuses != 1 {
		t.Errorf("after a reuse: %+v", c)
	}
}
