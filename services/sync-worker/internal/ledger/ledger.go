// Package ledger owns the durable record of runs and tasks: who holds a task under which lease epoch, what it has done
// so far, and how it ended.
//
// Invariant: a task's record changes by compare-and-set alone. Taking a task raises its epoch; whoever held it before
// can neither renew nor settle it any more, and is refused before it calls Salesforce (promise P3).
package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/store"
)

// Buckets of the ledger.
const (
	bucketRuns      = "RUNS"
	bucketOpen      = "OPEN_RUNS"
	bucketTasks     = "TASKS"
	bucketClaims    = "CLAIMS"
	bucketSnapshots = "RUN_SNAPSHOTS"
)

// Options say how long leases and records last.
type Options struct {
	// Holder names this worker in leases.
	Holder string
	// LeaseTTL is how long a lease lasts without renewal.
	LeaseTTL time.Duration
	// Retention is how long records of closed runs are kept.
	Retention time.Duration
	// MaxBytes is what the ledger's buckets together may take on disk.
	MaxBytes int64
}

// Ledger reads and writes the records of runs and tasks.
type Ledger struct {
	opts      Options
	runs      *store.Bucket[Run]
	open      *store.Bucket[OpenRun]
	tasks     *store.Bucket[Task]
	claims    *store.Bucket[Claim]
	snapshots *store.Bucket[Snapshot]
	observer  observer
}

// OpenRun marks a run that has not ended.
type OpenRun struct {
	Tenant string `json:"tenant"`
	RunID  string `json:"run_id"`
}

// Snapshot holds what shapes a run: a syncv1.RunSnapshot in protobuf's binary form.
type Snapshot struct {
	Proto []byte `json:"proto"`
}

// Open opens the ledger's buckets, making them where they are missing.
func Open(ctx context.Context, b *bus.Bus, opts Options) (*Ledger, error) {
	l := &Ledger{opts: opts}
	cfg := func(name string, percent int64) store.Config {
		return store.Config{
			Bucket: name, History: 1, MaxBytes: opts.MaxBytes / 100 * percent, TTL: opts.Retention,
		}
	}
	var err error
	if l.runs, err = store.Open[Run](ctx, b, cfg(bucketRuns, 20)); err != nil {
		return nil, err
	}
	if l.open, err = store.Open[OpenRun](ctx, b, cfg(bucketOpen, 2)); err != nil {
		return nil, err
	}
	if l.tasks, err = store.Open[Task](ctx, b, cfg(bucketTasks, 60)); err != nil {
		return nil, err
	}
	claims := cfg(bucketClaims, 3)
	claims.TTL = 0 // an org's owner is remembered for as long as the data directory lives
	if l.claims, err = store.Open[Claim](ctx, b, claims); err != nil {
		return nil, err
	}
	if l.snapshots, err = store.Open[Snapshot](ctx, b, cfg(bucketSnapshots, 15)); err != nil {
		return nil, err
	}
	return l, nil
}

func runKey(tenant, id string) string { return store.Key(tenant, id) }

// CreateRun stores a new run, or returns the one that is there already under the same id.
func (l *Ledger) CreateRun(ctx context.Context, r Run) (Run, bool, error) {
	if have, _, err := l.runs.Get(ctx, runKey(r.Tenant, r.ID)); err == nil {
		if !have.State.Final() {
			err = l.mark(ctx, have)
		}
		return have, false, err
	} else if !errors.Is(err, store.ErrNotFound) {
		return Run{}, false, err
	}
	// The mark comes first: a run without a mark would never be conducted, a mark without a run is swept away.
	if err := l.mark(ctx, r); err != nil {
		return Run{}, false, err
	}
	_, err := l.runs.Create(ctx, runKey(r.Tenant, r.ID), r)
	if errors.Is(err, store.ErrExists) {
		have, _, err := l.runs.Get(ctx, runKey(r.Tenant, r.ID))
		return have, false, err
	}
	if err != nil {
		return Run{}, false, err
	}
	// It was swept away if this process stood still in between, and a sweeper that just saw no run cannot take it now.
	return r, true, l.mark(ctx, r)
}

// mark says that a run has not ended. Writing it anew gives it another revision, which a sweeper does not delete.
func (l *Ledger) mark(ctx context.Context, r Run) error {
	_, err := l.open.Upsert(ctx, store.Key(r.ID), func(OpenRun, bool) (OpenRun, error) {
		return OpenRun{Tenant: r.Tenant, RunID: r.ID}, nil
	})
	return err
}

// Run returns a run.
func (l *Ledger) Run(ctx context.Context, tenant, id string) (Run, error) {
	r, _, err := l.runs.Get(ctx, runKey(tenant, id))
	return r, err
}

// UpdateRun changes a run. A run that has ended never changes again: fn is not called and the run returned as it is.
func (l *Ledger) UpdateRun(ctx context.Context, tenant, id string, fn func(*Run)) (Run, error) {
	return l.runs.Update(ctx, runKey(tenant, id), func(r Run) (Run, error) {
		if r.State.Final() {
			return r, store.NoChange
		}
		fn(&r)
		return r, nil
	})
}

