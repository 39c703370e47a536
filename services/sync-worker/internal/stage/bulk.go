package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
)

// bulkRounds is how many Bulk jobs one task lets run at the most: the first, and others for rows that were locked or left
// unprocessed.
const bulkRounds = 1 + lockRounds

// closeTimeout bounds the call that starts a job.
const closeTimeout = 30 * time.Second

// bulk sends the changes through Bulk jobs. The task's checkpoint says how far the newest job has come:
//
//	not closing   it holds nothing that counts: a successor aborts it and makes another
//	closing       it may run: a successor adopts it
//	done          its result files say what became of its rows
//
// Rows without a result after that go into the next job.
func (a *applier) bulk(ctx context.Context) error {
	for {
		jobs := a.w.task.Checkpoint.Jobs
		d := a.w.drain.Load()
		if a.w.unreachable() {
			return a.conclude(ctx, results{}, d)
		}
		if n := len(jobs); n > 0 && !jobs[n-1].Done {
			if err := a.follow(ctx, n-1, d); err != nil {
				return err
			}
			continue
		}
		res, err := a.reconcile(ctx, jobs)
		if err != nil {
			return err
		}
		left, err := a.unsettled(ctx, res)
		if err != nil {
			return err
		}
		if left == 0 || d != nil || ran(jobs) >= bulkRounds {
			return a.conclude(ctx, res, d)
		}
		if n := ran(jobs); n > 0 && a.w.task.Checkpoint.Paused < n {
			return a.pauseBefore(ctx, n)
		}
		if err := a.start(ctx, res); err != nil {
			return err
		}
	}
}

// pauseBefore puts the task to sleep for a little before another job: whoever locked the rows is still at work on them.
func (a *applier) pauseBefore(ctx context.Context, round int) error {
	err := a.w.lease.Park(ctx, time.Now().Add(lockPause(round)), func(t *ledger.Task) {
		t.Checkpoint.Paused = round
		a.w.progress(t)
	})
	if err != nil {
		return err
	}
	return errParked
}

// ran counts the jobs that were let run. Those that were aborted before, because their worker died, are no rounds.
func ran(jobs []ledger.BulkJob) int {
	n := 0
	for _, j := range jobs {
		if j.Closing {
			n++
		}
	}
	return n
}

// start makes a job of all rows without a result, uploads them and lets Salesforce begin.
func (a *applier) start(ctx context.Context, res results) error {
	spec := salesforce.IngestSpec{Object: a.object, Operation: "update"}
	switch {
	case a.creates:
		spec.Operation, spec.ExternalIDField = "upsert", a.s.keyField()
	case a.deletes:
		spec.Operation = "delete"
	}
	if err := a.w.lease.Fence(ctx); err != nil {
		return err
	}
	job, err := a.org.CreateIngestJob(ctx, spec)
	if err != nil {
		return refusal(err, "open a Bulk job")
	}
	err = a.w.save(ctx, func(c *ledger.Checkpoint) {
		c.Jobs = append(slices.Clone(c.Jobs), ledger.BulkJob{ID: job.ID})
		c.Polls = 0
	})
	if err != nil {
		return err
	}
	at := len(a.w.task.Checkpoint.Jobs) - 1
	var sent int64
	err = a.org.UploadCSV(ctx, job.ID, func(out io.Writer) error {
		n, err := a.upload(ctx, out, res)
		sent = n
		return err
	})
	if err != nil {
		// Nothing has begun. The next attempt, or a successor, aborts the job and makes another.
		return refusal(err, "upload to "+describeJob(job.ID))
	}
	if a.w.draining() {
		return nil // the job is aborted: a stopped run sends nothing new
	}
	err = a.w.save(ctx, func(c *ledger.Checkpoint) {
		c.Jobs[at].Closing, c.Jobs[at].Rows, c.SentAt = true, sent, time.Now()
	})
	if err != nil {
		return err
	}
	if err := a.begin(ctx, job.ID); err != nil {
		return err
	}
	return a.w.sleepFor(ctx, 0)
}

// begin sends the one call by which a job takes effect. Its answer may be lost: follow looks.
func (a *applier) begin(ctx context.Context, id string) error {
	if err := a.w.lease.Fence(ctx); err != nil {
		return err
	}
	cctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	_, err := a.org.CloseJob(cctx, id)
	if _, unknown := errors.AsType[*salesforce.UnknownOutcomeError](err); unknown {
		return nil
	}
	return refusal(err, "start "+describeJob(id))
}

