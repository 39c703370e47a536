package fieldmap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/expression"
	"github.com/catalogsync/catalogsync/services/mapper/internal/similar"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// maxTable bounds the values of one table.
const maxTable = 1000

// checkedPair is a pair being checked. of names its override; override is nil for the map's own.
type checkedPair struct {
	*checker
	Pair
	index    int
	of       string
	override *Override
}

func (c *checker) pairs(pairs []Pair, of string, override *Override) {
	for i, p := range pairs {
		one := checkedPair{c, p, i, of, override}
		if first := pairFor(pairs, p.Target); first < i {
			one.fail(CodeDuplicateTarget, "pair %d writes %s already: keep one of the two", first+1, brief(p.Target)).Scope = values.ScopeMap
		}
		one.check()
	}
}

// fail adds a problem of the pair, which stops no more than the pair where the map is of use without it.
func (c *checkedPair) fail(code, format string, args ...any) *values.Problem {
	from := brief(c.Source)
	switch {
	case c.Expression != "":
		from = "expression"
	case c.Constant != "":
		from = "constant"
	}
	p := c.add(code, c.Target, "%spair %d (%s -> %s): %s", c.of, c.index+1, from, brief(c.Target), fmt.Sprintf(format, args...))
	if !c.essential(c.Target) && c.drift {
		p.Scope = values.ScopePair
	}
	return p
}

func (c *checkedPair) check() {
	c.enums()
	c.sources()
	var f Field
	var ok bool
	if c.m.Direction == Import {
		if f, ok = c.catalogTarget(); !ok {
			return
		}
	} else {
		if f, ok = c.target(); !ok {
			return
		}
		if !c.typeKept(f) {
			return
		}
	}
	if !c.settings(f) {
		return
	}
	if c.isMatch() {
		c.matching()
	}
	c.fixed(f)
}

func (c *checkedPair) isMatch() bool {
	return c.m.Direction != Import && strings.EqualFold(c.Target, c.m.matchField())
}

// enums refuses settings that this version does not know: they may mean anything.
func (c *checkedPair) enums() {
	unknown := func(name string, value, last int32) {
		if value < 0 || value > last {
			c.fail(CodeInvalidSetting, "its setting %s has a value that is not known here: leave it out, or update catalogsync", name)
		}
	}
	unknown("write_when", int32(c.When), int32(WhenCreated))
	unknown("absent", int32(c.Absent), int32(Clear))
	unknown("null", int32(c.Null), int32(Clear))
	unknown("empty", int32(c.Empty), int32(Clear))
	unknown("too_long", int32(c.TooLong), int32(CutLong))
	unknown("unlisted", int32(c.Unlisted), int32(DefaultUnlisted))
	unknown("phone_format", int32(c.PhoneFormat), int32(PhoneNational))
}

func (c *checkedPair) sources() {
	n := 0
	for _, one := range []string{c.Source, c.Constant, c.Expression} {
		if one != "" {
			n++
		}
	}
	switch {
	case n == 0 && c.m.Direction == Import:
		c.fail(CodeNoSource, "it names no Salesforce field: name a field of %s, a constant or an expression", c.o.Name)
	case n == 0:
		c.fail(CodeNoSource, "it names no Catalog field: name %s, or give it a constant or an expression", c.oneOfSources())
	case n > 1:
		c.fail(CodeSeveralSources, "it has more than one of source, constant and expression: keep one")
	}
	if c.Secondary != "" && c.Constant != "" {
		c.fail(CodeSeveralSources, "it has a secondary source beside a constant, which is never blank: remove one of them")
	}
	if c.Default != "" && c.Constant != "" {
		c.fail(CodeInvalidDefault, "it has a default value beside a constant, which is never blank: remove one of them")
	}
	for _, name := range []string{c.Source, c.Secondary} {
		if name != "" {
			c.source(name)
		}
	}
	if c.Expression != "" {
		fields := fieldsFor(c.m, c.org, c.drift)
		if _, err := expression.Compile(c.Expression, fields); err != nil {
			c.fail(CodeInvalidExpression, "its expression cannot be used: %s", err).Repair = "correct the expression"
		}
	}
}

func (c *checkedPair) source(name string) {
	if c.m.Direction == Import {
		c.recordSource(name)
		return
	}
	switch attribute, isAttribute := strings.CutPrefix(name, Attribute); {
	case isSource(name, c.org.Attributes, c.drift):
	case isAttribute:
		p := c.fail(CodeUnknownSource, "no person in the Catalog has the attribute %s: correct the name, or load people who have it first", values.Clip(attribute))
		if nearest, ok := similar.Nearest(name, c.org.Attributes); ok {
			p.Repair = "take " + nearest
		}
	default:
		p := c.fail(CodeUnknownSource, "the Catalog has no field %s: name %s", values.Clip(name), c.oneOfSources())
		if nearest, ok := similar.Nearest(name, slices.Concat(sources, c.org.Attributes)); ok {
			p.Repair = "take " + nearest
		}
	}
}

