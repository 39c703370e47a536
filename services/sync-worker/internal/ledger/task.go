package ledger

import (
	"fmt"
	"slices"
	"time"

	"github.com/catalogsync/catalogsync/internal/store"
)

// Stage is a phase of a run.
type Stage string

// Stages, in the order in which a run passes them. Adopt is the second wave of the plan: people whom no external id
// found are joined with unowned records by e-mail. Follow places people whose record was merged, deleted or converted,
// and flags leavers; references finds the records that lookups refer to; both run only where there is need. Parents makes
// the records that lookups miss, before apply. Recheck plans those changes anew whose records were modified while the run
// was held. Readback fetches what verify compares when there is much of it.
const (
	StagePrepare    Stage = "prepare"
	StageSnapshot   Stage = "snapshot"
	StagePull       Stage = "pull"
	StagePlan       Stage = "plan"
	StageAdopt      Stage = "adopt"
	StageFollow     Stage = "follow"
	StageReferences Stage = "references"
	StageRecheck    Stage = "recheck"
	StageParents    Stage = "parents"
	StageApply      Stage = "apply"
	StageReadback   Stage = "readback"
	StageVerify     Stage = "verify"
	StageClose      Stage = "close"
)

// Stages lists all stages in order.
var Stages = []Stage{
	StagePrepare, StageSnapshot, StagePull, StagePlan, StageAdopt, StageFollow, StageReferences, StageRecheck, StageParents,
	StageApply, StageReadback, StageVerify, StageClose,
}

// PlanStages are the stages whose tasks write changes and outcomes of the plan.
var PlanStages = []Stage{StagePlan, StageAdopt, StageFollow, StageReferences, StageRecheck}

func (s Stage) order() int { return slices.Index(Stages, s) }

// Word is the stage as people see it: the words of the design.
func (s Stage) Word() string {
	switch s {
	case StageAdopt, StageFollow, StageReferences, StageRecheck:
		return string(StagePlan)
	case StageParents:
		return string(StageApply)
	case StageReadback:
		return string(StageVerify)
	}
	return string(s)
}

// TaskState is where a task stands.
type TaskState string

// States of a task.
const (
	// TaskPending waits for a worker.
	TaskPending TaskState = "pending"
	// TaskLeased is held by a worker.
	TaskLeased TaskState = "leased"
	// TaskWaiting sleeps until its wake time: a Bulk job runs, a back-off passes.
	TaskWaiting TaskState = "waiting"
	// TaskSettled has ended; its result stands.
	TaskSettled TaskState = "settled"
)

// Task is the record of one unit of work.
type Task struct {
	RunID  string    `json:"run_id"`
	Tenant string    `json:"tenant"`
	Stage  Stage     `json:"stage"`
	Number int       `json:"number"`
	State  TaskState `json:"state"`

	// Epoch rises each time that a worker takes the task.
	Epoch uint64 `json:"epoch"`
	// Holder is the worker that took it last.
	Holder string `json:"holder,omitempty"`
	// WakeAt is when a waiting task goes on.
	WakeAt time.Time `json:"wake_at,omitzero"`
	// Woken: its sleep was cut short, once, because its run is being stopped.
	Woken bool `json:"woken,omitempty"`
	// Window: it sleeps because the org's allocation has no room; LastError says so.
	Window bool `json:"window,omitempty"`
	// Failures counts attempts that ended in an error worth repeating.
	Failures int `json:"failures,omitempty"`
	// LastError is the latest of them, in words for the admin.
	LastError string `json:"last_error,omitempty"`

	Input      Input      `json:"input"`
	Checkpoint Checkpoint `json:"checkpoint,omitzero"`
	// Rows done so far in the present attempt.
	Rows int64 `json:"rows,omitempty"`
	// APICalls of all attempts so far.
	APICalls int64   `json:"api_calls,omitempty"`
	Result   *Result `json:"result,omitempty"`

	revision uint64
}

// Input is what a task works on. Which fields are set depends on the stage.
type Input struct {
	// Snapshot: the people after From up to and including To, by id.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Expected rows, for the progress display.
	Rows int64 `json:"rows,omitempty"`
	// Apply: what to do, how, and with which changes.
	Action  string      `json:"action,omitempty"`
	Bulk    bool        `json:"bulk,omitempty"`
	Changes []ChangeRef `json:"changes,omitempty"`
	// Object of the records, where it is not the run's: pull of Contacts for a Lead map, changes of them.
	Object string `json:"object,omitempty"`
	// Only these rows of the changes, by their place; all where empty.
	Only []int `json:"only,omitempty"`
	// Readback: only records that Salesforce stamped at or after this time, by Salesforce's own clock.
	Since time.Time `json:"since,omitzero"`
	// Verify: all written records are read back by their ids, in this one task.
	ByID bool `json:"by_id,omitempty"`
}

