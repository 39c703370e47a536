package fieldmap_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// drawnPairs draws pairs with any settings, right and wrong.
func drawnPairs(rt *rapid.T) (pairs []fieldmap.Pair) {
	targets := []string{"Title", "Phone", "Level__c", "Active__c", "Birthdate", "Score__c", "AccountId", "Description", "Skills__c", "Seen__c", "MailingCountryCode", "MailingCountry", "Short__c", "Once__c"}
	text := rapid.SampledFrom([]string{"", "", "gold", "true", "7", "2026-01-01", "x", "DE"})
	source := rapid.SampledFrom([]string{"", "title", "organization", "country", "phone"})
	for _, target := range rapid.SliceOfNDistinct(rapid.SampledFrom(targets), 1, 6, rapid.ID).Draw(rt, "targets") {
		p := fieldmap.Pair{
			Target: target, Default: text.Draw(rt, "default"), Secondary: source.Draw(rt, "secondary"),
			When: fieldmap.When(rapid.Int32Range(0, 3).Draw(rt, "when")), Absent: fieldmap.Blank(rapid.Int32Range(0, 2).Draw(rt, "absent")),
			Null: fieldmap.Blank(rapid.Int32Range(0, 2).Draw(rt, "null")), Empty: fieldmap.Blank(rapid.Int32Range(0, 2).Draw(rt, "empty")),
			TooLong: fieldmap.TooLong(rapid.Int32Range(0, 2).Draw(rt, "too long")), Unlisted: fieldmap.Unlisted(rapid.Int32Range(0, 3).Draw(rt, "unlisted")),
		}
		switch rapid.IntRange(0, 5).Draw(rt, "kind") {
		case 0:
			p.Constant = text.Draw(rt, "constant")
		case 1:
			p.Expression = rapid.SampledFrom([]string{`person.title`, `upper(person.organization)`, `person.title == "" ? nil : person.country`, `int(person.title)`, `person.title[0:9]`}).Draw(rt, "expression")
		default:
			p.Source = source.Draw(rt, "source")
		}
		if rapid.IntRange(0, 3).Draw(rt, "table?") == 0 {
			p.Table = rapid.MapOfN(rapid.SampledFrom([]string{"a", "x", "Gold", "é"}), text, 1, 3).Draw(rt, "table")
		}
		switch target {
		case "Phone":
			p.PhoneFormat = fieldmap.PhoneFormat(rapid.Int32Range(0, 4).Draw(rt, "format"))
			p.PhoneRegion = rapid.SampledFrom([]string{"", "DE", "US"}).Draw(rt, "region")
		case "Birthdate", "Seen__c":
			p.TimeZone = rapid.SampledFrom([]string{"", "Europe/Berlin", "Pacific/Apia"}).Draw(rt, "zone")
		case "AccountId":
			if rapid.Bool().Draw(rt, "lookup?") {
				p.Lookup = &fieldmap.Lookup{Object: "Account", Field: rapid.SampledFrom([]string{"Name", "Website"}).Draw(rt, "field")}
			}
		}
		pairs = append(pairs, p)
	}
	return pairs
}

// drawnRow draws values, some of them null or absent.
func drawnRow(rt *rapid.T, columns []string) (r fieldmap.Row) {
	value := rapid.OneOf(rapid.SampledFrom([]string{"", "7", "gold", "DE", "2026-01-31"}), rapid.String(), rapid.SampledFrom([]string{
		"", " ", "gold", "Gold;Silver", "true", "7", "1E5", "1.005", "-0", "2026-01-31", "2026-03-29T02:30:00", "2026-01-31T23:59:59Z", "Germany", "de", "030 123456", "+1 415 555 2671",
		"001D000000IRFma", "https://www.example.com", "e\u0301", "👨‍👩‍👧‍👦👨‍👩‍👧‍👦", "#N/A", "a\r\nb", "\xff", "a@example.com", "Acme  GmbH",
	}))
	for i, name := range columns {
		v := value.Draw(rt, name)
		if name == "email" {
			v = "ada@example.com"
		}
		if name == "last_name" {
			v = "Lovelace"
		}
		if v == "" {
			switch rapid.IntRange(0, 2).Draw(rt, "blank") {
			case 0:
				r.Null = append(r.Null, uint32(i))
			case 1:
				r.Absent = append(r.Absent, uint32(i))
			}
		}
		r.Values = append(r.Values, v)
	}
	return r
}

