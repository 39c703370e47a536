// Package conduct owns the question "what is missing?": from a run and its tasks it computes the run's next state and
// the tasks to be made. It is pure and level-triggered: any worker may ask at any time, and the same records give the
// same answer.
package conduct

import (
	"fmt"
	"slices"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// Limits shape how work is cut.
type Limits struct {
	// CollectionsMax is the greatest number of changes of one action that goes through sObject Collections; more go
	// through the Bulk API.
	CollectionsMax int64
	// BulkRows and BulkBytes bound one Bulk job. Bytes are counted as they rest on the bus, compressed, so that the
	// limit stands for about four times as much CSV.
	BulkRows  int64
	BulkBytes int64
	// VerifyByID is the greatest number of written records that are read back by their ids; more are read back by one
	// Bulk query.
	VerifyByID int64
}

// DefaultLimits are those of the design: Collections up to 2,000 changes, then Bulk jobs well below 100 MB.
func DefaultLimits() Limits {
	return Limits{CollectionsMax: 2000, BulkRows: 100_000, BulkBytes: 20 << 20, VerifyByID: 4000}
}

// PartRows is how many people or records a part should hold: it bounds the memory of a task.
const PartRows = 10_000

// Step is what to do next.
type Step struct {
	// Create are tasks that should exist.
	Create []ledger.Task
	// Run is the run's record as it should be.
	Run ledger.Run
	// Judge: the plan is complete, and the guards have to look at it before anything else is done.
	Judge bool
	// Closed: every task of every stage has settled; the run ends in Run.State.
	Closed bool
}

// Next computes the next step of a run that has begun.
func Next(run ledger.Run, tasks []ledger.Task, lim Limits) Step {
	c := conductor{run: run, lim: lim, by: make(map[ledger.Stage][]ledger.Task)}
	for _, t := range tasks {
		c.by[t.Stage] = append(c.by[t.Stage], t)
	}
	c.tally(tasks)
	c.trouble(tasks)
	step := c.next()
	step.Run = c.run
	c.progress(&step)
	return step
}

type conductor struct {
	run ledger.Run
	lim Limits
	by  map[ledger.Stage][]ledger.Task
	// sum holds what the settled tasks of each stage count
	sum map[ledger.Stage]ledger.Counts
}

// settled reports whether a stage has all of its tasks and every one has ended. The number is asked for because a
// conductor may have been killed between making the first task of a stage and the last.
func (c *conductor) settled(s ledger.Stage, want int) bool {
	tasks := c.by[s]
	return len(tasks) >= want && !slices.ContainsFunc(tasks, func(t ledger.Task) bool { return t.State != ledger.TaskSettled })
}

func (c *conductor) next() Step {
	if !c.settled(ledger.StagePrepare, 1) {
		if c.run.Drain != nil && len(c.by[ledger.StagePrepare]) == 0 {
			return c.close()
		}
		return c.stage(ledger.StagePrepare, c.task(ledger.StagePrepare, 0, ledger.Input{}))
	}
	prepared := c.by[ledger.StagePrepare][0].Result.Prepared
	if prepared == nil { // the run was drained before anything was fixed
		return c.close()
	}
	c.run.Parts, c.run.PullMode, c.run.Notes = prepared.Parts, prepared.PullMode, prepared.Notes

	if len(prepared.Ranges) > 0 {
		if !c.settled(ledger.StageSnapshot, len(prepared.Ranges)) {
			step := c.stage(ledger.StageSnapshot, c.snapshotTasks(prepared)...)
			if prepared.PullMode != ledger.PullLookup {
				step.Create = append(step.Create, c.pullTasks(prepared)...)
			}
			return step
		}
		if pulls := c.pullTasks(prepared); !c.settled(ledger.StagePull, len(pulls)) {
			return c.stage(ledger.StagePull, pulls...)
		}
		if slices.ContainsFunc(c.by[ledger.StageSnapshot], func(t ledger.Task) bool { return t.Result.Aborted }) {
			// What was copied before the run was stopped is no snapshot: nobody is concerned. It is given back all the same.
			c.run.Counts = ledger.Counts{}
			return c.closing()
		}
		if plans := c.parts(ledger.StagePlan, c.run.Parts); !c.settled(ledger.StagePlan, len(plans)) {
			return c.stage(ledger.StagePlan, plans...)
		}
		if c.sum[ledger.StagePlan].Left > 0 {
			if adopts := c.parts(ledger.StageAdopt, c.run.Parts); !c.settled(ledger.StageAdopt, len(adopts)) {
				return c.stage(ledger.StageAdopt, adopts...)
			}
		}
		if flag := prepared.FlagLeavers && prepared.Leavers > 0; flag || c.run.Counts.Lost > 0 {
			if !c.settled(ledger.StageFollow, 1) {
				return c.stage(ledger.StageFollow, c.task(ledger.StageFollow, 0, ledger.Input{Rows: c.run.Counts.Lost}))
			}
		}
		if n := c.run.Counts.Pending; n > 0 && !c.settled(ledger.StageReferences, 1) {
			return c.stage(ledger.StageReferences, c.task(ledger.StageReferences, 0, ledger.Input{Rows: n}))
		}
	}
	c.gate()
	if !c.run.Judged && c.run.Drain == nil && len(c.by[ledger.StageApply]) == 0 {
		c.run.Stage = ledger.StagePlan
		return Step{Judge: true}
	}
	if c.run.PlanOnly {
		return c.closing()
	}
	if c.run.State == ledger.RunHeld && c.run.Drain == nil {
		return c.stage(ledger.StagePlan)
	}
	if c.run.Hold.Approved() && !c.settled(ledger.StageRecheck, 1) {
		return c.stage(ledger.StageRecheck, c.task(ledger.StageRecheck, 0, ledger.Input{}))
	}
	if len(c.run.Plan.LookupCreates) > 0 && !c.settled(ledger.StageParents, 1) {
		return c.stage(ledger.StageParents, c.task(ledger.StageParents, 0, ledger.Input{}))
	}
	if apply := c.goesOn(c.applyTasks()); !c.settled(ledger.StageApply, len(apply)) {
		return c.stage(ledger.StageApply, apply...)
	}
	written := c.sum[ledger.StageApply].Written
	if written == 0 {
		return c.closing()
	}
	verify := []ledger.Task{c.task(ledger.StageVerify, 0, ledger.Input{ByID: true})}
	if written > c.lim.VerifyByID {
		in := ledger.Input{Rows: written, Since: prepared.Since}
		if !c.settled(ledger.StageReadback, 1) {
			return c.stage(ledger.StageReadback, c.task(ledger.StageReadback, 0, in))
		}
		verify = c.parts(ledger.StageVerify, c.run.VerifyParts)
	}
	if !c.settled(ledger.StageVerify, len(verify)) {
		return c.stage(ledger.StageVerify, verify...)
	}
	return c.closing()
}

// closing runs the close stage, and closes when it has settled.
func (c *conductor) closing() Step {
	if !c.settled(ledger.StageClose, 1) {
		return c.stage(ledger.StageClose, c.task(ledger.StageClose, 0, ledger.Input{Rows: c.run.Counts.Outcomes()}))
	}
	return c.close()
}

func (c *conductor) close() Step {
	c.run.Stage = ""
	n := c.run.Counts
	switch {
	case c.run.Drain != nil:
		c.run.State, c.run.Reason = c.run.Drain.State, c.run.Drain.Reason
	case n.Rejected+n.Failed+n.Deferred+n.Mismatched > 0 && !c.run.PlanOnly:
		c.run.State = ledger.RunWithFailures
	default:
		c.run.State = ledger.RunSucceeded
	}
	return Step{Closed: true}
}

func (c *conductor) stage(s ledger.Stage, tasks ...ledger.Task) Step {
	c.run.Stage = s
	return Step{Create: tasks}
}

// gate fixes the plan's numbers once the plan stage has ended.
func (c *conductor) gate() {
	if c.run.Plan != nil {
		return
	}
	n := c.run.Counts
	p := &ledger.Plan{
		Creates: n.Creates, Updates: n.Updates, Unchanged: n.Unchanged, Skipped: n.Skipped, Rejected: n.Rejected,
		Superseded: n.Superseded, UpdatesByField: map[string]int64{}, RejectedByCode: map[string]int64{},
		SkippedByRule: map[string]int64{}, LookupCreates: map[string]int64{},
		Clears: n.Clears, Values: n.Values, Deactivations: n.Deactivations, Leavers: n.Leavers, Deletes: n.Deletes,
	}
	var hash uint64
	for _, s := range append([]ledger.Stage{ledger.StagePrepare, ledger.StagePull}, ledger.PlanStages...) {
		for _, t := range c.by[s] {
			if t.Result == nil {
				continue
			}
			hash += t.Result.Hash
			for f, n := range t.Result.UpdatesByField {
				p.UpdatesByField[f] += n
			}
			for code, n := range t.Result.RejectedByCode {
				p.RejectedByCode[code] += n
			}
			for rule, n := range t.Result.SkippedByRule {
				p.SkippedByRule[rule] += n
			}
			for object, n := range t.Result.LookupCreates {
				p.LookupCreates[object] += n
			}
			if t.Result.AllocationMax > 0 {
				p.AllocationUsed, p.AllocationMax = max(p.AllocationUsed, t.Result.AllocationUsed), t.Result.AllocationMax
			}
		}
	}
	c.run.VerifyParts = int((n.Creates + n.Updates + PartRows - 1) / PartRows)
	p.Hash = fmt.Sprintf("%016x", hash)
	forecast(p, []int64{n.Creates, n.Updates - n.ContactUpdates, n.ContactUpdates, n.Deactivations, n.Deletes},
		n.Creates+n.Updates, c.lim)
	c.run.Plan = p
}

// tally sums what the settled tasks say. Counters are sums of settle records and nothing else.
func (c *conductor) tally(tasks []ledger.Task) {
	c.sum = make(map[ledger.Stage]ledger.Counts)
	var total ledger.Counts
	var calls int64
	var jobs []string
	for _, t := range tasks {
		calls += t.APICalls
		if t.Result == nil {
			continue
		}
		n := c.sum[t.Stage]
		n.Add(t.Result.Counts)
		c.sum[t.Stage] = n
		total.Add(t.Result.Counts)
		jobs = append(jobs, t.Result.Jobs...)
	}
	// Work that was queued or repeated can only add calls, so the greater number is the newer one.
	c.run.Counts, c.run.APICalls, c.run.BulkJobs = total, max(calls, c.run.APICalls), jobs
}

// trouble says why the run does not go on: what went wrong with a task that is tried again later.
func (c *conductor) trouble(tasks []ledger.Task) {
	if c.run.Drain != nil || c.run.State == ledger.RunHeld {
		return // which says why the run ends, or waits
	}
	c.run.Reason = ""
	for _, t := range tasks {
		if t.State == ledger.TaskWaiting && t.Window {
			c.run.Reason, c.run.Parked = t.LastError, true
			return
		}
	}
	for _, t := range tasks {
		if t.State == ledger.TaskWaiting && t.LastError != "" {
			c.run.Reason = fmt.Sprintf("The %s stage is tried again at %s: %s", t.Stage.Word(), t.WakeAt.UTC().Format("15:04:05 MST"), t.LastError)
			return
		}
	}
}

// progress fills in what the progress display shows of the present stage.
func (c *conductor) progress(s *Step) {
	s.Run.TasksDone, s.Run.TasksTotal, s.Run.RowsDone, s.Run.RowsTotal = 0, 0, 0, 0
	if s.Closed {
		return
	}
	for _, t := range c.by[s.Run.Stage] {
		s.Run.TasksTotal++
		s.Run.RowsDone += t.Rows
		if t.State == ledger.TaskSettled {
			s.Run.TasksDone++
		}
	}
	s.Run.TasksTotal = max(s.Run.TasksTotal, len(s.Create))
	n := s.Run.Counts
	switch s.Run.Stage {
	case ledger.StageSnapshot, ledger.StagePlan:
		s.Run.RowsTotal = c.by[ledger.StagePrepare][0].Result.Prepared.People
	case ledger.StagePull:
		s.Run.RowsTotal = c.by[ledger.StagePrepare][0].Result.Prepared.Records
	case ledger.StageAdopt:
		s.Run.RowsTotal = n.Left
	case ledger.StageApply:
		s.Run.RowsTotal = n.Creates + n.Updates
	case ledger.StageReadback, ledger.StageVerify:
		s.Run.RowsTotal = n.Written
	case ledger.StageClose:
		s.Run.RowsTotal = n.Outcomes()
	}
}
