package conformance_test

import (
	"os"
	"testing"
	"time"
)

// TestJsforce installs jsforce as its lock file says and runs testdata/jsforce/run.mjs.
func TestJsforce(t *testing.T) {
	needNode(t, "jsforce")
	org := startOrg(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/jsforce")); err != nil {
		t.Fatal(err)
	}
	s := newShell(t, dir, 5*time.Minute)
	s.run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	s.run("node", "run.mjs", org.URL, org.ClientID(), org.ClientSecret())
	if n := org.Count("Contact"); n != 4502 {
		t.Errorf("%d contacts are left, want 4502", n)
	}
}
