package view

import (
	"fmt"
	"slices"
	"strings"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/internal/mapfile"
)

// FieldMap shows what goes where, and below it whatever else the field map says, as the file says it. added are targets
// that were added because they are mandatory.
func FieldMap(s Style, m *mapperv1.FieldMap, added []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s%s", s.Paint(Bold, Clean(m.GetObject())), versionWords(m), matchedBy(m))
	if m.GetAuthor() != "" {
		fmt.Fprintf(&b, ", saved by %s", Clean(m.GetAuthor()))
	}
	if m.GetSavedAt() != nil {
		fmt.Fprintf(&b, ", %s", s.Time(m.GetSavedAt()))
	}
	b.WriteString("\n")
	if text := noteWords(m); text != "" {
		b.WriteString("  " + s.Paint(Dim, text) + "\n")
	}
	b.WriteString("\n")
	first, last := column{title: "CATALOG"}, column{title: "SALESFORCE", whole: true}
	if m.GetDirection() == mapperv1.Direction_DIRECTION_IMPORT {
		first, last = column{title: "SALESFORCE"}, column{title: "CATALOG", whole: true}
	}
	settings := make([]string, len(m.GetPairs()))
	column5 := column{}
	for i, p := range m.GetPairs() {
		if settings[i] = mapfile.PairSettings(p); settings[i] != "" {
			column5.title = "SETTINGS"
		}
		if slices.Contains(added, p.GetTarget()) {
			settings[i] = strings.TrimSuffix("added: mandatory, "+settings[i], ", ")
		}
	}
	t := table{columns: []column{first, {}, last, {title: "TYPE", drop: 1}, {title: "DEFAULT"}, column5}, indent: 2}
	for i, p := range m.GetPairs() {
		kind := p.GetType()
		if p.GetLength() > 0 {
			kind += fmt.Sprintf("(%d)", p.GetLength())
		}
		t.addTones(cell{text: origin(p)}, cell{"->", Dim}, cell{text: p.GetTarget()}, cell{kind, Dim}, cell{text: p.GetDefaultValue()}, cell{settings[i], Dim})
	}
	b.WriteString(t.String(s))
	rest, err := mapfile.Section(m, "rules", "overrides", "identity", "guards")
	if err != nil {
		rest = "There is more, which this version of catalogsync does not know.\n"
	}
	if rest != "" {
		b.WriteString("\n" + indented(rest))
	}
	return b.String()
}

// origin says where a pair's value comes from.
func origin(p *mapperv1.Pair) string {
	switch {
	case p.GetConstant() != "":
		return fmt.Sprintf("%q", p.GetConstant())
	case p.GetExpression() != "":
		return strings.Join(strings.Fields(p.GetExpression()), " ")
	}
	return p.GetSource()
}

