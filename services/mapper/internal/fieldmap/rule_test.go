package fieldmap_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// now is when runs in these tests were prepared.
var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// ruleColumns are the columns of people that rules look at.
var ruleColumns = []string{"id", "email", "first_name", "last_name", "title", "groups", "subaccount", "updated_at", "attributes.score"}

func compileAt(t testing.TB, m fieldmap.Map, o fieldmap.Object, columns ...string) *fieldmap.Mapper {
	t.Helper()
	m, _ = fieldmap.Complete(m, o)
	if problems := fieldmap.Check(m, org(o, "attributes.score", "attributes.level", "attributes.born")); len(problems) > 0 {
		t.Fatalf("check: %+v", problems)
	}
	c, problems := fieldmap.Compile(m, fieldmap.Header{Object: o, PersonColumns: columns, RecordColumns: recordColumns, Now: now})
	if len(problems) > 0 {
		t.Fatalf("compile: %+v", problems)
	}
	return c
}

// skipped says what skips a person.
func skipped(c *fieldmap.Mapper, person []string, record *fieldmap.Row) string {
	var out fieldmap.Mapped
	c.Map(fieldmap.Row{Values: person}, record, &out)
	return out.SkippedBy
}

func TestOperators(t *testing.T) {
	t.Parallel()
	const cat, sf = fieldmap.Catalog, fieldmap.Salesforce
	tests := map[string]struct {
		test  fieldmap.Condition
		value string // of the field tested
		want  bool
	}{
		"contains":                      {test(cat, "title", fieldmap.Contains, "x", "ount"), "Countess", true},
		"contains without case":         {test(cat, "title", fieldmap.Contains, "COUNT"), "countess", true},
		"contains not":                  {test(cat, "title", fieldmap.Contains, "y"), "Countess", false},
		"contains of nothing":           {test(cat, "title", fieldmap.Contains, "y"), "", false},
		"contains composed":             {test(cat, "title", fieldmap.Contains, "É"), "e\u0301tat", true},
		"equals":                        {test(cat, "title", fieldmap.Equals, "countess"), " COUNTESS ", true},
		"equals not a part":             {test(cat, "title", fieldmap.Equals, "count"), "Countess", false},
		"equals text, not number":       {test(cat, "title", fieldmap.Equals, "1"), "1.0", false},
		"equals folds no dots":          {test(cat, "title", fieldmap.Equals, "Straße"), "STRASSE", false},
		"in":                            {test(cat, "title", fieldmap.In, "a", "B"), "b", true},
		"in not":                        {test(cat, "title", fieldmap.In, "a", "b"), "ab", false},
		"in a list":                     {test(cat, "groups", fieldmap.In, "staff"), "Sales; Staff ;x", true},
		"in a list not":                 {test(cat, "groups", fieldmap.In, "taff"), "Sales;Staff", false},
		"in as a whole":                 {test(cat, "groups", fieldmap.In, "a;b"), "A;B", true},
		"matches":                       {test(cat, "email", fieldmap.Matches, `@test\.`), "ada@TEST.example.com", true},
		"matches with case":             {test(cat, "title", fieldmap.Matches, `(?-i)^count`), "Countess", false},
		"matches alternatives":          {test(cat, "title", fieldmap.Matches, `^a|b$`), "XB", true},
		"matches a blank":               {test(cat, "title", fieldmap.Matches, `^$`), "", false},
		"empty":                         {test(cat, "title", fieldmap.IsEmpty), "", true},
		"empty of blanks":               {test(cat, "title", fieldmap.IsEmpty), " \t\u00a0", true},
		"empty not":                     {test(cat, "title", fieldmap.IsEmpty), "0", false},
		"less":                          {test(cat, "attributes.score", fieldmap.Less, "10"), "9.5", true},
		"less is no text":               {test(cat, "attributes.score", fieldmap.Less, "10"), "9", true},
		"less of what is no number":     {test(cat, "attributes.score", fieldmap.Less, "10"), "abc", false},
		"less of equal":                 {test(cat, "attributes.score", fieldmap.Less, "1E1"), "10.0", false},
		"less or equal":                 {test(cat, "attributes.score", fieldmap.LessOrEqual, "10"), "1e1", true},
		"greater of negative":           {test(cat, "attributes.score", fieldmap.Greater, "-10"), "-9.99", true},
		"greater":                       {test(cat, "attributes.score", fieldmap.Greater, "9007199254740992"), "9007199254740993", true},
		"greater or equal":              {test(cat, "attributes.score", fieldmap.GreaterOrEqual, "10"), "10", true},
		"greater of a blank":            {test(cat, "attributes.score", fieldmap.Greater, "-1"), "", false},
		"less by date":                  {test(cat, "updated_at", fieldmap.Less, "2026-02-01"), "2026-01-31T23:59:59Z", true},
		"less by zone":                  {test(cat, "updated_at", fieldmap.Less, "2026-02-01"), "2026-02-01T00:30:00+01:00", true},
		"greater by time":               {test(cat, "updated_at", fieldmap.Greater, "2026-02-01T10:00:00Z"), "2026-02-01T10:00:00.001Z", true},
		"less by code point":            {test(cat, "title", fieldmap.Less, "b"), "A", true},
		"greater by code point":         {test(cat, "title", fieldmap.Greater, "z"), "é", true},
		"changed since a span":          {test(cat, "updated_at", fieldmap.ChangedSince, "30d"), "2026-10-22T12:00:01Z", true},
		"changed since a span, border":  {test(cat, "updated_at", fieldmap.ChangedSince, "30d"), "2026-10-22T12:00:00Z", false},
		"changed since hours":           {test(cat, "updated_at", fieldmap.ChangedSince, "12h"), "2026-11-21T01:00:00Z", true},
		"changed since minutes":         {test(cat, "updated_at", fieldmap.ChangedSince, "90m"), "2026-11-21T10:29:59Z", false},
		"changed since weeks":           {test(cat, "updated_at", fieldmap.ChangedSince, "2w"), "2026-11-08", true},
		"changed since a date":          {test(cat, "updated_at", fieldmap.ChangedSince, "2026-01-01"), "2026-01-01T00:00:01Z", true},
		"changed since a time":          {test(cat, "updated_at", fieldmap.ChangedSince, "2026-01-01T10:00:00+02:00"), "2026-01-01T08:00:00Z", false},
		"changed since of no time":      {test(cat, "updated_at", fieldmap.ChangedSince, "30d"), "yesterday", false},
		"starts with":                   {test(cat, "title", fieldmap.StartsWith, "x", "COUNT"), "countess", true},
		"starts with not":               {test(cat, "title", fieldmap.StartsWith, "tess"), "countess", false},
		"side not set is the Catalog's": {test(fieldmap.SideUnset, "title", fieldmap.Equals, "x"), "x", true},
		"Salesforce equals":             {test(sf, "title", fieldmap.Equals, "dr"), "Dr", true},
		"Salesforce without a record":   {test(sf, "Title", fieldmap.IsEmpty), "", true},
		"column that rows lack":         {test(cat, "city", fieldmap.IsEmpty), "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := compileAt(t, fieldmap.Map{Object: "Contact", Rules: []fieldmap.Rule{{Name: "r", Effect: fieldmap.Skip, Condition: tt.test}}}, contact(), ruleColumns...)
			person, record := make([]string, len(ruleColumns)), (*fieldmap.Row)(nil)
			if i := slices.Index(ruleColumns, tt.test.Test.Field); i >= 0 && tt.test.Test.Side != sf {
				person[i] = tt.value
			} else if tt.value != "" {
				record = &fieldmap.Row{Values: []string{tt.value, "", ""}}
			}
			if got := skipped(c, person, record) == "r"; got != tt.want {
				t.Errorf("%q: holds is %v, want %v", tt.value, got, tt.want)
			}
		})
	}
}

