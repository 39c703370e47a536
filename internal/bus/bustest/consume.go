package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// settled waits until a consumer has nothing left to deliver and nothing unacknowledged.
func settled(t testing.TB, js jetstream.JetStream, stream, durable string) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		info := consumerInfo(t, js, stream, durable)
		if info.NumPending != 0 || info.NumAckPending != 0 {
			return fmt.Errorf("%d messages pending, %d unacknowledged", info.NumPending, info.NumAckPending)
		}
		return nil
	})
}

func consumerInfo(t testing.TB, js jetstream.JetStream, stream, durable string) *jetstream.ConsumerInfo {
	t.Helper()
	cons, err := js.Consumer(within(t), stream, durable)
	must(t, err)
	info, err := cons.Info(within(t))
	must(t, err)
	return info
}

// emptied waits until a work queue holds nothing: replicas remove what was acknowledged a little later.
func emptied(t testing.TB, b *bus.Bus) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if left := read(t, b, "TEST", ">", 0); len(left) > 0 {
			return fmt.Errorf("%d messages are left, %s among them", len(left), left[0].Subject)
		}
		return nil
	})
}

// tally counts deliveries by subject.
type tally struct {
	mu    sync.Mutex
	count map[string]int
	all   chan struct{} // closed when want different subjects came
	want  int
}

func newTally(want int) *tally {
	return &tally{count: map[string]int{}, all: make(chan struct{}), want: want}
}

func (y *tally) add(subject string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.count[subject]++
	if y.count[subject] == 1 && len(y.count) == y.want {
		close(y.all)
	}
}

func testConsume(t *testing.T, s Server) {
	const n = 200
	b := connect(t, s, stream(queue))
	js := operator(t, s)
	seen := newTally(n)
	c := bus.Consumer{Stream: "TEST", Durable: "worker", Filters: []string{"test.>"}, Slots: 4}
	handle := func(_ context.Context, m *bus.Message) error {
		if m.Deliveries != 1 || m.Seq == 0 || m.Time.IsZero() || m.Subject != "test."+string(m.Data) {
			t.Errorf("delivered %+v", m)
		}
		seen.add(m.Subject)
		return nil
	}
	consume(t, b, c, handle)
	consume(t, s.Bus(t), c, handle)
	publish(t, b, n)
	receive(t, seen.all, "all messages")
	settled(t, js, "TEST", "worker")
	for subject, count := range seen.count {
		if count != 1 {
			t.Errorf("%s was handled %d times", subject, count)
		}
	}
	emptied(t, b)
	must(t, b.EnsureStreams(within(t), bus.Stream{Name: "PROTO", Subjects: []string{"proto"}, MaxBytes: 1 << 20}))
	must(t, b.PublishProto(within(t), "proto", wrapperspb.String("hello")))
	got := make(chan string, 1)
	consume(t, b, bus.Consumer{Stream: "PROTO", Durable: "worker"}, func(_ context.Context, m *bus.Message) error {
		var v wrapperspb.StringValue
		err := m.Unmarshal(&v)
		got <- v.GetValue()
		return err
	})
	if v := receive(t, got, "the encoded message"); v != "hello" {
		t.Errorf("decoded %q", v)
	}
}

