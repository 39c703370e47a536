package plan_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
)

// What Salesforce makes of a value is equal to it, whoever did the rounding, trimming and reordering.
func TestEqualKnowsWhatSalesforceKeeps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind       string
		scale      int
		want, have string
		equal      bool
	}{
		{"double", 2, "1.239", "1.24", true},
		{"double", 2, "1.235", "1.24", true}, // half away from zero
		{"double", 2, "-1.235", "-1.24", true},
		{"double", 2, "1.23", "1.24", false},
		{"currency", 2, "10", "10.00", true},
		{"percent", 0, "0.4", "0", true},
		{"int", 0, "007", "7", true},
		{"double", 3, "1e3", "1000", true},
		{"double", 3, "abc", "abd", false},
		{"datetime", 0, "2026-11-21T19:23:38.999Z", "2026-11-21T19:23:38.000Z", true},
		{"datetime", 0, "2026-11-21T20:23:38.000+01:00", "2026-11-21T19:23:38.000Z", true},
		{"datetime", 0, "2026-11-21T19:23:39.000Z", "2026-11-21T19:23:38.000Z", false},
		{"date", 0, "2026-11-21", "2026-11-21", true},
		{"date", 0, "2026-11-21", "2026-11-22", false},
		{"boolean", 0, "", "false", true},
		{"boolean", 0, "true", "", false},
		{"multipicklist", 0, "B; a;A", "A;B", true},
		{"multipicklist", 0, "A", "A;B", false},
		{"string", 0, "\u00a0Ada\t", "Ada", true},
		{"string", 0, "a\rb", "a\nb", true},
		{"string", 0, "Ada", "ADA", false},
		{"reference", 0, "0035500001H9cak", "0035500001H9caj", false},
		{"phone", 0, "+49 30 1234567", "030/1234567", true},
		{"phone", 0, "004930 1234567", "+49301234567", true},
		{"phone", 0, "+12125550100", "(212) 555-0100", true},
		{"phone", 0, "+1 212-555-0100 ext. 7", "(212) 555-0100 x7", true},
		{"phone", 0, "+1 212-555-0100 ext. 7", "(212) 555-0100 x8", false},
		{"phone", 0, "+1 212-555-0100 ext. 7", "(212) 555-0100", false},
		{"phone", 0, "+49 30 1234567", "+49 30 1234568", false},
		{"phone", 0, "+49 30 1234567", "+43 30 1234567", false},
		{"phone", 0, "110", "112", false},
		{"phone", 0, "ask Ada", "ask Bob", false},
		{"phone", 0, "n/a", "N/A", true},
	} {
		col := plan.Column{Type: c.kind, Scale: c.scale}
		w, h := plan.Value{Text: c.want}, plan.Value{Text: c.have}
		if got := col.Equal(w, h); got != c.equal {
			t.Errorf("%s %q is kept as %q: %t", c.kind, c.want, c.have, got)
		}
		if got := col.Equal(h, w); got != c.equal {
			t.Errorf("%s %q and %q are equal in one direction only", c.kind, c.want, c.have)
		}
	}
}

