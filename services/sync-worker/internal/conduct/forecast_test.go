package conduct_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// A plan says what it will cost by kind of call.
func TestForecastByKind(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		creates, updates int64
		want             map[string]int64
	}{
		{0, 0, map[string]int64{}},
		{201, 1, map[string]int64{"collections": 3, "query": 1}},
		{2000, 2000, map[string]int64{"collections": 20, "query": 2}},
		{250_000, 10, map[string]int64{"collections": 1, "bulk": 3 * (5 + 6), "query": 5}},
	} {
		w := newWorld(300_000, 30, tt.creates, tt.updates)
		w.run.PlanOnly = true
		w.finish(t, rand.New(rand.NewPCG(1, 1)))
		if diff := cmp.Diff(tt.want, w.run.Plan.ForecastByKind); diff != "" {
			t.Errorf("%d creates, %d updates: %s", tt.creates, tt.updates, diff)
		}
		var sum int64
		for _, n := range tt.want {
			sum += n
		}
		if w.run.Plan.ForecastAPICalls != sum {
			t.Errorf("%d calls, by kind they are %d", w.run.Plan.ForecastAPICalls, sum)
		}
	}
}

// What the org's allocation had no room for goes on in tasks of its own, asleep until then, again and again; the run says
// what it waits for, and counts everybody once.
func TestUnsentRowsGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(5000, 1, 500, 0)
	inner := w.result
	later := time.Now().Add(time.Hour)
	var inputs []int
	w.result = func(task ledger.Task) ledger.Result {
		if task.Stage != ledger.StageApply {
			return inner(task)
		}
		inputs = append(inputs, len(task.Input.Only))
		if len(inputs) == 3 {
			return ledger.Result{Counts: ledger.Counts{Written: task.Input.Rows}}
		}
		unsent := make([]int, task.Input.Rows-200)
		for i := range unsent {
			unsent[i] = i + 200*len(inputs)
		}
		return ledger.Result{Counts: ledger.Counts{Written: 200}, Unsent: unsent, GoesOnAt: later, Waits: "Our share is used up."}
	}
	w.finish(t, rand.New(rand.NewPCG(1, 1)))
	if diff := cmp.Diff([]int{0, 300, 100}, inputs); diff != "" {
		t.Errorf("the apply tasks had so many rows: %s", diff)
	}
	if n := w.run.Counts; n.Written != 500 || w.run.State != ledger.RunSucceeded {
		t.Errorf("the run is %s: %+v", w.run.State, n)
	}
	var numbers []int
	for _, task := range w.tasks {
		if task.Stage == ledger.StageApply {
			numbers = append(numbers, task.Number)
			if task.Number > 0 && (!task.Window || !task.WakeAt.Equal(later)) {
				t.Errorf("the rest does not wait: %+v", task)
			}
		}
	}
	if diff := cmp.Diff([]int{0, 10_000, 20_000}, numbers); diff != "" {
		t.Error(diff)
	}

	waiting := ledger.Task{RunID: "run1", Stage: ledger.StageApply, Number: 1, State: ledger.TaskWaiting, Window: true, LastError: "Our share is used up."}
	step := conduct.Next(ledger.Run{ID: "run1", State: ledger.RunRunning}, []ledger.Task{waiting}, conduct.DefaultLimits())
	if !strings.HasPrefix(step.Run.Reason, "Our share is used up.") || !step.Run.Parked {
		t.Errorf("the run says %q", step.Run.Reason)
	}
}
