package bus

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// metrics are what an operator watches: how long storing and handling take, how they end, and what waits for its turn.
type metrics struct {
	published, handled, waited metric.Float64Histogram
}

func newMetrics(p metric.MeterProvider) (metrics, error) {
	if p == nil {
		p = metricnoop.NewMeterProvider()
	}
	meter := p.Meter(scope)
	published, err1 := meter.Float64Histogram("catalogsync.bus.publish.duration", metric.WithUnit("s"),
		metric.WithDescription("Time until a message was stored, tries included, by stream and reason of failure."))
	handled, err2 := meter.Float64Histogram("catalogsync.bus.handle.duration", metric.WithUnit("s"),
		metric.WithDescription("Time in the handler of a message, by stream, consumer and what became of the message: ack, retry, term or handed_back."))
	waited, err3 := meter.Float64Histogram("catalogsync.bus.wait.duration", metric.WithUnit("s"),
		metric.WithDescription("Age of a message at its first delivery, by stream and consumer."))
	return metrics{published, handled, waited}, errors.Join(err1, err2, err3)
}

func (m metrics) publish(ctx context.Context, stream string, since time.Time, err error) {
	reason := ""
	if err != nil {
		reason = errs.ReasonOf(err)
	}
	m.published.Record(ctx, time.Since(since).Seconds(), metric.WithAttributes(
		attribute.String(telemetry.KeyStream, stream), attribute.String(telemetry.KeyReason, reason)))
}

func (m metrics) wait(ctx context.Context, c Consumer, msg *Message) {
	if msg.Deliveries == 1 {
		m.waited.Record(ctx, time.Since(msg.Time).Seconds(), metric.WithAttributes(
			attribute.String(telemetry.KeyStream, c.Stream), attribute.String("consumer", c.Durable)))
	}
}

func (m metrics) handle(ctx context.Context, c Consumer, since time.Time, outcome string) {
	m.handled.Record(ctx, time.Since(since).Seconds(), metric.WithAttributes(
		attribute.String(telemetry.KeyStream, c.Stream), attribute.String("consumer", c.Durable), attribute.String("outcome", outcome)))
}
