package salesforce_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/salesforce"
)

const (
	idOne = "0035g00000AbCdEAAV"
	idTwo = "0035g00000AbCdFAAV"
)

func TestCollectionsBodies(t *testing.T) {
	t.Parallel()
	var method, path, body string
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		b, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		method, path, body = q.Method, q.URL.Path, string(b)
		reply(w, 200, `[{"id":"`+idOne+`","success":true,"errors":[]}]`)
	})
	fields := []salesforce.FieldValue{
		{Name: "LastName", Value: "O'Neil \"<é\n😀>\""},
		{Name: "DoNotCall", Value: "true", Type: salesforce.TypeBoolean},
		{Name: "Amount__c", Value: "9.12260031E8", Type: salesforce.TypeCurrency},
		{Name: "Birthdate", Value: "2001-02-03", Type: salesforce.TypeDate},
		{Name: "Phone", Null: true},
		{Name: "Account.Key__c", Value: "A-1"},
	}
	if _, err := r.CollectionsUpdate(t.Context(), "Contact", []salesforce.CollectionRow{{ID: idOne[:15], Fields: fields}}); err != nil {
		t.Fatal(err)
	}
	want := `{"allOrNone":false,"records":[{"attributes":{"type":"Contact"},"id":"` + idOne + `","LastName":"O'Neil \"\u003cé\n😀\u003e\"","DoNotCall":true,` +
		`"Amount__c":912260031,"Birthdate":"2001-02-03","Phone":null,"Account":{"Key__c":"A-1"}}]}`
	if diff := cmp.Diff([]string{"PATCH", "/services/data/v67.0/composite/sobjects", want}, []string{method, path, body}); diff != "" {
		t.Errorf("update (-want +got):\n%s", diff)
	}
	fields = []salesforce.FieldValue{{Name: "Key__c", Value: "k1"}, {Name: "LastName", Value: "x"}}
	if _, err := r.CollectionsUpsert(t.Context(), "Contact", "Key__c", []salesforce.CollectionRow{{Fields: fields}}); err != nil {
		t.Fatal(err)
	}
	want = `{"allOrNone":false,"records":[{"attributes":{"type":"Contact"},"Key__c":"k1","LastName":"x"}]}`
	if diff := cmp.Diff([]string{"PATCH", "/services/data/v67.0/composite/sobjects/Contact/Key__c", want}, []string{method, path, body}); diff != "" {
		t.Errorf("upsert (-want +got):\n%s", diff)
	}
}

