package compose_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/test/harness"
)

// docs/operations.md speaks of commands, settings, metrics and words of logs and errors that there are.
func TestOperationsPageIsTrue(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := sourceCode(t)
	known := []string{"help"}
	for _, name := range ours {
		for setting := range settings(t, name, nil) {
			known = append(known, setting)
		}
	}
	flag := regexp.MustCompile(`^-([a-z-]+)`)
	checked := 0
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(string(page), -1) {
		said := m[1]
		switch {
		case strings.HasPrefix(said, "--"): // of the command line
			if f, _, _ := strings.Cut(said[2:], " "); !strings.Contains(code, `"`+f+`"`) {
				t.Errorf("no command has a flag --%s", f)
			}
		case flag.MatchString(said):
			if f := flag.FindStringSubmatch(said)[1]; !slices.Contains(known, f) {
				t.Errorf("no service has a flag -%s", f)
			}
		case strings.HasPrefix(said, "catalogsync.") || strings.HasPrefix(said, "catalogsync_"):
			if !strings.Contains(code, `"`+said+`"`) {
				t.Errorf("there is no metric %s", said)
			}
		case strings.HasPrefix(said, "catalogsync ") || strings.Contains(said, " --") && !strings.HasPrefix(said, "docker "):
			command(t, said)
		case strings.Contains(said, " ") && !strings.ContainsAny(said, "$/=<>") && !regexp.MustCompile(`^(docker|chmod) `).MatchString(said):
			for part := range strings.SplitSeq(said, "...") {
				if part = strings.Trim(part, ": "); !strings.Contains(code, part) {
					t.Errorf("nothing says %q", part)
				}
			}
		default:
			continue
		}
		checked++
	}
	if checked < 30 {
		t.Errorf("only %d things were looked at: the search is broken", checked)
	}
}

// command checks that the command line has a command, such as link --jwt, with all its flags. The name of the program
// may be left out.
func command(t *testing.T, said string) {
	t.Helper()
	var words, flags []string
	for word := range strings.FieldsSeq(strings.TrimPrefix(said, "catalogsync ")) {
		name, _, _ := strings.Cut(word, "=")
		switch {
		case strings.HasPrefix(name, "-"):
			flags = append(flags, name)
		case len(flags) == 0 && strings.ToLower(name) == name:
			words = append(words, name)
		}
	}
	program := harness.Build(t, "cmd/catalogsync")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, append(words, "--help")...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", said, err, out)
		return
	}
	if usage := strings.Join(append([]string{"catalogsync"}, words...), " "); !regexp.MustCompile(`(?m)^  ` + usage + `( |$)`).Match(out) {
		t.Errorf("%s: there is no command %q", said, usage)
	}
	for _, f := range flags {
		if !regexp.MustCompile(`(?m)^ +(-., )?` + f + `([ ,\[]|$)`).Match(out) {
			t.Errorf("%s: the command has no flag %s", said, f)
		}
	}
}

// sourceCode is the code of all programs, without tests.
func sourceCode(t *testing.T) string {
	t.Helper()
	var source strings.Builder
	for _, dir := range []string{"internal", "services", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			source.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return source.String()
}
