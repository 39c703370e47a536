package simulator_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
)

func TestComposite(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	contact := func(body string) string {
		return `{"method":"POST","url":"` + base + `/sobjects/Contact","referenceId":"c","body":` + body + `}`
	}
	account := `{"method":"POST","url":"` + base + `/sobjects/Account","referenceId":"a","body":{"Name":"Acme"}}`
	r := o.do("POST", "/composite", `{"allOrNone":true,"compositeRequest":[`+account+`,`+contact(`{"LastName":"x","AccountId":"@{a.id}"}`)+`,{"method":"GET","url":"`+base+`/query/?q=SELECT AccountId FROM Contact WHERE Id='@{c.id}'","referenceId":"q"}]}`)
	o.want(r, 200, `{"compositeResponse":[{"body":{"id":"001*","success":true,"errors":[]},"httpHeaders":{"Location":"`+base+`/sobjects/Account/001*"},"httpStatusCode":201,"referenceId":"a"},*{"body":{"totalSize":1,*"AccountId":"001*"}]},"httpHeaders":{},"httpStatusCode":200,"referenceId":"q"}]}`)
	effects := o.EffectCount()
	r = o.do("POST", "/composite", `{"allOrNone":true,"compositeRequest":[`+account+`,`+contact(`{"LastName":"x","ReportsTo":{"CatalogUserId__c":"0116"}}`)+`]}`)
	o.want(r, 200, `{"compositeResponse":[{"body":[{"errorCode":"PROCESSING_HALTED","message":"The transaction was rolled back since another operation in the same transaction failed."}],"httpHeaders":{},"httpStatusCode":400,"referenceId":"a"},`+
		`{"body":[{"message":"Foreign key external ID: 0116 not found for field CatalogUserId__c in entity Contact","errorCode":"INVALID_FIELD","fields":[]}],"httpHeaders":{},"httpStatusCode":400,"referenceId":"c"}]}`)
	if o.EffectCount() != effects || o.Count("Account") != 1 {
		t.Errorf("a rolled back composite left %d accounts and %d effects", o.Count("Account"), o.EffectCount()-effects)
	}
	o.want(o.do("POST", "/composite", `{"compositeRequest":[{"method":"GET","url":"`+base+`/sobjects/Foo/describe","referenceId":"f"}]}`), 200,
		`{"compositeResponse":[{"body":[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}],"httpHeaders":{},"httpStatusCode":404,"referenceId":"f"}]}`)
	modified := o.do("GET", "/sobjects", "").header.Get("Last-Modified")
	o.want(o.do("POST", "/composite", `{"compositeRequest":[{"method":"GET","url":"`+base+`/sobjects/Lead/describe","referenceId":"d","httpHeaders":{"If-Modified-Since":"`+modified+`"}}]}`), 200,
		`{"compositeResponse":[{"body":null,"httpHeaders":{"ETag":"*","Last-Modified":"`+modified+`"},"httpStatusCode":304,"referenceId":"d"}]}`)
	o.want(o.do("POST", "/composite/batch", `{"haltOnError":true,"batchRequests":[{"method":"GET","url":"v67.0/limits/recordCount?sObjects=Account"},{"method":"GET","url":"v67.0/nope"},{"method":"POST","url":"v67.0/sobjects/Account","richInput":{"Name":"x"}}]}`), 200,
		`{"hasErrors":true,"results":[{"statusCode":200,"result":{"sObjects":[{"count":1,"name":"Account"}]}},{"statusCode":404,"result":[{*}]},{"statusCode":412,"result":[{"errorCode":"BATCH_PROCESSING_HALTED",*}]}]}`)
	o.want(o.do("POST", "/composite/tree/Account", `{"records":[{"attributes":{"type":"Account","referenceId":"r1"},"Name":"T","Contacts":{"records":[{"attributes":{"type":"Contact","referenceId":"r2"},"LastName":"q"}]}}]}`), 201,
		`{"hasErrors":false,"results":[{"referenceId":"r1","id":"001*"},{"referenceId":"r2","id":"003*"}]}`)
	o.want(o.do("POST", "/composite/tree/Account", `{"records":[{"attributes":{"type":"Account","referenceId":"r1"},"Name":"T"},{"attributes":{"type":"Account","referenceId":"r2"}}]}`), 400,
		`{"hasErrors":true,"results":[{"referenceId":"r2","errors":[{"statusCode":"REQUIRED_FIELD_MISSING","message":"Required fields are missing: [Name]","fields":["Name"]}]}]}`)
	o.want(o.do("POST", "/composite/graph", `{"graphs":[{"graphId":"g1","compositeRequest":[`+account+`]},{"graphId":"g2","compositeRequest":[`+contact(`{}`)+`]}]}`), 200,
		`{"graphs":[{"graphId":"g1","graphResponse":{"compositeResponse":[{*"httpStatusCode":201,"referenceId":"a"}]},"isSuccessful":true},{"graphId":"g2","graphResponse":{"compositeResponse":[{*"httpStatusCode":400,"referenceId":"c"}]},"isSuccessful":false}]}`)
	if n := o.Count("Account"); n != 3 {
		t.Errorf("%d accounts, want 3", n)
	}
}

