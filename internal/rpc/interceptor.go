package rpc

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// streamDrain is how long open streams may go on by themselves once the server stops.
const streamDrain = 2 * time.Second

// serverInterceptor is what happens around every call that a server answers.
type serverInterceptor struct {
	log          *slog.Logger
	authenticate func(ctx context.Context, fullMethod string) (context.Context, error)
	timeout      time.Duration
	recheck      time.Duration
	stopping     <-chan struct{}
}

func (i *serverInterceptor) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, i.timeout)
		defer cancel()
	}
	err = i.around(ctx, info.FullMethod, func(ctx context.Context) (err error) {
		resp, err = handler(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (i *serverInterceptor) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	go func() {
		select {
		case <-i.stopping:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(streamDrain):
			cancel(errs.New(errs.Unavailable, "server_stopping", "the server is being stopped; connect again"))
		case <-ctx.Done():
		}
	}()
	return i.around(ctx, info.FullMethod, func(ctx context.Context) error {
		go i.watch(ctx, cancel)
		return handler(srv, &serverStream{ServerStream: ss, ctx: ctx})
	})
}

type recheckKey struct{}

// WithRecheck returns a context for a call that may last: while it is open, check is asked now and then, and the call
// ends with its error. What Authenticate of [ServerOptions] returns may be one.
func WithRecheck(ctx context.Context, check func(context.Context) error) context.Context {
	return context.WithValue(ctx, recheckKey{}, check)
}

// watch ends a stream when its check fails. That the check cannot be made now and then is no reason.
func (i *serverInterceptor) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	check, ok := ctx.Value(recheckKey{}).(func(context.Context) error)
	if !ok {
		return
	}
	tick := time.NewTicker(i.recheck)
	defer tick.Stop()
	for misses := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := check(ctx)
		switch kind := errs.KindOf(err); {
		case err == nil:
			misses = 0
		case kind == errs.Unauthenticated || kind == errs.Denied:
			cancel(errs.From(err))
			return
		default:
			if misses++; misses == maxMisses {
				cancel(errs.Wrap(err, errs.Unavailable, "access_unknown", "it cannot be checked whether the call may go on; try again later"))
				return
			}
		}
	}
}

// maxMisses is how often in a row a check may fail to be made.
const maxMisses = 3

// around finds out the caller, runs the handler, and turns its error or panic into a status. It logs every call once.
func (i *serverInterceptor) around(ctx context.Context, method string, handle func(context.Context) error) error {
	start := time.Now()
	ctx, err := i.identify(ctx, method)
	if err == nil {
		err = i.recovering(ctx, method, handle)
	}
	if err != nil && errs.KindOf(err) == errs.Unavailable && context.Cause(ctx) != nil {
		if stopped, ok := errors.AsType[*errs.Error](context.Cause(ctx)); ok {
			err = stopped // the handler ended because the server stops or the caller may go on no longer: say so
		}
	}
	i.access(ctx, method, time.Since(start), err)
	return toStatus(err)
}

func (i *serverInterceptor) identify(ctx context.Context, method string) (context.Context, error) {
	if i.authenticate == nil {
		if err := admitPeer(ctx, method); err != nil {
			return ctx, err
		}
		return incoming(ctx), nil
	}
	ctx = stripped(ctx)
	if strings.HasPrefix(method, "/"+healthpb.Health_ServiceDesc.ServiceName+"/") {
		return ctx, nil
	}
	authenticated, err := i.authenticate(ctx, method)
	if err != nil {
		return ctx, err
	}
	return authenticated, nil
}

func (i *serverInterceptor) recovering(ctx context.Context, method string, handle func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			i.log.ErrorContext(ctx, "handler panicked", slog.String(telemetry.KeyMethod, method),
				slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = errs.New(errs.Internal, "panic", "internal error; it has been logged")
		}
	}()
	return handle(ctx)
}

// access logs a call: at debug level when it went well or when another process has logged the error already, else at
// the level of the error.
func (i *serverInterceptor) access(ctx context.Context, method string, dur time.Duration, err error) {
	level := errs.KindOf(err).Level()
	if errs.IsRemote(err) || errors.Is(ctx.Err(), context.Canceled) {
		level = slog.LevelDebug
	}
	if !i.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String(telemetry.KeyMethod, method),
		slog.String(telemetry.KeyCode, errs.KindOf(err).GRPC().String()),
		slog.Duration(telemetry.KeyDur, dur),
	}
	if c, ok := CallerFrom(ctx); ok {
		attrs = append(attrs, slog.String(telemetry.KeyTenant, c.Tenant), slog.String(telemetry.KeyCaller, c.Subject))
	}
	if err != nil {
		attrs = append(attrs, slog.String(telemetry.KeyReason, errs.ReasonOf(err)), telemetry.Err(err))
	}
	i.log.LogAttrs(ctx, level, "call", attrs...)
}

// toStatus returns err as gRPC sends it. Statuses that a handler made on purpose are kept.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*errs.Error](err); !ok {
		if _, ok := err.(interface{ GRPCStatus() *status.Status }); ok { // a wrapped one was not made for the client
			return err
		}
	}
	return errs.From(err).GRPCStatus().Err()
}

// serverStream is a stream with another context.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }
