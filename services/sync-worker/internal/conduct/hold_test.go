package conduct_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// office conducts real runs of one org, whose tasks settle with what is given for their stage.
type office struct {
	t      *testing.T
	bus    *bus.Bus
	ledger *ledger.Ledger
	c      *conduct.Conductor
	guards *mapperv1.Guards

	mu  sync.Mutex
	now time.Time
	// what the runs plan
	people, creates int64
	stages          []string
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, bus: testkit.Bus(t), now: time.Now(), people: 100}
	if err := o.bus.EnsureStreams(t.Context(), event.Streams(event.DefaultRetention())...); err != nil {
		t.Fatal(err)
	}
	o.open()
	return o
}

// open opens ledger and conductor, as a worker that starts does.
func (o *office) open() {
	o.t.Helper()
	var err error
	o.ledger, err = ledger.Open(o.t.Context(), o.bus, ledger.Options{Holder: "worker", LeaseTTL: time.Minute, Retention: time.Hour, MaxBytes: 64 << 20})
	if err != nil {
		o.t.Fatal(err)
	}
	o.c = conduct.New(o.ledger, o.bus, testkit.Logger(o.t), conduct.Options{
		Limits: conduct.DefaultLimits(), InFlight: 8, MaxAge: 24 * time.Hour, SmallRun: 2000, Now: o.clock,
	})
}

func (o *office) clock() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *office) shift(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = o.now.Add(d)
}

