package plan

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
)

// Equal reports whether a record already holds what is wanted, after the normalisation that Salesforce itself applies
// to a field of the type. Both sides are in canonical spelling.
func (c *Column) Equal(want, have Value) bool {
	w, h := c.stored(want), c.stored(have)
	if w == h {
		return true
	}
	if w == "" || h == "" {
		return false
	}
	switch c.Type {
	case "email", "picklist", "combobox":
		return strings.EqualFold(w, h)
	case "multipicklist":
		return sameSet(w, h)
	case "id", "reference":
		// 15- and 18-character spellings of one id differ by the checksum alone.
		return len(w) >= 15 && len(h) >= 15 && w[:15] == h[:15]
	case "int", "long", "double", "currency", "percent":
		return sameNumber(w, h, c.Scale)
	case "datetime":
		return sameSecond(w, h)
	case "phone":
		return samePhone(w, h)
	}
	return false
}

// stored is the text that Salesforce keeps of a value: white space around it is trimmed, line breaks are LF, nothing is
// the empty text, and a box that is not ticked is false.
func (c *Column) stored(v Value) string {
	t := v.Text
	if v.Absent || v.Null {
		t = ""
	}
	if strings.IndexByte(t, '\r') >= 0 {
		t = strings.ReplaceAll(strings.ReplaceAll(t, "\r\n", "\n"), "\r", "\n")
	}
	if t = strings.TrimSpace(t); t == "" && c.Type == "boolean" {
		return "false"
	}
	return t
}

// blank reports whether Salesforce keeps nothing of a text.
func blank(s string) bool { return strings.TrimSpace(s) == "" }

// sameSet compares the values of a multi-select picklist, which Salesforce puts into the order of its own list.
func sameSet(a, b string) bool {
	return slices.Equal(set(a), set(b))
}

func set(s string) []string {
	var out []string
	for v := range strings.SplitSeq(s, ";") {
		if v = strings.ToLower(strings.TrimSpace(v)); v != "" {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// sameNumber compares numbers as the field keeps them: rounded to its scale, half away from zero.
func sameNumber(a, b string, scale int) bool {
	x, okX := new(big.Rat).SetString(a)
	y, okY := new(big.Rat).SetString(b)
	if !okX || !okY {
		return false
	}
	if x.Cmp(y) == 0 {
		return true
	}
	x, okX = new(big.Rat).SetString(x.FloatString(scale))
	y, okY = new(big.Rat).SetString(y.FloatString(scale))
	return okX && okY && x.Cmp(y) == 0
}

// sameSecond compares times of the day's second, which is all that Salesforce keeps.
func sameSecond(a, b string) bool {
	x, errX := time.Parse(time.RFC3339, a)
	y, errY := time.Parse(time.RFC3339, b)
	return errX == nil && errY == nil && x.Truncate(time.Second).Equal(y.Truncate(time.Second))
}

// samePhone compares phone numbers as numbers: punctuation does not matter, and neither does a country code that one of
// them leaves out. Extensions do.
func samePhone(a, b string) bool {
	x, y := dialled(a), dialled(b)
	if x == "" || y == "" {
		return false // no numbers: they would have to be the same text
	}
	if x == y {
		return true
	}
	// Numbers with other last digits differ however they are read; most of those that differ end here.
	if x, y = digits(x), digits(y); len(x) < 4 || len(y) < 4 || x[len(x)-4:] != y[len(y)-4:] {
		return false
	}
	switch phonenumbers.IsNumberMatch(a, b) {
	case phonenumbers.EXACT_MATCH, phonenumbers.NSN_MATCH:
		return true
	}
	return false
}

// dialled keeps what is dialled of a phone number: digits, a leading plus, and letters, which stand for an extension or
// for digits and make numbers differ.
func dialled(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9', r == '+' && b.Len() == 0, r == '#', r == '*', r == ',', r == ';':
			b.WriteRune(r)
		case r >= 'a' && r <= 'z':
			b.WriteRune(r)
		case r >= 'A' && r <= 'Z':
			b.WriteRune(r - 'A' + 'a')
		case r > 0x7f: // other scripts' digits and letters: compared as they are
			b.WriteRune(r)
		}
	}
	s = b.String()
	if rest, ok := strings.CutPrefix(s, "00"); ok && len(rest) > 6 {
		return "+" + rest
	}
	return s
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}
