package salesforcetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/simulator"
)

func collectionsUpsert(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	rows := people(200)
	first, err := c.CollectionsUpsert(t.Context(), "Contact", Key, rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range first {
		record, ok := org.Record(r.ID)
		if !r.Success || !r.Created || !ok || record.Fields[Key] != rows[i].Fields[0].Value || record.Fields["LastName"] != rows[i].Fields[1].Value {
			t.Fatalf("row %d: %+v, record %+v", i, r, record)
		}
	}
	rows[3].Fields[1].Value = strings.Repeat("x", 81)
	rows[4].Fields[2].Value = "no address"
	second, err := c.CollectionsUpsert(t.Context(), "Contact", Key, rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range second {
		switch i {
		case 3:
			if r.Success || r.Code != "STRING_TOO_LONG" || r.Action != salesforce.ActionRow || !cmp.Equal(r.Fields, []string{"LastName"}) {
				t.Errorf("row 3: %+v", r)
			}
		case 4:
			if r.Success || r.Code != "INVALID_EMAIL_ADDRESS" || !cmp.Equal(r.Fields, []string{"Email"}) {
				t.Errorf("row 4: %+v", r)
			}
		default:
			if !r.Success || r.Created || r.ID != first[i].ID {
				t.Fatalf("row %d: %+v, want an update of %s", i, r, first[i].ID)
			}
		}
	}
	if n := org.Count("Contact"); n != 200 {
		t.Errorf("%d contacts, want 200", n)
	}
	for _, e := range org.Effects() {
		if e.Object == "Contact" && e.CallOptions != "client=catalogsync/suite.1" {
			t.Fatalf("effect with call options %q", e.CallOptions)
		}
	}
}

func collectionsUpdate(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	id, err := org.Create("Contact", map[string]string{"LastName": "Before", "Phone": "1", "Title": "stays"})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := org.Create("Contact", map[string]string{"LastName": "Gone"})
	if err != nil {
		t.Fatal(err)
	}
	if err := org.Delete(gone); err != nil {
		t.Fatal(err)
	}
	change := []salesforce.FieldValue{{Name: "LastName", Value: "After"}, {Name: "Phone", Null: true}, {Name: "MailingLatitude", Value: "52.5", Type: salesforce.TypeDouble}}
	got, err := c.CollectionsUpdate(t.Context(), "Contact", []salesforce.CollectionRow{{ID: id, Fields: change}, {ID: gone, Fields: change}})
	if err != nil {
		t.Fatal(err)
	}
	if !got[0].Success || got[0].ID != id || got[1].Success || got[1].Action != salesforce.ActionRow {
		t.Errorf("results %+v", got)
	}
	r, _ := org.Record(id)
	if r.Fields["LastName"] != "After" || r.Fields["Phone"] != "" || r.Fields["Title"] != "stays" || r.Fields["MailingLatitude"] != "52.5" {
		t.Errorf("record %v", r.Fields)
	}
}

func collectionsErrors(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	for range 2 {
		if _, err := org.Create("Contact", map[string]string{"LastName": "Twin", "Email": "twin@example.com"}); err != nil {
			t.Fatal(err)
		}
	}
	lead, err := org.Create("Lead", map[string]string{"LastName": "Conv", "Company": "C", Key: "conv"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := org.ConvertLead(lead); err != nil {
		t.Fatal(err)
	}
	field := func(name, value string) salesforce.FieldValue { return salesforce.FieldValue{Name: name, Value: value} }
	for name, x := range map[string]struct {
		object, key string
		fields      []salesforce.FieldValue
		code        string
		action      salesforce.Action
	}{
		"two matches":    {"Contact", "Email", []salesforce.FieldValue{field("Email", "twin@example.com"), field("LastName", "x")}, "DUPLICATE_EXTERNAL_ID", salesforce.ActionRow},
		"converted lead": {"Lead", Key, []salesforce.FieldValue{field(Key, "conv"), field("LastName", "x")}, "CANNOT_UPDATE_CONVERTED_LEAD", salesforce.ActionRow},
		"required field": {"Lead", Key, []salesforce.FieldValue{field(Key, "new"), field("LastName", "x")}, "REQUIRED_FIELD_MISSING", salesforce.ActionRow},
		"unknown column": {"Contact", Key, []salesforce.FieldValue{field(Key, "new"), field("Nope__c", "x")}, "INVALID_FIELD", salesforce.ActionConfig},
		"read-only":      {"Contact", Key, []salesforce.FieldValue{field(Key, "new"), field("LastName", "x"), field("Name", "x")}, "INVALID_FIELD_FOR_INSERT_UPDATE", salesforce.ActionConfig},
	} {
		got, err := c.CollectionsUpsert(t.Context(), x.object, x.key, []salesforce.CollectionRow{{Fields: x.fields}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got[0].Success || got[0].Code != x.code || got[0].Action != x.action {
			t.Errorf("%s: %+v, want %s, %v", name, got[0], x.code, x.action)
		}
	}
	_, err = c.CollectionsUpsert(t.Context(), "Contact", "Title", []salesforce.CollectionRow{{Fields: []salesforce.FieldValue{field("Title", "x")}}})
	if err == nil {
		t.Error("a key that is no id lookup was taken")
	}
	if _, unknown := errors.AsType[*salesforce.UnknownOutcomeError](err); unknown {
		t.Errorf("a plain refusal is no unknown outcome: %v", err)
	}
}