func (c *checker) oneOfSources() string {
	if c.listed {
		return "one of those above"
	}
	c.listed = true
	return "one of " + strings.Join(sources, ", ") + ", or " + Attribute + "NAME for a custom attribute"
}

// target checks that the Salesforce field can be written at all.
func (c *checkedPair) target() (Field, bool) {
	if c.Target == "" {
		c.fail(CodeNoSuchField, "it names no Salesforce field: name a field of %s", c.o.Name)
		return Field{}, false
	}
	f, ok := c.o.field(c.Target)
	switch {
	case !ok:
		p := c.fail(CodeNoSuchField, "%s has no field %s that the connected user may see: correct the API name, or give the user access to the field", c.o.Name, brief(c.Target))
		p.Repair = "remove the pair, or give the connected user access to the field"
		if nearest := c.renamed(c.Target, c.Type); nearest != "" {
			p.Repair = fmt.Sprintf("if it was renamed, change the pair's target to %s; else %s", nearest, p.Repair)
		}
	case f.Calculated:
		c.fail(CodeNotWritable, "%s is a formula, which nobody can write: remove the pair", f.Name).Repair = "remove the pair"
	case !values.Supported(f.Type):
		p := c.fail(CodeNotWritable, "%s is of type %s, which text cannot be written to: map its parts, or remove the pair", f.Name, f.Type)
		p.Repair = "map the parts of " + f.Name + ", or remove the pair"
	case !f.Createable && !f.Updateable:
		p := c.fail(CodeNotWritable, "%s is read-only for the connected user: give the user edit access to the field, or remove the pair", f.Name)
		p.Repair = fmt.Sprintf("give the connected user edit access to %s.%s, or remove the pair", c.o.Name, f.Name)
	case !f.Updateable && c.When != WhenCreated:
		p := c.fail(CodeNotWritable, "%s can be set when a record is created but not afterwards: choose a field that can be updated, or write the pair only when a record is created", f.Name)
		p.Repair = "write the pair only when a record is created"
	case !f.Createable:
		c.fail(CodeNotWritable, "%s can be changed but not set when a record is created: choose a field that can be created", f.Name).Repair = "remove the pair"
	default:
		return f, true
	}
	return f, false
}

// typeKept compares the field with what it was when the map was saved.
func (c *checkedPair) typeKept(f Field) bool {
	if !c.drift || c.Type == "" {
		return true
	}
	if !values.Compatible(c.Type, f.Type) {
		p := c.fail(CodeTypeChanged, "%s was of type %s when the field map was saved and is of type %s now: save the field map again with a source that fits, or without the pair", f.Name, c.Type, f.Type)
		p.Repair = fmt.Sprintf("give the pair a source, a table or an expression that makes values of type %s, and save; or change %s back to %s in Salesforce", f.Type, f.Name, c.Type)
		return false
	}
	if c.Length > 0 && f.Length > 0 && f.Length < c.Length {
		p := c.fail(CodeFieldShorter, "%s took %d characters when the field map was saved and takes %d now: people with longer values are rejected; lengthen the field in Salesforce or save the field map again", f.Name, c.Length, f.Length)
		p.Scope, p.Repair = values.ScopePerson, fmt.Sprintf("lengthen %s to %d characters in Salesforce, or let the pair cut long texts", f.Name, c.Length)
	}
	return true
}

// settings checks what the pair says of values against the field's type.
func (c *checkedPair) settings(f Field) bool {
	before := len(c.problems)
	bad := func(format string, args ...any) { c.fail(CodeInvalidSetting, format, args...) }
	if c.TooLong == CutLong && (!values.Cuttable(f.Type) || c.Lookup != nil) {
		bad("values of %s, of type %s, make no sense when they are cut: reject long ones", f.Name, f.Type)
	}
	if _, err := optionsOf(c.Pair); err != nil {
		bad("%s", err)
	} else if c.TimeZone != "" && f.Type != "date" && f.Type != "datetime" {
		bad("it names a time zone and %s is of type %s: remove the time zone", f.Name, f.Type)
	}
	if (c.PhoneFormat > PhoneKeep || c.PhoneRegion != "") && f.Type != "phone" {
		bad("it says how phone numbers are written and %s is of type %s: remove that", f.Name, f.Type)
	}
	if c.PhoneRegion != "" && !values.KnownRegion(c.PhoneRegion) {
		bad("there is no country %s for phone numbers: name one by its two letters, such as DE", values.Clip(c.PhoneRegion))
	}
	if c.m.Direction == Import && c.When > Always {
		bad("an import has no record to look at: leave write_when out")
	}
	if c.Lookup != nil {
		c.lookup(f)
	}
	return len(c.problems) == before
}

