package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/grpc"

	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// receiver is an OTLP receiver that remembers what arrived.
type receiver struct {
	tracepb.UnimplementedTraceServiceServer
	addr string

	mu       sync.Mutex
	spans    map[string]string // name to hex trace id
	metrics  map[string]bool
	services map[string]bool
}

// metricsService is the other half of the receiver; the two RPCs are both called Export.
type metricsService struct {
	metricspb.UnimplementedMetricsServiceServer
	*receiver
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{addr: lis.Addr().String(), spans: map[string]string{}, metrics: map[string]bool{}, services: map[string]bool{}}
	s := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(s, r)
	metricspb.RegisterMetricsServiceServer(s, metricsService{receiver: r})
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *receiver) Export(_ context.Context, req *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		r.note(rs.GetResource())
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				r.spans[s.GetName()] = trace.TraceID(s.GetTraceId()).String()
			}
		}
	}
	return &tracepb.ExportTraceServiceResponse{}, nil
}

func (m metricsService) Export(_ context.Context, req *metricspb.ExportMetricsServiceRequest) (*metricspb.ExportMetricsServiceResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rm := range req.GetResourceMetrics() {
		m.note(rm.GetResource())
		for _, sm := range rm.GetScopeMetrics() {
			for _, metric := range sm.GetMetrics() {
				m.metrics[metric.GetName()] = true
			}
		}
	}
	return &metricspb.ExportMetricsServiceResponse{}, nil
}

func (r *receiver) note(res *resourcepb.Resource) {
	for _, a := range res.GetAttributes() {
		if a.GetKey() == "service.name" {
			r.services[a.GetValue().GetStringValue()] = true
		}
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	o := telemetry.DefaultOptions("auth")
	o.Endpoint, o.Insecure = r.addr, true
	p, shutdown, err := telemetry.Setup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := p.Tracer.Tracer("test").Start(t.Context(), "refresh token")
	carrier := propagation.MapCarrier{}
	p.Propagator.Inject(ctx, carrier)
	if !strings.Contains(carrier["traceparent"], span.SpanContext().TraceID().String()) {
		t.Errorf("the trace context is not propagated: %v", carrier)
	}
	counter, err := p.Meter.Meter("test").Int64Counter("catalogsync.refreshes")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 1)
	span.End()
	if err := shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spans["refresh token"] != span.SpanContext().TraceID().String() {
		t.Errorf("received spans %v", r.spans)
	}
	if !r.metrics["catalogsync.refreshes"] || !r.metrics["go.goroutine.count"] {
		t.Errorf("received metrics %v, want ours and those of the runtime", r.metrics)
	}
	if !r.services["auth"] || len(r.services) != 1 {
		t.Errorf("received from services %v", r.services)
	}
}

func TestSampling(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	o := telemetry.DefaultOptions("auth")
	o.Endpoint, o.Insecure, o.SampleRatio = r.addr, true, 0
	p, shutdown, err := telemetry.Setup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	tracer := p.Tracer.Tracer("test")
	_, dropped := tracer.Start(t.Context(), "starts here")
	dropped.End()
	sampled := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true,
	})
	_, kept := tracer.Start(trace.ContextWithRemoteSpanContext(t.Context(), sampled), "started elsewhere")
	kept.End()
	if err := shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.spans["starts here"]; ok || r.spans["started elsewhere"] == "" {
		t.Errorf("received spans %v", r.spans)
	}
}

func TestOffWithoutEndpoint(t *testing.T) {
	t.Parallel()
	p, shutdown, err := telemetry.Setup(t.Context(), telemetry.DefaultOptions("auth"))
	if err != nil {
		t.Fatal(err)
	}
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true})
	ctx, span := p.Tracer.Tracer("test").Start(trace.ContextWithRemoteSpanContext(t.Context(), remote), "x")
	if span.IsRecording() {
		t.Error("a span records although nothing is exported")
	}
	carrier := propagation.MapCarrier{}
	p.Propagator.Inject(ctx, carrier)
	if !strings.Contains(carrier["traceparent"], remote.TraceID().String()) {
		t.Errorf("the trace of the caller is lost: %v", carrier)
	}
	if err := shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMissingReceiverIsNoError(t *testing.T) {
	t.Parallel()
	o := telemetry.DefaultOptions("auth")
	o.Endpoint, o.Insecure = "127.0.0.1:1", true
	p, shutdown, err := telemetry.Setup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.Tracer.Tracer("test").Start(t.Context(), "x")
	span.End()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown with a context that ended: %v", err)
	}
}

func TestOrNoopFillsGaps(t *testing.T) {
	t.Parallel()
	p := telemetry.Providers{}.OrNoop()
	if p.Tracer == nil || p.Meter == nil || p.Propagator == nil {
		t.Errorf("providers are %+v", p)
	}
	own := propagation.Baggage{}
	if got := (telemetry.Providers{Propagator: own}).OrNoop(); got.Propagator != own {
		t.Error("a provider that was there was replaced")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		want []string
	}{
		{nil, nil},
		{[]string{"-otlp-endpoint", "collector:4317", "-otlp-insecure", "-otlp-sample-ratio", "0.1"}, nil},
		{[]string{"-otlp-endpoint", "[::1]:4317"}, nil},
		{[]string{"-otlp-endpoint", "http://collector:4317"}, []string{"-otlp-endpoint"}},
		{[]string{"-otlp-endpoint", "collector"}, []string{"-otlp-endpoint", "host:port"}},
		{[]string{"-otlp-sample-ratio", "2", "-otlp-metric-interval", "0s"}, []string{"-otlp-sample-ratio", "-otlp-metric-interval"}},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			o := telemetry.DefaultOptions("auth")
			fs := flag.NewFlagSet("auth", flag.ContinueOnError)
			fs.SetOutput(io.Discard)
			o.RegisterFlags(fs)
			if err := fs.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			err := o.Validate()
			if (err != nil) != (tt.want != nil) {
				t.Fatalf("error is %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if _, _, setupErr := telemetry.Setup(t.Context(), o); err != nil && setupErr == nil {
				t.Error("Setup took what Validate refuses")
			}
		})
	}
}

func TestLogHandlerAddsTheTrace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(telemetry.LogHandler(slog.NewTextHandler(&out, nil)))
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	ids := "trace_id=" + span.TraceID().String() + " span_id=" + span.SpanID().String()
	tests := []struct {
		name string
		log  func()
		want string
	}{
		{"plain", func() { log.InfoContext(ctx, "x") }, "msg=x " + ids},
		{"with attributes", func() { log.With(telemetry.KeyOrg, "acme").InfoContext(ctx, "x", "a", 1) }, "msg=x org=acme a=1 " + ids},
		{"no span", func() { log.InfoContext(t.Context(), "x") }, "msg=x\n"},
		{"error", func() { log.InfoContext(t.Context(), "x", telemetry.Err(io.EOF)) }, "msg=x err=EOF"},
		{"no error", func() { log.InfoContext(t.Context(), "x", telemetry.Err(nil)) }, `msg=x err=""`},
	}
	for _, tt := range tests {
		out.Reset()
		tt.log()
		if !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: logged %q, want %q", tt.name, out.String(), tt.want)
		}
	}
}

func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	o := telemetry.DefaultOptions("auth")
	o.Endpoint, o.Insecure = "127.0.0.1:1", true
	p, shutdown, err := telemetry.Setup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.Tracer.Tracer("test").Start(t.Context(), "x")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_ = shutdown(ctx)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("shutdown took %v with a context of 100ms", took)
	}
}
