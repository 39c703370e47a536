package bus

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

const (
	// defaultAckWait is after what silence the server gives a message to somebody else.
	defaultAckWait = time.Minute
	// pullExpiry is how long one request for a message stays open on the server.
	pullExpiry = 30 * time.Second
	// pullHeartbeat times two is after what silence a request is made anew.
	pullHeartbeat = 3 * time.Second
	// maxAckPending bounds what is in work or waits for its next delivery, over all workers.
	maxAckPending = 1 << 16
	// maxPanics is how often a message may make its handler panic before it goes to the dead letters.
	maxPanics = 5
)

// Consumer says which messages are handled and how. All processes that consume with the same Stream and Durable share
// the messages.
type Consumer struct {
	// Stream is where the messages are.
	Stream string
	// Durable names the consumer; it remembers what has been acknowledged.
	Durable string
	// Filters are the subjects, or patterns of them, that it takes; none for all.
	Filters []string
	// AckWait is after what silence of the worker a message is delivered again; a minute when zero. While a handler runs,
	// the server is told so three times in that period.
	AckWait time.Duration
	// Slots is how many handlers run at once in this process; 1 when zero. No message is fetched before a slot is free.
	Slots int
	// RetryMin and RetryMax bound the growing delay before a message is delivered again after an error that does not name
	// a delay of its own; 500 ms and a minute when zero.
	RetryMin, RetryMax time.Duration
}

// Handler handles one message. Nil acknowledges it; an error is mapped by its kind: delivered again, or put to the dead
// letters. It must be idempotent, and must return soon after its context ended.
type Handler func(ctx context.Context, m *Message) error

// Consume delivers messages to the handler until ctx ends, and then returns nil when all handlers have returned. Their
// context ends with ctx; what they return with an error then is handed back at once. It returns an error only when the
// consumer cannot exist.
//
// A handler's error decides by its kind: Retry delivers again after the error's RetryAfter or a growing delay, for ever;
// Term puts the message into the stream [DeadLetters]. A panic counts as Retry, and as Term from the fifth delivery on.
func (b *Bus) Consume(ctx context.Context, c Consumer, h Handler) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	w := &worker{bus: b, cfg: c, handle: h, log: b.log.With(attrStream(c.Stream), slog.String("consumer", c.Durable))}
	cons, err := w.ensure(ctx)
	if err != nil {
		return endOf(ctx, err)
	}
	slots, ctx := errgroup.WithContext(ctx)
	for range c.Slots {
		slots.Go(func() error { return w.slot(ctx, cons) })
	}
	return slots.Wait()
}

// endOf is nil when the context's end explains the error.
func endOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (c Consumer) withDefaults() (Consumer, error) {
	if c.Stream == "" || c.Durable == "" || strings.ContainsAny(c.Durable, " .*>/\\\t\r\n") {
		return c, errs.New(errs.Invalid, "bad_consumer", "consumer %q of stream %q: both need a name, and the consumer's is a single word", c.Durable, c.Stream)
	}
	if c.AckWait <= 0 {
		c.AckWait = defaultAckWait
	}
	if c.RetryMin <= 0 {
		c.RetryMin = 500 * time.Millisecond
	}
	if c.RetryMax <= 0 {
		c.RetryMax = time.Minute
	}
	c.Slots = max(c.Slots, 1)
	return c, nil
}

// worker is one running [Bus.Consume].
type worker struct {
	bus    *Bus
	cfg    Consumer
	handle Handler
	log    *slog.Logger
}

// ensure makes the consumer, and what it needs, unless it is there.
func (w *worker) ensure(ctx context.Context) (jetstream.Consumer, error) {
	if err := w.bus.ensureDeadLetters(ctx); err != nil {
		return nil, err
	}
	var cons jetstream.Consumer
	err := w.bus.onStream(ctx, w.cfg.Stream, "make consumer "+w.cfg.Durable, func(ctx context.Context) (err error) {
		cons, err = w.bus.js.CreateOrUpdateConsumer(ctx, w.cfg.Stream, jetstream.ConsumerConfig{
			Durable: w.cfg.Durable, FilterSubjects: w.cfg.Filters,
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: w.cfg.AckWait, MaxDeliver: -1, MaxAckPending: maxAckPending,
		})
		return err
	})
	if err != nil {
		return nil, classify(err, "make consumer %s of stream %s", w.cfg.Durable, w.cfg.Stream)
	}
	return cons, nil
}

// slot handles one message after the other. It returns nil when ctx ended.
func (w *worker) slot(ctx context.Context, cons jetstream.Consumer) error {
	for attempt := 1; ; attempt++ {
		n, err := w.deliveries(ctx, cons)
		if ctx.Err() != nil {
			return nil
		}
		if n > 0 {
			attempt = 1
		}
		w.log.DebugContext(ctx, "delivery interrupted, starting again", slog.Any(telemetry.KeyErr, err))
		pause(ctx, nil, backoff(attempt, 10*time.Millisecond, maxRetryWait))
		if cons, err = w.ensure(ctx); err != nil {
			return endOf(ctx, err)
		}
	}
}

// deliveries handles messages until they stop coming or ctx ends. It returns how many there were.
func (w *worker) deliveries(ctx context.Context, cons jetstream.Consumer) (n int, err error) {
	// A batch of one is asked for when the slot is free: nothing waits in this process while its AckWait runs.
	msgs, err := cons.Messages(jetstream.PullMaxMessages(1), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return 0, err
	}
	defer w.handBack(msgs)
	for {
		msg, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return n, err
		}
		n++
		w.process(ctx, msg)
	}
}

// handBack ends an iterator. A message that arrived in the last moment goes to another worker without delay.
func (w *worker) handBack(msgs jetstream.MessagesContext) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	msgs.Drain()
	for {
		msg, err := msgs.Next(jetstream.NextMaxWait(time.Second))
		if err != nil {
			msgs.Stop()
			return
		}
		if err := w.reply(ctx, msg, ackAgain); err != nil {
			w.log.Warn("message could not be handed back, it comes again after AckWait", slog.Any(telemetry.KeyErr, err))
		}
	}
}

// process handles one message and settles it.
func (w *worker) process(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		w.log.ErrorContext(ctx, "message without metadata", slog.String(telemetry.KeySubject, msg.Subject()), slog.Any(telemetry.KeyErr, err))
		return
	}
	m := &Message{
		Subject: msg.Subject(), Data: msg.Data(), Header: fromHeader(msg.Headers()),
		Seq: meta.Sequence.Stream, Time: meta.Timestamp, Deliveries: int(meta.NumDelivered),
	}
	hctx, span := w.bus.trace.process(ctx, w.cfg, m, msg.Headers())
	w.bus.metrics.wait(hctx, w.cfg, m)
	since := time.Now()
	hctx, cancel := context.WithCancel(hctx)
	alive := w.heartbeat(hctx, msg)
	err = w.guarded(hctx, m)
	cancel()
	<-alive
	hctx = context.WithoutCancel(hctx)
	outcome := verdict(m, err, ctx.Err() != nil)
	w.bus.metrics.handle(hctx, w.cfg, since, outcome)
	w.settle(hctx, msg, m, err, outcome)
	span.end(err)
}

// heartbeat tells the server that the message is in work until ctx ends. The channel is closed when it has stopped.
func (w *worker) heartbeat(ctx context.Context, msg jetstream.Msg) <-chan struct{} {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(w.cfg.AckWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := msg.InProgress(); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
					w.log.DebugContext(ctx, "the server was not told that a message is in work", slog.Any(telemetry.KeyErr, err))
				}
			}
		}
	}()
	return stopped
}
