package salesforce_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

func set(v string) salesforce.Cell { return salesforce.Cell{Value: v, Set: true} }

func TestCSVWriter(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := salesforce.NewCSVWriter(&out, []string{"Key__c", "LastName", "Account.Key__c"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]salesforce.Cell{
		{set("k1"), set("O'Neil"), set("a,b")},
		{set("k2"), {Null: true}, {}},
		{set("k3"), set("say \"hi\""), set("one\r\ntwo\rthree\nfour")},
		{set(" k4 "), set("ü😀"), set("")},
		{set("#N/A2"), set("N/A"), {Value: "ignored"}},
	} {
		if err := w.Row(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "Key__c,LastName,Account.Key__c\n" +
		"k1,O'Neil,\"a,b\"\n" +
		"k2,#N/A,\n" +
		"k3,\"say \"\"hi\"\"\",\"one\ntwo\nthree\nfour\"\n" +
		"\" k4 \",ü😀,\n" +
		"#N/A2,N/A,\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	if w.Rows() != 5 || w.Bytes() != int64(len(want)) {
		t.Errorf("%d rows and %d bytes, want 5 and %d", w.Rows(), w.Bytes(), len(want))
	}
}

// TestCSVWriterRefusesCells: a bad value costs its row and nothing else.
func TestCSVWriterRefusesCells(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := salesforce.NewCSVWriter(&out, []string{"A", "B", "C", "D"})
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string][]salesforce.Cell{
		"null literal": {set("x"), set("#N/A"), {}, {}},
		"any case":     {set("x"), set("#n/a"), {}, {}},
		"NUL":          {set("x"), set("a\x00b"), {}, {}},
		"UTF-8":        {set("x"), set("a\xffb"), {}, {}},
		"field length": {set("x"), set(strings.Repeat("a", 131_073)), {}, {}},
		"UTF-16 units": {set("x"), set(strings.Repeat("😀", 65_537)), {}, {}},
	} {
		err := w.Row(row)
		if e, ok := errors.AsType[*salesforce.CellError](err); !ok || e.Column != "B" {
			t.Errorf("%s: error %v, want a CellError of column B", name, err)
		}
	}
	long := set(strings.Repeat("a", 131_072))
	if err := w.Row([]salesforce.Cell{long, long, long, long}); err == nil {
		t.Error("a row of 524,288 characters was taken")
	}
	if err := w.Row([]salesforce.Cell{long, long, long, set("ok")}); err != nil {
		t.Errorf("a row at the limits: %v", err)
	}
	if err := w.Row([]salesforce.Cell{{}}); err == nil {
		t.Error("a row of another width was taken")
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if w.Rows() != 1 || !strings.HasPrefix(out.String(), "A,B,C,D\naaa") || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("the file holds more than the one good row: %d rows", w.Rows())
	}
	for name, columns := range map[string][]string{"none": nil, "twice": {"A", "a"}, "bad name": {"A B"}, "too wide": strings.Fields(wideHeader())} {
		if _, err := salesforce.NewCSVWriter(io.Discard, columns); err == nil {
			t.Errorf("%s: the header was taken", name)
		}
	}
}

// wideHeader names more columns than a header of 32,000 characters holds.
func wideHeader() string {
	var b strings.Builder
	for a := range 26 {
		for c := range 26 {
			b.WriteString("Field" + string(rune('A'+a)) + string(rune('A'+c)) + strings.Repeat("x", 50) + "__c ")
		}
	}
	return b.String()
}

func TestCSVWriterStopsAtTheLimit(t *testing.T) {
	t.Parallel()
	w, err := salesforce.NewCSVWriter(io.Discard, []string{"A", "B"})
	if err != nil {
		t.Fatal(err)
	}
	row := []salesforce.Cell{set(strings.Repeat("a", 100_000)), set(strings.Repeat("b", 100_000))}
	for err == nil {
		err = w.Row(row)
	}
	if !errors.Is(err, salesforce.ErrUploadFull) || w.Rows() != 499 || w.Bytes() > salesforce.MaxUpload {
		t.Errorf("%v after %d rows and %d bytes", err, w.Rows(), w.Bytes())
	}
}

func FuzzCSVWriter(f *testing.F) {
	for _, s := range []string{"", "a", "a,b", `"`, `""`, "\r\n", "\n\r", " x ", "#N/A", "\x00", "\xff", "ü", "a\"\r\"b"} {
		f.Add(s, "x")
		f.Add("x", s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		var out bytes.Buffer
		w, err := salesforce.NewCSVWriter(&out, []string{"A", "B"})
		if err != nil {
			t.Fatal(err)
		}
		err = w.Row([]salesforce.Cell{set(a), set(b)})
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		got, rerr := csv.NewReader(&out).ReadAll()
		if rerr != nil || !utf8.Valid(out.Bytes()) {
			t.Fatalf("the file of %q, %q is unreadable: %v", a, b, rerr)
		}
		if err != nil {
			if len(got) != 1 {
				t.Errorf("a refused row left %q", got[1:])
			}
			return
		}
		lf := strings.NewReplacer("\r\n", "\n", "\r", "\n")
		want := [][]string{{"A", "B"}, {lf.Replace(a), lf.Replace(b)}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("file (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkCSVWriter(b *testing.B) {
	w, err := salesforce.NewCSVWriter(io.Discard, []string{"Key__c", "FirstName", "LastName", "Email", "Phone", "Title", "MailingCity", "DoNotCall"})
	if err != nil {
		b.Fatal(err)
	}
	row := []salesforce.Cell{set("c7f3a1d0-0001"), set("Ann-Katrin"), set("Müller, geb. Schmidt"), set("ann.mueller@example.com"), set("+49 30 1234567"), {Null: true}, set("Berlin"), set("false")}
	rows := 0
	for b.Loop() {
		if err := w.Row(row); errors.Is(err, salesforce.ErrUploadFull) {
			if w, err = salesforce.NewCSVWriter(io.Discard, []string{"A", "B", "C", "D", "E", "F", "G", "H"}); err != nil {
				b.Fatal(err)
			}
		} else if err != nil {
			b.Fatal(err)
		}
		rows++
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
