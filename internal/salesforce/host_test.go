package salesforce_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

func TestHostPolicyAdmits(t *testing.T) {
	t.Parallel()
	gov := salesforce.HostPolicy{AllowGov: true, AllowDev: []string{"http://127.0.0.1:8089", "https://sim.internal:8443/"}}
	for raw, want := range map[string]string{
		"https://login.salesforce.com":                              "https://login.salesforce.com",
		"https://test.salesforce.com/":                              "https://test.salesforce.com",
		"https://ACME.My.Salesforce.com":                            "https://acme.my.salesforce.com",
		"https://acme.my.salesforce.com:443":                        "https://acme.my.salesforce.com",
		"https://acme--uat.sandbox.my.salesforce.com":               "https://acme--uat.sandbox.my.salesforce.com",
		"https://d4s000000oz4euaa-dev-ed.develop.my.salesforce.com": "https://d4s000000oz4euaa-dev-ed.develop.my.salesforce.com",
		"https://acme.my.salesforce.mil":                            "https://acme.my.salesforce.mil",
		"https://acme.my.sfcrmproducts.cn":                          "https://acme.my.sfcrmproducts.cn",
		"http://127.0.0.1:8089/":                                    "http://127.0.0.1:8089",
		"https://sim.internal:8443":                                 "https://sim.internal:8443",
	} {
		u, err := gov.Check(raw)
		if err != nil || u.String() != want {
			t.Errorf("Check(%q) = %v, %v; want %s", raw, u, err, want)
		}
	}
}

func TestHostPolicyRefuses(t *testing.T) {
	t.Parallel()
	policy := salesforce.HostPolicy{AllowDev: []string{"http://127.0.0.1:8089"}}
	for _, raw := range []string{
		"", "acme.my.salesforce.com", "//acme.my.salesforce.com", "https://", "https:acme.my.salesforce.com",
		"http://acme.my.salesforce.com", "ftp://acme.my.salesforce.com", "javascript:alert(1)",
		"https://my.salesforce.com", "https://.my.salesforce.com", "https://a..my.salesforce.com",
		"https://-a.my.salesforce.com", "https://a-.my.salesforce.com", "https://a_b.my.salesforce.com",
		"https://acme.my.salesforce.com.", "https://acme.my.salesforce.com.evil.example",
		"https://acme.my.salesforce.com@evil.example", "https://user:secret@acme.my.salesforce.com",
		"https://evil.example#.my.salesforce.com", "https://evil.example/.my.salesforce.com", "https://evil.example?.my.salesforce.com",
		"https://evil.example\\.my.salesforce.com", "https://evilmy.salesforce.com", "https://acme.my-salesforce.com",
		"https://acme.my.salesforce.com:8443", "https://acme.my.salesforce.com:", "https://acme.my.salesforce.com:443:443",
		"https://acme.my.salesforce.com/services", "https://acme.my.salesforce.com?", "https://acme.my.salesforce.com#x",
		"https://acme.my.salesforce.com ", "https://acme.my.salesforce.com\n", "https://acme%2emy.salesforce.com",
		"https://acme。my.salesforce.com", "https://äcme.my.salesforce.com", "https://xn--.my.salesforce.com:0",
		"https://acme.salesforce.com", "https://na1.salesforce.com", "https://acme.force.com", "https://acme.lightning.force.com",
		"https://acme.my.site.com", "https://acme.salesforce-setup.com", "https://acme.content.force.com",
		"https://acme.my.salesforce.mil", "https://acme.my.sfcrmproducts.cn",
		"https://127.0.0.1", "https://[::1]", "https://2130706433", "https://0x7f.1", "https://169.254.169.254",
		"http://127.0.0.1:8090", "https://127.0.0.1:8089", "http://127.0.0.1", "http://localhost:8089", "http://127.0.0.1:8089/x",
		"http://user@127.0.0.1:8089",
	} {
		if u, err := policy.Check(raw); err == nil {
			t.Errorf("Check(%q) = %v, want an error", raw, u)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("Check(%q): the error shows the password: %v", raw, err)
		}
	}
}

func TestPolicyWithAnUnusableOriginIsRefused(t *testing.T) {
	t.Parallel()
	policy := salesforce.HostPolicy{AllowDev: []string{"http://127.0.0.1:8089", "127.0.0.1:8089"}}
	if err := policy.Validate(); err == nil {
		t.Error("Validate lets a development origin without scheme pass")
	}
	_, err := salesforce.New(salesforce.Options{Policy: policy, APIVersion: "latest"})
	for _, want := range []string{"development origin", "HTTP", "Tokens", "67.0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want it to name %q too", err, want)
		}
	}
}

func TestHTTPClientFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	reached := false
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer target.Close()
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, target.URL, http.StatusFound) },
		func(o *salesforce.Options) {
			o.Policy.AllowDev = append(o.Policy.AllowDev, target.URL)
			o.HTTP = salesforce.NewHTTPClient(o.Policy)
			o.HTTP.CheckRedirect = nil
		})
	_, err := r.Limits(t.Context())
	if e := asError(t, err); e.Status != http.StatusFound || e.Action != salesforce.ActionJob {
		t.Errorf("error %+v, want the redirect itself", e)
	}
	if reached {
		t.Error("the redirect was followed")
	}
}

func TestHTTPClientRefusesOtherHosts(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	hc := salesforce.NewHTTPClient(salesforce.HostPolicy{})
	for _, u := range []string{s.URL, "https://evil.example/", "http://acme.my.salesforce.com/"} {
		resp, err := hc.Get(u)
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("GET %s was sent", u)
		}
	}
}

func TestTokenOriginIsChecked(t *testing.T) {
	t.Parallel()
	r := newRig(t, status(200, "{}"))
	r.tokens.url = "https://evil.example"
	if _, err := r.Limits(t.Context()); err == nil || !strings.Contains(err.Error(), "not a Salesforce My Domain host") {
		t.Errorf("error %v, want a refusal of the origin", err)
	}
	if n := len(r.calls.all()); n != 0 {
		t.Errorf("%d exchanges, want none", n)
	}
}
