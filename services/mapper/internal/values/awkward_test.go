package values_test

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"
	"pgregory.net/rapid"

	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

var update = flag.Bool("update", false, "write testdata/awkward.golden anew")

// awkward are values that have broken somebody's integration.
var awkward = []string{
	"", " ", "\u00a0\u2003\t", "null", "NULL", "#N/A", "#N/A ", "#n/a", "N/A", "-", "0", "00", "007", "0815", "1E5", "1e-2", "+5", "-0", ".5", "5.", "1.005", "999.995",
	"1.234,5", "1,234.5", "1 234", "١٢٣", "½", "0x1F", "NaN", "Infinity", "1_000", "TRUE", "true", "Yes", "no", "1", "t",
	"=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=cmd", "\"quoted\"", "it's", "a\"b", `"`, "a,b", "a;b", ";", "a\\", "line one\nline two", "line one\r\nline two\r\n", "a\rb",
	"<b>bold</b>", "&amp;", "%00", "a\x00b", "\x1b[31m", "\x7f", "\ufeffbom", "\ufffe", "\xff\xfe", "a\u200bb", "\u200eltr", "\u202eevil",
	"שלום עולם", "مرحبا", "e\u0301", "é", "Zoe\u0308", "\u0344", "ﬁ", "İstanbul", "ıi", "STRASSE", "straße", "ǅ", "Ⅷ", "x\u0323\u0302",
	"😀", "👨‍👩‍👧‍👦", "🇩🇪", "👍🏽", "𝒳", "a\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307", "क्षि", "각", "日本語", "ｆｕｌｌ",
	strings.Repeat("x", 80), strings.Repeat("x", 81), strings.Repeat("é", 80), strings.Repeat("e\u0301", 80), strings.Repeat("😀", 40), strings.Repeat("😀", 40) + "x",
	strings.Repeat("x", 79) + "😀", strings.Repeat("x", 79) + "e\u0301", strings.Repeat("x", 79) + " y", strings.Repeat(" ", 90) + "x", strings.Repeat("ﷺ", 81),
	"2026-01-31", "2026-02-30", "2024-02-29", "2026-1-31", "31.01.2026", "01/31/2026", "20260131", "0000-00-00", "1699-12-31", "4000-12-31",
	"2026-12-31T23:59:59-08:00", "2027-01-01T00:00:00+14:00", "2026-03-29T02:30:00", "2026-10-25T02:30:00", "2026-06-30T23:59:60Z", "2026-01-31T08:30:00.999Z", "2026-01-31T08:30:00+0000", "2026-01-31 08:30",
	"Ada@Example.com", "ada@example", "ada@@example.com", "<ada@example.com>", "ada@exämple.de", "a b@example.com", "ada@example.com;bob@example.com",
	"030 123456", "+49 (0)30 123456", "0049 30 123456", "+1-800-FLOWERS", "123", "+49 30 123456 ext. 7",
	"gold", "GOLD", "Gold;Silver", "gold; gold", "Bronze", "Gold\u0301",
	"001D000000IRFma", "001D000000IRFmaIAH", "001d000000irfmaiah", "001D000000IRFmaXXX", "000000000000000", "001D000000IRFm", "Acme",
}

// targets are fields of each kind, with the settings that matter for awkward values.
func targets(t testing.TB) []struct {
	name string
	c    *values.Converter
} {
	t.Helper()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	list := []string{"Gold", "Silver"}
	type target = struct {
		name string
		c    *values.Converter
	}
	return []target{
		{"string", values.New(values.Spec{Name: "F", Type: "string", Length: 80}, values.Options{})},
		{"string, cut", values.New(values.Spec{Name: "F", Type: "string", Length: 80}, values.Options{Cut: true})},
		{"textarea", values.New(values.Spec{Name: "F", Type: "textarea", Length: 80}, values.Options{})},
		{"email", values.New(values.Spec{Name: "F", Type: "email", Length: 80}, values.Options{})},
		{"phone", values.New(values.Spec{Name: "F", Type: "phone", Length: 40}, values.Options{Phones: values.PhoneE164})},
		{"picklist", values.New(values.Spec{Name: "F", Type: "picklist", Length: 80, Restricted: true, Picklist: list}, values.Options{})},
		{"multipicklist", values.New(values.Spec{Name: "F", Type: "multipicklist", Length: 80, Picklist: list}, values.Options{})},
		{"boolean", values.New(values.Spec{Name: "F", Type: "boolean"}, values.Options{})},
		{"int", values.New(values.Spec{Name: "F", Type: "int", Digits: 8}, values.Options{})},
		{"double", values.New(values.Spec{Name: "F", Type: "double", Precision: 8, Scale: 2}, values.Options{})},
		{"date", values.New(values.Spec{Name: "F", Type: "date"}, values.Options{Zone: berlin})},
		{"datetime", values.New(values.Spec{Name: "F", Type: "datetime"}, values.Options{Zone: berlin})},
		{"reference", values.New(values.Spec{Name: "F", Type: "reference", Length: 18}, values.Options{})},
	}
}

