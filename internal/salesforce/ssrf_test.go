package salesforce_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/catalogsync/catalogsync/internal/egress"
	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// inner are addresses that nothing of ours may connect to, in their usual form.
var inner = []string{
	"127.0.0.1", "127.0.0.53", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254",
	"192.168.0.1", "192.168.255.254", "169.254.169.254", "169.254.170.2", "169.254.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.254",
	"192.0.0.1", "192.0.0.192", "192.0.2.7", "192.88.99.1", "198.18.0.1", "198.19.255.254", "198.51.100.9", "203.0.113.9",
	"224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:192.168.1.1", "::ffff:100.64.0.1",
	"::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "100::1", "2001::1", "2001:10::1", "2001:20::1",
	"2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "5f00::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fe80::1", "fec0::1",
	"ff02::1", "ff0e::1", "4000::1", "1::1",
}

// spellings are other ways to write an IPv4 address in a URL.
func spellings(s string) []string {
	a := netip.MustParseAddr(s)
	if !a.Is4() {
		return nil
	}
	b := a.As4()
	n := binary.BigEndian.Uint32(b[:])
	return []string{
		fmt.Sprint(n), fmt.Sprintf("0x%x", n), fmt.Sprintf("0%o", n),
		fmt.Sprintf("0x%x.0x%x.0x%x.0x%x", b[0], b[1], b[2], b[3]), fmt.Sprintf("0%o.0%o.0%o.0%o", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("%d.%d", b[0], n&0xffffff), fmt.Sprintf("%d.%d.%d", b[0], b[1], n&0xffff), s + ".",
		fmt.Sprintf("[::ffff:%s]", s), fmt.Sprintf("[::ffff:%x:%x]", n>>16, n&0xffff), fmt.Sprintf("[::%s]", s), fmt.Sprintf("[64:ff9b::%s]", s),
		strings.ReplaceAll(s, ".", "。"), strings.ReplaceAll(s, ".", "%2e"),
	}
}

// corpus are URLs that must not be called, though some look as if they might.
func corpus() (urls []string) {
	for _, a := range inner {
		if strings.Contains(a, ":") {
			urls = append(urls, "https://["+a+"]", "https://["+a+"]:443")
			continue
		}
		urls = append(urls, "https://"+a, "http://"+a, "https://"+a+":443", "https://"+a+"/services/oauth2/token")
		for _, s := range spellings(a) {
			urls = append(urls, "https://"+s)
		}
	}
	const good = "acme.my.salesforce.com"
	for _, evil := range []string{"evil.example", "127.0.0.1", "169.254.169.254", "[::1]", "localhost"} {
		urls = append(urls,
			"https://"+good+"@"+evil, "https://"+good+":443@"+evil, "https://"+evil+"#"+good, "https://"+evil+"?."+good, "https://"+evil+"/."+good,
			"https://"+evil+"\\@"+good, "https://"+evil+"\\."+good, "https://"+evil+"%00."+good, "https://"+evil+"%23@"+good, "https://"+evil+"%2f."+good,
			"https://"+evil+"\t."+good, "https://"+evil+"\r\n."+good, "https://"+evil+":80", "https://"+evil+":22", "//"+evil, "https:"+evil, "https:///"+evil,
			"https://"+good+":443@"+evil+":443/", "https://"+good+";"+evil, "https://"+good+","+evil, "https://"+good+" "+evil)
	}
	return append(urls,
		"https://localhost", "https://localhost.", "https://LOCALHOST", "https://localhost.localdomain", "https://metadata", "https://metadata.google.internal",
		"https://instance-data", "https://kubernetes.default.svc", "https://salesforce-sim", "https://nats:4222", "https://auth:9001",
		"https://127.0.0.1.nip.io", "https://acme.my.salesforce.com.127.0.0.1.nip.io", "https://spoofed.burpcollaborator.net",
		"https://"+good+".", "https://"+good+"..", "https://."+good, "https://"+good+":80", "https://"+good+":0443", "https://"+good+":-1", "https://"+good+":99999",
		"https://xn--my-sqa.salesforce.com", "https://acme.my.xn--salesforce-9wg.com", "https://acme.my.sаlesforce.com", "https://acme.my.salesforсe.com",
		"https://acme.my.salesforce.cοm", "https://acme.my.salesforce.com․evil.example", "https://acme.my．salesforce.com", "https://acme。my。salesforce。com",
		"https://acme.my.salesforce.com\u200b", "https://acme.my.salesforce.com\u2024evil.example", "https://ⓐcme.my.salesforce.com", "https://acme.my.ｓalesforce.com",
		"https://acme.my.salesforce.co", "https://acme.my.salesforce.com.co", "https://acme.my.salesforcecom", "https://acmemy.salesforce.com",
		"https://acme-my.salesforce.com", "https://my.salesforce.com", "https://salesforce.com", "https://com", "https://login.salesforce.com.evil.example",
		"https://loginsalesforce.com", "https://login-salesforce.com", "https://xlogin.salesforce.com", "https://login.salesforce.com:444",
		"http://login.salesforce.com", "http://acme.my.salesforce.com", "http://acme.my.salesforce.com:443", "file:///etc/passwd", "file://login.salesforce.com/etc/passwd",
		"gopher://login.salesforce.com", "dict://127.0.0.1:11211", "ftp://login.salesforce.com", "unix:///run/docker.sock", "data:text/plain,x", "javascript:alert(1)",
		"ldap://login.salesforce.com", "jar:https://login.salesforce.com!/", "HTTPS//login.salesforce.com", "https:/login.salesforce.com", "https//:login.salesforce.com",
		"", " ", "https://", "https://:443", "https://@", "https://[", "https://[]", "https://[::1", "https://[::1%25lo]", "https://[fe80::1%25eth0]", "https://[v1.x]",
		"https://acme.content.force.com", "https://acme.my.site.com", "https://acme.secure.force.com", "https://acme.documentforce.com", "https://na1.salesforce.com",
	)
}

func TestSSRF(t *testing.T) {
	t.Parallel()
	policy := salesforce.HostPolicy{AllowDev: []string{"http://127.0.0.1:8089"}, AllowGov: true}
	hc := salesforce.NewHTTPClient(policy)
	n := 0
	for _, raw := range corpus() {
		n++
		if u, err := policy.Check(raw); err == nil {
			t.Errorf("Check(%q) admits %s", raw, u)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, raw, strings.NewReader("token"))
		if err != nil {
			continue // not even a URL
		}
		if req.URL.Hostname() == "acme.my.salesforce.com" && req.URL.Scheme == "https" && (req.URL.Port() == "" || req.URL.Port() == "443") && req.URL.User == nil {
			continue // the path is odd, the host is not
		}
		res, err := hc.Do(req)
		if err == nil {
			_ = res.Body.Close()
			t.Errorf("%q was called", raw)
			continue
		}
		if !strings.Contains(err.Error(), "egress:") && !strings.Contains(err.Error(), "unsupported protocol scheme") && !strings.Contains(err.Error(), "no Host in request URL") {
			t.Errorf("%q was refused by chance: %v", raw, err)
		}
	}
	if n < 300 {
		t.Errorf("only %d variants were tried", n)
	}
}

// names is a name server on loopback. It answers with what a test says, anew for every question.
type names struct {
	conn    net.PacketConn
	asked   atomic.Int64
	answers func(n int64) []netip.Addr
}

func newNames(t *testing.T, answers func(n int64) []netip.Addr) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &names{conn: conn, answers: answers}
	done := make(chan struct{})
	go func() { defer close(done); s.serve() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return s
}

func (s *names) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer, err := s.answer(buf[:n]); err == nil {
			_, _ = s.conn.WriteTo(answer, from)
		}
	}
}

