package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// Codes of outcomes that apply decides.
const (
	codeUnknown     = "outcome_unknown"
	codeUnprocessed = "unprocessed"
	codeUnsendable  = "unsendable_value"
	codeLock        = "lock"
)

const (
	// lockRounds is how often rows that Salesforce could not lock are sent again.
	lockRounds = 5
	// maxAsked is how many rows of a task that a duplicate rule refused are sent once more by themselves, for only then
	// Salesforce says which records it means.
	maxAsked = 25
)

// apply sends the task's changes, through Collections or a Bulk job.
func (w *work) apply(ctx context.Context) error {
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	a := &applier{
		w: w, s: s, creates: w.task.Input.Action == rows.KindCreates, leavers: w.task.Input.Action == rows.KindLeavers,
		deletes: w.task.Input.Action == rows.KindDeletes,
		object:  cmp.Or(w.task.Input.Object, w.run.Object),
		out:     rows.NewOutcomes(w.pub),
		written: rows.NewWritten(w.pub, s.targetNames(), w.run.VerifyParts),
	}
	if a.org, err = w.client(); err != nil {
		return err
	}
	a.targets, a.sent = s.columnsOf(w.task.Input.Action)
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return err
	}
	if a.corrections, err = w.loadCorrections(ctx, tasks); err != nil {
		return err
	}
	for _, at := range w.task.Input.Only {
		if a.only == nil {
			a.only = make(map[int]bool)
		}
		a.only[at] = true
	}
	if err := a.lookAgain(ctx, tasks); err != nil {
		return err
	}
	if w.task.Input.Bulk {
		err = a.bulk(ctx)
	} else {
		err = a.collections(ctx)
	}
	if errors.Is(err, errParked) {
		return nil
	}
	return err
}

// applier sends the changes of one apply task and says how each person ended.
type applier struct {
	w       *work
	s       *snapshot
	org     *salesforce.Client
	object  string
	creates bool
	// leavers: the changes flag people who are gone. They are nobody of the snapshot and have no outcome.
	leavers bool
	deletes bool
	// only these rows are the task's, by their place; nil for all.
	only map[int]bool
	// outdated are rows, by their place, that are not sent because their record was modified while the run waited.
	outdated map[int]bool
	// open are the rows of a Collections task that have not ended, with their place.
	open map[*eventv1.PlannedChange]int
	// asked counts the rows that were sent once more for the names of duplicates; noRoom: the org's allocation has none for
	// that.
	asked  int
	noRoom bool
	// targets are the columns of the changes; sent are the indexes of those that the object has.
	targets     []plan.Column
	sent        []int
	corrections corrections
	// told: each tells how those end who are not sent, because a record that they refer to could not be made or their own
	// was modified meanwhile.
	told    bool
	out     *rows.Outcomes
	written *rows.Written
	n       ledger.Counts
	// at is the first row of the chunk that is being sent.
	at int
	// size is how many rows go in one call of Collections.
	size int
	// place of the row that each hands out.
	place int
}