// follow brings the newest job to its end, or parks the task until it may be there.
func (a *applier) follow(ctx context.Context, at int, d *ledger.Drain) error {
	job := a.w.task.Checkpoint.Jobs[at]
	done := func(rows int64) error {
		return a.w.save(ctx, func(c *ledger.Checkpoint) { c.Jobs[at].Done, c.Jobs[at].Rows = true, rows })
	}
	if !job.Closing {
		if _, err := a.org.AbortJob(ctx, job.ID); err != nil && !isGone(err) {
			return refusal(err, "abort "+describeJob(job.ID))
		}
		return done(0)
	}
	var info salesforce.Job
	var err error
	if d != nil {
		info, err = a.org.AbortJob(ctx, job.ID)
	} else {
		info, err = a.org.JobInfo(ctx, job.ID)
	}
	switch {
	case isGone(err):
		if err := a.lost(ctx, at); err != nil {
			return err
		}
		return fail("%s is gone from Salesforce before its results were read: an admin deleted it. The next run compares again.", describeJob(job.ID))
	case err != nil:
		return refusal(err, "look at "+describeJob(job.ID))
	case info.State == salesforce.JobOpen:
		if err := a.begin(ctx, job.ID); err != nil {
			return err
		}
		return a.w.sleepFor(ctx, 0)
	case !info.State.Terminal():
		return a.w.sleepFor(ctx, info.Processed)
	}
	a.w.paces.learn(a.w.pace(), info.Processed, time.Since(a.w.task.Checkpoint.SentAt))
	if err := done(job.Rows); err != nil {
		return err
	}
	if info.State == salesforce.JobFailed && info.Processed == 0 && d == nil {
		return fail("Salesforce took no row of %s: %s", describeJob(job.ID), info.Message)
	}
	return nil
}

// lost notes that a job is gone with whatever it did: it is asked for no more.
func (a *applier) lost(ctx context.Context, at int) error {
	return a.w.save(ctx, func(c *ledger.Checkpoint) { c.Jobs[at].Done, c.Jobs[at].Lost = true, true })
}

func isGone(err error) bool {
	e, ok := errors.AsType[*salesforce.Error](err)
	return ok && e.Status == 404
}

// result is what became of one row. There are 100,000 of them in a task, so they are small and keep nothing of the
// result file alive.
type result struct {
	recordID [18]byte
	job      uint16 // index among the task's jobs
	failure  *salesforce.RowError
}

// results are rows by key: the folded match field of creates, the record id of updates.
type results map[string]result

// key is a change's key among results.
func (a *applier) key(c *eventv1.PlannedChange) string {
	if a.creates {
		return a.foldKey(c.GetKey())
	}
	return a.foldKey(c.GetRecordId())
}

func (a *applier) foldKey(v string) string {
	if !a.creates {
		if id, err := salesforce.ID18(v); err == nil {
			return id
		}
		return v
	}
	if a.s.byExternalID() {
		// Result files spell values anew: a number may come back in another form.
		if canonical, err := salesforce.Canonical(salesforce.FieldType(a.s.fields[a.s.keyField()].GetType()), v); err == nil {
			v = canonical
		}
		return a.s.foldExternalID(v)
	}
	return foldEmail(v)
}

// reconcile reads the result files of all jobs that ran. They come unordered and without row numbers, so rows are found
// by key. A job whose files do not add up to what was uploaded is not settled.
func (a *applier) reconcile(ctx context.Context, jobs []ledger.BulkJob) (results, error) {
	res := make(results)
	columns := []string{"Id"}
	if a.creates {
		columns = []string{a.s.keyField()}
	}
	for at, job := range jobs {
		if !job.Closing || job.Rows == 0 || job.Lost {
			continue
		}
		note := func(r *salesforce.ResultRow, failure *salesforce.RowError) {
			found := result{job: uint16(at), failure: failure}
			copy(found.recordID[:], r.ID)
			res[strings.Clone(a.foldKey(r.Values[0]))] = found
		}
		good, err := a.org.SuccessfulResults(ctx, job.ID, columns, func(r *salesforce.ResultRow) error {
			note(r, nil)
			return nil
		})
		if err != nil {
			return nil, refusal(err, "read the results of "+describeJob(job.ID))
		}
		if good == job.Rows {
			continue
		}
		bad, err := a.org.FailedResults(ctx, job.ID, columns, func(r *salesforce.ResultRow) error {
			e := r.RowError
			note(r, &e)
			return nil
		})
		if err != nil {
			return nil, refusal(err, "read the failures of "+describeJob(job.ID))
		}
		if good+bad == job.Rows {
			continue
		}
		left, err := a.org.UnprocessedRecords(ctx, job.ID, columns, func(*salesforce.ResultRow) error { return nil })
		if err != nil {
			return nil, refusal(err, "read the unprocessed rows of "+describeJob(job.ID))
		}
		if good+bad+left != job.Rows {
			return nil, fmt.Errorf("%s: %d successful, %d failed and %d unprocessed rows do not add up to the %d that were uploaded",
				describeJob(job.ID), good, bad, left, job.Rows)
		}
	}
	return res, nil
}

