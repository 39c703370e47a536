package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// special lists what looks like an address of the public internet and is none: shared and documentation ranges,
// benchmarks, and the prefixes that embed an IPv4 address.
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
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"),
}

// global is what of IPv6 has been given to the public internet. NAT64, IPv4-compatible, site-local and other addresses
// lie outside.
var global = netip.MustParsePrefix("2000::/3")

// Public reports whether an address is one host of the public internet.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !global.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// ParseOrigin reads an origin: scheme, host and port, and nothing else. The result is normalised: the host in lower case,
// the port left out where it is 443 of https.
func ParseOrigin(raw string) (*url.URL, error) {
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errors.New("it holds spaces, control characters or letters outside ASCII (use the punycode form)")
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's error repeats the whole text, which may hold a password.
		return nil, errors.New("it is no URL")
	}
	switch {
	case u.User != nil:
		return nil, errors.New("it must not hold a user or password")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("scheme %q is not https", u.Scheme)
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("it has no host")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return nil, errors.New("it must end after the host: no path, query or fragment")
	case strings.HasSuffix(u.Host, ":"):
		return nil, errors.New("its port is empty")
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	}
	return &url.URL{Scheme: u.Scheme, Host: host}, nil
}
