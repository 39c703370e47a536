package auth_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/lease"
	"github.com/catalogsync/catalogsync/internal/lease/leasetest"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	orgA   = "00D5g000001AbCdEAK"
	orgB   = "00DdM00000vfgTuUAI"
	userID = "005dM00000awSFJQA2"
	key    = "3MVG9consumerkey"
	secret = "S3cr3t-canary-77d1f0c2"
)

// org is an org's host that answers as the test says, and counts what it was asked.
type org struct {
	*httptest.Server
	mu     sync.Mutex
	id     string
	secret string
	asked  int              // token requests
	script http.HandlerFunc // answers token requests in place of the org; nil: the org does
	change map[string]any   // of token responses

	apiOnly bool     // the user has the licence for integrations
	revoked []string // tokens that were given back
	noOne   bool     // revocations are answered with a fault
}

func newOrg(t testing.TB, id string) *org {
	o := &org{id: id, secret: secret}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /services/oauth2/token", o.token)
	mux.HandleFunc("GET /services/oauth2/userinfo", func(w http.ResponseWriter, _ *http.Request) {
		o.mu.Lock()
		apiOnly := o.apiOnly
		o.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{
			"organization_id": o.id, "user_id": userID, "preferred_username": "api@acme.example", "is_salesforce_integration_user": apiOnly,
		})
	})
	mux.HandleFunc("POST /services/oauth2/revoke", func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.noOne {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		o.revoked = append(o.revoked, r.FormValue("token"))
	})
	o.Server = httptest.NewServer(mux)
	t.Cleanup(o.Close)
	return o
}

func (o *org) token(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked++
	n, script, want, change, id := o.asked, o.script, o.secret, o.change, o.id
	o.mu.Unlock()
	if script != nil {
		script(w, r)
		return
	}
	if r.FormValue("client_secret") != want {
		refuse("invalid_client", "invalid client credentials")(w, r)
		return
	}
	identity := "https://login.salesforce.com/id/" + id + "/" + userID
	mac := hmac.New(sha256.New, []byte(want))
	_, _ = io.WriteString(mac, identity+"1795289018000")
	res := map[string]any{
		"access_token": tokenOf(id, n), "instance_url": o.URL, "id": identity, "token_type": "Bearer",
		"issued_at": "1795289018000", "signature": base64.StdEncoding.EncodeToString(mac.Sum(nil)), "scope": "api id",
	}
	for k, v := range change {
		res[k] = v
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(res)
}

// tokenOf is the access token that an org gives at the nth request.
func tokenOf(id string, n int) string { return fmt.Sprintf("%s!AQ0AQcanary.%d", id[:15], n) }

func refuse(code, description string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description})
	}
}

func (o *org) set(fn func(*org)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fn(o)
}

func (o *org) requests() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

// journal is a log that can be searched.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) bytes() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Clone(j.buf.Bytes())
}

// process is one auth process, called over gRPC.
type process struct {
	conns  authv1.ConnectionServiceClient
	tokens authv1.TokenServiceClient
	keys   authv1.KeyServiceClient
	log    *journal
	stop   func()

	ledger *leasetest.Ledger
	mu     sync.Mutex
	held   map[string]lease.Task // by run
}

// start runs auth on the bus, with the key file, until the test ends or stop is called.
func start(t testing.TB, b *bus.Bus, keyFile string, orgs ...*org) *process {
	t.Helper()
	return startAs(t, b, keyFile, auth.New, orgs...)
}

