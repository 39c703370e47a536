package scheduler_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/scheduler"
)

func get(t testing.TB, n *node, tenant, connection string) *schedulerv1.Schedule {
	t.Helper()
	resp, err := n.client.GetSchedule(as(tenant), &schedulerv1.GetScheduleRequest{ConnectionId: connection})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetSchedule()
}

func set(t testing.TB, n *node, tenant, connection string, enabled bool, timeOfDay, zone string) *schedulerv1.Schedule {
	t.Helper()
	resp, err := n.client.SetSchedule(as(tenant), &schedulerv1.SetScheduleRequest{ConnectionId: connection, Enabled: enabled, Time: timeOfDay, Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetSchedule()
}

func wantDates(t testing.TB, w *world, want ...string) {
	t.Helper()
	for i := range want {
		want[i] = "schedule:" + want[i]
	}
	if diff := cmp.Diff(want, w.dates("acme", "c1")); diff != "" {
		t.Fatalf("runs (-want +got):\n%s", diff)
	}
}

func wantKind(t testing.TB, err error, kind errs.Kind, reason string) {
	t.Helper()
	if errs.KindOf(err) != kind || errs.ReasonOf(err) != reason {
		t.Fatalf("error %v (%v, %s), want %v, %s", err, errs.KindOf(err), errs.ReasonOf(err), kind, reason)
	}
}

func TestEveryLinkedConnectionRunsDaily(t *testing.T) {
	t.Parallel()
	w := newWorld(t, linked("acme", "c1"))
	n := w.start(t, testkit.Bus(t), instant(t, "2026-01-30T15:00:00Z"), nil)
	n.settle(t)
	wantDates(t, w)
	s := get(t, n, "acme", "c1")
	if !s.GetEnabled() || s.GetTime() != "00:00" || s.GetZone() != "UTC" || s.GetLastSlot() != "" || !s.GetNextAt().AsTime().Equal(instant(t, "2026-01-31T00:00:00Z")) {
		t.Errorf("schedule %v", s)
	}
	n.at(t, instant(t, "2026-01-30T23:59:00Z"))
	wantDates(t, w)
	n.at(t, instant(t, "2026-01-31T00:00:00Z"))
	wantDates(t, w, "2026-01-31")
	n.at(t, instant(t, "2026-01-31T23:00:00Z"))
	wantDates(t, w, "2026-01-31")
	s = get(t, n, "acme", "c1")
	if s.GetLastSlot() != "2026-01-31" || s.GetLastRunId() != "run-c1-schedule:2026-01-31" || !s.GetNextAt().AsTime().Equal(instant(t, "2026-02-01T00:00:00Z")) {
		t.Errorf("schedule %v", s)
	}
	// One that is linked later, of another tenant, begins with the next slot.
	w.change(func() { w.linked = append(w.linked, linked("other", "c2")) })
	n.settle(t)
	n.at(t, instant(t, "2026-02-01T00:00:01Z"))
	wantDates(t, w, "2026-01-31", "2026-02-01")
	if got := w.dates("other", "c2"); !slices.Equal(got, []string{"schedule:2026-02-01"}) {
		t.Errorf("runs of the other: %v", got)
	}
	// One that is no longer linked is left alone.
	w.change(func() { w.linked = w.linked[1:] })
	n.settle(t)
	n.at(t, instant(t, "2026-02-02T00:00:01Z"))
	wantDates(t, w, "2026-01-31", "2026-02-01")
	if w.asked() != 4 {
		t.Errorf("%d requests for runs, want 4", w.asked())
	}
}

func TestRunsStartAtTheInstantAndNotAtTheNextTick(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	w := newWorld(t, linked("acme", "c1"))
	first := w.start(t, b, instant(t, "2026-01-30T12:00:00Z"), nil)
	first.settle(t)
	first.stop()
	slow := func(c *scheduler.Config) { c.Tick, c.Refresh = time.Hour, time.Hour }
	n := w.start(t, b, instant(t, "2026-01-30T23:59:59.5Z"), slow)
	testkit.Eventually(t, 30*time.Second, func() error {
		if len(w.dates("acme", "c1")) == 0 {
			return errors.New("no run")
		}
		return nil
	})
	if now := n.clock.read(); now.Before(instant(t, "2026-01-31T00:00:00Z")) {
		t.Errorf("the run started early, at %v", now)
	}
	// A schedule that is set here is looked at at once, and not after an hour.
	looks := n.looks.Load()
	set(t, n, "acme", "c1", true, "12:00:01", "UTC")
	testkit.Eventually(t, 30*time.Second, func() error {
		if n.looks.Load() == looks {
			return errors.New("no look")
		}
		return nil
	})
}

func TestOneRunAfterDaysOfDowntime(t *testing.T) {
	t.Parallel()
	server := testkit.NATS(t)
	w := newWorld(t, linked("acme", "c1"))
	n := w.start(t, server.Bus(t), instant(t, "2026-03-27T12:00:00Z"), nil)
	n.settle(t)
	set(t, n, "acme", "c1", true, "02:30", "Europe/Berlin")
	n.at(t, instant(t, "2026-03-28T02:00:00Z"))
	wantDates(t, w, "2026-03-28")
	n.stop()
	server.Restart(t)
	later := w.start(t, server.Bus(t), instant(t, "2026-04-02T20:00:00Z"), nil)
	later.settle(t)
	wantDates(t, w, "2026-03-28", "2026-04-02")
	later.at(t, instant(t, "2026-04-03T00:31:00Z"))
	wantDates(t, w, "2026-03-28", "2026-04-02", "2026-04-03")
}

func TestKillBetweenRequestAndNote(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	w := newWorld(t, linked("acme", "c1"))
	n := w.start(t, b, instant(t, "2026-01-30T12:00:00Z"), nil)
	n.settle(t)
	// The run is made, and whoever asked for it dies before the answer.
	w.change(func() { w.answered = func(request) { n.kill() } })
	n.clock.set(instant(t, "2026-01-31T00:00:00Z"))
	testkit.Eventually(t, 30*time.Second, func() error {
		if w.asked() == 0 {
			return errors.New("not asked")
		}
		return nil
	})
	n.stop()
	w.change(func() { w.answered = nil })
	second := w.start(t, b, instant(t, "2026-01-31T00:00:05Z"), nil)
	second.settle(t)
	wantDates(t, w, "2026-01-31")
	if w.asked() != 2 {
		t.Errorf("%d requests, want 2", w.asked())
	}
	if s := get(t, second, "acme", "c1"); s.GetLastSlot() != "2026-01-31" || s.GetLastRunId() == "" {
		t.Errorf("schedule %v", s)
	}
}

func TestChangingTimeOrZoneNeverRunsADateTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, linked("acme", "c1"))
	n := w.start(t, testkit.Bus(t), instant(t, "2026-01-30T12:00:00Z"), nil)
	n.settle(t)
	n.at(t, instant(t, "2026-01-31T00:00:01Z"))
	wantDates(t, w, "2026-01-31")
	set(t, n, "acme", "c1", true, "10:00", "UTC")
	n.at(t, instant(t, "2026-01-31T10:00:01Z"))
	wantDates(t, w, "2026-01-31")
	// Half a day ahead, where it is tomorrow already: the slot before the change is not made up for.
	n.clock.set(instant(t, "2026-01-31T23:00:00Z"))
	if s := set(t, n, "acme", "c1", true, "12:00", "Pacific/Kiritimati"); !s.GetNextAt().AsTime().Equal(instant(t, "2026-02-01T22:00:00Z")) {
		t.Errorf("next at %v", s.GetNextAt().AsTime())
	}
	n.at(t, instant(t, "2026-02-01T22:00:01Z")) // noon of 2 February there
	wantDates(t, w, "2026-01-31", "2026-02-02")
	// Back to where it is still 1 February, which has passed, and then 2 February, which has run.
	set(t, n, "acme", "c1", true, "13:00", "Pacific/Pago_Pago")
	n.at(t, instant(t, "2026-02-02T00:00:01Z"))
	n.at(t, instant(t, "2026-02-03T00:00:01Z"))
	wantDates(t, w, "2026-01-31", "2026-02-02")
	n.at(t, instant(t, "2026-02-04T00:00:01Z"))
	wantDates(t, w, "2026-01-31", "2026-02-02", "2026-02-03")
}

