package ledger_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

func open(t *testing.T, b *bus.Bus, holder string, ttl time.Duration) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), b, ledger.Options{Holder: holder, LeaseTTL: ttl, Retention: time.Hour, MaxBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func aTask(run string) ledger.Task {
	return ledger.Task{RunID: run, Tenant: "acme", Stage: ledger.StageApply, Number: 3}
}

func TestATaskHasOneHolderAndRisingEpochs(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	const ttl = 300 * time.Millisecond
	one, two := open(t, b, "one", ttl), open(t, b, "two", ttl)
	if err := one.CreateTasks(ctx, []ledger.Task{aTask("run1")}); err != nil {
		t.Fatal(err)
	}
	held, err := one.Claim(ctx, "run1", ledger.StageApply, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Claim(ctx, "run1", ledger.StageApply, 3); !errors.Is(err, ledger.ErrHeld) {
		t.Fatalf("a held task is taken: %v", err)
	}
	// The first holder says nothing any more. The second one takes over after a whole lease that it watched itself.
	began := time.Now()
	var taken *ledger.Lease
	testkit.Eventually(t, 10*time.Second, func() error {
		taken, err = two.Claim(ctx, "run1", ledger.StageApply, 3)
		return err
	})
	if waited := time.Since(began); waited < ttl {
		t.Errorf("the task changed hands after %s, within the lease of %s", waited, ttl)
	}
	if a, b := held.Task().Epoch, taken.Task().Epoch; b != a+1 {
		t.Errorf("epochs %d and %d", a, b)
	}
	// Promise P3: whoever lost the lease can neither send nor settle.
	if err := held.Fence(ctx); !errors.Is(err, ledger.ErrLeaseLost) {
		t.Errorf("fence of the former holder: %v", err)
	}
	if err := held.Settle(ctx, ledger.Result{}); !errors.Is(err, ledger.ErrLeaseLost) {
		t.Errorf("settling by the former holder: %v", err)
	}
	if err := taken.Settle(ctx, ledger.Result{Counts: ledger.Counts{Written: 7}}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Claim(ctx, "run1", ledger.StageApply, 3); !errors.Is(err, ledger.ErrSettled) {
		t.Errorf("a settled task is taken: %v", err)
	}
	tasks, err := one.Tasks(ctx, "run1")
	if err != nil || len(tasks) != 1 || tasks[0].Result.Counts.Written != 7 || tasks[0].Result.Epoch != 2 {
		t.Errorf("tasks %+v, %v", tasks, err)
	}
}

func TestAKeptLeaseOutlivesItsTerm(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	const ttl = 400 * time.Millisecond
	one, two := open(t, b, "one", ttl), open(t, b, "two", ttl)
	if err := one.CreateTasks(ctx, []ledger.Task{aTask("run1")}); err != nil {
		t.Fatal(err)
	}
	held, err := one.Claim(ctx, "run1", ledger.StageApply, 3)
	if err != nil {
		t.Fatal(err)
	}
	kctx, stop := context.WithCancel(ctx)
	var renewals sync.WaitGroup
	renewals.Go(func() {
		held.Keep(kctx, func(task *ledger.Task) { task.Rows++ }, nil, func(err error) { t.Errorf("lost: %v", err) })
	})
	first := held.Task().Rows
	testkit.Eventually(t, 10*time.Second, func() error {
		if _, err := two.Claim(ctx, "run1", ledger.StageApply, 3); !errors.Is(err, ledger.ErrHeld) {
			t.Fatalf("a kept task is taken: %v", err)
		}
		if held.Task().Rows < first+8 { // two whole leases
			return errors.New("not yet renewed often enough")
		}
		return nil
	})
	stop()
	renewals.Wait()
}

func TestKeepTellsThatTheLeaseIsLost(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	one, two := open(t, b, "one", 200*time.Millisecond), open(t, b, "two", 200*time.Millisecond)
	if err := one.CreateTasks(ctx, []ledger.Task{aTask("run1")}); err != nil {
		t.Fatal(err)
	}
	held, err := one.Claim(ctx, "run1", ledger.StageApply, 3)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		_, err := two.Claim(ctx, "run1", ledger.StageApply, 3)
		return err
	})
	var lost error
	held.Keep(ctx, nil, nil, func(err error) { lost = err })
	if !errors.Is(lost, ledger.ErrLeaseLost) {
		t.Errorf("told %v", lost)
	}
}

func TestAParkedTaskSleeps(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	l := open(t, b, "one", time.Second)
	if err := l.CreateTasks(ctx, []ledger.Task{aTask("run1")}); err != nil {
		t.Fatal(err)
	}
	held, err := l.Claim(ctx, "run1", ledger.StageApply, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Park(ctx, time.Now().Add(time.Hour), func(task *ledger.Task) { task.Checkpoint.Polls = 4 }); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Claim(ctx, "run1", ledger.StageApply, 3); !errors.Is(err, ledger.ErrAsleep) {
		t.Fatalf("a sleeping task is taken: %v", err)
	}
	if err := held.Save(ctx, nil); !errors.Is(err, ledger.ErrLeaseLost) {
		t.Errorf("a parked task is still written to: %v", err)
	}
	tasks, err := l.Tasks(ctx, "run1")
	if err != nil || tasks[0].Checkpoint.Polls != 4 {
		t.Errorf("tasks %+v, %v", tasks, err)
	}
}

func aRun(tenant, id string) ledger.Run {
	return ledger.Run{ID: id, Tenant: tenant, State: ledger.RunRequested, OrgID: "00D1", Object: "Contact", RequestedAt: time.Now()}
}

func TestOneRequestMakesOneRun(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	l := open(t, b, "one", time.Second)
	var made sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, created, err := l.CreateRun(ctx, aRun("acme", "run1"))
			if err != nil {
				t.Error(err)
			}
			if created {
				if _, twice := made.LoadOrStore("run1", true); twice {
					t.Error("one request made two runs")
				}
			}
		})
	}
	all.Wait()
	runs, err := l.OpenRuns(ctx)
	if err != nil || len(runs) != 1 {
		t.Fatalf("open runs %+v, %v", runs, err)
	}
}

