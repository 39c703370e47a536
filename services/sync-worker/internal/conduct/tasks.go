package conduct

import (
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

func (c *conductor) task(s ledger.Stage, n int, in ledger.Input) ledger.Task {
	return ledger.Task{RunID: c.run.ID, Tenant: c.run.Tenant, Stage: s, Number: n, Input: in}
}

func (c *conductor) snapshotTasks(p *ledger.Prepared) []ledger.Task {
	tasks := make([]ledger.Task, len(p.Ranges))
	for i, r := range p.Ranges {
		tasks[i] = c.task(ledger.StageSnapshot, i, r)
	}
	return tasks
}

// pullTasks are one for the whole table, or one per snapshot task that looks its match keys up.
func (c *conductor) pullTasks(p *ledger.Prepared) []ledger.Task {
	if c.run.Kind == ledger.KindUndo {
		return nil // its plan fetches the records that were written
	}
	if p.PullMode != ledger.PullLookup {
		tasks := []ledger.Task{c.task(ledger.StagePull, 0, ledger.Input{Rows: p.Records})}
		if p.Contacts {
			tasks = append(tasks, c.task(ledger.StagePull, 1, ledger.Input{Object: "Contact"}))
		}
		return tasks
	}
	tasks := make([]ledger.Task, len(p.Ranges))
	for i, r := range p.Ranges {
		tasks[i] = c.task(ledger.StagePull, i, ledger.Input{Rows: r.Rows})
	}
	return tasks
}

// parts makes one task per part.
func (c *conductor) parts(s ledger.Stage, n int) []ledger.Task {
	tasks := make([]ledger.Task, max(n, 1))
	for i := range tasks {
		tasks[i] = c.task(s, i, ledger.Input{})
	}
	return tasks
}

// applyTasks cuts the planned changes into tasks: one of Collections per action with few changes, Bulk jobs else.
func (c *conductor) applyTasks() []ledger.Task {
	var tasks []ledger.Task
	n := c.planned()
	for _, x := range []struct {
		kind, object string
		total        int64
	}{
		{rows.KindCreates, "", n.Creates},
		{rows.KindUpdates, "", n.Updates - n.ContactUpdates},
		{rows.KindContactUpdates, "Contact", n.ContactUpdates},
		{rows.KindLeavers, "", n.Deactivations},
		{rows.KindDeletes, "", n.Deletes},
	} {
		kind, bulk := x.kind, x.total > c.lim.CollectionsMax
		cut := ledger.Input{Action: kind, Bulk: bulk, Object: x.object}
		var size int64
		flush := func() {
			if cut.Rows > 0 {
				tasks = append(tasks, c.task(ledger.StageApply, len(tasks), cut))
			}
			cut, size = ledger.Input{Action: kind, Bulk: bulk, Object: x.object}, 0
		}
		for _, t := range c.planTasks() {
			out, ok := t.Output(kind, 0)
			if !ok || out.Messages == 0 {
				continue
			}
			perMessage := out.Bytes / int64(out.Messages)
			for n, count := range out.MessageRows {
				if cut.Rows > 0 && (cut.Rows+int64(count) > c.lim.BulkRows || size+perMessage > c.lim.BulkBytes) {
					flush()
				}
				cut.Rows += int64(count)
				size += perMessage
				cut.Changes = appendRef(cut.Changes, ledger.ChangeRef{
					Stage: t.Stage, Task: t.Number, Epoch: t.Result.Epoch, Kind: kind, From: n, To: n + 1,
				})
			}
		}
		flush()
	}
	return tasks
}

// continuation is what is added to the number of an apply task for the one that goes on with what it did not send.
const continuation = 10_000

// goesOn adds the tasks that go on where others were stopped by the org's allocation. What was sent stays settled: sent
// again hours later, it might undo what others did meanwhile.
func (c *conductor) goesOn(tasks []ledger.Task) []ledger.Task {
	for _, t := range c.by[ledger.StageApply] {
		if t.Result == nil || len(t.Result.Unsent) == 0 {
			continue
		}
		in := t.Input
		in.Only, in.Rows = t.Result.Unsent, int64(len(t.Result.Unsent))
		next := c.task(ledger.StageApply, t.Number+continuation, in)
		next.WakeAt, next.Window, next.LastError = t.Result.GoesOnAt, true, t.Result.Waits
		tasks = append(tasks, next)
	}
	return tasks
}

// planTasks are the tasks of all stages that plan, in order.
func (c *conductor) planTasks() (all []ledger.Task) {
	for _, s := range ledger.PlanStages {
		all = append(all, c.by[s]...)
	}
	return all
}

// planned sums what the stages that plan count.
func (c *conductor) planned() (n ledger.Counts) {
	for _, s := range ledger.PlanStages {
		n.Add(c.sum[s])
	}
	return n
}

// appendRef joins a reference to the one before it where the two are neighbours.
func appendRef(refs []ledger.ChangeRef, r ledger.ChangeRef) []ledger.ChangeRef {
	if n := len(refs); n > 0 {
		last := &refs[n-1]
		if last.Stage == r.Stage && last.Task == r.Task && last.Epoch == r.Epoch && last.To == r.From {
			last.To = r.To
			return refs
		}
	}
	return append(refs, r)
}
