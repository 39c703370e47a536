package stage_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// closing says whether a request starts a job.
func closing(r *http.Request) bool {
	return r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/jobs/ingest/") && bytes.Contains(reread(r), []byte("UploadComplete"))
}

// A worker dies at every point of a job's life. Whoever goes on makes no record twice and loses none.
func TestWorkerDiesDuringAJob(t *testing.T) {
	t.Parallel()
	points := []struct {
		name string
		here func(*http.Request) bool
		// after says that the request still takes effect.
		after bool
		jobs  int64 // made in all
	}{
		{"before a job is made", isCreate, false, 1},
		{"when a job is made and nobody knows its id", isCreate, true, 2},
		{"before the upload", isUpload, false, 2},
		{"when everything is uploaded", isUpload, true, 2},
		{"before the job is started", closing, false, 1},
		{"when the job is started", closing, true, 1},
		{"while the results are read", func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/successfulResults") }, true, 1},
	}
	for _, p := range points {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID})
			k := w.planned(create, true, w.creates(200))
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			var hit atomic.Bool
			w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
				if !p.here(r) || !hit.CompareAndSwap(false, true) {
					return org.RoundTrip(r)
				}
				if !p.after {
					kill()
					return nil, context.Canceled
				}
				res, err := org.RoundTrip(r)
				kill()
				if err == nil {
					_ = res.Body.Close()
				}
				return nil, errors.Join(err, context.Canceled)
			})
			for ctx.Err() == nil {
				if err := k.attempt(ctx); err == nil && k.record().State == ledger.TaskSettled {
					t.Fatal("the worker did not die")
				}
			}
			w.wire.on(nil)
			done := k.settle()
			all := w.outcomes(done)
			if diff := cmp.Diff(map[string]int{"created": 200}, byKind(all)); diff != "" {
				t.Error(diff)
			}
			w.checkWritten(all)
			if n := w.routes()[createJob]; n != p.jobs || w.org.EffectCount() != 200 || len(done.Result.Jobs) != 1 {
				t.Errorf("%d jobs were made, want %d; %d effects; the result names %v", n, p.jobs, w.org.EffectCount(), done.Result.Jobs)
			}
		})
	}
}

func isCreate(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/jobs/ingest")
}

func isUpload(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/batches")
}

// The answer to the one call that starts a job is lost: whether it arrived is looked up, and no other job is made.
func TestLostStartOfAJob(t *testing.T) {
	t.Parallel()
	for _, kind := range []fault.Kind{fault.ResetAfter, fault.ResetBefore, fault.Truncate} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID})
			w.org.Faults().MustAdd(fault.Rule{Kind: kind, Method: "PATCH", Path: "/jobs/ingest/*", Count: 1})
			done := w.planned(create, true, w.creates(300)).settle()
			all := w.outcomes(done)
			if diff := cmp.Diff(map[string]int{"created": 300}, byKind(all)); diff != "" {
				t.Error(diff)
			}
			w.checkWritten(all)
			if w.routes()[createJob] != 1 || w.org.EffectCount() != 300 {
				t.Errorf("%d jobs, %d effects", w.routes()[createJob], w.org.EffectCount())
			}
		})
	}
}

// A run that is stopped while its job is at work aborts it; every row ends as the org has it.
func TestStoppedDuringAJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID, org: func(o *simulator.Options) { o.BulkRate = 500 }})
	k := w.planned(create, true, w.creates(20_000))
	testkit.Eventually(t, patience, func() error { // each attempt looks at the job, and sleeps
		if err := k.attempt(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.org.EffectCount() == 0 {
			return errors.New("no effect yet")
		}
		return nil
	})
	w.drain(ledger.RunCancelled, "cancelled")
	done := k.settle()
	all := w.outcomes(done)
	n := byKind(all)
	if n["created"] == 0 || n["deferred"] == 0 || n["created"]+n["deferred"] != 20_000 || int64(n["created"]) != w.org.EffectCount() {
		t.Errorf("%v, the org applied %d effects", n, w.org.EffectCount())
	}
	w.checkWritten(all)
	for id, o := range all {
		if o.GetKind() == syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED && (o.GetCode() != "cancelled" || o.GetMessage() == "") {
			t.Fatalf("%s ended %v", id, o)
		}
	}
	if len(done.Result.Jobs) != 1 {
		t.Errorf("the result names %v", done.Result.Jobs)
	}
}

// A run that is stopped before a job was made makes none; one whose job was not started aborts it.
func TestStoppedBeforeAJob(t *testing.T) {
	t.Parallel()
	for _, uploaded := range []bool{false, true} {
		w := newWorld(t, options{external: externalID})
		k := w.planned(create, true, w.creates(100))
		jobs := int64(0)
		if uploaded {
			jobs = 1
			ctx, kill := context.WithCancel(t.Context())
			w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
				res, err := org.RoundTrip(r)
				if err != nil || !isUpload(r) {
					return res, err
				}
				kill()
				return nil, errors.Join(res.Body.Close(), context.Canceled)
			})
			if err := k.attempt(ctx); err == nil {
				t.Fatal("the worker did not die")
			}
			kill()
			w.wire.on(nil)
		}
		w.drain(ledger.RunCancelled, "cancelled")
		done := k.settle()
		if diff := cmp.Diff(map[string]int{"deferred": 100}, byKind(w.outcomes(done))); diff != "" {
			t.Error(diff)
		}
		if w.org.EffectCount() != 0 || w.routes()[createJob] != jobs || len(done.Result.Jobs) != 0 {
			t.Errorf("uploaded %t: %d effects, %d jobs, the result names %v", uploaded, w.org.EffectCount(), w.routes()[createJob], done.Result.Jobs)
		}
	}
}

// Salesforce refuses the credentials while a job is at work: nobody can be asked what became of it, and the people are
// told so. The next run looks.
func TestCredentialsRefusedDuringAJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	k := w.planned(create, true, w.creates(100))
	if err := k.attempt(t.Context()); err != nil { // the job is started, the task sleeps
		t.Fatal(err)
	}
	w.org.ExpireSessions()
	w.tokens.refuse()
	var drain *stage.Drain
	if err := k.attempt(t.Context()); !errors.As(err, &drain) || drain.State != ledger.RunReconnect {
		t.Fatalf("refused credentials are told as %v", err)
	}
	w.drain(drain.State, drain.Code)
	done := k.settle()
	all := w.outcomes(done)
	if diff := cmp.Diff(map[string]int{"deferred": 100}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	if o := all[person(1)]; o.GetCode() != "outcome_unknown" || o.GetBulkJobId() == "" || !strings.Contains(o.GetMessage(), o.GetBulkJobId()) {
		t.Errorf("outcome %v", o)
	}
}

// Somebody deletes the job before its results are read: the run fails and says so, for nobody knows what it did.
func TestJobIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	k := w.planned(create, true, w.creates(100))
	if err := k.attempt(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.org.Faults().MustAdd(fault.Rule{Kind: fault.Error, Method: "GET", Path: "/jobs/ingest/*", Status: http.StatusNotFound, Code: "NOT_FOUND", Message: "The requested resource does not exist"})
	var drain *stage.Drain
	if err := k.attempt(t.Context()); !errors.As(err, &drain) || drain.State != ledger.RunFailed || !strings.Contains(drain.Reason, "gone from Salesforce") {
		t.Errorf("a job that is gone is told as %v", err)
	}
}
