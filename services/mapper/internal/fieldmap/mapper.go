package fieldmap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/country"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// Codes of problems with a person, besides those of package values.
const (
	CodeRequired         = "required"
	CodeMissingMatchKey  = "missing_match_key"
	CodeExpressionFailed = "expression_failed"
	CodeUnlisted         = "unlisted_value"
	CodeInvalidLookup    = "invalid_lookup_key"
	CodeDuplicateColumn  = "duplicate_column" // of the rows, not of a person
)

// Row is one person or one record: one value per column, and the indexes of the columns that are null or were not
// given, whose value is empty.
type Row struct {
	Values       []string
	Null, Absent []uint32
}

// Mapped is what a person should be: one value per target, with the indexes of those to clear and of those to leave
// alone.
type Mapped struct {
	Values       []string
	Null, Absent []uint32
	Problems     []values.Problem // not empty: the person is rejected
	Notes        []values.Problem // what stops nothing
	SkippedBy    string           // what skips the person, by name; everything else is absent then
	Lookups      []LookupKey
}

// LookupKey is the key, folded for comparison, by which the reference in a column is found.
type LookupKey struct {
	Column int
	Key    string
}

// Targets names the values that Map gives: the targets of the map's pairs, then those that only overrides have.
func (c *Mapper) Targets() []string { return c.targets }

// Columns returns the number of values that the row of a person must have.
func (c *Mapper) Columns() int { return c.personColumns }

// RecordColumns returns the number of values that the row of a record must have.
func (c *Mapper) RecordColumns() int { return c.recordColumns }

// Keys returns the person's match keys, folded for comparison; empty where there is none or it cannot be written.
// Default values never take part.
func (c *Mapper) Keys(person Row) (externalID, email string) {
	_, v := c.variant(person)
	if v.externalID != nil {
		externalID = c.key(v.externalID, person)
		if c.foldID {
			externalID = strings.ToLower(externalID)
		}
	}
	if v.email != nil {
		email = strings.ToLower(c.key(v.email, person))
	}
	return externalID, email
}

func (c *Mapper) key(p *pair, person Row) string {
	if p.constant.text != "" {
		return p.constant.text
	}
	text, _, problem := p.read(person, person, nil)
	if problem != nil {
		return ""
	}
	text, _, problem = c.translate(p, text, person)
	if problem != nil && problem.Scope != values.ScopeNote {
		return ""
	}
	return text
}

// Map fills out with what the person should be; its slices are cut to nothing and used again. record is what Salesforce
// holds of the person, nil for a new one: a new one needs the required fields. The rows have [Mapper.Columns] and
// [Mapper.RecordColumns] values.
func (c *Mapper) Map(person Row, record *Row, out *Mapped) {
	var fields []string
	if record != nil {
		fields = record.Values
	}
	c.run(person, person, record, &subject{person: person.Values, record: fields}, out)
}

// Import fills out with what the Catalog's person should be by a record.
func (c *Mapper) Import(record Row, out *Mapped) {
	c.run(record, Row{}, nil, &subject{record: record.Values}, out)
}

// run maps the row that sources are read from.
func (c *Mapper) run(from, person Row, record *Row, s *subject, out *Mapped) {
	out.Values, out.Null, out.Absent = out.Values[:0], out.Null[:0], out.Absent[:0]
	out.Problems, out.Notes, out.Lookups = out.Problems[:0], out.Notes[:0], out.Lookups[:0]
	subaccount, v := c.variant(person)
	if out.SkippedBy = c.skip(subaccount, v, s); out.SkippedBy != "" {
		for i := range c.targets {
			out.leave(i)
		}
		return
	}
	for i, p := range v.columns {
		if p == nil {
			out.leave(i)
			continue
		}
		c.column(i, p, from, person, record, out)
	}
}

// variant returns what holds for the person's subaccount, and its name, folded.
func (c *Mapper) variant(person Row) (subaccount string, v *variant) {
	if c.subaccount < 0 || c.subaccount >= len(person.Values) {
		return "", c.base
	}
	subaccount = foldSubaccount(person.Values[c.subaccount])
	if v, ok := c.variants[subaccount]; ok {
		return subaccount, v
	}
	return subaccount, c.base
}

func (c *Mapper) skip(subaccount string, v *variant, s *subject) string {
	if v.excluded {
		return "override " + v.name
	}
	if len(c.rules) > 0 {
		if by := skippedBy(c.rules, subaccount, s); by != "" {
			return by
		}
	}
	if v.filter != nil && !v.filter.holds(s) {
		return "override " + v.name
	}
	return ""
}

// column fills one column.
func (c *Mapper) column(i int, p *pair, from, person Row, record *Row, out *Mapped) {
	present := ""
	if record != nil {
		if p.when == WhenCreated {
			out.leave(i)
			return
		}
		if p.record >= 0 {
			present = record.Values[p.record]
		}
		// A record whose value is not told may have one.
		if p.when == WhenBlank && (present != "" || p.record < 0) && !p.match {
			out.leave(i)
			return
		}
	}
	value, is := p.constant, given
	if value.text == "" {
		var problem *values.Problem
		if value, is, problem = c.value(p, from, person, record); problem != nil {
			out.reject(i, *problem)
			return
		}
	}
	switch {
	case value.text == "":
		c.nothing(i, p, is, record != nil, out)
	case p.when == WhenBlank && record != nil && (present != "" || p.record < 0): // of the match field, which had to be looked at
		out.leave(i)
	default:
		if value.note != nil {
			out.Notes = append(out.Notes, *value.note)
		}
		if p.lookup != nil {
			out.Lookups = append(out.Lookups, LookupKey{i, value.key})
		}
		if p.phone && present != "" && present != value.text && values.SamePhone(value.text, present, c.region(p, person)) {
			value.text = present // a number in another format is the same number
		}
		out.Values = append(out.Values, value.text)
	}
}

