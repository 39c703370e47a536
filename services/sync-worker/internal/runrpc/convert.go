package runrpc

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
)

func runProto(r ledger.Run) *syncv1.Run {
	n := r.Counts
	out := &syncv1.Run{
		Id: r.ID, Tenant: r.Tenant, ConnectionId: r.ConnectionID, Kind: kindProto(r.Kind),
		Trigger: syncv1.RunTrigger(syncv1.RunTrigger_value["RUN_TRIGGER_"+strings.ToUpper(r.Trigger)]),
		Object:  r.Object, State: syncv1.RunState(syncv1.RunState_value["RUN_STATE_"+strings.ToUpper(string(r.State))]),
		Stage: r.Stage.Word(), Reason: r.Reason, PlanOnly: r.PlanOnly, FieldMapVersion: r.FieldMapVersion,
		Counts: &syncv1.Counts{
			People: n.People, Created: n.Created, Updated: n.Updated, Unchanged: n.Unchanged, Skipped: n.Skipped,
			Rejected: n.Rejected, Failed: n.Failed, Superseded: n.Superseded, Deferred: n.Deferred, Verified: n.Verified,
			Mismatched: n.Mismatched, Records: n.Records, ForeignRecords: n.ForeignRecords,
			Leavers: n.Leavers, LeaversFlagged: n.LeaversFlagged, Deleted: n.Deleted, Cut: n.Cut,
		},
		UndoRunId: r.UndoRunID, UndoDeleteCreated: r.UndoDeleteCreated, UndoneBy: r.UndoneBy, Author: r.Author,
		ApiCalls: r.APICalls, BulkJobIds: r.BulkJobs,
		RequestedAt: stamp(r.RequestedAt), StartedAt: stamp(r.StartedAt), EndedAt: stamp(r.EndedAt),
		TasksDone: int32(r.TasksDone), TasksTotal: int32(r.TasksTotal), RowsDone: r.RowsDone, RowsTotal: r.RowsTotal,
		TraceId: traceID(r.Traceparent),
	}
	for _, x := range r.Notes {
		out.Notes = append(out.Notes, &mapperv1.Problem{
			Code: x.Code, Field: x.Field, Message: x.Message, Scope: mapperv1.Scope(x.Scope), Repair: x.Repair,
		})
	}
	if p := r.Plan; p != nil {
		out.Plan = &syncv1.Plan{
			Creates: p.Creates, Updates: p.Updates, Unchanged: p.Unchanged, Skipped: p.Skipped, Rejected: p.Rejected,
			Superseded: p.Superseded, ForecastApiCalls: p.ForecastAPICalls, AllocationUsed: p.AllocationUsed,
			AllocationMax: p.AllocationMax, Hash: p.Hash, UpdatesByField: p.UpdatesByField, RejectedByCode: p.RejectedByCode,
			SkippedByRule: p.SkippedByRule, LookupCreates: p.LookupCreates, Clears: p.Clears, Deactivations: p.Deactivations,
			Deletes: p.Deletes, ForecastByKind: p.ForecastByKind, ForecastSeconds: p.ForecastSeconds,
			OurAllocation: p.OurAllocation, OurAllocationUsed: p.OurAllocationUsed,
		}
	}
	if h := r.Hold; h != nil {
		out.Hold = &syncv1.Hold{
			Guard: h.Guard, Reason: h.Reason, PlanHash: h.PlanHash, HeldAt: stamp(h.HeldAt), ExpiresAt: stamp(h.ExpiresAt),
			DecidedBy: h.DecidedBy, Decision: h.Decision, Note: h.Note, DecidedAt: stamp(h.DecidedAt),
		}
	}
	return out
}

func kindProto(kind string) syncv1.RunKind {
	return syncv1.RunKind(syncv1.RunKind_value["RUN_KIND_"+strings.ToUpper(kind)])
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// traceID is the second field of a W3C traceparent.
func traceID(traceparent string) string {
	if f := strings.Split(traceparent, "-"); len(f) == 4 {
		return f[1]
	}
	return ""
}

func triggerWord(t syncv1.RunTrigger) string {
	if t == syncv1.RunTrigger_RUN_TRIGGER_UNSPECIFIED {
		t = syncv1.RunTrigger_RUN_TRIGGER_MANUAL
	}
	return strings.ToLower(strings.TrimPrefix(t.String(), "RUN_TRIGGER_"))
}

func changeProto(action syncv1.Action, columns []string, c *eventv1.PlannedChange) *syncv1.Change {
	out := &syncv1.Change{
		PersonId: c.GetPersonId(), Action: action, Key: c.GetKey(), RecordId: c.GetRecordId(),
		Reason: c.GetReason(), Object: c.GetObject(),
	}
	for i, name := range columns {
		after, before := plan.Cell(c.GetAfter(), i), plan.Cell(c.GetBefore(), i)
		if action == syncv1.Action_ACTION_DELETE && before.Text != "" {
			after = plan.Value{Null: true} // what goes with the record
		}
		if after.Absent {
			continue
		}
		out.Fields = append(out.Fields, &syncv1.FieldChange{
			Field: name, After: after.Text, NullAfter: after.Null, Before: before.Text, NullBefore: before.Null || before.Absent,
		})
	}
	return out
}
