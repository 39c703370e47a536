package doctor_test

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/doctor"
	"github.com/catalogsync/catalogsync/simulator"
)

// given returns the files of the package, and what its permission set gives: Contact read edit, Contact.Title read.
func (w *world) given(object string, m *mapperv1.FieldMap) (files, rights []string) {
	w.t.Helper()
	content, files, err := doctor.Package(object, "67.0", m, doctor.Describe(w.t.Context(), w.client(), object, m))
	if err != nil {
		w.t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := z.Open("permissionsets/Catalogsync.permissionset")
	if err != nil {
		w.t.Fatal(err)
	}
	var set struct {
		Fields []struct {
			Editable bool   `xml:"editable"`
			Field    string `xml:"field"`
		} `xml:"fieldPermissions"`
		Objects []struct {
			Create  bool   `xml:"allowCreate"`
			Delete  bool   `xml:"allowDelete"`
			Edit    bool   `xml:"allowEdit"`
			Read    bool   `xml:"allowRead"`
			ViewAll bool   `xml:"viewAllRecords"`
			Object  string `xml:"object"`
		} `xml:"objectPermissions"`
	}
	if err := xml.NewDecoder(f).Decode(&set); err != nil {
		w.t.Fatal(err)
	}
	for _, o := range set.Objects {
		text := o.Object
		for i, has := range []bool{o.Read, o.Create, o.Edit, o.Delete, o.ViewAll} {
			if has {
				text += " " + []string{"read", "create", "edit", "delete", "all"}[i]
			}
		}
		rights = append(rights, text)
	}
	for _, f := range set.Fields {
		rights = append(rights, fmt.Sprint(f.Field, map[bool]string{true: " edit", false: " read"}[f.Editable]))
	}
	return files, rights
}

func salesforceTest(field string) *mapperv1.Condition {
	return &mapperv1.Condition{Condition: &mapperv1.Condition_Test{Test: &mapperv1.Test{Side: mapperv1.Side_SIDE_SALESFORCE, Field: field, Operator: mapperv1.Operator_OPERATOR_EMPTY}}}
}

func TestTheSetGivesWhatTheFieldMapNeedsAndNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	writes := contacts("LastName", "Email")
	writes.Pairs = append(writes.Pairs, &mapperv1.Pair{Source: "organization", Target: "AccountId", Lookup: &mapperv1.Lookup{Object: "Account", Field: "Website"}})
	writes.Rules = []*mapperv1.Rule{{Name: "r", Condition: &mapperv1.Condition{Condition: &mapperv1.Condition_Not{Not: salesforceTest("Department")}}}}
	leads := &mapperv1.FieldMap{
		Object: "Lead", Identity: &mapperv1.Identity{Converted: mapperv1.Converted_CONVERTED_UPDATE_CONTACT},
		Pairs: []*mapperv1.Pair{{Source: "a", Target: "LastName"}, {Source: "b", Target: "Title"}, {Source: "c", Target: "Rating"}},
	}
	apart := &mapperv1.FieldMap{
		Object: "Lead", Identity: &mapperv1.Identity{ContactAndLead: mapperv1.ContactAndLead_CONTACT_AND_LEAD_BOTH},
		Pairs: []*mapperv1.Pair{{Source: "b", Target: "Title"}},
	}
	imported := &mapperv1.FieldMap{
		Object: "Contact", Direction: mapperv1.Direction_DIRECTION_IMPORT,
		Pairs: []*mapperv1.Pair{{Source: "LastName", Target: "last_name"}, {Source: "Email", Target: "email"}},
		Rules: []*mapperv1.Rule{{Name: "r", Condition: salesforceTest("Title")}},
	}
	for _, c := range []struct {
		name, object string
		m            *mapperv1.FieldMap
		want         []string
	}{
		{"an import", "Contact", imported, []string{"Account read", "Contact read all", "Contact.Email read", "Contact.Title read"}},
		{"a lookup and a rule", "Contact", writes, []string{
			"Account read", "Contact read create edit delete all",
			"Account.Website read", "Contact.AccountId edit", "Contact.CatalogUserId__c edit", "Contact.Department read", "Contact.Email edit",
		}},
		{"converted Leads", "Lead", leads, []string{
			"Account read", "Contact read edit", "Lead read create edit delete all",
			"Contact.Email read", "Contact.Title edit", "Lead.CatalogUserId__c edit", "Lead.Rating edit", "Lead.Title edit",
		}},
		{"Leads apart from Contacts", "Lead", apart, []string{"Lead read create edit delete all", "Lead.CatalogUserId__c edit", "Lead.Title edit"}},
	} {
		files, got := w.given(c.object, c.m)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if slices.Contains(files, "objects/"+c.object+".object") == (c.m == imported) {
			t.Errorf("%s: files are %q", c.name, files)
		}
	}
	steps := doctor.Apply(t.Context(), w.client(), "Contact", w.user, imported)
	for _, s := range steps {
		if s.GetSeverity() != fine || s.GetCode() == "field" {
			t.Errorf("setup for an import: %v", s)
		}
	}
}

func TestKeysOfLookupsAndFieldsOfRulesAreLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{ExternalIDFields: []string{"Contact." + doctor.FieldName}})
	m := contacts("LastName", doctor.FieldName)
	m.Pairs = append(m.Pairs, &mapperv1.Pair{Source: "organization", Target: "AccountId", Lookup: &mapperv1.Lookup{Object: "Account", Field: "Cost_Center__c"}})
	m.Rules = []*mapperv1.Rule{{Name: "r", Condition: &mapperv1.Condition{Condition: &mapperv1.Condition_Any{Any: &mapperv1.Conditions{
		Conditions: []*mapperv1.Condition{salesforceTest("Title"), salesforceTest("CreatedDate"), salesforceTest("Grade__c")},
	}}}}}
	m.Overrides = []*mapperv1.Override{{Subaccount: "s", Filter: salesforceTest("Team__c")}}
	var got []string
	for _, f := range doctor.Examine(t.Context(), w.client(), w.patient(m)).GetFindings() {
		if f.GetSeverity() == syncv1.Severity_SEVERITY_ERROR {
			got = append(got, f.GetObject()+"."+f.GetField()+" "+f.GetCode())
		}
	}
	slices.Sort(got)
	if want := "Account.Cost_Center__c field_missing, Contact.Grade__c field_missing, Contact.Team__c field_missing"; strings.Join(got, ", ") != want {
		t.Errorf("found %q, want %q", got, want)
	}
}
