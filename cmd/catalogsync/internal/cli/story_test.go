package cli_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/simulator"
)

// lines decodes lines of JSON.
func lines[T any](t *testing.T, text string) (all []T) {
	t.Helper()
	for line := range strings.Lines(text) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q is no line of JSON: %v", line, err)
		}
		all = append(all, v)
	}
	return all
}

type run struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Trigger string `json:"trigger"`
	Counts  struct {
		People, Created, Updated, Unchanged, Rejected, Failed, Verified int64
	} `json:"counts"`
	Plan struct{ Creates, Updates, Unchanged, Rejected int64 } `json:"plan"`
}

// What a newcomer does, from the first token to a second run that changes what has changed.
func TestFromTokenToRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	contains(t, w.ok(t, "status"), "not linked", "catalogsync link", "catalogsync people import")
	contains(t, w.call(t, "runs", "list").errOut, "no runs yet")
	w.fails(t, 1, []string{"no runs yet"}, "runs", "show")

	contains(t, w.ok(t, "people", "import", w.people(t, sample.Options{People: 300, Seed: 1})), "300 lines: 300 new, 0 changed, 0 unchanged.")
	contains(t, w.ok(t, "people", "list", "--prefix", "P000001", "--subaccount", "North Campus"), "P000001", "North Campus")
	r := w.call(t, "people", "list", "--limit", "2")
	contains(t, r.out, "P0000001", "P0000002")
	contains(t, r.errOut, "--limit 0 shows all")
	if all := lines[struct{ ID string }](t, w.ok(t, "people", "list", "--limit", "0", "--json")); len(all) != 300 {
		t.Errorf("%d people are listed, want 300", len(all))
	}
	contains(t, w.ok(t, "people", "show", "P0000001"), "No run has dealt with this person yet.")

	w.link(t)
	contains(t, w.ok(t, "test"), "The connection works", w.org.OrgID())
	contains(t, w.ok(t, "map", "show"), "matched by CatalogUserId__c", "->  Title", "Member")
	if got := w.ok(t, "map", "show", "--yaml"); got != mapFile {
		t.Errorf("the field map comes back as another: %s", cmp.Diff(mapFile, got))
	}

	plan := w.ok(t, "plan", "--limit", "1")
	contains(t, plan, "+ create", `CatalogUserId__c = "P0`, "299 more changes", "Plan: 300 to create, 0 to change, 0 unchanged.", "Forecast:", "Nothing was changed in the org.")
	if n := w.org.Count("Contact"); n != 0 {
		t.Fatalf("a plan made %d records", n)
	}
	if strings.Contains(plan, "adopted") {
		t.Errorf("the plan for an empty org adopts records:\n%s", plan)
	}
	type planLine struct {
		Change   *struct{ Action string } `json:"change"`
		Rejected *struct{}                `json:"rejected"`
		Run      *run                     `json:"run"`
	}
	planned := lines[planLine](t, w.ok(t, "plan", "--json"))
	if n := len(planned); n != 301 || planned[0].Change.Action != "create" || planned[300].Run.Plan.Creates != 300 {
		t.Errorf("the plan has %d lines of JSON, want 300 changes and the run", n)
	}

	r = w.call(t, "run")
	contains(t, r.out, "succeeded", "created", "read back, equal")
	contains(t, r.errOut, "snapshot  300 people in the Catalog", "apply     300 changes sent to Salesforce", "verify    300 records read back")
	if n := w.org.Count("Contact"); r.code != 0 || n != 300 {
		t.Errorf("the run ended with %d, and the org holds %d contacts", r.code, n)
	}
	contains(t, w.ok(t, "people", "show", "P0000001"), "Latest outcome: created", "003")

	contains(t, w.ok(t, "people", "import", w.people(t, sample.Options{People: 300, Seed: 1, Changed: 0.02, ChangeSeed: 2}), "--mode", "full"), "6 changed")
	contains(t, w.ok(t, "plan"), "~ update in place", " -> ", "Changes by field: Title 6", "Plan: 0 to create, 6 to change, 294 unchanged.")
	ran := lines[run](t, w.ok(t, "run", "--json"))
	if len(ran) != 1 || ran[0].State != "succeeded" || ran[0].Counts.Updated != 6 || ran[0].Counts.Verified != 6 || ran[0].Trigger != "manual" {
		t.Errorf("the second run is %+v", ran)
	}
	again := lines[run](t, w.ok(t, "run", "--json", "--request-id", "r1"))
	if same := lines[run](t, w.ok(t, "run", "--json", "--request-id", "r1")); same[0].ID != again[0].ID {
		t.Errorf("the same request made the runs %s and %s", again[0].ID, same[0].ID)
	}

	runs := lines[run](t, w.ok(t, "runs", "list", "--json"))
	if len(runs) != 6 || runs[0].ID != again[0].ID {
		t.Errorf("%d runs are listed, the first is %s", len(runs), runs[0].ID)
	}
	contains(t, w.ok(t, "runs", "list"), "planned", "succeeded", ran[0].ID)
	contains(t, w.ok(t, "runs", "show"), again[0].ID)
	contains(t, w.ok(t, "runs", "show", ran[0].ID), ran[0].ID, "updated")
	contains(t, w.ok(t, "runs", "watch", ran[0].ID), "updated")
	if seen := lines[run](t, w.ok(t, "runs", "watch", ran[0].ID, "--json")); len(seen) != 1 {
		t.Errorf("a run that has ended is seen %d times", len(seen))
	}
	contains(t, w.ok(t, "runs", "cancel", ran[0].ID), "had ended already")
	if updated := lines[struct{ Kind string }](t, w.ok(t, "runs", "outcomes", ran[0].ID, "--kind", "updated", "--json", "--limit", "0")); len(updated) != 6 || updated[0].Kind != "updated" {
		t.Errorf("%d people are listed as updated", len(updated))
	}
	if got := w.call(t, "runs", "outcomes", ran[0].ID, "--kind", "problems,failed"); got.out != "" || !strings.Contains(got.errOut, "no such people") {
		t.Errorf("problems are listed: %+v", got)
	}
	contains(t, w.ok(t, "status"), "linked", "300 (North Campus", "matched by CatalogUserId__c", "daily at 00:00 UTC", again[0].ID)
	if status := lines[struct{ State string }](t, w.ok(t, "status", "--json")); status[0].State != "linked" {
		t.Errorf("the status is %+v", status)
	}
}

