package ledger

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
)

// RunState is where a run stands.
type RunState string

// States of a run, as in syncv1.RunState.
const (
	RunRequested    RunState = "requested"
	RunRunning      RunState = "running"
	RunHeld         RunState = "held"
	RunCancelling   RunState = "cancelling"
	RunSucceeded    RunState = "succeeded"
	RunWithFailures RunState = "completed_with_failures"
	RunFailed       RunState = "failed"
	RunCancelled    RunState = "cancelled"
	RunReconnect    RunState = "needs_reconnect"
)

// Final reports whether the run has ended.
func (s RunState) Final() bool {
	switch s {
	case RunSucceeded, RunWithFailures, RunFailed, RunCancelled, RunReconnect:
		return true
	}
	return false
}

// Kinds of runs, as in syncv1.RunKind.
const (
	KindWrite = "write"
	KindUndo  = "undo"
)

// Drain says why a run stops before its end. From then on nothing new is sent; every person not settled yet ends
// deferred, and the run closes in the state that the drain names.
type Drain struct {
	// State is the state in which the run will end.
	State RunState `json:"state"`
	// Code is the outcome code of the people who end deferred.
	Code string `json:"code"`
	// Reason is for the admin.
	Reason string `json:"reason"`
}

// Run is the record of one run.
type Run struct {
	ID           string `json:"id"`
	Tenant       string `json:"tenant"`
	ConnectionID string `json:"connection_id"`
	Kind         string `json:"kind"`
	Trigger      string `json:"trigger"`
	RequestID    string `json:"request_id"`
	PlanOnly     bool   `json:"plan_only,omitempty"`
	Author       string `json:"author,omitempty"`

	State  RunState `json:"state"`
	Stage  Stage    `json:"stage,omitempty"`
	Reason string   `json:"reason,omitempty"`
	Drain  *Drain   `json:"drain,omitempty"`

	OrgID           string `json:"org_id"`
	Object          string `json:"object"`
	FieldMapVersion int32  `json:"field_map_version"`
	ExternalIDField string `json:"external_id_field,omitempty"`
	// Parts is the number of parts into which people and records are hashed; 0 before the prepare stage.
	Parts int `json:"parts,omitempty"`
	// VerifyParts is the number of parts into which written records are hashed; 0 before the gate.
	VerifyParts int `json:"verify_parts,omitempty"`
	// PullMode is how records are fetched.
	PullMode PullMode `json:"pull_mode,omitempty"`
	// Notes are what is worth knowing of the field map; they do not stop the run.
	Notes []Note `json:"notes,omitempty"`

	// UndoRunID is the run that this one undoes; UndoDeleteCreated says that it deletes what that one made. UndoneBy is
	// the latest run that undoes this one.
	UndoRunID         string `json:"undo_run_id,omitempty"`
	UndoDeleteCreated bool   `json:"undo_delete_created,omitempty"`
	UndoneBy          string `json:"undone_by,omitempty"`

	// Person is set in a run that plans for this one person alone, to answer why. It is listed nowhere.
	Person string `json:"person,omitempty"`

	Counts Counts `json:"counts"`
	Plan   *Plan  `json:"plan,omitempty"`
	// Judged: the guards have looked at the plan. Hold is what they found, and what became of that; of a run that only
	// plans it is what would hold it.
	Judged bool  `json:"judged,omitempty"`
	Hold   *Hold `json:"hold,omitempty"`
	// Began is when each stage began, for the forecast of later runs. Parked: it waited for the org's allocation.
	Began  map[Stage]time.Time `json:"began,omitempty"`
	Parked bool                `json:"parked,omitempty"`

	APICalls int64    `json:"api_calls"`
	BulkJobs []string `json:"bulk_jobs,omitempty"`

	TasksDone  int   `json:"tasks_done"`
	TasksTotal int   `json:"tasks_total"`
	RowsDone   int64 `json:"rows_done"`
	RowsTotal  int64 `json:"rows_total"`

	RequestedAt time.Time `json:"requested_at"`
	StartedAt   time.Time `json:"started_at,omitzero"`
	EndedAt     time.Time `json:"ended_at,omitzero"`

	// Traceparent joins everything that the run does into the trace of the request that started it.
	Traceparent string `json:"traceparent,omitempty"`
}

// PullMode is a way of fetching records.
type PullMode string

// Ways of fetching records.
const (
	// PullLookup asks for the records of the snapshot's match keys.
	PullLookup PullMode = "lookup"
	// PullREST reads the whole table page by page.
	PullREST PullMode = "rest"
	// PullBulk reads the whole table by a Bulk query job.
	PullBulk PullMode = "bulk"
)

// Plan is the run's plan in numbers.
type Plan struct {
	Creates          int64            `json:"creates"`
	Updates          int64            `json:"updates"`
	Unchanged        int64            `json:"unchanged"`
	Skipped          int64            `json:"skipped"`
	Rejected         int64            `json:"rejected"`
	Superseded       int64            `json:"superseded"`
	ForecastAPICalls int64            `json:"forecast_api_calls"`
	AllocationUsed   int64            `json:"allocation_used"`
	AllocationMax    int64            `json:"allocation_max"`
	Hash             string           `json:"hash"`
	UpdatesByField   map[string]int64 `json:"updates_by_field,omitempty"`
	RejectedByCode   map[string]int64 `json:"rejected_by_code,omitempty"`
	SkippedByRule    map[string]int64 `json:"skipped_by_rule,omitempty"`
	LookupCreates    map[string]int64 `json:"lookup_creates,omitempty"`
	// Clears are fields to be cleared, of Values that are set or cleared in all.
	Clears int64 `json:"clears,omitempty"`
	Values int64 `json:"values,omitempty"`
	// Deactivations are leavers to be flagged, of Leavers.
	Deactivations int64 `json:"deactivations,omitempty"`
	Leavers       int64 `json:"leavers,omitempty"`
	Deletes       int64 `json:"deletes,omitempty"`
	// ForecastByKind are API calls by kind: collections, bulk, query, lookup. ForecastSeconds is how long apply and verify
	// will take, after what they took in earlier runs; 0 where there is none.
	ForecastByKind  map[string]int64 `json:"forecast_by_kind,omitempty"`
	ForecastSeconds int64            `json:"forecast_seconds,omitempty"`
	// OurAllocation is our share of the org's allocation, OurAllocationUsed what we have had of it; 0 where not known.
	OurAllocation     int64 `json:"our_allocation,omitempty"`
	OurAllocationUsed int64 `json:"our_allocation_used,omitempty"`
}

// Decisions on a held run.
const (
	DecisionApproved   = "approved"
	DecisionRejected   = "rejected"
	DecisionExpired    = "expired"
	DecisionSuperseded = "superseded"
	DecisionCancelled  = "cancelled"
)

// Hold is why a run waits for somebody's decision, and the decision.
type Hold struct {
	Guard     string    `json:"guard"`
	Reason    string    `json:"reason"`
	PlanHash  string    `json:"plan_hash"`
	HeldAt    time.Time `json:"held_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	DecidedBy string    `json:"decided_by,omitempty"`
	Decision  string    `json:"decision,omitempty"`
	Note      string    `json:"note,omitempty"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
}

// Approved reports whether somebody let the run go on.
func (h *Hold) Approved() bool { return h != nil && h.Decision == DecisionApproved }

// RunID is the deterministic id of a run: the same tenant, connection, kind and slot always name the same run.
func RunID(tenant, connection, kind, slot string) string {
	h := sha256.New()
	for _, part := range []string{tenant, connection, kind, slot} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return "run" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:13]))
}
