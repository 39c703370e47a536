package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	b := testkit.Connect(t, bus.Options{Server: testkit.NATS(t), Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	ctx := within(t)
	if err := b.EnsureStreams(ctx, bus.Stream{Name: "TEST", Subjects: []string{"test.>"}, MaxBytes: 1 << 20, Retention: bus.WorkQueue}); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"test.good", "test.again", "test.bad"} {
		if err := b.Publish(ctx, subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Publish(ctx, "test.large", make([]byte, 2<<20)); err == nil {
		t.Fatal("2 MiB were stored")
	}
	consumeCtx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		c := bus.Consumer{Stream: "TEST", Durable: "worker", RetryMin: time.Millisecond, RetryMax: time.Millisecond}
		done <- b.Consume(consumeCtx, c, func(_ context.Context, m *bus.Message) error {
			switch {
			case m.Subject == "test.bad":
				return errs.New(errs.Invalid, "bad", "bad")
			case m.Subject == "test.again" && m.Deliveries == 1:
				return errs.New(errs.Unavailable, "later", "later")
			}
			return nil
		})
	}()
	testkit.Eventually(t, 20*time.Second, func() error {
		left, err := b.Subjects(ctx, "TEST", ">")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left: %v", left)
		}
		return err
	})
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &data); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
			key := m.Name
			for _, a := range p.Attributes.ToSlice() {
				key += " " + string(a.Key) + "=" + a.Value.AsString()
			}
			got[key] = p.Count
		}
	}
	want := map[string]uint64{
		"catalogsync.bus.publish.duration reason= stream=TEST":                      3,
		"catalogsync.bus.publish.duration reason= stream=" + bus.DeadLetters:        1,
		"catalogsync.bus.publish.duration reason=message_too_large stream=TEST":     1,
		"catalogsync.bus.wait.duration consumer=worker stream=TEST":                 3,
		"catalogsync.bus.handle.duration consumer=worker outcome=ack stream=TEST":   2,
		"catalogsync.bus.handle.duration consumer=worker outcome=retry stream=TEST": 1,
		"catalogsync.bus.handle.duration consumer=worker outcome=term stream=TEST":  1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("measurements (-want +got):\n%s", diff)
	}
}
