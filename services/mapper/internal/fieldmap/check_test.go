package fieldmap_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

func account() fieldmap.Object {
	return fieldmap.Object{Name: "Account", Fields: []fieldmap.Field{
		with(text("Name", 255), func(f *fieldmap.Field) { f.Nillable = false }), ofType("Website", "url"), text("Site", 80),
		with(text("Number__c", 40), func(f *fieldmap.Field) { f.ExternalID, f.Unique = true, true }),
	}}
}

// wants asserts that there is just one problem, of a code, that says something.
func wants(t *testing.T, got []values.Problem, code, says string) {
	t.Helper()
	if code == "" {
		if len(got) > 0 {
			t.Errorf("problems %+v, want none", got)
		}
		return
	}
	if len(got) != 1 || got[0].Code != code || !strings.Contains(got[0].Message, says) || got[0].Scope != values.ScopeMap {
		t.Errorf("problems %+v, want one of code %s that says %q", got, code, says)
	}
}

func TestCheckPairs(t *testing.T) {
	t.Parallel()
	lookup := func(object, field string, create bool) fieldmap.Pair {
		return fieldmap.Pair{Source: "organization", Target: "AccountId", Lookup: &fieldmap.Lookup{Object: object, Field: field, CreateIfMissing: create}}
	}
	many := map[string]string{}
	for i := range 1001 {
		many[fmt.Sprint("v", i)] = "x"
	}
	tests := map[string]struct {
		pair       fieldmap.Pair
		code, says string
	}{
		"source":                     {fieldmap.Pair{Source: "title", Target: "Title"}, "", ""},
		"attribute":                  {fieldmap.Pair{Source: "attributes.level", Target: "Title"}, "", ""},
		"nothing":                    {fieldmap.Pair{Target: "Title"}, fieldmap.CodeNoSource, "it names no Catalog field"},
		"source and constant":        {fieldmap.Pair{Source: "title", Constant: "x", Target: "Title"}, fieldmap.CodeSeveralSources, "keep one"},
		"constant and expression":    {fieldmap.Pair{Expression: `"x"`, Constant: "x", Target: "Title"}, fieldmap.CodeSeveralSources, "keep one"},
		"secondary and constant":     {fieldmap.Pair{Secondary: "title", Constant: "x", Target: "Title"}, fieldmap.CodeSeveralSources, "never blank"},
		"default and constant":       {fieldmap.Pair{Default: "y", Constant: "x", Target: "Title"}, fieldmap.CodeInvalidDefault, "never blank"},
		"unknown secondary":          {fieldmap.Pair{Source: "title", Secondary: "titel", Target: "Title"}, fieldmap.CodeUnknownSource, `no field "titel"`},
		"attribute without a name":   {fieldmap.Pair{Source: "attributes.", Target: "Title"}, fieldmap.CodeUnknownSource, "no person in the Catalog has the attribute"},
		"constant not listed":        {fieldmap.Pair{Constant: "Bronze", Target: "Level__c"}, fieldmap.CodeInvalidConstant, "restricted picklist"},
		"constant too long":          {fieldmap.Pair{Constant: "abcdef", Target: "Short__c"}, fieldmap.CodeInvalidConstant, "takes 5"},
		"expression":                 {fieldmap.Pair{Expression: "person.titel", Target: "Title"}, fieldmap.CodeInvalidExpression, "did you mean title?"},
		"expression's record":        {fieldmap.Pair{Expression: "record.MailingAddress", Target: "Title"}, fieldmap.CodeInvalidExpression, "Salesforce has no field MailingAddress"},
		"unknown setting":            {fieldmap.Pair{Source: "title", Target: "Title", When: 9}, fieldmap.CodeInvalidSetting, "write_when"},
		"negative setting":           {fieldmap.Pair{Source: "title", Target: "Title", Null: -1}, fieldmap.CodeInvalidSetting, "null"},
		"create only":                {fieldmap.Pair{Source: "title", Target: "Once__c"}, fieldmap.CodeNotWritable, "write the pair only when a record is created"},
		"create only, on create":     {fieldmap.Pair{Source: "title", Target: "Once__c", When: fieldmap.WhenCreated}, "", ""},
		"update only":                {fieldmap.Pair{Source: "title", Target: "Later__c"}, fieldmap.CodeNotWritable, "not set when a record is created"},
		"cut text":                   {fieldmap.Pair{Source: "title", Target: "Description", TooLong: fieldmap.CutLong}, "", ""},
		"cut e-mail":                 {fieldmap.Pair{Source: "title", Target: "Phone", TooLong: fieldmap.CutLong}, fieldmap.CodeInvalidSetting, "make no sense when they are cut"},
		"no such zone":               {fieldmap.Pair{Source: "title", Target: "Seen__c", TimeZone: "Europe/Atlantis"}, fieldmap.CodeInvalidSetting, `no time zone "Europe/Atlantis"`},
		"zone of a file":             {fieldmap.Pair{Source: "title", Target: "Seen__c", TimeZone: "../etc/passwd"}, fieldmap.CodeInvalidSetting, "no time zone"},
		"zone of this machine":       {fieldmap.Pair{Source: "title", Target: "Seen__c", TimeZone: "local"}, fieldmap.CodeInvalidSetting, "no time zone"},
		"zone of a text":             {fieldmap.Pair{Source: "title", Target: "Title", TimeZone: "Europe/Berlin"}, fieldmap.CodeInvalidSetting, "of type string: remove the time zone"},
		"phone format of a text":     {fieldmap.Pair{Source: "phone", Target: "Title", PhoneFormat: fieldmap.PhoneE164}, fieldmap.CodeInvalidSetting, "of type string: remove that"},
		"no such phone region":       {fieldmap.Pair{Source: "phone", Target: "Phone", PhoneRegion: "XX"}, fieldmap.CodeInvalidSetting, "no country \"XX\""},
		"phone region in lower case": {fieldmap.Pair{Source: "phone", Target: "Phone", PhoneRegion: "de"}, "", ""},
		"default phone":              {fieldmap.Pair{Source: "phone", Target: "Phone", PhoneRegion: "DE", PhoneFormat: fieldmap.PhoneE164, Default: "x"}, fieldmap.CodeInvalidDefault, "no phone number"},
		"default of no region":       {fieldmap.Pair{Source: "phone", Target: "Phone", PhoneFormat: fieldmap.PhoneE164, Default: "030 123456"}, fieldmap.CodeInvalidDefault, "name the country"},
		"table":                      {fieldmap.Pair{Source: "title", Target: "Level__c", Table: map[string]string{"a": "gold", "b": ""}}, "", ""},
		"table with wrong values":    {fieldmap.Pair{Source: "title", Target: "Level__c", Table: map[string]string{"a": "Bronze"}}, fieldmap.CodeInvalidTable, `what its table has for "a" cannot be written`},
		"table without case":         {fieldmap.Pair{Source: "title", Target: "Title", Table: map[string]string{"a": "x", "A ": "y"}}, fieldmap.CodeInvalidTable, "keep one"},
		"table with a blank":         {fieldmap.Pair{Source: "title", Target: "Title", Table: map[string]string{" ": "x"}}, fieldmap.CodeInvalidTable, "a blank value"},
		"table too great":            {fieldmap.Pair{Source: "title", Target: "Title", Table: many}, fieldmap.CodeInvalidTable, "1001 values and may have 1000"},
		"default that is missing":    {fieldmap.Pair{Source: "title", Target: "Title", Unlisted: fieldmap.DefaultUnlisted}, fieldmap.CodeInvalidTable, "has no default value"},
		"country not listed":         {fieldmap.Pair{Source: "country", Target: "MailingCountryCode", Default: "FR"}, fieldmap.CodeInvalidDefault, "no country of the org's list"},

		"lookup":                         {lookup("account", "name", true), "", ""},
		"lookup by website":              {lookup("Account", "Website", false), "", ""},
		"lookup by external id":          {lookup("Account", "Number__c", false), "", ""},
		"lookup of the unseen":           {fieldmap.Pair{Source: "title", Target: "OwnerId", Lookup: &fieldmap.Lookup{Object: "User", Field: "Username"}}, "", ""},
		"lookup without a field":         {lookup("Account", " ", false), fieldmap.CodeInvalidLookup, "name both"},
		"lookup of another object":       {lookup("Contact", "Name", false), fieldmap.CodeInvalidLookup, "refers to Account and not to Contact"},
		"lookup by an unknown field":     {lookup("Account", "Nmae", false), fieldmap.CodeInvalidLookup, "no field Nmae"},
		"lookup by any field":            {lookup("Account", "Site", false), fieldmap.CodeInvalidLookup, "does not tell records apart"},
		"lookup that creates by website": {lookup("Account", "Website", true), "", ""},
		"lookup that creates by id":      {lookup("Account", "Number__c", true), fieldmap.CodeInvalidLookup, "needs Name too"},
		"lookup of a text":               {fieldmap.Pair{Source: "title", Target: "Title", Lookup: &fieldmap.Lookup{Object: "Account", Field: "Name"}}, fieldmap.CodeInvalidLookup, "no reference but of type string"},

		"match with a constant":     {fieldmap.Pair{Constant: "a@example.com", Target: "Email"}, fieldmap.CodeInvalidConstant, "the same person"},
		"match with an expression":  {fieldmap.Pair{Expression: "lower(person.email)", Target: "Email"}, "", ""},
		"match by e-mail on create": {fieldmap.Pair{Source: "email", Target: "Email", When: fieldmap.WhenCreated}, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", Pairs: []fieldmap.Pair{tt.pair}}, wide())
			o := org(wide(), "attributes.level")
			o.Related = []fieldmap.Object{account()}
			wants(t, fieldmap.Check(m, o), tt.code, tt.says)
		})
	}
}

