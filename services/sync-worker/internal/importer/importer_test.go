package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/sqlite"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/importer"
)

func open(t testing.TB) directory.Directory {
	t.Helper()
	d, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "people.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// outcome is all that an import did.
type outcome struct {
	Summary importer.Summary
	Errors  []importer.LineError
	Err     error
}

func load(t testing.TB, d directory.Directory, r io.Reader, o importer.Options) outcome {
	t.Helper()
	var got outcome
	got.Summary, got.Err = importer.Import(t.Context(), d, "acme", r, o, func(e importer.LineError) { got.Errors = append(got.Errors, e) })
	s := got.Summary
	if s.Added+s.Changed+s.Unchanged+s.Rejected != s.Lines || s.Rejected != int64(len(got.Errors)) {
		t.Errorf("counts do not add up: %+v with %d errors", s, len(got.Errors))
	}
	if s.GoneWithheld != "" && s.Gone != 0 {
		t.Errorf("withheld and marked: %+v", s)
	}
	for i, e := range got.Errors {
		if i > 0 && e.Line < got.Errors[i-1].Line || e.Message == "" {
			t.Errorf("error %d is %+v", i, e)
		}
	}
	return got
}

// people returns everybody as "id field=value ...", null as "-".
func people(t testing.TB, d directory.Directory) []string {
	t.Helper()
	var all []string
	for o := (directory.ListOptions{IncludeGone: true, Limit: 1000}); ; {
		page, next, err := d.List(t.Context(), "acme", o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page {
			all = append(all, describe(&page[i]))
		}
		if next == "" {
			return all
		}
		o.After = next
	}
}

func describe(p *directory.Person) string {
	s := p.ID
	add := func(name, value string, presence directory.Presence) {
		switch presence {
		case directory.Null:
			s += " " + name + " -"
		case directory.Present:
			s += " " + name + "=" + value
		}
	}
	for f, name := range directory.FieldNames() {
		v, presence := p.Value(directory.Field(f))
		add(name, v, presence)
	}
	for _, a := range p.Attributes {
		v, presence := p.Attribute(a.Name)
		add("."+a.Name, v, presence)
	}
	if p.Gone {
		s += " GONE"
	}
	return s
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"plain":            {"id,email\n1,a@x\n2,\n", []string{"1 email=a@x", "2 email="}},
		"no last newline":  {"id,email\n1,a@x", []string{"1 email=a@x"}},
		"CRLF and BOM":     {"\ufeffid,email\r\n1,a@x\r\n2,b\r\n", []string{"1 email=a@x", "2 email=b"}},
		"blank lines":      {"\n\r\nid,email\n\n1,a\n\r\n\n2,b\n\n", []string{"1 email=a", "2 email=b"}},
		"semicolons":       {"id;email;\"city\"\n1;a,b;x\n", []string{"1 email=a,b city=x"}},
		"tabs":             {"id\temail\n1\ta;b,c\n", []string{"1 email=a;b,c"}},
		"one column":       {"ID\n7\n8\n", []string{"7", "8"}},
		"quotes":           {"id,\"e\"\"x\"\n1,\"a,\"\"b\"\"\"\n\"2\",\"\"\n", []string{`1 .e"x=a,"b"`, "2 .e\"x="}},
		"newlines within":  {"id,street\r\n1,\"a\r\nb\n\nc\"\r\n2,\"\n\"\n", []string{"1 street=a\r\nb\n\nc", "2 street=\n"}},
		"quoted header":    {"\"id\",\"Street\nAddress\"\n1,x\n", []string{"1 street=x"}},
		"aliases":          {"User ID,E-Mail,First Name,SURNAME,Zip,Company,Is Active,Cell Phone\n1,a,b,c,d,e,yes,f\n", []string{"1 email=a first_name=b last_name=c mobile_phone=f organization=e postal_code=d active=true"}},
		"own name first":   {"user_id,id,mail,email\nu,1,m,e\n", []string{"1 email=e .mail=m .user_id=u"}},
		"first alias":      {"id,zip,postcode\n1,a,b\n", []string{"1 postal_code=a .postcode=b"}},
		"attributes":       {"id,Job Level,attributes.Score,attributes.email,x.y\n1,7,9,z,0\n", []string{"1 .email=z .job_level=7 .score=9 .x_y=0"}},
		"nameless empty":   {"id,email,\n1,a,\n2,b, \n", []string{"1 email=a", "2 email=b"}},
		"normal values":    {"id,active,created_at,updated_at,groups\n 1 , YES ,2026-03-01, 2026-03-01T10:00:00+02:00 , a;b \n2,0,2026-03-01 10:00,2026-03-01T10:00:00.250Z,\n3,,,2026-03-01 10:00:00 UTC,\n", []string{"1 active=true groups= a;b  created_at=2026-03-01T00:00:00Z updated_at=2026-03-01T08:00:00Z", "2 active=false groups= created_at=2026-03-01T10:00:00Z updated_at=2026-03-01T10:00:00.25Z", "3 active= groups= created_at= updated_at=2026-03-01T10:00:00Z"}},
		"formulas":         {"id,last_name\n1,=1+1\n2,@x\n3,-x\n4,+x\n", []string{"1 last_name==1+1", "2 last_name=@x", "3 last_name=-x", "4 last_name=+x"}},
		"bad e-mails stay": {"id,email\n1,\n2,no at\n", []string{"1 email=", "2 email=no at"}},
		"lone CR in value": {"id,city\n1,a\rb\n2,\"a\rb\"\n", []string{"1 city=a\rb", "2 city=a\rb"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			got := load(t, d, strings.NewReader(c.file), importer.Options{FileName: "people.csv"})
			equal(t, outcome{Summary: importer.Summary{Lines: int64(len(c.want)), Added: int64(len(c.want))}}, got)
			equal(t, c.want, people(t, d))
		})
	}
}

func TestNDJSON(t *testing.T) {
	t.Parallel()
	d := open(t)
	file := "\ufeff" + `{"id":"1","email":"a@x","phone":null,"city":""}` + "\r\n\n  \n" +
		` {"ID" : 17, "active":true, "score":12.50, "e":1e3, "Job-Level":false, "groups":["a","b c"]} ` + "\n" +
		`{"id":"3","groups":[],"user_id":"u","attributes.x":"\u00e9\n\ud83d\ude00","updated_at":"2026-03-01"}` + "\n" +
		`{"person_id":"4","groups":"a;b"}`
	got := load(t, d, strings.NewReader(file), importer.Options{})
	equal(t, outcome{Summary: importer.Summary{Lines: 4, Added: 4}}, got)
	equal(t, []string{
		"1 email=a@x phone - city=",
		"17 active=true groups=a;b c .e=1e3 .job_level=false .score=12.50",
		"3 groups= updated_at=2026-03-01T00:00:00Z .user_id=u .x=é\n😀",
		"4 groups=a;b",
	}, people(t, d))
}

// TestLineErrors has one line at fault at a time between two good ones.
func TestLineErrors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ж", directory.MaxValue+1)
	for name, c := range map[string]struct {
		header, line string // of CSV where there is a header
		want         importer.LineError
		known        bool // whom the line is about
	}{
		"missing id":       {"email,id", "a,", importer.LineError{Column: "id", Message: "the id is missing"}, false},
		"blank id":         {"User Id,email", " \t,a", importer.LineError{Column: "User Id", Value: " \t", Message: "the id is missing"}, false},
		"long id":          {"id,email", strings.Repeat("1", 256) + ",a", importer.LineError{Column: "id", Value: strings.Repeat("1", 80), Message: "longer than 255"}, false},
		"control in id":    {"id,email", "\"1\n2\",a", importer.LineError{Column: "id", Value: "1\n2", Message: "control character"}, false},
		"twice":            {"id,email", "A,again", importer.LineError{Column: "id", Value: "A", Message: "has come before"}, true},
		"UTF-8":            {"id,E-Mail", "x,a\xffb", importer.LineError{Column: "E-Mail", Value: "a\ufffdb", Message: "not valid UTF-8"}, true},
		"UTF-8 in id":      {"id,email", "x\xff,a", importer.LineError{Column: "id", Value: "x\ufffd", Message: "not valid UTF-8"}, false},
		"NUL":              {"id,email", "x,a\x00b", importer.LineError{Column: "email", Value: "a\x00b", Message: "NUL"}, true},
		"too few":          {"id,email,city", "x,a", importer.LineError{Value: "x,a", Message: "has 2 values and the header 3 columns"}, true},
		"too many":         {"id,email", "x,a,b", importer.LineError{Value: "x,a,b", Message: "has 3 values and the header 2 columns"}, true},
		"too many, id 2nd": {"email,id", "a,x,b", importer.LineError{Value: "a,x,b", Message: "has 3 values and the header 2 columns"}, false},
		"one value":        {"id,email", "x", importer.LineError{Value: "x", Message: "has 1 values and the header 2 columns"}, false},
		"bare quote":       {"id,First Name", `x,a"b"`, importer.LineError{Column: "First Name", Value: `a"b"`, Message: "a quote stands in a value"}, true},
		"text after quote": {"id,First Name", `x,"a"b`, importer.LineError{Column: "First Name", Value: `a`, Message: "text follows the quote"}, true},
		"open quote":       {"id,email", `x,"a`, importer.LineError{Column: "email", Value: "a\nZ,z@x\n", Message: "not closed"}, false},
		"open quote in id": {"id,email", `"x,a`, importer.LineError{Column: "id", Value: "x,a\nZ,z@x\n", Message: "not closed"}, false},
		"quote, 3rd value": {"id,email", `x,a,"b"c`, importer.LineError{Column: "column 3", Value: `b`, Message: "text follows"}, true},
		"long value":       {"id,city", "x," + long, importer.LineError{Column: "city", Value: long[:160], Message: "has 32769 characters, more than 32768"}, true},
		"long line":        {"id,city", "x," + strings.Repeat("y", 1<<20), importer.LineError{Message: "longer than 1 MiB"}, true},
		"long line, no id": {"city,id", strings.Repeat("y", 1<<20) + ",x", importer.LineError{Message: "longer than 1 MiB"}, false},
		"bool":             {"id,Active", "x,maybe", importer.LineError{Column: "Active", Value: "maybe", Message: "neither true nor false"}, true},
		"time":             {"id,created", "x,31.12.2026", importer.LineError{Column: "created", Value: "31.12.2026", Message: "not a time"}, true},
		"time zone":        {"id,created", "x,2026-01-01 10:00:00 CET", importer.LineError{Column: "created", Value: "2026-01-01 10:00:00 CET", Message: "not a time"}, true},
		"year":             {"id,created", "x,0001-01-01T00:00:00+01:00", importer.LineError{Column: "created", Value: "0001-01-01T00:00:00+01:00", Message: "not a time"}, true},
		"nameless":         {"id,email,", "x,a,b", importer.LineError{Value: "b", Message: "column without a name"}, true},

		"JSON":               {"", `{"id":"x",}`, importer.LineError{Value: `{"id":"x",}`, Message: "not JSON: invalid character '}'"}, false},
		"JSON cut":           {"", `{"id":"x"`, importer.LineError{Value: `{"id":"x"`, Message: "not JSON: unexpected end"}, false},
		"JSON text":          {"", `"x"`, importer.LineError{Value: `"x"`, Message: "not a JSON object"}, false},
		"JSON no id":         {"", `{"email":"x"}`, importer.LineError{Column: "id", Value: `{"email":"x"}`, Message: "the id is missing"}, false},
		"JSON null id":       {"", `{"id":null}`, importer.LineError{Column: "id", Message: "the id is missing"}, false},
		"JSON id twice":      {"", `{"id":"x","id":"y"}`, importer.LineError{Column: "id", Value: `{"id":"x","id":"y"}`, Message: "values 1 and 2 are both id"}, false},
		"JSON nested":        {"", `{"id":"x","Home":{"city":"y"}}`, importer.LineError{Column: "Home", Value: `{"city":"y"}`, Message: "array or object"}, true},
		"JSON array":         {"", `{"id":"x","email":["a"]}`, importer.LineError{Column: "email", Message: "array or object"}, true},
		"JSON groups":        {"", `{"id":"x","Groups":["a",1]}`, importer.LineError{Column: "Groups", Value: `["a",1]`, Message: "array of texts"}, true},
		"JSON group with ;":  {"", `{"id":"x","groups":["a","b;c"]}`, importer.LineError{Column: "groups", Value: "a;b;c", Message: `the group "b;c"`}, true},
		"JSON NUL":           {"", `{"id":"x","a":"\u0000"}`, importer.LineError{Column: "a", Value: "\x00", Message: "NUL"}, true},
		"JSON surrogate":     {"", `{"id":"x","a":"\ud800"}`, importer.LineError{Column: "a", Value: "\ufffd", Message: "surrogate"}, true},
		"JSON UTF-8":         {"", "{\"id\":\"x\",\"a\":\"\xff\"}", importer.LineError{Column: "a", Value: "\ufffd", Message: "not valid UTF-8"}, true},
		"JSON twice":         {"", `{"id":"A"}`, importer.LineError{Column: "id", Value: "A", Message: "has come before"}, true},
		"JSON nameless":      {"", `{"id":"x","":"y"}`, importer.LineError{Value: `{"id":"x","":"y"}`, Message: "has no name"}, false},
		"JSON long line":     {"", `{"id":"x","a":"` + strings.Repeat("y", 1<<20) + `"}`, importer.LineError{Message: "longer than 1 MiB"}, false},
		"JSON control name":  {"", `{"id":"x","a\u0001":"y"}`, importer.LineError{Column: "a\x01", Value: `{"id":"x","a\u0001":"y"}`, Message: "not plain"}, false},
		"JSON long name":     {"", `{"id":"x","` + strings.Repeat("n", 101) + `":"y"}`, importer.LineError{Column: strings.Repeat("n", 80), Message: "longer than 100"}, false},
		"JSON alias twice":   {"", `{"id":"x","Email":"y","EMAIL":"z"}`, importer.LineError{Column: "EMAIL", Value: `{"id":"x","Email":"y","EMAIL":"z"}`, Message: "both email"}, false},
		"JSON bool in words": {"", `{"id":"x","active":"si"}`, importer.LineError{Column: "active", Value: "si", Message: "neither"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			file, firstLine := `{"id":"A","email":"a@x"}`+"\n"+c.line+"\n"+`{"id":"Z","email":"z@x"}`+"\n", int64(1)
			if c.header != "" {
				columns := strings.Split(c.header, ",")
				good := func(id, email string) string {
					values := make([]string, len(columns))
					for i, column := range columns {
						switch column {
						case "id", "User Id":
							values[i] = id
						case "email", "E-Mail":
							values[i] = email
						}
					}
					return strings.Join(values, ",")
				}
				file, firstLine = c.header+"\n"+good("A", "a@x")+"\n"+c.line+"\n"+good("Z", "z@x")+"\n", 2
			}
			got := load(t, d, strings.NewReader(file), importer.Options{FileName: "people", Mode: directory.Full})
			if got.Err != nil || len(got.Errors) != 1 {
				t.Fatalf("%+v", got)
			}
			e := got.Errors[0]
			if !strings.Contains(e.Message, c.want.Message) {
				t.Errorf("message %q, want %q", e.Message, c.want.Message)
			}
			c.want.Message, c.want.Line = e.Message, firstLine+1
			if name == "JSON array" || name == "JSON long name" { // long values are cut elsewhere
				c.want.Value = e.Value
			}
			equal(t, c.want, e)
			if got.Summary.Lines != 3 || got.Summary.Added != 2 {
				t.Errorf("%+v", got.Summary)
			}
			if (got.Summary.GoneWithheld == "") != c.known {
				t.Errorf("withheld %q, want known %v", got.Summary.GoneWithheld, c.known)
			}
			if _, _, err := d.Get(t.Context(), "acme", "Z"); err != nil {
				t.Errorf("the line behind the one at fault is lost: %v", err)
			}
		})
	}
}

