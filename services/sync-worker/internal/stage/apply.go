package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

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
)

// lockRounds is how often rows that Salesforce could not lock are sent again.
const lockRounds = 5

// apply sends the task's changes, through Collections or a Bulk job.
func (w *work) apply(ctx context.Context) error {
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	a := &applier{
		w: w, s: s, creates: w.task.Input.Action == rows.KindCreates, leavers: w.task.Input.Action == rows.KindLeavers,
		object:  cmp.Or(w.task.Input.Object, w.run.Object),
		out:     rows.NewOutcomes(w.pub),
		written: rows.NewWritten(w.pub, s.targetNames(), w.run.VerifyParts),
	}
	if a.org, err = w.client(); err != nil {
		return err
	}
	a.targets, a.sent = s.columnsOf(w.task.Input.Action)
	if a.corrections, err = w.loadCorrections(ctx); err != nil {
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
	// targets are the columns of the changes; sent are the indexes of those that the object has.
	targets     []plan.Column
	sent        []int
	corrections corrections
	out         *rows.Outcomes
	written     *rows.Written
	n           ledger.Counts
	// at is the first row of the chunk that is being sent.
	at int
}

// each hands the task's changes to fn, in a stable order.
func (a *applier) each(ctx context.Context, fn func(*eventv1.PlannedChange) error) error {
	for _, ref := range a.w.task.Input.Changes {
		err := rows.ReadRange(ctx, a.w.Bus, a.w.run.ID, ref, 0, &eventv1.PlannedChanges{}, func(m *eventv1.PlannedChanges) error {
			for _, c := range m.GetChanges() {
				if a.corrections.revoked.Covers(ref.Stage, c.GetPersonId()) {
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
	if a.leavers {
		a.n.LeaversFlagged++
		return nil
	}
	kind := syncv1.OutcomeKind_OUTCOME_KIND_UPDATED
	if a.creates {
		kind = syncv1.OutcomeKind_OUTCOME_KIND_CREATED
	}
	a.n.Written++
	return a.written.Add(ctx, &syncv1.Outcome{
		PersonId: c.GetPersonId(), Kind: kind, RecordId: recordID, BulkJobId: job, FieldMapVersion: a.w.run.FieldMapVersion,
	}, c.GetAfter())
}

// refused notes a row that Salesforce did not take, or that was not sent.
func (a *applier) refused(ctx context.Context, c *eventv1.PlannedChange, e salesforce.RowError, job string) error {
	if a.leavers {
		a.w.Log.WarnContext(ctx, "a leaver could not be flagged", slog.String("run", a.w.run.ID), slog.String("record", c.GetRecordId()), slog.String("code", e.Code))
		return nil
	}
	o := &syncv1.Outcome{
		PersonId: c.GetPersonId(), Kind: syncv1.OutcomeKind_OUTCOME_KIND_FAILED, RecordId: c.GetRecordId(),
		Code: e.Code, Message: e.Message, Fields: e.Fields, BulkJobId: job, FieldMapVersion: a.w.run.FieldMapVersion,
	}
	if e.Action == salesforce.ActionRetryRow {
		o.Kind = syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED
		a.n.Deferred++
	} else {
		a.n.Failed++
	}
	return a.out.Add(ctx, o)
}

// put off notes a row that the stopped run does not send any more, or whose fate cannot be asked for.
func (a *applier) putOff(ctx context.Context, c *eventv1.PlannedChange, code, message, job string) error {
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

// settle publishes what is left and ends the task.
func (a *applier) settle(ctx context.Context, jobs []string) error {
	if err := a.out.Close(ctx); err != nil {
		return err
	}
	if err := a.written.Close(ctx); err != nil {
		return err
	}
	return a.w.settle(ctx, ledger.Result{Counts: a.n, Jobs: jobs})
}

// collections sends the changes 200 a call. It keeps no record of calls that were answered: after a crash all are sent
// again, which an upsert and an update bear. What they do not bear is two creates of one non-unique key at the same
// time, so a create whose answer was lost waits until Salesforce must have ended it.
func (a *applier) collections(ctx context.Context) error {
	var changes []*eventv1.PlannedChange
	err := a.each(ctx, func(c *eventv1.PlannedChange) error {
		changes = append(changes, c)
		return nil
	})
	if err != nil {
		return err
	}
	sent, attempted := a.w.task.Checkpoint.SentAt, a.w.task.Checkpoint.Attempted
	if d := a.w.drain.Load(); d != nil && (attempted == 0 || a.w.unreachable()) {
		for i, c := range changes {
			code, message := d.Code, d.Reason
			if i < attempted {
				code, message = codeUnknown, "Nobody could be asked what became of this change; the next run looks it up. "+d.Reason
			}
			if err := a.putOff(ctx, c, code, message, ""); err != nil {
				return err
			}
		}
		return a.settle(ctx, nil)
	}
	if wait := a.unknownWait(sent); wait > 0 {
		return a.w.park(ctx, wait)
	}
	locked, err := a.chunks(ctx, changes)
	for round := 1; err == nil && len(locked) > 0 && a.w.drain.Load() == nil; round++ {
		if round > lockRounds {
			break
		}
		if err = pause(ctx, round); err != nil {
			return err
		}
		again := make([]*eventv1.PlannedChange, len(locked))
		for i, l := range locked {
			again[i] = l.change
		}
		locked, err = a.chunks(ctx, again)
	}
	if err != nil {
		return err
	}
	for _, l := range locked {
		if err := a.refused(ctx, l.change, l.err, ""); err != nil {
			return err
		}
	}
	return a.settle(ctx, nil)
}

// unknownWait is how long to wait before a create whose answer may be lost is sent again.
func (a *applier) unknownWait(sent time.Time) time.Duration {
	if sent.IsZero() || !a.creates || a.s.uniqueKey() {
		return 0
	}
	return time.Until(sent.Add(a.w.Settings.UnknownWait))
}

// pause waits a little before locked rows are sent again: twice as long each time, with jitter.
func pause(ctx context.Context, round int) error {
	d := time.Duration(1<<round) * 50 * time.Millisecond
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

type lockedRow struct {
	change *eventv1.PlannedChange
	err    salesforce.RowError
}

// chunks sends changes and returns those whose records were locked. Once the run is stopped nothing new is sent; what
// an earlier attempt may have sent is sent again, for that is how its answer is had.
func (a *applier) chunks(ctx context.Context, changes []*eventv1.PlannedChange) ([]lockedRow, error) {
	var locked []lockedRow
	for a.at = 0; len(changes) > 0; {
		if a.w.draining() && a.at >= a.w.task.Checkpoint.Attempted {
			return locked, a.putOffAll(ctx, changes)
		}
		n := a.together(changes)
		more, err := a.send(ctx, changes[:n])
		if err != nil {
			return nil, err
		}
		locked = append(locked, more...)
		changes = changes[n:]
		a.at += n
	}
	return locked, nil
}

// together is how many of the changes go in one call. No two of them have keys that differ in case alone, which are two
// records where the external id is case-sensitive, and which the client takes for a mistake.
func (a *applier) together(changes []*eventv1.PlannedChange) int {
	n := min(len(changes), salesforce.MaxCollection)
	if !a.creates {
		return n
	}
	keys := make(map[string]bool, n)
	for i, c := range changes[:n] {
		key := strings.ToLower(c.GetKey())
		if keys[key] {
			return i
		}
		keys[key] = true
	}
	return n
}

// send makes one call, or several where one row spoils the whole call.
func (a *applier) send(ctx context.Context, changes []*eventv1.PlannedChange) ([]lockedRow, error) {
	request := make([]salesforce.CollectionRow, len(changes))
	for i, c := range changes {
		request[i] = a.row(c)
	}
	// Saving the intent renews the lease, so it is the fence as well.
	err := a.w.save(ctx, func(c *ledger.Checkpoint) {
		c.SentAt, c.Attempted = time.Now(), max(c.Attempted, a.at+len(changes))
	})
	if err != nil {
		return nil, err
	}
	var results []salesforce.RowResult
	if a.creates {
		results, err = a.org.CollectionsUpsert(ctx, a.object, a.s.keyField(), request)
	} else {
		results, err = a.org.CollectionsUpdate(ctx, a.object, request)
	}
	if err != nil {
		return a.whole(ctx, changes, err)
	}
	var locked []lockedRow
	for i, r := range results {
		switch {
		case r.Success:
			err = a.saved(ctx, changes[i], r.ID, "")
		case r.Action == salesforce.ActionRetryRow:
			locked = append(locked, lockedRow{changes[i], r.RowError})
		default:
			err = a.refused(ctx, changes[i], r.RowError, "")
		}
		if err != nil {
			return nil, err
		}
	}
	a.w.rows.Add(int64(len(changes)))
	return locked, nil
}

// whole handles the error of a whole call.
func (a *applier) whole(ctx context.Context, changes []*eventv1.PlannedChange, err error) ([]lockedRow, error) {
	if _, ok := errors.AsType[*salesforce.UnknownOutcomeError](err); ok {
		if wait := a.unknownWait(a.w.task.Checkpoint.SentAt); wait > 0 {
			return nil, a.parkUnknown(ctx, wait, err)
		}
		return nil, err
	}
	e, ok := errors.AsType[*salesforce.Error](err)
	if !ok || (e.Action != salesforce.ActionRow && e.Action != salesforce.ActionSplit) {
		err = refusal(err, "save "+a.object)
		if _, final := errors.AsType[*Drain](err); final && ok && !e.MayHaveApplied && a.w.draining() {
			return nil, a.putOffAll(ctx, changes) // that Salesforce refuses it is why the run stops; it saved none of them
		}
		return nil, err
	}
	if len(changes) == 1 {
		return nil, a.refused(ctx, changes[0], salesforce.RowError{Code: e.Code, Message: e.Message, Fields: e.Fields, Action: e.Action}, "")
	}
	// One row spoils the call: halve it until that row stands alone.
	var locked []lockedRow
	for _, half := range [][]*eventv1.PlannedChange{changes[:len(changes)/2], changes[len(changes)/2:]} {
		more, err := a.send(ctx, half)
		if err != nil {
			return nil, err
		}
		locked = append(locked, more...)
	}
	return locked, nil
}

// parkUnknown puts the task to sleep until the lost call must have ended. It counts as a failure: a call whose answer
// is lost every time must not keep a stopped run for ever.
func (a *applier) parkUnknown(ctx context.Context, wait time.Duration, cause error) error {
	err := a.w.lease.Park(ctx, time.Now().Add(wait), func(t *ledger.Task) {
		t.Failures++
		t.LastError = cause.Error()
		a.w.progress(t)
	})
	if err != nil {
		return err
	}
	return errParked
}

func (a *applier) row(c *eventv1.PlannedChange) salesforce.CollectionRow {
	r := salesforce.CollectionRow{}
	if !a.creates {
		r.ID = c.GetRecordId()
	}
	for _, i := range a.sent {
		t, v := a.targets[i], plan.Cell(c.GetAfter(), i)
		if v.Absent {
			continue
		}
		r.Fields = append(r.Fields, salesforce.FieldValue{
			Name: t.Field, Value: v.Text, Null: v.Null, Type: salesforce.FieldType(t.Type),
		})
	}
	return r
}

// describeJob names a job for people.
func describeJob(id string) string { return fmt.Sprintf("Bulk job %s", id) }