func TestCollectionsResults(t *testing.T) {
	t.Parallel()
	r := newRig(t, status(200, `[
		{"id":"0035g00000AbCdE","success":true,"errors":[],"created":true},
		{"success":false,"errors":[{"statusCode":"CANNOT_UPDATE_CONVERTED_LEAD","message":"cannot reference converted lead","fields":[]}],"created":false},
		{"success":false,"errors":[{"statusCode":"UNABLE_TO_LOCK_ROW","message":"unable to obtain","fields":[]}]},
		{"success":false,"errors":[{"statusCode":"UNABLE_TO_LOCK_ROW","message":"unable to obtain","fields":[]},{"statusCode":"STRING_TOO_LONG","message":"First Name: data value too large","fields":["FirstName"]}]},
		{"success":false,"errors":[]}]`))
	rows := make([]salesforce.CollectionRow, 5)
	for i := range rows {
		rows[i].Fields = []salesforce.FieldValue{{Name: "Key__c", Value: string(rune('a' + i))}}
	}
	got, err := r.CollectionsUpsert(t.Context(), "Lead", "Key__c", rows)
	if err != nil {
		t.Fatal(err)
	}
	want := []salesforce.RowResult{
		{ID: idOne, Success: true, Created: true},
		{RowError: salesforce.RowError{Code: "CANNOT_UPDATE_CONVERTED_LEAD", Message: "cannot reference converted lead", Fields: []string{}, Action: salesforce.ActionRow}},
		{RowError: salesforce.RowError{Code: "UNABLE_TO_LOCK_ROW", Message: "unable to obtain", Fields: []string{}, Action: salesforce.ActionRetryRow}},
		{RowError: salesforce.RowError{Code: "UNABLE_TO_LOCK_ROW", Message: "unable to obtain; STRING_TOO_LONG: First Name: data value too large", Fields: []string{"FirstName"}, Action: salesforce.ActionRow}},
		{RowError: salesforce.RowError{Code: salesforce.CodeNone, Message: "Salesforce gave no reason", Action: salesforce.ActionRow}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

// TestCollectionsFailClosed: a reply that does not fit the rows assigns no outcome.
func TestCollectionsFailClosed(t *testing.T) {
	t.Parallel()
	ok := func(id string) string { return `{"id":"` + id + `","success":true,"errors":[]}` }
	for name, body := range map[string]string{
		"too few":     "[" + ok(idOne) + "]",
		"too many":    "[" + ok(idOne) + "," + ok(idTwo) + "," + ok(idTwo) + "]",
		"order":       "[" + ok(idTwo) + "," + ok(idOne) + "]",
		"no id":       `[{"success":true},` + ok(idTwo) + "]",
		"no success":  `[{"id":"` + idOne + `"},` + ok(idTwo) + "]",
		"null":        "[null," + ok(idTwo) + "]",
		"object":      `{"hasErrors":false}`,
		"wrong types": `[{"id":1,"success":"yes"}]`,
		"empty":       "",
		"trailing":    "[" + ok(idOne) + "," + ok(idTwo) + "] [",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, status(200, body))
			got, err := r.CollectionsUpdate(t.Context(), "Contact", []salesforce.CollectionRow{{ID: idOne}, {ID: idTwo}})
			if _, unknown := errors.AsType[*salesforce.UnknownOutcomeError](err); !unknown || got != nil {
				t.Errorf("%v, %v; want an unknown outcome and no results", got, err)
			}
			if n := len(r.calls.all()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func TestCollectionsRefuseBeforeSending(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	field := func(name, value string) salesforce.CollectionRow {
		return salesforce.CollectionRow{Fields: []salesforce.FieldValue{{Name: name, Value: value}}}
	}
	for name, c := range map[string]struct {
		key  string
		rows []salesforce.CollectionRow
		want string
	}{
		"no rows":        {"Key__c", nil, "0 rows"},
		"201 rows":       {"", make([]salesforce.CollectionRow, 201), "no record id"},
		"key missing":    {"Key__c", []salesforce.CollectionRow{field("LastName", "x")}, "has no Key__c"},
		"key twice":      {"Key__c", []salesforce.CollectionRow{field("Key__c", "a"), field("KEY__C", "A")}, "have the same"},
		"name":           {"Key__c", []salesforce.CollectionRow{{Fields: []salesforce.FieldValue{{Name: "Key__c", Value: "a"}, {Name: `x":1,"y`, Value: "1"}}}}, "no object or field name"},
		"two steps":      {"Key__c", []salesforce.CollectionRow{{Fields: []salesforce.FieldValue{{Name: "Key__c", Value: "a"}, {Name: "A.B.C", Value: "1"}}}}, "one step"},
		"number":         {"Key__c", []salesforce.CollectionRow{{Fields: []salesforce.FieldValue{{Name: "Key__c", Value: "a"}, {Name: "N", Value: "1}", Type: salesforce.TypeInt}}}}, "no int"},
		"key field name": {"Key__c/../x", []salesforce.CollectionRow{field("Key__c", "a")}, "no object or field name"},
		"record id":      {"", []salesforce.CollectionRow{{ID: "short"}}, "no id"},
	} {
		var err error
		if c.key != "" {
			_, err = r.CollectionsUpsert(t.Context(), "Contact", c.key, c.rows)
		} else {
			_, err = r.CollectionsUpdate(t.Context(), "Contact", c.rows)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}
