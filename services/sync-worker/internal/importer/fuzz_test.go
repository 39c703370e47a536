package importer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/sqlite"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/importer"
)

// fuzzDirectory is one directory for all inputs; each has a tenant of its own.
func fuzzDirectory(f *testing.F) func(t *testing.T, file []byte, o importer.Options) (importer.Summary, []importer.LineError, []directory.Person, error) {
	d, err := sqlite.Open(f.Context(), filepath.Join(f.TempDir(), "people.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = d.Close() })
	n := 0
	return func(t *testing.T, file []byte, o importer.Options) (importer.Summary, []importer.LineError, []directory.Person, error) {
		n++
		tenant := fmt.Sprint(n)
		var bad []importer.LineError
		s, err := importer.Import(context.WithoutCancel(t.Context()), d, tenant, bytes.NewReader(file), o, func(e importer.LineError) { bad = append(bad, e) })
		if s.Added+s.Changed+s.Unchanged+s.Rejected != s.Lines || s.Rejected != int64(len(bad)) || s.Changed+s.Unchanged+s.Gone != 0 {
			t.Fatalf("counts: %+v with %d errors", s, len(bad))
		}
		last := int64(bytes.Count(file, []byte("\n"))) + 1
		for i, e := range bad {
			if e.Line < 1 || e.Line > last || i > 0 && e.Line <= bad[i-1].Line || e.Message == "" || len([]rune(e.Value)) > 80 {
				t.Fatalf("error %d of %d lines: %+v", i, last, e)
			}
		}
		people, _, listErr := d.List(t.Context(), tenant, directory.ListOptions{Limit: 1000})
		if listErr != nil {
			t.Fatal(listErr)
		}
		if len(people) < 1000 && int64(len(people)) != s.Added {
			t.Fatalf("%d people, summary %+v", len(people), s)
		}
		return s, bad, people, err
	}
}

// FuzzCSV: any file is either refused, or each of its lines was taken or reported; a good line at the end is taken
// whatever stands before it, unless a quote is open.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"id,email\n1,a\n2,b\n", "id;a;b\n1;\"x\n;y\"\"\";z\r\n", "id\n\"1\n", "\ufeffID\tÄ\n1\t\xff\n", "id,a\n1,\"b\"c\n2,d\n", "id,a,\n1,\x00,\n",
		"id,active,created_at\n1,yes,2026-01-01\n", "id,id\n", "\"id\",\"a\nb\"\n1,2\n", "id,a\n1,\"\"\"\n\"\"\",\n",
	} {
		f.Add([]byte(s))
	}
	run := fuzzDirectory(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		o := importer.Options{FileName: "p.csv", Format: importer.CSV, Compression: importer.Plain, BatchRows: 7, Mode: directory.Full}
		s, bad, people, err := run(t, file, o)
		if err != nil {
			return
		}
		header, body, _ := bytes.Cut(file, []byte("\n"))
		if bytes.IndexByte(file, '"') < 0 && len(bytes.TrimSpace(header)) > 0 {
			// Without quotes a record is a line.
			want := int64(0)
			for _, line := range bytes.Split(body, []byte("\n")) {
				if len(bytes.TrimSuffix(line, []byte("\r"))) > 0 {
					want++
				}
			}
			if s.Lines != want {
				t.Fatalf("%d lines of %d: %+v, %v", s.Lines, want, s, bad)
			}
		}
		ids := map[string]bool{}
		for _, p := range people {
			if ids[p.ID] || p.ID == "" || strings.TrimSpace(p.ID) != p.ID {
				t.Fatalf("person %q", p.ID)
			}
			ids[p.ID] = true
		}
		// In two files as in one, if a line ends the first.
		if bytes.IndexByte(file, '"') < 0 && bytes.HasSuffix(file, []byte("\n")) && s.Lines > 0 {
			twice := append(bytes.Clone(file), body...)
			again, _, _, err := run(t, twice, o)
			if err != nil || again.Added != s.Added || again.Lines != 2*s.Lines {
				t.Fatalf("twice: %+v, %v; once %+v", again, err, s)
			}
		}
	})
}

// FuzzNDJSON: each line that is not blank was taken or reported; what is no JSON object was reported.
func FuzzNDJSON(f *testing.F) {
	for _, s := range []string{
		`{"id":"1","email":"a"}` + "\n" + `{"id":2}`, "{}\n[]\n\"\"\n1\n", `{"id":"1","groups":["a",";"]}`, `{"id":"1","a":{"b":[]}}` + "\n\n \r\n{", `{"id":"1","a":"\ud800"}`,
		`{"id":"x","zip":"1","postcode":"2","user_id":null}`, `{"ID":"x","attributes.Ä-b":true}`, "{\"id\":\"1\",\"a\":\"\xff\x00\"}",
	} {
		f.Add([]byte(s))
	}
	run := fuzzDirectory(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		s, bad, _, err := run(t, file, importer.Options{Format: importer.NDJSON, Compression: importer.Plain, BatchRows: 7, Mode: directory.Full})
		if err != nil {
			return
		}
		reported := map[int64]bool{}
		for _, e := range bad {
			reported[e.Line] = true
		}
		lines := int64(0)
		for i, line := range bytes.Split(bytes.TrimPrefix(file, []byte("\xef\xbb\xbf")), []byte("\n")) {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			lines++
			var object map[string]any
			if (json.Unmarshal(line, &object) != nil || object == nil) && !reported[int64(i)+1] {
				t.Fatalf("line %d is no JSON object and was not reported: %q", i+1, line)
			}
		}
		if s.Lines != lines {
			t.Fatalf("%d lines of %d: %+v, %v", s.Lines, lines, s, bad)
		}
	})
}
