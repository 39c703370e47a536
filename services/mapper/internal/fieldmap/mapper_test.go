package fieldmap_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
)

// recordColumns are those of records in these tests.
var recordColumns = []string{"Title", "Phone", "AccountId"}

// nobody is a record with nothing in it.
var nobody = &fieldmap.Row{Values: []string{"", "", ""}, Null: []uint32{0, 1, 2}}

func recordIf(exists bool) *fieldmap.Row {
	if exists {
		return nobody
	}
	return nil
}

func compile(t testing.TB, m fieldmap.Map, o fieldmap.Object, columns ...string) *fieldmap.Mapper {
	t.Helper()
	m, _ = fieldmap.Complete(m, o)
	c, problems := fieldmap.Compile(m, fieldmap.Header{Object: o, PersonColumns: columns, RecordColumns: recordColumns})
	if len(problems) > 0 {
		t.Fatalf("compile: %+v", problems)
	}
	return c
}

func TestMap(t *testing.T) {
	t.Parallel()
	// The pairs are Title, Level__c, Active__c, FirstName, LastName, Email.
	byEmail := fieldmap.Map{Object: "Contact", Pairs: []fieldmap.Pair{
		{Source: "title", Target: "Title", Default: "Member"},
		{Source: "attributes.level", Target: "Level__c"},
		{Source: "active", Target: "Active__c"},
	}}
	columns := []string{"email", "last_name", "title", "attributes.level", "active", "first_name"}
	tests := map[string]struct {
		row    fieldmap.Row
		exists bool
		want   fieldmap.Mapped
		codes  []string
	}{
		"all there": {
			row:  fieldmap.Row{Values: []string{" ada@example.com ", "Lovelace", "Countess", "gold", "YES", "Ada"}},
			want: fieldmap.Mapped{Values: []string{"Countess", "Gold", "true", "Ada", "Lovelace", "ada@example.com"}},
		},
		"null clears, absent leaves alone, blank takes the default": {
			row:  fieldmap.Row{Values: []string{"ada@example.com", "Lovelace", "  ", "", "true", ""}, Null: []uint32{3}, Absent: []uint32{5}},
			want: fieldmap.Mapped{Values: []string{"Member", "", "true", "", "Lovelace", "ada@example.com"}, Null: []uint32{1}, Absent: []uint32{3}},
		},
		"default for null": {
			row:  fieldmap.Row{Values: []string{"ada@example.com", "Lovelace", "", "gold", "1", "Ada"}, Null: []uint32{2}},
			want: fieldmap.Mapped{Values: []string{"Member", "Gold", "true", "Ada", "Lovelace", "ada@example.com"}},
		},
		"default for absent": {
			row:  fieldmap.Row{Values: []string{"ada@example.com", "Lovelace", "", "gold", "1", "Ada"}, Absent: []uint32{2}},
			want: fieldmap.Mapped{Values: []string{"Member", "Gold", "true", "Ada", "Lovelace", "ada@example.com"}},
		},
		"empty clears": {
			row:  fieldmap.Row{Values: []string{"ada@example.com", "Lovelace", "x", "", "0", "\t"}},
			want: fieldmap.Mapped{Values: []string{"x", "", "false", "", "Lovelace", "ada@example.com"}, Null: []uint32{1, 3}},
		},
		"what cannot be empty is left alone": {
			row:  fieldmap.Row{Values: []string{"ada@example.com", "Lovelace", "x", "gold", "", "Ada"}, Null: []uint32{4}},
			want: fieldmap.Mapped{Values: []string{"x", "Gold", "", "Ada", "Lovelace", "ada@example.com"}, Absent: []uint32{2}},
		},
		"required is null": {
			row: fieldmap.Row{Values: []string{"ada@example.com", "", "x", "gold", "1", "Ada"}, Null: []uint32{1}}, exists: true,
			want:  fieldmap.Mapped{Values: []string{"x", "Gold", "true", "Ada", "", "ada@example.com"}, Absent: []uint32{4}},
			codes: []string{"required LastName"},
		},
		"required is absent for a new record": {
			row:   fieldmap.Row{Values: []string{"ada@example.com", "", "x", "gold", "1", "Ada"}, Absent: []uint32{1}},
			want:  fieldmap.Mapped{Values: []string{"x", "Gold", "true", "Ada", "", "ada@example.com"}, Absent: []uint32{4}},
			codes: []string{"required LastName"},
		},
		"required is absent for an existing record": {
			row: fieldmap.Row{Values: []string{"ada@example.com", "", "x", "gold", "1", "Ada"}, Absent: []uint32{1}}, exists: true,
			want: fieldmap.Mapped{Values: []string{"x", "Gold", "true", "Ada", "", "ada@example.com"}, Absent: []uint32{4}},
		},
		"everything wrong": {
			row:   fieldmap.Row{Values: []string{"", strings.Repeat("x", 81), "#N/A", "bronze", "maybe", "a\x00"}, Null: []uint32{0}},
			want:  fieldmap.Mapped{Values: []string{"", "", "", "", "", ""}, Absent: []uint32{0, 1, 2, 3, 4, 5}},
			codes: []string{"unsendable_value Title", "invalid_picklist_value Level__c", "invalid_boolean Active__c", "unsendable_value FirstName", "too_long LastName", "missing_match_key Email"},
		},
		"e-mail absent from an existing record": {
			row: fieldmap.Row{Values: []string{"", "Lovelace", "x", "gold", "1", "Ada"}, Absent: []uint32{0}}, exists: true,
			want:  fieldmap.Mapped{Values: []string{"x", "Gold", "true", "Ada", "Lovelace", ""}, Absent: []uint32{5}},
			codes: []string{"missing_match_key Email"},
		},
	}
	c := compile(t, byEmail, contact(), columns...)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got fieldmap.Mapped
			c.Map(fieldmap.Row{Values: []string{"x", "", "", "", "", ""}}, nil, &got) // leaves something behind in got
			c.Map(tt.row, recordIf(tt.exists), &got)
			var codes []string
			for _, p := range got.Problems {
				codes = append(codes, p.Code+" "+p.Field)
			}
			if diff := cmp.Diff(tt.codes, codes); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			got.Problems = nil
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("mapped (-want +got):\n%s", diff)
			}
		})
	}
}

