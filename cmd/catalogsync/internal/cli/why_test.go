package cli_test

import (
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/simulator"
)

type whyAnswer struct {
	PersonID string `json:"person_id"`
	Summary  string
	Record   map[string]string
	History  []struct {
		RunID   string `json:"run_id"`
		Outcome struct{ Kind, Code, Message string }
	}
	Next struct {
		Change *struct {
			Action string
			Fields []struct{ Field, Before, After string }
		}
		Outcome *struct{ Kind, Code string }
	}
	NextProblem string `json:"next_problem"`
}

// An admin asks about single people: before any run, after it, when something would change, and when somebody is
// unknown. No question leaves a run behind.
func TestWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 50, Seed: 1}))
	w.link(t)
	ask := func(args ...string) whyAnswer {
		t.Helper()
		answers := lines[whyAnswer](t, w.ok(t, append([]string{"why", "--json"}, args...)...))
		if len(answers) != 1 {
			t.Fatalf("%d answers", len(answers))
		}
		return answers[0]
	}
	before := ask("P0000001")
	if before.Next.Change == nil || before.Next.Change.Action != "create" || len(before.History) != 0 {
		t.Errorf("before any run: %+v", before)
	}
	contains(t, before.Summary, "Not in Salesforce", "would create a record")

	w.ok(t, "run")
	start := time.Now()
	after := ask("P0000001")
	t.Logf("answered in %v", time.Since(start))
	if after.Next.Outcome == nil || after.Next.Outcome.Kind != "unchanged" || len(after.History) != 1 || after.History[0].Outcome.Kind != "created" {
		t.Errorf("after a run: %+v", after)
	}
	contains(t, after.Summary, "In Salesforce as 003", "Latest outcome: created", "unchanged")
	email := after.Record["Email"]
	if same := ask(email); same.PersonID != "P0000001" {
		t.Errorf("by e-mail %s: %s", email, same.PersonID)
	}
	if same := ask(after.Record["Id"]); same.PersonID != "P0000001" {
		t.Errorf("by record: %s", same.PersonID)
	}

	if err := w.org.Update(after.Record["Id"], map[string]string{"LastName": "Changed-By-Hand"}); err != nil {
		t.Fatal(err)
	}
	changed := ask("P0000001")
	if c := changed.Next.Change; c == nil || len(c.Fields) != 1 || c.Fields[0].Field != "LastName" || c.Fields[0].Before != "Changed-By-Hand" {
		t.Errorf("after a change in Salesforce: %+v", changed.Next)
	}
	contains(t, w.ok(t, "why", "P0000001"), "In the Catalog", "In Salesforce", "Changed-By-Hand", "The next run", "created")
	if off := ask("P0000001", "--offline"); off.Next.Change != nil || off.NextProblem != "" || len(off.History) != 1 {
		t.Errorf("offline: %+v", off)
	}

	w.fails(t, 1, []string{"Nobody in the Catalog", "nobody@example.com"}, "why", "nobody@example.com")
	w.fails(t, 2, []string{"argument is missing"}, "why")
	if runs := lines[run](t, w.ok(t, "runs", "list", "--json")); len(runs) != 1 {
		t.Errorf("%d runs are listed after one run and some questions", len(runs))
	}
}
