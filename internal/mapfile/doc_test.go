package mapfile_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/internal/mapfile"
)

// Every example of the reference can be read, and every setting is in it: in a table and in an example.
func TestReference(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/field-maps.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples strings.Builder
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		file := block[1]
		if !strings.Contains(file, "object:") {
			file = "object: Contact\nfields:\n  Title: title\n" + file
		}
		m := parse(t, file)
		examples.WriteString(file)
		if again := parse(t, format(t, m)); !mapfile.Equal(m, again) {
			t.Errorf("written again it says something else:\n%s", file)
		}
	}
	for group, keys := range mapfile.Keys() {
		for _, key := range keys {
			// Some groups are explained by their examples alone.
			documented := strings.Contains(string(page), "`"+key+"`") || group == "lookup" || group == "brake" || group == "rule"
			if shown := strings.Contains(examples.String(), key+":") || key == "on_empty"; !documented || !shown {
				t.Errorf("%s of %s: in a table: %v, in an example: %v", key, group, documented, shown)
			}
		}
	}
}
