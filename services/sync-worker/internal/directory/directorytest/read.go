package directorytest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

func testRanges(t *testing.T, b *bundle) {
	// Bytes decide the order, in every database and locale.
	ids := []string{"Z", "a", "A", "B", "_", "-", "1", "10", "2", "é", "e", "f", "ß", "s", "t", "日本", "a b", "a-b", "ab", "𝔘", "ｚ"}
	people := make([]directory.Record, 0, len(ids))
	for _, id := range ids {
		people = append(people, person(id))
	}
	b.put(directory.Full, append(people, person("gone"), person("0gone"), person("zz"))...)
	b.full(people...)
	slices.Sort(ids)
	for _, n := range []int{1, 2, 3, 7, len(ids) - 1, len(ids), len(ids) + 1, 1_000_000} {
		ranges, total, err := b.d.Ranges(t.Context(), tenant, n)
		b.ok(err)
		if want := (len(ids) + n - 1) / n; len(ranges) != want || total != int64(len(ids)) {
			t.Fatalf("%d ranges of %d, %d people in all; want %d, %d", len(ranges), n, total, want, len(ids))
		}
		for i, r := range ranges {
			if i > 0 && r.From != ranges[i-1].To || i == 0 && r.From != "" {
				t.Errorf("ranges %v", ranges)
			}
		}
		b.equal(ids, b.ids(b.scan(n, "id")))
	}
	if _, _, err := b.d.Ranges(t.Context(), tenant, 0); err == nil {
		t.Error("ranges of 0 people")
	}

	// Ranges are cut once: whoever comes behind the last one is not in them.
	ranges, _, err := b.d.Ranges(t.Context(), tenant, 10)
	b.ok(err)
	b.put(directory.Delta, person("\U0001F600"))
	n := 0
	for _, r := range ranges {
		b.ok(b.d.Scan(t.Context(), tenant, r, nil, func(row *rowv1.Row) error {
			n++
			if len(row.GetValues()) != 0 {
				t.Errorf("row %v", row)
			}
			return nil
		}))
	}
	if n != len(ids) {
		t.Errorf("%d people, want %d", n, len(ids))
	}
}

func testScan(t *testing.T, b *bundle) {
	ctx := t.Context()
	b.put(directory.Full,
		person("1", "email", "a", "title", "", "phone", "-", "attributes.job_level", "7", "attributes.y", "-"),
		person("2", "attributes.y", ""))
	columns := []string{"Title", "attributes.Job-Level", "id", "email", "phone", "city", "attributes.y", "attributes.nobody", "title"}
	rows := b.scan(10, columns...)
	b.equal(map[string]string{"Title": "=", "attributes.Job-Level": "=7", "id": "=1", "email": "=a", "phone": "-", "attributes.y": "-", "title": "="}, show(columns, rows[0]))
	b.equal(map[string]string{"id": "=2", "attributes.y": "="}, show(columns, rows[1]))
	for _, row := range rows {
		if len(row.GetValues()) != len(columns) {
			t.Errorf("%d values", len(row.GetValues()))
		}
		for _, i := range append(row.GetNull(), row.GetAbsent()...) {
			if row.GetValues()[i] != "" {
				t.Errorf("row %v has a value where there is none", row)
			}
		}
	}
	for _, column := range []string{"", "nonsense", "attributes.", "attributes", "email;--"} {
		err := b.d.Scan(ctx, tenant, directory.Range{To: "9"}, []string{"email", column}, func(*rowv1.Row) error { return nil })
		b.reason(err, errs.Invalid, "unknown_field")
	}
	mine := errors.New("mine")
	n := 0
	err := b.d.Scan(ctx, tenant, directory.Range{To: "9"}, []string{"email"}, func(*rowv1.Row) error {
		n++
		return mine
	})
	if !errors.Is(err, mine) || n != 1 {
		t.Errorf("Scan = %v after %d rows", err, n)
	}

	// Many pages, and a scan that is slow to take them while people are written.
	people := make([]directory.Record, 9_000)
	for i := range people {
		people[i] = person(fmt.Sprintf("p%05d", i), "email", strconv.Itoa(i))
	}
	b.put(directory.Full, people...)
	n = 0
	b.ok(b.d.Scan(ctx, tenant, directory.Range{From: "p", To: "q"}, []string{"email"}, func(row *rowv1.Row) error {
		if row.GetId() != people[n].ID || row.GetValues()[0] != strconv.Itoa(n) {
			return fmt.Errorf("row %d is %v", n, row)
		}
		if n%3_000 == 0 {
			b.put(directory.Delta, person("p00000", "title", strconv.Itoa(n)))
		}
		n++
		return nil
	}))
	if n != len(people) {
		t.Errorf("%d rows, want %d", n, len(people))
	}
}

