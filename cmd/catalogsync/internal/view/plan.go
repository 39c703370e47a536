package view

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// Planned is a plan with a part of its changes.
type Planned struct {
	// Run holds the plan. It must not be nil, and neither must its plan.
	Run *syncv1.Run
	// Changes are those to show.
	Changes []*syncv1.Change
	// Rejected are people to show who cannot be written.
	Rejected []*syncv1.Outcome
	// More says how to see changes that are not shown; left out where empty.
	More string
}

// Plan shows what a run would do, as terraform shows its plans.
func Plan(s Style, p Planned) string {
	plan := p.Run.GetPlan()
	var b strings.Builder
	for _, c := range p.Changes {
		change(&b, s, p.Run.GetObject(), c)
	}
	for _, o := range p.Rejected {
		rejected(&b, s, o)
	}
	shown := int64(len(p.Changes) + len(p.Rejected))
	if left := plan.GetCreates() + plan.GetUpdates() + plan.GetDeactivations() + plan.GetDeletes() + plan.GetRejected() - shown; left > 0 && shown > 0 {
		more := Plural(left, "more change", "more changes")
		if p.More != "" {
			more += "; " + p.More
		}
		fmt.Fprintf(&b, "  %s\n\n", s.Paint(Dim, s.ellipsis()+" "+more))
	}
	if plan.GetUpdates() > 0 {
		b.WriteString(wrapList(s, "Changes by field: ", ranked(plan.GetUpdatesByField())))
	}
	if plan.GetRejected() > 0 {
		b.WriteString(wrapList(s, "Rejected because: ", ranked(plan.GetRejectedByCode())))
	}
	if len(plan.GetSkippedByRule()) > 0 {
		b.WriteString(wrapList(s, "Skipped by:       ", ranked(plan.GetSkippedByRule())))
	}
	if len(plan.GetLookupCreates()) > 0 {
		b.WriteString(wrapList(s, "New for lookups:  ", ranked(plan.GetLookupCreates())))
	}
	b.WriteString(notes(s, p.Run.GetNotes()))
	b.WriteString(s.Paint(Bold, "Plan:") + " " + runCounts(s, p.Run) + "\n")
	b.WriteString(strings.Join(wrap(forecast(plan), s.Width), "\n") + "\n")
	b.WriteString(Hold(s, p.Run))
	return b.String()
}

// notes shows what is worth knowing of the field map.
func notes(s Style, notes []*mapperv1.Problem) string {
	var b strings.Builder
	for _, n := range notes {
		text := Clean(n.GetMessage())
		if n.GetRepair() != "" {
			text += " To mend it: " + Clean(n.GetRepair())
		}
		for i, line := range wrap(text, s.Width-8) {
			lead := s.Paint(Warn, "  note  ")
			if i > 0 {
				lead = "        "
			}
			b.WriteString(lead + line + "\n")
		}
	}
	return b.String()
}

// Hold says why a run is held, would be, or was, and what was decided; empty for one that no guard holds.
func Hold(s Style, r *syncv1.Run) string {
	h := r.GetHold()
	if h == nil {
		return ""
	}
	reason := Clean(h.GetReason())
	var text string
	switch {
	case h.GetDecision() == "superseded":
		text = "Held: " + reason + " A newer run took its place."
	case h.GetDecision() == "expired":
		text = "Held: " + reason + " Nobody decided by " + s.Time(h.GetExpiresAt()) + "."
	case h.GetDecision() != "":
		text = "Held: " + reason + " " + Clean(strings.ToUpper(h.GetDecision()[:1])+h.GetDecision()[1:])
		if h.GetDecidedBy() != "" {
			text += " by " + Clean(h.GetDecidedBy())
		}
		text += " at " + s.Time(h.GetDecidedAt())
		if h.GetNote() != "" {
			text += ": " + Clean(h.GetNote())
		}
		text = strings.TrimSuffix(text, ".") + "."
	case h.GetHeldAt() == nil:
		text = "A run would be held: " + reason
	default:
		text = "Held: " + reason + " It waits for a decision until " + s.Time(h.GetExpiresAt()) + "; plan " + Clean(h.GetPlanHash()) + "."
	}
	lines := wrap(text, s.Width)
	if head, rest, ok := strings.Cut(lines[0], ": "); ok {
		lines[0] = s.Paint(Warn, head+":") + " " + rest
	}
	return strings.Join(lines, "\n") + "\n"
}

