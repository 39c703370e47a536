// Package egress owns how a process calls out: one HTTP client for each purpose, which reaches the hosts of that purpose
// and nothing else.
//
// The address that a name leads to is checked after it was looked up and just before it is connected to, so that no answer
// of a name server, however it changes, leads into the own network. Settings of the environment have no say.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	maxHeaderBytes   = 64 << 10
)

// Options say what a client is for.
type Options struct {
	// Admit says what is wrong with a host, which is in lower case and without its port. It is required.
	Admit func(host string) error
	// DevOrigins are origins, such as "http://127.0.0.1:8089" of a simulator, that may be called although they are neither
	// of the hosts nor public. For development: exactly these, scheme and port included.
	DevOrigins []string
	// Private admits addresses that are not public, for hosts that whoever runs the process has named.
	Private bool
	// MaxResponseBytes bounds the body of a response; 0 for one that is read as a stream under limits of its own.
	MaxResponseBytes int64
	// Resolver looks names up; nil for that of the system.
	Resolver *net.Resolver
}

// NewClient returns a client that speaks HTTPS over TLS 1.2 or newer to port 443 of the hosts, follows no redirect (the
// redirect is the answer), keeps no cookies, and knows no proxy. It speaks HTTP/1.1 alone: one exchange per connection
// keeps "was it sent?" a question with an answer.
func NewClient(o Options) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     newTransport(o),
	}
}

// transport checks a request before it is sent, and bounds the answer.
type transport struct {
	opts Options
	dev  map[string]bool // origins
	http *http.Transport
}

func newTransport(o Options) *transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &transport{opts: o, dev: map[string]bool{}}
	dialer := newDialer(o)
	for _, raw := range o.DevOrigins {
		if u, err := ParseOrigin(raw); err == nil {
			t.dev[u.String()] = true
			dialer.exempt[hostPort(u)] = true
		}
	}
	t.http = &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    handshakeTimeout,
		DisableCompression:     true, // whoever reads unpacks, under limits of its own
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
		Protocols:              protocols,
	}
	return t
}

// RoundTrip sends a request to a host that is admitted.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.check(r); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as RoundTrippers do
		}
		return nil, fmt.Errorf("egress: %w", err)
	}
	res, err := t.http.RoundTrip(r)
	if err == nil && t.opts.MaxResponseBytes > 0 {
		res.Body = &boundedBody{ReadCloser: res.Body, left: t.opts.MaxResponseBytes, most: t.opts.MaxResponseBytes}
	}
	return res, err
}

// CloseIdleConnections closes what is open and not in use.
func (t *transport) CloseIdleConnections() { t.http.CloseIdleConnections() }

func (t *transport) check(r *http.Request) error {
	u := r.URL
	if u.User != nil {
		return errors.New("a URL must not hold a user or password")
	}
	if r.Host != "" && !strings.EqualFold(r.Host, u.Host) {
		return errors.New("the host header names another host than the URL")
	}
	origin, err := ParseOrigin(u.Scheme + "://" + u.Host)
	if err != nil {
		return err
	}
	if t.dev[origin.String()] {
		return nil
	}
	if origin.Scheme != "https" {
		return fmt.Errorf("scheme %q is not https", origin.Scheme)
	}
	if port := origin.Port(); port != "" {
		return fmt.Errorf("port %s is not 443", port)
	}
	return t.opts.Admit(origin.Hostname())
}

// dialer connects to admitted hosts at public addresses.
type dialer struct {
	opts           Options
	exempt         map[string]bool // host:port
	plain, guarded net.Dialer
}

func newDialer(o Options) *dialer {
	d := &dialer{opts: o, exempt: map[string]bool{}}
	d.plain = net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Resolver: o.Resolver}
	d.guarded = d.plain
	if !o.Private {
		d.guarded.Control = checkAddress
	}
	return d
}

// dial connects. It checks the host once more: the transport might have been led elsewhere.
func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.exempt[addr] {
		return d.plain.DialContext(ctx, network, addr)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("egress: address %q: %w", addr, err)
	}
	if port != "443" {
		return nil, fmt.Errorf("egress: port %s is not 443", port)
	}
	if err := d.opts.Admit(strings.ToLower(host)); err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	return d.guarded.DialContext(ctx, network, addr)
}

// checkAddress is asked with the address that is about to be connected to.
func checkAddress(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("egress: address %q: %w", address, err)
	}
	if !Public(a.Addr()) {
		return fmt.Errorf("egress: the host resolves to %s, which is not a public address", a.Addr())
	}
	return nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// boundedBody fails when a response is longer than it may be.
type boundedBody struct {
	io.ReadCloser
	left, most int64
}

// Read reads up to the limit, and one byte more to know that there is more.
func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		b.left = 0
		return n, fmt.Errorf("egress: the response has more than %d bytes", b.most)
	}
	b.left -= int64(n)
	return n, err
}
