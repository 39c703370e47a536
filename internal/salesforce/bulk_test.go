package salesforce_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/google/go-cmp/cmp"
)

// job writes a job as the API does.
func job(state, rest string) string {
	return `{ "id" : "` + jobID + `", "operation" : "upsert", "object" : "Contact", "createdById" : "0055g000001AbCdEAF",
		"createdDate" : "2026-11-21T19:25:27.000+0000", "systemModstamp" : "2026-11-21T19:25:32.000+0000", "state" : "` + state + `",
		"externalIdFieldName" : "Key__c", "concurrencyMode" : "Parallel", "contentType" : "CSV", "apiVersion" : 67.0` + rest + ` }`
}

const notFound = `[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`

func TestIngestLifecycle(t *testing.T) {
	t.Parallel()
	type seen struct{ Request, Type, Body string }
	var got []seen
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		b, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, seen{q.Method + " " + strings.TrimPrefix(q.URL.Path, "/services/data/v67.0/jobs/ingest"), q.Header.Get("Content-Type"), string(b)})
		switch {
		case q.Method == http.MethodPost:
			reply(w, 200, job("Open", `, "contentUrl" : "services/data/v67.0/jobs/ingest/`+jobID+`/batches", "lineEnding" : "LF"`))
		case q.Method == http.MethodPut:
			w.WriteHeader(201)
		case q.Method == http.MethodPatch:
			reply(w, 200, job("UploadComplete", ""))
		case q.Method == http.MethodDelete:
			w.WriteHeader(204)
		default:
			reply(w, 200, job("JobComplete", `, "jobType" : "V2Ingest", "numberRecordsProcessed" : 8, "numberRecordsFailed" : 1, "retries" : 2, "totalProcessingTime" : 478, "apiActiveProcessingTime" : 191`))
		}
	})
	j, err := r.CreateIngestJob(t.Context(), salesforce.IngestSpec{Object: "Contact", Operation: "upsert", ExternalIDField: "Key__c"})
	if err != nil || j.ID != jobID || j.State != salesforce.JobOpen || j.State.Terminal() {
		t.Fatalf("create: %+v, %v", j, err)
	}
	if err := r.UploadCSV(t.Context(), j.ID, func(w io.Writer) error {
		c, err := salesforce.NewCSVWriter(w, []string{"Key__c", "LastName"})
		if err != nil {
			return err
		}
		if err := c.Row([]salesforce.Cell{set("k"), set("x")}); err != nil {
			return err
		}
		return c.Flush()
	}); err != nil {
		t.Fatal(err)
	}
	if j, err = r.CloseJob(t.Context(), j.ID); err != nil || j.State != salesforce.JobUploadComplete {
		t.Fatalf("close: %+v, %v", j, err)
	}
	j, err = r.JobInfo(t.Context(), j.ID)
	want := salesforce.Job{ID: jobID, Operation: "upsert", Object: "Contact", ExternalIDField: "Key__c", State: salesforce.JobComplete, Type: "V2Ingest",
		CreatedByID: "0055g000001AbCdEAF", Created: time.Date(2026, 11, 21, 19, 25, 27, 0, time.UTC), Modified: time.Date(2026, 11, 21, 19, 25, 32, 0, time.UTC),
		Processed: 8, Failed: 1, Retries: 2, ProcessingTime: 478 * time.Millisecond}
	if diff := cmp.Diff(want, j); diff != "" || err != nil || !j.State.Terminal() || j.Err() != nil {
		t.Errorf("info: %v (-want +got):\n%s", err, diff)
	}
	if err := r.DeleteJob(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	const jsonType = "application/json; charset=UTF-8"
	wantSeen := []seen{
		{"POST ", jsonType, `{"object":"Contact","operation":"upsert","externalIdFieldName":"Key__c","contentType":"CSV","lineEnding":"LF","columnDelimiter":"COMMA"}`},
		{"PUT /" + jobID + "/batches", "text/csv; charset=UTF-8", "Key__c,LastName\nk,x\n"},
		{"PATCH /" + jobID, jsonType, `{"state":"UploadComplete"}`},
		{"GET /" + jobID, "", ""},
		{"DELETE /" + jobID, "", ""},
	}
	if diff := cmp.Diff(wantSeen, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for _, s := range []salesforce.IngestSpec{{Object: "Contact", Operation: "insert"}, {Object: "Contact", Operation: "upsert"}, {Object: "a b", Operation: "update"}, {Object: "Contact", Operation: "update", ExternalIDField: "x"}} {
		if _, err := r.CreateIngestJob(t.Context(), s); err == nil {
			t.Errorf("%+v was sent", s)
		}
	}
	if _, err := r.JobInfo(t.Context(), "../../limits"); err == nil {
		t.Error("a job id with slashes was sent")
	}
}

func TestJobErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state, message, code string
		action               salesforce.Action
	}{
		{"Failed", "InvalidBatch : Field name not found : Nope__c", "InvalidBatch", salesforce.ActionConfig},
		{"Failed", "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF", "ClientInputError", salesforce.ActionJob},
		{"Failed", "ExceededQuota : ApiBatchItems Limit exceeded.", "ExceededQuota", salesforce.ActionStopUntilWindow},
		{"Failed", "something : odd", "something", salesforce.ActionJob},
		{"Failed", "", salesforce.CodeNone, salesforce.ActionJob},
		{"Aborted", "", "ABORTED", salesforce.ActionJob},
	} {
		r := newRig(t, status(200, job(c.state, `, "errorMessage" : "`+c.message+`"`)))
		j, err := r.JobInfo(t.Context(), jobID)
		if err != nil {
			t.Fatal(err)
		}
		if e := asError(t, j.Err()); e.Code != c.code || e.Action != c.action {
			t.Errorf("%s %q: %+v, want %s, %v", c.state, c.message, e, c.code, c.action)
		}
	}
}

