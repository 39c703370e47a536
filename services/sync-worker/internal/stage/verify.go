package stage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// Codes of written people whose record does not hold what was written.
const (
	codeDiffers = "readback_differs"
	codeMissing = "readback_missing"
)

// unverifiable reports whether the run was stopped in a way that leaves nobody to ask.
func (w *work) unverifiable() bool {
	d := w.drain.Load()
	return d != nil && (d.State != ledger.RunCancelled || d.Code == CodeUnlinked || w.failed(2))
}

// verify compares written records with what Salesforce holds now, and says how their people ended.
func (w *work) verify(ctx context.Context) error {
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return err
	}
	v := &verifier{w: w, s: s, out: rows.NewOutcomes(w.pub), have: make(map[string]*rowv1.Row)}
	parts := []int{w.task.Number}
	if w.task.Input.ByID {
		parts = parts[:0]
		for p := range max(w.run.VerifyParts, 1) {
			parts = append(parts, p)
		}
	}
	for _, part := range parts {
		if err := v.load(ctx, tasks, part); err != nil {
			return err
		}
	}
	if !w.unverifiable() {
		if err := v.fetchMissing(ctx); err != nil {
			return err
		}
	}
	for _, row := range v.written {
		if err := v.one(ctx, row); err != nil {
			return err
		}
	}
	if err := v.out.Close(ctx); err != nil {
		return err
	}
	return w.settle(ctx, ledger.Result{Counts: v.n})
}

type writtenRow struct {
	outcome *syncv1.Outcome
	after   *rowv1.Row
}

type verifier struct {
	w       *work
	s       *snapshot
	out     *rows.Outcomes
	written []writtenRow
	have    map[string]*rowv1.Row
	n       ledger.Counts
}

// load reads a part's after-images and read-back records.
func (v *verifier) load(ctx context.Context, tasks []ledger.Task, part int) error {
	for _, t := range tasks {
		var err error
		switch t.Stage {
		case ledger.StageApply:
			err = rows.Read(ctx, v.w.Bus, t, rows.KindWritten, part, &eventv1.WrittenRows{}, func(m *eventv1.WrittenRows) error {
				for i, o := range m.GetOutcomes() {
					v.written = append(v.written, writtenRow{o, m.GetRows()[i]})
				}
				return nil
			})
		case ledger.StageReadback:
			err = rows.Read(ctx, v.w.Bus, t, rows.KindReadback, part, &eventv1.Rows{}, func(m *eventv1.Rows) error {
				for _, row := range m.GetBatch().GetRows() {
					v.have[row.GetId()] = row
				}
				return nil
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fetchMissing asks by id for written records that the read-back does not hold: all of them where there was none.
func (v *verifier) fetchMissing(ctx context.Context) error {
	var ids []string
	for _, row := range v.written {
		if id := row.outcome.GetRecordId(); v.have[id] == nil {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	org, err := v.w.client()
	if err != nil {
		return err
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	// A Lead map writes Contacts too, those that Leads became.
	contacts := slices.IndexFunc(ids, v.isOther)
	leads := slices.DeleteFunc(slices.Clone(ids), v.isOther)
	err = org.RetrieveByIDs(ctx, v.w.run.Object, leads, v.s.record[:v.s.own], func(id string, r *salesforce.Record) error {
		if r != nil {
			v.have[id] = recordRow(r)
		}
		return nil
	})
	if err == nil && contacts >= 0 {
		err = v.s.retrieveContacts(ctx, org, slices.DeleteFunc(ids, func(id string) bool { return !v.isOther(id) }), func(row *rowv1.Row) {
			v.have[row.GetId()] = row
		})
	}
	return refusal(err, "read back what was written")
}

// isOther reports whether a record is not of the run's object.
func (v *verifier) isOther(id string) bool {
	return v.w.run.Object == objectLead && strings.HasPrefix(id, contactPrefix)
}

// one says how the person of one written record ended.
func (v *verifier) one(ctx context.Context, row writtenRow) error {
	o := row.outcome
	if o.GetKind() == syncv1.OutcomeKind_OUTCOME_KIND_CREATED {
		v.n.Created++
	} else {
		v.n.Updated++
	}
	v.w.rows.Add(1)
	if v.w.unverifiable() {
		return v.out.Add(ctx, o)
	}
	record := v.have[o.GetRecordId()]
	if record == nil {
		v.n.Mismatched++
		o.Code, o.Message = codeMissing, "Salesforce said that it wrote the record, but it is not there: it was deleted or merged since. The next run looks again."
		return v.out.Add(ctx, o)
	}
	var differs []string
	for i, t := range v.s.targets {
		want := plan.Cell(row.after, i)
		if !want.Absent && !t.Equal(want, plan.Cell(record, t.Record)) {
			differs = append(differs, t.Field)
		}
	}
	if len(differs) == 0 {
		v.n.Verified++
		return v.out.Add(ctx, o)
	}
	v.n.Mismatched++
	o.Code, o.Fields = codeDiffers, differs
	o.Message = fmt.Sprintf("Salesforce holds another value than was written in %s: somebody, or a trigger or flow of the org, changed it.", strings.Join(differs, ", "))
	return v.out.Add(ctx, o)
}

// close projects how people ended into the directory and gives the run's rows back.
func (w *work) close(ctx context.Context) error {
	if !w.run.PlanOnly {
		if err := w.project(ctx); err != nil {
			return err
		}
	}
	if err := w.Bus.Purge(ctx, event.StreamRows, event.RowsOfRun(w.run.ID)); err != nil {
		return fmt.Errorf("give the run's rows back: %w", err)
	}
	return w.settle(ctx, ledger.Result{})
}

// project writes every outcome to the directory. Doing it again changes nothing, so a successor begins anew.
func (w *work) project(ctx context.Context) error {
	if w.task.Checkpoint.SentAt.IsZero() {
		// All outcomes of a run carry one time, also when a successor writes the rest.
		if err := w.save(ctx, func(c *ledger.Checkpoint) { c.SentAt = time.Now().UTC() }); err != nil {
			return err
		}
	}
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return err
	}
	revoked := ledger.Revoked(tasks)
	for _, t := range tasks {
		err := rows.Read(ctx, w.Bus, t, rows.KindOutcomes, 0, &eventv1.Outcomes{}, func(m *eventv1.Outcomes) error {
			w.rows.Add(int64(len(m.GetOutcomes())))
			stand := slices.DeleteFunc(m.GetOutcomes(), func(o *syncv1.Outcome) bool { return revoked.Covers(t.Stage, o.GetPersonId()) })
			return w.Directory.ProjectOutcomes(ctx, w.run.Tenant, w.run.ConnectionID, w.run.ID, w.task.Checkpoint.SentAt, stand)
		})
		if err != nil {
			return fmt.Errorf("project outcomes: %w", err)
		}
	}
	return nil
}