func TestRulesDecide(t *testing.T) {
	t.Parallel()
	title := func(effect fieldmap.Effect, value string, subaccounts ...string) fieldmap.Rule {
		return fieldmap.Rule{Name: fmt.Sprint(value, effect), Effect: effect, Condition: test(fieldmap.Catalog, "title", fieldmap.Contains, value), Subaccounts: subaccounts}
	}
	const include, skip = fieldmap.Include, fieldmap.Skip
	filter := test(fieldmap.Catalog, "title", fieldmap.Contains, "f")
	tests := map[string]struct {
		rules             []fieldmap.Rule
		overrides         []fieldmap.Override
		title, subaccount string
		want              string
	}{
		"no rules":                          {nil, nil, "a", "", ""},
		"skipped":                           {[]fieldmap.Rule{title(skip, "a")}, nil, "a", "", "a2"},
		"the first that skips is named":     {[]fieldmap.Rule{title(skip, "b"), title(skip, "a")}, nil, "ab", "", "b2"},
		"included":                          {[]fieldmap.Rule{title(include, "a")}, nil, "a", "", ""},
		"included by the second":            {[]fieldmap.Rule{title(include, "x"), title(include, "a")}, nil, "a", "", ""},
		"not included":                      {[]fieldmap.Rule{title(include, "x"), title(include, "y")}, nil, "a", "", "no rule includes this person: x1, y1"},
		"skip before include":               {[]fieldmap.Rule{title(include, "a"), title(skip, "b")}, nil, "ab", "", "b2"},
		"include and no skip":               {[]fieldmap.Rule{title(skip, "b"), title(include, "a")}, nil, "a", "", ""},
		"rule of another subaccount":        {[]fieldmap.Rule{title(skip, "a", "West")}, nil, "a", "East", ""},
		"rule of this subaccount":           {[]fieldmap.Rule{title(skip, "a", "west", "East")}, nil, "a", " EAST ", "a2"},
		"include of another subaccount":     {[]fieldmap.Rule{title(include, "x", "West")}, nil, "a", "East", ""},
		"include of this subaccount":        {[]fieldmap.Rule{title(include, "x", "East"), title(include, "y", "West")}, nil, "a", "East", "no rule includes this person: x1"},
		"excluded":                          {nil, []fieldmap.Override{{Subaccount: "East", Excluded: true}}, "a", "east", "override East"},
		"another is excluded":               {nil, []fieldmap.Override{{Subaccount: "East", Excluded: true}}, "a", "West", ""},
		"filter met":                        {nil, []fieldmap.Override{{Subaccount: "East", Filter: &filter}}, "f", "East", ""},
		"filter not met":                    {nil, []fieldmap.Override{{Subaccount: "East", Filter: &filter}}, "a", "East", "override East"},
		"filter on top of rules":            {[]fieldmap.Rule{title(include, "a")}, []fieldmap.Override{{Subaccount: "East", Filter: &filter}}, "a", "East", "override East"},
		"rules before the filter":           {[]fieldmap.Rule{title(skip, "a")}, []fieldmap.Override{{Subaccount: "East", Filter: &filter}}, "a", "East", "a2"},
		"nobody's subaccount is everywhere": {[]fieldmap.Rule{title(skip, "a", "East")}, nil, "a", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := compileAt(t, fieldmap.Map{Object: "Contact", Rules: tt.rules, Overrides: tt.overrides}, contact(), ruleColumns...)
			person := []string{"1", "ada@example.com", "Ada", "Lovelace", tt.title, "", tt.subaccount, "", ""}
			if got := skipped(c, person, nil); got != tt.want {
				t.Errorf("skipped by %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSkippedPeopleHaveNeitherValuesNorProblems(t *testing.T) {
	t.Parallel()
	c := compileAt(t, fieldmap.Map{Object: "Contact", Rules: []fieldmap.Rule{{Name: "all", Effect: fieldmap.Skip, Condition: test(fieldmap.Catalog, "first_name", fieldmap.IsEmpty)}}}, contact(), ruleColumns...)
	var out fieldmap.Mapped
	c.Map(fieldmap.Row{Values: make([]string, len(ruleColumns))}, nil, &out)
	if out.SkippedBy != "all" || len(out.Problems) > 0 || len(out.Absent) != len(c.Targets()) || len(out.Values) != len(c.Targets()) {
		t.Errorf("%+v", out)
	}
}

// conditions draws conditions of at most the given depth.
func conditions(depth int) *rapid.Generator[fieldmap.Condition] {
	leaf := rapid.Custom(func(t *rapid.T) fieldmap.Condition {
		o := rapid.SampledFrom([]fieldmap.Operator{fieldmap.Contains, fieldmap.Equals, fieldmap.In, fieldmap.Matches, fieldmap.IsEmpty, fieldmap.Less, fieldmap.GreaterOrEqual, fieldmap.ChangedSince, fieldmap.StartsWith}).Draw(t, "operator")
		side, field := fieldmap.Catalog, rapid.SampledFrom([]string{"title", "first_name", "attributes.score", "updated_at"}).Draw(t, "field")
		if rapid.Bool().Draw(t, "salesforce") {
			side, field = fieldmap.Salesforce, rapid.SampledFrom([]string{"Title", "Phone"}).Draw(t, "field")
		}
		switch o {
		case fieldmap.IsEmpty:
			return test(side, field, o)
		case fieldmap.ChangedSince:
			return test(side, field, o, rapid.SampledFrom([]string{"1d", "2026-11-01", "2026-11-21T00:00:00Z"}).Draw(t, "since"))
		}
		return test(side, field, o, rapid.SampledFrom([]string{"a", "ab", "B", "1", "10", "2026-11-21"}).Draw(t, "value"))
	})
	if depth == 0 {
		return leaf
	}
	inner := conditions(depth - 1)
	return rapid.OneOf(leaf,
		rapid.Custom(func(t *rapid.T) fieldmap.Condition {
			return fieldmap.Condition{All: rapid.SliceOfN(inner, 1, 3).Draw(t, "all")}
		}),
		rapid.Custom(func(t *rapid.T) fieldmap.Condition {
			return fieldmap.Condition{Any: rapid.SliceOfN(inner, 1, 3).Draw(t, "any")}
		}),
		rapid.Custom(func(t *rapid.T) fieldmap.Condition {
			not := inner.Draw(t, "not")
			return fieldmap.Condition{Not: &not}
		}))
}

var ruleValues = rapid.SampledFrom([]string{"", " ", "a", "AB", "b", "1", "9.5", "2026-11-20T23:00:00Z", "2026-11-21", "x"})

func not(c fieldmap.Condition) fieldmap.Condition { return fieldmap.Condition{Not: &c} }

// De Morgan: not all is any not, and not any is all not; not not is itself.
func TestConditionsObeyLogic(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		group := rapid.SliceOfN(conditions(3), 1, 4).Draw(rt, "group")
		negated := make([]fieldmap.Condition, len(group))
		for i, c := range group {
			negated[i] = not(c)
		}
		person := rapid.SliceOfN(ruleValues, len(ruleColumns), len(ruleColumns)).Draw(rt, "person")
		var record *fieldmap.Row
		if rapid.Bool().Draw(rt, "has a record") {
			record = &fieldmap.Row{Values: rapid.SliceOfN(ruleValues, 3, 3).Draw(rt, "record")}
		}
		holds := func(c fieldmap.Condition) bool {
			m := compileAt(t, fieldmap.Map{Object: "Contact", Rules: []fieldmap.Rule{{Name: "r", Effect: fieldmap.Skip, Condition: c}}}, contact(), ruleColumns...)
			return skipped(m, person, record) != ""
		}
		if holds(not(fieldmap.Condition{All: group})) != holds(fieldmap.Condition{Any: negated}) {
			rt.Fatalf("not all is not any not: %+v", group)
		}
		if holds(not(fieldmap.Condition{Any: group})) != holds(fieldmap.Condition{All: negated}) {
			rt.Fatalf("not any is not all not: %+v", group)
		}
		if holds(not(not(group[0]))) != holds(group[0]) || holds(not(group[0])) == holds(group[0]) {
			rt.Fatalf("not is not the opposite: %+v", group[0])
		}
		// Including who meets a condition is skipping who does not.
		include := compileAt(t, fieldmap.Map{Object: "Contact", Rules: []fieldmap.Rule{{Name: "r", Effect: fieldmap.Include, Condition: group[0]}}}, contact(), ruleColumns...)
		if (skipped(include, person, record) == "") != holds(group[0]) {
			rt.Fatalf("include is not the opposite of skip: %+v", group[0])
		}
	})
}

func TestCheckRules(t *testing.T) {
	t.Parallel()
	ok := test(fieldmap.Catalog, "title", fieldmap.Equals, "x")
	deep := ok
	for range 8 {
		deep = not(deep)
	}
	many := fieldmap.Condition{Any: slices.Repeat([]fieldmap.Condition{ok}, 500)}
	rule := func(c fieldmap.Condition) []fieldmap.Rule {
		return []fieldmap.Rule{{Name: "r", Effect: fieldmap.Skip, Condition: c}}
	}
	of := func(field string, o fieldmap.Operator, values ...string) []fieldmap.Rule {
		return rule(test(fieldmap.Catalog, field, o, values...))
	}
	tests := map[string]struct {
		rules []fieldmap.Rule
		want  string // part of the message; empty: no problem
	}{
		"right":               {rule(ok), ""},
		"no name":             {[]fieldmap.Rule{{Effect: fieldmap.Skip, Condition: ok}}, "it has no name"},
		"long name":           {[]fieldmap.Rule{{Name: strings.Repeat("x", 81), Effect: fieldmap.Skip, Condition: ok}}, "its name is longer than 80 characters"},
		"same name":           {[]fieldmap.Rule{{Name: "A", Effect: fieldmap.Skip, Condition: ok}, {Name: "a", Effect: fieldmap.Skip, Condition: ok}}, "another rule has that name"},
		"no effect":           {[]fieldmap.Rule{{Name: "r", Condition: ok}}, "it neither includes nor skips"},
		"blank subaccount":    {[]fieldmap.Rule{{Name: "r", Effect: fieldmap.Skip, Condition: ok, Subaccounts: []string{" "}}}, "a subaccount without a name"},
		"no condition":        {rule(fieldmap.Condition{}), "an empty group or no condition"},
		"empty group within":  {rule(fieldmap.Condition{All: []fieldmap.Condition{ok, {}}}), "an empty group or no condition"},
		"eight deep":          {rule(deep), ""},
		"nine deep":           {rule(not(deep)), "more than 8 deep"},
		"many":                {rule(many), "more than 500 tests and groups"},
		"unknown field":       {of("titel", fieldmap.Equals, "x"), "the Catalog has no field"},
		"unknown attribute":   {of("attributes.nope", fieldmap.Equals, "x"), "the Catalog has no field"},
		"unknown Salesforce":  {rule(test(fieldmap.Salesforce, "Titel", fieldmap.Equals, "x")), "Contact has no field Titel"},
		"compound field":      {rule(test(fieldmap.Salesforce, "MailingAddress", fieldmap.IsEmpty)), "of type address, which cannot be tested"},
		"no operator":         {of("title", 0, "x"), "it names no operator"},
		"unknown operator":    {of("title", 99, "x"), "it names no operator"},
		"unknown side":        {rule(test(7, "title", fieldmap.Equals, "x")), "neither a Catalog field nor a Salesforce field"},
		"empty with a value":  {of("title", fieldmap.IsEmpty, "x"), "takes no value"},
		"equals two":          {of("title", fieldmap.Equals, "x", "y"), "it has 2 values and its operator takes one"},
		"in nothing":          {of("title", fieldmap.In), "it has 0 values and its operator takes 1 to 1000"},
		"in too much":         {of("title", fieldmap.In, slices.Repeat([]string{"x"}, 1001)...), "it has 1001 values"},
		"blank value":         {of("title", fieldmap.Contains, " "), "a value is blank"},
		"bad pattern":         {of("title", fieldmap.Matches, "("), "cannot be used (missing closing ): `(`)"},
		"pattern that closes": {of("title", fieldmap.Matches, "a)|(b"), "cannot be used (unexpected ): `a)|(b`)"},
		"lookahead":           {of("title", fieldmap.Matches, "(?=x)"), "no lookaround"},
		"backreference":       {of("title", fieldmap.Matches, `(a)\1`), "no backreferences"},
		"pattern too long":    {of("title", fieldmap.Matches, strings.Repeat("a", 1001)), "1001 bytes and may have 1000"},
		"pattern too great":   {of("title", fieldmap.Matches, "((a{100}){100}){100}"), "cannot be used"},
		"span":                {of("updated_at", fieldmap.ChangedSince, "30 days"), "neither a time nor a span"},
		"span of nothing":     {of("updated_at", fieldmap.ChangedSince, "0d"), "neither a time nor a span"},
		"span of ages":        {of("updated_at", fieldmap.ChangedSince, "4000000000w"), "neither a time nor a span"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", Rules: tt.rules}, contact())
			got := fieldmap.Check(m, org(contact()))
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("problems %+v, want none", got)
			case tt.want != "" && (len(got) != 1 || got[0].Code != fieldmap.CodeInvalidRule || !strings.Contains(got[0].Message, tt.want) || got[0].Scope != values.ScopeMap):
				t.Errorf("problems %+v, want one that says %q", got, tt.want)
			}
			if _, problems := fieldmap.Compile(m, fieldmap.Header{Object: contact(), PersonColumns: ruleColumns, Now: now}); name != "unknown attribute" && (tt.want == "") != (len(problems) == 0) {
				t.Errorf("compiling gives %+v", problems)
			}
		})
	}
	m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", Rules: slices.Repeat(rule(ok), 101)}, contact())
	if got := fieldmap.Check(m, org(contact())); len(got) != 1 || !strings.Contains(got[0].Message, "101 rules and may have 100") {
		t.Errorf("101 rules: %+v", got)
	}
}

