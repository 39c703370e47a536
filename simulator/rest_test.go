package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
)

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	for _, c := range []struct {
		name, body string
		form       url.Values
	}{
		{"wrong secret", `{"error":"invalid_client","error_description":"invalid client credentials"}`, url.Values{"grant_type": {"client_credentials"}, "client_id": {o.ClientID()}, "client_secret": {"x"}}},
		{"unknown app", `{"error":"invalid_client_id","error_description":"client identifier invalid"}`, url.Values{"grant_type": {"client_credentials"}, "client_id": {"x"}, "client_secret": {"x"}}},
		{"unknown grant", `{"error":"unsupported_grant_type","error_description":"unsupported_grant_type"}`, url.Values{"grant_type": {"magic"}}},
		{"bad password", `{"error":"invalid_grant","error_description":"authentication failure"}`, url.Values{"grant_type": {"password"}, "client_id": {o.ClientID()}, "client_secret": {o.ClientSecret()}, "username": {"x"}, "password": {"y"}}},
		{"dead refresh token", `{"error":"invalid_grant","error_description":"expired access/refresh token"}`, url.Values{"grant_type": {"refresh_token"}, "client_id": {o.ClientID()}, "client_secret": {o.ClientSecret()}, "refresh_token": {"y"}}},
	} {
		status, body := o.form("/services/oauth2/token", c.form)
		o.want(reply{status: status, body: body}, 400, c.body)
	}
	r := o.do("GET", "/services/oauth2/userinfo", "")
	if r.status != 200 || field(t, r.body, "organization_id") != o.OrgID() || r.header.Get("Sforce-Limit-Info") != "" {
		t.Errorf("userinfo: %d %v %s", r.status, r.header, r.body)
	}
	if r := o.do("GET", "/services/data", "", "Authorization", ""); r.status != 200 || r.header.Get("Sforce-Limit-Info") != "" || !strings.Contains(r.body, `{"label":"Spring ’18","url":"/services/data/v42.0","version":"42.0"}`) ||
		!strings.HasSuffix(r.body, `{"label":"Summer '26","url":"/services/data/v67.0","version":"67.0"}]`) {
		t.Errorf("versions: %d %s", r.status, r.body)
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{SessionTimeout: time.Hour, DailyLimit: 20})
	invalid := `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`
	o.want(o.do("GET", "/limits", "", "Authorization", "Bearer nonsense"), 401, invalid)
	o.want(o.do("GET", "/limits", "", "Authorization", "Basic x"), 401, `[{"message":"INVALID_HEADER_TYPE","errorCode":"INVALID_AUTH_HEADER"}]`)
	o.want(o.do("GET", "/limits", "", "Authorization", "Bearer eyJx"), 401, `[{"message":"INVALID_JWT_FORMAT","errorCode":"INVALID_AUTH_HEADER"}]`)
	r := o.do("GET", "/limits", "")
	if got := r.header.Get("Sforce-Limit-Info"); got != "api-usage=1/20" || !strings.Contains(r.body, `"DailyApiRequests":{"Max":20,"Remaining":19}`) || !json.Valid([]byte(r.body)) {
		t.Errorf("limits: %q %s", got, r.body)
	}
	o.want(o.do("GET", "/nothing/here", ""), 404, `[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`)
	o.SetAPIUsed(20)
	o.want(o.do("GET", "/limits", ""), 403, `[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`)
	o.SetAPIUsed(0)
	o.SetClockOffset(2 * time.Hour)
	o.want(o.do("GET", "/limits", ""), 401, invalid)
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	r := o.do("GET", "//services/data/v58.0/sobjects/contact/describe/", "")
	var d struct {
		Name   string
		Fields []map[string]any
	}
	if err := json.Unmarshal([]byte(r.body), &d); err != nil || d.Name != "Contact" {
		t.Fatalf("%v %s", err, r.body)
	}
	byName := map[string]map[string]any{}
	for _, f := range d.Fields {
		byName[f["name"].(string)] = f
		if len(f) != 57 {
			t.Errorf("%s has %d attributes", f["name"], len(f))
		}
	}
	for _, c := range []struct {
		field, attribute string
		want             any
	}{
		{"LastName", "nillable", false},
		{"LastName", "length", 80.0},
		{"LastName", "byteLength", 240.0},
		{"LastName", "compoundFieldName", "Name"},
		{"Email", "idLookup", true},
		{"Email", "externalId", false},
		{"CatalogUserId__c", "externalId", true},
		{"CatalogUserId__c", "unique", true},
		{"CatalogUserId__c", "idLookup", true},
		{"Phone", "label", "Business Phone"},
		{"Name", "createable", false},
		{"Description", "filterable", false},
		{"OwnerId", "defaultedOnCreate", true},
		{"AccountId", "relationshipName", "Account"},
		{"MailingAddress", "soapType", "urn:address"},
		{"IsDeleted", "defaultValue", false},
		{"CleanStatus", "restrictedPicklist", true},
		{"CleanStatus", "defaultValue", nil},
	} {
		if got := byName[c.field][c.attribute]; got != c.want {
			t.Errorf("%s.%s = %v, want %v", c.field, c.attribute, got, c.want)
		}
	}
	etag, modified := r.header.Get("ETag"), r.header.Get("Last-Modified")
	if g := o.do("GET", "/sobjects", ""); g.header.Get("ETag") != etag || etag == "" || !strings.HasPrefix(g.body, `{"encoding":"UTF-8","maxBatchSize":200,"sobjects":[`) {
		t.Errorf("global describe: %q, object describe %q", g.header.Get("ETag"), etag)
	}
	o.want(o.do("GET", "/sobjects/Lead/describe", "", "If-Modified-Since", modified), 304, "")
	o.want(o.do("GET", "/sobjects/Nope/describe", ""), 404, `[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`)
}

