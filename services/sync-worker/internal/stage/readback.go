package stage

import (
	"context"
	"errors"
	"time"

	"github.com/cespare/xxhash/v2"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// readback fetches what verify compares, when there is much of it: all records that Salesforce stamped since the run
// began, by part of their id. Records that others changed meanwhile are passed over, however many they are.
func (w *work) readback(ctx context.Context) error {
	if w.unverifiable() {
		return w.settle(ctx, ledger.Result{Aborted: true})
	}
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	org, err := w.client()
	if err != nil {
		return err
	}
	since := w.task.Input.Since
	if since.IsZero() { // an org whose replies have no date; one that is wrong by less than this is read whole
		since = w.run.StartedAt.Add(-15 * time.Minute)
	}
	where := "WHERE SystemModstamp >= " + since.UTC().Format("2006-01-02T15:04:05Z")
	out := rows.NewRows(w.pub, rows.KindReadback, s.recordNames()[:s.own], w.run.VerifyParts)
	var n int64
	var wanted *idFilter
	err = w.bulkQuery(ctx, org, w.run.Object, s.record[:s.own], where, func(r *salesforce.Record) error {
		if wanted == nil { // only now: most of the time the task just looks whether the job is ready
			if wanted, err = w.writtenIDs(ctx); err != nil {
				return err
			}
		}
		id := r.Values[0]
		if !wanted.has(id) {
			return nil
		}
		n++
		w.rows.Store(n)
		return out.Add(ctx, rows.Part(id, w.run.VerifyParts), id, recordRow(r))
	})
	if errors.Is(err, errParked) {
		return nil
	}
	if err != nil {
		return refusal(err, "read back what was written")
	}
	if err := out.Close(ctx); err != nil {
		return err
	}
	return w.settle(ctx, ledger.Result{})
}

// writtenIDs reads which records the run wrote.
func (w *work) writtenIDs(ctx context.Context) (*idFilter, error) {
	f := new(idFilter)
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return nil, err
	}
	for _, t := range tasks {
		if t.Stage != ledger.StageApply {
			continue
		}
		for part := range max(w.run.VerifyParts, 1) {
			err := rows.Read(ctx, w.Bus, t, rows.KindWritten, part, &eventv1.WrittenRows{}, func(m *eventv1.WrittenRows) error {
				for _, o := range m.GetOutcomes() {
					f.add(o.GetRecordId())
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// idFilter is a Bloom filter of record ids: of a fixed size however many ids go in, it never denies one that did, and
// rarely admits another. At a million ids it admits one foreign record in 20,000, at ten million one in four; those cost
// a little room and nothing else.
type idFilter struct {
	bits [idFilterBits / 64]uint64
}

const (
	idFilterBits   = 1 << 25 // 4 MiB
	idFilterProbes = 5
)

// probes calls fn with the places of an id: one hash is split in two, whose sums serve as further ones.
func (f *idFilter) probes(id string, fn func(word *uint64, bit uint64) bool) bool {
	h := xxhash.Sum64String(id)
	step := h>>32 | 1
	for range idFilterProbes {
		at := h % idFilterBits
		if !fn(&f.bits[at/64], 1<<(at%64)) {
			return false
		}
		h += step * 0x9e3779b97f4a7c15
	}
	return true
}

func (f *idFilter) add(id string) {
	f.probes(id, func(word *uint64, bit uint64) bool {
		*word |= bit
		return true
	})
}

func (f *idFilter) has(id string) bool {
	return f.probes(id, func(word *uint64, bit uint64) bool { return *word&bit != 0 })
}