func TestColumnsThatRowsLackAreAbsent(t *testing.T) {
	t.Parallel()
	c := compile(t, fieldmap.Map{Object: "Lead"}, lead(), "email")
	var got fieldmap.Mapped
	c.Map(fieldmap.Row{Values: []string{"ada@example.com"}}, nobody, &got)
	want := fieldmap.Mapped{Values: []string{"", "", "ada@example.com", "[not provided]"}, Absent: []uint32{0, 1}}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("mapped (-want +got):\n%s", diff)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		field, id, email    string
		wantID, wantedEmail string
	}{
		"both folded":            {"Catalog_Id__c", " AB-1 ", " Ada@Example.com ", "ab-1", "ada@example.com"},
		"case-sensitive id":      {"Exact_Id__c", " AB-1 ", "Ada@Example.com", "AB-1", "ada@example.com"},
		"no external id":         {"", "AB-1", "ADA@example.com", "", "ada@example.com"},
		"composed":               {"Catalog_Id__c", "E\u0301", "", "é", ""},
		"blank":                  {"Catalog_Id__c", " ", "\t", "", ""},
		"what cannot be written": {"Catalog_Id__c", strings.Repeat("x", 65), "ada", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := fieldmap.Map{Object: "Contact", ExternalIDField: tt.field, Pairs: []fieldmap.Pair{{Source: "email", Target: "Email"}}}
			if tt.field != "" {
				m.Pairs[0].Default = "nobody@example.com"
			}
			c := compile(t, m, contact(), "email", "id")
			id, email := c.Keys(fieldmap.Row{Values: []string{tt.email, tt.id}})
			if id != tt.wantID || email != tt.wantedEmail {
				t.Errorf("keys %q, %q; want %q, %q", id, email, tt.wantID, tt.wantedEmail)
			}
		})
	}
	c := compile(t, fieldmap.Map{Object: "Contact", ExternalIDField: "Catalog_Id__c"}, contact())
	if id, email := c.Keys(fieldmap.Row{}); id != "" || email != "" {
		t.Errorf("keys of rows without the columns: %q, %q", id, email)
	}
}

