// Package rows owns how a run's rows, changes and outcomes rest on the bus: batches of protobuf, compressed, sealed with
// the tenant's data key for the subject on which they rest, one message per batch, addressed by the task and lease epoch
// that wrote them.
//
// Invariant: what a reader returns is exactly what a settled task wrote. Number of messages and checksum come from the
// settle record; a reader that cannot match them stops with an error.
package rows

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// Kinds of rows.
const (
	// KindPeople are people of the snapshot, by part of their primary match key.
	KindPeople = "people"
	// KindRecords are records of the org, by part of their primary match key.
	KindRecords = "records"
	// KindLeft are people whom no external id found, by part of their e-mail.
	KindLeft = "left"
	// KindFree are records without an external id, by part of their e-mail.
	KindFree = "free"
	// KindWritten are after-images of written records, by part of the record's id.
	KindWritten = "written"
	// KindReadback are records read back, by part of the record's id.
	KindReadback = "readback"
	// KindLost are people for the follow stage; the key says what is known of their record. KindFates are they again, with
	// what became of it.
	KindLost  = "lost"
	KindFates = "fates"
	// KindContacts are e-mails of Contacts that a Lead map looks at, by part of the e-mail.
	KindContacts = "contacts"
	// KindPending are planned changes whose references are still to be found.
	KindPending = "pending"
	// KindParents are records that are to be made before apply, KindMade the ids of those made. The latter are kept with the
	// changes, which name them by key.
	KindParents = "parents"
	KindMade    = "made"
	// KindCreates and KindUpdates are planned changes of the run's object.
	KindCreates = "creates"
	KindUpdates = "updates"
	// KindContactUpdates are planned updates of the Contacts that Leads became.
	KindContactUpdates = "contact_updates"
	// KindLeavers are updates that flag leavers: they belong to nobody of the snapshot, so nobody ends by them.
	KindLeavers = "leavers"
	// KindDeletes delete records.
	KindDeletes = "deletes"
	// KindOutcomes are how people ended.
	KindOutcomes = "outcomes"
)

// ChangeKinds are the kinds of planned changes, in the order in which they are applied.
var ChangeKinds = []string{KindCreates, KindUpdates, KindContactUpdates, KindLeavers, KindDeletes}

// ErrCorrupt: what the bus holds is not what a settled task wrote.
var ErrCorrupt = errors.New("rows: a batch differs from its settle record")

var (
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(64<<20))
)

// stream returns stream and subject of message n.
func stream(a event.Address, n int) (string, string) {
	switch {
	case a.Kind == KindOutcomes:
		return a.Outcomes(n)
	case IsChanges(a.Kind) || a.Kind == KindMade:
		return a.Changes(n)
	}
	return a.Rows(n)
}

// IsChanges reports whether a kind holds planned changes that are applied.
func IsChanges(kind string) bool {
	return slices.Contains(ChangeKinds, kind)
}

// Part is the part to which a folded match key belongs.
func Part(key string, parts int) int {
	if parts <= 1 {
		return 0
	}
	return int(xxhash.Sum64String(key) % uint64(parts))
}

// sheaf is one output under way.
type sheaf struct {
	messages int
	rows     int64
	bytes    int64
	digest   *xxhash.Digest
	perMsg   []int
}

// Publisher writes the batches of one task under one epoch.
type Publisher struct {
	store   *Store
	tenant  string
	key     key // the present one when the first batch was written; the zero value before
	address event.Address
	outputs map[outputKey]*sheaf
	buf     []byte
}

type outputKey struct {
	kind string
	part int
}

// NewPublisher returns a publisher for a leased task.
func NewPublisher(s *Store, t ledger.Task) *Publisher {
	return &Publisher{
		store:   s,
		tenant:  t.Tenant,
		address: event.Address{Run: t.RunID, Stage: string(t.Stage), Task: t.Number, Epoch: t.Epoch},
		outputs: make(map[outputKey]*sheaf),
	}
}

// Publish writes one batch of n rows. It is durable when Publish returns.
func (p *Publisher) Publish(ctx context.Context, kind string, part int, m proto.Message, n int) error {
	raw, err := proto.MarshalOptions{}.MarshalAppend(p.buf[:0], m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", kind, err)
	}
	p.buf = raw
	return p.publish(ctx, kind, part, raw, n)
}

