package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/natsd"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// mirror is a service that answers with the caller's tenant.
type mirror struct {
	grpc_testing.UnimplementedTestServiceServer
	broken atomic.Bool
	failed chan error
}

func (m *mirror) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	tenant, err := rpc.TenantFrom(ctx)
	return &grpc_testing.SimpleResponse{Username: tenant}, err
}

func (m *mirror) Register(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, m) }

func (m *mirror) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-m.failed:
		return err
	}
}

func (m *mirror) Health(context.Context) error {
	if m.broken.Load() {
		return errors.New("out of order")
	}
	return nil
}

// public is a mirror that decides for whom calls are made.
type public struct{ *mirror }

func (public) Authenticate(ctx context.Context, _ string) (context.Context, error) {
	return rpc.WithCaller(ctx, rpc.Caller{Tenant: "verified"}), nil
}

func natsURL(t *testing.T) string {
	t.Helper()
	s, err := natsd.Start(natsd.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", MaxStore: 1 << 30, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s.URL()
}

// process runs a program inside the test until the test ends or stop is called.
type process struct {
	addr string
	stop func()
	done chan error
}

func startProgram(t *testing.T, p Program, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	proc := &process{stop: cancel, done: make(chan error, 1)}
	go func() {
		env := &Env{Name: p.Name, Args: append([]string{"-listen", "127.0.0.1:0"}, args...), Stdout: io.Discard, Stderr: w}
		env.Log, _ = NewLogger(w, LogOptions{Format: "json"})
		err := p.run(ctx, env)
		_ = w.CloseWithError(io.EOF)
		proc.done <- err
	}()
	t.Cleanup(cancel)
	lines := bufio.NewScanner(r)
	for proc.addr == "" && lines.Scan() {
		var line struct{ Msg, Addr string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		if line.Msg == "serving" {
			proc.addr = line.Addr
		}
	}
	if proc.addr == "" {
		t.Fatalf("the program ended: %v", <-proc.done)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return proc
}

func healthcheck(t *testing.T, p Program, proc *process, args ...string) error {
	t.Helper()
	env := &Env{Name: p.Name, Args: append([]string{"healthcheck", "-listen", proc.addr}, args...), Stdout: io.Discard, Stderr: io.Discard}
	return p.run(t.Context(), env)
}

func TestServiceProcess(t *testing.T) {
	t.Parallel()
	ca := testkit.NewAuthority(t)
	tests := map[string]func(name string) []string{
		"plain": func(string) []string { return nil },
		"TLS": func(name string) []string {
			cert, key := ca.Issue(t, name)
			return []string{"-tls-cert", cert, "-tls-key", key, "-tls-ca", ca.File}
		},
	}
	for name, security := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nats := natsURL(t)
			back := &mirror{}
			backend := Program{Name: "localhost", New: func(context.Context, *Node) (Service, error) { return back, nil }}
			backArgs := append(security("localhost"), "-nats-url", nats)
			b := startProgram(t, backend, backArgs...)
			_, port, _ := strings.Cut(b.addr, ":")

			var node *Node
			frontend := Program{
				Name: "front-end", Peers: map[string]string{"localhost": "nobody:1"},
				New: func(_ context.Context, n *Node) (Service, error) { node = n; return public{&mirror{}}, nil },
			}
			frontArgs := append(security("front-end"), "-nats-url", nats, "-localhost-addr", "passthrough:///localhost:"+port)
			f := startProgram(t, frontend, frontArgs...)

			if err := node.Bus.Health(t.Context()); err != nil {
				t.Errorf("bus: %v", err)
			}
			ctx := rpc.WithCaller(t.Context(), rpc.Caller{Tenant: "acme"})
			resp, err := grpc_testing.NewTestServiceClient(node.Peer("localhost")).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			if err != nil || resp.GetUsername() != "acme" {
				t.Errorf("the peer answered %v (%v)", resp, err)
			}
			if err := errors.Join(healthcheck(t, backend, b, backArgs...), healthcheck(t, frontend, f, frontArgs...)); err != nil {
				t.Errorf("health: %v", err)
			}
			back.broken.Store(true)
			if err := healthcheck(t, backend, b, backArgs...); errs.ReasonOf(err) != "not_serving" {
				t.Errorf("health of a broken service: %v", err)
			}
			for _, proc := range []*process{f, b} {
				proc.stop()
				if err := <-proc.done; err != nil {
					t.Errorf("ended with %v", err)
				}
			}
			if err := healthcheck(t, backend, b, backArgs...); errs.KindOf(err) != errs.Unavailable {
				t.Errorf("health of a stopped service: %v", err)
			}
		})
	}
}

