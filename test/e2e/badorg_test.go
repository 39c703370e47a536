package e2e_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	authv1 "github.com/catalogsync/catalogsync/gen/catalogsync/auth/v1"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
	"github.com/catalogsync/catalogsync/test/harness"
)

const (
	failed    = syncv1.RunState_RUN_STATE_FAILED
	reconnect = syncv1.RunState_RUN_STATE_NEEDS_RECONNECT
	// patience is for what must happen, however slow the machine.
	patience = 5 * time.Minute
)

// An org that refuses ends the run with its own words; one that is out of order for a while is waited for; one that
// stays so ends the run after a number of attempts. Whatever happened, the next run puts everything right.
func TestOrgRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		fault   fault.Rule
		state   syncv1.RunState
		reason  []string
		created int64 // by the run in trouble
	}{
		{
			"for good, in words",
			fault.Rule{Kind: fault.Error, Path: "/sobjects/Contact/describe", Status: http.StatusForbidden, Code: "API_DISABLED_FOR_ORG", Message: "API is not enabled for this Organization or Partner"},
			failed,
			[]string{"describe Contact", "API_DISABLED_FOR_ORG", "API is not enabled"},
			0,
		},
		{
			"the object",
			fault.Rule{Kind: fault.Error, Path: "/sobjects/Contact/describe", Status: http.StatusNotFound, Code: "NOT_FOUND", Message: "The requested resource does not exist"},
			failed,
			[]string{"describe Contact", "NOT_FOUND"},
			0,
		},
		{"for a while", fault.Rule{Kind: fault.Error, Path: "/composite/*", Status: http.StatusServiceUnavailable, Count: 2}, succeeded, nil, 120},
		{"for a while, with a page of its own", fault.Rule{Kind: fault.HTML, Method: "GET", Path: "/query*", Status: http.StatusServiceUnavailable, Count: 2}, succeeded, nil, 120},
		{"for ever", fault.Rule{Kind: fault.Error, Path: "/composite/*", Status: http.StatusServiceUnavailable}, failed, []string{"apply stage failed 3 times", "SERVER_UNAVAILABLE"}, 0},
		{"while it is read", fault.Rule{Kind: fault.ResetBefore, Method: "GET", Path: "/query*"}, failed, []string{"pull stage failed 3 times"}, 0},
	}
	orgs, origins := make([]*simulator.Server, len(tests)), make([]string, len(tests))
	for i := range tests {
		orgs[i] = startOrg(t)
		origins[i] = orgs[i].URL
	}
	s := harness.FiveProcesses(t, harness.Apart{Workers: 1, Schedulers: 1, WorkerFlags: []string{"-max-failures", "3", "-slots", "8"}}, origins...)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			org := orgs[i]
			j := newJob(t, s, org, "Contact", externalID)
			j.load(people(t, sample.Options{People: 120, Seed: int64(i)}), full)
			org.Faults().MustAdd(tt.fault)
			run := j.x.Run(t)
			harness.Want(t, run, tt.state, map[string]int64{"created": tt.created, "failed": 0})
			for _, w := range tt.reason {
				if !strings.Contains(run.GetReason(), w) {
					t.Errorf("the reason %q does not say %q", run.GetReason(), w)
				}
			}
			harness.CheckCounts(t, run, j.x.Outcomes(t, run.GetId()))
			org.Faults().Clear()
			j.run(succeeded, map[string]int64{"people": 120, "created": 120 - tt.created, "unchanged": tt.created})
		})
	}
}

// Salesforce stops taking the credentials in the middle of a run: the run ends and says so, everybody who has no certain
// end is deferred, and status and later requests say what to do. After linking again the next run puts everything right.
func TestCredentialsExpire(t *testing.T) {
	t.Parallel()
	org := startOrg(t, func(o *simulator.Options) { o.BulkRate = 1000 })
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Contact", externalID)
	const n = 20_000
	j.load(people(t, sample.Options{People: n, Seed: 4}), full)
	run := j.x.Start(t, &syncv1.StartRunRequest{})
	testkit.Eventually(t, patience, func() error {
		if org.EffectCount() == 0 {
			return errors.New("no effect yet")
		}
		return nil
	})
	org.SetLoginPolicy(simulator.LoginPolicy{BlockApp: true})
	org.ExpireSessions()
	run = j.x.Wait(t, run.GetId(), patience)
	harness.Want(t, run, reconnect, map[string]int64{"people": n, "deferred": n, "created": 0})
	outcomes := j.x.Outcomes(t, run.GetId())
	harness.CheckCounts(t, run, outcomes)
	for id, o := range outcomes {
		if o.GetCode() != "outcome_unknown" || o.GetBulkJobId() == "" {
			t.Fatalf("%s ended %v", id, o)
		}
	}
	status, err := j.x.Status.GetStatus(j.x.Context(t.Context()), &gatewayv1.GetStatusRequest{})
	if err != nil || status.GetState() != gatewayv1.IntegrationState_INTEGRATION_STATE_NEEDS_RECONNECT ||
		status.GetConnection().GetState() != authv1.ConnectionState_CONNECTION_STATE_NEEDS_RECONNECT || status.GetConnection().GetReason() == "" {
		t.Errorf("status %v, %v", status, err)
	}
	_, err = j.x.Runs.StartRun(j.x.Context(t.Context()), &syncv1.StartRunRequest{})
	told(t, "another run", err, errs.Precondition, "not_linked", "Link the org again")

	org.SetLoginPolicy(simulator.LoginPolicy{})
	j.x.Link(t, org)
	testkit.Eventually(t, patience, func() error { // Salesforce goes on with the job that nobody could ask about
		if c := org.Count("Contact"); c != n {
			return fmt.Errorf("the org holds %d records", c)
		}
		return nil
	})
	j.run(succeeded, map[string]int64{"people": n, "unchanged": n})
}

