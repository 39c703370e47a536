package bus

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/catalogsync/catalogsync/internal/errs"
)

// Message is a stored message.
type Message struct {
	// Subject is the subject on which it was published.
	Subject string
	// Data is the payload.
	Data []byte
	// Header holds the headers, those of the server included; names are case-sensitive.
	Header map[string]string
	// Seq is its position in the stream, from 1.
	Seq uint64
	// Time is when the server stored it.
	Time time.Time
	// Deliveries is how often it has been delivered to this consumer, this time included. It is 0 for messages that were
	// read, not consumed.
	Deliveries int
}

// Unmarshal decodes the payload that [Bus.PublishProto] wrote. Its error is Invalid: the message stays undecodable.
func (m *Message) Unmarshal(into proto.Message) error {
	if err := proto.Unmarshal(m.Data, into); err != nil {
		return errs.Wrap(err, errs.Invalid, "bad_payload", "message %d on %s is not a %s", m.Seq, m.Subject, into.ProtoReflect().Descriptor().FullName())
	}
	return nil
}

// PublishProto publishes an encoded message; see [Bus.Publish].
func (b *Bus) PublishProto(ctx context.Context, subject string, m proto.Message, opts ...PublishOption) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return errs.Wrap(err, errs.Internal, "bad_payload", "a %s for %s cannot be encoded", m.ProtoReflect().Descriptor().FullName(), subject)
	}
	return b.Publish(ctx, subject, data, opts...)
}

// Headers of the server.
const (
	headerMsgID      = nats.MsgIdHdr
	headerExpectLast = nats.ExpectedLastSubjSeqHdr
	headerRollup     = nats.MsgRollup
	headerTTL        = "Nats-TTL"
	headerSubject    = "Nats-Subject"
	headerSequence   = "Nats-Sequence"
	headerTime       = "Nats-Time-Stamp"
	headerLast       = "Nats-Last-Sequence"
	headerPending    = "Nats-Num-Pending"
	headerStream     = "Nats-Stream"
	headerStatus     = "Status"
)

// fromHeader flattens headers; of several values the first counts.
func fromHeader(h nats.Header) map[string]string {
	out := make(map[string]string, len(h))
	for k, v := range h {
		if len(v) > 0 {
			out[k] = v[0]
		}
	}
	return out
}

// fromDirect decodes a stored message that came as the reply to a direct get.
func fromDirect(msg *nats.Msg) (*Message, error) {
	seq, err := strconv.ParseUint(msg.Header.Get(headerSequence), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("sequence of a stored message: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get(headerTime))
	if err != nil {
		return nil, fmt.Errorf("time of a stored message: %w", err)
	}
	m := &Message{Subject: msg.Header.Get(headerSubject), Data: msg.Data, Seq: seq, Time: at}
	for _, own := range []string{headerSequence, headerTime, headerSubject, headerStream, headerPending, headerLast} {
		msg.Header.Del(own)
	}
	m.Header = fromHeader(msg.Header)
	return m, nil
}
