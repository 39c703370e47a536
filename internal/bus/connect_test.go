package bus_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/natsd"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestConnect(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := bus.Connect(ctx, bus.Options{URLs: "nats://127.0.0.1:1"})
	if errs.KindOf(err) != errs.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody listens: %v", err)
	}
	_, err = bus.Connect(within(t), bus.Options{URLs: "nats://127.0.0.1:1", RootCAFile: filepath.Join(t.TempDir(), "missing")})
	if errs.KindOf(err) != errs.Invalid {
		t.Errorf("a file is missing: %v", err)
	}
}

// TestConnectWaits connects before the server is there.
func TestConnectWaits(t *testing.T) {
	t.Parallel()
	s := testkit.NATS(t)
	s.Stop()
	connected := make(chan error, 1)
	go func() {
		b, err := bus.Connect(within(t), bus.Options{Server: s})
		if err == nil {
			err = b.Health(within(t))
			b.Close()
		}
		connected <- err
	}()
	s.Start(t)
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	b.Close()
	for what, err := range map[string]error{
		"publish": b.Publish(within(t), "a", nil),
		"health":  b.Health(within(t)),
		"consume": b.Consume(within(t), bus.Consumer{Stream: "A", Durable: "b"}, func(context.Context, *bus.Message) error { return nil }),
	} {
		if errs.KindOf(err) != errs.Unavailable {
			t.Errorf("%s on a closed bus: %v", what, err)
		}
	}
}

// TestStorageReserved asks for more than the server may take.
func TestStorageReserved(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t, func(o *natsd.Options) { o.MaxStore = 10 << 20 }).Bus(t)
	fits := bus.Stream{Name: "FITS", Subjects: []string{"fits"}, MaxBytes: 8 << 20}
	if err := b.EnsureStreams(within(t), fits); err != nil {
		t.Fatal(err)
	}
	err := b.EnsureStreams(within(t), bus.Stream{Name: "MORE", Subjects: []string{"more"}, MaxBytes: 8 << 20})
	if errs.KindOf(err) != errs.Exhausted || errs.ReasonOf(err) != "store_full" {
		t.Errorf("got %v", err)
	}
}

// TestFrozenServer publishes while the server is halted and keeps its connections open.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	s := testkit.NATSProcess(t)
	b := s.Bus(t)
	if err := b.EnsureStreams(within(t), bus.Stream{Name: "TEST", Subjects: []string{"test.>"}, MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	s.Stop(t)
	published := make(chan error, 2)
	go func() { published <- b.Publish(within(t), "test.a", nil, bus.ExpectNew()) }()
	go func() { published <- b.Publish(within(t), "test.b", nil) }()
	short, cancel := context.WithTimeout(t.Context(), 4*time.Second) // longer than one try
	defer cancel()
	if err := b.Publish(short, "test.c", nil); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("while the server is halted: %v", err)
	}
	s.Cont(t)
	for range 2 {
		if err := <-published; err != nil {
			t.Error(err)
		}
	}
	got, err := b.Subjects(within(t), "TEST", ">")
	if err != nil {
		t.Fatal(err)
	}
	if got["test.a"] != 1 || got["test.b"] != 1 || got["test.c"] > 1 {
		t.Errorf("stored %v, want each once", got)
	}
}
