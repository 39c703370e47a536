// Package directorytest owns what every directory must do, as tests.
package directorytest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

// Store makes a new, empty store for a test and returns what opens it. The suite closes what it opens, and never has it
// open twice.
type Store func(t *testing.T) func() (directory.Directory, error)

// Run runs the suite.
func Run(t *testing.T, store Store) {
	for name, test := range map[string]func(*testing.T, *bundle){
		"Empty":               testEmpty,
		"RoundTrip":           testRoundTrip,
		"Results":             testResults,
		"DeltaKeeps":          testDeltaKeeps,
		"FullReplaces":        testFullReplaces,
		"Gone":                testGone,
		"GoneManyPages":       testGoneManyPages,
		"OneImportAtATime":    testOneImportAtATime,
		"TenantsApart":        testTenantsApart,
		"Reopen":              testReopen,
		"Cancelled":           testCancelled,
		"Ranges":              testRanges,
		"Scan":                testScan,
		"ScanLongValues":      testScanLongValues,
		"Columns":             testColumns,
		"List":                testList,
		"Count":               testCount,
		"Model":               testModel,
		"Outcomes":            testOutcomes,
		"OutcomesSuperseding": testOutcomesSuperseding,
		"OutcomesMany":        testOutcomesMany,
		"History":             testHistory,
		"Leavers":             testLeavers,
		"Concurrent":          testConcurrent,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &bundle{t: t, open: store(t)}
			b.reopen()
			t.Cleanup(func() { b.ok(b.d.Close()) })
			test(t, b)
		})
	}
}

// bundle is what a test works with.
type bundle struct {
	t    *testing.T
	open func() (directory.Directory, error)
	d    directory.Directory
}

const tenant = "acme"

func (b *bundle) reopen() {
	b.t.Helper()
	if b.d != nil {
		b.ok(b.d.Close())
	}
	var err error
	b.d, err = b.open()
	b.ok(err)
}

func (b *bundle) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) equal(want, got any) {
	b.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Fatalf("-want +got:\n%s", diff)
	}
}

func (b *bundle) reason(err error, kind errs.Kind, reason string) {
	b.t.Helper()
	if errs.KindOf(err) != kind || errs.ReasonOf(err) != reason {
		b.t.Fatalf("err = %v (%v %s), want %v %s", err, errs.KindOf(err), errs.ReasonOf(err), kind, reason)
	}
}

// begin begins an import, which is closed at the end of the test if not before.
func (b *bundle) begin(ctx context.Context, name string, mode directory.Mode) directory.Import {
	b.t.Helper()
	m, err := b.d.BeginImport(ctx, name, mode)
	b.ok(err)
	b.t.Cleanup(func() { _ = m.Close() })
	return m
}

// put imports people in one batch and returns what became of each.
func (b *bundle) put(mode directory.Mode, people ...directory.Record) []directory.Result {
	b.t.Helper()
	m := b.begin(b.t.Context(), tenant, mode)
	results, err := m.Put(b.t.Context(), people)
	b.ok(err)
	b.ok(m.Close())
	return results
}

// full imports everybody and returns how many are gone.
func (b *bundle) full(people ...directory.Record) int64 {
	b.t.Helper()
	m := b.begin(b.t.Context(), tenant, directory.Full)
	_, err := m.Put(b.t.Context(), people)
	b.ok(err)
	gone, err := m.MarkGone(b.t.Context())
	b.ok(err)
	b.ok(m.Close())
	return gone
}

// everybody scans all people who are not gone, through ranges of that size, with all columns.
func (b *bundle) everybody(rowsPerRange int) []*rowv1.Row {
	b.t.Helper()
	columns, err := b.d.Columns(b.t.Context(), tenant)
	b.ok(err)
	return b.scan(rowsPerRange, columns...)
}

func (b *bundle) scan(rowsPerRange int, columns ...string) []*rowv1.Row {
	b.t.Helper()
	ranges, total, err := b.d.Ranges(b.t.Context(), tenant, rowsPerRange)
	b.ok(err)
	var rows []*rowv1.Row
	for _, r := range ranges {
		b.ok(b.d.Scan(b.t.Context(), tenant, r, columns, func(row *rowv1.Row) error {
			rows = append(rows, row)
			return nil
		}))
	}
	if int64(len(rows)) != total {
		b.t.Fatalf("scanned %d people of %d", len(rows), total)
	}
	return rows
}

