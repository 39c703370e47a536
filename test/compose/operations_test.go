package compose_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/operations.md speaks of settings, metrics and words of logs and errors that there are.
func TestOperationsPageIsTrue(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
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
	code := source.String()
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
		case strings.Contains(said, " ") && !strings.ContainsAny(said, "$/=<>") && !regexp.MustCompile(`^(catalogsync|docker|chmod) `).MatchString(said):
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