func (c *checkedPair) lookup(f Field) {
	l := c.Lookup
	bad := func(format string, args ...any) { c.fail(CodeInvalidLookup, format, args...) }
	switch {
	case c.m.Direction == Import:
		bad("an import looks nothing up: read a field of the related record, such as Account.Name")
		return
	case f.Type != "reference":
		bad("%s is no reference but of type %s: remove the lookup", f.Name, f.Type)
		return
	case l.Object == "" || l.Field == "":
		bad("its lookup names no object or no field: name both, such as Account and Name")
		return
	case len(f.ReferenceTo) > 0 && !slices.ContainsFunc(f.ReferenceTo, func(o string) bool { return strings.EqualFold(o, l.Object) }):
		bad("%s refers to %s and not to %s: name one of these", f.Name, strings.Join(f.ReferenceTo, ", "), brief(l.Object))
		return
	}
	related, ok := c.org.related(l.Object)
	if !ok {
		return
	}
	field, ok := related.field(l.Field)
	switch {
	case !ok:
		bad("%s has no field %s that the connected user may see: name Name, Website or an external id field", related.Name, brief(l.Field))
	case field.Name != "Name" && field.Name != website && !field.ExternalID:
		bad("%s.%s does not tell records apart: name Name, Website or an external id field", related.Name, field.Name)
	case l.CreateIfMissing && !field.Createable:
		bad("a new %s cannot be given its %s: do not create missing ones, or look up by another field", related.Name, field.Name)
	case l.CreateIfMissing:
		for _, other := range related.Fields {
			if other.required() && values.Supported(other.Type) && other.Name != field.Name && (other.Name != "Name" || field.Name != website) {
				bad("a new %s needs %s too: do not create missing ones", related.Name, other.Name)
			}
		}
	}
}

// matching checks the pair by which people are told apart.
func (c *checkedPair) matching() {
	same := "people are matched by %s, and %s would make them all the same person: remove %s"
	switch {
	case c.Default != "":
		c.fail(CodeInvalidDefault, same, c.Target, "a default value", "the default value")
	case c.Constant != "":
		c.fail(CodeInvalidConstant, same, c.Target, "a constant", "the constant and name a field")
	case c.Lookup != nil || c.TooLong == CutLong:
		c.fail(CodeInvalidSetting, "people are matched by %s, which takes neither lookup nor cut texts: remove that", c.Target)
	case c.When == WhenCreated && c.m.ExternalIDField != "":
		c.fail(CodeInvalidSetting, "people are matched by %s, which records that are adopted need too: write it always, or where it is blank", c.Target)
	}
}

// fixed checks the values that are the same for everybody, and those of the table.
func (c *checkedPair) fixed(f Field) {
	options, err := optionsOf(c.Pair)
	if err != nil {
		return
	}
	p := pair{name: f.Name, lookup: c.Lookup}
	if c.Lookup == nil {
		p.convert = values.New(c.o.spec(f), options)
	}
	try := func(text, code, what string, scope values.Scope) {
		_, _, problem := p.write(text, c.PhoneRegion)
		if text == "" || problem == nil || problem.Scope == values.ScopeNote {
			return
		}
		found := c.fail(code, "%s cannot be written: %s", what, problem.Message)
		if found.Repair = "change " + what; problem.Code == values.CodeInvalidPicklist || problem.Code == values.CodeInvalidPlace {
			found.Repair = fmt.Sprintf("change %s, or add the value to the list of %s in Salesforce", what, f.Name)
		}
		if c.drift && scope != values.ScopeMap {
			found.Scope = scope
		}
	}
	try(c.Default, CodeInvalidDefault, "its default value", values.ScopeMap)
	try(c.Constant, CodeInvalidConstant, "its constant", values.ScopeMap)
	if c.Unlisted == DefaultUnlisted && c.Default == "" {
		c.fail(CodeInvalidTable, "it writes the default value for values that its table does not have, and has no default value: give it one")
	}
	if len(c.Table) > maxTable {
		c.fail(CodeInvalidTable, "its table has %d values and may have %d: leave some out", len(c.Table), maxTable)
		return
	}
	seen := map[string]string{}
	for _, from := range sortedKeys(c.Table) {
		key := values.Fold(from)
		if other, twice := seen[key]; twice {
			c.fail(CodeInvalidTable, "its table has both %s and %s, which are the same without regard to case: keep one", values.Clip(other), values.Clip(from))
		}
		if seen[key] = from; key == "" {
			c.fail(CodeInvalidTable, "its table has a blank value: say what blank ones do by absent, null and empty")
		}
		try(values.Clean(c.Table[from]), CodeInvalidTable, "what its table has for "+values.Clip(from), values.ScopePerson)
	}
}
