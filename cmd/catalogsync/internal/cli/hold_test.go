package cli_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
)

// heldRun is a run as JSON, with why it is held.
type heldRun struct {
	run
	Hold struct {
		Guard    string
		PlanHash string `json:"plan_hash"`
		Decision string
		Note     string
		By       string `json:"decided_by"`
	}
}

// A run would change too much: it is held, its plan can be looked at, and it goes on when somebody approves that plan. What
// was changed in Salesforce meanwhile is planned anew, and nobody becomes a second record.
func TestHoldAndApprove(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 60, Seed: 1}))
	w.link(t)
	w.ok(t, "run")
	w.ok(t, "map", "set", w.file(t, "guarded.yaml", mapFile+"guards:\n  updates: 25\n"))
	w.org.SetClockOffset(time.Hour) // stamps of records are full seconds
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 62, Seed: 1, Changed: 0.5, ChangeSeed: 2}), "--mode", "full")

	plan := w.ok(t, "plan")
	contains(t, plan, "A run would be held:", "and at most 25 go without being asked", "Nothing was changed in the org.")
	before := w.org.EffectCount()
	r := w.fails(t, 7, []string{"is held", "`catalogsync approve", "`catalogsync reject"}, "run")
	contains(t, r.out, "state         held", "Held:", "It waits for a decision until", "Nothing was written so far")
	held := lines[heldRun](t, w.ok(t, "runs", "show", "--json"))[0]
	if held.State != "held" || held.Hold.Guard != "updates" || held.Plan.Creates != 2 || w.org.EffectCount() != before {
		t.Fatalf("the run is %+v, with %d effects", held, w.org.EffectCount()-before)
	}

	// Meanwhile somebody works in the org.
	planned := make(map[string]plannedChange)
	creates := make(map[string]string) // person -> e-mail
	for _, c := range w.changes(t) {
		planned[c.Person] = c
		if c.Action == "create" {
			for _, f := range c.Fields {
				if f.Field == "Email" {
					creates[c.Person] = f.After
				}
			}
		}
	}
	var updates []plannedChange
	for _, id := range slices.Sorted(maps.Keys(planned)) {
		if planned[id].Action == "update" {
			updates = append(updates, planned[id])
		}
	}
	already, other, gone := updates[0], updates[1], updates[2]
	title := func(c plannedChange) string {
		for _, f := range c.Fields {
			if f.Field == "Title" {
				return f.After
			}
		}
		return ""
	}
	w.org.SetClockOffset(2 * time.Hour)
	done := make(map[string]string)
	for _, f := range already.Fields {
		done[f.Field] = f.After
	}
	for id, fields := range map[string]map[string]string{
		already.Record: done, other.Record: {"Title": "Chosen by hand", "Department": "Chosen by hand"},
	} {
		if err := w.org.Update(id, fields); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.org.Delete(gone.Record); err != nil {
		t.Fatal(err)
	}
	twin := slices.Sorted(maps.Keys(creates))[0]
	twinRecord, err := w.org.Create("Contact", map[string]string{"LastName": "Made by hand", "Email": creates[twin]})
	if err != nil {
		t.Fatal(err)
	}

	w.fails(t, 2, []string{"nobody to ask"}, "approve", held.ID)
	w.fails(t, 1, []string{"Look at the run's plan"}, "approve", held.ID, "--yes", "--plan", "0000000000000000")
	w.fails(t, 2, []string{"give --yes"}, "approve", held.ID, "--json")
	r = w.call(t, "approve", held.ID, "--yes", "-m", "checked with the registrar", "--plan", held.Hold.PlanHash)
	if r.code != 3 { // one record is gone: its person fails, all others are in step
		t.Errorf("the approved run ends with %d: %s", r.code, r.errOut)
	}
	contains(t, r.out, "~ update in place", "Held:", "Approved by test at", "checked with the registrar")
	outcomes := make(map[string]string)
	for _, o := range lines[struct {
		Person string `json:"person_id"`
		Kind   string
		Record string `json:"record_id"`
	}](t, w.ok(t, "runs", "outcomes", held.ID, "--json", "--limit", "0")) {
		if outcomes[o.Person] != "" {
			t.Errorf("%s ended twice", o.Person)
		}
		outcomes[o.Person] = o.Kind + " " + o.Record
	}
	for person, want := range map[string]string{
		already.Person: "unchanged " + already.Record, other.Person: "updated " + other.Record, gone.Person: "failed " + gone.Record,
		twin: "updated " + twinRecord,
	} {
		if outcomes[person] != want {
			t.Errorf("%s ended %q, want %q", person, outcomes[person], want)
		}
	}
	if len(outcomes) != 62 || w.org.Count("Contact") != 61 {
		t.Errorf("%d people ended, the org holds %d contacts", len(outcomes), w.org.Count("Contact"))
	}
	if rec, _ := w.org.Record(other.Record); rec.Fields["Title"] != title(other) || rec.Fields["Department"] == "Chosen by hand" {
		t.Errorf("the record that was changed by hand is %v", rec.Fields)
	}
	w.fails(t, 1, []string{"not held any more", "approved by test"}, "reject", held.ID, "-m", "too late")
}

