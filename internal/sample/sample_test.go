package sample_test

import (
	"bytes"
	"encoding/csv"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/sample"
)

func rows(t *testing.T, o sample.Options) [][]string {
	t.Helper()
	var b bytes.Buffer
	if err := sample.WriteCSV(&b, o); err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample.Header(), all[0]); diff != "" {
		t.Fatalf("header (-want +got):\n%s", diff)
	}
	return all[1:]
}

func TestPeople(t *testing.T) {
	t.Parallel()
	people := rows(t, sample.Options{People: 20_000, Seed: 7})
	if len(people) != 20_000 {
		t.Fatalf("%d people", len(people))
	}
	emails, subaccounts, foreign := map[string]bool{}, map[string]int{}, 0
	for i, p := range people {
		if i > 0 && p[0] <= people[i-1][0] {
			t.Fatalf("ids %s, %s are out of order", people[i-1][0], p[0])
		}
		email := p[1]
		if emails[email] || strings.Count(email, "@") != 1 || len(email) > 80 ||
			!strings.HasSuffix(email, "example.com") && !strings.HasSuffix(email, "example.org") {
			t.Fatalf("e-mail %q", email)
		}
		for _, r := range email {
			if r > 'z' || r <= ' ' || strings.ContainsRune("'\"(),/", r) {
				t.Fatalf("e-mail %q holds %q", email, r)
			}
		}
		emails[email] = true
		subaccounts[p[18]]++
		if len(p[2]) > utf8.RuneCountInString(p[2]) {
			foreign++
		}
		for c, v := range p {
			if v == "" && c != 4 && c != 11 {
				t.Fatalf("person %s has no %s", p[0], sample.Header()[c])
			}
		}
	}
	if len(subaccounts) != 2 || subaccounts["North Campus"] < 9_000 || subaccounts["South Campus"] < 9_000 {
		t.Errorf("subaccounts %v", subaccounts)
	}
	if foreign < 5_000 {
		t.Errorf("%d names beyond ASCII", foreign)
	}
	if diff := cmp.Diff(people[:100], rows(t, sample.Options{People: 100, Seed: 7})); diff != "" {
		t.Errorf("the first hundred depend on how many there are:\n%s", diff)
	}
	if cmp.Equal(people[:100], rows(t, sample.Options{People: 100, Seed: 8})) {
		t.Error("another seed gives the same people")
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		people int
		share  float64
		want   int
	}{{5_000, 0.01, 50}, {10, 0.01, 1}, {100, 0, 0}, {100, 1, 100}, {0, 0.5, 0}, {333, 0.5, 167}} {
		before := rows(t, sample.Options{People: c.people, Seed: 1, ChangeSeed: 3})
		after := rows(t, sample.Options{People: c.people, Seed: 1, Changed: c.share, ChangeSeed: 3})
		changed := 0
		for i := range before {
			if cmp.Equal(before[i], after[i]) {
				continue
			}
			changed++
			if before[i][6] == after[i][6] || before[i][0] != after[i][0] || before[i][1] != after[i][1] {
				t.Errorf("%v became %v", before[i], after[i])
			}
		}
		if changed != c.want {
			t.Errorf("%d of %d people changed with share %g, want %d", changed, c.people, c.share, c.want)
		}
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	var none, at, long int
	for _, p := range rows(t, sample.Options{People: 1_000, Seed: 1, Invalid: 7}) {
		switch {
		case p[1] == "":
			none++
		case !strings.Contains(p[1], "@"):
			at++
		case utf8.RuneCountInString(p[3]) == 300:
			long++
		}
	}
	if none != 3 || at != 2 || long != 2 {
		t.Errorf("%d without e-mail, %d without @, %d with a long name; want 3, 2, 2", none, at, long)
	}
	for _, o := range []sample.Options{{People: -1}, {People: 1, Invalid: 2}, {People: 1, Changed: 1.1}} {
		if err := sample.WriteCSV(io.Discard, o); err == nil {
			t.Errorf("WriteCSV(%+v) succeeded", o)
		}
	}
}

func BenchmarkWriteCSV(b *testing.B) {
	const people = 10_000
	for b.Loop() {
		if err := sample.WriteCSV(io.Discard, sample.Options{People: people, Seed: 1}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*people/b.Elapsed().Seconds(), "people/s")
}
