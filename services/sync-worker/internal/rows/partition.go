package rows

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// Batches are cut by size. The target is for one message before compression; what all parts of a writer hold together
// is bounded by budget, so that a run with more parts buffers less for each. A row that is longer than the target goes
// alone: lines of people end at 1 MiB, which is also what the bus takes.
const (
	target = 512 << 10
	budget = 8 << 20
	floor  = 16 << 10
)

func threshold(parts int) int {
	return max(floor, min(target, budget/max(parts, 1)))
}

// appendField appends a message as a field of another. Rows are encoded as they come and kept as bytes: as messages
// they would take several times the memory.
func appendField(b []byte, field protowire.Number, m proto.Message) ([]byte, error) {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(proto.Size(m)))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
}

// Numbers of the fields that are encoded by hand; a test compares the result with the protos.
const (
	fieldRowsKeys     = 1
	fieldRowsBatch    = 2
	fieldBatchColumns = 1
	fieldBatchRows    = 2

	fieldWrittenColumns  = 1
	fieldWrittenRows     = 2
	fieldWrittenOutcomes = 3
)

// Rows collects keyed rows by part and publishes a batch whenever a part has enough.
type Rows struct {
	p       *Publisher
	kind    string
	columns []byte // of the batch, encoded
	limit   int
	parts   []rowBuffer
}

type rowBuffer struct {
	keys, rows []byte
	n          int
}

func (b *rowBuffer) size() int { return len(b.keys) + len(b.rows) }

// NewRows returns a writer of people or records of a kind.
func NewRows(p *Publisher, kind string, columns []string, parts int) *Rows {
	w := &Rows{p: p, kind: kind, limit: threshold(parts), parts: make([]rowBuffer, max(parts, 1))}
	for _, c := range columns {
		w.columns = protowire.AppendTag(w.columns, fieldBatchColumns, protowire.BytesType)
		w.columns = protowire.AppendString(w.columns, c)
	}
	return w
}

// Add takes a row.
func (w *Rows) Add(ctx context.Context, part int, key string, row *rowv1.Row) error {
	b := &w.parts[part]
	if b.size() > 0 && b.size()+len(key)+proto.Size(row)+8 > w.limit {
		if err := w.flush(ctx, part); err != nil {
			return err
		}
	}
	b.keys = protowire.AppendTag(b.keys, fieldRowsKeys, protowire.BytesType)
	b.keys = protowire.AppendString(b.keys, key)
	var err error
	if b.rows, err = appendField(b.rows, fieldBatchRows, row); err != nil {
		return fmt.Errorf("encode %s: %w", w.kind, err)
	}
	b.n++
	return nil
}

func (w *Rows) flush(ctx context.Context, part int) error {
	b := &w.parts[part]
	if b.n == 0 {
		return nil
	}
	raw := protowire.AppendTag(b.keys, fieldRowsBatch, protowire.BytesType)
	raw = protowire.AppendVarint(raw, uint64(len(w.columns)+len(b.rows)))
	raw = append(append(raw, w.columns...), b.rows...)
	if err := w.p.publish(ctx, w.kind, part, raw, b.n); err != nil {
		return err
	}
	*b = rowBuffer{}
	return nil
}