func TestCheckMatchByExternalID(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]fieldmap.Pair{
		"cut":       {Source: "id", Target: "Catalog_Id__c", TooLong: fieldmap.CutLong},
		"on create": {Source: "id", Target: "Catalog_Id__c", When: fieldmap.WhenCreated},
	} {
		m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", ExternalIDField: "Catalog_Id__c", Pairs: []fieldmap.Pair{p}}, wide())
		got := fieldmap.Check(m, org(wide()))
		t.Run(name, func(t *testing.T) { wants(t, got, fieldmap.CodeInvalidSetting, "people are matched by Catalog_Id__c") })
	}
}

func TestAnyObjectMayBeWritten(t *testing.T) {
	t.Parallel()
	o := fieldmap.Object{Name: "Member__c", Fields: []fieldmap.Field{
		with(text("Name", 80), func(f *fieldmap.Field) { f.Nillable = false }),
		with(text("Key__c", 80), func(f *fieldmap.Field) { f.ExternalID, f.Unique = true, true }),
	}}
	check := func(m fieldmap.Map) []values.Problem {
		m, _ = fieldmap.Complete(m, o)
		return fieldmap.Check(m, org(o))
	}
	name := []fieldmap.Pair{{Source: "last_name", Target: "Name"}}
	wants(t, check(fieldmap.Map{Object: "member__C", ExternalIDField: "key__c", Pairs: name}), "", "")
	wants(t, check(fieldmap.Map{Object: "Member__c", ExternalIDField: "Key__c"}), fieldmap.CodeRequiredField, "requires Name")
	wants(t, check(fieldmap.Map{Object: "Member__c", Pairs: name}), fieldmap.CodeNoMatchField, "name an external id field")
	o.Fields = append(o.Fields, ofType("Email", "email"))
	wants(t, check(fieldmap.Map{Object: "Member__c", Pairs: name}), fieldmap.CodeMissingMatchKey, "add a pair for it")
	wants(t, check(fieldmap.Map{Object: "Member__c", Pairs: append(name, fieldmap.Pair{Source: "email", Target: "Email"})}), "", "")
}

