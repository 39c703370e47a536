package syncworker

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/backend"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
)

// An admin ends a connection: its runs stop, those of others go on. Where another org takes its place, what is kept of
// them goes as soon as they have ended.
func TestUnlinked(t *testing.T) {
	t.Parallel()
	s, ctx := worker(t, 1), t.Context()
	var err error
	if s.directory, err = backend.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "people.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.directory.Close(); err != nil {
			t.Error(err)
		}
	})
	for id, r := range map[string]ledger.Run{
		"ended": {ConnectionID: "con_1", State: ledger.RunSucceeded},
		"open":  {ConnectionID: "con_1", State: ledger.RunRequested},
		"held":  {ConnectionID: "con_1", State: ledger.RunHeld, StartedAt: time.Now(), Hold: &ledger.Hold{Guard: "creates", ExpiresAt: time.Now().Add(time.Hour)}},
		"other": {ConnectionID: "con_2", State: ledger.RunHeld, StartedAt: time.Now(), Hold: &ledger.Hold{Guard: "creates", ExpiresAt: time.Now().Add(time.Hour)}},
	} {
		r.ID, r.Tenant, r.Kind, r.OrgID, r.Object, r.RequestedAt = id, "acme", ledger.KindWrite, "00D1", "Contact", time.Now()
		if _, _, err := s.ledger.CreateRun(ctx, r); err != nil {
			t.Fatal(err)
		}
		address := event.Address{Run: id, Kind: "outcomes", Stage: "plan", Epoch: 1}
		_, subject := address.Outcomes(0)
		err := errors.Join(s.bus.Publish(ctx, subject, []byte("x")), s.ledger.CreateTasks(ctx, []ledger.Task{{RunID: id, Tenant: "acme", Stage: ledger.StagePlan, Number: 7}}),
			s.directory.ProjectOutcomes(ctx, "acme", r.ConnectionID, id, time.Now(), []*syncv1.Outcome{{PersonId: "p1", Kind: syncv1.OutcomeKind_OUTCOME_KIND_CREATED, RecordId: "003"}}))
		if err != nil {
			t.Fatal(err)
		}
	}
	tell := func(replaced bool) error {
		data, err := proto.Marshal(&eventv1.ConnectionUnlinked{Tenant: "acme", ConnectionId: "con_1", Replaced: replaced})
		if err != nil {
			t.Fatal(err)
		}
		return s.unlinked(ctx, &bus.Message{Subject: event.ConnectionUnlinked("acme", "con_1"), Data: data})
	}
	run := func(id string) ledger.Run {
		r, err := s.ledger.Run(ctx, "acme", id)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for range 2 { // told twice
		if err := tell(false); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"open", "held"} {
		if r := run(id); r.Drain == nil || r.Drain.State != ledger.RunCancelled || r.Drain.Code != stage.CodeUnlinked {
			t.Errorf("%s goes on: %+v", id, r)
		}
	}
	if run("other").Drain != nil || run("ended").State != ledger.RunSucceeded {
		t.Error("a run that has nothing to do with it was stopped, or one that had ended was changed")
	}

	if err := tell(true); errs.ReasonOf(err) != "runs_open" || errs.RetryAfter(err) == 0 {
		t.Errorf("runs that have not ended: %v", err)
	}
	if _, err := s.conductor.Sweep(ctx); err != nil { // ends the one that had not begun
		t.Fatal(err)
	}
	if _, err := s.ledger.UpdateRun(ctx, "acme", "held", func(r *ledger.Run) { r.State = ledger.RunCancelled }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := tell(true); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"ended", "open", "held"} {
		if _, err := s.ledger.Run(ctx, "acme", id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s is kept: %v", id, err)
		}
		if tasks, err := s.ledger.Tasks(ctx, id); err != nil || len(tasks) != 0 {
			t.Errorf("%d tasks of %s are kept: %v", len(tasks), id, err)
		}
	}
	left, err := s.bus.Subjects(ctx, event.StreamOutcomes, "catalogsync.outcomes.>")
	if err != nil || len(left) != 1 {
		t.Errorf("outcomes are kept: %v, %v", left, err)
	}
	history, err := s.directory.History(ctx, "acme", "con_1", "p1", 10)
	if err != nil || len(history) != 0 {
		t.Errorf("how people ended is kept: %v, %v", history, err)
	}
	if history, err = s.directory.History(ctx, "acme", "con_2", "p1", 10); err != nil || len(history) != 1 {
		t.Errorf("how people ended on another connection is gone: %v, %v", history, err)
	}
}
