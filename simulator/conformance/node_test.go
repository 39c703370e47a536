package conformance_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// needNode fails in CI and leaves the test out elsewhere where Node.js is missing.
func needNode(t *testing.T, what string) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing: install Node.js 20 or newer", tool)
		}
		fmt.Fprintf(os.Stderr, "LEFT OUT: %s is missing, so %s was not run against the simulator; install Node.js 20 or newer\n", tool, what)
		t.Skipf("%s is missing: %s was left out", tool, what)
	}
}

// shell runs programs in a directory.
type shell struct {
	t    *testing.T
	ctx  context.Context
	dir  string
	path string // put in front of PATH
	env  []string
}

func newShell(t *testing.T, dir string, limit time.Duration, env ...string) *shell {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return &shell{t: t, ctx: ctx, dir: dir, path: filepath.Join(dir, "node_modules", ".bin"), env: env}
}

// run runs a program to its end and gives what it wrote.
func (s *shell) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(name, args...)
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

func (s *shell) try(name string, args ...string) (string, error) {
	if file := filepath.Join(s.path, name); exists(file) {
		name = file
	}
	cmd := exec.CommandContext(s.ctx, name, args...)
	cmd.Dir, cmd.Env = s.dir, append(append(os.Environ(), "PATH="+s.path+string(os.PathListSeparator)+os.Getenv("PATH")), s.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// write puts a file into the shell's directory.
func (s *shell) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}
