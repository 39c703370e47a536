package gateway_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/gateway"
)

// Callers from outside see the certificate that is for them, by HTTP and gRPC, and one that was renewed with the next
// connection.
func TestCertificateForCallersFromOutside(t *testing.T) {
	t.Parallel()
	first, second := testkit.NewAuthority(t), testkit.NewAuthority(t)
	cert, key := first.Issue(t, "sync.example.com")
	public := func(c *gateway.Config) {
		c.PublicCert, c.PublicKey, c.PublicURL = cert, key, "https://sync.example.com"
	}
	w := start(t, public)
	token := w.token(t, "acme", viewer)
	get := func(a *testkit.Authority) error {
		pem, err := os.ReadFile(a.File)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "sync.example.com"},
		}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(w.url, "http:", "https:", 1)+"/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
			t.Errorf("answer %s %s", res.Proto, res.Status)
		}
		return res.Body.Close()
	}
	if err := get(first); err != nil {
		t.Error(err)
	}
	if err := get(second); err == nil {
		t.Error("the certificate is of another authority")
	}
	plain, err := http.Get(w.url + "/healthz")
	if err == nil {
		if plain.StatusCode == http.StatusOK {
			t.Error("HTTP is served without TLS, too")
		}
		_ = plain.Body.Close()
	}
	cfg := gateway.DefaultConfig()
	public(&cfg)
	svc, err := gateway.New(t.Context(), cfg, gateway.Deps{Log: testkit.Logger(t), Bus: w.bus, Auth: w.back, Mapper: w.back, Scheduler: w.back, SyncWorker: w.back})
	if err != nil {
		t.Fatal(err)
	}
	creds, err := svc.PublicCredentials()
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(t), Authenticate: svc.Authenticate, Credentials: creds, Stopping: ctx.Done()})
	svc.Register(server)
	done := make(chan error, 1)
	go func() { done <- rpc.Serve(ctx, server, lis, time.Second) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	ask := func(a *testkit.Authority) error {
		creds, err := credentials.NewClientTLSFromFile(a.File, "sync.example.com")
		if err != nil {
			t.Fatal(err)
		}
		conn, err := rpc.Dial(lis.Addr().String(), rpc.DialOptions{Credentials: creds, Extra: []grpc.DialOption{grpc.WithUserAgent("test")}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}()
		return rpc.CheckHealth(t.Context(), conn)
	}
	if err := ask(first); err != nil {
		t.Error(err)
	}
	newCert, newKey := second.Issue(t, "sync.example.com")
	for from, to := range map[string]string{newKey: key, newCert: cert} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := get(second); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
	if err := ask(second); err != nil {
		t.Errorf("after the renewal, by gRPC: %v", err)
	}
	cfg.PublicCert = "/nowhere"
	if _, err := gateway.New(t.Context(), cfg, gateway.Deps{Log: testkit.Logger(t), Bus: w.bus, Auth: w.back, Mapper: w.back, Scheduler: w.back, SyncWorker: w.back}); err == nil {
		t.Error("a certificate that is not there was taken")
	}
}