func TestPersonWithoutExternalIDIsRejected(t *testing.T) {
	t.Parallel()
	c := compile(t, fieldmap.Map{Object: "Contact", ExternalIDField: "Catalog_Id__c"}, contact(), "id", "last_name", "email")
	var got fieldmap.Mapped
	c.Map(fieldmap.Row{Values: []string{"", "Lovelace", ""}}, nobody, &got)
	if len(got.Problems) != 1 || got.Problems[0].Code != fieldmap.CodeMissingMatchKey || got.Problems[0].Field != "Catalog_Id__c" {
		t.Errorf("problems %+v", got.Problems)
	}
}

func TestCompileRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact"}, contact())
	if _, p := fieldmap.Compile(m, fieldmap.Header{Object: contact(), PersonColumns: []string{"email", "email"}}); len(p) != 1 || p[0].Code != fieldmap.CodeDuplicateColumn {
		t.Errorf("duplicate column: %+v", p)
	}
	twice := m
	twice.Pairs = append(slices.Clone(m.Pairs), fieldmap.Pair{Source: "title", Target: "firstname"})
	if _, p := fieldmap.Compile(twice, fieldmap.Header{Object: contact()}); len(p) != 1 || p[0].Code != fieldmap.CodeDuplicateTarget {
		t.Errorf("duplicate target: %+v", p)
	}
	without := m
	without.Pairs = m.Pairs[:2]
	if _, p := fieldmap.Compile(without, fieldmap.Header{Object: contact()}); len(p) != 1 || p[0].Code != fieldmap.CodeMissingMatchKey {
		t.Errorf("no e-mail pair: %+v", p)
	}
}

// A person whose values are what Salesforce holds maps to just these values: a run right after a run plans nothing.
func TestMappingMappedValuesGivesThemAgain(t *testing.T) {
	t.Parallel()
	const seed = 11
	r := rand.New(rand.NewPCG(seed, seed))
	sources := []string{"title", "attributes.level", "active", "attributes.born", "attributes.score", "phone", "first_name", "last_name", "email", "id"}
	targets := []string{"Title", "Level__c", "Active__c", "Birthdate", "Score__c", "Phone", "FirstName", "LastName", "Email", "Catalog_Id__c"}
	m := fieldmap.Map{Object: "Contact", ExternalIDField: "Catalog_Id__c"}
	for i := range sources {
		m.Pairs = append(m.Pairs, fieldmap.Pair{Source: sources[i], Target: targets[i]})
	}
	m.Pairs[0].Default = "Member"
	c := compile(t, m, contact(), sources...)
	pool := []string{"", " ", "gold", "Silver ", "true", "0", "2001-02-03", "2001-02-03T23:00:00Z", "7.25", "-0.04", "ada@example.com", "e\u0301", "x\r\ny", "007"}
	var first, second fieldmap.Mapped
	mapped := 0
	for range 20000 {
		row := fieldmap.Row{}
		for i := range sources {
			v := pool[r.IntN(len(pool))]
			if v == "" {
				switch r.IntN(3) {
				case 0:
					row.Null = append(row.Null, uint32(i))
				case 1:
					row.Absent = append(row.Absent, uint32(i))
				}
			}
			row.Values = append(row.Values, v)
		}
		c.Map(row, nobody, &first)
		if len(first.Values) != len(c.Targets()) {
			t.Fatalf("seed %d: %d values for %d pairs", seed, len(first.Values), len(c.Targets()))
		}
		if len(first.Problems) > 0 {
			continue
		}
		mapped++
		c.Map(fieldmap.Row{Values: first.Values, Null: first.Null, Absent: first.Absent}, nobody, &second)
		if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d, row %v (-first +second):\n%s", seed, row, diff)
		}
		id, email := c.Keys(row)
		if id2, email2 := c.Keys(fieldmap.Row{Values: first.Values}); id2 != id || email2 != email {
			t.Fatalf("seed %d: keys %q, %q of the person and %q, %q of the record", seed, id, email, id2, email2)
		}
	}
	if mapped == 0 {
		t.Fatal("no row was mapped")
	}
}
