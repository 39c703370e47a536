package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catalogsync/catalogsync/internal/errs"
)

const (
	// readBatch and readBytes bound what one request for stored messages brings into memory.
	readBatch = 256
	readBytes = 2 << 20
)

// getRequest is the server's request for stored messages.
type getRequest struct {
	Seq           uint64 `json:"seq,omitempty"`
	LastBySubject string `json:"last_by_subj,omitempty"`
	NextBySubject string `json:"next_by_subj,omitempty"`
	Batch         int    `json:"batch,omitempty"`
	MaxBytes      int    `json:"max_bytes,omitempty"`
}

// Get returns the last message on exactly this subject. That there is none is confirmed by the stream's leader; its error
// is NotFound with reason "no_message". Of a replicated stream that is not marked KeyValue, an older message of the
// subject may be returned shortly after a newer one was stored.
func (b *Bus) Get(ctx context.Context, stream, subject string) (*Message, error) {
	var m *Message
	err := b.onStream(ctx, stream, "read from stream "+stream, func(ctx context.Context) (err error) {
		if !b.leaderOnly(stream) {
			if m, err = b.directGet(ctx, stream, subject); err == nil {
				return nil
			}
			if !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, nats.ErrNoResponders) {
				return err
			}
		}
		m, err = b.leaderGet(ctx, stream, getRequest{LastBySubject: subject})
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, errs.New(errs.NotFound, "no_message", "stream %s has no message on %s", stream, subject)
	}
	if err != nil {
		return nil, classify(err, "read %s from stream %s", subject, stream)
	}
	return m, nil
}

// leaderOnly reports whether this process knows that the stream's replicas do not answer reads, as with buckets, whoever
// made them.
func (b *Bus) leaderOnly(stream string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.streams[stream].KeyValue || strings.HasPrefix(stream, "KV_")
}

// directGet asks any replica for the last message of a subject.
func (b *Bus) directGet(ctx context.Context, stream, subject string) (*Message, error) {
	reply, err := b.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream+"."+subject, nil)
	if err != nil {
		return nil, err
	}
	switch status := reply.Header.Get(headerStatus); status {
	case "":
		return fromDirect(reply)
	case "404":
		return nil, jetstream.ErrMsgNotFound
	default:
		return nil, fmt.Errorf("direct get: status %s %s", status, reply.Header.Get("Description"))
	}
}

// leaderGet asks the stream's leader for one message.
func (b *Bus) leaderGet(ctx context.Context, stream string, req getRequest) (*Message, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	reply, err := b.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, fmt.Errorf("decode a stored message: %w", err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, jetstream.ErrMsgNotFound
	case answer.Error != nil:
		return nil, answer.Error
	case answer.Message == nil:
		return nil, errors.New("the answer holds no message")
	}
	m := answer.Message
	out := &Message{Subject: m.Subject, Data: m.Data, Seq: m.Seq, Time: m.Time, Header: map[string]string{}}
	if len(m.Header) > 0 {
		h, err := nats.DecodeHeadersMsg(m.Header)
		if err != nil {
			return nil, fmt.Errorf("decode the headers of a stored message: %w", err)
		}
		out.Header = fromHeader(h)
	}
	return out, nil
}

// LastSeq returns the sequence of the last message of a stream, 0 when it never had one.
func (b *Bus) LastSeq(ctx context.Context, stream string) (seq uint64, err error) {
	err = b.onStream(ctx, stream, "read the end of stream "+stream, func(ctx context.Context) error {
		s, err := b.js.Stream(ctx, stream)
		if err == nil {
			seq = s.CachedInfo().State.LastSeq
		}
		return err
	})
	return seq, classify(err, "read the end of stream %s", stream)
}

