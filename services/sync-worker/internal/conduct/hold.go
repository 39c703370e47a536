package conduct

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// judge looks at a plan that is complete: it adds what is known beside the run itself, and holds the run where a guard
// trips. The first judgement stands.
func (c *Conductor) judge(ctx context.Context, next ledger.Run) (ledger.Run, error) {
	guards, err := c.guards(ctx, next.ID)
	if err != nil {
		return next, err
	}
	runs, err := c.ledger.Runs(ctx, next.Tenant)
	if err != nil {
		return next, err
	}
	plan := *next.Plan
	plan.ForecastSeconds = forecastSeconds(next, plan, runs)
	if c.opts.Allocations != nil && next.OrgID != "" {
		used, known, err := c.opts.Allocations.Known(ctx, next.OrgID)
		if err != nil {
			return next, err
		}
		if plan.AllocationMax == 0 {
			plan.AllocationUsed, plan.AllocationMax = known.Used, known.Max
		}
		plan.OurAllocation, plan.OurAllocationUsed = AllocationLimits(guards).Ours(plan.AllocationMax), used
	}
	var hold *ledger.Hold
	if next.Kind == kindUndo { // somebody asked for it, and saw the plan before
		if guards.GetApproveEveryRun() {
			hold = Guard(&mapperv1.Guards{ApproveEveryRun: true, AllowEmptySource: true, LeastPeople: -1}, &ledger.Plan{Hash: plan.Hash}, next.Counts, Past{First: true})
		}
	} else {
		hold = Guard(guards, &plan, next.Counts, past(next, runs))
	}
	return c.ledger.UpdateRun(ctx, next.Tenant, next.ID, func(r *ledger.Run) {
		if r.Judged {
			return
		}
		r.Plan = nil
		take(r, next)
		r.Plan, r.Judged, r.Hold = &plan, true, hold
		if hold == nil || r.PlanOnly || r.Drain != nil {
			return
		}
		now := c.now()
		r.Hold.HeldAt, r.Hold.ExpiresAt = now, now.Add(time.Duration(HoldHours(guards))*time.Hour)
		r.State, r.Reason = ledger.RunHeld, holdReason(r.Hold)
		c.log.InfoContext(ctx, "run held", slog.String("run", r.ID), slog.String("guard", hold.Guard))
	})
}

const kindUndo = "undo"

func holdReason(h *ledger.Hold) string {
	return fmt.Sprintf("%s Nothing was written. Approve or reject the run by %s.", h.Reason, moment(h.ExpiresAt))
}

// moment is a time as people read it in a reason.
func moment(t time.Time) string { return t.UTC().Format("2 January 15:04 MST") }

// guards are those of the field map that shapes the run; nil where the run was stopped before anything was fixed.
func (c *Conductor) guards(ctx context.Context, runID string) (*mapperv1.Guards, error) {
	stored, err := c.ledger.Snapshot(ctx, runID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // a field map without guards has none either
	}
	if err != nil {
		return nil, fmt.Errorf("read what shapes the run: %w", err)
	}
	m := &syncv1.RunSnapshot{}
	if err := proto.Unmarshal(stored.Proto, m); err != nil {
		return nil, fmt.Errorf("read what shapes the run: %w", err)
	}
	return m.GetFieldMap().GetGuards(), nil
}

// finished reports whether a run has done all that it planned.
func finished(r ledger.Run) bool {
	return !r.PlanOnly && (r.State == ledger.RunSucceeded || r.State == ledger.RunWithFailures)
}

// past looks for the connection's earlier runs among a tenant's, which come newest first.
func past(run ledger.Run, runs []ledger.Run) Past {
	for _, r := range runs {
		if r.ID != run.ID && r.ConnectionID == run.ConnectionID && r.Object == run.Object && r.Kind == run.Kind && finished(r) {
			return Past{People: r.Counts.People}
		}
	}
	return Past{First: true}
}

// errDecided tells why a decision on a run comes too late, or is about nothing.
func errDecided(r ledger.Run) error {
	if h := r.Hold; h != nil && h.Decision != "" {
		by := ""
		if h.DecidedBy != "" {
			by = " by " + h.DecidedBy
		}
		return errs.New(errs.Precondition, "already_decided", "Run %s is not held any more: it was %s%s.", r.ID, h.Decision, by)
	}
	return errs.New(errs.Precondition, "not_held", "Run %s is not held; it is %s.", r.ID, r.State)
}

