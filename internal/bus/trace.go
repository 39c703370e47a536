package bus

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// scope names this package as the source of spans and metrics.
const scope = "github.com/catalogsync/catalogsync/internal/bus"

// tracing makes the spans of messages and carries their context in headers.
type tracing struct {
	tracer trace.Tracer
	prop   propagation.TextMapPropagator
}

func newTracing(p trace.TracerProvider, prop propagation.TextMapPropagator) tracing {
	if p == nil {
		p = tracenoop.NewTracerProvider()
	}
	if prop == nil {
		prop = propagation.TraceContext{}
	}
	return tracing{tracer: p.Tracer(scope), prop: prop}
}

// carrier keeps the keys as the propagator writes them, in lower case: NATS headers are case-sensitive, and the carrier of
// the OpenTelemetry library would write "Traceparent".
type carrier nats.Header

func (c carrier) Get(key string) string { return nats.Header(c).Get(key) }
func (c carrier) Set(key, value string) { nats.Header(c).Set(key, value) }
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}

// span ends with the outcome of what it measures.
type span struct{ trace.Span }

func (s span) end(err error) {
	if err != nil {
		s.SetStatus(codes.Error, errs.ReasonOf(err))
	}
	s.End()
}

// send starts the span of a publication and writes its context into the message. The span is named after the stream:
// subjects are too many to be names.
func (t tracing) send(ctx context.Context, stream string, msg *nats.Msg) (context.Context, span) {
	name := "send"
	if stream != "" {
		name += " " + stream
	}
	ctx, s := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"),
		attribute.String("messaging.operation.name", "send"),
		attribute.String("messaging.operation.type", "send"),
		attribute.String("messaging.destination.name", msg.Subject),
		attribute.Int("messaging.message.body.size", len(msg.Data)),
		attribute.String("nats.stream", stream),
	))
	t.prop.Inject(ctx, carrier(msg.Header))
	return ctx, span{s}
}

// process starts the span of handling a message. It belongs to the publisher's trace and links to the span that
// published it, since the message may have waited for long.
func (t tracing) process(ctx context.Context, c Consumer, m *Message, h nats.Header) (context.Context, span) {
	ctx = t.prop.Extract(ctx, carrier(h))
	ctx, s := t.tracer.Start(ctx, "process "+c.Stream, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.LinkFromContext(ctx)), trace.WithAttributes(
			attribute.String("messaging.system", "nats"),
			attribute.String("messaging.operation.name", "process"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", m.Subject),
			attribute.String("messaging.consumer.group.name", c.Durable),
			attribute.String("messaging.message.id", strconv.FormatUint(m.Seq, 10)),
			attribute.Int("messaging.message.body.size", len(m.Data)),
			attribute.String("nats.stream", c.Stream),
			attribute.Int("nats.delivery_attempt", m.Deliveries),
		))
	return ctx, span{s}
}

func attrStream(name string) slog.Attr { return slog.String(telemetry.KeyStream, name) }