func TestReplicationAndCustomFields(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	kept, gone := o.create("Contact", map[string]string{"LastName": "k"}), o.create("Contact", map[string]string{"LastName": "g"})
	if err := o.Delete(gone); err != nil {
		t.Fatal(err)
	}
	window := func(d time.Duration) string {
		return "?start=" + url.QueryEscape(time.Now().Add(-d).Format(time.RFC3339)) + "&end=" + url.QueryEscape(time.Now().Add(time.Minute).Format(time.RFC3339))
	}
	o.want(o.do("GET", "/sobjects/Contact/updated/"+window(time.Hour), ""), 200, `{"ids":["`+kept+`"],"latestDateCovered":"*:00.000+0000"}`)
	o.want(o.do("GET", "/sobjects/Contact/deleted/"+window(time.Hour), ""), 200, `{"deletedRecords":[{"id":"`+gone+`","deletedDate":"*"}],"earliestDateAvailable":"*","latestDateCovered":"*"}`)
	o.want(o.do("GET", "/sobjects/Contact/deleted/"+window(400*time.Hour), ""), 400, `[{"message":"*","errorCode":"INVALID_REPLICATION_DATE"}]`)
	o.want(o.do("POST", "/tooling/sobjects/CustomField", `{"FullName":"Contact.Badge__c","Metadata":{"type":"Picklist","label":"Badge Colour","valueSet":{"restricted":true,"valueSetDefinition":{"value":[{"fullName":"Red"},{"fullName":"Blue"}]}}}}`), 201, `{"id":"00N*","success":true,"errors":[],"warnings":[],"infos":[]}`)
	o.want(o.do("PATCH", "/sobjects/Contact/"+kept, `{"Badge__c":"Red"}`), 400, `[{"message":"No such column 'Badge__c' on sobject of type Contact","errorCode":"INVALID_FIELD"}]`) // nobody was given the field yet
	set := o.query("SELECT Id FROM PermissionSet WHERE Name = 'Catalog_Integration'")
	_, rest, _ := strings.Cut(set.body, `"Id":"`)
	o.want(o.do("POST", "/sobjects/FieldPermissions", `{"ParentId":"`+rest[:18]+`","SobjectType":"Contact","Field":"Contact.Badge__c","PermissionsRead":true,"PermissionsEdit":true}`), 201, `*`)
	o.want(o.do("PATCH", "/sobjects/Contact/"+kept, `{"Badge__c":"Green"}`), 400, `[{"message":"Badge Colour: bad value for restricted picklist field: Green","errorCode":"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST","fields":["Badge__c"]}]`)
	o.want(o.do("PATCH", "/sobjects/Contact/"+kept, `{"Badge__c":"red"}`), 204, "")
	o.want(o.query("SELECT Badge__c FROM Contact WHERE Badge__c = 'RED'"), 200, `*"Badge__c":"Red"}]}`)
	o.want(o.do("POST", "/tooling/sobjects/CustomField", `{"FullName":"Contact.Badge__c","Metadata":{"type":"Text"}}`), 400, `[{*"errorCode":"DUPLICATE_DEVELOPER_NAME",*`)
}

