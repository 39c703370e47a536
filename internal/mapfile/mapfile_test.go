package mapfile_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/mapfile"
)

var update = flag.Bool("update", false, "write the golden files anew")

const example = `object: Contact
external_id: CatalogUserId__c
fields:
  FirstName: first_name
  LastName: last_name
  Title:
    from: title
    default: Member
  Code__c:
    from: attributes.code
    default: "007"
`

func format(t testing.TB, m *mapperv1.FieldMap) string {
	t.Helper()
	b, err := mapfile.Format(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func parse(t testing.TB, file string) *mapperv1.FieldMap {
	t.Helper()
	m, err := mapfile.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParse(t *testing.T) {
	t.Parallel()
	want := &mapperv1.FieldMap{Object: "Contact", ExternalIdField: "CatalogUserId__c", Pairs: []*mapperv1.Pair{
		{Source: "first_name", Target: "FirstName"},
		{Source: "last_name", Target: "LastName"},
		{Source: "title", Target: "Title", DefaultValue: "Member"},
		{Source: "attributes.code", Target: "Code__c", DefaultValue: "007"},
	}}
	got := parse(t, example)
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(example, format(t, got)); diff != "" {
		t.Errorf("written again it differs: %s", diff)
	}
}

// What is written is read again as it was, whatever the field map, and is written the same then.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := fieldMap(t)
		file, err := mapfile.Format(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := mapfile.Parse(file)
		if err != nil {
			t.Fatalf("%v\n%s", err, file)
		}
		normal := mapfile.Normal(m)
		if diff := cmp.Diff(normal, got, protocmp.Transform()); diff != "" {
			t.Fatalf("%s\n%s", diff, file)
		}
		if again, err := mapfile.Format(got); err != nil || string(again) != string(file) {
			t.Fatalf("%v\n%s", err, cmp.Diff(string(file), string(again)))
		}
		if !proto.Equal(mapfile.Normal(normal), normal) {
			t.Fatal("the normal form has another normal form")
		}
	})
}

// Two field maps differ in some setting exactly when they are not equal.
func TestDiffFindsEveryDifference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := fieldMap(t)
		for i, r := range a.GetRules() { // names are unique in what is saved
			r.Name = strings.Repeat("r", i+1)
		}
		b := proto.CloneOf(a)
		// Change one thing somewhere: take it from another field map.
		other := fieldMap(t)
		fields := other.ProtoReflect().Descriptor().Fields()
		f := fields.Get(rapid.IntRange(0, fields.Len()-1).Draw(t, "field"))
		if f.Name() != "rules" && f.Name() != "pairs" && f.Name() != "overrides" {
			b.ProtoReflect().Set(f, other.ProtoReflect().NewField(f))
			if other.ProtoReflect().Has(f) {
				b.ProtoReflect().Set(f, other.ProtoReflect().Get(f))
			}
		}
		if n := len(b.GetPairs()); n > 0 && f.Name() == "pairs" {
			p := &mapperv1.Pair{}
			fill(t, p.ProtoReflect(), 0)
			i := rapid.IntRange(0, n-1).Draw(t, "pair")
			p.Target = b.GetPairs()[i].GetTarget()
			b.Pairs[i] = p
		}
		if n := len(b.GetRules()); n > 1 && f.Name() == "rules" {
			slices.Reverse(b.Rules)
		}
		if n := len(b.GetOverrides()); n > 0 && f.Name() == "overrides" {
			b.Overrides = b.Overrides[1:]
		}
		found := mapfile.Diff(a, b)
		if equal := mapfile.Equal(a, b); equal != (len(found) == 0) {
			t.Fatalf("equal: %v, differences: %v", equal, found)
		}
		for _, d := range found {
			if d.GetBefore() == d.GetAfter() || d.GetPath() == "" {
				t.Fatalf("%v is no difference", d)
			}
		}
	})
}

