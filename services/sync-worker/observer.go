package syncworker

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// observer makes a span and counts of every exchange with Salesforce. Neither holds a URL: queries quote people's data.
type observer struct {
	tracer trace.Tracer
	calls  metric.Int64Counter
	took   metric.Float64Histogram
}

func newObserver(tel telemetry.Providers) (*observer, error) {
	meter := tel.Meter.Meter(scope)
	calls, err := meter.Int64Counter("catalogsync.salesforce.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Exchanges with Salesforce, by operation, status and error code."))
	if err != nil {
		return nil, err
	}
	took, err := meter.Float64Histogram("catalogsync.salesforce.duration", metric.WithUnit("s"),
		metric.WithDescription("Time of exchanges with Salesforce until their body was read, by operation."))
	if err != nil {
		return nil, err
	}
	return &observer{tracer: tel.Tracer.Tracer(scope), calls: calls, took: took}, nil
}

func (o *observer) call(ctx context.Context, i salesforce.CallInfo) {
	attrs := []attribute.KeyValue{
		attribute.String("salesforce.operation", i.Op), attribute.Int("http.response.status_code", i.Status),
		attribute.String("salesforce.error_code", i.Code),
	}
	_, span := o.tracer.Start(ctx, "salesforce "+i.Op, trace.WithTimestamp(i.Start), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(append(attrs, attribute.String("http.request.method", i.Method), attribute.Int("attempt", i.Attempt),
			attribute.Int64("http.request.body.size", i.Sent), attribute.Int64("http.response.body.size", i.Received))...))
	if i.Err != nil {
		span.SetStatus(codes.Error, i.Code)
	}
	span.End(trace.WithTimestamp(i.Start.Add(i.Dur)))
	o.calls.Add(ctx, 1, metric.WithAttributes(attrs...))
	o.took.Record(ctx, i.Dur.Seconds(), metric.WithAttributes(attrs[0]))
}
