package conduct_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// world carries a run out on paper: tasks that Next asks for settle with what is given for their stage.
type world struct {
	run    ledger.Run
	tasks  []ledger.Task
	stages []ledger.Stage
	result func(ledger.Task) ledger.Result
}

func (w *world) task(want ledger.Task) *ledger.Task {
	for i := range w.tasks {
		if w.tasks[i].Name() == want.Name() {
			return &w.tasks[i]
		}
	}
	return nil
}

// step asks Next once and makes what it asks for. It reports whether the run has closed.
func (w *world) step(t *testing.T) bool {
	t.Helper()
	s := conduct.Next(w.run, w.tasks, conduct.DefaultLimits())
	for _, want := range s.Create {
		if w.task(want) == nil {
			want.State = ledger.TaskPending
			w.tasks = append(w.tasks, want)
		}
	}
	w.run = s.Run
	if s.Judge {
		w.run.Judged = true
		return false
	}
	// The pull of a whole table goes on beside the snapshot: whether it is seen as a stage depends on which is slower.
	if !s.Closed && w.run.Stage != ledger.StagePull && (len(w.stages) == 0 || w.stages[len(w.stages)-1] != w.run.Stage) {
		w.stages = append(w.stages, w.run.Stage)
	}
	return s.Closed
}

func (w *world) finish(t *testing.T, rng *rand.Rand) {
	t.Helper()
	for range 10_000 {
		if w.step(t) {
			return
		}
		var open []*ledger.Task
		for i := range w.tasks {
			if w.tasks[i].State != ledger.TaskSettled {
				open = append(open, &w.tasks[i])
			}
		}
		if len(open) == 0 && w.run.Judged && w.run.Stage == ledger.StagePlan {
			continue // it was judged just now
		}
		if len(open) == 0 {
			t.Fatalf("stage %s: nothing is open and the run does not close", w.run.Stage)
		}
		task := open[rng.IntN(len(open))]
		res := w.result(*task)
		res.Epoch = 1
		task.State, task.Result = ledger.TaskSettled, &res
	}
	t.Fatal("the run does not end")
}

func newWorld(people, parts int, creates, updates int64) *world {
	w := &world{run: ledger.Run{ID: "run1", Tenant: "acme", State: ledger.RunRunning}}
	w.result = func(t ledger.Task) ledger.Result {
		switch t.Stage {
		case ledger.StagePrepare:
			p := &ledger.Prepared{People: int64(people), Parts: parts, PullMode: ledger.PullBulk}
			for i := 0; i < people; i += 50_000 {
				p.Ranges = append(p.Ranges, ledger.Input{From: fmt.Sprint(i), Rows: 50_000})
			}
			return ledger.Result{Prepared: p}
		case ledger.StageSnapshot:
			n := int64(min(50_000, people-t.Number*50_000))
			return ledger.Result{Counts: ledger.Counts{People: n}}
		case ledger.StagePlan:
			if t.Number > 0 {
				return ledger.Result{}
			}
			res := ledger.Result{Counts: ledger.Counts{Creates: creates, Updates: updates, Unchanged: int64(people) - creates - updates}}
			for kind, n := range map[string]int64{rows.KindCreates: creates, rows.KindUpdates: updates} {
				out := ledger.Output{Kind: kind, Rows: n}
				for ; n > 0; n -= 1500 {
					out.MessageRows = append(out.MessageRows, int(min(n, 1500)))
					out.Messages++
					out.Bytes += 128 << 10
				}
				res.Outputs = append(res.Outputs, out)
			}
			return res
		case ledger.StageApply:
			res := ledger.Result{Counts: ledger.Counts{Written: t.Input.Rows}}
			if t.Input.Bulk {
				res.Jobs = []string{fmt.Sprintf("750%d", t.Number)}
			}
			return res
		case ledger.StageVerify:
			if t.Number > 0 {
				return ledger.Result{}
			}
			return ledger.Result{Counts: ledger.Counts{Created: creates, Updated: updates, Verified: creates + updates}}
		}
		return ledger.Result{}
	}
	return w
}

func TestARunPassesItsStagesInOrder(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		people           int
		creates, updates int64
		want             []ledger.Stage
		apply            []ledger.Input
	}{
		"nobody": {0, 0, 0, []ledger.Stage{"prepare", "close"}, nil},
		"everybody is right already": {
			2001, 0, 0, []ledger.Stage{"prepare", "snapshot", "plan", "close"}, nil,
		},
		"few changes go through Collections and are read back by id": {
			200, 150, 50,
			[]ledger.Stage{"prepare", "snapshot", "plan", "apply", "verify", "close"},
			[]ledger.Input{{Action: "creates", Rows: 150}, {Action: "updates", Rows: 50}},
		},
		"2,000 still do": {
			2000, 2000, 0,
			[]ledger.Stage{"prepare", "snapshot", "plan", "apply", "verify", "close"},
			[]ledger.Input{{Action: "creates", Rows: 2000}},
		},
		"2,001 go through the Bulk API": {
			2001, 2001, 0,
			[]ledger.Stage{"prepare", "snapshot", "plan", "apply", "verify", "close"},
			[]ledger.Input{{Action: "creates", Rows: 2001, Bulk: true}},
		},
		"many are cut into jobs and read back by a query": {
			250_000, 250_000, 10,
			[]ledger.Stage{"prepare", "snapshot", "plan", "apply", "readback", "verify", "close"},
			[]ledger.Input{
				{Action: "creates", Rows: 99_000, Bulk: true},
				{Action: "creates", Rows: 99_000, Bulk: true},
				{Action: "creates", Rows: 52_000, Bulk: true},
				{Action: "updates", Rows: 10},
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				w := newWorld(c.people, 25, c.creates, c.updates)
				w.finish(t, rand.New(rand.NewPCG(seed, 0)))
				if d := cmp.Diff(c.want, w.stages); d != "" {
					t.Fatalf("seed %d: stages (-want +got):\n%s", seed, d)
				}
				var apply []ledger.Input
				for _, task := range w.tasks {
					if task.Stage == ledger.StageApply {
						in := task.Input
						in.Changes = nil
						apply = append(apply, in)
					}
				}
				if d := cmp.Diff(c.apply, apply); d != "" {
					t.Fatalf("seed %d: apply tasks (-want +got):\n%s", seed, d)
				}
				if w.run.State != ledger.RunSucceeded || w.run.Counts.Outcomes() != int64(c.people) {
					t.Fatalf("seed %d: ended %s with %+v", seed, w.run.State, w.run.Counts)
				}
			}
		})
	}
}