func TestCheckOverrides(t *testing.T) {
	t.Parallel()
	filter := test(fieldmap.Catalog, "title", fieldmap.Equals, "x")
	wrong := test(fieldmap.Catalog, "title", fieldmap.Equals)
	pair := []fieldmap.Pair{{Constant: "x", Target: "Title"}}
	tests := map[string]struct {
		overrides  []fieldmap.Override
		code, says string
	}{
		"right":             {[]fieldmap.Override{{Subaccount: "a", Pairs: pair, Filter: &filter}, {Subaccount: "b", Excluded: true}}, "", ""},
		"no subaccount":     {[]fieldmap.Override{{Subaccount: " ", Excluded: true}}, fieldmap.CodeInvalidOverride, "names no subaccount"},
		"twice":             {[]fieldmap.Override{{Subaccount: "a", Excluded: true}, {Subaccount: "A ", Excluded: true}}, fieldmap.CodeInvalidOverride, "join them"},
		"excluded and pair": {[]fieldmap.Override{{Subaccount: "a", Pairs: pair, Excluded: true}}, fieldmap.CodeInvalidOverride, "nothing to do"},
		"nothing":           {[]fieldmap.Override{{Subaccount: "a"}}, fieldmap.CodeInvalidOverride, "it says nothing"},
		"wrong filter":      {[]fieldmap.Override{{Subaccount: "a", Filter: &wrong}}, fieldmap.CodeInvalidOverride, "override 1 (\"a\"), filter: the test of \"title\""},
		"wrong pair":        {[]fieldmap.Override{{Subaccount: "a", Pairs: []fieldmap.Pair{{Constant: "x", Target: "Titel"}}}}, fieldmap.CodeNoSuchField, "override 1 (\"a\"), pair 1 (constant -> Titel)"},
		"default key":       {[]fieldmap.Override{{Subaccount: "a", Pairs: []fieldmap.Pair{{Constant: "x@example.com", Target: "Email"}}}}, fieldmap.CodeInvalidConstant, "the same person"},
		"target twice":      {[]fieldmap.Override{{Subaccount: "a", Pairs: slices.Repeat(pair, 2)}}, fieldmap.CodeDuplicateTarget, "pair 1 writes Title already"},
		"too many pairs":    {[]fieldmap.Override{{Subaccount: "a", Pairs: slices.Repeat(pair, 98)}}, fieldmap.CodeTooManyPairs, "101 pairs and may have 100"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", Overrides: tt.overrides}, wide())
			wants(t, fieldmap.Check(m, org(wide())), tt.code, tt.says)
		})
	}
}

