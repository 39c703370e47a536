package fieldmap

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// Limits of rules.
const (
	maxRules      = 100
	maxRuleName   = 80   // characters
	maxConditions = 500  // of one rule or filter, groups included
	maxValues     = 1000 // of one test
	maxPattern    = 1000 // bytes of a regular expression
)

// columns finds the column of a field, -1 where rows have none.
type columns func(side Side, field string) int

// holder decides a condition. It is built once and asked for every person.
type holder interface{ holds(s *subject) bool }

// subject is who is asked about: a person, a record, or both.
type subject struct {
	person, record []string
}

type (
	allOf []holder
	anyOf []holder
	notOf struct{ holder }
)

func (g allOf) holds(s *subject) bool {
	for _, h := range g {
		if !h.holds(s) {
			return false
		}
	}
	return true
}

func (g anyOf) holds(s *subject) bool {
	for _, h := range g {
		if h.holds(s) {
			return true
		}
	}
	return false
}

func (n notOf) holds(s *subject) bool { return !n.holder.holds(s) }

// test compares one column.
type test struct {
	side   Side
	column int
	match  func(value string) bool // of a value that is not blank
	blank  bool                    // what holds for a blank
}

func (t *test) holds(s *subject) bool {
	row := s.person
	if t.side == Salesforce {
		row = s.record
	}
	if t.column < 0 || t.column >= len(row) {
		return t.blank
	}
	value := strings.TrimSpace(row[t.column])
	if value == "" {
		return t.blank
	}
	return t.match(value)
}

// build prepares a condition; it is one that checkCondition has nothing against.
func build(c Condition, at columns, now time.Time) (holder, error) {
	group := func(in []Condition) ([]holder, error) {
		out := make([]holder, 0, len(in))
		for _, one := range in {
			h, err := build(one, at, now)
			if err != nil {
				return nil, err
			}
			out = append(out, h)
		}
		return out, nil
	}
	switch {
	case c.Test != nil:
		match, err := matcher(*c.Test, now)
		if err != nil {
			return nil, err
		}
		side := c.Test.Side
		if side != Salesforce {
			side = Catalog
		}
		return &test{side, at(side, c.Test.Field), match, c.Test.Operator == IsEmpty}, nil
	case c.Not != nil:
		h, err := build(*c.Not, at, now)
		return notOf{h}, err
	case len(c.All) > 0:
		h, err := group(c.All)
		return allOf(h), err
	case len(c.Any) > 0:
		h, err := group(c.Any)
		return anyOf(h), err
	}
	return nil, errors.New("a condition is empty")
}

// fold makes texts comparable without regard to case.
func fold(s string) string { return strings.ToLower(composed(s)) }

// composed spares what is ASCII the way through the tables.
func composed(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return norm.NFC.String(s)
		}
	}
	return s
}

// matcher returns what a test asks of a value that is not blank, or what is wrong with the test.
func matcher(t Test, now time.Time) (func(string) bool, error) {
	wanted, err := wantedValues(t)
	if err != nil {
		return nil, err
	}
	switch t.Operator {
	case IsEmpty:
		return func(string) bool { return false }, nil
	case Equals:
		return func(v string) bool { return strings.EqualFold(composed(v), wanted[0]) }, nil
	case In:
		return in(wanted), nil
	case Contains, StartsWith:
		find := strings.Contains
		if t.Operator == StartsWith {
			find = strings.HasPrefix
		}
		for i := range wanted {
			wanted[i] = fold(wanted[i])
		}
		return func(v string) bool {
			v = fold(v)
			return slices.ContainsFunc(wanted, func(w string) bool { return find(v, w) })
		}, nil
	case Matches:
		re, err := pattern(t.Values[0])
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	case ChangedSince:
		since, err := moment(wanted[0], now)
		if err != nil {
			return nil, err
		}
		return func(v string) bool {
			at, err := values.ParseTime(v, nil)
			return err == nil && at.After(since)
		}, nil
	}
	return comparison(t.Operator, wanted[0])
}

// wantedValues checks the number of values, and cleans them.
func wantedValues(t Test) ([]string, error) {
	most := maxValues
	switch t.Operator {
	case IsEmpty:
		if len(t.Values) > 0 {
			return nil, errors.New("the operator \"empty\" takes no value: leave it out, or choose another operator")
		}
		return nil, nil
	case Contains, In, StartsWith:
	case Equals, Matches, ChangedSince, Less, LessOrEqual, Greater, GreaterOrEqual:
		most = 1
	default:
		return nil, errors.New("it names no operator: choose contains, equals, in, matches, empty, less, less_or_equal, greater, greater_or_equal, changed_since or starts_with")
	}
	if len(t.Values) == 0 || len(t.Values) > most {
		return nil, fmt.Errorf("it has %d values and its operator takes %s: change the values or the operator", len(t.Values), map[bool]string{true: "one", false: "1 to " + strconv.Itoa(most)}[most == 1])
	}
	out := make([]string, len(t.Values))
	for i, v := range t.Values {
		if out[i] = values.Clean(v); out[i] == "" {
			return nil, errors.New("a value is blank: use the operator \"empty\" to test for that")
		}
	}
	return out, nil
}

