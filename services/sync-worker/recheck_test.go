package syncworker_test

import (
	"testing"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// held plans a run that waits to be approved.
func (p *pipeline) held() *syncv1.Run {
	p.t.Helper()
	run := p.start(&syncv1.StartRunRequest{})
	if run.GetState() != syncv1.RunState_RUN_STATE_HELD {
		p.t.Fatalf("the run is %s: %s", run.GetState(), run.GetReason())
	}
	return run
}

// approve lets a held run go on to its end.
func (p *pipeline) approve(run *syncv1.Run) (*syncv1.Run, map[string]*syncv1.Outcome) {
	p.t.Helper()
	if _, err := p.runs.ApproveRun(p.ctx(), &syncv1.ApproveRunRequest{RunId: run.GetId(), PlanHash: run.GetHold().GetPlanHash()}); err != nil {
		p.t.Fatal(err)
	}
	run = p.ends(run)
	all := p.outcomes(run)
	if int64(len(all)) != run.GetCounts().GetPeople() {
		p.t.Errorf("%d people, %d outcomes", run.GetCounts().GetPeople(), len(all))
	}
	p.checkCounts(run, all)
	return run, all
}

func approved(m *mapperv1.FieldMap) { m.Guards.ApproveEveryRun = true }

// What happens in the org while a run is held leads nobody to a record that is somebody else's.
func TestNobodySharesARecordAfterAHold(t *testing.T) {
	t.Parallel()
	t.Run("made for two", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t)
		p.use("Contact", externalID, approved)
		p.catalog(someone("ada", "email", "team@example.com"), someone("bob", "email", "team@example.com"), someone("cyd"))
		run := p.held()
		id := p.record("Contact", "LastName", "Team", "Email", "team@example.com")
		_, all := p.approve(run)
		p.expect(all, map[string]string{"ada": "deferred record_changed", "bob": "deferred record_changed", "cyd": "created"})
		if p.field(id, externalID) != "" || p.alive("Contact") != 2 {
			t.Errorf("the record is %q's; %d contacts", p.field(id, externalID), p.alive("Contact"))
		}
	})
	t.Run("given another key", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t)
		p.use("Contact", "", approved)
		id := p.record("Contact", "LastName", "Bob", "Email", "bob@example.com")
		p.catalog(someone("ada"), someone("bob"), someone("cyd"))
		run := p.held()
		if err := p.org.Update(id, map[string]string{"Email": "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		_, all := p.approve(run)
		p.expect(all, map[string]string{"ada": "deferred record_changed", "bob": "deferred record_changed", "cyd": "created"})
		if p.field(id, "LastName") != "Bob" {
			t.Errorf("the record was written: %q", p.field(id, "LastName"))
		}
	})
	t.Run("right before, and given another key", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t)
		p.use("Contact", "")
		p.catalog(someone("bob"))
		_, all := p.write()
		id := all["bob"].GetRecordId()
		p.use("Contact", "", approved)
		p.catalog(someone("ada"), someone("bob"))
		run := p.held()
		if err := p.org.Update(id, map[string]string{"Email": "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		_, all = p.approve(run)
		p.expect(all, map[string]string{"ada": "deferred record_changed", "bob": "unchanged"})
	})
}
