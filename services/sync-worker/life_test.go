package syncworker_test

import (
	"flag"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// Whatever happens to records and people between runs: no record is ever two people's, who is refused for that is told of
// the other, nobody gets a second record, and a second run right after plans nothing.
func TestNobodySharesARecordWhateverHappens(t *testing.T) {
	_ = flag.Set("rapid.checks", "6")
	for _, external := range []string{"", externalID} {
		p := newPipeline(t)
		rapid.Check(t, func(rt *rapid.T) {
			p.t = t
			for r := range p.org.Records("Contact") {
				if !r.Deleted {
					_ = p.org.Delete(r.ID)
				}
			}
			prefix := rapid.StringMatching(`[a-z]{8}`).Draw(rt, "prefix")
			p.use("Contact", external, identity(&mapperv1.Identity{
				SeveralMatches: mapperv1.SeveralMatches(rapid.IntRange(0, 3).Draw(rt, "several")), Deleted: mapperv1.Deleted(rapid.IntRange(0, 3).Draw(rt, "deleted")),
				Leavers: mapperv1.Leavers_LEAVERS_FLAG, LeaversField: "Description", LeaversValue: "left",
			}))
			n := rapid.IntRange(3, 12).Draw(rt, "people")
			emails := make([]int, n) // people may come to share an e-mail
			here := make([]bool, n)
			for i := range n {
				emails[i], here[i] = i, true
			}
			for round := range 4 {
				var people []map[string]any
				for i := range n {
					if here[i] {
						people = append(people, someone(fmt.Sprintf("%s%d", prefix, i), "email", fmt.Sprintf("%s%d@example.com", prefix, emails[i]), "title", fmt.Sprint("Title ", round/2)))
					}
				}
				p.catalog(people...)
				run, all := p.write()
				checkShared(rt, all)
				second := p.start(&syncv1.StartRunRequest{PlanOnly: true})
				if pl := second.GetPlan(); pl.GetCreates()+pl.GetUpdates()+pl.GetDeactivations() != 0 {
					rt.Errorf("round %d: after run %s, in which people ended %v, the plan is %v: %v", round, run.GetId(), all, pl, p.changes(second))
				}
				var alive []string
				for r := range p.org.Records("Contact") {
					if !r.Deleted {
						alive = append(alive, r.ID)
					}
				}
				slices.Sort(alive)
				for range rapid.IntRange(0, 4).Draw(rt, "events") {
					if len(alive) < 2 {
						break
					}
					a := rapid.IntRange(0, len(alive)-1).Draw(rt, "record")
					i := rapid.IntRange(0, n-1).Draw(rt, "person")
					var err error
					switch rapid.IntRange(0, 6).Draw(rt, "event") {
					case 0:
						b := (a + 1) % len(alive)
						err = p.org.Merge(alive[b], alive[a])
						alive = slices.Delete(alive, a, a+1)
					case 1:
						err = p.org.Delete(alive[a])
						alive = slices.Delete(alive, a, a+1)
					case 2:
						err = p.org.Update(alive[a], map[string]string{"Email": fmt.Sprintf("%s%d@example.com", prefix, i)})
					case 3:
						err = p.org.Update(alive[a], map[string]string{externalID: ""})
					case 4:
						emails[i] = rapid.IntRange(0, n+2).Draw(rt, "e-mail")
					case 5:
						here[i] = !here[i]
					case 6:
						p.record("Contact", "LastName", "Stranger", "Email", fmt.Sprintf("%s%d@example.com", prefix, i))
					}
					if err != nil {
						rt.Fatal(err)
					}
				}
			}
		})
	}
}

func checkShared(t *rapid.T, all map[string]*syncv1.Outcome) {
	owner := make(map[string]string)
	for person, o := range all {
		switch o.GetKind() {
		case syncv1.OutcomeKind_OUTCOME_KIND_CREATED, syncv1.OutcomeKind_OUTCOME_KIND_UPDATED, syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED:
			if other := owner[o.GetRecordId()]; other != "" || o.GetRecordId() == "" {
				t.Errorf("record %q is %s's and %s's", o.GetRecordId(), person, other)
			}
			owner[o.GetRecordId()] = person
		case syncv1.OutcomeKind_OUTCOME_KIND_FAILED:
			t.Errorf("%s ended %v", person, o)
		}
		if o.GetCode() == "claimed_by_several" || o.GetCode() == "duplicate_match_key" {
			named := 0
			for other := range all {
				if contains(o.GetMessage(), other) {
					named++
				}
			}
			if named < 2 || !contains(o.GetMessage(), person) && !contains(o.GetMessage(), "more") { // five are named at the most
				t.Errorf("%s is told %q", person, o.GetMessage())
			}
		}
	}
}

// Many converted Leads and many leavers go through Bulk jobs.
func TestManyContactsAndLeavers(t *testing.T) {
	t.Parallel()
	const n = 2100
	t.Run("contacts of leads", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t)
		p.use("Lead", externalID, identity(&mapperv1.Identity{Converted: mapperv1.Converted_CONVERTED_UPDATE_CONTACT}))
		p.catalog(crowd(n)...)
		_, all := p.write()
		for _, o := range all {
			if _, err := p.org.ConvertLead(o.GetRecordId()); err != nil {
				t.Fatal(err)
			}
		}
		p.fieldMap.Pairs[3] = &mapperv1.Pair{Constant: "Countess", Target: "Title"}
		run, _ := p.write()
		if c := run.GetCounts(); c.GetUpdated() != n || c.GetVerified() != n || len(run.GetBulkJobIds()) == 0 {
			t.Errorf("counts %v, jobs %v", c, run.GetBulkJobIds())
		}
		run, _ = p.write()
		if c := run.GetCounts(); c.GetUnchanged() != n {
			t.Errorf("the second run: %v", c)
		}
	})
	t.Run("leavers", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t)
		p.use("Contact", externalID, identity(&mapperv1.Identity{Leavers: mapperv1.Leavers_LEAVERS_FLAG, LeaversField: "Description", LeaversValue: "left"}))
		people := crowd(n + 50)
		p.catalog(people...)
		p.write()
		p.catalog(people[:50]...)
		run, _ := p.write()
		if c := run.GetCounts(); c.GetLeaversFlagged() != n || c.GetUnchanged() != 50 {
			t.Errorf("counts %v", c)
		}
	})
}
