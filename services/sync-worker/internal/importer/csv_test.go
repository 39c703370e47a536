package importer

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// record is what the reader made of one or several lines.
type record struct {
	line   int64
	next   int64 // line behind it
	fields []string
	fault  string
}

func readAll(r io.Reader, delim byte) []record {
	c := &csvReader{w: newWindow(r), delim: delim}
	var all []record
	for {
		more, f := c.next()
		if !more {
			return all
		}
		rec := record{line: c.line, next: c.w.line}
		if f != nil {
			rec.fault = f.message
		} else {
			rec.fields = slices.Clone(c.fields)
		}
		all = append(all, rec)
	}
}

// FuzzCSVReader compares with encoding/csv, and sees that no line is read twice or passed over.
func FuzzCSVReader(f *testing.F) {
	for _, s := range []string{
		"a,b\n\"c\",\"d\"\"\n\"\n", "\"a\nb\",c\r\n\r\n\"\"\n", "a\"b\n\"c\"d\n\"e", "\"\n\"\n\"\n\"", ",\n\"\",\n", "\"a\",\"b\n\",\"c\nd,\"\"\n", "\r\n\"\r\n\"\r",
	} {
		f.Add(s, byte(','))
	}
	f.Fuzz(func(t *testing.T, file string, delim byte) {
		if delim == '"' || delim == '\n' || delim == '\r' || delim == 0 || delim >= 0x80 {
			delim = ','
		}
		got := readAll(strings.NewReader(file), delim)
		if slow := readAll(iotest.OneByteReader(strings.NewReader(file)), delim); !slices.EqualFunc(got, slow, func(a, b record) bool {
			return a.line == b.line && a.next == b.next && a.fault == b.fault && slices.Equal(a.fields, b.fields)
		}) {
			t.Fatalf("byte by byte %v, at once %v", slow, got)
		}
		lines := strings.Split(file, "\n")
		at := int64(1)
		for _, r := range got {
			for ; at < r.line; at++ {
				if line := strings.TrimSuffix(lines[at-1], "\r"); line != "" {
					t.Fatalf("line %d %q was passed over", at, line)
				}
			}
			if r.line != at || r.next <= r.line || r.fault != "" && r.next != r.line+1 {
				t.Fatalf("record %+v at line %d", r, at)
			}
			at = r.next
		}
		for ; at <= int64(len(lines)); at++ {
			if line := strings.TrimSuffix(lines[at-1], "\r"); line != "" {
				t.Fatalf("line %d %q was passed over", at, line)
			}
		}

		// encoding/csv has \r\n in values as \n, drops a final \r, and ends at the first fault.
		ref := csv.NewReader(strings.NewReader(file))
		ref.Comma, ref.FieldsPerRecord = rune(delim), -1
		for _, r := range got {
			want, err := ref.Read()
			if err != nil {
				if errors.Is(err, io.EOF) || r.fault == "" && !strings.Contains(err.Error(), "quote") {
					t.Fatalf("record %+v, encoding/csv %v", r, err)
				}
				if r.fault == "" {
					t.Fatalf("record %+v, encoding/csv %v", r, err)
				}
				return
			}
			if r.fault != "" {
				t.Fatalf("fault %+v, encoding/csv %q", r, want)
			}
			line, _ := ref.FieldPos(0)
			same := slices.EqualFunc(want, r.fields, func(a, b string) bool {
				return normal(a) == normal(b)
			})
			if !same || int64(line) != r.line {
				t.Fatalf("record %q at line %d, encoding/csv %q at %d", r.fields, r.line, want, line)
			}
		}
		if _, err := ref.Read(); !errors.Is(err, io.EOF) {
			t.Fatalf("encoding/csv has more: %v", err)
		}
	})
}

func normal(s string) string {
	return strings.TrimSuffix(strings.ReplaceAll(s, "\r\n", "\n"), "\r")
}

// TestQuadratic: lines that each seem to open a quote are read in linear time.
func TestQuadratic(t *testing.T) {
	t.Parallel()
	for _, line := range []string{",\"a\n", "x,\"y\",\"\n", "\"\"\"a\n", "\",\n", "a,\"b\"\"\n", "\"\n", "x\n\"y,\n"} {
		file := strings.Repeat(line, 50_000)
		records := readAll(strings.NewReader(file), ',')
		if len(records) < 25_000 {
			t.Errorf("%q: %d records", line, len(records))
		}
	}
	long := strings.Repeat(",\"a\n"+strings.Repeat("no quotes in here\n", 5_000), 20)
	if n := len(readAll(strings.NewReader(long), ',')); n != 20*5_001 {
		t.Errorf("%d records", n)
	}
}
