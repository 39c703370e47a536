package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	optionsv1 "github.com/catalogsync/catalogsync/gen/catalogsync/options/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// service answers with whatever a test wants.
type service struct {
	grpc_testing.UnimplementedTestServiceServer
	unary  func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error)
	stream func(grpc_testing.TestService_FullDuplexCallServer) error
}

func (s *service) UnaryCall(ctx context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return s.unary(ctx, req)
}

func (s *service) FullDuplexCall(stream grpc_testing.TestService_FullDuplexCallServer) error {
	return s.stream(stream)
}

// overEach runs a test over each kind of connection.
func overEach(t *testing.T, test func(t *testing.T, connect connectFunc)) {
	t.Helper()
	t.Parallel()
	t.Run("memory", func(t *testing.T) { t.Parallel(); test(t, overMemory) })
	t.Run("TCP", func(t *testing.T) { t.Parallel(); test(t, overTCP) })
}

// connectFunc serves svc until the test ends or stop is called, which returns what Serve returned.
type connectFunc func(t *testing.T, svc *service, so rpc.ServerOptions, do rpc.DialOptions) (conn *grpc.ClientConn, stop func() error)

func overMemory(t *testing.T, svc *service, so rpc.ServerOptions, do rpc.DialOptions) (*grpc.ClientConn, func() error) {
	t.Helper()
	network := rpc.NewMemNet()
	conn, err := network.Dial("test", do)
	return connect(t, svc, so, network.Listen("test"), conn, err)
}

func overTCP(t *testing.T, svc *service, so rpc.ServerOptions, do rpc.DialOptions) (*grpc.ClientConn, func() error) {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(lis.Addr().String(), do)
	return connect(t, svc, so, lis, conn, err)
}

const grace = 500 * time.Millisecond

func connect(t *testing.T, svc *service, so rpc.ServerOptions, lis net.Listener, conn *grpc.ClientConn, err error) (*grpc.ClientConn, func() error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if so.Log == nil {
		so.Log = testkit.Logger(t)
	}
	so.Stopping = ctx.Done()
	server := rpc.NewServer(so)
	grpc_testing.RegisterTestServiceServer(server, svc)
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(ctx, server, lis, grace) }()
	stop := sync.OnceValue(func() error { cancel(); return <-served })
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close client: %v", err)
		}
		if err := stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return conn, stop
}

func call(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	return err
}

func answering(err error) *service {
	return &service{
		unary: func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
			return &grpc_testing.SimpleResponse{}, err
		},
		stream: func(grpc_testing.TestService_FullDuplexCallServer) error { return err },
	}
}

// streamError returns how a stream ended.
func streamError(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := grpc_testing.NewTestServiceClient(conn).FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

func TestErrorsCrossTheWire(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		sent := errs.Wrap(errors.New("password=hunter2"), errs.Exhausted, "store_full", "stream ROWS is full")
		sent.RetryAfter = time.Minute
		conn, _ := connect(t, answering(fmt.Errorf("publish: %w", sent)), rpc.ServerOptions{}, rpc.DialOptions{})
		for how, got := range map[string]error{"unary": call(t.Context(), conn), "stream": streamError(t.Context(), conn)} {
			if errs.KindOf(got) != errs.Exhausted || errs.ReasonOf(got) != "store_full" || errs.Message(got) != sent.Msg || errs.RetryAfter(got) != time.Minute {
				t.Errorf("%s error came back as %#v", how, got)
			}
			if strings.Contains(fmt.Sprintf("%+v", got), "hunter2") {
				t.Errorf("%s error shows its cause: %v", how, got)
			}
		}
	})
}

func TestUnclassifiedErrorsStayInside(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		conn, _ := connect(t, answering(errors.New("open /var/lib/x: permission denied")), rpc.ServerOptions{}, rpc.DialOptions{})
		for how, got := range map[string]error{"unary": call(t.Context(), conn), "stream": streamError(t.Context(), conn)} {
			if errs.KindOf(got) != errs.Internal || got.Error() != "internal error" {
				t.Errorf("%s error is %v", how, got)
			}
		}
	})
}

func TestStatusesMadeOnPurposeAreKept(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		conn, _ := connect(t, answering(status.Error(codes.OutOfRange, "there is no page 9")), rpc.ServerOptions{}, rpc.DialOptions{})
		got := call(t.Context(), conn)
		if errs.KindOf(got) != errs.Invalid || status.Code(errors.Unwrap(got)) != codes.OutOfRange {
			t.Errorf("error is %v", got)
		}
	})
}

func TestStreamEndIsEOF(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		conn, _ := connect(t, answering(nil), rpc.ServerOptions{}, rpc.DialOptions{})
		if err := streamError(t.Context(), conn); err != io.EOF { //nolint:errorlint // stream users compare with ==
			t.Errorf("stream ended with %v, want io.EOF", err)
		}
	})
}