// Every message of changes is in exactly one apply task.
func TestApplyTasksCoverThePlan(t *testing.T) {
	t.Parallel()
	w := newWorld(300_000, 1, 230_001, 60_007)
	w.finish(t, rand.New(rand.NewPCG(1, 1)))
	seen := make(map[string]bool)
	var rowsIn int64
	for _, task := range w.tasks {
		if task.Stage != ledger.StageApply {
			continue
		}
		rowsIn += task.Input.Rows
		for _, ref := range task.Input.Changes {
			for n := ref.From; n < ref.To; n++ {
				key := fmt.Sprint(ref.Kind, ref.Stage, ref.Task, n)
				if seen[key] {
					t.Fatalf("message %s is in two tasks", key)
				}
				seen[key] = true
			}
		}
	}
	if rowsIn != 290_008 || len(seen) != 154+41 {
		t.Errorf("%d rows in %d messages", rowsIn, len(seen))
	}
}

// A conductor may be killed between making the first task of a stage and the last.
func TestAHalfMadeStageIsMadeWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(200_000, 20, 0, 0)
	w.step(t)
	res := w.result(w.tasks[0])
	w.tasks[0].State, w.tasks[0].Result = ledger.TaskSettled, &res
	w.step(t)
	var kept []ledger.Task
	for _, task := range w.tasks {
		if task.Stage == ledger.StageSnapshot && task.Number > 0 {
			continue // never made
		}
		res := w.result(task)
		task.State, task.Result = ledger.TaskSettled, &res
		kept = append(kept, task)
	}
	w.tasks = kept
	w.finish(t, rand.New(rand.NewPCG(3, 3)))
	if got := w.run.Counts.People; got != 200_000 {
		t.Errorf("%d people in the snapshot", got)
	}
}

func TestAPlanOnlyRunEndsAtTheGate(t *testing.T) {
	t.Parallel()
	w := newWorld(5000, 1, 3000, 10)
	w.run.PlanOnly = true
	w.finish(t, rand.New(rand.NewPCG(1, 1)))
	if d := cmp.Diff([]ledger.Stage{"prepare", "snapshot", "plan", "close"}, w.stages); d != "" {
		t.Errorf("stages (-want +got):\n%s", d)
	}
	p := w.run.Plan
	if p == nil || p.Creates != 3000 || p.Updates != 10 || p.ForecastAPICalls == 0 || w.run.State != ledger.RunSucceeded {
		t.Errorf("%s, plan %+v", w.run.State, p)
	}
}

// Promise P4: a stopped run ends whatever it had reached.
func TestADrainedRunEnds(t *testing.T) {
	t.Parallel()
	for after := range 60 {
		rng := rand.New(rand.NewPCG(uint64(after), 9))
		w := newWorld(100_000, 10, 9000, 0)
		plain := w.result
		w.result = func(task ledger.Task) ledger.Result {
			if w.run.Drain == nil {
				return plain(task)
			}
			// What the stages do of a run that is being stopped.
			switch task.Stage {
			case ledger.StagePrepare, ledger.StageSnapshot, ledger.StagePull:
				return ledger.Result{Aborted: true}
			case ledger.StagePlan:
				if task.Number == 0 {
					return ledger.Result{Counts: ledger.Counts{Deferred: 100_000}}
				}
				return ledger.Result{}
			case ledger.StageApply:
				return ledger.Result{Counts: ledger.Counts{Deferred: task.Input.Rows}}
			}
			return plain(task)
		}
		closed := false
		for range after {
			if closed = w.step(t); closed {
				break
			}
			for i := range w.tasks {
				if w.tasks[i].State != ledger.TaskSettled {
					res := w.result(w.tasks[i])
					w.tasks[i].State, w.tasks[i].Result = ledger.TaskSettled, &res
					break
				}
			}
		}
		if closed {
			continue
		}
		w.run.Drain = &ledger.Drain{State: ledger.RunCancelled, Code: "cancelled"}
		w.finish(t, rng)
		if w.run.State != ledger.RunCancelled {
			t.Fatalf("drained after %d steps: ended %s", after, w.run.State)
		}
		if n := w.run.Counts; n.People != n.Outcomes() {
			t.Fatalf("drained after %d steps: %d people, %d outcomes: %+v", after, n.People, n.Outcomes(), n)
		}
	}
}