func testDispositions(t *testing.T, s Server) {
	b := connect(t, s, stream(queue))
	js := operator(t, s)
	ctx := within(t)
	type delivery struct {
		attempt int
		at      time.Time
	}
	var mu sync.Mutex
	deliveries := map[string][]delivery{}
	handle := func(_ context.Context, m *bus.Message) error {
		mu.Lock()
		deliveries[m.Subject] = append(deliveries[m.Subject], delivery{m.Deliveries, time.Now()})
		mu.Unlock()
		switch m.Subject {
		case "test.retry":
			if m.Deliveries < 4 {
				return errs.New(errs.Unavailable, "not_yet", "not yet")
			}
		case "test.unknown":
			if m.Deliveries < 3 {
				return errors.New("nobody classified this")
			}
		case "test.later":
			if m.Deliveries == 1 {
				return &errs.Error{Kind: errs.RateLimited, Reason: "slow_down", Msg: "slow down", RetryAfter: 700 * time.Millisecond}
			}
		case "test.invalid":
			return errs.Wrap(errors.New("secret"), errs.Invalid, "no_such_thing", "there is no such thing")
		case "test.undecodable":
			return m.Unmarshal(&wrapperspb.StringValue{})
		}
		return nil
	}
	for _, subject := range []string{"test.retry", "test.unknown", "test.later", "test.fine"} {
		must(t, b.Publish(ctx, subject, nil))
	}
	must(t, b.Publish(ctx, "test.invalid", []byte("payload"), bus.WithHeader("own", "kept")))
	must(t, b.Publish(ctx, "test.undecodable", []byte{0xff}))
	consume(t, b, bus.Consumer{Stream: "TEST", Durable: "worker", Slots: 6, RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond}, handle)
	emptied(t, b)
	settled(t, js, "TEST", "worker")
	mu.Lock()
	defer mu.Unlock()
	got := map[string][]int{}
	for subject, ds := range deliveries {
		for _, d := range ds {
			got[subject] = append(got[subject], d.attempt)
		}
	}
	want := map[string][]int{
		"test.retry": {1, 2, 3, 4}, "test.unknown": {1, 2, 3}, "test.later": {1, 2},
		"test.invalid": {1}, "test.undecodable": {1}, "test.fine": {1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
	if later := deliveries["test.later"]; later[1].at.Sub(later[0].at) < 650*time.Millisecond {
		t.Errorf("the delay that was asked for was not kept: %v", later[1].at.Sub(later[0].at))
	}
	dead := map[string]*bus.Message{}
	for _, m := range read(t, b, bus.DeadLetters, ">", 0) {
		dead[m.Header[bus.DeadSubject]] = m
	}
	if len(dead) != 2 || dead["test.undecodable"] == nil || dead["test.undecodable"].Header[bus.DeadReason] != "bad_payload" {
		t.Fatalf("%d dead letters, want 2", len(dead))
	}
	m := dead["test.invalid"]
	header := map[string]string{}
	for _, name := range []string{bus.DeadReason, bus.DeadMessage, bus.DeadSequence, bus.DeadDeliveries, "own"} {
		header[name] = m.Header[name]
	}
	if diff := cmp.Diff(map[string]string{
		bus.DeadReason: "no_such_thing", bus.DeadMessage: "there is no such thing", bus.DeadSequence: "5", bus.DeadDeliveries: "1", "own": "kept",
	}, header); diff != "" || string(m.Data) != "payload" {
		t.Errorf("dead letter with %q (-want +got):\n%s", m.Data, diff)
	}
	if _, err := time.Parse(time.RFC3339Nano, m.Header[bus.DeadTime]); err != nil {
		t.Error(err)
	}
}

func testPanic(t *testing.T, s Server) {
	b := connect(t, s, stream(queue))
	must(t, b.Publish(within(t), "test.bad", nil))
	publish(t, b, 3)
	var bad atomic.Int32
	good := newTally(3)
	consume(t, b, bus.Consumer{Stream: "TEST", Durable: "worker", Slots: 1, RetryMin: time.Millisecond, RetryMax: time.Millisecond},
		func(_ context.Context, m *bus.Message) error {
			if m.Subject == "test.bad" {
				bad.Add(1)
				panic("poison")
			}
			good.add(m.Subject)
			return nil
		})
	receive(t, good.all, "the messages beside the bad one")
	testkit.Eventually(t, patience, func() error {
		left, err := b.Subjects(within(t), "TEST", ">")
		must(t, err)
		if len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
	if bad.Load() != 5 {
		t.Errorf("tried %d times, want 5", bad.Load())
	}
	dead := read(t, b, bus.DeadLetters, "catalogsync.dead.TEST.worker.*", 0)
	if len(dead) != 1 || dead[0].Header[bus.DeadReason] != "panic" || dead[0].Header[bus.DeadDeliveries] != "5" {
		t.Errorf("dead letters: %+v", dead)
	}
}

func testSlots(t *testing.T, s Server) {
	const n, slots = 20, 3
	b := connect(t, s, stream(queue))
	js := operator(t, s)
	release := make(chan struct{})
	var running, most atomic.Int32
	started := make(chan string, n)
	seen := newTally(n)
	c := bus.Consumer{Stream: "TEST", Durable: "worker", Slots: slots}
	consume(t, b, c, func(ctx context.Context, m *bus.Message) error {
		now := running.Add(1)
		defer running.Add(-1)
		for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
		}
		started <- m.Subject
		select {
		case <-release:
			seen.add(m.Subject)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	publish(t, b, n)
	for range slots {
		receive(t, started, "a slot to be filled")
	}
	// A second process gets what this one has no slot for, all of it: nothing waits in the busy one.
	stop := consume(t, s.Bus(t), c, func(_ context.Context, m *bus.Message) error {
		seen.add(m.Subject)
		return nil
	})
	testkit.Eventually(t, patience, func() error {
		if info := consumerInfo(t, js, "TEST", "worker"); info.NumPending != 0 || info.NumAckPending != slots {
			return fmt.Errorf("%d pending, %d in work, want 0 and %d", info.NumPending, info.NumAckPending, slots)
		}
		return nil
	})
	stop()
	close(release)
	receive(t, seen.all, "all messages")
	publish(t, b, n)
	settled(t, js, "TEST", "worker")
	if most.Load() != slots {
		t.Errorf("%d handlers ran at once, want %d", most.Load(), slots)
	}
}

func testHeartbeat(t *testing.T, s Server) {
	const ackWait = 2 * time.Second
	b := connect(t, s, stream(queue))
	js := operator(t, s)
	publish(t, b, 1)
	done := make(chan struct{}, 10)
	c := bus.Consumer{Stream: "TEST", Durable: "worker", AckWait: ackWait}
	handle := func(ctx context.Context, m *bus.Message) error {
		if m.Deliveries > 1 {
			t.Errorf("delivered %d times while a handler was at work", m.Deliveries)
		}
		work, cancel := context.WithTimeout(ctx, 5*ackWait/2)
		defer cancel()
		<-work.Done()
		done <- struct{}{}
		return ctx.Err()
	}
	consume(t, b, c, handle)
	consume(t, s.Bus(t), c, handle)
	receive(t, done, "the long handler")
	settled(t, js, "TEST", "worker")
}

func testLateAck(t *testing.T, s Server) {
	const ackWait = time.Second
	b := connect(t, s, stream(queue))
	js := operator(t, s)
	link := testkit.NewLink(s)
	c := bus.Consumer{Stream: "TEST", Durable: "worker", AckWait: ackWait}
	first, second, release := make(chan int, 10), make(chan int, 10), make(chan struct{})
	slow := link.Bus(t)
	stopSlow := consume(t, slow, c, func(_ context.Context, m *bus.Message) error {
		first <- m.Deliveries
		<-release
		return nil
	})
	publish(t, b, 1)
	receive(t, first, "the first delivery")
	link.Stall()
	stop := consume(t, b, c, func(_ context.Context, m *bus.Message) error {
		second <- m.Deliveries
		return nil
	})
	if n := receive(t, second, "the delivery to a second worker"); n != 2 {
		t.Errorf("the second worker got delivery %d, want 2", n)
	}
	settled(t, js, "TEST", "worker")
	stop()
	link.Resume()
	close(release) // the first worker acknowledges what is long done
	stopSlow()
	must(t, b.Publish(within(t), "test.next", nil))
	consume(t, b, c, func(_ context.Context, m *bus.Message) error {
		if m.Subject != "test.next" {
			t.Errorf("%s was delivered again", m.Subject)
		}
		second <- m.Deliveries
		return nil
	})
	if n := receive(t, second, "the next message"); n != 1 {
		t.Errorf("the next message has delivery %d", n)
	}
	settled(t, js, "TEST", "worker")
}

func testHandBack(t *testing.T, s Server) {
	const n = 4
	b := connect(t, s, stream(queue))
	started := make(chan struct{}, n)
	c := bus.Consumer{Stream: "TEST", Durable: "worker", AckWait: 10 * time.Minute, Slots: n}
	stop := consume(t, b, c, func(ctx context.Context, _ *bus.Message) error {
		started <- struct{}{}
		<-ctx.Done()
		return fmt.Errorf("stopped: %w", ctx.Err())
	})
	publish(t, b, n)
	for range n {
		receive(t, started, "the messages")
	}
	stop()
	seen := newTally(n)
	consume(t, s.Bus(t), c, func(_ context.Context, m *bus.Message) error {
		seen.add(m.Subject)
		return nil
	})
	receive(t, seen.all, "the messages that were handed back")
}

func testBadConsumer(t *testing.T, s Server) {
	b := connect(t, s, stream(queue))
	ctx := within(t)
	none := func(context.Context, *bus.Message) error { return nil }
	wantErr(t, b.Consume(ctx, bus.Consumer{Stream: "TEST"}, none), errs.Invalid, "bad_consumer")
	wantErr(t, b.Consume(ctx, bus.Consumer{Stream: "TEST", Durable: "a.b"}, none), errs.Invalid, "bad_consumer")
	wantErr(t, b.Consume(ctx, bus.Consumer{Stream: "MISSING", Durable: "a"}, none), errs.NotFound, "no_stream")
	consume(t, b, bus.Consumer{Stream: "TEST", Durable: "first"}, none)
	testkit.Eventually(t, patience, func() error {
		_, err := operator(t, s).Consumer(ctx, "TEST", "first")
		return err
	})
	// A message of a work queue has one consumer.
	wantErr(t, b.Consume(ctx, bus.Consumer{Stream: "TEST", Durable: "second"}, none), errs.Internal, "bus_refused")
}
