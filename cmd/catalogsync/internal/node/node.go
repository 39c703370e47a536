// Package node owns the all-in-one: the five services in one process, with NATS embedded, people in SQLite and gRPC in
// memory. It calls the same constructors as the services' own binaries.
package node

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/natsd"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/services/auth"
	"github.com/catalogsync/catalogsync/services/gateway"
	"github.com/catalogsync/catalogsync/services/mapper"
	"github.com/catalogsync/catalogsync/services/scheduler"
	syncworker "github.com/catalogsync/catalogsync/services/sync-worker"
)

// Node is the all-in-one at work.
type Node struct {
	addr, httpAddr string
	operatorToken  string
	cancel         context.CancelFunc
	done           chan struct{}
	err            error
	closers        []func() error
	once           sync.Once
}

// Addr is the address of the gRPC API.
func (n *Node) Addr() string { return n.addr }

// HTTPAddr is the address of the API as JSON over HTTP.
func (n *Node) HTTPAddr() string { return n.httpAddr }

// OperatorToken is the secret by which API tokens of any tenant are made. It also stands in operator.token in the data
// directory, for its owner alone to read.
func (n *Node) OperatorToken() string { return n.operatorToken }

// Wait returns when the context of Start has ended and everything has stopped, or when a part has failed.
func (n *Node) Wait() error {
	<-n.done
	return n.err
}

// Close stops everything and waits for it.
func (n *Node) Close() error {
	n.cancel()
	return n.Wait()
}

// service is what the services have in common.
type service interface {
	Register(r grpc.ServiceRegistrar)
	Run(ctx context.Context) error
	Health(ctx context.Context) error
}

// Start starts everything. What it has started is stopped again when it fails.
func Start(ctx context.Context, o Options) (_ *Node, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &Node{cancel: cancel, done: make(chan struct{})}
	defer func() {
		if err != nil {
			cancel()
			err = errors.Join(err, n.close())
		}
	}()
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return nil, fmt.Errorf("-data: %w", err)
	}
	tel := o.Telemetry.OrNoop()
	to := bus.Options{URLs: o.NATSURL, Name: "catalogsync", Log: o.Log, Tracer: tel.Tracer, Meter: tel.Meter, Propagator: tel.Propagator}
	if o.NATSURL == "" {
		server, err := natsd.Start(natsd.Options{Dir: filepath.Join(o.Data, "nats"), Listen: o.NATSListen, MaxStore: o.MaxBytes, Log: o.Log})
		if err != nil {
			return nil, err
		}
		n.closing(func() error { server.Shutdown(); return nil })
		to.Server = server
	}
	b, err := bus.Connect(ctx, to)
	if err != nil {
		return nil, err
	}
	n.closing(func() error { b.Close(); return nil })

	network := rpc.NewMemNet()
	conns := make(map[string]*grpc.ClientConn)
	for name := range inner {
		dial := func() (*grpc.ClientConn, error) { return network.Dial(name, rpc.DialOptions{Telemetry: tel}) }
		if !o.runs(name) {
			dial = func() (*grpc.ClientConn, error) { return rpc.Dial(o.Addrs[name], rpc.DialOptions{Telemetry: tel}) }
		}
		conn, err := dial()
		if err != nil {
			return nil, err
		}
		conns[name] = conn
		n.closing(conn.Close)
	}
	if n.operatorToken, err = operatorToken(filepath.Join(o.Data, "operator.token")); err != nil {
		return nil, err
	}
	services, err := n.build(ctx, o, b, tel, conns)
	if err != nil {
		return nil, err
	}
	listen := func(flag, address string) (net.Listener, error) {
		lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("-%s: %w", flag, err)
		}
		n.closing(func() error {
			if err := lis.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
		return lis, nil
	}
	var runners []func(context.Context) error
	serve := func(svc service, lis net.Listener, public rpc.ServerOptions) {
		public.Log, public.Telemetry, public.Health, public.Stopping = o.Log, tel, svc.Health, ctx.Done()
		srv := rpc.NewServer(public)
		svc.Register(srv)
		runners = append(runners, func(ctx context.Context) error { return rpc.Serve(ctx, srv, lis, o.Grace) })
	}
	for name, svc := range services {
		runners = append(runners, svc.Run)
		serve(svc, network.Listen(name), rpc.ServerOptions{})
		if o.whole() {
			continue
		}
		lis, err := listen(name+"-listen", o.Listens[name])
		if err != nil {
			return nil, err
		}
		serve(svc, lis, rpc.ServerOptions{})
	}
	if o.runs("gateway") {
		gw, public, err := n.gateway(ctx, o, b, tel, conns, listen)
		if err != nil {
			return nil, err
		}
		runners = append(runners, gw.Run)
		creds, err := gw.PublicCredentials()
		if err != nil {
			return nil, err
		}
		serve(gw, gw.Limit(public), rpc.ServerOptions{Authenticate: gw.Authenticate, Credentials: creds, MaxStreams: app.PublicStreams})
	}
	go func() {
		defer close(n.done)
		err := app.Run(ctx, runners...)
		cancel()
		n.err = errors.Join(err, n.close())
	}()
	return n, nil
}