// TestFencedCallsAreSentOnce: whatever comes back, the close and the upload are never repeated.
func TestFencedCallsAreSentOnce(t *testing.T) {
	t.Parallel()
	type op struct {
		name string
		call func(context.Context, *rig) error
	}
	ops := []op{
		{"close", func(ctx context.Context, r *rig) error { _, err := r.CloseJob(ctx, jobID); return err }},
		{"upload", func(ctx context.Context, r *rig) error {
			return r.UploadCSV(ctx, jobID, func(w io.Writer) error { _, err := io.WriteString(w, "Id\n"); return err })
		}},
	}
	for name, c := range map[string]struct {
		h       http.HandlerFunc
		action  salesforce.Action
		rejects int64
	}{
		"503":        {status(503, ""), salesforce.ActionLookUp, 0},
		"reset":      {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, salesforce.ActionLookUp, 0},
		"concurrent": {status(403, concurrent), salesforce.ActionRetry, 0},
		"expired":    {status(401, expired), salesforce.ActionRefresh, 1},
		"state":      {status(400, `[{"errorCode":"INVALIDJOBSTATE","message":"Found multiple contents for job: <7505g>"}]`), salesforce.ActionJob, 0},
	} {
		for _, o := range ops {
			t.Run(o.name+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
					_, _ = io.Copy(io.Discard, q.Body)
					c.h(w, q)
				})
				err := o.call(t.Context(), r)
				wantAction(t, err, c.action)
				if n := len(r.calls.all()); n != 1 || r.tokens.rejected.Load() != c.rejects {
					t.Errorf("%d requests, %d rejected tokens; want 1 and %d: %v", n, r.tokens.rejected.Load(), c.rejects, err)
				}
			})
		}
	}
	t.Run("close without a job in the reply", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, status(200, `{}`))
		wantAction(t, ops[0].call(t.Context(), r), salesforce.ActionLookUp)
	})
	t.Run("create with a lost answer", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, status(503, ""))
		_, err := r.CreateIngestJob(t.Context(), salesforce.IngestSpec{Object: "Contact", Operation: "update"})
		wantAction(t, err, salesforce.ActionLookUp)
		if n := len(r.calls.all()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestUploadEndsWithItsProducer(t *testing.T) {
	t.Parallel()
	t.Run("error of the producer", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
			if _, err := io.Copy(io.Discard, q.Body); err == nil {
				t.Error("the upload looked complete to the server")
			}
		})
		broken := errors.New("the rows are unreadable")
		err := r.UploadCSV(t.Context(), jobID, func(w io.Writer) error {
			_, _ = io.WriteString(w, "Id\n")
			return broken
		})
		if !errors.Is(err, broken) {
			t.Errorf("error %v, want the producer's", err)
		}
	})
	t.Run("server answers early", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Connection", "close")
			reply(w, 413, `[{"errorCode":"CLIENTINPUTERROR","message":"too large"}]`)
		})
		var ended atomic.Bool
		err := r.UploadCSV(t.Context(), jobID, func(w io.Writer) error {
			defer ended.Store(true)
			block := bytes.Repeat([]byte("x"), 64<<10)
			for range 1000 {
				if _, err := w.Write(block); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil || !ended.Load() {
			t.Errorf("error %v, producer ended %v", err, ended.Load())
		}
	})
	t.Run("too much", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(_ http.ResponseWriter, q *http.Request) { _, _ = io.Copy(io.Discard, q.Body) })
		err := r.UploadCSV(t.Context(), jobID, func(w io.Writer) error {
			block := make([]byte, 1<<20)
			for {
				if _, err := w.Write(block); err != nil {
					return err
				}
			}
		})
		if !errors.Is(err, salesforce.ErrUploadFull) {
			t.Errorf("error %v, want ErrUploadFull", err)
		}
	})
	t.Run("stalled network", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(w http.ResponseWriter, q *http.Request) { // reads nothing
			select {
			case <-q.Context().Done():
			case <-t.Context().Done():
			}
			panic(http.ErrAbortHandler)
		}, func(o *salesforce.Options) { o.IdleTimeout = 50 * time.Millisecond })
		t.Cleanup(r.server.CloseClientConnections)
		err := r.UploadCSV(t.Context(), jobID, func(w io.Writer) error {
			block := make([]byte, 1<<20)
			for {
				if _, err := w.Write(block); err != nil {
					return err
				}
			}
		})
		wantAction(t, err, salesforce.ActionLookUp)
		if err == nil || !strings.Contains(err.Error(), "stopped moving") {
			t.Errorf("error %v", err)
		}
	})
}

