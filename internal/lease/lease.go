// Package lease tells whether a task of the sync-worker's ledger is held: it reads the worker's records, which say so
// with the authority of a compare-and-set, and never changes them.
//
// No clock is asked. A task is held under the epoch that its record names, until somebody takes it under a higher one,
// puts it to sleep or settles it.
package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
)

// Buckets of the ledger that are read.
const (
	BucketTasks = "TASKS"
	BucketRuns  = "RUNS"
)

// Task names a task and the epoch under which somebody says to hold it.
type Task struct {
	RunID  string
	Stage  string
	Number int
	Epoch  uint64
}

// String is the task as logs name it.
func (t Task) String() string { return fmt.Sprintf("%s-%d of run %s", t.Stage, t.Number, t.RunID) }

// task is the part of a task's record that says who holds it.
type task struct {
	RunID  string `json:"run_id"`
	Tenant string `json:"tenant"`
	State  string `json:"state"`
	Epoch  uint64 `json:"epoch"`
}

// run is the part of a run's record that says what it is about.
type run struct {
	ID           string `json:"id"`
	Tenant       string `json:"tenant"`
	ConnectionID string `json:"connection_id"`
	State        string `json:"state"`
}

// leased is the state of a task that is held.
const leased = "leased"

// final are the states of a run that has ended.
var final = []string{"succeeded", "completed_with_failures", "failed", "cancelled", "needs_reconnect"}

// Ledger reads who holds which task. It is safe for concurrent use.
type Ledger struct {
	tasks *store.View[task]
	runs  *store.View[run]
}

// Open returns the ledger as it is on the bus. Nothing is asked yet: the ledger may be made later.
func Open(b *bus.Bus) *Ledger {
	return &Ledger{tasks: store.NewView[task](b, BucketTasks), runs: store.NewView[run](b, BucketRuns)}
}

// Check returns nil when the task is held under its epoch, for a run of the tenant at the connection that has not ended.
// Otherwise the error is Denied, reason "no_lease", and tells nothing about what there is instead.
func (l *Ledger) Check(ctx context.Context, tenant, connection string, t Task) error {
	if t.RunID == "" || t.Stage == "" || t.Epoch == 0 {
		return denied(t)
	}
	have, _, err := l.tasks.Get(ctx, store.Key(t.RunID, t.Stage, fmt.Sprintf("%06d", t.Number)))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return denied(t)
	case err != nil:
		return fmt.Errorf("read task %s: %w", t, err)
	case have.RunID != t.RunID, have.Tenant != tenant, have.State != leased, have.Epoch != t.Epoch:
		return denied(t)
	}
	r, _, err := l.runs.Get(ctx, store.Key(tenant, t.RunID))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return denied(t)
	case err != nil:
		return fmt.Errorf("read run %s: %w", t.RunID, err)
	case r.ID != t.RunID, r.Tenant != tenant, r.ConnectionID != connection, slices.Contains(final, r.State):
		return denied(t)
	}
	return nil
}

func denied(t Task) error {
	return errs.New(errs.Denied, "no_lease", "task %s is not held under epoch %d for this connection: nothing may be sent for it", t, t.Epoch)
}
