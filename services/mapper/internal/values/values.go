// Package values turns a person's text into the one spelling that Salesforce gives a value of a field's type, or says
// why Salesforce would refuse it. It owns the canonical spelling: converting a canonical value gives that value again,
// so that a value that was written compares equal the next time.
package values

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Codes of problems. They are stable: plans count people by them.
const (
	CodeTooLong         = "too_long"
	CodeInvalidEmail    = "invalid_email"
	CodeInvalidPicklist = "invalid_picklist_value"
	CodeInvalidBoolean  = "invalid_boolean"
	CodeInvalidNumber   = "invalid_number"
	CodeInvalidDate     = "invalid_date"
	CodeInvalidDatetime = "invalid_datetime"
	CodeInvalidTime     = "invalid_time"
	CodeInvalidID       = "invalid_reference"
	CodeUnsendable      = "unsendable_value"
	CodeInvalidPhone    = "invalid_phone"
	CodeInvalidPlace    = "invalid_place"
	CodeCut             = "cut" // a note
)

// Problem says why a value cannot be written, or what stands against a field map.
type Problem struct {
	Code    string // stable, snake_case
	Field   string // Salesforce field, or empty
	Message string // what happened and what to do; at most 40 characters of a person's value
	Scope   Scope
	Repair  string // what would mend it, where the message does not say it all
}

// Scope is what a problem stops.
type Scope int32

// Scopes.
const (
	ScopeUnset  Scope = iota
	ScopeMap          // the whole field map
	ScopePair         // its pair alone
	ScopePerson       // single people, who are rejected one by one
	ScopeNote         // nothing
)

// Spec is what a field's describe says of its values.
type Spec struct {
	Name       string   // API name
	Type       string   // Salesforce's field type, in its own spelling
	Length     int      // greatest length in characters, 0 where it has no meaning
	Precision  int      // all digits of a number, 0 where unknown
	Scale      int      // digits behind the decimal point
	Digits     int      // greatest number of digits of an int, 0 where unknown
	Restricted bool     // takes only the values of Picklist
	Picklist   []string // active values in the org's order
	Labels     []string // of Picklist; empty where each is its own
	Place      Place    // what part of an address the field is, where the org has a list of them
}

// Options are what a pair says of the values of its field.
type Options struct {
	Cut    bool           // texts that are too long are cut, not refused
	Zone   *time.Location // of dates and times that name none, and of the dates of times; nil: UTC, and dates as written
	Phones PhoneStyle
}

type kind uint8

const (
	unsupported kind = iota
	line
	text
	email
	picklist
	multipicklist
	boolean
	integer
	long
	decimal
	date
	datetime
	clock
	reference
)

// kinds says how the values of each writable field type are treated. Types that are not here (address, location,
// base64, anyType, ...) hold no value that text could become.
var kinds = map[string]kind{
	"string": line, "phone": line, "url": line, "combobox": line, "encryptedstring": line, "textarea": text,
	"email": email, "picklist": picklist, "multipicklist": multipicklist, "boolean": boolean,
	"int": integer, "long": long, "double": decimal, "currency": decimal, "percent": decimal,
	"date": date, "datetime": datetime, "time": clock, "reference": reference,
}

// Supported reports whether text can become a value of the field type.
func Supported(fieldType string) bool { return kinds[fieldType] != unsupported }

// Compatible reports whether values that were meant for a field of one type are still usable when it is of another.
func Compatible(before, after string) bool {
	if before == after {
		return true
	}
	class := func(fieldType string) int {
		switch kinds[fieldType] {
		case unsupported:
			return -1
		case line, text, picklist, email:
			return 1
		case integer, long, decimal:
			return 2
		}
		return 100 + int(kinds[fieldType])
	}
	a, b := class(before), class(after)
	return a == b && a > 0 && kinds[after] != email
}

// Converter converts values for one field. It is safe for concurrent use.
type Converter struct {
	spec    Spec
	options Options
	kind    kind
	exact   map[string]int // picklist value -> index in spec.Picklist
	folded  map[string]int // the same, case folded, and labels
}

// New returns the converter of a field. It panics on a type that is not Supported: a caller checks a field map first.
func New(spec Spec, options Options) *Converter {
	c := &Converter{spec: spec, options: options, kind: kinds[spec.Type]}
	if c.kind == unsupported {
		panic(fmt.Sprintf("values: field %s has type %q, which text cannot become", spec.Name, spec.Type))
	}
	if len(spec.Picklist) > 0 {
		c.exact = make(map[string]int, len(spec.Picklist))
		c.folded = make(map[string]int, len(spec.Picklist))
		for i, v := range spec.Picklist {
			putNew(c.exact, v, i)
			putNew(c.folded, Fold(v), i)
		}
		for i, label := range spec.Labels { // a value comes before a label
			if i < len(spec.Picklist) {
				putNew(c.folded, Fold(label), i)
			}
		}
	}
	return c
}

