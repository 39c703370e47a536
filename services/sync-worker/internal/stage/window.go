package stage

import (
	"context"
	"errors"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// allowed is asked right before each exchange with the org: it refuses where the org's allocation has no room. What ends
// a stopped run is always sent.
func (w *work) allowed(ctx context.Context) error {
	if w.Allocations == nil || w.draining() {
		return nil
	}
	limits := allocation.Limits{Share: -1, Stop: -1} // until the field map is known, whoever is let in by the org may ask
	if w.snap != nil {
		limits = conduct.AllocationLimits(w.snap.fieldMap.GetGuards())
	}
	return w.Allocations.Allow(ctx, w.run.OrgID, limits)
}

// counted notes one call that counts against the org's allocation.
func (w *work) counted() {
	w.calls.Add(1)
	if w.Allocations == nil {
		return
	}
	w.Allocations.Count(w.run.OrgID)
	if a := w.org.Allocation(); a.Max > 0 {
		w.Allocations.Saw(w.run.OrgID, a.Used, a.Max)
	}
}

// noRoom returns what to wait for when the org's allocation stopped the task, and nil for other errors. A stopped run
// does not wait: its failures count, so that it ends.
func (w *work) noRoom(err error) *allocation.Wait {
	if err == nil || w.Allocations == nil || w.draining() {
		return nil
	}
	if wait, ok := errors.AsType[*allocation.Wait](err); ok {
		return wait
	}
	e, ok := errors.AsType[*salesforce.Error](err)
	if !ok || e.Action != salesforce.ActionStopUntilWindow || e.Code != "REQUEST_LIMIT_EXCEEDED" {
		return nil
	}
	return w.Allocations.UsedUp(w.run.OrgID)
}

// parkUntil puts the task to sleep until the org's allocation may have room.
func (w *work) parkUntil(ctx context.Context, wait *allocation.Wait) error {
	return w.lease.Park(ctx, wait.Until, func(t *ledger.Task) {
		t.Window, t.LastError = true, wait.Reason
		w.progress(t)
	})
}
