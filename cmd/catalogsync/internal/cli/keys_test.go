package cli_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

// stray are names and an address that nothing else holds, of which compression leaves pieces as they are.
const strayLast, strayFirst, strayMail = "珷裑燚鸜曟勠蘼", "綽鞴嚞灪龘", "zq7xw.vk3jd@stray-canary.example"

// TestKeysAndAudit runs once, and looks at what is left of it: in the files of the bus, in the audit log, and when its key
// is destroyed.
func TestKeysAndAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.link(t)
	w.ok(t, "people", "import", w.file(t, "people.csv", "id,email,first_name,last_name\np1,"+strayMail+","+strayFirst+","+strayLast+"\n"))
	var run struct {
		ID string `json:"id"`
	}
	if out := w.ok(t, "run", "--json"); json.Unmarshal([]byte(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]), &run) != nil || run.ID == "" {
		t.Fatalf("the run is %s", out)
	}
	contains(t, w.ok(t, "runs", "outcomes", run.ID), "p1", "created")

	bus := filepath.Join(w.dir, "nats")
	if found := holders(t, bus, run.ID); len(found) == 0 {
		t.Error("the search does not even find the run")
	}
	for _, text := range []string{strayLast, strayLast[:12], strayFirst, strayFirst[:9], strayMail, "zq7xw.vk3jd", "stray-canary"} {
		if found := holders(t, bus, text); len(found) > 0 {
			t.Errorf("%q stands in %v", text, found)
		}
	}

	// Who did that.
	list := w.ok(t, "audit", "list")
	contains(t, list, "LinkConnection", "StartRun", "token.use", "test", "owner", run.ID)
	if got := w.ok(t, "audit", "list", "--action", "token.use"); strings.Contains(got, "StartRun") || !strings.Contains(got, run.ID) {
		t.Errorf("uses of tokens are\n%s", got)
	}
	lines := strings.Count(w.ok(t, "audit", "export"), "\n")
	rows, err := csv.NewReader(strings.NewReader(w.ok(t, "audit", "export", "--format", "csv", "--since", "1h"))).ReadAll()
	if err != nil || lines < 5 || len(rows) != lines+1 || rows[0][0] != "number" {
		t.Errorf("%d lines of JSON and %d of CSV, %v", lines, len(rows), err)
	}
	contains(t, w.call(t, "audit", "list", "--action", "nothing.like.this").errOut, "no such entries")
	w.fails(t, 2, []string{"--since", "2026-01-31"}, "audit", "list", "--since", "yesterday")
	w.fails(t, 2, []string{"--format"}, "audit", "export", "--format", "xml")

	// A key of its own for the operator alone.
	w.fails(t, 1, []string{"operator"}, "keys", "rotate")
	contains(t, w.ok(t, "keys", "rotate", "--resume", "--data", w.dir), "nothing to go on with")
	out := w.ok(t, "keys", "rotate", "--data", w.dir)
	contains(t, out, "sealed anew by key", "Deleted: key")
	contains(t, w.ok(t, "audit", "list", "--data", w.dir, "--action", "key."), "key.rotate", "operator")
	contains(t, w.ok(t, "test"), "The connection works")
	contains(t, w.ok(t, "runs", "outcomes", run.ID), "p1")

	w.fails(t, 2, []string{"--tenant"}, "keys", "destroy-data")
	w.fails(t, 2, []string{"--yes"}, "keys", "destroy-data", "--tenant", "acme")
	w.fails(t, 2, []string{"umbrella"}, "keys", "destroy-data", "--tenant", "umbrella", "--yes")
	contains(t, w.ok(t, "runs", "outcomes", run.ID), "p1")
	contains(t, w.ok(t, "keys", "destroy-data", "--tenant", "acme", "--yes"), "destroyed")
	contains(t, w.ok(t, "runs", "show", run.ID), run.ID)
	contains(t, w.ok(t, "run"), "succeeded") // with the next key
	addr := w.node.Addr()
	if err := w.node.Close(); err != nil {
		t.Fatal(err)
	}
	w.start(t, addr) // workers that are at work may know the key for ten minutes
	w.fails(t, 1, []string{"destroyed with the data key of tenant acme"}, "runs", "outcomes", run.ID)
}

// holders returns the files below dir that hold the text.
func holders(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
