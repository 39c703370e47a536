// Package e2e_test runs the whole system, in both shapes, against a simulated org, and compares what the org holds in the
// end with the files that went in.
package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	schedulerv1 "github.com/catalogsync/catalogsync/gen/catalogsync/scheduler/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/test/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}

const externalID = "CatalogUserId__c"

// orgs makes every org another one: its id comes from the seed.
var orgs atomic.Uint64

func startOrg(t *testing.T, change ...func(*simulator.Options)) *simulator.Server {
	t.Helper()
	o := simulator.Options{
		Seed:             orgs.Add(1),
		ExternalIDFields: []string{"Contact." + externalID, "Lead." + externalID}, DailyLimit: 1_000_000,
	}
	for _, fn := range change {
		fn(&o)
	}
	org, err := simulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	return org
}

func people(t *testing.T, o sample.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := sample.WriteCSV(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	succeeded    = syncv1.RunState_RUN_STATE_SUCCEEDED
	withFailures = syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES
)

// job is one tenant with an org of its own.
type job struct {
	t      *testing.T
	x      *harness.Tenant
	org    *simulator.Server
	expect harness.Expect
}

func newJob(t *testing.T, s *harness.System, org *simulator.Server, object, ext string) *job {
	t.Helper()
	x := s.Tenant(t, fmt.Sprintf("tenant-%d", time.Now().UnixNano()))
	x.Link(t, org)
	x.SaveMap(t, object, ext)
	return &job{t: t, x: x, org: org, expect: harness.Expect{Object: object, ExternalID: ext}}
}

// load imports a file and remembers it as what the org must hold after the next run.
func (j *job) load(file []byte, mode directoryv1.ImportMode) *directoryv1.ImportSummary {
	j.t.Helper()
	sum, faults := j.x.Import(j.t, file, mode)
	if len(faults) > 0 {
		j.t.Errorf("lines at fault: %v", faults[0])
	}
	j.expect.People = harness.ReadPeople(j.t, file)
	return sum
}

// run runs to the end, and compares org, counters, outcomes and the ledger of effects.
func (j *job) run(state syncv1.RunState, counts map[string]int64) *syncv1.Run {
	j.t.Helper()
	before := j.org.EffectCount()
	run := j.x.Run(j.t)
	harness.Want(j.t, run, state, counts)
	harness.CheckCounts(j.t, run, j.x.Outcomes(j.t, run.GetId()))
	harness.CheckOrg(j.t, j.org, j.expect)
	n := run.GetCounts()
	if effects := j.org.EffectCount() - before; effects != n.GetCreated()+n.GetUpdated() {
		j.t.Errorf("the org applied %d effects, the run wrote %d: %v", effects, n.GetCreated()+n.GetUpdated(), n)
	}
	return run
}

// Every size on either side of a border, both objects, with and without an external id, in both shapes: first sync,
// a second run that plans nothing, and one after some people changed.
func TestWriteRun(t *testing.T) {
	t.Parallel()
	for _, shape := range harness.Shapes() {
		t.Run(shape.Name, func(t *testing.T) {
			t.Parallel()
			type variant struct {
				size        int
				object, ext string
			}
			variants := []variant{
				{1, "Contact", externalID},
				{200, "Contact", externalID},
				{200, "Lead", ""},
				{2001, "Contact", ""},
				{2001, "Lead", externalID},
				{25_000, "Contact", externalID},
			}
			started := make([]*simulator.Server, len(variants))
			origins := make([]string, len(variants))
			for i := range variants {
				started[i] = startOrg(t)
				origins[i] = started[i].URL
			}
			s := shape.Start(t, origins...)
			for i, v := range variants {
				t.Run(fmt.Sprintf("%d %s by %q", v.size, v.object, v.ext), func(t *testing.T) {
					j := newJob(t, s, started[i], v.object, v.ext)
					n := int64(v.size)
					j.load(people(t, sample.Options{People: v.size, Seed: int64(i)}), directoryv1.ImportMode_IMPORT_MODE_FULL)
					first := j.run(succeeded, map[string]int64{"people": n, "created": n, "verified": n, "mismatched": 0})
					if bulk := len(first.GetBulkJobIds()) > 0; bulk != (v.size > 2000) {
						t.Errorf("Bulk jobs for %d changes: %v", v.size, first.GetBulkJobIds())
					}
					j.run(succeeded, map[string]int64{"people": n, "unchanged": n, "verified": 0})
					sum := j.load(people(t, sample.Options{People: v.size, Seed: int64(i), Changed: 0.02, ChangeSeed: 7}), directoryv1.ImportMode_IMPORT_MODE_FULL)
					third := j.run(succeeded, map[string]int64{"people": n, "mismatched": 0})
					if wrote := third.GetCounts().GetUpdated(); wrote > sum.GetChanged() {
						t.Errorf("%d people changed, %d records were written", sum.GetChanged(), wrote)
					}
				})
			}
		})
	}
}

// An org that holds half of the people already, without external ids: they are adopted by e-mail, nobody is doubled.
func TestAdoption(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	file := people(t, sample.Options{People: 3000, Seed: 5})
	all := harness.ReadPeople(t, file)
	for _, p := range all[:1500] {
		if _, err := org.Create("Contact", map[string]string{"LastName": "Before", "Email": p["email"]}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		if _, err := org.Create("Contact", map[string]string{"LastName": "Nobody's", "Email": fmt.Sprintf("nobody%d@example.net", i), externalID: fmt.Sprint("foreign-", i)}); err != nil {
			t.Fatal(err)
		}
	}
	j := newJob(t, s, org, "Contact", externalID)
	j.expect.Others = 10
	j.load(file, directoryv1.ImportMode_IMPORT_MODE_FULL)
	j.run(succeeded, map[string]int64{"people": 3000, "created": 1500, "updated": 1500, "verified": 3000, "foreign_records": 10})
	j.run(succeeded, map[string]int64{"unchanged": 3000})
}

// Every outcome that one run can have, each for the person for whom it is meant.
func TestEveryOutcome(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Lead", "")
	file := people(t, sample.Options{People: 60, Seed: 9, Invalid: 3})
	j.load(file, directoryv1.ImportMode_IMPORT_MODE_FULL)
	all := j.expect.People
	var good []harness.Person
	j.expect.Refused = map[string]bool{}
	for _, p := range all {
		if p["email"] == "" || !bytes.Contains([]byte(p["email"]), []byte("@")) || len(p["last_name"]) > 80 {
			j.expect.Refused[p["id"]] = true
			continue
		}
		good = append(good, p)
	}
	if len(j.expect.Refused) != 3 {
		t.Fatalf("the sample holds %d people at fault, want 3", len(j.expect.Refused))
	}
	// Someone whose Lead was converted, someone with two Leads.
	company := func(email string) map[string]string {
		return map[string]string{"LastName": "Before", "Company": "Before", "Email": email}
	}
	lead, err := org.Create("Lead", company(good[0]["email"]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := org.ConvertLead(lead); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := org.Create("Lead", company(good[1]["email"])); err != nil {
			t.Fatal(err)
		}
	}
	run := j.x.Run(t)
	harness.Want(t, run, withFailures, map[string]int64{"people": 60, "created": 55, "rejected": 4, "superseded": 1, "verified": 55})
	outcomes := j.x.Outcomes(t, run.GetId())
	harness.CheckCounts(t, run, outcomes)
	for id, want := range map[string]string{good[0]["id"]: "converted", good[1]["id"]: "several_matches"} {
		if got := outcomes[id].GetCode(); got != want {
			t.Errorf("person %s ended %v, want code %s", id, outcomes[id], want)
		}
	}
	for id := range j.expect.Refused {
		if o := outcomes[id]; o.GetKind() != syncv1.OutcomeKind_OUTCOME_KIND_REJECTED || o.GetMessage() == "" {
			t.Errorf("person %s ended %v, want rejected with a reason", id, o)
		}
	}
	// The latest outcome of each is with the person.
	res, err := j.x.People.GetPerson(j.x.Context(t.Context()), &directoryv1.GetPersonRequest{Id: good[1]["id"]})
	if err != nil {
		t.Fatal(err)
	}
	if o := res.GetOutcomes(); len(o) != 1 || o[0].GetRunId() != run.GetId() || o[0].GetOutcome().GetCode() != "several_matches" {
		t.Errorf("latest outcomes %v", o)
	}
}

// A plan shows what would be done, field by field, and writes nothing.
func TestPlanOnlyWritesNothing(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Contact", externalID)
	j.load(people(t, sample.Options{People: 500, Seed: 3}), directoryv1.ImportMode_IMPORT_MODE_FULL)
	j.run(succeeded, map[string]int64{"created": 500})
	file := people(t, sample.Options{People: 510, Seed: 3, Changed: 0.1, ChangeSeed: 1})
	sum := j.load(file, directoryv1.ImportMode_IMPORT_MODE_FULL)
	before := org.EffectCount()
	run := j.x.Wait(t, j.x.Start(t, &syncv1.StartRunRequest{PlanOnly: true}).GetId(), time.Minute)
	harness.Want(t, run, succeeded, map[string]int64{"people": 510, "created": 0, "updated": 0})
	if org.EffectCount() != before {
		t.Error("a plan wrote to the org")
	}
	p := run.GetPlan()
	if p.GetCreates() != 10 || p.GetUpdates() == 0 || p.GetUpdates() > sum.GetChanged() || p.GetForecastApiCalls() == 0 || p.GetAllocationMax() == 0 {
		t.Errorf("plan %v", p)
	}
	var got []*syncv1.Change
	for token := ""; ; {
		res, err := j.x.Runs.ListChanges(j.x.Context(t.Context()), &syncv1.ListChangesRequest{RunId: run.GetId(), PageSize: 7, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, res.GetChanges()...)
		if token = res.GetNextPageToken(); token == "" {
			break
		}
	}
	if int64(len(got)) != p.GetCreates()+p.GetUpdates() {
		t.Fatalf("%d changes are listed of %v", len(got), p)
	}
	for _, c := range got {
		if c.GetAction() != syncv1.Action_ACTION_UPDATE {
			continue
		}
		record, ok := org.Record(c.GetRecordId())
		if !ok || len(c.GetFields()) == 0 {
			t.Fatalf("change %v of no record, or of nothing", c)
		}
		for _, f := range c.GetFields() {
			if record.Fields[f.GetField()] != f.GetBefore() || f.GetBefore() == f.GetAfter() {
				t.Errorf("change of %s: %q to %q, the record holds %q", f.GetField(), f.GetBefore(), f.GetAfter(), record.Fields[f.GetField()])
			}
		}
	}
	// What the plan said is what the run does.
	real := j.run(succeeded, map[string]int64{"created": p.GetCreates(), "updated": p.GetUpdates()})
	if real.GetPlan().GetHash() != p.GetHash() {
		t.Error("the same plan has two hashes")
	}
}

// The schedule starts exactly one run, whatever the number of schedulers.
func TestNightlyRun(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.FiveProcesses(t, harness.Apart{Workers: 2, Schedulers: 3}, org.URL)
	j := newJob(t, s, org, "Contact", externalID)
	j.load(people(t, sample.Options{People: 50, Seed: 2}), directoryv1.ImportMode_IMPORT_MODE_FULL)
	_, err := j.x.Schedules.SetSchedule(j.x.Context(t.Context()), &schedulerv1.SetScheduleRequest{
		Enabled: true, Time: time.Now().UTC().Add(2 * time.Second).Format("15:04:05"), Zone: "UTC",
	})
	if err != nil {
		t.Fatal(err)
	}
	var runs []*syncv1.Run
	testkit.Eventually(t, time.Minute, func() error {
		res, err := j.x.Runs.ListRuns(j.x.Context(t.Context()), &syncv1.ListRunsRequest{})
		if err != nil {
			return err
		}
		if runs = res.GetRuns(); len(runs) == 0 || !harness.Final(runs[0].GetState()) {
			return fmt.Errorf("runs: %v", runs)
		}
		return nil
	})
	if len(runs) != 1 || runs[0].GetTrigger() != syncv1.RunTrigger_RUN_TRIGGER_SCHEDULE {
		t.Errorf("runs: %v", runs)
	}
	harness.CheckOrg(t, org, j.expect)
	res, err := j.x.Schedules.GetSchedule(j.x.Context(t.Context()), &schedulerv1.GetScheduleRequest{})
	if err != nil || res.GetSchedule().GetLastRunId() != runs[0].GetId() {
		t.Errorf("schedule %v, %v", res, err)
	}
}

// Cancelling stops the sends, aborts the Bulk job and leaves every person with an outcome.
func TestCancel(t *testing.T) {
	t.Parallel()
	org := startOrg(t, func(o *simulator.Options) { o.BulkRate = 2000 })
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Contact", externalID)
	j.load(people(t, sample.Options{People: 20_000, Seed: 4}), directoryv1.ImportMode_IMPORT_MODE_FULL)
	run := j.x.Start(t, &syncv1.StartRunRequest{})
	testkit.Eventually(t, time.Minute, func() error { // some rows are in the org
		if org.EffectCount() == 0 {
			return fmt.Errorf("no effect yet")
		}
		return nil
	})
	if _, err := j.x.Runs.CancelRun(j.x.Context(t.Context()), &syncv1.CancelRunRequest{RunId: run.GetId()}); err != nil {
		t.Fatal(err)
	}
	run = j.x.Wait(t, run.GetId(), time.Minute)
	harness.Want(t, run, syncv1.RunState_RUN_STATE_CANCELLED, map[string]int64{"people": 20_000})
	harness.CheckCounts(t, run, j.x.Outcomes(t, run.GetId()))
	n := run.GetCounts()
	if n.GetDeferred() == 0 || n.GetCreated() != org.EffectCount() || n.GetCreated() != int64(org.Count("Contact")) {
		t.Errorf("%v, the org applied %d effects and holds %d records", n, org.EffectCount(), org.Count("Contact"))
	}
	// The next run ends what this one began.
	j.run(succeeded, map[string]int64{"people": 20_000, "unchanged": n.GetCreated(), "created": n.GetDeferred()})
}

// One writing run at a time: the second waits for the first, and both end.
func TestRunsQueue(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Contact", externalID)
	j.load(people(t, sample.Options{People: 300, Seed: 1}), directoryv1.ImportMode_IMPORT_MODE_FULL)
	var ids []string
	for i := range 4 {
		run := j.x.Start(t, &syncv1.StartRunRequest{RequestId: fmt.Sprint("request-", i)})
		again := j.x.Start(t, &syncv1.StartRunRequest{RequestId: fmt.Sprint("request-", i)})
		if run.GetId() != again.GetId() {
			t.Errorf("one request made runs %s and %s", run.GetId(), again.GetId())
		}
		ids = append(ids, run.GetId())
	}
	var created int64
	for _, id := range ids {
		run := j.x.Wait(t, id, time.Minute)
		harness.Want(t, run, succeeded, map[string]int64{"people": 300})
		created += run.GetCounts().GetCreated()
	}
	if created != 300 || org.EffectCount() != 300 {
		t.Errorf("%d people were created, the org applied %d effects", created, org.EffectCount())
	}
	res, err := j.x.Runs.ListRuns(j.x.Context(t.Context()), &syncv1.ListRunsRequest{PageSize: 3})
	if err != nil || len(res.GetRuns()) != 3 || res.GetNextPageToken() == "" {
		t.Fatalf("first page: %v, %v", res, err)
	}
	rest, err := j.x.Runs.ListRuns(j.x.Context(t.Context()), &syncv1.ListRunsRequest{PageSize: 3, PageToken: res.GetNextPageToken()})
	if err != nil || len(rest.GetRuns()) != 1 {
		t.Fatalf("second page: %v, %v", rest, err)
	}
	var listed []string
	for _, r := range slices.Concat(res.GetRuns(), rest.GetRuns()) {
		listed = append(listed, r.GetId())
	}
	slices.Reverse(listed)
	if !slices.Equal(listed, ids) {
		t.Errorf("listed %v, started %v: newest first is wanted", listed, ids)
	}
}

// The state at a glance: not linked, linked, needs reconnect.
func TestStatusAndReconnect(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	x := s.Tenant(t, "acme")
	state := func() gatewayv1.IntegrationState {
		t.Helper()
		res, err := x.Status.GetStatus(x.Context(t.Context()), &gatewayv1.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetState()
	}
	if got := state(); got != gatewayv1.IntegrationState_INTEGRATION_STATE_NOT_LINKED {
		t.Errorf("before linking: %s", got)
	}
	x.Link(t, org)
	if got := state(); got != gatewayv1.IntegrationState_INTEGRATION_STATE_LINKED {
		t.Errorf("after linking: %s", got)
	}
}

// The budgets of API calls: a small run takes at most 6 in all, and each unchanged person none.
func TestSmallRunsAreCheap(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Contact", externalID)
	j.load(people(t, sample.Options{People: 200, Seed: 6}), directoryv1.ImportMode_IMPORT_MODE_FULL)
	for _, want := range []map[string]int64{{"created": 200}, {"unchanged": 200}} {
		before := org.Counters().APICalls
		run := j.run(succeeded, want)
		calls := org.Counters().APICalls - before
		if run.GetApiCalls() != calls {
			t.Errorf("the run says %d API calls, the org counted %d", run.GetApiCalls(), calls)
		}
		if calls > 6 {
			t.Errorf("%d API calls for 200 people (%v)", calls, want)
		}
	}
}

// 100,000 people, once: applied within 12 API calls and verified within 6, and a night in which 1 % changed within 40.
func TestHundredThousand(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Contact", externalID)
	j.load(people(t, sample.Options{People: 100_000, Seed: 8}), directoryv1.ImportMode_IMPORT_MODE_FULL)
	before := org.Counters()
	j.run(succeeded, map[string]int64{"created": 100_000, "verified": 100_000})
	after := org.Counters()
	var apply, verify int64
	for route, n := range after.Routes {
		n -= before.Routes[route]
		switch {
		case strings.Contains(route, "/jobs/ingest"):
			apply += n
		case strings.Contains(route, "/jobs/query"):
			verify += n
		}
	}
	t.Logf("apply took %d API calls, verify %d: %v", apply, verify, after.Routes)
	if apply == 0 || apply > 12 {
		t.Errorf("apply took %d API calls, at most 12 are allowed", apply)
	}
	// The empty table was pulled by REST or by a lookup, so every query job is verify's.
	if verify == 0 || verify > 6 {
		t.Errorf("verify took %d API calls, at most 6 are allowed", verify)
	}
	j.load(people(t, sample.Options{People: 100_000, Seed: 8, Changed: 0.01, ChangeSeed: 1}), directoryv1.ImportMode_IMPORT_MODE_FULL)
	night := j.run(succeeded, map[string]int64{"people": 100_000})
	if calls := org.Counters().APICalls - after.APICalls; calls > 40 || night.GetApiCalls() != calls {
		t.Errorf("the night took %d API calls, the run says %d; at most 40 are allowed", calls, night.GetApiCalls())
	}
}
