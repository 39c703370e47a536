package conduct_test

import (
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// A run that does not go on says why, until it does.
func TestARunSaysWhyItDoesNotGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(100, 1, 100, 0)
	w.step(t)
	prepare := w.task(ledger.Task{Stage: ledger.StagePrepare})
	prepare.State, prepare.WakeAt, prepare.LastError = ledger.TaskWaiting, time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC), "Salesforce is busy."
	w.step(t)
	if want := "The prepare stage is tried again at 09:30:00 UTC: Salesforce is busy."; w.run.Reason != want {
		t.Errorf("reason %q, want %q", w.run.Reason, want)
	}
	prepare.State = ledger.TaskLeased
	if w.step(t); w.run.Reason != "" {
		t.Errorf("at work again, it still says %q", w.run.Reason)
	}
	// A run that is stopped says why it ends, whatever its tasks say.
	prepare.State = ledger.TaskWaiting
	w.run.Drain, w.run.Reason = &ledger.Drain{State: ledger.RunCancelled, Reason: "Ada cancelled it."}, "Ada cancelled it."
	if w.step(t); !strings.HasPrefix(w.run.Reason, "Ada") {
		t.Errorf("stopped, it says %q", w.run.Reason)
	}
}
