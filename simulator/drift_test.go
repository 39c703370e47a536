package simulator_test

import (
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

// A field that was removed is gone from describe, queries and saves.
func TestDrift(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	id := o.create("Contact", map[string]string{"LastName": "x", "Department": "Sales", "CatalogUserId__c": "u1"})
	if err := o.RemoveField("Contact", "Department"); err != nil {
		t.Fatal(err)
	}
	if err := o.RemoveField("Contact", "CatalogUserId__c"); err != nil {
		t.Fatal(err)
	}
	describe := o.do("GET", "/sobjects/Contact/describe", "").body
	for name, want := range map[string]bool{"Department": false, "CatalogUserId__c": false, "Title": true} {
		if strings.Contains(describe, `"name":"`+name+`"`) != want {
			t.Errorf("describe has %s: %t", name, !want)
		}
	}
	if r := o.query("SELECT Department FROM Contact"); r.status != 400 || !strings.Contains(r.body, "INVALID_FIELD") {
		t.Errorf("a field that is gone is read: %d %s", r.status, r.body)
	}
	o.want(o.do("PATCH", "/sobjects/Contact/"+id, `{"Department":"x"}`), 400, `[{"message":"No such column 'Department' on sobject of type Contact","errorCode":"INVALID_FIELD"}]`)
	for _, bad := range []error{
		o.RemoveField("Contact", "LastName"), o.RemoveField("Contact", "Nope"), o.RemoveField("Nope", "Title"),
	} {
		if bad == nil {
			t.Error("what cannot be done is done")
		}
	}
}