func (b *bundle) ids(rows []*rowv1.Row) []string {
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.GetId()
	}
	return ids
}

// person returns a record with those fields; "-" as value is null.
func person(id string, fields ...string) directory.Record {
	r := directory.Record{ID: id}
	for i := 0; i < len(fields); i += 2 {
		column, ok := directory.ParseColumn(fields[i])
		if !ok || column.ID {
			panic(fields[i])
		}
		value, null := fields[i+1], fields[i+1] == "-"
		if null {
			value = ""
		}
		switch {
		case column.Attribute != "":
			r.Attributes = append(r.Attributes, directory.Attribute{Name: column.Attribute, Value: value, Null: null})
		case null:
			r.SetNull(column.Field)
		default:
			r.Set(column.Field, value)
		}
	}
	directory.SortAttributes(r.Attributes)
	return r
}

// show turns a row into "column=value" for what is given, null as "-".
func show(columns []string, row *rowv1.Row) map[string]string {
	m := map[string]string{}
	for i, column := range columns {
		switch {
		case slices.Contains(row.GetNull(), uint32(i)):
			m[column] = "-"
		case !slices.Contains(row.GetAbsent(), uint32(i)):
			m[column] = "=" + row.GetValues()[i]
		}
	}
	return m
}

// model is the plainest directory there can be: what the tests compare with.
type model struct {
	records map[string]directory.Record
	gone    map[string]bool
}

func (m *model) put(mode directory.Mode, r directory.Record) directory.Result {
	old, known := m.records[r.ID]
	if known && mode == directory.Delta {
		r.Fill(&old)
	}
	m.records[r.ID] = r
	switch {
	case !known, m.gone[r.ID]:
		delete(m.gone, r.ID)
		return directory.Added
	case cmp.Equal(old, r):
		return directory.Unchanged
	}
	return directory.Changed
}

func (m *model) present() []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(m.records)) {
		if !m.gone[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

func testEmpty(t *testing.T, b *bundle) {
	ctx := t.Context()
	ranges, total, err := b.d.Ranges(ctx, tenant, 10)
	b.ok(err)
	if len(ranges) != 0 || total != 0 {
		t.Errorf("%d ranges, %d people", len(ranges), total)
	}
	columns, err := b.d.Columns(ctx, tenant)
	b.ok(err)
	b.equal(append([]string{"id"}, directory.FieldNames()...), columns)
	counts, err := b.d.Count(ctx, tenant)
	b.ok(err)
	b.equal(directory.Counts{BySubaccount: map[string]int64{}}, counts)
	people, next, err := b.d.List(ctx, tenant, directory.ListOptions{})
	b.ok(err)
	if len(people) != 0 || next != "" {
		t.Errorf("List = %v, %q", people, next)
	}
	for _, id := range []string{"", "17", "a\x00b"} {
		_, _, err = b.d.Get(ctx, tenant, id)
		b.reason(err, errs.NotFound, "no_person")
	}
	b.ok(b.d.Scan(ctx, tenant, directory.Range{To: "z"}, columns, func(*rowv1.Row) error { return fmt.Errorf("a row") }))
	if gone := b.full(); gone != 0 {
		t.Errorf("%d gone", gone)
	}
}

func testCancelled(t *testing.T, b *bundle) {
	ctx, cancel := context.WithCancel(t.Context())
	m := b.begin(ctx, tenant, directory.Full)
	_, err := m.Put(ctx, []directory.Record{person("1"), person("2")})
	b.ok(err)
	cancel()
	if _, err = m.Put(ctx, []directory.Record{person("3")}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("Put = %v, want a cancelled context", err)
	}
	if _, err = m.MarkGone(ctx); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("MarkGone = %v, want a cancelled context", err)
	}
	b.ok(m.Close())
	for range 5 {
		if _, err = b.d.Count(ctx, tenant); errs.KindOf(err) != errs.Unavailable {
			t.Errorf("Count = %v, want a cancelled context", err)
		}
	}
	if gone := b.full(person("1"), person("3")); gone != 1 {
		t.Errorf("%d gone, want 1", gone)
	}
}
