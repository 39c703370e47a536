package salesforce

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func FuzzReadCSV(f *testing.F) {
	for _, s := range []string{
		"", "\n", "\"sf__Id\",\"sf__Error\",Id,Phone\n",
		"\"Id\",\"Name\"\n\"0013h00000Ffg18AAB\",\"\"\n",
		"\"sf__Id\",\"sf__Error\",Name,Id\n\"\",\"INVALID_FIELD:x:Name --\",\"a\"\"b\",\"x\"\n",
		"\xef\xbb\xbfId,Name\na,b\n", "Id,Name\r\na,\"b\r\nc\"\r\n", "Id,Name\na,\"b", "Id,Name\na\n", "Id,Na\x00me\n\x00a,b\x00\n", "Id,\"Name\na,b",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, file []byte, step int) {
		read := func(r io.Reader) (rows [][]string, err error) {
			err = readCSV(r, Columns("Id", "Name"), func(r *Record) error {
				for i, v := range r.Values {
					if r.Null[i] != (v == "") || strings.ContainsAny(v, "\x00\r") {
						t.Errorf("value %q, null %v", v, r.Null[i])
					}
				}
				rows = append(rows, append([]string(nil), r.Values...))
				return nil
			})
			return rows, err
		}
		whole, err := read(bytes.NewReader(file))
		// The same file in small pieces gives the same rows.
		pieces, err2 := read(&piecewise{data: file, step: max(1, min(step, 64))})
		if fmt.Sprint(whole) != fmt.Sprint(pieces) || (err == nil) != (err2 == nil) {
			t.Errorf("whole: %q, %v; in pieces: %q, %v", whole, err, pieces, err2)
		}
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("error %v is not typed", err)
		}
	})
}

// piecewise gives its data a few bytes at a time.
type piecewise struct {
	data []byte
	step int
}

func (p *piecewise) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.step, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

func FuzzParseRowError(f *testing.F) {
	for _, s := range []string{"", "--", ":", "A:--", "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --", "no code at all", "A:b:c,d e --", "A:\x00:B --", "Ä:x:--"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := ParseRowError(s)
		if e.Code == "" || len(e.Message) > maxMessage || e.Action == ActionNone {
			t.Errorf("ParseRowError(%q) = %+v", s, e)
		}
		for _, name := range e.Fields {
			if Identifier(name) != nil {
				t.Errorf("ParseRowError(%q) names field %q", s, name)
			}
		}
	})
}

// BenchmarkReadCSV parses Bulk query results.
func BenchmarkReadCSV(b *testing.B) {
	const rows = 10_000
	var file bytes.Buffer
	file.WriteString("\"Id\",\"Email\",\"FirstName\",\"LastName\",\"Account.Name\",\"DoNotCall\",\"Amount__c\",\"SystemModstamp\"\n")
	for i := range rows {
		fmt.Fprintf(&file, "\"0035g00000Ab%06dAAV\"\x2c\"person%d@example.com\",\"Ann-Katrin\",\"M\u00fcller, geb. Schmidt\",\"\",\"false\",\"9.12260031E8\",\"2026-11-21T19:25:27.000Z\"\n", i%1000000, i)
	}
	for name, columns := range map[string][]Column{
		"raw":   Columns("Id", "Email", "FirstName", "LastName", "Account.Name", "DoNotCall", "Amount__c", "SystemModstamp"),
		"typed": {{"Id", ""}, {"Email", ""}, {"FirstName", ""}, {"LastName", ""}, {"Account.Name", ""}, {"DoNotCall", TypeBoolean}, {"Amount__c", TypeCurrency}, {"SystemModstamp", TypeDateTime}},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(file.Len()))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				p := newReplay(func(*Record) error { n++; return nil })
				p.start()
				if err := readCSV(bytes.NewReader(file.Bytes()), columns, p.row); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkQueryPage parses a REST page.
func BenchmarkQueryPage(b *testing.B) {
	const rows = 2000
	var page bytes.Buffer
	page.WriteString(`{"totalSize":2000,"done":true,"records":[`)
	for i := range rows {
		if i > 0 {
			page.WriteByte(',')
		}
		fmt.Fprintf(&page, `{"attributes":{"type":"Contact","url":"/services/data/v67.0/sobjects/Contact/0035g00000Ab%06dAAV"},"Id":"0035g00000Ab%06dAAV","Email":"p%d@example.com","FirstName":"Ann","LastName":"M\u00fcller","DoNotCall":false,"SystemModstamp":"2026-11-21T19:25:27.000+0000"}`, i, i, i)
	}
	page.WriteString("]}")
	columns := []Column{{"Id", ""}, {"Email", ""}, {"FirstName", ""}, {"LastName", ""}, {"DoNotCall", TypeBoolean}, {"SystemModstamp", TypeDateTime}}
	root, err := newTree(columns)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(page.Len()))
	n := 0
	for b.Loop() {
		d := &rowDecoder{j: newJSONReader(bytes.NewReader(page.Bytes())), columns: columns, root: root, rec: newRecord(len(columns))}
		if err := d.j.object(func(key string) error {
			if key != "records" {
				return d.j.skip()
			}
			return d.j.array(func() error {
				n++
				if err := d.j.delim('{'); err != nil {
					return err
				}
				return d.record()
			})
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
