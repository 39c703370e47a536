package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// TestTrace follows one trace from whoever publishes over the message to the handler.
func TestTrace(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	b := testkit.Connect(t, bus.Options{Server: testkit.NATS(t), Tracer: provider})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := b.EnsureStreams(ctx, bus.Stream{Name: "TEST", Subjects: []string{"test.>"}, MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	root, rootSpan := provider.Tracer("test").Start(ctx, "button")
	if err := b.Publish(root, "test.a", []byte("abc")); err != nil {
		t.Fatal(err)
	}
	rootSpan.End()
	m, err := b.Get(ctx, "TEST", "test.a")
	if err != nil {
		t.Fatal(err)
	}
	if m.Header["traceparent"] == "" {
		t.Errorf("headers %v have no lower-case traceparent", m.Header)
	}
	handled := make(chan trace.SpanContext, 1)
	consumeCtx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- b.Consume(consumeCtx, bus.Consumer{Stream: "TEST", Durable: "worker"}, func(ctx context.Context, _ *bus.Message) error {
			handled <- trace.SpanContextFromContext(ctx)
			return errs.New(errs.Invalid, "no_good", "no good")
		})
	}()
	inHandler := <-handled
	testkit.Eventually(t, 20*time.Second, func() error {
		_, err := b.Subjects(ctx, bus.DeadLetters, ">")
		if err == nil && named(spans, "process TEST") == nil {
			return errs.New(errs.NotFound, "no_span", "the handler's span has not ended")
		}
		return err
	})
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	send, process := named(spans, "send TEST"), named(spans, "process TEST")
	if send == nil {
		t.Fatal("publishing has no span")
	}
	id := rootSpan.SpanContext().TraceID()
	if send.SpanContext().TraceID() != id || process.SpanContext().TraceID() != id || inHandler.SpanID() != process.SpanContext().SpanID() {
		t.Error("the spans do not belong to one trace")
	}
	if send.SpanKind() != trace.SpanKindProducer || process.SpanKind() != trace.SpanKindConsumer {
		t.Errorf("kinds %v and %v", send.SpanKind(), process.SpanKind())
	}
	if links := process.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != send.SpanContext().SpanID() {
		t.Errorf("links %v do not lead to the publisher", links)
	}
	if process.Status().Description != "no_good" {
		t.Errorf("the span of the failed handler has status %v", process.Status())
	}
	attrs := map[string]string{}
	for _, a := range process.Attributes() {
		attrs[string(a.Key)] = a.Value.String()
	}
	if diff := cmp.Diff(map[string]string{
		"messaging.system": "nats", "messaging.operation.name": "process", "messaging.operation.type": "process",
		"messaging.destination.name": "test.a", "messaging.consumer.group.name": "worker", "messaging.message.id": "1",
		"messaging.message.body.size": "3", "nats.stream": "TEST", "nats.delivery_attempt": "1",
	}, attrs); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func named(spans *tracetest.SpanRecorder, name string) sdktrace.ReadOnlySpan {
	for _, s := range spans.Ended() {
		if s.Name() == name {
			return s
		}
	}
	return nil
}
