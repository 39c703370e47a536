// Package fieldmap owns what a field map means: which pairs an object takes, which pairs are always there, and how a
// person becomes a match key and wanted values. It is pure: a field map, the org's describe and people go in; problems,
// keys and values come out.
package fieldmap

import (
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// Codes of problems with a field map. They are stable.
const (
	CodeObject          = "unsupported_object"
	CodeWrongDescribe   = "wrong_describe"
	CodeTooManyPairs    = "too_many_pairs"
	CodeNoSource        = "no_source"
	CodeUnknownSource   = "unknown_source"
	CodeNoSuchField     = "no_such_field"
	CodeNotWritable     = "not_writable"
	CodeDuplicateTarget = "duplicate_target"
	CodeInvalidDefault  = "invalid_default"
	CodeNotExternalID   = "not_external_id"
	CodeRequiredField   = "required_field_unmapped"
	CodeTypeChanged     = "type_changed"
	CodeFieldShorter    = "field_shorter"
)

// Field is what a describe says of a field.
type Field struct {
	values.Spec
	Label             string
	Createable        bool
	Updateable        bool
	Nillable          bool
	DefaultedOnCreate bool
	ExternalID        bool
	Unique            bool
	CaseSensitive     bool
	Calculated        bool
}

// writable reports whether a run can both create and update the field.
func (f Field) writable() bool { return f.Createable && f.Updateable && !f.Calculated }

// required reports whether Salesforce refuses a new record without a value for the field.
func (f Field) required() bool { return f.Createable && !f.Nillable && !f.DefaultedOnCreate }

// Object is what a describe says of an object.
type Object struct {
	Name   string
	Fields []Field
}

// field finds a field by name; API names have no case.
func (o Object) field(name string) (Field, bool) {
	i := slices.IndexFunc(o.Fields, func(f Field) bool { return strings.EqualFold(f.Name, name) })
	if i < 0 {
		return Field{}, false
	}
	return o.Fields[i], true
}

// Pair says which Catalog field goes into which Salesforce field.
type Pair struct {
	Source, Target string
	Default        string // for people whose source is absent, null or blank; blank: none
	// Type and Length are what the describe said of the target when the map was saved; empty in a map to be saved.
	Type   string
	Length int
}

// Map is a field map without its identity.
type Map struct {
	Object          string
	ExternalIDField string // empty: people are matched by e-mail
	Pairs           []Pair
}

// pair returns the index of the pair with the target, or -1.
func (m Map) pair(target string) int {
	return slices.IndexFunc(m.Pairs, func(p Pair) bool { return strings.EqualFold(p.Target, target) })
}

// Equal reports whether two maps mean the same.
func (m Map) Equal(other Map) bool {
	return m.Object == other.Object && m.ExternalIDField == other.ExternalIDField && slices.Equal(m.Pairs, other.Pairs)
}

// emailField is the field by which people are matched when the map names no external id field, and by which existing
// records are adopted when it does.
const emailField = "Email"

// NotProvided fills Lead.Company, which Salesforce requires, for people without an organization.
const NotProvided = "[not provided]"

// mandatory are the pairs that every map of an object has.
var mandatory = map[string][]Pair{
	"Contact": {
		{Source: "first_name", Target: "FirstName"},
		{Source: "last_name", Target: "LastName"},
		{Source: "email", Target: emailField},
	},
	"Lead": {
		{Source: "first_name", Target: "FirstName"},
		{Source: "last_name", Target: "LastName"},
		{Source: "email", Target: emailField},
		{Source: "organization", Target: "Company", Default: NotProvided},
	},
}

// Attribute is what the names of the Catalog's custom attributes begin with.
const Attribute = "attributes."

// sources are the Catalog fields that every person has.
var sources = []string{
	"id", "email", "first_name", "last_name", "phone", "mobile_phone", "title", "organization", "department", "street",
	"city", "state", "postal_code", "country", "locale", "time_zone", "active", "groups", "subaccount", "created_at",
	"updated_at",
}

// Complete returns the map in the describe's spelling, with blanks around names gone, the type and length of each
// target noted, and the mandatory pairs added at the end where they are missing. It returns the targets that it added.
// The map need not be valid.
func Complete(m Map, o Object) (complete Map, added []string) {
	for object := range mandatory {
		if strings.EqualFold(strings.TrimSpace(m.Object), object) {
			m.Object = object
		}
	}
	m.Object = strings.TrimSpace(m.Object)
	m.ExternalIDField = spelling(o, m.ExternalIDField)
	pairs := make([]Pair, len(m.Pairs))
	for i, p := range m.Pairs {
		pairs[i] = Pair{Source: strings.TrimSpace(p.Source), Target: spelling(o, p.Target), Default: values.Clean(p.Default)}
	}
	m.Pairs = pairs
	add := func(p Pair) {
		if m.pair(p.Target) < 0 {
			m.Pairs = append(m.Pairs, p)
			added = append(added, p.Target)
		}
	}
	for _, p := range mandatory[m.Object] {
		add(p)
	}
	if m.ExternalIDField != "" {
		add(Pair{Source: "id", Target: m.ExternalIDField})
	}
	for i, p := range m.Pairs {
		if f, ok := o.field(p.Target); ok {
			m.Pairs[i].Type, m.Pairs[i].Length = f.Type, f.Length
		}
	}
	return m, added
}

func spelling(o Object, name string) string {
	name = strings.TrimSpace(name)
	if f, ok := o.field(name); ok {
		return f.Name
	}
	return name
}
