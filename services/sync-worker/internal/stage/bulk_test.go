package stage_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

const createJob = "POST /jobs/ingest"

// Result files come shuffled and without row numbers: every row finds its person all the same, those that were refused
// too.
func TestBulkResultsFindTheirPeople(t *testing.T) {
	t.Parallel()
	for _, external := range []string{externalID, ""} {
		t.Run("by "+external, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: external})
			if err := w.org.SetValidationRules(simulator.ValidationRule{Object: "Contact", Field: "Title", Pattern: "^Refused", Message: "No, \"never\",\nsays the rule."}); err != nil {
				t.Fatal(err)
			}
			done := w.planned(create, true, w.creates(3000, func(i int, v []string) {
				if i%100 == 0 {
					v[2] = "Refused " + strconv.Itoa(i)
				}
				if i == 7 {
					v[0] = "O'Neil, \"Jürgen\"\nof the second line"
				}
			})).settle()
			all := w.outcomes(done)
			if diff := cmp.Diff(map[string]int{"created": 2970, "failed": 30}, byKind(all)); diff != "" {
				t.Error(diff)
			}
			w.checkWritten(all)
			for id, o := range all {
				if o.GetBulkJobId() != done.Result.Jobs[0] {
					t.Errorf("%s ended %v", id, o)
				}
			}
			o := all[person(200)]
			if o.GetCode() != "FIELD_CUSTOM_VALIDATION_EXCEPTION" || !strings.Contains(o.GetMessage(), `No, "never",`) || !slices.Equal(o.GetFields(), []string{"Title"}) {
				t.Errorf("a refused row ended %v", o)
			}
			if n := w.routes()[createJob]; n != 1 || len(done.Result.Jobs) != 1 {
				t.Errorf("%d jobs, the result names %v", n, done.Result.Jobs)
			}
		})
	}
}

// Updates are found by record id, whether Salesforce writes 15 or 18 characters.
func TestBulkUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	changes := w.existing(300)
	for _, c := range changes[:150] {
		c.RecordId = c.GetRecordId()[:15]
	}
	if err := w.org.Delete(changes[9].GetRecordId()); err != nil {
		t.Fatal(err)
	}
	all := w.outcomes(w.planned(update, true, changes).settle())
	if diff := cmp.Diff(map[string]int{"updated": 299, "failed": 1}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	w.checkWritten(all)
	if o := all[person(9)]; o.GetCode() != "ENTITY_IS_DELETED" {
		t.Errorf("the deleted record's person ended %v", o)
	}
}

// Salesforce gives a job up in the middle: what it left unprocessed goes into the next job, and nothing is sent twice.
func TestFailedJobGoesOnInTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	w.org.Faults().MustAdd(fault.Rule{Kind: fault.BulkFail, Chunks: 1, Count: 1})
	done := w.planned(create, true, w.creates(12_000)).settle()
	all := w.outcomes(done)
	if diff := cmp.Diff(map[string]int{"created": 12_000}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	w.checkWritten(all)
	if len(done.Result.Jobs) != 2 || w.org.EffectCount() != 12_000 {
		t.Errorf("jobs %v, %d effects", done.Result.Jobs, w.org.EffectCount())
	}
	rows := make(map[string]int)
	for _, o := range all {
		rows[o.GetBulkJobId()]++
	}
	if rows[done.Result.Jobs[0]] != 10_000 || rows[done.Result.Jobs[1]] != 2000 {
		t.Errorf("rows by job: %v", rows)
	}
}

// A job of which Salesforce takes nothing ends the run with Salesforce's words; what was planned ends deferred.
func TestJobOfWhichNothingIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	w.org.Faults().MustAdd(fault.Rule{Kind: fault.BulkFail})
	k := w.planned(create, true, w.creates(50))
	var drain *stage.Drain
	for drain == nil {
		if err := k.attempt(t.Context()); err != nil && !errors.As(err, &drain) {
			t.Fatal(err)
		}
	}
	if drain.State != ledger.RunFailed || !strings.Contains(drain.Reason, "InternalServerError") {
		t.Errorf("the run ends %v", drain)
	}
	w.drain(drain.State, drain.Code)
	if diff := cmp.Diff(map[string]int{"deferred": 50}, byKind(w.outcomes(k.settle()))); diff != "" {
		t.Error(diff)
	}
	if w.routes()[createJob] != 1 {
		t.Errorf("%d jobs were made", w.routes()[createJob])
	}
}