func TestDisablingAndEnabling(t *testing.T) {
	t.Parallel()
	w := newWorld(t, linked("acme", "c1"))
	n := w.start(t, testkit.Bus(t), instant(t, "2026-01-30T12:00:00Z"), nil)
	n.settle(t)
	if s := set(t, n, "acme", "c1", false, "06:30:15", "Europe/Berlin"); s.GetEnabled() || s.GetNextAt() != nil || s.GetTime() != "06:30:15" {
		t.Errorf("schedule %v", s)
	}
	n.at(t, instant(t, "2026-02-03T12:00:00Z"))
	wantDates(t, w)
	// Enabling begins anew: what was missed meanwhile is not made up for.
	if s := set(t, n, "acme", "c1", true, "06:30:15", "Europe/Berlin"); !s.GetNextAt().AsTime().Equal(instant(t, "2026-02-04T05:30:15Z")) {
		t.Errorf("schedule %v", s)
	}
	n.settle(t)
	wantDates(t, w)
	n.at(t, instant(t, "2026-02-04T05:30:15Z"))
	wantDates(t, w, "2026-02-04")
}

func TestRunThatCannotStartIsTriedAgainLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, linked("acme", "c1"))
	notLinked := errs.New(errs.Precondition, "not_linked", "connection c1 needs a reconnect: link the org again")
	w.refuse = func() error { return notLinked }
	b := testkit.Bus(t)
	n := w.start(t, b, instant(t, "2026-01-30T12:00:00Z"), nil)
	n.settle(t)
	n.at(t, instant(t, "2026-01-31T00:00:01Z"))
	n.settle(t)
	if w.asked() != 1 {
		t.Fatalf("asked %d times within a second, want once", w.asked())
	}
	s := get(t, n, "acme", "c1")
	if s.GetReason() != notLinked.Msg || s.GetLastSlot() != "" || !s.GetNextAt().AsTime().Equal(instant(t, "2026-01-31T00:00:00Z")) {
		t.Errorf("schedule %v", s)
	}
	// A second scheduler tries too, and its trying does not wake the first.
	other := w.start(t, b, instant(t, "2026-01-31T00:00:02Z"), nil)
	other.settle(t)
	n.settle(t)
	if w.asked() != 2 {
		t.Fatalf("asked %d times by two, want twice", w.asked())
	}
	other.stop()
	n.at(t, instant(t, "2026-01-31T00:01:30Z"))
	if w.asked() != 3 {
		t.Fatalf("asked %d times after a minute, want 3 times", w.asked())
	}
	wantDates(t, w)
	w.change(func() { w.refuse = nil })
	n.at(t, instant(t, "2026-01-31T09:00:00Z"))
	wantDates(t, w, "2026-01-31")
	if s := get(t, n, "acme", "c1"); s.GetReason() != "" || s.GetLastSlot() != "2026-01-31" {
		t.Errorf("schedule %v", s)
	}
}

