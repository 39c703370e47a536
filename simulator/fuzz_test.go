package simulator_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

// fuzzed makes an org and what sends it a request: none may panic, and no answer may be a server fault or broken JSON.
func fuzzed(f *testing.F) func(t *testing.T, method, target, contentType, body string) *httptest.ResponseRecorder {
	o, err := simulator.New(simulator.Options{ExternalIDFields: []string{"Contact.CatalogUserId__c"}, SeedRecords: map[string]int{"Contact": 3}, DailyLimit: 1 << 30})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = o.Close() })
	token := o.AccessToken()
	return func(t *testing.T, method, target, contentType, body string) *httptest.ResponseRecorder {
		req, err := http.NewRequest(method, "http://org.example"+target, strings.NewReader(body))
		if err != nil {
			return nil
		}
		req.RequestURI = target
		req.RemoteAddr = "127.0.0.1:1"
		req.Header.Set("Authorization", "Bearer "+token)
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		w := httptest.NewRecorder()
		o.Handler().ServeHTTP(w, req)
		if w.Code >= 500 || w.Code < 200 {
			t.Errorf("%s %s %q: %d %s", method, target, body, w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && method != http.MethodHead && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s %q: broken JSON %s", method, target, body, w.Body)
		}
		return w
	}
}

const form = "application/x-www-form-urlencoded"

// FuzzForm sends forms to the OAuth endpoints.
func FuzzForm(f *testing.F) {
	send := fuzzed(f)
	paths := []string{"token", "revoke", "introspect", "userinfo", "authorize"}
	for i, s := range []string{
		"grant_type=password&username=a%40b&password=%00&client_id=simulator-client&client_secret=simulator-secret", "token=%ZZ", "token=x&client_id=simulator-client&client_secret=simulator-secret",
		"access_token=x&oauth_token=y", "flow=x&do=login", "grant_type=refresh_token&refresh_token=5Aep861&client_id=simulator-client", "a=b;c=d&&=",
		"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJzaW11bGF0b3ItY2xpZW50IiwiZXhwIjoieCJ9.e30",
	} {
		f.Add(uint8(i), s)
	}
	f.Fuzz(func(t *testing.T, path uint8, body string) {
		send(t, "POST", "/services/oauth2/"+paths[int(path)%len(paths)], form, body)
	})
}

// FuzzLocator reads on from whatever it likes: a page of a query, of a job list, of a result file.
func FuzzLocator(f *testing.F) {
	send := fuzzed(f)
	for _, s := range []string{"0r8jD00000enNr6QAE-2000", "0r8jD00000enNr6QAE--1", "MQ", "null", "-", "9999999999999999999999", "01g000000000001AAA-99999999999", "%"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, locator, size string) {
		job := send(t, "POST", base+"/jobs/query", "application/json", `{"operation":"query","query":"SELECT Id FROM Contact"}`)
		id := field(t, job.Body.String(), "id")
		for _, target := range []string{
			"/query/" + url.PathEscape(locator), "/queryAll/" + url.PathEscape(locator), "/jobs/query?queryLocator=" + url.QueryEscape(locator), "/jobs/ingest?queryLocator=" + url.QueryEscape(locator),
			"/jobs/query/" + id + "/results?locator=" + url.QueryEscape(locator) + "&maxRecords=" + url.QueryEscape(size), "/jobs/query/" + id + "/resultPages?locator=" + url.QueryEscape(locator),
		} {
			send(t, "GET", base+target, "", "")
		}
		send(t, "PATCH", base+"/jobs/query/"+id, "application/json", `{"state":"Aborted"}`)
		send(t, "DELETE", base+"/jobs/query/"+id, "", "")
	})
}

// FuzzRequest sends whatever it likes to the org's handlers.
func FuzzRequest(f *testing.F) {
	send := fuzzed(f)
	for _, s := range []struct{ method, target, body string }{
		{"GET", base + "/query?q=SELECT+Id,Account.Name+FROM+Contact+WHERE+Email!=null+ORDER+BY+Name", ""},
		{"GET", base + "/query/0r8jD00000enNr6QAE-2000", ""},
		{"GET", base + "/jobs/query/750jD00000enNr6QAE/results?locator=MQ&maxRecords=1", ""},
		{"POST", base + "/sobjects/Contact", `{"LastName":"x","Account":{"Name":"y"},"Birthdate":"2000-01-01"}`},
		{"PATCH", base + "/composite/sobjects/Contact/CatalogUserId__c", `{"allOrNone":true,"records":[{"attributes":{"type":"Contact"},"CatalogUserId__c":"a"}]}`},
		{"POST", base + "/composite", `{"compositeRequest":[{"method":"GET","url":"/services/data/v67.0/limits","referenceId":"a"},{"method":"GET","url":"/services/data/v67.0/query?q=@{a.x[0].y}","referenceId":"b"}]}`},
		{"POST", base + "/composite/tree/Account", `{"records":[{"attributes":{"type":"Account","referenceId":"a"},"Name":"x","Contacts":{"records":[{}]}}]}`},
		{"POST", base + "/jobs/ingest", `{"object":"Contact","operation":"upsert","externalIdFieldName":"Email"}`},
		{"POST", base + "/tooling/sobjects/CustomField", `{"FullName":"Contact.A__c","Metadata":{"type":"Text","length":5}}`},
		{"POST", "/services/oauth2/token", "grant_type=authorization_code&code=%3D%3D&client_id=simulator-client"},
		{"POST", "/services/oauth2/token", "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=e30.e30.e30"},
		{"GET", "/services/oauth2/authorize?response_type=code&client_id=simulator-client&redirect_uri=http://localhost/", ""},
		{"GET", base + "/sobjects/Contact/updated?start=2026-01-01T00:00:00Z&end=2026-01-02T00:00:00%2B00:00", ""},
		{"GET", base + "/search?q=FIND+{x}+RETURNING+Contact", ""},
	} {
		f.Add(s.method, s.target, s.body)
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		if strings.ContainsAny(target, " \r\n") || !strings.HasPrefix(target, "/") {
			return
		}
		contentType := ""
		if strings.HasPrefix(target, "/services/oauth2") {
			contentType = form
		}
		send(t, method, target, contentType, body)
	})
}