// TestAwkwardValues compares what becomes of each awkward value in a field of each type with testdata/awkward.golden:
// the value, or the code of a problem. Types of which the value is simply none (invalid_number, ...) are not listed.
func TestAwkwardValues(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, in := range awkward {
		b.WriteString(strconv.QuoteToASCII(in) + "\n")
		for _, target := range targets(t) {
			out, p := target.c.ConvertIn(in, "DE")
			switch {
			case p != nil && p.Scope == values.ScopeNote:
				b.WriteString("  " + target.name + ": " + p.Code + " " + strconv.QuoteToASCII(out) + "\n")
			case p != nil && strings.HasPrefix(p.Code, "invalid_"):
			case p != nil:
				b.WriteString("  " + target.name + ": " + p.Code + "\n")
			default:
				b.WriteString("  " + target.name + ": " + strconv.QuoteToASCII(out) + "\n")
			}
		}
	}
	name := filepath.Join("testdata", "awkward.golden")
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("run with -update where this is meant (-want +got):\n%s", diff)
	}
}

// texts are drawn from awkward values, pieces of them, and anything.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom(awkward),
		rapid.String(),
		rapid.Map(rapid.SliceOfN(rapid.SampledFrom(awkward), 2, 4), func(parts []string) string { return strings.Join(parts, "") }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
}

// What holds for every value in every field: it is a problem or it fits, converting it again changes nothing, and
// nothing panics.
func TestEveryValueFitsOrIsAProblem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		in := texts().Draw(rt, "value")
		for _, target := range targets(t) {
			out, p := target.c.ConvertIn(in, "DE")
			if p != nil && p.Scope != values.ScopeNote {
				if out != "" || p.Code == "" || p.Message == "" || !utf8.ValidString(p.Message) {
					rt.Fatalf("%s: %q, %+v", target.name, out, p)
				}
				continue
			}
			if n := len(utf16.Encode([]rune(out))); n > 80 {
				rt.Fatalf("%s: %d UTF-16 units", target.name, n)
			}
			if !utf8.ValidString(out) || strings.TrimSpace(out) != out || out == "#N/A" || strings.ContainsAny(out, "\x00\r") {
				rt.Fatalf("%s: %q cannot be stored as it is", target.name, out)
			}
			if again, p := target.c.ConvertIn(out, "DE"); again != out || p != nil {
				rt.Fatalf("%s: %q became %q, which becomes %q, %+v", target.name, in, out, again, p)
			}
			// What Salesforce makes of the value, and sends back, is the same value.
			if again, p := target.c.ConvertIn(" "+strings.ReplaceAll(out, "\n", "\r\n")+" ", "DE"); again != out || p != nil {
				rt.Fatalf("%s: %q comes back and becomes %q, %+v", target.name, out, again, p)
			}
		}
	})
}

// A cut text is the longest one that fits and ends between two characters as people see them.
func TestCutTearsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		in := texts().Draw(rt, "value")
		length := rapid.IntRange(1, 30).Draw(rt, "length")
		spec := values.Spec{Name: "F", Type: "textarea", Length: length}
		whole, p := values.New(values.Spec{Name: "F", Type: "textarea"}, values.Options{}).Convert(in)
		if p != nil || whole == "" {
			return
		}
		out, p := values.New(spec, values.Options{Cut: true}).Convert(in)
		if p != nil && p.Scope != values.ScopeNote {
			if first, _, _, _ := uniseg.FirstGraphemeClusterInString(whole, -1); values.Units(first) <= length && strings.TrimSpace(first) != "" && p.Code != values.CodeTooLong {
				rt.Fatalf("%q at %d: %+v", whole, length, p)
			}
			return
		}
		if p == nil {
			if out != whole {
				rt.Fatalf("%q became %q without a note", whole, out)
			}
			return
		}
		rest, ok := strings.CutPrefix(whole, out)
		if !ok || values.Units(out) > length {
			rt.Fatalf("%q at %d was cut to %q", whole, length, out)
		}
		// The border is one of the whole text.
		border, found := 0, false
		for left, state := whole, -1; left != "" && !found; {
			var cluster string
			cluster, left, _, state = uniseg.FirstGraphemeClusterInString(left, state)
			border += len(cluster)
			found = border == len(out)
		}
		if !found {
			rt.Fatalf("%q at %d was torn before %q", whole, length, rest)
		}
	})
}

func FuzzAwkward(f *testing.F) {
	for _, in := range awkward {
		f.Add(in)
	}
	all := targets(f)
	f.Fuzz(func(t *testing.T, in string) {
		for _, target := range all {
			out, p := target.c.ConvertIn(in, "DE")
			if p != nil && p.Scope != values.ScopeNote {
				continue
			}
			if again, p := target.c.ConvertIn(out, "DE"); again != out || p != nil {
				t.Fatalf("%s: %q became %q, which becomes %q, %+v", target.name, in, out, again, p)
			}
		}
	})
}