// gateway makes the gateway and the listener of its gRPC API.
func (n *Node) gateway(ctx context.Context, o Options, b *bus.Bus, tel telemetry.Providers, conns map[string]*grpc.ClientConn, listen func(flag, address string) (net.Listener, error)) (*gateway.Service, net.Listener, error) {
	public, err := listen("listen", o.Listen)
	if err != nil {
		return nil, nil, err
	}
	web, err := listen("http-listen", o.HTTPListen)
	if err != nil {
		return nil, nil, err
	}
	n.addr, n.httpAddr = public.Addr().String(), web.Addr().String()
	cfg := o.Gateway
	cfg.HTTPListen, cfg.OperatorToken, cfg.ShutdownGrace = n.httpAddr, config.NewSecret(n.operatorToken), o.Grace
	cfg.InsecureHTTP = cfg.InsecureHTTP || o.Insecure
	gw, err := gateway.New(ctx, cfg, gateway.Deps{
		Log: o.Log.With(slog.String("service", "gateway")), Bus: b, Telemetry: tel, HTTP: web,
		Auth: conns["auth"], Mapper: conns["mapper"], Scheduler: conns["scheduler"], SyncWorker: conns["sync-worker"],
	})
	return gw, public, err
}

// operatorToken returns the token in a file, making it when there is none, or none yet: a process was killed making it.
func operatorToken(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if token := strings.TrimSpace(string(raw)); token != "" {
		return token, nil
	}
	secret := make([]byte, 24)
	_, _ = rand.Read(secret) // never fails
	token := "cs_operator_" + base64.RawURLEncoding.EncodeToString(secret)
	return token, os.WriteFile(path, []byte(token+"\n"), 0o600)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// build makes the services with the same constructors as their own binaries.
func (n *Node) build(ctx context.Context, o Options, b *bus.Bus, tel telemetry.Providers, conns map[string]*grpc.ClientConn) (map[string]service, error) {
	origins := strings.Join(o.DevOrigins, ",")
	log := func(name string) *slog.Logger { return o.Log.With(slog.String("service", name)) }

	services := make(map[string]service)
	if o.runs("auth") {
		cfg := auth.DefaultConfig()
		if o.whole() {
			cfg.KeySettle = 3 * time.Second // no other process has values on their way
		}
		cfg.KeyFile, cfg.CreateKeyFile, cfg.DevOrigins = filepath.Join(o.Data, "auth.key"), true, origins
		cfg.AppClientID, cfg.AppClientSecret = o.AppClientID, o.AppClientSecret
		if previous := cfg.KeyFile + ".previous"; exists(previous) {
			cfg.PreviousKeyFile = previous
		}
		svc, err := auth.New(ctx, cfg, auth.Deps{Log: log("auth"), Bus: b, Telemetry: tel})
		if err != nil {
			return nil, err
		}
		services["auth"] = svc
	}
	if o.runs("mapper") {
		svc, err := mapper.New(ctx, mapper.DefaultConfig(), mapper.Deps{Log: log("mapper"), Bus: b, Telemetry: tel})
		if err != nil {
			return nil, err
		}
		services["mapper"] = svc
	}
	if o.runs("scheduler") {
		svc, err := scheduler.New(ctx, scheduler.DefaultConfig(), scheduler.Deps{
			Log: log("scheduler"), Bus: b, Telemetry: tel,
			Tokens: authv1.NewTokenServiceClient(conns["auth"]), Runs: syncv1.NewRunServiceClient(conns["sync-worker"]),
		})
		if err != nil {
			return nil, err
		}
		services["scheduler"] = svc
	}
	if o.runs("sync-worker") {
		cfg := syncworker.DefaultConfig()
		cfg.OneProcess, cfg.DevOrigins, cfg.Slots = o.whole(), origins, o.Slots
		cfg.MaxBytes = o.MaxBytes - othersBytes
		if cfg.Directory = o.Directory; o.Directory == "" {
			cfg.Directory = "sqlite:" + filepath.Join(o.Data, "people.db")
		}
		svc, err := syncworker.New(ctx, cfg, syncworker.Deps{
			Log: log("sync-worker"), Bus: b, Telemetry: tel,
			Connections: authv1.NewConnectionServiceClient(conns["auth"]), Tokens: authv1.NewTokenServiceClient(conns["auth"]),
			FieldMaps: mapperv1.NewFieldMapServiceClient(conns["mapper"]), Mapper: mapperv1.NewMapperServiceClient(conns["mapper"]),
		})
		if err != nil {
			return nil, err
		}
		n.closing(svc.Close)
		services["sync-worker"] = svc
	}
	return services, nil
}

func (n *Node) closing(fn func() error) { n.closers = append(n.closers, fn) }

// close releases what was opened, last first.
func (n *Node) close() error {
	var problems []error
	n.once.Do(func() {
		for _, fn := range slices.Backward(n.closers) {
			problems = append(problems, fn())
		}
	})
	return errors.Join(problems...)
}
