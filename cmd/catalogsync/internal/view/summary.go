package view

import (
	"strings"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// Result is a run in a summary.
type Result struct {
	Run *syncv1.Run
	// Title over its column; none where empty.
	Title string
}

// Summary compares runs side by side: people by outcome, what was read back, and what it cost. Outcomes that no run has
// are left out, so that what is there stands out.
func Summary(s Style, results []Result) string {
	t := table{columns: []column{{whole: true}}, indent: 2}
	for _, r := range results {
		t.columns = append(t.columns, column{title: r.Title, right: true})
	}
	row := func(name string, value func(r *syncv1.Run) (string, Tone)) {
		cells, something := []cell{{text: name}}, false
		for _, r := range results {
			text, tone := value(r.Run)
			something = something || text != ""
			cells = append(cells, cell{text, tone})
		}
		if something {
			t.addTones(cells...)
		}
	}
	ofRun := func(name string, always bool, tone Tone, n func(*syncv1.Run) int64) {
		for _, r := range results {
			always = always || n(r.Run) != 0
		}
		row(name, func(r *syncv1.Run) (string, Tone) {
			switch v := n(r); {
			case !always:
				return "", Plain
			case v == 0:
				return "0", Dim
			default:
				return Count(v), tone
			}
		})
	}
	number := func(name string, always bool, tone Tone, n func(*syncv1.Counts) int64) {
		ofRun(name, always, tone, func(r *syncv1.Run) int64 { return n(r.GetCounts()) })
	}
	// What an undo wrote to the records of leavers are flags that it took back.
	flags := func(undo bool) func(*syncv1.Run) int64 {
		return func(r *syncv1.Run) int64 {
			if undo != (r.GetKind() == syncv1.RunKind_RUN_KIND_UNDO) {
				return 0
			}
			return r.GetCounts().GetLeaversFlagged()
		}
	}
	number("created", true, Good, (*syncv1.Counts).GetCreated)
	number("updated", true, Warn, (*syncv1.Counts).GetUpdated)
	number("unchanged", true, Plain, (*syncv1.Counts).GetUnchanged)
	number("deleted", false, Warn, (*syncv1.Counts).GetDeleted)
	number("skipped", false, Plain, (*syncv1.Counts).GetSkipped)
	number("superseded", false, Plain, (*syncv1.Counts).GetSuperseded)
	number("rejected", false, Bad, (*syncv1.Counts).GetRejected)
	number("failed", false, Bad, (*syncv1.Counts).GetFailed)
	number("deferred", false, Warn, (*syncv1.Counts).GetDeferred)
	number("people", true, Bold, (*syncv1.Counts).GetPeople)
	t.add("")
	number("read back, equal", true, Plain, (*syncv1.Counts).GetVerified)
	number("read back, different", false, Bad, (*syncv1.Counts).GetMismatched)
	number("leavers", false, Plain, (*syncv1.Counts).GetLeavers)
	ofRun("leavers flagged", false, Warn, flags(false))
	ofRun("leavers' flags taken back", false, Warn, flags(true))
	number("texts cut to fit", false, Plain, (*syncv1.Counts).GetCut)
	number("records of others, untouched", false, Plain, (*syncv1.Counts).GetForeignRecords)
	row("API calls", func(r *syncv1.Run) (string, Tone) { return Count(r.GetApiCalls()), Plain })
	row("time", func(r *syncv1.Run) (string, Tone) { return elapsed(r), Plain })
	row("people a second", func(r *syncv1.Run) (string, Tone) {
		if Took(r) <= 0 {
			return "", Plain
		}
		return Count(int64(Rate(r))), Plain
	})
	return t.String(s) + bulkJobs(s, results)
}

// bulkJobs lists the ids of Salesforce's Bulk jobs, by which an admin finds them under Setup, Bulk Data Load Jobs.
func bulkJobs(s Style, results []Result) string {
	var b strings.Builder
	for _, r := range results {
		title := "  Salesforce Bulk jobs"
		if r.Title != "" && len(results) > 1 {
			title += ", " + strings.ToLower(r.Title)
		}
		if ids := r.Run.GetBulkJobIds(); len(ids) > 0 {
			b.WriteString("\n" + wrapList(s, title+": ", ids))
		}
	}
	return b.String()
}