// TestResume: a quote at fault costs its line alone, whatever lines it seems to reach over.
func TestResume(t *testing.T) {
	t.Parallel()
	d := open(t)
	got := load(t, d, strings.NewReader("id,a,b\n1,\"x,y\n2,p,q\n3,\"p\nq\",r\n4,\"x\"y,z\n5,,\"\"\n6,\"\n"), importer.Options{})
	var lines []int64
	for _, e := range got.Errors {
		lines = append(lines, e.Line)
	}
	equal(t, []int64{2, 6, 8}, lines)
	equal(t, []string{"2 .a=p .b=q", "3 .a=p\nq .b=r", "5 .a= .b="}, people(t, d))

	// An open quote in a large file: looked for within 1 MiB and no further.
	var file strings.Builder
	file.WriteString("id,a\n0,\"open\n")
	for i := range 4_000 {
		fmt.Fprintf(&file, "p%05d,%0400d\n", i, i)
	}
	d = open(t)
	got = load(t, d, strings.NewReader(file.String()), importer.Options{})
	if got.Summary.Added != 4_000 || len(got.Errors) != 1 || got.Errors[0].Line != 2 {
		t.Errorf("%+v", got)
	}
}

func TestWrongFiles(t *testing.T) {
	t.Parallel()
	png := "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00"
	for name, c := range map[string]struct {
		file   string
		o      importer.Options
		reason string
		says   string
	}{
		"PNG":              {png, importer.Options{FileName: "people.csv"}, "unknown_format", "people.csv is a picture"},
		"PNG in gzip":      {string(gz(t, []byte(png))), importer.Options{}, "unknown_format", "picture"},
		"PNG as NDJSON":    {png, importer.Options{Format: importer.NDJSON}, "unknown_format", "picture"},
		"XLSX":             {"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00", importer.Options{FileName: "people.xlsx"}, "unknown_format", "Excel workbook"},
		"PDF":              {"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", importer.Options{}, "unknown_format", "PDF"},
		"random bytes":     {"\x01\x02\xff\xfe\x00\x9c\n\x00", importer.Options{}, "bad_header", "not plain UTF-8"},
		"binary NDJSON":    {"\x01\x02\xff\xfe\x00\x9c\n\x00", importer.Options{FileName: "x.ndjson"}, "unknown_format", "is no text"},
		"UTF-16":           {"\xff\xfei\x00d\x00\n\x00", importer.Options{}, "wrong_encoding", "UTF-16"},
		"packed twice":     {string(gz(t, gz(t, []byte("id\n1\n")))), importer.Options{}, "unknown_format", "packed twice"},
		"JSON array":       {` [{"id":"1"}]`, importer.Options{FileName: "people.json"}, "unknown_format", "one JSON array"},
		"no id":            {"name,mail\nann,a@x\n", importer.Options{FileName: "p.csv"}, "no_id_column", `p.csv has no id column: its first line must name the columns, and one of them must be id (or user_id, person_id, catalog_id); it names "name", "mail"`},
		"no header":        {"1,ann@example.com,Ann\n", importer.Options{}, "no_id_column", `it names "1", "ann@example.com", "Ann"`},
		"HTML":             {"<!DOCTYPE html><html>\n", importer.Options{}, "no_id_column", "no id column"},
		"same column":      {"id,email,Email\n", importer.Options{}, "bad_header", "columns 2 and 3 are both email"},
		"same attribute":   {"id,Job Level,job-level\n", importer.Options{}, "bad_header", "columns 2 and 3 are both the custom attribute job_level"},
		"long name":        {"id," + strings.Repeat("n", 101) + "\n", importer.Options{}, "bad_header", "longer than 100"},
		"nameless":         {"id,attributes.\n", importer.Options{}, "bad_header", "needs a name"},
		"control":          {"id,a\x07b\n", importer.Options{}, "bad_header", "not plain UTF-8"},
		"quote in header":  {"id,a\"b\n1,2\n", importer.Options{}, "bad_header", "line 1: a quote stands"},
		"open quote":       {"id,\"a\n1,2\n", importer.Options{}, "bad_header", "not closed"},
		"CR alone":         {"id,email\r1,a\r", importer.Options{}, "bad_header", "carriage returns alone"},
		"no gzip":          {"id\n1\n", importer.Options{Compression: importer.Gzip}, "damaged_file", "is not gzip"},
		"no zstd":          {"id\n1\n", importer.Options{Compression: importer.Zstd}, "damaged_file", ""},
		"gzip, said plain": {string(gz(t, []byte("id\n1\n"))), importer.Options{Compression: importer.Plain}, "unknown_format", "packed twice"},
		"many attributes": {"id" + func() (s string) {
			for i := range directory.MaxAttributes + 1 {
				s += fmt.Sprintf(",a%d", i)
			}
			return s
		}() + "\n", importer.Options{}, "too_many_attributes", "more than 500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			load(t, d, strings.NewReader("id\n1\n"), importer.Options{})
			c.o.Mode = directory.Full
			got := load(t, d, strings.NewReader(c.file), c.o)
			if errs.KindOf(got.Err) != errs.Invalid || errs.ReasonOf(got.Err) != c.reason || !strings.Contains(errs.Message(got.Err), c.says) {
				t.Errorf("err = %v (%s), want %s: %s", got.Err, errs.ReasonOf(got.Err), c.reason, c.says)
			}
			equal(t, []string{"1"}, people(t, d))
		})
	}
}

