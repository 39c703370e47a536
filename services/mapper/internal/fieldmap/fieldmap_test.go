package fieldmap_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// text is a writable text field that may be empty.
func text(name string, length int) fieldmap.Field {
	return fieldmap.Field{Spec: values.Spec{Name: name, Type: "string", Length: length}, Createable: true, Updateable: true, Nillable: true}
}

// with changes a field.
func with(f fieldmap.Field, change func(*fieldmap.Field)) fieldmap.Field {
	change(&f)
	return f
}

func ofType(name, fieldType string) fieldmap.Field {
	return with(text(name, 0), func(f *fieldmap.Field) { f.Type = fieldType })
}

// contact is a Contact with a few custom fields.
func contact() fieldmap.Object {
	return fieldmap.Object{Name: "Contact", Fields: []fieldmap.Field{
		with(ofType("Id", "id"), func(f *fieldmap.Field) {
			f.Createable, f.Updateable, f.Nillable, f.DefaultedOnCreate = false, false, false, true
		}),
		with(text("LastName", 80), func(f *fieldmap.Field) { f.Nillable = false }),
		text("FirstName", 40),
		with(ofType("Email", "email"), func(f *fieldmap.Field) { f.Length = 80 }),
		with(ofType("Phone", "phone"), func(f *fieldmap.Field) { f.Length = 40 }),
		text("Title", 128),
		with(ofType("Name", "string"), func(f *fieldmap.Field) { f.Createable, f.Updateable = false, false }),
		with(ofType("MailingAddress", "address"), func(f *fieldmap.Field) { f.Createable, f.Updateable = false, false }),
		with(ofType("Shape__c", "location"), func(*fieldmap.Field) {}),
		with(text("Full__c", 200), func(f *fieldmap.Field) { f.Calculated, f.Createable, f.Updateable = true, false, false }),
		with(text("Once__c", 20), func(f *fieldmap.Field) { f.Updateable = false }),
		with(text("Later__c", 20), func(f *fieldmap.Field) { f.Createable = false }),
		with(ofType("Level__c", "picklist"), func(f *fieldmap.Field) { f.Length, f.Restricted, f.Picklist = 255, true, []string{"Gold", "Silver"} }),
		with(ofType("Active__c", "boolean"), func(f *fieldmap.Field) { f.Nillable, f.DefaultedOnCreate = false, true }),
		ofType("Birthdate", "date"),
		with(ofType("Score__c", "double"), func(f *fieldmap.Field) { f.Precision, f.Scale = 5, 1 }),
		with(text("Catalog_Id__c", 64), func(f *fieldmap.Field) { f.ExternalID, f.Unique = true, true }),
		with(text("Exact_Id__c", 64), func(f *fieldmap.Field) { f.ExternalID, f.Unique, f.CaseSensitive = true, true, true }),
		with(text("Loose_Id__c", 64), func(f *fieldmap.Field) { f.ExternalID = true }),
		with(ofType("Number_Id__c", "double"), func(f *fieldmap.Field) { f.ExternalID, f.Unique = true, true }),
	}}
}

func lead() fieldmap.Object {
	o := contact()
	o.Name = "Lead"
	o.Fields = append(o.Fields, with(text("Company", 255), func(f *fieldmap.Field) { f.Nillable = false }))
	return o
}

func org(o fieldmap.Object, attributes ...string) fieldmap.Org {
	return fieldmap.Org{Object: o, Attributes: attributes, MaxPairs: 100}
}

// drop removes a field, as field-level security does.
func drop(o fieldmap.Object, name string) fieldmap.Object {
	o.Fields = slices.DeleteFunc(slices.Clone(o.Fields), func(f fieldmap.Field) bool { return f.Name == name })
	return o
}

// change replaces a field.
func change(o fieldmap.Object, name string, f func(*fieldmap.Field)) fieldmap.Object {
	o.Fields = slices.Clone(o.Fields)
	for i := range o.Fields {
		if o.Fields[i].Name == name {
			f(&o.Fields[i])
		}
	}
	return o
}

