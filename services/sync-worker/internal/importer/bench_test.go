package importer_test

import (
	"bytes"
	"path/filepath"
	"testing"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/postgres"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/sqlite"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/importer"
)

// BenchmarkDirectory imports, imports again with 1 % changed, cuts ranges and scans the columns of a usual field map.
func BenchmarkDirectory(b *testing.B) {
	const people = 200_000
	file := func(changed float64) []byte {
		var buf bytes.Buffer
		if err := sample.WriteCSV(&buf, sample.Options{People: people, Seed: 1, Changed: changed}); err != nil {
			b.Fatal(err)
		}
		return buf.Bytes()
	}
	first, nightly := file(0), file(0.01)
	columns := []string{"email", "first_name", "last_name", "phone", "title", "department", "city", "country", "attributes.cohort"}

	for name, open := range map[string]func(b *testing.B) (directory.Directory, error){
		"sqlite": func(b *testing.B) (directory.Directory, error) {
			return sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "people.db"))
		},
		"postgres": func(b *testing.B) (directory.Directory, error) {
			return postgres.Open(b.Context(), testkit.Postgres(b))
		},
	} {
		rate := func(b *testing.B) { b.ReportMetric(people*float64(b.N)/b.Elapsed().Seconds(), "people/s") }
		load := func(b *testing.B, d directory.Directory, file []byte) importer.Summary {
			s, err := importer.Import(b.Context(), d, "acme", bytes.NewReader(file), importer.Options{Mode: directory.Full},
				func(e importer.LineError) { b.Error(e) })
			if err != nil {
				b.Fatal(err)
			}
			return s
		}
		opened := func(b *testing.B) directory.Directory {
			d, err := open(b)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = d.Close() })
			return d
		}
		b.Run(name+"/import", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				d := opened(b)
				b.StartTimer()
				if s := load(b, d, first); s.Added != people {
					b.Fatalf("%+v", s)
				}
			}
			rate(b)
		})
		d := opened(b)
		load(b, d, first)
		b.Run(name+"/nightly", func(b *testing.B) {
			for b.Loop() {
				if s := load(b, d, nightly); s.Changed+s.Unchanged != people {
					b.Fatalf("%+v", s)
				}
				nightly, first = first, nightly
			}
			rate(b)
		})
		b.Run(name+"/ranges", func(b *testing.B) {
			for b.Loop() {
				if _, n, err := d.Ranges(b.Context(), "acme", 10_000); err != nil || n != people {
					b.Fatal(n, err)
				}
			}
			rate(b)
		})
		b.Run(name+"/scan", func(b *testing.B) {
			for b.Loop() {
				n := 0
				err := d.Scan(b.Context(), "acme", directory.Range{To: "Z"}, columns, func(*rowv1.Row) error { n++; return nil })
				if err != nil || n != people {
					b.Fatal(n, err)
				}
			}
			rate(b)
		})
		b.Run(name+"/count", func(b *testing.B) {
			for b.Loop() {
				if _, err := d.Count(b.Context(), "acme"); err != nil {
					b.Fatal(err)
				}
			}
			rate(b)
		})
		b.Run(name+"/list-no-match", func(b *testing.B) {
			for b.Loop() {
				if _, _, err := d.List(b.Context(), "acme", directory.ListOptions{Prefix: "nobody@"}); err != nil {
					b.Fatal(err)
				}
			}
			rate(b)
		})
	}
}
