package stage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// errParked: the task sleeps until its Bulk job may be ready.
var errParked = errors.New("stage: parked")

// pull copies the org's records, by part of their match key.
func (w *work) pull(ctx context.Context) error {
	if w.draining() {
		return w.settle(ctx, ledger.Result{Aborted: true})
	}
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	org, err := w.client()
	if err != nil {
		return err
	}
	if w.task.Input.Object != "" {
		return w.pullContacts(ctx, org, s)
	}
	out := newPulled(w, s)
	switch w.run.PullMode {
	case ledger.PullLookup:
		err = w.lookUp(ctx, org, s, out)
	case ledger.PullREST:
		var soql string
		if soql, err = salesforce.Select(s.record, w.run.Object, ""); err == nil {
			err = org.Query(ctx, soql, s.record, func(r *salesforce.Record) error { return out.add(ctx, r) })
		}
	case ledger.PullBulk:
		err = w.bulkQuery(ctx, org, w.run.Object, s.record, "", func(r *salesforce.Record) error { return out.add(ctx, r) })
	default:
		return fail("the ledger holds a run with pull mode %q, which this version does not know; run one version of sync-worker", w.run.PullMode)
	}
	if errors.Is(err, errParked) {
		return nil
	}
	if err != nil {
		return refusal(err, "read "+w.run.Object)
	}
	if err := out.close(ctx); err != nil {
		return err
	}
	return w.settle(ctx, ledger.Result{Counts: ledger.Counts{Records: out.n}})
}

// pulled sorts records into parts: those with an external id by it, the others by their e-mail.
type pulled struct {
	w       *work
	s       *snapshot
	records *rows.Rows
	free    *rows.Rows
	n       int64
}

func newPulled(w *work, s *snapshot) *pulled {
	return &pulled{
		w: w, s: s,
		records: rows.NewRows(w.pub, rows.KindRecords, s.recordNames(), w.run.Parts),
		free:    rows.NewRows(w.pub, rows.KindFree, s.recordNames(), w.run.Parts),
	}
}

func (p *pulled) add(ctx context.Context, r *salesforce.Record) error {
	p.n++
	p.w.rows.Store(p.n)
	email := ""
	if p.s.email >= 0 {
		email = foldEmail(r.Values[p.s.email])
	}
	key, to := email, p.records
	if p.s.byExternalID() {
		key = p.s.foldExternalID(r.Values[p.s.external])
		if key == "" {
			key, to = email, p.free
		}
	}
	if key == "" {
		return nil // nobody can be joined to it; it is counted all the same
	}
	return to.Add(ctx, rows.Part(key, p.w.run.Parts), key, recordRow(r))
}

func (p *pulled) close(ctx context.Context) error {
	if err := p.records.Close(ctx); err != nil {
		return err
	}
	return p.free.Close(ctx)
}

// recordRow copies a record, whose first column is its id, out of the client's buffer.
func recordRow(r *salesforce.Record) *rowv1.Row {
	row := &rowv1.Row{Id: r.Values[0], Values: slices.Clone(r.Values)}
	for i, null := range r.Null {
		if null {
			row.Null = append(row.Null, uint32(i))
		}
	}
	return row
}

