package simulator_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
)

func TestRecordTypes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state")
	o := start(t, simulator.Options{RecordTypes: []string{"Contact.Key_Teacher", "Account.Partner"}, StateFile: file})
	types := o.query("SELECT Id, Name, DeveloperName, SobjectType FROM RecordType ORDER BY SobjectType")
	o.want(types, 200, `{"totalSize":2,*"Name":"Partner","DeveloperName":"Partner","SobjectType":"Account"*"Name":"Key Teacher","DeveloperName":"Key_Teacher","SobjectType":"Contact"}]}`)
	var found struct{ Records []struct{ ID string } }
	if err := json.Unmarshal([]byte(types.body), &found); err != nil {
		t.Fatal(err)
	}
	partner, teacher := found.Records[0].ID, found.Records[1].ID
	o.want(o.do("GET", "/sobjects/Contact/describe", ""), 200, `*"name":"RecordTypeId"*"recordTypeInfos":[{"active":true,"available":true,"defaultRecordTypeMapping":false,"developerName":"Key_Teacher","master":false,"name":"Key Teacher","recordTypeId":"`+
		teacher+`","urls":{"layout":"*"}},{"active":true,"available":true,"defaultRecordTypeMapping":true,"developerName":"Master","master":true,*`)
	if r := o.do("GET", "/sobjects/Lead/describe", ""); strings.Contains(r.body, "RecordTypeId") {
		t.Error("an object without record types has RecordTypeId")
	}
	id := field(t, o.do("POST", "/sobjects/Contact", `{"LastName":"x","RecordTypeId":"`+teacher+`"}`).body, "id")
	o.want(o.query("SELECT RecordTypeId, RecordType.DeveloperName FROM Contact WHERE RecordType.DeveloperName = 'Key_Teacher'"), 200, `*"RecordTypeId":"`+teacher+`","RecordType":{"attributes":{*},"DeveloperName":"Key_Teacher"}}]}`)
	for _, bad := range []string{partner, "012000000000000AAA"} {
		o.want(o.do("PATCH", "/sobjects/Contact/"+id, `{"RecordTypeId":"`+bad+`"}`), 400,
			`[{"message":"Record Type ID: this ID value isn't valid for the user: `+bad+`","errorCode":"INVALID_CROSS_REFERENCE_KEY","fields":["RecordTypeId"]}]`)
	}
	before := o.do("GET", "/sobjects/Lead/describe", "").header.Get("ETag")
	o.want(o.do("POST", "/sobjects/RecordType", `{"Name":"Cold","DeveloperName":"Cold","SobjectType":"Lead","IsActive":true}`), 201, `*`)
	if r := o.do("GET", "/sobjects/Lead/describe", ""); !strings.Contains(r.body, `"developerName":"Cold"`) || r.header.Get("ETag") == before {
		t.Errorf("a new record type is not in the describe, or the ETag is still %s", before)
	}
	if err := o.SaveState(file); err != nil {
		t.Fatal(err)
	}
	again := start(t, simulator.Options{StateFile: file, RecordTypes: []string{"Contact.Key_Teacher"}})
	again.want(again.query("SELECT RecordTypeId FROM Contact WHERE Id = '"+id+"'"), 200, `*"RecordTypeId":"`+teacher+`"}]}`)
	if _, err := simulator.New(simulator.Options{RecordTypes: []string{"Report.X"}}); err == nil {
		t.Error("a record type of an object that has none was taken")
	}
}

func TestStateCountryPicklists(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{StateCountryPicklists: true})
	o.want(o.do("POST", "/sobjects/Contact", `{"LastName":"x","MailingCountryCode":"XX"}`), 400, `[{"message":"Mailing Country Code: bad value for restricted picklist field: XX","errorCode":"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST","fields":["MailingCountryCode"]}]`)
	id := field(t, o.do("POST", "/sobjects/Contact", `{"LastName":"x","MailingCountryCode":"DE"}`).body, "id")
	o.want(o.do("GET", "/sobjects/Contact/"+id+"?fields=MailingAddress", ""), 200, `*"MailingAddress":{"city":null,"country":"Germany","countryCode":"DE",*"stateCode":null,"street":null}}`)
	o.want(o.do("PATCH", "/sobjects/Contact/"+id, `{"MailingCountry":"united states","MailingState":"Texas"}`), 204, "")
	o.want(o.do("GET", "/sobjects/Contact/"+id+"?fields=MailingCountry,MailingCountryCode,MailingStateCode", ""), 200, `*"MailingCountry":"United States","MailingCountryCode":"US","MailingStateCode":"TX"}`)
	o.want(o.do("PATCH", "/sobjects/Contact/"+id, `{"MailingCountry":"Atlantis"}`), 400, `[{"message":"There's a problem with this country, even though it may appear correct. Please select a country/territory from the list of valid countries.: Mailing Country","errorCode":"FIELD_INTEGRITY_EXCEPTION","fields":["MailingCountry"]}]`)
}

// TestExpiry moves the org's clock past the life of jobs.
func TestExpiry(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{SessionTimeout: 30 * 24 * time.Hour})
	ingest, _ := o.ingest(`{"object":"Contact","operation":"insert"}`, "LastName\nx\n")
	query := field(t, o.do("POST", "/jobs/query", `{"operation":"query","query":"SELECT Id FROM Contact"}`).body, "id")
	o.ended("query", query)
	paths := []string{"/jobs/ingest/" + ingest, "/jobs/ingest/" + ingest + "/successfulResults", "/jobs/query/" + query, "/jobs/query/" + query + "/results"}
	o.SetClockOffset(7*24*time.Hour - time.Minute)
	for _, p := range paths {
		o.want(o.do("GET", p, ""), 200, "*")
	}
	o.SetClockOffset(7*24*time.Hour + time.Minute)
	for _, p := range paths {
		o.want(o.do("GET", p, ""), 404, `[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`)
	}
	o.want(o.do("GET", "/jobs/ingest", ""), 200, `{"done":true,"records":[],"nextRecordsUrl":null}`)
}

