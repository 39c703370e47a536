package fieldmap

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/services/mapper/internal/expression"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// Mapper maps people whose rows have certain columns. It is for one goroutine at a time.
type Mapper struct {
	targets       []string
	base          *variant
	variants      map[string]*variant // of subaccounts, folded
	rules         []*rule
	personColumns int
	recordColumns int
	subaccount    int // columns of the person's row, -1 without
	country       int
	regions       map[string]string // country -> region of phone numbers
	foldID        bool
}

// variant is what holds for people of one subaccount.
type variant struct {
	name       string
	columns    []*pair // one per target; nil: left alone
	externalID *pair   // nil without one
	email      *pair
	excluded   bool
	filter     holder
}

// pair is a pair that is ready to be asked.
type pair struct {
	name          string // of the target
	source        string // of the first source, for messages
	first, second int    // columns, -1 without
	program       *expression.Program
	constant      cell
	standard      cell
	convert       *values.Converter // nil for lookups
	lookup        *Lookup
	table         map[string]string
	unlisted      Unlisted
	when          When
	blank         [3]Blank // what absent, null and empty do
	required      bool
	clearable     bool
	match         bool // a person without it cannot be found again
	record        int  // column of the record's row, -1 without
	phone         bool // values are compared as phone numbers
	formats       bool // and written in one format
	region        string
}

// cell is a value that is the same for everybody.
type cell struct {
	text, key string
	note      *values.Problem
}

// Compile prepares a map for rows. The problems say why it cannot be used: those of scope MAP that [Drift] finds. Pairs
// with problems of their own are left alone, as the header's stopped targets are.
func Compile(m Map, h Header) (*Mapper, []values.Problem) {
	var fatal []values.Problem
	stopped := map[string]bool{}
	for _, name := range h.Stopped {
		stopped[strings.ToLower(name)] = true
	}
	for _, p := range examine(m, Org{Object: h.Object}, true) {
		switch p.Scope {
		case values.ScopeMap:
			fatal = append(fatal, p)
		case values.ScopePair:
			stopped[strings.ToLower(p.Field)] = true
		}
	}
	for _, columns := range [][]string{h.PersonColumns, h.RecordColumns} {
		for i, name := range columns {
			if slices.Index(columns, name) < i {
				fatal = append(fatal, values.Problem{Code: CodeDuplicateColumn, Scope: values.ScopeMap, Message: fmt.Sprintf(
					"the column %s is there twice: send each column once", values.Clip(name))})
			}
		}
	}
	if len(fatal) > 0 {
		return nil, fatal
	}
	b := builder{m: m, h: h, stopped: stopped, now: h.Now}
	if b.now.IsZero() {
		b.now = time.Now()
	}
	return b.mapper()
}

// builder makes a mapper of a map that nothing stands against.
type builder struct {
	m       Map
	h       Header
	stopped map[string]bool
	now     time.Time
}

// at finds columns. Catalog fields are spelt in one way; API names have no case.
func (b *builder) at(side Side, field string) int {
	if side == Salesforce {
		return slices.IndexFunc(b.h.RecordColumns, func(c string) bool { return strings.EqualFold(c, field) })
	}
	return slices.Index(b.h.PersonColumns, field)
}

func (b *builder) mapper() (*Mapper, []values.Problem) {
	c := &Mapper{
		targets: targets(b.m), personColumns: len(b.h.PersonColumns), recordColumns: len(b.h.RecordColumns), subaccount: -1,
		country: b.at(Catalog, "country"), regions: map[string]string{},
	}
	if b.m.ExternalIDField != "" {
		f, _ := b.h.Object.field(b.m.ExternalIDField)
		c.foldID = !f.CaseSensitive
	}
	narrow := len(b.m.Overrides) > 0
	for _, r := range b.m.Rules {
		built, err := buildRule(r, b.at, b.now)
		if err != nil {
			return nil, []values.Problem{{Code: CodeInvalidRule, Scope: values.ScopeMap, Message: fmt.Sprintf("rule %s: %s", r.Name, err)}}
		}
		c.rules = append(c.rules, built)
		narrow = narrow || built.subaccounts != nil
	}
	if narrow {
		c.subaccount = b.at(Catalog, "subaccount")
	}
	var err error
	if c.base, err = b.variant(c.targets, nil); err != nil {
		return nil, []values.Problem{{Code: CodeInvalidExpression, Scope: values.ScopeMap, Message: err.Error()}}
	}
	if len(b.m.Overrides) > 0 {
		c.variants = make(map[string]*variant, len(b.m.Overrides))
	}
	for i := range b.m.Overrides {
		o := &b.m.Overrides[i]
		v, err := b.variant(c.targets, o)
		if err != nil {
			return nil, []values.Problem{{Code: CodeInvalidOverride, Scope: values.ScopeMap, Message: fmt.Sprintf("override %s: %s", o.Subaccount, err)}}
		}
		c.variants[foldSubaccount(o.Subaccount)] = v
	}
	return c, nil
}

