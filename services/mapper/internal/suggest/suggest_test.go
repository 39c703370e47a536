package suggest_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	"github.com/catalogsync/catalogsync/services/mapper/internal/suggest"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

func field(name, label, kind string, change ...func(*salesforcev1.FieldDescribe)) *salesforcev1.FieldDescribe {
	f := &salesforcev1.FieldDescribe{Name: name, Label: label, Type: kind, Createable: true, Updateable: true, Nillable: true}
	for _, c := range change {
		c(f)
	}
	return f
}

func custom(f *salesforcev1.FieldDescribe) { f.Custom = true }

func picklist(values ...string) func(*salesforcev1.FieldDescribe) {
	return func(f *salesforcev1.FieldDescribe) {
		f.PicklistValues, f.RestrictedPicklist, f.Custom = values, true, true
	}
}

// people has one row per value of the columns.
func people(columns []string, rows ...[]string) *rowv1.Batch {
	b := &rowv1.Batch{Columns: columns}
	for i, values := range rows {
		b.Rows = append(b.Rows, &rowv1.Row{Id: fmt.Sprint(i), Values: values})
	}
	return b
}

func pairs(object string, fields []*salesforcev1.FieldDescribe, p *rowv1.Batch) (out []string) {
	for _, s := range suggest.Pairs(&salesforcev1.ObjectDescribe{Name: object, Fields: fields}, p, nil, values.Supported) {
		text := fmt.Sprintf("%s -> %s", s.GetPair().GetSource(), s.GetPair().GetTarget())
		if l := s.GetPair().GetLookup(); l != nil {
			text += " by " + l.GetObject() + "." + l.GetField()
		}
		out = append(out, text)
	}
	return out
}

// What a field is called elsewhere is known, in names and in labels.
func TestNames(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		object, name, label, kind string
		source                    string
		want                      bool
	}{
		"the same":              {"Contact", "Title", "Title", "string", "title", true},
		"a synonym":             {"Contact", "MobilePhone", "Mobile", "phone", "mobile_phone", true},
		"cell":                  {"Contact", "Cell__c", "x", "phone", "mobile_phone", true},
		"cell phone by label":   {"Contact", "X__c", "Cell Phone", "phone", "mobile_phone", true},
		"organization":          {"Lead", "Company", "Company", "string", "organization", true},
		"zip":                   {"Lead", "Zip__c", "Zip", "string", "postal_code", true},
		"the mailing address":   {"Contact", "MailingPostalCode", "Mailing Zip/Postal Code", "string", "postal_code", true},
		"the mailing city":      {"Contact", "MailingCity", "Mailing City", "string", "city", true},
		"another address":       {"Contact", "OtherCity", "Other City", "string", "city", false},
		"somebody else's phone": {"Contact", "AssistantPhone", "Asst. Phone", "phone", "phone", false},
		"of a package":          {"Contact", "acme__Department__c", "x", "string", "department", true},
		"an attribute":          {"Contact", "Cost_Center__c", "x", "string", "attributes.costCenter", true},
		"an attribute's label":  {"Contact", "CC__c", "Cost Center", "string", "attributes.cost_center", true},
		"an attribute's meaning": {
			"Contact", "Department", "Department", "string", "attributes.dept", true,
		},
		"accents":      {"Contact", "Prenom__c", "Prénom", "string", "first_name", true},
		"some words":   {"Contact", "Cohort_Year_Name__c", "x", "string", "attributes.cohort_year", true},
		"no relation":  {"Contact", "Fax", "Fax", "phone", "title", false},
		"to be exact":  {"Contact", "Salutation__c", "Salutation", "string", "state", false},
		"words in one": {"Contact", "TIMEZONE__c", "x", "string", "time_zone", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := pairs(tt.object, []*salesforcev1.FieldDescribe{field(tt.name, tt.label, tt.kind)}, people([]string{tt.source}))
			if (len(got) > 0) != tt.want {
				t.Errorf("suggested: %v", got)
			}
		})
	}
}

// Values decide where names leave it open, and overrule names that they belie.
func TestValues(t *testing.T) {
	t.Parallel()
	columns := []string{"attributes.a", "attributes.b", "attributes.level", "attributes.start"}
	p := people(
		columns,
		[]string{"x@example.com", "+49 30 123456", "Gold", "2026-01-31"}, []string{"y@example.com", "030-123457", "silver", "2026-02-01"},
		[]string{"", "", "", ""}, []string{"z@example.com", "(030) 123458", "Gold", "2026-02-02"},
	)
	fields := []*salesforcev1.FieldDescribe{
		field("Second_Email__c", "Second", "email", custom), field("Landline__c", "Landline", "phone", custom),
		field("Tier__c", "Tier", "picklist", picklist("Gold", "Silver", "Bronze")), field("Start__c", "Start", "date", custom),
		field("Level__c", "Level", "double", custom), field("B__c", "B", "boolean", custom),
	}
	want := []string{"attributes.start -> Start__c", "attributes.level -> Tier__c", "attributes.a -> Second_Email__c", "attributes.b -> Landline__c"}
	if diff := cmp.Diff(want, pairs("Contact", fields, p)); diff != "" {
		t.Error(diff)
	}
	all := suggest.Pairs(&salesforcev1.ObjectDescribe{Name: "Contact", Fields: fields}, p, nil, values.Supported)
	if r := all[0].GetReason(); r != "it has the same name; all of 3 values are dates" {
		t.Errorf("reason %q", r)
	}
	// Too long values are told.
	short := field("Title", "Title", "string", func(f *salesforcev1.FieldDescribe) { f.Length = 3 })
	got := suggest.Pairs(&salesforcev1.ObjectDescribe{Name: "Contact", Fields: []*salesforcev1.FieldDescribe{short}}, people([]string{"title"}, []string{"abcd"}, []string{"abc"}), nil, values.Supported)
	if len(got) != 1 || got[0].GetReason() != "it has the same name; 1 of 2 values are longer than its 3 characters" {
		t.Errorf("suggested: %v", got)
	}
}

