package conformance_test

import (
	"errors"
	"io"
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

// onlyID is a row of a deletion, which may have no other column.
type onlyID struct {
	Id string //nolint:revive // Salesforce's name
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

// TestGoSalesforce uses every kind of call that the client has, plain and compressed.
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
		bulkAndCollections(t, sf, org)
		if err := sf.DeleteOne("Contact", contact{Id: one.Id}); err != nil {
			t.Error(err)
		}
		for path, want := range map[string]string{"/sobjects/Contact/describe": `"name":"CatalogUserId__c"`, "/limits": `"DailyApiRequests"`} {
			res, err := sf.DoRequest("GET", path, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err := errors.Join(err, res.Body.Close()); err != nil || !strings.Contains(string(body), want) {
				t.Errorf("%s has no %s: %v, %.200s", path, want, err, body)
			}
		}
	}
}

// bulkAndCollections inserts, updates and deletes the same records by Collections and by Bulk 2.0.
func bulkAndCollections(t *testing.T, sf *salesforce.Salesforce, org *simulator.Server) {
	t.Helper()
	before := org.Count("Contact")
	made, err := sf.InsertCollection("Contact", []contact{{LastName: "c1"}, {LastName: "c2"}}, 200)
	if err != nil || made.HasSalesforceErrors {
		t.Fatal(made, err)
	}
	both := []contact{{Id: made.Results[0].Id, LastName: "d1"}, {Id: made.Results[1].Id, LastName: "d2"}}
	if r, err := sf.UpdateCollection("Contact", both, 200); err != nil || r.HasSalesforceErrors {
		t.Error(r, err)
	}
	jobs := func(ids []string, err error) {
		t.Helper()
		if err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		res, err := sf.GetJobResults(ids[0])
		if err != nil || res.State != "JobComplete" || res.NumberRecordsFailed != 0 {
			t.Errorf("bulk results: %+v, %v", res, err)
		}
	}
	jobs(sf.InsertBulk("Contact", []contact{{LastName: "b1"}, {LastName: "b2"}, {LastName: "b3"}}, 1000, true))
	jobs(sf.UpdateBulk("Contact", []contact{{Id: both[0].Id, LastName: "e1"}}, 1000, true))
	if r, ok := org.Record(both[0].Id); !ok || r.Fields["LastName"] != "e1" {
		t.Errorf("after a bulk update: %v", r.Fields)
	}
	jobs(sf.DeleteBulk("Contact", []onlyID{{Id: both[0].Id}}, 1000, true))
	if r, err := sf.DeleteCollection("Contact", []contact{{Id: both[1].Id}}, 200); err != nil || r.HasSalesforceErrors {
		t.Error(r, err)
	}
	if n := org.Count("Contact"); n != before+3 {
		t.Errorf("%d contacts, want %d", n, before+3)
	}
}
