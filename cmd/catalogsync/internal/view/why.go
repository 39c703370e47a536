package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// Why answers for people, one below the other: the answer in a sentence, who the person is, what Salesforce holds, what
// runs did, and what the next one would do.
func Why(s Style, people []*syncv1.PersonAnswer) string {
	var b strings.Builder
	for i, a := range people {
		if i > 0 {
			b.WriteByte('\n')
		}
		answer(&b, s, a)
	}
	return b.String()
}

func answer(b *strings.Builder, s Style, a *syncv1.PersonAnswer) {
	b.WriteString(s.Paint(Bold, Clean(a.GetPersonId())))
	if !a.GetInCatalog() {
		b.WriteString("  " + s.Paint(Warn, "gone from the Catalog"))
	}
	b.WriteByte('\n')
	for _, line := range wrap(Clean(a.GetSummary()), s.Width-2) {
		b.WriteString("  " + line + "\n")
	}
	section := func(title string, values map[string]string) {
		if len(values) == 0 {
			return
		}
		names := slices.SortedFunc(maps.Keys(values), func(x, y string) int { return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x, y)) })
		var rows [][2]string
		for _, n := range names {
			rows = append(rows, [2]string{Clean(n), Clean(values[n])})
		}
		b.WriteString("\n" + s.Paint(Bold, title) + "\n" + pairs(s, 2, rows...))
	}
	section("In the Catalog", a.GetPerson())
	section("In Salesforce", a.GetRecord())
	if a.GetRecordUrl() != "" {
		fmt.Fprintf(b, "  %s\n", s.Paint(Dim, Clean(a.GetRecordUrl())))
	}
	if len(a.GetHistory()) > 0 {
		b.WriteString("\n" + s.Paint(Bold, "Runs") + "\n")
		t := table{columns: []column{{title: "WHEN", whole: true}, {title: "OUTCOME", whole: true}, {title: "MAP", right: true, drop: 2}, {title: "WHAT WAS SAID"}, {title: "RUN", whole: true, drop: 1}}, indent: 2}
		for _, h := range a.GetHistory() {
			o := h.GetOutcome()
			version := ""
			if o.GetFieldMapVersion() > 0 {
				version = fmt.Sprint(o.GetFieldMapVersion())
			}
			said := strings.TrimSpace(o.GetCode() + " " + o.GetMessage())
			if others := o.GetOtherRecordIds(); len(others) > 0 {
				said += " (" + strings.Join(others, ", ") + ")"
			}
			t.addTones(cell{text: s.minute(h.GetAt())}, cell{Word(o.GetKind()), outcomeTone(o.GetKind())}, cell{text: version}, cell{text: orDash(said)}, cell{h.GetRunId(), Dim})
		}
		b.WriteString(t.String(s))
	}
	if next := a.GetNext(); next != nil {
		fmt.Fprintf(b, "\n%s %s\n", s.Paint(Bold, "The next run"), s.Paint(Dim, fmt.Sprintf("(field map version %d)", next.GetFieldMapVersion())))
		if c := next.GetChange(); c != nil {
			change(b, s, c.GetObject(), c)
		} else {
			o := next.GetOutcome()
			fmt.Fprintf(b, "  %s %s\n", s.Paint(outcomeTone(o.GetKind()), Word(o.GetKind())), Clean(strings.TrimSpace(o.GetCode()+" "+o.GetMessage())))
		}
	}
	if a.GetNextProblem() != "" {
		b.WriteString("\n" + s.Paint(Bold, "The next run") + "\n")
		for _, line := range wrap(Clean(a.GetNextProblem()), s.Width-2) {
			b.WriteString("  " + line + "\n")
		}
	}
}
