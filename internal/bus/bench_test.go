package bus_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/natsd"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// benchBus is a bus with a stream on an embedded server that syncs before it acknowledges.
func benchBus(b *testing.B, retention bus.Retention) *bus.Bus {
	b.Helper()
	s := testkit.NATS(b, func(o *natsd.Options) { o.NoSync = false })
	c := s.Bus(b)
	err := c.EnsureStreams(b.Context(), bus.Stream{
		Name: "BENCH", Subjects: []string{"bench.>"}, MaxBytes: 8 << 30, Retention: retention,
	})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func payload(size int) []byte {
	p := make([]byte, size)
	_, _ = rand.Read(p) // never fails
	return p
}

var sizes = []int{1 << 10, 128 << 10, 256 << 10, 768 << 10}

func BenchmarkPublish(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			c, data := benchBus(b, bus.Limits), payload(size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				if err := c.Publish(b.Context(), fmt.Sprintf("bench.%d", i), data, bus.ExpectNew()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			c := benchBus(b, bus.Limits)
			if err := c.Publish(b.Context(), "bench.a", payload(size)); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := c.Get(b.Context(), "BENCH", "bench.a"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead reads 64 MiB that lie between as much of others.
func BenchmarkRead(b *testing.B) {
	c, data := benchBus(b, bus.Limits), payload(256<<10)
	for i := range 512 {
		if err := c.Publish(b.Context(), fmt.Sprintf("bench.%d.%d", i%2, i), data); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(256 * int64(len(data)))
	for b.Loop() {
		n := 0
		for _, err := range c.Read(b.Context(), "BENCH", "bench.1.>", 0) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 256 {
			b.Fatalf("read %d messages", n)
		}
	}
}

// BenchmarkConsume publishes a task and waits until it has been handled and acknowledged, with eight slots.
func BenchmarkConsume(b *testing.B) {
	c, data := benchBus(b, bus.WorkQueue), payload(1<<10)
	ctx, cancel := context.WithCancel(b.Context())
	handled, done := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		done <- c.Consume(ctx, bus.Consumer{Stream: "BENCH", Durable: "worker", Slots: 8}, func(context.Context, *bus.Message) error {
			handled <- struct{}{}
			return nil
		})
	}()
	for b.Loop() {
		if err := c.Publish(ctx, "bench.a", data); err != nil {
			b.Fatal(err)
		}
		<-handled
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
