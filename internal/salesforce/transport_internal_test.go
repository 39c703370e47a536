package salesforce

import (
	"net/url"
	"testing"
)

func TestWithinKeepsLinksOnTheOrigin(t *testing.T) {
	t.Parallel()
	origin, err := url.Parse("https://acme.my.salesforce.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"/services/data/v67.0/query/0r8xx5R2yF2gs3VASQ-2000", "https://acme.my.salesforce.com/services/data/v67.0/jobs/ingest?queryLocator=x"} {
		if _, err := within(origin, ref); err != nil {
			t.Errorf("within(%q): %v", ref, err)
		}
	}
	for _, ref := range []string{
		"", "query", "//evil.example/services/data/v67.0/query", "https://evil.example/services/data/v67.0/", "http://acme.my.salesforce.com/services/data/v67.0/",
		"/services/oauth2/revoke", "/services/data/v67.0/../../oauth2/revoke", "/services/data/v67.0/%2e%2e/%2e%2e/oauth2/revoke", "javascript:x", "https://u@acme.my.salesforce.com/services/data/v67.0/", "/services/data/v67.0/%2e%2e/x#y",
	} {
		if u, err := within(origin, ref); err == nil {
			t.Errorf("within(%q) = %v, want an error", ref, u)
		}
	}
}