func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("  " + Clean(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}

// versionWords name a version; a field map that was only checked has none.
func versionWords(m *mapperv1.FieldMap) string {
	if m.GetVersion() == 0 {
		return ""
	}
	return fmt.Sprintf("version %d, ", m.GetVersion())
}

// noteWords are why a version was saved.
func noteWords(m *mapperv1.FieldMap) string {
	text := Clean(m.GetNote())
	if m.GetRolledBackTo() == 0 {
		return text
	}
	back := fmt.Sprintf("back to version %d", m.GetRolledBackTo())
	if text == "" {
		return back
	}
	return back + ": " + text
}

// FieldMaps shows versions of a field map.
func FieldMaps(s Style, list []*mapperv1.FieldMap) string {
	t := table{columns: []column{{title: "VERSION", right: true}, {title: "SAVED", whole: true}, {title: "BY"}, {title: "OBJECT", drop: 2}, {title: "PAIRS", right: true, drop: 1}, {title: "NOTE"}}}
	for _, m := range list {
		t.add(fmt.Sprint(m.GetVersion()), s.minute(m.GetSavedAt()), orDash(m.GetAuthor()), m.GetObject(), Count(int64(len(m.GetPairs()))), noteWords(m))
	}
	return t.String(s)
}

// Differences shows in which settings two versions of a field map differ.
func Differences(s Style, d *mapperv1.DiffFieldMapsResponse) string {
	from := fmt.Sprintf("version %d", d.GetFrom().GetVersion())
	if d.GetFrom().GetVersion() == 0 {
		from = "nothing"
	}
	to := fmt.Sprintf("version %d", d.GetTo().GetVersion())
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", from, s.Paint(Dim, "->"), s.Paint(Bold, to))
	if m := d.GetTo(); m.GetAuthor() != "" {
		fmt.Fprintf(&b, ", saved by %s, %s", Clean(m.GetAuthor()), s.Time(m.GetSavedAt()))
	}
	b.WriteString("\n")
	if text := noteWords(d.GetTo()); text != "" {
		b.WriteString("  " + s.Paint(Dim, text) + "\n")
	}
	b.WriteString("\n" + Settings(s, d.GetDifferences()))
	return b.String()
}

// Settings shows settings that differ, and how many do.
func Settings(s Style, differences []*mapperv1.Difference) string {
	if len(differences) == 0 {
		return "No setting differs.\n"
	}
	t := table{columns: []column{{}, {}, {}, {}, {}}, indent: 2}
	var stacked strings.Builder // for terminals on which lines would have to be cut
	for _, d := range differences {
		sign, before, after := cell{"~", Warn}, cell{text: d.GetBefore()}, cell{text: d.GetAfter()}
		switch {
		case before.text == "":
			sign, after.tone = cell{"+", Good}, Good
			t.addTones(sign, cell{text: d.GetPath()}, after)
		case after.text == "":
			sign, before.tone = cell{"-", Bad}, Bad
			t.addTones(sign, cell{text: d.GetPath()}, before)
		default:
			t.addTones(sign, cell{text: d.GetPath()}, before, cell{"->", Dim}, after)
		}
		stacked.WriteString("  " + s.Paint(sign.tone, sign.text) + "  " + Clean(d.GetPath()) + "\n")
		if before.text != "" {
			tell(&stacked, s, before.text)
		}
		if before.text != "" && after.text != "" {
			tell(&stacked, s, "-> "+after.text)
		} else if after.text != "" {
			tell(&stacked, s, after.text)
		}
	}
	text := t.String(s)
	if whole := s; s.Width > 0 {
		if whole.Width = 0; t.String(whole) != text {
			text = stacked.String()
		}
	}
	return text + "\n" + Plural(int64(len(differences)), "setting differs", "settings differ") + ".\n"
}

// Suggestions shows pairs that seem to fit.
func Suggestions(s Style, list []*mapperv1.Suggestion) string {
	t := table{columns: []column{{title: "SURE", right: true}, {title: "CATALOG"}, {}, {title: "SALESFORCE", whole: true}, {title: "BECAUSE"}}}
	for _, one := range list {
		tone := Good
		if one.GetConfidence() < 0.6 {
			tone = Warn
		}
		because := one.GetReason()
		if settings := mapfile.PairSettings(one.GetPair()); settings != "" {
			because += "; " + settings
		}
		t.addTones(cell{Share(int64(100*one.GetConfidence()+0.5), 100), tone}, cell{text: origin(one.GetPair())}, cell{"->", Dim}, cell{text: one.GetPair().GetTarget()}, cell{because, Dim})
	}
	return t.String(s)
}

// Tried shows what becomes of people by a field map.
func Tried(s Style, r *mapperv1.TryFieldMapResponse) string {
	var b strings.Builder
	written, skipped, rejected := 0, 0, 0
	for i, p := range r.GetPeople() {
		id := s.Paint(Bold, Clean(r.GetPersonIds()[i]))
		switch {
		case p.GetSkippedBy() != "":
			skipped++
			fmt.Fprintf(&b, "  %s  %s\n", id, s.Paint(Dim, "skipped: "+Clean(p.GetSkippedBy())))
		case len(p.GetProblems()) > 0:
			rejected++
			fmt.Fprintf(&b, "  %s  %s\n", id, s.Paint(Bad, "rejected"))
		default:
			written++
			fmt.Fprintf(&b, "  %s  %s\n", id, s.Paint(Good, "written"))
		}
		for _, problem := range p.GetProblems() {
			tell(&b, s, problem.GetMessage())
		}
		if p.GetSkippedBy() == "" && len(p.GetProblems()) == 0 {
			b.WriteString(triedValues(s, r.GetTargets(), p))
			for _, n := range p.GetNotes() {
				tell(&b, s, n.GetMessage())
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s: %s, %s skipped, %s.\n", Plural(int64(len(r.GetPeople())), "person", "people"),
		paintIf(s, Good, int64(written), "written"), Count(int64(skipped)), paintIf(s, Bad, int64(rejected), "rejected"))
	return b.String()
}

// tell writes a remark below a person.
func tell(b *strings.Builder, s Style, text string) {
	const left = 6
	columns := 0
	if s.Width > left+2*minColumn {
		columns = s.Width - left
	}
	b.WriteString(strings.Repeat(" ", left) + strings.Join(wrap(Clean(text), columns), "\n"+strings.Repeat(" ", left)) + "\n")
}

func triedValues(s Style, targets []string, p *mapperv1.MappedPerson) string {
	t := table{columns: []column{{whole: true}, {}, {}}, indent: 6}
	for i, target := range targets {
		if slices.Contains(p.GetValues().GetAbsent(), uint32(i)) {
			continue
		}
		value := cell{text: p.GetValues().GetValues()[i]}
		if slices.Contains(p.GetValues().GetNull(), uint32(i)) {
			value = cell{"(empty)", Dim}
		}
		note := ""
		if slices.ContainsFunc(p.GetLookups(), func(l *mapperv1.LookupKey) bool { return l.GetColumn() == uint32(i) }) {
			note = "its record is looked up"
		}
		t.addTones(cell{text: target}, value, cell{note, Dim})
	}
	return t.String(s)
}
