package salesforce_test

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

// parseLiteral reads a SOQL string literal by the rules of the language: any backslash that starts none of
// the known escapes is an error, and the literal ends at the first bare quote.
func parseLiteral(s string, like bool) (string, bool) {
	if len(s) < 2 || s[0] != '\'' {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '\'':
			return b.String(), i == len(s)-1
		case '\\':
			i++
			if i == len(s) {
				return "", false
			}
			if at := strings.IndexByte(`'"\nrtbf`, s[i]); at >= 0 {
				b.WriteByte("'\"\\\n\r\t\b\f"[at])
			} else if like && (s[i] == '%' || s[i] == '_') {
				b.WriteByte(s[i])
			} else if s[i] == 'u' && i+4 < len(s) {
				n, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
				if err != nil {
					return "", false
				}
				b.WriteRune(rune(n))
				i += 4
			} else {
				return "", false
			}
		default:
			if c < ' ' || like && (c == '%' || c == '_') {
				return "", false // a raw control character or an active wildcard
			}
			b.WriteByte(c)
		}
	}
	return "", false
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "O'Neil", `\`, `\'`, `' OR Name != '`, "a\r\n\t\b\fb", `"x"`, "50%_off", "\x00\x1f\x7f", "ü😀", `\u0027`, `\\'`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			t.Skip()
		}
		if got, ok := parseLiteral(salesforce.Quote(s), false); !ok || got != s {
			t.Errorf("Quote(%q) = %s, which reads as %q, %v", s, salesforce.Quote(s), got, ok)
		}
		if got, ok := parseLiteral(salesforce.QuoteLike(s), true); !ok || got != s {
			t.Errorf("QuoteLike(%q) = %s, which reads as %q, %v", s, salesforce.QuoteLike(s), got, ok)
		}
	})
}

func TestIdentifierAndSelect(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"Email": true, "Key__c": true, "ns__Key__c": true, "Account.Owner.Name": true, "Mother__r.Key__c": true,
		"": false, "1a": false, "_a": false, "a b": false, "a,b": false, "a'": false, "a.": false, ".a": false, "a..b": false, "Größe": false, "COUNT()": false,
		strings.Repeat("a", 81): false, "a.b.c.d.e.f.g": false, "Id FROM User--": false,
	} {
		if got := salesforce.Identifier(s) == nil; got != ok {
			t.Errorf("Identifier(%q) passes: %v, want %v", s, got, ok)
		}
	}
	got, err := salesforce.Select(salesforce.Columns("Id", "Account.Name"), "Contact", "WHERE "+salesforce.In("Email", []string{"a'b", "c"}))
	if want := `SELECT Id,Account.Name FROM Contact WHERE Email IN ('a\'b','c')`; got != want || err != nil {
		t.Errorf("Select = %q, %v; want %q", got, err, want)
	}
	for _, columns := range [][]salesforce.Column{nil, salesforce.Columns("Id", "x FROM User")} {
		if got, err := salesforce.Select(columns, "Contact", ""); err == nil {
			t.Errorf("Select(%v) = %q, want an error", columns, got)
		}
	}
}