// request makes a run.
func (o *office) request(id string, change ...func(*ledger.Run)) {
	o.t.Helper()
	r := ledger.Run{
		ID: id, Tenant: "acme", ConnectionID: "con_1", Kind: "write", Trigger: "manual", State: ledger.RunRequested, OrgID: "00D1",
		Object: "Contact", RequestedAt: time.Now(),
	}
	for _, fn := range change {
		fn(&r)
	}
	if _, _, err := o.ledger.CreateRun(o.t.Context(), r); err != nil {
		o.t.Fatal(err)
	}
	raw, err := proto.Marshal(&syncv1.RunSnapshot{FieldMap: &mapperv1.FieldMap{Guards: o.guards}})
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.ledger.SaveSnapshot(o.t.Context(), id, ledger.Snapshot{Proto: raw}); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) run(id string) ledger.Run {
	o.t.Helper()
	r, err := o.ledger.Run(o.t.Context(), "acme", id)
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

func (o *office) result(t ledger.Task, r ledger.Run) ledger.Result {
	switch t.Stage {
	case ledger.StagePrepare:
		p := &ledger.Prepared{People: o.people, Parts: 1, PullMode: ledger.PullREST}
		if o.people > 0 {
			p.Ranges = []ledger.Input{{Rows: o.people}}
		}
		return ledger.Result{Prepared: p}
	case ledger.StageSnapshot:
		return ledger.Result{Counts: ledger.Counts{People: o.people}}
	case ledger.StagePlan:
		return ledger.Result{
			Counts: ledger.Counts{Creates: o.creates, Unchanged: o.people - o.creates, Values: o.creates}, Hash: uint64(o.creates) + 1,
			Outputs: []ledger.Output{{Kind: rows.KindCreates, Messages: 1, Rows: o.creates, MessageRows: []int{int(o.creates)}, Bytes: 100}},
		}
	case ledger.StageApply:
		if r.Drain != nil {
			return ledger.Result{Counts: ledger.Counts{Deferred: t.Input.Rows}}
		}
		return ledger.Result{Counts: ledger.Counts{Written: t.Input.Rows}}
	case ledger.StageVerify:
		return ledger.Result{Counts: ledger.Counts{Created: o.creates, Verified: o.creates}}
	}
	return ledger.Result{}
}

// work conducts and settles until nothing is left to do by itself.
func (o *office) work() {
	o.t.Helper()
	ctx := o.t.Context()
	idle := 0
	for range 200 {
		if _, err := o.c.Sweep(ctx); err != nil {
			o.t.Fatal(err)
		}
		open, err := o.ledger.OpenRuns(ctx)
		if err != nil {
			o.t.Fatal(err)
		}
		settled := 0
		for _, r := range open {
			tasks, err := o.ledger.Tasks(ctx, r.ID)
			if err != nil {
				o.t.Fatal(err)
			}
			for _, t := range tasks {
				if t.State == ledger.TaskSettled {
					continue
				}
				lease, err := o.ledger.Claim(ctx, r.ID, t.Stage, t.Number)
				if err != nil {
					o.t.Fatal(err)
				}
				o.stages = append(o.stages, r.ID+" "+string(t.Stage))
				if err := lease.Settle(ctx, o.result(t, r)); err != nil {
					o.t.Fatal(err)
				}
				settled++
			}
		}
		if idle++; settled > 0 {
			idle = 0
		}
		if idle == 3 { // what one sweep does to another run the next one follows
			return
		}
	}
	o.t.Fatal("the runs neither end nor rest")
}

// did reports whether a task of a stage was worked on.
func (o *office) did(run string, s ledger.Stage) bool {
	for _, have := range o.stages {
		if have == run+" "+string(s) {
			return true
		}
	}
	return false
}

// settled brings a first run to its end, so that the next one is not the connection's first.
func (o *office) first() {
	o.t.Helper()
	creates := o.creates
	o.creates = 30
	o.request("run0")
	o.work()
	if r := o.run("run0"); r.State != ledger.RunSucceeded || r.Hold != nil {
		o.t.Fatalf("the first run ended %+v", r)
	}
	o.creates = creates
}

// held requests a run that would create too much, and checks that it is held.
func (o *office) held(id string) ledger.Run {
	o.t.Helper()
	o.creates = 60
	o.request(id)
	o.work()
	r := o.run(id)
	if r.State != ledger.RunHeld || r.Hold == nil || r.Hold.Guard != "creates" || !strings.Contains(r.Reason, "create 60 records") || r.Hold.PlanHash != r.Plan.Hash {
		o.t.Fatalf("the run is %s: %+v %+v", r.State, r.Hold, r.Plan)
	}
	if o.did(id, ledger.StageApply) {
		o.t.Fatal("something was written")
	}
	return r
}

func reason(t *testing.T, err error, want string) {
	t.Helper()
	if errs.ReasonOf(err) != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// A held run waits, also through a restart, and holds nobody else up; an approval of its plan lets it go on, and of no
// other.
func TestHoldAndApprove(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.first()
	r := o.held("run1")
	o.open() // another worker, or this one started again
	o.work()
	if now := o.run("run1"); now.State != ledger.RunHeld || !now.Hold.ExpiresAt.Equal(r.Hold.ExpiresAt) {
		t.Fatalf("after a restart the run is %+v", now)
	}
	// Runs of other orgs, and runs that only plan, go on.
	o.request("other", func(r *ledger.Run) { r.ConnectionID, r.OrgID = "con_2", "00D2" })
	o.request("planned", func(r *ledger.Run) { r.PlanOnly = true })
	o.work()
	if s := o.run("other").State; s != ledger.RunSucceeded {
		t.Errorf("the run of another org is %s", s)
	}
	if p := o.run("planned"); p.State != ledger.RunSucceeded || p.Hold == nil || p.Hold.Guard != "creates" || !p.Hold.HeldAt.IsZero() {
		t.Errorf("the plan is %s, would be held by %+v", p.State, p.Hold)
	}

	_, err := o.c.Approve(t.Context(), r, "0000", "ann", "")
	reason(t, err, "other_plan")
	_, err = o.c.Approve(t.Context(), o.run("other"), r.Hold.PlanHash, "ann", "")
	reason(t, err, "not_held")
	for range 2 { // the answer to the first was lost
		if _, err := o.c.Approve(t.Context(), r, r.Hold.PlanHash, "ann", "as agreed"); err != nil {
			t.Fatal(err)
		}
	}
	_, err = o.c.Reject(t.Context(), r, "bob", "")
	reason(t, err, "already_decided")
	o.work()
	done := o.run("run1")
	if done.State != ledger.RunSucceeded || done.Counts.Created != 60 || done.Hold.Decision != ledger.DecisionApproved || done.Hold.DecidedBy != "ann" || done.Hold.Note != "as agreed" {
		t.Errorf("the approved run ended %s: %+v %+v", done.State, done.Counts, done.Hold)
	}
	if !o.did("run1", ledger.StageRecheck) || o.did("run0", ledger.StageRecheck) {
		t.Errorf("changed records are looked for after a hold alone: %v", o.stages)
	}
	if n := done.Plan.ForecastSeconds; n == 0 {
		t.Error("the plan says nothing of the time, though there was a run before")
	}
}

// A rejected run ends cancelled, and its people deferred.
func TestReject(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.first()
	r := o.held("run1")
	if _, err := o.c.Reject(t.Context(), r, "ann", "the file was cut off"); err != nil {
		t.Fatal(err)
	}
	o.work()
	done := o.run("run1")
	if done.State != ledger.RunCancelled || done.Counts.Deferred != 60 || done.Drain.Code != "rejected" || !strings.Contains(done.Reason, "the file was cut off") {
		t.Errorf("the rejected run ended %s (%s): %+v", done.State, done.Reason, done.Counts)
	}
	_, err := o.c.Approve(t.Context(), done, r.Hold.PlanHash, "ann", "")
	reason(t, err, "already_decided")
}

// A hold ends by itself, at its time and no earlier.
func TestHoldExpires(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.guards = &mapperv1.Guards{HoldHours: 48}
	o.first()
	r := o.held("run1")
	o.shift(48*time.Hour - time.Minute)
	o.work()
	if s := o.run("run1").State; s != ledger.RunHeld {
		t.Fatalf("a minute before, the run is %s", s)
	}
	o.shift(2 * time.Minute)
	_, err := o.c.Approve(t.Context(), r, r.Hold.PlanHash, "ann", "")
	reason(t, err, "hold_expired")
	o.work()
	done := o.run("run1")
	if done.State != ledger.RunFailed || done.Counts.Deferred != 60 || done.Drain.Code != "hold_expired" || done.Hold.Decision != ledger.DecisionExpired {
		t.Errorf("the run ended %s (%s): %+v", done.State, done.Reason, done.Counts)
	}
}

// A newer run takes the place of one that is held: nightly runs are not held up, and the plan to decide about is fresh.
func TestNewerRunSupersedesAHeldOne(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.first()
	o.held("run1")
	o.creates = 61
	o.request("run2")
	o.work()
	if r := o.run("run1"); r.State != ledger.RunCancelled || r.Hold.Decision != ledger.DecisionSuperseded || r.Drain.Code != "hold_superseded" || !strings.Contains(r.Reason, "run2") {
		t.Errorf("the held run is %s (%s)", r.State, r.Reason)
	}
	if r := o.run("run2"); r.State != ledger.RunHeld || r.Plan.Creates != 61 {
		t.Errorf("the newer run is %s", r.State)
	}
	// An undo is another thing: it waits for the decision.
	o.request("undo", func(r *ledger.Run) { r.Kind = "undo" })
	o.work()
	if held, undo := o.run("run2"), o.run("undo"); held.State != ledger.RunHeld || undo.State != ledger.RunRequested {
		t.Errorf("the held run is %s, the undo %s", held.State, undo.State)
	} else if want := "Waits for run run2, which is held until " + held.Hold.ExpiresAt.UTC().Format("2 January 15:04 MST") + "; approve or reject it first."; undo.Reason != want {
		t.Errorf("the undo waits because %q, want %q", undo.Reason, want)
	}
}

// An admin may cancel a held run, and unlinking its connection ends it.
func TestStopAHeldRun(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(o *office, r ledger.Run) error{
		"cancelled": func(o *office, r ledger.Run) error {
			_, err := o.c.Cancel(o.t.Context(), r, "ann")
			return err
		},
		"unlinked": func(o *office, r ledger.Run) error {
			_, err := o.c.Drain(o.t.Context(), r, ledger.Drain{State: ledger.RunCancelled, Code: "unlinked", Reason: "The connection was unlinked."})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			o.first()
			if err := stop(o, o.held("run1")); err != nil {
				t.Fatal(err)
			}
			o.work()
			if r := o.run("run1"); r.State != ledger.RunCancelled || r.Drain.Code != name || r.Counts.Deferred != 60 || r.Hold.Decision != ledger.DecisionCancelled {
				t.Errorf("the run is %s: %+v %+v", r.State, r.Drain, r.Hold)
			}
		})
	}
}

// Each guard holds a real run, and lets go what is allowed.
func TestGuardsHoldRuns(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		guards          *mapperv1.Guards
		people, creates int64
		guard           string
	}{
		"half of the people is let go":     {nil, 100, 50, ""},
		"more is not":                      {nil, 100, 51, "creates"},
		"unless there is no limit":         {&mapperv1.Guards{Creates: &mapperv1.Brake{Share: -1}}, 100, 100, ""},
		"every run":                        {&mapperv1.Guards{ApproveEveryRun: true}, 100, 0, "approval"},
		"nobody in the Catalog":            {nil, 0, 0, "empty_source"},
		"nobody, allowed":                  {&mapperv1.Guards{AllowEmptySource: true, LeastPeople: -1}, 0, 0, ""},
		"fewer than half of the last run":  {nil, 49, 0, "incomplete_source"},
		"half of the last run is let go":   {nil, 50, 0, ""},
		"a tenth of the last run, allowed": {&mapperv1.Guards{LeastPeople: 0.1}, 10, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			o.first()
			o.guards, o.people, o.creates = tt.guards, tt.people, tt.creates
			o.request("run1")
			o.work()
			r := o.run("run1")
			switch {
			case tt.guard == "" && (r.State != ledger.RunSucceeded || r.Hold != nil):
				t.Errorf("the run is %s: %+v", r.State, r.Hold)
			case tt.guard != "" && (r.State != ledger.RunHeld || r.Hold.Guard != tt.guard):
				t.Errorf("the run is %s: %+v, want it held by %s", r.State, r.Hold, tt.guard)
			}
		})
	}
}

// Two who decide at once: one decision stands, and the other is told.
func TestDecisionsAtOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.first()
	r := o.held("run1")
	const n = 8
	results := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			if i%2 == 0 {
				_, results[i] = o.c.Approve(t.Context(), r, r.Hold.PlanHash, fmt.Sprint("admin", i), "")
			} else {
				_, results[i] = o.c.Reject(t.Context(), r, fmt.Sprint("admin", i), "")
			}
		})
	}
	group.Wait()
	good := 0
	for _, err := range results {
		if err == nil {
			good++
		} else if errs.ReasonOf(err) != "already_decided" {
			t.Error(err)
		}
	}
	if good != 1 {
		t.Errorf("%d decisions were taken: %v", good, errors.Join(results...))
	}
}
