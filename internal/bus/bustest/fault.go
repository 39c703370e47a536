package bustest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func testDeleted(t *testing.T, s Server) {
	b := connect(t, s, stream(queue))
	js := operator(t, s)
	seen := make(chan string, 100)
	consume(t, b, bus.Consumer{Stream: "TEST", Durable: "worker", Slots: 2}, func(_ context.Context, m *bus.Message) error {
		seen <- m.Subject
		return nil
	})
	expect := func(subject, after string) {
		t.Helper()
		must(t, b.Publish(within(t), subject, nil))
		if got := receive(t, seen, "a message after "+after); got != subject {
			t.Errorf("after %s: %s was delivered, want %s", after, got, subject)
		}
	}
	expect("test.1", "the start")
	settled(t, js, "TEST", "worker")
	must(t, js.DeleteConsumer(within(t), "TEST", "worker"))
	expect("test.2", "the consumer was deleted")
	settled(t, js, "TEST", "worker")
	must(t, js.DeleteStream(within(t), "TEST"))
	expect("test.3", "the stream was deleted")
	settled(t, js, "TEST", "worker")
	must(t, js.DeleteStream(within(t), "TEST"))
	if got := read(t, b, "TEST", ">", 0); len(got) != 0 {
		t.Errorf("a stream that was made again holds %d messages", len(got))
	}
	must(t, js.DeleteStream(within(t), bus.DeadLetters))
	expect("test.4", "the dead letters were deleted")
}

// testRestart publishes and consumes while the server is restarted. What was acknowledged is there, and is handled.
func testRestart(t *testing.T, s Server) {
	const publishers, each, restarts = 4, 60, 3
	b := connect(t, s, stream(), stream(func(s *bus.Stream) { s.Name, s.Subjects = "QUEUE", []string{"queue.>"}; queue(s) }))
	seen := newTally(publishers * each)
	consume(t, s.Bus(t), bus.Consumer{Stream: "QUEUE", Durable: "worker", AckWait: 2 * time.Second, Slots: 2}, func(_ context.Context, m *bus.Message) error {
		seen.add(m.Subject)
		return nil
	})
	progress := make(chan struct{}, publishers*each)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d.%d", p, i)
				if err := b.Publish(within(t), "test."+id, make([]byte, 1000), bus.ExpectNew()); err != nil {
					t.Errorf("publish %s: %v", id, err)
				}
				if err := b.Publish(within(t), "queue."+id, nil); err != nil {
					t.Errorf("publish %s to the queue: %v", id, err)
				}
				progress <- struct{}{}
			}
		})
	}
	for range restarts {
		for range publishers * each / (restarts + 2) {
			receive(t, progress, "the publishers to go on")
		}
		s.Restart(t)
	}
	wg.Wait()
	subjects := map[string]int{}
	for _, m := range read(t, b, "TEST", ">", 0) {
		subjects[m.Subject]++
	}
	if len(subjects) != publishers*each {
		t.Errorf("%d of %d acknowledged messages are stored", len(subjects), publishers*each)
	}
	for subject, n := range subjects {
		if n != 1 {
			t.Errorf("%s is stored %d times", subject, n)
		}
	}
	receive(t, seen.all, "all messages of the queue")
	testkit.Eventually(t, patience, func() error {
		left, err := b.Subjects(within(t), "QUEUE", ">")
		must(t, err)
		if len(left) > 0 {
			return fmt.Errorf("%d messages are left in the queue", len(left))
		}
		return nil
	})
	must(t, b.Health(within(t)))
}

func testCut(t *testing.T, s Server) {
	b := connect(t, s, stream(queue))
	link := testkit.NewLink(s)
	seen := make(chan string, 10)
	far := link.Bus(t)
	consume(t, far, bus.Consumer{Stream: "TEST", Durable: "worker"}, func(_ context.Context, m *bus.Message) error {
		seen <- m.Subject
		return nil
	})
	publish(t, b, 1)
	receive(t, seen, "a message over the link")
	for i := range 3 {
		link.Cut()
		subject := fmt.Sprintf("test.cut.%d", i)
		must(t, b.Publish(within(t), subject, nil))
		published := make(chan error, 1)
		go func() { published <- far.Publish(within(t), subject+".far", nil) }()
		testkit.Eventually(t, patience, func() error {
			if far.Health(t.Context()) == nil {
				return fmt.Errorf("the connection is still there")
			}
			return nil
		})
		link.Mend()
		must(t, receive(t, published, "the publisher behind the link"))
		got := map[string]bool{receive(t, seen, "a message after the cut"): true, receive(t, seen, "a message after the cut"): true}
		if !got[subject] || !got[subject+".far"] {
			t.Errorf("after the cut came %v", got)
		}
	}
}