func TestAbortAndDeleteAreForgiving(t *testing.T) {
	t.Parallel()
	r := newRig(t, sequence(status(503, ""), status(400, `[{"errorCode":"INVALIDJOBSTATE","message":"Aborting already Completed Job not allowed"}]`), status(200, job("Aborted", "")),
		status(502, ""), status(404, notFound)))
	if j, err := r.AbortJob(t.Context(), jobID); err != nil || j.State != salesforce.JobAborted {
		t.Errorf("abort: %+v, %v", j, err)
	}
	if err := r.DeleteJob(t.Context(), jobID); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func TestIngestJobsList(t *testing.T) {
	t.Parallel()
	r := newRig(t, sequence(
		status(200, `{"done":false,"records":[`+job("Open", "")+`],"nextRecordsUrl":"/services/data/v67.0/jobs/ingest?queryLocator=01g-1000"}`),
		func(w http.ResponseWriter, q *http.Request) {
			if q.URL.RawQuery != "queryLocator=01g-1000" {
				t.Errorf("query %q", q.URL.RawQuery)
			}
			reply(w, 200, `{"done":true,"records":[`+job("InProgress", "")+`],"nextRecordsUrl":null}`)
		}))
	var states []salesforce.JobState
	if err := r.IngestJobs(t.Context(), func(j salesforce.Job) error { states = append(states, j.State); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]salesforce.JobState{"Open", "InProgress"}, states); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
}

func TestResultFiles(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"successfulResults": "\"sf__Id\",\"sf__Created\",Key__c,LastName\n\"0035g00000AbCdE\",\"true\",\"k1\",\"x\"\n\"0035g00000AbCdFAAV\",\"false\",\"k2\",\"a\"\"b\nc\"\n",
		"failedResults": "\"sf__Id\",\"sf__Error\",LastName,Key__c\n" +
			"\"\",\"INVALID_FIELD:Failed to deserialize field at col 3. Due to, '2003-04-98' is not a valid value for the type xsd:date:CloseDate --\",\"x\",\"k3\"\n" +
			"\"0035g00000AbCdGAAV\",\"UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 2 records: 001A,001B:--\",\"y\",\"k4\"\n",
		"unprocessedrecords": "Key__c,LastName\nk5,z\n",
	}
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		replyCSV(w, "", "", files[q.URL.Path[strings.LastIndexByte(q.URL.Path, '/')+1:]])
	})
	var got []salesforce.ResultRow
	collect := func(row *salesforce.ResultRow) error {
		c := *row
		c.Values = append([]string(nil), row.Values...)
		got = append(got, c)
		return nil
	}
	for i, read := range []func(context.Context, string, []string, func(*salesforce.ResultRow) error) (int64, error){r.SuccessfulResults, r.FailedResults, r.UnprocessedRecords} {
		if n, err := read(t.Context(), jobID, []string{"key__c"}, collect); err != nil || n != []int64{2, 2, 1}[i] {
			t.Errorf("file %d: %d rows, %v", i, n, err)
		}
	}
	want := []salesforce.ResultRow{
		{RowResult: salesforce.RowResult{ID: idOne, Success: true, Created: true}, Values: []string{"k1"}},
		{RowResult: salesforce.RowResult{ID: idTwo, Success: true}, Values: []string{"k2"}},
		{RowResult: salesforce.RowResult{RowError: salesforce.RowError{Code: "INVALID_FIELD", Fields: []string{"CloseDate"}, Action: salesforce.ActionRow,
			Message: "Failed to deserialize field at col 3. Due to, '2003-04-98' is not a valid value for the type xsd:date"}}, Values: []string{"k3"}},
		{RowResult: salesforce.RowResult{ID: "0035g00000AbCdGAAV", RowError: salesforce.RowError{Code: "UNABLE_TO_LOCK_ROW", Action: salesforce.ActionRetryRow,
			Message: "unable to obtain exclusive access to this record or 2 records: 001A,001B"}}, Values: []string{"k4"}},
		{Values: []string{"k5"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestResultFilesInPages: a file that names a next page is read to its end.
func TestResultFilesInPages(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Query().Get("locator") {
		case "":
			replyCSV(w, "MQ", "1", "\"sf__Id\",\"sf__Created\",Key__c\n\""+idOne+"\",\"true\",\"a\"\n")
		case "MQ":
			replyCSV(w, "null", "1", "\"sf__Id\",\"sf__Created\",Key__c\n\""+idTwo+"\",\"true\",\"b\"\n")
		}
	})
	var got []string
	n, err := r.SuccessfulResults(t.Context(), jobID, []string{"Key__c"}, func(row *salesforce.ResultRow) error {
		got = append(got, row.Values[0])
		return nil
	})
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" || n != 2 || err != nil {
		t.Errorf("%d rows, %v (-want +got):\n%s", n, err, diff)
	}
	endless := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		replyCSV(w, "MQ", "1", "\"sf__Id\",\"sf__Created\",Key__c\n\""+idOne+"\",\"true\",\"a\"\n")
	})
	if _, err := endless.SuccessfulResults(t.Context(), jobID, []string{"Key__c"}, func(*salesforce.ResultRow) error { return nil }); !errors.Is(err, salesforce.ErrMalformed) {
		t.Errorf("error %v, want ErrMalformed", err)
	}
}

