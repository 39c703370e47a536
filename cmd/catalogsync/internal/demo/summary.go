package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// line is a run as one line of JSON.
func line(r *syncv1.Run) []byte {
	n := r.GetCounts()
	round := func(v, digits float64) float64 { return math.Round(v*math.Pow(10, digits)) / math.Pow(10, digits) }
	b, err := json.Marshal(struct {
		RunID         string   `json:"run_id"`
		Kind          string   `json:"kind"`
		Trigger       string   `json:"trigger"`
		Object        string   `json:"object"`
		People        int64    `json:"people"`
		Created       int64    `json:"created"`
		Updated       int64    `json:"updated"`
		Unchanged     int64    `json:"unchanged"`
		Skipped       int64    `json:"skipped"`
		Rejected      int64    `json:"rejected"`
		Failed        int64    `json:"failed"`
		Superseded    int64    `json:"superseded"`
		Deferred      int64    `json:"deferred"`
		Verified      int64    `json:"verified"`
		Mismatched    int64    `json:"mismatched"`
		APICalls      int64    `json:"api_calls"`
		BulkJobs      []string `json:"bulk_jobs"`
		Seconds       float64  `json:"seconds"`
		RowsPerSecond float64  `json:"rows_per_second"`
		PeakRSSBytes  int64    `json:"peak_rss_bytes"`
	}{
		r.GetId(), view.Word(r.GetKind()), view.Word(r.GetTrigger()), r.GetObject(), n.GetPeople(), n.GetCreated(), n.GetUpdated(),
		n.GetUnchanged(), n.GetSkipped(), n.GetRejected(), n.GetFailed(), n.GetSuperseded(), n.GetDeferred(), n.GetVerified(),
		n.GetMismatched(), r.GetApiCalls(), append([]string{}, r.GetBulkJobIds()...), round(view.Took(r).Seconds(), 3), round(view.Rate(r), 1),
		peakRSS(),
	})
	if err != nil { // numbers and texts always can be
		panic(err)
	}
	return append(b, '\n')
}