func TestPublicServiceAuthenticates(t *testing.T) {
	t.Parallel()
	p := Program{Name: "gateway", New: func(context.Context, *Node) (Service, error) { return public{&mirror{}}, nil }}
	proc := startProgram(t, p, "-nats-url", natsURL(t))
	conn, err := rpc.Dial(proc.addr, rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx := rpc.WithCaller(t.Context(), rpc.Caller{Tenant: "forged"})
	resp, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	if err != nil || resp.GetUsername() != "verified" {
		t.Errorf("answered %v (%v)", resp, err)
	}
}

func TestServiceThatFailsEndsTheProcess(t *testing.T) {
	t.Parallel()
	m := &mirror{failed: make(chan error, 1)}
	p := Program{Name: "auth", New: func(context.Context, *Node) (Service, error) { return m, nil }}
	proc := startProgram(t, p, "-nats-url", natsURL(t))
	m.failed <- errors.New("disk is full")
	if err := <-proc.done; err == nil || err.Error() != "disk is full" {
		t.Errorf("ended with %v", err)
	}
}

func TestServiceCommandsAndMistakes(t *testing.T) {
	t.Parallel()
	unused := func(context.Context, *Node) (Service, error) { return nil, errors.New("not to be built") }
	tests := []struct {
		name    string
		args    []string
		environ []string
		stdout  string
		err     string
	}{
		{"config", []string{"config", "-listen", ":1"}, []string{"CATALOGSYNC_SYNC_WORKER_SLOTS=9"}, `slots = "9" (CATALOGSYNC_SYNC_WORKER_SLOTS)`, ""},
		{"version", []string{"version"}, nil, "\n", ""},
		{"unknown command", []string{"start"}, nil, "", `unknown command "start"`},
		{"operand", []string{"config", "-slots", "1", "x"}, nil, "", `unexpected argument "x"`},
		{"unknown variable", nil, []string{"CATALOGSYNC_SYNC_WORKER_SLOT=1"}, "", "did you mean CATALOGSYNC_SYNC_WORKER_SLOTS"},
		{"telemetry", []string{"-otlp-endpoint", "x", "-tls-cert", "y"}, nil, "", "-otlp-endpoint"},
		{"TLS", []string{"-otlp-endpoint", "x", "-tls-cert", "y"}, nil, "", "-tls-cert"},
		{"healthcheck", []string{"healthcheck", "-listen", "9001"}, nil, "", "-listen"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stdout bytes.Buffer
			p := Program{
				Name: "sync-worker", Listen: "127.0.0.1:9004", New: unused,
				Flags: func(fs *flag.FlagSet) { fs.Int("slots", 4, "tasks at once") },
			}
			err := p.run(t.Context(), &Env{Name: p.Name, Args: tt.args, Environ: tt.environ, Stdout: &stdout, Stderr: io.Discard})
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error is %v, want %q", err, tt.err)
			}
			if !strings.Contains(stdout.String(), tt.stdout) {
				t.Errorf("stdout is %q, want %q", &stdout, tt.stdout)
			}
		})
	}
}

