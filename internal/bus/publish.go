package bus

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/catalogsync/catalogsync/internal/errs"
)

// PublishOption changes how one message is published.
type PublishOption func(*publication)

// publication is a message on its way.
type publication struct {
	msg       *nats.Msg
	expectNew bool
	err       error
}

// WithMsgID names the message. A second message with the id is not stored while the server remembers the first, two
// minutes unless the stream says otherwise.
func WithMsgID(id string) PublishOption {
	return func(p *publication) { p.msg.Header.Set(headerMsgID, id) }
}

// WithHeader adds a header. Names that begin with "Nats-" belong to the server.
func WithHeader(name, value string) PublishOption {
	return func(p *publication) {
		if strings.HasPrefix(strings.ToLower(name), "nats-") {
			p.err = errs.New(errs.Internal, "bad_header", "the header %s belongs to the server", name)
			return
		}
		p.msg.Header.Set(name, value)
	}
}

// ExpectNew publishes only when no message is stored on exactly this subject. When there is one, publishing succeeds and
// nothing is stored: the subject is the identity of the message. With [WithMsgID] the stored message must also carry that
// id, otherwise the error is a Conflict with reason "subject_taken".
//
// A message that a work queue has removed is forgotten: a repetition after that is stored again.
func ExpectNew() PublishOption {
	return func(p *publication) {
		p.expectNew = true
		p.msg.Header.Set(headerExpectLast, "0")
	}
}

// ExpectLast publishes only when seq is the sequence of the last message on exactly this subject, 0 for none. Otherwise
// the error is a Conflict with reason "wrong_revision".
func ExpectLast(seq uint64) PublishOption {
	return func(p *publication) { p.msg.Header.Set(headerExpectLast, strconv.FormatUint(seq, 10)) }
}

// Replace removes the older messages of the subject. The stream must be marked KeyValue.
func Replace() PublishOption {
	return func(p *publication) { p.msg.Header.Set(headerRollup, nats.MsgRollupSubject) }
}

// WithTTL removes the message after d, in whole seconds, at least one. The stream must be marked KeyValue.
func WithTTL(d time.Duration) PublishOption {
	return func(p *publication) { p.msg.Header.Set(headerTTL, max(d.Truncate(time.Second), time.Second).String()) }
}

// Publish stores a message and returns when it is on disk. Every try has a short time-out; when the outcome of one is
// unknown, the message is sent again under the same id until ctx ends, so give ctx a deadline. After an error of kind
// Unavailable the message may be stored or not.
//
// Errors: Exhausted "store_full" when a limit is reached, at once; Invalid "message_too_large"; Conflict as described at
// [ExpectNew] and [ExpectLast].
func (b *Bus) Publish(ctx context.Context, subject string, data []byte, opts ...PublishOption) error {
	_, err := b.Append(ctx, subject, data, opts...)
	return err
}

// Append is [Bus.Publish] that also returns the sequence of the stored message.
func (b *Bus) Append(ctx context.Context, subject string, data []byte, opts ...PublishOption) (uint64, error) {
	msg := nats.NewMsg(subject)
	msg.Data = data
	p := &publication{msg: msg}
	for _, o := range opts {
		o(p)
	}
	if p.err != nil {
		return 0, p.err
	}
	named := msg.Header.Get(headerMsgID) != ""
	if !named && !p.expectNew {
		msg.Header.Set(headerMsgID, nuid.Next()) // so that a repetition of ours is recognised
	}
	stream, since := b.streamOf(subject), time.Now()
	ctx, span := b.trace.send(ctx, stream, msg)
	seq, err := b.append(ctx, p, named)
	span.end(err)
	b.metrics.publish(ctx, stream, since, err)
	return seq, err
}

