package salesforce

import (
	"fmt"
	"regexp"
	"strings"
)

// Quote returns s as a SOQL string literal, quotes included. It is the only way for a value to get into a
// query.
func Quote(s string) string { return quote(s, false) }

// QuoteLike is Quote for the right side of LIKE: % and _ in s stand for themselves.
func QuoteLike(s string) string { return quote(s, true) }

func quote(s string, like bool) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('\'')
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\', '\'', '"':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '\b':
			b.WriteString(`\b`)
		case '\f':
			b.WriteString(`\f`)
		case '%', '_':
			if like {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
		default:
			if c < ' ' {
				fmt.Fprintf(&b, `\u%04X`, c)
			} else {
				b.WriteByte(c)
			}
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// In returns the condition that field has one of the values. Field must be an identifier.
func In(field string, values []string) string {
	var b strings.Builder
	b.WriteString(field)
	b.WriteString(" IN (")
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(Quote(v))
	}
	b.WriteByte(')')
	return b.String()
}

var identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,79}(\.[A-Za-z][A-Za-z0-9_]{0,79}){0,5}$`)

// Identifier checks the name of an object or field, or a path to a parent's field (Account.Owner.Name).
// Names cannot be escaped in SOQL, so whatever fails here must not get into a query.
func Identifier(s string) error {
	if !identifier.MatchString(s) {
		if len(s) > 80 {
			s = s[:80]
		}
		return fmt.Errorf("salesforce: %q is no object or field name", s)
	}
	return nil
}

// Select builds "SELECT columns FROM object" plus rest, which starts with WHERE, ORDER BY or LIMIT and
// whose values went through Quote. The names are checked.
func Select(columns []Column, object, rest string) (string, error) {
	if err := Identifier(object); err != nil {
		return "", err
	}
	if len(columns) == 0 {
		return "", fmt.Errorf("salesforce: query of %s selects no column", object)
	}
	var b strings.Builder
	b.WriteString("SELECT ")
	for i, c := range columns {
		if err := Identifier(c.Name); err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(c.Name)
	}
	b.WriteString(" FROM ")
	b.WriteString(object)
	if rest != "" {
		b.WriteByte(' ')
		b.WriteString(rest)
	}
	return b.String(), nil
}
