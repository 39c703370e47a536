package directory_test

import (
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

func TestParseColumn(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]directory.Column{
		"id":                     {ID: true},
		" ID ":                   {ID: true},
		"email":                  {Field: directory.Email},
		"First Name":             {Field: directory.FirstName},
		"first-name":             {Field: directory.FirstName},
		"UPDATED_AT":             {Field: directory.UpdatedAt},
		"attributes.cohort":      {Attribute: "cohort"},
		"Attributes. Job--Level": {Attribute: "job_level"},
		"attributes.email":       {Attribute: "email"},
		"attributes.a.b":         {Attribute: "a_b"},
		"attributes.Ünïcode":     {Attribute: "ünïcode"},
		"attributes.-x-":         {Attribute: "x"},
	} {
		got, ok := directory.ParseColumn(name)
		if !ok || got != want {
			t.Errorf("ParseColumn(%q) = %+v, %v; want %+v", name, got, ok, want)
		}
		if folded := directory.FoldName(name); folded != directory.FoldName(folded) {
			t.Errorf("FoldName(%q) = %q is folded again", name, folded)
		}
	}
	for _, name := range []string{"", " ", "cohort", "attributes", "attributes.", "attributes. - ", "e mail"} {
		if got, ok := directory.ParseColumn(name); ok {
			t.Errorf("ParseColumn(%q) = %+v", name, got)
		}
	}
	for i, name := range directory.FieldNames() {
		f, ok := directory.FieldNamed(name)
		if !ok || int(f) != i || f.String() != name || directory.FoldName(name) != name {
			t.Errorf("field %d is %v", i, f)
		}
	}
}

// TestHash: whatever is told apart has another hash.
func TestHash(t *testing.T) {
	t.Parallel()
	records := map[string]func(*directory.Record){
		"nothing":      func(*directory.Record) {},
		"empty":        func(r *directory.Record) { r.Set(directory.Email, "") },
		"null":         func(r *directory.Record) { r.SetNull(directory.Email) },
		"value":        func(r *directory.Record) { r.Set(directory.Email, "a") },
		"other field":  func(r *directory.Record) { r.Set(directory.FirstName, "a") },
		"both":         func(r *directory.Record) { r.Set(directory.Email, "a"); r.Set(directory.FirstName, "") },
		"ab":           func(r *directory.Record) { r.Set(directory.Email, "a"); r.Set(directory.FirstName, "b") },
		"ab together":  func(r *directory.Record) { r.Set(directory.Email, "ab"); r.Set(directory.FirstName, "") },
		"last field":   func(r *directory.Record) { r.Set(directory.UpdatedAt, "x") },
		"attribute":    func(r *directory.Record) { r.Attributes = []directory.Attribute{{Name: "x"}} },
		"null one":     func(r *directory.Record) { r.Attributes = []directory.Attribute{{Name: "x", Null: true}} },
		"named":        func(r *directory.Record) { r.Attributes = []directory.Attribute{{Name: "xy"}} },
		"valued":       func(r *directory.Record) { r.Attributes = []directory.Attribute{{Name: "x", Value: "y"}} },
		"two":          func(r *directory.Record) { r.Attributes = []directory.Attribute{{Name: "x"}, {Name: "y"}} },
		"value is two": func(r *directory.Record) { r.Attributes = []directory.Attribute{{Name: "x", Value: "\x02y"}} },
	}
	seen := map[uint64]string{}
	for name, fill := range records {
		r := directory.Record{ID: name}
		fill(&r)
		if other, ok := seen[r.Hash()]; ok {
			t.Errorf("%s and %s have one hash", name, other)
		}
		seen[r.Hash()] = name
		same := directory.Record{ID: "another"}
		fill(&same)
		if same.Hash() != r.Hash() {
			t.Errorf("%s: the id counts", name)
		}
	}
	// The hash is stored: a new version must come to the same, or every person looks changed once.
	r := directory.Record{ID: "1", Attributes: []directory.Attribute{{Name: "cohort", Value: "a"}, {Name: "x", Null: true}}}
	r.Set(directory.Email, "ann@example.com")
	r.SetNull(directory.Phone)
	if got, want := r.Hash(), uint64(0xe8e1b0cd69a1a8ae); got != want {
		t.Errorf("hash %#x, want %#x", got, want)
	}
}

func TestRecordString(t *testing.T) {
	t.Parallel()
	r := directory.Record{ID: "1", Attributes: []directory.Attribute{{Name: "a", Value: "secret"}}}
	r.Set(directory.Email, "secret")
	if got, want := r.String(), `person "1" with email and 1 attributes`; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add("cohort", "a", "x", "\n\"\\é\u2028\x7f", true)
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string, null bool) {
		for _, s := range []string{n1, v1, n2, v2} {
			if !utf8.ValidString(s) {
				t.Skip("attributes are UTF-8")
			}
		}
		if null {
			v2 = ""
		}
		want := []directory.Attribute{{Name: n1, Value: v1}, {Name: n2, Value: v2, Null: null}}
		got, err := directory.DecodeAttributes(directory.EncodeAttributes(want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
