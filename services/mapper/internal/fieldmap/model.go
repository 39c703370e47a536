package fieldmap

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Map is a field map without its identity: what goes where, for whom, and what holds a run.
type Map struct {
	Object          string
	ExternalIDField string // empty: people are matched by e-mail
	Direction       Direction
	Pairs           []Pair
	Identity        Identity
	Rules           []Rule
	Overrides       []Override
	Guards          Guards
}

// Direction is which way a map maps. The zero value of this and of the other settings below is their default.
type Direction int32

// Directions.
const (
	DirectionUnset Direction = iota
	Write
	Import
)

// Pair says what goes into a target: a source, a constant or an expression.
type Pair struct {
	Source, Target string
	Secondary      string // source where the first is blank
	Constant       string
	Expression     string
	Default        string // for people without a value; blank: none
	// Type and Length are what the describe said of the target when the map was saved; empty in a map to be saved.
	Type                string
	Length              int
	When                When
	Absent, Null, Empty Blank
	TooLong             TooLong
	Table               map[string]string
	Unlisted            Unlisted
	TimeZone            string
	PhoneRegion         string
	PhoneFormat         PhoneFormat
	Lookup              *Lookup
}

// When is when a pair is written.
type When int32

// Times of writing.
const (
	WhenUnset When = iota
	Always
	WhenBlank
	WhenCreated
)

// Blank is what a source without a value does.
type Blank int32

// What a blank does.
const (
	BlankUnset Blank = iota
	Leave
	Clear
)

// TooLong is what a text does that is longer than the field.
type TooLong int32

// What a long text does.
const (
	TooLongUnset TooLong = iota
	RejectLong
	CutLong
)

// Unlisted is what is done with a value that a table does not have.
type Unlisted int32

// What is done with it.
const (
	UnlistedUnset Unlisted = iota
	RejectUnlisted
	KeepUnlisted
	DefaultUnlisted
)

// PhoneFormat is how phone numbers are written.
type PhoneFormat int32

// Formats.
const (
	PhoneUnset PhoneFormat = iota
	PhoneKeep
	PhoneE164
	PhoneInternational
	PhoneNational
)

// Lookup says how a reference is found.
type Lookup struct {
	Object, Field   string
	CreateIfMissing bool
}

// Identity says how people are found in Salesforce. The numbers are those of the contract's enumerations.
type Identity struct {
	NoAdoption                         bool
	SeveralMatches                     SeveralMatches
	SeveralMatchesOwner                string
	Converted, Deleted, ContactAndLead int32
	Leavers                            Leavers
	LeaversField, LeaversValue         string
}

// SeveralMatches is what to do when several records match one person.
type SeveralMatches int32

// What to do then.
const (
	SeveralUnset SeveralMatches = iota
	SeveralRefuse
	SeveralOldest
	SeveralNewest
	SeveralOwner
)

// Leavers is what to do with records of people who are gone.
type Leavers int32

// What to do with them.
const (
	LeaversUnset Leavers = iota
	LeaversLeave
	LeaversFlag
)

// Rule includes or skips the people who meet its condition.
type Rule struct {
	Name        string
	Effect      Effect
	Condition   Condition
	Subaccounts []string // empty: all
}

// Effect is what a rule does.
type Effect int32

// Effects.
const (
	EffectUnset Effect = iota
	Include
	Skip
)

// maxDepth is how many groups may be within each other.
const maxDepth = 8

// Condition is exactly one of its fields; a group without members is no condition.
type Condition struct {
	All, Any []Condition
	Not      *Condition
	Test     *Test
}

// Test compares one field.
type Test struct {
	Side     Side
	Field    string
	Operator Operator
	Values   []string
}

// Side is whose field is tested.
type Side int32

// Sides.
const (
	SideUnset Side = iota
	Catalog
	Salesforce
)

// Operator compares a field with values.
type Operator int32

