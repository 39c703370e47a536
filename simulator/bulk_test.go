package simulator_test

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

const upsertJob = `{"object":"contact","operation":"upsert","externalIdFieldName":"cataloguserid__c","contentType":"CSV","lineEnding":"LF"}`

func lines(s string) []string {
	out := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	slices.Sort(out[1:])
	return out
}

func TestIngestLifecycle(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	r := o.do("POST", "/jobs/ingest/", upsertJob)
	id := field(t, r.body, "id")
	head := `{"id":"` + id + `","operation":"upsert","object":"Contact","createdById":"` + o.UserID() + `","createdDate":"*.000+0000","systemModstamp":"*.000+0000","state":`
	tail := `"externalIdFieldName":"CatalogUserId__c","concurrencyMode":"Parallel","contentType":"CSV","apiVersion":67.0`
	content := `"contentUrl":"services/data/v67.0/jobs/ingest/` + id + `/batches","lineEnding":"LF","columnDelimiter":"COMMA"`
	times := `"retries":0,"totalProcessingTime":*,"apiActiveProcessingTime":*,"apexProcessingTime":0}`
	o.want(r, 200, head+`"Open",`+tail+`,`+content+`}`)
	o.want(o.do("GET", "/jobs/ingest/"+id, ""), 200, head+`"Open",`+tail+`,"jobType":"V2Ingest",`+content+`,`+times)
	o.want(o.do("PATCH", "/jobs/ingest/"+id, `{"state":"UploadComplete"}`), 400, `[{"errorCode":"INVALIDJOBSTATE",*`)
	rows := "CatalogUserId__c,LastName,FirstName,Email,Birthdate,AccountId\na1,\"L \"\"q\"\"\nx\",F,a1@x.org,2001-02-03,\na2,,F,a2@x.org,,\na3,L3,F,bad,,\na4,L4,F,,2001-13-45,\n,L5,F,,,\na6,L6,#N/A,,,\na7,L \"7,F,,,\nb,L,,,,\nB,L,,,,\n"
	o.want(o.do("PUT", "/services/data/v67.0/jobs/ingest/"+id+"/batches/", rows, "Content-Type", "text/csv"), 201, "")
	o.want(o.do("GET", "/jobs/ingest/"+id, ""), 200, head+`"Open",`+tail+`,"jobType":"V2Ingest",`+content+`,"numberRecordsProcessed":0,"numberRecordsFailed":0,`+times)
	o.want(o.do("PUT", "/jobs/ingest/"+id+"/batches", rows, "Content-Type", "text/csv"), 400, `[{"errorCode":"INVALIDJOBSTATE","message":"Found multiple contents for job: <`+id+`>*`)
	o.want(o.do("GET", "/jobs/ingest/"+id+"/failedResults", ""), 400, `[{"errorCode":"INVALIDJOBSTATE",*`)
	o.want(o.do("DELETE", "/jobs/ingest/"+id, ""), 400, `[{"errorCode":"API_ERROR","message":"Error encountered when deleting the job because the job is not terminated"}]`)
	o.want(o.do("PATCH", "/jobs/ingest/"+id, `{"id":"`+id+`","state":"UploadComplete"}`), 200, head+`"UploadComplete",`+tail+`}`)
	o.want(reply{status: 200, body: o.ended("ingest", id)}, 200, head+`"JobComplete",`+tail+`,"jobType":"V2Ingest","lineEnding":"LF","columnDelimiter":"COMMA","numberRecordsProcessed":9,"numberRecordsFailed":7,`+times)
	bad := o.do("GET", "/jobs/ingest/"+id+"/failedResults/", "")
	want := strings.Join([]string{
		`"sf__Id","sf__Error",CatalogUserId__c,LastName,FirstName,Email,Birthdate,AccountId`,
		`"","CLIENT_INPUT_ERROR:malformed CSV row: the header has 6 columns and the row 6, or a quote stands outside a quoted value:--","a7","L ""7","F","","",""`,
		`"","DUPLICATE_VALUE:Duplicate external id specified: B:--","B","L","","","",""`,
		`"","DUPLICATE_VALUE:Duplicate external id specified: b:--","b","L","","","",""`,
		`"","INVALID_EMAIL_ADDRESS:Email: invalid email address: bad:Email --","a3","L3","F","bad","",""`,
		`"","INVALID_FIELD:Failed to deserialize field at col 4. Due to, '2001-13-45' is not a valid value for the type xsd:date:Birthdate --","a4","L4","F","","2001-13-45",""`,
		`"","MISSING_ARGUMENT:CatalogUserId__c not specified:--","","L5","F","","",""`,
		`"","REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --","a2","","F","a2@x.org","",""`,
	}, "\n")
	if got := strings.Join(lines(bad.body), "\n"); got != want || bad.header.Get("Sforce-Locator") != "null" || bad.header.Get("Sforce-NumberOfRecords") != "7" {
		t.Errorf("failedResults %v\n%s\nwant\n%s", bad.header, got, want)
	}
	good := o.do("GET", "/jobs/ingest/"+id+"/successfulResults", "")
	records, err := csv.NewReader(strings.NewReader(good.body)).ReadAll()
	if err != nil || len(records) != 3 || records[0][0] != "sf__Id" || records[1][1] != "true" {
		t.Errorf("successfulResults %v\n%s", err, good.body)
	}
	o.want(o.do("GET", "/jobs/ingest/"+id+"/unprocessedrecords", ""), 200, "CatalogUserId__c,LastName,FirstName,Email,Birthdate,AccountId\n")
	o.want(o.do("PATCH", "/jobs/ingest/"+id, `{"state":"Aborted"}`), 400, `[{"errorCode":"INVALIDJOBSTATE","message":"Aborting already Completed Job not allowed"}]`)
	o.want(o.do("GET", "/jobs/ingest?jobType=V2Ingest", ""), 200, `{"done":true,"records":[`+head+`"JobComplete",`+tail+`,"jobType":"V2Ingest","lineEnding":"LF","columnDelimiter":"COMMA"}],"nextRecordsUrl":null}`)
	effects := o.Effects()
	if len(effects) != 2 || effects[0].BulkJobID != id || effects[0].Action != "create" || effects[0].ExternalID != "a1" {
		t.Errorf("effects %+v", effects)
	}
	o.want(o.do("DELETE", "/jobs/ingest/"+id, ""), 204, "")
	o.want(o.do("GET", "/jobs/ingest/"+id, ""), 404, `[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`)
}

