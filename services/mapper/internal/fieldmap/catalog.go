package fieldmap

import (
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/expression"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// isSource reports whether a person has the field. Attributes that nobody has now may come later.
func isSource(name string, attributes []string, anyAttribute bool) bool {
	attribute, isAttribute := strings.CutPrefix(name, Attribute)
	if isAttribute {
		return attribute != "" && (anyAttribute || slices.Contains(attributes, name))
	}
	return slices.Contains(sources, name)
}

// catalogField describes a Catalog field that an import writes to.
func catalogField(name string) Field {
	f := Field{Spec: values.Spec{Name: name, Type: "string"}, Createable: true, Updateable: true, Nillable: true}
	switch name {
	case "email":
		f.Type = "email"
	case "active":
		f.Type = "boolean"
	case "created_at", "updated_at":
		f.Type = "datetime"
	case "street":
		f.Type = "textarea"
	case "phone", "mobile_phone":
		f.Type = "phone"
	}
	if strings.HasPrefix(name, Attribute) {
		f.Type = "textarea"
	}
	return f
}

// fieldsFor are the fields that expressions of the map may read.
func fieldsFor(m Map, org Org, anyAttribute bool) expression.Fields {
	out := expression.Fields{}
	if m.Direction != Import {
		out.Person, out.AnyAttribute = slices.Concat(sources, org.Attributes), anyAttribute
	}
	for _, f := range org.Object.Fields {
		if readable(f) {
			out.Record = append(out.Record, f.Name)
		}
	}
	return out
}

// readable reports whether a record's value of the field is text.
func readable(f Field) bool { return f.Type == "id" || values.Supported(f.Type) }
