package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/test/harness"
)

const (
	full  = directoryv1.ImportMode_IMPORT_MODE_FULL
	delta = directoryv1.ImportMode_IMPORT_MODE_DELTA
)

// told checks that an error says what it must: its kind, its reason, and each of the words.
func told(t *testing.T, what string, err error, kind errs.Kind, reason string, words ...string) {
	t.Helper()
	if errs.KindOf(err) != kind || errs.ReasonOf(err) != reason {
		t.Errorf("%s: the error is %v (%v, %s), want %v, %s", what, err, errs.KindOf(err), errs.ReasonOf(err), kind, reason)
		return
	}
	for _, w := range words {
		if !strings.Contains(errs.Message(err), w) {
			t.Errorf("%s: %q does not say %q", what, errs.Message(err), w)
		}
	}
}

// Files that are none are refused with what to do, and take nothing away from the people who are there.
func TestWrongFiles(t *testing.T) {
	t.Parallel()
	s := harness.OneProcess(t)
	x := s.Tenant(t, "acme")
	x.Import(t, people(t, sample.Options{People: 50, Seed: 1}), full)
	tests := []struct {
		what, name string
		file       []byte
		reason     string
		words      []string
	}{
		{"a picture", "people.png", []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00"), "unknown_format", []string{"people.png is a picture", "CSV"}},
		{"a picture that calls itself CSV", "people.csv", []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00"), "unknown_format", []string{"a picture"}},
		{"a workbook", "people.xlsx", []byte("PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00"), "unknown_format", []string{"Excel", "save the sheet as CSV"}},
		{"a file without ids", "people.csv", []byte("email,last_name\na@example.com,A\n"), "no_id_column", []string{"one of them must be id"}},
		{"a column twice", "people.csv", []byte("id,email,email\n1,a@example.com,b@example.com\n"), "bad_header", []string{"email"}},
		{"another encoding", "people.csv", []byte("\xff\xfei\x00d\x00,\x00"), "wrong_encoding", []string{"UTF-8"}},
		{"one JSON array", "people.json", []byte(`[{"id":"1"}]`), "unknown_format", []string{"one object per line"}},
		{"half of a packed file", "people.csv.gz", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xca"), "damaged_file", []string{"send the whole file again"}},
	}
	for _, tt := range tests {
		_, _, err := x.TryImport(t, tt.name, tt.file, full)
		told(t, tt.what, err, errs.Invalid, tt.reason, tt.words...)
	}
	// Nothing in it is no reason to think that everybody is gone.
	for what, file := range map[string]string{"an empty file": "", "a header alone": "id,email\n"} {
		sum, faults, err := x.TryImport(t, "people.csv", []byte(file), full)
		if err != nil || len(faults) > 0 || sum.GetGone() != 0 || sum.GetGoneWithheld() == "" {
			t.Errorf("%s: %v, %v, %v", what, sum, faults, err)
		}
	}
	res, err := x.People.CountPeople(x.Context(t.Context()), &directoryv1.CountPeopleRequest{})
	if err != nil || res.GetPeople() != 50 || res.GetGone() != 0 {
		t.Errorf("after all of them: %v, %v; want the 50 people as they were", res, err)
	}
}

// People at fault are told line by line and person by person, none of them is sent, and everybody else goes through. Once
// the file is mended, so do they.
func TestPeopleAtFault(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Contact", "")
	long := strings.Repeat("é", 300)
	file := "id,email,first_name,last_name,phone,mobile_phone,title,department,city,postal_code\n"
	line := func(id, email, last string) string { return fmt.Sprintf("%s,%s,F,%s,,,,,,\n", id, email, last) }
	var good []harness.Person
	for i := range 30 {
		good = append(good, harness.Person{"id": fmt.Sprint("good", i), "email": fmt.Sprintf("good%d@example.com", i), "first_name": "F", "last_name": "L"})
		file += line(good[i]["id"], good[i]["email"], "L")
	}
	mended := file
	file += line("no-email", "", "L") +
		line("bad-email", "nobody at all", "L") +
		line("long-name", "long@example.com", long) +
		line("no-name", "noname@example.com", "") +
		line("twin-1", "twin@example.com", "L") + line("twin-2", "TWIN@example.com", "L") +
		line("good3", "again@example.com", "Again") + // the id has come before
		line("", "noid@example.com", "L") +
		"too,many,cells,in,this,line,for,its,header,1,2\n"
	sum, faults, err := j.x.TryImport(t, "people.csv", []byte(file), full)
	if err != nil {
		t.Fatal(err)
	}
	if sum.GetAdded() != 36 || sum.GetRejected() != 3 {
		t.Errorf("summary %v", sum)
	}
	var lines []string
	for _, f := range faults {
		lines = append(lines, fmt.Sprintf("%d %s", f.GetLine(), f.GetColumn()))
		if f.GetMessage() == "" {
			t.Errorf("line %d is at fault for no reason", f.GetLine())
		}
	}
	if diff := cmp.Diff([]string{"38 id", "39 id", "40 "}, lines); diff != "" {
		t.Errorf("lines at fault: %s\n%v", diff, faults)
	}
	run := j.x.Run(t)
	harness.Want(t, run, withFailures, map[string]int64{"people": 36, "created": 30, "rejected": 6, "failed": 0, "verified": 30})
	outcomes := j.x.Outcomes(t, run.GetId())
	harness.CheckCounts(t, run, outcomes)
	j.expect.People = good
	harness.CheckOrg(t, org, j.expect)
	if org.EffectCount() != 30 {
		t.Errorf("%d effects: somebody at fault was sent", org.EffectCount())
	}
	for id, want := range map[string]struct{ code, field, word string }{
		"no-email": {"missing_match_key", "Email", "no email"}, "bad-email": {"invalid_email", "Email", "nobody at all"}, "long-name": {"too_long", "LastName", "80"},
		"no-name": {"required", "LastName", ""}, "twin-1": {"duplicate_match_key", "", "twin"}, "twin-2": {"duplicate_match_key", "", "twin"},
	} {
		o := outcomes[id]
		if o.GetKind() != syncv1.OutcomeKind_OUTCOME_KIND_REJECTED || o.GetCode() != want.code || !strings.Contains(o.GetMessage(), want.word) || o.GetMessage() == "" ||
			want.field != "" && !slices.Equal(o.GetFields(), []string{want.field}) {
			t.Errorf("%s ended %v, want %v", id, o, want)
		}
	}
	mended += line("no-email", "now@example.com", "L") + line("bad-email", "body@example.com", "L") + line("long-name", "long@example.com", "Short") +
		line("no-name", "noname@example.com", "Now") + line("twin-1", "twin1@example.com", "L") + line("twin-2", "twin2@example.com", "L")
	j.load([]byte(mended), full)
	j.run(succeeded, map[string]int64{"people": 36, "created": 6, "unchanged": 30})
}

// What Salesforce refuses all the same ends failed with its code and its words; the rest of the batch goes through, few
// rows or many.
func TestRowsThatSalesforceRefuses(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	if err := org.SetValidationRules(simulator.ValidationRule{Object: "Contact", Field: "Department", Pattern: "^Refused$", Message: "Not this department."}); err != nil {
		t.Fatal(err)
	}
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Contact", externalID)
	for _, size := range []int{250, 2500} {
		all := harness.ReadPeople(t, people(t, sample.Options{People: size, Seed: int64(size)}))
		var b strings.Builder
		b.WriteString("id,email,first_name,last_name,department\n")
		j.expect.People, j.expect.Refused = nil, map[string]bool{}
		for i, p := range all {
			department := "Sales"
			if i%50 == 0 {
				department = "Refused"
				j.expect.Refused[fmt.Sprint(size, "-", i)] = true
			}
			p = harness.Person{"id": fmt.Sprint(size, "-", i), "email": fmt.Sprintf("p%d-%d@example.com", size, i), "first_name": "F", "last_name": p["last_name"], "department": department}
			j.expect.People = append(j.expect.People, p)
			fmt.Fprintf(&b, "%s,%s,%s,%q,%s\n", p["id"], p["email"], p["first_name"], p["last_name"], p["department"])
		}
		j.x.Import(t, []byte(b.String()), full)
		refused := int64(len(j.expect.Refused))
		run := j.run(withFailures, map[string]int64{"created": int64(size) - refused, "failed": refused, "rejected": 0, "verified": int64(size) - refused})
		for id, o := range j.x.Outcomes(t, run.GetId()) {
			if !j.expect.Refused[id] {
				continue
			}
			if o.GetCode() != "FIELD_CUSTOM_VALIDATION_EXCEPTION" || o.GetMessage() != "Not this department." || !slices.Equal(o.GetFields(), []string{"Department"}) {
				t.Errorf("%s ended %v", id, o)
			}
		}
		j.expect.Others += size - int(refused)
	}
}

// A field map is checked against the org when it is saved: everything that is wrong with it is told at once, and nothing
// of it is kept.
func TestBadFieldMaps(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	x := s.Tenant(t, "acme")
	save := func(object, external string, pairs ...*mapperv1.Pair) error {
		_, err := x.Maps.SaveFieldMap(x.Context(t.Context()), &mapperv1.SaveFieldMapRequest{FieldMap: &mapperv1.FieldMap{
			Object: object, ExternalIdField: external, Pairs: pairs,
		}})
		return err
	}
	told(t, "before an org is linked", save("Contact", ""), errs.NotFound, "not_linked", "link one first")
	x.Link(t, org)
	err := save("Contact", "Department",
		&mapperv1.Pair{Source: "title", Target: "Nope__c"}, &mapperv1.Pair{Source: "city", Target: "CreatedDate"},
		&mapperv1.Pair{Source: "shoe_size", Target: "Title"}, &mapperv1.Pair{Source: "phone", Target: "Title"}, &mapperv1.Pair{Source: "country", Target: "MailingAddress"})
	told(t, "a map with six faults", err, errs.Invalid, "invalid_field_map",
		"no field Nope__c", "CreatedDate", "shoe_size", "pair 3 writes Title already", "MailingAddress", "Department")
	told(t, "an object in which nobody could be found again", save("Account", ""), errs.Invalid, "invalid_field_map", "Account has no e-mail field", "requires Name")
	told(t, "an object that is none", save("Robert'); DROP TABLE--", ""), errs.Invalid, "bad_object")
	if _, err := x.Maps.GetFieldMap(x.Context(t.Context()), &mapperv1.GetFieldMapRequest{}); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a map that was refused is kept: %v", err)
	}
	_, err = x.Runs.StartRun(x.Context(t.Context()), &syncv1.StartRunRequest{})
	told(t, "a run without a map", err, errs.Precondition, "no_field_map", "save one")
	x.SaveMap(t, "Contact", externalID)
}

// Links that cannot work are refused with what to do in Salesforce, and nothing is kept of them.
func TestBadLinks(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	x := s.Tenant(t, "acme")
	link := func(host, id, secret string) error {
		_, err := x.Connections.LinkConnection(x.Context(t.Context()), &authv1.LinkConnectionRequest{
			Host: host, Credentials: &authv1.LinkConnectionRequest_ClientCredentials{ClientCredentials: &authv1.ClientCredentials{ClientId: id, ClientSecret: secret}},
		})
		return err
	}
	told(t, "another secret", link(org.URL, org.ClientID(), "wrong-"+org.ClientSecret()), errs.Precondition, "salesforce_refused", "The consumer secret is wrong", "link the org again")
	told(t, "nothing filled in", link("", "", ""), errs.Invalid, "invalid_link_request", "host is missing", "client_id is missing", "client_secret is missing")
	told(t, "a host that is not Salesforce's", link("http://169.254.169.254", "a", "b"), errs.Invalid, "host_refused", "My Domain")
	org.SetLoginPolicy(simulator.LoginPolicy{NoRunAs: true})
	told(t, "an app without a user", link(org.URL, org.ClientID(), org.ClientSecret()), errs.Precondition, "salesforce_refused", "Run As user")
	res, err := x.Connections.ListConnections(x.Context(t.Context()), &authv1.ListConnectionsRequest{})
	if err != nil || len(res.GetConnections()) != 0 {
		t.Errorf("after refused links: %v, %v", res, err)
	}
}

// Long texts, which make few people a large message, go through like any others.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	x := s.Tenant(t, "acme")
	x.Link(t, org)
	var b strings.Builder
	b.WriteString("id,email,last_name,biography\n")
	const n, size = 1200, 9_000
	for i := range n {
		fmt.Fprintf(&b, "p%d,p%d@example.com,Last,%s\n", i, i, strings.Repeat(fmt.Sprintf("%07x.", i*7919), size/8))
	}
	x.Import(t, []byte(b.String()), full)
	_, err := x.Maps.SaveFieldMap(x.Context(t.Context()), &mapperv1.SaveFieldMapRequest{FieldMap: &mapperv1.FieldMap{
		Object: "Contact", ExternalIdField: externalID, Pairs: []*mapperv1.Pair{{Source: "attributes.biography", Target: "Description"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	run := x.Run(t)
	harness.Want(t, run, succeeded, map[string]int64{"people": n, "created": n, "verified": n})
	for r := range org.Records("Contact") {
		if len(r.Fields["Description"]) != size {
			t.Fatalf("the org holds %d characters of %d", len(r.Fields["Description"]), size)
		}
	}
	// Pages of them are as long as a message may be, and nothing falls between two pages.
	seen := make(map[string]bool)
	for token := ""; ; {
		res, err := x.Runs.ListChanges(x.Context(t.Context()), &syncv1.ListChangesRequest{RunId: run.GetId(), PageSize: 5000, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range res.GetChanges() {
			if seen[c.GetPersonId()] {
				t.Errorf("%s is on two pages", c.GetPersonId())
			}
			seen[c.GetPersonId()] = true
		}
		if token = res.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(seen) != n {
		t.Errorf("%d changes are listed of %d", len(seen), n)
	}
}

// command runs a binary to its end.
func command(t *testing.T, env []string, bin string, args ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s %v did not end:\n%s", filepath.Base(bin), args, out.String())
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, out.String()
}

// Two processes never share a data directory: the second says whose it is and ends, and the first goes on.
func TestTwoProcessesOnOneDataDirectory(t *testing.T) {
	t.Parallel()
	s := harness.OneProcess(t)
	code, out := command(t, nil, harness.Build(t, "cmd/catalogsync"), "serve", "--data", s.Data, "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
	if code == 0 || !strings.Contains(out, s.Data) {
		t.Errorf("the second process ended with code %d:\n%s", code, out)
	}
	s.Tenant(t, "acme").Import(t, people(t, sample.Options{People: 5, Seed: 1}), full)
}

// Every binary names the setting that is wrong, all of them at once, and ends with a code; it never starts half.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pkg   string
		args  []string
		env   []string
		words []string
	}{
		{"services/auth/cmd/auth", nil, nil, []string{"auth:", "-key-file is missing"}},
		{"services/auth/cmd/auth", []string{"-key-file", "/nowhere/key", "-dev-origins", "nonsense"}, nil, []string{"-dev-origins", "nonsense"}},
		{"services/mapper/cmd/mapper", []string{"-max-pairs", "many"}, nil, []string{"mapper:", "-max-pairs", "many"}},
		{"services/mapper/cmd/mapper", []string{"-max-pairs", "1"}, nil, []string{"-max-pairs is 1", "10 to 5000"}},
		{"services/scheduler/cmd/scheduler", []string{"-tick", "-1s", "-parallel", "0"}, nil, []string{"-tick", "-parallel"}},
		{"services/sync-worker/cmd/sync-worker", nil, nil, []string{"-directory is missing"}},
		{"services/sync-worker/cmd/sync-worker", []string{"-directory", "sqlite:x", "-slots", "0", "-max-bytes", "1", "-lease-ttl", "1ms"}, nil, []string{"-directory", "-slots", "-max-bytes", "-lease-ttl"}},
		{"services/sync-worker/cmd/sync-worker", nil, []string{"CATALOGSYNC_SYNC_WORKER_SLOT=3"}, []string{"CATALOGSYNC_SYNC_WORKER_SLOT", "did you mean CATALOGSYNC_SYNC_WORKER_SLOTS"}},
		{"services/gateway/cmd/gateway", []string{"-http-listen", "8081", "-max-body-bytes", "0"}, nil, []string{"-http-listen", "-max-body-bytes"}},
		{"services/gateway/cmd/gateway", []string{"-operator-token-file", "/nowhere/token"}, nil, []string{"operator-token", "/nowhere/token"}},
		{"services/gateway/cmd/gateway", []string{"-nonsense"}, nil, []string{"-nonsense"}},
		{"services/gateway/cmd/gateway", []string{"-otlp-endpoint", "here"}, nil, []string{"-otlp-endpoint", "host:port"}},
		{"cmd/catalogsync", []string{"serve", "--slots", "0", "--max-bytes", "1"}, nil, []string{"-slots", "-max-bytes"}},
		{"cmd/catalogsync", []string{"serve", "--data"}, nil, []string{"data"}},
		{"cmd/catalogsync", []string{"serve", "--dev-origin", "nonsense", "--data", "DIR"}, nil, []string{"nonsense"}},
		{"cmd/catalogsync", []string{"plam"}, nil, []string{"plam", "--help"}},
		{"cmd/catalogsync", []string{"demo", "--people", "-1"}, nil, []string{"--people"}},
	}
	for _, tt := range tests {
		// Without a bus to wait for: a setting is looked at before anything is.
		args, env := slices.Clone(tt.args), append([]string{"NO_COLOR=1"}, tt.env...)
		for i, a := range args {
			if a == "DIR" {
				args[i] = t.TempDir()
			}
		}
		if strings.HasPrefix(tt.pkg, "services/") {
			args = append(args, "-nats-url", "nats://127.0.0.1:1")
		}
		code, out := command(t, env, harness.Build(t, tt.pkg), args...)
		if code == 0 || strings.Contains(out, "goroutine ") {
			t.Errorf("%s %v ended with code %d:\n%s", tt.pkg, tt.args, code, out)
		}
		for _, w := range tt.words {
			if !strings.Contains(out, w) {
				t.Errorf("%s %v does not say %q:\n%s", tt.pkg, tt.args, w, out)
			}
		}
	}
}
