package ledger_test

import (
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/lease"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// TestOthersSeeWhoHoldsATask holds what package lease reads against the ledger that writes it: auth gives tokens by it.
func TestOthersSeeWhoHoldsATask(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	l, err := ledger.Open(ctx, b, ledger.Options{Holder: "w1", LeaseTTL: time.Minute, Retention: time.Hour, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	reader := lease.Open(b)
	run := ledger.Run{ID: ledger.RunID("ac/me", "con_1", "write", "s"), Tenant: "ac/me", ConnectionID: "con_1", Kind: "write", State: ledger.RunRequested}
	if _, _, err := l.CreateRun(ctx, run); err != nil {
		t.Fatal(err)
	}
	wantHeld := func(what string, want bool, k lease.Task) {
		t.Helper()
		err := reader.Check(ctx, "ac/me", "con_1", k)
		if want && err != nil || !want && errs.ReasonOf(err) != "no_lease" {
			t.Errorf("%s: %v, want held: %v", what, err, want)
		}
	}

	for i, stage := range ledger.Stages {
		number := 1 + i*100_003 // also with more digits than the key pads
		if err := l.CreateTasks(ctx, []ledger.Task{{RunID: run.ID, Tenant: run.Tenant, Stage: stage, Number: number}}); err != nil {
			t.Fatal(err)
		}
		k := lease.Task{RunID: run.ID, Stage: string(stage), Number: number, Epoch: 1}
		wantHeld("pending", false, k)
		first, err := l.Claim(ctx, run.ID, stage, number)
		if err != nil {
			t.Fatal(err)
		}
		if k.Epoch = first.Task().Epoch; k.Epoch != 1 {
			t.Fatalf("first epoch is %d", k.Epoch)
		}
		wantHeld("claimed", true, k)
		if err := first.Fence(ctx); err != nil {
			t.Fatal(err)
		}
		wantHeld("renewed", true, k)
		if err := first.Park(ctx, time.Now(), nil); err != nil {
			t.Fatal(err)
		}
		wantHeld("parked", false, k)
		second, err := l.Claim(ctx, run.ID, stage, number)
		if err != nil {
			t.Fatal(err)
		}
		wantHeld("taken by another: the old epoch", false, k)
		k.Epoch = second.Task().Epoch
		wantHeld("taken by another: the new epoch", true, k)
		if i%2 == 0 {
			if err := second.Settle(ctx, ledger.Result{}); err != nil {
				t.Fatal(err)
			}
			wantHeld("settled", false, k)
		}
	}

	last := ledger.Stages[1] // held under epoch 2
	k := lease.Task{RunID: run.ID, Stage: string(last), Number: 100_004, Epoch: 2}
	for _, state := range []ledger.RunState{ledger.RunRequested, ledger.RunRunning, ledger.RunHeld, ledger.RunCancelling} {
		if _, err := l.UpdateRun(ctx, run.Tenant, run.ID, func(r *ledger.Run) { r.State = state }); err != nil {
			t.Fatal(err)
		}
		wantHeld("run is "+string(state), !state.Final(), k)
	}
	for _, state := range []ledger.RunState{ledger.RunSucceeded, ledger.RunWithFailures, ledger.RunFailed, ledger.RunCancelled, ledger.RunReconnect} {
		ended := run
		ended.ID, ended.State = "run-"+string(state), state
		if _, _, err := l.CreateRun(ctx, ended); err != nil {
			t.Fatal(err)
		}
		if err := l.CreateTasks(ctx, []ledger.Task{{RunID: ended.ID, Tenant: ended.Tenant, Stage: ledger.StageApply, Number: 1}}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Claim(ctx, ended.ID, ledger.StageApply, 1); err != nil {
			t.Fatal(err)
		}
		wantHeld("run is "+string(state), !state.Final(), lease.Task{RunID: ended.ID, Stage: "apply", Number: 1, Epoch: 1})
	}
}