func testScanLongValues(t *testing.T, b *bundle) {
	long := strings.Repeat("x", directory.MaxValue)
	people := make([]directory.Record, 60)
	for i := range people {
		people[i] = person(fmt.Sprintf("%02d", i), "attributes.long", long)
		for f := range directory.NumFields {
			people[i].Set(directory.Field(f), long)
		}
	}
	b.put(directory.Full, people...)
	rows := b.everybody(100)
	if len(rows) != len(people) {
		t.Fatalf("%d people, want %d", len(rows), len(people))
	}
	for i, row := range rows {
		if row.GetId() != people[i].ID || len(strings.Join(row.GetValues(), "")) != len(row.GetId())+(directory.NumFields+1)*len(long) {
			t.Fatalf("row %d is of person %s", i, row.GetId())
		}
	}
}

func testColumns(t *testing.T, b *bundle) {
	b.full(person("1", "attributes.b", "1", "attributes.é", "1"))
	b.put(directory.Delta, person("2", "attributes.a", "-"), person("3", "attributes.b", "", "attributes.B_c", ""))
	b.full(person("4"))
	columns, err := b.d.Columns(t.Context(), tenant)
	b.ok(err)
	b.equal([]string{"attributes.a", "attributes.b", "attributes.b_c", "attributes.é"}, columns[1+directory.NumFields:])
}

