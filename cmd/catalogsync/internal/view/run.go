package view

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// Runs lists runs.
func Runs(s Style, runs []*syncv1.Run) string {
	t := table{columns: []column{
		{title: "RUN", whole: true},
		{title: "REQUESTED", whole: true, drop: 5},
		{title: "TRIGGER", whole: true, drop: 4},
		{title: "OBJECT", whole: true, drop: 3},
		{title: "STATE", whole: true},
		{title: "PEOPLE", right: true},
		{title: "CREATED", right: true, drop: 2},
		{title: "UPDATED", right: true, drop: 2},
		{title: "PROBLEMS", right: true},
		{title: "TIME", right: true, drop: 1},
	}}
	for _, r := range runs {
		n := r.GetCounts()
		written := func(n int64) string {
			if r.GetPlanOnly() {
				return "-"
			}
			return Count(n)
		}
		problems := cell{text: Count(Problems(n))}
		if Problems(n) > 0 {
			problems.tone = Bad
		}
		t.addTones(cell{text: r.GetId()}, cell{text: s.minute(r.GetRequestedAt())}, cell{text: Word(r.GetTrigger())},
			cell{text: r.GetObject()}, cell{stateShort(r), stateTone(r)}, cell{text: Count(n.GetPeople())},
			cell{text: written(n.GetCreated())}, cell{text: written(n.GetUpdated())}, problems, cell{text: orDash(elapsed(r))})
	}
	return t.String(s)
}

// stateShort is the state in a few letters: the number of problems says the rest.
func stateShort(r *syncv1.Run) string {
	switch {
	case r.GetState() == syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES:
		return "with failures"
	case r.GetPlanOnly() && r.GetState() == syncv1.RunState_RUN_STATE_SUCCEEDED:
		return "planned"
	case r.GetState() == syncv1.RunState_RUN_STATE_RUNNING && r.GetStage() != "":
		return r.GetStage()
	}
	return Words(r.GetState())
}

// Problems counts the people whom a run could not bring in step, and records that read back wrong.
func Problems(n *syncv1.Counts) int64 {
	return n.GetRejected() + n.GetFailed() + n.GetDeferred() + n.GetMismatched()
}

// Ended reports whether the state is final.
func Ended(r *syncv1.Run) bool { return r.GetState() >= syncv1.RunState_RUN_STATE_SUCCEEDED }

func stateWords(r *syncv1.Run) string {
	text := Words(r.GetState())
	if r.GetState() == syncv1.RunState_RUN_STATE_RUNNING && r.GetStage() != "" {
		text += ": " + r.GetStage()
	}
	if r.GetPlanOnly() {
		text += " (plan only)"
	}
	return text
}

func stateTone(r *syncv1.Run) Tone {
	switch r.GetState() {
	case syncv1.RunState_RUN_STATE_SUCCEEDED:
		return Good
	case syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES, syncv1.RunState_RUN_STATE_HELD,
		syncv1.RunState_RUN_STATE_CANCELLED, syncv1.RunState_RUN_STATE_CANCELLING:
		return Warn
	case syncv1.RunState_RUN_STATE_FAILED, syncv1.RunState_RUN_STATE_NEEDS_RECONNECT:
		return Bad
	}
	return Plain
}

// Took is how long a run worked; 0 for one that has not ended.
func Took(r *syncv1.Run) time.Duration {
	from := r.GetStartedAt()
	if from == nil {
		from = r.GetRequestedAt()
	}
	if from == nil || r.GetEndedAt() == nil {
		return 0
	}
	return r.GetEndedAt().AsTime().Sub(from.AsTime())
}

func elapsed(r *syncv1.Run) string {
	if d := Took(r); d > 0 {
		return Duration(d)
	}
	return ""
}

// Rate is how many people a run dealt with in a second: all whom it compared, not only those whom it wrote.
func Rate(r *syncv1.Run) float64 {
	if d := Took(r).Seconds(); d > 0 {
		return float64(r.GetCounts().GetPeople()) / d
	}
	return 0
}

