package syncworker_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// awkward are values that something on the way is likely to change: the file, the mapper, JSON, CSV, or Salesforce.
var awkward = []string{
	"", " ", "\t\n", "Ada", " Ada ", "ada", "ADA", "Ångström", "A\u030angstro\u0308m", "\u202eevil", "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "👩\u200d👩\u200d👧", "🎈🎈", "山田",
	"\u00a0nbsp\u00a0", "zero\u200bwidth", "\ufeffbom", "O'Brien", `say "hi"`, `back\slash`, "a,b", "a;b", "semi;colon;", "line\nbreak", "line\r\nbreak", "line\rbreak", "a\n\n\nb ",
	"=1+1", "+1", "-1", "@cmd", "#N/A", "NULL", "null", "nil", "0", "007", "1E5", "1e-3", "1.50", ".5", "5.", "-0", "-0.0", "0.005", "0.0005", "1234567.8949", "999999.9995", "1,000", "12%",
	"TRUE", "true", "False", "yes", "no", "1", "2026-03-29", "2026-03-29T02:30:00", "2026-03-29T02:30:00Z", "2026-10-25T02:30:00+02:00", "2026-12-31T23:59:59.999Z", "2026-12-31T23:30:00-05:00",
	"1999-12-31", "29.02.2024", "02/03/2026", "2026-02-30", "+49 30 123456", "030/123456", "(212) 555-0100", "+1 212-555-0100 ext. 7", "004930123456", "110", "a@b.co", "Ada.Lovelace@Example.COM", " x@y.example ",
	"nobody", "a@b", "https://example.com/?q=1&r=2", "example.com", "Red", "red", "RED", "Green;Red", "Red;Green;Red", " Blue ; Red ", "Purple",
	strings.Repeat("x", 79), strings.Repeat("x", 80), strings.Repeat("x", 81), strings.Repeat("😀", 40), strings.Repeat("😀", 41), strings.Repeat("é ", 128), strings.Repeat("long\r\n", 60), "<b>bold</b>", "&amp;", "\u0001control\u0002",
}

// customFields are one of each type, made through the Tooling API.
var customFields = []struct {
	name     string
	metadata map[string]any
}{
	{"Text__c", map[string]any{"type": "Text", "length": 80}},
	{"Area__c", map[string]any{"type": "TextArea"}},
	{"Long__c", map[string]any{"type": "LongTextArea", "length": 32000}},
	{"Mail__c", map[string]any{"type": "Email"}},
	{"Phone__c", map[string]any{"type": "Phone"}},
	{"Url__c", map[string]any{"type": "Url"}},
	{"Number__c", map[string]any{"type": "Number", "precision": 12, "scale": 3}},
	{"Whole__c", map[string]any{"type": "Number", "precision": 8, "scale": 0}},
	{"Money__c", map[string]any{"type": "Currency", "precision": 16, "scale": 2}},
	{"Share__c", map[string]any{"type": "Percent", "precision": 5, "scale": 1}},
	{"Flag__c", map[string]any{"type": "Checkbox", "defaultValue": false}},
	{"Day__c", map[string]any{"type": "Date"}},
	{"Moment__c", map[string]any{"type": "DateTime"}},
	{"Colour__c", map[string]any{"type": "Picklist", "valueSet": colours(true)}},
	{"Shade__c", map[string]any{"type": "Picklist", "valueSet": colours(false)}},
	{"Colours__c", map[string]any{"type": "MultiselectPicklist", "valueSet": colours(true)}},
}

func colours(restricted bool) map[string]any {
	var values []map[string]any
	for _, v := range []string{"Red", "Green", "Blue"} {
		values = append(values, map[string]any{"fullName": v, "label": v})
	}
	return map[string]any{"restricted": restricted, "valueSetDefinition": map[string]any{"value": values}}
}

// standardTargets are fields that every org has.
var standardTargets = []string{"FirstName", "Title", "Department", "Phone", "MobilePhone", "MailingStreet", "MailingCity", "MailingPostalCode", "MailingCountry", "Description", "Birthdate", "LeadSource", "AssistantName"}