// Rows that Salesforce could not lock go into the next job; in the last one they end deferred.
func TestLockedRowsInJobs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		count int
		jobs  int
		want  map[string]int
	}{
		{"for a while", 40, 2, map[string]int{"updated": 100}},
		{"for ever", 0, 6, map[string]int{"deferred": 100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID})
			changes := w.existing(100)
			w.org.Faults().MustAdd(fault.Rule{Kind: fault.LockRow, Path: "Contact", Method: "update", Count: tt.count})
			done := w.planned(update, true, changes).settle()
			if diff := cmp.Diff(tt.want, byKind(w.outcomes(done))); diff != "" {
				t.Error(diff)
			}
			if len(done.Result.Jobs) != tt.jobs {
				t.Errorf("jobs %v, want %d", done.Result.Jobs, tt.jobs)
			}
		})
	}
}

// withoutRow takes one row out of a page of a result file, header and count fitting.
func withoutRow(res *http.Response) (*http.Response, error) {
	raw, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	records, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	if err := out.WriteAll(append(records[:1:1], records[2:]...)); err != nil {
		return nil, err
	}
	res.Body, res.ContentLength = io.NopCloser(&b), int64(b.Len())
	res.Header.Del("Content-Length")
	res.Header.Set("Sforce-NumberOfRecords", strconv.Itoa(len(records)-2))
	return res, nil
}

// Result files that do not add up to what was uploaded say nothing: the task does not settle, makes no other job, and
// settles once the files are whole.
func TestResultsThatDoNotAddUpAreNotSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	var lies atomic.Int64
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		if !strings.HasSuffix(r.URL.Path, "/successfulResults") || lies.Load() >= 2 {
			return org.RoundTrip(r)
		}
		lies.Add(1)
		r.Header.Set("Accept-Encoding", "identity")
		res, err := org.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		return withoutRow(res)
	})
	k := w.planned(create, true, w.creates(500))
	for failed := 0; failed < 2; {
		err := k.attempt(t.Context())
		if err == nil {
			continue // asleep while the job runs
		}
		failed++
		if !strings.Contains(err.Error(), "do not add up") || salesforceCodeIn(err) {
			t.Fatalf("files that lack a row are told as %v", err)
		}
		if now := k.record(); now.State == ledger.TaskSettled {
			t.Fatalf("the task has settled: %+v", now.Result)
		}
	}
	done := k.settle()
	all := w.outcomes(done)
	if diff := cmp.Diff(map[string]int{"created": 500}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	w.checkWritten(all)
	if w.routes()[createJob] != 1 || w.org.EffectCount() != 500 {
		t.Errorf("%d jobs, %d effects", w.routes()[createJob], w.org.EffectCount())
	}
}

// salesforceCodeIn reports whether an error ends the run instead of being tried again.
func salesforceCodeIn(err error) bool {
	var drain *stage.Drain
	return errors.As(err, &drain)
}

// A value that CSV cannot carry is not sent, and costs its own person alone.
func TestUnsendableValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	done := w.planned(create, true, w.creates(50, func(i int, v []string) {
		if i == 20 {
			v[0] = "Last\x00name"
		}
	})).settle()
	all := w.outcomes(done)
	if diff := cmp.Diff(map[string]int{"created": 49, "failed": 1}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	if o := all[person(20)]; o.GetCode() != "unsendable_value" || !slices.Equal(o.GetFields(), []string{"LastName"}) {
		t.Errorf("outcome %v", o)
	}
	w.checkWritten(all)
}
