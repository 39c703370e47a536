package directory

import (
	"slices"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// Selection is the columns of a [Directory.Scan], resolved.
type Selection struct {
	columns    []Column
	fields     []Field
	attributes bool
}

// NewSelection resolves Catalog fields. Invalid "unknown_field" for a name that is none.
func NewSelection(names []string) (*Selection, error) {
	s := &Selection{columns: make([]Column, len(names))}
	for i, name := range names {
		c, ok := ParseColumn(name)
		if !ok {
			return nil, errs.New(errs.Invalid, "unknown_field", "%q is no Catalog field; use one of the fixed fields, or %sNAME for a custom attribute",
				name, AttributePrefix)
		}
		s.columns[i] = c
		switch {
		case c.Attribute != "":
			s.attributes = true
		case !c.ID && !slices.Contains(s.fields, c.Field):
			s.fields = append(s.fields, c.Field)
		}
	}
	return s, nil
}

// Fields are the fixed fields that must be read, each once.
func (s *Selection) Fields() []Field { return s.fields }

// Attributes reports whether custom attributes must be read.
func (s *Selection) Attributes() bool { return s.attributes }

// Row returns the record's values of the columns.
func (s *Selection) Row(r *Record) *rowv1.Row {
	row := &rowv1.Row{Id: r.ID, Values: make([]string, len(s.columns))}
	for i, c := range s.columns {
		v, p := r.Column(c)
		switch p {
		case Present:
			row.Values[i] = v
		case Null:
			row.Null = append(row.Null, uint32(i))
		case Absent:
			row.Absent = append(row.Absent, uint32(i))
		}
	}
	return row
}
