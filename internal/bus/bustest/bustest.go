// Package bustest owns what the bus promises, as tests that run against any NATS server.
package bustest

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// Server is what the suite runs against.
type Server interface {
	// Bus makes a new connection, which ends with the test.
	Bus(t testing.TB) *bus.Bus
	// Restart ends the server, in the roughest way it can, and starts it on the same data.
	Restart(t testing.TB)
	// InProcessConn connects to the server.
	InProcessConn() (net.Conn, error)
}

// patience bounds how long a test waits for what must happen.
const patience = 20 * time.Second

// Run runs the suite. Each test has a server of its own.
func Run(t *testing.T, start func(t testing.TB) Server) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Server)
	}{
		{"streams are made, changed and refused without limits", testEnsure},
		{"a message id is stored once", testMsgID},
		{"a new subject is stored once", testExpectNew},
		{"many publishers of one subject store one message", testExpectNewConcurrent},
		{"an expected revision is compared and set", testExpectLast},
		{"messages that cannot be stored are refused", testRefused},
		{"a full stream says so and recovers", testFull},
		{"get returns the last message of a subject", testGet},
		{"read pages through what is stored", testRead},
		{"read is bounded by the time of the call", testReadBound},
		{"read works without direct reads", testReadLeader},
		{"purge and subjects", testPurge},
		{"every message is handled once", testConsume},
		{"errors decide what becomes of a message", testDispositions},
		{"a panic is tried again and then buried", testPanic},
		{"no more handlers than slots, and nothing waits in a busy process", testSlots},
		{"a handler may run longer than AckWait", testHeartbeat},
		{"a late acknowledgement harms nobody", testLateAck},
		{"what is in work goes to others when consuming ends", testHandBack},
		{"a wrong consumer is refused", testBadConsumer},
		{"deleted streams and consumers are made again", testDeleted},
		{"nothing that was acknowledged is lost in restarts", testRestart},
		{"a cut connection is made again", testCut},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, start(t))
		})
	}
}

// within returns a context that ends with the test's patience.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// stream is a small stream for one test.
func stream(change ...func(*bus.Stream)) bus.Stream {
	s := bus.Stream{Name: "TEST", Subjects: []string{"test.>"}, MaxBytes: 64 << 20, DiscardNew: true}
	for _, c := range change {
		c(&s)
	}
	return s
}

// queue turns a stream into a work queue.
func queue(s *bus.Stream) { s.Retention = bus.WorkQueue }

// connect returns a connection with the streams made.
func connect(t testing.TB, s Server, streams ...bus.Stream) *bus.Bus {
	t.Helper()
	b := s.Bus(t)
	if err := b.EnsureStreams(within(t), streams...); err != nil {
		t.Fatal(err)
	}
	return b
}

// publish stores messages test.1 to test.n with their number as payload.
func publish(t testing.TB, b *bus.Bus, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		must(t, b.Publish(within(t), fmt.Sprintf("test.%d", i), fmt.Append(nil, i)))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr checks kind and reason of an error.
func wantErr(t testing.TB, err error, kind errs.Kind, reason string) {
	t.Helper()
	if errs.KindOf(err) != kind || errs.ReasonOf(err) != reason {
		t.Errorf("got %v %q (%v), want %v %q", errs.KindOf(err), errs.ReasonOf(err), err, kind, reason)
	}
}

// read returns all that matches.
func read(t testing.TB, b *bus.Bus, stream, filter string, after uint64) []*bus.Message {
	t.Helper()
	var out []*bus.Message
	for m, err := range b.Read(within(t), stream, filter, after) {
		must(t, err)
		out = append(out, m)
	}
	return out
}

// operator is someone with access to the server who does not know this project.
func operator(t testing.TB, s Server) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	return js
}

// receive takes a value or fails.
func receive[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited too long for %s", what)
		panic("unreachable")
	}
}

// consume runs a consumer until the test or the returned function ends it.
func consume(t testing.TB, b *bus.Bus, c bus.Consumer, h bus.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Consume(ctx, c, h) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("consume: %v", err)
			}
		case <-time.After(patience):
			t.Error("consume did not end")
		}
	}
	t.Cleanup(stop)
	return stop
}