// startAs is start with a constructor in place of auth.New.
func startAs(t testing.TB, b *bus.Bus, keyFile string, construct func(context.Context, auth.Config, auth.Deps) (*auth.Service, error), orgs ...*org) *process {
	t.Helper()
	cfg := auth.DefaultConfig()
	cfg.KeyFile, cfg.CreateKeyFile = keyFile, true
	for _, o := range orgs {
		cfg.DevOrigins += o.URL + ","
	}
	if err := b.EnsureStreams(t.Context(), event.Streams(event.DefaultRetention())...); err != nil {
		t.Fatal(err)
	}
	p := &process{log: &journal{}, ledger: leasetest.Open(t, b), held: map[string]lease.Task{}}
	level := slog.LevelDebug
	if _, ok := t.(*testing.B); ok {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: level}))
	svc, err := construct(t.Context(), cfg, auth.Deps{Log: log, Bus: b})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv := rpc.NewServer(rpc.ServerOptions{Log: log, Health: svc.Health, Stopping: ctx.Done()})
	svc.Register(srv)
	net := rpc.NewMemNet()
	conn, err := net.Dial("auth", rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	lis := net.Listen("auth")
	go func() {
		done <- app.Run(ctx, svc.Run, func(ctx context.Context) error { return rpc.Serve(ctx, srv, lis, time.Second) })
	}()
	p.stop = sync.OnceFunc(func() {
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("auth ended with %v", err)
		}
	})
	t.Cleanup(p.stop)
	p.conns, p.tokens = authv1.NewConnectionServiceClient(conn), authv1.NewTokenServiceClient(conn)
	p.keys = authv1.NewKeyServiceClient(conn)
	return p
}

func world(t testing.TB, orgs ...*org) *process {
	t.Helper()
	return start(t, testkit.Bus(t), filepath.Join(t.TempDir(), "key"), orgs...)
}

// serverAt is a server that somebody else runs.
func serverAt(url string) *httptest.Server { return &httptest.Server{URL: url} }

// certificate makes a key pair and returns a certificate and the private key in PKCS 1, both PEM.
func certificate(t testing.TB) (cert []byte, key string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}))
}

// as returns a context in which an admin of the tenant calls.
func as(t testing.TB, tenant string) context.Context {
	return rpc.WithCaller(t.Context(), rpc.Caller{Tenant: tenant, Subject: "test", Role: optionsv1.Role_ROLE_ADMIN})
}

func linkRequest(host, secret string) *authv1.LinkConnectionRequest {
	return &authv1.LinkConnectionRequest{Host: host, Credentials: &authv1.LinkConnectionRequest_ClientCredentials{
		ClientCredentials: &authv1.ClientCredentials{ClientId: key, ClientSecret: secret},
	}}
}

// link links the tenant to the org.
func (p *process) link(t testing.TB, tenant string, o *org) *authv1.Connection {
	t.Helper()
	res, err := p.conns.LinkConnection(as(t, tenant), linkRequest(o.URL, o.secret))
	if err != nil {
		t.Fatal(err)
	}
	return res.GetConnection()
}

// ask is the request of a worker that holds a task of the tenant at the connection.
func (p *process) ask(t testing.TB, tenant, connection, rejected string) *authv1.GetAccessTokenRequest {
	t.Helper()
	run := "run-" + tenant + "-" + connection
	p.mu.Lock()
	held, ok := p.held[run]
	if !ok {
		held = p.ledger.Hold(t, tenant, connection, run)
		p.held[run] = held
	}
	p.mu.Unlock()
	return &authv1.GetAccessTokenRequest{ConnectionId: connection, RejectedAccessToken: rejected, Lease: &authv1.TaskLease{
		RunId: held.RunID, Stage: held.Stage, Number: int32(held.Number), Epoch: held.Epoch,
	}}
}

// token gets an access token, or the error.
func (p *process) token(t testing.TB, tenant, connection, rejected string) (string, error) {
	t.Helper()
	res, err := p.tokens.GetAccessToken(as(t, tenant), p.ask(t, tenant, connection, rejected))
	return res.GetAccessToken(), err
}

func (p *process) mustToken(t testing.TB, tenant, connection, rejected string) string {
	t.Helper()
	tok, err := p.token(t, tenant, connection, rejected)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func (p *process) connection(t testing.TB, tenant, id string) *authv1.Connection {
	t.Helper()
	res, err := p.conns.GetConnection(as(t, tenant), &authv1.GetConnectionRequest{ConnectionId: id})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetConnection()
}
