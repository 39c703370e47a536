package stage

import (
	"context"
	"maps"
	"slices"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// freshFor is how long what was read of records may be written by without looking again.
const freshFor = 15 * time.Minute

// readSince is Salesforce's clock before the records were read, or were looked at again after a hold.
func (w *work) readSince(tasks []ledger.Task) time.Time {
	var since time.Time
	for _, t := range tasks {
		if t.Result != nil && t.Result.Prepared != nil && t.Result.Prepared.Since.After(since) {
			since = t.Result.Prepared.Since
		}
	}
	if since.IsZero() { // an org whose replies have no date
		since = w.run.StartedAt.Add(-15 * time.Minute)
	}
	return since
}

func modifiedSince(t time.Time) string {
	return "WHERE SystemModstamp >= " + t.UTC().Format("2006-01-02T15:04:05Z")
}

// waitedLong reports whether the run waited for the org's allocation, and the records were read, or looked at again after
// a hold, longer ago than is fresh.
func (w *work) waitedLong() bool {
	if !w.run.Parked && len(w.task.Input.Only) == 0 {
		return false
	}
	read := w.run.StartedAt
	// The pull of a whole table begins with the snapshot.
	for _, s := range []ledger.Stage{ledger.StageSnapshot, ledger.StageRecheck} {
		if at := w.run.Began[s]; at.After(read) {
			read = at
		}
	}
	now := time.Now
	if w.Now != nil {
		now = w.Now
	}
	return now().Sub(read) > freshFor
}

// lookAgain finds the rows whose record was modified since it was read, where that is long ago because the
// run waited for the org's allocation. They are not sent, for they might overwrite what somebody did meanwhile. Once a task
// has sent something it does not look again: its own writes would count as modifications. What it found before is in
// its checkpoint, so that an attempt after a crash leaves the same rows alone.
func (a *applier) lookAgain(ctx context.Context, tasks []ledger.Task) error {
	at := a.w.task.Checkpoint
	if at.Attempted > 0 || ran(at.Jobs) > 0 || a.w.draining() || !a.w.waitedLong() {
		a.outdated = make(map[int]bool, len(at.Outdated))
		for _, place := range at.Outdated {
			a.outdated[place] = true
		}
		return nil
	}
	about := make(map[string][]int) // record id or match key -> places
	err := a.each(ctx, func(c *eventv1.PlannedChange) error {
		keys := []string{c.GetRecordId()}
		if a.creates {
			keys = a.s.createKeys(c)
		}
		for _, key := range keys {
			about[key] = append(about[key], a.place)
		}
		return nil
	})
	if err != nil || len(about) == 0 {
		return err
	}
	columns := []salesforce.Column{{Name: fieldID, Type: salesforce.TypeID}}
	if a.creates {
		columns = a.s.record
	}
	soql, err := salesforce.Select(columns, a.object, modifiedSince(a.w.readSince(tasks)))
	if err != nil {
		return err
	}
	outdated := make(map[int]bool)
	err = a.org.Query(ctx, soql, columns, func(rec *salesforce.Record) error {
		keys := []string{rec.Values[0]}
		if a.creates {
			keys = a.s.recordKeys(rec)
		}
		for _, key := range keys {
			for _, place := range about[key] {
				outdated[place] = true
			}
		}
		return nil
	})
	if err != nil {
		return refusal(err, "see which records were modified while the run waited")
	}
	a.outdated = outdated
	if len(outdated) == 0 && len(at.Outdated) == 0 {
		return nil
	}
	return a.w.save(ctx, func(c *ledger.Checkpoint) { c.Outdated = slices.Sorted(maps.Keys(outdated)) })
}