// Whatever the type and the texts: a value equals itself, order does not matter, and nothing equals something.
func TestEqualIsReflexiveAndSymmetric(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		col := plan.Column{
			Type:  rapid.SampledFrom([]string{"string", "textarea", "email", "phone", "url", "double", "int", "date", "datetime", "boolean", "picklist", "multipicklist", "reference", "id"}).Draw(t, "type"),
			Scale: rapid.IntRange(0, 6).Draw(t, "scale"),
		}
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`-?[0-9]{0,9}(\.[0-9]{0,9})?`), rapid.StringMatching(`\+?[0-9 ()x-]{0,15}`))
		a, b := plan.Value{Text: text.Draw(t, "a")}, plan.Value{Text: text.Draw(t, "b")}
		if !col.Equal(a, a) {
			t.Fatalf("%s %q differs from itself", col.Type, a.Text)
		}
		if col.Equal(a, b) != col.Equal(b, a) {
			t.Fatalf("%s %q and %q are equal in one direction only", col.Type, a.Text, b.Text)
		}
		nothing := strings.TrimSpace(a.Text) == ""
		if col.Type != "boolean" && col.Equal(a, plan.Value{Null: true}) != nothing {
			t.Fatalf("%s %q equals nothing: %t", col.Type, a.Text, !nothing)
		}
		// A change that was made is none any more.
		wanted, record := &rowv1.Row{}, &rowv1.Row{Id: "003"}
		plan.Set(wanted, a)
		plan.Set(record, b)
		columns := []plan.Column{{Field: "F", Type: col.Type, Scale: col.Scale}}
		if c := plan.Update("p", "k", wanted, record, columns); c != nil {
			after := &rowv1.Row{}
			plan.Set(after, plan.Cell(c.GetAfter(), 0))
			if again := plan.Update("p", "k", wanted, after, columns); again != nil {
				t.Fatalf("%s %q is changed again after it was written: %v", col.Type, a.Text, again)
			}
		}
	})
}

// Of several records a policy takes the one that it names; what was converted is no rival of what lives.
func TestPoliciesForSeveralMatches(t *testing.T) {
	t.Parallel()
	record := func(id, created, owner, converted string) plan.Keyed {
		r := &rowv1.Row{Id: id}
		for _, v := range []string{created, owner, converted} {
			plan.Set(r, plan.Value{Text: v})
		}
		return plan.Keyed{Key: "k", Row: r}
	}
	a, b, c := record("r1", "2026-01-02T00:00:00.000Z", "u1", "false"), record("r2", "2026-01-01T00:00:00.000Z", "u2", "false"), record("r3", "2026-01-03T00:00:00.000Z", "u1", "false")
	history := record("r0", "2020-01-01T00:00:00.000Z", "u2", "true")
	for name, x := range map[string]struct {
		several plan.Several
		records []plan.Keyed
		want    string
	}{
		"refuse":                       {plan.Refuse, []plan.Keyed{a, b, c}, ""},
		"oldest":                       {plan.Oldest, []plan.Keyed{a, b, c}, "r2"},
		"newest":                       {plan.Newest, []plan.Keyed{a, b, c}, "r3"},
		"an owner of one":              {plan.Owner, []plan.Keyed{a, b, c}, "r2"},
		"an owner of none":             {plan.Owner, []plan.Keyed{a, c}, ""},
		"one lives":                    {plan.Refuse, []plan.Keyed{history, a}, "r1"},
		"the oldest of those who live": {plan.Oldest, []plan.Keyed{history, a, b}, "r2"},
	} {
		policy := plan.Policy{Several: x.several, Created: 0, Owner: 1, Converted: 2, OwnerID: "u2"}
		for _, wave := range []plan.Wave{plan.ByExternalID, plan.ByEmail, plan.Adopt} {
			j := plan.Join(wave, policy, []plan.Keyed{keyed("k", "p1")}, x.records).People[0]
			if j.Record.GetId() != x.want || (x.want == "") != (j.Verdict == plan.Refused && len(j.Others) == len(x.records)) {
				t.Errorf("%s: %v %s, others %v", name, j.Verdict, j.Record.GetId(), j.Others)
			}
			// The record that an earlier run wrote is the person's, whatever the policy.
			mine := policy
			mine.Known = map[string]string{"p1": x.records[0].Row.GetId()}
			if j := plan.Join(wave, mine, []plan.Keyed{keyed("k", "p1")}, x.records).People[0]; j.Record.GetId() != mine.Known["p1"] {
				t.Errorf("%s: %v %s, and the record that is known is %s", name, j.Verdict, j.Record.GetId(), mine.Known["p1"])
			}
			// Two people with several records are both refused, whatever the policy.
			for _, j := range plan.Join(wave, policy, []plan.Keyed{keyed("k", "p1"), keyed("k", "p2")}, x.records).People {
				if j.Verdict != plan.Refused {
					t.Errorf("%s: %s is not refused", name, j.Person.Row.GetId())
				}
			}
		}
	}
}