func TestParseRowError(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]salesforce.RowError{
		"REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --": {Code: "REQUIRED_FIELD_MISSING", Message: "Required fields are missing: [LastName]", Fields: []string{"LastName"}, Action: salesforce.ActionRow},
		"INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--":                  {Code: "INVALID_CROSS_REFERENCE_KEY", Message: "invalid cross reference id", Action: salesforce.ActionRow},
		"INVALID_FIELD:Foreign key external ID: a-1 not found for field Ext__c in entity Account --": {Code: "INVALID_FIELD",
			Message: "Foreign key external ID: a-1 not found for field Ext__c in entity Account", Action: salesforce.ActionRow},
		"DUPLICATE_VALUE:duplicate value found: Ext__c duplicates value on record with id: 0035g00000AbCdE:--": {Code: "DUPLICATE_VALUE",
			Message: "duplicate value found: Ext__c duplicates value on record with id: 0035g00000AbCdE", Action: salesforce.ActionRow},
		"DUPLICATE_EXTERNAL_ID:Key: more than one record found for external id field: [003A, 003B]:--": {Code: "DUPLICATE_EXTERNAL_ID",
			Message: "Key: more than one record found for external id field: [003A, 003B]", Action: salesforce.ActionRow},
		"MISSING_ARGUMENT:Ext__c not specified:--":    {Code: "MISSING_ARGUMENT", Message: "Ext__c not specified", Action: salesforce.ActionRow},
		"FIELD_INTEGRITY_EXCEPTION:bad:City,State --": {Code: "FIELD_INTEGRITY_EXCEPTION", Message: "bad", Fields: []string{"City", "State"}, Action: salesforce.ActionRow},
		"a text without code":                         {Code: salesforce.CodeNone, Message: "a text without code", Action: salesforce.ActionRow},
		"":                                            {Code: salesforce.CodeNone, Action: salesforce.ActionRow},
		"--":                                          {Code: salesforce.CodeNone, Action: salesforce.ActionRow},
	} {
		if diff := cmp.Diff(want, salesforce.ParseRowError(in)); diff != "" {
			t.Errorf("ParseRowError(%q) (-want +got):\n%s", in, diff)
		}
	}
}

