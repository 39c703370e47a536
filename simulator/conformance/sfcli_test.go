//go:build large

package conformance_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sfVersion = "2.146.3"

// TestSalesforceCLI installs the sf CLI (about 700 packages) and uses it as a person would:
// go test -tags large -run TestSalesforceCLI -timeout 20m
func TestSalesforceCLI(t *testing.T) {
	org := startOrg(t)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	env := append(os.Environ(), "HOME="+dir, "SF_DISABLE_TELEMETRY=true", "SF_AUTOUPDATE_DISABLE=true", "SF_ACCESS_TOKEN="+org.AccessToken(),
		"PATH="+filepath.Join(dir, "node_modules", ".bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	run("npm", "init", "-y")
	run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "@salesforce/cli@"+sfVersion)
	sf := func(args ...string) string {
		return run(filepath.Join(dir, "node_modules", ".bin", "sf"), append(args, "--target-org", "sim")...)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(filepath.Join(dir, "node_modules", ".bin", "sf"), "org", "login", "access-token", "--instance-url", org.URL, "--no-prompt", "--alias", "sim")
	if out := sf("data", "query", "--query", "SELECT Id, Name, Account.Name FROM Contact LIMIT 3"); !strings.Contains(out, "Total number of records retrieved: 3") {
		t.Error(out)
	}
	write("new.csv", "LastName\nonly\n")
	write("keys.csv", "LastName,CatalogUserId__c\none,k1\ntwo,k2\n")
	sf("data", "import", "bulk", "--sobject", "Contact", "--file", "new.csv", "--wait", "2", "--line-ending", "LF")
	sf("data", "upsert", "bulk", "--sobject", "Contact", "--file", "keys.csv", "--external-id", "CatalogUserId__c", "--wait", "2", "--line-ending", "LF")
	sf("data", "export", "bulk", "--query", "SELECT Id FROM Contact WHERE CatalogUserId__c != null", "--output-file", "out.csv", "--wait", "2")
	sf("data", "delete", "bulk", "--sobject", "Contact", "--file", "out.csv", "--wait", "2", "--line-ending", "LF")
	sf("data", "create", "record", "--sobject", "Contact", "--values", "LastName=cli")
	if n := org.Count("Contact"); n != 4502 {
		t.Errorf("%d contacts, want 4502", n)
	}
	sf("sobject", "describe", "--sobject", "Lead")
	if out := sf("limits", "api", "display"); !strings.Contains(out, "DailyApiRequests") {
		t.Error(out)
	}
}
