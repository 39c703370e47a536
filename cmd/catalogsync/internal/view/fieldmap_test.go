package view_test

import (
	"testing"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// rich is a field map with more than pairs.
func rich() *mapperv1.FieldMap {
	m := fieldMap()
	m.Version, m.Note, m.RolledBackTo = 7, "the \x1b[31mterm\nbegins", 3
	m.Pairs = append(m.Pairs,
		&mapperv1.Pair{Target: "LeadSource", Constant: "Catalog", Type: "picklist", WriteWhen: mapperv1.WriteWhen_WRITE_WHEN_CREATE},
		&mapperv1.Pair{Target: "Description", Expression: "person.title +\n\" of \" + person.organization", Type: "textarea", Length: 32000, TooLong: mapperv1.TooLong_TOO_LONG_CUT},
	)
	m.Rules = []*mapperv1.Rule{{Name: "no tests", Effect: mapperv1.Effect_EFFECT_SKIP, Condition: &mapperv1.Condition{Condition: &mapperv1.Condition_Test{
		Test: &mapperv1.Test{Field: "email", Operator: mapperv1.Operator_OPERATOR_CONTAINS, Values: []string{"test", "\x1b[2J"}},
	}}}}
	m.Guards = &mapperv1.Guards{Creates: &mapperv1.Brake{Share: 0.3}}
	return m
}

func TestFieldMapWithRules(t *testing.T) {
	t.Parallel()
	golden(t, "fieldmap_rules", func(s view.Style) string {
		in := &mapperv1.FieldMap{Object: "Contact", Direction: mapperv1.Direction_DIRECTION_IMPORT, Pairs: []*mapperv1.Pair{{Source: "Email", Target: "email"}}}
		return view.FieldMap(s, rich(), []string{"LeadSource"}) + "\n" + view.FieldMap(s, in, nil)
	})
}

func TestFieldMapHistory(t *testing.T) {
	t.Parallel()
	golden(t, "fieldmap_history", func(s view.Style) string { return view.FieldMaps(s, []*mapperv1.FieldMap{rich(), fieldMap()}) })
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	golden(t, "fieldmap_diff", func(s view.Style) string {
		return view.Differences(s, &mapperv1.DiffFieldMapsResponse{From: fieldMap(), To: rich(), Differences: []*mapperv1.Difference{
			{Path: "fields.LeadSource", After: "{constant: Catalog, write: on_create}"},
			{Path: "fields.Title.default", Before: "Member", After: "A student of the \x1b[31mwhole campus, whatever the department says about it"},
			{Path: "rules.members", Before: "{include: members, when: {groups: {in: member}}}"},
		}}) + "\n" + view.Differences(s, &mapperv1.DiffFieldMapsResponse{To: fieldMap()})
	})
}

func TestSuggestions(t *testing.T) {
	t.Parallel()
	golden(t, "suggestions", func(s view.Style) string {
		return view.Suggestions(s, []*mapperv1.Suggestion{
			{Pair: &mapperv1.Pair{Source: "last_name", Target: "LastName"}, Confidence: 1, Reason: "every field map of Contact has it"},
			{Pair: &mapperv1.Pair{Source: "mobile_phone", Target: "Cell__c"}, Confidence: 0.93, Reason: "Cell__c means mobile_phone; all of 40 values look like phone numbers"},
			{Pair: &mapperv1.Pair{Source: "organization", Target: "AccountId", Lookup: &mapperv1.Lookup{Object: "Account", Field: "Name"}}, Confidence: 0.55, Reason: "the account is found by its name"},
		})
	})
}

func TestTried(t *testing.T) {
	t.Parallel()
	golden(t, "tried", func(s view.Style) string {
		return view.Tried(s, &mapperv1.TryFieldMapResponse{
			Targets: []string{"FirstName", "Title", "Phone", "AccountId"}, PersonIds: []string{"P1", "P2", "P\x1b[31m3"},
			People: []*mapperv1.MappedPerson{
				{
					Values:  &rowv1.Row{Values: []string{"Ada", "", "", "Acme Inc."}, Null: []uint32{1}, Absent: []uint32{2}},
					Lookups: []*mapperv1.LookupKey{{Column: 3, Key: "acme inc."}},
					Notes:   []*mapperv1.Problem{{Code: "cut", Field: "FirstName", Message: "FirstName: the text has 90 characters and is cut at 40."}},
				},
				{SkippedBy: "no tests", Values: &rowv1.Row{Values: make([]string, 4), Absent: []uint32{0, 1, 2, 3}}},
				{
					Values:   &rowv1.Row{Values: make([]string, 4), Absent: []uint32{0, 1, 2, 3}},
					Problems: []*mapperv1.Problem{{Code: "invalid_email", Field: "Email", Message: "Email: \"bob\" has no @ and Salesforce would refuse it: correct the e-mail in the Catalog."}},
				},
			},
		})
	})
}

func TestFields(t *testing.T) {
	t.Parallel()
	golden(t, "fields", func(s view.Style) string {
		return view.Fields(s, []*salesforcev1.FieldDescribe{
			{Name: "LastName", Label: "Last Name", Type: "string", Length: 80, Createable: true, Updateable: true},
			{Name: "CatalogUserId__c", Label: "Catalog User", Type: "string", Length: 255, Createable: true, Updateable: true, Nillable: true, ExternalId: true, Unique: true},
			{Name: "Name", Label: "Full Name", Type: "string", Length: 121},
			{Name: "Age__c", Label: "Age", Type: "double", Calculated: true, Nillable: true},
			{Name: "Level__c", Label: "Level", Type: "picklist", Createable: true, Nillable: true, PicklistValues: []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}},
			{Name: "AccountId", Label: "Account ID", Type: "reference", Length: 18, Updateable: true, Nillable: true, ReferenceTo: []string{"Account"}},
		}) + "\n" + view.Objects(s, []*syncv1.ObjectSummary{{Name: "Account", Label: "Account"}, {Name: "Contact", Label: "Person", Createable: true, Updateable: true}})
	})
}
