package stage_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// fails notes failed attempts of a task.
func (k *work) fails(n int) {
	k.t.Helper()
	if err := k.lease().Park(k.t.Context(), time.Now(), func(t *ledger.Task) { t.Failures = n }); err != nil {
		k.t.Fatal(err)
	}
}

func codes(all map[string]*syncv1.Outcome) map[string]int {
	n := make(map[string]int)
	for _, o := range all {
		n[o.GetCode()]++
	}
	return n
}

// A run that stops because its job is gone ends: what the job did is unknown, and nobody is asked about it again.
func TestStoppedBecauseTheJobIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	k := w.planned(create, true, w.creates(100))
	if err := k.attempt(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.org.Faults().MustAdd(fault.Rule{Kind: fault.Error, Path: "/jobs/ingest/*", Status: http.StatusNotFound, Code: "NOT_FOUND", Message: "The requested resource does not exist"})
	var drain *stage.Drain
	if err := k.attempt(t.Context()); !errors.As(err, &drain) {
		t.Fatalf("a job that is gone is told as %v", err)
	}
	w.drain(drain.State, drain.Code)
	if diff := cmp.Diff(map[string]int{"outcome_unknown": 100}, codes(w.outcomes(k.settle()))); diff != "" {
		t.Error(diff)
	}
}

// A stopped run whose org answers nobody any more ends all the same: what was sent is unknown, the rest deferred.
func TestStoppedWhileNobodyAnswers(t *testing.T) {
	t.Parallel()
	for _, bulk := range []bool{false, true} {
		w := newWorld(t, options{external: externalID})
		w.runner.Settings.MaxFailures = 3
		w.org.Faults().MustAdd(fault.Rule{Kind: fault.ResetAfter, Method: "PATCH", After: 1})
		k := w.planned(create, bulk, w.creates(300))
		for k.record().Checkpoint.Attempted < 300 && len(k.record().Checkpoint.Jobs) == 0 {
			_ = k.attempt(t.Context())
		}
		w.wire.on(func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return answer(r, http.StatusServiceUnavailable, "maintenance"), nil
		})
		w.drain(ledger.RunFailed, "run_failed")
		k.fails(5)
		if err := k.attempt(t.Context()); err == nil {
			t.Fatalf("bulk %t: it gave up before its time", bulk)
		}
		k.fails(6)
		if diff := cmp.Diff(map[string]int{"outcome_unknown": 300}, codes(w.outcomes(k.settle()))); diff != "" {
			t.Errorf("bulk %t: %s", bulk, diff)
		}
	}
}

// That Salesforce refuses every call is why the run stops; nobody was saved, and the run ends at once.
func TestStoppedBecauseSalesforceRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodPatch {
			return answer(r, http.StatusForbidden, `[{"message":"The REST API is not enabled for this Organization.","errorCode":"API_DISABLED_FOR_ORG"}]`), nil
		}
		return org.RoundTrip(r)
	})
	k := w.planned(create, false, w.creates(300))
	var drain *stage.Drain
	if err := k.attempt(t.Context()); !errors.As(err, &drain) {
		t.Fatalf("a refusal is told as %v", err)
	}
	w.drain(drain.State, drain.Code)
	if diff := cmp.Diff(map[string]int{"run_failed": 300}, codes(w.outcomes(k.settle()))); diff != "" {
		t.Error(diff)
	}
}

// A run that is stopped during an upload does not start the job.
func TestStoppedDuringAnUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID, leaseTTL: 12 * time.Second})
	bucket, err := store.Open[ledger.Task](t.Context(), w.bus.Bus, store.Config{ // as the ledger makes it
		Bucket: "TASKS", History: 1, MaxBytes: ledgerBytes / 100 * 60, TTL: retention,
	})
	if err != nil {
		t.Fatal(err)
	}
	k := w.planned(create, true, w.creates(100))
	revision := func() uint64 {
		_, rev, err := bucket.Get(t.Context(), store.Key(w.run.ID, "apply", "000000"))
		if err != nil {
			t.Error(err)
		}
		return rev
	}
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		if closing(r) {
			t.Error("the job is started")
		}
		if isUpload(r) {
			w.drain(ledger.RunCancelled, "cancelled")
			first := revision() // whether the run was stopped is asked after each renewal: at the second from now it was
			testkit.Eventually(t, patience, func() error {
				if revision() < first+2 {
					return errors.New("the lease has not been renewed twice")
				}
				return nil
			})
		}
		return org.RoundTrip(r)
	})
	if diff := cmp.Diff(map[string]int{"cancelled": 100}, codes(w.outcomes(k.settle()))); diff != "" {
		t.Error(diff)
	}
	if w.org.EffectCount() != 0 {
		t.Errorf("%d effects", w.org.EffectCount())
	}
}

// External ids that differ in case alone are two people where the field is case-sensitive. They do not stop the run.
func TestIDsThatDifferInCaseAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	done := w.planned(create, false, w.creates(10, func(i int, v []string) {
		v[3] = [2]string{"003aB", "003Ab"}[i%2] + strings.Repeat("x", i/2)
	})).settle()
	if done.Result.Counts.Written != 10 {
		t.Errorf("result %+v", done.Result)
	}
	if n := collectionCalls(w); n < 2 {
		t.Errorf("%d calls", n)
	}
}
