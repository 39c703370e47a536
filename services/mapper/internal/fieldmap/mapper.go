package fieldmap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// Codes of problems with a person, besides those of package values.
const (
	CodeRequired        = "required"
	CodeMissingMatchKey = "missing_match_key"
	CodeDuplicateColumn = "duplicate_column" // of the rows, not of a person
)

// Row is one person: one value per column, and the indexes of the columns that are null or were not given, whose value
// is empty.
type Row struct {
	Values       []string
	Null, Absent []uint32
}

// Mapped is what a person should be in Salesforce: one value per pair, with the indexes of those to clear and of those
// to leave alone.
type Mapped struct {
	Values       []string
	Null, Absent []uint32
	Problems     []values.Problem // not empty: the person is rejected
	Notes        []values.Problem // what stops nothing
	SkippedBy    string           // the rule that skips the person; everything else is absent then
	Lookups      []LookupKey
}

// LookupKey is the key, folded for comparison, by which the reference in a column is found.
type LookupKey struct {
	Column int
	Key    string
}

// Mapper maps people whose rows have certain columns. It is safe for concurrent use.
type Mapper struct {
	pairs      []pair
	columns    int
	externalID int // index of a pair, -1 without one
	email      int // index of a pair, -1 without one
	foldID     bool
}

type pair struct {
	field    Field
	source   string
	column   int // in the person's row, -1 where rows have none
	convert  *values.Converter
	standard string // canonical default value, empty for none
	match    bool   // a person without it cannot be found again
}

// Compile prepares a map for rows with the given columns. The problems say why it cannot be used: the same as [Drift]
// finds, advisory ones left out.
func Compile(m Map, h Header) (*Mapper, []values.Problem) {
	o, columns := h.Object, h.PersonColumns
	problems := slices.DeleteFunc(Drift(m, Org{Object: o}), func(p values.Problem) bool { return p.Scope == values.ScopePerson })
	for i, name := range columns {
		if slices.Index(columns, name) < i {
			problems = append(problems, values.Problem{Code: CodeDuplicateColumn, Message: fmt.Sprintf("the column %s is there twice: send each column once", values.Clip(name))})
		}
	}
	for i, p := range m.Pairs {
		if m.pair(p.Target) < i {
			problems = append(problems, values.Problem{Code: CodeDuplicateTarget, Field: p.Target, Message: fmt.Sprintf("two pairs write %s: keep one", p.Target)})
		}
	}
	if m.pair(m.matchField()) < 0 {
		problems = append(problems, values.Problem{Code: CodeMissingMatchKey, Field: m.matchField(), Message: fmt.Sprintf("people are matched by %s and no pair writes it: save the field map again", m.matchField())})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	c := &Mapper{columns: len(columns), externalID: -1, email: m.pair(emailField)}
	for _, p := range m.Pairs {
		f, _ := o.field(p.Target) // Drift has found it
		one := pair{
			field: f, source: p.Source, column: slices.Index(columns, p.Source), convert: values.New(f.Spec),
			match: strings.EqualFold(p.Target, m.matchField()),
		}
		one.standard, _ = one.convert.Convert(p.Default) // Drift has tried it
		c.pairs = append(c.pairs, one)
	}
	if m.ExternalIDField != "" {
		c.externalID = m.pair(m.ExternalIDField)
		f, _ := o.field(m.ExternalIDField)
		c.foldID = !f.CaseSensitive
	}
	return c, nil
}

// Pairs returns the number of values that Map gives.
func (c *Mapper) Pairs() int { return len(c.pairs) }

// Targets names the values that Map gives: the targets of the map's pairs, then those that only overrides have.
func (c *Mapper) Targets() []string {
	out := make([]string, len(c.pairs))
	for i, p := range c.pairs {
		out[i] = p.field.Name
	}
	return out
}

// Columns returns the number of values that a row must have.
func (c *Mapper) Columns() int { return c.columns }

// Keys returns the person's match keys, folded for comparison; empty where there is none or it cannot be written.
// Default values never take part.
func (c *Mapper) Keys(r Row) (externalID, email string) {
	if c.externalID >= 0 {
		externalID = c.key(c.pairs[c.externalID], r)
		if c.foldID {
			externalID = strings.ToLower(externalID)
		}
	}
	if c.email >= 0 {
		email = strings.ToLower(c.key(c.pairs[c.email], r))
	}
	return externalID, email
}

func (c *Mapper) key(p pair, r Row) string {
	if p.column < 0 {
		return ""
	}
	v, problem := p.convert.Convert(r.Values[p.column])
	if problem != nil {
		return ""
	}
	return v
}

// Map fills out with what the person should be; its slices are cut to nothing and used again. exists says whether the
// person has a record: a new one needs the required fields. The row has [Mapper.Columns] values.
func (c *Mapper) Map(r Row, record *Row, out *Mapped) {
	exists := record != nil
	out.Values, out.Null, out.Absent, out.Problems = out.Values[:0], out.Null[:0], out.Absent[:0], out.Problems[:0]
	for i := range c.pairs {
		p := &c.pairs[i]
		value, absent := "", true
		if p.column >= 0 {
			var problem *values.Problem
			if value, problem = p.convert.Convert(r.Values[p.column]); problem != nil {
				out.reject(i, *problem)
				continue
			}
			absent = value == "" && slices.Contains(r.Absent, uint32(p.column))
		}
		if value == "" {
			value = p.standard
		}
		switch {
		case value != "":
			out.Values = append(out.Values, value)
		case p.match:
			out.reject(i, p.problem(CodeMissingMatchKey, "and people are matched by it"))
		case p.field.required() && !(absent && exists):
			out.reject(i, p.problem(CodeRequired, "and Salesforce requires it"))
		case absent || !p.field.Nillable: // a field that cannot be empty cannot be cleared: it is left alone
			out.Values = append(out.Values, "")
			out.Absent = append(out.Absent, uint32(i))
		default:
			out.Values = append(out.Values, "")
			out.Null = append(out.Null, uint32(i))
		}
	}
}

// reject adds a problem of the pair i, whose value is then absent.
func (m *Mapped) reject(i int, p values.Problem) {
	m.Values = append(m.Values, "")
	m.Absent = append(m.Absent, uint32(i))
	m.Problems = append(m.Problems, p)
}

func (p *pair) problem(code, why string) values.Problem {
	advice := "fill it in the Catalog"
	if !p.match {
		advice += ", or give the pair a default value"
	}
	return values.Problem{Code: code, Field: p.field.Name, Message: fmt.Sprintf(
		"%s: the person has no %s %s: %s", p.field.Name, p.source, why, advice)}
}
