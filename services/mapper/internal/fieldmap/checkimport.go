package fieldmap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/similar"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// notImported are Catalog fields that the Catalog itself keeps.
var notImported = []string{"created_at", "updated_at"}

// catalogTarget checks that the Catalog has the field that an import writes to.
func (c *checkedPair) catalogTarget() (Field, bool) {
	attribute, isAttribute := strings.CutPrefix(c.Target, Attribute)
	switch {
	case c.Target == "":
		c.fail(CodeNoSuchField, "it names no Catalog field to write to: name %s", c.oneOfSources())
		return Field{}, false
	case slices.Contains(notImported, c.Target):
		c.fail(CodeNotWritable, "the Catalog keeps %s itself: remove the pair, or write to an attribute", c.Target)
		return Field{}, false
	case isAttribute && attribute != "" && strings.TrimSpace(attribute) == attribute && len(c.Target) <= 128:
	case isAttribute:
		c.fail(CodeNoSuchField, "an attribute needs a name of at most 100 characters: write it as attributes.NAME")
		return Field{}, false
	case !slices.Contains(sources, c.Target):
		p := c.fail(CodeNoSuchField, "the Catalog has no field %s: name %s", values.Clip(c.Target), c.oneOfSources())
		if nearest, ok := similar.Nearest(c.Target, sources); ok {
			p.Repair = "take " + nearest
		}
		return Field{}, false
	}
	return catalogField(c.Target), true
}

// recordSource checks a Salesforce field that an import reads: one of the object, or of a record that it refers to.
func (c *checkedPair) recordSource(name string) {
	relation, field, related := strings.Cut(name, ".")
	if !related {
		f, ok := c.o.field(name)
		switch {
		case !ok:
			p := c.fail(CodeNoSuchField, "%s has no field %s that the connected user may see: correct the API name, or give the user access to the field", c.o.Name, brief(name))
			p.Repair = "remove the pair, or give the connected user access to the field"
			if nearest := c.renamed(name, ""); nearest != "" {
				p.Repair = fmt.Sprintf("if it was renamed, change the pair's source to %s; else %s", nearest, p.Repair)
			}
		case !readable(f):
			c.fail(CodeUnknownSource, "%s is of type %s, which is no text: read its parts", f.Name, f.Type)
		case c.drift && name == c.Source && c.Type != "" && !values.Compatible(c.Type, f.Type):
			c.fail(CodeTypeChanged, "%s was of type %s when the field map was saved and is of type %s now: save the field map again", f.Name, c.Type, f.Type).Repair = "save the field map again"
		}
		return
	}
	i := slices.IndexFunc(c.o.Fields, func(f Field) bool {
		return f.Type == "reference" && f.Relationship != "" && strings.EqualFold(f.Relationship, relation)
	})
	if i < 0 {
		c.fail(CodeNoSuchField, "%s has no relation %s: name one such as Account, and a field of it, such as Account.Name", c.o.Name, brief(relation))
		return
	}
	if len(c.o.Fields[i].ReferenceTo) != 1 {
		c.fail(CodeNoSuchField, "%s may refer to several objects (%s), whose fields cannot be read through it: read %s", c.o.Fields[i].Name, strings.Join(c.o.Fields[i].ReferenceTo, ", "), c.o.Fields[i].Name)
		return
	}
	other, known := c.org.related(c.o.Fields[i].ReferenceTo[0])
	if !known {
		return
	}
	if f, ok := other.field(field); !ok || !readable(f) {
		c.fail(CodeNoSuchField, "%s has no field %s that the connected user may see and that is text: correct the API name", other.Name, brief(field))
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
