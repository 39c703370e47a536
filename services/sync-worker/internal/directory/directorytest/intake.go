package directorytest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

func testRoundTrip(t *testing.T, b *bundle) {
	texts := []string{
		"plain", "", " ", "-", "null", "NULL", `\N`, `\.`, `"quoted"`, "it's", `back\slash`, "a\tb", "a\nb", "a\r\nb", "a,b;c", "ÄÖÜß", "𝔘𝔫𝔦", "e\u0301",
		"\u2028\u2029", "\x01\x1f\x7f", "{}", "[1]", "<&>", "%_%", strings.Repeat("ж", directory.MaxValue),
	}
	var people []directory.Record
	for i, text := range texts {
		r := directory.Record{ID: fmt.Sprintf("%03d %s", i, start(text))}
		for f := range directory.NumFields {
			switch field := directory.Field(f); (i + f) % 3 {
			case 0:
				r.Set(field, text)
			case 1:
				r.SetNull(field)
			}
		}
		r.Attributes = []directory.Attribute{{Name: "a " + start(text), Value: text}, {Name: "b", Null: true}, {Name: "c"}}
		people = append(people, r)
	}
	everything := directory.Record{ID: "all"}
	nothing := directory.Record{ID: "none"}
	for f := range directory.NumFields {
		everything.Set(directory.Field(f), strconv.Itoa(f))
	}
	people = append(people, everything, nothing)

	before := time.Now().Truncate(time.Microsecond)
	b.put(directory.Full, people...)
	after := time.Now()
	for _, want := range people {
		got, outcomes, err := b.d.Get(t.Context(), tenant, want.ID)
		b.ok(err)
		if len(outcomes) != 0 || got.Gone || got.ChangedAt.Before(before) || got.ChangedAt.After(after) {
			t.Errorf("%q: outcomes %v, gone %v, changed at %v", want.ID, outcomes, got.Gone, got.ChangedAt)
		}
		b.equal(want, got.Record)
	}
	for i, result := range b.put(directory.Full, people...) {
		if result != directory.Unchanged {
			t.Errorf("%q again: %v", people[i].ID, result)
		}
	}
}

// start is the beginning of a text.
func start(text string) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), 20)])
}

func testResults(t *testing.T, b *bundle) {
	m := b.begin(t.Context(), tenant, directory.Delta)
	put := func(people ...directory.Record) []directory.Result {
		t.Helper()
		results, err := m.Put(t.Context(), people)
		b.ok(err)
		return results
	}
	b.equal([]directory.Result{}, put())
	b.equal([]directory.Result{directory.Added, directory.Duplicate, directory.Added},
		put(person("1", "email", "a"), person("1", "email", "b"), person("2")))
	b.equal([]directory.Result{directory.Duplicate, directory.Added, directory.Duplicate},
		put(person("2", "email", "b"), person("3"), person("1", "email", "a")))
	b.ok(m.Close())
	b.ok(m.Close())

	b.equal([]directory.Result{directory.Unchanged, directory.Changed, directory.Changed, directory.Added},
		b.put(directory.Delta, person("1", "email", "a"), person("2", "email", "-"), person("3", "attributes.x", ""), person("4")))
	b.equal([]directory.Result{directory.Changed, directory.Changed, directory.Unchanged},
		b.put(directory.Delta, person("2", "email", ""), person("3", "attributes.x", "-"), person("1", "email", "a")))
	got, _, err := b.d.Get(t.Context(), tenant, "1")
	b.ok(err)
	b.equal(person("1", "email", "a"), got.Record)
}

func testDeltaKeeps(t *testing.T, b *bundle) {
	b.put(directory.Full, person("1", "email", "a@example.com", "phone", "1", "title", "-", "attributes.x", "1", "attributes.z", "3"))
	b.equal([]directory.Result{directory.Changed}, b.put(directory.Delta, person("1", "phone", "-", "city", "", "attributes.y", "2", "attributes.z", "-")))
	b.equal([]directory.Result{directory.Unchanged}, b.put(directory.Delta, person("1", "city", "", "attributes.x", "1")))
	b.equal([]directory.Result{directory.Unchanged}, b.put(directory.Delta, person("1")))
	got, _, err := b.d.Get(t.Context(), tenant, "1")
	b.ok(err)
	b.equal(person("1", "email", "a@example.com", "phone", "-", "title", "-", "city", "", "attributes.x", "1", "attributes.y", "2", "attributes.z", "-"), got.Record)
}