func TestIngestOperations(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{OrderedResults: true})
	acc, contact := o.create("Account", map[string]string{"Name": "A"}), o.create("Contact", map[string]string{"LastName": "C", "Email": "c@x.org", "CatalogUserId__c": "k"})
	_, info := o.ingest(`{"object":"Contact","operation":"update","lineEnding":"CRLF","columnDelimiter":"PIPE"}`, "Id|AccountId|ReportsTo.Email\r\n"+contact[:15]+"|"+acc+"|\r\n003000000000001AAA||\r\n")
	o.want(reply{200, nil, info}, 200, `*"state":"JobComplete"*"lineEnding":"CRLF","columnDelimiter":"PIPE","numberRecordsProcessed":2,"numberRecordsFailed":1*`)
	r := o.do("GET", "/jobs/ingest/"+field(t, info, "id")+"/failedResults", "")
	o.want(r, 200, "\"sf__Id\"|\"sf__Error\"|Id|AccountId|ReportsTo.Email\r\n\"003000000000001AAA\"|\"INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--\"|\"003000000000001AAA\"|\"\"|\"\"\r\n")
	id, _ := o.ingest(`{"object":"Contact","operation":"insert","externalIdFieldName":""}`, "LastName,ReportsTo.CatalogUserId__c\nx,K\ny,nope\n")
	o.want(o.do("GET", "/jobs/ingest/"+id+"/failedResults", ""), 200, "*\"\",\"INVALID_FIELD:Foreign key external ID: nope not found for field CatalogUserId__c in entity Contact:--\",\"y\",\"nope\"\n")
	id, _ = o.ingest(`{"object":"Account","operation":"upsert","externalIdFieldName":"Id"}`, "Id,Name,AnnualRevenue\n,New,912260031\n"+acc+",Old,1.5\n")
	o.want(o.do("GET", "/jobs/ingest/"+id+"/successfulResults", ""), 200, "\"sf__Id\",\"sf__Created\",Id,Name,AnnualRevenue\n\"001*\",\"true\",\"\",\"New\",\"9.12260031E8\"\n\""+acc+"\",\"false\",\""+acc+"\",\"Old\",\"2.0\"\n")
	id, _ = o.ingest(`{"object":"Contact","operation":"hardDelete"}`, "Id\n"+contact+"\n")
	o.want(o.do("GET", "/jobs/ingest/"+id+"/successfulResults", ""), 200, "\"sf__Id\",\"sf__Created\",Id\n\""+contact+"\",\"false\",\""+contact+"\"\n")
	if _, ok := o.Record(contact); ok {
		t.Error("hard deleted record is still there")
	}
	for _, c := range []struct{ job, csv, message string }{
		{upsertJob, "\ufeffCatalogUserId__c,LastName\na,b\n", "InvalidBatch : Field name not found : \ufeffCatalogUserId__c"},
		{upsertJob, "CatalogUserId__c,Nope__c,Nada\na,b,c\n", "InvalidBatch : Field name not found : Nope__c"},
		{upsertJob, "CatalogUserId__c,LastName\r\na,b\r\n", "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF"},
		{upsertJob, "CatalogUserId__c,User:Owner.Username,LastName\na,b,c\n", "InvalidBatch : Field name not found : User:Owner.Username"},
		{`{"object":"Lead","operation":"insert"}`, "LastName,Owner.Username\na,b\n", "InvalidBatch : Field name not found : Owner.Username"},
	} {
		id, info := o.ingest(c.job, c.csv)
		if field(t, info, "state") != "Failed" || field(t, info, "errorMessage") != c.message || !strings.Contains(info, `"numberRecordsProcessed":0,"numberRecordsFailed":0`) {
			t.Errorf("%q: %s", c.csv, info)
		}
		if r := o.do("GET", "/jobs/ingest/"+id+"/unprocessedrecords", ""); strings.Count(r.body, "\n") != 2 {
			t.Errorf("%q: unprocessed %q", c.csv, r.body)
		}
	}
	if _, info := o.ingest(upsertJob, ""); field(t, info, "state") != "JobComplete" {
		t.Errorf("empty upload: %s", info)
	}
	for body, want := range map[string]string{
		`{"object":"Nope","operation":"insert"}`:                                       `[{"errorCode":"INVALIDENTITY","message":"Entity 'Nope' is not supported by the Bulk API."}]`,
		`{"object":"Contact","operation":"upsert"}`:                                    `[{"errorCode":"INVALIDJOB",*`,
		`{"object":"Contact","operation":"upsert","externalIdFieldName":"Department"}`: `[{"errorCode":"INVALIDJOB",*`,
		`{"object":"Contact","operation":"insert","columnDelimiter":"X"}`:              `[{"errorCode":"INVALIDJOB",*`,
		`{"object":"Contact","operation":"frobnicate"}`:                                `[{"errorCode":"INVALIDJOB",*`,
	} {
		o.want(o.do("POST", "/jobs/ingest", body), 400, want)
	}
	body := "--B\r\nContent-Type: application/json\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n" + upsertJob + "\r\n--B\r\nContent-Type: text/csv\r\nContent-Disposition: form-data; name=\"content\"; filename=\"content\"\r\n\r\nCatalogUserId__c,LastName\nmp,x\n\r\n--B--\r\n"
	r = o.do("POST", "/jobs/ingest", body, "Content-Type", "multipart/form-data; boundary=B")
	o.want(r, 200, `*"state":"UploadComplete"*`)
	o.want(reply{200, nil, o.ended("ingest", field(t, r.body, "id"))}, 200, `*"numberRecordsProcessed":1,"numberRecordsFailed":0*`)
}

