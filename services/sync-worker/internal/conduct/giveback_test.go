package conduct_test

import (
	"math/rand/v2"
	"testing"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// A run that is stopped while it copies people concerns nobody; what it has copied is given back by its close stage.
func TestAStoppedSnapshotIsGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(100_000, 10, 0, 0)
	plain := w.result
	w.result = func(task ledger.Task) ledger.Result {
		if task.Stage == ledger.StageSnapshot && task.Number == 1 {
			w.run.Drain = &ledger.Drain{State: ledger.RunCancelled, Code: "cancelled"}
			return ledger.Result{Aborted: true}
		}
		return plain(task)
	}
	w.finish(t, rand.New(rand.NewPCG(1, 1)))
	if w.run.State != ledger.RunCancelled || w.run.Counts != (ledger.Counts{}) {
		t.Errorf("ended %s with %+v", w.run.State, w.run.Counts)
	}
	if w.task(ledger.Task{Stage: ledger.StageClose}) == nil {
		t.Error("nothing gives the rows back")
	}
}
