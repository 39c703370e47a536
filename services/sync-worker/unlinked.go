package syncworker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
)

// stillOpen is how long to wait for runs to end before what is kept of them is dropped.
const stillOpen = 2 * time.Second

// consumeUnlinked follows the connections that end.
func (s *Service) consumeUnlinked(ctx context.Context) error {
	return s.bus.Consume(ctx, bus.Consumer{
		Stream: event.StreamEvents, Durable: "sync-worker_unlinked", Filters: []string{event.ConnectionsUnlinked},
	}, s.unlinked)
}

// unlinked stops the runs of a connection that an admin has ended. Where another org takes its place, what is kept of
// them goes when they have ended.
func (s *Service) unlinked(ctx context.Context, m *bus.Message) error {
	var e eventv1.ConnectionUnlinked
	if err := m.Unmarshal(&e); err != nil {
		return errs.Wrap(err, errs.Invalid, "bad_event", "a message on %s is no unlinked connection", m.Subject)
	}
	runs, err := s.ledger.Runs(ctx, e.GetTenant())
	if err != nil {
		return err
	}
	open := 0
	for _, r := range runs {
		if r.ConnectionID != e.GetConnectionId() || r.State.Final() {
			continue
		}
		open++
		if _, err := s.conductor.Drain(ctx, r, ledger.Drain{
			State: ledger.RunCancelled, Code: stage.CodeUnlinked, Reason: "The connection was unlinked.",
		}); err != nil {
			return err
		}
		s.log.InfoContext(ctx, "run stopped: its connection was unlinked", slog.String("run", r.ID))
	}
	s.wake()
	if !e.GetReplaced() {
		return nil
	}
	if open > 0 {
		err := errs.New(errs.Unavailable, "runs_open", "%d runs of the replaced connection have not ended yet", open)
		err.RetryAfter = stillOpen
		return err
	}
	for _, r := range runs {
		if r.ConnectionID != e.GetConnectionId() {
			continue
		}
		for stream, filter := range event.OfRun(r.ID) {
			if err := s.bus.Purge(ctx, stream, filter); err != nil {
				return fmt.Errorf("drop what is kept of run %s: %w", r.ID, err)
			}
		}
		if err := s.ledger.DropRun(ctx, r); err != nil {
			return fmt.Errorf("drop run %s: %w", r.ID, err)
		}
	}
	if err := s.directory.DropOutcomes(ctx, e.GetTenant(), e.GetConnectionId()); err != nil {
		return fmt.Errorf("drop how people ended in runs of the replaced connection: %w", err)
	}
	return nil
}
