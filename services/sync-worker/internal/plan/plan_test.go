package plan_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
)

// none is the policy that refuses whatever is not plain.
var none = plan.Policy{Created: -1, Owner: -1, Converted: -1}

func keyed(key, id string) plan.Keyed { return plan.Keyed{Key: key, Row: &rowv1.Row{Id: id}} }

func TestJoin(t *testing.T) {
	t.Parallel()
	type verdict struct {
		Verdict plan.Verdict
		Record  string
		Code    string
	}
	cases := map[string]struct {
		wave            plan.Wave
		people, records []plan.Keyed
		want            map[string]verdict
		unclaimed       int64
	}{
		"an external id finds its record, and nobody claims the others": {
			wave:   plan.ByExternalID,
			people: []plan.Keyed{keyed("a", "p1"), keyed("b", "p2")}, records: []plan.Keyed{keyed("a", "r1"), keyed("x", "r9")},
			want:      map[string]verdict{"p1": {plan.Matched, "r1", ""}, "p2": {plan.Left, "", ""}},
			unclaimed: 1,
		},
		"an e-mail finds its record or makes one": {
			wave:   plan.ByEmail,
			people: []plan.Keyed{keyed("a", "p1"), keyed("b", "p2")}, records: []plan.Keyed{keyed("a", "r1")},
			want: map[string]verdict{"p1": {plan.Matched, "r1", ""}, "p2": {plan.New, "", ""}},
		},
		"two people with one key are both refused": {
			wave:   plan.ByEmail,
			people: []plan.Keyed{keyed("a", "p1"), keyed("a", "p2")},
			want:   map[string]verdict{"p1": {plan.Refused, "", plan.CodeDuplicateKey}, "p2": {plan.Refused, "", plan.CodeDuplicateKey}},
		},
		"several records with the person's e-mail are refused": {
			wave:   plan.ByEmail,
			people: []plan.Keyed{keyed("a", "p1")}, records: []plan.Keyed{keyed("a", "r1"), keyed("a", "r2")},
			want: map[string]verdict{"p1": {plan.Refused, "", plan.CodeSeveralMatches}},
		},
		"two people who would adopt one record are both refused": {
			wave:   plan.Adopt,
			people: []plan.Keyed{keyed("a", "p1"), keyed("a", "p2")}, records: []plan.Keyed{keyed("a", "r1")},
			want: map[string]verdict{"p1": {plan.Refused, "", plan.CodeClaimedBySeveral}, "p2": {plan.Refused, "", plan.CodeClaimedBySeveral}},
		},
		"two people with one e-mail and ids of their own are both made": {
			wave:   plan.Adopt,
			people: []plan.Keyed{keyed("a", "p1"), keyed("a", "p2")},
			want:   map[string]verdict{"p1": {plan.New, "", ""}, "p2": {plan.New, "", ""}},
		},
		"no e-mail is nobody's e-mail": {
			wave:   plan.Adopt,
			people: []plan.Keyed{keyed("", "p1"), keyed("", "p2")}, records: []plan.Keyed{keyed("", "r1")},
			want:      map[string]verdict{"p1": {plan.New, "", ""}, "p2": {plan.New, "", ""}},
			unclaimed: 1,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := plan.Join(c.wave, none, c.people, c.records)
			got := make(map[string]verdict)
			for _, j := range res.People {
				got[j.Person.Row.GetId()] = verdict{j.Verdict, j.Record.GetId(), j.Code}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("verdicts (-want +got):\n%s", d)
			}
			if res.Unclaimed != c.unclaimed {
				t.Errorf("unclaimed records: %d, want %d", res.Unclaimed, c.unclaimed)
			}
		})
	}
}

// Promise P1: whoever goes in comes out once, and P2: no record is given to two people.
func TestJoinLosesNobodyAndSharesNoRecord(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		key := func() string {
			if rng.IntN(10) == 0 {
				return ""
			}
			return fmt.Sprint("k", rng.IntN(12))
		}
		var people, records []plan.Keyed
		for i := range rng.IntN(20) {
			people = append(people, keyed(key(), fmt.Sprint("p", i)))
		}
		for i := range rng.IntN(20) {
			records = append(records, keyed(key(), fmt.Sprint("r", i)))
		}
		for _, wave := range []plan.Wave{plan.ByExternalID, plan.ByEmail, plan.Adopt} {
			out := make(map[string]int)
			owner := make(map[string]string)
			for _, j := range plan.Join(wave, none, people, records).People {
				out[j.Person.Row.GetId()]++
				if j.Verdict != plan.Matched {
					continue
				}
				if other := owner[j.Record.GetId()]; other != "" {
					t.Fatalf("seed %d: record %s is given to %s and %s", seed, j.Record.GetId(), other, j.Person.Row.GetId())
				}
				owner[j.Record.GetId()] = j.Person.Row.GetId()
			}
			for _, p := range people {
				if out[p.Row.GetId()] != 1 {
					t.Fatalf("seed %d: person %s comes out %d times", seed, p.Row.GetId(), out[p.Row.GetId()])
				}
			}
		}
	}
}

