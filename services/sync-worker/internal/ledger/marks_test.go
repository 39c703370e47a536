package ledger_test

import (
	"errors"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// A process that stood still between marking a run as open and making it finds the mark swept away. The run is marked
// again, by a revision that a sweeper who saw no run does not delete: a run without a mark would never be conducted.
func TestARunIsMarkedOpenWhateverBecameOfItsMark(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	l := open(t, b, "one", time.Second)
	marks, err := store.Open[ledger.OpenRun](ctx, b, store.Config{ // as the ledger makes it
		Bucket: "OPEN_RUNS", History: 1, MaxBytes: 32 << 20 / 100 * 2, TTL: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	early, err := marks.Create(ctx, store.Key("run1"), ledger.OpenRun{Tenant: "acme", RunID: "run1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, created, err := l.CreateRun(ctx, aRun("acme", "run1")); err != nil || !created {
		t.Fatal(created, err)
	}
	if err := marks.Delete(ctx, store.Key("run1"), early); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the mark from before the run can still be swept away: %v", err)
	}
	if err := marks.Delete(ctx, store.Key("run1"), 0); err != nil {
		t.Fatal(err)
	}
	if _, created, err := l.CreateRun(ctx, aRun("acme", "run1")); err != nil || created {
		t.Fatal(created, err)
	}
	if runs, err := l.OpenRuns(ctx); err != nil || len(runs) != 1 {
		t.Errorf("open runs %+v, %v", runs, err)
	}
}

// A worker whose clock is a little behind that of whoever called it waits for the wake time instead of turning the call
// down.
func TestACallThatIsALittleEarlyIsTaken(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	l := open(t, b, "one", time.Minute)
	if err := l.CreateTasks(ctx, []ledger.Task{aTask("run1")}); err != nil {
		t.Fatal(err)
	}
	held, err := l.Claim(ctx, "run1", ledger.StageApply, 3)
	if err != nil {
		t.Fatal(err)
	}
	wake := time.Now().Add(300 * time.Millisecond)
	if err := held.Park(ctx, wake, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Claim(ctx, "run1", ledger.StageApply, 3); err != nil || time.Now().Before(wake) {
		t.Errorf("taken %s before its wake time: %v", time.Until(wake), err)
	}
}

// A holder that stood still for as long as its lease lasts knows so without asking anybody, and for good: between a
// renewal and the call that it was for, time may pass.
func TestAHolderKnowsThatItsLeaseHasRunOut(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	l := open(t, b, "one", 500*time.Millisecond)
	if err := l.CreateTasks(ctx, []ledger.Task{aTask("run1")}); err != nil {
		t.Fatal(err)
	}
	held, err := l.Claim(ctx, "run1", ledger.StageApply, 3)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		if err := held.Held(); !errors.Is(err, ledger.ErrLeaseLost) {
			return errors.New("the lease still stands")
		}
		return nil
	})
	if err := held.Save(ctx, nil); !errors.Is(err, ledger.ErrLeaseLost) {
		t.Errorf("a lease that was given up is renewed: %v", err)
	}
}
