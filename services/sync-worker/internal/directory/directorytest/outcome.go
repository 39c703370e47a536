package directorytest

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

const (
	created    = syncv1.OutcomeKind_OUTCOME_KIND_CREATED
	updated    = syncv1.OutcomeKind_OUTCOME_KIND_UPDATED
	unchanged  = syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED
	skipped    = syncv1.OutcomeKind_OUTCOME_KIND_SKIPPED
	rejected   = syncv1.OutcomeKind_OUTCOME_KIND_REJECTED
	failed     = syncv1.OutcomeKind_OUTCOME_KIND_FAILED
	superseded = syncv1.OutcomeKind_OUTCOME_KIND_SUPERSEDED
	deferred   = syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED
)

// at is when run n ended.
func at(n int) time.Time { return time.Date(2026, 3, 1, 0, n, 0, 123456000, time.UTC) }

// outcomes are those of people 0 to n-1.
func outcomes(n int, kind syncv1.OutcomeKind) []*syncv1.Outcome {
	os := make([]*syncv1.Outcome, n)
	for i := range os {
		os[i] = &syncv1.Outcome{PersonId: strconv.Itoa(i), Kind: kind, RecordId: "003" + strconv.Itoa(i)}
	}
	return os
}

// project projects one person's outcome.
func (b *bundle) project(run int, kind syncv1.OutcomeKind, record string) {
	b.t.Helper()
	b.ok(b.d.ProjectOutcomes(b.t.Context(), tenant, "c", fmt.Sprintf("run%d", run), at(run), []*syncv1.Outcome{{PersonId: "1", Kind: kind, RecordId: record}}))
}

// latest is the run and kind of the stored outcome.
func (b *bundle) latest(person string) string {
	b.t.Helper()
	_, os, err := b.d.Get(b.t.Context(), tenant, person)
	b.ok(err)
	if len(os) == 0 {
		return ""
	}
	return os[0].Run + " " + os[0].Outcome.GetKind().String()[len("OUTCOME_KIND_"):]
}

