package syncworker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// account looks Accounts up by a field, with what the person's organization holds.
func account(field string, create bool) func(*mapperv1.FieldMap) {
	return func(m *mapperv1.FieldMap) {
		m.Pairs = append(m.Pairs, &mapperv1.Pair{Source: "organization", Target: "AccountId", Lookup: &mapperv1.Lookup{Object: "Account", Field: field, CreateIfMissing: create}})
	}
}

// References are found by key, however it is spelled; a second run plans nothing and asks for none of them again.
func TestReferencesAreFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ field, inOrg, inCatalog string }{
		"by name":        {"Name", "Acme & Söhne 'GmbH'", " ACME &  söhne 'gmbh' "},
		"by domain":      {"Website", "https://www.Acme.example/about?x=1", "acme.example"},
		"by external id": {"Key__c", "A-1", "a-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, func(o *simulator.Options) { o.ExternalIDFields = append(o.ExternalIDFields, "Account.Key__c") })
			p.use("Contact", externalID, account(c.field, false))
			fields := []string{"Name", "Something"}
			if c.field == "Name" {
				fields = nil
			}
			id := p.record("Account", append(fields, c.field, c.inOrg)...)
			other := p.record("Account", "Name", "Other", "Website", "notacme.example")
			p.catalog(someone("ada", "organization", c.inCatalog), someone("bob", "organization", c.inCatalog), someone("cyd", "organization", ""))
			run, all := p.write()
			p.expect(all, map[string]string{"ada": "created", "bob": "created", "cyd": "created"})
			for person, want := range map[string]string{"ada": id, "bob": id, "cyd": ""} {
				if got := p.field(all[person].GetRecordId(), "AccountId"); got != want {
					t.Errorf("%s is at %q, want %q", person, got, want)
				}
			}
			if n := p.org.Counters().APICalls; run.GetApiCalls() > 8 {
				t.Errorf("%d calls, %d in all", run.GetApiCalls(), n)
			}
			run, all = p.write()
			p.expect(all, map[string]string{"ada": "unchanged", "bob": "unchanged", "cyd": "unchanged"})
			second := run.GetApiCalls()
			// Somebody moved one of them: the plan moves them back.
			if err := p.org.Update(all["bob"].GetRecordId(), map[string]string{"AccountId": other}); err != nil {
				t.Fatal(err)
			}
			run, all = p.write()
			p.expect(all, map[string]string{"ada": "unchanged", "bob": "updated", "cyd": "unchanged"})
			if got := p.field(all["bob"].GetRecordId(), "AccountId"); got != id {
				t.Errorf("bob is at %q", got)
			}
			if second >= run.GetApiCalls() {
				t.Errorf("a run that changes nothing took %d calls, one that looks for a reference %d", second, run.GetApiCalls())
			}
		})
	}
}

