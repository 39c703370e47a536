package mapfile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/mapfile"
)

func TestAdd(t *testing.T) {
	t.Parallel()
	pairs := []*mapperv1.Pair{
		{Source: "phone", Target: "Phone"}, {Source: "title", Target: "title"}, {Source: "organization", Target: "Company", DefaultValue: "[none]"},
	}
	comments := []string{"0.95: the same\nname", "", "0.90: a synonym"}
	tests := map[string]struct{ before, after string }{
		"in the middle": {
			"# ours\nobject: Lead\n\nfields:\n    # names\n    FirstName: first_name # given\n    Title:\n        from: title\n        default: |-\n          a\n          b\n    # the last\n\n# who\nrules: []\n",
			"# ours\nobject: Lead\n\nfields:\n    # names\n    FirstName: first_name # given\n    Title:\n        from: title\n        default: |-\n          a\n          b\n    # the last\n    Phone: phone  # 0.95: the same name\n    Company:  # 0.90: a synonym\n      from: organization\n      default: '[none]'\n\n# who\nrules: []\n",
		},
		"at the end": {
			"object: Lead\nfields:\n  Title: title",
			"object: Lead\nfields:\n  Title: title\n  Phone: phone  # 0.95: the same name\n  Company:  # 0.90: a synonym\n    from: organization\n    default: '[none]'\n",
		},
		"nothing new": {
			"object: Lead\nfields:\n  Title: title\n  PHONE: phone\n  Company: x\n",
			"object: Lead\nfields:\n  Title: title\n  PHONE: phone\n  Company: x\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, added, err := mapfile.Add([]byte(tt.before), pairs, comments)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.after, string(got)); diff != "" {
				t.Error(diff)
			}
			if want := strings.Count(tt.after, "# 0.9"); len(added) != want {
				t.Errorf("%d pairs are said to be added, want %d", len(added), want)
			}
		})
	}
	for _, bad := range []string{"", "object: Lead\nfields: {Title: title}\n", "object: Lead\nfields: {}\n", "object: Lead\nfields:\n  Title: {fro: x}\n"} {
		if got, _, err := mapfile.Add([]byte(bad), pairs, comments); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func TestNewAndSections(t *testing.T) {
	t.Parallel()
	got, err := mapfile.New("Contact", "Id__c", []*mapperv1.Pair{{Source: "id", Target: "Id__c"}, {Source: "email", Target: "Email"}}, []string{"sure", ""})
	if want := "object: Contact\nexternal_id: Id__c\nfields:\n  Id__c: id  # sure\n  Email: email\n"; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	m := parse(t, string(got)+"rules:\n  - {skip: a, when: {email: {empty: true}}}\n")
	if s, err := mapfile.Section(m, "rules", "guards"); err != nil || s != "rules:\n  - skip: a\n    when: {email: {empty: true}}\n" {
		t.Errorf("%q, %v", s, err)
	}
	if s, err := mapfile.Section(m, "guards"); err != nil || s != "" {
		t.Errorf("%q, %v", s, err)
	}
	p := &mapperv1.Pair{Source: "a", Target: "B", DefaultValue: "c", WriteWhen: mapperv1.WriteWhen_WRITE_WHEN_BLANK, Table: map[string]string{"x": "y"}}
	if s := mapfile.PairSettings(p); s != "write: if_blank, table: {x: y}" {
		t.Errorf("%q", s)
	}
}