// Credentials that expired before the run: it ends before anybody is concerned.
func TestCredentialsExpiredBefore(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Contact", externalID)
	j.load(people(t, sample.Options{People: 10, Seed: 4}), full)
	org.SetLoginPolicy(simulator.LoginPolicy{OutsideHours: true})
	org.ExpireSessions()
	run := j.x.Run(t)
	harness.Want(t, run, reconnect, map[string]int64{"people": 0, "created": 0, "deferred": 0})
	if run.GetReason() == "" || org.EffectCount() != 0 {
		t.Errorf("reason %q, %d effects", run.GetReason(), org.EffectCount())
	}
	org.SetLoginPolicy(simulator.LoginPolicy{})
	j.x.Link(t, org)
	j.run(succeeded, map[string]int64{"created": 10})
}

// The org's daily allowance is used up: the run waits, says for what, and ends at once when somebody cancels it.
func TestAllowanceIsUsedUp(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	j := newJob(t, s, org, "Contact", externalID)
	j.load(people(t, sample.Options{People: 600, Seed: 4}), full)
	org.Faults().MustAdd(fault.Rule{Kind: fault.RequestLimit, Method: "PATCH", Path: "/composite/*", After: 1})
	run := j.x.Start(t, &syncv1.StartRunRequest{})
	testkit.Eventually(t, patience, func() error {
		res, err := j.x.Runs.GetRun(j.x.Context(t.Context()), &syncv1.GetRunRequest{RunId: run.GetId()})
		if err != nil {
			return err
		}
		run = res.GetRun()
		if harness.Final(run.GetState()) {
			t.Fatalf("the run ended: %v", run)
		}
		if !strings.Contains(run.GetReason(), "those of 24 hours are used up") {
			return fmt.Errorf("the reason is %q", run.GetReason())
		}
		return nil
	})
	org.Faults().Clear() // which the run does not notice before it asks again
	if _, err := j.x.Runs.CancelRun(j.x.Context(t.Context()), &syncv1.CancelRunRequest{RunId: run.GetId()}); err != nil {
		t.Fatal(err)
	}
	run = j.x.Wait(t, run.GetId(), 2*time.Minute) // less than the five minutes that it would have waited
	// The first call was answered. The second was refused, which proves that it did nothing, and is not sent again.
	harness.Want(t, run, syncv1.RunState_RUN_STATE_CANCELLED, map[string]int64{"people": 600, "created": 200, "deferred": 400})
	harness.CheckCounts(t, run, j.x.Outcomes(t, run.GetId()))
}

// One org is one tenant's: another who links it is told so, and writes nothing.
func TestTwoTenantsOfOneOrg(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.OneProcess(t, org.URL)
	first, second := newJob(t, s, org, "Contact", externalID), newJob(t, s, org, "Contact", externalID)
	first.load(people(t, sample.Options{People: 10, Seed: 1}), full)
	second.load(people(t, sample.Options{People: 10, Seed: 2}), full)
	first.run(succeeded, map[string]int64{"created": 10})
	run := second.x.Run(t)
	harness.Want(t, run, failed, map[string]int64{"created": 0})
	if !strings.Contains(run.GetReason(), "Another tenant") || org.Count("Contact") != 10 {
		t.Errorf("reason %q, the org holds %d records", run.GetReason(), org.Count("Contact"))
	}
}

// The bus may take no more on its disk: the run says so and ends, and smaller ones go on as ever.
func TestStoreIsFull(t *testing.T) {
	t.Parallel()
	org := startOrg(t)
	s := harness.FiveProcesses(t, harness.Apart{Workers: 1, Schedulers: 1, WorkerFlags: []string{"-max-bytes", fmt.Sprint(64 << 20), "-max-failures", "3"}}, org.URL)
	x := s.Tenant(t, "acme")
	x.Link(t, org)
	file := func(n int) []byte { // of people whose texts cannot be packed
		rng := rand.NewChaCha8([32]byte{1})
		var b strings.Builder
		b.WriteString("id,email,last_name,noise\n")
		raw := make([]byte, 4500)
		for i := range n {
			_, _ = rng.Read(raw) // never fails
			fmt.Fprintf(&b, "p%d,p%d@example.com,Last,%s\n", i, i, base64.StdEncoding.EncodeToString(raw))
		}
		return []byte(b.String())
	}
	x.Import(t, file(7000), full)
	_, err := x.Maps.SaveFieldMap(x.Context(t.Context()), &mapperv1.SaveFieldMapRequest{FieldMap: &mapperv1.FieldMap{
		Object: "Contact", ExternalIdField: externalID, Pairs: []*mapperv1.Pair{{Source: "attributes.noise", Target: "Description"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what the first leaves behind must not be in the way of the second
		run := x.Run(t)
		harness.Want(t, run, failed, map[string]int64{"created": 0})
		if !strings.Contains(run.GetReason(), "full") {
			t.Errorf("reason %q", run.GetReason())
		}
		if org.EffectCount() != 0 {
			t.Errorf("%d effects", org.EffectCount())
		}
	}
	x.Import(t, file(1000), full)
	harness.Want(t, x.Run(t), succeeded, map[string]int64{"people": 1000, "created": 1000, "verified": 1000})
}
