package salesforce_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

var contactColumns = []salesforce.Column{
	{Name: "Id", Type: salesforce.TypeID},
	{Name: "Email"},
	{Name: "Account.Name"},
	{Name: "Account.Owner.Name"},
	{Name: "DoNotCall", Type: salesforce.TypeBoolean},
	{Name: "Amount__c", Type: salesforce.TypeCurrency},
	{Name: "SystemModstamp", Type: salesforce.TypeDateTime},
}

const (
	contactOne = `{"attributes":{"type":"Contact","url":"/services/data/v67.0/sobjects/Contact/0035g00000AbCdE"},
		"Id":"0035g00000AbCdE","Email":"ann@example.com","Account":{"attributes":{"type":"Account","url":"/x"},"Name":"Acme \"One\"","Owner":{"attributes":{},"Name":"Olga"}},
		"DoNotCall":true,"Amount__c":9.12260031E8,"SystemModstamp":"2026-11-21T19:23:38.000+0000"}`
	contactTwo = `{"attributes":{"type":"Contact"},"SystemModstamp":"2026-11-21T21:23:38.000+0200","Amount__c":null,"DoNotCall":false,
		"Account":null,"Email":null,"Id":"0035g00000AbCdFAAV","Extra":{"a":[1,{"b":null}]}}`
	contactThree = `{"Id":"0035g00000AbCdGAAV","Email":"x","Account":{"Name":null,"Owner":null},"DoNotCall":false,"Amount__c":1.50,"SystemModstamp":"2026-11-21T19:23:38Z"}`
)

var wantContacts = [][]string{
	{"0035g00000AbCdEAAV", "ann@example.com", `Acme "One"`, "Olga", "true", "912260031", "2026-11-21T19:23:38.000Z"},
	{"0035g00000AbCdFAAV", "<null>", "<null>", "<null>", "false", "<null>", "2026-11-21T19:23:38.000Z"},
	{"0035g00000AbCdGAAV", "x", "<null>", "<null>", "false", "1.5", "2026-11-21T19:23:38.000Z"},
}

func queryPage(total int, next string, records ...string) string {
	done, link := "true", ""
	if next != "" {
		done, link = "false", `"nextRecordsUrl":"`+next+`",`
	}
	return fmt.Sprintf(`{"totalSize":%d,"done":%s,%s"records":[%s]}`, total, done, link, strings.Join(records, ","))
}

const locator = "/services/data/v67.0/query/0r8xx5R2yF2gs3VASQ-2000"