func TestManyAttributes(t *testing.T) {
	t.Parallel()
	d := open(t)
	var file strings.Builder
	for i := range directory.MaxAttributes + 3 {
		fmt.Fprintf(&file, `{"id":"%d","a%d":"x"}`+"\n", i, i)
	}
	file.WriteString(`{"id":"last","a1":"y"}` + "\n")
	got := load(t, d, strings.NewReader(file.String()), importer.Options{})
	if got.Err != nil || got.Summary.Added != directory.MaxAttributes+1 || len(got.Errors) != 3 ||
		!strings.Contains(got.Errors[0].Message, "more than 500") {
		t.Errorf("%+v", got)
	}
	again := load(t, d, strings.NewReader("id,new\n1,x\n"), importer.Options{FileName: "p.csv"})
	if errs.ReasonOf(again.Err) != "too_many_attributes" {
		t.Errorf("err = %v", again.Err)
	}
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zst(t testing.TB, b []byte, o ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, o...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sampleCSV(t testing.TB, o sample.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := sample.WriteCSV(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPacked takes the same people from every packing, also in several gzip members and zstd frames.
func TestPacked(t *testing.T) {
	t.Parallel()
	plain := sampleCSV(t, sample.Options{People: 500, Seed: 1})
	half := len(plain) / 2
	var want []string
	for i, file := range [][]byte{
		plain, gz(t, plain), zst(t, plain), append(gz(t, plain[:half]), gz(t, plain[half:])...), append(zst(t, plain[:half]), zst(t, plain[half:])...),
	} {
		d := open(t)
		got := load(t, d, bytes.NewReader(file), importer.Options{FileName: "whatever", Mode: directory.Full})
		equal(t, outcome{Summary: importer.Summary{Lines: 500, Added: 500}}, got)
		if i == 0 {
			want = people(t, d)
		}
		equal(t, want, people(t, d))
	}
	got := load(t, open(t), bytes.NewReader(zst(t, bytes.Repeat(plain, 300), zstd.WithWindowSize(128<<20))), importer.Options{Mode: directory.Full})
	if errs.ReasonOf(got.Err) != "window_too_large" {
		t.Errorf("a window of 128 MiB: %v", got.Err)
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	const before = "id,email\n1,a\n2,b\n3,c\n4,d\n"
	for name, c := range map[string]struct {
		file     string
		gone     int64
		withheld string
	}{
		"everybody":         {before, 0, ""},
		"one left":          {"id,email\n1,a\n2,b\n3,c\n", 1, ""},
		"seen though wrong": {"id,email,active\n1,a,\n2,b,perhaps\n3\n", 1, "whom line 4 is about"},
		"seen, whole":       {"id,email,active\n1,a,\n2,b,perhaps\n3,x,y,z\n", 1, ""},
		"twice":             {"id,email\n1,a\n1,b\n", 3, ""},
		"unknown":           {"email,id\na,1\nb,\nc,\"\n", 0, "it is not certain whom line 3 is about, and of one more line"},
		"unknown JSON":      {`{"id":"1"}` + "\n{\n{\n[\n", 0, "whom line 2 is about, and of 2 more lines"},
		"not a single byte": {"", 0, "the file is empty"},
		"BOM alone":         {"\ufeff", 0, "the file is empty"},
		"blank":             {"\n\n  \n", 0, ""},
		"header alone":      {"id,email\n", 0, "the file holds nobody"},
		"all wrong":         {"id,active\n1,x\n2,z\n", 0, "not a single line could be taken"},
		"somebody else":     {"id\n5\n", 4, ""},
		"no last newline":   {"id,email\n1,a\n2,b", 2, ""},
		"cut in a line":     {"id,email\n1,a\n2", 0, "break off in line 3"},
		"cut, bad value":    {"id,active\n1,yes\n2,ye", 0, "break off in line 3"},
		"cut in a quote":    {"id,email\n1,a\n2,\"b\nc\n", 0, "whom line 3 is about"},
		"cut in JSON":       {`{"id":"1"}` + "\n" + `{"id":"2","em`, 0, "break off in line 2"},
		"wrong, not cut":    {"id,active\n1,yes\n2,ye\n", 2, ""},
		"empty packed":      {string(gz(t, nil)), 0, "the file is empty"},
		"header packed":     {string(zst(t, []byte("id\n"))), 0, "the file holds nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			load(t, d, strings.NewReader(before), importer.Options{})
			got := load(t, d, strings.NewReader(c.file), importer.Options{FileName: "p", Mode: directory.Full})
			if name == "blank" {
				if errs.ReasonOf(got.Err) != "no_id_column" {
					t.Errorf("%+v", got)
				}
				return
			}
			if name == "seen though wrong" { // one value cannot be told from half a line
				c.gone = 0
			}
			if got.Err != nil || got.Summary.Gone != c.gone || !strings.Contains(got.Summary.GoneWithheld, c.withheld) || c.withheld == "" && got.Summary.GoneWithheld != "" {
				t.Errorf("%+v, want %d gone, withheld %q", got, c.gone, c.withheld)
			}
			counts, err := d.Count(t.Context(), "acme")
			if err != nil || counts.Gone != c.gone || counts.People != 4+got.Summary.Added-c.gone {
				t.Errorf("counts %+v, %v", counts, err)
			}
			// Delta never marks, nor withholds.
			got = load(t, d, strings.NewReader(c.file), importer.Options{FileName: "p"})
			if got.Err != nil || got.Summary.Gone != 0 || got.Summary.GoneWithheld != "" {
				t.Errorf("delta: %+v", got)
			}
		})
	}
}

// TestCutShort: wherever a packed file breaks off, nobody is gone, and what was taken are whole people.
func TestCutShort(t *testing.T) {
	t.Parallel()
	plain := sampleCSV(t, sample.Options{People: 300, Seed: 2})
	whole := open(t)
	load(t, whole, bytes.NewReader(plain), importer.Options{})
	want := map[string]bool{}
	for _, p := range people(t, whole) {
		want[p] = true
	}
	for name, file := range map[string][]byte{"gzip": gz(t, plain), "zstd": zst(t, plain, zstd.WithEncoderLevel(zstd.SpeedFastest))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			load(t, d, strings.NewReader("id\nold\n"), importer.Options{})
			for n := 1; n < len(file); n += 1 + n/8 {
				got := load(t, d, bytes.NewReader(file[:n]), importer.Options{FileName: "p.csv", Mode: directory.Full, BatchRows: 50})
				if got.Err == nil || errs.KindOf(got.Err) != errs.Invalid || got.Summary.Gone != 0 || got.Summary.GoneWithheld == "" || len(got.Errors) != 0 {
					t.Fatalf("cut at %d of %d: %+v", n, len(file), got)
				}
			}
			for _, p := range people(t, d) {
				if p != "old" && !want[p] {
					t.Errorf("taken from a cut file: %s", p)
				}
			}
			damaged := bytes.Clone(file)
			damaged[len(damaged)-3] ^= 1 // in the check sum
			if got := load(t, d, bytes.NewReader(damaged), importer.Options{Mode: directory.Full}); errs.ReasonOf(got.Err) != "damaged_file" ||
				got.Summary.Gone != 0 || !strings.Contains(got.Err.Error(), "send the whole file again") {
				t.Errorf("damaged: %+v", got)
			}
		})
	}
}

// TestReadFails: an input that fails marks nobody gone and says so.
func TestReadFails(t *testing.T) {
	t.Parallel()
	mine := errors.New("the line is dead")
	for _, c := range []struct {
		err    error
		kind   errs.Kind
		reason string
	}{
		{mine, errs.Unavailable, "file_unreadable"},
		{io.ErrUnexpectedEOF, errs.Unavailable, "file_unreadable"},
		{errs.New(errs.Precondition, "own_reason", "own text"), errs.Precondition, "own_reason"},
	} {
		for n := 0; n < 40; n += 7 {
			d := open(t)
			load(t, d, strings.NewReader("id\nold\n"), importer.Options{})
			file := "id,email\n1,a@example.com\n2,b@example.com\n"
			got := load(t, d, io.MultiReader(strings.NewReader(file[:n]), iotest.ErrReader(c.err)), importer.Options{FileName: "p.csv", Mode: directory.Full})
			if errs.KindOf(got.Err) != c.kind || errs.ReasonOf(got.Err) != c.reason || got.Summary.Gone != 0 || got.Summary.GoneWithheld == "" {
				t.Errorf("after %d bytes: %+v", n, got)
			}
			if want := strings.Count(file[:n], "\n"); len(people(t, d)) != max(want, 1) {
				t.Errorf("after %d bytes: %v", n, people(t, d))
			}
		}
	}
}

// TestCancel: a read that waits for ever ends with the context when the input can be closed.
func TestCancel(t *testing.T) {
	t.Parallel()
	d := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := importer.Import(ctx, d, "acme", pr, importer.Options{Mode: directory.Full}, func(importer.LineError) {})
		done <- err
	}()
	if _, err := pw.Write([]byte("id\n" + strings.Repeat("x\n", 50_000))); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	again := load(t, d, strings.NewReader("id\n1\n"), importer.Options{})
	if again.Err != nil {
		t.Errorf("the import holds its lock: %v", again.Err)
	}
}

// TestTwoImports: while one import runs, another of the same tenant is refused.
func TestTwoImports(t *testing.T) {
	t.Parallel()
	d := open(t)
	m, err := d.BeginImport(t.Context(), "acme", directory.Delta)
	if err != nil {
		t.Fatal(err)
	}
	got := load(t, d, strings.NewReader("id\n1\n"), importer.Options{})
	if errs.KindOf(got.Err) != errs.Conflict {
		t.Errorf("err = %v, want a conflict", got.Err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if got := load(t, d, strings.NewReader("id\n1\n"), importer.Options{}); got.Err != nil {
		t.Error(got.Err)
	}
}
