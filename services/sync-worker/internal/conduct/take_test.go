package conduct

import (
	"testing"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// A conductor that stood still since it read the run, while others went on, takes nothing back that tasks at work rely
// on: people and records that are sorted into another number of parts would miss each other (promise P2).
func TestALateConductorTakesNothingBack(t *testing.T) {
	t.Parallel()
	run := ledger.Run{
		Parts: 10, PullMode: ledger.PullBulk, VerifyParts: 3, Plan: &ledger.Plan{Creates: 25_000, Hash: "1"}, APICalls: 9,
	}
	for name, late := range map[string]ledger.Run{
		"from before the prepare stage ended": {Stage: ledger.StagePrepare, APICalls: 2},
		"from before the gate":                {Stage: ledger.StagePlan, Parts: 10, PullMode: ledger.PullBulk},
	} {
		r := run
		take(&r, late)
		if r.Parts != 10 || r.PullMode != ledger.PullBulk || r.VerifyParts != 3 || r.Plan != run.Plan || r.APICalls != 9 {
			t.Errorf("%s: the run is %+v", name, r)
		}
	}
}
