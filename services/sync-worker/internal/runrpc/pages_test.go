package runrpc_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/event"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// outcomes writes n outcomes of people p<from> onwards: every third is unchanged, the others are rejected.
func outcomes(t *testing.T, from, n int) func(*rows.Publisher) error {
	return func(p *rows.Publisher) error {
		for at := 0; at < n; at += 10 { // batches of ten, so that pages cross them
			m := &eventv1.Outcomes{}
			for i := at; i < min(at+10, n); i++ {
				kind := syncv1.OutcomeKind_OUTCOME_KIND_REJECTED
				if (from+i)%3 == 0 {
					kind = syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED
				}
				m.Outcomes = append(m.Outcomes, &syncv1.Outcome{PersonId: fmt.Sprint("p", from+i), Kind: kind})
			}
			if err := p.Publish(t.Context(), rows.KindOutcomes, 0, m, len(m.GetOutcomes())); err != nil {
				return err
			}
		}
		return nil
	}
}

// pages reads all pages of outcomes.
func (w *world) pages(run string, size int32, kinds ...syncv1.OutcomeKind) (people []string, pages int) {
	w.t.Helper()
	for token := ""; ; {
		res, err := w.client.ListOutcomes(as(w.t, "acme"), &syncv1.ListOutcomesRequest{RunId: run, PageSize: size, PageToken: token, Kinds: kinds})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, o := range res.GetOutcomes() {
			people = append(people, o.GetPersonId())
		}
		pages++
		if token = res.GetNextPageToken(); token == "" {
			return people, pages
		}
	}
}

// Every outcome stands on exactly one page, whatever the size of pages and batches.
func TestPagesOfOutcomes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.start("acme", "").GetId()
	var want []string
	for task := range 3 {
		w.settle(run, ledger.StagePlan, task, outcomes(t, task*35, 35))
	}
	w.settle(run, ledger.StageApply, 0, func(*rows.Publisher) error { return nil })
	w.settle(run, ledger.StageVerify, 0, outcomes(t, 105, 20))
	for i := range 125 {
		want = append(want, fmt.Sprint("p", i))
	}
	for _, size := range []int32{1, 7, 10, 35, 124, 125, 126, 100_000} {
		got, pages := w.pages(run, size)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d: %s", size, diff)
		}
		if most := (125+int(size)-1)/int(size) + 1; pages > most {
			t.Errorf("%d pages of %d", pages, size)
		}
	}
	got, _ := w.pages(run, 4, syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED)
	if len(got) != 42 || got[1] != "p3" {
		t.Errorf("only unchanged: %v", got)
	}
	if got, _ := w.pages(run, 4, syncv1.OutcomeKind_OUTCOME_KIND_FAILED); len(got) != 0 {
		t.Errorf("only failed: %v", got)
	}
	for _, token := range []string{"nonsense", "1-2", "-1-0-0", run} {
		_, err := w.client.ListOutcomes(as(t, "acme"), &syncv1.ListOutcomesRequest{RunId: run, PageToken: token})
		check(t, "page token "+token, err, errs.Invalid, "bad_page_token")
		_, err = w.client.ListChanges(as(t, "acme"), &syncv1.ListChangesRequest{RunId: run, PageToken: token})
		check(t, "page token "+token, err, errs.Invalid, "bad_page_token")
	}
}

