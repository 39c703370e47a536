package fieldmap

import (
	"fmt"
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

// Check returns everything that stands against saving the map, in the order of its pairs; notes are problems of scope
// PERSON or NOTE, which stop no save. The map is one that [Complete] returned.
func Check(m Map, org Org) []values.Problem {
	o, attributes, maxPairs := org.Object, org.Attributes, org.MaxPairs
	if p := checkObject(m, o); p != nil {
		return []values.Problem{*p}
	}
	if len(m.Pairs) > maxPairs {
		return []values.Problem{{Code: CodeTooManyPairs, Message: fmt.Sprintf(
			"the field map has %d pairs and may have %d: leave some out", len(m.Pairs), maxPairs)}}
	}
	c := checker{m: m, o: o}
	for i, p := range m.Pairs {
		c.source(i, p, attributes)
		f, ok := c.target(i, p)
		if first := m.pair(p.Target); first < i {
			c.pair(i, CodeDuplicateTarget, "pair %d writes %s already: keep one of the two", first+1, p.Target)
		}
		if ok {
			c.standard(i, p, f)
		}
	}
	c.externalID()
	c.requiredFields()
	return c.problems
}

// Drift returns what stands against a saved map since it was saved. Problems that are not Advisory mean that the map
// can no longer be used as it is.
func Drift(m Map, org Org) []values.Problem {
	o := org.Object

	if p := checkObject(m, o); p != nil {
		return []values.Problem{*p}
	}
	c := checker{m: m, o: o}
	for i, p := range m.Pairs {
		f, ok := c.target(i, p)
		if !ok {
			continue
		}
		if p.Type != "" && !values.Compatible(p.Type, f.Type) {
			c.pair(i, CodeTypeChanged, "%s was of type %s when the field map was saved and is of type %s now: save the field map again with a source that fits, or without the pair", f.Name, p.Type, f.Type)
			continue
		}
		before := len(c.problems)
		c.standard(i, p, f)
		if len(c.problems) == before && p.Length > 0 && f.Length > 0 && f.Length < p.Length {
			c.pair(i, CodeFieldShorter, "%s took %d characters when the field map was saved and takes %d now: people with longer values are rejected; lengthen the field in Salesforce or save the field map again", f.Name, p.Length, f.Length)
			c.problems[len(c.problems)-1].Scope = values.ScopePerson
		}
	}
	c.externalID()
	c.requiredFields()
	return c.problems
}

// Objects are the objects that a map may write to.
func Objects() []string { return []string{"Contact", "Lead"} }

func checkObject(m Map, o Object) *values.Problem {
	switch {
	case mandatory[m.Object] == nil:
		return &values.Problem{Code: CodeObject, Message: fmt.Sprintf(
			"people cannot be written to the object %s: choose one of %s", values.Clip(m.Object), strings.Join(Objects(), ", "))}
	case o.Name != m.Object:
		return &values.Problem{Code: CodeWrongDescribe, Message: fmt.Sprintf(
			"the field map is for %s and the describe is of %s: send the describe of %s", m.Object, values.Clip(o.Name), m.Object)}
	}
	return nil
}

// checker collects problems.
type checker struct {
	m        Map
	o        Object
	problems []values.Problem
	listed   bool // the Catalog's fields have been listed: once is enough
}

// pair adds a problem of the pair with the index i.
func (c *checker) pair(i int, code, format string, args ...any) {
	p := c.m.Pairs[i]
	c.problems = append(c.problems, values.Problem{Code: code, Field: brief(p.Target), Message: fmt.Sprintf(
		"pair %d (%s -> %s): %s", i+1, brief(p.Source), brief(p.Target), fmt.Sprintf(format, args...))})
}

// brief cuts a name that no field can have.
func brief(name string) string {
	if len(name) <= 80 {
		return name
	}
	return strings.ToValidUTF8(name[:80], "") + "..."
}

func (c *checker) source(i int, p Pair, attributes []string) {
	switch {
	case p.Source == "":
		c.pair(i, CodeNoSource, "it names no Catalog field: name %s", c.oneOfSources())
	case slices.Contains(sources, p.Source) || slices.Contains(attributes, p.Source):
	case strings.HasPrefix(p.Source, Attribute):
		c.pair(i, CodeUnknownSource, "no person in the Catalog has the attribute %s: correct the name, or load people who have it first", values.Clip(strings.TrimPrefix(p.Source, Attribute)))
	default:
		c.pair(i, CodeUnknownSource, "the Catalog has no field %s: name %s", values.Clip(p.Source), c.oneOfSources())
	}
}

func (c *checker) oneOfSources() string {
	if c.listed {
		return "one of those above"
	}
	c.listed = true
	return "one of " + strings.Join(sources, ", ") + ", or " + Attribute + "NAME for a custom attribute"
}

// target checks that the field can be written at all.
func (c *checker) target(i int, p Pair) (Field, bool) {
	if p.Target == "" {
		c.pair(i, CodeNoSuchField, "it names no Salesforce field: name a field of %s", c.o.Name)
		return Field{}, false
	}
	f, ok := c.o.field(p.Target)
	switch {
	case !ok:
		c.pair(i, CodeNoSuchField, "%s has no field %s that the connected user may see: correct the API name, or give the user access to the field", c.o.Name, brief(p.Target))
	case f.Calculated:
		c.pair(i, CodeNotWritable, "%s is a formula, which nobody can write: remove the pair", f.Name)
	case !values.Supported(f.Type):
		c.pair(i, CodeNotWritable, "%s is of type %s, which text cannot be written to: map its parts, or remove the pair", f.Name, f.Type)
	case !f.Createable && !f.Updateable:
		c.pair(i, CodeNotWritable, "%s is read-only for the connected user: give the user edit access to the field, or remove the pair", f.Name)
	case !f.Updateable:
		c.pair(i, CodeNotWritable, "%s can be set when a record is created but not afterwards: choose a field that can be updated", f.Name)
	case !f.Createable:
		c.pair(i, CodeNotWritable, "%s can be changed but not set when a record is created: choose a field that can be created", f.Name)
	default:
		return f, true
	}
	return f, false
}

// standard checks the default value of a pair.
func (c *checker) standard(i int, p Pair, f Field) {
	if p.Default == "" {
		return
	}
	if strings.EqualFold(p.Target, c.m.matchField()) {
		c.pair(i, CodeInvalidDefault, "people are matched by %s, and a default value would make them all the same person: remove the default value", p.Target)
		return
	}
	if _, problem := values.New(f.Spec).Convert(p.Default); problem != nil {
		c.pair(i, CodeInvalidDefault, "its default value cannot be written: %s", problem.Message)
	}
}

// externalID checks the field that the map names as external id. That it exists and can be written is checked with its
// pair.
func (c *checker) externalID() {
	if c.m.ExternalIDField == "" {
		return
	}
	f, ok := c.o.field(c.m.ExternalIDField)
	if !ok || !f.writable() {
		return
	}
	var lacks []string
	if !f.ExternalID {
		lacks = append(lacks, "is not an external id")
	}
	if !f.Unique {
		lacks = append(lacks, "is not unique")
	}
	if f.Type != "string" && f.Type != "email" {
		lacks = append(lacks, "is of type "+f.Type+" and not of text")
	}
	if len(lacks) > 0 {
		c.problems = append(c.problems, values.Problem{Code: CodeNotExternalID, Field: f.Name, Message: fmt.Sprintf(
			"external id field %s %s: choose a text field that is marked External ID and Unique, or leave it out to match by e-mail", f.Name, strings.Join(lacks, " and "))})
	}
}

// requiredFields finds fields without which Salesforce takes no new record.
func (c *checker) requiredFields() {
	for _, f := range c.o.Fields {
		if f.required() && values.Supported(f.Type) && c.m.pair(f.Name) < 0 {
			c.problems = append(c.problems, values.Problem{Code: CodeRequiredField, Field: f.Name, Message: fmt.Sprintf(
				"%s requires %s when a record is created and no pair writes it: add a pair for it, with a default value for people without one", c.o.Name, f.Name)})
		}
	}
}
