package conduct

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// Conductor brings runs forward: it asks Next, makes the tasks that should exist and calls workers for those that are
// due. Any number of conductors may work on one run: everything they do bears being done twice.
type Conductor struct {
	ledger *ledger.Ledger
	bus    *bus.Bus
	log    *slog.Logger
	opts   Options

	mu     sync.Mutex
	called map[string]time.Time
}

// Options shape how runs are conducted.
type Options struct {
	Limits Limits
	// InFlight is how many tasks of one run are at work at once.
	InFlight int
	// MaxAge ends runs that have not ended by themselves.
	MaxAge time.Duration
	// SmallRun is the greatest number of people of a run that takes the small lane.
	SmallRun int64
	// Allocations know how many API calls orgs have had; nil: nobody counts.
	Allocations *allocation.Book
	// Now is the clock by which holds expire; time.Now where nil.
	Now func() time.Time
}

// Windows after which a worker is called again for a task that nobody has taken, or whose holder is lost. Within a
// window the bus drops the repetition.
const (
	pendingWindow = 30 * time.Second
	expiredWindow = 5 * time.Second
)

func (c *Conductor) now() time.Time {
	if c.opts.Now != nil {
		return c.opts.Now().UTC()
	}
	return time.Now().UTC()
}

// New returns a conductor.
func New(l *ledger.Ledger, b *bus.Bus, log *slog.Logger, opts Options) *Conductor {
	return &Conductor{ledger: l, bus: b, log: log, opts: opts, called: make(map[string]time.Time)}
}

// Sweep conducts every run that has not ended, and returns when the next task is due.
func (c *Conductor) Sweep(ctx context.Context) (time.Time, error) {
	runs, err := c.ledger.OpenRuns(ctx)
	if err != nil {
		return time.Time{}, err
	}
	c.forget()
	var next time.Time
	waiting := make(map[string]string) // org and object -> the earliest run that waits for it
	for _, r := range runs {
		key := r.OrgID + "/" + r.Object
		if r.State == ledger.RunRequested && !r.PlanOnly && r.Drain == nil {
			if first := waiting[key]; first != "" {
				reason := "Waits for run " + first + ", which was requested earlier and writes to " + r.Object + " of the same org."
				if err := c.wait(ctx, r, reason); err != nil {
					return next, err
				}
				continue
			}
			waiting[key] = r.ID
		}
		wake, err := c.Conduct(ctx, r.Tenant, r.ID)
		if err != nil {
			if ctx.Err() != nil {
				return next, err
			}
			c.log.WarnContext(ctx, "conduct run", slog.String("run", r.ID), slog.Any("err", err))
			continue
		}
		if !wake.IsZero() && (next.IsZero() || wake.Before(next)) {
			next = wake
		}
	}
	return next, nil
}

// Conduct brings one run forward and returns when its next sleeping task wakes; zero where none sleeps.
func (c *Conductor) Conduct(ctx context.Context, tenant, id string) (time.Time, error) {
	run, err := c.ledger.Run(ctx, tenant, id)
	if err != nil {
		return time.Time{}, err
	}
	if run.State.Final() {
		return time.Time{}, c.ledger.CloseRun(ctx, run)
	}
	if run.State == ledger.RunRequested {
		if run, err = c.begin(ctx, run); err != nil || run.State == ledger.RunRequested {
			return time.Time{}, err
		}
		if run.State.Final() {
			return time.Time{}, c.closed(ctx, run)
		}
	}
	if run.State == ledger.RunHeld && run.Drain == nil {
		if c.now().Before(run.Hold.ExpiresAt) {
			return run.Hold.ExpiresAt, nil // there is nothing to do but to wait
		}
		if run, err = c.expire(ctx, run); err != nil {
			return time.Time{}, err
		}
	}
	if run.Drain == nil && time.Since(worksSince(run)) > c.opts.MaxAge {
		reason := fmt.Sprintf("The run had not ended after %s. Look at its last error, mend that and run again.", c.opts.MaxAge)
		if run, err = c.Drain(ctx, run, ledger.Drain{State: ledger.RunFailed, Code: "run_failed", Reason: reason}); err != nil {
			return time.Time{}, err
		}
	}
	tasks, err := c.ledger.Tasks(ctx, run.ID)
	if err != nil {
		return time.Time{}, err
	}
	step := Next(run, tasks, c.opts.Limits)
	if step.Judge {
		if run, err = c.judge(ctx, step.Run); err != nil {
			return time.Time{}, err
		}
		return c.Conduct(ctx, tenant, id)
	}
	if step.Closed {
		run, err = c.ledger.UpdateRun(ctx, tenant, id, func(r *ledger.Run) {
			take(r, step.Run)
			r.State, r.Reason, r.EndedAt = step.Run.State, step.Run.Reason, time.Now().UTC()
		})
		if err != nil {
			return time.Time{}, err
		}
		return time.Time{}, c.closed(ctx, run)
	}
	if missing := absent(step.Create, tasks); len(missing) > 0 {
		if err := c.ledger.CreateTasks(ctx, missing); err != nil {
			return time.Time{}, err
		}
		if tasks, err = c.ledger.Tasks(ctx, run.ID); err != nil {
			return time.Time{}, err
		}
	}
	if now := step.Run; !reflect.DeepEqual(now, run) {
		if run, err = c.ledger.UpdateRun(ctx, tenant, id, func(r *ledger.Run) { take(r, now) }); err != nil {
			return time.Time{}, err
		}
	}
	return c.call(ctx, run, tasks)
}