// in finds a value, or a member of a list joined by semicolons, among those wanted.
func in(wanted []string) func(string) bool {
	set := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		set[fold(w)] = true
	}
	return func(v string) bool {
		v = fold(v)
		if set[v] {
			return true
		}
		if strings.IndexByte(v, ';') < 0 {
			return false
		}
		for part := range strings.SplitSeq(v, ";") {
			if set[strings.TrimSpace(part)] {
				return true
			}
		}
		return false
	}
}

// pattern compiles an expression in RE2 syntax, without regard to case unless it says (?-i). RE2 takes time in
// proportion to the text, whatever the expression.
func pattern(s string) (*regexp.Regexp, error) {
	if len(s) > maxPattern {
		return nil, fmt.Errorf("its regular expression has %d bytes and may have %d: shorten it, or split it into several tests", len(s), maxPattern)
	}
	if _, err := regexp.Compile(s); err != nil {
		return nil, fmt.Errorf("its regular expression cannot be used (%s): write it in RE2 syntax, which has no backreferences and no lookaround", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	re, err := regexp.Compile("(?i)" + s)
	if err != nil {
		return nil, errors.New("its regular expression is too great: shorten it, or split it into several tests")
	}
	return re, nil
}

// comparison compares numbers as numbers, dates and times as such, and text by code point. What the value of the test
// is decides; a person's value that is none of the kind meets no comparison.
func comparison(o Operator, wanted string) (func(string) bool, error) {
	decide := map[Operator]func(int) bool{
		Less:           func(c int) bool { return c < 0 },
		LessOrEqual:    func(c int) bool { return c <= 0 },
		Greater:        func(c int) bool { return c > 0 },
		GreaterOrEqual: func(c int) bool { return c >= 0 },
	}[o]
	if n, ok := values.ParseNumber(wanted); ok {
		return func(v string) bool {
			have, ok := values.ParseNumber(v)
			return ok && decide(have.Cmp(n))
		}, nil
	}
	if at, err := values.ParseTime(wanted, nil); err == nil {
		return func(v string) bool {
			have, err := values.ParseTime(v, nil)
			return err == nil && decide(have.Compare(at))
		}, nil
	}
	text := fold(wanted)
	return func(v string) bool { return decide(strings.Compare(fold(v), text)) }, nil
}

// maxSpan keeps spans within what a time can be.
const maxSpan = 100 * 366 * 24 * time.Hour

// moment reads a time, a date, or a span before now such as 30d, 12h or 90m.
func moment(s string, now time.Time) (time.Time, error) {
	if at, err := values.ParseTime(s, nil); err == nil {
		return at, nil
	}
	if unit, ok := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[s[len(s)-1]]; ok {
		if n, err := strconv.ParseUint(s[:len(s)-1], 10, 32); err == nil && n > 0 && n <= uint64(maxSpan/unit) {
			return now.Add(-time.Duration(n) * unit), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is neither a time nor a span: write 2026-01-31, 2026-01-31T08:30:00Z, or a span before the run such as 30d, 12h or 90m", values.Clip(s))
}

// rule is a rule that is ready to be asked.
type rule struct {
	name        string
	include     bool
	subaccounts map[string]bool // folded; nil: all
	when        holder
}

func (r *rule) applies(subaccount string) bool {
	return r.subaccounts == nil || r.subaccounts[subaccount]
}

func buildRule(r Rule, at columns, now time.Time) (*rule, error) {
	when, err := build(r.Condition, at, now)
	if err != nil {
		return nil, err
	}
	out := &rule{name: r.Name, include: r.Effect == Include, when: when}
	if len(r.Subaccounts) > 0 {
		out.subaccounts = make(map[string]bool, len(r.Subaccounts))
		for _, s := range r.Subaccounts {
			out.subaccounts[foldSubaccount(s)] = true
		}
	}
	return out, nil
}

func foldSubaccount(s string) string { return fold(strings.TrimSpace(s)) }

// skippedBy returns what skips the subject, or nothing. A rule that skips comes before any that includes; where rules
// include that are for the subaccount, one of them has to be met.
func skippedBy(rules []*rule, subaccount string, s *subject) string {
	wanted, included := false, false
	for _, r := range rules {
		switch {
		case included && r.include || !r.applies(subaccount):
		case r.when.holds(s):
			if !r.include {
				return r.name
			}
			included = true
		case r.include:
			wanted = true
		}
	}
	if included || !wanted {
		return ""
	}
	var unmet []string
	for _, r := range rules {
		if r.include && r.applies(subaccount) {
			unmet = append(unmet, r.name)
		}
	}
	return "no rule includes this person: " + strings.Join(unmet, ", ")
}
