package salesforcetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/simulator"
)

func set(v string) salesforce.Cell { return salesforce.Cell{Value: v, Set: true} }

func key(i int) string { return fmt.Sprintf("u-%06d", i) }

// open creates an upsert job over the key.
func open(t *testing.T, c *Client, object string) string {
	t.Helper()
	j, err := c.CreateIngestJob(t.Context(), salesforce.IngestSpec{Object: object, Operation: "upsert", ExternalIDField: Key})
	if err != nil {
		t.Fatal(err)
	}
	if j.State != salesforce.JobOpen || j.Object != object || j.Created.IsZero() {
		t.Fatalf("new job %+v", j)
	}
	return j.ID
}

// bulkUpsert is a whole apply within its budget of API calls: every row ends in exactly one file.
func bulkUpsert(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	const n = 100_000
	id := open(t, c, "Contact")
	if err := c.UploadCSV(t.Context(), id, upload(n, func(i int) []salesforce.Cell {
		name := fmt.Sprintf("Person, \"%d\"\nsecond line", i)
		if i%1000 == 7 {
			name = "a name of more than eighty characters is refused by Salesforce, which says so in the failed file"
		}
		return []salesforce.Cell{set(key(i)), set(name), set(fmt.Sprintf("p%d@example.com", i))}
	}, Key, "LastName", "Email")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CloseJob(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	j, err := finish(t.Context(), c.JobInfo, id, n)
	if err != nil || j.State != salesforce.JobComplete || j.Processed != n || j.Failed != n/1000 {
		t.Fatalf("job %+v, %v", j, err)
	}
	outcomes := make(map[string]string, n)
	file := func(kind string) func(*salesforce.ResultRow) error {
		return func(r *salesforce.ResultRow) error {
			k := r.Values[0]
			if outcomes[k] != "" {
				return fmt.Errorf("%s is in the %s file and was %s before", k, kind, outcomes[k])
			}
			outcomes[k] = kind
			switch {
			case kind == "failed" && (r.Code != "STRING_TOO_LONG" || r.Action != salesforce.ActionRow || !cmp.Equal(r.Fields, []string{"LastName"})):
				t.Errorf("failed row %+v", r)
			case kind == "saved" && (!r.Created || r.ID == ""):
				t.Errorf("saved row %+v", r)
			}
			return nil
		}
	}
	saved, err := c.SuccessfulResults(t.Context(), id, []string{Key}, file("saved"))
	if err != nil {
		t.Fatal(err)
	}
	failed, err := c.FailedResults(t.Context(), id, []string{Key}, file("failed"))
	if err != nil {
		t.Fatal(err)
	}
	left, err := c.UnprocessedRecords(t.Context(), id, []string{Key}, file("unprocessed"))
	if err != nil {
		t.Fatal(err)
	}
	if saved != n-n/1000 || failed != n/1000 || left != 0 || len(outcomes) != n || org.Count("Contact") != n-n/1000 {
		t.Errorf("%d saved, %d failed, %d unprocessed of %d; the org holds %d", saved, failed, left, n, org.Count("Contact"))
	}
	if calls := c.Calls(); len(calls) > 12 {
		t.Errorf("%d calls, want at most 12: %s", len(calls), ops(calls))
	}
	if err := c.DeleteJob(t.Context(), id); err != nil {
		t.Error(err)
	}
	if _, err := c.JobInfo(t.Context(), id); salesforce.ActionOf(err) != salesforce.ActionJob {
		t.Errorf("a deleted job: %v", err)
	}
	if err := c.DeleteJob(t.Context(), id); err != nil {
		t.Errorf("the second delete: %v", err)
	}
}

// bulkClears: #N/A clears a field and an empty cell leaves it.
func bulkClears(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	record, err := org.Create("Contact", map[string]string{"LastName": "X", Key: key(1), "Phone": "1", "Title": "stays"})
	if err != nil {
		t.Fatal(err)
	}
	id := open(t, c, "Contact")
	if err := c.UploadCSV(t.Context(), id, upload(1, func(int) []salesforce.Cell {
		return []salesforce.Cell{set(key(1)), {Null: true}, {}, set(" spaces, \"quotes\" and\r\nlines ")}
	}, Key, "Phone", "Title", "Description")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CloseJob(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if j, err := finish(t.Context(), c.JobInfo, id, 1); err != nil || j.Failed != 0 || j.Err() != nil {
		t.Fatalf("job %+v, %v", j, err)
	}
	r, _ := org.Record(record)
	if r.Fields["Phone"] != "" || r.Fields["Title"] != "stays" {
		t.Errorf("record %v", r.Fields)
	}
	if _, err := c.SuccessfulResults(t.Context(), id, []string{Key}, func(r *salesforce.ResultRow) error {
		if r.Created || r.ID != record {
			t.Errorf("row %+v", r)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func bulkUnknownColumn(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	id := open(t, c, "Contact")
	if err := c.UploadCSV(t.Context(), id, upload(10, func(i int) []salesforce.Cell { return []salesforce.Cell{set(key(i)), set("x")} }, Key, "Nope__c")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CloseJob(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	j, err := finish(t.Context(), c.JobInfo, id, 10)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := errors.AsType[*salesforce.Error](j.Err())
	if j.State != salesforce.JobFailed || !ok || e.Code != "InvalidBatch" || e.Action != salesforce.ActionConfig || e.Message != "Field name not found : Nope__c" {
		t.Errorf("job %+v, %v", j, j.Err())
	}
	left, err := c.UnprocessedRecords(t.Context(), id, []string{Key}, func(*salesforce.ResultRow) error { return nil })
	if err != nil {
		t.Error(err)
	}
	if org.EffectCount() != 0 {
		t.Errorf("%d effects of a failed job, %d rows unprocessed", org.EffectCount(), left)
	}
}

func bulkSecondUpload(t *testing.T, start Start) {
	c := Connect(t, start(t, simulator.Options{}))
	id := open(t, c, "Contact")
	rows := upload(1, func(i int) []salesforce.Cell { return []salesforce.Cell{set(key(i)), set("x")} }, Key, "LastName")
	if err := c.UploadCSV(t.Context(), id, rows); err != nil {
		t.Fatal(err)
	}
	err := c.UploadCSV(t.Context(), id, rows)
	if e, ok := errors.AsType[*salesforce.Error](err); !ok || e.Status != 400 || e.Action != salesforce.ActionJob {
		t.Errorf("second upload: %v, want a refusal", err)
	}
}

// bulkAbort: rows that were not reached are in the unprocessed file, and an upload without close has no
// effect.
func bulkAbort(t *testing.T, start Start) {
	org := start(t, simulator.Options{BulkRate: 100})
	c := Connect(t, org)
	rows := func(n int) func(io.Writer) error {
		return upload(n, func(i int) []salesforce.Cell { return []salesforce.Cell{set(key(i)), set("x")} }, Key, "LastName")
	}
	idle := open(t, c, "Contact")
	if err := c.UploadCSV(t.Context(), idle, rows(10)); err != nil {
		t.Fatal(err)
	}
	if j, err := c.AbortJob(t.Context(), idle); err != nil || j.State != salesforce.JobAborted {
		t.Fatalf("abort: %+v, %v", j, err)
	}
	if n := org.EffectCount(); n != 0 {
		t.Errorf("%d effects of a job that was never closed", n)
	}
	id := open(t, c, "Contact")
	const n = 50_000
	if err := c.UploadCSV(t.Context(), id, rows(n)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CloseJob(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if j, err := c.AbortJob(t.Context(), id); err != nil || j.State != salesforce.JobAborted {
		t.Fatalf("abort: %+v, %v", j, err)
	}
	if j, err := c.AbortJob(t.Context(), id); err != nil || j.State != salesforce.JobAborted {
		t.Errorf("second abort: %+v, %v", j, err)
	}
	none := func(*salesforce.ResultRow) error { return nil }
	saved, err1 := c.SuccessfulResults(t.Context(), id, []string{Key}, none)
	failed, err2 := c.FailedResults(t.Context(), id, []string{Key}, none)
	left, err3 := c.UnprocessedRecords(t.Context(), id, []string{Key}, none)
	if err := errors.Join(err1, err2, err3); err != nil || saved+failed+left != n || left == 0 || saved != org.EffectCount() {
		t.Errorf("%d saved, %d failed, %d unprocessed of %d; %d effects; %v", saved, failed, left, n, org.EffectCount(), err)
	}
	var found int
	if err := c.IngestJobs(t.Context(), func(j salesforce.Job) error {
		if j.CreatedByID == org.UserID() && (j.ID == id || j.ID == idle) && j.State == salesforce.JobAborted {
			found++
		}
		return nil
	}); err != nil || found != 2 {
		t.Errorf("%d of the two jobs are listed, %v", found, err)
	}
}

// bulkQuery reads in pages what REST reads too: the values agree.
func bulkQuery(t *testing.T, start Start) {
	org := start(t, simulator.Options{SeedRecords: map[string]int{"Account": 5, "Contact": 12_000}})
	c := Connect(t, org)
	columns := []salesforce.Column{
		{Name: "Id", Type: salesforce.TypeID},
		{Name: "LastName"},
		{Name: "Email"},
		{Name: "Account.Name"},
		{Name: "Birthdate", Type: salesforce.TypeDate},
		{Name: "IsDeleted", Type: salesforce.TypeBoolean},
		{Name: "MailingLatitude", Type: salesforce.TypeDouble},
		{Name: "SystemModstamp", Type: salesforce.TypeDateTime},
	}
	if _, err := org.Create("Contact", map[string]string{"LastName": "Ünïque, \"q\"", "Birthdate": "1999-12-31", "MailingLatitude": "52.25", "MailingLongitude": "13.5", "Description": "x"}); err != nil {
		t.Fatal(err)
	}
	soql, err := salesforce.Select(columns, "Contact", "")
	if err != nil {
		t.Fatal(err)
	}
	c.Calls()
	j, err := c.CreateQueryJob(t.Context(), soql, false)
	if err != nil {
		t.Fatal(err)
	}
	if j, err = finish(t.Context(), c.QueryJobInfo, j.ID, 12_001); err != nil || j.State != salesforce.JobComplete || j.Processed != 12_001 {
		t.Fatalf("job %+v, %v", j, err)
	}
	bulk := make(map[string][]string)
	n, err := c.QueryResults(t.Context(), j.ID, columns, 5000, func(r *salesforce.Record) error {
		bulk[r.Values[0]] = append([]string(nil), r.Values...)
		return nil
	})
	if err != nil || n != 12_001 || len(bulk) != 12_001 {
		t.Fatalf("%d rows, %d records, %v", n, len(bulk), err)
	}
	if calls := c.Calls(); len(calls) > 6 {
		t.Errorf("%d calls, want at most 6: %s", len(calls), ops(calls))
	}
	rest := make(map[string][]string)
	if err := c.Query(t.Context(), soql, columns, func(r *salesforce.Record) error {
		rest[r.Values[0]] = append([]string(nil), r.Values...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rest, bulk); diff != "" {
		t.Errorf("REST and Bulk disagree (-REST +Bulk):\n%.2000s", diff)
	}
	if err := c.DeleteQueryJob(t.Context(), j.ID); err != nil {
		t.Error(err)
	}
}

func bulkQueryRefused(t *testing.T, start Start) {
	c := Connect(t, start(t, simulator.Options{}))
	for _, soql := range []string{"SELECT COUNT(Id) FROM Contact", "SELECT MailingAddress FROM Contact", "SELECT Id FROM Contact WHERE", "SELECT Nope__c FROM Contact"} {
		j, err := c.CreateQueryJob(t.Context(), soql, false)
		if e, ok := errors.AsType[*salesforce.Error](err); !ok || e.Status != 400 {
			t.Errorf("%q: job %+v, %v; want a refusal", soql, j, err)
		}
	}
	if _, err := c.QueryJobInfo(t.Context(), "7505g00000AbCdEAAV"); salesforce.ActionOf(err) != salesforce.ActionJob {
		t.Errorf("unknown job: %v", err)
	}
	j, err := c.CreateQueryJob(t.Context(), "SELECT Id FROM Contact", true)
	if err != nil || j.Operation != "queryAll" || j.Object != "Contact" {
		t.Fatalf("job %+v, %v", j, err)
	}
	if j, err = finish(t.Context(), c.QueryJobInfo, j.ID, 0); err != nil {
		t.Fatal(err)
	}
	if n, err := c.QueryResults(t.Context(), j.ID, salesforce.Columns("Id"), 0, nil); n != 0 || err != nil {
		t.Errorf("%d rows of an empty object, %v", n, err)
	}
	if j, err = c.AbortQueryJob(t.Context(), j.ID); err != nil || j.State != salesforce.JobComplete {
		t.Errorf("abort of a complete job: %+v, %v; want it as it is", j, err)
	}
}

// upload writes rows of Key and LastName.
func upload(n int, cell func(i int) []salesforce.Cell, columns ...string) func(io.Writer) error {
	return func(w io.Writer) error {
		c, err := salesforce.NewCSVWriter(w, columns)
		if err != nil {
			return err
		}
		for i := range n {
			if err := c.Row(cell(i)); err != nil {
				return err
			}
		}
		return c.Flush()
	}
}

// finish polls a job until it is over, by its PollPlan.
func finish(ctx context.Context, info func(context.Context, string) (salesforce.Job, error), id string, rows int64) (salesforce.Job, error) {
	plan := salesforce.PollPlan{Rows: rows}
	var j salesforce.Job
	began := time.Now()
	for polls := 0; !j.State.Terminal(); polls++ {
		timer := time.NewTimer(plan.Next(polls, time.Since(began), j.Processed))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return j, ctx.Err()
		}
		var err error
		if j, err = info(ctx, id); err != nil {
			return j, err
		}
	}
	return j, nil
}