// open reports whether a row still has to be sent: it has no result, or its record was locked.
func (res results) open(key string) bool {
	r, ok := res[key]
	return !ok || r.failure != nil && r.failure.Action == salesforce.ActionRetryRow
}

// unsettled counts the rows that still have to be sent.
func (a *applier) unsettled(ctx context.Context, res results) (int64, error) {
	if len(res) == 0 && len(a.outdated) == 0 && a.corrections.revoked == nil && len(a.corrections.failed) == 0 {
		return a.w.task.Input.Rows, nil
	}
	check, err := a.writer(io.Discard)
	if err != nil {
		return 0, err
	}
	var n int64
	err = a.each(ctx, func(c *eventv1.PlannedChange) error {
		if !res.open(a.key(c)) {
			return nil
		}
		if _, bad := errors.AsType[*salesforce.CellError](check.Row(a.cells(c))); !bad {
			n++
		}
		return nil
	})
	return n, err
}

func (a *applier) columns() []string {
	var names []string
	if !a.creates {
		names = append(names, fieldID)
	}
	if a.deletes {
		return names
	}
	for _, i := range a.sent {
		names = append(names, a.targets[i].Field)
	}
	return names
}

func (a *applier) writer(out io.Writer) (*salesforce.CSVWriter, error) {
	return salesforce.NewCSVWriter(out, a.columns())
}

func (a *applier) cells(c *eventv1.PlannedChange) []salesforce.Cell {
	cells := make([]salesforce.Cell, 0, len(a.sent)+1)
	if !a.creates {
		cells = append(cells, salesforce.Cell{Value: c.GetRecordId(), Set: true})
	}
	if a.deletes {
		return cells
	}
	for _, i := range a.sent {
		v := plan.Cell(c.GetAfter(), i)
		cells = append(cells, salesforce.Cell{Value: v.Text, Set: !v.Absent, Null: v.Null})
	}
	return cells
}

// upload writes the rows that still have to be sent and returns their number. Rows that cannot be spelled in CSV are
// left out, rows that no longer fit wait for the next job.
func (a *applier) upload(ctx context.Context, out io.Writer, res results) (int64, error) {
	csv, err := a.writer(out)
	if err != nil {
		return 0, err
	}
	full := false
	err = a.byParent(ctx, func(c *eventv1.PlannedChange) error {
		if full || !res.open(a.key(c)) {
			return nil
		}
		err := csv.Row(a.cells(c))
		if errors.Is(err, salesforce.ErrUploadFull) {
			full = true
			return nil
		}
		if _, bad := errors.AsType[*salesforce.CellError](err); bad {
			return nil
		}
		a.w.rows.Store(csv.Rows())
		return err
	})
	if err != nil {
		return 0, err
	}
	return csv.Rows(), csv.Flush()
}

// conclude says how every row ended and settles the task.
func (a *applier) conclude(ctx context.Context, res results, d *ledger.Drain) error {
	check, err := a.writer(io.Discard)
	if err != nil {
		return err
	}
	var closed, unread []string
	jobs := a.w.task.Checkpoint.Jobs
	for _, j := range jobs {
		if !j.Closing {
			continue
		}
		closed = append(closed, j.ID)
		if j.Lost || a.w.unreachable() {
			unread = append(unread, j.ID)
		}
	}
	a.told = true
	err = a.each(ctx, func(c *eventv1.PlannedChange) error {
		r, ok := res[a.key(c)]
		switch {
		case ok && r.failure == nil:
			return a.saved(ctx, c, string(r.recordID[:]), jobs[r.job].ID)
		case ok:
			return a.refused(ctx, c, *r.failure, jobs[r.job].ID)
		}
		if bad, unsendable := errors.AsType[*salesforce.CellError](check.Row(a.cells(c))); unsendable {
			return a.refused(ctx, c, salesforce.RowError{
				Code: codeUnsendable, Message: fmt.Sprintf("The value for %s cannot be sent: %s.", bad.Column, bad.Reason), Fields: []string{bad.Column},
			}, "")
		}
		switch {
		case d != nil && len(unread) > 0:
			return a.putOff(ctx, c, codeUnknown, fmt.Sprintf(
				"Nobody could be asked what became of %s; the next run looks it up. %s", describeJob(strings.Join(unread, ", ")), d.Reason), unread[len(unread)-1])
		case d != nil:
			return a.putOff(ctx, c, d.Code, d.Reason, "")
		}
		return a.putOff(ctx, c, codeUnprocessed, "Salesforce left this row unprocessed in every job; the next run tries again.", "")
	})
	if err != nil {
		return err
	}
	return a.settle(ctx, closed)
}
