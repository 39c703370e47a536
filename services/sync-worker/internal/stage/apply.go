package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
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
	if a.corrections, err = w.loadCorrections(ctx); err != nil {
		return err
	}
	for _, at := range w.task.Input.Only {
		if a.only == nil {
			a.only = make(map[int]bool)
		}
		a.only[at] = true
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
	out         *rows.Outcomes
	written     *rows.Written
	n           ledger.Counts
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

func isLock(e salesforce.RowError) bool {
	return e.Code == "UNABLE_TO_LOCK_ROW" || e.Code == "TooManyLockFailure" || strings.Contains(e.Message, "UNABLE_TO_LOCK_ROW")
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

// collections sends the changes 200 a call. It keeps no record of calls that were answered: after a crash all are sent
// again, which an upsert and an update bear. What they do not bear is two creates of one non-unique key at the same
// time, so a create whose answer was lost waits until Salesforce must have ended it.
func (a *applier) collections(ctx context.Context) error {
	var changes []*eventv1.PlannedChange
	a.open = make(map[*eventv1.PlannedChange]int)
	err := a.each(ctx, func(c *eventv1.PlannedChange) error {
		changes = append(changes, c)
		a.open[c] = a.place
		return nil
	})
	if err != nil {
		return err
	}
	a.groupByParent(changes)
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
	err = a.rounds(ctx, changes)
	if wait := a.w.noRoom(err); wait != nil && len(a.open) < len(changes) {
		return a.goOnLater(ctx, wait)
	}
	if err != nil {
		return err
	}
	return a.settle(ctx, nil)
}

// rounds sends all changes, and then those that Salesforce could not lock again, alone and in smaller and smaller calls:
// the fewer rows a call has, the fewer locks it needs at once. A round makes at most twice as many calls as the first.
func (a *applier) rounds(ctx context.Context, changes []*eventv1.PlannedChange) error {
	a.size = salesforce.MaxCollection
	most := 2 * ((len(changes) + a.size - 1) / a.size)
	locked, err := a.chunks(ctx, changes)
	for round := 1; err == nil && len(locked) > 0 && round <= lockRounds && !a.w.draining(); round++ {
		if err := pause(ctx, round); err != nil {
			return err
		}
		again := make([]*eventv1.PlannedChange, len(locked))
		for i, l := range locked {
			again[i] = l.change
		}
		a.size = max(salesforce.MaxCollection>>round, (len(again)+most-1)/most)
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
	return nil
}

// goOnLater settles what was sent, and leaves the rest to a task that goes on when the org's allocation has room.
func (a *applier) goOnLater(ctx context.Context, wait *allocation.Wait) error {
	places := slices.Sorted(maps.Values(a.open))
	if err := a.close(ctx); err != nil {
		return err
	}
	return a.w.settle(ctx, ledger.Result{Counts: a.n, Unsent: places, GoesOnAt: wait.Until, Waits: wait.Reason})
}

// groupByParent sorts changes so that those of one parent, which lock it, are neighbours.
func (a *applier) groupByParent(changes []*eventv1.PlannedChange) {
	if !a.hasParents() {
		return
	}
	slices.SortStableFunc(changes, func(x, y *eventv1.PlannedChange) int { return cmp.Compare(a.parent(x), a.parent(y)) })
}

// hasParents reports whether changes may name another record.
func (a *applier) hasParents() bool {
	return slices.ContainsFunc(a.sent, func(i int) bool { return a.targets[i].Type == typeReference })
}

const typeReference = "reference"

// parent is the record that Salesforce locks together with the change's own; empty where the change does not say. It is
// that of the first reference, as it will be or as it was.
func (a *applier) parent(c *eventv1.PlannedChange) string {
	for _, i := range a.sent {
		if a.targets[i].Type != typeReference {
			continue
		}
		for _, row := range []*rowv1.Row{c.GetAfter(), c.GetBefore()} {
			if v := plan.Cell(row, i); !v.Absent && v.Text != "" {
				return v.Text
			}
		}
	}
	return ""
}

// unknownWait is how long to wait before a create whose answer may be lost is sent again.
func (a *applier) unknownWait(sent time.Time) time.Duration {
	if sent.IsZero() || !a.creates || a.s.uniqueKey() {
		return 0
	}
	return time.Until(sent.Add(a.w.Settings.UnknownWait))
}

// lockPause is how long locked rows are left alone: twice as long each time, with jitter.
func lockPause(round int) time.Duration {
	d := time.Duration(1<<round) * 50 * time.Millisecond
	return d/2 + rand.N(d)
}

// pause waits a little before locked rows are sent again.
func pause(ctx context.Context, round int) error {
	t := time.NewTimer(lockPause(round))
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
// records where the external id is case-sensitive, and which the client takes for a mistake. Those of one parent stay
// together where they fit.
func (a *applier) together(changes []*eventv1.PlannedChange) int {
	n := min(len(changes), a.size)
	if a.creates {
		keys := make(map[string]bool, n)
		for i, c := range changes[:n] {
			key := strings.ToLower(c.GetKey())
			if keys[key] {
				n = i
				break
			}
			keys[key] = true
		}
	}
	if n == len(changes) || !a.hasParents() {
		return n
	}
	parent, first := a.parent(changes[n]), n
	for first > 0 && parent != "" && a.parent(changes[first-1]) == parent {
		first--
	}
	if first == 0 {
		return n // one parent has more than go in a call
	}
	return first
}

// send makes one call, or several where one row spoils the whole call.
func (a *applier) send(ctx context.Context, changes []*eventv1.PlannedChange) ([]lockedRow, error) {
	request := make([]salesforce.CollectionRow, len(changes))
	for i, c := range changes {
		request[i] = a.row(c)
	}
	// Saving the intent renews the lease, so it is the fence as well.
	before := a.w.task.Checkpoint
	err := a.w.save(ctx, func(c *ledger.Checkpoint) {
		c.SentAt, c.Attempted = time.Now(), max(c.Attempted, a.at+len(changes))
	})
	if err != nil {
		return nil, err
	}
	var results []salesforce.RowResult
	switch {
	case a.creates:
		results, err = a.org.CollectionsUpsert(ctx, a.object, a.s.keyField(), request)
	case a.deletes:
		ids := make([]string, len(changes))
		for i, c := range changes {
			ids[i] = c.GetRecordId()
		}
		results, err = a.org.CollectionsDelete(ctx, ids)
	default:
		results, err = a.org.CollectionsUpdate(ctx, a.object, request)
	}
	if a.w.noRoom(err) != nil {
		// Nothing was sent: no later attempt has to find out what became of it.
		return nil, errors.Join(err, a.w.save(ctx, func(c *ledger.Checkpoint) { c.SentAt, c.Attempted = before.SentAt, before.Attempted }))
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