// makeFields makes the custom fields and lets the connected user see them.
func (p *pipeline) makeFields() []string {
	p.t.Helper()
	profile, set := p.field(p.org.UserID(), "ProfileId"), ""
	for r := range p.org.Records("PermissionSet") {
		if r.Fields["ProfileId"] == profile {
			set = r.ID
		}
	}
	targets := slices.Clone(standardTargets)
	for _, f := range customFields {
		p.customField("Contact."+f.name, f.metadata)
		p.record("FieldPermissions", "ParentId", set, "SobjectType", "Contact", "Field", "Contact."+f.name, "PermissionsRead", "true", "PermissionsEdit", "true")
		targets = append(targets, f.name)
	}
	return targets
}

// genPair is a pair that writes a target from an attribute, with settings drawn at random.
func genPair(t *rapid.T, target string) *mapperv1.Pair {
	label := func(s string) string { return target + " " + s }
	p := &mapperv1.Pair{
		Source: "attributes." + strings.ToLower(strings.TrimSuffix(target, "__c")), Target: target,
		Absent: mapperv1.Blank(rapid.IntRange(0, 2).Draw(t, label("absent"))), Null: mapperv1.Blank(rapid.IntRange(0, 2).Draw(t, label("null"))),
		Empty:       mapperv1.Blank(rapid.IntRange(0, 2).Draw(t, label("empty"))),
		WriteWhen:   mapperv1.WriteWhen(rapid.IntRange(0, 3).Draw(t, label("when"))),
		TooLong:     mapperv1.TooLong(rapid.IntRange(0, 2).Draw(t, label("too long"))),
		TimeZone:    rapid.SampledFrom([]string{"", "Europe/Berlin", "America/New_York", "Asia/Kolkata"}).Draw(t, label("zone")),
		PhoneRegion: rapid.SampledFrom([]string{"", "DE", "US"}).Draw(t, label("region")),
		PhoneFormat: mapperv1.PhoneFormat(rapid.IntRange(0, 4).Draw(t, label("phone"))),
	}
	if !strings.Contains(strings.ToLower(target), "phone") {
		p.PhoneRegion, p.PhoneFormat = "", 0
	}
	if target != "Day__c" && target != "Moment__c" && target != "Birthdate" {
		p.TimeZone = ""
	}
	if rapid.IntRange(0, 4).Draw(t, label("table?")) == 0 {
		p.Table = map[string]string{"Ada": "Red", "0": "1"}
		p.Unlisted = mapperv1.Unlisted_UNLISTED_KEEP
	}
	return p
}

// A second run right after the first plans nothing, whatever the data and the field map; and what was written is what is
// read back.
func TestASecondRunPlansNothing(t *testing.T) {
	if testing.Short() {
		_ = flag.Set("rapid.checks", "3")
	} else {
		_ = flag.Set("rapid.checks", "12")
	}
	p := newPipeline(t)
	targets := p.makeFields()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		external := rapid.SampledFrom([]string{"", externalID}).Draw(rt, "external id")
		used := rapid.SliceOfNDistinct(rapid.SampledFrom(targets), 1, len(targets), rapid.ID[string]).Draw(rt, "targets")
		p.use("Contact", external, func(m *mapperv1.FieldMap) {
			m.Pairs = []*mapperv1.Pair{{Source: "last_name", Target: "LastName", DefaultValue: "[none]"}, pair("email", "Email")}
			if external != "" {
				m.Pairs = append(m.Pairs, pair("id", external))
			}
			for _, target := range used {
				m.Pairs = append(m.Pairs, genPair(rt, target))
			}
		})
		// Twice: the second time everybody has a record, and other values.
		for turn := range 2 {
			p.catalog(genPeople(rt, round, used)...)
			first, all := p.write()
			for id, o := range all {
				if o.GetKind() == syncv1.OutcomeKind_OUTCOME_KIND_FAILED || o.GetCode() == "readback_differs" {
					rt.Errorf("turn %d: %s ended %v", turn, id, o)
				}
			}
			if n := first.GetCounts(); 2*n.GetRejected() > n.GetPeople() {
				rt.Logf("%d of %d people are rejected: %v", n.GetRejected(), n.GetPeople(), first.GetPlan().GetRejectedByCode())
			}
			second := p.start(&syncv1.StartRunRequest{})
			if n := second.GetPlan(); n.GetCreates()+n.GetUpdates() != 0 {
				for id, c := range p.changes(second) {
					rt.Errorf("turn %d: %s is changed again: %v (from %v)", turn, id, c, all[id])
				}
			}
			if a, b := first.GetPlan().GetRejected(), second.GetPlan().GetRejected(); a != b {
				rt.Errorf("turn %d: %d people were rejected, then %d", turn, a, b)
			}
		}
	})
}