// Saving the first field map must not write to the org by surprise: nights before it are not made up for.
func TestNightsWithoutAFieldMapArePassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, linked("acme", "c1"))
	w.refuse = func() error { return errs.New(errs.Precondition, "no_field_map", "save a field map first") }
	n := w.start(t, testkit.Bus(t), instant(t, "2026-01-30T12:00:00Z"), nil)
	n.settle(t)
	n.at(t, instant(t, "2026-01-31T00:00:01Z"))
	if s := get(t, n, "acme", "c1"); s.GetReason() != "save a field map first" || s.GetLastSlot() != "2026-01-31" || s.GetLastRunId() != "" {
		t.Errorf("schedule %v", s)
	}
	w.change(func() { w.refuse = nil })
	n.at(t, instant(t, "2026-01-31T09:00:00Z"))
	wantDates(t, w)
	n.at(t, instant(t, "2026-02-01T00:00:01Z"))
	wantDates(t, w, "2026-02-01")
	if s := get(t, n, "acme", "c1"); s.GetReason() != "" {
		t.Errorf("schedule %v", s)
	}
}

func TestBackOffWhileRunsCannotBeStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, linked("acme", "c1"))
	w.refuse = func() error { return errs.New(errs.Unavailable, "down", "the sync-worker is being restarted") }
	n := w.start(t, testkit.Bus(t), instant(t, "2026-01-30T12:00:00Z"), nil)
	n.settle(t)
	midnight := instant(t, "2026-01-31T00:00:00Z")
	// Waits of 1, 2, 4, 8, 16, 32 and then 60 seconds, looked at once a second. The clock runs on for a few milliseconds
	// in between, and each wait begins with the answer.
	asked := 0
	for second := range 190 {
		n.at(t, midnight.Add(time.Duration(second)*time.Second))
		asked = w.asked()
	}
	if asked < 8 || asked > 10 {
		t.Errorf("asked %d times in 190 seconds, want about 9 times", asked)
	}
	wantDates(t, w)
	w.change(func() { w.refuse = nil })
	n.at(t, midnight.Add(300*time.Second))
	wantDates(t, w, "2026-01-31")
}

func TestKnownConnectionsRunWhileListingFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, linked("acme", "c1"))
	retry := func(c *scheduler.Config) { c.Retry = 2 * time.Millisecond }
	n := w.start(t, testkit.Bus(t), instant(t, "2026-01-30T12:00:00Z"), retry)
	n.settle(t)
	w.change(func() { w.listErr = errs.New(errs.Unavailable, "down", "auth is being restarted") })
	n.at(t, instant(t, "2026-01-31T00:00:01Z"))
	wantDates(t, w, "2026-01-31")
	_, err := n.client.SetSchedule(as("acme"), &schedulerv1.SetScheduleRequest{ConnectionId: "c9"})
	wantKind(t, err, errs.Unavailable, "down")
}

func TestSchedulesBelongToATenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t, linked("acme", "c1"))
	n := w.start(t, testkit.Bus(t), instant(t, "2026-01-30T12:00:00Z"), nil)
	n.settle(t)
	for _, tenant := range []string{"other", "*", "acme.c1"} {
		_, err := n.client.GetSchedule(as(tenant), &schedulerv1.GetScheduleRequest{ConnectionId: "c1"})
		wantKind(t, err, errs.NotFound, "no_connection")
		_, err = n.client.SetSchedule(as(tenant), &schedulerv1.SetScheduleRequest{ConnectionId: "c1"})
		wantKind(t, err, errs.NotFound, "no_connection")
	}
	_, err := n.client.GetSchedule(t.Context(), &schedulerv1.GetScheduleRequest{ConnectionId: "c1"})
	wantKind(t, err, errs.Unauthenticated, "no_tenant")
	_, err = n.client.SetSchedule(t.Context(), &schedulerv1.SetScheduleRequest{ConnectionId: "c1"})
	wantKind(t, err, errs.Unauthenticated, "no_tenant")
}

func TestSetScheduleRefusesWhatDoesNotExist(t *testing.T) {
	t.Parallel()
	w := newWorld(t, linked("acme", "c1"))
	n := w.start(t, testkit.Bus(t), instant(t, "2026-01-30T12:00:00Z"), nil)
	n.stop() // the RPCs need no loop
	for _, req := range []*schedulerv1.SetScheduleRequest{
		{ConnectionId: "c1", Time: "25:00"}, {ConnectionId: "c1", Zone: "Europe/Atlantis"}, {ConnectionId: "c1", Time: "6", Zone: "x"},
	} {
		_, err := n.client.SetSchedule(as("acme"), req)
		wantKind(t, err, errs.Invalid, "bad_schedule")
		if req.GetTime() != "" && !strings.Contains(errs.Message(err), "06:30") || req.GetZone() != "" && !strings.Contains(errs.Message(err), "Europe/Berlin") {
			t.Errorf("message %q does not say what to write", errs.Message(err))
		}
	}
	for _, id := range []string{"", strings.Repeat("x", 129)} {
		_, err := n.client.SetSchedule(as("acme"), &schedulerv1.SetScheduleRequest{ConnectionId: id})
		wantKind(t, err, errs.Invalid, "no_connection")
	}
	if s := get(t, n, "acme", "c1"); !s.GetEnabled() || !s.GetNextAt().AsTime().Equal(instant(t, "2026-01-31T00:00:00Z")) {
		t.Errorf("a linked connection that nobody has looked at has %v", s)
	}
	if s := set(t, n, "acme", "c1", true, "", ""); s.GetTime() != "00:00" || s.GetZone() != "UTC" {
		t.Errorf("empty time and zone became %v", s)
	}
}

func TestJitterSpreadsConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 40 {
		w.linked = append(w.linked, linked("acme", fmt.Sprintf("c%d", i)))
	}
	b := testkit.Bus(t)
	spread := func(c *scheduler.Config) { c.Jitter = time.Hour }
	n := w.start(t, b, instant(t, "2026-01-30T12:00:00Z"), spread)
	n.settle(t)
	started := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.order)
	}
	next := get(t, n, "acme", "c7").GetNextAt().AsTime()
	if next.Before(instant(t, "2026-01-31T00:00:00Z")) || !next.Before(instant(t, "2026-01-31T01:00:00Z")) {
		t.Errorf("next at %v", next)
	}
	n.at(t, instant(t, "2026-01-31T00:30:00Z"))
	if s := started(); s < 5 || s > 35 {
		t.Errorf("%d of 40 runs in the first half of the hour", s)
	}
	n.stop()
	again := w.start(t, b, instant(t, "2026-01-31T00:30:00Z"), spread) // the places are stable
	again.settle(t)
	asked := w.asked()
	again.at(t, instant(t, "2026-01-31T01:00:00Z"))
	if s := started(); s != 40 || w.asked() != 40 {
		t.Errorf("%d runs, %d requests, %d of them before", s, w.asked(), asked)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	c := scheduler.DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	fs := flag.NewFlagSet("scheduler", flag.ContinueOnError)
	c.RegisterFlags(fs)
	if err := fs.Parse([]string{"-tick", "0s", "-refresh", "48h", "-retry", "-1s", "-start-timeout", "0s", "-parallel", "0", "-jitter", "24h"}); err != nil {
		t.Fatal(err)
	}
	err := c.Validate()
	fs.VisitAll(func(f *flag.Flag) {
		if err == nil || !strings.Contains(err.Error(), "-"+f.Name+" ") {
			t.Errorf("validate does not name -%s: %v", f.Name, err)
		}
	})
	if _, err := scheduler.New(t.Context(), c, scheduler.Deps{}); err == nil {
		t.Error("New takes a configuration that is not valid")
	}
	if _, err := scheduler.New(t.Context(), scheduler.DefaultConfig(), scheduler.Deps{}); err == nil {
		t.Error("New takes no dependencies")
	}
}
