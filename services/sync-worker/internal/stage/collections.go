package stage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
)

// collections sends the changes 200 a call. It keeps no record of calls that were answered: after a crash all are sent
// again, which an upsert and an update bear. What they do not bear is two creates of one non-unique key at the same
// time, so a create whose answer was lost waits until Salesforce must have ended it.
func (a *applier) collections(ctx context.Context) error {
	var changes []*eventv1.PlannedChange
	a.open, a.told = make(map[*eventv1.PlannedChange]int), true
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

// unknownWait is how long to wait before a create whose answer may be lost is sent again.
func (a *applier) unknownWait(sent time.Time) time.Duration {
	if sent.IsZero() || !a.creates || a.s.uniqueKey() {
		return 0
	}
	return time.Until(sent.Add(a.w.Settings.UnknownWait))
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
