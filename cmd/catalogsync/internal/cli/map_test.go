package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/simulator"
)

// ruled is a field map with a rule, an expression, a table, an override, policies and guards.
const ruled = `object: Contact
external_id: CatalogUserId__c
fields:
  CatalogUserId__c: id
  FirstName: first_name
  LastName: last_name
  Email: email
  Title: {expression: upper(person.title)}
  LeadSource: {constant: Other}
  Department:
    from: department
    write: if_blank
    on_blank: leave
rules:
  - skip: not the first
    when: {id: {equals: P0000001}}
overrides:
  North Campus:
    fields:
      LeadSource: {constant: Web}
identity:
  several_matches: oldest
guards:
  creates: 80%
`

// A field map is suggested, looked over, tried, checked, saved, changed, compared and gone back to.
func TestFieldMapLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 40, Seed: 3}))
	secret := w.file(t, "secret", w.org.ClientSecret()+"\n")
	w.ok(t, "link", "--host", w.org.URL, "--client-id", w.org.ClientID(), "--client-secret-file", secret)
	contains(t, w.fails(t, 1, []string{"no field map"}, "map", "show").errOut, "save one first")

	// From nothing to a file that can be saved.
	file := filepath.Join(w.files, "new.yaml")
	r := w.call(t, "map", "suggest", "--write", file)
	contains(t, r.out, "SURE", "CatalogUserId__c", "MailingPostalCode", "it has the same name")
	contains(t, r.errOut, "fields were written to", "map check")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, string(b), "object: Contact\nexternal_id: CatalogUserId__c\nfields:\n", "  MobilePhone: mobile_phone  # 0.9")
	contains(t, w.call(t, "map", "suggest", "--write", file).errOut, "has all of them already")
	contains(t, w.call(t, "map", "check", file).errOut, "The org takes this field map. Nothing was saved.")
	w.fails(t, 2, []string{"is a field map for Contact"}, "map", "suggest", "Lead", "--write", file)
	w.ok(t, "map", "set", file, "-m", "as suggested")

	// A file with everything is tried before it is saved.
	all := w.file(t, "ruled.yaml", ruled)
	tried := w.ok(t, "map", "try", all)
	contains(t, tried, "P0000001  skipped: not the first", "P0000002  written", "20 people: 19 written, 1 skipped, 0 rejected.")
	contains(t, w.ok(t, "map", "try", all, "--person", "P0000040"), "1 person: 1 written")
	w.fails(t, 1, []string{"P9999999"}, "map", "try", all, "--person", "P9999999")
	var one struct {
		Targets []string
		People  []struct {
			SkippedBy string `json:"skipped_by"`
		}
	}
	if err := json.Unmarshal([]byte(w.ok(t, "map", "try", all, "--person", "P0000001", "--json")), &one); err != nil || one.People[0].SkippedBy != "not the first" || !slices.Contains(one.Targets, "LeadSource") {
		t.Errorf("tried: %+v, %v", one, err)
	}
	contains(t, w.ok(t, "map", "check", all), "+  rules.not the first", "-  fields.Title.from", "+  fields.Title.expression", "guards.creates")
	contains(t, w.ok(t, "map", "set", all, "-m", "rules for the north"), "version 2", "rules for the north", `"Other"`, "write: if_blank, on_blank: leave", "several_matches: oldest")
	if got := w.ok(t, "map", "export"); got != ruled {
		t.Errorf("the field map comes back as another: %s", cmp.Diff(ruled, got))
	}
	contains(t, w.call(t, "map", "set", all).errOut, "Nothing was saved: version 2 is the same.")
	contains(t, w.call(t, "map", "check", all).errOut, "It is the same as version 2.")

	// Who has not seen the latest version overwrites nothing.
	w.ok(t, "map", "set", w.file(t, "third.yaml", strings.Replace(ruled, "80%", "90%", 1)), "--expect", "2")
	w.fails(t, 1, []string{"version 3 of the field map is the latest, saved by test"}, "map", "set", w.file(t, "late.yaml", strings.Replace(ruled, "80%", "70%", 1)), "--expect", "2")

	contains(t, w.ok(t, "map", "diff"), "version 2 -> version 3", "~  guards.creates  80%  ->  90%", "1 setting differs.")
	contains(t, w.ok(t, "map", "diff", "v2", "2"), "No setting differs.")
	contains(t, w.ok(t, "map", "diff", "3", "2"), "90%  ->  80%")
	w.fails(t, 2, []string{`"x" is no version`}, "map", "diff", "x")
	w.fails(t, 1, []string{"no version 9"}, "map", "diff", "9")

	contains(t, w.ok(t, "map", "rollback", "1", "-m", "too strict"), "version 4", "back to version 1: too strict")
	contains(t, w.call(t, "map", "rollback", "1").errOut, "Nothing was saved: version 4, the latest, says the same as version 1.")
	w.fails(t, 2, []string{"an argument is missing"}, "map", "rollback")
	history := w.ok(t, "map", "history")
	if !regexp.MustCompile(`(?s)\n +4 .*back to version 1: too strict\n +3 .*\n +2 .*rules for the north\n +1 .*as suggested\n`).MatchString(history) {
		t.Errorf("the history is\n%s", history)
	}
	r = w.call(t, "map", "history", "--limit", "1", "--json")
	type version struct {
		Version      int
		Author, Note string
		RolledBackTo int `json:"rolled_back_to"`
	}
	if got := lines[version](t, r.out); len(got) != 1 || got[0].Version != 4 || got[0].RolledBackTo != 1 || got[0].Author != "test" {
		t.Errorf("the history as JSON is %+v", got)
	}
	contains(t, r.errOut, "The newest 1 of 4")

	// Every version is a file, and each can come back.
	dir := filepath.Join(w.files, "maps")
	names := strings.Fields(w.ok(t, "map", "export", "--all", "--dir", dir))
	if len(names) != 4 || filepath.Base(names[3]) != "0004.yaml" {
		t.Errorf("exported %v", names)
	}
	w.ok(t, "map", "export", "--all", "--dir", dir)
	second, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	if head, rest, _ := bytes.Cut(second, []byte("\n")); string(rest) != ruled || !strings.Contains(string(head), "saved by test: rules for the north") {
		t.Errorf("version 2 is exported as\n%s", second)
	}
	contains(t, w.ok(t, "map", "import", names[1], "-m", "once more"), "version 5", "once more")
	w.file(t, "maps/0001.yaml", "mine\n")
	w.fails(t, 2, []string{"0001.yaml is there already"}, "map", "export", "--all", "--dir", dir)
	w.fails(t, 2, []string{"go together"}, "map", "export", "--all")

	// What a run writes is what was tried.
	w.ok(t, "run")
	if n := w.org.Count("Contact"); n != 39 {
		t.Errorf("the org holds %d contacts, want all but one", n)
	}
}