func testOutcomes(t *testing.T, b *bundle) {
	ctx := t.Context()
	b.put(directory.Full, person("1"), person("2"))
	first := &syncv1.Outcome{
		PersonId: "1", Kind: failed, RecordId: "003A", Code: "REQUIRED_FIELD_MISSING", Message: "Required fields are missing: [\"Last\nName\"] é\x00",
		Fields: []string{"LastName", `a"b,`, ""}, BulkJobId: "750A", OtherRecordIds: []string{"003X", "003Y"}, FieldMapVersion: 7,
	}
	second := &syncv1.Outcome{PersonId: "1", Kind: created}
	for range 2 { // twice: the same
		b.ok(b.d.ProjectOutcomes(ctx, tenant, "c2", "run2", at(2), []*syncv1.Outcome{second, {PersonId: "nobody", Kind: failed}}))
		b.ok(b.d.ProjectOutcomes(ctx, tenant, "c1", "run1", at(1), []*syncv1.Outcome{first}))
		b.ok(b.d.ProjectOutcomes(ctx, "other", "c1", "run9", at(9), []*syncv1.Outcome{{PersonId: "1", Kind: skipped}}))
		b.ok(b.d.ProjectOutcomes(ctx, tenant, "c1", "run1", at(1), nil))
	}
	_, got, err := b.d.Get(ctx, tenant, "1")
	b.ok(err)
	if n := len(got); n != 2 {
		t.Fatalf("%d outcomes", n)
	}
	if m := got[0].Outcome.GetMessage(); m[len(m)-1] == 0 {
		got[0].Outcome.Message += "" // kept by this store
	} else {
		got[0].Outcome.Message += "\x00" // a store may drop NUL
	}
	want := []directory.PersonOutcome{
		{Connection: "c1", Run: "run1", EndedAt: at(1), Outcome: first},
		{Connection: "c2", Run: "run2", EndedAt: at(2), Outcome: second},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if _, got, err = b.d.Get(ctx, tenant, "2"); err != nil || len(got) != 0 {
		t.Errorf("person 2 has %v, %v", got, err)
	}
	// The latest outcome stays with a person who is gone.
	b.full(person("2"))
	if p, got, err := b.d.Get(ctx, tenant, "1"); err != nil || len(got) != 2 || !p.Gone {
		t.Errorf("person 1 is %v with %v, %v", p, got, err)
	}
}

func testOutcomesSuperseding(t *testing.T, b *bundle) {
	b.put(directory.Full, person("1"))
	step := func(run int, kind syncv1.OutcomeKind, record, want string) {
		t.Helper()
		b.project(run, kind, record)
		if got := b.latest("1"); got != want {
			t.Fatalf("run %d %v: stored %q, want %q", run, kind, got, want)
		}
	}
	step(10, failed, "", "run10 FAILED")
	step(10, failed, "", "run10 FAILED")
	step(9, created, "A", "run10 FAILED") // older
	run := 10
	for _, bad := range []syncv1.OutcomeKind{failed, rejected, skipped, deferred, superseded} {
		run += 10
		name := bad.String()[len("OUTCOME_KIND_"):]
		step(run, bad, "A", fmt.Sprintf("run%d %s", run, name))
		step(run+1, unchanged, "A", fmt.Sprintf("run%d UNCHANGED", run+1)) // replaces a bad one
		step(run+2, unchanged, "A", fmt.Sprintf("run%d UNCHANGED", run+1)) // and not a good one
	}
	step(90, created, "A", "run90 CREATED")
	step(91, unchanged, "A", "run90 CREATED")
	step(92, unchanged, "", "run90 CREATED")
	step(93, unchanged, "B", "run93 UNCHANGED") // another record
	step(94, updated, "B", "run94 UPDATED")
	step(95, unchanged, "B", "run94 UPDATED")
	step(96, updated, "B", "run96 UPDATED")
	step(98, unchanged, "B", "run96 UPDATED")
	step(97, failed, "B", "run96 UPDATED") // run 98 has found the record right since
	step(98, unchanged, "B", "run96 UPDATED")
	step(99, failed, "B", "run99 FAILED")

	// Between runs that ended at the same time the id decides, whatever comes first.
	for _, o := range []struct{ run, want string }{{"b", "b"}, {"a", "b"}, {"c", "c"}} {
		b.ok(b.d.ProjectOutcomes(t.Context(), tenant, "c", o.run, at(200), []*syncv1.Outcome{{PersonId: "1", Kind: updated}}))
		if got := b.latest("1"); got != o.want+" UPDATED" {
			t.Errorf("run %s: stored %q", o.run, got)
		}
	}
	// An older run fills gaps; the last of two outcomes of one person counts.
	b.put(directory.Delta, person("2"), person("3"))
	b.ok(b.d.ProjectOutcomes(t.Context(), tenant, "c", "old", at(5), []*syncv1.Outcome{{PersonId: "2", Kind: failed}, {PersonId: "2", Kind: skipped}}))
	if got := b.latest("2"); got != "old SKIPPED" {
		t.Errorf("stored %q", got)
	}
	// Finer than the store's clock.
	b.ok(b.d.ProjectOutcomes(t.Context(), tenant, "d", "x", at(1).Add(999), []*syncv1.Outcome{{PersonId: "3", Kind: failed}}))
	b.ok(b.d.ProjectOutcomes(t.Context(), tenant, "d", "x", at(1).Add(999), []*syncv1.Outcome{{PersonId: "3", Kind: updated}}))
	if got := b.latest("3"); got != "x UPDATED" {
		t.Errorf("stored %q", got)
	}
}

func testOutcomesMany(t *testing.T, b *bundle) {
	const n = 6_000
	people := make([]directory.Record, n)
	for i := range people {
		people[i] = person(strconv.Itoa(i))
	}
	b.put(directory.Full, people...)
	b.ok(b.d.ProjectOutcomes(t.Context(), tenant, "c", "run1", at(1), outcomes(n, created)))
	later := outcomes(n, unchanged)
	for i := 0; i < n; i += 100 {
		later[i].Kind = failed
	}
	b.ok(b.d.ProjectOutcomes(t.Context(), tenant, "c", "run2", at(2), later))
	for _, i := range []int{0, 1, 99, 100, 5_899, 5_900, 5_999} {
		want := "run1 CREATED"
		if i%100 == 0 {
			want = "run2 FAILED"
		}
		if got := b.latest(strconv.Itoa(i)); got != want {
			t.Errorf("person %d: %q, want %q", i, got, want)
		}
	}
}

func testHistory(t *testing.T, b *bundle) {
	ctx := t.Context()
	b.put(directory.Full, person("1"), person("2"))
	history := func(person string, limit int) (runs []string) {
		t.Helper()
		os, err := b.d.History(ctx, tenant, "c", person, limit)
		b.ok(err)
		for _, o := range os {
			if o.Outcome.GetPersonId() != person || o.Connection != "c" {
				t.Errorf("history of %s holds %v", person, o)
			}
			runs = append(runs, o.Run+" "+o.Outcome.GetKind().String()[len("OUTCOME_KIND_"):])
		}
		return runs
	}
	same := func(want []string, got []string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
	}
	same(nil, history("1", 20))
	for range 2 { // twice: the same
		b.project(1, created, "A")
	}
	b.project(2, unchanged, "A")
	b.project(3, updated, "A")
	b.project(3, updated, "A")
	b.project(4, deferred, "")
	same([]string{"run4 DEFERRED", "run3 UPDATED", "run1 CREATED"}, history("1", 20))
	same([]string{"run4 DEFERRED", "run3 UPDATED"}, history("1", 2))
	same(nil, history("2", 20))

	known, err := b.d.KnownRecords(ctx, tenant, "c", []string{"1", "2", "nobody"})
	b.ok(err)
	if diff := cmp.Diff(map[string]string{"1": "A"}, known); diff != "" {
		t.Errorf("known records (-want +got):\n%s", diff)
	}
	for record, want := range map[string]string{"A": "1", "B": ""} {
		if got, err := b.d.PersonOfRecord(ctx, tenant, "c", record); err != nil || got != want {
			t.Errorf("record %s is %q's, %v; want %q", record, got, err, want)
		}
	}
	// What is older than the age goes with the next outcome.
	late := at(5).Add(directory.HistoryAge)
	b.ok(b.d.ProjectOutcomes(ctx, tenant, "c", "run9", late, []*syncv1.Outcome{{PersonId: "1", Kind: failed, Message: "m", OtherRecordIds: []string{"x"}, FieldMapVersion: 3}}))
	same([]string{"run9 FAILED"}, history("1", 20))

	b.ok(b.d.ProjectOutcomes(ctx, tenant, "other", "run1", at(1), []*syncv1.Outcome{{PersonId: "1", Kind: created}}))
	b.ok(b.d.DropOutcomes(ctx, tenant, "c"))
	same(nil, history("1", 20))
	if _, os, err := b.d.Get(ctx, tenant, "1"); err != nil || len(os) != 1 || os[0].Connection != "other" {
		t.Errorf("after the drop: %v, %v", os, err)
	}
}

// Leavers are people who are gone and of whom a record is known on the connection.
func testLeavers(t *testing.T, b *bundle) {
	ctx := t.Context()
	b.put(directory.Full, person("1"), person("2"), person("3"), person("4"))
	b.ok(b.d.ProjectOutcomes(ctx, tenant, "c", "run1", at(1), []*syncv1.Outcome{
		{PersonId: "1", Kind: created, RecordId: "A"},
		{PersonId: "2", Kind: created, RecordId: "B"},
		{PersonId: "3", Kind: rejected},
		{PersonId: "4", Kind: updated, RecordId: "D"},
	}))
	check := func(after string, limit int, want ...directory.Leaver) {
		t.Helper()
		got, err := b.d.Leavers(ctx, tenant, "c", after, limit)
		b.ok(err)
		if diff := cmp.Diff(want, append([]directory.Leaver(nil), got...)); diff != "" {
			t.Errorf("leavers after %q (-want +got):\n%s", after, diff)
		}
	}
	check("", 10)
	b.full(person("1"))
	check("", 10, directory.Leaver{Person: "2", Record: "B"}, directory.Leaver{Person: "4", Record: "D"})
	check("", 1, directory.Leaver{Person: "2", Record: "B"})
	check("2", 10, directory.Leaver{Person: "4", Record: "D"})
	for connection, want := range map[string]int64{"c": 2, "other": 0} {
		n, err := b.d.CountLeavers(ctx, tenant, connection)
		b.ok(err)
		if n != want {
			t.Errorf("%d leavers on %s, want %d", n, connection, want)
		}
	}
}