// runCounts says what a run would do. An undo flags nobody: it takes back the flags that the other run set.
func runCounts(s Style, r *syncv1.Run) string {
	if r.GetKind() == syncv1.RunKind_RUN_KIND_UNDO {
		return countsOf(s, r.GetPlan(), "leavers' flags to take back")
	}
	return countsOf(s, r.GetPlan(), "leavers to flag")
}

// planCounts says what a run that writes would do.
func countsOf(s Style, p *syncv1.Plan, leavers string) string {
	parts := []string{
		paintIf(s, Good, p.GetCreates(), "to create"),
		paintIf(s, Warn, p.GetUpdates(), "to change"),
		Count(p.GetUnchanged()) + " unchanged",
	}
	for _, o := range []struct {
		n    int64
		word string
		tone Tone
	}{
		{p.GetDeletes(), "to delete", Bad},
		{p.GetDeactivations(), leavers, Warn},
		{p.GetClears(), "fields to clear", Warn},
		{p.GetSkipped(), "skipped", Plain},
		{p.GetSuperseded(), "superseded", Plain},
		{p.GetRejected(), "rejected", Bad},
	} {
		if o.n > 0 {
			parts = append(parts, s.Paint(o.tone, Count(o.n)+" "+o.word))
		}
	}
	return strings.Join(parts, ", ") + "."
}

func paintIf(s Style, t Tone, n int64, words string) string {
	if n == 0 {
		t = Plain
	}
	return s.Paint(t, Count(n)+" "+words)
}

// forecast says what the plan would cost.
func forecast(p *syncv1.Plan) string {
	calls := p.GetForecastApiCalls()
	if calls == 0 {
		return "Forecast: no API calls to apply and verify."
	}
	text := "Forecast: " + Plural(calls, "API call", "API calls") + " to apply and verify"
	if kinds := ranked(p.GetForecastByKind()); len(kinds) > 1 {
		text += " (" + strings.Join(kinds, ", ") + ")"
	}
	if seconds := p.GetForecastSeconds(); seconds > 0 {
		text += ", about " + Duration(time.Duration(seconds)*time.Second) + " after earlier runs"
	}
	if most := p.GetAllocationMax(); most > 0 {
		text += fmt.Sprintf(", %s of the %s that the org may receive in 24 hours; %s are used so far",
			Share(calls, most), Count(most), Count(p.GetAllocationUsed()))
		if over := p.GetAllocationUsed() + calls - most; over > 0 {
			text += fmt.Sprintf(", so that %s would not fit", Plural(over, "call", "calls"))
		}
	}
	if ours := p.GetOurAllocation(); ours > 0 {
		text += fmt.Sprintf(". Of our share of %s, %s are used", Count(ours), Count(p.GetOurAllocationUsed()))
		if p.GetOurAllocationUsed()+calls > ours {
			text += "; a run would wait until the oldest no longer count"
		}
	}
	return text + "."
}

// ranked lists counts, the greatest first.
func ranked(counts map[string]int64) []string {
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = Clean(name) + " " + Count(counts[name])
	}
	return names
}