func TestEqualKnowsTypes(t *testing.T) {
	t.Parallel()
	text := func(s string) plan.Value { return plan.Value{Text: s} }
	null, absent := plan.Value{Null: true}, plan.Value{Absent: true}
	cases := []struct {
		kind       string
		want, have plan.Value
		equal      bool
	}{
		{"string", text("Ada"), text("Ada"), true},
		{"string", text("Ada "), text("Ada"), true},
		{"string", text("ada"), text("Ada"), false},
		{"string", text(""), null, true},
		{"string", null, absent, true},
		{"string", null, text("x"), false},
		{"email", text("Ada@Example.com"), text("ada@example.com"), true},
		{"picklist", text("Web"), text("web"), true},
		{"multipicklist", text("A;B"), text("B;A"), true},
		{"multipicklist", text("A;B"), text("A"), false},
		{"textarea", text("a\r\nb"), text("a\nb"), true},
		{"boolean", text("false"), text("false"), true},
		{"boolean", text("true"), text("false"), false},
		{"reference", text("0035500001H9cak"), text("0035500001H9cakAAB"), true},
		{"phone", text("+49 1"), text("+491"), true},
	}
	for _, c := range cases {
		if got := (&plan.Column{Type: c.kind}).Equal(c.want, c.have); got != c.equal {
			t.Errorf("Equal(%s, %+v, %+v) = %t", c.kind, c.want, c.have, got)
		}
	}
}

func row(id string, values ...plan.Value) *rowv1.Row {
	r := &rowv1.Row{Id: id}
	for _, v := range values {
		plan.Set(r, v)
	}
	return r
}

func TestUpdateSetsOnlyWhatDiffers(t *testing.T) {
	t.Parallel()
	columns := []plan.Column{{Field: "LastName", Type: "string", Record: 2}, {Field: "Title", Type: "string", Record: 1}, {Field: "Phone", Type: "phone", Record: 3}}
	wanted := row("", plan.Value{Text: "Lovelace"}, plan.Value{Null: true}, plan.Value{Absent: true})
	record := row("003", plan.Value{Text: "003"}, plan.Value{Text: "Countess"}, plan.Value{Text: "Lovelace"}, plan.Value{Text: "1"})
	c := plan.Update("p", "key", wanted, record, columns)
	if c == nil {
		t.Fatal("a cleared title is no change")
	}
	if !plan.Cell(c.GetAfter(), 0).Absent || !plan.Cell(c.GetAfter(), 1).Null || !plan.Cell(c.GetAfter(), 2).Absent {
		t.Errorf("after: %v", c.GetAfter())
	}
	if got := plan.Cell(c.GetBefore(), 1); got.Text != "Countess" {
		t.Errorf("before: %v", c.GetBefore())
	}
	if c.GetRecordId() != "003" {
		t.Errorf("record id %q", c.GetRecordId())
	}
	same := row("003", plan.Value{Text: "003"}, plan.Value{Null: true}, plan.Value{Text: " Lovelace"}, plan.Value{Text: "1"})
	if c := plan.Update("p", "key", wanted, same, columns); c != nil {
		t.Errorf("a record that is right already is changed: %v", c)
	}
}

func TestCreateSendsNothingEmpty(t *testing.T) {
	t.Parallel()
	columns := []plan.Column{{Field: "LastName"}, {Field: "Title"}}
	c := plan.Create("p", "key", row("", plan.Value{Text: "Lovelace"}, plan.Value{Null: true}), columns)
	if !plan.Cell(c.GetAfter(), 1).Absent || plan.Cell(c.GetAfter(), 0).Text != "Lovelace" {
		t.Errorf("after: %v", c.GetAfter())
	}
}