func (b *Bus) append(ctx context.Context, p *publication, named bool) (seq uint64, err error) {
	tries, deaf := 0, 0
	err = b.retry(ctx, "store a message on "+p.msg.Subject, func(try context.Context) error {
		tries++
		ack, err := b.js.PublishMsg(try, p.msg, jetstream.WithRetryAttempts(0))
		switch {
		case err == nil:
			seq = ack.Sequence
			return nil
		case errors.Is(err, jetstream.ErrNoStreamResponse):
			// A server that stops closes its streams before its connections: only a stream that stays away is missing.
			if deaf++; deaf > 2 {
				if _, perr := b.reprovision(ctx, b.streamOf(p.msg.Subject)); perr != nil {
					return perr
				}
			}
			return err
		case p.expectNew && isWrongLast(err):
			seq, err = b.existing(try, p.msg, named)
			return err
		case tries > 1 && isWrongLast(err):
			if seq, err = b.earlier(try, p.msg); err == nil && seq == 0 {
				return wrongRevision(p.msg, nil)
			}
			return err
		default:
			return refused(err, p.msg)
		}
	})
	return seq, classify(err, "publish on %s", p.msg.Subject)
}

// headerExpectLastID makes the server compare the id of a stream's last message, after it has looked for duplicates.
const (
	headerExpectLastID = nats.ExpectedLastMsgIdHdr
	codeWrongLastID    = 10070
)

// earlier tells whether an earlier try, of which the outcome was unknown, has stored the message, which is why the
// expectation now fails. The server compares expectations before it looks for duplicates, so it is asked with a message
// that cannot be stored. It returns 0 when no try has stored it.
func (b *Bus) earlier(ctx context.Context, msg *nats.Msg) (uint64, error) {
	probe := nats.NewMsg(msg.Subject)
	probe.Header.Set(headerMsgID, msg.Header.Get(headerMsgID))
	probe.Header.Set(headerExpectLastID, nuid.Next())
	ack, err := b.js.PublishMsg(ctx, probe, jetstream.WithRetryAttempts(0))
	if err == nil {
		return ack.Sequence, nil
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeWrongLastID {
		return 0, nil
	}
	return 0, err
}

// existing returns the sequence of the message that took the subject before.
func (b *Bus) existing(ctx context.Context, msg *nats.Msg, named bool) (uint64, error) {
	stream, err := b.js.StreamNameBySubject(ctx, msg.Subject)
	if err != nil {
		return 0, err
	}
	stored, err := b.leaderGet(ctx, stream, getRequest{LastBySubject: msg.Subject})
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, errors.Join(nats.ErrNoResponders, err) // removed in the meantime, or never committed: try again
	case err != nil:
		return 0, err
	case named && stored.Header[headerMsgID] != msg.Header.Get(headerMsgID):
		return 0, errs.New(errs.Conflict, "subject_taken", "another message is stored on %s", msg.Subject)
	}
	return stored.Seq, nil
}

// refused classifies what the server says about a message that it did not store.
func refused(err error, msg *nats.Msg) error {
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum) {
		return errs.Wrap(err, errs.Invalid, "message_too_large", "the message on %s has %d bytes, more than may be stored; split it", msg.Subject, len(msg.Data))
	}
	if isWrongLast(err) {
		return wrongRevision(msg, err)
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return err
	}
	full := api.ErrorCode == codeInsufficientResources || api.ErrorCode == codeStorageExceeded ||
		api.ErrorCode == codeStoreFailed && strings.HasPrefix(api.Description, "maximum ")
	if full {
		return errs.Wrap(err, errs.Exhausted, "store_full", "the storage for %s is full; let running work finish, remove old runs, or raise the limit", msg.Subject)
	}
	return err
}

func wrongRevision(msg *nats.Msg, err error) error {
	return errs.Wrap(err, errs.Conflict, "wrong_revision", "%s was changed at the same time; read it again and retry", msg.Subject)
}

// isWrongLast reports a failed expectation of the last sequence. Replicated streams use a code of their own.
func isWrongLast(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