func rows(n int) string {
	var b strings.Builder
	b.WriteString("CatalogUserId__c,LastName,Email\n")
	for i := range n {
		fmt.Fprintf(&b, "u%d,Last %d,u%d@example.com\n", i, i, i)
	}
	return b.String()
}

func TestResultsAreShuffledAndPaged(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	id, _ := o.ingest(upsertJob, rows(1000))
	var keys []string
	path := "/jobs/ingest/" + id + "/successfulResults?maxRecords=300"
	for pages, locator := 0, ""; ; pages++ {
		r := o.do("GET", path+locator, "")
		records, err := csv.NewReader(strings.NewReader(r.body)).ReadAll()
		if err != nil || records[0][2] != "CatalogUserId__c" {
			t.Fatal(err, r.body)
		}
		for _, rec := range records[1:] {
			keys = append(keys, rec[2])
		}
		next := r.header.Get("Sforce-Locator")
		if next == "null" {
			if pages != 3 {
				t.Errorf("%d pages", pages+1)
			}
			break
		}
		locator = "&locator=" + next
	}
	if len(keys) != 1000 || slices.Index(keys, "u0") == 0 && slices.Index(keys, "u1") == 1 && slices.Index(keys, "u2") == 2 {
		t.Errorf("%d rows starting %v", len(keys), keys[:3])
	}
	slices.Sort(keys)
	if len(slices.Compact(keys)) != 1000 {
		t.Error("a row is there twice")
	}
}

