package conformance_test

import (
	"strings"
	"testing"

	salesforce "github.com/k-capehart/go-salesforce/v3"

	"github.com/catalogsync/catalogsync/simulator"
)

// contact is a row; the client goes by the names of its fields.
type contact struct {
	Id               string `json:",omitempty" csv:",omitempty"` //nolint:revive // Salesforce's name
	LastName         string
	CatalogUserId__c string `json:",omitempty" csv:",omitempty"` //nolint:revive // Salesforce's name
}

func startOrg(t *testing.T) *simulator.Server {
	t.Helper()
	org, err := simulator.Start(simulator.Options{ExternalIDFields: []string{"Contact.CatalogUserId__c"}, SeedRecords: map[string]int{"Contact": 4500}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	return org
}

func TestGoSalesforce(t *testing.T) {
	for _, compression := range []bool{false, true} {
		org := startOrg(t)
		sf, err := salesforce.Init(salesforce.Creds{Domain: org.URL, ConsumerKey: org.ClientID(), ConsumerSecret: org.ClientSecret()}, salesforce.WithCompressionHeaders(compression))
		if err != nil {
			t.Fatal(err)
		}
		one, err := sf.InsertOne("Contact", contact{LastName: "one"})
		if err != nil || !one.Success {
			t.Fatal(one, err)
		}
		if err := sf.UpdateOne("Contact", contact{Id: one.Id, LastName: "two"}); err != nil {
			t.Error(err)
		}
		if r, err := sf.UpsertOne("Contact", "CatalogUserId__c", contact{LastName: "k", CatalogUserId__c: "k1"}); err != nil || !r.Success {
			t.Error(r, err)
		}
		many, err := sf.InsertCollection("Contact", []contact{{LastName: "a"}, {}}, 200)
		if err != nil || len(many.Results) != 2 || !many.Results[0].Success || many.Results[1].Errors[0].StatusCode != "REQUIRED_FIELD_MISSING" {
			t.Error(many, err)
		}
		if r, err := sf.UpsertCollection("Contact", "CatalogUserId__c", []contact{{LastName: "a", CatalogUserId__c: "k1"}, {LastName: "b", CatalogUserId__c: "k2"}}, 200); err != nil || r.HasSalesforceErrors {
			t.Error(r, err)
		}
		var all []contact
		if err := sf.Query("SELECT Id, LastName FROM Contact", &all); err != nil || len(all) != org.Count("Contact") {
			t.Errorf("query: %v, %d of %d records", err, len(all), org.Count("Contact"))
		}
		if err := sf.Query("SELECT Nope FROM Contact", &all); err == nil || !strings.Contains(err.Error(), "INVALID_FIELD") {
			t.Errorf("a query of a field that is not there: %v", err)
		}
		jobs, err := sf.UpsertBulk("Contact", "CatalogUserId__c", []contact{{LastName: "x", CatalogUserId__c: "k1"}, {LastName: "y", CatalogUserId__c: "k3"}, {CatalogUserId__c: "k4"}}, 1000, true)
		if err != nil || len(jobs) != 1 {
			t.Fatal(jobs, err)
		}
		res, err := sf.GetJobResults(jobs[0])
		if err != nil || res.State != "JobComplete" || res.NumberRecordsFailed != 1 || len(res.SuccessfulRecords) != 2 || len(res.FailedRecords) != 1 ||
			res.FailedRecords[0]["sf__Error"] != "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --" {
			t.Errorf("bulk results: %+v, %v", res, err)
		}
		it, err := sf.QueryBulkIterator("SELECT Id, LastName FROM Contact")
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		for it.Next() {
			var page []contact
			if err := it.Decode(&page); err != nil {
				t.Fatal(err)
			}
			rows += len(page)
		}
		if rows != org.Count("Contact") {
			t.Errorf("bulk query: %d of %d rows", rows, org.Count("Contact"))
		}
		if err := sf.DeleteOne("Contact", contact{Id: one.Id}); err != nil {
			t.Error(err)
		}
	}
}
