package stage_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// verified makes and settles the tasks that read back and compare, and returns how everybody ended.
func (w *world) verified(byID bool, since ledger.Task) (map[string]*syncv1.Outcome, ledger.Counts) {
	w.t.Helper()
	tasks := 1
	if !byID {
		tasks = w.run.VerifyParts
		w.make(ledger.StageReadback, 0, ledger.Input{Rows: since.Result.Counts.Written, Since: time.Now().Add(-time.Hour)}).settle()
	}
	all := make(map[string]*syncv1.Outcome)
	var n ledger.Counts
	for i := range tasks {
		done := w.make(ledger.StageVerify, i, ledger.Input{ByID: byID}).settle()
		for id, o := range w.outcomes(done) {
			if all[id] != nil {
				w.t.Errorf("%s ended twice", id)
			}
			all[id] = o
		}
		n.Add(done.Result.Counts)
	}
	return all, n
}

// What Salesforce holds is compared with what was written, field by field, by ids and by a Bulk query alike: a value
// that somebody changed and a record that is gone are told, and nothing else is.
func TestVerify(t *testing.T) {
	t.Parallel()
	for _, byID := range []bool{true, false} {
		t.Run(fmt.Sprintf("by id %t", byID), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{external: externalID})
			created := w.planned(create, true, w.creates(500, func(i int, v []string) {
				if i == 1 {
					v[0], v[2] = "  spaced\u00a0", "x\ty" // Salesforce trims what it stores
				}
			})).settle()
			byPerson := w.outcomes(created)
			if err := w.org.Update(byPerson[person(10)].GetRecordId(), map[string]string{"Title": "Chief", "Email": "other@example.com"}); err != nil {
				t.Fatal(err)
			}
			if err := w.org.Update(byPerson[person(11)].GetRecordId(), map[string]string{"Department": "Nobody compares this"}); err != nil {
				t.Fatal(err)
			}
			if err := w.org.Delete(byPerson[person(12)].GetRecordId()); err != nil {
				t.Fatal(err)
			}
			all, n := w.verified(byID, created)
			want := ledger.Counts{Created: 500, Verified: 498, Mismatched: 2}
			if diff := cmp.Diff(want, n); diff != "" {
				t.Error(diff)
			}
			for id, o := range all {
				code, fields := "", []string(nil)
				switch id {
				case person(10):
					code, fields = "readback_differs", []string{"Email", "Title"}
				case person(12):
					code = "readback_missing"
				}
				if o.GetCode() != code || !slices.Equal(o.GetFields(), fields) || o.GetKind() != syncv1.OutcomeKind_OUTCOME_KIND_CREATED || (o.GetMessage() == "") != (code == "") {
					t.Errorf("%s ended %v", id, o)
				}
			}
		})
	}
}

// Of an update only what was written is compared.
func TestVerifyOfAnUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	changes := w.existing(20)
	done := w.planned(update, false, changes).settle()
	if err := w.org.Update(changes[0].GetRecordId(), map[string]string{"LastName": "Married"}); err != nil {
		t.Fatal(err)
	}
	_, n := w.verified(true, done)
	if diff := cmp.Diff(ledger.Counts{Updated: 20, Verified: 20}, n); diff != "" {
		t.Error(diff)
	}
}

// A run that was stopped for lack of credentials asks nobody: what was written ends as written, unverified.
func TestVerifyWithoutCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	done := w.planned(create, false, w.creates(10)).settle()
	w.tokens.refuse()
	w.drain(ledger.RunReconnect, "needs_reconnect")
	_, n := w.verified(true, done)
	if diff := cmp.Diff(ledger.Counts{Created: 10}, n); diff != "" {
		t.Error(diff)
	}
}

// Reading back goes on over an expired session, a torn answer and a lost Bulk job.
func TestReadbackInTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{external: externalID})
	created := w.planned(create, true, w.creates(300)).settle()
	w.org.ExpireSessions()
	w.org.Faults().MustAdd(
		fault.Rule{Kind: fault.Truncate, Method: "GET", Path: "/jobs/query/*/results", Count: 1},
		fault.Rule{Kind: fault.Error, Method: "GET", Path: "/jobs/query/*", Count: 1, Status: 503},
	)
	_, n := w.verified(false, created)
	if diff := cmp.Diff(ledger.Counts{Created: 300, Verified: 300}, n); diff != "" {
		t.Error(diff)
	}
}
