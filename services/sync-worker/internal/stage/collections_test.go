package stage_test

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/stage"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

const (
	create = syncv1.Action_ACTION_CREATE
	update = syncv1.Action_ACTION_UPDATE
)

func collectionCalls(w *world) (n int64) {
	for route, calls := range w.routes() {
		if strings.HasPrefix(route, "PATCH /composite/sobjects") {
			n += calls
		}
	}
	return n
}

// 200 rows a call, in order, and every person ends once.
func TestCollections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	done := w.planned(create, false, w.creates(450)).settle()
	all := w.outcomes(done)
	if diff := cmp.Diff(map[string]int{"created": 450}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	w.checkWritten(all)
	if n := collectionCalls(w); n != 3 || done.APICalls != 3 {
		t.Errorf("%d calls, the task says %d; want 3", n, done.APICalls)
	}
	if done.Result.Counts.Written != 450 || done.Result.AllocationMax != 1_000_000 {
		t.Errorf("result %+v", done.Result)
	}
}

// One row that makes Salesforce refuse the whole call fails alone, found by halving.
func TestPoisonRowIsFoundByHalving(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	var refused atomic.Int64
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodPatch && strings.Contains(string(reread(r)), `"poison"`) {
			refused.Add(1)
			return answer(r, http.StatusBadRequest, `[{"message":"Cannot deserialize instance of date from VALUE_STRING value poison or request may be missing a required field at [line:1, column:9]","errorCode":"JSON_PARSER_ERROR"}]`), nil
		}
		return org.RoundTrip(r)
	})
	done := w.planned(create, false, w.creates(400, func(i int, v []string) {
		if i == 137 {
			v[2] = "poison"
		}
	})).settle()
	all := w.outcomes(done)
	if diff := cmp.Diff(map[string]int{"created": 399, "failed": 1}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	w.checkWritten(all)
	if o := all[person(137)]; o.GetCode() != "JSON_PARSER_ERROR" || !strings.Contains(o.GetMessage(), "poison") {
		t.Errorf("the poison row ended %v", o)
	}
	if n := refused.Load(); n < 8 || n > 9 { // 200, 100, 50, 25, 13 or 12, ... 1
		t.Errorf("the row spoiled %d calls, want one for each halving", n)
	}
	if w.org.EffectCount() != 399 {
		t.Errorf("%d effects, want 399: no row is saved twice", w.org.EffectCount())
	}
}

// Rows that Salesforce could not lock are sent again until they pass, and end deferred when they never do.
func TestLockedRows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		count int // rows that are locked, one after the other; 0: all, for ever
		want  map[string]int
	}{
		{"for a while", 30, map[string]int{"updated": 20}},
		{"for ever", 0, map[string]int{"deferred": 20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID})
			changes := w.existing(20)
			before := w.org.EffectCount()
			w.org.Faults().MustAdd(fault.Rule{Kind: fault.LockRow, Path: "Contact", Method: "update", Count: tt.count})
			all := w.outcomes(w.planned(update, false, changes).settle())
			if diff := cmp.Diff(tt.want, byKind(all)); diff != "" {
				t.Error(diff)
			}
			if wrote := w.org.EffectCount() - before; wrote != int64(tt.want["updated"]) {
				t.Errorf("%d effects", wrote)
			}
			for id, o := range all {
				if o.GetKind() == syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED && o.GetCode() != "lock" {
					t.Errorf("%s ended %v", id, o)
				}
			}
		})
	}
}

// A record that is gone fails with Salesforce's code, the others pass.
func TestUpdateOfADeletedRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	changes := w.existing(5)
	if err := w.org.Delete(changes[3].GetRecordId()); err != nil {
		t.Fatal(err)
	}
	all := w.outcomes(w.planned(update, false, changes).settle())
	if diff := cmp.Diff(map[string]int{"updated": 4, "failed": 1}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	if o := all[person(3)]; o.GetCode() != "ENTITY_IS_DELETED" || o.GetRecordId() != changes[3].GetRecordId() {
		t.Errorf("the deleted record's person ended %v", o)
	}
}