func TestResultFilesFailClosed(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"no key column":   "\"sf__Id\",\"sf__Created\",LastName\n",
		"no sf__ column":  "Key__c\nk\n",
		"ragged row":      "\"sf__Id\",\"sf__Created\",Key__c\n\"0035g00000AbCdE\",\"true\"\n",
		"open quote":      "\"sf__Id\",\"sf__Created\",Key__c\n\"0035g00000AbCdE\",\"true\",\"k\n",
		"no record id":    "\"sf__Id\",\"sf__Created\",Key__c\n\"\",\"true\",\"k\"\n",
		"neither created": "\"sf__Id\",\"sf__Created\",Key__c\n\"0035g00000AbCdE\",\"maybe\",\"k\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { replyCSV(w, "", "", file) })
			_, err := r.SuccessfulResults(t.Context(), jobID, []string{"Key__c"}, func(*salesforce.ResultRow) error { return nil })
			if !errors.Is(err, salesforce.ErrMalformed) {
				t.Errorf("error %v, want ErrMalformed", err)
			}
		})
	}
	for name, file := range map[string]string{"header only": "\"sf__Id\",\"sf__Created\",Key__c\n", "nothing": ""} {
		r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { replyCSV(w, "", "", file) })
		if n, err := r.SuccessfulResults(t.Context(), jobID, []string{"Key__c"}, nil); n != 0 || err != nil {
			t.Errorf("%s: %d rows, %v; want none", name, n, err)
		}
	}
}