func TestRecords(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	r := o.do("POST", "/sobjects/contact/", `{"lastname":"  Doe ","FirstName":"Jo","Email":"JO@Example.COM","CatalogUserId__c":"u-1","MailingCity":"Oslo","attributes":{"type":"x"}}`)
	o.want(r, 201, `{"id":"*","success":true,"errors":[]}`)
	id := field(t, r.body, "id")
	if r.header.Get("Location") != base+"/sobjects/Contact/"+id {
		t.Errorf("Location %q", r.header.Get("Location"))
	}
	o.want(o.do("GET", "/sobjects/Contact/"+id[:15]+"?fields=Id,name,Email,MailingAddress,IsEmailBounced", ""), 200, `{"attributes":{"type":"Contact","url":"`+base+`/sobjects/Contact/`+id+`"},"Id":"`+id+
		`","Name":"Jo Doe","Email":"jo@example.com","MailingAddress":{"city":"Oslo","country":null,"geocodeAccuracy":null,"latitude":null,"longitude":null,"postalCode":null,"state":null,"street":null},"IsEmailBounced":false}`)
	o.want(o.do("PATCH", "/sobjects/Contact/"+id, `{"FirstName":null}`), 204, "")
	for _, c := range []struct{ name, method, path, body, want string }{
		{"unknown column", "POST", "/sobjects/Contact", `{"Nope":1}`, `400 [{"message":"No such column 'Nope' on sobject of type Contact","errorCode":"INVALID_FIELD"}]`},
		{"read-only", "POST", "/sobjects/Contact", `{"Name":"x","LastName":"y","MasterRecordId":null}`, `400 [{"message":"Unable to create/update fields: Name, MasterRecordId. Please check the security settings of this field and verify that it is read/write for your profile or permission set.","errorCode":"INVALID_FIELD_FOR_INSERT_UPDATE","fields":["Name","MasterRecordId"]}]`},
		{"required", "POST", "/sobjects/Lead", `{"FirstName":"x"}`, `400 [{"message":"Required fields are missing: [LastName, Company]","errorCode":"REQUIRED_FIELD_MISSING","fields":["LastName","Company"]}]`},
		{"required emptied", "PATCH", "/sobjects/Contact/" + id, `{"LastName":""}`, `400 [{"message":"Required fields are missing: [LastName]","errorCode":"REQUIRED_FIELD_MISSING","fields":["LastName"]}]`},
		{"too long", "POST", "/sobjects/Contact", `{"LastName":"` + strings.Repeat("é", 81) + `"}`, `400 [{"message":"Last Name: data value too large: ` + strings.Repeat("é", 81) + ` (max length=80)","errorCode":"STRING_TOO_LONG","fields":["LastName"]}]`},
		{"e-mail", "POST", "/sobjects/Contact", `{"LastName":"x","Email":"not an email"}`, `400 [{"message":"Email: invalid email address: not an email","errorCode":"INVALID_EMAIL_ADDRESS","fields":["Email"]}]`},
		{"restricted picklist", "POST", "/sobjects/Contact", `{"LastName":"x","CleanStatus":"Ol' Boy"}`, `400 [{"message":"Clean Status: bad value for restricted picklist field: Ol&#39; Boy","errorCode":"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST","fields":["CleanStatus"]}]`},
		{"unique, ignoring case", "POST", "/sobjects/Contact", `{"LastName":"x","CatalogUserId__c":"U-1"}`, `400 [{"message":"duplicate value found: CatalogUserId__c duplicates value on record with id: ` + id[:15] + `","errorCode":"DUPLICATE_VALUE","fields":[]}]`},
		{"date", "POST", "/sobjects/Contact", `{"LastName":"x","Birthdate":"1.2.2003"}`, `400 [{"message":"Cannot deserialize instance of date from VALUE_STRING value 1.2.2003 or request may be missing a required field at [line:1, column:39]","errorCode":"JSON_PARSER_ERROR"}]`},
		{"lookup of another object", "POST", "/sobjects/Contact", `{"LastName":"x","AccountId":"` + id + `"}`, `400 [{"message":"Account ID: id value of incorrect type: ` + id + `","errorCode":"FIELD_INTEGRITY_EXCEPTION","fields":["AccountId"]}]`},
		{"parent by key", "POST", "/sobjects/Contact", `{"LastName":"x","ReportsTo":{"CatalogUserId__c":"NO"}}`, `400 [{"message":"Foreign key external ID: no not found for field CatalogUserId__c in entity Contact","errorCode":"INVALID_FIELD","fields":[]}]`},
		{"id in the body", "PATCH", "/sobjects/Contact/" + id, `{"Id":"` + id + `"}`, `400 [{"message":"The Id field should not be specified in the sobject data.","errorCode":"INVALID_FIELD","fields":["Id"]}]`},
		{"no id", "GET", "/sobjects/Contact/zzz", ``, `404 [{"message":"Provided external ID field does not exist or is not accessible: zzz","errorCode":"NOT_FOUND"}]`},
		{"no record", "GET", "/sobjects/Contact/003000000000001", ``, `404 [{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`},
		{"wrong method", "PUT", "/sobjects/Contact", `{}`, `405 [{"message":"HTTP Method 'PUT' not allowed. Allowed are GET,HEAD,POST","errorCode":"METHOD_NOT_ALLOWED"}]`},
		{"no key field", "PATCH", "/sobjects/Contact/Namez/x", `{"LastName":"x"}`, `404 [{"message":"Provided external ID field does not exist or is not accessible: Namez","errorCode":"NOT_FOUND"}]`},
		{"key in the body", "PATCH", "/sobjects/Contact/CatalogUserId__c/x", `{"CatalogUserId__c":"x"}`, `400 [{"message":"The CatalogUserId__c field should not be specified in the sobject data.","errorCode":"INVALID_FIELD","fields":["CatalogUserId__c"]}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := o.do(c.method, c.path, c.body)
			if got := fmt.Sprintf("%d %s", r.status, r.body); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	o.want(o.do("PATCH", "/sobjects/Contact/catalogUserId__c/U-1", `{"FirstName":"Up"}`), 200, `{"id":"`+id+`","success":true,"errors":[],"created":false}`)
	o.want(o.do("PATCH", "/sobjects/Contact/Email/new%40example.com", `{"LastName":"New"}`), 201, `{"id":"003*","success":true,"errors":[],"created":true}`)
	twin := o.create("Contact", map[string]string{"LastName": "Twin", "Email": "jo@example.com"})
	o.want(o.do("PATCH", "/sobjects/Contact/Email/jo@example.com", `{"LastName":"New"}`), 300, `["`+base+`/sobjects/Contact/`+id+`","`+base+`/sobjects/Contact/`+twin+`"]`)
	o.want(o.do("DELETE", "/sobjects/Contact/"+id, ""), 204, "")
	o.want(o.do("DELETE", "/sobjects/Contact/"+id, ""), 404, `[{"message":"entity is deleted","errorCode":"ENTITY_IS_DELETED","fields":[]}]`)
	o.want(o.do("GET", "/sobjects/Contact/"+id, ""), 404, `[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`)
	o.want(o.query("SELECT Id FROM Contact WHERE CatalogUserId__c = 'u-1'"), 200, `{"totalSize":0,"done":true,"records":[]}`)
}

func TestConvertedLead(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	id := o.create("Lead", map[string]string{"LastName": "L", "Company": "C", "Email": "l@example.com"})
	contact, err := o.ConvertLead(id)
	if err != nil {
		t.Fatal(err)
	}
	o.want(o.do("PATCH", "/composite/sobjects", `{"records":[{"id":"`+id+`","LastName":"x","attributes":{"type":"Lead"}}]}`), 200,
		`[{"success":false,"errors":[{"statusCode":"CANNOT_UPDATE_CONVERTED_LEAD","message":"cannot reference converted lead","fields":[]}]}]`)
	o.want(o.do("PATCH", "/sobjects/Lead/Email/l@example.com", `{"LastName":"x"}`), 400, `[{"message":"cannot reference converted lead","errorCode":"CANNOT_UPDATE_CONVERTED_LEAD","fields":[]}]`)
	o.want(o.query("SELECT ConvertedContactId FROM Lead WHERE IsConverted = true"), 200, `*"ConvertedContactId":"`+contact+`"}]}`)
}

func TestMergeAndRecycleBin(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	winner, loser := o.create("Contact", map[string]string{"LastName": "w"}), o.create("Contact", map[string]string{"LastName": "l", "Email": "l@x.org"})
	child := o.create("Contact", map[string]string{"LastName": "c", "ReportsToId": loser})
	if err := o.Merge(winner, loser); err != nil {
		t.Fatal(err)
	}
	if err := o.Merge(winner, loser); err == nil {
		t.Error("a deleted record was merged")
	}
	o.want(o.do("GET", "/queryAll?q=SELECT+Id,MasterRecordId+FROM+Contact+WHERE+IsDeleted=true", ""), 200, `*"Id":"`+loser+`","MasterRecordId":"`+winner+`"}]}`)
	o.want(o.query("SELECT Id FROM Contact WHERE ReportsToId = '"+winner+"'"), 200, `*"Id":"`+child+`"}]}`)
	o.want(o.do("PATCH", "/composite/sobjects", `{"records":[{"attributes":{"type":"Contact"},"id":"`+loser+`","LastName":"x"}]}`), 200, `[{"success":false,"errors":[{"statusCode":"ENTITY_IS_DELETED","message":"entity is deleted","fields":[]}]}]`)
	if err := o.Undelete(loser); err != nil {
		t.Fatal(err)
	}
	o.want(o.query("SELECT COUNT() FROM Contact WHERE Email = 'L@X.org'"), 200, `{"totalSize":1,"done":true,"records":[]}`)
	account := o.create("Account", map[string]string{"Name": "A"})
	if err := o.Update(child, map[string]string{"AccountId": account}); err != nil {
		t.Fatal(err)
	}
	o.want(o.do("DELETE", "/sobjects/Account/"+account, ""), 204, "")
	if r, _ := o.Record(child); !r.Deleted {
		t.Error("a contact outlived its account")
	}
	if r := o.do("GET", "/query?q="+strings.Repeat("x", 17_000), ""); r.status != 414 {
		t.Errorf("a URI of 17,000 bytes: %d", r.status)
	}
}

func TestCollections(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	two := func(a, b string) string {
		return `{"allOrNone":%v,"records":[{"attributes":{"type":"Contact"},` + a + `},{` + b + `,"attributes":{"type":"Contact"}}]}`
	}
	o.want(o.do("POST", "/composite/sobjects", fmt.Sprintf(two(`"FirstName":"x"`, `"LastName":"b"`), true)), 200, `[{"success":false,"errors":[{"statusCode":"REQUIRED_FIELD_MISSING","message":"Required fields are missing: [LastName]","fields":["LastName"]}]},`+
		`{"success":false,"errors":[{"statusCode":"ALL_OR_NONE_OPERATION_ROLLED_BACK","message":"Record rolled back because not all records were valid and the request was using AllOrNone header","fields":[]}]}]`)
	if n := o.Count("Contact"); n != 0 || o.EffectCount() != 0 {
		t.Errorf("%d contacts, %d effects after a rolled back call", n, o.EffectCount())
	}
	o.want(o.do("POST", "/composite/sobjects", fmt.Sprintf(two(`"FirstName":"x"`, `"LastName":"b"`), false)), 200, `[{"success":false,*},{"id":"003*","success":true,"errors":[]}]`)
	o.want(o.do("POST", "/composite/sobjects", `{"records":[]}`), 400, `[{"message":"At least 1 record is required","errorCode":"REQUIRED_FIELD_MISSING"}]`)
	o.want(o.do("PATCH", "/composite/sobjects", fmt.Sprintf(two(`"LastName":"x"`, `"LastName":"b"`), false)), 200, `[{"success":false,"errors":[{"statusCode":"MISSING_ARGUMENT","message":"Id not specified in an update call","fields":[]}]},*]`)
	o.want(o.do("PATCH", "/composite/sobjects/Contact/CatalogUserId__c", fmt.Sprintf(two(`"LastName":"x","CatalogUserId__c":"A"`, `"LastName":"b","CatalogUserId__c":"a"`), false)), 200,
		`[{"success":false,"errors":[{"statusCode":"DUPLICATE_VALUE","message":"Duplicate external id specified: A","fields":[]}],"created":false},*]`)
	o.want(o.do("PATCH", "/composite/sobjects/Contact/CatalogUserId__c", fmt.Sprintf(two(`"LastName":"x","CatalogUserId__c":"A"`, `"LastName":"b","CatalogUserId__c":"B"`), false)), 200,
		`[{"id":"003*","success":true,"errors":[],"created":true},{"id":"003*","success":true,"errors":[],"created":true}]`)
	var saved []struct{ ID string }
	r := o.do("PATCH", "/composite/sobjects/Contact/CatalogUserId__c", fmt.Sprintf(two(`"LastName":"y","CatalogUserId__c":"a"`, `"LastName":"b","CatalogUserId__c":"c"`), false))
	o.want(r, 200, `[{"id":"003*","success":true,"errors":[],"created":false},{"id":"003*","success":true,"errors":[],"created":true}]`)
	if err := json.Unmarshal([]byte(r.body), &saved); err != nil {
		t.Fatal(err)
	}
	if rec, _ := o.Record(saved[0].ID); rec.Fields["CatalogUserId__c"] != "A" || rec.Fields["LastName"] != "y" {
		t.Errorf("the key was rewritten: %v", rec.Fields)
	}
	get := `[{"attributes":{"type":"Contact","url":"*"},"LastName":"y"},null]`
	o.want(o.do("GET", "/composite/sobjects/Contact?ids="+saved[0].ID+",003000000000001&fields=LastName", ""), 200, get)
	o.want(o.do("POST", "/composite/sobjects/Contact", `{"ids":["`+saved[0].ID+`","003000000000001"],"fields":["LastName"]}`), 200, get)
	o.want(o.do("DELETE", "/composite/sobjects?ids="+saved[0].ID+",003000000000001&allOrNone=false", ""), 200,
		`[{"id":"`+saved[0].ID+`","success":true,"errors":[]},{"success":false,"errors":[{"statusCode":"INVALID_CROSS_REFERENCE_KEY","message":"invalid cross reference id","fields":[]}]}]`)
	rows := strings.Repeat(`{"attributes":{"type":"Contact"},"LastName":"x"},`, 201)
	o.want(o.do("POST", "/composite/sobjects", `{"records":[`+strings.TrimSuffix(rows, ",")+`]}`), 400, `[{"message":"record limit reached. cannot submit more than 200 records into this call","errorCode":"EXCEEDED_ID_LIMIT"}]`)
}

func TestPaging(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{SeedRecords: map[string]int{"Contact": 450}})
	type page struct {
		TotalSize      int
		Done           bool
		NextRecordsURL *string `json:"nextRecordsUrl"`
		Records        []struct{ ID string }
	}
	read := func(r reply) (p page) {
		if err := json.Unmarshal([]byte(r.body), &p); err != nil {
			t.Fatalf("%v: %s", err, r.body)
		}
		return p
	}
	seen := map[string]bool{}
	p := read(o.do("GET", "/query/?q=SELECT+Id+FROM+Contact", "", "Sforce-Query-Options", "batchSize=10"))
	first := *p.NextRecordsURL
	for pages := 1; ; pages++ {
		for _, r := range p.Records {
			seen[r.ID] = true
		}
		if p.Done {
			if pages != 3 || p.NextRecordsURL != nil || len(seen) != 450 || p.TotalSize != 450 {
				t.Errorf("%d pages, %d records, %+v", pages, len(seen), p)
			}
			break
		}
		p = read(o.do("GET", *p.NextRecordsURL, ""))
	}
	if !strings.HasPrefix(first, base+"/query/0r8") || !strings.HasSuffix(first, "-200") {
		t.Errorf("nextRecordsUrl %q", first)
	}
	o.want(o.do("GET", "/query/0r8000000000001AAA-200", ""), 400, `[{"message":"invalid query locator","errorCode":"INVALID_QUERY_LOCATOR"}]`)
	other := o.AccessToken()
	o.want(o.do("GET", first, "", "Authorization", "Bearer "+other), 401, `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`)
	o.SetClockOffset(20 * time.Minute)
	o.want(o.do("GET", first, ""), 400, `[{"message":"invalid query locator","errorCode":"INVALID_QUERY_LOCATOR"}]`)
}