// The file that has everything, as it is written.
func TestGolden(t *testing.T) {
	t.Parallel()
	file := filepath.Join("testdata", "everything.yaml")
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := format(t, parse(t, string(want)))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("written again it differs: %s", diff)
	}
	for group, keys := range mapfile.Keys() {
		for _, key := range keys {
			if !strings.Contains(got, key+":") && key != "on_null" && key != "on_empty" {
				t.Errorf("the file lacks the %s setting %s", group, key)
			}
		}
	}
}

// Everything may be said in more than one way; it is the same.
func TestSpellings(t *testing.T) {
	t.Parallel()
	head := "object: Contact\nfields: {Title: title}\n"
	tests := map[string][2]string{
		"defaults":          {"direction: write\nidentity: {adopt: true, several_matches: refuse, leavers: leave}\nguards: {}\nrules: []\noverrides: {}\n", ""},
		"one value":         {"rules: [{skip: a, when: {email: {in: x}}}]\n", "rules: [{skip: a, when: {email: {in: [x]}}}]\n"},
		"several fields":    {"rules: [{skip: a, when: {email: {in: x}, title: {in: y}}}]\n", "rules: [{skip: a, when: {all: [{email: {in: x}}, {title: {in: y}}]}}]\n"},
		"several operators": {"rules: [{skip: a, when: {email: {empty: false, in: x}}}]\n", "rules: [{skip: a, when: {all: [{not: {email: {empty: true}}}, {catalog.email: {in: x}}]}}]\n"},
		"a share":           {"guards: {creates: 30%, allocation_share: 0.25, least_people: none}\n", "guards: {creates: {share: 0.3}, allocation_share: 25 %, least_people: -1}\n"},
		"no limit":          {"guards: {updates: none}\n", "guards: {updates: {count: -1, share: none}}\n"},
		"an alias":          {"rules: [{skip: a, when: &x {email: {in: x}}}, {include: b, when: *x}]\n", "rules: [{skip: a, when: {email: {in: x}}}, {include: b, when: {email: {in: x}}}]\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(parse(t, head+tt[0]), parse(t, head+tt[1]), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
	a := parse(t, "object: Contact\nfields: {A: {from: x, on_blank: leave}, B: {from: x, lookup: Account.Name}}\n")
	b := parse(t, "object: Contact\nfields: {A: {from: x, on_null: leave, on_empty: leave, on_absent: leave, too_long: reject}, B: {from: x, lookup: {object: Account, field: Name, create_if_missing: no}}}\n")
	if diff := cmp.Diff(a, b, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	fields := "object: Contact\nfields: {Title: title}\n"
	tests := map[string]struct{ file, want string }{
		"nothing":            {"", "empty"},
		"a comment only":     {"# later\n", "empty"},
		"no YAML":            {"object: [", "line 1"},
		"a list":             {"- object: Contact\n", "line 1: the file must hold lines"},
		"two documents":      {fields + "---\n" + fields, "a second document"},
		"no object":          {"fields:\n  Email: email\n", "object is missing"},
		"no fields":          {"object: Contact\n", "fields is missing"},
		"empty fields":       {"object: Contact\nfields:\n", "line 2: fields must hold lines"},
		"unknown key":        {"object: Contact\nexternalid: X\nfields:\n  Email: email\n", `line 2: "externalid" is not known; did you mean external_id?`},
		"unknown pair key":   {"object: Contact\nfields:\n  Email:\n    form: email\n", `line 4: "form" is not known; did you mean from?`},
		"far-fetched key":    {"object: Contact\nfields:\n  Email:\n    source: email\n", `line 4: "source" is not known; a field has from, or, constant`},
		"no source":          {"object: Contact\nfields:\n  Email:\n    write: always\n", "line 3: Email has no `from`"},
		"null source":        {"object: Contact\nfields:\n  Email:\n", "line 3: Email is empty"},
		"a list of sources":  {"object: Contact\nfields:\n  Email: [email]\n", "line 3: a field must hold lines"},
		"twice":              {"object: Contact\nfields:\n  Email: email\n  Email: phone\n", "line 4: Email is there already, in line 3"},
		"object is a list":   {"object: [Contact]\nfields:\n  Email: email\n", "line 1: object must be a text"},
		"a word":             {"object: Contact\nfields: {A: {from: x, too_long: cutt}}\n", `line 2: too_long is "cutt"; did you mean cut?; give reject and cut`},
		"on_blank and more":  {"object: Contact\nfields: {A: {from: x, on_blank: leave, on_null: clear}}\n", "line 2: on_null is said by on_blank already"},
		"a lookup":           {"object: Contact\nfields: {A: {from: x, lookup: Account}}\n", "line 2: lookup is \"Account\"; give OBJECT.FIELD"},
		"a rule without":     {fields + "rules:\n  - when: {email: {in: x}}\n", "line 4: the rule has neither skip nor include"},
		"a rule for all":     {fields + "rules:\n  - skip: a\n", "line 4: the rule has no `when`"},
		"a rule with both":   {fields + "rules:\n  - skip: a\n    include: b\n", "line 5: the rule has both"},
		"rules as a mapping": {fields + "rules:\n  skip: a\n", "line 4: rules must be a list"},
		"an empty condition": {fields + "rules:\n  - skip: a\n    when: {}\n", "line 5: when is empty"},
		"an empty group":     {fields + "rules:\n  - skip: a\n    when: {any: []}\n", "line 5: any is empty"},
		"no operator":        {fields + "rules:\n  - skip: a\n    when: {email: test}\n", "line 5: email has no operator"},
		"empty operators":    {fields + "rules:\n  - skip: a\n    when: {email: {}}\n", "line 5: email has no operator"},
		"an operator":        {fields + "rules:\n  - skip: a\n    when: {email: {contain: test}}\n", "did you mean contains?"},
		"empty of what":      {fields + "rules:\n  - skip: a\n    when: {email: {empty: perhaps}}\n", "line 5: empty is \"perhaps\""},
		"no values":          {fields + "rules:\n  - skip: a\n    when: {email: {in: []}}\n", "line 5: in is an empty list"},
		"endless":            {fields + "rules:\n  - skip: a\n    when: &a {all: [*a, *a, *a]}\n", "nested more than 40 deep"},
		"a bomb":             {fields + "x1: &a [x,x,x,x,x,x,x,x,x]\nrules:\n  - skip: a\n    when: &c {any: [&b {any: [*b, *b]}]}\n", "is not known"},
		"a share":            {fields + "guards: {least_people: many}\n", `line 3: least_people is "many"; give a share such as 30% or 0.3`},
		"no number":          {fields + "guards: {least_people: NaN}\n", "line 3: least_people"},
		"a brake":            {fields + "guards: {creates: 0.5}\n", `line 3: creates is "0.5"; give a number such as 500`},
		"a bool":             {fields + "guards: {approve_every_run: maybe}\n", "line 3: approve_every_run is \"maybe\"; give true or false"},
		"hours":              {fields + "guards: {hold_hours: 99999999999}\n", "line 3: hold_hours"},
		"much":               {"object: " + strings.Repeat("x", 1<<20), "at most"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fm, err := mapfile.Parse([]byte(tt.file))
			if err == nil {
				t.Fatalf("it was read as %v", fm)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %q, want something with %q", err, tt.want)
			}
		})
	}
	// All that is wrong is told at once, in the order of the lines.
	_, err := mapfile.Parse([]byte("objekt: Contact\nfields:\n  A: {fro: x}\n  A: y\nguards: {creates: x}\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 4 || !strings.HasPrefix(err.Error(), "line 1: ") {
		t.Errorf("the error is %v", err)
	}
	_, err = mapfile.Parse([]byte("object: Contact\nfields:\n" + strings.Repeat("  A: x\n", 100)))
	if err == nil || !strings.Contains(err.Error(), "and 79 more") {
		t.Errorf("the error is %v", err)
	}
}

// What no file can hold is not written as if it were something else.
func TestFormatRefuses(t *testing.T) {
	t.Parallel()
	newer := proto.CloneOf(parse(t, example))
	newer.Pairs[0].ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1))
	for name, m := range map[string]*mapperv1.FieldMap{
		"unknown field": newer,
		"unknown word":  {Object: "Contact", Pairs: []*mapperv1.Pair{{Target: "A", Source: "x", WriteWhen: 99}}},
		"unknown rule":  {Object: "Contact", Rules: []*mapperv1.Rule{{Name: "a", Effect: 99}}},
		"condition":     {Object: "Contact", Rules: []*mapperv1.Rule{{Name: "a", Effect: 1, Condition: &mapperv1.Condition{}}}},
		"two pairs":     {Object: "Contact", Pairs: []*mapperv1.Pair{{Target: "A", Source: "x"}, {Target: "A", Source: "y"}}},
	} {
		if b, err := mapfile.Format(m); err == nil {
			t.Errorf("%s is written as %s", name, b)
		}
	}
	if mapfile.Equal(newer, parse(t, example)) {
		t.Error("an unknown setting counts for nothing")
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	before := parse(t, `object: Contact
fields:
  FirstName: first_name
  Title: title
  Phone: {from: phone, phone_region: DE, table: {a: b, c: d}}
  Gone__c: department
rules:
  - skip: no.tests
    when: {email: {contains: test}}
  - include: members
    when: {groups: {in: member}}
guards: {creates: 30%}
`)
	after := parse(t, `object: Contact
external_id: Id__c
fields:
  Title: {from: title, default: Member}
  FirstName: first_name
  Phone: {from: phone, table: {a: x, e: f}}
  New__c: {expression: upper(person.title)}
rules:
  - include: no.tests
    when: {email: {contains: [test, demo]}}
  - skip: inactive
    when: {active: {equals: "false"}}
overrides:
  North: {excluded: true}
identity: {several_matches: oldest}
guards: {creates: {count: 500, share: 30%}}
`)
	before.Pairs[1].Type, before.Pairs[1].Length, after.Pairs[0].Type, after.Pairs[0].Length = "string", 40, "string", 80
	var got strings.Builder
	for _, d := range mapfile.Diff(before, after) {
		got.WriteString(d.GetPath() + " | " + d.GetBefore() + " | " + d.GetAfter() + "\n")
	}
	want := `external_id |  | Id__c
fields.Title.default |  | Member
fields.Title.type | string(40) | string(80)
fields.Phone.table.a | b | x
fields.Phone.table.c | d | 
fields.Phone.table.e |  | f
fields.Phone.phone_region | DE | 
fields.Gone__c | department | 
fields.New__c |  | {expression: upper(person.title)}
fields | FirstName, Title, Phone | Title, FirstName, Phone
rules."no.tests" | skip | include
rules."no.tests".when | {email: {contains: test}} | {email: {contains: [test, demo]}}
rules.members | {include: members, when: {groups: {in: member}}} | 
rules.inactive |  | {skip: inactive, when: {active: {equals: "false"}}}
overrides.North |  | {excluded: true}
identity.several_matches |  | oldest
guards.creates | 30% | {count: 500, share: 30%}
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
	if found := mapfile.Diff(nil, after); len(found) == 0 || found[0].GetPath() != "object" {
		t.Errorf("from nothing: %v", found)
	}
	if found := mapfile.Diff(after, after); found != nil {
		t.Errorf("from itself: %v", found)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("a: &a [*a]\n"))
	if everything, err := os.ReadFile(filepath.Join("testdata", "everything.yaml")); err == nil {
		f.Add(everything)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fm, err := mapfile.Parse(b)
		if err != nil {
			return
		}
		file, err := mapfile.Format(fm)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		again, err := mapfile.Parse(file)
		if err != nil {
			t.Fatalf("%q: %v\n%s", b, err, file)
		}
		if diff := cmp.Diff(fm, again, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	})
}