func testFullReplaces(t *testing.T, b *bundle) {
	b.put(directory.Full, person("1", "email", "a@example.com", "phone", "1", "attributes.x", "1"))
	b.equal([]directory.Result{directory.Changed}, b.put(directory.Full, person("1", "email", "a@example.com")))
	got, _, err := b.d.Get(t.Context(), tenant, "1")
	b.ok(err)
	b.equal(person("1", "email", "a@example.com"), got.Record)
}

func testGone(t *testing.T, b *bundle) {
	ctx := t.Context()
	present := func(want ...string) {
		t.Helper()
		b.equal(want, b.ids(b.scan(2, "email")))
		people, _, err := b.d.List(ctx, tenant, directory.ListOptions{})
		b.ok(err)
		if len(people) != len(want) {
			t.Errorf("%d people listed, want %d", len(people), len(want))
		}
	}
	b.full(person("1", "email", "a"), person("2"), person("3"), person("4"))
	before, _, err := b.d.Get(ctx, tenant, "1")
	b.ok(err)

	m := b.begin(ctx, tenant, directory.Full)
	_, err = m.Put(ctx, []directory.Record{person("2")})
	b.ok(err)
	b.ok(m.Mention(ctx, []string{"3", "unheard of", "3"}))
	b.ok(m.Mention(ctx, nil))
	present("1", "2", "3", "4")
	gone, err := m.MarkGone(ctx)
	b.ok(err)
	b.ok(m.Close())
	if gone != 2 {
		t.Errorf("%d gone, want 2", gone)
	}
	present("2", "3")
	p, _, err := b.d.Get(ctx, tenant, "1")
	b.ok(err)
	if !p.Gone || p.ChangedAt.Before(before.ChangedAt) {
		t.Errorf("gone %v, changed at %v, before %v", p.Gone, p.ChangedAt, before.ChangedAt)
	}
	b.equal(person("1", "email", "a"), p.Record)
	people, _, err := b.d.List(ctx, tenant, directory.ListOptions{IncludeGone: true})
	b.ok(err)
	if len(people) != 4 || !people[0].Gone || people[1].Gone {
		t.Errorf("people %v", people)
	}

	// Who was gone stays gone until an import brings them back, changed or not.
	if gone := b.full(person("2"), person("3")); gone != 0 {
		t.Errorf("%d gone, want 0", gone)
	}
	b.equal([]directory.Result{directory.Added, directory.Added}, b.put(directory.Delta, person("1"), person("4", "email", "new")))
	present("1", "2", "3", "4")
	p, _, err = b.d.Get(ctx, tenant, "1")
	b.ok(err)
	b.equal(person("1", "email", "a"), p.Record)

	// A delta import marks nobody, and an import that ends early neither.
	m = b.begin(ctx, tenant, directory.Delta)
	if _, err = m.MarkGone(ctx); err == nil {
		t.Error("a delta import marked people gone")
	}
	b.ok(m.Close())
	b.put(directory.Full, person("1"))
	present("1", "2", "3", "4")
	if gone := b.full(); gone != 4 {
		t.Errorf("%d gone, want 4", gone)
	}
	present([]string{}...)
}

func testGoneManyPages(t *testing.T, b *bundle) {
	ctx := t.Context()
	const n = 25_000
	people := make([]directory.Record, n)
	for i := range people {
		people[i] = person(strconv.Itoa(i))
	}
	b.put(directory.Full, people...)
	m := b.begin(ctx, tenant, directory.Full)
	kept := 0
	for i := 0; i < n; i += 7 {
		_, err := m.Put(ctx, people[i:i+1])
		b.ok(err)
		if i%700 == 0 {
			b.ok(m.Mention(ctx, []string{strconv.Itoa(i + 1)}))
			kept++
		}
		kept++
	}
	gone, err := m.MarkGone(ctx)
	b.ok(err)
	b.ok(m.Close())
	counts, err := b.d.Count(ctx, tenant)
	b.ok(err)
	if gone != int64(n-kept) || counts.Gone != gone || counts.People != int64(kept) {
		t.Errorf("%d gone of %d, %d stay; counts %+v", gone, n, kept, counts)
	}
}

func testOneImportAtATime(t *testing.T, b *bundle) {
	ctx := t.Context()
	first := b.begin(ctx, tenant, directory.Delta)
	for range 2 {
		_, err := b.d.BeginImport(ctx, tenant, directory.Full)
		b.reason(err, errs.Conflict, "import_running")
	}
	other := b.begin(ctx, "other", directory.Delta)
	b.ok(first.Close())
	again := b.begin(ctx, tenant, directory.Full)
	b.ok(again.Close())
	b.ok(other.Close())
}

