// Package telemetry owns what the system tells about itself: traces and metrics over OTLP, the keys of attributes, and
// the link from a log line to its trace. Providers are values that are handed on; nothing here is global, so that
// several services can live in one process.
package telemetry

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/catalogsync/catalogsync/internal/version"
)

// Providers are what a service needs to make spans and metrics. The zero value is not usable; see [Noop].
type Providers struct {
	Tracer     trace.TracerProvider
	Meter      metric.MeterProvider
	Propagator propagation.TextMapPropagator
}

// Noop returns providers that record nothing. Trace context still passes through them.
func Noop() Providers {
	return Providers{
		Tracer:     tracenoop.NewTracerProvider(),
		Meter:      metricnoop.NewMeterProvider(),
		Propagator: propagator(),
	}
}

// OrNoop returns the providers with the missing ones replaced by those of [Noop].
func (p Providers) OrNoop() Providers {
	noop := Noop()
	if p.Tracer == nil {
		p.Tracer = noop.Tracer
	}
	if p.Meter == nil {
		p.Meter = noop.Meter
	}
	if p.Propagator == nil {
		p.Propagator = noop.Propagator
	}
	return p
}

func propagator() propagation.TextMapPropagator {
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}

// Options says what is exported and where to.
type Options struct {
	// ServiceName is the name under which the telemetry appears, such as "auth".
	ServiceName string
	// Endpoint is the host:port of an OTLP receiver that speaks gRPC. Empty turns export off.
	Endpoint string
	// Insecure sends without TLS.
	Insecure bool
	// SampleRatio is the part of the traces that start here which are kept, from 0 to 1. Traces that started
	// elsewhere follow the decision made there.
	SampleRatio float64
	// MetricInterval is the time between two exports of metrics.
	MetricInterval time.Duration
}

// DefaultOptions exports nothing, and everything once an endpoint is set.
func DefaultOptions(serviceName string) Options {
	return Options{ServiceName: serviceName, SampleRatio: 1, MetricInterval: 15 * time.Second}
}

// RegisterFlags declares the settings.
func (o *Options) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.Endpoint, "otlp-endpoint", o.Endpoint, "`host:port` of an OTLP gRPC receiver for traces and metrics; empty sends none")
	fs.BoolVar(&o.Insecure, "otlp-insecure", o.Insecure, "send telemetry without TLS")
	fs.Float64Var(&o.SampleRatio, "otlp-sample-ratio", o.SampleRatio, "part of the traces that are kept, from 0 to 1")
	fs.DurationVar(&o.MetricInterval, "otlp-metric-interval", o.MetricInterval, "time between two exports of metrics")
}

// Validate reports all settings that cannot work.
func (o Options) Validate() error {
	var problems []error
	if u, err := url.Parse("//" + o.Endpoint); o.Endpoint != "" && (err != nil || u.Host != o.Endpoint || u.Port() == "") {
		problems = append(problems, fmt.Errorf("-otlp-endpoint %q: give it as host:port", o.Endpoint))
	}
	if o.SampleRatio < 0 || o.SampleRatio > 1 {
		problems = append(problems, fmt.Errorf("-otlp-sample-ratio %v: must be between 0 and 1", o.SampleRatio))
	}
	if o.MetricInterval <= 0 {
		problems = append(problems, fmt.Errorf("-otlp-metric-interval %v: must be more than 0", o.MetricInterval))
	}
	return errors.Join(problems...)
}

// Setup returns providers that export over OTLP, or those of [Noop] when no endpoint is set. It does not wait for the
// receiver: what cannot be delivered is dropped after a while. The returned function sends what is left and must be
// called before the process ends, with a context that bounds it.
func Setup(ctx context.Context, o Options) (p Providers, shutdown func(context.Context) error, err error) {
	if err := o.Validate(); err != nil {
		return Providers{}, nil, fmt.Errorf("telemetry: %w", err)
	}
	if o.Endpoint == "" {
		return Noop(), func(context.Context) error { return nil }, nil
	}
	res := resource.NewSchemaless(
		semconv.ServiceName(o.ServiceName), semconv.ServiceNamespace("catalogsync"), semconv.ServiceVersion(version.String()))

	traceOpts := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(o.Endpoint)}
	metricOpts := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpoint(o.Endpoint)}
	if o.Insecure {
		traceOpts = append(traceOpts, otlptracegrpc.WithInsecure())
		metricOpts = append(metricOpts, otlpmetricgrpc.WithInsecure())
	}
	spans, err := otlptracegrpc.New(ctx, traceOpts...)
	if err != nil {
		return Providers{}, nil, fmt.Errorf("trace exporter for %s: %w", o.Endpoint, err)
	}
	metrics, err := otlpmetricgrpc.New(ctx, metricOpts...)
	if err != nil {
		return Providers{}, nil, errors.Join(fmt.Errorf("metric exporter for %s: %w", o.Endpoint, err), spans.Shutdown(ctx))
	}
	tracer := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(spans), sdktrace.WithResource(res),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.SampleRatio))))
	meter := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics, sdkmetric.WithInterval(o.MetricInterval))),
		sdkmetric.WithResource(res))
	shutdown = func(ctx context.Context) error {
		return errors.Join(tracer.Shutdown(ctx), meter.Shutdown(ctx))
	}
	if err := runtime.Start(runtime.WithMeterProvider(meter)); err != nil {
		return Providers{}, nil, errors.Join(fmt.Errorf("runtime metrics: %w", err), shutdown(ctx))
	}
	return Providers{Tracer: tracer, Meter: meter, Propagator: propagator()}, shutdown, nil
}

// ReportErrors logs what goes wrong while telemetry is sent, for the whole process. It is for the main function alone:
// the SDK knows only one receiver of such errors.
func ReportErrors(log *slog.Logger) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry not sent", Err(err))
	}))
}