// value returns what the pair writes, with its default.
func (c *Mapper) value(p *pair, from, person Row, record *Row) (value cell, is state, problem *values.Problem) {
	text, is, problem := p.read(from, person, record)
	if problem != nil {
		return cell{}, is, problem
	}
	if text != "" {
		value.text, value.key, problem = c.translate(p, text, person)
		if problem != nil {
			if problem.Scope != values.ScopeNote {
				return cell{}, is, problem
			}
			value.note = problem
		}
		is = empty // what nothing is left of
	}
	if value.text == "" {
		value = p.standard
	}
	return value, is, nil
}

// nothing fills the column of a person without a value.
func (c *Mapper) nothing(i int, p *pair, is state, exists bool, out *Mapped) {
	leaves := p.blank[is-absent] == Leave
	switch {
	case p.match:
		out.reject(i, p.problem(CodeMissingMatchKey, "and people are matched by it"))
	case p.required && !(leaves && exists):
		out.reject(i, p.problem(CodeRequired, "and Salesforce requires it"))
	case leaves || !p.clearable: // a field that cannot be empty cannot be cleared: it is left alone
		out.leave(i)
	default:
		out.Values = append(out.Values, "")
		out.Null = append(out.Null, uint32(i))
	}
}

// state is why there is no value.
type state uint8

const (
	given state = iota
	absent
	null
	empty
)

// read returns the text that the pair starts from: empty where it is blank, and why.
func (p *pair) read(from, person Row, record *Row) (text string, is state, problem *values.Problem) {
	if p.program != nil {
		var fields []string
		switch {
		case record != nil:
			fields = record.Values
		case len(person.Values) == 0: // an import
			fields = from.Values
		}
		result, err := p.program.Eval(person.Values, fields)
		if err != nil {
			return "", given, &values.Problem{Code: CodeExpressionFailed, Field: p.name, Scope: values.ScopePerson, Message: fmt.Sprintf(
				"%s: the pair's expression could not be evaluated (%s): correct the expression, or the person in the Catalog", p.name, err)}
		}
		if text, is = result.Text, empty; result.Nil {
			is = null
		}
	} else {
		text, is = from.at(p.first)
	}
	if isBlank(text) && p.second >= 0 {
		second, why := from.at(p.second)
		if !isBlank(second) {
			return second, given, nil
		}
		if is == absent {
			is = why
		}
	}
	if isBlank(text) {
		return "", is, nil
	}
	return text, given, nil
}

// at returns the value of a column and, where it is empty, why.
func (r *Row) at(column int) (string, state) {
	if column < 0 || column >= len(r.Values) {
		return "", absent
	}
	v := r.Values[column]
	switch {
	case v != "":
		return v, empty
	case slices.Contains(r.Absent, uint32(column)):
		return "", absent
	case slices.Contains(r.Null, uint32(column)):
		return "", null
	}
	return "", empty
}

// isBlank reports whether nothing is left of a text when it is trimmed.
func isBlank(s string) bool {
	return s == "" || s[0] <= ' ' && strings.TrimSpace(s) == "" || s[0] >= 0x80 && strings.TrimSpace(s) == ""
}

// translate turns a text that is not blank into the field's value: by the pair's table, then by the field's type.
func (c *Mapper) translate(p *pair, text string, person Row) (out, key string, problem *values.Problem) {
	if text == "" {
		return "", "", nil
	}
	if p.table != nil {
		to, listed := p.table[values.Fold(text)]
		switch {
		case listed && to == "", !listed && p.unlisted == DefaultUnlisted:
			return "", "", nil
		case listed:
			text = to
		case p.unlisted != KeepUnlisted:
			return "", "", &values.Problem{Code: CodeUnlisted, Field: p.name, Scope: values.ScopePerson, Message: fmt.Sprintf(
				"%s: the pair's table does not have %s: add it to the table, or say there what is done with values that it does not have", p.name, values.Clip(text))}
		}
	}
	region := ""
	if p.formats {
		region = c.region(p, person)
	}
	return p.write(text, region)
}

// maxRegions bounds what is remembered of people's countries.
const maxRegions = 1000

// region returns the country of phone numbers that name none: the pair's, or the person's.
func (c *Mapper) region(p *pair, person Row) string {
	if p.region != "" || c.country < 0 || c.country >= len(person.Values) {
		return p.region
	}
	name := person.Values[c.country]
	code, known := c.regions[name]
	if !known {
		code, _ = country.Code(name)
		if len(c.regions) < maxRegions {
			c.regions[name] = code
		}
	}
	return code
}

// leave leaves column i alone.
func (m *Mapped) leave(i int) {
	m.Values = append(m.Values, "")
	m.Absent = append(m.Absent, uint32(i))
}

// reject adds a problem of column i, whose value is then absent.
func (m *Mapped) reject(i int, p values.Problem) {
	m.leave(i)
	m.Problems = append(m.Problems, p)
}

func (p *pair) problem(code, why string) values.Problem {
	advice := "fill it in the Catalog"
	if !p.match {
		advice += ", or give the pair a default value"
	}
	return values.Problem{Code: code, Field: p.name, Scope: values.ScopePerson, Message: fmt.Sprintf(
		"%s: the person has no %s %s: %s", p.name, p.source, why, advice)}
}
