package fieldmap

import (
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/services/mapper/internal/expression"
)

// Reads returns the Salesforce fields that the map reads from records besides its targets, and the Catalog fields that
// it reads from people, both sorted and without repetition. What cannot be compiled reads nothing.
func Reads(m Map, org Org) (record, person []string) {
	r := reader{m: m, org: org}
	r.pairs(m.Pairs)
	for _, rule := range m.Rules {
		r.condition(rule.Condition, 0)
		if len(rule.Subaccounts) > 0 {
			r.person = append(r.person, "subaccount")
		}
	}
	for _, o := range m.Overrides {
		r.person = append(r.person, "subaccount")
		r.pairs(o.Pairs)
		if o.Filter != nil {
			r.condition(*o.Filter, 0)
		}
	}
	r.policies()
	written := targets(m)
	if m.Direction == Import {
		written = nil
	}
	r.record = slices.DeleteFunc(r.record, func(name string) bool {
		return slices.ContainsFunc(written, func(t string) bool { return strings.EqualFold(t, name) })
	})
	slices.Sort(r.record)
	slices.Sort(r.person)
	return slices.Compact(r.record), slices.Compact(r.person)
}

type reader struct {
	m              Map
	org            Org
	record, person []string
}

func (r *reader) pairs(pairs []Pair) {
	for _, p := range pairs {
		for _, name := range []string{p.Source, p.Secondary} {
			switch {
			case name == "":
			case r.m.Direction == Import:
				r.record = append(r.record, name)
			default:
				r.person = append(r.person, name)
			}
		}
		if f, ok := r.org.Object.field(p.Target); ok && f.Type == "phone" && p.PhoneRegion == "" && r.m.Direction != Import {
			r.person = append(r.person, "country") // the country of numbers that name none
		}
		if p.Expression == "" {
			continue
		}
		if e, err := expression.Compile(p.Expression, fieldsFor(r.m, r.org, true)); err == nil {
			r.record = append(r.record, e.Record()...)
			r.person = append(r.person, e.Person()...)
		}
	}
}

func (r *reader) condition(c Condition, depth int) {
	if depth > maxDepth {
		return
	}
	for _, one := range slices.Concat(c.All, c.Any) {
		r.condition(one, depth+1)
	}
	if c.Not != nil {
		r.condition(*c.Not, depth+1)
	}
	switch {
	case c.Test == nil:
	case c.Test.Side == Salesforce:
		r.record = append(r.record, c.Test.Field)
	default:
		r.person = append(r.person, c.Test.Field)
	}
}

// policies reads what decides the cases that are not plain.
func (r *reader) policies() {
	if r.m.Direction == Import {
		return
	}
	add := func(name string) {
		if f, ok := r.org.Object.field(name); ok {
			r.record = append(r.record, f.Name)
		}
	}
	switch r.m.Identity.SeveralMatches {
	case SeveralOldest, SeveralNewest:
		add("CreatedDate")
	case SeveralOwner:
		add("OwnerId")
	}
	if r.m.Identity.Leavers == LeaversFlag {
		add(r.m.Identity.LeaversField)
	}
	if r.m.Object == "Lead" {
		add("IsConverted")
		add("ConvertedContactId")
	}
}
