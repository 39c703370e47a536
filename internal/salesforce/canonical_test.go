package salesforce_test

import (
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		t    salesforce.FieldType
		in   string
		want string // "!" for an error
	}{
		{"boolean", "TRUE", "true"},
		{"boolean", "0", "false"},
		{"boolean", "yes", "!"},
		{"boolean", "", ""},
		{"currency", "9.12260031E8", "912260031"},
		{"currency", "9.12260031e+8", "912260031"},
		{"double", "1.50", "1.5"},
		{"double", "-0.0", "0"},
		{"double", "+007", "7"},
		{"double", ".5", "0.5"},
		{"double", "5.", "5"},
		{"double", "-1.25E-3", "-0.00125"},
		{"double", "1E-7", "0.0000001"},
		{"double", "123456789012345678", "123456789012345678"},
		{"double", "1e9999", "!"},
		{"double", "1e99999999999", "!"},
		{"double", "1e", "!"},
		{"double", ".", "!"},
		{"double", "-", "!"},
		{"double", "1,5", "!"},
		{"double", "NaN", "!"},
		{"double", "0x1", "!"},
		{"double", " 1", "!"},
		{"double", "1.2.3", "!"},
		{"double", "0e99999", "!"},
		{"double", "0e30000", "0"},
		{"double", strings.Repeat("1", 401), "!"},
		{"int", "1.0E1", "10"},
		{"int", "1.5", "!"},
		{"long", "12.00", "12"},
		{"percent", "010.10", "10.1"},
		{"date", "2026-11-21", "2026-11-21"},
		{"date", "2026-02-30", "!"},
		{"date", "2026-11-21T00:00:00Z", "!"},
		{"date", "21.11.2026", "!"},
		{"datetime", "2026-11-21T19:23:38.000+0000", "2026-11-21T19:23:38.000Z"},
		{"datetime", "2026-11-21T19:23:38Z", "2026-11-21T19:23:38.000Z"},
		{"datetime", "2026-11-21T19:23:38.000Z", "2026-11-21T19:23:38.000Z"},
		{"datetime", "2026-11-21T19:23:38+00:00", "2026-11-21T19:23:38.000Z"},
		{"datetime", "2026-11-21T21:53:38.120+02:30", "2026-11-21T19:23:38.120Z"},
		{"datetime", "2026-11-21T19:23:38", "!"},
		{"datetime", "2026-11-21", "!"},
		{"time", "10:30:00.000Z", "10:30:00.000Z"},
		{"time", "10:30:00", "10:30:00.000Z"},
		{"time", "25:00:00", "!"},
		{"id", "0018c00002FInbo", "0018c00002FInboAAD"},
		{"id", "750ak000009BWKL", "750ak000009BWKLAA4"},
		{"reference", "0035500001H9cak", "0035500001H9cakAAB"},
		{"id", "00D5g000001AbCd", "00D5g000001AbCdEAK"},
		{"id", "00D5g000001AbCdEAK", "00D5g000001AbCdEAK"},
		{"id", "00D5g000001AbC!", "!"},
		{"id", "short", "!"},
		{"string", " a\r\nb\rc\x00 ", " a\nb\nc "},
		{"picklist", "x", "x"},
		{"", "9.1E8", "9.1E8"},
	} {
		got, err := salesforce.Canonical(c.t, c.in)
		if err != nil {
			got = "!"
			if len(c.in) > 3 && strings.Contains(err.Error(), c.in) {
				t.Errorf("the error shows the value: %v", err)
			}
		}
		if got != c.want {
			t.Errorf("Canonical(%s, %q) = %q (%v), want %q", c.t, c.in, got, err, c.want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	types := []salesforce.FieldType{"boolean", "int", "long", "double", "currency", "percent", "date", "datetime", "time", "id", "reference", "string"}
	for i := range types {
		for _, s := range []string{"true", "9.12260031E8", "-0.0", "1e-400", "2026-11-21", "2026-11-21T19:23:38.000+0000", "0000-01-01T00:00:00+2359", "10:30:00Z", "00D5g000001AbCd", "\x00\r"} {
			f.Add(uint8(i), s)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, s string) {
		typ := types[int(which)%len(types)]
		once, err := salesforce.Canonical(typ, s)
		if err != nil {
			return
		}
		twice, err := salesforce.Canonical(typ, once)
		if err != nil || twice != once {
			t.Errorf("Canonical(%s, %q) = %q, and of that %q, %v", typ, s, once, twice, err)
		}
		if len(once) > len(s)+500 {
			t.Errorf("Canonical(%s, %q) grew to %d bytes", typ, s, len(once))
		}
	})
}
