package view_test

import (
	"testing"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

func heldRun() *syncv1.Run {
	r := nightlyRun()
	r.State, r.EndedAt, r.Author = syncv1.RunState_RUN_STATE_HELD, nil, "laptop"
	r.Reason = "It would create 3100 records, which is 62 % of the 5000 people; at most 50 % go without being asked. Nothing was written. Approve or reject the run by 8 March 00:00 UTC."
	r.Counts = &syncv1.Counts{People: 5000, Unchanged: 1800, Skipped: 40}
	r.Plan = &syncv1.Plan{
		Creates: 3100, Updates: 57, Unchanged: 1800, Skipped: 43, ForecastApiCalls: 23, AllocationUsed: 1204, AllocationMax: 100_000, Hash: "9f3c2a7e51d00b14",
		UpdatesByField: map[string]int64{"Title": 50}, SkippedByRule: map[string]int64{"no students": 40, "policy_deleted": 3}, Clears: 4,
		Deactivations: 12, LookupCreates: map[string]int64{"Account": 2}, ForecastByKind: map[string]int64{"bulk": 14, "collections": 1, "query": 8},
		ForecastSeconds: 75, OurAllocation: 20_000, OurAllocationUsed: 19_990,
	}
	r.Hold = &syncv1.Hold{
		Guard: "creates", Reason: "It would create 3100 records, which is 62 % of the 5000 people; at most 50 % go without being asked.",
		PlanHash: "9f3c2a7e51d00b14", HeldAt: at(60), ExpiresAt: at(3 * 86_400),
	}
	r.Notes = []*mapperv1.Problem{{
		Code: "no_such_field", Field: "Shoe_Size__c", Message: "Contact has no field Shoe_Size__c any more; the pair is left out.", Repair: "map set shoe_size to ShoeSize__c",
	}}
	return r
}

func TestHeldRun(t *testing.T) {
	t.Parallel()
	golden(t, "run_held", func(s view.Style) string { return view.Run(s, heldRun()) })
}

func TestPlanThatWouldBeHeld(t *testing.T) {
	t.Parallel()
	golden(t, "plan_held", func(s view.Style) string {
		r := heldRun()
		r.PlanOnly, r.Hold.HeldAt, r.Hold.ExpiresAt = true, nil, nil
		return view.Plan(s, view.Planned{Run: r, Changes: []*syncv1.Change{
			{PersonId: "P0000021", Action: syncv1.Action_ACTION_UPDATE, RecordId: "003xx000004TmiQAAS", Object: "Contact", Reason: "leaver", Fields: []*syncv1.FieldChange{
				{Field: "Left__c", Before: "false", After: "true"},
			}},
			{PersonId: "P0000022", Action: syncv1.Action_ACTION_DELETE, RecordId: "003xx000004TmiRAAS", Reason: "undo"},
		}, More: "--limit 0 shows all"})
	})
}

// What became of a held run is said in a line, whoever decided.
func TestDecisions(t *testing.T) {
	t.Parallel()
	golden(t, "holds_decided", func(s view.Style) string {
		var text string
		for _, decision := range []string{"approved", "rejected", "cancelled", "superseded", "expired"} {
			r := heldRun()
			r.Hold.Decision = decision
			switch decision {
			case "approved", "rejected", "cancelled":
				r.Hold.DecidedBy, r.Hold.DecidedAt = "laptop", at(600)
			}
			if decision == "rejected" {
				r.Hold.Note = "the file was cut off"
			}
			text += view.Hold(s, r)
		}
		r := heldRun()
		r.Reason = ""
		r.State, r.EndedAt, r.Hold.Decision, r.Hold.DecidedBy, r.Hold.DecidedAt = syncv1.RunState_RUN_STATE_SUCCEEDED, at(900), "approved", "laptop", at(600)
		return text + view.Run(s, r)
	})
}

// A refusal names the records that the org's duplicate rule means.
func TestOutcomeWithOtherRecords(t *testing.T) {
	t.Parallel()
	golden(t, "outcomes_others", func(s view.Style) string {
		return view.Outcomes(s, []*syncv1.Outcome{{
			PersonId: "P0000023", Kind: syncv1.OutcomeKind_OUTCOME_KIND_FAILED, Code: "DUPLICATES_DETECTED", Message: "Use one of these records?",
			OtherRecordIds: []string{"003xx000004TmiQAAS", "003xx000004TmiRAAS"},
		}})
	})
}