// The example of the help is a field map that can be saved, with each way to give it.
func TestMapSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 1}))
	w.link(t)
	help := w.ok(t, "map", "set", "--help")
	example := strings.ReplaceAll(regexp.MustCompile(`(?s)  object: Contact.*?Cohort__c: attributes.cohort\n`).FindString(help), "Cohort__c", "Description")
	var file strings.Builder
	for line := range strings.Lines(example) {
		file.WriteString(strings.TrimPrefix(line, "  "))
	}
	contains(t, w.ok(t, "map", "set", "--check", w.file(t, "help.yaml", file.String())), "attributes.cohort", "added: mandatory")
	contains(t, w.call(t, "map", "set", "--check", w.file(t, "help.yaml", file.String())).errOut, "Nothing was saved")
	contains(t, w.ok(t, "map", "show"), "version 1")

	saved := w.ok(t, "map", "set", "--object", "Contact", "--pair", "title=Title", "--default", "Title=Member = all")
	contains(t, saved, "version 2", "matched by e-mail", "Member = all", "added: mandatory")
	contains(t, w.ok(t, "map", "show", "--version", "1", "--yaml"), "external_id: CatalogUserId__c")

	r := call(t.Context(), w.environ, strings.NewReader(mapFile), "map", "set", "-")
	if r.code != 0 {
		t.Errorf("from standard input: %+v", r)
	}
	w.fails(t, 2, []string{"title -> Nope", "CreatedDate is read-only"}, "map", "set", "--object", "Contact", "--pair", "title=Nope", "--pair", "first_name=CreatedDate")
	w.fails(t, 2, []string{"list.yaml: line 2: object must be a text"}, "map", "set", w.file(t, "list.yaml", "object:\n  - Contact\n"))
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.fails(t, 1, []string{"link"}, "schedule", "show")
	w.link(t)
	contains(t, w.ok(t, "schedule", "show"), "daily at 00:00 UTC")
	contains(t, w.ok(t, "schedule", "set", "--time", "02:30", "--zone", "Europe/Berlin"), "daily at 02:30 Europe/Berlin, next ")
	contains(t, w.ok(t, "schedule", "set", "--off"), "off")
	contains(t, w.ok(t, "schedule", "set", "--on"), "daily at 02:30 Europe/Berlin")
	contains(t, w.ok(t, "schedule", "set", "--time", "03:15"), "daily at 03:15 Europe/Berlin")
	w.fails(t, 2, []string{"25:00"}, "schedule", "set", "--time", "25:00")
	w.fails(t, 2, []string{"Mars/Base"}, "schedule", "set", "--zone", "Mars/Base")
	w.fails(t, 2, []string{"--off goes with no other flag"}, "schedule", "set", "--off", "--on")
	w.fails(t, 2, []string{"nothing is to be set"}, "schedule", "set")
}

