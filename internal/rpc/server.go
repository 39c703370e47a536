// Package rpc owns how services talk to each other: how gRPC servers and clients are built, who a call is made for, and
// how an error crosses the wire. Calls over TCP and calls inside one process go through the same code, interceptors
// and encoding included.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/catalogsync/catalogsync/internal/telemetry"
)

const (
	// DefaultTimeout bounds a unary call for which the caller set no deadline.
	DefaultTimeout = 30 * time.Second
	// MaxMessageBytes is the largest message that a server or client takes.
	MaxMessageBytes = 4 << 20

	maxHeaderBytes = 16 << 10
	maxStreams     = 1000

	recheckInterval = 15 * time.Second
)

// ServerOptions says what is particular about a server. Only Log is required.
type ServerOptions struct {
	Log       *slog.Logger
	Telemetry telemetry.Providers
	// Authenticate, when set, decides for whom each call is made: it returns ctx with a [Caller], or an error. The
	// public server sets it, and the caller that a request claims in its metadata is then removed. Health checks are
	// not asked. When nil, the metadata is believed, which is right only between services.
	Authenticate func(ctx context.Context, fullMethod string) (context.Context, error)
	// Health reports why the service cannot work now, or nil. When it is nil the service is always healthy.
	Health func(context.Context) error
	// Timeout bounds unary calls that bring no deadline; zero means DefaultTimeout. Streams are never bounded.
	Timeout time.Duration
	// Recheck is how often a stream is checked that was opened with [WithRecheck]; zero means every 15 seconds, so that it
	// ends within a minute after a token was revoked.
	Recheck time.Duration
	// MaxStreams is how many calls one connection may have open at once; zero means 1000.
	MaxStreams uint32
	// Stopping, when closed, ends the open streams (after a moment), which would otherwise hold up the shutdown. Give
	// it the Done channel of the context that is passed to [Serve].
	Stopping <-chan struct{}
	// Reflection lets tools such as grpcurl list the services.
	Reflection bool
	// Credentials of the transport; nil means none.
	Credentials credentials.TransportCredentials
	// Extra options, for what is needed once only.
	Extra []grpc.ServerOption
}

// NewServer returns a server that recovers panics, turns errors into statuses by package errs, bounds unary calls,
// finds out the caller, traces and logs, limits sizes, and answers health checks. Register services on it and hand it
// to [Serve].
func NewServer(o ServerOptions) *grpc.Server {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Recheck == 0 {
		o.Recheck = recheckInterval
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = maxStreams
	}
	if o.Credentials == nil {
		o.Credentials = insecure.NewCredentials()
	}
	i := &serverInterceptor{log: o.Log, authenticate: o.Authenticate, timeout: o.Timeout, recheck: o.Recheck, stopping: o.Stopping}
	tel := o.Telemetry.OrNoop()
	opts := []grpc.ServerOption{
		grpc.Creds(o.Credentials),
		grpc.StatsHandler(otelgrpc.NewServerHandler(
			otelgrpc.WithTracerProvider(discreet{tel.Tracer}), otelgrpc.WithMeterProvider(tel.Meter),
			otelgrpc.WithPropagators(tel.Propagator), otelgrpc.WithFilter(filters.Not(filters.HealthCheck())))),
		grpc.ChainUnaryInterceptor(i.unary),
		grpc.ChainStreamInterceptor(i.stream),
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.MaxConcurrentStreams(o.MaxStreams),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 15 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			// Clients look the name up again when a connection ends, and so find workers that were added.
			MaxConnectionAge: 10 * time.Minute,
			Time:             30 * time.Second,
			Timeout:          10 * time.Second,
		}),
	}
	s := grpc.NewServer(append(opts, o.Extra...)...)
	healthpb.RegisterHealthServer(s, &healthServer{server: s, check: o.Health, log: o.Log})
	if o.Reflection {
		reflection.Register(s)
	}
	return s
}

// Serve answers calls on lis until ctx ends. Then it takes no new calls, lets the open ones finish for at most grace,
// and cuts off the rest. It closes lis and returns nil, unless serving failed.
func Serve(ctx context.Context, s *grpc.Server, lis net.Listener, grace time.Duration) error {
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	select {
	case err := <-served:
		s.Stop()
		return err
	case <-ctx.Done():
	}
	cut := time.AfterFunc(grace, s.Stop)
	defer cut.Stop()
	s.GracefulStop()
	if err := <-served; !errors.Is(err, grpc.ErrServerStopped) { // that is when it was stopped before it started
		return err
	}
	return nil
}
