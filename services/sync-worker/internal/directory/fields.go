package directory

import (
	"slices"
	"strings"
	"unicode"
)

// Field is one of the fixed Catalog fields of a person, the id left out. Its number is its place in [FieldNames] and
// is stored (see [Record.Null]): new fields are added at the end only.
type Field uint8

// The fixed fields.
const (
	Email Field = iota
	FirstName
	LastName
	Phone
	MobilePhone
	Title
	Organization
	Department
	Street
	City
	State
	PostalCode
	Country
	Locale
	TimeZone
	Active
	Groups
	Subaccount
	CreatedAt
	UpdatedAt

	// NumFields is how many there are.
	NumFields = int(UpdatedAt) + 1
)

const (
	// IDColumn is the Catalog field that identifies a person.
	IDColumn = "id"
	// AttributePrefix begins the Catalog field of a custom attribute.
	AttributePrefix = "attributes."
)

var fieldNames = [NumFields]string{
	"email", "first_name", "last_name", "phone", "mobile_phone", "title", "organization", "department", "street", "city",
	"state", "postal_code", "country", "locale", "time_zone", "active", "groups", "subaccount", "created_at", "updated_at",
}

var fieldByName = func() map[string]Field {
	m := make(map[string]Field, NumFields)
	for i, name := range fieldNames {
		m[name] = Field(i)
	}
	return m
}()

// String returns the Catalog field's name.
func (f Field) String() string { return fieldNames[f] }

// FieldNames returns the names of the fixed fields in canonical order, without the id.
func FieldNames() []string { return slices.Clone(fieldNames[:]) }

// FieldNamed returns the fixed field of that exact name.
func FieldNamed(name string) (Field, bool) {
	f, ok := fieldByName[name]
	return f, ok
}

// FoldName brings a column's name into the form in which Catalog fields are named: lower case, spaces, hyphens and
// dots within as underscores. "First Name" becomes first_name, "attributes.Job-Level" attributes.job_level.
func FoldName(name string) string {
	name = strings.TrimSpace(name)
	prefix := ""
	if len(name) >= len(AttributePrefix) && strings.EqualFold(name[:len(AttributePrefix)], AttributePrefix) {
		prefix, name = AttributePrefix, strings.TrimSpace(name[len(AttributePrefix):])
	}
	var b strings.Builder
	b.WriteString(prefix)
	gap := false
	for _, r := range name {
		if unicode.IsSpace(r) || r == '-' || r == '_' || r == '.' {
			gap = true
			continue
		}
		if gap && b.Len() > len(prefix) {
			b.WriteByte('_')
		}
		gap = false
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Column is a Catalog field, resolved: the id, a fixed field or a custom attribute.
type Column struct {
	// ID is set for the id.
	ID bool
	// Attribute is the attribute's name without prefix; empty for the id and fixed fields.
	Attribute string
	// Field is the fixed field otherwise.
	Field Field
}

// ParseColumn resolves the name of a Catalog field, as "email" or "attributes.cohort". Letter case and the kind of
// gap between words do not matter. It reports false for a name that is neither fixed nor an attribute's.
func ParseColumn(name string) (Column, bool) {
	name = FoldName(name)
	if name == IDColumn {
		return Column{ID: true}, true
	}
	if f, ok := fieldByName[name]; ok {
		return Column{Field: f}, true
	}
	if attribute, ok := strings.CutPrefix(name, AttributePrefix); ok && attribute != "" {
		return Column{Attribute: attribute}, true
	}
	return Column{}, false
}