// genPeople draws people who have something that fits each target, and now and then something that does not; besides,
// each value of the corpus goes into two of the targets.
func genPeople(rt *rapid.T, round int, targets []string) (people []map[string]any) {
	name := func(target string) string { return "attributes." + strings.ToLower(strings.TrimSuffix(target, "__c")) }
	anything := rapid.OneOf(rapid.SampledFrom(awkward), rapid.StringOf(rapid.Rune().Filter(func(r rune) bool { return r != 0 })))
	for i := range rapid.IntRange(1, 40).Draw(rt, "people") {
		id := fmt.Sprintf("r%dp%d", round, i)
		x := map[string]any{"id": id, "email": id + "@Example.com", "last_name": "Last " + id}
		for _, target := range targets {
			switch rapid.IntRange(0, 40).Draw(rt, "given") {
			case 0, 1, 2: // absent
			case 3, 4, 5:
				x[name(target)] = nil
			case 6:
				x[name(target)] = anything.Draw(rt, target)
			default:
				x[name(target)] = fitting(target).Draw(rt, target)
			}
		}
		people = append(people, x)
	}
	for i, v := range awkward {
		for n := range 2 {
			id := fmt.Sprintf("r%da%d-%d", round, i, n)
			x := map[string]any{"id": id, "email": id + "@example.com", "last_name": "Last"}
			x[name(rapid.SampledFrom(targets).Draw(rt, "target"))] = v
			people = append(people, x)
		}
	}
	return people
}

// fitting draws values that a field takes, in spellings that it does not keep.
func fitting(target string) *rapid.Generator[string] {
	switch target {
	case "Mail__c":
		return rapid.StringMatching(` ?[A-Za-z]{1,8}(\.[A-Za-z]{1,8})?@[A-Z]{1,6}\.example ?`)
	case "Phone", "MobilePhone", "Phone__c":
		return rapid.OneOf(rapid.StringMatching(`\+49 ?30[ /-]?[0-9]{6,8}`), rapid.StringMatching(`\(212\) 555-0[0-9]{3}`), rapid.StringMatching(`0049 30 [0-9]{7}( ext\. [0-9]{2})?`))
	case "Number__c":
		return rapid.StringMatching(`-?[0-9]{1,6}(\.[0-9]{0,5})?`)
	case "Whole__c":
		return rapid.StringMatching(`-?[0-9]{1,7}(\.[0-9])?`)
	case "Money__c":
		return rapid.StringMatching(`[0-9]{1,9}\.[0-9]{1,4}`)
	case "Share__c":
		return rapid.StringMatching(`[0-9]{1,2}\.[0-9]{1,3}`)
	case "Flag__c":
		return rapid.SampledFrom([]string{"true", "FALSE", "1", "0", "yes", "no", ""})
	case "Day__c", "Moment__c", "Birthdate":
		return rapid.StringMatching(`20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-8])(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,3})?(Z|[+-]0[0-9]:00)?)?`)
	case "Colour__c", "Shade__c":
		return rapid.SampledFrom([]string{"Red", "green", " Blue "})
	case "Colours__c":
		return rapid.SampledFrom([]string{"Red", "green;Red", "Blue; Red", "Red;Green;Blue", "Green;Green"})
	case "Url__c":
		return rapid.StringMatching(`https://[a-z]{3,8}\.example/[A-Za-z]{0,5}`)
	}
	return rapid.OneOf(rapid.StringMatching(`[ \t]?[A-Za-zäöü'" ,;-]{1,20}[ \t]?`), rapid.StringMatching(`[0-9]{1,8}`), rapid.StringMatching(`[A-Z][a-z]{2,6}(\r?\n[A-Z]{2}){0,2}`))
}