func TestAnEndedRunNeverChanges(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	l := open(t, b, "one", time.Second)
	if _, _, err := l.CreateRun(ctx, aRun("acme", "run1")); err != nil {
		t.Fatal(err)
	}
	set := func(s ledger.RunState) func(*ledger.Run) { return func(r *ledger.Run) { r.State = s } }
	if _, err := l.UpdateRun(ctx, "acme", "run1", set(ledger.RunSucceeded)); err != nil {
		t.Fatal(err)
	}
	r, err := l.UpdateRun(ctx, "acme", "run1", set(ledger.RunRunning))
	if err != nil || r.State != ledger.RunSucceeded {
		t.Errorf("the ended run is %s, %v", r.State, err)
	}
	if open, err := l.OpenRuns(ctx); err != nil || len(open) != 0 {
		t.Errorf("open runs %+v, %v", open, err)
	}
}

func TestOneRunWritesToAnObject(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	l := open(t, b, "one", time.Second)
	first, second := aRun("acme", "run1"), aRun("acme", "run2")
	for _, r := range []ledger.Run{first, second} {
		if _, _, err := l.CreateRun(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	acquire := func(r ledger.Run, want bool) {
		t.Helper()
		if got, err := l.Acquire(ctx, r); err != nil || got != want {
			t.Fatalf("%s: %t, %v", r.ID, got, err)
		}
	}
	acquire(first, true)
	acquire(first, true)
	acquire(second, false)
	if _, err := l.Acquire(ctx, aRun("other", "run3")); !errors.Is(err, ledger.ErrOtherTenant) {
		t.Errorf("another tenant's run: %v", err)
	}
	// A conductor that was killed between ending a run and giving its claim back blocks nobody.
	if _, err := l.UpdateRun(ctx, "acme", "run1", func(r *ledger.Run) { r.State = ledger.RunFailed }); err != nil {
		t.Fatal(err)
	}
	acquire(second, true)
	if err := l.CloseRun(ctx, first); err != nil {
		t.Fatal(err)
	}
	if _, err := l.UpdateRun(ctx, "acme", "run2", func(r *ledger.Run) { r.State = ledger.RunSucceeded }); err != nil {
		t.Fatal(err)
	}
}

func TestRunIDsAreFixedByWhatTheyName(t *testing.T) {
	t.Parallel()
	a := ledger.RunID("acme", "c1", "write", "schedule:2026-11-21")
	if a != ledger.RunID("acme", "c1", "write", "schedule:2026-11-21") {
		t.Error("the same slot names two runs")
	}
	for _, other := range []string{
		ledger.RunID("acmec", "1", "write", "schedule:2026-11-21"), ledger.RunID("acme", "c1", "write", "schedule:2026-11-22"),
		ledger.RunID("other", "c1", "write", "schedule:2026-11-21"),
	} {
		if a == other {
			t.Error("two slots name one run")
		}
	}
}

// A sleeping task is woken once when its run is stopped: it may have a reason to sleep again.
func TestATaskIsWokenOnce(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), testkit.Bus(t)
	l := open(t, b, "one", time.Minute)
	if err := l.CreateTasks(ctx, []ledger.Task{aTask("run1")}); err != nil {
		t.Fatal(err)
	}
	sleep := func() ledger.Task {
		t.Helper()
		held, err := l.Claim(ctx, "run1", ledger.StageApply, 3)
		if err != nil {
			t.Fatal(err)
		}
		if err := held.Park(ctx, time.Now().Add(time.Hour), func(t *ledger.Task) { t.LastError = "busy" }); err != nil {
			t.Fatal(err)
		}
		tasks, err := l.Tasks(ctx, "run1")
		if err != nil {
			t.Fatal(err)
		}
		return tasks[0]
	}
	first := sleep()
	woken, err := l.Wake(ctx, first)
	if err != nil || !woken.Woken || woken.WakeAt.After(time.Now()) {
		t.Fatalf("woken: %+v, %v", woken, err)
	}
	if late, err := l.Wake(ctx, first); err != nil || late.Woken {
		t.Errorf("whoever comes second: %+v, %v", late, err)
	}
	again := sleep()
	if asleep, err := l.Wake(ctx, again); err != nil || !asleep.WakeAt.After(time.Now()) || asleep.LastError != "busy" {
		t.Errorf("asleep again: %+v, %v", asleep, err)
	}
}