// What is wrong with the settings is told at once, not when the bus has been reached.
func TestSettingsAreCheckedBeforeTheBus(t *testing.T) {
	t.Parallel()
	p := Program{
		Name: "auth", Validate: func() error { return errors.New("-key-file is missing") },
		New: func(context.Context, *Node) (Service, error) { return &mirror{}, nil },
	}
	err := p.run(t.Context(), &Env{Name: "auth", Args: []string{"-nats-url", "nats://127.0.0.1:1"}, Stdout: io.Discard, Stderr: io.Discard, Log: testkit.Logger(t)})
	if err == nil || err.Error() != "-key-file is missing" {
		t.Errorf("ended with %v", err)
	}
}

func TestServiceWithoutBusEndsWhenTold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	p := Program{Name: "auth", Listen: "127.0.0.1:0", New: func(context.Context, *Node) (Service, error) { return &mirror{}, nil }}
	err := p.run(ctx, &Env{Name: "auth", Args: []string{"-nats-url", "nats://127.0.0.1:1"}, Stdout: io.Discard, Stderr: io.Discard, Log: testkit.Logger(t)})
	if errs.ReasonOf(err) != "bus_unavailable" {
		t.Errorf("ended with %v", err)
	}
}

func TestUndeclaredPeerPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	(&Node{}).Peer("mapper")
}

// Nothing that others can reach or listen to goes without encryption, unless that is said.
func TestPlainIsForThisMachine(t *testing.T) {
	t.Parallel()
	a := testkit.NewAuthority(t)
	cert, key := a.Issue(t, "auth")
	mutual := []string{"-tls-cert", cert, "-tls-key", key, "-tls-ca", a.File}
	nats := []string{"-nats-url", "nats://127.0.0.1:1"}
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"this machine", nats, nil},
		{"IPv6 of this machine", append([]string{"-listen", "[::1]:0"}, nats...), nil},
		{"every address", append([]string{"-listen", "0.0.0.0:0"}, nats...), []string{"-listen"}},
		{"every address, short", append([]string{"-listen", ":0"}, nats...), []string{"-listen"}},
		{"a name", append([]string{"-listen", "auth:9001"}, nats...), []string{"-listen"}},
		{"every address, knowingly", append([]string{"-listen", "0.0.0.0:0", "-insecure"}, nats...), nil},
		{"every address, encrypted", append(append([]string{"-listen", "0.0.0.0:0"}, nats...), mutual...), nil},
		{"NATS elsewhere", []string{"-nats-url", "nats://127.0.0.1:1,nats://nats:4222"}, []string{"-nats-url"}},
		{"NATS elsewhere, encrypted", []string{"-nats-url", "tls://nats.invalid:4222"}, nil},
		{"a service elsewhere", append([]string{"-mapper-addr", "dns:///mapper:9002"}, nats...), []string{"-mapper-addr"}},
		{"a service here and one elsewhere", append([]string{"-mapper-addr", "127.0.0.1:9002,10.0.0.7:9002"}, nats...), []string{"-mapper-addr"}},
		{"a service elsewhere, encrypted", append(append([]string{"-mapper-addr", "dns:///mapper:9002"}, nats...), mutual...), nil},
		{"everything at once", []string{"-listen", ":0", "-nats-url", "nats://nats:4222", "-mapper-addr", "mapper:1"}, []string{"-listen", "-nats-url", "-mapper-addr"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			p := Program{
				Name: "auth", Listen: "127.0.0.1:0", Peers: map[string]string{"mapper": "127.0.0.1:9002"},
				New: func(context.Context, *Node) (Service, error) { return &mirror{}, nil },
			}
			err := p.run(ctx, &Env{Name: "auth", Args: tt.args, Stdout: io.Discard, Stderr: io.Discard, Log: testkit.Logger(t)})
			if tt.want == nil && errs.ReasonOf(err) != "bus_unavailable" { // it came as far as the bus
				t.Errorf("ended with %v", err)
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "-insecure") {
					t.Errorf("ended with %v, want it to name %s", err, want)
				}
			}
		})
	}
}