// Tasks do not settle in order. A list that is read meanwhile shows nothing twice and leaves nothing out that a later
// page could still show.
func TestPagesWhileTasksSettle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.start("acme", "").GetId()
	for task := range 3 {
		w.make(run, ledger.StagePlan, task)
	}
	w.settle(run, ledger.StagePlan, 1, outcomes(t, 20, 20))
	if got, _ := w.pages(run, 5); len(got) != 0 {
		t.Errorf("before the first task has settled: %v", got)
	}
	w.settle(run, ledger.StagePlan, 0, outcomes(t, 0, 20))
	res, err := w.client.ListOutcomes(as(t, "acme"), &syncv1.ListOutcomesRequest{RunId: run, PageSize: 30})
	if err != nil || len(res.GetOutcomes()) != 30 || res.GetNextPageToken() == "" {
		t.Fatalf("first page: %v, %v", res, err)
	}
	w.settle(run, ledger.StagePlan, 2, outcomes(t, 40, 20))
	rest, err := w.client.ListOutcomes(as(t, "acme"), &syncv1.ListOutcomesRequest{RunId: run, PageSize: 100, PageToken: res.GetNextPageToken()})
	if err != nil || len(rest.GetOutcomes()) != 30 || rest.GetOutcomes()[0].GetPersonId() != "p30" || rest.GetOutcomes()[29].GetPersonId() != "p59" {
		t.Errorf("second page: %v, %v", rest, err)
	}
}

// Changes are shown field by field, with what was there before; one action alone where that is asked for.
func TestListChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.start("acme", "").GetId()
	columns := []string{"LastName", "Title", "Phone"}
	w.settle(run, ledger.StagePlan, 0, func(p *rows.Publisher) error {
		create := &eventv1.PlannedChange{PersonId: "new", Key: "new@example.com", After: &rowv1.Row{Values: []string{"L", "", ""}, Absent: []uint32{1, 2}}}
		update := &eventv1.PlannedChange{
			PersonId: "old", Key: "old@example.com", RecordId: "003000000000001AAA",
			After:  &rowv1.Row{Values: []string{"", "Doctor", ""}, Absent: []uint32{0}, Null: []uint32{2}},
			Before: &rowv1.Row{Values: []string{"", "", "1"}, Absent: []uint32{0}, Null: []uint32{1}},
		}
		return errors.Join(
			p.Publish(t.Context(), rows.KindCreates, 0, &eventv1.PlannedChanges{Action: syncv1.Action_ACTION_CREATE, Columns: columns, Changes: []*eventv1.PlannedChange{create}}, 1),
			p.Publish(t.Context(), rows.KindUpdates, 0, &eventv1.PlannedChanges{Action: syncv1.Action_ACTION_UPDATE, Columns: columns, Changes: []*eventv1.PlannedChange{update}}, 1))
	})
	created := &syncv1.Change{
		PersonId: "new", Action: syncv1.Action_ACTION_CREATE, Key: "new@example.com",
		Fields: []*syncv1.FieldChange{{Field: "LastName", After: "L", NullBefore: true}},
	}
	updated := &syncv1.Change{
		PersonId: "old", Action: syncv1.Action_ACTION_UPDATE, Key: "old@example.com", RecordId: "003000000000001AAA",
		Fields: []*syncv1.FieldChange{{Field: "Title", After: "Doctor", NullBefore: true}, {Field: "Phone", Before: "1", NullAfter: true}},
	}
	for action, want := range map[syncv1.Action][]*syncv1.Change{
		syncv1.Action_ACTION_UNSPECIFIED: {created, updated}, syncv1.Action_ACTION_CREATE: {created}, syncv1.Action_ACTION_UPDATE: {updated},
	} {
		res, err := w.client.ListChanges(as(t, "acme"), &syncv1.ListChangesRequest{RunId: run, Action: action})
		if diff := cmp.Diff(want, res.GetChanges(), protocmp.Transform()); diff != "" || err != nil || res.GetNextPageToken() != "" {
			t.Errorf("%s: %v, next %q\n%s", action, err, res.GetNextPageToken(), diff)
		}
	}
}

// What a retention took away is told as gone, not as nothing.
func TestOutcomesThatAreGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.start("acme", "").GetId()
	w.settle(run, ledger.StagePlan, 0, outcomes(t, 0, 20))
	if err := w.bus.Purge(t.Context(), event.StreamOutcomes, "catalogsync.outcomes.>"); err != nil {
		t.Fatal(err)
	}
	_, err := w.client.ListOutcomes(as(t, "acme"), &syncv1.ListOutcomesRequest{RunId: run})
	check(t, "outcomes that are gone", err, errs.NotFound, "not_kept")
}