// decide writes a decision on a held run. check may refuse it.
func (c *Conductor) decide(ctx context.Context, run ledger.Run, decision, by, note string, drain *ledger.Drain, check func(ledger.Run) error) (ledger.Run, error) {
	// The caller's own decision may have been taken though its answer was lost, and the run be over by now.
	taken := func(r ledger.Run) error {
		if h := r.Hold; h != nil && h.Decision == decision && h.DecidedBy == by {
			return nil
		}
		return errDecided(r)
	}
	var refused error
	called := false
	run, err := c.ledger.UpdateRun(ctx, run.Tenant, run.ID, func(r *ledger.Run) {
		called, refused = true, nil
		if r.State != ledger.RunHeld || r.Drain != nil {
			refused = taken(*r)
			return
		}
		if refused = check(*r); refused != nil {
			return
		}
		h := *r.Hold
		h.Decision, h.DecidedBy, h.Note, h.DecidedAt = decision, by, note, c.now()
		r.Hold, r.Drain, r.State, r.Reason = &h, drain, ledger.RunRunning, ""
		if drain != nil {
			r.Reason = drain.Reason
			if drain.State == ledger.RunCancelled {
				r.State = ledger.RunCancelling
			}
		}
	})
	if err == nil && !called { // it has ended
		refused = taken(run)
	}
	return run, errors.Join(err, refused)
}

// Approve lets a held run go on. The approval is for the plan with the hash: reason other_plan for any other.
func (c *Conductor) Approve(ctx context.Context, run ledger.Run, hash, by, note string) (ledger.Run, error) {
	return c.decide(ctx, run, ledger.DecisionApproved, by, note, nil, func(r ledger.Run) error {
		switch {
		case hash != r.Hold.PlanHash:
			return errs.New(errs.Precondition, "other_plan", "The approval is for plan %q, and run %s has plan %s. Look at the run's plan and approve that.", hash, r.ID, r.Hold.PlanHash)
		case !c.now().Before(r.Hold.ExpiresAt):
			return errs.New(errs.Precondition, "hold_expired", "Run %s waited for a decision until %s; start a new one.", r.ID, r.Hold.ExpiresAt.UTC().Format(time.RFC3339))
		}
		return nil
	})
}

// Reject ends a held run; its people end deferred.
func (c *Conductor) Reject(ctx context.Context, run ledger.Run, by, note string) (ledger.Run, error) {
	reason := "The plan was rejected by " + by + "."
	if note != "" {
		reason = "The plan was rejected by " + by + ": " + note
	}
	drain := ledger.Drain{State: ledger.RunCancelled, Code: "rejected", Reason: reason}
	return c.decide(ctx, run, ledger.DecisionRejected, by, note, &drain, func(ledger.Run) error { return nil })
}

// Cancel stops a run, wherever it stands. One that has ended is left as it is.
func (c *Conductor) Cancel(ctx context.Context, run ledger.Run, by string) (ledger.Run, error) {
	drain := ledger.Drain{State: ledger.RunCancelled, Code: "cancelled", Reason: "The run was cancelled by " + by + "."}
	if run.State == ledger.RunHeld {
		r, err := c.decide(ctx, run, ledger.DecisionCancelled, by, "", &drain, func(ledger.Run) error { return nil })
		if errs.KindOf(err) != errs.Precondition {
			return r, err
		}
		run = r // somebody has decided meanwhile
	}
	return c.Drain(ctx, run, drain)
}

// expire ends a run that nobody has decided about. It ends failed and not cancelled: nobody wanted that, and somebody
// should see it.
func (c *Conductor) expire(ctx context.Context, run ledger.Run) (ledger.Run, error) {
	drain := ledger.Drain{
		State: ledger.RunFailed, Code: "hold_expired",
		Reason: fmt.Sprintf("Nobody approved or rejected the run by %s. It was held because: %s", moment(run.Hold.ExpiresAt), run.Hold.Reason),
	}
	run, err := c.decide(ctx, run, ledger.DecisionExpired, "", "", &drain, func(ledger.Run) error { return nil })
	if errs.KindOf(err) == errs.Precondition {
		return run, nil // somebody decided in the last moment
	}
	return run, err
}

// supersede ends a held run because another one of its kind waits for its place: that one's plan is newer, and whoever
// decides should decide about that. It returns the run as it is then.
func (c *Conductor) supersede(ctx context.Context, holder, by ledger.Run) (ledger.Run, error) {
	if holder.State != ledger.RunHeld || holder.Kind != by.Kind || holder.Tenant != by.Tenant {
		return holder, nil
	}
	drain := ledger.Drain{
		State: ledger.RunCancelled, Code: "hold_superseded",
		Reason: fmt.Sprintf("Run %s was requested while this one waited for a decision, and plans anew.", by.ID),
	}
	holder, err := c.decide(ctx, holder, ledger.DecisionSuperseded, "", "", &drain, func(ledger.Run) error { return nil })
	if errs.KindOf(err) == errs.Precondition {
		return holder, nil
	}
	return holder, err
}
