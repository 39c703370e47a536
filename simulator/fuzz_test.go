package simulator_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

// FuzzRequest sends whatever it likes to the org's handlers: none may panic, and no answer may be a server fault or
// broken JSON.
func FuzzRequest(f *testing.F) {
	o, err := simulator.New(simulator.Options{ExternalIDFields: []string{"Contact.CatalogUserId__c"}, SeedRecords: map[string]int{"Contact": 3}, DailyLimit: 1 << 30})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = o.Close() })
	token := o.AccessToken()
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
		req, err := http.NewRequest(method, "http://org.example"+target, strings.NewReader(body))
		if err != nil {
			return
		}
		req.RequestURI = target
		req.RemoteAddr = "127.0.0.1:1"
		req.Header.Set("Authorization", "Bearer "+token)
		if strings.HasPrefix(target, "/services/oauth2") {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		w := httptest.NewRecorder()
		o.Handler().ServeHTTP(w, req)
		if w.Code >= 500 || w.Code < 200 {
			t.Errorf("%s %s %q: %d %s", method, target, body, w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && method != http.MethodHead && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s %q: broken JSON %s", method, target, body, w.Body)
		}
	})
}
