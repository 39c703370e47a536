package mapfile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/mapfile"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

const example = `object: Contact
external_id: CatalogUserId__c
fields:
  FirstName: first_name
  LastName: last_name
  Title:
    from: title
    default: Member
  Code__c:
    from: attributes.code
    default: "007"
`

func TestParse(t *testing.T) {
	t.Parallel()
	want := &mapperv1.FieldMap{Object: "Contact", ExternalIdField: "CatalogUserId__c", Pairs: []*mapperv1.Pair{
		{Source: "first_name", Target: "FirstName"},
		{Source: "last_name", Target: "LastName"},
		{Source: "title", Target: "Title", DefaultValue: "Member"},
		{Source: "attributes.code", Target: "Code__c", DefaultValue: "007"},
	}}
	got, err := mapfile.Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(example, string(mapfile.Format(got))); diff != "" {
		t.Errorf("written again it differs: %s", diff)
	}
}

// Values that YAML would take for something else stay what they are, in both directions.
func TestTextsStayTexts(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"no", "007", "1e3", "2026-01-01", "~", " a ", "a: b", "#x", "line\nbreak", "ünï", "*star"} {
		fm := &mapperv1.FieldMap{Object: "Lead", Pairs: []*mapperv1.Pair{{Source: "email", Target: "Email", DefaultValue: value}}}
		got, err := mapfile.Parse(mapfile.Format(fm))
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		if diff := cmp.Diff(fm, got, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	got, err := mapfile.Parse([]byte("object: Lead\nfields:\n  Email:\n    from: email\n    default: no\n"))
	if err != nil || got.GetPairs()[0].GetDefaultValue() != "no" {
		t.Errorf("default: no is read as %v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ file, want string }{
		"nothing":           {"", "empty"},
		"a comment only":    {"# later\n", "empty"},
		"no YAML":           {"object: [", "line 1"},
		"a list":            {"- object: Contact\n", "line 1: the file must hold lines"},
		"no object":         {"fields:\n  Email: email\n", "object is missing"},
		"no fields":         {"object: Contact\n", "fields is missing"},
		"empty fields":      {"object: Contact\nfields:\n", "fields must hold lines"},
		"unknown key":       {"object: Contact\nexternalid: X\nfields:\n  Email: email\n", `line 2: "externalid" is not known`},
		"unknown pair key":  {"object: Contact\nfields:\n  Email:\n    source: email\n", `line 4: "source" is not known`},
		"no source":         {"object: Contact\nfields:\n  Email:\n    default: x\n", "line 4: Email has no `from`"},
		"null source":       {"object: Contact\nfields:\n  Email:\n", "line 3: Email must be a text"},
		"a list of sources": {"object: Contact\nfields:\n  Email: [email]\n", "line 3: Email must hold lines"},
		"twice":             {"object: Contact\nfields:\n  Email: email\n  Email: phone\n", "line 4: Email is there already, in line 3"},
		"object is a list":  {"object: [Contact]\nfields:\n  Email: email\n", "line 1: object must be a text"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fm, err := mapfile.Parse([]byte(tt.file))
			if err == nil {
				t.Fatalf("it was read as %v", fm)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %q, want something with %q", err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fm, err := mapfile.Parse(b)
		if err != nil {
			return
		}
		again, err := mapfile.Parse(mapfile.Format(fm))
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if diff := cmp.Diff(fm, again, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	})
}
