package stage_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// sentRows records which records each Collections call was about.
type sentRows struct {
	mu    sync.Mutex
	calls [][]map[string]any
}

func (s *sentRows) tap(r *http.Request, org http.RoundTripper) (*http.Response, error) {
	if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/composite/sobjects") {
		var body struct{ Records []map[string]any }
		if err := json.Unmarshal(reread(r), &body); err == nil {
			s.mu.Lock()
			s.calls = append(s.calls, body.Records)
			s.mu.Unlock()
		}
	}
	return org.RoundTrip(r)
}

// Three of ten rows are locked whenever they are sent. Only they are sent again, in smaller calls, a bounded number of
// times; all are saved, or end deferred to the next run.
func TestThreeOfTenRowsAreLocked(t *testing.T) {
	t.Parallel()
	for _, bulk := range []bool{false, true} {
		t.Run(fmt.Sprint("bulk ", bulk), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID})
			changes := w.existing(2000)
			before := w.org.EffectCount()
			sent := &sentRows{}
			w.wire.on(sent.tap)
			w.org.Faults().MustAdd(fault.Rule{Kind: fault.LockRow, Path: "Contact", Method: "update", Probability: 0.3})
			done := w.planned(update, bulk, changes).settle()
			all := w.outcomes(done)
			n := byKind(all)
			if n["updated"]+n["deferred"] != 2000 || n["deferred"] > 20 {
				t.Errorf("people ended %v", n)
			}
			if wrote := w.org.EffectCount() - before; wrote != int64(n["updated"]) {
				t.Errorf("%d effects, %d people: a row that was saved was sent again", wrote, n["updated"])
			}
			if bulk {
				if len(done.Result.Jobs) > 6 {
					t.Errorf("%d jobs", len(done.Result.Jobs))
				}
				return
			}
			rows := 0
			for i, call := range sent.calls {
				rows += len(call)
				if i >= 10 && len(call) > 100 {
					t.Errorf("call %d has %d rows, want fewer than before", i, len(call))
				}
			}
			if len(sent.calls) > 10+5*20 || rows > 2000*3/2 {
				t.Errorf("%d calls with %d rows", len(sent.calls), rows)
			}
		})
	}
}

// Whatever is locked for ever costs a bounded number of calls.
func TestAllRowsAreLockedForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	changes := w.existing(1000)
	w.org.Faults().MustAdd(fault.Rule{Kind: fault.LockRow, Path: "Contact", Method: "update"})
	before := collectionCalls(w)
	all := w.outcomes(w.planned(update, false, changes).settle())
	if diff := cmp.Diff(map[string]int{"deferred": 1000}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	if n := collectionCalls(w) - before; n > 5+5*10 {
		t.Errorf("%d calls", n)
	}
	if o := all[person(0)]; o.GetCode() != "lock" || !strings.Contains(o.GetMessage(), "locked whenever it was sent") {
		t.Errorf("outcome %v", o)
	}
}

// children are planned creates of contacts of a number of accounts, whose rows are as mixed as can be.
func (w *world) children(n, accounts int) []*eventv1.PlannedChange {
	w.t.Helper()
	ids := make([]string, accounts)
	for i := range ids {
		id, err := w.org.Create("Account", map[string]string{"Name": fmt.Sprint("Account ", i)})
		if err != nil {
			w.t.Fatal(err)
		}
		ids[i] = id
	}
	return w.creates(n, func(i int, v []string) { v[4] = ids[i%accounts] })
}

// The rows of one account go in one call, as far as one takes them.
func TestRowsOfOneParentStayTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID, parents: true})
	sent := &sentRows{}
	w.wire.on(sent.tap)
	all := w.outcomes(w.planned(create, false, w.children(1000, 25)).settle())
	if diff := cmp.Diff(map[string]int{"created": 1000}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	in := make(map[any]int) // account -> call
	for i, call := range sent.calls {
		for _, row := range call {
			account := row["AccountId"]
			if before, ok := in[account]; ok && before != i {
				t.Fatalf("the rows of one account went in calls %d and %d", before, i)
			}
			in[account] = i
		}
	}
	if len(in) != 25 || len(sent.calls) > 6 {
		t.Errorf("%d accounts in %d calls", len(in), len(sent.calls))
	}
}

// An org saves the chunks of a Bulk job at the same time, and one that saves a child keeps others from its parent. Sorted
// by parent, at most one parent stands in two chunks.
func TestBulkKeepsParentsOutOfEachOthersWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID, parents: true, org: func(o *simulator.Options) { o.LockContention = true }})
	done := w.planned(create, true, w.children(20_500, 50)).settle()
	all := w.outcomes(done)
	if diff := cmp.Diff(map[string]int{"created": 20_500}, byKind(all)); diff != "" {
		t.Error(diff)
	}
	if len(done.Result.Jobs) > 2 {
		t.Errorf("%d jobs were needed", len(done.Result.Jobs))
	}
	if w.org.Count("Contact") != 20_500 {
		t.Errorf("%d contacts", w.org.Count("Contact"))
	}
}

// What a duplicate rule refuses is named with the records that it matched, also where the call that sent it does not say.
func TestDuplicatesAreNamed(t *testing.T) {
	t.Parallel()
	for _, bulk := range []bool{false, true} {
		t.Run(fmt.Sprint("bulk ", bulk), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID})
			twin, err := w.org.Create("Contact", map[string]string{"LastName": "Last 3", "Email": email(3)})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.org.SetDuplicateRules(simulator.StandardDuplicateRules()); err != nil {
				t.Fatal(err)
			}
			all := w.outcomes(w.planned(create, bulk, w.creates(50)).settle())
			if diff := cmp.Diff(map[string]int{"created": 49, "failed": 1}, byKind(all)); diff != "" {
				t.Error(diff)
			}
			if o := all[person(3)]; o.GetCode() != "DUPLICATES_DETECTED" || !cmp.Equal(o.GetOtherRecordIds(), []string{twin}) {
				t.Errorf("the duplicate ended %v, want %s named", o, twin)
			}
		})
	}
}

// Records that an undo deletes go to the recycle bin; one that is gone already is as good.
func TestDeletes(t *testing.T) {
	t.Parallel()
	for _, bulk := range []bool{false, true} {
		t.Run(fmt.Sprint("bulk ", bulk), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID})
			changes := w.existing(450)
			for _, c := range changes {
				c.After = nil
			}
			if err := w.org.Delete(changes[7].GetRecordId()); err != nil {
				t.Fatal(err)
			}
			done := w.planned(syncv1.Action_ACTION_DELETE, bulk, changes).settle()
			if diff := cmp.Diff(map[string]int{"deleted": 450}, byKind(w.outcomes(done))); diff != "" {
				t.Error(diff)
			}
			if w.org.Count("Contact") != 0 || done.Result.Counts != (ledger.Counts{Deleted: 450}) {
				t.Errorf("%d contacts are left: %+v", w.org.Count("Contact"), done.Result.Counts)
			}
		})
	}
}