// ChangeRef names consecutive messages of changes that a plan task wrote.
type ChangeRef struct {
	Stage Stage  `json:"stage"`
	Task  int    `json:"task"`
	Epoch uint64 `json:"epoch"`
	Kind  string `json:"kind"`
	From  int    `json:"from"`
	To    int    `json:"to"` // exclusive
}

// Checkpoint is what must be durable before a task goes on: the intents behind calls with effect.
type Checkpoint struct {
	// Jobs are the Bulk jobs that the task made, oldest first.
	Jobs []BulkJob `json:"jobs,omitempty"`
	// Polls of the newest job so far.
	Polls int `json:"polls,omitempty"`
	// SentAt is when the call whose answer is not known was sent, by this side's clock.
	SentAt time.Time `json:"sent_at,omitzero"`
	// Paused is the number of jobs after which the task slept because rows were locked.
	Paused int `json:"paused,omitempty"`
	// Attempted is the number of rows, from the first, that were sent or may have been.
	Attempted int `json:"attempted,omitempty"`
	// Outdated are rows, by their place, that are not sent because their record was modified while the run waited.
	Outdated []int `json:"outdated,omitempty"`
}

// BulkJob is one Bulk job of a task.
type BulkJob struct {
	ID string `json:"id"`
	// Closing: the intent to start it is durable. Without it the job has no effect and never will.
	Closing bool `json:"closing,omitempty"`
	// Done: it has reached a final state at Salesforce.
	Done bool `json:"done,omitempty"`
	// Rows uploaded.
	Rows int64 `json:"rows,omitempty"`
	// Lost: it may have run and is gone from Salesforce. Nobody can say any more what became of its rows.
	Lost bool `json:"lost,omitempty"`
}

// Output is what a task wrote for one part.
type Output struct {
	Kind     string `json:"kind"`
	Part     int    `json:"part"`
	Messages int    `json:"messages"`
	Rows     int64  `json:"rows"`
	// Checksum over all messages, in order.
	Checksum uint64 `json:"checksum"`
	// MessageRows is rows per message, where a later stage cuts by it (changes only).
	MessageRows []int `json:"message_rows,omitempty"`
	// Bytes is the size of the messages on the bus.
	Bytes int64 `json:"bytes"`
}

// Result is what a settled task says of itself.
type Result struct {
	Epoch   uint64   `json:"epoch"`
	Counts  Counts   `json:"counts"`
	Outputs []Output `json:"outputs,omitempty"`
	// Jobs are the Bulk jobs that wrote.
	Jobs []string `json:"jobs,omitempty"`
	// Prepared is what the prepare stage fixed.
	Prepared *Prepared `json:"prepared,omitempty"`
	// Unsent are rows of an apply task, by their place in it, that the org's allocation had no room for. Another task goes on
	// with them at GoesOnAt; Waits says why.
	Unsent   []int     `json:"unsent,omitempty"`
	GoesOnAt time.Time `json:"goes_on_at,omitzero"`
	Waits    string    `json:"waits,omitempty"`
	// Aborted: the run was stopped before the task had done its work.
	Aborted bool `json:"aborted,omitempty"`
	// Plan numbers of a plan task.
	UpdatesByField map[string]int64 `json:"updates_by_field,omitempty"`
	RejectedByCode map[string]int64 `json:"rejected_by_code,omitempty"`
	SkippedByRule  map[string]int64 `json:"skipped_by_rule,omitempty"`
	// LookupCreates are records that lookups will make, per object.
	LookupCreates map[string]int64 `json:"lookup_creates,omitempty"`
	Hash          uint64           `json:"hash,omitempty"`
	// Revoked are people of whom an earlier plan task wrote a change or outcome that does not stand: this task's does. See
	// [Revoked].
	Revoked []string `json:"revoked,omitempty"`
	// Allocation as last seen.
	AllocationUsed int64 `json:"allocation_used,omitempty"`
	AllocationMax  int64 `json:"allocation_max,omitempty"`
}

// Prepared is what the prepare stage fixed for the run.
type Prepared struct {
	People   int64    `json:"people"`
	Records  int64    `json:"records"`
	Parts    int      `json:"parts"`
	PullMode PullMode `json:"pull_mode"`
	// Since is Salesforce's clock before the run's first effect.
	Since  time.Time `json:"since,omitzero"`
	Ranges []Input   `json:"ranges"`
	// Contacts: the Contacts' e-mails are read as well, by a second pull task.
	Contacts bool `json:"contacts,omitempty"`
	// Leavers are people gone from the Catalog whose record is known, and FlagLeavers says that they are flagged.
	Leavers     int64 `json:"leavers,omitempty"`
	FlagLeavers bool  `json:"flag_leavers,omitempty"`
	// Notes are what is worth knowing of the field map: pairs that drift stopped.
	Notes []Note `json:"notes,omitempty"`
}