func TestCompleteAddsWhatIsMandatory(t *testing.T) {
	t.Parallel()
	names := []fieldmap.Pair{
		{Source: "first_name", Target: "FirstName", Type: "string", Length: 40},
		{Source: "last_name", Target: "LastName", Type: "string", Length: 80},
		{Source: "email", Target: "Email", Type: "email", Length: 80},
	}
	tests := map[string]struct {
		in     fieldmap.Map
		object fieldmap.Object
		want   fieldmap.Map
		added  []string
	}{
		"nothing given": {
			fieldmap.Map{Object: "Contact"},
			contact(),
			fieldmap.Map{Object: "Contact", Pairs: names},
			[]string{"FirstName", "LastName", "Email"},
		},
		"spelling, blanks and order are kept apart from what they mean": {
			fieldmap.Map{Object: " contact ", Pairs: []fieldmap.Pair{
				{Source: " title", Target: "TITLE ", Default: " none "}, {Source: "attributes.mail", Target: "email", Type: "bogus", Length: 3},
			}},
			contact(),
			fieldmap.Map{Object: "Contact", Pairs: []fieldmap.Pair{
				{Source: "title", Target: "Title", Default: "none", Type: "string", Length: 128},
				{Source: "attributes.mail", Target: "Email", Type: "email", Length: 80},
				names[0], names[1],
			}},
			[]string{"FirstName", "LastName"},
		},
		"external id": {
			fieldmap.Map{Object: "Contact", ExternalIDField: "catalog_id__C"},
			contact(),
			fieldmap.Map{Object: "Contact", ExternalIDField: "Catalog_Id__c", Pairs: append(slices.Clone(names),
				fieldmap.Pair{Source: "id", Target: "Catalog_Id__c", Type: "string", Length: 64})},
			[]string{"FirstName", "LastName", "Email", "Catalog_Id__c"},
		},
		"external id with a pair of its own": {
			fieldmap.Map{Object: "Contact", ExternalIDField: "Catalog_Id__c", Pairs: []fieldmap.Pair{{Source: "attributes.number", Target: "Catalog_Id__c"}}},
			contact(),
			fieldmap.Map{Object: "Contact", ExternalIDField: "Catalog_Id__c", Pairs: append([]fieldmap.Pair{
				{Source: "attributes.number", Target: "Catalog_Id__c", Type: "string", Length: 64},
			}, names...)},
			[]string{"FirstName", "LastName", "Email"},
		},
		"lead": {
			fieldmap.Map{Object: "Lead"},
			lead(),
			fieldmap.Map{Object: "Lead", Pairs: append(slices.Clone(names),
				fieldmap.Pair{Source: "organization", Target: "Company", Default: "[not provided]", Type: "string", Length: 255})},
			[]string{"FirstName", "LastName", "Email", "Company"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, added := fieldmap.Complete(tt.in, tt.object)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("map (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.added, added); diff != "" {
				t.Errorf("added (-want +got):\n%s", diff)
			}
			again, added := fieldmap.Complete(got, tt.object)
			if !again.Equal(got) || len(added) > 0 {
				t.Errorf("completing a complete map changed it: added %v", added)
			}
			if problems := fieldmap.Check(got, org(tt.object, "attributes.mail", "attributes.number")); len(problems) > 0 {
				t.Errorf("problems: %+v", problems)
			}
		})
	}
}

func TestCheckFindsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	m := fieldmap.Map{Object: "Contact", ExternalIDField: "Loose_Id__c", Pairs: []fieldmap.Pair{
		{Source: "title", Target: "Titel"},
		{Source: "", Target: "Title"},
		{Source: "tile", Target: "Phone"},
		{Source: "attributes.shoe_size", Target: "Score__c", Default: "many"},
		{Source: "title", Target: "Name"},
		{Source: "title", Target: "Shape__c"},
		{Source: "title", Target: "Full__c"},
		{Source: "title", Target: "Once__c"},
		{Source: "title", Target: "Later__c"},
		{Source: "title", Target: "phone"},
		{Source: "title", Target: ""},
		{Source: "title", Target: "Level__c", Default: "Bronze"},
		{Source: "title", Target: "FirstName", Default: strings.Repeat("x", 41)},
		{Source: "id", Target: "Loose_Id__c", Default: "1"},
		{Source: "attributes.known", Target: "Birthdate", Default: "2000-01-01"},
	}}
	m, _ = fieldmap.Complete(m, contact())
	got := fieldmap.Check(m, org(contact(), "attributes.known"))
	var codes []string
	for _, p := range got {
		codes = append(codes, p.Code+" "+p.Field)
		if !strings.Contains(p.Message, ": ") || p.Scope != values.ScopeMap {
			t.Errorf("problem %+v does not say what to do", p)
		}
	}
	want := []string{
		"no_such_field Titel", "no_source Title", "unknown_source Phone", "unknown_source Score__c", "invalid_default Score__c",
		"not_writable Name", "not_writable Shape__c", "not_writable Full__c", "not_writable Once__c", "not_writable Later__c",
		"duplicate_target Phone", "no_such_field ", "invalid_default Level__c", "invalid_default FirstName",
		"invalid_default Loose_Id__c", "not_external_id Loose_Id__c",
	}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if want := `pair 1 (title -> Titel): Contact has no field Titel that the connected user may see: correct the API name, or give the user access to the field`; got[0].Message != want {
		t.Errorf("message %q, want %q", got[0].Message, want)
	}
}

