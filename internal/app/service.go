package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/internal/version"
)

// telemetryTimeout bounds how long the end of a process waits for its last telemetry.
const telemetryTimeout = 5 * time.Second

// Service is what a service package's New returns.
type Service interface {
	// Register attaches the service to a gRPC server.
	Register(r grpc.ServiceRegistrar)
	// Run does the work until ctx ends; it then returns nil.
	Run(ctx context.Context) error
	// Health reports why the service cannot work now.
	Health(ctx context.Context) error
}

// Authenticator is a service whose gRPC server is public: it decides for whom each call is made, see
// [rpc.ServerOptions].
type Authenticator interface {
	Authenticate(ctx context.Context, fullMethod string) (context.Context, error)
}

// publicCredentials is a public service that may have a certificate of its own for callers from outside.
type publicCredentials interface {
	// PublicCredentials are those of its server; nil where it has no certificate of its own.
	PublicCredentials() (credentials.TransportCredentials, error)
}

// limited is a public service that bounds the connections to its server.
type limited interface {
	Limit(lis net.Listener) net.Listener
}

// Program describes the process of one service that runs apart. Its settings are its flags or variables with the
// prefix CATALOGSYNC_<NAME>.
type Program struct {
	// Name is the name of the service, such as "sync-worker".
	Name string
	// Listen is the default address of the gRPC server.
	Listen string
	// Peers are the services that it calls, with their default addresses. Each gets a flag -<peer>-addr.
	Peers map[string]string
	// Flags declares the service's own settings; may be nil.
	Flags func(fs *flag.FlagSet)
	// Validate reports what is wrong with them; may be nil. It is asked before anything is connected to.
	Validate func() error
	// Encrypted reports whether the service has a certificate of its own for callers from outside; may be nil.
	Encrypted func() bool
	// New builds the service from what the process has.
	New func(ctx context.Context, n *Node) (Service, error)
}

// Node is what a service that runs apart has at hand.
type Node struct {
	Log       *slog.Logger
	Bus       *bus.Bus
	Telemetry telemetry.Providers

	peers map[string]*grpc.ClientConn
}

// Peer returns the client of another service, which [Program.Peers] must name.
func (n *Node) Peer(name string) *grpc.ClientConn {
	conn, ok := n.peers[name]
	if !ok {
		panic("app: " + name + " is not in Program.Peers")
	}
	return conn
}

// ServiceMain is [Main] for a program that is one service. Besides serving, which it does without a command, the
// program knows the commands healthcheck (asks the running process, for container platforms), config (prints the
// effective settings) and version.
func ServiceMain(p Program) {
	Main(p.Name, func(ctx context.Context, env *Env) error { return p.run(ctx, env) })
}

// settings are those that all services have.
type settings struct {
	listen     string
	grace      time.Duration
	reflection bool
	insecure   bool
	bus        bus.Options
	tls        rpc.TLSFiles
	telemetry  telemetry.Options
	peers      map[string]*string
}

func (p Program) run(ctx context.Context, env *Env) error {
	command := ""
	if len(env.Args) > 0 && !strings.HasPrefix(env.Args[0], "-") {
		command, env.Args = env.Args[0], env.Args[1:]
	}
	fs := env.FlagSet()
	s := p.flags(fs)
	prefix := config.EnvName("CATALOGSYNC", p.Name)
	if err := env.Parse(fs, prefix); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; settings start with a dash, see -help", fs.Arg(0))
	}
	if err := errors.Join(s.tls.Validate(), s.telemetry.Validate()); err != nil {
		return err
	}
	switch command {
	case "":
		if p.Validate != nil {
			if err := p.Validate(); err != nil {
				return err
			}
		}
		if err := s.encrypted(p.public()); err != nil {
			return err
		}
		return p.serve(ctx, env, s)
	case "healthcheck":
		return s.healthcheck(ctx, p.public())
	case "config":
		return config.Dump(env.Stdout, fs, prefix, env.Environ)
	case "version":
		_, err := fmt.Fprintln(env.Stdout, version.String())
		return err
	default:
		return fmt.Errorf("unknown command %q; there are healthcheck, config and version, and none to serve", command)
	}
}

func (p Program) flags(fs *flag.FlagSet) *settings {
	s := &settings{
		listen: p.Listen, grace: 10 * time.Second, peers: map[string]*string{},
		telemetry: telemetry.DefaultOptions(p.Name),
		bus:       bus.Options{URLs: "nats://127.0.0.1:4222", Name: p.Name},
	}
	fs.StringVar(&s.listen, "listen", s.listen, "`address` of the gRPC server")
	fs.DurationVar(&s.grace, "shutdown-grace", s.grace, "`time` that open calls have to finish when the process is stopped")
	fs.BoolVar(&s.reflection, "reflection", s.reflection, "let tools list the gRPC services")
	fs.StringVar(&s.bus.URLs, "nats-url", s.bus.URLs, "`addresses` of the NATS servers, separated by commas")
	fs.StringVar(&s.bus.NKeyFile, "nats-nkey-file", s.bus.NKeyFile, "`file` with the seed of this service's NATS NKey")
	fs.StringVar(&s.bus.CredentialsFile, "nats-credentials", s.bus.CredentialsFile, "NATS credentials `file`")
	fs.StringVar(&s.bus.RootCAFile, "nats-ca", s.bus.RootCAFile, "PEM `file` with the authority of the NATS servers")
	fs.StringVar(&s.bus.CertFile, "nats-cert", s.bus.CertFile, "PEM `file` with this service's certificate for NATS")
	fs.StringVar(&s.bus.KeyFile, "nats-key", s.bus.KeyFile, "PEM `file` with the key of that certificate")
	fs.IntVar(&s.bus.Replicas, "nats-replicas", 1, "`number` of servers that keep each stream: 3 with a cluster")
	fs.BoolVar(&s.insecure, "insecure", s.insecure, "listen, and call others, beyond this machine without TLS: for networks that nobody else is in")
	s.tls.RegisterFlags(fs)
	s.telemetry.RegisterFlags(fs)
	for _, name := range sortedNames(p.Peers) {
		addr := p.Peers[name]
		s.peers[name] = &addr
		fs.StringVar(&addr, name+"-addr", addr, "`address` of the "+name+" service, such as dns:///"+name+":9000")
	}
	if p.Flags != nil {
		p.Flags(fs)
	}
	return s
}

