package salesforcetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/google/go-cmp/cmp"
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

func describe(t *testing.T, start Start) {
	c := Connect(t, start(t, simulator.Options{}))
	d, _, err := c.Describe(t.Context(), "Contact", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for name, check := range map[string]func(*salesforce.FieldDescribe) bool{
		"LastName": func(f *salesforce.FieldDescribe) bool {
			return f.Required() && f.Length == 80 && f.CompoundFieldName == "Name"
		},
		"Email": func(f *salesforce.FieldDescribe) bool {
			return f.IDLookup && !f.Unique && f.Type == "email" && !f.Required()
		},
		"Name": func(f *salesforce.FieldDescribe) bool { return !f.Createable && !f.Updateable },
		Key:    func(f *salesforce.FieldDescribe) bool { return f.ExternalID && f.Unique && f.Custom && f.MayBeKey() },
		"AccountId": func(f *salesforce.FieldDescribe) bool {
			return cmp.Equal(f.ReferenceTo, []string{"Account"}) && f.RelationshipName == "Account"
		},
		"SystemModstamp": func(f *salesforce.FieldDescribe) bool { return f.Type == salesforce.TypeDateTime && f.Filterable },
		"Description":    func(f *salesforce.FieldDescribe) bool { return f.Length == 32000 && !f.Filterable },
		"LeadSource": func(f *salesforce.FieldDescribe) bool {
			return len(f.Picklist) > 0 && !f.RestrictedPicklist && f.Picklist[0].Active
		},
	} {
		if f, ok := d.Field(name); !ok || !check(f) {
			t.Errorf("field %s: %+v", name, f)
		}
	}
	if d.LastModified.IsZero() || d.KeyPrefix != "003" {
		t.Errorf("modified %v, prefix %q", d.LastModified, d.KeyPrefix)
	}
	if _, same, err := c.Describe(t.Context(), "Contact", d.LastModified); err != nil || !same {
		t.Errorf("second describe: not modified %v, %v", same, err)
	}
	_, _, err = c.Describe(t.Context(), "Nothing__c", time.Time{})
	if e, ok := errors.AsType[*salesforce.Error](err); !ok || e.Code != "NOT_FOUND" || e.Status != 404 {
		t.Errorf("unknown object: %v", err)
	}
}

func describeOrg(t *testing.T, start Start) {
	org := start(t, simulator.Options{SeedRecords: map[string]int{"Contact": 7}, DailyLimit: 5000})
	c := Connect(t, org)
	o, err := c.Organization(t.Context())
	if err != nil || o.ID != org.OrgID() || o.Name == "" || o.Type == "" {
		t.Errorf("organization %+v, %v", o, err)
	}
	versions, err := c.Versions(t.Context())
	if err != nil || len(versions) == 0 || versions[len(versions)-1].Version != "67.0" {
		t.Errorf("versions %v, %v", versions, err)
	}
	before := c.Allocation()
	if before.Max != 5000 || before.Used < 1 {
		t.Errorf("allocation %+v", before)
	}
	all, err := c.Limits(t.Context())
	if err != nil || all["DailyApiRequests"].Max != 5000 {
		t.Errorf("limits %v, %v", all["DailyApiRequests"], err)
	}
	if after := c.Allocation(); after.Used != before.Used+1 {
		t.Errorf("allocation went from %d to %d with one call", before.Used, after.Used)
	}
	for object, want := range map[string]int64{"Contact": 7, "Opportunity": 0} {
		exact, err := c.Count(t.Context(), object)
		if err != nil || exact != want {
			t.Errorf("%d of %s, %v; want %d", exact, object, err, want)
		}
		if _, err := c.RecordCount(t.Context(), object); err != nil {
			t.Errorf("record count of %s: %v", object, err)
		}
	}
}

func query(t *testing.T, start Start) {
	org := start(t, simulator.Options{SeedRecords: map[string]int{"Account": 3, "Contact": 4500}})
	c := Connect(t, org)
	account, err := org.Create("Account", map[string]string{"Name": "Acme \"One\""})
	if err != nil {
		t.Fatal(err)
	}
	id, err := org.Create("Contact", map[string]string{"LastName": "Ünïque😀", "Email": "one@example.com", "AccountId": account, "Birthdate": "1999-12-31"})
	if err != nil {
		t.Fatal(err)
	}
	columns := []salesforce.Column{{Name: "Id", Type: salesforce.TypeID}, {Name: "LastName"}, {Name: "Account.Name"}, {Name: "Birthdate", Type: salesforce.TypeDate},
		{Name: "IsDeleted", Type: salesforce.TypeBoolean}, {Name: "SystemModstamp", Type: salesforce.TypeDateTime}, {Name: "Title"}}
	soql, err := salesforce.Select(columns, "Contact", "ORDER BY Id")
	if err != nil {
		t.Fatal(err)
	}
	c.Calls()
	seen := make(map[string][]string)
	if err := c.Query(t.Context(), soql, columns, func(r *salesforce.Record) error {
		seen[r.Values[0]] = append([]string(nil), r.Values...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := ops(c.Calls()); len(seen) != 4501 || got != "query query.more query.more" {
		t.Errorf("%d records with calls %q, want 4501 in three", len(seen), got)
	}
	row := seen[id]
	if len(row) != 7 {
		t.Fatalf("record %s is missing", id)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", row[5]); err != nil {
		t.Errorf("SystemModstamp %q", row[5])
	}
	if diff := cmp.Diff([]string{id, "Ünïque😀", "Acme \"One\"", "1999-12-31", "false", row[5], ""}, row); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	for soql, want := range map[string]salesforce.Action{
		"SELECT Id FROM Accout":         salesforce.ActionConfig, // INVALID_TYPE
		"SELECT Nope__c FROM Contact":   salesforce.ActionConfig, // INVALID_FIELD
		"SELECT Id FROM Contact WHERE ": salesforce.ActionJob,    // MALFORMED_QUERY
	} {
		err := c.Query(t.Context(), soql, salesforce.Columns("Id"), func(*salesforce.Record) error { return nil })
		if e, ok := errors.AsType[*salesforce.Error](err); !ok || e.Status != 400 || e.Action != want {
			t.Errorf("%q: %v, want %v", soql, err, want)
		}
	}
}

func quoting(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	names := []string{"O'Neil", `back\slash`, `both\'`, `say "hi"`, "100%_sure", "tab\there", `' OR Name != '`, "ü😀", `\u0041`, "a+b&c#d"}
	for _, name := range names {
		if _, err := org.Create("Contact", map[string]string{"LastName": name}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		for _, where := range []string{"LastName = " + salesforce.Quote(name), "LastName LIKE " + salesforce.QuoteLike(name), salesforce.In("LastName", []string{"nobody", name})} {
			var got [][]string
			err := c.Query(t.Context(), "SELECT LastName FROM Contact WHERE "+where, salesforce.Columns("LastName"), collect(&got))
			if diff := cmp.Diff([][]string{{name}}, got); diff != "" || err != nil {
				t.Errorf("WHERE %s: %v (-want +got):\n%s", where, err, diff)
			}
		}
	}
}

func retrieve(t *testing.T, start Start) {
	org := start(t, simulator.Options{SeedRecords: map[string]int{"Contact": 2500}})
	c := Connect(t, org)
	var ids []string
	want := make(map[string]string)
	for r := range org.Records("Contact") {
		ids = append(ids, r.ID)
		want[r.ID] = r.Fields["LastName"]
	}
	if err := org.Delete(ids[1]); err != nil {
		t.Fatal(err)
	}
	i := 0
	err := c.RetrieveByIDs(t.Context(), "Contact", ids, salesforce.Columns("LastName"), func(id string, r *salesforce.Record) error {
		switch {
		case id != ids[i]:
			t.Errorf("answer %d is about %s, want %s", i, id, ids[i])
		case (r == nil) != (i == 1):
			t.Errorf("answer %d: %v", i, r)
		case r != nil && r.Values[0] != want[id]:
			t.Errorf("answer %d: %q, want %q", i, r.Values[0], want[id])
		}
		i++
		return nil
	})
	if got := ops(c.Calls()); err != nil || i != len(ids) || got != "retrieve retrieve" {
		t.Errorf("%d answers to %d ids with calls %q, %v", i, len(ids), got, err)
	}
}

func collectionsUpsert(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	rows := people(200)
	first, err := c.CollectionsUpsert(t.Context(), "Contact", Key, rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range first {
		record, ok := org.Record(r.ID)
		if !r.Success || !r.Created || !ok || record.Fields[Key] != rows[i].Fields[0].Value || record.Fields["LastName"] != rows[i].Fields[1].Value {
			t.Fatalf("row %d: %+v, record %+v", i, r, record)
		}
	}
	rows[3].Fields[1].Value = strings.Repeat("x", 81)
	rows[4].Fields[2].Value = "no address"
	second, err := c.CollectionsUpsert(t.Context(), "Contact", Key, rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range second {
		switch i {
		case 3:
			if r.Success || r.Code != "STRING_TOO_LONG" || r.Action != salesforce.ActionRow || !cmp.Equal(r.Fields, []string{"LastName"}) {
				t.Errorf("row 3: %+v", r)
			}
		case 4:
			if r.Success || r.Code != "INVALID_EMAIL_ADDRESS" || !cmp.Equal(r.Fields, []string{"Email"}) {
				t.Errorf("row 4: %+v", r)
			}
		default:
			if !r.Success || r.Created || r.ID != first[i].ID {
				t.Fatalf("row %d: %+v, want an update of %s", i, r, first[i].ID)
			}
		}
	}
	if n := org.Count("Contact"); n != 200 {
		t.Errorf("%d contacts, want 200", n)
	}
	for _, e := range org.Effects() {
		if e.Object == "Contact" && e.CallOptions != "client=catalogsync/suite.1" {
			t.Fatalf("effect with call options %q", e.CallOptions)
		}
	}
}

func collectionsUpdate(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	id, err := org.Create("Contact", map[string]string{"LastName": "Before", "Phone": "1", "Title": "stays"})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := org.Create("Contact", map[string]string{"LastName": "Gone"})
	if err != nil {
		t.Fatal(err)
	}
	if err := org.Delete(gone); err != nil {
		t.Fatal(err)
	}
	change := []salesforce.FieldValue{{Name: "LastName", Value: "After"}, {Name: "Phone", Null: true}, {Name: "MailingLatitude", Value: "52.5", Type: salesforce.TypeDouble}}
	got, err := c.CollectionsUpdate(t.Context(), "Contact", []salesforce.CollectionRow{{ID: id, Fields: change}, {ID: gone, Fields: change}})
	if err != nil {
		t.Fatal(err)
	}
	if !got[0].Success || got[0].ID != id || got[1].Success || got[1].Action != salesforce.ActionRow {
		t.Errorf("results %+v", got)
	}
	r, _ := org.Record(id)
	if r.Fields["LastName"] != "After" || r.Fields["Phone"] != "" || r.Fields["Title"] != "stays" || r.Fields["MailingLatitude"] != "52.5" {
		t.Errorf("record %v", r.Fields)
	}
}

func collectionsErrors(t *testing.T, start Start) {
	org := start(t, simulator.Options{})
	c := Connect(t, org)
	for range 2 {
		if _, err := org.Create("Contact", map[string]string{"LastName": "Twin", "Email": "twin@example.com"}); err != nil {
			t.Fatal(err)
		}
	}
	lead, err := org.Create("Lead", map[string]string{"LastName": "Conv", "Company": "C", Key: "conv"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := org.ConvertLead(lead); err != nil {
		t.Fatal(err)
	}
	field := func(name, value string) salesforce.FieldValue { return salesforce.FieldValue{Name: name, Value: value} }
	for name, x := range map[string]struct {
		object, key string
		fields      []salesforce.FieldValue
		code        string
		action      salesforce.Action
	}{
		"two matches":    {"Contact", "Email", []salesforce.FieldValue{field("Email", "twin@example.com"), field("LastName", "x")}, "DUPLICATE_EXTERNAL_ID", salesforce.ActionRow},
		"converted lead": {"Lead", Key, []salesforce.FieldValue{field(Key, "conv"), field("LastName", "x")}, "CANNOT_UPDATE_CONVERTED_LEAD", salesforce.ActionRow},
		"required field": {"Lead", Key, []salesforce.FieldValue{field(Key, "new"), field("LastName", "x")}, "REQUIRED_FIELD_MISSING", salesforce.ActionRow},
		"unknown column": {"Contact", Key, []salesforce.FieldValue{field(Key, "new"), field("Nope__c", "x")}, "INVALID_FIELD", salesforce.ActionConfig},
		"read-only":      {"Contact", Key, []salesforce.FieldValue{field(Key, "new"), field("LastName", "x"), field("Name", "x")}, "INVALID_FIELD_FOR_INSERT_UPDATE", salesforce.ActionConfig},
	} {
		got, err := c.CollectionsUpsert(t.Context(), x.object, x.key, []salesforce.CollectionRow{{Fields: x.fields}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got[0].Success || got[0].Code != x.code || got[0].Action != x.action {
			t.Errorf("%s: %+v, want %s, %v", name, got[0], x.code, x.action)
		}
	}
	_, err = c.CollectionsUpsert(t.Context(), "Contact", "Title", []salesforce.CollectionRow{{Fields: []salesforce.FieldValue{field("Title", "x")}}})
	if err == nil {
		t.Error("a key that is no id lookup was taken")
	}
	if _, unknown := errors.AsType[*salesforce.UnknownOutcomeError](err); unknown {
		t.Errorf("a plain refusal is no unknown outcome: %v", err)
	}
}

// upload writes rows of Key and LastName.
func upload(n int, cell func(i int) []salesforce.Cell, columns ...string) func(io.Writer) error {
	return func(w io.Writer) error {
		c, err := salesforce.NewCSVWriter(w, columns)
		if err != nil {
			return err
		}
		for i := range n {
			if err := c.Row(cell(i)); err != nil {
				return err
			}
		}
		return c.Flush()
	}
}

// finish polls a job until it is over, by its PollPlan.
func finish(ctx context.Context, info func(context.Context, string) (salesforce.Job, error), id string, rows int64) (salesforce.Job, error) {
	plan := salesforce.PollPlan{Rows: rows}
	var j salesforce.Job
	began := time.Now()
	for polls := 0; !j.State.Terminal(); polls++ {
		timer := time.NewTimer(plan.Next(polls, time.Since(began), j.Processed))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return j, ctx.Err()
		}
		var err error
		if j, err = info(ctx, id); err != nil {
			return j, err
		}
	}
	return j, nil
}