// each hands the task's changes to fn, in a stable order.
func (a *applier) each(ctx context.Context, fn func(*eventv1.PlannedChange) error) error {
	at := -1
	for _, ref := range a.w.task.Input.Changes {
		err := rows.ReadRange(ctx, a.w.Bus, a.w.run.ID, ref, 0, &eventv1.PlannedChanges{}, func(m *eventv1.PlannedChanges) error {
			for _, c := range m.GetChanges() {
				if at++; a.only != nil && !a.only[at] || a.corrections.revoked.Covers(ref.Stage, c.GetPersonId()) {
					continue
				}
				a.place = at
				if a.outdated[at] {
					if a.told {
						if err := a.putOff(ctx, c, codeChanged, "The record was modified in Salesforce while the run waited; the next run plans it again.", ""); err != nil {
							return err
						}
					}
					continue
				}
				if e, unmade := a.corrections.unmade(a.s, c); unmade {
					if a.told {
						if err := a.refused(ctx, c, e, ""); err != nil {
							return err
						}
					}
					continue
				}
				a.corrections.fillIn(a.s, c)
				if err := fn(c); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// saved notes a record that Salesforce says it wrote. Verify decides how the person ends.
func (a *applier) saved(ctx context.Context, c *eventv1.PlannedChange, recordID, job string) error {
	delete(a.open, c)
	if a.deletes { // there is nothing to read back
		a.n.Deleted++
		return a.out.Add(ctx, a.outcome(c, syncv1.OutcomeKind_OUTCOME_KIND_DELETED, job))
	}
	if a.leavers {
		a.n.LeaversFlagged++
		return nil
	}
	kind := syncv1.OutcomeKind_OUTCOME_KIND_UPDATED
	if a.creates {
		kind = syncv1.OutcomeKind_OUTCOME_KIND_CREATED
	}
	a.n.Written++
	o := a.outcome(c, kind, job)
	o.RecordId = recordID
	return a.written.Add(ctx, o, c.GetAfter())
}

// outcome is how the person of a change ends.
func (a *applier) outcome(c *eventv1.PlannedChange, kind syncv1.OutcomeKind, job string) *syncv1.Outcome {
	return &syncv1.Outcome{
		PersonId: c.GetPersonId(), Kind: kind, RecordId: c.GetRecordId(), BulkJobId: job, FieldMapVersion: a.w.run.FieldMapVersion,
	}
}

// refused notes a row that Salesforce did not take, or that was not sent.
func (a *applier) refused(ctx context.Context, c *eventv1.PlannedChange, e salesforce.RowError, job string) error {
	if a.deletes && e.Code == "ENTITY_IS_DELETED" {
		return a.saved(ctx, c, c.GetRecordId(), job) // by an attempt whose answer was lost, or by somebody else
	}
	if e.Code == "DUPLICATES_DETECTED" && len(e.Others) == 0 && !a.leavers {
		done, err := a.ask(ctx, c, &e, job)
		if done || err != nil {
			return err
		}
	}
	delete(a.open, c)
	if a.leavers {
		a.w.Log.WarnContext(ctx, "a leaver could not be flagged", slog.String("run", a.w.run.ID), slog.String("record", c.GetRecordId()), slog.String("code", e.Code))
		return nil
	}
	o := a.outcome(c, syncv1.OutcomeKind_OUTCOME_KIND_FAILED, job)
	o.Code, o.Message, o.Fields, o.OtherRecordIds = e.Code, e.Message, e.Fields, e.Others
	if e.Action == salesforce.ActionRetryRow {
		o.Kind = syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED
		a.n.Deferred++
		if isLock(e) {
			o.Code = codeLock
			o.Message = "Others kept the record, or the one that it belongs to, locked whenever it was sent; the next run tries again. Salesforce: " + e.Message
		}
	} else {
		a.n.Failed++
	}
	return a.out.Add(ctx, o)
}

// ask sends a row that a duplicate rule refused once more by itself: only then Salesforce says which records the rule
// matched. It reports true when the row has ended by that.
func (a *applier) ask(ctx context.Context, c *eventv1.PlannedChange, e *salesforce.RowError, job string) (bool, error) {
	if a.asked == maxAsked || a.w.draining() || a.noRoom {
		return false, nil
	}
	a.asked++
	if err := a.w.lease.Fence(ctx); err != nil {
		return false, err
	}
	r, err := a.org.Save(ctx, a.object, a.s.keyField(), a.row(c))
	switch {
	case err == nil && r.Success:
		return true, a.saved(ctx, c, r.ID, job)
	case err == nil:
		if r.Code == e.Code {
			e.Others = r.Others
		}
		return false, nil
	case salesforce.ActionOf(err) == salesforce.ActionLookUp:
		return true, a.putOff(ctx, c, codeUnknown, "Salesforce's answer to this change was lost; the next run looks it up.", job)
	}
	a.noRoom = a.w.noRoom(err) != nil
	return false, nil // without the names, then
}

// put off notes a row that the stopped run does not send any more, or whose fate cannot be asked for.
func (a *applier) putOff(ctx context.Context, c *eventv1.PlannedChange, code, message, job string) error {
	delete(a.open, c)
	if a.leavers {
		return nil
	}
	a.n.Deferred++
	return a.out.Add(ctx, &syncv1.Outcome{
		PersonId: c.GetPersonId(), Kind: syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED, RecordId: c.GetRecordId(),
		Code: code, Message: message, BulkJobId: job, FieldMapVersion: a.w.run.FieldMapVersion,
	})
}

// putOffAll notes rows that the stopped run does not send any more.
func (a *applier) putOffAll(ctx context.Context, changes []*eventv1.PlannedChange) error {
	d := a.w.drain.Load()
	for _, c := range changes {
		if err := a.putOff(ctx, c, d.Code, d.Reason, ""); err != nil {
			return err
		}
	}
	return nil
}

// close publishes what is left.
func (a *applier) close(ctx context.Context) error {
	if err := a.out.Close(ctx); err != nil {
		return err
	}
	return a.written.Close(ctx)
}

// settle publishes what is left and ends the task.
func (a *applier) settle(ctx context.Context, jobs []string) error {
	if err := a.close(ctx); err != nil {
		return err
	}
	return a.w.settle(ctx, ledger.Result{Counts: a.n, Jobs: jobs})
}

// describeJob names a job for people.
func describeJob(id string) string { return fmt.Sprintf("Bulk job %s", id) }
