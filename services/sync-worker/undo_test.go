package syncworker_test

import (
	"fmt"
	"testing"
	"time"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// undo takes a run back to the end. Promise P1: everybody whom that run wrote ends once.
func (p *pipeline) undo(run *syncv1.Run, deleteCreated bool) (*syncv1.Run, map[string]*syncv1.Outcome) {
	p.t.Helper()
	undo := p.start(&syncv1.StartRunRequest{Kind: syncv1.RunKind_RUN_KIND_UNDO, UndoRunId: run.GetId(), UndoDeleteCreated: deleteCreated})
	if s := undo.GetState(); s != syncv1.RunState_RUN_STATE_SUCCEEDED && s != syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES {
		p.t.Fatalf("the undo ended %s: %s", s, undo.GetReason())
	}
	all := p.outcomes(undo)
	if wrote := run.GetCounts().GetCreated() + run.GetCounts().GetUpdated(); int64(len(all)) != wrote || undo.GetCounts().GetPeople() != wrote {
		p.t.Errorf("the run wrote %d people, its undo counts %d and has %d outcomes", wrote, undo.GetCounts().GetPeople(), len(all))
	}
	p.checkCounts(undo, all)
	return undo, all
}

// What a run did through Bulk jobs is taken back through Bulk jobs: updates, then what it made.
func TestUndoThroughBulk(t *testing.T) {
	t.Parallel()
	const n = 2500
	p := newPipeline(t)
	p.use("Contact", externalID)
	people := make([]map[string]any, n)
	title := func(title string) {
		for i := range people {
			people[i] = someone(fmt.Sprintf("p%04d", i), "title", title)
		}
		p.catalog(people...)
	}
	title("Engineer")
	made, _ := p.write()
	p.org.SetClockOffset(time.Hour) // stamps of records are full seconds
	title("Doctor")
	changed, all := p.write()
	if changed.GetCounts().GetUpdated() != n {
		t.Fatalf("the second run: %v", changed.GetCounts())
	}
	byHand := all["p0007"].GetRecordId()
	if err := p.org.Update(byHand, map[string]string{"Title": "By hand"}); err != nil {
		t.Fatal(err)
	}
	undo, back := p.undo(changed, false)
	p.expect(back, map[string]string{"p0000": "updated", "p0007": "skipped changed_since", "p2499": "updated"})
	if c := undo.GetCounts(); c.GetUpdated() != n-1 || c.GetVerified() != n-1 || len(undo.GetBulkJobIds()) == 0 {
		t.Errorf("the undo of updates: %v, jobs %v", c, undo.GetBulkJobIds())
	}
	for id, o := range all {
		want := "Engineer"
		if o.GetRecordId() == byHand {
			want = "By hand"
		}
		if got := p.field(o.GetRecordId(), "Title"); got != want {
			t.Fatalf("%s has the title %q after the undo, want %q", id, got, want)
		}
	}
	// Every record was changed since the first run made it, so none of them goes.
	_, back = p.undo(made, true)
	p.expect(back, map[string]string{"p0000": "skipped changed_since", "p0007": "skipped changed_since"})
	if p.alive("Contact") != n {
		t.Fatalf("%d contacts are left", p.alive("Contact"))
	}
}

func TestUndoOfCreatesThroughBulk(t *testing.T) {
	t.Parallel()
	const n = 2500
	p := newPipeline(t)
	p.use("Contact", externalID)
	people := make([]map[string]any, n)
	for i := range people {
		people[i] = someone(fmt.Sprintf("p%04d", i))
	}
	p.catalog(people...)
	made, all := p.write()
	p.org.SetClockOffset(time.Hour) // stamps of records are full seconds
	if err := p.org.Update(all["p0007"].GetRecordId(), map[string]string{"Department": "By hand"}); err != nil {
		t.Fatal(err)
	}
	p.record("Contact", "LastName", "Somebody else")
	plan := p.start(&syncv1.StartRunRequest{Kind: syncv1.RunKind_RUN_KIND_UNDO, UndoRunId: made.GetId(), UndoDeleteCreated: true, PlanOnly: true})
	if plan.GetPlan().GetDeletes() != n-1 || len(p.changes(plan)) != n-1 || p.alive("Contact") != n+1 {
		t.Errorf("planned: %v, %d changes; %d contacts", plan.GetPlan(), len(p.changes(plan)), p.alive("Contact"))
	}
	shown := false
	for _, f := range p.changes(plan)["p0000"].GetFields() {
		if f.GetField() == "Title" && f.GetBefore() == "Engineer" && f.GetNullAfter() {
			shown = true
		}
	}
	res, err := p.runs.ListChanges(p.ctx(), &syncv1.ListChangesRequest{RunId: made.GetId(), Action: syncv1.Action_ACTION_DELETE})
	if err != nil || len(res.GetChanges()) != 0 || !shown {
		t.Errorf("the deletes of a write run: %d, %v; the plan shows what goes: %v", len(res.GetChanges()), err, shown)
	}
	undo, back := p.undo(made, true)
	p.expect(back, map[string]string{"p0000": "deleted", "p0007": "skipped changed_since", "p2499": "deleted"})
	if c := undo.GetCounts(); c.GetDeleted() != n-1 || undo.GetState() != syncv1.RunState_RUN_STATE_SUCCEEDED || len(undo.GetBulkJobIds()) == 0 {
		t.Errorf("the undo: %v, jobs %v", c, undo.GetBulkJobIds())
	}
	if p.alive("Contact") != 2 {
		t.Errorf("%d contacts are left", p.alive("Contact"))
	}
	// Who is still in the Catalog is made again by the next run, once.
	run, _ := p.write()
	if c := run.GetCounts(); c.GetCreated() != n-1 || c.GetUnchanged() != 1 || p.alive("Contact") != n+1 {
		t.Errorf("the run after the undo: %v; %d contacts", c, p.alive("Contact"))
	}
}

// A reference is taken back like every field, also where the run itself made what it refers to.
func TestUndoOfReferences(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.use("Contact", externalID, account("Name", true))
	p.catalog(someone("ada", "organization", "Old"), someone("bob", "organization", "Old"))
	first, all := p.write()
	old := p.field(all["ada"].GetRecordId(), "AccountId")
	p.org.SetClockOffset(time.Hour) // stamps of records are full seconds
	p.catalog(someone("ada", "organization", "New"), someone("bob", "organization", "Old"))
	second, _ := p.write()
	if got := p.field(all["ada"].GetRecordId(), "AccountId"); got == old || second.GetCounts().GetUpdated() != 1 {
		t.Fatalf("ada is at %q after the second run: %v", got, second.GetCounts())
	}
	_, back := p.undo(second, false)
	p.expect(back, map[string]string{"ada": "updated"})
	if got := p.field(all["ada"].GetRecordId(), "AccountId"); got != old {
		t.Errorf("ada is at %q after the undo, want %q", got, old)
	}
	_, back = p.undo(first, true)
	p.expect(back, map[string]string{"ada": "skipped changed_since", "bob": "deleted"})
}

// A record that a run adopted is given back as it was, without the external id.
func TestUndoOfAnAdoption(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.use("Contact", externalID, func(m *mapperv1.FieldMap) { m.Pairs = m.Pairs[1:] })
	id := p.record("Contact", "LastName", "Mine", "Email", "ada@example.com", "Title", "Boss")
	p.catalog(someone("ada", "title", ""))
	run, all := p.write()
	p.expect(all, map[string]string{"ada": "updated"})
	_, back := p.undo(run, true)
	p.expect(back, map[string]string{"ada": "updated"})
	if p.field(id, "LastName") != "Mine" || p.field(id, externalID) != "" || p.alive("Contact") != 1 {
		t.Errorf("after the undo: %q, %q; %d contacts", p.field(id, "LastName"), p.field(id, externalID), p.alive("Contact"))
	}
	// The next run adopts it again rather than make a second one.
	_, all = p.write()
	p.expect(all, map[string]string{"ada": "updated"})
	if p.alive("Contact") != 1 {
		t.Errorf("%d contacts", p.alive("Contact"))
	}
}

// Where nothing can be taken back because the org lost the field since, the person is told so.
func TestUndoOfAFieldThatIsGone(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.use("Contact", externalID, func(m *mapperv1.FieldMap) { m.Pairs = append(m.Pairs, pair("organization", "Department")) })
	p.catalog(someone("ada"), someone("bob"))
	p.write()
	p.org.SetClockOffset(time.Hour) // stamps of records are full seconds
	p.catalog(someone("ada", "organization", "Other"), someone("bob", "organization", "Other", "title", "Doctor"))
	run, all := p.write()
	if err := p.org.RemoveField("Contact", "Department"); err != nil {
		t.Fatal(err)
	}
	undo, back := p.undo(run, false)
	p.expect(back, map[string]string{"ada": "skipped not_writable", "bob": "updated"})
	if p.changes(undo)["bob"].GetReason() != "undo_partly" || p.field(all["bob"].GetRecordId(), "Title") != "Engineer" || len(undo.GetNotes()) != 1 {
		t.Errorf("bob is taken back %q; notes %v", p.changes(undo)["bob"].GetReason(), undo.GetNotes())
	}
}