func TestCheckRefusesTheWholeMap(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		m      fieldmap.Map
		object fieldmap.Object
		code   string
	}{
		"other object":             {fieldmap.Map{Object: "Opportunity"}, contact(), fieldmap.CodeWrongDescribe},
		"no such object":           {fieldmap.Map{Object: "Person__c"}, fieldmap.Object{}, fieldmap.CodeObject},
		"no object":                {fieldmap.Map{}, contact(), fieldmap.CodeObject},
		"describe of another":      {fieldmap.Map{Object: "Lead"}, contact(), fieldmap.CodeWrongDescribe},
		"too many pairs":           {fieldmap.Map{Object: "Contact", Pairs: make([]fieldmap.Pair, 101)}, contact(), fieldmap.CodeTooManyPairs},
		"default on the e-mail":    {fieldmap.Map{Object: "Contact", Pairs: []fieldmap.Pair{{Source: "email", Target: "Email", Default: "a@b.co"}}}, contact(), fieldmap.CodeInvalidDefault},
		"external id is a number":  {fieldmap.Map{Object: "Contact", ExternalIDField: "Number_Id__c"}, contact(), fieldmap.CodeNotExternalID},
		"external id is a name":    {fieldmap.Map{Object: "Contact", ExternalIDField: "Title"}, contact(), fieldmap.CodeNotExternalID},
		"external id is missing":   {fieldmap.Map{Object: "Contact", ExternalIDField: "Nope__c"}, contact(), fieldmap.CodeNoSuchField},
		"external id is read-only": {fieldmap.Map{Object: "Contact", ExternalIDField: "Id"}, contact(), fieldmap.CodeNotWritable},
		"e-mail hidden":            {fieldmap.Map{Object: "Contact"}, drop(contact(), "Email"), fieldmap.CodeNoSuchField},
		"another field required":   {fieldmap.Map{Object: "Contact"}, change(contact(), "Level__c", func(f *fieldmap.Field) { f.Nillable = false }), fieldmap.CodeRequiredField},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _ := fieldmap.Complete(tt.m, tt.object)
			got := fieldmap.Check(m, org(tt.object))
			if len(got) != 1 || got[0].Code != tt.code {
				t.Errorf("problems %+v, want one of code %s", got, tt.code)
			}
		})
	}
	m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", Pairs: []fieldmap.Pair{{Source: "email", Target: "Email", Default: "a@b.co"}}, ExternalIDField: "Catalog_Id__c"}, contact())
	if got := fieldmap.Check(m, org(contact())); len(got) > 0 {
		t.Errorf("a default e-mail beside an external id was refused: %+v", got)
	}
}

