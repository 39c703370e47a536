package scheduler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/testkit"
)

// Five schedulers whose clocks disagree by a minute start each date's run once, whatever the zone, with clock changes on
// the way, while some are killed and started again.
func TestManySchedulersAgree(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/Nuuk", "Africa/Cairo"}
	times := []string{"02:30", "23:59:45"}
	server := testkit.NATS(t)
	w := newWorld(t)
	for i := range len(zones) * len(times) {
		w.linked = append(w.linked, linked("acme", fmt.Sprintf("c%d", i)))
	}
	begin := instant(t, "2026-03-06T17:00:10Z")
	skews := []time.Duration{-30 * time.Second, -15 * time.Second, 0, 15 * time.Second, 30 * time.Second}
	nodes := make([]*node, len(skews))
	launch := func(i int, now time.Time) { nodes[i] = w.start(t, server.Bus(t), now.Add(skews[i]), nil) }
	for i := range nodes {
		launch(i, begin)
	}
	nodes[2].settle(t)
	for i := range w.linked {
		set(t, nodes[2], "acme", fmt.Sprintf("c%d", i), true, times[i%len(times)], zones[i/len(times)])
	}
	end := begin.Add(32 * 24 * time.Hour)
	for now, step := begin, 0; now.Before(end); step++ {
		now = now.Add(17*time.Hour + 47*time.Minute + 17*time.Second)
		for i := range nodes {
			nodes[i].clock.set(now.Add(skews[i]))
		}
		if step%8 == 7 { // one dies in the middle of it
			nodes[step/8%len(nodes)].stop()
			launch(step/8%len(nodes), now)
		}
		if step == 20 {
			server.Restart(t)
		}
		for _, n := range nodes {
			n.settle(t)
		}
	}
	for i := range w.linked {
		checkDates(t, w, fmt.Sprintf("c%d", i), zones[i/len(times)], times[i%len(times)], begin, end)
	}
}

// checkDates asserts that a connection had one run on each local date in turn.
func checkDates(t *testing.T, w *world, connection, zone, timeOfDay string, begin, end time.Time) {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	got := w.dates("acme", connection)
	var want []string
	day := begin.In(loc)
	if day.Format("15:04:05") > timeOfDay { // the slot of the first day had passed
		day = day.AddDate(0, 0, 1)
	}
	for ; len(want) < len(got); day = day.AddDate(0, 0, 1) {
		want = append(want, "schedule:"+day.Format(time.DateOnly))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runs of %s at %s %s (-want +got):\n%s", connection, timeOfDay, zone, diff)
	}
	last := strings.TrimPrefix(got[len(got)-1], "schedule:")
	if yesterday := end.In(loc).AddDate(0, 0, -1).Format(time.DateOnly); last < yesterday {
		t.Errorf("the last run of %s at %s %s was on %s", connection, timeOfDay, zone, last)
	}
}
