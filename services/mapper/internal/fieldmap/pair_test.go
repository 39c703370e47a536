package fieldmap_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// pairColumns are the columns of people in the tests of single pairs.
var pairColumns = []string{"email", "last_name", "title", "organization", "country", "phone", "subaccount"}

// wide is a Contact with all kinds of fields.
func wide() fieldmap.Object {
	o := contact()
	o.Fields = append(o.Fields,
		with(ofType("AccountId", "reference"), func(f *fieldmap.Field) { f.Length, f.ReferenceTo, f.Relationship = 18, []string{"Account"}, "Account" }),
		with(ofType("OwnerId", "reference"), func(f *fieldmap.Field) {
			f.Length, f.ReferenceTo, f.Relationship, f.Nillable, f.DefaultedOnCreate = 18, []string{"Group", "User"}, "Owner", false, true
		}),
		with(ofType("Description", "textarea"), func(f *fieldmap.Field) { f.Length = 32000 }),
		with(ofType("Skills__c", "multipicklist"), func(f *fieldmap.Field) { f.Length, f.Picklist = 4099, []string{"Go", "SQL"} }),
		ofType("Seen__c", "datetime"),
		text("MailingCountry", 80), text("MailingState", 80),
		with(ofType("MailingCountryCode", "picklist"), func(f *fieldmap.Field) {
			f.Length, f.Restricted, f.Picklist, f.Labels = 10, true, []string{"AT", "DE", "GB", "US"}, []string{"Austria", "Germany", "United Kingdom", "United States"}
		}),
		with(ofType("MailingStateCode", "picklist"), func(f *fieldmap.Field) {
			f.Length, f.Restricted, f.Picklist, f.Labels = 10, true, []string{"CA", "NY"}, []string{"California", "New York"}
		}),
		text("Short__c", 5),
	)
	return o
}

// one maps a person by a pair, and returns what becomes of its target: the value, "null" or "absent", and the codes of
// problems and notes.
func one(t *testing.T, p fieldmap.Pair, person map[string]string, record *fieldmap.Row, h fieldmap.Header) (fieldmap.Mapped, string) {
	t.Helper()
	m := fieldmap.Map{Object: "Contact", Pairs: []fieldmap.Pair{p}}
	m, _ = fieldmap.Complete(m, wide())
	if problems := fieldmap.Check(m, org(wide())); len(problems) > 0 {
		t.Fatalf("check: %+v", problems)
	}
	h.Object, h.PersonColumns, h.RecordColumns, h.Now = wide(), pairColumns, append(slices.Clone(recordColumns), "Seen__c", "Active__c"), now
	c, problems := fieldmap.Compile(m, h)
	if len(problems) > 0 {
		t.Fatalf("compile: %+v", problems)
	}
	row := fieldmap.Row{}
	for i, name := range pairColumns {
		v, ok := person[name]
		switch {
		case name == "email" && !ok:
			v = "ada@example.com"
		case name == "last_name" && !ok:
			v = "Lovelace"
		case !ok:
			row.Absent = append(row.Absent, uint32(i))
		case v == "null":
			v, row.Null = "", append(row.Null, uint32(i))
		}
		row.Values = append(row.Values, v)
	}
	var out fieldmap.Mapped
	c.Map(row, record, &out)
	return out, shown(out, slices.Index(c.Targets(), m.Pairs[0].Target))
}

func shown(out fieldmap.Mapped, i int) string {
	var text string
	switch {
	case slices.Contains(out.Absent, uint32(i)):
		text = "absent"
	case slices.Contains(out.Null, uint32(i)):
		text = "null"
	default:
		text = out.Values[i]
	}
	for _, p := range slices.Concat(out.Problems, out.Notes) {
		text += " !" + p.Code
	}
	return text
}

func holding(title, phone, account string) *fieldmap.Row {
	return &fieldmap.Row{Values: []string{title, phone, account, "", "false"}}
}

