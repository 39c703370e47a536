// Package fieldmap owns what a field map means: what may be saved, what an org has against it later, and how people and
// records become match keys and wanted values. It is pure: a field map, the org's describe and rows go in; problems,
// keys and values come out.
package fieldmap

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
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
	IDLookup          bool
	Unique            bool
	CaseSensitive     bool
	Calculated        bool
	ReferenceTo       []string
	Relationship      string
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

// Org is what a map is checked against.
type Org struct {
	Object  Object
	Related []Object // objects that lookups name, and Contact for a Lead map; those that are not here are not checked
	// Attributes are the Catalog's custom attributes, as attributes.NAME; Drift does not look at them.
	Attributes []string
	// MaxPairs is how many pairs a map may have, those of overrides included; 0: as many as it likes.
	MaxPairs int
}

func (o Org) related(name string) (Object, bool) {
	for _, one := range append(o.Related[:len(o.Related):len(o.Related)], o.Object) {
		if strings.EqualFold(one.Name, name) {
			return one, true
		}
	}
	return Object{}, false
}

// Header says how to map the rows that follow.
type Header struct {
	Object        Object
	PersonColumns []string // of person rows
	RecordColumns []string // of record rows
	Now           time.Time
	Stopped       []string // targets that are left alone
}

// emailField is the field by which people are matched when the map names no external id field, and by which existing
// records are adopted when it does.
const emailField = "Email"

// matchField is the field whose value tells people apart.
func (m Map) matchField() string {
	if m.ExternalIDField != "" {
		return m.ExternalIDField
	}
	return emailField
}

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
// target noted, and, for a map that writes, the mandatory pairs added at the end where they are missing. It returns the
// targets that it added. The map need not be valid, and is not changed.
func Complete(m Map, o Object) (complete Map, added []string) {
	m.Object = strings.TrimSpace(m.Object)
	if strings.EqualFold(m.Object, o.Name) {
		m.Object = o.Name
	}
	m.ExternalIDField = spelling(o, m.ExternalIDField)
	m.Identity.LeaversField = spelling(o, m.Identity.LeaversField)
	m.Identity.SeveralMatchesOwner = strings.TrimSpace(m.Identity.SeveralMatchesOwner)
	c := completer{o: o, importing: m.Direction == Import}
	m.Pairs = c.pairs(m.Pairs)
	if !c.importing {
		wanted := mandatory[m.Object]
		if m.ExternalIDField != "" {
			wanted = append(slices.Clone(wanted), Pair{Source: "id", Target: m.ExternalIDField})
		}
		for _, p := range wanted {
			if m.pair(p.Target) < 0 {
				m.Pairs = append(m.Pairs, c.pair(p))
				added = append(added, p.Target)
			}
		}
	}
	rules := make([]Rule, len(m.Rules))
	for i, r := range m.Rules {
		r.Name, r.Subaccounts = strings.TrimSpace(r.Name), trimmed(r.Subaccounts)
		r.Condition = c.condition(r.Condition, 0)
		rules[i] = r
	}
	overrides := make([]Override, len(m.Overrides))
	for i, one := range m.Overrides {
		one.Subaccount, one.Pairs = strings.TrimSpace(one.Subaccount), c.pairs(one.Pairs)
		if one.Filter != nil {
			filter := c.condition(*one.Filter, 0)
			one.Filter = &filter
		}
		overrides[i] = one
	}
	m.Rules, m.Overrides = nilIfEmpty(rules), nilIfEmpty(overrides)
	return m, added
}

func nilIfEmpty[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

func trimmed(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.TrimSpace(s)
	}
	return nilIfEmpty(out)
}

// completer brings names into the describe's spelling.
type completer struct {
	o         Object
	importing bool
}

func (c completer) pairs(in []Pair) []Pair {
	out := make([]Pair, len(in))
	for i, p := range in {
		out[i] = c.pair(p)
	}
	return nilIfEmpty(out)
}

func (c completer) pair(p Pair) Pair {
	p.Source, p.Secondary, p.Target = strings.TrimSpace(p.Source), strings.TrimSpace(p.Secondary), strings.TrimSpace(p.Target)
	p.Default, p.Constant = values.Clean(p.Default), values.Clean(p.Constant)
	p.Expression, p.TimeZone = strings.TrimSpace(p.Expression), strings.TrimSpace(p.TimeZone)
	p.PhoneRegion = strings.ToUpper(strings.TrimSpace(p.PhoneRegion))
	p.Type, p.Length = "", 0
	p.Table = maps.Clone(p.Table)
	if p.Lookup != nil {
		p.Lookup = &Lookup{strings.TrimSpace(p.Lookup.Object), strings.TrimSpace(p.Lookup.Field), p.Lookup.CreateIfMissing}
	}
	if c.importing {
		p.Source, p.Secondary = spelling(c.o, p.Source), spelling(c.o, p.Secondary)
		if f, ok := c.o.field(p.Source); ok {
			p.Type, p.Length = f.Type, f.Length
		}
		return p
	}
	p.Target = spelling(c.o, p.Target)
	if f, ok := c.o.field(p.Target); ok {
		p.Type, p.Length = f.Type, f.Length
	}
	return p
}

// condition brings Salesforce's fields into their spelling. What is nested deeper than may be saved is left as it is.
func (c completer) condition(in Condition, depth int) Condition {
	if depth > maxDepth {
		return in
	}
	group := func(in []Condition) []Condition {
		out := make([]Condition, len(in))
		for i, one := range in {
			out[i] = c.condition(one, depth+1)
		}
		return nilIfEmpty(out)
	}
	in.All, in.Any = group(in.All), group(in.Any)
	if in.Not != nil {
		not := c.condition(*in.Not, depth+1)
		in.Not = &not
	}
	if in.Test != nil {
		t := *in.Test
		if t.Field = strings.TrimSpace(t.Field); t.Side == Salesforce {
			t.Field = spelling(c.o, t.Field)
		}
		in.Test = &t
	}
	return in
}

func spelling(o Object, name string) string {
	name = strings.TrimSpace(name)
	if f, ok := o.field(name); ok {
		return f.Name
	}
	return name
}