func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	r := w.call(t, "token", "create", "dashboard", "--role", "viewer", "--expires", "24h")
	contains(t, r.errOut, "viewer of tenant acme", "cannot be shown again")
	if strings.Count(r.out, "\n") != 1 || strings.Contains(r.errOut, strings.TrimSpace(r.out)) {
		t.Errorf("the secret does not stand alone on standard output: %+v", r)
	}
	viewer := w.file(t, "viewer", r.out)
	w.ok(t, "status", "--token-file", viewer)
	w.fails(t, 1, []string{"may not do this", "admin"}, "run", "--token-file", viewer)

	type token struct{ ID, Name, Role string }
	tokens := lines[token](t, w.ok(t, "token", "list", "--json"))
	if len(tokens) != 2 || tokens[1].Name != "dashboard" || tokens[1].Role != "viewer" {
		t.Fatalf("the tokens are %+v", tokens)
	}
	contains(t, w.ok(t, "token", "list"), "dashboard", "never")
	w.ok(t, "token", "revoke", tokens[1].ID)
	w.fails(t, 1, []string{"does not accept the API token", "catalogsync token create"}, "status", "--token-file", viewer)

	w.fails(t, 2, []string{"--tenant is missing"}, "token", "create", "x", "--data", w.dir)
	w.fails(t, 2, []string{"is --data the data directory"}, "token", "create", "x", "--tenant", "acme", "--data", w.files)
	w.fails(t, 2, []string{"--role", "boss"}, "token", "create", "x", "--role", "boss")
	w.fails(t, 1, []string{"--server names another"}, "token", "create", "x", "--tenant", "acme", "--data", w.dir, "--server", "catalog.example.com:443")
	var created struct {
		Secret string
		Token  token
	}
	if err := json.Unmarshal([]byte(w.ok(t, "token", "create", "ci", "--json")), &created); err != nil || created.Secret == "" || created.Token.Role != "admin" {
		t.Errorf("the token as JSON is %+v, %v", created, err)
	}
}

// The consumer secret comes from a file, from the environment or from one that this names, and is never shown.
func TestLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{ClientSecret: "s3cret-of-the-app"})
	args := []string{"link", "--host", w.org.URL, "--client-id", w.org.ClientID()}
	w.fails(t, 2, []string{"no consumer secret"}, args...)
	w.fails(t, 2, []string{"--host and --client-id"}, "link")
	w.fails(t, 2, []string{"is empty"}, append(args, "--client-secret-file", w.file(t, "empty", "\n"))...)
	w.fails(t, 1, []string{"invalid_client"}, append(args, "--client-secret-file", w.file(t, "wrong", "wrong"))...)
	w.fails(t, 2, []string{"my.salesforce.com"}, "link", "--host", "http://127.0.0.1:1", "--client-id", "x", "--client-secret-file", w.file(t, "x", "x"))

	r := call(t.Context(), append(w.environ, "CATALOGSYNC_CLIENT_SECRET=s3cret-of-the-app"), nil, args...)
	contains(t, r.out, "linked", "client credentials")
	r = call(t.Context(), append(w.environ, "CATALOGSYNC_CLIENT_SECRET_FILE="+w.file(t, "right", "s3cret-of-the-app")), nil, args...)
	contains(t, r.out, "linked")
	r = call(t.Context(), append(w.environ, "CATALOGSYNC_CLIENT_SECRET=a", "CATALOGSYNC_CLIENT_SECRET_FILE=b"), nil, args...)
	if r.code != 2 {
		t.Errorf("two secrets: %+v", r)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	bad := w.file(t, "bad.csv", "id,email,last_name\n1,ann@example.com,Archer\n1,bob@example.com,Baker\n,carl@example.com,Cook\n4,dora@example.com,Dean\n")
	r := w.fails(t, 3, []string{"line 3, column id: ", "line 4, column id: ", "2 lines were not taken"}, "people", "import", bad)
	contains(t, r.out, "4 lines: 2 new", "2 not taken")
	r = w.call(t, "people", "import", bad, "--json")
	sums := lines[struct{ Lines, Added, Unchanged, Rejected int64 }](t, r.out)
	if len(sums) != 1 || sums[0].Unchanged != 2 || sums[0].Rejected != 2 || r.code != 3 {
		t.Errorf("the summary is %+v, the exit code %d", sums, r.code)
	}
	r = call(t.Context(), w.environ, strings.NewReader(`{"id":"9","email":"eve@example.com"}`+"\n"), "people", "import", "-", "--format", "ndjson")
	contains(t, r.out, "1 line: 1 new")
	r = call(t.Context(), w.environ, strings.NewReader(`{"id":"9","email":"eve@example.com"}`+"\n"), "people", "import", "-", "--name", "x.ndjson", "--mode", "full")
	contains(t, r.out, "2 marked gone")
	contains(t, w.ok(t, "people", "list", "--gone"), "gone")

	w.fails(t, 2, []string{"no such file"}, "people", "import", w.files+"/nope.csv")
	w.fails(t, 2, []string{"is a directory"}, "people", "import", w.files)
	w.fails(t, 2, []string{`--mode is "all"`, "delta full"}, "people", "import", bad, "--mode", "all")
	w.fails(t, 2, []string{"--format"}, "people", "import", bad, "--format", "xls")
	w.fails(t, 2, []string{"--compression"}, "people", "import", bad, "--compression", "rar")
	w.fails(t, 2, []string{"noid.csv"}, "people", "import", w.file(t, "noid.csv", "email\nann@example.com\n"))
}

// Each reader of a list gets all of it, however many pages it takes.
func TestLongLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 2300}))
	for limit, want := range map[int]int{0: 2300, 1: 1, 1000: 1000, 1001: 1001, 2300: 2300, 5000: 2300} {
		if got := strings.Count(w.ok(t, "people", "list", "--json", "--limit", fmt.Sprint(limit)), "\n"); got != want {
			t.Errorf("--limit %d lists %d", limit, got)
		}
	}
	w.fails(t, 2, []string{"--limit is -1"}, "people", "list", "--limit", "-1")
}