// The editor gets the field map as a file; what it leaves is saved, unless it cannot be.
func TestMapEdit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 1}))
	w.link(t)
	edit := func(script string) result {
		editor := w.file(t, "editor.sh", script)
		r := call(t.Context(), append(w.environ, "EDITOR=sh "+editor), nil, "map", "edit", "-m", "by hand")
		t.Log(r.out, r.errOut)
		return r
	}
	r := edit(`sed -i 's/Member/Student/' "$1"`)
	contains(t, r.out, "version 2", "Student", "by hand")
	r = edit(`sed -i 's/from: title/form: title/' "$1"`)
	contains(t, r.errOut, `"form" is not known; did you mean from?`, "What you wrote is in ")
	kept := regexp.MustCompile(`What you wrote is in (\S+)`).FindStringSubmatch(r.errOut)[1]
	if b, err := os.ReadFile(kept); err != nil || !strings.Contains(string(b), "form: title") {
		t.Errorf("%s holds %q, %v", kept, b, err)
	}
	if err := os.RemoveAll(filepath.Dir(kept)); err != nil {
		t.Error(err)
	}
	contains(t, edit("true").errOut, "Nothing was saved: version 2 is the same.")
	r = edit(`rm -r "$(dirname "$1")"; exit 3`)
	if r.code != 1 {
		t.Errorf("an editor that fails: %+v", r)
	}
	contains(t, r.errOut, "ended with exit status 3")
}

// All that is wrong with a file is told at once, with lines, and all that the org has against it, with reasons.
func TestBadMapFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 1}))
	w.link(t)
	bad := w.file(t, "bad.yaml", "object: Contact\nfields:\n  Title: {form: title}\nrules:\n  - skp: x\n")
	r := w.fails(t, 2, []string{`bad.yaml: line 3: "form" is not known; did you mean from?`, `bad.yaml: line 5: "skp" is not known; did you mean skip?`}, "map", "set", bad)
	if r.out != "" {
		t.Errorf("output %q", r.out)
	}
	refused := w.file(t, "refused.yaml", `object: Contact
fields:
  Title: {expression: upper(person.titel)}
  Nope__c: title
rules:
  - skip: a
    when: {emial: {contains: x}}
`)
	for _, command := range []string{"set", "check", "try"} {
		w.fails(t, 2, []string{"Title", "Nope__c", "emial"}, "map", command, refused)
	}
	w.fails(t, 2, []string{"a file and --version"}, "map", "try", refused, "--version", "1")
	w.fails(t, 2, []string{"--least"}, "map", "suggest", "--least", "7")
	w.fails(t, 1, []string{"Nothing__c"}, "map", "suggest", "Nothing__c")
	w.fails(t, 1, []string{"no connection"}, "map", "show", "--connection", "nope")
	contains(t, w.ok(t, "map", "get"), "version 1")
	contains(t, w.ok(t, "map", "show", "--help"), "show, get")
	if r := w.call(t, "map", "history", "--limit", "-1"); r.code != 2 {
		t.Errorf("--limit -1: %+v", r)
	}
	contains(t, fmt.Sprint(w.call(t, "map", "swap").errOut), "there is no command")
}