func FuzzRule(f *testing.F) {
	for _, s := range []string{"", "(", "a|b", `(?i)x`, `\pL+`, "(a*)*b", "a{1000}", "((a{100}){100}){100}", "30d", "2026-01-31", "1E5", "\xff", "é", ";;", "[[:alpha:]]"} {
		f.Add(s, "aaaaaaaaaaaaaaaaaaaaaaaa")
	}
	f.Fuzz(func(t *testing.T, wanted, value string) {
		for o := fieldmap.Contains; o <= fieldmap.StartsWith; o++ {
			rules := []fieldmap.Rule{{Name: "r", Effect: fieldmap.Skip, Condition: test(fieldmap.Catalog, "title", o, wanted)}}
			m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", Rules: rules}, contact())
			problems := fieldmap.Check(m, org(contact()))
			c, fatal := fieldmap.Compile(m, fieldmap.Header{Object: contact(), PersonColumns: []string{"email", "title"}, Now: now})
			if (len(problems) == 0) != (len(fatal) == 0) {
				t.Fatalf("operator %d, %q: %+v when it is saved, %+v when it is used", o, wanted, problems, fatal)
			}
			if len(fatal) > 0 {
				continue
			}
			if by := skipped(c, []string{"", value}, nil); by != "" && (by != "r" || strings.TrimSpace(value) == "" && o != fieldmap.IsEmpty) {
				t.Fatalf("operator %d, %q: %q is skipped by %q", o, wanted, value, by)
			}
		}
	})
}
