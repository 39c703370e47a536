package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/catalogsync/catalogsync/internal/store"
)

// Forget takes a run with its tasks out of the ledger, as if it had never been. What workers that still hold one of its
// tasks do is refused. Doing it again changes nothing.
func (l *Ledger) Forget(ctx context.Context, r Run) error {
	if err := l.CloseRun(ctx, r); err != nil {
		return err
	}
	tasks, err := l.tasks.List(ctx, store.Key(r.ID))
	if err != nil {
		return fmt.Errorf("list the tasks of run %s: %w", r.ID, err)
	}
	for _, t := range tasks {
		if err := l.tasks.Delete(ctx, t.Key, 0); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("forget task %s of run %s: %w", t.Value.Name(), r.ID, err)
		}
	}
	if err := l.snapshots.Delete(ctx, store.Key(r.ID), 0); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("forget what shaped run %s: %w", r.ID, err)
	}
	// The run comes last: as long as it is there, somebody who was cut off can begin again.
	if err := l.runs.Delete(ctx, runKey(r.Tenant, r.ID), 0); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("forget run %s: %w", r.ID, err)
	}
	return nil
}