// lookUp asks for the records of the people that one snapshot task copied, by external id and by e-mail.
func (w *work) lookUp(ctx context.Context, org *salesforce.Client, s *snapshot, out *pulled) error {
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return err
	}
	var ids, emails []string
	for _, t := range tasks {
		if t.Stage != ledger.StageSnapshot || t.Number != w.task.Number {
			continue
		}
		for part := range max(w.run.Parts, 1) {
			err := rows.Read(ctx, w.Bus, t, rows.KindPeople, part, &eventv1.Rows{}, func(m *eventv1.Rows) error {
				for _, k := range m.GetKeys() {
					key, email := s.splitKey(k)
					if s.byExternalID() && key != "" {
						ids = append(ids, key)
					}
					if email != "" && s.email >= 0 {
						emails = append(emails, email)
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	seen := make(map[string]bool)
	ask := func(field string, keys []string) error {
		return queryIn(ctx, org.Query, w.run.Object, field, keys, s.record, func(r *salesforce.Record) error {
			if seen[r.Values[0]] {
				return nil
			}
			seen[r.Values[0]] = true
			return out.add(ctx, r)
		})
	}
	if s.byExternalID() {
		if err := ask(s.fieldMap.GetExternalIdField(), ids); err != nil {
			return err
		}
	}
	return ask(fieldEmail, emails)
}

// queryIn asks for the records whose field has one of the keys, in as few queries as their length allows. ask is Query or
// QueryAll of a client. keys are sorted in place.
func queryIn(
	ctx context.Context, ask func(context.Context, string, []salesforce.Column, func(*salesforce.Record) error) error,
	object, field string, keys []string, columns []salesforce.Column, fn func(*salesforce.Record) error,
) error {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if err := salesforce.Identifier(field); err != nil {
		return err
	}
	frame, err := salesforce.Select(columns, object, "WHERE "+salesforce.In(field, nil))
	if err != nil {
		return err
	}
	for len(keys) > 0 {
		n := fitting(keys, maxQuery-len(url.QueryEscape(frame)))
		soql, err := salesforce.Select(columns, object, "WHERE "+salesforce.In(field, keys[:n]))
		if err != nil {
			return err
		}
		keys = keys[n:]
		if err := ask(ctx, soql, columns, fn); err != nil {
			return err
		}
	}
	return nil
}

// maxQuery is what a query may take in a URI: Salesforce refuses URI and headers of more than 16,384 bytes together.
const maxQuery = 14_000

// fitting is how many keys fit into a query that has room bytes left.
func fitting(keys []string, room int) int {
	size := 0
	for i, k := range keys {
		size += len(url.QueryEscape(salesforce.Quote(k))) + len("%2C")
		if size > room {
			return max(i, 1)
		}
	}
	return len(keys)
}

// bulkQuery reads a table by a Bulk query job. The job's id is durable before the first poll; while the job runs the
// task sleeps and errParked is returned.
func (w *work) bulkQuery(ctx context.Context, org *salesforce.Client, object string, columns []salesforce.Column, where string, fn func(*salesforce.Record) error) error {
	if len(w.task.Checkpoint.Jobs) == 0 {
		soql, err := salesforce.Select(columns, object, where)
		if err != nil {
			return err
		}
		job, err := org.CreateQueryJob(ctx, soql, false)
		if err != nil {
			return err
		}
		err = w.save(ctx, func(c *ledger.Checkpoint) {
			c.Jobs = []ledger.BulkJob{{ID: job.ID, Rows: w.task.Input.Rows}}
			c.Polls, c.SentAt = 0, time.Now()
		})
		if err != nil {
			return err
		}
		return w.sleepFor(ctx, 0)
	}
	id := w.task.Checkpoint.Jobs[0].ID
	job, err := org.QueryJobInfo(ctx, id)
	if err != nil {
		return w.forgetLostJob(ctx, err)
	}
	if !job.State.Terminal() {
		return w.sleepFor(ctx, job.Processed)
	}
	w.paces.learn(w.pace(), job.Processed, time.Since(w.task.Checkpoint.SentAt))
	if e, failed := errors.AsType[*salesforce.Error](job.Err()); failed {
		if err := w.save(ctx, func(c *ledger.Checkpoint) { c.Jobs = nil }); err != nil {
			return err
		}
		if e.Action != salesforce.ActionConfig {
			e.Action = salesforce.ActionRetry // it read only: the next attempt makes another
		}
		return e
	}
	if _, err := org.QueryResults(ctx, id, columns, resultPage, fn); err != nil {
		return err
	}
	return nil
}

// resultPage is how many records one page of results may have. A page is an API call, and is streamed whatever its size.
const resultPage = 250_000

// forgetLostJob makes the next attempt begin with a new query job when Salesforce no longer knows this one.
func (w *work) forgetLostJob(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*salesforce.Error](err); ok && e.Status == 404 {
		if err := w.save(ctx, func(c *ledger.Checkpoint) { c.Jobs = nil }); err != nil {
			return err
		}
		return fmt.Errorf("the Bulk job is gone from Salesforce: %v", e.Code)
	}
	return err
}

// sleepFor parks the task until its newest Bulk job may be ready.
func (w *work) sleepFor(ctx context.Context, processed int64) error {
	c := w.task.Checkpoint
	pace := salesforce.PollPlan{Rows: c.Jobs[len(c.Jobs)-1].Rows, Rate: w.paces.rate(w.pace())}
	wait := pace.Next(c.Polls, time.Since(c.SentAt), processed)
	w.rows.Store(processed)
	err := w.lease.Park(ctx, time.Now().Add(wait), func(t *ledger.Task) {
		t.Checkpoint.Polls++
		w.progress(t)
	})
	if err != nil {
		return err
	}
	return errParked
}