func (s *names) answer(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true})
	if err := errors.Join(b.StartQuestions(), b.Question(q), b.StartAnswers()); err != nil {
		return nil, err
	}
	head := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 0}
	for _, a := range s.answers(s.asked.Add(1)) {
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			err = b.AResource(head, dnsmessage.AResource{A: a.As4()})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			err = b.AAAAResource(head, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
		if err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

func (s *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

// A name of Salesforce's that leads into the own network is not followed, whatever the name server says when.
func TestNamesThatLeadInside(t *testing.T) {
	t.Parallel()
	call := func(t *testing.T, answers func(int64) []netip.Addr) error {
		o := salesforce.HostPolicy{}.Egress()
		o.Resolver = newNames(t, answers).resolver()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://acme.my.salesforce.com/services/data/", nil)
		if err != nil {
			t.Fatal(err)
		}
		hc := egress.NewClient(o)
		defer hc.CloseIdleConnections()
		res, err := hc.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	for _, a := range inner {
		addr := netip.MustParseAddr(a)
		if err := call(t, func(int64) []netip.Addr { return []netip.Addr{addr} }); err == nil || !strings.Contains(err.Error(), "not a public address") {
			t.Errorf("%s: %v", a, err)
		}
	}
	t.Run("all at once", func(t *testing.T) {
		t.Parallel()
		var all []netip.Addr
		for _, a := range inner[:20] {
			all = append(all, netip.MustParseAddr(a))
		}
		if err := call(t, func(int64) []netip.Addr { return all }); err == nil || !strings.Contains(err.Error(), "not a public address") {
			t.Error(err)
		}
	})
	t.Run("another with every question", func(t *testing.T) {
		t.Parallel()
		for range 20 {
			if err := call(t, func(n int64) []netip.Addr { return []netip.Addr{netip.MustParseAddr(inner[int(n)%len(inner)])} }); err == nil {
				t.Error("a connection was made")
			}
		}
	})
}

// A server that listens inside is reached as a development origin alone, and then exactly at that origin.
func TestDevelopmentOriginIsExact(t *testing.T) {
	t.Parallel()
	policy := salesforce.HostPolicy{AllowDev: []string{"http://127.0.0.1:8089"}}
	for _, raw := range []string{
		"http://127.0.0.1:8090", "https://127.0.0.1:8089", "http://127.0.0.2:8089", "http://localhost:8089", "http://127.1:8089", "http://2130706433:8089",
		"http://[::ffff:127.0.0.1]:8089", "http://127.0.0.1", "http://x@127.0.0.1:8089", "http://127.0.0.1:08089", "http://127.0.0.1.:8089",
	} {
		if _, err := policy.Check(raw); err == nil {
			t.Errorf("%s is admitted", raw)
		}
		if res, err := salesforce.NewHTTPClient(policy).Get(raw); err == nil || !strings.Contains(err.Error(), "egress:") {
			if err == nil {
				_ = res.Body.Close()
			}
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func FuzzHostPolicy(f *testing.F) {
	for _, raw := range corpus() {
		f.Add(raw)
	}
	f.Add("https://acme.my.salesforce.com")
	f.Add("https://ACME--uat.sandbox.my.salesforce.com:443/")
	policy := salesforce.HostPolicy{}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := policy.Check(raw)
		if err != nil {
			return
		}
		host := u.Hostname()
		if u.Scheme != "https" || u.User != nil || u.Port() != "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
			t.Errorf("Check(%q) = %s", raw, u)
		}
		if host != strings.ToLower(host) || strings.ContainsFunc(host, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
		}) {
			t.Errorf("Check(%q) lets host %q pass", raw, host)
		}
		if host != "login.salesforce.com" && host != "test.salesforce.com" {
			labels := strings.Split(host, ".")
			if n := len(labels); n < 4 || !slices.Equal(labels[n-3:], []string{"my", "salesforce", "com"}) || slices.Contains(labels, "") {
				t.Errorf("Check(%q) lets host %q pass", raw, host)
			}
		}
		again, err := policy.Check(u.String())
		if err != nil || *again != *u {
			t.Errorf("Check(%q) = %s, and of that %s, %v", raw, u, again, err)
		}
	})
}