// plannedChange is a change as JSON.
type plannedChange struct {
	Person string `json:"person_id"`
	Action string
	Record string `json:"record_id"`
	Fields []struct{ Field, After string }
}

// changes are those that a run would plan now.
func (w *world) changes(t *testing.T) (all []plannedChange) {
	t.Helper()
	for _, l := range lines[struct{ Change *plannedChange }](t, w.ok(t, "plan", "--json")) {
		if l.Change != nil {
			all = append(all, *l.Change)
		}
	}
	return all
}

// A held run ends when somebody rejects it, and a newer one takes the place of one that waits.
func TestRejectAndSupersede(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 30, Seed: 1}))
	w.link(t)
	w.ok(t, "map", "set", w.file(t, "guarded.yaml", mapFile+"guards:\n  approve_every_run: true\n"))
	w.fails(t, 7, []string{"Every run waits to be approved"}, "run")
	first := lines[heldRun](t, w.ok(t, "runs", "show", "--json"))[0]
	w.fails(t, 7, nil, "run")
	second := lines[heldRun](t, w.ok(t, "runs", "show", "--json"))[0]
	old := lines[heldRun](t, w.ok(t, "runs", "show", first.ID, "--json"))[0]
	if second.ID == first.ID || old.State != "cancelled" || old.Hold.Decision != "superseded" {
		t.Errorf("the older run is %+v", old)
	}
	w.fails(t, 2, []string{"say why"}, "reject", second.ID)
	contains(t, w.ok(t, "reject", second.ID, "-m", "the file is an old one"), "was rejected; nothing was written")
	w.fails(t, 5, []string{"rejected by test: the file is an old one"}, "runs", "watch", second.ID)
	contains(t, w.ok(t, "runs", "outcomes", second.ID, "--kind", "deferred"), "rejected")
	if n := w.org.Count("Contact"); n != 0 {
		t.Errorf("the org holds %d contacts", n)
	}
	w.fails(t, 1, []string{"is not held"}, "approve", "--yes", second.ID)
}

// Nobody in the Catalog, or far fewer than before, is a mistake until somebody says that it is not.
func TestSourceGuards(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.link(t)
	w.fails(t, 7, []string{"nobody in the Catalog"}, "run")
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 50, Seed: 1}))
	w.ok(t, "run")
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 10, Seed: 1}), "--mode", "full")
	w.fails(t, 7, []string{"10 people, and held 50", "seems to be incomplete"}, "run")
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 50, Seed: 1}), "--mode", "full")
	w.ok(t, "run")
}

// A mapped field is taken away in Salesforce: its pair alone stops, and the run says so. When it is the field by which
// people are matched, nothing can go on.
func TestDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 30, Seed: 1}))
	w.link(t)
	w.ok(t, "run")
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 30, Seed: 1, Changed: 0.5, ChangeSeed: 2}), "--mode", "full")
	if err := w.org.RemoveField("Contact", "Department"); err != nil {
		t.Fatal(err)
	}
	contains(t, w.ok(t, "plan"), "note", "Department", "15 to change")
	r := w.call(t, "run")
	contains(t, r.out, "succeeded", "note", "Department")
	if ran := lines[run](t, w.ok(t, "runs", "show", "--json"))[0]; r.code != 0 || ran.Counts.Updated != 15 || ran.Counts.Verified != 15 {
		t.Errorf("without one field the run ends with %d: %+v", r.code, ran)
	}
	if err := w.org.RemoveField("Contact", "CatalogUserId__c"); err != nil {
		t.Fatal(err)
	}
	before := w.org.EffectCount()
	w.fails(t, 6, []string{"CatalogUserId__c"}, "run")
	if w.org.EffectCount() != before {
		t.Error("a run whose match key is gone wrote something")
	}
}

// Others have used the org's API calls up: the plan says so, the run waits and says for what, and it can be cancelled. None
// of its people is lost.
func TestRunWaitsForTheAllocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{DailyLimit: 1000})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 30, Seed: 1}))
	w.link(t)
	contains(t, w.ok(t, "plan"), "Forecast: 2 API calls", "Of our share of 200,")
	w.org.SetAPIUsed(900)
	id := lines[run](t, w.ok(t, "run", "--watch=false", "--json"))[0].ID
	testkit.Eventually(t, time.Minute, func() error {
		if out := w.ok(t, "runs", "show", id); !strings.Contains(out, "so that others can still work") {
			return errors.New("the run does not say that it waits for API calls")
		}
		return nil
	})
	if w.org.Count("Contact") != 0 {
		t.Error("it wrote all the same")
	}
	w.ok(t, "runs", "cancel", id)
	w.fails(t, 5, []string{"was cancelled"}, "runs", "watch", id)
	w.org.SetAPIUsed(0)
}