func TestPairs(t *testing.T) {
	t.Parallel()
	type person = map[string]string
	title := func(change func(*fieldmap.Pair)) fieldmap.Pair {
		p := fieldmap.Pair{Source: "title", Target: "Title"}
		change(&p)
		return p
	}
	plain := title(func(*fieldmap.Pair) {})
	second := title(func(p *fieldmap.Pair) { p.Secondary = "organization" })
	leaves := title(func(p *fieldmap.Pair) { p.Null, p.Empty = fieldmap.Leave, fieldmap.Leave })
	clears := title(func(p *fieldmap.Pair) { p.Absent = fieldmap.Clear })
	whenBlank := title(func(p *fieldmap.Pair) { p.When = fieldmap.WhenBlank })
	created := title(func(p *fieldmap.Pair) { p.When = fieldmap.WhenCreated })
	table := title(func(p *fieldmap.Pair) { p.Table = map[string]string{" Boss ": "Manager", "none": "", "É": "Accent"} })
	kept := title(func(p *fieldmap.Pair) {
		p.Table, p.Unlisted = map[string]string{"Boss": "Manager"}, fieldmap.KeepUnlisted
	})
	defaulted := title(func(p *fieldmap.Pair) {
		p.Table, p.Unlisted, p.Default = map[string]string{"Boss": "Manager"}, fieldmap.DefaultUnlisted, "Other"
	})
	expression := func(source string) fieldmap.Pair { return fieldmap.Pair{Target: "Title", Expression: source} }
	cut := fieldmap.Pair{Source: "title", Target: "Short__c", TooLong: fieldmap.CutLong}
	phone := func(change func(*fieldmap.Pair)) fieldmap.Pair {
		p := fieldmap.Pair{Source: "phone", Target: "Phone"}
		change(&p)
		return p
	}
	e164 := phone(func(p *fieldmap.Pair) { p.PhoneFormat = fieldmap.PhoneE164 })
	inGermany := phone(func(p *fieldmap.Pair) { p.PhoneFormat, p.PhoneRegion = fieldmap.PhoneE164, "de" })
	national := phone(func(p *fieldmap.Pair) { p.PhoneFormat = fieldmap.PhoneNational })
	international := phone(func(p *fieldmap.Pair) { p.PhoneFormat = fieldmap.PhoneInternational })
	keep := phone(func(*fieldmap.Pair) {})
	date := fieldmap.Pair{Source: "title", Target: "Birthdate", TimeZone: "Europe/Berlin"}
	moment := fieldmap.Pair{Source: "title", Target: "Seen__c", TimeZone: "Europe/Berlin"}
	country := fieldmap.Pair{Source: "country", Target: "MailingCountryCode"}
	countryName := fieldmap.Pair{Source: "country", Target: "MailingCountry"}
	state := fieldmap.Pair{Source: "title", Target: "MailingStateCode"}
	stateName := fieldmap.Pair{Source: "title", Target: "MailingState"}
	active := fieldmap.Pair{Source: "title", Target: "Active__c", When: fieldmap.WhenBlank}

	tests := map[string]struct {
		pair   fieldmap.Pair
		person person
		record *fieldmap.Row
		want   string
	}{
		"absent leaves":                   {plain, person{}, nil, "absent"},
		"null clears":                     {plain, person{"title": "null"}, nil, "null"},
		"empty clears":                    {plain, person{"title": ""}, nil, "null"},
		"blank clears":                    {plain, person{"title": " \u00a0"}, nil, "null"},
		"null leaves by policy":           {leaves, person{"title": "null"}, nil, "absent"},
		"empty leaves by policy":          {leaves, person{"title": " "}, nil, "absent"},
		"absent clears by policy":         {clears, person{}, nil, "null"},
		"secondary is not needed":         {second, person{"title": "a", "organization": "b"}, nil, "a"},
		"secondary":                       {second, person{"title": " ", "organization": "b"}, nil, "b"},
		"secondary for absent":            {second, person{"organization": "b"}, nil, "b"},
		"both blank, the first says how":  {second, person{"title": "null"}, nil, "null"},
		"both blank, one is known":        {second, person{"organization": "null"}, nil, "null"},
		"both absent":                     {second, person{}, nil, "absent"},
		"default":                         {title(func(p *fieldmap.Pair) { p.Default = "d" }), person{"title": ""}, nil, "d"},
		"default after the secondary":     {title(func(p *fieldmap.Pair) { p.Default, p.Secondary = "d", "organization" }), person{"organization": "o"}, nil, "o"},
		"constant":                        {fieldmap.Pair{Target: "Title", Constant: " x "}, person{}, nil, "x"},
		"constant by type":                {fieldmap.Pair{Target: "Level__c", Constant: "GOLD"}, person{}, nil, "Gold"},
		"expression":                      {expression(`upper(person.title)`), person{"title": "a"}, nil, "A"},
		"expression of nil clears":        {expression(`nil`), person{}, nil, "null"},
		"expression of nil by policy":     {fieldmap.Pair{Target: "Title", Expression: `nil`, Null: fieldmap.Leave}, person{}, nil, "absent"},
		"expression of nothing clears":    {expression(`""`), person{}, nil, "null"},
		"expression of nothing by policy": {fieldmap.Pair{Target: "Title", Expression: `" "`, Empty: fieldmap.Leave}, person{}, nil, "absent"},
		"expression and secondary":        {fieldmap.Pair{Target: "Title", Expression: `nil`, Secondary: "organization"}, person{"organization": "o"}, nil, "o"},
		"expression and default":          {fieldmap.Pair{Target: "Title", Expression: `nil`, Default: "d"}, person{}, nil, "d"},
		"expression with the record":      {expression(`record.Title + "!"`), person{}, holding("Dr", "", ""), "Dr!"},
		"expression without a record":     {expression(`record.Title + "!"`), person{}, nil, "!"},
		"expression that fails":           {expression(`int(person.title)`), person{"title": "a"}, nil, "absent !expression_failed"},
		"expression by type":              {fieldmap.Pair{Target: "Active__c", Expression: `person.title == "a"`}, person{"title": "a"}, nil, "true"},
		"expression of a number":          {fieldmap.Pair{Target: "Score__c", Expression: `len(person.title) / 3`}, person{"title": "a"}, nil, "0.3"},
		"expression and table":            {fieldmap.Pair{Target: "Title", Expression: `"boss"`, Table: map[string]string{"Boss": "Manager"}}, person{}, nil, "Manager"},

		"always":                         {plain, person{"title": "a"}, holding("b", "", ""), "a"},
		"when blank, new":                {whenBlank, person{"title": "a"}, nil, "a"},
		"when blank, blank":              {whenBlank, person{"title": "a"}, holding("", "", ""), "a"},
		"when blank, not blank":          {whenBlank, person{"title": "a"}, holding("b", "", ""), "absent"},
		"when blank, nothing to clear":   {whenBlank, person{"title": ""}, holding("b", "", ""), "absent"},
		"when blank, wrong and unneeded": {whenBlank, person{"title": strings.Repeat("x", 200)}, holding("b", "", ""), "absent"},
		"a checkbox is never blank":      {active, person{"title": "true"}, holding("", "", ""), "absent"},
		"created":                        {created, person{"title": "a"}, nil, "a"},
		"created already":                {created, person{"title": "a"}, holding("", "", ""), "absent"},

		"table":                        {table, person{"title": "BOSS"}, nil, "Manager"},
		"table, composed":              {table, person{"title": "e\u0301"}, nil, "Accent"},
		"table to nothing":             {table, person{"title": "None"}, nil, "null"},
		"table without it":             {table, person{"title": "Clerk"}, nil, "absent !unlisted_value"},
		"table and blank":              {table, person{"title": ""}, nil, "null"},
		"table that keeps":             {kept, person{"title": "Clerk"}, nil, "Clerk"},
		"table with a default":         {defaulted, person{"title": "Clerk"}, nil, "Other"},
		"table with a default, listed": {defaulted, person{"title": "boss"}, nil, "Manager"},

		"too long":               {fieldmap.Pair{Source: "title", Target: "Short__c"}, person{"title": "abcdef"}, nil, "absent !too_long"},
		"cut":                    {cut, person{"title": "abcdef"}, nil, "abcde !cut"},
		"cut at a blank":         {cut, person{"title": "abcd ef"}, nil, "abcd !cut"},
		"cut before a pair":      {cut, person{"title": "abcd😀"}, nil, "abcd !cut"},
		"cut before an accent":   {cut, person{"title": "abcdx\u0323\u0302f"}, nil, "abcd !cut"},
		"cut before a family":    {cut, person{"title": "a👨‍👩‍👧‍👦"}, nil, "a !cut"},
		"cut leaves nothing":     {cut, person{"title": "👨‍👩‍👧‍👦"}, nil, "absent !too_long"},
		"fits and is not cut":    {cut, person{"title": " abcde "}, nil, "abcde"},
		"cut default":            {fieldmap.Pair{Source: "title", Target: "Short__c", TooLong: fieldmap.CutLong, Default: "abcdefg"}, person{}, nil, "abcde !cut"},
		"cut of what cannot go":  {cut, person{"title": "a\x00bcdefgh"}, nil, "absent !unsendable_value"},
		"cut composes first":     {cut, person{"title": strings.Repeat("e\u0301", 5)}, nil, "ééééé"},
		"cut of flattened lines": {cut, person{"title": "ab\r\ncd\r\nef"}, nil, "ab cd !cut"},

		"phone kept":                  {keep, person{"phone": " (030) 123456 "}, nil, "(030) 123456"},
		"phone of the pair's country": {inGermany, person{"phone": "030 123456", "country": "France"}, nil, "+4930123456"},
		"phone of the person's":       {e164, person{"phone": "030 123456", "country": "Deutschland"}, nil, "+4930123456"},
		"phone of another country":    {e164, person{"phone": "+1 (415) 555-2671", "country": "DE"}, nil, "+14155552671"},
		"phone of nowhere":            {e164, person{"phone": "030 123456"}, nil, "absent !invalid_phone"},
		"phone of Nowhere":            {e164, person{"phone": "030 123456", "country": "Nowhere"}, nil, "absent !invalid_phone"},
		"no phone":                    {inGermany, person{"phone": "ask Bob"}, nil, "absent !invalid_phone"},
		"phone too long":              {inGermany, person{"phone": strings.Repeat("1", 61)}, nil, "absent !invalid_phone"},
		"phone, international":        {international, person{"phone": "030123456", "country": "DE"}, nil, "+49 30 123456"},
		"phone, national":             {national, person{"phone": "+4930123456", "country": "DE"}, nil, "030 123456"},
		"phone, national, abroad":     {national, person{"phone": "+14155552671", "country": "DE"}, nil, "+1 415-555-2671"},
		"phone with an extension":     {inGermany, person{"phone": "030 123456 ext. 12"}, nil, "+4930123456 ext. 12"},
		"same phone, other format":    {e164, person{"phone": "030 123456", "country": "DE"}, holding("", "+49 (30) 123-456", ""), "+49 (30) 123-456"},
		"same phone, kept":            {keep, person{"phone": "+49 30 123456"}, holding("", "030 123456", ""), "030 123456"},
		"another phone":               {keep, person{"phone": "+49 30 123457"}, holding("", "030 123456", ""), "+49 30 123457"},
		"another extension":           {keep, person{"phone": "+49 30 123456 ext. 1"}, holding("", "+49 30 123456 ext. 2", ""), "+49 30 123456 ext. 1"},
		"phones that are none":        {keep, person{"phone": "x"}, holding("", "y", ""), "x"},

		"date in the zone":          {date, person{"title": "2026-01-31T23:30:00Z"}, nil, "2026-02-01"},
		"date of a named zone":      {date, person{"title": "2026-02-01T00:30:00+09:00"}, nil, "2026-01-31"},
		"date of a wall clock":      {date, person{"title": "2026-01-31T23:30:00"}, nil, "2026-01-31"},
		"date is a date":            {date, person{"title": "2026-01-31"}, nil, "2026-01-31"},
		"date as written":           {fieldmap.Pair{Source: "title", Target: "Birthdate"}, person{"title": "2026-01-31T23:30:00-08:00"}, nil, "2026-01-31"},
		"time in the zone":          {moment, person{"title": "2026-01-31 08:30"}, nil, "2026-01-31T07:30:00.000Z"},
		"midnight in the zone":      {moment, person{"title": "2026-07-01"}, nil, "2026-06-30T22:00:00.000Z"},
		"time that was skipped":     {moment, person{"title": "2026-03-29T02:30:00"}, nil, "2026-03-29T01:30:00.000Z"},
		"time that was there twice": {moment, person{"title": "2026-10-25T02:30:00"}, nil, "2026-10-25T00:30:00.000Z"},

		"country by name":          {country, person{"country": "germany"}, nil, "DE"},
		"country by code":          {country, person{"country": "de"}, nil, "DE"},
		"country by three letters": {country, person{"country": "DEU"}, nil, "DE"},
		"country in its language":  {country, person{"country": "Österreich"}, nil, "AT"},
		"country by nickname":      {country, person{"country": "UK"}, nil, "GB"},
		"country not listed":       {country, person{"country": "France"}, nil, "absent !invalid_place"},
		"no country":               {country, person{"country": "Atlantis"}, nil, "absent !invalid_place"},
		"name of a country":        {countryName, person{"country": "DE"}, nil, "Germany"},
		"name of a country, other": {countryName, person{"country": "Vereinigte Staaten"}, nil, "United States"},
		"state by name":            {state, person{"title": "california"}, nil, "CA"},
		"state by ISO":             {state, person{"title": "US-NY"}, nil, "NY"},
		"state not listed":         {state, person{"title": "Bavaria"}, nil, "absent !invalid_place"},
		"name of a state":          {stateName, person{"title": "ny"}, nil, "New York"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, got := one(t, tt.pair, tt.person, tt.record, fieldmap.Header{})
			if got != tt.want {
				t.Errorf("%q, want %q (%+v)", got, tt.want, out)
			}
			for _, p := range slices.Concat(out.Problems, out.Notes) {
				want := values.ScopePerson
				if p.Code == values.CodeCut {
					want = values.ScopeNote
				}
				if p.Scope != want || !strings.Contains(p.Message, ": ") {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}

func TestLookups(t *testing.T) {
	t.Parallel()
	by := func(field string) fieldmap.Pair {
		return fieldmap.Pair{Source: "organization", Target: "AccountId", Lookup: &fieldmap.Lookup{Object: "Account", Field: field}}
	}
	tests := map[string]struct {
		pair        fieldmap.Pair
		in          string
		value, key  string
		code, shown string
	}{
		"name":                  {by("Name"), "  Acme   GmbH ", "Acme   GmbH", "acme gmbh", "", ""},
		"name, composed":        {by("Name"), "CAFE\u0301", "CAFÉ", "café", "", ""},
		"website":               {by("Website"), "https://WWW.Example.com/about", "https://WWW.Example.com/about", "example.com", "", ""},
		"website by e-mail":     {by("Website"), "info@example.com", "info@example.com", "example.com", "", ""},
		"no website":            {by("Website"), "Example", "", "", fieldmap.CodeInvalidLookup, ""},
		"external id":           {by("Number__c"), "A-0815", "A-0815", "a-0815", "", ""},
		"too long":              {by("Name"), strings.Repeat("x", 256), "", "", values.CodeTooLong, ""},
		"unsendable":            {by("Name"), "#N/A", "", "", values.CodeUnsendable, ""},
		"blank":                 {by("Name"), " ", "", "", "", "null"},
		"default":               {fieldmap.Pair{Source: "organization", Target: "AccountId", Default: "Self-employed", Lookup: &fieldmap.Lookup{Object: "account", Field: "name"}}, "", "Self-employed", "self-employed", "", ""},
		"default, not provided": {fieldmap.Pair{Source: "organization", Target: "AccountId", Constant: "Acme", Lookup: &fieldmap.Lookup{Object: "Account", Field: "Name"}}, "x", "Acme", "acme", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.pair.Constant != "" {
				tt.pair.Source = ""
			}
			out, got := one(t, tt.pair, map[string]string{"organization": tt.in}, nil, fieldmap.Header{})
			switch {
			case tt.code != "":
				if len(out.Problems) != 1 || out.Problems[0].Code != tt.code || len(out.Lookups) > 0 {
					t.Errorf("%+v", out)
				}
			case tt.shown != "":
				if got != tt.shown || len(out.Lookups) > 0 {
					t.Errorf("%s %+v", got, out)
				}
			default:
				if diff := cmp.Diff([]fieldmap.LookupKey{{Column: 0, Key: tt.key}}, out.Lookups); diff != "" || got != tt.value {
					t.Errorf("%q, want %q; lookups (-want +got):\n%s", got, tt.value, diff)
				}
			}
		})
	}
}

func TestStoppedTargetsAreAbsent(t *testing.T) {
	t.Parallel()
	if _, got := one(t, fieldmap.Pair{Source: "title", Target: "Title", Default: "d"}, map[string]string{"title": "a"}, nil, fieldmap.Header{Stopped: []string{"title"}}); got != "absent" {
		t.Errorf("stopped target is %q", got)
	}
}

func TestMatchFieldThatIsWrittenWhereBlank(t *testing.T) {
	t.Parallel()
	p := fieldmap.Pair{Source: "email", Target: "Email", When: fieldmap.WhenBlank}
	if _, got := one(t, p, map[string]string{"email": ""}, holding("", "", ""), fieldmap.Header{}); got != "absent !missing_match_key" {
		t.Errorf("%q", got)
	}
	if _, got := one(t, p, map[string]string{}, nil, fieldmap.Header{}); got != "ada@example.com" {
		t.Errorf("of a new record: %q", got)
	}
	// The records of these tests do not tell their e-mail, so it may be there.
	if _, got := one(t, p, map[string]string{}, holding("", "", ""), fieldmap.Header{}); got != "absent" {
		t.Errorf("of a record: %q", got)
	}
}

func TestWhatARecordDoesNotTellIsNotTakenForBlank(t *testing.T) {
	t.Parallel()
	p := fieldmap.Pair{Source: "title", Target: "Description", When: fieldmap.WhenBlank}
	if _, got := one(t, p, map[string]string{"title": "x"}, holding("", "", ""), fieldmap.Header{}); got != "absent" {
		t.Errorf("%q", got)
	}
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	m := fieldmap.Map{Object: "Contact", Pairs: []fieldmap.Pair{{Source: "title", Target: "Title"}}, Overrides: []fieldmap.Override{
		{Subaccount: "East", Pairs: []fieldmap.Pair{{Constant: "Eastern", Target: "title"}, {Source: "organization", Target: "Short__c"}}},
		{Subaccount: "West", Pairs: []fieldmap.Pair{{Source: "country", Target: "Description"}, {Constant: "w", Target: "Short__c"}, {Source: "organization", Target: "Email", Secondary: "email"}}},
	}}
	m, _ = fieldmap.Complete(m, wide())
	if problems := fieldmap.Check(m, org(wide())); len(problems) > 0 {
		t.Fatalf("check: %+v", problems)
	}
	c, problems := fieldmap.Compile(m, fieldmap.Header{Object: wide(), PersonColumns: pairColumns, RecordColumns: recordColumns})
	if len(problems) > 0 {
		t.Fatalf("compile: %+v", problems)
	}
	// Base pairs in their order, then the targets that only overrides have, each once.
	if diff := cmp.Diff([]string{"Title", "FirstName", "LastName", "Email", "Short__c", "Description"}, c.Targets()); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	for subaccount, want := range map[string]fieldmap.Mapped{
		"":       {Values: []string{"T", "", "L", "ada@example.com", "", ""}, Absent: []uint32{1, 4, 5}},
		"North":  {Values: []string{"T", "", "L", "ada@example.com", "", ""}, Absent: []uint32{1, 4, 5}},
		" EAST ": {Values: []string{"Eastern", "", "L", "ada@example.com", "o@b.c", ""}, Absent: []uint32{1, 5}},
		"West":   {Values: []string{"T", "", "L", "o@b.c", "w", "DE"}, Absent: []uint32{1}},
	} {
		person := fieldmap.Row{Values: []string{"ada@example.com", "L", "T", "o@b.c", "DE", "", subaccount}}
		var got fieldmap.Mapped
		c.Map(person, nil, &got)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", subaccount, diff)
		}
		if _, email := c.Keys(person); subaccount == "West" && email != "o@b.c" || subaccount != "West" && email != "ada@example.com" {
			t.Errorf("%s: matched by %s", subaccount, email)
		}
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	o := wide()
	m := fieldmap.Map{Object: "Contact", Direction: fieldmap.Import, Pairs: []fieldmap.Pair{
		{Source: "email", Target: "email"},
		{Source: "Catalog_Id__c", Secondary: "id", Target: "id"},
		{Source: "LastName", Target: "last_name", Default: "Unknown"},
		{Source: "Account.Name", Target: "organization"},
		{Source: "Active__c", Target: "active"},
		{Source: "Level__c", Target: "attributes.level", Table: map[string]string{"Gold": "1", "Silver": "2"}},
		{Source: "Skills__c", Target: "groups"},
		{Expression: `record.FirstName + " " + record.LastName`, Target: "attributes.greeting"},
		{Constant: "salesforce", Target: "attributes.source"},
	}, Rules: []fieldmap.Rule{{Name: "no X", Effect: fieldmap.Skip, Condition: test(fieldmap.Salesforce, "Title", fieldmap.Contains, "X")}}}
	m, added := fieldmap.Complete(m, o)
	account := fieldmap.Object{Name: "Account", Fields: []fieldmap.Field{text("Name", 255)}}
	if problems := fieldmap.Check(m, fieldmap.Org{Object: o, Related: []fieldmap.Object{account}}); len(problems) > 0 || len(added) > 0 {
		t.Fatalf("check: %+v, added %v", problems, added)
	}
	columns := []string{"Id", "Email", "Catalog_Id__c", "LastName", "FirstName", "Account.Name", "Active__c", "Level__c", "Skills__c", "Title"}
	c, problems := fieldmap.Compile(m, fieldmap.Header{Object: o, RecordColumns: columns})
	if len(problems) > 0 {
		t.Fatalf("compile: %+v", problems)
	}
	record, person := fieldmap.Reads(m, fieldmap.Org{Object: o})
	if diff := cmp.Diff([]string{"Account.Name", "Active__c", "Catalog_Id__c", "Email", "FirstName", "Id", "LastName", "Level__c", "Skills__c", "Title"}, record); diff != "" || len(person) > 0 {
		t.Errorf("reads %v and (-want +got):\n%s", person, diff)
	}
	tests := map[string]struct {
		record fieldmap.Row
		want   fieldmap.Mapped
		codes  []string
	}{
		"all there": {
			fieldmap.Row{Values: []string{"003000000000001AAA", "Ada@example.com", "P-1", "Lovelace", "Ada", "Acme", "true", "Gold", "Go;SQL", "Dr"}},
			fieldmap.Mapped{Values: []string{"Ada@example.com", "P-1", "Lovelace", "Acme", "true", "1", "Go;SQL", "Ada Lovelace", "salesforce"}},
			nil,
		},
		"nothing there": {
			fieldmap.Row{Values: []string{"003000000000001AAA", "", "", "", "", "", "false", "", "", ""}, Null: []uint32{1, 2, 3, 4, 5, 7, 8, 9}},
			fieldmap.Mapped{Values: []string{"", "003000000000001AAA", "Unknown", "", "false", "", "", "", "salesforce"}, Null: []uint32{0, 3, 5, 6, 7}},
			nil,
		},
		"skipped": {
			fieldmap.Row{Values: []string{"003000000000001AAA", "a@b.co", "", "", "", "", "", "", "", "ex-x"}},
			fieldmap.Mapped{Values: make([]string, 9), Absent: []uint32{0, 1, 2, 3, 4, 5, 6, 7, 8}, SkippedBy: "no X"},
			nil,
		},
		"wrong": {
			fieldmap.Row{Values: []string{"003000000000001AAA", "a@b", "", "L", "", "", "true", "Bronze", "", ""}},
			fieldmap.Mapped{Values: []string{"", "003000000000001AAA", "L", "", "true", "", "", "L", "salesforce"}, Null: []uint32{3, 6}, Absent: []uint32{0, 5}},
			[]string{"invalid_email email", "unlisted_value attributes.level"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got fieldmap.Mapped
			c.Import(tt.record, &got)
			var codes []string
			for _, p := range got.Problems {
				codes = append(codes, p.Code+" "+p.Field)
			}
			got.Problems = nil
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("mapped (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.codes, codes); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
