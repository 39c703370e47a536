package stage_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) shift(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// limited is a world whose org gives so many calls in 24 hours, with a clock for them.
func limited(t *testing.T, calls int) (*world, *clock) {
	t.Helper()
	w := newWorld(t, options{external: externalID, org: func(o *simulator.Options) { o.DailyLimit = calls }})
	c := &clock{now: time.Now()}
	var err error
	if w.runner.Allocations, err = allocation.Open(t.Context(), w.bus.Bus, 1<<20, c.Now); err != nil {
		t.Fatal(err)
	}
	w.org.SetAPIUsed(0)
	return w, c
}

// wake lets a sleeping task be taken now.
func (k *work) wake() {
	k.t.Helper()
	if _, err := k.ledger.Wake(k.t.Context(), k.record()); err != nil {
		k.t.Fatal(err)
	}
}

// rest makes the task that goes on with what another could not send.
func (k *work) rest() *work {
	k.t.Helper()
	t := k.record()
	in := t.Input
	in.Only = t.Result.Unsent
	return k.make(k.stage, k.number+10_000, in)
}

// Our share of the org's calls is used up in the middle: what was sent stays settled, and the rest goes on when the window
// has moved. Nothing is sent twice.
func TestOurShareIsUsedUp(t *testing.T) {
	t.Parallel()
	w, c := limited(t, 50) // 10 of them are ours
	k := w.planned(create, false, w.creates(3000))
	if err := k.attempt(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := k.record()
	if first.State != ledger.TaskSettled || first.Result.Counts.Written != 2000 || len(first.Result.Unsent) != 1000 || !strings.Contains(first.Result.Waits, "10 of 10") {
		t.Fatalf("the task is %s, %+v", first.State, first.Result)
	}
	if wait := first.Result.GoesOnAt.Sub(c.Now()); wait < 23*time.Hour || wait > 25*time.Hour {
		t.Errorf("it goes on in %s", wait)
	}
	if n := collectionCalls(w); n != 10 {
		t.Errorf("%d calls, want the 10 that are ours", n)
	}
	rest := k.rest()
	if err := rest.attempt(t.Context()); err != nil { // too early: it sleeps again
		t.Fatal(err)
	}
	if r := rest.record(); r.State != ledger.TaskWaiting || !r.Window || r.Failures != 0 || !strings.Contains(r.LastError, "share") {
		t.Fatalf("too early the rest is %+v", r)
	}
	c.shift(first.Result.GoesOnAt.Sub(c.Now()))
	rest.wake()
	all := w.outcomes(rest.settle())
	for id, o := range w.outcomes(first) {
		if all[id] != nil {
			t.Errorf("%s was sent twice", id)
		}
		all[id] = o
	}
	if diff := cmp.Diff(map[string]int{"created": 3000}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	w.checkWritten(all)
	if n := w.org.EffectCount(); n != 3000 || collectionCalls(w) != 15 {
		t.Errorf("%d effects in %d calls", n, collectionCalls(w))
	}
}

// Others use the org's calls up while the run is at work: it stops at the next call, and goes on when there is room.
func TestOthersUseTheAllocationUp(t *testing.T) {
	t.Parallel()
	w, c := limited(t, 10_000)
	k := w.planned(create, false, w.creates(1000))
	var once sync.Once
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		once.Do(func() { w.org.SetAPIUsed(8500) })
		return org.RoundTrip(r)
	})
	if err := k.attempt(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := k.record()
	if first.State != ledger.TaskSettled || first.Result.Counts.Written != 200 || len(first.Result.Unsent) != 800 || !strings.Contains(first.Result.Waits, "so that others can still work") {
		t.Fatalf("the task is %s, %+v", first.State, first.Result)
	}
	if n := collectionCalls(w); n != 1 {
		t.Errorf("%d calls, want the one in flight", n)
	}
	w.org.SetAPIUsed(100)
	c.shift(10 * time.Minute)
	if diff := cmp.Diff(map[string]int{"created": 800}, byKind(w.outcomes(k.rest().settle()))); diff != "" {
		t.Error(diff)
	}
	if w.org.Count("Contact") != 1000 || w.org.EffectCount() != 1000 {
		t.Errorf("%d contacts, %d effects", w.org.Count("Contact"), w.org.EffectCount())
	}
}

// An org that refuses calls because they are used up is left alone for a while, and that is no failure. One that refuses
// for lack of permission ends the run.
func TestLimitAndPermissionAreToldApart(t *testing.T) {
	t.Parallel()
	for _, bulk := range []bool{false, true} {
		w, c := limited(t, 100_000)
		w.org.Faults().MustAdd(fault.Rule{Kind: fault.RequestLimit, Count: 1})
		k := w.planned(create, bulk, w.creates(300))
		if err := k.attempt(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := k.record()
		if r.State != ledger.TaskWaiting || !r.Window || r.Failures != 0 || !strings.Contains(r.LastError, "refuses further API calls") || r.Checkpoint.Attempted != 0 {
			t.Fatalf("bulk %t: after the refusal the task is %+v", bulk, r)
		}
		if w.org.EffectCount() != 0 {
			t.Error("something was written")
		}
		c.shift(time.Until(r.WakeAt) + time.Second)
		k.wake()
		if diff := cmp.Diff(map[string]int{"created": 300}, byKind(w.outcomes(k.settle()))); diff != "" {
			t.Error(diff)
		}
	}
	w, _ := limited(t, 100_000)
	w.org.Faults().MustAdd(fault.Rule{
		Kind: fault.Error, Status: 403, Code: "INSUFFICIENT_ACCESS", Message: "insufficient access rights on object", Count: 1,
	})
	var drain *stage.Drain
	if err := w.planned(create, false, w.creates(10)).attempt(t.Context()); !errors.As(err, &drain) || drain.State != ledger.RunFailed {
		t.Errorf("a missing permission is told as %v", err)
	}
}

// A run that is stopped while it waits for the allocation sends nothing of what it had not sent.
func TestStoppedWhileItWaits(t *testing.T) {
	t.Parallel()
	w, _ := limited(t, 100_000)
	w.org.Faults().MustAdd(fault.Rule{Kind: fault.RequestLimit, Count: 1})
	k := w.planned(create, false, w.creates(300))
	if err := k.attempt(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.drain(ledger.RunCancelled, "cancelled")
	k.wake()
	if diff := cmp.Diff(map[string]int{"deferred": 300}, byKind(w.outcomes(k.settle()))); diff != "" {
		t.Error(diff)
	}
	if w.org.EffectCount() != 0 {
		t.Error("a stopped run wrote")
	}
}
