package rpc_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/telemetry"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestHealthAsksTheService(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		var broken atomic.Bool
		conn, _ := connect(t, answering(nil), rpc.ServerOptions{Health: func(context.Context) error {
			if broken.Load() {
				return errors.New("the bus is gone")
			}
			return nil
		}}, rpc.DialOptions{})
		client := healthpb.NewHealthClient(conn)
		for _, name := range []string{"", grpc_testing.TestService_ServiceDesc.ServiceName} {
			resp, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
			if err != nil || resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("health of %q is %v (%v)", name, resp, err)
			}
		}
		if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "nobody"}); errs.KindOf(err) != errs.NotFound {
			t.Errorf("health of an unknown service: %v", err)
		}
		broken.Store(true)
		if err := rpc.CheckHealth(t.Context(), conn); errs.ReasonOf(err) != "not_serving" {
			t.Errorf("health of a broken service: %v", err)
		}
	})
}

func TestHealthWatchSendsChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		conn, stop := overMemory(t, answering(nil), rpc.ServerOptions{Log: slog.New(slog.DiscardHandler), Health: func(context.Context) error {
			if broken.Load() {
				return errors.New("the bus is gone")
			}
			return nil
		}}, rpc.DialOptions{})
		stream, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
			resp, err := stream.Recv()
			if err != nil || resp.GetStatus() != want {
				t.Fatalf("received %v (%v), want %v", resp, err, want)
			}
			broken.Store(true)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestReflection(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		conn, _ := connect(t, answering(nil), rpc.ServerOptions{Reflection: true}, rpc.DialOptions{})
		stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if text := resp.String(); !strings.Contains(text, "grpc.testing.TestService") {
			t.Errorf("services are %s", text)
		}
	})
}

func TestSizeLimit(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		svc := &service{unary: func(_ context.Context, r *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
			return &grpc_testing.SimpleResponse{Payload: &grpc_testing.Payload{Body: make([]byte, r.GetResponseSize())}}, nil
		}}
		conn, _ := connect(t, svc, rpc.ServerOptions{}, rpc.DialOptions{})
		client := grpc_testing.NewTestServiceClient(conn)
		const room = 64 // of the fields around the payload
		tests := []struct {
			name         string
			send, answer int
			ok           bool
		}{
			{"largest", rpc.MaxMessageBytes - room, rpc.MaxMessageBytes - room, true},
			{"too large for the server", rpc.MaxMessageBytes + 1, 0, false},
			{"too large for the client", 0, rpc.MaxMessageBytes + 1, false},
		}
		for _, tt := range tests {
			_, err := client.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{
				Payload: &grpc_testing.Payload{Body: make([]byte, tt.send)}, ResponseSize: int32(tt.answer),
			})
			if (err == nil) != tt.ok {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	})
}

func TestTraceContextAndMetricsGoThroughInjectedProviders(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		spans := tracetest.NewInMemoryExporter()
		reader := sdkmetric.NewManualReader()
		tel := telemetry.Providers{
			Tracer:     sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)),
			Meter:      sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
			Propagator: propagation.TraceContext{},
		}
		conn, stop := connect(t, answering(nil), rpc.ServerOptions{Telemetry: tel}, rpc.DialOptions{Telemetry: tel})
		ctx, root := tel.Tracer.Tracer("test").Start(t.Context(), "button")
		if err := call(ctx, conn); err != nil {
			t.Fatal(err)
		}
		root.End()
		if err := rpc.CheckHealth(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil { // the server's span may end after the client has the answer
			t.Fatal(err)
		}
		kinds := map[string]int{}
		for _, s := range spans.GetSpans() {
			if s.Name == "grpc.testing.TestService/UnaryCall" && s.SpanContext.TraceID() == root.SpanContext().TraceID() {
				kinds[s.SpanKind.String()]++
			}
			if strings.Contains(s.Name, "Health") && s.SpanKind.String() == "server" {
				t.Errorf("a health check made the span %q", s.Name)
			}
		}
		if kinds["client"] != 1 || kinds["server"] != 1 {
			t.Errorf("spans in the trace of the button: %v", kinds)
		}
		var metrics metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &metrics); err != nil || len(metrics.ScopeMetrics) == 0 {
			t.Errorf("metrics are %v (%v)", metrics.ScopeMetrics, err)
		}
	})
}

func TestAccessLog(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		remote := errs.FromGRPC(errs.New(errs.Internal, "theirs", "logged elsewhere").GRPCStatus().Err())
		tests := []struct {
			name string
			err  error
			want string
		}{
			{"good", nil, "level=DEBUG msg=call method=/grpc.testing.TestService/UnaryCall code=OK"},
			{"wrong request", errs.New(errs.Invalid, "no_name", "x"), "level=DEBUG"},
			{"outage", errs.New(errs.Unavailable, "org_down", "x"), "level=WARN"},
			{"defect", errors.New("nil map"), `level=ERROR msg=call method=/grpc.testing.TestService/UnaryCall code=Internal`},
			{"defect elsewhere", remote, "level=DEBUG"},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				var log lockedBuffer
				handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
				conn, _ := connect(t, answering(tt.err), rpc.ServerOptions{Log: slog.New(handler)}, rpc.DialOptions{})
				ctx := rpc.WithCaller(t.Context(), rpc.Caller{Tenant: "acme", Subject: "ci"})
				_ = call(ctx, conn)
				text := log.String()
				if !strings.Contains(text, tt.want) || !strings.Contains(text, "tenant=acme caller=ci") {
					t.Errorf("log is %s, want %s", text, tt.want)
				}
				if tt.name == "defect" && !strings.Contains(text, "nil map") {
					t.Errorf("log lacks the cause: %s", text)
				}
			})
		}
	})
}

