package salesforce

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestDialerChecksFinalAddress(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := newDialer(HostPolicy{})
	// As if a My Domain host resolved to loopback.
	conn, err := d.guarded.DialContext(t.Context(), "tcp", l.Addr().String())
	if err == nil {
		_ = conn.Close()
		t.Fatal("a connection to loopback was made")
	}
	if !strings.Contains(err.Error(), "not a public address") {
		t.Errorf("error %v, want the reason", err)
	}
	d = newDialer(HostPolicy{AllowDev: []string{"http://" + l.Addr().String()}})
	if conn, err = d.dial(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatalf("development origin: %v", err)
	}
	_ = conn.Close()
}

func TestIsPublic(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"13.110.0.1": true, "8.8.8.8": true, "2600:1f00::1": true, "::ffff:13.110.0.1": true,
		"127.0.0.1": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false,
		"192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false, "198.18.0.1": false, "192.0.0.8": false,
		"::1": false, "::": false, "fe80::1": false, "fc00::1": false, "fd12::1": false, "ff02::1": false, "fec0::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false,
		"2002:7f00:1::": false, "2001:db8::1": false, "2001::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(addr)); got != want {
			t.Errorf("isPublic(%s) = %v, want %v", addr, got, want)
		}
	}
}

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