func TestRules(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	if err := o.SetValidationRules(simulator.ValidationRule{Object: "Contact", Field: "Department", Pattern: "^Secret$", Message: "No secrets."}); err != nil {
		t.Fatal(err)
	}
	o.want(o.do("POST", "/sobjects/Contact", `{"LastName":"x","Department":"Secret"}`), 400, `[{"message":"No secrets.","errorCode":"FIELD_CUSTOM_VALIDATION_EXCEPTION","fields":["Department"]}]`)
	id := o.create("Contact", map[string]string{"LastName": "x", "Email": "x@example.com"})
	if err := o.SetDuplicateRules(simulator.StandardDuplicateRules()); err != nil {
		t.Fatal(err)
	}
	same := `{"LastName":"X","Email":"x@example.com"}`
	text := `You're creating a duplicate record. We recommend you use an existing record instead.`
	o.want(o.do("POST", "/sobjects/Contact", same), 400, `[{"duplicateResut":{"allowSave":true,"duplicateRule":"Standard_Contact_Duplicate_Rule","duplicateRuleEntityType":"Contact","errorMessage":"`+text+`","matchResults":[{"entityType":"Contact","errors":[],`+
		`"matchEngine":"FuzzyMatchEngine","matchRecords":[{"additionalInformation":[],"fieldDiffs":[],"matchConfidence":100.0,"record":{"attributes":{"type":"Contact","url":"`+base+`/sobjects/Contact/`+id+`"},"Id":"`+id+`"}}],`+
		`"rule":"Standard_Contact_Match_Rule_v1_1","size":1,"success":true}]},"errorCode":"DUPLICATES_DETECTED","message":"`+text+`"}]`)
	o.want(o.do("POST", "/sobjects/Contact", same, "Sforce-Duplicate-Rule-Header", "allowSave=true"), 201, `*`)
}

func TestMalformedInputNeverCrashes(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	for _, path := range []string{"/sobjects/Contact", "/composite", "/composite/batch", "/composite/graph", "/composite/tree/Account", "/composite/sobjects", "/jobs/ingest", "/jobs/query", "/tooling/sobjects/CustomField"} {
		for _, body := range []string{
			"", "null", "[]", "{", `"x"`, "1", `{"records":null}`, `{"records":[1,null,[]]}`, `{"LastName":{"a":[1]}}`, `{"compositeRequest":[{}]}`, `{"graphs":[{}]}`, `{"batchRequests":[{"method":"\u0000","url":"%zz"}]}`,
			strings.Repeat("[", 5000), `{"LastName":"x","AccountId":{"a":1},"MailingAddress":{"city":"x"},"Account":[1],"Birthdate":[],"DoNotCall":"maybe"}`,
		} {
			if r := o.do("POST", path, body, "Content-Type", "application/json"); r.status >= 500 || r.status == 0 {
				t.Errorf("POST %s %.60q: %d %s", path, body, r.status, r.body)
			}
		}
	}
	for _, path := range []string{"/query/x", "/query/0r8-", "/jobs/ingest/x", "/jobs/query?queryLocator=x", "/sobjects/Contact/a/b/c/d", "/composite/sobjects?ids=", "/composite/sobjects/Contact?ids=x&fields=y", "/sobjects//", "/limits/x", "/analytics/reports/x/describe"} {
		if r := o.do("GET", path, ""); r.status >= 500 {
			t.Errorf("GET %s: %d", path, r.status)
		}
	}
}