// Whatever a field map says that may be saved, and whoever the person is: every target has one value, which fits its
// field; whoever is mapped against what the first mapping made wants nothing else; and nothing panics.
func TestWhatIsMappedFitsAndIsStable(t *testing.T) {
	t.Parallel()
	o := wide()
	mapped := 0
	rapid.Check(t, func(rt *rapid.T) {
		m, _ := fieldmap.Complete(fieldmap.Map{Object: "Contact", Pairs: drawnPairs(rt)}, o)
		problems := fieldmap.Check(m, org(o))
		var targets []string
		for _, p := range m.Pairs {
			targets = append(targets, p.Target)
		}
		c, fatal := fieldmap.Compile(m, fieldmap.Header{Object: o, PersonColumns: pairColumns, RecordColumns: targets, Now: now})
		if len(fatal) > 0 {
			if len(problems) == 0 {
				rt.Fatalf("it was saved and cannot be used: %+v", fatal)
			}
			return
		}
		if !slices.Equal(c.Targets(), targets) {
			rt.Fatalf("targets %v of %v", c.Targets(), targets)
		}
		person := drawnRow(rt, pairColumns)
		var first, second fieldmap.Mapped
		c.Map(person, nil, &first)
		whole(rt, o, targets, first)
		if len(first.Problems) > 0 {
			return
		}
		mapped++
		record := fieldmap.Row{Values: first.Values, Null: slices.Sorted(slices.Values(slices.Concat(first.Null, first.Absent)))}
		c.Map(person, &record, &second)
		whole(rt, o, targets, second)
		if len(second.Problems) > 0 {
			rt.Fatalf("who could be created cannot be updated: %+v", second.Problems)
		}
		for i, target := range targets {
			if !slices.Contains(second.Absent, uint32(i)) && second.Values[i] != record.Values[i] {
				rt.Fatalf("%s is %q at first and %q then", target, record.Values[i], second.Values[i])
			}
		}
	})
	t.Logf("%d people mapped", mapped)
	if mapped == 0 {
		t.Error("nobody was mapped")
	}
}

// whole asserts that a mapping says one thing of each target.
func whole(rt *rapid.T, o fieldmap.Object, targets []string, m fieldmap.Mapped) {
	if len(m.Values) != len(targets) {
		rt.Fatalf("%d values for %d targets", len(m.Values), len(targets))
	}
	for i, v := range m.Values {
		isNull, isAbsent := slices.Contains(m.Null, uint32(i)), slices.Contains(m.Absent, uint32(i))
		if isNull && isAbsent || (isNull || isAbsent) != (v == "") {
			rt.Fatalf("%s is %q, null %v, absent %v", targets[i], v, isNull, isAbsent)
		}
		f := o.Fields[slices.IndexFunc(o.Fields, func(f fieldmap.Field) bool { return f.Name == targets[i] })]
		lookup := slices.ContainsFunc(m.Lookups, func(l fieldmap.LookupKey) bool { return l.Column == i && l.Key != "" })
		if f.Length > 0 && values.Units(v) > f.Length && !lookup {
			rt.Fatalf("%s has %d units and takes %d", targets[i], values.Units(v), f.Length)
		}
	}
	for _, p := range m.Problems {
		if i := slices.Index(targets, p.Field); i < 0 || m.Values[i] != "" || p.Scope != values.ScopePerson {
			rt.Fatalf("%+v beside %+v", p, m.Values)
		}
	}
}