func TestPanicsBecomeInternalErrors(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		var log lockedBuffer
		svc := &service{
			unary: func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
				panic("no index 7")
			},
			stream: func(grpc_testing.TestService_FullDuplexCallServer) error { panic("no index 7") },
		}
		conn, _ := connect(t, svc, rpc.ServerOptions{Log: slog.New(slog.NewTextHandler(&log, nil))}, rpc.DialOptions{})
		for how, got := range map[string]error{"unary": call(t.Context(), conn), "stream": streamError(t.Context(), conn)} {
			if errs.KindOf(got) != errs.Internal || errs.ReasonOf(got) != "panic" || strings.Contains(got.Error(), "index") {
				t.Errorf("%s panic came back as %v", how, got)
			}
		}
		if text := log.String(); strings.Count(text, "no index 7") < 2 || !strings.Contains(text, "rpc_test.go") {
			t.Errorf("the log lacks the panics or their stack: %s", text)
		}
	})
}

func TestCallerTravels(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		want := rpc.Caller{Tenant: "Åbo Akademi, läroplan", Subject: "ci token", Role: optionsv1.Role_ROLE_ADMIN}
		got := make(chan rpc.Caller, 2)
		note := func(ctx context.Context) error {
			c, _ := rpc.CallerFrom(ctx)
			got <- c
			_, err := rpc.TenantFrom(ctx)
			return err
		}
		svc := &service{
			unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
				return &grpc_testing.SimpleResponse{}, note(ctx)
			},
			stream: func(s grpc_testing.TestService_FullDuplexCallServer) error { return note(s.Context()) },
		}
		conn, _ := connect(t, svc, rpc.ServerOptions{}, rpc.DialOptions{})
		ctx := rpc.WithCaller(t.Context(), want)
		if err := call(ctx, conn); err != nil {
			t.Fatal(err)
		}
		if err := streamError(ctx, conn); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		for range 2 {
			if c := <-got; c != want {
				t.Errorf("caller arrived as %+v, want %+v", c, want)
			}
		}
		err := call(t.Context(), conn)
		if c := <-got; errs.KindOf(err) != errs.Unauthenticated || errs.ReasonOf(err) != "no_tenant" || c != (rpc.Caller{}) {
			t.Errorf("a call without a caller arrived as %+v: %v", c, err)
		}
	})
}

func TestPublicServerBelievesNoMetadata(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		verified := rpc.Caller{Tenant: "acme", Subject: "token", Role: optionsv1.Role_ROLE_VIEWER}
		svc := &service{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
			if c, _ := rpc.CallerFrom(ctx); c != verified {
				return nil, errs.New(errs.Invalid, "wrong_caller", "caller is %+v", c)
			}
			md, _ := metadata.FromIncomingContext(ctx)
			for key := range md {
				if strings.HasPrefix(key, "catalogsync-") {
					return nil, errs.New(errs.Invalid, "left", "metadata %s is left", key)
				}
			}
			return &grpc_testing.SimpleResponse{}, nil
		}}
		conn, _ := connect(t, svc, rpc.ServerOptions{Authenticate: func(ctx context.Context, method string) (context.Context, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			if method != grpc_testing.TestService_UnaryCall_FullMethodName || len(md.Get("authorization")) == 0 {
				return nil, errs.New(errs.Unauthenticated, "no_token", "send an API token")
			}
			return rpc.WithCaller(ctx, verified), nil
		}}, rpc.DialOptions{})

		forged := rpc.WithCaller(t.Context(), rpc.Caller{Tenant: "other", Subject: "me", Role: optionsv1.Role_ROLE_OPERATOR})
		if err := call(forged, conn); errs.ReasonOf(err) != "no_token" {
			t.Errorf("a forged caller got %v", err)
		}
		if err := call(metadata.AppendToOutgoingContext(forged, "authorization", "x"), conn); err != nil {
			t.Errorf("a verified call got %v", err)
		}
		if err := rpc.CheckHealth(t.Context(), conn); err != nil {
			t.Errorf("health check without a token: %v", err)
		}
	})
}

func TestUnaryCallsHaveADeadlineAndStreamsNone(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		has := func(ctx context.Context, want time.Duration) error {
			d, ok := ctx.Deadline()
			if left := time.Until(d); ok != (want > 0) || left > want {
				return errs.New(errs.Invalid, "deadline", "deadline is %v (in %v), want %v", ok, left, want)
			}
			return nil
		}
		svc := &service{
			unary: func(ctx context.Context, r *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
				return &grpc_testing.SimpleResponse{}, has(ctx, time.Duration(r.GetResponseSize())*time.Second)
			},
			stream: func(s grpc_testing.TestService_FullDuplexCallServer) error { return has(s.Context(), 0) },
		}
		conn, _ := connect(t, svc, rpc.ServerOptions{Timeout: 20 * time.Second}, rpc.DialOptions{Timeout: 40 * time.Second})
		client := grpc_testing.NewTestServiceClient(conn)
		if _, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{ResponseSize: 40}); err != nil {
			t.Errorf("default of the client: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseSize: 10}); err != nil {
			t.Errorf("deadline of the caller: %v", err)
		}
		if err := streamError(t.Context(), conn); !errors.Is(err, io.EOF) {
			t.Errorf("stream: %v", err)
		}
	})
}

func TestHangingHandlerIsCutOff(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		svc := &service{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		conn, _ := connect(t, svc, rpc.ServerOptions{}, rpc.DialOptions{Timeout: 20 * time.Millisecond})
		err := call(t.Context(), conn)
		if errs.KindOf(err) != errs.Unavailable || !strings.Contains(errs.Message(err), "too long") {
			t.Errorf("error is %v", err)
		}
	})
}

// lockedBuffer is a log that goroutines of the server write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