// Read yields the stored messages whose subject matches the filter, in order, from the first after the sequence `after`
// to the end of the stream at the time of the call. It holds at most a few MiB, however much is stored. Messages that are
// removed meanwhile are left out. It ends after an error.
//
// To read page by page, pass the sequence of the last message of the page before.
func (b *Bus) Read(ctx context.Context, stream, filter string, after uint64) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		r := reader{bus: b, stream: stream, filter: filter, pos: after}
		if err := r.run(ctx, func(m *Message) bool { return yield(m, nil) }); err != nil {
			yield(nil, classify(err, "read stream %s", stream))
		}
	}
}

// reader is the state of one [Bus.Read].
type reader struct {
	bus            *Bus
	stream, filter string
	pos            uint64 // the last sequence that was yielded
	bound          uint64 // the last sequence that belongs to this read
}

// run reads in batches from any replica, as they are fast. Where they see no more, the leader has the last word.
func (r *reader) run(ctx context.Context, yield func(*Message) bool) error {
	what := "read from stream " + r.stream
	var err error
	r.bound, err = r.bus.LastSeq(ctx, r.stream)
	for err == nil && r.pos < r.bound {
		var end, stop bool
		if end, stop, err = r.batch(ctx, yield); err != nil || stop {
			return err
		}
		if !end || r.pos >= r.bound {
			continue
		}
		var m *Message
		err = r.bus.retry(ctx, what, func(ctx context.Context) (err error) {
			m, err = r.bus.leaderGet(ctx, r.stream, getRequest{Seq: r.pos + 1, NextBySubject: r.filter})
			return err
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err == nil && !r.take(m, yield) {
			return nil
		}
	}
	return err
}

// take yields one message. It returns false when reading is over.
func (r *reader) take(m *Message, yield func(*Message) bool) bool {
	if m.Seq > r.bound {
		return false
	}
	r.pos = m.Seq
	return yield(m)
}

// batch yields the messages of one request. end says that the replica has no more; stop that reading is over. When a
// reply is lost, it asks again from where it is.
func (r *reader) batch(ctx context.Context, yield func(*Message) bool) (end, stop bool, err error) {
	err = r.bus.retry(ctx, "read from stream "+r.stream, func(context.Context) error {
		// The time-out of a try holds for each reply, not for the batch: the caller works in between.
		end, stop, err = r.ask(ctx, yield)
		return err
	})
	return end, stop, err
}

func (r *reader) ask(ctx context.Context, yield func(*Message) bool) (end, stop bool, err error) {
	body, err := json.Marshal(getRequest{Seq: r.pos + 1, NextBySubject: r.filter, Batch: readBatch, MaxBytes: readBytes})
	if err != nil {
		return false, false, err
	}
	inbox := r.bus.nc.NewInbox()
	sub, err := r.bus.nc.SubscribeSync(inbox)
	if err != nil {
		return false, false, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	if err := r.bus.nc.PublishRequest("$JS.API.DIRECT.GET."+r.stream, inbox, body); err != nil {
		return false, false, err
	}
	var last uint64 // the sequence of the reply before
	for {
		try, cancel := r.bus.try(ctx)
		reply, err := sub.NextMsgWithContext(try)
		cancel()
		if errors.Is(err, nats.ErrNoResponders) {
			return true, false, nil // no replica answers such reads: the leader has to
		}
		if err != nil {
			return false, false, err
		}
		switch status := reply.Header.Get(headerStatus); status {
		case "":
		case "204":
			if reply.Header.Get(headerLast) != strconv.FormatUint(last, 10) {
				return false, false, errGap
			}
			return reply.Header.Get(headerPending) == "0", false, nil
		case "404":
			return true, false, nil
		default:
			return false, false, fmt.Errorf("direct get: status %s %s", status, reply.Header.Get("Description"))
		}
		if reply.Header.Get(headerLast) != strconv.FormatUint(last, 10) {
			return false, false, errGap
		}
		m, err := fromDirect(reply)
		if err != nil {
			return false, false, err
		}
		last = m.Seq
		if !r.take(m, yield) {
			return false, true, nil
		}
	}
}