func TestBulkQuery(t *testing.T) {
	t.Parallel()
	header := "\"Id\",\"Account.Name\",\"DoNotCall\",\"SystemModstamp\"\n"
	pages := map[string]string{
		"":        header + "\"0035g00000AbCdE\",\"\",\"true\",\"2026-11-21T19:25:27.000Z\"\n\"0035g00000AbCdFAAV\",\"A\x00cme\",\"false\",\"2026-11-21T19:25:27.000Z\"\n",
		"MTAwMDA": header + "\"0035g00000AbCdGAAV\",\"x\",\"false\",\"2026-11-21T19:25:28.000Z\"\n",
	}
	var broken atomic.Bool
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPost {
			b, err := io.ReadAll(q.Body)
			if want := `{"columnDelimiter":"COMMA","contentType":"CSV","lineEnding":"LF","operation":"queryAll","query":"SELECT \u003c"}`; err != nil || string(b) != want {
				t.Errorf("body %s, want %s", b, want)
			}
			reply(w, 200, job("UploadComplete", ""))
			return
		}
		l := q.URL.Query().Get("locator")
		page := pages[l]
		if q.URL.Query().Get("maxRecords") != "2" {
			t.Errorf("query %q", q.URL.RawQuery)
		}
		if l == "" && broken.CompareAndSwap(false, true) { // the first copy breaks off in the second row
			w.Header().Set("Content-Length", fmt.Sprint(len(page)))
			replyCSV(w, "MTAwMDA", "2", page[:len(page)-30])
			breakOff(w)
		}
		next := map[string]string{"": "MTAwMDA", "MTAwMDA": "null"}[l]
		replyCSV(w, next, fmt.Sprint(strings.Count(page, "\n")-1), page)
	})
	if _, err := r.CreateQueryJob(t.Context(), "SELECT <", true); err != nil {
		t.Fatal(err)
	}
	columns := []salesforce.Column{{Name: "SystemModstamp", Type: salesforce.TypeDateTime}, {Name: "id", Type: salesforce.TypeID}, {Name: "Account.Name"}, {Name: "DoNotCall", Type: salesforce.TypeBoolean}}
	var got [][]string
	n, err := r.QueryResults(t.Context(), jobID, columns, 2, rows(&got))
	if err != nil || n != 3 {
		t.Errorf("%d rows, %v", n, err)
	}
	want := [][]string{
		{"2026-11-21T19:25:27.000Z", idOne, "<null>", "true"},
		{"2026-11-21T19:25:27.000Z", idTwo, "Acme", "false"},
		{"2026-11-21T19:25:28.000Z", "0035g00000AbCdGAAV", "x", "false"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestBulkQueryFailsClosed(t *testing.T) {
	t.Parallel()
	page := "\"Id\"\n\"a\"\n"
	for name, c := range map[string]struct {
		locator, rows, body string
		want                string
	}{
		"no locator":    {"", "1", page, "without Sforce-Locator"},
		"same locator":  {"x", "1", page, "links to itself"},
		"fewer rows":    {"null", "2", page, "1 rows arrived"},
		"more rows":     {"null", "0", page, "1 rows arrived"},
		"count no text": {"null", "many", page, "1 rows arrived"},
		"other column":  {"null", "1", "\"Name\"\n\"a\"\n", "no column Id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { replyCSV(w, c.locator, c.rows, c.body) })
			_, err := r.QueryResults(t.Context(), jobID, salesforce.Columns("Id"), 0, func(*salesforce.Record) error { return nil })
			if !errors.Is(err, salesforce.ErrMalformed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { replyCSV(w, "", "", "\"Id\"\n") })
	if n, err := r.QueryResults(t.Context(), jobID, salesforce.Columns("Id"), 0, nil); n != 0 || err != nil {
		t.Errorf("no rows and no locator: %d, %v; want the end", n, err)
	}
}

// TestRepliesAreBounded feeds values and files that would fill the memory of a reader that trusts them.
func TestRepliesAreBounded(t *testing.T) {
	t.Parallel()
	endless := func(kind string, start string, zip bool) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", kind)
			var out io.Writer = w
			if zip {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				defer z.Close()
				out = z
			}
			_, err := io.WriteString(out, start)
			for block := bytes.Repeat([]byte("a"), 1<<20); err == nil && q.Context().Err() == nil; {
				_, err = out.Write(block)
			}
		}
	}
	csvRead := func(r *rig) error {
		_, err := r.QueryResults(t.Context(), jobID, salesforce.Columns("Id"), 0, func(*salesforce.Record) error { return nil })
		return err
	}
	query := func(r *rig) error {
		return r.Query(t.Context(), "SELECT x", salesforce.Columns("Id"), func(*salesforce.Record) error { return nil })
	}
	describe := func(r *rig) error {
		_, _, err := r.Describe(t.Context(), "Contact", time.Time{})
		return err
	}
	limits := func(r *rig) error { return read(t.Context(), r) }
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		call func(*rig) error
	}{
		"CSV value":           {endless("text/csv", "\"Id\"\n\"", false), csvRead},
		"CSV value, packed":   {endless("text/csv", "\"Id\"\n\"", true), csvRead},
		"CSV header":          {endless("text/csv", "", true), csvRead},
		"JSON value":          {endless("application/json", `{"totalSize":1,"done":true,"records":[{"Id":"`, true), query},
		"JSON key":            {endless("application/json", `{"`, true), query},
		"a field of describe": {endless("application/json", `{"name":"Contact","fields":[{"name":"`, true), describe},
		"small JSON":          {endless("application/json", `{"x":{"Max":"`, true), limits},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.h)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := c.call(r)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, salesforce.ErrTooLarge) {
				t.Errorf("error %v, want ErrTooLarge", err)
			}
			if grown := int64(after.Sys) - int64(before.Sys); grown > 128<<20 {
				t.Errorf("the process grew by %d MiB", grown>>20)
			}
		})
	}
}

// TestBigResultsStream reads many rows with little memory.
func TestBigResultsStream(t *testing.T) {
	const n = 200_000
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Sforce-NumberOfRecords", fmt.Sprint(n))
		replyCSV(w, "null", "", "\"Id\",\"Email\"\n")
		var b []byte
		for i := range n {
			b = fmt.Appendf(b[:0], "\"0035g0000%06dAAA\",\"person%d@example.com\"\n", i, i)
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}, func(o *salesforce.Options) { o.NoCompression = true })
	var peak uint64
	var m runtime.MemStats
	rows := 0
	got, err := r.QueryResults(t.Context(), jobID, salesforce.Columns("Email", "Id"), 0, func(*salesforce.Record) error {
		if rows++; rows%20_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
		return nil
	})
	if err != nil || got != n {
		t.Fatalf("%d rows, %v", got, err)
	}
	if peak > 64<<20 {
		t.Errorf("%d MiB in use, the file has 9", peak>>20)
	}
}
