package suggest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
)

// maxSamples is how many values of a field are looked at.
const maxSamples = 200

// source is a Catalog field with what some people have in it.
type source struct {
	name, folded, concept string
	tokens                []string
	samples               []string // without blank ones
}

func sourcesOf(people *rowv1.Batch) []source {
	out := make([]source, len(people.GetColumns()))
	for i, name := range people.GetColumns() {
		s := source{name: name, folded: fold(name), tokens: tokens(name)}
		if s.concept = conceptOf(s.folded); !strings.HasPrefix(name, "attributes.") {
			s.concept = name
		}
		for _, row := range people.GetRows() {
			if i < len(row.GetValues()) && len(s.samples) < maxSamples {
				if v := strings.TrimSpace(row.GetValues()[i]); v != "" {
					s.samples = append(s.samples, v)
				}
			}
		}
		out[i] = s
	}
	return out
}

// distinct counts different samples.
func (s source) distinct() int {
	all := slices.Sorted(slices.Values(s.samples))
	return len(slices.Compact(all))
}

var (
	emailLike = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s]+$`)
	phoneLike = regexp.MustCompile(`^\+?[0-9 ()/.\-]{5,}( ?(x|ext\.?) ?[0-9]+)?$`)
	urlLike   = regexp.MustCompile(`^(?i)(https?://|www\.)\S+$`)
)

// fit returns the share of samples that the field's type takes, and what they look like where the type is a narrow one.
func fit(f *salesforcev1.FieldDescribe, s source) (share float64, looks string) {
	var takes func(string) bool
	what := ""
	switch f.GetType() {
	case "email":
		takes, what = emailLike.MatchString, "look like e-mail addresses"
	case "phone":
		takes, what = func(v string) bool { return phoneLike.MatchString(v) && digits(v) >= 5 && !isDate(v) }, "look like phone numbers"
	case "url":
		takes, what = urlLike.MatchString, "look like web addresses"
	case "date", "datetime":
		takes, what = isDate, "are dates"
	case "boolean":
		takes, what = isBool, "are yes or no"
	case "int", "long", "double", "currency", "percent":
		takes, what = func(v string) bool { _, err := strconv.ParseFloat(v, 64); return err == nil }, "are numbers"
	case "picklist", "multipicklist":
		if len(f.GetPicklistValues()) == 0 {
			return 1, ""
		}
		takes, what = listed(f), "are in its list"
		if !f.GetRestrictedPicklist() { // takes others too
			n := count(s.samples, takes)
			if len(s.samples) == 0 || 10*n <= 9*len(s.samples) {
				return 0.9, ""
			}
		}
	default:
		return 1, ""
	}
	n := count(s.samples, takes)
	if n == 0 {
		return 0, ""
	}
	if n == len(s.samples) {
		return 1, fmt.Sprintf("all of %d values %s", n, what)
	}
	return float64(n) / float64(len(s.samples)), fmt.Sprintf("%d of %d values %s", n, len(s.samples), what)
}

func count(samples []string, takes func(string) bool) (n int) {
	for _, v := range samples {
		if takes(v) {
			n++
		}
	}
	return n
}

// listed reports whether a value is in the field's list, by value or by label.
func listed(f *salesforcev1.FieldDescribe) func(string) bool {
	known := map[string]bool{}
	for _, v := range slices.Concat(f.GetPicklistValues(), f.GetPicklistLabels()) {
		known[strings.ToLower(v)] = true
	}
	return func(v string) bool {
		parts := []string{v}
		if f.GetType() == "multipicklist" {
			parts = strings.Split(v, ";")
		}
		for _, p := range parts {
			if !known[strings.ToLower(strings.TrimSpace(p))] {
				return false
			}
		}
		return true
	}
}

func digits(v string) (n int) {
	for _, r := range v {
		if r >= '0' && r <= '9' {
			n++
		}
	}
	return n
}

func isDate(v string) bool {
	for _, layout := range []string{time.DateOnly, time.RFC3339, "2006-01-02T15:04:05", time.DateTime} {
		if _, err := time.Parse(layout, v); err == nil {
			return true
		}
	}
	return false
}

func isBool(v string) bool {
	return slices.Contains([]string{"true", "false", "yes", "no", "1", "0"}, strings.ToLower(v))
}

// tooLong counts the samples that are longer than the field.
func tooLong(f *salesforcev1.FieldDescribe, s source) int {
	if f.GetLength() == 0 || f.GetType() == "picklist" {
		return 0
	}
	return count(s.samples, func(v string) bool { return len(utf16.Encode([]rune(v))) > int(f.GetLength()) })
}
