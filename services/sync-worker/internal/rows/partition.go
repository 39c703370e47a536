package rows

import (
	"context"

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
	budget = 16 << 20
	floor  = 16 << 10
)

func threshold(parts int) int {
	return max(floor, min(target, budget/max(parts, 1)))
}

// Rows collects keyed rows by part and publishes a batch whenever a part has enough.
type Rows struct {
	p       *Publisher
	kind    string
	columns []string
	limit   int
	parts   []rowBuffer
}

type rowBuffer struct {
	keys []string
	rows []*rowv1.Row
	size int
}

// NewRows returns a writer of people or records of a kind.
func NewRows(p *Publisher, kind string, columns []string, parts int) *Rows {
	return &Rows{p: p, kind: kind, columns: columns, limit: threshold(parts), parts: make([]rowBuffer, max(parts, 1))}
}

// Add takes a row; the writer keeps it until it is published.
func (w *Rows) Add(ctx context.Context, part int, key string, row *rowv1.Row) error {
	b, size := &w.parts[part], len(key)+proto.Size(row)+4
	if b.size+size > w.limit {
		if err := w.flush(ctx, part); err != nil {
			return err
		}
	}
	b.keys = append(b.keys, key)
	b.rows = append(b.rows, row)
	b.size += size
	return nil
}

func (w *Rows) flush(ctx context.Context, part int) error {
	b := &w.parts[part]
	if len(b.rows) == 0 {
		return nil
	}
	m := &eventv1.Rows{Keys: b.keys, Batch: &rowv1.Batch{Columns: w.columns, Rows: b.rows}}
	if err := w.p.Publish(ctx, w.kind, part, m, len(b.rows)); err != nil {
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

// NewChanges returns a writer of changes of one action.
func NewChanges(p *Publisher, action syncv1.Action, columns []string) *Changes {
	kind := KindCreates
	if action == syncv1.Action_ACTION_UPDATE {
		kind = KindUpdates
	}
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
	columns []string
	limit   int
	parts   []writtenBuffer
}

type writtenBuffer struct {
	m    *eventv1.WrittenRows
	size int
}

// NewWritten returns a writer of after-images.
func NewWritten(p *Publisher, columns []string, parts int) *Written {
	return &Written{p: p, columns: columns, limit: threshold(parts), parts: make([]writtenBuffer, max(parts, 1))}
}

// Add takes the outcome of a written record and the values that were written to it.
func (w *Written) Add(ctx context.Context, o *syncv1.Outcome, after *rowv1.Row) error {
	part := Part(o.GetRecordId(), len(w.parts))
	b, size := &w.parts[part], proto.Size(o)+proto.Size(after)+8
	if b.size+size > w.limit {
		if err := w.flush(ctx, part); err != nil {
			return err
		}
	}
	if b.m == nil {
		b.m = &eventv1.WrittenRows{Columns: w.columns}
	}
	b.m.Outcomes = append(b.m.Outcomes, o)
	b.m.Rows = append(b.m.Rows, after)
	b.size += size
	return nil
}

func (w *Written) flush(ctx context.Context, part int) error {
	b := &w.parts[part]
	if b.m == nil {
		return nil
	}
	if err := w.p.Publish(ctx, KindWritten, part, b.m, len(b.m.Rows)); err != nil {
		return err
	}
	*b = writtenBuffer{}
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