// publish writes one batch that is encoded already. raw stays the caller's.
func (p *Publisher) publish(ctx context.Context, kind string, part int, raw []byte, n int) error {
	if p.key.aead == nil {
		var err error
		if p.key, err = p.store.key(ctx, p.tenant, 0); err != nil {
			return err
		}
	}
	packed := encoder.EncodeAll(raw, make([]byte, 0, len(raw)/3+64))
	key := outputKey{kind, part}
	s := p.outputs[key]
	if s == nil {
		s = &sheaf{digest: xxhash.New()}
		p.outputs[key] = s
	}
	a := p.address
	a.Kind, a.Part = kind, part
	_, subject := stream(a, s.messages)
	sealed := p.key.seal(packed, subject)
	if err := p.store.Publish(ctx, subject, sealed); err != nil {
		return fmt.Errorf("publish %s of part %d: %w", kind, part, err)
	}
	frame(s.digest, sealed)
	s.messages++
	s.rows += int64(n)
	s.bytes += int64(len(sealed))
	s.perMsg = append(s.perMsg, n)
	return nil
}

// Outputs is what was written, for the settle record.
func (p *Publisher) Outputs() []ledger.Output {
	outs := make([]ledger.Output, 0, len(p.outputs))
	for k, s := range p.outputs {
		o := ledger.Output{
			Kind: k.kind, Part: k.part, Messages: s.messages, Rows: s.rows, Bytes: s.bytes, Checksum: s.digest.Sum64(),
		}
		if IsChanges(k.kind) {
			o.MessageRows = s.perMsg
		}
		outs = append(outs, o)
	}
	return outs
}

// frame feeds a message into a checksum, its length first, so that the borders of messages count too.
func frame(d *xxhash.Digest, sealed []byte) {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(sealed)))
	_, _ = d.Write(n[:])
	_, _ = d.Write(sealed)
}

// Read hands every batch of a kind and part that a settled task wrote to fn, in order. m is reused between calls. The error
// is Precondition, reason [ReasonDestroyed], when the key that sealed them was destroyed.
func Read[M proto.Message](ctx context.Context, s *Store, t ledger.Task, kind string, part int, m M, fn func(M) error) error {
	out, ok := t.Output(kind, part)
	if !ok {
		return nil
	}
	digest := xxhash.New()
	a := event.Address{Run: t.RunID, Kind: kind, Part: part, Stage: string(t.Stage), Task: t.Number, Epoch: t.Result.Epoch}
	for n := range out.Messages {
		sealed, err := s.get(ctx, t.Tenant, a, n, m)
		if err != nil {
			return err
		}
		frame(digest, sealed)
		if err := fn(m); err != nil {
			return err
		}
	}
	if digest.Sum64() != out.Checksum {
		return fmt.Errorf("%w: %s of task %s, part %d", ErrCorrupt, kind, t.Name(), part)
	}
	return nil
}

// ReadRange hands the batches that a reference names to fn, in order. m is reused between calls. The run belongs to the
// tenant for whom ctx acts. Its errors are those of [Read].
func ReadRange[M proto.Message](ctx context.Context, s *Store, runID string, ref ledger.ChangeRef, part int, m M, fn func(M) error) error {
	tenant, err := rpc.TenantFrom(ctx)
	if err != nil {
		return err
	}
	a := event.Address{Run: runID, Kind: ref.Kind, Part: part, Stage: string(ref.Stage), Task: ref.Task, Epoch: ref.Epoch}
	for n := ref.From; n < ref.To; n++ {
		if _, err := s.get(ctx, tenant, a, n, m); err != nil {
			return err
		}
		if err := fn(m); err != nil {
			return err
		}
	}
	return nil
}

// get reads one message into m and returns it as it rests on the bus.
func (s *Store) get(ctx context.Context, tenant string, a event.Address, n int, m proto.Message) ([]byte, error) {
	st, subject := stream(a, n)
	msg, err := s.Get(ctx, st, subject)
	if err != nil {
		return nil, fmt.Errorf("read %s %d of %s-%d: %w", a.Kind, n, a.Stage, a.Task, err)
	}
	packed, err := s.open(ctx, tenant, subject, msg.Data)
	if err != nil {
		return nil, err
	}
	raw, err := decoder.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, subject, err)
	}
	proto.Reset(m)
	if err := proto.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, subject, err)
	}
	return msg.Data, nil
}
