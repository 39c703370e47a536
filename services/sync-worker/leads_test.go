package syncworker_test

import (
	"slices"
	"testing"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/simulator"
)

// A Lead that was converted stays as it is, or leads to the Contact that it became.
func TestConvertedLead(t *testing.T) {
	t.Parallel()
	for _, external := range []string{"", externalID} {
		t.Run("leave "+external, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t)
			p.use("Lead", external)
			p.catalog(someone("ada"), someone("bob"))
			_, all := p.write()
			lead := all["ada"].GetRecordId()
			contact, err := p.org.ConvertLead(lead)
			if err != nil {
				t.Fatal(err)
			}
			p.catalog(someone("ada", "title", "Countess"), someone("bob"))
			_, all = p.write()
			p.expect(all, map[string]string{"ada": "superseded converted", "bob": "unchanged"})
			if p.field(contact, "Title") != "Engineer" || all["ada"].GetRecordId() != lead {
				t.Errorf("the contact was touched: %v", all["ada"])
			}
		})
		t.Run("update its contact "+external, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t)
			p.use("Lead", external, identity(&mapperv1.Identity{Converted: mapperv1.Converted_CONVERTED_UPDATE_CONTACT}))
			p.catalog(someone("ada"), someone("bob"))
			_, all := p.write()
			lead := all["ada"].GetRecordId()
			contact, err := p.org.ConvertLead(lead)
			if err != nil {
				t.Fatal(err)
			}
			p.catalog(someone("ada", "title", "Countess", "organization", "Another"), someone("bob", "title", "Builder"))
			run, all := p.write()
			p.expect(all, map[string]string{"ada": "updated", "bob": "updated"})
			if p.field(contact, "Title") != "Countess" || all["ada"].GetRecordId() != contact || run.GetCounts().GetVerified() != 2 {
				t.Errorf("ada ended %v, her contact's title is %q, %v", all["ada"], p.field(contact, "Title"), run.GetCounts())
			}
			c := p.changes(run)["ada"]
			if c.GetReason() != "contact_of_lead" || c.GetObject() != "Contact" || c.GetRecordId() != contact {
				t.Errorf("planned: %v", c)
			}
			for _, f := range c.GetFields() {
				if f.GetField() == "Company" {
					t.Error("the plan writes Company, which a Contact does not have")
				}
			}
			_, all = p.write()
			p.expect(all, map[string]string{"ada": "unchanged", "bob": "unchanged"})
			// The Contact goes too: nothing is left to be updated.
			if err := p.org.Delete(contact); err != nil {
				t.Fatal(err)
			}
			_, all = p.write()
			p.expect(all, map[string]string{"ada": "superseded converted", "bob": "unchanged"})
		})
	}
}

// Who is a Contact already does not become a Lead, unless the field map says so; few people and many alike.
func TestContactAndLead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy mapperv1.ContactAndLead
		people int
		want   string
	}{
		"default":      {mapperv1.ContactAndLead_CONTACT_AND_LEAD_UNSPECIFIED, 2, "skipped policy_contact"},
		"skip of many": {mapperv1.ContactAndLead_CONTACT_AND_LEAD_SKIP, 2100, "skipped policy_contact"},
		"both":         {mapperv1.ContactAndLead_CONTACT_AND_LEAD_BOTH, 2, "created"},
	} {
		for _, external := range []string{"", externalID} {
			t.Run(name+" "+external, func(t *testing.T) {
				t.Parallel()
				p := newPipeline(t, func(o *simulator.Options) { o.SeedRecords = map[string]int{"Contact": 20} })
				p.use("Lead", external, identity(&mapperv1.Identity{ContactAndLead: c.policy}))
				contact := p.record("Contact", "LastName", "Lovelace", "Email", "ADA@example.com")
				p.catalog(crowd(c.people, someone("ada"), someone("bob"))...)
				run, all := p.write()
				p.expect(all, map[string]string{"ada": c.want, "bob": "created"})
				if c.want != "created" {
					if o := all["ada"]; !slices.Equal(o.GetOtherRecordIds(), []string{contact}) || o.GetRecordId() != "" {
						t.Errorf("ada ended %v", o)
					}
					if run.GetPlan().GetSkippedByRule()["policy_contact"] != 1 {
						t.Errorf("skipped: %v", run.GetPlan().GetSkippedByRule())
					}
				}
			})
		}
	}
}

// crowd adds others to some people until there are n.
func crowd(n int, people ...map[string]any) []map[string]any {
	for i := len(people); i < n; i++ {
		people = append(people, someone("p"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676))))
	}
	return people
}