func TestStopLetsOpenCallsFinish(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		entered, release := make(chan struct{}), make(chan struct{})
		svc := &service{unary: func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
			close(entered)
			<-release
			return &grpc_testing.SimpleResponse{}, nil
		}}
		conn, stop := connect(t, svc, rpc.ServerOptions{}, rpc.DialOptions{})
		called := make(chan error, 1)
		go func() { called <- call(t.Context(), conn) }()
		<-entered
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		close(release)
		if err := <-called; err != nil {
			t.Errorf("the open call ended with %v", err)
		}
		if err := <-stopped; err != nil {
			t.Errorf("stop: %v", err)
		}
	})
}

func TestStopCutsOffWhatDoesNotEnd(t *testing.T) {
	overEach(t, func(t *testing.T, connect connectFunc) {
		entered := make(chan struct{})
		svc := &service{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
			close(entered)
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		conn, stop := connect(t, svc, rpc.ServerOptions{}, rpc.DialOptions{})
		called := make(chan error, 1)
		go func() { called <- call(t.Context(), conn) }()
		<-entered
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := <-called; errs.KindOf(err) != errs.Unavailable {
			t.Errorf("the call that was cut off ended with %v", err)
		}
	})
}

// TestStopEndsStreams runs in a bubble, where the moment that streams are given passes at once.
func TestStopEndsStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := &service{stream: func(s grpc_testing.TestService_FullDuplexCallServer) error {
			if err := s.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
				return err
			}
			<-s.Context().Done()
			return s.Context().Err()
		}}
		network := rpc.NewMemNet()
		ctx, cancel := context.WithCancel(t.Context())
		server := rpc.NewServer(rpc.ServerOptions{Log: slog.New(slog.DiscardHandler), Stopping: ctx.Done()})
		grpc_testing.RegisterTestServiceServer(server, svc)
		served := make(chan error, 1)
		go func() { served <- rpc.Serve(ctx, server, network.Listen("test"), time.Minute) }()
		conn, err := network.Dial("test", rpc.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		stream, err := grpc_testing.NewTestServiceClient(conn).FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		cancel()
		_, err = stream.Recv()
		if errs.KindOf(err) != errs.Unavailable || errs.ReasonOf(err) != "server_stopping" {
			t.Errorf("the stream ended with %v", err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took >= 10*time.Second {
			t.Errorf("stopping took %v, although all streams can be ended", took)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestServeReportsABrokenListener(t *testing.T) {
	t.Parallel()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	if err := rpc.Serve(t.Context(), rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(t)}), lis, grace); err == nil {
		t.Error("no error")
	}
}

func TestServeThatIsStoppedBeforeItStarts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	lis := rpc.NewMemNet().Listen("x")
	if err := rpc.Serve(ctx, rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(t)}), lis, grace); err != nil {
		t.Errorf("serve: %v", err)
	}
	if _, err := lis.Accept(); err == nil {
		t.Error("the listener is still open")
	}
}

func TestMemNetWaitsForItsServer(t *testing.T) {
	t.Parallel()
	network := rpc.NewMemNet()
	conn, err := network.Dial("late", rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	called := make(chan error, 1)
	go func() { called <- call(t.Context(), conn) }()
	for range 2 { // the second server takes the name over from the first
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		server := rpc.NewServer(rpc.ServerOptions{Log: testkit.Logger(t)})
		grpc_testing.RegisterTestServiceServer(server, answering(nil))
		lis := network.Listen("late")
		if lis.Addr().String() != "late" {
			t.Errorf("address is %v", lis.Addr())
		}
		go func() { served <- rpc.Serve(ctx, server, lis, grace) }()
		if err := <-called; err != nil {
			t.Errorf("call: %v", err)
		}
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		go func() { called <- call(t.Context(), conn) }()
	}
}

func TestMemNetRefusesTwoServersOnOneName(t *testing.T) {
	t.Parallel()
	network := rpc.NewMemNet()
	network.Listen("one")
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	network.Listen("one")
}

func TestDialRefusesNonsense(t *testing.T) {
	t.Parallel()
	if _, err := rpc.Dial("dns:///%zz", rpc.DialOptions{Extra: []grpc.DialOption{grpc.WithDefaultServiceConfig("{")}}); err == nil {
		t.Error("no error")
	}
}

// TestNothingIsLeftBehind does not run in parallel, so that all goroutines it sees are its own.
func TestNothingIsLeftBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	network := rpc.NewMemNet()
	ctx, cancel := context.WithCancel(t.Context())
	server := rpc.NewServer(rpc.ServerOptions{Log: slog.New(slog.DiscardHandler), Stopping: ctx.Done()})
	grpc_testing.RegisterTestServiceServer(server, answering(nil))
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(ctx, server, network.Listen("x"), grace) }()
	conn, err := network.Dial("x", rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := call(ctx, conn); err != nil {
		t.Fatal(err)
	}
	if err := streamError(ctx, conn); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	cancel()
	if err := errors.Join(<-served, conn.Close()); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}