func TestCheckPolicies(t *testing.T) {
	t.Parallel()
	flag := func(field, value string) fieldmap.Identity {
		return fieldmap.Identity{Leavers: fieldmap.LeaversFlag, LeaversField: field, LeaversValue: value}
	}
	tests := map[string]struct {
		identity   fieldmap.Identity
		code, says string
	}{
		"none":                   {fieldmap.Identity{}, "", ""},
		"owner":                  {fieldmap.Identity{SeveralMatches: fieldmap.SeveralOwner, SeveralMatchesOwner: "ada@example.com"}, "", ""},
		"owner for nothing":      {fieldmap.Identity{SeveralMatchesOwner: "ada@example.com"}, fieldmap.CodeInvalidPolicy, "does not choose by owner"},
		"unknown":                {fieldmap.Identity{Deleted: 9}, fieldmap.CodeInvalidPolicy, "policy deleted"},
		"converted Contact":      {fieldmap.Identity{Converted: 2}, fieldmap.CodeInvalidPolicy, "only Leads are converted"},
		"Contact and Lead":       {fieldmap.Identity{ContactAndLead: 2}, fieldmap.CodeInvalidPolicy, "for field maps of Leads"},
		"no adoption by e-mail":  {fieldmap.Identity{NoAdoption: true}, fieldmap.CodeInvalidPolicy, "name an external id field"},
		"flagged":                {flag("active__C", "false"), "", ""},
		"flag without a value":   {flag("Active__c", ""), fieldmap.CodeInvalidPolicy, "name both"},
		"flag without a field":   {flag("", "false"), fieldmap.CodeInvalidPolicy, "name both"},
		"flag that is not there": {flag("Aktive__c", "false"), fieldmap.CodeInvalidPolicy, "Contact has no such field"},
		"flag that is read-only": {flag("Name", "x"), fieldmap.CodeInvalidPolicy, "cannot change"},
		"flag that is no value":  {flag("Active__c", "gone"), fieldmap.CodeInvalidPolicy, "neither true nor false"},
		"flag that matches":      {flag("Email", "x@example.com"), fieldmap.CodeInvalidPolicy, "by which people are matched"},
		"flag for nothing":       {fieldmap.Identity{LeaversField: "Active__c"}, fieldmap.CodeInvalidPolicy, "does not flag them"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", Identity: tt.identity}, wide())
			wants(t, fieldmap.Check(m, org(wide())), tt.code, tt.says)
		})
	}
	m, _ := fieldmap.Complete(fieldmap.Map{Object: "Lead", Identity: fieldmap.Identity{Converted: 2, ContactAndLead: 2}}, lead())
	wants(t, fieldmap.Check(m, org(lead())), "", "")
	m, _ = fieldmap.Complete(fieldmap.Map{Object: "Lead", Identity: fieldmap.Identity{SeveralMatches: fieldmap.SeveralOwner}}, lead())
	wants(t, fieldmap.Check(m, org(lead())), fieldmap.CodeInvalidPolicy, "no owner")
}