// Operators.
const (
	OperatorUnset Operator = iota
	Contains
	Equals
	In
	Matches
	IsEmpty
	Less
	LessOrEqual
	Greater
	GreaterOrEqual
	ChangedSince
	StartsWith
)

// Override is what differs for one subaccount.
type Override struct {
	Subaccount string
	Pairs      []Pair
	Filter     *Condition
	Excluded   bool
}

// Guards hold a run or limit what it may use; shares are from 0 to 1.
type Guards struct {
	Creates, Updates, Clears, Deactivations *Brake
	ApproveEveryRun                         bool
	HoldHours                               int32
	AllowEmptySource                        bool
	LeastPeople                             float64
	AllocationShare, AllocationStop         float64
}

// Brake holds a run that would change too much.
type Brake struct {
	Count int64
	Share float64
}

// pair returns the index of the pair with the target, or -1.
func (m Map) pair(target string) int { return pairFor(m.Pairs, target) }

func pairFor(pairs []Pair, target string) int {
	return slices.IndexFunc(pairs, func(p Pair) bool { return strings.EqualFold(p.Target, target) })
}

// Equal reports whether two maps mean the same: a setting that is not set means its default.
func (m Map) Equal(other Map) bool { return reflect.DeepEqual(m.normal(), other.normal()) }

// normal returns the map with defaults filled in and nothing that is there but empty.
func (m Map) normal() Map {
	orElse(&m.Direction, Write)
	m.Pairs = normalPairs(m.Pairs)
	orElse(&m.Identity.SeveralMatches, SeveralRefuse)
	for _, policy := range []*int32{&m.Identity.Converted, &m.Identity.Deleted, &m.Identity.ContactAndLead} {
		orElse(policy, 1)
	}
	orElse(&m.Identity.Leavers, LeaversLeave)
	rules := make([]Rule, len(m.Rules))
	for i, r := range m.Rules {
		r.Condition, r.Subaccounts = r.Condition.normal(), slices.Concat([]string{}, r.Subaccounts)
		rules[i] = r
	}
	overrides := make([]Override, len(m.Overrides))
	for i, o := range m.Overrides {
		o.Pairs = normalPairs(o.Pairs)
		if o.Filter != nil {
			filter := o.Filter.normal()
			o.Filter = &filter
		}
		overrides[i] = o
	}
	m.Rules, m.Overrides = rules, overrides
	for _, b := range []**Brake{&m.Guards.Creates, &m.Guards.Updates, &m.Guards.Clears, &m.Guards.Deactivations} {
		if *b == nil {
			*b = &Brake{}
		}
	}
	return m
}

func normalPairs(pairs []Pair) []Pair {
	out := make([]Pair, len(pairs))
	for i, p := range pairs {
		orElse(&p.When, Always)
		orElse(&p.Absent, Leave)
		orElse(&p.Null, Clear)
		orElse(&p.Empty, Clear)
		orElse(&p.TooLong, RejectLong)
		orElse(&p.Unlisted, RejectUnlisted)
		orElse(&p.PhoneFormat, PhoneKeep)
		table := map[string]string{}
		maps.Copy(table, p.Table)
		p.Table = table
		out[i] = p
	}
	return out
}

func (c Condition) normal() Condition {
	group := func(in []Condition) []Condition {
		if len(in) == 0 {
			return nil
		}
		out := make([]Condition, len(in))
		for i, one := range in {
			out[i] = one.normal()
		}
		return out
	}
	c.All, c.Any = group(c.All), group(c.Any)
	if c.Not != nil {
		not := c.Not.normal()
		c.Not = &not
	}
	if c.Test != nil {
		t := *c.Test
		orElse(&t.Side, Catalog)
		t.Values = slices.Concat([]string{}, t.Values)
		c.Test = &t
	}
	return c
}

// orElse replaces the zero value by a default.
func orElse[T comparable](v *T, other T) {
	var zero T
	if *v == zero {
		*v = other
	}
}
