package chaos_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/test/harness"
)

// The whole system is killed while a run is held, and at the moment of its approval: the hold stands, nothing is written
// before the approval, and the approval is taken once.
func TestKilledWhileHeldAndAtApproval(t *testing.T) {
	t.Parallel()
	org, err := simulator.Start(simulator.Options{ExternalIDFields: []string{"Contact." + externalID}, DailyLimit: 10_000_000, Seed: *seed + 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	s := harness.OneProcess(t, org.URL)
	p := s.All[0]
	x := s.Tenant(t, "acme")
	x.Link(t, org)
	x.SaveGuardedMap(t, "Contact", externalID, &mapperv1.Guards{ApproveEveryRun: true, LeastPeople: 0.001})
	state := func(id string) (run *syncv1.Run) {
		testkit.Eventually(t, time.Minute, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			res, err := x.Runs.GetRun(x.Context(ctx), &syncv1.GetRunRequest{RunId: id})
			if run = res.GetRun(); err == nil && run.GetState() != syncv1.RunState_RUN_STATE_HELD && !harness.Final(run.GetState()) {
				return fmt.Errorf("the run is %s at %s", run.GetState(), run.GetStage())
			}
			return err
		})
		return run
	}
	for round := range 4 {
		var file bytes.Buffer
		if err := sample.WriteCSV(&file, sample.Options{People: 600, Seed: int64(*seed), Changed: 0.5, ChangeSeed: int64(round + 1)}); err != nil {
			t.Fatal(err)
		}
		x.Import(t, file.Bytes(), directoryv1.ImportMode_IMPORT_MODE_FULL)
		id := x.Start(t, &syncv1.StartRunRequest{RequestId: fmt.Sprint("held-", round)}).GetId()
		held := state(id)
		if held.GetState() != syncv1.RunState_RUN_STATE_HELD {
			t.Fatalf("the run is %s: %s", held.GetState(), held.GetReason())
		}
		before := org.EffectCount()
		p.Kill()
		p.Start()
		again := state(id)
		if again.GetState() != syncv1.RunState_RUN_STATE_HELD || again.GetHold().GetPlanHash() != held.GetHold().GetPlanHash() || org.EffectCount() != before {
			t.Fatalf("after a kill the run is %s, and %d records were written", again.GetState(), org.EffectCount()-before)
		}

		// A little later in each round: before the decision is written, just after, and while the run goes on.
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			<-time.After(time.Duration(round*7) * time.Millisecond)
			p.Kill()
			p.Start()
		}()
		testkit.Eventually(t, time.Minute, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := x.Runs.ApproveRun(x.Context(ctx), &syncv1.ApproveRunRequest{RunId: id, PlanHash: held.GetHold().GetPlanHash(), Note: "chaos"})
			if err != nil && errs.KindOf(err) != errs.Unavailable {
				t.Fatalf("round %d: %v", round, err)
			}
			return err
		})
		<-killed
		run := x.Wait(t, id, 2*time.Minute)
		harness.Want(t, run, syncv1.RunState_RUN_STATE_SUCCEEDED, map[string]int64{"people": 600, "failed": 0, "deferred": 0, "mismatched": 0})
		if h := run.GetHold(); h.GetDecision() != "approved" || h.GetNote() != "chaos" {
			t.Errorf("the decision is %v", h)
		}
		harness.CheckCounts(t, run, x.Outcomes(t, id))
		harness.CheckOrg(t, org, harness.Expect{Object: "Contact", ExternalID: externalID, People: harness.ReadPeople(t, file.Bytes())})
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, *seed)
		}
	}
}