// public reports whether the server shows a certificate that is not one of the services' authority.
func (p Program) public() bool { return p.Encrypted != nil && p.Encrypted() }

// encrypted refuses addresses beyond this machine that would be used without TLS. public says that the server has a
// certificate of its own.
func (s *settings) encrypted(public bool) error {
	const remedy = "-tls-cert, -tls-key and -tls-ca"
	tls := s.tls != rpc.TLSFiles{}
	problems := []error{
		rpc.RequireTLS("listen", s.listen, remedy, tls || public, s.insecure),
		rpc.RequireTLS("nats-url", s.bus.URLs, "tls:// addresses and -nats-ca", s.bus.Encrypted(), s.insecure),
	}
	for _, name := range sortedNames(s.peers) {
		problems = append(problems, rpc.RequireTLS(name+"-addr", *s.peers[name], remedy, tls, s.insecure))
	}
	return errors.Join(problems...)
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// serve runs the service until ctx ends.
func (p Program) serve(ctx context.Context, env *Env, s *settings) (err error) {
	log := env.Log.With(slog.String(telemetry.KeyService, p.Name))
	telemetry.ReportErrors(log)
	tel, shutdown, err := telemetry.Setup(ctx, s.telemetry)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), telemetryTimeout)
		defer cancel()
		if err := shutdown(ctx); err != nil {
			log.WarnContext(ctx, "telemetry lost", telemetry.Err(err))
		}
	}()

	n := &Node{Log: log, Telemetry: tel, peers: map[string]*grpc.ClientConn{}}
	if err := n.dial(s); err != nil {
		return err
	}
	defer func() {
		for _, conn := range n.peers {
			err = errors.Join(err, conn.Close())
		}
	}()
	s.bus.Log, s.bus.Tracer, s.bus.Propagator = log, tel.Tracer, tel.Propagator
	if n.Bus, err = bus.Connect(ctx, s.bus); err != nil {
		return err
	}
	defer n.Bus.Close()

	svc, err := p.New(ctx, n)
	if err != nil {
		return err
	}
	opts := rpc.ServerOptions{Log: log, Telemetry: tel, Health: svc.Health, Reflection: s.reflection, Stopping: ctx.Done()}
	public, isPublic := svc.(Authenticator)
	if isPublic {
		opts.Authenticate, opts.MaxStreams = public.Authenticate, PublicStreams
	}
	if opts.Credentials, err = s.tls.Server(isPublic); err != nil {
		return err
	}
	if own, ok := svc.(publicCredentials); ok {
		if creds, err := own.PublicCredentials(); err != nil {
			return err
		} else if creds != nil {
			opts.Credentials = creds
		}
	}
	server := rpc.NewServer(opts)
	svc.Register(server)
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	if l, ok := svc.(limited); ok {
		lis = l.Limit(lis)
	}
	log.InfoContext(ctx, "serving", slog.String(telemetry.KeyAddr, lis.Addr().String()), slog.String("version", version.String()))
	err = Run(ctx, svc.Run, func(ctx context.Context) error { return rpc.Serve(ctx, server, lis, s.grace) })
	if err == nil {
		log.InfoContext(ctx, "stopped")
	}
	return err
}

// PublicStreams is how many calls one connection from outside may have open at once.
const PublicStreams = 100

func (n *Node) dial(s *settings) error {
	creds, err := s.tls.Client()
	if err != nil {
		return err
	}
	for name, addr := range s.peers {
		conn, err := rpc.Dial(*addr, rpc.DialOptions{Telemetry: n.Telemetry, Credentials: creds})
		if err != nil {
			return fmt.Errorf("-%s-addr: %w", name, err)
		}
		n.peers[name] = conn
	}
	return nil
}

// healthcheck asks the process that runs with the same settings. public says that its server has a certificate of its own.
func (s *settings) healthcheck(ctx context.Context, public bool) (err error) {
	host, port, err := net.SplitHostPort(s.listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	creds, err := s.tls.Self(public)
	if err != nil {
		return err
	}
	conn, err := rpc.Dial("passthrough:///"+net.JoinHostPort(host, port), rpc.DialOptions{Credentials: creds, Timeout: 3 * time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return rpc.CheckHealth(ctx, conn)
}