// worksSince is when the run began to work, or was let go on.
func worksSince(r ledger.Run) time.Time {
	if r.Hold != nil && r.Hold.DecidedAt.After(r.StartedAt) {
		return r.Hold.DecidedAt
	}
	return r.StartedAt
}

// take copies what Next computes. State and drain belong to others, who may have changed them meanwhile. What is fixed
// once for the run stays: a conductor that stood still since it read the run must not take it back, for tasks that are
// at work by then sort people and records by it.
func take(r *ledger.Run, next ledger.Run) {
	if r.Parts == 0 {
		r.Parts, r.PullMode, r.Notes = next.Parts, next.PullMode, next.Notes
	}
	if r.Plan == nil {
		r.Plan, r.VerifyParts = next.Plan, next.VerifyParts
	}
	if r.Drain == nil && r.State != ledger.RunHeld {
		r.Reason = next.Reason
	}
	if next.Stage != "" && r.Began[next.Stage].IsZero() {
		began := map[ledger.Stage]time.Time{next.Stage: time.Now().UTC()}
		maps.Copy(began, r.Began)
		r.Began = began
	}
	r.Parked = r.Parked || next.Parked
	r.Stage, r.Counts, r.APICalls, r.BulkJobs = next.Stage, next.Counts, max(r.APICalls, next.APICalls), next.BulkJobs
	r.TasksDone, r.TasksTotal, r.RowsDone, r.RowsTotal = next.TasksDone, next.TasksTotal, next.RowsDone, next.RowsTotal
}

func absent(want, have []ledger.Task) []ledger.Task {
	there := make(map[string]bool, len(have))
	for _, t := range have {
		there[t.Name()] = true
	}
	var missing []ledger.Task
	for _, t := range want {
		if !there[t.Name()] {
			missing = append(missing, t)
		}
	}
	return missing
}

// begin starts a requested run when its org's object is free. A run that only plans writes nothing and waits for nobody.
func (c *Conductor) begin(ctx context.Context, run ledger.Run) (ledger.Run, error) {
	end := func(d ledger.Drain) (ledger.Run, error) {
		return c.ledger.UpdateRun(ctx, run.Tenant, run.ID, func(r *ledger.Run) {
			r.State, r.Reason, r.EndedAt = d.State, d.Reason, time.Now().UTC()
		})
	}
	if run.Drain != nil {
		return end(*run.Drain)
	}
	if !run.PlanOnly {
		got, err := c.ledger.Acquire(ctx, run)
		if errors.Is(err, ledger.ErrOtherTenant) {
			return end(ledger.Drain{
				State: ledger.RunFailed, Code: "run_failed",
				Reason: fmt.Sprintf("Another tenant of this installation writes to %s of org %s. Unlink one of the two.", run.Object, run.OrgID),
			})
		}
		if err != nil {
			return run, err
		}
		if !got {
			reason := "Waits for another run that writes to " + run.Object + " of the same org."
			holder, err := c.ledger.Writer(ctx, run)
			if err == nil {
				if holder, err = c.supersede(ctx, holder, run); holder.State == ledger.RunHeld {
					reason = fmt.Sprintf("Waits for run %s, which is held until %s; approve or reject it first.", holder.ID, moment(holder.Hold.ExpiresAt))
				}
			}
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return run, err
			}
			return run, c.wait(ctx, run, reason)
		}
	}
	return c.ledger.UpdateRun(ctx, run.Tenant, run.ID, func(r *ledger.Run) {
		if r.State == ledger.RunRequested {
			r.State, r.Reason, r.StartedAt = ledger.RunRunning, "", time.Now().UTC()
		}
	})
}

