package salesforce

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// NewHTTPClient returns the HTTP client for everything that is sent to Salesforce, token endpoints
// included. It refuses hosts that policy does not admit, checks the final address after resolution
// (public unicast only, except for the policy's development origins), follows no redirect, keeps no
// cookies and ignores proxy settings of the environment.
func NewHTTPClient(policy HostPolicy) *http.Client {
	d := newDialer(policy)
	// HTTP/1.1 only: one exchange per connection keeps "was it sent?" a question with an answer.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Client{
		CheckRedirect: refuseRedirects,
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            d.dial,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    10 * time.Second,
			DisableCompression:     true, // the client unpacks, under its own limits
			MaxIdleConns:           256,
			MaxIdleConnsPerHost:    64,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			WriteBufferSize:        64 << 10,
			ReadBufferSize:         64 << 10,
			Protocols:              protocols,
		},
	}
}

func refuseRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

type dialer struct {
	policy         HostPolicy
	dev            map[string]bool
	plain, guarded net.Dialer
}

func newDialer(policy HostPolicy) *dialer {
	d := &dialer{policy: policy, dev: make(map[string]bool)}
	for _, raw := range policy.AllowDev {
		if u, err := parseOrigin(raw); err == nil {
			d.dev[hostPort(u)] = true
		}
	}
	d.plain = net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	d.guarded = d.plain
	d.guarded.Control = func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("salesforce: address %q: %w", address, err)
		}
		if !isPublic(a.Addr()) {
			return fmt.Errorf("salesforce: the host resolves to %s, which is not a public address", a.Addr())
		}
		return nil
	}
	return d
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.dev[addr] {
		return d.plain.DialContext(ctx, network, addr)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("salesforce: address %q: %w", addr, err)
	}
	u := &url.URL{Scheme: "https", Host: host}
	if port != "443" {
		u.Host = addr
	}
	if err := d.policy.checkHost(u); err != nil {
		return nil, fmt.Errorf("salesforce: %w", err)
	}
	return d.guarded.DialContext(ctx, network, addr)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// special lists what IsGlobalUnicast and IsPrivate let through although it is not the public internet:
// shared and documentation ranges, benchmarks, and the prefixes that embed an IPv4 address.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
