package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
)

// Bytes writes a size: "1.2 MiB".
func Bytes(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// People lists people.
func People(s Style, people []*directoryv1.Person) string {
	t := table{columns: []column{
		{title: "ID", whole: true}, {title: "EMAIL"}, {title: "NAME"}, {title: "SUBACCOUNT", drop: 2}, {title: "CHANGED", whole: true, drop: 1}, {},
	}}
	for _, p := range people {
		f := p.GetFields()
		gone := ""
		if p.GetGone() {
			gone = "gone"
		}
		t.addTones(cell{text: p.GetId()}, cell{text: orDash(f["email"])},
			cell{text: orDash(strings.TrimSpace(f["first_name"] + " " + f["last_name"]))}, cell{text: orDash(f["subaccount"])},
			cell{text: s.minute(p.GetChangedAt())}, cell{gone, Warn})
	}
	return t.String(s)
}

// personFields is the order in which a person's fields are shown; others follow by name.
var personFields = []string{
	"email", "first_name", "last_name", "phone", "mobile_phone", "title", "organization", "department", "street", "city", "state",
	"postal_code", "country", "locale", "time_zone", "active", "groups", "subaccount", "created_at", "updated_at",
}

// Person shows one person with what became of them in Salesforce.
func Person(s Style, p *directoryv1.Person, outcomes []*directoryv1.PersonOutcome) string {
	var b strings.Builder
	b.WriteString(s.Paint(Bold, Clean(p.GetId())))
	if p.GetGone() {
		b.WriteString("  " + s.Paint(Warn, "gone from the Catalog"))
	}
	b.WriteByte('\n')
	names := slices.SortedFunc(maps.Keys(p.GetFields()), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	var rows [][2]string
	for _, name := range names {
		rows = append(rows, [2]string{Clean(name), Clean(p.GetFields()[name])})
	}
	b.WriteString(pairs(s, 2, append(rows, [2]string{"changed", s.Time(p.GetChangedAt())})...))
	if len(outcomes) == 0 {
		b.WriteString("\nNo run has dealt with this person yet.\n")
	}
	for _, o := range outcomes {
		kind := o.GetOutcome().GetKind()
		fmt.Fprintf(&b, "\nLatest outcome: %s in run %s, %s\n", s.Paint(outcomeTone(kind), Word(kind)), Clean(o.GetRunId()), s.Time(o.GetEndedAt()))
		b.WriteString(pairs(s, 2,
			[2]string{"record", Clean(o.GetOutcome().GetRecordId())},
			[2]string{"code", Clean(o.GetOutcome().GetCode())},
			[2]string{"message", Clean(o.GetOutcome().GetMessage())},
			[2]string{"fields", Clean(strings.Join(o.GetOutcome().GetFields(), ", "))},
			[2]string{"Bulk job", Clean(o.GetOutcome().GetBulkJobId())},
		))
	}
	return b.String()
}

func rank(field string) int {
	if i := slices.Index(personFields, field); i >= 0 {
		return i
	}
	return len(personFields)
}

// Imported says what an import did.
func Imported(s Style, sum *directoryv1.ImportSummary) string {
	parts := []string{
		paintIf(s, Good, sum.GetAdded(), "new"),
		paintIf(s, Warn, sum.GetChanged(), "changed"),
		Count(sum.GetUnchanged()) + " unchanged",
	}
	if sum.GetGone() > 0 {
		parts = append(parts, s.Paint(Warn, Count(sum.GetGone())+" marked gone"))
	}
	if sum.GetRejected() > 0 {
		parts = append(parts, s.Paint(Bad, Count(sum.GetRejected())+" not taken"))
	}
	text := Plural(sum.GetLines(), "line", "lines") + ": " + strings.Join(parts, ", ") + ".\n"
	if why := sum.GetGoneWithheld(); why != "" {
		text += s.Paint(Warn, "Nobody was marked gone") + ", because " + Clean(why) + ".\n"
	}
	return text
}

// LineError writes a line of a file that was not taken.
func LineError(e *directoryv1.LineError) string {
	text := "line " + fmt.Sprint(e.GetLine())
	if e.GetColumn() != "" {
		text += ", column " + Clean(e.GetColumn())
	}
	text += ": " + Clean(e.GetMessage())
	if e.GetValue() != "" {
		text += fmt.Sprintf(" (value %q)", e.GetValue())
	}
	return text
}