// Leavers are counted always and flagged by policy, never when the Catalog is empty, and never where somebody who is here
// has their record.
func TestLeavers(t *testing.T) {
	t.Parallel()
	flag := &mapperv1.Identity{Leavers: mapperv1.Leavers_LEAVERS_FLAG, LeaversField: "Description", LeaversValue: "Left the Catalog"}
	for name, c := range map[string]struct {
		identity *mapperv1.Identity
		flagged  int64
	}{"left alone": {&mapperv1.Identity{}, 0}, "flagged": {flag, 2}} {
		for _, external := range []string{"", externalID} {
			t.Run(name+" "+external, func(t *testing.T) {
				t.Parallel()
				p := newPipeline(t)
				p.use("Contact", external, identity(c.identity))
				p.catalog(someone("ada"), someone("bob"), someone("cyd"), someone("dan"))
				_, all := p.write()
				p.catalog(someone("ada"), someone("bob"))
				run, _ := p.write()
				n := run.GetCounts()
				if n.GetLeavers() != 2 || n.GetLeaversFlagged() != c.flagged || run.GetPlan().GetDeactivations() != c.flagged || n.GetPeople() != 2 {
					t.Errorf("counts %v, plan %v", n, run.GetPlan())
				}
				for _, id := range []string{"ada", "bob", "cyd", "dan"} {
					want := ""
					if c.flagged > 0 && (id == "cyd" || id == "dan") {
						want = flag.GetLeaversValue()
					}
					if got := p.field(all[id].GetRecordId(), "Description"); got != want {
						t.Errorf("%s is flagged %q", id, got)
					}
				}
				if c.flagged > 0 {
					if ch := p.changes(run)["cyd"]; ch.GetReason() != "leaver" || len(ch.GetFields()) != 1 || ch.GetFields()[0].GetAfter() != flag.GetLeaversValue() {
						t.Errorf("planned: %v", ch)
					}
				}
				run, _ = p.write()
				if run.GetCounts().GetLeavers() != 2 || run.GetPlan().GetDeactivations() != 0 {
					t.Errorf("flagged again: %v", run.GetPlan())
				}
			})
		}
	}
	t.Run("an empty catalog", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t)
		p.use("Contact", externalID, identity(flag))
		p.catalog(someone("ada"))
		_, all := p.write()
		p.catalog()
		run := p.start(&syncv1.StartRunRequest{})
		if run.GetPlan().GetDeactivations() != 0 || p.field(all["ada"].GetRecordId(), "Description") != "" {
			t.Errorf("ada is flagged: %v", run)
		}
	})
	t.Run("somebody else has the record now", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t)
		p.use("Contact", "", identity(flag))
		p.catalog(someone("ada"))
		_, before := p.write()
		p.catalog(someone("ada2", "email", "ada@example.com"))
		_, all := p.write()
		p.expect(all, map[string]string{"ada2": "updated"})
		if id := all["ada2"].GetRecordId(); id != before["ada"].GetRecordId() || p.field(id, "Description") != "" {
			t.Errorf("the record of somebody who is here is flagged: %v", all["ada2"])
		}
	})
}

// Two people who would land on one record are both rejected with each other's ids: by keys, by what keys and a merge say,
// and by two merges or conversions.
func TestNobodySharesARecord(t *testing.T) {
	t.Parallel()
	both := func(t *testing.T, p *pipeline, all map[string]*syncv1.Outcome, record string) {
		t.Helper()
		p.expect(all, map[string]string{"ada": "rejected claimed_by_several", "bob": "rejected claimed_by_several", "cyd": "unchanged"})
		for _, id := range []string{"ada", "bob"} {
			o := all[id]
			if !contains(o.GetMessage(), "ada", "bob", record) {
				t.Errorf("%s is told %q", id, o.GetMessage())
			}
		}
	}
	for _, external := range []string{"", externalID} {
		for _, title := range []string{"Engineer", "Changed"} {
			t.Run("a merge into a record of somebody else "+external+" "+title, func(t *testing.T) {
				t.Parallel()
				p := newPipeline(t)
				p.use("Contact", external)
				p.catalog(someone("ada"), someone("bob"), someone("cyd"))
				_, all := p.write()
				record := all["bob"].GetRecordId()
				if err := p.org.Merge(record, all["ada"].GetRecordId()); err != nil {
					t.Fatal(err)
				}
				p.catalog(someone("ada"), someone("bob", "title", title), someone("cyd"))
				run, all := p.write()
				both(t, p, all, record)
				if p.field(record, "Title") != "Engineer" || run.GetPlan().GetUpdates() != 0 || run.GetPlan().GetRejected() != 2 || len(p.changes(run)) != 0 {
					t.Errorf("the record is %q, the plan %v", p.field(record, "Title"), run.GetPlan())
				}
			})
		}
		t.Run("two merges into one "+external, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t)
			p.use("Contact", external)
			p.catalog(someone("ada"), someone("bob"), someone("cyd"))
			_, all := p.write()
			record := p.record("Contact", "LastName", "Survivor")
			if err := p.org.Merge(record, all["ada"].GetRecordId(), all["bob"].GetRecordId()); err != nil {
				t.Fatal(err)
			}
			_, all = p.write()
			both(t, p, all, record)
		})
	}
	t.Run("a chain of merges", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t)
		p.use("Contact", externalID)
		p.catalog(someone("ada"), someone("cyd"))
		_, all := p.write()
		last := all["ada"].GetRecordId()
		for range 3 {
			next := p.record("Contact", "LastName", "Next")
			if err := p.org.Merge(next, last); err != nil {
				t.Fatal(err)
			}
			last = next
		}
		_, all = p.write()
		p.expect(all, map[string]string{"ada": "updated", "cyd": "unchanged"})
		if all["ada"].GetRecordId() != last {
			t.Errorf("ada ended %v, the last survivor is %s", all["ada"], last)
		}
	})
}

func contains(s string, parts ...string) bool {
	for _, part := range parts {
		if !slices.Contains(words(s), part) {
			return false
		}
	}
	return true
}