// An org takes every example of the reference.
func TestDocumentedFieldMaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{ExternalIDFields: []string{"Lead.CatalogUserId__c"}})
	page, err := os.ReadFile("../../../../docs/field-maps.md")
	if err != nil {
		t.Fatal(err)
	}
	person := map[string]any{"id": "1", "email": "ada@example.com", "last_name": "Lovelace"}
	for _, attribute := range regexp.MustCompile(`attributes\.([a-z_]+)`).FindAllStringSubmatch(string(page), -1) {
		person[attribute[1]] = "x"
	}
	line, err := json.Marshal(person)
	if err != nil {
		t.Fatal(err)
	}
	w.ok(t, "people", "import", w.file(t, "people.ndjson", string(line)+"\n"))
	w.link(t)
	n := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		file := block[1]
		if !strings.Contains(file, "object:") {
			file = "object: Contact\nfields:\n  Title: title\n" + file
		}
		n++
		w.ok(t, "map", "check", w.file(t, fmt.Sprintf("%d.yaml", n), file))
	}
	if n < 10 {
		t.Errorf("only %d examples are found", n)
	}
}

// What a field map can name is listed: objects, their fields, and the Catalog's.
func TestMapFields(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.file(t, "people.ndjson", `{"id":"1","email":"ada@example.com","cohort":"A"}`+"\n"))
	w.link(t)
	type object struct {
		Name       string
		Createable bool
	}
	objects := lines[object](t, w.ok(t, "map", "objects", "--json"))
	if !slices.Contains(objects, object{"Contact", true}) || !slices.Contains(objects, object{"Lead", true}) || slices.ContainsFunc(objects, func(o object) bool { return !o.Createable }) {
		t.Errorf("the objects are %v", objects)
	}
	if all := lines[object](t, w.ok(t, "map", "objects", "--all", "--json")); len(all) <= len(objects) {
		t.Errorf("with those that are read only there are %v", all)
	}
	contains(t, w.ok(t, "map", "objects"), "OBJECT", "read, create, update")
	fields := w.ok(t, "map", "fields")
	contains(t, fields, "CatalogUserId__c", "external id, unique", "LastName", "required", "refers to Account", "one of: Web;")
	if strings.Contains(fields, "SystemModstamp") {
		t.Errorf("a field that cannot be written is listed:\n%s", fields)
	}
	contains(t, w.ok(t, "map", "fields", "Lead", "--all", "--filter", "convert"), "IsConverted", "read-only")
	contains(t, w.ok(t, "map", "fields", "--catalog"), "first_name\n", "attributes.cohort\n")
	if got := w.ok(t, "map", "fields", "--catalog", "--filter", "coh"); got != "attributes.cohort\n" {
		t.Errorf("filtered: %q", got)
	}
	w.fails(t, 1, []string{"Nothing__c"}, "map", "fields", "Nothing__c")
	w.fails(t, 2, []string{"--catalog goes with"}, "map", "fields", "Lead", "--catalog")
	contains(t, w.call(t, "map", "fields", "--filter", "zzz").errOut, "There are no such fields.")
}

// The field maps of a connection that has ended are its archive: they are read and compared as before, and go on in
// another connection.
func TestFieldMapsOutliveTheirConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 3}))
	w.link(t)
	w.ok(t, "map", "set", w.file(t, "second.yaml", strings.Replace(mapFile, "Member", "Student", 1)))
	var shown struct {
		ConnectionID string `json:"connection_id"`
	}
	if err := json.Unmarshal([]byte(w.ok(t, "map", "show", "--json")), &shown); err != nil {
		t.Fatal(err)
	}
	id := shown.ConnectionID
	w.ok(t, "unlink", "--yes")
	if err := w.org.Close(); err != nil { // nobody may ask it
		t.Fatal(err)
	}
	w.fails(t, 1, []string{"link"}, "map", "show")
	if got := w.ok(t, "map", "export", "--connection", id, "--version", "1"); got != mapFile {
		t.Errorf("version 1 is exported as %s", cmp.Diff(mapFile, got))
	}
	contains(t, w.ok(t, "map", "history", "--connection", id), "VERSION", "2", "1")
	contains(t, w.ok(t, "map", "diff", "--connection", id), "Member  ->  Student")
	names := strings.Fields(w.ok(t, "map", "export", "--connection", id, "--all", "--dir", filepath.Join(w.files, "archive")))
	if len(names) != 2 {
		t.Errorf("exported %v", names)
	}
	if r := w.call(t, "map", "rollback", "1", "--connection", id); r.code == 0 {
		t.Errorf("a version was saved for a connection that has ended: %s", r.out)
	}
}
