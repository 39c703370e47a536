package compose_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/runs.md speaks of commands, flags, guards and codes that there are.
func TestRunsPageIsTrue(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs/runs.md"))
	if err != nil {
		t.Fatal(err)
	}
	code, checked := sourceCode(t), 0
	for _, m := range regexp.MustCompile(`(?m)(?:^|\x60)catalogsync ([a-z-]+)(?: ([a-z]+)\b)?`).FindAllStringSubmatch(string(page), -1) {
		if group := `holder("` + m[1] + `"`; strings.Contains(code, group) {
			if m[2] == "" || !uses(code, m[2]) {
				t.Errorf("there is no command catalogsync %s %s", m[1], m[2])
			}
		} else if !uses(code, m[1]) {
			t.Errorf("there is no command catalogsync %s", m[1])
		}
		checked++
	}
	for _, m := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(string(page), -1) {
		if m[1] != "help" && !strings.Contains(code, `"`+m[1]+`"`) {
			t.Errorf("no command has a flag --%s", m[1])
		}
		checked++
	}
	for _, m := range regexp.MustCompile(`\x60([a-z]+(?:_[a-z]+)+)\x60`).FindAllStringSubmatch(string(page), -1) {
		if !strings.Contains(code, `"`+m[1]) {
			t.Errorf("nothing is called %s", m[1])
		}
		checked++
	}
	if checked < 40 {
		t.Errorf("only %d things were looked at: the search is broken", checked)
	}
}

// uses reports whether the command line has a command with the name.
func uses(code, name string) bool {
	return regexp.MustCompile(`Use:\s+"` + name + `[ "]`).MatchString(code)
}
