package values_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// specs are fields as Contact and Lead have them, one per type.
var specs = map[string]values.Spec{
	"string":        {Name: "FirstName", Type: "string", Length: 40},
	"textarea":      {Name: "MailingStreet", Type: "textarea", Length: 255},
	"phone":         {Name: "Phone", Type: "phone", Length: 40},
	"url":           {Name: "Website", Type: "url", Length: 255},
	"combobox":      {Name: "Subject", Type: "combobox", Length: 255},
	"email":         {Name: "Email", Type: "email", Length: 80},
	"picklist":      {Name: "LeadSource", Type: "picklist", Length: 255, Picklist: []string{"Web", "Phone Inquiry", "Événement"}},
	"restricted":    {Name: "Level__c", Type: "picklist", Length: 255, Restricted: true, Picklist: []string{"Primary", "Secondary", "Étape"}},
	"empty list":    {Name: "Level__c", Type: "picklist", Length: 255, Restricted: true},
	"multipicklist": {Name: "Skills__c", Type: "multipicklist", Length: 4099, Picklist: []string{"Go", "SQL", "C++"}},
	"multi strict":  {Name: "Skills__c", Type: "multipicklist", Length: 4099, Restricted: true, Picklist: []string{"Go", "SQL", "C++"}},
	"boolean":       {Name: "Active__c", Type: "boolean"},
	"int":           {Name: "NumberOfEmployees", Type: "int", Digits: 8},
	"int32":         {Name: "Count__c", Type: "int"},
	"long":          {Name: "Big__c", Type: "long"},
	"double":        {Name: "MailingLatitude", Type: "double", Precision: 18, Scale: 15},
	"decimal18":     {Name: "Total__c", Type: "double", Precision: 18},
	"whole":         {Name: "Score__c", Type: "double", Precision: 5, Scale: 0},
	"currency":      {Name: "Salary__c", Type: "currency", Precision: 10, Scale: 2},
	"percent":       {Name: "Share__c", Type: "percent", Precision: 5, Scale: 2},
	"date":          {Name: "Birthdate", Type: "date"},
	"datetime":      {Name: "Seen__c", Type: "datetime"},
	"time":          {Name: "Starts__c", Type: "time"},
	"reference":     {Name: "AccountId", Type: "reference", Length: 18},
}