// targets lists the targets of the map's pairs, then those that only overrides have, each once.
func targets(m Map) (out []string) {
	add := func(pairs []Pair) {
		for _, p := range pairs {
			if !slices.ContainsFunc(out, func(t string) bool { return strings.EqualFold(t, p.Target) }) {
				out = append(out, p.Target)
			}
		}
	}
	add(m.Pairs)
	for _, o := range m.Overrides {
		add(o.Pairs)
	}
	return out
}

func (b *builder) variant(targets []string, o *Override) (*variant, error) {
	v := &variant{columns: make([]*pair, len(targets))}
	var own []Pair
	if o != nil {
		v.name, v.excluded, own = o.Subaccount, o.Excluded, o.Pairs
		if o.Filter != nil {
			filter, err := build(*o.Filter, b.at, b.now)
			if err != nil {
				return nil, err
			}
			v.filter = filter
		}
	}
	for i, target := range targets {
		if b.stopped[strings.ToLower(target)] {
			continue
		}
		pairs, at := own, pairFor(own, target)
		if at < 0 {
			pairs, at = b.m.Pairs, b.m.pair(target)
		}
		if at < 0 {
			continue // of another subaccount
		}
		p, err := b.pair(pairs[at])
		if err != nil {
			return nil, err
		}
		v.columns[i] = p
		if b.m.Direction == Import {
			continue
		}
		if strings.EqualFold(target, b.m.ExternalIDField) {
			v.externalID = p
		}
		if strings.EqualFold(target, emailField) {
			v.email = p
		}
	}
	return v, nil
}

func (b *builder) pair(p Pair) (*pair, error) {
	side, f := Catalog, Field{}
	if b.m.Direction == Import {
		side, f = Salesforce, catalogField(p.Target)
	} else {
		f, _ = b.h.Object.field(p.Target)
	}
	out := &pair{
		name: f.Name, source: p.Source, first: -1, second: -1, lookup: p.Lookup, unlisted: p.Unlisted, when: p.When,
		required: f.required(), clearable: f.Nillable, record: b.at(Salesforce, p.Target),
		phone: f.Type == "phone" && p.Lookup == nil, region: p.PhoneRegion,
		formats: p.PhoneFormat > PhoneKeep,
		match:   b.m.Direction != Import && strings.EqualFold(p.Target, b.m.matchField()),
		blank:   [3]Blank{p.Absent, p.Null, p.Empty},
	}
	for i, standard := range []Blank{Leave, Clear, Clear} {
		orElse(&out.blank[i], standard)
	}
	if p.Source != "" {
		out.first = b.at(side, p.Source)
	}
	if p.Secondary != "" {
		out.second = b.at(side, p.Secondary)
	}
	if p.Lookup == nil {
		options, err := optionsOf(p)
		if err != nil {
			return nil, err
		}
		out.convert = values.New(b.h.Object.spec(f), options)
	}
	if p.Expression != "" {
		program, err := expression.Compile(p.Expression, fieldsFor(b.m, Org{Object: b.h.Object}, true))
		if err != nil {
			return nil, err
		}
		program.Bind(b.h.PersonColumns, b.h.RecordColumns, b.now)
		out.program, out.source = program, "value by its expression"
	}
	if len(p.Table) > 0 {
		out.table = make(map[string]string, len(p.Table))
		for from, to := range p.Table {
			out.table[values.Fold(from)] = to
		}
	}
	out.constant, _ = out.fixed(p.Constant) // examine has tried both
	out.standard, _ = out.fixed(p.Default)
	return out, nil
}

// fixed converts a value that is the same for everybody. A phone number in it is of the pair's region.
func (p *pair) fixed(text string) (cell, *values.Problem) {
	if text == "" {
		return cell{}, nil
	}
	out, key, problem := p.write(text, p.region)
	if problem != nil && problem.Scope != values.ScopeNote {
		return cell{}, problem
	}
	return cell{out, key, problem}, nil
}

// write converts a text that is not blank. The key is that of a lookup. A problem of scope NOTE comes with a value.
func (p *pair) write(text, region string) (out, key string, problem *values.Problem) {
	if p.lookup == nil {
		out, problem = p.convert.ConvertIn(text, region)
		return out, "", problem
	}
	return lookupKey(p.name, *p.lookup, text)
}

// optionsOf returns what a pair says of values.
func optionsOf(p Pair) (values.Options, error) {
	o := values.Options{Cut: p.TooLong == CutLong}
	if p.PhoneFormat > PhoneKeep {
		o.Phones = values.PhoneStyle(p.PhoneFormat - PhoneKeep)
	}
	if p.TimeZone != "" {
		zone, err := time.LoadLocation(p.TimeZone)
		if err != nil || strings.EqualFold(p.TimeZone, "Local") {
			return o, fmt.Errorf("there is no time zone %s: name one such as Europe/Berlin", values.Clip(p.TimeZone))
		}
		o.Zone = zone
	}
	return o, nil
}
