package runrpc_test

import (
	"strings"
	"testing"
	"time"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// held puts a held run into the ledger.
func (w *world) held(id string) {
	w.t.Helper()
	now := time.Now()
	_, _, err := w.ledger.CreateRun(w.t.Context(), ledger.Run{
		ID: id, Tenant: "acme", ConnectionID: "con_acme", Kind: ledger.KindWrite, State: ledger.RunHeld, Reason: "Too much.", Author: "ada",
		OrgID: "00D1", Object: "Contact", RequestedAt: now, StartedAt: now, Judged: true,
		Notes: []ledger.Note{{Code: "no_such_field", Field: "X__c", Message: "It is gone.", Scope: int32(mapperv1.Scope_SCOPE_PAIR), Repair: "Take it out."}},
		Plan:  &ledger.Plan{Creates: 60, Hash: "0123", ForecastByKind: map[string]int64{"collections": 1}, ForecastSeconds: 3, OurAllocation: 20, OurAllocationUsed: 4, Deletes: 2},
		Hold:  &ledger.Hold{Guard: "creates", Reason: "Too much.", PlanHash: "0123", HeldAt: now, ExpiresAt: now.Add(time.Hour)},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// Whoever looks at a held run sees why it is held and what it would do.
func TestAHeldRunIsShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.held("run1")
	res, err := w.client.GetRun(as(t, "acme"), &syncv1.GetRunRequest{RunId: "run1"})
	if err != nil {
		t.Fatal(err)
	}
	r := res.GetRun()
	h, p, n := r.GetHold(), r.GetPlan(), r.GetNotes()
	if r.GetState() != syncv1.RunState_RUN_STATE_HELD || h.GetGuard() != "creates" || h.GetPlanHash() != "0123" || h.GetExpiresAt() == nil || h.GetDecidedAt() != nil {
		t.Errorf("the run is %v", r)
	}
	if p.GetForecastByKind()["collections"] != 1 || p.GetForecastSeconds() != 3 || p.GetOurAllocation() != 20 || p.GetOurAllocationUsed() != 4 || p.GetDeletes() != 2 {
		t.Errorf("the plan is %v", p)
	}
	if len(n) != 1 || n[0].GetScope() != mapperv1.Scope_SCOPE_PAIR || n[0].GetRepair() != "Take it out." || r.GetAuthor() != "ada" {
		t.Errorf("the notes are %v, the author %q", n, r.GetAuthor())
	}
}

// A decision names its plan, may say why, and is of the run's tenant alone.
func TestDecide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.held("run1")
	w.held("run2")
	w.held("run3")
	approve := func(tenant, run, hash, note string) (*syncv1.Run, error) {
		res, err := w.client.ApproveRun(as(t, tenant), &syncv1.ApproveRunRequest{RunId: run, PlanHash: hash, Note: note})
		return res.GetRun(), err
	}
	for _, tt := range []struct{ tenant, run, hash, note, reason string }{
		{"acme", "", "0123", "", "no_run_id"},
		{"acme", "nope", "0123", "", "no_run"},
		{"other", "run1", "0123", "", "no_run"},
		{"acme", "run1", "", "", "no_plan_hash"},
		{"acme", "run1", "4567", "", "other_plan"},
		{"acme", "run1", "0123", strings.Repeat("x", 1001), "note_too_long"},
	} {
		if _, err := approve(tt.tenant, tt.run, tt.hash, tt.note); errs.ReasonOf(err) != tt.reason {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	r, err := approve("acme", "run1", "0123", "as agreed")
	if h := r.GetHold(); err != nil || r.GetState() != syncv1.RunState_RUN_STATE_RUNNING || h.GetDecision() != "approved" || h.GetDecidedBy() != "ada" || h.GetNote() != "as agreed" || h.GetDecidedAt() == nil {
		t.Errorf("the approved run is %v, %v", r, err)
	}
	if _, err := w.client.RejectRun(as(t, "other"), &syncv1.RejectRunRequest{RunId: "run2"}); errs.ReasonOf(err) != "no_run" {
		t.Errorf("another tenant rejects: %v", err)
	}
	rejected, err := w.client.RejectRun(as(t, "acme"), &syncv1.RejectRunRequest{RunId: "run2", Note: "an old file"})
	if r := rejected.GetRun(); err != nil || r.GetState() != syncv1.RunState_RUN_STATE_CANCELLING || !strings.Contains(r.GetReason(), "rejected by ada: an old file") {
		t.Errorf("the rejected run is %v, %v", r, err)
	}
	cancelled, err := w.client.CancelRun(as(t, "acme"), &syncv1.CancelRunRequest{RunId: "run3"})
	if r := cancelled.GetRun(); err != nil || r.GetState() != syncv1.RunState_RUN_STATE_CANCELLING || r.GetHold().GetDecision() != "cancelled" || r.GetHold().GetDecidedBy() != "ada" {
		t.Errorf("the cancelled run is %v, %v", r, err)
	}
}

// A plan may be made with an older version of the field map, a run that writes may not.
func TestPlanWithAVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.client.StartRun(as(t, "acme"), &syncv1.StartRunRequest{FieldMapVersion: 3}); errs.ReasonOf(err) != "version_without_plan_only" {
		t.Errorf("a run that writes with an old version: %v", err)
	}
	res, err := w.client.StartRun(as(t, "acme"), &syncv1.StartRunRequest{FieldMapVersion: 3, PlanOnly: true})
	if r := res.GetRun(); err != nil || r.GetFieldMapVersion() != 3 || !r.GetPlanOnly() || r.GetAuthor() != "ada" {
		t.Errorf("the plan is %v, %v", r, err)
	}
}
