package salesforce_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/salesforce"
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
	want := salesforce.Job{
		ID: jobID, Operation: "upsert", Object: "Contact", ExternalIDField: "Key__c", State: salesforce.JobComplete, Type: "V2Ingest",
		CreatedByID: "0055g000001AbCdEAF", Created: time.Date(2026, 11, 21, 19, 25, 27, 0, time.UTC), Modified: time.Date(2026, 11, 21, 19, 25, 32, 0, time.UTC),
		Processed: 8, Failed: 1, Retries: 2, ProcessingTime: 478 * time.Millisecond,
	}
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
		}, func(o *salesforce.Options) { o.IdleTimeout = time.Second })
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
