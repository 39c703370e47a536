package salesforcetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/simulator"
)

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
	all, err := c.Objects(t.Context())
	i, found := slices.BinarySearchFunc(all, "Contact", func(o salesforce.ObjectSummary, name string) int { return strings.Compare(o.Name, name) })
	if err != nil || !found || !all[i].Createable || !all[i].Updateable || !all[i].Queryable || all[i].Custom || all[i].Label == "" {
		t.Errorf("objects %+v, %v", all, err)
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
	columns := []salesforce.Column{
		{Name: "Id", Type: salesforce.TypeID},
		{Name: "LastName"},
		{Name: "Account.Name"},
		{Name: "Birthdate", Type: salesforce.TypeDate},
		{Name: "IsDeleted", Type: salesforce.TypeBoolean},
		{Name: "SystemModstamp", Type: salesforce.TypeDateTime},
		{Name: "Title"},
	}
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
