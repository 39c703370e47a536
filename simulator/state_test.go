package simulator_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

func TestStateSurvives(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "org.state")
	o, err := simulator.New(simulator.Options{StateFile: file, Seed: 9, SeedRecords: map[string]int{"Contact": 3}, ExternalIDFields: []string{"Contact.CatalogUserId__c"}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := o.Create("Contact", map[string]string{"LastName": "kept", "CatalogUserId__c": "k"})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := o.Create("Contact", map[string]string{"LastName": "gone"})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Delete(gone); err != nil {
		t.Fatal(err)
	}
	want, _ := o.Record(id)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := simulator.New(simulator.Options{StateFile: file, SeedRecords: map[string]int{"Contact": 3}})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := again.Record(id)
	deleted, _ := again.Record(gone)
	if !ok || len(got.Fields) != len(want.Fields) || got.Fields["CatalogUserId__c"] != "k" || got.Fields["SystemModstamp"] != want.Fields["SystemModstamp"] || !deleted.Deleted ||
		again.Count("Contact") != 4 || again.OrgID() != o.OrgID() || again.UserID() != o.UserID() {
		t.Errorf("got %+v\nwant %+v\n%d contacts", got, want, again.Count("Contact"))
	}
	next, err := again.Create("Contact", map[string]string{"LastName": "x", "CatalogUserId__c": "K"})
	if err == nil {
		t.Errorf("%s: the index of a restored field does not find its values", next)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := simulator.New(simulator.Options{StateFile: file}); err == nil {
		t.Error("a damaged state file was taken")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]simulator.Options{
		"version": {APIVersion: "12"}, "field": {ExternalIDFields: []string{"Contact.Nope"}}, "object": {ExternalIDFields: []string{"Nope.X__c"}}, "limit": {DailyLimit: -1},
		"seed object": {SeedRecords: map[string]int{"Nope": 1}}, "listen": {Listen: "acme.my.salesforce.com:443"}, "faults": {FaultsFile: "/does/not/exist"},
	} {
		if _, err := simulator.New(o); err == nil {
			t.Errorf("%s: %+v was taken", name, o)
		}
	}
}

func TestSampleCasesAndFaultsFile(t *testing.T) {
	t.Parallel()
	faults := filepath.Join(t.TempDir(), "faults.json")
	if err := os.WriteFile(faults, []byte(`[{"name":"down","kind":"error","path":"/limits","status":503,"count":1}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	o := start(t, simulator.Options{SampleCases: true, FaultsFile: faults, Latency: 1})
	if r := o.do("GET", "/limits", ""); r.status != 503 {
		t.Errorf("the fault of the file did not fire: %d", r.status)
	}
	if fired := o.Faults().Fired(); len(fired) != 1 || fired[0].Rule != "down" {
		t.Errorf("fired %+v", fired)
	}
	o.want(o.query("SELECT Account.Name, COUNT(Id) n FROM Contact WHERE AccountId != null GROUP BY Account.Name HAVING COUNT(Id) > 1"), 200, `{"totalSize":1,"done":true,"records":[{"attributes":{"type":"AggregateResult"},"Name":"Account of Five Hundred","n":500}]}`)
	o.want(o.query("SELECT COUNT() FROM Contact WHERE Email = 'twice@samples.example'"), 200, `{"totalSize":2,"done":true,"records":[]}`)
	o.want(o.query("SELECT IsConverted FROM Lead WHERE ConvertedContact.Email = 'converted@samples.example'"), 200, `*"IsConverted":true}]}`)
}
