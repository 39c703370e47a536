package salesforcetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/simulator"
)

// Key is the external id field of the suite's orgs.
const Key = "CatalogUserId__c"

// Start makes an org for a test and closes it at its end.
type Start func(testing.TB, simulator.Options) *simulator.Server

// Simulator is the Start of the project's own simulator.
func Simulator(t testing.TB, o simulator.Options) *simulator.Server {
	t.Helper()
	if o.ExternalIDFields == nil {
		o.ExternalIDFields = []string{"Contact." + Key, "Lead." + Key}
	}
	org, err := simulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := org.Close(); err != nil {
			t.Error(err)
		}
	})
	return org
}

// Run runs the suite.
func Run(t *testing.T, start Start) {
	for name, test := range map[string]func(*testing.T, Start){
		"Describe":          describe,
		"Org":               describeOrg,
		"Query":             query,
		"Quoting":           quoting,
		"Retrieve":          retrieve,
		"CollectionsUpsert": collectionsUpsert,
		"CollectionsUpdate": collectionsUpdate,
		"CollectionsErrors": collectionsErrors,
		"CollectionsDelete": collectionsDelete,
		"Save":              save,
		"BulkUpsert":        bulkUpsert,
		"BulkClears":        bulkClears,
		"BulkUnknownColumn": bulkUnknownColumn,
		"BulkSecondUpload":  bulkSecondUpload,
		"BulkAbort":         bulkAbort,
		"BulkQuery":         bulkQuery,
		"BulkQueryRefused":  bulkQueryRefused,
		"SessionExpires":    sessionExpires,
		"Limits":            limits,
		"LostAnswers":       lostAnswers,
		"LostClose":         lostClose,
		"BrokenDownloads":   brokenDownloads,
		"ExpiredCursor":     expiredCursor,
		"TroubledReads":     troubledReads,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start)
		})
	}
}

// person is the row of a made-up person.
func person(i int) salesforce.CollectionRow {
	return salesforce.CollectionRow{Fields: []salesforce.FieldValue{
		{Name: Key, Value: fmt.Sprintf("u-%06d", i)},
		{Name: "LastName", Value: fmt.Sprintf("Person, \"%d\"", i)},
		{Name: "Email", Value: fmt.Sprintf("person%d@example.com", i), Type: "email"},
		{Name: "Birthdate", Value: "2001-02-03", Type: salesforce.TypeDate},
	}}
}

func people(n int) []salesforce.CollectionRow {
	rows := make([]salesforce.CollectionRow, n)
	for i := range rows {
		rows[i] = person(i)
	}
	return rows
}

func ops(calls []salesforce.CallInfo) string {
	var s []string
	for _, c := range calls {
		s = append(s, c.Op)
	}
	return strings.Join(s, " ")
}

// collect keeps the rows of a query.
func collect(into *[][]string) func(*salesforce.Record) error {
	return func(r *salesforce.Record) error {
		*into = append(*into, append([]string(nil), r.Values...))
		return nil
	}
}