// What is missing is rejected, left or made, and what is there several times is rejected with its ids.
func TestReferencesThatAreNotPlain(t *testing.T) {
	t.Parallel()
	t.Run("missing and several", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t)
		p.use("Contact", externalID, account("Name", false))
		twins := []string{p.record("Account", "Name", "Twin"), p.record("Account", "Name", "TWIN")}
		p.catalog(someone("ada", "organization", "Nowhere"), someone("bob", "organization", "twin"))
		run, all := p.write()
		p.expect(all, map[string]string{"ada": "rejected reference_not_found", "bob": "rejected reference_several"})
		if got := slices.Sorted(slices.Values(all["bob"].GetOtherRecordIds())); !slices.Equal(got, slices.Sorted(slices.Values(twins))) {
			t.Errorf("bob is told of %v", got)
		}
		if c := run.GetPlan().GetRejectedByCode(); c["reference_not_found"] != 1 || c["reference_several"] != 1 || p.alive("Contact") != 0 {
			t.Errorf("rejected: %v", c)
		}
	})
	t.Run("missing and left", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t)
		p.use("Contact", externalID, account("Name", false), func(m *mapperv1.FieldMap) { m.Pairs[len(m.Pairs)-1].Unlisted = mapperv1.Unlisted_UNLISTED_KEEP })
		p.catalog(someone("ada", "organization", "Nowhere"))
		_, all := p.write()
		p.expect(all, map[string]string{"ada": "created"})
		_, all = p.write()
		p.expect(all, map[string]string{"ada": "unchanged"})
	})
	for name, c := range map[string]struct {
		field  string
		people int
	}{"made by name": {"Name", 3}, "made by website": {"Website", 3}, "made for many": {"Name", 450}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, func(o *simulator.Options) { o.ExternalIDFields = append(o.ExternalIDFields, "Account.Key__c") })
			p.use("Contact", externalID, account(c.field, true))
			var people []map[string]any
			for i := range c.people {
				people = append(people, someone(fmt.Sprint("p", i), "organization", fmt.Sprintf("company%d.example", i/2)))
			}
			p.catalog(people...)
			want := int64((c.people + 1) / 2)
			plan := p.start(&syncv1.StartRunRequest{PlanOnly: true})
			if n := plan.GetPlan().GetLookupCreates()["Account"]; n != want || p.alive("Account") != 0 {
				t.Errorf("the plan would make %d accounts, want %d; the org has %d; notes %v", n, want, p.alive("Account"), plan.GetNotes())
			}
			_, all := p.write()
			if n := p.alive("Account"); int64(n) != want || p.alive("Contact") != c.people {
				t.Fatalf("%d accounts and %d contacts", n, p.alive("Contact"))
			}
			for i := range c.people {
				id := p.field(all[fmt.Sprint("p", i)].GetRecordId(), "AccountId")
				if got := p.field(id, c.field); got != fmt.Sprintf("company%d.example", i/2) {
					t.Errorf("p%d is at %q", i, got)
				}
			}
			run, _ := p.write()
			if n := run.GetCounts(); n.GetUnchanged() != int64(c.people) {
				t.Errorf("the second run: %v", n)
			}
		})
	}
}

// Promise P2 for what lookups make: an answer that is lost leads to no second account.
func TestALostAnswerMakesNoSecondAccount(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]fault.Kind{"applied": fault.ResetAfter, "not applied": fault.ResetBefore} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPipelineWith(t, func(c *config) { c.UnknownWait = 0 })
			p.use("Contact", externalID, account("Name", true))
			p.catalog(someone("ada", "organization", "New"), someone("bob", "organization", "New"))
			p.org.Faults().MustAdd(fault.Rule{Kind: kind, Method: "PATCH", Path: "/composite/sobjects/Account*", Count: 1})
			_, all := p.write()
			p.expect(all, map[string]string{"ada": "created", "bob": "created"})
			if p.alive("Account") != 1 || p.field(all["ada"].GetRecordId(), "AccountId") != p.field(all["bob"].GetRecordId(), "AccountId") {
				t.Errorf("%d accounts", p.alive("Account"))
			}
		})
	}
}

// Who refers to a record that Salesforce would not make is told so, run after run, rather than written in part in silence.
func TestReferencesThatCannotBeMade(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]int{"collections": 0, "bulk": 2000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t)
			if err := p.org.SetValidationRules(simulator.ValidationRule{Object: "Account", Field: "Name", Pattern: "^Refused", Message: "Not that one."}); err != nil {
				t.Fatal(err)
			}
			p.use("Contact", externalID, account("Name", true))
			people := []map[string]any{someone("ada", "organization", "Refused"), someone("bob", "organization", "Refused"), someone("cyd", "organization", "Taken"), someone("dan", "organization", "Taken")}
			for i := range more {
				people = append(people, someone(fmt.Sprint("p", i), "organization", "Taken"))
			}
			p.catalog(people...)
			for _, others := range []string{"created", "unchanged"} {
				run, all := p.write()
				p.expect(all, map[string]string{"ada": "failed reference_not_made", "bob": "failed reference_not_made", "cyd": others, "dan": others})
				if m := all["ada"].GetMessage(); !strings.Contains(m, "Not that one.") || !slices.Contains(all["ada"].GetFields(), "AccountId") {
					t.Errorf("ada is told %q", m)
				}
				if run.GetState() != syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES || p.alive("Contact") != 2+more || p.alive("Account") != 1 {
					t.Errorf("the run ended %s; %d contacts, %d accounts", run.GetState(), p.alive("Contact"), p.alive("Account"))
				}
			}
		})
	}
}