func TestBulkRateAbortAndFailure(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{BulkRate: 2000})
	id := o.open(upsertJob, rows(40_000))
	o.want(o.do("PATCH", "/jobs/ingest/"+id, `{"state":"UploadComplete"}`), 200, `*`)
	for deadline := time.Now().Add(10 * time.Second); o.EffectCount() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nothing was applied")
		}
		o.do("GET", "/jobs/ingest/"+id, "")
	}
	o.want(o.do("GET", "/jobs/ingest/"+id, ""), 200, `*"state":"InProgress"*`)
	o.want(o.do("PATCH", "/jobs/ingest/"+id, `{"state":"Aborted"}`), 200, `*"state":"Aborted"*`)
	done := o.Count("Contact")
	good, rest := o.do("GET", "/jobs/ingest/"+id+"/successfulResults", ""), o.do("GET", "/jobs/ingest/"+id+"/unprocessedRecords", "")
	if g, u := strings.Count(good.body, "\n")-1, strings.Count(rest.body, "\n")-1; g != done || g+u != 40_000 || int64(g) != o.EffectCount() {
		t.Errorf("%d contacts, %d successful + %d unprocessed, %d effects", done, g, u, o.EffectCount())
	}
	fast := start(t, simulator.Options{})
	fast.Faults().MustAdd(fault.Rule{Kind: fault.BulkFail, Chunks: 1})
	id, info := fast.ingest(upsertJob, rows(12_000))
	rest = fast.do("GET", "/jobs/ingest/"+id+"/unprocessedRecords", "")
	if field(t, info, "state") != "Failed" || fast.Count("Contact") != 10_000 || strings.Count(rest.body, "\n") != 2001 {
		t.Errorf("%s, %d contacts, %d unprocessed", info, fast.Count("Contact"), strings.Count(rest.body, "\n")-1)
	}
}