// The answer to a create by e-mail is lost while Salesforce is still at work on it: whoever sent it again at once would
// make a second record. So nothing is sent before Salesforce must have ended it; then there is one record.
func TestLostCreateByEmailWaits(t *testing.T) {
	t.Parallel()
	const wait = 4 * time.Second
	w := newWorld(t, options{unknownWait: wait})
	w.org.Faults().MustAdd(fault.Rule{Kind: fault.Late, Method: "PATCH", Path: "/composite/sobjects/*", Count: 1, Delay: fault.Duration(wait / 2)})
	k := w.planned(create, false, w.creates(10))
	began := time.Now()
	if err := k.attempt(t.Context()); err != nil {
		t.Fatal(err)
	}
	parked := k.record()
	if parked.State != ledger.TaskWaiting || parked.WakeAt.Before(began.Add(wait)) || parked.Checkpoint.Attempted != 10 {
		t.Fatalf("after the lost answer the task is %+v, want it asleep until Salesforce must be done", parked)
	}
	if n := collectionCalls(w); n != 1 {
		t.Errorf("%d calls before the wait was over", n)
	}
	done := k.settle()
	all := w.outcomes(done)
	if diff := cmp.Diff(map[string]int{"created": 10}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	w.checkWritten(all)
	if n := w.org.Count("Contact"); n != 10 || collectionCalls(w) != 2 {
		t.Errorf("%d contacts after %d calls", n, collectionCalls(w))
	}
}

// Salesforce itself keeps an external id unique, so a create by it is sent again at once, however the answer was lost.
func TestLostCreateByExternalIDIsRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []fault.Kind{fault.ResetAfter, fault.Truncate, fault.ResetBefore} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID, unknownWait: time.Hour})
			w.org.Faults().MustAdd(fault.Rule{Kind: kind, Method: "PATCH", Path: "/composite/sobjects/*", Count: 1})
			k := w.planned(create, false, w.creates(250))
			err := k.attempt(t.Context())
			if salesforce.ActionOf(err) != salesforce.ActionLookUp {
				t.Fatalf("the lost answer is told as %v", err)
			}
			done := k.settle() // no sleep: an hour would end the test
			all := w.outcomes(done)
			if diff := cmp.Diff(map[string]int{"created": 250}, byKind(all)); diff != "" {
				t.Error(diff)
			}
			w.checkWritten(all)
			if n := w.org.Count("Contact"); n != 250 || done.Epoch != 2 {
				t.Errorf("%d contacts at epoch %d", n, done.Epoch)
			}
		})
	}
}

// Updates bear being sent twice.
func TestLostUpdateIsRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{unknownWait: time.Hour})
	changes := w.existing(10)
	w.org.Faults().MustAdd(fault.Rule{Kind: fault.ResetAfter, Method: "PATCH", Path: "/composite/sobjects", Count: 1})
	k := w.planned(update, false, changes)
	if err := k.attempt(t.Context()); salesforce.ActionOf(err) != salesforce.ActionLookUp {
		t.Fatalf("the lost answer is told as %v", err)
	}
	if diff := cmp.Diff(map[string]int{"updated": 10}, byKind(w.outcomes(k.settle()))); diff != "" {
		t.Error(diff)
	}
}

// A run that was stopped before anything was sent sends nothing: all end deferred, and the reason says why.
func TestStoppedBeforeCollections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	k := w.planned(create, false, w.creates(300))
	before := maps.Clone(w.routes())
	w.drain(ledger.RunCancelled, "cancelled")
	all := w.outcomes(k.settle())
	if diff := cmp.Diff(map[string]int{"deferred": 300}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, w.routes()); diff != "" {
		t.Errorf("a stopped run called Salesforce: %s", diff)
	}
	if o := all[person(0)]; o.GetCode() != "cancelled" || o.GetMessage() == "" {
		t.Errorf("outcome %v", o)
	}
}

// A run that is stopped while calls are sent ends the call under way and sends no other; every person ends as the org
// has it.
func TestStoppedDuringCollections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID, leaseTTL: 12 * time.Second})
	bucket, err := store.Open[ledger.Task](t.Context(), w.bus.Bus, store.Config{ // as the ledger makes it
		Bucket: "TASKS", History: 1, MaxBytes: ledgerBytes / 100 * 60, TTL: retention,
	})
	if err != nil {
		t.Fatal(err)
	}
	k := w.planned(create, false, w.creates(1000))
	revision := func() uint64 {
		_, rev, err := bucket.Get(t.Context(), store.Key(w.run.ID, "apply", "000000"))
		if err != nil {
			t.Error(err)
		}
		return rev
	}
	var calls atomic.Int64
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodPatch && calls.Add(1) == 2 {
			w.drain(ledger.RunCancelled, "cancelled")
			// The worker asks whether the run was stopped after each renewal of its lease: at the second from now it has.
			first := revision()
			testkit.Eventually(t, patience, func() error {
				if revision() < first+2 {
					return errors.New("the lease has not been renewed twice")
				}
				return nil
			})
		}
		return org.RoundTrip(r)
	})
	all := w.outcomes(k.settle())
	if diff := cmp.Diff(map[string]int{"created": 400, "deferred": 600}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	w.checkWritten(all)
	if calls.Load() != 2 || w.org.EffectCount() != 400 {
		t.Errorf("%d calls, %d effects", calls.Load(), w.org.EffectCount())
	}
}