// Close publishes what is left.
func (w *Rows) Close(ctx context.Context) error {
	for part := range w.parts {
		if err := w.flush(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// Changes collects planned changes of one action.
type Changes struct {
	p       *Publisher
	kind    string
	action  syncv1.Action
	columns []string
	buf     []*eventv1.PlannedChange
	size    int
}

// NewChanges returns a writer of changes of the run's object, of one action.
func NewChanges(p *Publisher, action syncv1.Action, columns []string) *Changes {
	kind := map[syncv1.Action]string{
		syncv1.Action_ACTION_UPDATE: KindUpdates, syncv1.Action_ACTION_DELETE: KindDeletes,
	}[action]
	if kind == "" {
		kind = KindCreates
	}
	return NewChangesOf(p, kind, action, columns)
}

// NewChangesOf returns a writer of changes of one kind.
func NewChangesOf(p *Publisher, kind string, action syncv1.Action, columns []string) *Changes {
	return &Changes{p: p, kind: kind, action: action, columns: columns}
}

// Add takes a change; the writer keeps it until it is published.
func (w *Changes) Add(ctx context.Context, c *eventv1.PlannedChange) error {
	size := proto.Size(c) + 4
	if w.size+size > target {
		if err := w.Close(ctx); err != nil {
			return err
		}
	}
	w.buf = append(w.buf, c)
	w.size += size
	return nil
}

// Close publishes what is left.
func (w *Changes) Close(ctx context.Context) error {
	if len(w.buf) == 0 {
		return nil
	}
	m := &eventv1.PlannedChanges{Action: w.action, Columns: w.columns, Changes: w.buf}
	if err := w.p.Publish(ctx, w.kind, 0, m, len(w.buf)); err != nil {
		return err
	}
	w.buf, w.size = nil, 0
	return nil
}

// Outcomes collects outcomes.
type Outcomes struct {
	p    *Publisher
	buf  []*syncv1.Outcome
	size int
}

// NewOutcomes returns a writer of outcomes.
func NewOutcomes(p *Publisher) *Outcomes { return &Outcomes{p: p} }

// Add takes an outcome; the writer keeps it until it is published.
func (w *Outcomes) Add(ctx context.Context, o *syncv1.Outcome) error {
	size := proto.Size(o) + 4
	if w.size+size > target {
		if err := w.Close(ctx); err != nil {
			return err
		}
	}
	w.buf = append(w.buf, o)
	w.size += size
	return nil
}

// Close publishes what is left.
func (w *Outcomes) Close(ctx context.Context) error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.p.Publish(ctx, KindOutcomes, 0, &eventv1.Outcomes{Outcomes: w.buf}, len(w.buf)); err != nil {
		return err
	}
	w.buf, w.size = nil, 0
	return nil
}

// Written collects after-images by part of the record's id.
type Written struct {
	p       *Publisher
	columns []byte // encoded
	limit   int
	parts   []rowBuffer
}

// NewWritten returns a writer of after-images.
func NewWritten(p *Publisher, columns []string, parts int) *Written {
	w := &Written{p: p, limit: threshold(parts), parts: make([]rowBuffer, max(parts, 1))}
	for _, c := range columns {
		w.columns = protowire.AppendTag(w.columns, fieldWrittenColumns, protowire.BytesType)
		w.columns = protowire.AppendString(w.columns, c)
	}
	return w
}

// Add takes the outcome of a written record and the values that were written to it.
func (w *Written) Add(ctx context.Context, o *syncv1.Outcome, after *rowv1.Row) error {
	part := Part(o.GetRecordId(), len(w.parts))
	b := &w.parts[part]
	if b.size() > 0 && b.size()+proto.Size(o)+proto.Size(after)+8 > w.limit {
		if err := w.flush(ctx, part); err != nil {
			return err
		}
	}
	var err error
	if b.rows, err = appendField(b.rows, fieldWrittenRows, after); err == nil {
		b.rows, err = appendField(b.rows, fieldWrittenOutcomes, o)
	}
	if err != nil {
		return fmt.Errorf("encode %s: %w", KindWritten, err)
	}
	b.n++
	return nil
}

func (w *Written) flush(ctx context.Context, part int) error {
	b := &w.parts[part]
	if b.n == 0 {
		return nil
	}
	if err := w.p.publish(ctx, KindWritten, part, append(b.rows, w.columns...), b.n); err != nil {
		return err
	}
	*b = rowBuffer{}
	return nil
}

// Close publishes what is left.
func (w *Written) Close(ctx context.Context) error {
	for part := range w.parts {
		if err := w.flush(ctx, part); err != nil {
			return err
		}
	}
	return nil
}