// wrapList writes items after a title, breaking lines between items.
func wrapList(s Style, title string, items []string) string {
	var b strings.Builder
	b.WriteString(title)
	at := uniseg.StringWidth(title)
	for i, item := range items {
		if i < len(items)-1 {
			item += ","
		}
		width := uniseg.StringWidth(item)
		switch {
		case i == 0:
		case s.Width > 0 && at+1+width > s.Width:
			b.WriteString("\n" + strings.Repeat(" ", uniseg.StringWidth(title)))
			at = uniseg.StringWidth(title)
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(item)
		at += width
	}
	b.WriteByte('\n')
	return b.String()
}

func change(b *strings.Builder, s Style, object string, c *syncv1.Change) {
	sign, what := s.Paint(Good, "+ create"), object
	switch c.GetAction() {
	case syncv1.Action_ACTION_UPDATE, syncv1.Action_ACTION_UNDELETE:
		sign, what = s.Paint(Warn, "~ update in place"), c.GetRecordId()
	case syncv1.Action_ACTION_DELETE:
		sign, what = s.Paint(Bad, "- delete"), c.GetRecordId()
	}
	if c.GetObject() != "" && c.GetObject() != object {
		what = c.GetObject() + " " + what
	}
	if why := changeReasons[c.GetReason()]; why != "" {
		what += "  " + why
	}
	fmt.Fprintf(b, "  %s  %s  %s\n", sign, s.Paint(Bold, Clean(c.GetPersonId())), s.Paint(Dim, Clean(what)))
	names, before := 0, 0
	for _, f := range c.GetFields() {
		names = max(names, uniseg.StringWidth(f.GetField()))
		before = max(before, uniseg.StringWidth(value(f.GetBefore(), f.GetNullBefore())))
	}
	const indent = 6
	room := 0 // for values
	if s.Width > 0 {
		room = max(s.Width-indent-names-len(" = "), 2*minColumn)
	}
	for _, f := range c.GetFields() {
		fmt.Fprintf(b, "%*s%s", indent, "", pad(Clean(f.GetField()), names, false))
		after := value(f.GetAfter(), f.GetNullAfter())
		if c.GetAction() == syncv1.Action_ACTION_CREATE {
			fmt.Fprintf(b, " = %s\n", s.Clip(after, room))
			continue
		}
		left, right := before, 0
		if room > 0 {
			left = min(before, (room-len(" -> "))/2)
			right = room - len(" -> ") - left
		}
		old := s.Clip(value(f.GetBefore(), f.GetNullBefore()), left)
		fmt.Fprintf(b, "   %s %s %s\n", pad(old, left, false), s.Paint(Dim, "->"), s.Clip(after, right))
	}
	b.WriteByte('\n')
}

// changeReasons say why a change is made, where that is not plain.
var changeReasons = map[string]string{
	"adopted": "adopted by its e-mail", "survivor": "the record that theirs was merged into", "contact_of_lead": "the Contact that their Lead became",
	"undeleted": "taken out of the recycle bin", "leaver": "gone from the Catalog", "undo": "taken back",
	"undo_partly": "taken back in part: another field was changed since, or cannot be changed any more",
}

// value writes a value so that its ends, and what cannot be printed, can be seen.
func value(text string, null bool) string {
	if null {
		return "(none)"
	}
	return strconv.Quote(text)
}

func rejected(b *strings.Builder, s Style, o *syncv1.Outcome) {
	fmt.Fprintf(b, "  %s  %s\n", s.Paint(Bad, "! rejected"), s.Paint(Bold, Clean(o.GetPersonId())))
	what := Clean(o.GetCode())
	if fields := strings.Join(o.GetFields(), ", "); fields != "" && !strings.HasPrefix(o.GetMessage(), o.GetFields()[0]) {
		what = Clean(fields) + ": " + what
	}
	for i, line := range wrap(what+": "+Clean(o.GetMessage()), s.Width-8) {
		if i > 0 {
			line = "  " + line
		}
		fmt.Fprintf(b, "      %s\n", line)
	}
	b.WriteByte('\n')
}

// wrap breaks text between words into lines of at most so many columns (0 or less: one line).
func wrap(text string, columns int) []string {
	if columns <= 0 || uniseg.StringWidth(text) <= columns {
		return []string{text}
	}
	var lines []string
	line, at := "", 0
	for word := range strings.FieldsSeq(text) {
		width := uniseg.StringWidth(word)
		if at > 0 && at+1+width > columns {
			lines, line, at = append(lines, line), "", 0
		}
		if at > 0 {
			line, at = line+" ", at+1
		}
		line, at = line+word, at+width
	}
	return append(lines, line)
}