func TestConvert(t *testing.T) {
	t.Parallel()
	tests := []struct {
		spec, in, want, code string
	}{
		{"string", "Ada", "Ada", ""},
		{"string", "", "", ""},
		{"string", " \t\r\n\u00a0 ", "", ""},
		{"string", "  Ada\u00a0", "Ada", ""},
		{"string", "Ada\r\nMaria\nAnne", "Ada Maria Anne", ""},
		{"string", "A\u0301da", "\u00c1da", ""},
		{"string", strings.Repeat("x", 40), strings.Repeat("x", 40), ""},
		{"string", strings.Repeat("x", 41), "", values.CodeTooLong},
		{"string", strings.Repeat("ж", 40), strings.Repeat("ж", 40), ""},
		{"string", strings.Repeat("e\u0301", 40), strings.Repeat("\u00e9", 40), ""},
		{"string", strings.Repeat("😀", 20), strings.Repeat("😀", 20), ""},
		{"string", strings.Repeat("😀", 20) + "x", "", values.CodeTooLong},
		{"string", "#N/A", "", values.CodeUnsendable},
		{"string", " #N/A ", "", values.CodeUnsendable},
		{"string", "#n/a", "#n/a", ""},
		{"string", "#N/A!", "#N/A!", ""},
		{"string", "a\x00b", "", values.CodeUnsendable},
		{"string", "a\x1bb", "", values.CodeUnsendable},
		{"string", "a\x7fb", "a\x7fb", ""},
		{"string", "a\ufffe", "", values.CodeUnsendable},
		{"string", "a\xff", "", values.CodeUnsendable},
		{"string", "007", "007", ""},
		{"string", "1E5", "1E5", ""},
		{"string", "=1+1", "=1+1", ""},
		{"string", "שלום", "שלום", ""},
		{"string", "a\"b,c", "a\"b,c", ""},
		{"textarea", "Main St 1\r\nFloor 2\rDoor 3\n", "Main St 1\nFloor 2\nDoor 3", ""},
		{"textarea", strings.Repeat("x", 256), "", values.CodeTooLong},
		{"phone", " +49 (30) 123-45 ", "+49 (30) 123-45", ""},
		{"url", "https://example.com/?a=b", "https://example.com/?a=b", ""},
		{"combobox", "Call", "Call", ""},

		{"email", " Ada@Example.COM ", "Ada@Example.COM", ""},
		{"email", "o'brien+tag@sub.example.co.uk", "o'brien+tag@sub.example.co.uk", ""},
		{"email", "a@b.c", "a@b.c", ""},
		{"email", "!#$%&'*/=?^_+-`{|}~@example.com", "!#$%&'*/=?^_+-`{|}~@example.com", ""},
		{"email", "", "", ""},
		{"email", "ada", "", values.CodeInvalidEmail},
		{"email", "ada@", "", values.CodeInvalidEmail},
		{"email", "@example.com", "", values.CodeInvalidEmail},
		{"email", "ada@example", "", values.CodeInvalidEmail},
		{"email", "ada@@example.com", "", values.CodeInvalidEmail},
		{"email", "ada@example@com.org", "", values.CodeInvalidEmail},
		{"email", "a da@example.com", "", values.CodeInvalidEmail},
		{"email", "ada@exam ple.com", "", values.CodeInvalidEmail},
		{"email", `"ada"@example.com`, "", values.CodeInvalidEmail},
		{"email", "Ada <ada@example.com>", "", values.CodeInvalidEmail},
		{"email", "ada@example.com, bob@example.com", "", values.CodeInvalidEmail},
		{"email", ".ada@example.com", "", values.CodeInvalidEmail},
		{"email", "ada.@example.com", "", values.CodeInvalidEmail},
		{"email", "a..da@example.com", "", values.CodeInvalidEmail},
		{"email", "ada@.example.com", "", values.CodeInvalidEmail},
		{"email", "ada@example..com", "", values.CodeInvalidEmail},
		{"email", "ada@example.com.", "", values.CodeInvalidEmail},
		{"email", "ada@-example.com", "", values.CodeInvalidEmail},
		{"email", "ada@example-.com", "", values.CodeInvalidEmail},
		{"email", "ada@[127.0.0.1]", "", values.CodeInvalidEmail},
		{"email", "jürgen@example.com", "", values.CodeInvalidEmail},
		{"email", "ada@exämple.com", "", values.CodeInvalidEmail},
		{"email", strings.Repeat("a", 65) + "@b.co", "", values.CodeInvalidEmail},
		{"email", "a@" + strings.Repeat("b", 76) + ".co", "", values.CodeTooLong},

		{"picklist", "web", "Web", ""},
		{"picklist", " PHONE INQUIRY ", "Phone Inquiry", ""},
		{"picklist", "ÉVÉNEMENT", "Événement", ""},
		{"picklist", "Fax", "Fax", ""},
		{"picklist", strings.Repeat("x", 256), "", values.CodeTooLong},
		{"restricted", "primary", "Primary", ""},
		{"restricted", "E\u0301TAPE", "Étape", ""},
		{"restricted", "Tertiary", "", values.CodeInvalidPicklist},
		{"restricted", "", "", ""},
		{"empty list", "x", "", values.CodeInvalidPicklist},
		{"multipicklist", "sql; go ;;GO", "Go;SQL", ""},
		{"multipicklist", "Rust;c++;rust;Ada", "C++;Rust;Ada", ""},
		{"multipicklist", " ; ", "", ""},
		{"multipicklist", ";#N/A;", "", values.CodeUnsendable},
		{"multi strict", "Go;Rust", "", values.CodeInvalidPicklist},
		{"multi strict", "C++;Go", "Go;C++", ""},

		{"boolean", "TRUE", "true", ""},
		{"boolean", "Yes", "true", ""},
		{"boolean", "1", "true", ""},
		{"boolean", "false", "false", ""},
		{"boolean", "no", "false", ""},
		{"boolean", "0", "false", ""},
		{"boolean", "maybe", "", values.CodeInvalidBoolean},
		{"boolean", "", "", ""},

		{"int", "007", "7", ""},
		{"int", "-0", "0", ""},
		{"int", "+12", "12", ""},
		{"int", "3.00", "3", ""},
		{"int", "3.5", "", values.CodeInvalidNumber},
		{"int", "99999999", "99999999", ""},
		{"int", "100000000", "", values.CodeInvalidNumber},
		{"int32", "2147483647", "2147483647", ""},
		{"int32", "-2147483648", "-2147483648", ""},
		{"int32", "2147483648", "", values.CodeInvalidNumber},
		{"long", "9223372036854775807", "9223372036854775807", ""},
		{"long", "9223372036854775808", "", values.CodeInvalidNumber},
		{"double", "52.520008", "52.520008", ""},
		{"double", "-.5", "-0.5", ""},
		{"double", "5.", "5", ""},
		{"double", "1000", "", values.CodeInvalidNumber},
		{"double", ".", "", values.CodeInvalidNumber},
		{"double", "-", "", values.CodeInvalidNumber},
		{"double", "+.", "", values.CodeInvalidNumber},
		{"double", "1,5", "", values.CodeInvalidNumber},
		{"double", "1E2", "100", ""},
		{"double", "1.5e1", "15", ""},
		{"double", "125e-3", "0.125", ""},
		{"double", "8.000010000000101", "8.0000100000001", ""}, // a double has no more
		{"double", "123.123456789012345", "123.12345678901235", ""},
		{"decimal18", "123456789012345678", "123456789012345680", ""},
		{"decimal18", "999999999999999999", "", values.CodeInvalidNumber},
		{"double", "1E", "", values.CodeInvalidNumber},
		{"double", "E5", "", values.CodeInvalidNumber},
		{"double", "1E999999999999", "", values.CodeInvalidNumber},
		{"int", "1E5", "100000", ""},
		{"currency", "1.234,5", "", values.CodeInvalidNumber},
		{"currency", "1,234.5", "", values.CodeInvalidNumber},
		{"double", "NaN", "", values.CodeInvalidNumber},
		{"double", "1.2.3", "", values.CodeInvalidNumber},
		{"double", "٣", "", values.CodeInvalidNumber},
		{"whole", "99999.4", "99999", ""},
		{"whole", "99999.5", "", values.CodeInvalidNumber},
		{"whole", "-0.4", "0", ""},
		{"whole", "-0.5", "-1", ""},
		{"currency", "1234.005", "1234.01", ""},
		{"currency", "1234.0049", "1234", ""},
		{"currency", "9.999", "10", ""},
		{"currency", "0.999", "1", ""},
		{"currency", "10.50", "10.5", ""},
		{"currency", "123456789", "", values.CodeInvalidNumber},
		{"percent", "12.5", "12.5", ""},

		{"date", "2024-02-29", "2024-02-29", ""},
		{"date", "2023-02-29", "", values.CodeInvalidDate},
		{"date", "2024-02-29T23:59:00-08:00", "2024-02-29", ""},
		{"date", "29.02.2024", "", values.CodeInvalidDate},
		{"date", "1699-12-31", "", values.CodeInvalidDate},
		{"date", "4001-01-01", "", values.CodeInvalidDate},
		{"datetime", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z", ""},
		{"datetime", "2026-01-02T03:04:05.999+02:00", "2026-01-02T01:04:05.000Z", ""},
		{"datetime", "2026-01-02T03:04:05.000+0000", "2026-01-02T03:04:05.000Z", ""},
		{"datetime", "2026-01-02", "2026-01-02T00:00:00.000Z", ""},
		{"datetime", "2026-01-02 03:04:05", "2026-01-02T03:04:05.000Z", ""},
		{"datetime", "2026-01-02T03:04", "2026-01-02T03:04:00.000Z", ""},
		{"datetime", "02.01.2026", "", values.CodeInvalidDatetime},
		{"datetime", "2026-02-30", "", values.CodeInvalidDatetime},
		{"datetime", "1700-01-01T00:00:00+02:00", "", values.CodeInvalidDatetime},
		{"time", "8:30", "08:30:00.000Z", ""},
		{"time", "08:30:15.25", "08:30:15.250Z", ""},
		{"time", "24:00", "", values.CodeInvalidTime},

		{"reference", "001D000000IRFma", "001D000000IRFmaIAH", ""},
		{"reference", "001D000000IRFmaIAH", "001D000000IRFmaIAH", ""},
		{"reference", "001D000000IRFmaiah", "001D000000IRFmaIAH", ""},
		{"reference", "001d000000irfmaIAH", "", values.CodeInvalidID},
		{"reference", "Acme", "", values.CodeInvalidID},
		{"reference", "001D000000IRFm!", "", values.CodeInvalidID},
	}
	for _, tt := range tests {
		t.Run(tt.spec+"/"+values.Clip(tt.in), func(t *testing.T) {
			t.Parallel()
			spec := specs[tt.spec]
			got, p := values.New(spec, values.Options{}).Convert(tt.in)
			code := ""
			if p != nil {
				code = p.Code
			}
			if got != tt.want || code != tt.code {
				t.Fatalf("Convert(%q) = %q, %v; want %q, code %q", tt.in, got, p, tt.want, tt.code)
			}
			if p != nil {
				checkProblem(t, spec, p)
			}
		})
	}
}

// checkProblem asserts that a problem names its field and says what to do.
func checkProblem(t *testing.T, spec values.Spec, p *values.Problem) {
	t.Helper()
	if p.Field != spec.Name || !strings.HasPrefix(p.Message, spec.Name+": ") || !strings.Contains(p.Message[len(spec.Name)+2:], ": ") {
		t.Errorf("problem %+v does not name the field %s, what happened and what to do", p, spec.Name)
	}
	if !utf8.ValidString(p.Message) {
		t.Errorf("message %q is not valid UTF-8", p.Message)
	}
}

func TestMessagesHoldFortyCharactersAtMost(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("ж", 40) + "SECRET" + strings.Repeat("y", 300)
	for name, spec := range specs {
		if _, p := values.New(spec, values.Options{}).Convert(secret); p != nil && strings.Contains(p.Message, "SECRET") {
			t.Errorf("%s: message shows more than 40 characters: %s", name, p.Message)
		}
	}
	if got := values.Clip("short"); got != `"short"` {
		t.Errorf("Clip = %s", got)
	}
}

func TestSupportedAndCompatible(t *testing.T) {
	t.Parallel()
	for _, unsupported := range []string{"", "address", "location", "base64", "anyType", "complexvalue", "id"} {
		if values.Supported(unsupported) {
			t.Errorf("type %q is supported", unsupported)
		}
	}
	compatible := map[[2]string]bool{
		{"string", "string"}: true, {"string", "textarea"}: true, {"email", "string"}: true, {"picklist", "string"}: true,
		{"double", "currency"}: true, {"int", "double"}: true, {"string", "email"}: false, {"string", "double"}: false,
		{"date", "datetime"}: false, {"string", "address"}: false, {"boolean", "string"}: false, {"address", "location"}: false,
		{"time", "date"}: false, {"picklist", "multipicklist"}: false,
	}
	for pair, want := range compatible {
		if got := values.Compatible(pair[0], pair[1]); got != want {
			t.Errorf("Compatible(%s, %s) = %v", pair[0], pair[1], got)
		}
	}
}

// checkConverted asserts what holds for every value and field.
func checkConverted(t *testing.T, c *values.Converter, spec values.Spec, in string) {
	t.Helper()
	out, p := c.Convert(in)
	if p != nil {
		if out != "" {
			t.Fatalf("%s: Convert(%q) gives both %q and a problem", spec.Type, in, out)
		}
		checkProblem(t, spec, p)
		return
	}
	if again, p := c.Convert(out); again != out || p != nil {
		t.Fatalf("%s: %q became %q, which becomes %q, %v", spec.Type, in, out, again, p)
	}
	if out == "#N/A" || !utf8.ValidString(out) || strings.TrimSpace(out) != out || strings.ContainsAny(out, "\r\x00") {
		t.Fatalf("%s: %q became %q, which cannot be sent", spec.Type, in, out)
	}
	if spec.Type != "textarea" && strings.Contains(out, "\n") {
		t.Fatalf("%s: %q became %q, which has a line break", spec.Type, in, out)
	}
}

func TestConvertingACanonicalValueGivesItselfAgain(t *testing.T) {
	t.Parallel()
	const seed = 20260131
	t.Logf("seed %d", seed)
	pieces := []string{
		" ", "\t", "\r\n", "\n", "\r", "\u00a0", "a", "Z", "0", "9", "5", ".", "-", "+", "@", "example.com", ";", "web", "GO", "sql",
		"e\u0301", "\u0301", "İ", "ß", "😀", "\u037e", "\u2000", "#N/A", "true", "2024-02-29", "T23:59:59", "Z", "+02:00", "12:30",
		"001D000000IRFma", "\x00", "\xff", "\ufffe", "\u200f", "שלום", "1E5", "\"", ",", "\u0344", "\u212a",
	}
	for name, spec := range specs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, uint64(len(name))))
			c := values.New(spec, values.Options{})
			for range 5000 {
				var in strings.Builder
				for range r.IntN(6) {
					in.WriteString(pieces[r.IntN(len(pieces))])
				}
				checkConverted(t, c, spec, in.String())
			}
			for range 2000 {
				number := fmt.Sprintf("%s%0*d.%0*d", []string{"", "-", "+"}[r.IntN(3)], r.IntN(9), r.IntN(100000), r.IntN(20), r.Int64())
				checkConverted(t, c, spec, number)
			}
		})
	}
}

func FuzzConvert(f *testing.F) {
	for _, in := range []string{"", " Ada ", "#N/A", "a..b@example.com", "1.5", "-0.999", "2026-01-02T03:04:05.999+02:00", "go;SQL", "\xff", "a\r\nb", "e\u0301"} {
		f.Add(in)
	}
	type field struct {
		spec values.Spec
		c    *values.Converter
	}
	fields := make([]field, 0, len(specs))
	for _, spec := range specs {
		fields = append(fields, field{spec, values.New(spec, values.Options{})})
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, one := range fields {
			checkConverted(t, one.c, one.spec, in)
		}
	})
}