// Note is a problem that does not stop the run, as in mapperv1.Problem.
type Note struct {
	Code    string `json:"code"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Scope   int32  `json:"scope"`
	Repair  string `json:"repair,omitempty"`
}

// Revocations are people of whom an earlier plan task's change or outcome does not stand, with the stage that says so.
type Revocations map[string]Stage

// Revoked gathers the revocations of a run's tasks; nil for most runs.
func Revoked(tasks []Task) Revocations {
	var all Revocations
	for _, t := range tasks {
		if t.Result == nil || len(t.Result.Revoked) == 0 {
			continue
		}
		if all == nil {
			all = make(Revocations)
		}
		for _, p := range t.Result.Revoked {
			if t.Stage.order() > all[p].order() {
				all[p] = t.Stage
			}
		}
	}
	return all
}

// Covers reports whether what a stage wrote of a person does not stand, because a later one says so.
func (r Revocations) Covers(s Stage, person string) bool {
	by, ok := r[person]
	return ok && s.order() < by.order()
}

// Counts are people by outcome, summed over settle records.
type Counts struct {
	People         int64 `json:"people,omitempty"`
	Created        int64 `json:"created,omitempty"`
	Updated        int64 `json:"updated,omitempty"`
	Unchanged      int64 `json:"unchanged,omitempty"`
	Skipped        int64 `json:"skipped,omitempty"`
	Rejected       int64 `json:"rejected,omitempty"`
	Failed         int64 `json:"failed,omitempty"`
	Superseded     int64 `json:"superseded,omitempty"`
	Deferred       int64 `json:"deferred,omitempty"`
	Verified       int64 `json:"verified,omitempty"`
	Mismatched     int64 `json:"mismatched,omitempty"`
	Records        int64 `json:"records,omitempty"`
	ForeignRecords int64 `json:"foreign_records,omitempty"`
	// Deleted are people whose record an undo deleted.
	Deleted int64 `json:"deleted,omitempty"`
	// What is planned, one row per change. Deletes are of an undo.
	Creates int64 `json:"creates,omitempty"`
	Updates int64 `json:"updates,omitempty"`
	Deletes int64 `json:"deletes,omitempty"`
	// Left are people that the first wave of the plan could not place.
	Left int64 `json:"left,omitempty"`
	// Lost are people for the follow stage, Pending those for the references stage.
	Lost    int64 `json:"lost,omitempty"`
	Pending int64 `json:"pending,omitempty"`
	// ContactUpdates are planned updates of Contacts by a Lead map; Updates holds them too.
	ContactUpdates int64 `json:"contact_updates,omitempty"`
	// Clears and Values are the fields that planned changes clear, and all that they set or clear.
	Clears int64 `json:"clears,omitempty"`
	Values int64 `json:"values,omitempty"`
	// Leavers are records of people who are gone; Deactivations are planned flags of them, which Updates does not hold,
	// and LeaversFlagged those that Salesforce took.
	Leavers        int64 `json:"leavers,omitempty"`
	Deactivations  int64 `json:"deactivations,omitempty"`
	LeaversFlagged int64 `json:"leavers_flagged,omitempty"`
	// Cut are texts that were cut to fit.
	Cut int64 `json:"cut,omitempty"`
	// Written are rows that Salesforce says it wrote.
	Written int64 `json:"written,omitempty"`
}

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	c.People += o.People
	c.Created += o.Created
	c.Updated += o.Updated
	c.Unchanged += o.Unchanged
	c.Skipped += o.Skipped
	c.Rejected += o.Rejected
	c.Failed += o.Failed
	c.Superseded += o.Superseded
	c.Deferred += o.Deferred
	c.Verified += o.Verified
	c.Mismatched += o.Mismatched
	c.Records += o.Records
	c.ForeignRecords += o.ForeignRecords
	c.Deleted += o.Deleted
	c.Creates += o.Creates
	c.Updates += o.Updates
	c.Deletes += o.Deletes
	c.Left += o.Left
	c.Lost += o.Lost
	c.Pending += o.Pending
	c.ContactUpdates += o.ContactUpdates
	c.Clears += o.Clears
	c.Values += o.Values
	c.Leavers += o.Leavers
	c.Deactivations += o.Deactivations
	c.LeaversFlagged += o.LeaversFlagged
	c.Cut += o.Cut
	c.Written += o.Written
}

// Outcomes is the number of people who have an outcome.
func (c Counts) Outcomes() int64 {
	return c.Created + c.Updated + c.Unchanged + c.Skipped + c.Rejected + c.Failed + c.Superseded + c.Deferred + c.Deleted
}

// Name is the task's name in logs: stage and number.
func (t Task) Name() string { return fmt.Sprintf("%s-%d", t.Stage, t.Number) }

func (t Task) key() string {
	return store.Key(t.RunID, string(t.Stage), fmt.Sprintf("%06d", t.Number))
}

// Output returns what the task settled for a kind and part.
func (t Task) Output(kind string, part int) (Output, bool) {
	if t.Result == nil {
		return Output{}, false
	}
	for _, o := range t.Result.Outputs {
		if o.Kind == kind && o.Part == part {
			return o, true
		}
	}
	return Output{}, false
}
