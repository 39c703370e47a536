package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// settleTimeout bounds how long a slot waits for the server to take note of an outcome.
const settleTimeout = 5 * time.Second

// DeadLetters is the stream of messages that could not be handled. A message in it has the subject
// "catalogsync.dead.<stream>.<consumer>.<id>", the original payload and headers, and the headers Dead-*.
const DeadLetters = "CATALOGSYNC_DEAD_LETTERS"

// Headers of a dead letter.
const (
	// DeadReason is the stable reason of the error, DeadMessage its text for people.
	DeadReason  = "Dead-Reason"
	DeadMessage = "Dead-Message"
	// DeadSubject, DeadSequence and DeadTime address the original message in its stream.
	DeadSubject  = "Dead-Subject"
	DeadSequence = "Dead-Sequence"
	DeadTime     = "Dead-Time"
	// DeadDeliveries is how often it was tried.
	DeadDeliveries = "Dead-Deliveries"
)

// DeadLetterStream is the stream [DeadLetters] with its limits: it keeps 90 days or maxBytes, whichever is less, and drops
// the oldest first. [Bus.Consume] makes it with 256 MiB when nobody has made it before.
func DeadLetterStream(maxBytes int64, replicas int) Stream {
	return Stream{
		Name: DeadLetters, Subjects: []string{"catalogsync.dead.>"}, MaxBytes: maxBytes,
		MaxAge: 90 * 24 * time.Hour, Replicas: replicas,
	}
}

// defaultDeadBytes is the limit of the dead letters when nobody has set one.
const defaultDeadBytes = 256 << 20

// ensureDeadLetters makes the stream of dead letters unless it exists.
func (b *Bus) ensureDeadLetters(ctx context.Context) error {
	if exists, err := b.exists(ctx, DeadLetters); exists || err != nil {
		return err
	}
	if known, err := b.reprovision(ctx, DeadLetters); known || err != nil {
		return err
	}
	return b.EnsureStreams(ctx, DeadLetterStream(defaultDeadBytes, 0))
}

// errPanic is a handler's panic as an error.
type errPanic struct {
	value any
	stack []byte
}

func (e errPanic) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

// guarded calls the handler and turns a panic into an error.
func (w *worker) guarded(ctx context.Context, m *Message) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errs.Wrap(errPanic{v, debug.Stack()}, errs.Internal, "panic", "the handler of the message panicked")
		}
	}()
	return w.handle(ctx, m)
}

// What becomes of a message.
const (
	outcomeAck    = "ack"
	outcomeRetry  = "retry"
	outcomeTerm   = "term"
	outcomeReturn = "handed_back"
)

// verdict decides what becomes of a message from the handler's error. stopping says that the handler was told to end.
func verdict(m *Message, err error, stopping bool) string {
	_, panicked := errors.AsType[errPanic](err)
	switch d := errs.KindOf(err).Disposition(); {
	case d == errs.Ack:
		return outcomeAck
	case d == errs.Term, panicked && m.Deliveries >= maxPanics:
		return outcomeTerm
	case stopping:
		return outcomeReturn
	default:
		return outcomeRetry
	}
}

// settle tells the server what became of a message. When that does not arrive, the message is delivered again.
func (w *worker) settle(ctx context.Context, msg jetstream.Msg, m *Message, err error, outcome string) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var serr error
	switch outcome {
	case outcomeAck:
		serr = w.reply(ctx, msg, ackDone)
	case outcomeTerm:
		serr = w.bury(ctx, msg, m, err)
	case outcomeReturn:
		serr = w.reply(ctx, msg, ackAgain)
	default:
		delay := errs.RetryAfter(err)
		if delay <= 0 {
			delay = backoff(m.Deliveries, w.cfg.RetryMin, w.cfg.RetryMax)
		}
		w.log.Log(ctx, errs.KindOf(err).Level(), "message failed, it is delivered again",
			slog.String(telemetry.KeySubject, m.Subject), slog.Uint64(telemetry.KeySeq, m.Seq), slog.Int(telemetry.KeyAttempt, m.Deliveries),
			slog.Duration("delay", delay), slog.String(telemetry.KeyReason, errs.ReasonOf(err)), slog.Any(telemetry.KeyErr, err))
		serr = w.reply(ctx, msg, ackLater(delay))
	}
	if serr != nil {
		w.log.WarnContext(ctx, "message could not be settled, it comes again after AckWait",
			slog.String(telemetry.KeySubject, m.Subject), slog.Uint64(telemetry.KeySeq, m.Seq), slog.Any(telemetry.KeyErr, serr))
	}
}

// What a worker may say about a message.
const (
	ackDone  = "+ACK"
	ackAgain = "-NAK"
	ackNever = "+TERM "
)

// ackLater asks for another delivery after d. The consumers have no BackOff of their own: the two would add up.
func ackLater(d time.Duration) string { return fmt.Sprintf(`-NAK {"delay": %d}`, d.Nanoseconds()) }

// reply tells the server what became of a message and waits until it has taken note. A connection that breaks meanwhile
// is waited for. It gives up when the consumer is gone.
func (w *worker) reply(ctx context.Context, msg jetstream.Msg, verdict string) error {
	return w.bus.retry(ctx, "take note of a handled message", func(ctx context.Context) error {
		_, err := w.bus.nc.RequestWithContext(ctx, msg.Reply(), []byte(verdict))
		if errors.Is(err, nats.ErrNoResponders) {
			return errs.Wrap(err, errs.Unavailable, "no_consumer", "the consumer does not exist any more")
		}
		return err
	})
}

// bury puts a message into the dead letters and then ends it. When the dead letters cannot be written, it is tried again.
func (w *worker) bury(ctx context.Context, msg jetstream.Msg, m *Message, cause error) error {
	reason := errs.ReasonOf(cause)
	opts := []PublishOption{
		ExpectNew(),
		WithHeader(DeadReason, reason), WithHeader(DeadMessage, errs.Message(cause)),
		WithHeader(DeadSubject, m.Subject), WithHeader(DeadSequence, strconv.FormatUint(m.Seq, 10)),
		WithHeader(DeadTime, m.Time.UTC().Format(time.RFC3339Nano)), WithHeader(DeadDeliveries, strconv.Itoa(m.Deliveries)),
	}
	for name, value := range m.Header {
		if !isOwnHeader(name) {
			opts = append(opts, WithHeader(name, value))
		}
	}
	// The time makes the subject unique even after the stream was deleted and counts anew.
	subject := fmt.Sprintf("catalogsync.dead.%s.%s.%d-%d", w.cfg.Stream, w.cfg.Durable, m.Seq, m.Time.UnixNano())
	if err := w.bus.Publish(ctx, subject, m.Data, opts...); err != nil {
		return errors.Join(fmt.Errorf("write the dead letter: %w", err), w.reply(ctx, msg, ackLater(w.cfg.RetryMax)))
	}
	w.log.ErrorContext(ctx, "message put to the dead letters", slog.String(telemetry.KeySubject, m.Subject), slog.Uint64(telemetry.KeySeq, m.Seq),
		slog.Int(telemetry.KeyAttempt, m.Deliveries), slog.String(telemetry.KeyReason, reason), slog.Any(telemetry.KeyErr, cause))
	return w.reply(ctx, msg, ackNever+reason)
}

// isOwnHeader reports whether a header belongs to the server or to the bus, so that it is not copied to another message.
func isOwnHeader(name string) bool {
	n := strings.ToLower(name)
	return strings.HasPrefix(n, "nats-") || strings.HasPrefix(n, "dead-") || n == "traceparent" || n == "tracestate"
}
