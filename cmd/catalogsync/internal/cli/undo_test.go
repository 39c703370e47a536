package cli_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/simulator"
)

// A run changed what it should not have. The admin looks at what would be taken back, takes it back, and what somebody
// changed in between stays.
func TestUndo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 200, Seed: 1}))
	w.link(t)
	first := lines[run](t, w.ok(t, "run", "--json"))[0]
	titles := func() map[string]string {
		all := make(map[string]string)
		for r := range w.org.Records("Contact") {
			all[r.ID] = r.Fields["Title"]
		}
		return all
	}
	before := titles()
	w.org.SetClockOffset(time.Hour) // stamps of records are full seconds
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 200, Seed: 1, Changed: 0.2, ChangeSeed: 2}), "--mode", "full")
	second := lines[run](t, w.ok(t, "run", "--json"))[0]
	changed := titles()
	var ids []string
	for id := range changed {
		if changed[id] != before[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if len(ids) != 40 || second.Counts.Updated != 40 {
		t.Fatalf("%d titles differ after the second run, which updated %d", len(ids), second.Counts.Updated)
	}
	if err := w.org.Update(ids[0], map[string]string{"Title": "Chosen by hand"}); err != nil {
		t.Fatal(err)
	}

	contains(t, w.ok(t, "undo", second.ID, "--plan-only", "--limit", "0"), "~ update in place", "40 to change", "Title 39", "in part", "Nothing was written")
	if !maps.Equal(titles(), with(changed, ids[0], "Chosen by hand")) {
		t.Error("a plan of an undo changed records")
	}
	w.fails(t, 2, []string{"--yes"}, "undo", second.ID)
	undo := lines[run](t, w.ok(t, "undo", second.ID, "--yes", "--json"))[0]
	if undo.Counts.Updated != 40 || undo.Counts.Verified != 40 || undo.State != "succeeded" {
		t.Errorf("the undo is %+v", undo)
	}
	if !maps.Equal(titles(), with(before, ids[0], "Chosen by hand")) {
		t.Error("after the undo the titles are not those of before, but for the one that was changed by hand")
	}
	again := w.call(t, "undo", second.ID, "--yes", "--limit", "0")
	contains(t, again.out, "changed_since 1", "39 unchanged")
	contains(t, again.errOut, "nothing to take back")
	contains(t, w.ok(t, "runs", "show", second.ID, "--json"), `"undone_by":"`+undo.ID)
	w.fails(t, 1, []string{"itself an undo"}, "undo", undo.ID, "--yes")
	w.fails(t, 1, []string{"There is no run"}, "undo", "runx", "--yes")

	// The first run made all records. Those that somebody or a later run changed stay.
	contains(t, w.ok(t, "undo", first.ID, "--plan-only"), "0 to change", "200 skipped")
	gone := lines[run](t, w.ok(t, "undo", first.ID, "--delete-created", "--yes", "--json"))[0]
	if gone.State != "succeeded" || w.org.Count("Contact") != 40 {
		t.Errorf("the undo of the first run is %+v, and %d contacts are left", gone, w.org.Count("Contact"))
	}
}

func with(m map[string]string, key, value string) map[string]string {
	m = maps.Clone(m)
	m[key] = value
	return m
}
