package syncworker_test

import (
	"testing"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// A field that is gone from the org stops its pair alone, and the run says so; the rest of the person is written.
func TestDriftStopsItsPairAlone(t *testing.T) {
	t.Parallel()
	for _, people := range []int{2, 2100} { // by Collections, and by a Bulk job
		p := newPipeline(t)
		p.use("Contact", externalID, func(m *mapperv1.FieldMap) { m.Pairs = append(m.Pairs, pair("department", "Gone__c")) })
		p.catalog(crowd(people, someone("ada", "department", "Analysis"), someone("bob"))...)
		run, all := p.write()
		p.expect(all, map[string]string{"ada": "created", "bob": "created"})
		notes := run.GetNotes()
		if len(notes) != 1 || notes[0].GetField() != "Gone__c" || notes[0].GetScope() != mapperv1.Scope_SCOPE_PAIR || notes[0].GetMessage() == "" {
			t.Errorf("the run notes %v", notes)
		}
		if run.GetCounts().GetVerified() != int64(people) {
			t.Errorf("counts %v", run.GetCounts())
		}
		_, all = p.write()
		p.expect(all, map[string]string{"ada": "unchanged"})
	}
}

// What the external id needs stops the whole run, with what would mend it.
func TestDriftOfTheKeyStopsTheRun(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.use("Contact", "Gone__c")
	p.catalog(someone("ada"))
	run := p.start(&syncv1.StartRunRequest{})
	if run.GetState() != syncv1.RunState_RUN_STATE_FAILED || !contains(run.GetReason(), "Gone__c") || p.alive("Contact") != 0 {
		t.Errorf("the run ended %s: %s", run.GetState(), run.GetReason())
	}
}

// Rules see the record as it is in Salesforce, also fields that no pair writes; the plan counts people by rule.
func TestRulesSeeTheRecord(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.use("Contact", externalID, func(m *mapperv1.FieldMap) {
		m.Rules = []*mapperv1.Rule{{Name: "hands off", Effect: mapperv1.Effect_EFFECT_SKIP, Condition: &mapperv1.Condition{Condition: &mapperv1.Condition_Test{
			Test: &mapperv1.Test{Side: mapperv1.Side_SIDE_SALESFORCE, Field: "Department", Operator: mapperv1.Operator_OPERATOR_EQUALS, Values: []string{"Locked"}},
		}}}}
	})
	p.catalog(someone("ada"), someone("bob"))
	_, all := p.write()
	p.expect(all, map[string]string{"ada": "created", "bob": "created"})
	ada := all["ada"].GetRecordId()
	if err := p.org.Update(ada, map[string]string{"Department": "Locked"}); err != nil {
		t.Fatal(err)
	}
	p.catalog(someone("ada", "title", "Countess"), someone("bob", "title", "Builder"))
	run, all := p.write()
	p.expect(all, map[string]string{"ada": "skipped rule", "bob": "updated"})
	if o := all["ada"]; o.GetMessage() != "hands off" || o.GetRecordId() != ada || run.GetPlan().GetSkippedByRule()["hands off"] != 1 || p.field(ada, "Title") != "Engineer" {
		t.Errorf("ada ended %v, the plan counts %v", o, run.GetPlan().GetSkippedByRule())
	}
}

// A subaccount may have pairs that others do not have: their targets come after the map's own.
func TestOverridesAddTargets(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.use("Contact", externalID, func(m *mapperv1.FieldMap) {
		m.Overrides = []*mapperv1.Override{
			{Subaccount: "north", Pairs: []*mapperv1.Pair{pair("department", "Department"), {Constant: "North", Target: "Title"}}},
			{Subaccount: "south", Pairs: []*mapperv1.Pair{pair("city", "MailingCity")}},
		}
	})
	p.catalog(someone("ada", "subaccount", "north", "department", "Analysis", "city", "Turin"), someone("bob", "subaccount", "south", "department", "Building", "city", "Turin"), someone("cyd", "department", "None"))
	_, all := p.write()
	for id, want := range map[string][3]string{"ada": {"Analysis", "North", ""}, "bob": {"", "Engineer", "Turin"}, "cyd": {"", "Engineer", ""}} {
		record := all[id].GetRecordId()
		if got := [3]string{p.field(record, "Department"), p.field(record, "Title"), p.field(record, "MailingCity")}; got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
	_, all = p.write()
	p.expect(all, map[string]string{"ada": "unchanged", "bob": "unchanged", "cyd": "unchanged"})
}

// The plan shows each field before and after, against the org as it is now, and its numbers add up.
func TestThePlanShowsFields(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.use("Contact", externalID, func(m *mapperv1.FieldMap) {
		m.Pairs[0].TooLong = mapperv1.TooLong_TOO_LONG_CUT // FirstName, 40 characters
	})
	record := p.record("Contact", "LastName", "Byron", "Email", "ada@example.com", "Title", "Engineer", "Phone", "030 1234567")
	long := "A name that is by far too long for the field of the org"
	p.catalog(someone("ada", "phone", "+49 30 1234567", "title", "", "first_name", long), someone("bob", "last_name", ""), someone("cyd"))
	run := p.start(&syncv1.StartRunRequest{PlanOnly: true})
	c := p.changes(run)["ada"]
	got := make(map[string][2]string)
	for _, f := range c.GetFields() {
		got[f.GetField()] = [2]string{f.GetBefore(), f.GetAfter()}
		if f.GetField() == "Title" && !f.GetNullAfter() || f.GetField() == externalID && !f.GetNullBefore() {
			t.Errorf("planned: %v", f)
		}
	}
	want := map[string][2]string{"LastName": {"Byron", "Last ada"}, "Title": {"Engineer", ""}, externalID: {"", "ada"}, "FirstName": {"", long[:40]}}
	for f, w := range want {
		if f == "FirstName" {
			if g := got[f][1]; len(g) == 0 || len(g) > 40 {
				t.Errorf("FirstName becomes %q", g)
			}
			continue
		}
		if got[f] != w {
			t.Errorf("%s: %q, want %q", f, got[f], w)
		}
	}
	if len(got) != len(want) || c.GetReason() != "adopted" || c.GetRecordId() != record {
		t.Errorf("planned: %v", c)
	}
	n := run.GetPlan()
	if n.GetCreates() != 1 || n.GetUpdates() != 1 || n.GetClears() != 1 || n.GetRejected() != 1 || run.GetCounts().GetCut() != 1 ||
		n.GetUpdatesByField()["Title"] != 1 || n.GetUpdatesByField()["Phone"] != 0 || n.GetForecastApiCalls() == 0 {
		t.Errorf("plan %v, counts %v", n, run.GetCounts())
	}
	for code, count := range n.GetRejectedByCode() {
		if code == "" || count != 1 {
			t.Errorf("rejected: %v", n.GetRejectedByCode())
		}
	}
	if p.alive("Contact") != 1 || p.field(record, "LastName") != "Byron" {
		t.Error("a plan wrote to the org")
	}
}

// Salesforce's APIs in use cannot take a record out of the recycle bin. The policy says so, waits for a hand, and makes no
// second record; then it goes on with the one that was restored.
func TestUndeleteIsDoneByHand(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.use("Contact", externalID, identity(&mapperv1.Identity{Deleted: mapperv1.Deleted_DELETED_UNDELETE}))
	p.catalog(someone("ada"))
	_, all := p.write()
	record := all["ada"].GetRecordId()
	if err := p.org.Delete(record); err != nil {
		t.Fatal(err)
	}
	p.catalog(someone("ada", "title", "Countess"))
	_, all = p.write()
	p.expect(all, map[string]string{"ada": "rejected undelete_by_hand"})
	if p.alive("Contact") != 0 || all["ada"].GetRecordId() != record {
		t.Errorf("%d contacts, ada ended %v", p.alive("Contact"), all["ada"])
	}
	if err := p.org.Undelete(record); err != nil {
		t.Fatal(err)
	}
	_, all = p.write()
	p.expect(all, map[string]string{"ada": "updated"})
	if p.alive("Contact") != 1 || p.field(record, "Title") != "Countess" {
		t.Errorf("%d contacts", p.alive("Contact"))
	}
}