// TestChildPaging reads more children of a record than a page holds.
func TestChildPaging(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{SampleCases: true})
	r := o.do("GET", "/query?q=SELECT+Id,(SELECT+LastName+FROM+Contacts)+FROM+Account+WHERE+Name='Account+of+Five+Hundred'", "", "Sforce-Query-Options", "batchSize=200")
	type list struct {
		TotalSize      int
		Done           bool
		NextRecordsURL string `json:"nextRecordsUrl"`
		Records        []struct {
			LastName string
			Contacts json.RawMessage
		}
	}
	read := func(text string) (l list) {
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		return l
	}
	seen := map[string]bool{}
	page := read(string(read(r.body).Records[0].Contacts))
	for pages := 1; ; pages++ {
		for _, c := range page.Records {
			seen[c.LastName] = true
		}
		if page.Done {
			if pages != 3 || len(seen) != 500 || page.TotalSize != 500 {
				t.Errorf("%d pages, %d children, total %d", pages, len(seen), page.TotalSize)
			}
			return
		}
		page = read(o.do("GET", page.NextRecordsURL, "").body)
	}
}

// TestQueryJobStates meets a query job while it runs, and aborts it.
func TestQueryJobStates(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{BulkQueryRate: 1, SeedRecords: map[string]int{"Contact": 300}})
	r := o.do("POST", "/jobs/query", `{"operation":"query","query":"SELECT Id FROM Contact"}`)
	o.want(r, 200, `*"state":"UploadComplete"*`)
	path := "/jobs/query/" + field(t, r.body, "id")
	o.eventually(func() bool { return strings.Contains(o.do("GET", path, "").body, `"state":"InProgress"`) })
	o.want(o.do("GET", path, ""), 200, `*"numberRecordsProcessed":0,*`)
	o.want(o.do("GET", path+"/results", ""), 400, `[{"errorCode":"INVALIDJOBSTATE","message":"*"}]`)
	o.want(o.do("DELETE", path, ""), 400, `[{"errorCode":"API_ERROR","message":"Error encountered when deleting the job because the job is not terminated"}]`)
	o.want(o.do("PATCH", path, `{"state":"Aborted"}`), 200, `*"state":"Aborted"*`)
	o.want(o.do("DELETE", path, ""), 204, "")
}

// TestOldDescribes checks what describes of old versions lack.
func TestOldDescribes(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	for version, lacks := range map[string][]string{
		"42.0": {"aiPredictionField", "deepCloneable", "associateEntityType", "scopingRule", "developerName", `"length":255,"mask":null,"maskType":null,"name":"LeadSource"`},
		"48.0": {"associateEntityType", "scopingRule", "sobjectDescribeOption"},
		"53.0": {"scopingRule"},
		"60.0": {},
	} {
		body := o.do("GET", "/services/data/v"+version+"/sobjects/Lead/describe", "").body
		all := []string{"aiPredictionField", "deepCloneable", "associateEntityType", "scopingRule", "sobjectDescribeOption", "developerName"}
		for _, name := range lacks {
			if strings.Contains(body, name) {
				t.Errorf("v%s has %s", version, name)
			}
			all = strings.Split(strings.Trim(strings.ReplaceAll(" "+strings.Join(all, " ")+" ", " "+name+" ", " "), " "), " ")
		}
		for _, name := range all {
			if !strings.Contains(body, name) {
				t.Errorf("v%s lacks %s", version, name)
			}
		}
	}
}

// TestRefusalsAsCaptured checks texts and orders that captured replies have settled.
func TestRefusalsAsCaptured(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	id, _ := o.ingest(`{"object":"Opportunity","operation":"insert"}`, "Name,StageName,CloseDate\na,b,2003-04-99\n")
	o.want(o.do("GET", "/jobs/ingest/"+id+"/failedResults", ""), 200, "\"sf__Id\",\"sf__Error\",Name,StageName,CloseDate\n"+
		"\"\",\"INVALID_FIELD:Failed to deserialize field at col 2. Due to, '2003-04-99' is not a valid value for the type xsd:date:CloseDate --\",\"a\",\"b\",\"2003-04-99\"\n")
	o.want(o.do("GET", "/search?q=FIND+{a|b}+RETURNING+Contact", ""), 400,
		`[{"message":"\nFIND {a|b} RETURNING Contact\n      ^\nERROR at Row:1:Column:7\nline 1:7 mismatched character '|' expecting '}'","errorCode":"MALFORMED_SEARCH"}]`)
	o.want(o.do("GET", `/search?q=FIND+{a\|b}+RETURNING+Contact`, ""), 200, `{"searchRecords":[]}`)
	user := `{"Username":"Admin@simulator.example","LastName":"a","Email":"a@b.example","Alias":"a","TimeZoneSidKey":"GMT","LocaleSidKey":"en_US","EmailEncodingKey":"UTF-8","LanguageLocaleKey":"en_US","ProfileId":"` +
		field(t, o.do("GET", "/sobjects/User/"+o.UserID(), "").body, "ProfileId") + `"}`
	o.want(o.do("POST", "/sobjects/User", user), 400, `[{"message":"Duplicate Username.<br>*","errorCode":"DUPLICATE_USERNAME","fields":["Username"]}]`)
}