func testTenantsApart(t *testing.T, b *bundle) {
	ctx := t.Context()
	b.full(person("1", "email", "a@example.com", "subaccount", "s", "attributes.x", "1"), person("2"))
	m := b.begin(ctx, "other", directory.Full)
	results, err := m.Put(ctx, []directory.Record{person("1", "email", "b@example.com"), person("3")})
	b.ok(err)
	b.equal([]directory.Result{directory.Added, directory.Added}, results)
	gone, err := m.MarkGone(ctx)
	b.ok(err)
	b.ok(m.Close())
	if gone != 0 {
		t.Errorf("%d gone", gone)
	}
	b.equal([]string{"1", "2"}, b.ids(b.scan(10, "id")))
	p, _, err := b.d.Get(ctx, "other", "1")
	b.ok(err)
	b.equal(person("1", "email", "b@example.com"), p.Record)
	_, _, err = b.d.Get(ctx, "other", "2")
	b.reason(err, errs.NotFound, "no_person")
	columns, err := b.d.Columns(ctx, "other")
	b.ok(err)
	if len(columns) != 1+directory.NumFields {
		t.Errorf("columns %v", columns)
	}
	counts, err := b.d.Count(ctx, "other")
	b.ok(err)
	b.equal(directory.Counts{People: 2, BySubaccount: map[string]int64{"": 2}}, counts)
	people, _, err := b.d.List(ctx, "other", directory.ListOptions{Prefix: "a@"})
	b.ok(err)
	if len(people) != 0 {
		t.Errorf("listed %v", people)
	}
}

func testReopen(t *testing.T, b *bundle) {
	b.full(person("1", "email", "a"), person("2", "attributes.x", "1"))
	b.full(person("1", "email", "a"))
	b.reopen()
	b.equal([]directory.Result{directory.Unchanged, directory.Added, directory.Added},
		b.put(directory.Delta, person("1", "email", "a"), person("2"), person("3")))
	b.reopen()
	if gone := b.full(person("3")); gone != 2 {
		t.Errorf("%d gone, want 2", gone)
	}
	columns, err := b.d.Columns(t.Context(), tenant)
	b.ok(err)
	if columns[len(columns)-1] != "attributes.x" {
		t.Errorf("columns %v", columns)
	}
}

// testModel plays random imports against the plainest directory there can be.
func testModel(t *testing.T, b *bundle) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	m := &model{records: map[string]directory.Record{}, gone: map[string]bool{}}
	random := func() directory.Record {
		p := directory.Record{ID: strconv.Itoa(r.IntN(60))}
		for range r.IntN(4) {
			if f := directory.Field(r.IntN(directory.NumFields)); r.IntN(4) == 0 {
				p.SetNull(f)
			} else {
				p.Set(f, []string{"", "x", "y"}[r.IntN(3)])
			}
		}
		for i := range 3 {
			if r.IntN(3) == 0 {
				p.Attributes = append(p.Attributes, directory.Attribute{Name: string(rune('a' + i)), Value: strconv.Itoa(r.IntN(2))})
			}
		}
		return p
	}
	for range 25 {
		mode := directory.Mode(r.IntN(2))
		session := b.begin(t.Context(), tenant, mode)
		seen := map[string]bool{}
		taken := map[string]bool{}
		for range r.IntN(5) {
			var batch []directory.Record
			var want []directory.Result
			for range r.IntN(20) {
				p := random()
				batch = append(batch, p)
				if taken[p.ID] {
					want = append(want, directory.Duplicate)
					continue
				}
				taken[p.ID], seen[p.ID] = true, true
				want = append(want, m.put(mode, p))
			}
			got, err := session.Put(t.Context(), batch)
			b.ok(err)
			if len(want) > 0 {
				b.equal(want, got)
			}
			mentioned := strconv.Itoa(r.IntN(60))
			b.ok(session.Mention(t.Context(), []string{mentioned}))
			seen[mentioned] = true
		}
		if mode == directory.Full {
			want := int64(0)
			for _, id := range m.present() {
				if !seen[id] {
					m.gone[id] = true
					want++
				}
			}
			got, err := session.MarkGone(t.Context())
			b.ok(err)
			b.equal(want, got)
		}
		b.ok(session.Close())

		columns, err := b.d.Columns(t.Context(), tenant)
		b.ok(err)
		ids := m.present()
		rows := b.everybody(1 + r.IntN(30))
		if len(ids) != len(rows) {
			t.Fatalf("%d people, want %d", len(rows), len(ids))
		}
		for i, row := range rows {
			want := m.records[row.GetId()]
			s, err := directory.NewSelection(columns)
			b.ok(err)
			b.equal(ids[i], row.GetId())
			b.equal(show(columns, s.Row(&want)), show(columns, row))
		}
	}
}
