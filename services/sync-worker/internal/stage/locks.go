package stage

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
)

// isLock reports whether a row was refused because somebody else had locked it, or what it belongs to.
func isLock(e salesforce.RowError) bool {
	return e.Code == "UNABLE_TO_LOCK_ROW" || e.Code == "TooManyLockFailure" || strings.Contains(e.Message, "UNABLE_TO_LOCK_ROW")
}

// groupByParent sorts changes so that those of one parent, which lock it, are neighbours.
func (a *applier) groupByParent(changes []*eventv1.PlannedChange) {
	if !a.hasParents() {
		return
	}
	slices.SortStableFunc(changes, func(x, y *eventv1.PlannedChange) int { return cmp.Compare(a.parent(x), a.parent(y)) })
}

// hasParents reports whether changes may name another record.
func (a *applier) hasParents() bool {
	return slices.ContainsFunc(a.sent, func(i int) bool { return a.targets[i].Type == typeReference })
}

const typeReference = "reference"

// parent is the record that Salesforce locks together with the change's own; empty where the change does not say. It is
// that of the first reference, as it will be or as it was.
func (a *applier) parent(c *eventv1.PlannedChange) string {
	for _, i := range a.sent {
		if a.targets[i].Type != typeReference {
			continue
		}
		for _, row := range []*rowv1.Row{c.GetAfter(), c.GetBefore()} {
			if v := plan.Cell(row, i); !v.Absent && v.Text != "" {
				return v.Text
			}
		}
	}
	return ""
}

// lockPause is how long locked rows are left alone: twice as long each time, with jitter.
func lockPause(round int) time.Duration {
	d := time.Duration(1<<round) * 50 * time.Millisecond
	return d/2 + rand.N(d)
}

// chunkRows is what Salesforce saves together of a Bulk job, and with that what locks its parents together.
const chunkRows = 10_000

// byParent hands the task's changes to fn like each, but those of one parent next to each other: in two chunks of a job,
// which are saved at the same time, they would lock each other out. It reads the changes once for each chunk, and holds
// one at a time.
func (a *applier) byParent(ctx context.Context, fn func(*eventv1.PlannedChange) error) error {
	if !a.hasParents() {
		return a.each(ctx, fn)
	}
	buckets := uint64(max(1, (a.w.task.Input.Rows+chunkRows-1)/chunkRows))
	for bucket := range buckets {
		var family []*eventv1.PlannedChange
		flush := func() error {
			a.groupByParent(family)
			for _, c := range family {
				if err := fn(c); err != nil {
					return err
				}
			}
			family = family[:0]
			return nil
		}
		err := a.each(ctx, func(c *eventv1.PlannedChange) error {
			parent := a.parent(c)
			switch {
			case parent == "" && bucket == 0:
				return fn(c)
			case parent == "" || xxhash.Sum64String(parent)%buckets != bucket:
				return nil
			}
			if family = append(family, c); len(family) < 2*chunkRows {
				return nil
			}
			return flush()
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
