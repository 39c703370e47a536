package rpc

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Loopback reports whether an address, host:port with or without a scheme such as dns:///, lies on this machine. Of
// several, separated by commas, all must.
func Loopback(address string) bool {
	if address == "" {
		return false
	}
	for a := range strings.SplitSeq(address, ",") {
		if !loopback(strings.TrimSpace(a)) {
			return false
		}
	}
	return true
}

func loopback(a string) bool {
	if strings.HasPrefix(a, "unix:") {
		return true
	}
	if i := strings.LastIndexByte(a, '/'); i >= 0 {
		a = a[i+1:]
	}
	if i := strings.LastIndexByte(a, '@'); i >= 0 { // of a URL with a user
		a = a[i+1:]
	}
	host, _, err := net.SplitHostPort(a)
	if err != nil {
		host = a
	}
	host = strings.Trim(host, "[]")
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// RequireTLS refuses an address that others can reach, or listen in on the way to, where nothing encrypts. flag names the
// setting that holds it, and remedy the settings that would help.
func RequireTLS(flag, address, remedy string, encrypted, insecure bool) error {
	if encrypted || insecure || Loopback(address) {
		return nil
	}
	return fmt.Errorf("-%s %q leads beyond this machine, and nothing encrypts: give %s, or say -insecure where the network is trusted", flag, address, remedy)
}
