package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// DialOptions says what is particular about a client. The zero value is a plain one.
type DialOptions struct {
	Telemetry telemetry.Providers
	// Timeout bounds unary calls whose context has no deadline; zero means DefaultTimeout. Streams are never bounded.
	Timeout time.Duration
	// Credentials of the transport; nil means none.
	Credentials credentials.TransportCredentials
	// Extra options, for what is needed once only.
	Extra []grpc.DialOption
}

// Dial returns a client of the server at target, such as "127.0.0.1:9001", "dns:///sync-worker:9004" or a list of
// addresses separated by commas, which are called in turn. It connects
// with the first call and again whenever that is needed, so that services may start in any order. Calls carry the
// [Caller] of their context and return errors of package errs.
func Dial(target string, o DialOptions) (*grpc.ClientConn, error) {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Credentials == nil {
		o.Credentials = insecure.NewCredentials()
	}
	tel := o.Telemetry.OrNoop()
	i := clientInterceptor{timeout: o.Timeout}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(o.Credentials),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(
			otelgrpc.WithTracerProvider(discreet{tel.Tracer}), otelgrpc.WithMeterProvider(tel.Meter), otelgrpc.WithPropagators(tel.Propagator))),
		grpc.WithChainUnaryInterceptor(i.unary),
		grpc.WithChainStreamInterceptor(i.stream),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}
	resolved, more := fixed(target)
	conn, err := grpc.NewClient(resolved, append(append(opts, more...), o.Extra...)...)
	if err != nil {
		return nil, fmt.Errorf("gRPC client for %q: %w", target, err)
	}
	return conn, nil
}

// clientInterceptor is what happens around every call that a client makes.
type clientInterceptor struct{ timeout time.Duration }

func (i clientInterceptor) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, i.timeout)
		defer cancel()
	}
	return errs.FromGRPC(invoke(outgoing(ctx), method, req, reply, cc, opts...))
}

func (i clientInterceptor) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := streamer(outgoing(ctx), desc, cc, method, opts...)
	if err != nil {
		return nil, errs.FromGRPC(err)
	}
	return clientStream{s}, nil
}

// clientStream is a stream whose errors are those of package errs. io.EOF stays what it is.
type clientStream struct{ grpc.ClientStream }

func (s clientStream) SendMsg(m any) error { return fromStream(s.ClientStream.SendMsg(m)) }
func (s clientStream) RecvMsg(m any) error { return fromStream(s.ClientStream.RecvMsg(m)) }
func (s clientStream) CloseSend() error    { return fromStream(s.ClientStream.CloseSend()) }

func fromStream(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return errs.FromGRPC(err)
}
