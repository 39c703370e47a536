package stage

import (
	"context"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// fate is what became of a record.
type fate struct {
	// record is the living record: itself or, with survivor, the one that it was merged into. nil where there is none.
	record   *rowv1.Row
	survivor bool
	// binned: it is in the recycle bin.
	binned bool
}

// mergeDepth is how often a record's survivor may have been merged on.
const mergeDepth = 5

const (
	fieldIsDeleted = "IsDeleted"
	fieldMaster    = "MasterRecordId"
)

// fates asks what became of records of an object, in the shape of the run's records. Records that are not in the answer
// are gone for good.
func (w *work) fates(ctx context.Context, s *snapshot, object string, ids []string) (map[string]fate, error) {
	all := make(map[string]fate, len(ids))
	if len(ids) == 0 {
		return all, nil
	}
	org, err := w.client()
	if err != nil {
		return nil, err
	}
	columns, at := s.columnsFor(object)
	more := len(columns)
	columns = append(columns, salesforce.Column{Name: fieldIsDeleted, Type: salesforce.TypeBoolean})
	if object == objectContact || object == objectLead || s.fields[fieldMaster] != nil {
		columns = append(columns, salesforce.Column{Name: fieldMaster, Type: salesforce.TypeID})
	}
	masters := make(map[string]string) // asked for -> what it was merged into, so far
	ask := ids
	for range mergeDepth {
		found := make(map[string]fate)
		merged := make(map[string]string)
		err := queryIn(ctx, org.QueryAll, object, fieldID, append([]string(nil), ask...), columns, func(r *salesforce.Record) error {
			id := r.Values[0]
			switch {
			case r.Values[more] != "true":
				found[id] = fate{record: s.shaped(r, at)}
			case len(columns) > more+1 && r.Values[more+1] != "":
				merged[id] = r.Values[more+1]
			default:
				found[id] = fate{binned: true}
			}
			return nil
		})
		if err != nil {
			return nil, refusal(err, "look what became of records of "+object)
		}
		for _, id := range ids {
			if _, done := all[id]; done {
				continue
			}
			now := id
			if m := masters[id]; m != "" {
				now = m
			}
			if next := merged[now]; next != "" {
				masters[id] = next
				continue
			}
			f := found[now]
			f.survivor = now != id
			f.binned = f.binned && !f.survivor // the survivor is in the bin: the person's own record is gone for good
			all[id] = f
		}
		ask = ask[:0:0]
		for _, id := range ids {
			if _, done := all[id]; !done {
				ask = append(ask, masters[id])
			}
		}
		if len(ask) == 0 {
			break
		}
	}
	return all, nil
}

// columnsFor are the run's record columns that an object has, and their indexes.
func (s *snapshot) columnsFor(object string) ([]salesforce.Column, []int) {
	at := s.contactColumns
	if object == s.describe.GetName() {
		at = make([]int, s.own)
		for i := range at {
			at[i] = i
		}
	}
	columns := make([]salesforce.Column, len(at))
	for i, n := range at {
		columns[i] = s.record[n]
	}
	return columns, at
}

// shaped copies a record that was read with some of the run's columns into the shape of all of them.
func (s *snapshot) shaped(r *salesforce.Record, at []int) *rowv1.Row {
	row := &rowv1.Row{Id: r.Values[0], Values: make([]string, len(s.record))}
	next := 0
	for i := range s.record {
		switch {
		case next == len(at) || at[next] != i:
			row.Absent = append(row.Absent, uint32(i))
			continue
		case r.Null[next]:
			row.Null = append(row.Null, uint32(i))
		}
		row.Values[i] = r.Values[next]
		next++
	}
	return row
}

// eachClaim hands out which person the plan has given which record, with a function that takes a change or an unchanged
// record out of d's counts again.
func (w *work) eachClaim(ctx context.Context, tasks []ledger.Task, d *decider, fn func(person, record string, take func() error)) error {
	for _, t := range tasks {
		if t.Stage != ledger.StagePlan && t.Stage != ledger.StageAdopt {
			continue
		}
		for _, kind := range []string{rows.KindUpdates, rows.KindPending} {
			err := rows.Read(ctx, w.Bus, t, kind, 0, &eventv1.PlannedChanges{}, func(m *eventv1.PlannedChanges) error {
				for _, c := range m.GetChanges() {
					fn(c.GetPersonId(), c.GetRecordId(), func() error {
						if kind == rows.KindPending {
							d.n.Pending--
							return nil
						}
						return d.count(kind, c, -1)
					})
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		err := rows.Read(ctx, w.Bus, t, rows.KindOutcomes, 0, &eventv1.Outcomes{}, func(m *eventv1.Outcomes) error {
			for _, o := range m.GetOutcomes() {
				var take func() error
				if o.GetKind() == syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED {
					take = func() error {
						d.n.Unchanged--
						return nil
					}
				}
				fn(o.GetPersonId(), o.GetRecordId(), take)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
