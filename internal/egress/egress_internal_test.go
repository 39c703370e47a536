package egress

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errNobody = errors.New("nobody is admitted")

func nobody(string) error { return errNobody }

func TestPublic(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"13.110.0.1": true, "8.8.8.8": true, "2600:1f00::1": true, "::ffff:13.110.0.1": true, "2a00:1450::1": true, "100.63.255.255": true, "100.128.0.1": true,
		"127.0.0.1": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false,
		"192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false, "198.18.0.1": false, "192.0.0.8": false,
		"::1": false, "::": false, "fe80::1": false, "fc00::1": false, "fd12::1": false, "ff02::1": false, "fec0::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false,
		"2002:7f00:1::": false, "2001:db8::1": false, "2001::1": false, "2600::1%eth0": false, "64:ff9b::808:808": false,
	} {
		if got := Public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Public(%s) = %v, want %v", addr, got, want)
		}
	}
}

func TestNothingOfTheEnvironmentIsUsed(t *testing.T) {
	t.Parallel()
	c := NewClient(Options{Admit: nobody})
	if tr := c.Transport.(*transport).http; tr.Proxy != nil || tr.TLSClientConfig.MinVersion < 0x0303 || c.Jar != nil {
		t.Errorf("transport %+v, jar %v", tr, c.Jar)
	}
}

func TestOnlyWhatIsAdmitted(t *testing.T) {
	t.Parallel()
	reached := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached++
		if r.URL.Path == "/elsewhere" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 100))
	}))
	defer s.Close()
	c := NewClient(Options{Admit: nobody, DevOrigins: []string{s.URL}, MaxResponseBytes: 100})
	defer c.CloseIdleConnections()
	res, err := c.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if _ = res.Body.Close(); err != nil || len(body) != 100 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	res, err = c.Get(s.URL + "/elsewhere")
	if err != nil || res.StatusCode != http.StatusFound {
		t.Fatalf("redirect: %v, %v", res, err)
	}
	_ = res.Body.Close()
	if reached != 2 {
		t.Errorf("%d requests came, want 2: the redirect was followed", reached)
	}

	short := NewClient(Options{Admit: nobody, DevOrigins: []string{s.URL}, MaxResponseBytes: 99})
	defer short.CloseIdleConnections()
	res, err = short.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err = io.ReadAll(res.Body)
	if _ = res.Body.Close(); err == nil || len(body) != 99 {
		t.Errorf("an answer that is too long: %d bytes, %v", len(body), err)
	}

	_, err = NewClient(Options{Admit: nobody}).Get(s.URL)
	if err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("without TLS: %v", err)
	}
	_, err = NewClient(Options{Admit: nobody}).Get("https://evil.example/")
	if !errors.Is(err, errNobody) {
		t.Errorf("another host: %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	if _, err := c.Do(req); err == nil || !strings.Contains(err.Error(), "host header") {
		t.Errorf("another host in the header: %v", err)
	}
}

// The dialer checks by itself: whatever the transport makes of a request, it ends here.
func TestDialerChecksHostPortAndAddress(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	addr := s.Listener.Addr().String()
	d := newDialer(Options{Admit: nobody})
	if conn, err := d.guarded.DialContext(t.Context(), "tcp", addr); err == nil {
		_ = conn.Close()
		t.Error("a connection to loopback was made")
	} else if !strings.Contains(err.Error(), "not a public address") {
		t.Error(err)
	}
	for _, to := range []string{addr, "evil.example:443", "127.0.0.1:443", "nonsense"} {
		if conn, err := d.dial(t.Context(), "tcp", to); err == nil {
			_ = conn.Close()
			t.Errorf("a connection to %s was made", to)
		}
	}
	private := newDialer(Options{Admit: nobody, Private: true})
	conn, err := private.guarded.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