func TestQueryPages(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == locator {
			reply(w, 200, queryPage(3, "", contactThree))
			return
		}
		if got := q.URL.Query().Get("q"); got != "SELECT Id FROM Contact WHERE Name='a+b&c'" || q.Header.Get("Sforce-Query-Options") != "batchSize=2000" {
			t.Errorf("query %q, options %q", got, q.Header.Get("Sforce-Query-Options"))
		}
		reply(w, 200, queryPage(3, locator, contactOne, contactTwo))
	})
	var got [][]string
	if err := r.Query(t.Context(), "SELECT Id FROM Contact WHERE Name='a+b&c'", contactColumns, rows(&got)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantContacts, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestQueryResumes breaks a reply off in every place and in both pages: each row arrives exactly once.
func TestQueryResumes(t *testing.T) {
	t.Parallel()
	first, second := queryPage(3, locator, contactOne, contactTwo), queryPage(3, "", contactThree)
	for cutAt := 0; cutAt < len(first); cutAt += 7 {
		t.Run(fmt.Sprint(cutAt), func(t *testing.T) {
			t.Parallel()
			cutFirst := func(body string) http.HandlerFunc {
				return func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
					reply(w, 200, body[:min(cutAt, len(body)-1)])
					breakOff(w)
				}
			}
			r := newRig(t, sequence(cutFirst(first), status(200, first), cutFirst(second), status(503, ""), status(200, second)))
			var got [][]string
			if err := r.Query(t.Context(), "SELECT x", contactColumns, rows(&got)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wantContacts, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// TestQueryNoticesAnotherCopy: a query that is repeated can give other rows. They must not be mixed.
func TestQueryNoticesAnotherCopy(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]string{"other order": queryPage(2, "", contactTwo, contactOne), "fewer": queryPage(0, "")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sequence(func(w http.ResponseWriter, _ *http.Request) {
				reply(w, 200, `{"totalSize":2,"done":true,"records":[`+contactOne+`,`)
				breakOff(w)
			}, status(200, second)))
			var got [][]string
			err := r.Query(t.Context(), "SELECT x", contactColumns, rows(&got))
			if !errors.Is(err, salesforce.ErrReplyChanged) {
				t.Errorf("error %v, want ErrReplyChanged", err)
			}
			wantAction(t, err, salesforce.ActionRestartQuery)
			if diff := cmp.Diff(wantContacts[:1], got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// TestQueryFailsClosed: what does not fit the request is an error, never a guess.
func TestQueryFailsClosed(t *testing.T) {
	t.Parallel()
	id := salesforce.Columns("Id")
	for name, c := range map[string]struct {
		columns []salesforce.Column
		body    string
		want    string
	}{
		"column missing":      {salesforce.Columns("Id", "Name"), queryPage(1, "", `{"Id":"x"}`), "has 1 of the 2 columns"},
		"compound":            {salesforce.Columns("MailingAddress"), queryPage(1, "", `{"MailingAddress":{"city":"x"}}`), "compound"},
		"parent not expanded": {salesforce.Columns("Account.Name"), queryPage(1, "", `{"Account":"x"}`), "no parent"},
		"no number":           {[]salesforce.Column{{Name: "N", Type: salesforce.TypeInt}}, queryPage(1, "", `{"N":"seven"}`), "no int"},
		"not JSON":            {id, `{"totalSize":1,"done":true,"records":[{"Id":]}`, "malformed"},
		"text after the end":  {id, queryPage(0, "") + "x", "malformed"},
		"no total":            {id, `{"done":true,"records":[]}`, "no totalSize"},
		"no link":             {id, `{"totalSize":1,"done":false,"records":[{"Id":"x"}]}`, "no link"},
		"foreign link":        {id, queryPage(2, "https://evil.example/services/data/v67.0/query/x", `{"Id":"x"}`), "another origin"},
		"link elsewhere":      {id, queryPage(2, "/services/oauth2/revoke", `{"Id":"x"}`), "leaves the data API"},
		"endless":             {id, queryPage(2, locator, `{"Id":"x"}`), "links to itself"},
		"nested too deep":     {id, `{"x":` + strings.Repeat("[", 100), "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, status(200, c.body))
			var got [][]string
			err := r.Query(t.Context(), "SELECT x", c.columns, rows(&got))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	t.Run("announced more", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, status(200, queryPage(5, "", `{"Id":"x"}`)))
		var got [][]string
		err := r.Query(t.Context(), "SELECT x", id, rows(&got))
		if e, ok := errors.AsType[*salesforce.IncompleteError](err); !ok || e.Want != 5 || e.Got != 1 {
			t.Errorf("error %v, want 5 announced and 1 delivered", err)
		}
	})
	t.Run("expired cursor", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, sequence(status(200, queryPage(2, locator, `{"Id":"x"}`)), status(400, `[{"message":"invalid query locator","errorCode":"INVALID_QUERY_LOCATOR"}]`)))
		var got [][]string
		wantAction(t, r.Query(t.Context(), "SELECT x", id, rows(&got)), salesforce.ActionRestartQuery)
	})
}

func TestQueryStopsWithItsCaller(t *testing.T) {
	t.Parallel()
	stop := errors.New("enough")
	r := newRig(t, status(200, queryPage(3, locator, contactOne, contactTwo)))
	n := 0
	err := r.Query(t.Context(), "SELECT x", contactColumns, func(*salesforce.Record) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 || len(r.calls.all()) != 1 {
		t.Errorf("error %v after %d rows and %d calls, want the caller's after 1 and 1", err, n, len(r.calls.all()))
	}
}

func TestCountAndAggregates(t *testing.T) {
	t.Parallel()
	r := newRig(t, sequence(
		status(200, `{ "totalSize" : 17, "done" : true, "records" : [ ] }`),
		status(200, `{"totalSize":1,"done":true,"records":[{"attributes":{"type":"AggregateResult"},"c":17,"expr0":1.0E3}]}`),
		status(200, `{"sObjects":[{"count":2,"name":"Contact"}]}`), status(200, `{"sObjects":[]}`)))
	if n, err := r.Count(t.Context(), "Account"); n != 17 || err != nil {
		t.Errorf("Count = %d, %v; want 17", n, err)
	}
	var got [][]string
	columns := []salesforce.Column{{Name: "c", Type: salesforce.TypeInt}, {Name: "expr0", Type: salesforce.TypeDouble}}
	if err := r.Query(t.Context(), "SELECT COUNT(Id) c, SUM(x) FROM Contact", columns, rows(&got)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"17", "1000"}}, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	for want := int64(2); want >= 0; want -= 2 {
		if n, err := r.RecordCount(t.Context(), "Contact"); n != want || err != nil {
			t.Errorf("RecordCount = %d, %v; want %d", n, err, want)
		}
	}
}

func TestRetrieveByIDs(t *testing.T) {
	t.Parallel()
	ids := []string{"0035g00000AbCdE", "0035g00000AbCdFAAV", "0035g00000AbCdGAAV"}
	good := `[{"attributes":{},"Email":"a","Id":"0035g00000AbCdEAAV"},null,{"Email":null,"Id":"0035g00000AbCdGAAV"}]`
	r := newRig(t, sequence(status(503, ""), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "500")
		reply(w, 200, good[:70])
		breakOff(w)
	}, status(200, good)))
	var got []string
	err := r.RetrieveByIDs(t.Context(), "Contact", ids, salesforce.Columns("Email"), func(id string, rec *salesforce.Record) error {
		if rec == nil {
			got = append(got, id+" none")
		} else {
			got = append(got, fmt.Sprint(id, " ", len(rec.Values), " ", rec.Values[0], " ", rec.Null[0]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{ids[0] + " 1 a false", ids[1] + " none", ids[2] + " 1  true"}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for name, body := range map[string]string{
		"order":    `[null,{"Email":"a","Id":"0035g00000AbCdEAAV"},null]`,
		"too few":  `[null,null]`,
		"too many": `[null,null,null,null]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, status(200, body))
			err := r.RetrieveByIDs(t.Context(), "Contact", ids, salesforce.Columns("Email"), func(string, *salesforce.Record) error { return nil })
			if !errors.Is(err, salesforce.ErrMalformed) {
				t.Errorf("error %v, want a refusal", err)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	modified := time.Date(2026, 5, 6, 9, 49, 20, 0, time.UTC)
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/services/data/v67.0/sobjects/Contact/describe" {
			reply(w, 404, `[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]`)
			return
		}
		if since := q.Header.Get("If-Modified-Since"); since != "" {
			if since != "Wed, 06 May 2026 09:49:20 GMT" {
				t.Errorf("If-Modified-Since %q", since)
			}
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Last-Modified", "Wed, 06 May 2026 09:49:20 GMT")
		reply(w, 200, `{"actionOverrides":[],"childRelationships":[{"field":"x"}],"createable":true,"custom":false,"deletable":true,"fields":[
			{"name":"Id","label":"Contact ID","type":"id","length":18,"byteLength":18,"idLookup":true,"filterable":true,"compoundFieldName":null,"picklistValues":[],"referenceTo":[],"defaultedOnCreate":true,"nillable":false,"createable":false},
			{"name":"LastName","label":"Last Name","type":"string","length":80,"createable":true,"updateable":true,"nillable":false,"defaultedOnCreate":false,"compoundFieldName":"Name","defaultValue":null},
			{"name":"OwnerId","label":"Owner ID","type":"reference","referenceTo":["Group","User"],"relationshipName":"Owner"},
			{"name":"Level__c","label":"Level","type":"picklist","restrictedPicklist":true,"externalId":false,"unique":false,"picklistValues":[{"active":true,"defaultValue":true,"label":"Eins","validFor":null,"value":"1"},{"active":false,"defaultValue":false,"label":"Zwei","value":"2"}]},
			{"name":"Rate__c","type":"double","precision":18,"scale":15,"digits":0,"calculated":true,"defaultValue":0.5},
			{"name":"Key__c","type":"string","length":255,"externalId":true,"unique":true,"caseSensitive":true}],
			"keyPrefix":"003","label":"Contact","labelPlural":"Contacts","name":"Contact","queryable":true,"recordTypeInfos":[{"name":"Master","developerName":"Master","recordTypeId":"012000000000000AAA","available":true,"defaultRecordTypeMapping":true,"master":true,"active":true,"urls":{}}],"updateable":true,"urls":{"sobject":"/x"}}`)
	})
	d, notModified, err := r.Describe(t.Context(), "Contact", time.Time{})
	if err != nil || notModified {
		t.Fatalf("Describe: %v, not modified %v", err, notModified)
	}
	if d.Name != "Contact" || d.KeyPrefix != "003" || !d.Createable || !d.Queryable || len(d.Fields) != 6 || !d.LastModified.Equal(modified) || len(d.RecordTypes) != 1 || !d.RecordTypes[0].Default {
		t.Errorf("describe %+v", d)
	}
	last, _ := d.Field("LASTNAME")
	key, _ := d.Field("Key__c")
	level, _ := d.Field("Level__c")
	rate, _ := d.Field("Rate__c")
	owner, _ := d.Field("OwnerId")
	if !last.Required() || last.MayBeKey() || last.Length != 80 || last.CompoundFieldName != "Name" {
		t.Errorf("LastName %+v", last)
	}
	if !key.MayBeKey() || !key.Unique || !key.CaseSensitive || key.Required() {
		t.Errorf("Key__c %+v", key)
	}
	if diff := cmp.Diff([]salesforce.PicklistValue{{Value: "1", Label: "Eins", Active: true, Default: true}, {Value: "2", Label: "Zwei"}}, level.Picklist); diff != "" || !level.RestrictedPicklist {
		t.Errorf("picklist (-want +got):\n%s", diff)
	}
	if rate.Type != salesforce.TypeDouble || rate.Precision != 18 || rate.Scale != 15 || !rate.Calculated {
		t.Errorf("Rate__c %+v", rate)
	}
	if diff := cmp.Diff([]string{"Group", "User"}, owner.ReferenceTo); diff != "" || owner.RelationshipName != "Owner" {
		t.Errorf("OwnerId %+v", owner)
	}
	if _, ok := d.Field("Gone__c"); ok {
		t.Error("a field that is not there was found")
	}
	if d, notModified, err = r.Describe(t.Context(), "Contact", modified); err != nil || !notModified || d != nil {
		t.Errorf("second describe: %v, %v, %v; want not modified", d, notModified, err)
	}
	_, _, err = r.Describe(t.Context(), "Nothing__c", time.Time{})
	if e := asError(t, err); e.Code != "NOT_FOUND" {
		t.Errorf("error %v", e)
	}
	if _, _, err = r.Describe(t.Context(), "../limits", time.Time{}); err == nil {
		t.Error("an object name with slashes was sent")
	}
}

func TestVersionsLimitsOrganization(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/services/data":
			if q.Header.Get("Authorization") != "" {
				t.Error("the version list was asked for with a token")
			}
			reply(w, 200, `[{"label":"Spring ’18","url":"/services/data/v42.0","version":"42.0"},{"label":"Summer '26","url":"/services/data/v67.0","version":"67.0"}]`)
		case "/services/data/v67.0/limits":
			reply(w, 200, `{"DailyApiRequests":{"Max":15000,"Remaining":14976,"Some app":{"Max":0,"Remaining":0}},"PermissionSets":{"Max":1500,"Remaining":1499,"CreateCustom":{"Max":1000,"Remaining":999}}}`)
		default:
			reply(w, 200, queryPage(1, "", `{"Id":"00D5g000001AbCdEAK","Name":"Acme","IsSandbox":true,"OrganizationType":"Developer Edition","InstanceName":"CS420","TimeZoneSidKey":"America/Los_Angeles"}`))
		}
	})
	versions, err := r.Versions(t.Context())
	if err != nil || len(versions) != 2 || versions[1].Version != "67.0" {
		t.Errorf("Versions = %v, %v", versions, err)
	}
	if call := r.calls.all()[0]; call.Counted {
		t.Error("the version list is counted")
	}
	limits, err := r.Limits(t.Context())
	if diff := cmp.Diff(map[string]salesforce.Limit{"DailyApiRequests": {Max: 15000, Remaining: 14976}, "PermissionSets": {Max: 1500, Remaining: 1499}}, limits); diff != "" || err != nil {
		t.Errorf("Limits: %v (-want +got):\n%s", err, diff)
	}
	org, err := r.Organization(t.Context())
	want := salesforce.Organization{ID: "00D5g000001AbCdEAK", Name: "Acme", IsSandbox: true, Type: "Developer Edition", Instance: "CS420", TimeZone: "America/Los_Angeles"}
	if diff := cmp.Diff(want, org); diff != "" || err != nil {
		t.Errorf("Organization: %v (-want +got):\n%s", err, diff)
	}
}
