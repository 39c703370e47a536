package runrpc

import (
	"context"
	"fmt"

	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// Forget takes a run away with everything that it left on the bus. Doing it again changes nothing.
func (s *Runs) Forget(ctx context.Context, run ledger.Run) error {
	for stream, filter := range map[string]string{
		event.StreamRows: event.RowsOfRun(run.ID), event.StreamChanges: event.ChangesOfRun(run.ID), event.StreamOutcomes: event.OutcomesOfRun(run.ID),
	} {
		if err := s.Bus.Purge(ctx, stream, filter); err != nil {
			return fmt.Errorf("forget what run %s left in %s: %w", run.ID, stream, err)
		}
	}
	return s.Ledger.Forget(ctx, run)
}
