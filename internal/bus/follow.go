package bus

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

const (
	// followBatch and followBytes bound what one request of a reader brings into memory.
	followBatch = 512
	followBytes = 4 << 20
	// followDoubt is after what silence a reader asks whether what it waits for still exists.
	followDoubt = 250 * time.Millisecond
	// followIdle is when the server forgets a reader that is gone.
	followIdle = 30 * time.Second
)

// errInterrupted says that a reader must start again to be sure that it has missed nothing.
var errInterrupted = errors.New("the connection to the stream was interrupted")

// Follow yields the last message of every subject that matches the filter, then nil once, then every message as it is
// stored. It ends with an error as soon as it may have missed something, for instance when the connection breaks, or when
// ctx ends; follow again then. Of a subject that changes quickly, messages in between may be left out. Of a replicated
// stream it may lag behind what was stored.
func (b *Bus) Follow(ctx context.Context, stream, filter string) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		if err := b.follow(ctx, stream, filter, func(m *Message) bool { return yield(m, nil) }); err != nil {
			yield(nil, classify(err, "follow stream %s", stream))
		}
	}
}

func (b *Bus) follow(ctx context.Context, stream, filter string, yield func(*Message) bool) error {
	var cons jetstream.Consumer
	var session context.Context
	err := b.onStream(ctx, stream, "read stream "+stream, func(ctx context.Context) (err error) {
		session = b.connection()
		cons, err = b.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
			FilterSubject: filter, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy,
			MemoryStorage: true, Replicas: 1, InactiveThreshold: followIdle,
		})
		return err
	})
	if err != nil {
		return err
	}
	defer b.forget(ctx, stream, cons.CachedInfo().Name)
	pending := cons.CachedInfo().NumPending
	if pending == 0 && !yield(nil) {
		return nil
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(followBatch, followBytes),
		jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return err
	}
	defer msgs.Stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(session, func() { cancel(errInterrupted) })
	defer stop()
	for delivered := uint64(1); ; delivered++ {
		msg, err := nextOrEnd(ctx, cons, msgs, pending > 0)
		if err != nil {
			return interruption(ctx, err)
		}
		left := uint64(0)
		if msg != nil {
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			if meta.Sequence.Consumer != delivered {
				return interruption(ctx, errGap)
			}
			left = meta.NumPending
			m := &Message{
				Subject: msg.Subject(), Data: msg.Data(), Header: fromHeader(msg.Headers()), Seq: meta.Sequence.Stream, Time: meta.Timestamp,
			}
			if !yield(m) {
				return nil
			}
		} else {
			delivered-- // nothing came: what was pending has been removed
		}
		if pending > 0 && left == 0 {
			pending = 0
			if !yield(nil) {
				return nil
			}
		}
	}
}

// nextOrEnd returns the next message. When more is expected and none comes for a while, it asks the server; nil without
// an error says that nothing is left to come.
func nextOrEnd(ctx context.Context, cons jetstream.Consumer, msgs jetstream.MessagesContext, expected bool) (jetstream.Msg, error) {
	if !expected {
		return msgs.Next(jetstream.NextContext(ctx))
	}
	for {
		wait, cancel := context.WithTimeout(ctx, followDoubt)
		msg, err := msgs.Next(jetstream.NextContext(wait))
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return msg, err
		}
		info, err := cons.Info(ctx)
		if err != nil {
			return nil, err
		}
		if info.NumPending > 0 {
			continue
		}
		// What was delivered before the answer arrives before it.
		wait, cancel = context.WithTimeout(ctx, followDoubt)
		msg, err = msgs.Next(jetstream.NextContext(wait))
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return nil, nil
		}
		return msg, err
	}
}

// interruption is the error with which following ends: that of the caller's context, or that it has to follow again.
func interruption(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return errs.Wrap(err, errs.Unavailable, "bus_interrupted", "reading from the message bus was interrupted")
}

// forget removes a reader from the server, which would do so itself after a while.
func (b *Bus) forget(ctx context.Context, stream, consumer string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := b.js.DeleteConsumer(ctx, stream, consumer); err != nil {
		b.log.DebugContext(ctx, "reader was not removed, the server forgets it", attrStream(stream), slog.Any(telemetry.KeyErr, err))
	}
}