func TestCheckGuards(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		guards fieldmap.Guards
		says   string
	}{
		"none":             {fieldmap.Guards{}, ""},
		"right":            {fieldmap.Guards{Creates: &fieldmap.Brake{Count: -1, Share: -1}, Clears: &fieldmap.Brake{Share: 1}, HoldHours: 720, LeastPeople: 1, AllocationShare: 0.5, AllocationStop: 1}, ""},
		"share of a brake": {fieldmap.Guards{Deactivations: &fieldmap.Brake{Share: 1.5}}, "guard deactivations is 1.5"},
		"no number":        {fieldmap.Guards{Updates: &fieldmap.Brake{Share: math.NaN()}}, "guard updates is NaN"},
		"least people":     {fieldmap.Guards{LeastPeople: -0.1}, "guard least_people is -0.1"},
		"allocation":       {fieldmap.Guards{AllocationStop: math.Inf(1)}, "guard allocation_stop is +Inf"},
		"hours":            {fieldmap.Guards{HoldHours: 721}, "guard hold_hours is 721"},
	}
	for name, tt := range tests {
		m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", Guards: tt.guards}, wide())
		code := fieldmap.CodeInvalidGuard
		if tt.says == "" {
			code = ""
		}
		got := fieldmap.Check(m, org(wide()))
		t.Run(name, func(t *testing.T) { wants(t, got, code, tt.says) })
	}
}

func TestCheckImports(t *testing.T) {
	t.Parallel()
	email := fieldmap.Pair{Source: "Email", Target: "email"}
	pairs := func(p ...fieldmap.Pair) fieldmap.Map {
		return fieldmap.Map{Pairs: append([]fieldmap.Pair{email}, p...)}
	}
	tests := map[string]struct {
		m          fieldmap.Map
		code, says string
	}{
		"right":              {pairs(fieldmap.Pair{Source: "FirstName", Secondary: "LastName", Target: "first_name"}), "", ""},
		"relation":           {pairs(fieldmap.Pair{Source: "Account.Name", Target: "organization"}), "", ""},
		"nobody":             {fieldmap.Map{Pairs: []fieldmap.Pair{{Source: "LastName", Target: "last_name"}}}, fieldmap.CodeNoMatchField, "id or email"},
		"no source":          {pairs(fieldmap.Pair{Target: "title"}), fieldmap.CodeNoSource, "it names no Salesforce field"},
		"unknown source":     {pairs(fieldmap.Pair{Source: "Titel", Target: "title"}), fieldmap.CodeNoSuchField, "Contact has no field Titel"},
		"compound":           {pairs(fieldmap.Pair{Source: "MailingAddress", Target: "street"}), fieldmap.CodeUnknownSource, "read its parts"},
		"unknown relation":   {pairs(fieldmap.Pair{Source: "Acount.Name", Target: "organization"}), fieldmap.CodeNoSuchField, "no relation Acount"},
		"several objects":    {pairs(fieldmap.Pair{Source: "Owner.Name", Target: "title"}), fieldmap.CodeNoSuchField, "several objects (Group, User)"},
		"unknown there":      {pairs(fieldmap.Pair{Source: "Account.Nmae", Target: "organization"}), fieldmap.CodeNoSuchField, "Account has no field Nmae"},
		"unknown target":     {pairs(fieldmap.Pair{Source: "Title", Target: "titel"}), fieldmap.CodeNoSuchField, `the Catalog has no field "titel"`},
		"no target":          {pairs(fieldmap.Pair{Source: "Title"}), fieldmap.CodeNoSuchField, "no Catalog field to write to"},
		"the Catalog's own":  {pairs(fieldmap.Pair{Source: "Title", Target: "updated_at"}), fieldmap.CodeNotWritable, "the Catalog keeps updated_at itself"},
		"attribute":          {pairs(fieldmap.Pair{Source: "Title", Target: "attributes.New one"}), "", ""},
		"nameless attribute": {pairs(fieldmap.Pair{Source: "Title", Target: "attributes."}), fieldmap.CodeNoSuchField, "an attribute needs a name"},
		"when":               {pairs(fieldmap.Pair{Source: "Title", Target: "title", When: fieldmap.WhenBlank}), fieldmap.CodeInvalidSetting, "leave write_when out"},
		"lookup":             {pairs(fieldmap.Pair{Source: "Title", Target: "title", Lookup: &fieldmap.Lookup{Object: "Account", Field: "Name"}}), fieldmap.CodeInvalidLookup, "looks nothing up"},
		"person":             {pairs(fieldmap.Pair{Expression: "person.title", Target: "title"}), fieldmap.CodeInvalidExpression, "an import has no person yet"},
		"default":            {pairs(fieldmap.Pair{Source: "Active__c", Target: "active", Default: "maybe"}), fieldmap.CodeInvalidDefault, "neither true nor false"},
		"external id":        {fieldmap.Map{ExternalIDField: "Catalog_Id__c", Pairs: []fieldmap.Pair{email}}, fieldmap.CodeInvalidSetting, "writes nothing to Salesforce"},
		"identity":           {fieldmap.Map{Identity: fieldmap.Identity{Deleted: 2}, Pairs: []fieldmap.Pair{email}}, fieldmap.CodeInvalidPolicy, "an import finds nobody"},
		"override":           {fieldmap.Map{Overrides: []fieldmap.Override{{Subaccount: "a", Excluded: true}}, Pairs: []fieldmap.Pair{email}}, fieldmap.CodeInvalidOverride, "an import has no subaccounts"},
		"rule of a person":   {fieldmap.Map{Rules: []fieldmap.Rule{{Name: "r", Effect: fieldmap.Skip, Condition: test(fieldmap.Catalog, "title", fieldmap.IsEmpty)}}, Pairs: []fieldmap.Pair{email}}, fieldmap.CodeInvalidRule, "no person yet"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.m.Object, tt.m.Direction = "Contact", fieldmap.Import
			m, _ := fieldmap.Complete(tt.m, wide())
			o := org(wide())
			o.Related = []fieldmap.Object{account()}
			wants(t, fieldmap.Check(m, o), tt.code, tt.says)
		})
	}
	m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", Direction: 3}, wide())
	wants(t, fieldmap.Check(m, org(wide())), fieldmap.CodeInvalidSetting, "unknown direction")
}

