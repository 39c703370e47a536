package conformance_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const jsforceVersion = "3.10.16"

// node runs a script of this directory with an npm package installed beside it.
func node(t *testing.T, pkg, script string, args ...string) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing: install Node.js 20 or newer", tool)
			}
			t.Skipf("LEFT OUT: %s is missing, so %s was not run against the simulator; install Node.js 20 or newer", tool, pkg)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	code, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(script)), code, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"npm", "init", "-y"}, {"npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", pkg}, append([]string{"node", filepath.Base(script)}, args...)} {
		cmd := exec.CommandContext(ctx, c[0], c[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c, err, out)
		}
	}
}

func TestJsforce(t *testing.T) {
	org := startOrg(t)
	node(t, "jsforce@"+jsforceVersion, "testdata/jsforce.mjs", org.URL, org.ClientID(), org.ClientSecret())
	if n := org.Count("Contact"); n != 4502 {
		t.Errorf("%d contacts are left, want 4502", n)
	}
}
