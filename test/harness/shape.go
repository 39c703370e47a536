package harness

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/catalogsync/catalogsync/internal/identity"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// System is the whole of catalogsync at work.
type System struct {
	// Gateway is the address of the gRPC API, HTTP that of JSON over HTTP.
	Gateway, HTTP string
	// Operator is the operator's token.
	Operator string
	// Data is the data directory of the all-in-one; empty where services run apart.
	Data string
	// Workers, Schedulers and the rest are its processes. In the all-in-one they are one and the same.
	Workers, Schedulers []*Process
	All                 []*Process
	// NATS is the server process; nil where it is embedded.
	NATS *testkit.Process

	conn *grpc.ClientConn
}

// Shape starts a system that may link the orgs at origins.
type Shape struct {
	Name  string
	Start func(t testing.TB, origins ...string) *System
}

// Shapes are both of them.
func Shapes() []Shape {
	return []Shape{{"one process", OneProcess}, {"five processes", func(t testing.TB, origins ...string) *System {
		return FiveProcesses(t, Apart{Workers: 3, Schedulers: 2}, origins...)
	}}}
}

// OneProcess runs everything in one process, as `catalogsync serve` does.
func OneProcess(t testing.TB, origins ...string) *System {
	t.Helper()
	s := &System{Gateway: FreePort(t), HTTP: FreePort(t), Data: t.TempDir()}
	args := []string{"serve", "--data", s.Data, "--listen", s.Gateway, "--http-listen", s.HTTP, "--log-format", "text", "--log-level", "info"}
	for _, o := range origins {
		args = append(args, "--dev-origin", o)
	}
	p := start(t, "catalogsync", Build(t, "cmd/catalogsync"), nil, args...)
	s.All, s.Workers, s.Schedulers = []*Process{p}, []*Process{p}, []*Process{p}
	s.conn = ready(t, s.Gateway, p, nil)
	token, err := os.ReadFile(filepath.Join(s.Data, "operator.token"))
	if err != nil {
		t.Fatal(err)
	}
	s.Operator = strings.TrimSpace(string(token))
	return s
}

// Apart says how many processes of each scalable service run.
type Apart struct {
	Workers, Schedulers int
	// Flags are added to every process's.
	Flags []string
	// WorkerFlags are added to every worker's.
	WorkerFlags []string
}

// FiveProcesses runs every service in its own process, workers and schedulers several times, with a nats-server process
// and PostgreSQL. The services prove who they are to each other by mutual TLS and to NATS by NKeys, as in production.
func FiveProcesses(t testing.TB, a Apart, origins ...string) *System {
	t.Helper()
	dir := t.TempDir()
	if _, err := identity.Make(dir, identity.Options{Hosts: []string{"127.0.0.1"}}); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	users, err := os.ReadFile(file(identity.NATSUsers))
	if err != nil {
		t.Fatal(err)
	}
	nats := testkit.NATSProcess(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q }\n",
		file(identity.Cert(identity.NATSServer)), file(identity.Key(identity.NATSServer)), file(identity.AuthorityCert)), string(users))
	people := testkit.Postgres(t)
	s := &System{Gateway: FreePort(t), HTTP: FreePort(t), NATS: nats, Operator: "cs_operator_" + randomText(t)}
	auth, mapper := FreePort(t), FreePort(t)
	workers := make([]string, a.Workers)
	for i := range workers {
		workers[i] = FreePort(t)
	}
	scheduler := FreePort(t)
	secret := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	keyFile := secret("auth.key", base64.StdEncoding.EncodeToString(key)+"\n")
	common := append([]string{"-nats-url", nats.URL(), "-log-format", "text"}, a.Flags...)
	dev := []string{"-dev-origins", strings.Join(origins, ",")}
	run := func(name, listen string, more ...[]string) *Process {
		args := append([]string{
			"-listen", listen, "-tls-cert", file(identity.Cert(name)), "-tls-key", file(identity.Key(name)), "-tls-ca", file(identity.AuthorityCert),
			"-nats-ca", file(identity.AuthorityCert), "-nats-nkey-file", file(identity.NKey(name)),
		}, common...)
		for _, m := range more {
			args = append(args, m...)
		}
		p := start(t, name, Build(t, "services/"+name+"/cmd/"+name), nil, args...)
		s.All = append(s.All, p)
		return p
	}
	creds, err := rpc.TLSFiles{Cert: file(identity.Cert("gateway")), Key: file(identity.Key("gateway")), CA: file(identity.AuthorityCert)}.Client()
	if err != nil {
		t.Fatal(err)
	}
	ready(t, auth, run("auth", auth, dev, []string{"-key-file", keyFile}), creds)
	ready(t, mapper, run("mapper", mapper), creds)
	for i, addr := range workers {
		p := run("sync-worker", addr, dev, []string{
			"-auth-addr", auth, "-mapper-addr", mapper, "-directory", people, "-max-bytes", strconv.Itoa(4 << 30),
		}, a.WorkerFlags)
		s.Workers = append(s.Workers, p)
		if i == 0 {
			ready(t, addr, p, creds) // the first one makes streams and tables
		}
	}
	for i, addr := range workers[1:] {
		ready(t, addr, s.Workers[i+1], creds)
	}
	// Clients of a service that runs several times take any of them.
	anyWorker := strings.Join(workers, ",")
	for i := range a.Schedulers {
		addr := scheduler
		if i > 0 {
			addr = FreePort(t)
		}
		p := run("scheduler", addr, []string{"-auth-addr", auth, "-sync-worker-addr", anyWorker})
		s.Schedulers = append(s.Schedulers, p)
		ready(t, addr, p, creds)
	}
	gw := run("gateway", s.Gateway, []string{
		"-http-listen", s.HTTP, "-operator-token-file", secret("operator.token", s.Operator), "-auth-addr", auth, "-mapper-addr", mapper,
		"-scheduler-addr", scheduler, "-sync-worker-addr", anyWorker,
	})
	s.conn = ready(t, s.Gateway, gw, creds)
	return s
}

func randomText(t testing.TB) string {
	t.Helper()
	b := make([]byte, 24)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// At returns a system that runs elsewhere, such as in the test's own process.
func At(t testing.TB, gateway, operator string) *System {
	t.Helper()
	conn, err := rpc.Dial("passthrough:///"+gateway, rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, conn) })
	return &System{Gateway: gateway, Operator: operator, conn: conn}
}