func TestBulkQuery(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{SeedRecords: map[string]int{"Contact": 25}})
	acc := o.create("Account", map[string]string{"Name": "A \"1\", Inc", "AnnualRevenue": "139000000"})
	o.create("Contact", map[string]string{"LastName": "Ω", "AccountId": acc})
	r := o.do("POST", "/jobs/query", `{"operation":"query","query":"SELECT Id, LastName, Email, Account.Name, Account.AnnualRevenue, IsDeleted, CreatedDate FROM Contact WHERE AccountId != null"}`)
	o.want(r, 200, `{"id":"750*","operation":"query","object":"Contact","createdById":"005*","createdDate":"*","systemModstamp":"*","state":"UploadComplete","concurrencyMode":"Parallel","contentType":"CSV","apiVersion":67.0,"lineEnding":"LF","columnDelimiter":"COMMA"}`)
	id := field(t, r.body, "id")
	o.want(reply{200, nil, o.ended("query", id)}, 200, `*"state":"JobComplete"*"jobType":"V2Query","lineEnding":"LF","columnDelimiter":"COMMA","numberRecordsProcessed":1,"retries":0,"totalProcessingTime":*,"isPkChunkingSupported":true}`)
	o.want(o.do("GET", "/jobs/query/"+id+"/results", ""), 200, "\"Id\",\"LastName\",\"Email\",\"Account.Name\",\"Account.AnnualRevenue\",\"IsDeleted\",\"CreatedDate\"\n\"003*\",\"Ω\",\"\",\"A \"\"1\"\", Inc\",\"1.39E8\",\"false\",\"*.000Z\"\n")
	o.want(o.do("GET", "/services/data/v66.0/jobs/query/"+id+"/results", ""), 409, `[{*`)
	o.want(o.do("PATCH", "/jobs/query/"+id, `{"state":"Aborted"}`), 400, `[{"errorCode":"INVALIDJOBSTATE","message":"Aborting already Completed Job not allowed"}]`)
	r = o.do("POST", "/jobs/query", `{"operation":"queryAll","query":"SELECT Id FROM Contact"}`)
	id = field(t, r.body, "id")
	o.ended("query", id)
	total, locator := 0, ""
	for {
		r = o.do("GET", "/jobs/query/"+id+"/results?maxRecords=10"+locator, "")
		if !strings.HasPrefix(r.body, "\"Id\"\n") {
			t.Fatal(r.body)
		}
		total += strings.Count(r.body, "\n") - 1
		if r.header.Get("Sforce-Locator") == "null" {
			break
		}
		locator = "&locator=" + r.header.Get("Sforce-Locator")
	}
	if total != 26 || r.header.Get("Sforce-NumberOfRecords") != "6" {
		t.Errorf("%d rows, %v", total, r.header)
	}
	o.want(o.do("GET", "/jobs/query/"+id+"/resultPages", ""), 200, `{"resultPages":[{"resultUrl":"`+base+`/jobs/query/`+id+`/results"}],"nextRecordsUrl":null,"done":true}`)
	for q, want := range map[string]string{
		"SELECT COUNT() FROM Contact":                       `[{"errorCode":"API_ERROR",*`,
		"SELECT Id, MailingAddress FROM Contact":            `[{"errorCode":"FUNCTIONALITY_NOT_ENABLED","message":"Selecting compound data not supported in Bulk Query"}]`,
		"SELECT Id, (SELECT Id FROM Contacts) FROM Account": `[{"errorCode":"API_ERROR",*`,
		"SELECT Id FROM Contact OFFSET 5":                   `[{"errorCode":"API_ERROR",*`,
		"SELECT Id FROM Contact GROUP BY Id":                `[{"errorCode":"API_ERROR",*`,
		"SELECT FROM":                                       `[{"errorCode":"MALFORMED_QUERY",*`,
		"SELECT Name FROM UserLicense":                      `[{"errorCode":"INVALIDENTITY","message":"Entity 'UserLicense' is not supported by the Bulk API."}]`,
	} {
		o.want(o.do("POST", "/jobs/query", fmt.Sprintf(`{"operation":"query","query":%q}`, q)), 400, want)
	}
}

func TestRefusedUploadIsAnswered(t *testing.T) {
	t.Parallel()
	o := start(t, simulator.Options{})
	id := o.open(upsertJob, rows(1))
	big := strings.Repeat("x", 8<<20)
	o.want(o.do("PUT", "/jobs/ingest/"+id+"/batches", big, "Content-Type", "text/csv"), 400, `[{"errorCode":"INVALIDJOBSTATE",*`)
	o.want(o.do("PUT", "/jobs/ingest/"+id+"/batches", big, "Content-Type", "text/csv", "Authorization", "Bearer dead"), 401, `[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]`)
}