func testList(t *testing.T, b *bundle) {
	b.full(person("gone", "email", "gone@example.com"))
	b.full(
		person("P1", "email", "Ann@example.com", "subaccount", "north"),
		person("P2", "email", "annabel@example.com", "subaccount", "south"),
		person("P3", "email", "bob@example.com", "subaccount", "north"),
		person("P_4", "email", "%20@example.com"),
		person("ann", "email", `_\x@example.com`),
		person("p5"),
	)
	for _, c := range []struct {
		o    directory.ListOptions
		want string
	}{
		{directory.ListOptions{}, "P1 P2 P3 P_4 ann p5"},
		{directory.ListOptions{IncludeGone: true}, "P1 P2 P3 P_4 ann gone p5"},
		{directory.ListOptions{Subaccount: "north"}, "P1 P3"},
		{directory.ListOptions{Subaccount: "north", Prefix: "ann"}, "P1"},
		{directory.ListOptions{Subaccount: "north' OR 1=1 --"}, ""},
		{directory.ListOptions{Prefix: "ann"}, "P1 P2 ann"},
		{directory.ListOptions{Prefix: "ANN"}, "P1 P2"},
		{directory.ListOptions{Prefix: "P"}, "P1 P2 P3 P_4"},
		{directory.ListOptions{Prefix: "p"}, "p5"},
		{directory.ListOptions{Prefix: "P_"}, "P_4"},
		{directory.ListOptions{Prefix: "%"}, "P_4"},
		{directory.ListOptions{Prefix: "_"}, "ann"},
		{directory.ListOptions{Prefix: `_\`}, "ann"},
		{directory.ListOptions{Prefix: `\`}, ""},
		{directory.ListOptions{Prefix: "gone"}, ""},
		{directory.ListOptions{Prefix: "gone", IncludeGone: true}, "gone"},
		{directory.ListOptions{After: "P3"}, "P_4 ann p5"},
	} {
		for _, limit := range []int{0, 1, 2, 6, 7} {
			o := c.o
			o.Limit = limit
			var got []string
			for pages := 0; pages == 0 || o.After != ""; pages++ {
				people, next, err := b.d.List(t.Context(), tenant, o)
				b.ok(err)
				if len(people) == 0 && pages > 0 || limit > 0 && len(people) > limit {
					t.Fatalf("%+v: page %d has %d people", c.o, pages, len(people))
				}
				for _, p := range people {
					got = append(got, p.ID)
				}
				o.After = next
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%+v by %d: %v, want %s", c.o, limit, got, c.want)
			}
		}
	}
	people := make([]directory.Record, 1_200)
	for i := range people {
		people[i] = person(fmt.Sprintf("x%04d", i))
	}
	b.put(directory.Delta, people...)
	for limit, want := range map[int]int{-1: 100, 0: 100, 1_000: 1_000, 5_000: 1_000} {
		got, next, err := b.d.List(t.Context(), tenant, directory.ListOptions{Limit: limit})
		b.ok(err)
		if len(got) != want || next != got[want-1].ID {
			t.Errorf("limit %d gave %d people, next %q", limit, len(got), next)
		}
	}
}

func testCount(t *testing.T, b *bundle) {
	b.full(person("1"), person("2", "subaccount", "north"), person("gone", "subaccount", "north"), person("gone2"))
	b.full(person("1"), person("2", "subaccount", "north"), person("3", "subaccount", "north"), person("4", "subaccount", ""), person("5", "subaccount", "-"), person("6", "subaccount", "süd"))
	counts, err := b.d.Count(t.Context(), tenant)
	b.ok(err)
	b.equal(directory.Counts{People: 6, Gone: 2, BySubaccount: map[string]int64{"": 3, "north": 2, "süd": 1}}, counts)
}

// testConcurrent imports, scans, lists and projects at once.
func testConcurrent(t *testing.T, b *bundle) {
	const tenants, batches, size = 3, 10, 200
	var g errgroup.Group
	for n := range tenants {
		name := fmt.Sprintf("tenant%d", n)
		g.Go(func() error {
			m, err := b.d.BeginImport(t.Context(), name, directory.Full)
			if err != nil {
				return err
			}
			defer m.Close() //nolint:errcheck // a test that failed otherwise
			for i := range batches {
				people := make([]directory.Record, size)
				for k := range people {
					people[k] = person(fmt.Sprintf("%03d-%03d", i, k), "email", name, "attributes.a"+strconv.Itoa(i), "x")
				}
				if _, err := m.Put(t.Context(), people); err != nil {
					return err
				}
			}
			_, err = m.MarkGone(t.Context())
			return err
		})
		g.Go(func() error {
			for range batches {
				ranges, _, err := b.d.Ranges(t.Context(), name, 100)
				if err != nil {
					return err
				}
				for _, r := range ranges {
					if err := b.d.Scan(t.Context(), name, r, []string{"email"}, func(row *rowv1.Row) error {
						if row.GetValues()[0] != name {
							return fmt.Errorf("%s got %v", name, row)
						}
						return nil
					}); err != nil {
						return err
					}
				}
				if _, _, err := b.d.List(t.Context(), name, directory.ListOptions{}); err != nil {
					return err
				}
			}
			return nil
		})
		g.Go(func() error {
			for i := range batches {
				if err := b.d.ProjectOutcomes(t.Context(), name, "c", "r"+strconv.Itoa(i), at(i), outcomes(size, updated)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	b.ok(g.Wait())
	for n := range tenants {
		counts, err := b.d.Count(t.Context(), fmt.Sprintf("tenant%d", n))
		b.ok(err)
		if counts.People != batches*size {
			t.Errorf("%d people", counts.People)
		}
	}
}