// What is checked when it is saved is checked again when it is used, with the scope that it then has.
func TestDriftOfWhatIsNoPair(t *testing.T) {
	t.Parallel()
	m, _ := fieldmap.Complete(fieldmap.Map{
		Object: "Contact",
		Pairs: []fieldmap.Pair{
			{Expression: "record.Score__c", Target: "Title"},
			{Source: "title", Target: "Level__c", Table: map[string]string{"a": "Gold", "b": "Silver"}},
		},
		Rules:     []fieldmap.Rule{{Name: "r", Effect: fieldmap.Skip, Condition: test(fieldmap.Salesforce, "Birthdate", fieldmap.IsEmpty)}},
		Identity:  fieldmap.Identity{Leavers: fieldmap.LeaversFlag, LeaversField: "Active__c", LeaversValue: "false"},
		Overrides: []fieldmap.Override{{Subaccount: "a", Pairs: []fieldmap.Pair{{Constant: "x", Target: "Short__c"}}}},
	}, wide())
	tests := map[string]struct {
		o     fieldmap.Object
		scope values.Scope
		code  string
		says  string
	}{
		"an expression's field":  {drop(wide(), "Score__c"), values.ScopePair, fieldmap.CodeInvalidExpression, ""},
		"a rule's field":         {drop(wide(), "Birthdate"), values.ScopeMap, fieldmap.CodeInvalidRule, "remove the test, or give the connected user access to the field"},
		"the leavers' field":     {change(wide(), "Active__c", func(f *fieldmap.Field) { f.Name = "Is_Active__c" }), values.ScopeMap, fieldmap.CodeInvalidPolicy, "if it was renamed, flag leavers in Is_Active__c; else name another field for leavers, or leave them as they are"},
		"a value of a table":     {change(wide(), "Level__c", func(f *fieldmap.Field) { f.Picklist = []string{"Gold"} }), values.ScopePerson, fieldmap.CodeInvalidTable, "add the value to the list of Level__c in Salesforce"},
		"a field of an override": {drop(wide(), "Short__c"), values.ScopePair, fieldmap.CodeNoSuchField, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := fieldmap.Drift(m, fieldmap.Org{Object: tt.o})
			if len(got) != 1 || got[0].Code != tt.code || got[0].Scope != tt.scope || !strings.Contains(got[0].Repair, tt.says) {
				t.Errorf("problems %+v, want one of code %s, scope %v, repair %q", got, tt.code, tt.scope, tt.says)
			}
			if _, problems := fieldmap.Compile(m, fieldmap.Header{Object: tt.o}); (tt.scope == values.ScopeMap) != (len(problems) > 0) {
				t.Errorf("compiling gives %+v", problems)
			}
		})
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	filter := test(fieldmap.Salesforce, "Birthdate", fieldmap.IsEmpty)
	m, _ := fieldmap.Complete(fieldmap.Map{
		Object: "Contact",
		Pairs: []fieldmap.Pair{
			{Source: "title", Secondary: "attributes.role", Target: "Title"},
			{Expression: `record.Title == "" ? record.Full__c : person.city`, Target: "Short__c"},
			{Source: "phone", Target: "Phone"},
		},
		Rules: []fieldmap.Rule{{Name: "r", Effect: fieldmap.Skip, Condition: not(fieldmap.Condition{Any: []fieldmap.Condition{
			test(fieldmap.Salesforce, "Active__c", fieldmap.Equals, "false"), test(fieldmap.Catalog, "groups", fieldmap.In, "x"),
		}})}},
		Identity:  fieldmap.Identity{SeveralMatches: fieldmap.SeveralOwner, Leavers: fieldmap.LeaversFlag, LeaversField: "Seen__c", LeaversValue: "2026-01-01"},
		Overrides: []fieldmap.Override{{Subaccount: "a", Filter: &filter, Pairs: []fieldmap.Pair{{Source: "state", Target: "Description"}}}},
	}, wide())
	record, person := fieldmap.Reads(m, org(wide()))
	if diff := cmp.Diff([]string{"Active__c", "Birthdate", "Full__c", "OwnerId", "Seen__c"}, record); diff != "" {
		t.Errorf("record fields (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"attributes.role", "city", "country", "email", "first_name", "groups", "last_name", "phone", "state", "subaccount", "title"}, person); diff != "" {
		t.Errorf("person fields (-want +got):\n%s", diff)
	}
	o := lead()
	o.Fields = append(o.Fields, ofType("CreatedDate", "datetime"), ofType("IsConverted", "boolean"), ofType("ConvertedContactId", "reference"))
	m, _ = fieldmap.Complete(fieldmap.Map{Object: "Lead", Identity: fieldmap.Identity{SeveralMatches: fieldmap.SeveralOldest}}, o)
	if record, _ = fieldmap.Reads(m, org(o)); !slices.Equal(record, []string{"ConvertedContactId", "CreatedDate", "IsConverted"}) {
		t.Errorf("record fields of a Lead map: %v", record)
	}
}

func TestEqualMapsMeanTheSame(t *testing.T) {
	t.Parallel()
	implied := fieldmap.Map{Object: "Contact", Pairs: []fieldmap.Pair{{Source: "title", Target: "Title"}}, Rules: []fieldmap.Rule{{Name: "r", Effect: fieldmap.Skip, Condition: test(0, "title", fieldmap.IsEmpty)}}}
	said := fieldmap.Map{
		Object: "Contact", Direction: fieldmap.Write,
		Pairs: []fieldmap.Pair{{
			Source: "title", Target: "Title", When: fieldmap.Always, Absent: fieldmap.Leave, Null: fieldmap.Clear, Empty: fieldmap.Clear,
			TooLong: fieldmap.RejectLong, Unlisted: fieldmap.RejectUnlisted, PhoneFormat: fieldmap.PhoneKeep, Table: map[string]string{},
		}},
		Identity: fieldmap.Identity{SeveralMatches: fieldmap.SeveralRefuse, Converted: 1, Deleted: 1, ContactAndLead: 1, Leavers: fieldmap.LeaversLeave},
		Rules:    []fieldmap.Rule{{Name: "r", Effect: fieldmap.Skip, Condition: test(fieldmap.Catalog, "title", fieldmap.IsEmpty), Subaccounts: []string{}}},
		Guards:   fieldmap.Guards{Creates: &fieldmap.Brake{}},
	}
	if !implied.Equal(said) || !said.Equal(implied) {
		t.Error("a map that says its defaults is another map")
	}
	other := said
	other.Rules = []fieldmap.Rule{{Name: "r", Effect: fieldmap.Include, Condition: said.Rules[0].Condition}}
	if said.Equal(other) {
		t.Error("include is skip")
	}
}