// Runs returns a tenant's runs, newest first.
func (l *Ledger) Runs(ctx context.Context, tenant string) ([]Run, error) {
	entries, err := l.runs.List(ctx, store.Key(tenant))
	if err != nil {
		return nil, err
	}
	runs := make([]Run, 0, len(entries))
	for _, e := range entries {
		runs = append(runs, e.Value)
	}
	slices.SortFunc(runs, func(a, b Run) int {
		if c := b.RequestedAt.Compare(a.RequestedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return runs, nil
}

// OpenRuns returns all runs that have not ended, oldest request first. Marks whose run has ended are taken away.
func (l *Ledger) OpenRuns(ctx context.Context) ([]Run, error) {
	entries, err := l.open.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var runs []Run
	for _, e := range entries {
		r, _, err := l.runs.Get(ctx, runKey(e.Value.Tenant, e.Value.RunID))
		switch {
		case errors.Is(err, store.ErrNotFound):
			// StartRun was cut off between mark and run; or is just between them.
			if time.Since(e.Created) > time.Minute {
				_ = l.open.Delete(ctx, e.Key, e.Revision)
			}
		case err != nil:
			return nil, err
		case r.State.Final():
			if err := l.open.Delete(ctx, e.Key, 0); err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
		default:
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, func(a, b Run) int { return a.RequestedAt.Compare(b.RequestedAt) })
	return runs, nil
}

// CloseRun takes the run's mark and claim away after it has ended.
func (l *Ledger) CloseRun(ctx context.Context, r Run) error {
	if err := l.release(ctx, r); err != nil {
		return err
	}
	if err := l.open.Delete(ctx, store.Key(r.ID), 0); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// DropRun forgets a run that has ended, its record last: whoever is cut off before finds it again.
func (l *Ledger) DropRun(ctx context.Context, r Run) error {
	if err := l.CloseRun(ctx, r); err != nil {
		return err
	}
	gone := func(err error) error {
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}
	tasks, err := l.tasks.List(ctx, store.Key(r.ID))
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if err := gone(l.tasks.Delete(ctx, t.Key, 0)); err != nil {
			return err
		}
	}
	if err := gone(l.snapshots.Delete(ctx, store.Key(r.ID), 0)); err != nil {
		return err
	}
	return gone(l.runs.Delete(ctx, runKey(r.Tenant, r.ID), 0))
}

// SaveSnapshot stores what shapes the run. The first one stays.
func (l *Ledger) SaveSnapshot(ctx context.Context, runID string, s Snapshot) error {
	_, err := l.snapshots.Create(ctx, store.Key(runID), s)
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

// Snapshot returns what shapes the run.
func (l *Ledger) Snapshot(ctx context.Context, runID string) (Snapshot, error) {
	s, _, err := l.snapshots.Get(ctx, store.Key(runID))
	return s, err
}

// Tasks returns all tasks of a run, in the order of stage creation and number.
func (l *Ledger) Tasks(ctx context.Context, runID string) ([]Task, error) {
	entries, err := l.tasks.List(ctx, store.Key(runID))
	if err != nil {
		return nil, err
	}
	tasks := make([]Task, 0, len(entries))
	for _, e := range entries {
		t := e.Value
		t.revision = e.Revision
		tasks = append(tasks, t)
		if t.State == TaskLeased {
			l.observer.see(e.Key, e.Revision)
		}
	}
	slices.SortFunc(tasks, func(a, b Task) int {
		if a.Stage != b.Stage {
			return a.Stage.order() - b.Stage.order()
		}
		return a.Number - b.Number
	})
	return tasks, nil
}

// CreateTasks stores new tasks, asleep where they have a wake time; those that are there already stay as they are.
func (l *Ledger) CreateTasks(ctx context.Context, tasks []Task) error {
	for _, t := range tasks {
		t.State = TaskPending
		if !t.WakeAt.IsZero() {
			t.State = TaskWaiting
		}
		if _, err := l.tasks.Create(ctx, t.key(), t); err != nil && !errors.Is(err, store.ErrExists) {
			return fmt.Errorf("create task %s: %w", t.Name(), err)
		}
	}
	return nil
}

// Wake cuts the sleep of a waiting task short and returns it as it is then. That is done once: a task that goes to sleep
// again has its reason.
func (l *Ledger) Wake(ctx context.Context, t Task) (Task, error) {
	if t.State != TaskWaiting || t.Woken {
		return t, nil
	}
	woken := t
	woken.WakeAt, woken.Woken = time.Now(), true
	rev, err := l.tasks.Replace(ctx, t.key(), woken, t.revision)
	if errors.Is(err, store.ErrConflict) {
		return t, nil // somebody has taken it, or woken it
	}
	if err != nil {
		return t, err
	}
	woken.revision = rev
	return woken, nil
}

// Expired reports whether a leased task's lease has run out as seen from here: its record has not changed for a whole
// lease since it was first seen. No two clocks are compared.
func (l *Ledger) Expired(t Task) bool {
	return t.State == TaskLeased && l.observer.unchangedFor(t.key(), t.revision) > l.opts.LeaseTTL
}
