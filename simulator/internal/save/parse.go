package save

import (
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// parse reads a value as the field's type and gives it in stored form; "" is null. Text is trimmed, e-mail addresses
// are lower-cased and numbers rounded to the field's scale, as Salesforce stores them.
func parse(f *schema.Field, v Value) (string, error) {
	switch f.Type {
	case "boolean":
		return parseBool(v)
	case "int":
		return parseInt(v)
	case "double", "currency", "percent":
		return parseNumber(f, v)
	case "date":
		return parseDate(v)
	case "datetime":
		return parseDatetime(v)
	case "address", "location", "complexvalue":
		return "", errType
	}
	if v.Kind != Text {
		return "", errType
	}
	text := strings.TrimSpace(v.Text)
	if f.Type == "email" {
		text = strings.ToLower(text)
	}
	return text, nil
}

func parseBool(v Value) (string, error) {
	if v.Kind != Bool && v.Kind != Text {
		return "", errType
	}
	switch strings.ToLower(strings.TrimSpace(v.Text)) {
	case "true", "1":
		return "true", nil
	case "false", "0", "":
		return "", nil
	}
	return "", errType
}

func parseInt(v Value) (string, error) {
	if v.Kind != Number && v.Kind != Text {
		return "", errType
	}
	text := strings.TrimSpace(v.Text)
	if text == "" {
		return "", nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != float64(int64(f)) {
			return "", errType
		}
		n = int64(f)
	}
	return strconv.FormatInt(n, 10), nil
}

func parseNumber(f *schema.Field, v Value) (string, error) {
	if v.Kind != Number && v.Kind != Text {
		return "", errType
	}
	text := strings.TrimSpace(v.Text)
	if text == "" {
		return "", nil
	}
	if len(text) > 64 || strings.ContainsAny(text, "xX_/pPnNiI") {
		return "", errType
	}
	if e := strings.IndexAny(text, "eE"); e >= 0 {
		if exp, err := strconv.Atoi(strings.TrimPrefix(text[e+1:], "+")); err != nil || exp > 40 || exp < -40 {
			return "", errType
		}
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", errType
	}
	out := r.FloatString(f.Scale) // rounds half away from zero
	if strings.Contains(out, ".") {
		out = strings.TrimRight(strings.TrimRight(out, "0"), ".")
	}
	if out == "-0" {
		out = "0"
	}
	return out, nil
}

// fits reports whether a stored number has no more digits before the point than its field.
func fits(f *schema.Field, text string) bool {
	whole, _, _ := strings.Cut(strings.TrimPrefix(text, "-"), ".")
	if f.Type == "int" {
		return f.Digits == 0 || len(whole) <= f.Digits
	}
	return f.Precision == 0 || len(whole) <= max(f.Precision-f.Scale, 1)
}

func parseDate(v Value) (string, error) {
	if v.Kind != Text {
		return "", errType
	}
	text := strings.TrimSpace(v.Text)
	if text == "" {
		return "", nil
	}
	if plainDate(text) {
		return text, nil
	}
	if t, err := time.Parse("2006-01-02", text); err == nil {
		return checkedDate(t, "2006-01-02")
	}
	// A datetime is taken for its date.
	if t, err := ParseTime(text); err == nil {
		return checkedDate(t, "2006-01-02")
	}
	return "", errType
}

// plainDate spares time.Parse for dates that are right beyond doubt.
func plainDate(s string) bool {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' || (s[:2] != "19" && s[:2] != "20") {
		return false
	}
	for _, i := range [...]int{2, 3, 5, 6, 8, 9} {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	month, day := (s[5]-'0')*10+s[6]-'0', (s[8]-'0')*10+s[9]-'0'
	return month >= 1 && month <= 12 && day >= 1 && day <= 28
}

func checkedDate(t time.Time, layout string) (string, error) {
	if t.Year() < 1700 || t.Year() > 4000 {
		return "", errType
	}
	return t.UTC().Format(layout), nil
}

func parseDatetime(v Value) (string, error) {
	if v.Kind != Text {
		return "", errType
	}
	text := strings.TrimSpace(v.Text)
	if text == "" {
		return "", nil
	}
	t, err := ParseTime(text)
	if err != nil {
		return "", errType
	}
	return checkedDate(t.Truncate(time.Second), "2006-01-02T15:04:05.000Z")
}

// ParseTime reads a datetime with seconds and zone, in all spellings that Salesforce takes.
func ParseTime(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05.999Z07:00", "2006-01-02T15:04:05.999Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errType
}

// validEmail is Salesforce's check: stricter than RFC 5322, no quoted local part, a dot in the domain.
func validEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return false
	}
	for i := range len(local) {
		if !alnum(local[i]) && strings.IndexByte("!#$%&'*+/=?^_`{|}~-.", local[i]) < 0 {
			return false
		}
	}
	labels := strings.Split(domain, ".")
	if len(labels) < 2 {
		return false
	}
	for i, l := range labels {
		if l == "" || l[0] == '-' || l[len(l)-1] == '-' || len(l) > 63 {
			return false
		}
		for j := range len(l) {
			if !alnum(l[j]) && l[j] != '-' {
				return false
			}
		}
		if i == len(labels)-1 && len(l) < 2 {
			return false
		}
	}
	return true
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// Echo writes an uploaded value as a Bulk result file shows it: numbers in Java's form, dates and times in full.
func Echo(c Column, text string) string {
	if c.ParentKey != nil || text == "" || text == "#N/A" {
		return text
	}
	switch c.Field.Type {
	case "double", "currency", "percent":
		if v, err := parse(c.Field, Value{Kind: Text, Text: text}); err == nil && v != "" {
			return store.JavaDouble(v)
		}
	case "boolean":
		if v, err := parse(c.Field, Value{Kind: Text, Text: text}); err == nil {
			if v == "" {
				return "false"
			}
			return v
		}
	case "int", "date", "datetime":
		if v, err := parse(c.Field, Value{Kind: Text, Text: text}); err == nil {
			return v
		}
	}
	return text
}