// Stopped after an answer was lost: what may have been sent is sent again, for that is how its answer is had; the rest
// is not.
func TestStoppedAfterALostAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	w.org.Faults().MustAdd(fault.Rule{Kind: fault.ResetAfter, Method: "PATCH", Path: "/composite/sobjects/*", After: 1, Count: 1})
	k := w.planned(create, false, w.creates(900))
	if err := k.attempt(t.Context()); err == nil {
		t.Fatal("the answer was not lost")
	}
	w.drain(ledger.RunCancelled, "cancelled")
	all := w.outcomes(k.settle())
	if diff := cmp.Diff(map[string]int{"created": 400, "deferred": 500}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	w.checkWritten(all)
}

// Salesforce refuses the credentials in the middle: the run must end with a need to reconnect. What was sent is told as
// unknown, for nobody can be asked, and the rest as deferred.
func TestCredentialsRefusedDuringCollections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	k := w.planned(create, false, w.creates(500))
	var calls atomic.Int64
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodPatch && calls.Add(1) == 2 {
			w.org.ExpireSessions()
			w.tokens.refuse()
		}
		return org.RoundTrip(r)
	})
	err := k.attempt(t.Context())
	var drain *stage.Drain
	if !errors.As(err, &drain) || drain.State != ledger.RunReconnect || drain.Code != "needs_reconnect" {
		t.Fatalf("refused credentials are told as %v", err)
	}
	w.drain(drain.State, drain.Code)
	all := w.outcomes(k.settle())
	if diff := cmp.Diff(map[string]int{"deferred": 500}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	codes := make(map[string]int)
	for _, o := range all {
		codes[o.GetCode()]++
	}
	if diff := cmp.Diff(map[string]int{"outcome_unknown": 400, "needs_reconnect": 100}, codes); diff != "" {
		t.Error(diff)
	}
}

// An admin unlinks the connection in the middle: the run is cancelled, and ends though nobody can be asked any more.
func TestUnlinkedDuringCollections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	k := w.planned(create, false, w.creates(500))
	var calls atomic.Int64
	w.wire.on(func(r *http.Request, org http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodPatch && calls.Add(1) == 2 {
			w.org.ExpireSessions()
			w.tokens.unlink()
		}
		return org.RoundTrip(r)
	})
	err := k.attempt(t.Context())
	var drain *stage.Drain
	if !errors.As(err, &drain) || drain.State != ledger.RunCancelled || drain.Code != stage.CodeUnlinked {
		t.Fatalf("an unlinked connection is told as %v", err)
	}
	w.drain(drain.State, drain.Code)
	codes := make(map[string]int)
	for _, o := range w.outcomes(k.settle()) {
		codes[o.GetCode()]++
	}
	if diff := cmp.Diff(map[string]int{"outcome_unknown": 400, "unlinked": 100}, codes); diff != "" {
		t.Error(diff)
	}
}

// A worker that was away for longer than its lease finds it lost before it sends anything.
func TestLostLeaseSendsNothing(t *testing.T) {
	t.Parallel()
	for _, bulk := range []bool{false, true} {
		w := newWorld(t, options{external: externalID, leaseTTL: time.Second})
		k := w.planned(create, bulk, w.creates(10))
		stale := k.lease() // and then it stands still
		other := w.openLedger("worker-2", time.Second)
		var taken *ledger.Lease
		testkit.Eventually(t, patience, func() (err error) {
			if _, err := other.Tasks(t.Context(), w.run.ID); err != nil { // looking is what makes a silent holder lose
				return err
			}
			taken, err = other.Claim(t.Context(), w.run.ID, k.stage, k.number)
			return err
		})
		if err := w.runner.Do(t.Context(), w.run, stale); !errors.Is(err, ledger.ErrLeaseLost) {
			t.Errorf("bulk %t: a worker without a lease ended with %v", bulk, err)
		}
		if w.org.EffectCount() != 0 || collectionCalls(w) != 0 || w.routes()["POST /jobs/ingest"] != 0 {
			t.Errorf("bulk %t: it called Salesforce: %v", bulk, w.routes())
		}
		if taken.Task().Epoch != 2 {
			t.Errorf("epoch %d", taken.Task().Epoch)
		}
	}
}

// The connection was linked to another org while the run was at work: nothing is sent there.
func TestOtherOrg(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	k := w.planned(create, false, w.creates(10))
	other, err := simulator.Start(simulator.Options{Seed: 99, ExternalIDFields: []string{"Contact." + externalID}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	w.tokens.mu.Lock()
	w.tokens.org, w.tokens.token = other, ""
	w.tokens.mu.Unlock()
	var drain *stage.Drain
	if err := k.attempt(t.Context()); !errors.As(err, &drain) || drain.State != ledger.RunFailed || !strings.Contains(drain.Reason, other.OrgID()) {
		t.Errorf("another org is told as %v", err)
	}
	if other.EffectCount()+w.org.EffectCount() != 0 {
		t.Error("something was written")
	}
}