// Run shows one run.
func Run(s Style, r *syncv1.Run) string {
	var b strings.Builder
	title := r.GetObject() + " " + Word(r.GetKind()) + " run"
	if r.GetPlanOnly() {
		title = r.GetObject() + " plan"
	}
	b.WriteString(s.Paint(Bold, Clean(title)) + "  " + Clean(r.GetId()) + "\n")
	b.WriteString(pairs(s, 2,
		[2]string{"state", s.Paint(stateTone(r), stateWords(r))},
		[2]string{"reason", Clean(r.GetReason())},
		[2]string{"trigger", Word(r.GetTrigger())},
		[2]string{"asked for by", Clean(r.GetAuthor())},
		[2]string{"connection", Clean(r.GetConnectionId())},
		[2]string{"field map", "version " + Count(int64(r.GetFieldMapVersion()))},
		[2]string{"requested", s.Time(r.GetRequestedAt())},
		[2]string{"began", timeOrNothing(s, r.GetStartedAt())},
		[2]string{"ended", timeOrNothing(s, r.GetEndedAt())},
		[2]string{"trace", r.GetTraceId()},
	))
	switch {
	case r.GetState() == syncv1.RunState_RUN_STATE_HELD:
		b.WriteString("\n" + Plan(s, Planned{Run: r}) + heldHelp(r))
	case !r.GetPlanOnly():
		if r.GetHold() != nil || len(r.GetNotes()) > 0 {
			b.WriteString("\n" + notes(s, r.GetNotes()) + Hold(s, r))
		}
		b.WriteString("\n" + Summary(s, []Result{{Run: r}}))
	case r.GetPlan() != nil:
		b.WriteString("\n" + Plan(s, Planned{Run: r}))
	}
	return b.String()
}

// heldHelp says how to decide about a held run.
func heldHelp(r *syncv1.Run) string {
	id := Clean(r.GetId())
	return "\nNothing was written so far. To decide:\n" +
		"  catalogsync approve " + id + "          shows the plan and lets the run go on\n" +
		"  catalogsync reject " + id + " -m NOTE   ends it\n"
}

func timeOrNothing(s Style, t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return s.Time(t)
}

// Outcomes lists how people ended. On a terminal what was said of a person stands below them, where it can be read as a
// whole; elsewhere everything about a person is in one line.
func Outcomes(s Style, outcomes []*syncv1.Outcome) string {
	t := table{columns: []column{
		{title: "PERSON", whole: true},
		{title: "OUTCOME", whole: true},
		{title: "RECORD", whole: true, drop: 1},
		{title: "CODE", whole: true},
		{title: "FIELDS"},
	}}
	if s.Width == 0 {
		t.columns = append(t.columns, column{title: "MESSAGE"})
	}
	for _, o := range outcomes {
		row := []cell{
			{text: o.GetPersonId()},
			{Word(o.GetKind()), outcomeTone(o.GetKind())},
			{text: orDash(o.GetRecordId())},
			{text: orDash(o.GetCode())},
			{text: orDash(strings.Join(o.GetFields(), ", "))},
		}
		if s.Width == 0 {
			row = append(row, cell{text: said(o)})
		}
		t.addTones(row...)
	}
	if s.Width == 0 {
		return t.String(s)
	}
	var b strings.Builder
	for i, line := range strings.SplitAfter(strings.TrimSuffix(t.String(s), "\n"), "\n") {
		b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		if i == 0 || said(outcomes[i-1]) == "" {
			continue
		}
		for _, words := range wrap(Clean(said(outcomes[i-1])), s.Width-4) {
			b.WriteString("    " + s.Paint(Dim, words) + "\n")
		}
	}
	return b.String()
}

// said is what was said of a person, with the other records that it is about.
func said(o *syncv1.Outcome) string {
	text := o.GetMessage()
	if others := o.GetOtherRecordIds(); len(others) > 0 {
		text = strings.TrimSpace(text + " See " + strings.Join(others, ", ") + ".")
	}
	return text
}

func outcomeTone(k syncv1.OutcomeKind) Tone {
	switch k {
	case syncv1.OutcomeKind_OUTCOME_KIND_CREATED:
		return Good
	case syncv1.OutcomeKind_OUTCOME_KIND_UPDATED, syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED:
		return Warn
	case syncv1.OutcomeKind_OUTCOME_KIND_REJECTED, syncv1.OutcomeKind_OUTCOME_KIND_FAILED:
		return Bad
	}
	return Plain
}
