package salesforcetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

func collectionsDelete(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	made, err := c.CollectionsUpsert(t.Context(), "Contact", Key, people(200))
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(made))
	for i, r := range made {
		ids[i] = r.ID
	}
	if err := org.Delete(ids[7]); err != nil {
		t.Fatal(err)
	}
	gone, err := c.CollectionsDelete(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range gone {
		if r.Success == (i == 7) {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	if r := gone[7]; r.Code != "ENTITY_IS_DELETED" || r.Action != salesforce.ActionRow {
		t.Errorf("a record that was gone: %+v", r)
	}
	if n := org.Count("Contact"); n != 0 {
		t.Errorf("%d contacts are left", n)
	}
	if _, err := c.CollectionsDelete(t.Context(), nil); err == nil {
		t.Error("nothing is deleted without an error")
	}
	if _, err := c.CollectionsDelete(t.Context(), []string{"x"}); err == nil {
		t.Error("what is no id is sent")
	}
}

// save saves one row by itself, and is told which records a duplicate rule matched.
func save(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	row := person(1)
	first, err := c.Save(t.Context(), "Contact", Key, row)
	if err != nil || !first.Success || !first.Created {
		t.Fatalf("a new row: %+v, %v", first, err)
	}
	again, err := c.Save(t.Context(), "Contact", Key, row)
	if err != nil || !again.Success || again.ID != first.ID {
		t.Errorf("the same row again: %+v, %v", again, err)
	}
	byID, err := c.Save(t.Context(), "Contact", "", salesforce.CollectionRow{ID: first.ID, Fields: []salesforce.FieldValue{{Name: "Title", Value: "Doctor"}}})
	if r, _ := org.Record(first.ID); err != nil || !byID.Success || byID.ID != first.ID || r.Fields["Title"] != "Doctor" {
		t.Errorf("by id: %+v, %v, %v", byID, err, r.Fields)
	}
	if err := org.SetDuplicateRules(simulator.StandardDuplicateRules()); err != nil {
		t.Fatal(err)
	}
	twin := person(1)
	twin.Fields[0].Value = "another"
	refused, err := c.Save(t.Context(), "Contact", Key, twin)
	if err != nil || refused.Success || refused.Code != "DUPLICATES_DETECTED" || !cmp.Equal(refused.Others, []string{first.ID}) {
		t.Errorf("a duplicate: %+v, %v; want %s named", refused, err, first.ID)
	}
	bad := person(2)
	bad.Fields[2].Value = "no address"
	if r, err := c.Save(t.Context(), "Contact", Key, bad); err != nil || r.Success || r.Code != "INVALID_EMAIL_ADDRESS" {
		t.Errorf("a bad row: %+v, %v", r, err)
	}
	slash := person(3)
	slash.Fields[0].Value = "a/b"
	if _, err := c.Save(t.Context(), "Contact", Key, slash); !errors.Is(err, salesforce.ErrUnsavable) {
		t.Errorf("a key that cannot stand in an address: %v", err)
	}
	org.Faults().MustAdd(fault.Rule{Kind: fault.ResetAfter, Method: "PATCH", Path: "/sobjects/*", Count: 1})
	if _, err := c.Save(t.Context(), "Contact", Key, person(4)); salesforce.ActionOf(err) != salesforce.ActionLookUp {
		t.Errorf("a lost answer: %v", err)
	}
}