func TestReferencesAndIDs(t *testing.T) {
	t.Parallel()
	unique := func(f *salesforcev1.FieldDescribe) { f.ExternalId, f.Unique, f.Custom = true, true, true }
	account := field("AccountId", "Account ID", "reference", func(f *salesforcev1.FieldDescribe) { f.ReferenceTo = []string{"Account"} })
	fields := []*salesforcev1.FieldDescribe{
		account, field("OwnerId", "Owner", "reference", func(f *salesforcev1.FieldDescribe) { f.ReferenceTo = []string{"User"} }),
		field("Badge__c", "Badge", "string", unique), field("CatalogUserId__c", "Catalog user", "string", unique), field("Legacy__c", "id", "string", custom),
	}
	want := []string{"id -> CatalogUserId__c", "organization -> AccountId by Account.Name"}
	if diff := cmp.Diff(want, pairs("Contact", fields, people([]string{"id", "organization", "attributes.badge"}))); diff != "" {
		t.Error(diff)
	}
}

// Whatever the org and the people: one suggestion per target and per source, none for a field that cannot be written,
// best first, and the same ones again.
func TestProperties(t *testing.T) {
	t.Parallel()
	names := rapid.SampledFrom([]string{"Title", "Phone", "MobilePhone", "Cell__c", "Email", "Email2__c", "Company", "Account_Name__c", "Zip__c", "MailingPostalCode", "Id__c", "User_Id__c", "Level__c", "AccountId"})
	sources := []string{"id", "email", "phone", "mobile_phone", "title", "organization", "postal_code", "attributes.level", "attributes.cell", "attributes.zip"}
	kinds := rapid.SampledFrom([]string{"string", "email", "phone", "picklist", "reference", "boolean", "date", "double", "address", "url", "multipicklist"})
	cells := rapid.SampledFrom([]string{"", "a@example.com", "+49 30 123456", "true", "2026-01-31", "12", "Gold", "https://example.com"})
	rapid.Check(t, func(t *rapid.T) {
		object := &salesforcev1.ObjectDescribe{Name: rapid.SampledFrom([]string{"Contact", "Lead", "Thing__c"}).Draw(t, "object")}
		writable := map[string]bool{}
		for _, name := range rapid.SliceOfDistinct(names, rapid.ID).Draw(t, "fields") {
			f := field(name, name, kinds.Draw(t, "kind"), picklist("Gold", "Silver"))
			f.Createable, f.Updateable, f.Calculated = rapid.Bool().Draw(t, "create"), rapid.Bool().Draw(t, "update"), rapid.Bool().Draw(t, "formula")
			f.ExternalId, f.Unique = rapid.Bool().Draw(t, "external"), rapid.Bool().Draw(t, "unique")
			f.ReferenceTo, f.Length = []string{"Account"}, rapid.Int32Range(0, 20).Draw(t, "length")
			writable[name] = f.GetCreateable() && f.GetUpdateable() && !f.GetCalculated()
			object.Fields = append(object.Fields, f)
		}
		p := &rowv1.Batch{Columns: sources}
		for range rapid.IntRange(0, 5).Draw(t, "rows") {
			p.Rows = append(p.Rows, &rowv1.Row{Values: rapid.SliceOfN(cells, len(sources), len(sources)).Draw(t, "row")})
		}
		must := suggest.Mandatory{"Email": &mapperv1.Pair{Source: "email", Target: "Email"}}
		got := suggest.Pairs(object, p, must, values.Supported)
		last, targets, taken := 1.0, map[string]bool{}, map[string]bool{}
		for _, s := range got {
			target, source := s.GetPair().GetTarget(), s.GetPair().GetSource()
			if !writable[target] || targets[target] || taken[source] || s.GetConfidence() > last || s.GetConfidence() < 0.4 || s.GetReason() == "" {
				t.Fatalf("%v among %v", s, got)
			}
			targets[target], taken[source], last = true, true, s.GetConfidence()
		}
		for i, s := range suggest.Pairs(object, p, must, values.Supported) {
			if !proto.Equal(s, got[i]) {
				t.Fatalf("another time: %v, %v", s, got[i])
			}
		}
	})
}