func TestDrift(t *testing.T) {
	t.Parallel()
	saved, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", ExternalIDField: "Catalog_Id__c", Pairs: []fieldmap.Pair{
		{Source: "title", Target: "Title"}, {Source: "attributes.level", Target: "Level__c", Default: "Gold"}, {Source: "attributes.score", Target: "Score__c"},
	}}, contact())
	const m, pair, person = values.ScopeMap, values.ScopePair, values.ScopePerson
	tests := map[string]struct {
		object fieldmap.Object
		want   string
		scope  values.Scope
		repair string
	}{
		"nothing":                {contact(), "", 0, ""},
		"longer":                 {change(contact(), "Title", func(f *fieldmap.Field) { f.Length = 255 }), "", 0, ""},
		"gone":                   {drop(contact(), "Title"), fieldmap.CodeNoSuchField, pair, "remove the pair, or give the connected user access to the field"},
		"renamed":                {change(contact(), "Title", func(f *fieldmap.Field) { f.Name = "Job_Title__c" }), fieldmap.CodeNoSuchField, pair, "if it was renamed, change the pair's target to Job_Title__c; else remove the pair, or give the connected user access to the field"},
		"relabelled":             {change(contact(), "Title", func(f *fieldmap.Field) { f.Name, f.Label = "Position__c", "Titel" }), fieldmap.CodeNoSuchField, pair, "if it was renamed, change the pair's target to Position__c (Titel); else remove the pair, or give the connected user access to the field"},
		"read-only":              {change(contact(), "Title", func(f *fieldmap.Field) { f.Createable, f.Updateable = false, false }), fieldmap.CodeNotWritable, pair, "give the connected user edit access to Contact.Title, or remove the pair"},
		"formula":                {change(contact(), "Title", func(f *fieldmap.Field) { f.Calculated = true }), fieldmap.CodeNotWritable, pair, "remove the pair"},
		"other type":             {change(contact(), "Title", func(f *fieldmap.Field) { f.Type = "date" }), fieldmap.CodeTypeChanged, pair, "give the pair a source, a table or an expression that makes values of type date, and save; or change Title back to string in Salesforce"},
		"type like it":           {change(contact(), "Title", func(f *fieldmap.Field) { f.Type = "textarea" }), "", 0, ""},
		"number like it":         {change(contact(), "Score__c", func(f *fieldmap.Field) { f.Type = "percent" }), "", 0, ""},
		"type without values":    {change(contact(), "Title", func(f *fieldmap.Field) { f.Type = "location" }), fieldmap.CodeNotWritable, pair, "map the parts of Title, or remove the pair"},
		"shorter":                {change(contact(), "Title", func(f *fieldmap.Field) { f.Length = 40 }), fieldmap.CodeFieldShorter, person, "lengthen Title to 128 characters in Salesforce, or let the pair cut long texts"},
		"default not listed":     {change(contact(), "Level__c", func(f *fieldmap.Field) { f.Picklist = []string{"Silver"} }), fieldmap.CodeInvalidDefault, pair, "change its default value, or add the value to the list of Level__c in Salesforce"},
		"id not unique":          {change(contact(), "Catalog_Id__c", func(f *fieldmap.Field) { f.Unique = false }), fieldmap.CodeNotExternalID, m, "in Salesforce, mark Contact.Catalog_Id__c as External ID and Unique"},
		"id gone":                {drop(contact(), "Catalog_Id__c"), fieldmap.CodeNoSuchField, m, "remove the pair, or give the connected user access to the field"},
		"mandatory one gone":     {drop(contact(), "FirstName"), fieldmap.CodeNoSuchField, m, "remove the pair, or give the connected user access to the field"},
		"newly required":         {change(contact(), "Birthdate", func(f *fieldmap.Field) { f.Nillable = false }), fieldmap.CodeRequiredField, m, "add a pair for Birthdate, or make the field optional in Salesforce"},
		"required one read-only": {change(contact(), "LastName", func(f *fieldmap.Field) { f.Updateable = false }), fieldmap.CodeNotWritable, m, "write the pair only when a record is created"},
		"other object":           {lead(), fieldmap.CodeWrongDescribe, m, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := fieldmap.Drift(saved, fieldmap.Org{Object: tt.object})
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("problems %+v, want none", got)
			case tt.want != "" && (len(got) != 1 || got[0].Code != tt.want || got[0].Scope != tt.scope || got[0].Repair != tt.repair):
				t.Errorf("problems %+v, want one of code %s, scope %v, repair %q", got, tt.want, tt.scope, tt.repair)
			}
			c, problems := fieldmap.Compile(saved, fieldmap.Header{Object: tt.object, PersonColumns: []string{"id", "email", "first_name", "last_name", "title", "attributes.level"}})
			if usable := tt.scope != m; usable != (len(problems) == 0) {
				t.Errorf("compiling gives %+v", problems)
			}
			if tt.scope != pair || c == nil {
				return
			}
			var out fieldmap.Mapped
			c.Map(fieldmap.Row{Values: []string{"1", "ada@example.com", "Ada", "Lovelace", "Countess", "silver"}}, nil, &out)
			for i, target := range c.Targets() {
				if stopped := strings.EqualFold(target, got[0].Field); stopped != slices.Contains(out.Absent, uint32(i)) && target != "Score__c" {
					t.Errorf("%s: stopped %v, mapped %+v", target, stopped, out)
				}
			}
		})
	}
}