// wait says why a requested run does not begin.
func (c *Conductor) wait(ctx context.Context, run ledger.Run, reason string) error {
	if run.Reason == reason {
		return nil
	}
	_, err := c.ledger.UpdateRun(ctx, run.Tenant, run.ID, func(r *ledger.Run) {
		if r.State == ledger.RunRequested {
			r.Reason = reason
		}
	})
	return err
}

// Drain stops a run: nothing new is sent, and what is left ends deferred. The first drain stands.
func (c *Conductor) Drain(ctx context.Context, run ledger.Run, d ledger.Drain) (ledger.Run, error) {
	return c.ledger.UpdateRun(ctx, run.Tenant, run.ID, func(r *ledger.Run) {
		if r.Drain != nil {
			return
		}
		r.Drain = &d
		if r.State == ledger.RunHeld {
			h := *r.Hold
			h.Decision, h.DecidedAt = ledger.DecisionCancelled, c.now()
			r.Hold, r.State = &h, ledger.RunRunning
		}
		if r.State == ledger.RunRunning {
			r.Reason = d.Reason
			if d.State == ledger.RunCancelled {
				r.State = ledger.RunCancelling
			}
		}
	})
}

// closed gives back what an ended run holds and tells that it has ended.
func (c *Conductor) closed(ctx context.Context, run ledger.Run) error {
	if err := c.bus.Publish(ctx, event.RunFinished(run.ID), []byte(run.State), bus.WithMsgID("finished."+run.ID)); err != nil {
		return err
	}
	return c.ledger.CloseRun(ctx, run)
}

// call calls workers for the tasks that are due, as many as may be at work at once.
func (c *Conductor) call(ctx context.Context, run ledger.Run, tasks []ledger.Task) (time.Time, error) {
	lane := event.LaneSmall
	if max(run.Counts.People, run.RowsTotal) > c.opts.SmallRun {
		lane = event.LaneLarge
	}
	now := time.Now()
	var wake time.Time
	working := 0
	for _, t := range tasks {
		key := ""
		switch t.State {
		case ledger.TaskPending:
			key = fmt.Sprintf("p%d", now.UnixNano()/int64(pendingWindow))
		case ledger.TaskWaiting:
			if t.WakeAt.After(now) && run.Drain != nil {
				var err error
				if t, err = c.ledger.Wake(ctx, t); err != nil {
					return wake, err
				}
				now = time.Now()
			}
			if t.WakeAt.After(now) {
				if wake.IsZero() || t.WakeAt.Before(wake) {
					wake = t.WakeAt
				}
				continue
			}
			key = fmt.Sprintf("w%d.%d", t.WakeAt.UnixMilli(), now.UnixNano()/int64(pendingWindow))
		case ledger.TaskLeased:
			if !c.ledger.Expired(t) {
				working++
				continue
			}
			key = fmt.Sprintf("e%d", now.UnixNano()/int64(expiredWindow))
		default:
			continue
		}
		if working++; working > c.opts.InFlight {
			continue
		}
		id := fmt.Sprintf("%s.%s.%d.%s", run.ID, t.Name(), t.Epoch, key)
		if c.hasCalled(id, now) {
			continue
		}
		m, err := proto.Marshal(&eventv1.Task{RunId: run.ID, Stage: string(t.Stage), Number: int32(t.Number), Tenant: run.Tenant})
		if err != nil {
			return wake, err
		}
		if err := c.bus.Publish(ctx, event.Work(lane, run.ID, string(t.Stage), t.Number), m, bus.WithMsgID(id)); err != nil {
			return wake, fmt.Errorf("call a worker for %s: %w", t.Name(), err)
		}
		c.noteCalled(id, now)
	}
	return wake, nil
}

func (c *Conductor) hasCalled(id string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.called[id]
	return ok && now.Sub(at) < pendingWindow
}

func (c *Conductor) noteCalled(id string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.called[id] = now
}

// forget drops notes that are too old to matter.
func (c *Conductor) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, at := range c.called {
		if time.Since(at) > 2*pendingWindow {
			delete(c.called, id)
		}
	}
}
