package view_test

import (
	"testing"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// An undo flags no leavers: it takes their flags back, and plan and summary say so.
func TestUndoOfFlags(t *testing.T) {
	t.Parallel()
	golden(t, "undo_flags", func(s view.Style) string {
		wrote := nightlyRun()
		wrote.Counts.Leavers, wrote.Counts.LeaversFlagged = 12, 12
		undo := nightlyRun()
		undo.Kind, undo.Trigger = syncv1.RunKind_RUN_KIND_UNDO, syncv1.RunTrigger_RUN_TRIGGER_MANUAL
		undo.Plan = &syncv1.Plan{Updates: 50, Deactivations: 11, UpdatesByField: map[string]int64{"Title": 50, "Left__c": 11}, ForecastApiCalls: 3}
		undo.Counts = &syncv1.Counts{People: 50, Updated: 50, Verified: 61, LeaversFlagged: 11}
		planned := nightlyRun()
		planned.Kind, planned.PlanOnly, planned.Plan = undo.Kind, true, undo.Plan
		return view.Plan(s, view.Planned{Run: undo}) + "\n" + view.Run(s, planned) + "\n" + view.Run(s, undo) + "\n" +
			view.Summary(s, []view.Result{{Run: wrote, Title: "NIGHTLY RUN"}, {Run: undo, Title: "UNDO"}})
	})
}