func putNew(m map[string]int, key string, i int) {
	if _, ok := m[key]; !ok {
		m[key] = i
	}
}

// Convert returns the canonical spelling of in, the empty string where in is blank (Salesforce knows no empty value but
// null), or the problem that stands against it. A problem of scope NOTE stands against nothing: it comes with the value.
func (c *Converter) Convert(in string) (string, *Problem) { return c.ConvertIn(in, "") }

// ConvertIn is Convert for phone numbers that may name no country: region is the one that they are of, such as DE.
func (c *Converter) ConvertIn(in, region string) (string, *Problem) {
	s := in
	if plain(s) {
		s = strings.TrimSpace(s)
	} else {
		if p := c.checkText(s); p != nil {
			return "", p
		}
		if s = Clean(s); c.kind == text {
			s = unixLines(s)
		} else {
			s = flatten(s)
		}
	}
	if s == "" {
		return "", nil
	}
	if s == clearMark {
		return "", c.clears()
	}
	if c.spec.Place != NoPlace {
		return c.place(s)
	}
	switch c.kind {
	case line:
		if c.options.Phones > PhoneKeep {
			return c.phone(s, region)
		}
		return c.fit(s)
	case text:
		return c.fit(s)
	case email:
		return c.email(s)
	case picklist:
		return c.pick(s)
	case multipicklist:
		return c.pickMany(s)
	case boolean:
		return c.boolean(s)
	case integer, long:
		return c.integer(s)
	case decimal:
		return c.decimal(s)
	case date:
		return c.date(s)
	case datetime:
		return c.datetime(s)
	case clock:
		return c.time(s)
	case reference:
		return c.reference(s)
	}
	panic("values: unknown kind") // New has refused it
}

// clearMark is the cell by which a Bulk upload clears a field.
const clearMark = "#N/A"

func (c *Converter) clears() *Problem {
	return c.problem(CodeUnsendable, "the value is #N/A, which Salesforce's Bulk API takes as the order to clear the field: change the value in the Catalog")
}

// Clean returns s composed (NFC) and without white space around it: the form in which text is compared.
func Clean(s string) string { return strings.TrimSpace(norm.NFC.String(s)) }

// Fold returns s as texts are compared that differ in nothing that Salesforce tells apart: cleaned, and lower case.
func Fold(s string) string { return strings.ToLower(Clean(s)) }

// plain reports whether s is printable ASCII, tabs included: text that needs no more than trimming.
func plain(s string) bool {
	for i := range len(s) {
		if b := s[i]; b >= 0x7f || b < 0x20 && b != '\t' {
			return false
		}
	}
	return true
}

// checkText refuses what XML 1.0 cannot carry, which Salesforce refuses or silently drops.
func (c *Converter) checkText(s string) *Problem {
	if !utf8.ValidString(s) {
		return c.problem(CodeUnsendable, "the value is not valid UTF-8 (%s): load it into the Catalog again in UTF-8", Clip(s))
	}
	for _, r := range s {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return c.problem(CodeUnsendable, "the value holds the control character U+%04X (%s): remove it in the Catalog", r, Clip(s))
		}
	}
	return nil
}

// flatten turns line breaks into single spaces: single-line fields hold none, and Bulk uploads trip over them.
func flatten(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\r' || r == '\n' }), " ")
}

// unixLines makes every line break a single line feed.
func unixLines(s string) string {
	if !strings.Contains(s, "\r") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// fit refuses values that are longer than the field.
func (c *Converter) fit(s string) (string, *Problem) {
	if c.spec.Length <= 0 || len(s) <= c.spec.Length {
		return s, nil
	}
	if n := Units(s); n > c.spec.Length {
		if c.options.Cut {
			return c.cut(s, n)
		}
		return "", c.problem(CodeTooLong, "the value has %d characters and the field takes %d (%s): shorten it in the Catalog", n, c.spec.Length, Clip(s))
	}
	return s, nil
}

func (c *Converter) problem(code, format string, args ...any) *Problem {
	return &Problem{Code: code, Field: c.spec.Name, Scope: ScopePerson, Message: c.spec.Name + ": " + fmt.Sprintf(format, args...)}
}

// Clip quotes a value for a message, its first 40 characters at most.
func Clip(s string) string {
	n := 0
	for i := range s {
		if n == 40 {
			return fmt.Sprintf("%q...", s[:i])
		}
		n++
	}
	return fmt.Sprintf("%q", s)
}