// peakRSS is the most memory that this process has held since it started, in bytes: services, simulated org and all. It
// is 0 where the system does not say.
func peakRSS() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) == 3 && f[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// count asks the simulated org what it holds and how much was done to it.
func (t *tour) count() org {
	return org{records: int64(t.org.Count(t.Object)), effects: t.org.EffectCount()}
}

// check is something that must hold in the end.
type check struct {
	holds bool
	text  string
}

// checks compares what the runs say with what the simulated org holds, which shares no code with them.
func (t *tour) checks(people int64) []check {
	var out []check
	add := func(holds bool, format string, args ...any) {
		out = append(out, check{holds, fmt.Sprintf(format, args...)})
	}
	var created, written, verified, mismatched, problems int64
	complete := true
	for _, r := range t.runs {
		n := r.Run.GetCounts()
		ends := n.GetCreated() + n.GetUpdated() + n.GetUnchanged() + n.GetSkipped() + n.GetRejected() + n.GetFailed() + n.GetSuperseded() + n.GetDeferred()
		complete = complete && ends == n.GetPeople() && n.GetPeople() == people
		created += n.GetCreated()
		written += n.GetCreated() + n.GetUpdated()
		verified += n.GetVerified()
		mismatched += n.GetMismatched()
		problems += view.Problems(n)
	}
	add(complete, "in each run everybody ended in exactly one outcome: %s", view.Plural(people, "person", "people"))
	plan, first := t.plan.GetPlan(), t.runs[0].Run.GetCounts()
	if problems == 0 {
		add(first.GetCreated() == plan.GetCreates() && first.GetUpdated() == plan.GetUpdates(),
			"the first run did what its plan said: %s created, %s updated", view.Count(plan.GetCreates()), view.Count(plan.GetUpdates()))
		last := t.runs[len(t.runs)-1].Run.GetCounts()
		add(last.GetUpdated() == t.changed && last.GetCreated() == 0,
			"the last run updated %s, exactly those who had changed", view.Plural(t.changed, "person", "people"))
	}
	add(verified == written && mismatched == 0, "what was written was read back and is equal: %s", view.Plural(written, "record", "records"))
	now := t.count()
	add(now.effects-t.before.effects == written, "the org's own ledger counts %s, as many as the runs wrote",
		view.Plural(now.effects-t.before.effects, "effect", "effects"))
	add(now.records-t.before.records == created, "the org holds %s, %s",
		view.Plural(now.records, "live "+t.Object, "live "+t.Object+"s"), t.holding(now.records, people, problems))
	return out
}

func (t *tour) holding(records, people, problems int64) string {
	switch {
	case t.before.records == 0 && problems == 0 && records == people:
		return "one for each person"
	case t.before.records == 0:
		return fmt.Sprintf("for %s", view.Plural(people, "person", "people"))
	}
	return view.Count(t.before.records) + " of them from before"
}

// sumUp shows what came of it all, and returns an error when something does not add up.
func (t *tour) sumUp(ctx context.Context) error {
	count, err := t.client.People.CountPeople(ctx, &directoryv1.CountPeopleRequest{})
	if err != nil {
		return fmt.Errorf("count the people: %w", err)
	}
	s := t.out.style
	t.out.say(s.Paint(view.Bold, "Summary") + "\n" + view.Summary(s, t.runs))
	checks := t.checks(count.GetPeople())
	t.out.say("\n" + s.Paint(view.Bold, "Does it add up?") + "\n")
	var wrong []string
	for _, c := range checks {
		mark := s.Paint(view.Good, "yes")
		if !c.holds {
			mark = s.Paint(view.Bad, "NO ")
			wrong = append(wrong, c.text)
		}
		t.out.say("  " + mark + "  " + c.text + "\n")
	}
	t.out.say("\n" + s.Paint(view.Bold, "Where the data lies") + "\n" + t.places(len(wrong) == 0))
	if len(wrong) > 0 {
		return exit.With(exit.Failed, "it does not add up: not true is that %s", strings.Join(wrong, "; nor that "))
	}
	var problems int64
	for _, r := range t.runs {
		problems += view.Problems(r.Run.GetCounts())
	}
	var partly []string
	if t.refused > 0 {
		partly = append(partly, view.Plural(t.refused, "line was", "lines were")+" not taken")
	}
	if problems > 0 {
		partly = append(partly, "the runs report "+view.Plural(problems, "problem", "problems"))
	}
	if len(partly) > 0 {
		return exit.With(exit.Partly, "it adds up, but not everybody is in step: %s", strings.Join(partly, ", and "))
	}
	return nil
}

// places says what is in which file.
func (t *tour) places(fine bool) string {
	where := "  " + t.dir
	if t.Data == "" && fine && !t.Serve {
		where += ", temporary and removed now; --data DIR keeps it"
	}
	var rows [][2]string
	if t.PeopleFile == "" {
		rows = append(rows, [2]string{"people.csv", "the people as they were imported first"})
	}
	rows = append(rows,
		[2]string{"people.db", "people and their latest outcomes (SQLite)"},
		[2]string{"nats", "runs, plans, outcomes, connection and field map (JetStream)"},
		[2]string{"catalogsync.log", "the log of the services"},
	)
	if t.Data != "" {
		rows = append(rows, [2]string{"org.json", "the simulated org, once the demo has ended"})
	}
	return where + "\n" + view.Columns(t.out.style, 4, rows)
}

// reach says how to reach what goes on running.
func (t *tour) reach() {
	w := t.Stdout
	if t.JSON {
		w = t.Stderr
	}
	token := t.file("demo.token")
	ends := ""
	if t.Data == "" {
		ends = "; then the data is removed"
	}
	fmt.Fprintf(w, `
%s%s
  gRPC             %s
  JSON over HTTP   http://%s
  Salesforce       %s (simulated)
  API token        %s (an admin of the tenant %q)

  export CATALOGSYNC_SERVER=%s
  export CATALOGSYNC_TOKEN_FILE=%s
  catalogsync status
  catalogsync people list --limit 5
  catalogsync runs list
  curl -H "Authorization: Bearer $(cat $CATALOGSYNC_TOKEN_FILE)" http://%s/v1/status
  curl -H "Authorization: Bearer $(cat $CATALOGSYNC_TOKEN_FILE)" "http://%s/v1/people?page_size=2"
`, t.out.style.Paint(view.Bold, "Still running, until it is interrupted with Ctrl-C"), ends, t.node.Addr(), t.node.HTTPAddr(), t.org.URL, t.token, tenant,
		t.node.Addr(), token, t.node.HTTPAddr(), t.node.HTTPAddr())
}
