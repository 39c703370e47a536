package bustest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
)

func testEnsure(t *testing.T, s Server) {
	b := s.Bus(t)
	ctx := within(t)
	wantErr(t, b.EnsureStreams(ctx, stream(func(s *bus.Stream) { s.MaxBytes = 0 })), errs.Invalid, "stream_without_limit")
	wantErr(t, b.EnsureStreams(ctx, stream(func(s *bus.Stream) { s.Subjects = nil })), errs.Invalid, "bad_stream")
	wantErr(t, b.EnsureStreams(ctx, stream(func(s *bus.Stream) { s.Name = "a b" })), errs.Invalid, "bad_stream")
	for range 2 {
		must(t, b.EnsureStreams(ctx, stream()))
	}
	must(t, b.Publish(ctx, "test.a", []byte("kept")))
	must(t, b.EnsureStreams(ctx, stream(func(s *bus.Stream) { s.MaxBytes, s.MaxMsgSize = 1<<20, 1000 })))
	wantErr(t, b.Publish(ctx, "test.b", make([]byte, 2000)), errs.Invalid, "message_too_large")
	if m, err := b.Get(ctx, "TEST", "test.a"); err != nil || string(m.Data) != "kept" {
		t.Errorf("after the change of a limit: %v, %v", m, err)
	}
	must(t, b.Health(ctx))
}

func testMsgID(t *testing.T, s Server) {
	b := connect(t, s, stream())
	ctx := within(t)
	first, err := b.Append(ctx, "test.a", []byte("1"), bus.WithMsgID("x"))
	must(t, err)
	again, err := b.Append(ctx, "test.a", []byte("2"), bus.WithMsgID("x"))
	must(t, err)
	other, err := b.Append(ctx, "test.a", []byte("3"))
	must(t, err)
	if first != 1 || again != 1 || other != 2 {
		t.Errorf("sequences %d, %d, %d, want 1, 1, 2", first, again, other)
	}
}

func testExpectNew(t *testing.T, s Server) {
	b := connect(t, s, stream())
	ctx := within(t)
	for i := range 3 {
		seq, err := b.Append(ctx, "test.a", fmt.Append(nil, i), bus.ExpectNew())
		must(t, err)
		if seq != 1 {
			t.Errorf("repetition %d has sequence %d, want 1", i, seq)
		}
	}
	must(t, b.Publish(ctx, "test.b", nil, bus.ExpectNew(), bus.WithMsgID("mine")))
	must(t, b.Publish(ctx, "test.b", nil, bus.ExpectNew(), bus.WithMsgID("mine")))
	wantErr(t, b.Publish(ctx, "test.b", nil, bus.ExpectNew(), bus.WithMsgID("other")), errs.Conflict, "subject_taken")
	if got := read(t, b, "TEST", "test.>", 0); len(got) != 2 || string(got[0].Data) != "0" {
		t.Errorf("stored %d messages, want 2", len(got))
	}
	must(t, b.Purge(ctx, "TEST", "test.a"))
	must(t, b.Publish(ctx, "test.a", []byte("new"), bus.ExpectNew()))
	if m, err := b.Get(ctx, "TEST", "test.a"); err != nil || string(m.Data) != "new" {
		t.Errorf("after a purge the subject is not new: %v, %v", m, err)
	}
}

func testExpectNewConcurrent(t *testing.T, s Server) {
	const publishers, subjects = 8, 20
	first := connect(t, s, stream())
	buses := []*bus.Bus{first, s.Bus(t)}
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range subjects {
				if err := buses[p%2].Publish(within(t), fmt.Sprintf("test.%d", i), fmt.Append(nil, p), bus.ExpectNew()); err != nil {
					t.Errorf("publisher %d: %v", p, err)
				}
			}
		})
	}
	wg.Wait()
	if got := read(t, first, "TEST", "test.>", 0); len(got) != subjects {
		t.Errorf("stored %d messages, want %d", len(got), subjects)
	}
}

func testExpectLast(t *testing.T, s Server) {
	b := connect(t, s, stream())
	ctx := within(t)
	rev, err := b.Append(ctx, "test.a", nil, bus.ExpectLast(0))
	must(t, err)
	_, err = b.Append(ctx, "test.a", nil, bus.ExpectLast(0))
	wantErr(t, err, errs.Conflict, "wrong_revision")
	next, err := b.Append(ctx, "test.a", nil, bus.ExpectLast(rev))
	must(t, err)
	_, err = b.Append(ctx, "test.a", nil, bus.ExpectLast(rev))
	wantErr(t, err, errs.Conflict, "wrong_revision")
	_, err = b.Append(ctx, "test.a", nil, bus.ExpectLast(next))
	must(t, err)
}

func testRefused(t *testing.T, s Server) {
	b := connect(t, s, stream())
	wantErr(t, b.Publish(within(t), "test.a", make([]byte, 2<<20)), errs.Invalid, "message_too_large")
	wantErr(t, b.Publish(within(t), "test.a", nil, bus.WithHeader("Nats-Expected-Stream", "x")), errs.Internal, "bad_header")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := b.Publish(ctx, "nobody.listens", nil)
	wantErr(t, err, errs.Unavailable, "bus_unavailable")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not say that the time was over", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Publish(ended, "test.a", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func testFull(t *testing.T, s Server) {
	b := connect(t, s, stream(func(s *bus.Stream) { s.MaxBytes = 100_000 }))
	ctx := within(t)
	big := bytes.Repeat([]byte("x"), 30_000)
	var err error
	stored := 0
	for i := 0; err == nil && i < 10; i++ {
		if err = b.Publish(ctx, fmt.Sprintf("test.%d", i), big, bus.ExpectNew()); err == nil {
			stored++
		}
	}
	if stored != 3 {
		t.Errorf("%d messages fit, want 3", stored)
	}
	wantErr(t, err, errs.Exhausted, "store_full")
	start := time.Now()
	wantErr(t, b.Publish(ctx, "test.more", big), errs.Exhausted, "store_full")
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("it took %v to say that the stream is full", d)
	}
	if got := read(t, b, "TEST", "test.>", 0); len(got) != stored {
		t.Errorf("%d messages are stored, want %d", len(got), stored)
	}
	must(t, b.Purge(ctx, "TEST", "test.0"))
	must(t, b.Publish(ctx, "test.more", big))
}
