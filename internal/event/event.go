// Package event owns the names on the bus: streams, subjects and work lanes. No other package writes a subject.
//
// A subject addresses one message for good: rows, changes and outcomes carry the run, the task that wrote them, the
// task's lease epoch and a number. What a task settled says which epochs and numbers exist; a message that no settle
// record names is never read.
package event

import (
	"fmt"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/store"
)

// Streams.
const (
	// StreamWork holds tasks that wait for a worker.
	StreamWork = "CATALOGSYNC_WORK"
	// StreamRows holds a run's people, records and after-images until it closes.
	StreamRows = "CATALOGSYNC_ROWS"
	// StreamChanges holds planned changes for as long as outcomes.
	StreamChanges = "CATALOGSYNC_CHANGES"
	// StreamOutcomes holds how people ended.
	StreamOutcomes = "CATALOGSYNC_OUTCOMES"
	// StreamEvents holds what happened to runs.
	StreamEvents = "CATALOGSYNC_EVENTS"
	// StreamAudit holds who did what. It is apart from the others: every service that writes to it makes it.
	StreamAudit = "CATALOGSYNC_AUDIT"
)

// Lane keeps small runs from waiting behind large ones.
type Lane string

// Lanes of the work stream.
const (
	LaneSmall Lane = "small"
	LaneLarge Lane = "large"
)

// Retention says how long and how much is kept.
type Retention struct {
	// Outcomes is how long outcomes, changes and events are kept.
	Outcomes time.Duration
	// MaxBytes is what all streams together may take on disk.
	MaxBytes int64
}

// DefaultRetention keeps outcomes for 90 days within 16 GiB.
func DefaultRetention() Retention {
	return Retention{Outcomes: 90 * 24 * time.Hour, MaxBytes: 16 << 30}
}

// maxMessage is above the 768 KiB at which writers cut their batches.
const maxMessage = 1 << 20

// Streams returns every stream of the system with its limits. The shares add up to MaxBytes.
func Streams(r Retention) []bus.Stream {
	share := func(percent int64) int64 { return r.MaxBytes / 100 * percent }
	return []bus.Stream{
		{
			Name: StreamWork, Subjects: []string{"catalogsync.work.>"}, Retention: bus.WorkQueue,
			MaxBytes: share(1), MaxMsgSize: maxMessage, DiscardNew: true, Duplicates: 2 * time.Minute,
		},
		{
			Name: StreamRows, Subjects: []string{"catalogsync.rows.>"}, Retention: bus.Limits,
			MaxBytes: share(50), MaxAge: 7 * 24 * time.Hour, MaxMsgSize: maxMessage, DiscardNew: true,
		},
		{
			Name: StreamChanges, Subjects: []string{"catalogsync.changes.>"}, Retention: bus.Limits,
			MaxBytes: share(25), MaxAge: r.Outcomes, MaxMsgSize: maxMessage, DiscardNew: true,
		},
		{
			Name: StreamOutcomes, Subjects: []string{"catalogsync.outcomes.>"}, Retention: bus.Limits,
			MaxBytes: share(20), MaxAge: r.Outcomes, MaxMsgSize: maxMessage, DiscardNew: true,
		},
		{
			Name: StreamEvents, Subjects: []string{"catalogsync.event.>"}, Retention: bus.Limits,
			MaxBytes: share(1), MaxAge: r.Outcomes, MaxMsgSize: maxMessage,
		},
	}
}

// Work is the subject of one task.
func Work(lane Lane, run, stage string, number int) string {
	return fmt.Sprintf("catalogsync.work.%s.%s.%s.%d", lane, run, stage, number)
}

// WorkFilter is the filter of a lane's consumer.
func WorkFilter(lane Lane) string { return fmt.Sprintf("catalogsync.work.%s.>", lane) }

// RunFinished is the subject on which a run's end is told.
func RunFinished(run string) string { return "catalogsync.event.run.finished." + run }

// Address names a batch that a task wrote: everything but its number.
type Address struct {
	// Run is the run's id.
	Run string
	// Kind is what the batch holds: people, records, changes, outcomes, ...
	Kind string
	// Part is the part of the run that it belongs to; 0 where there are no parts.
	Part int
	// Stage and Task name the task.
	Stage string
	Task  int
	// Epoch is the lease epoch under which it was written.
	Epoch uint64
}

// Subject returns the subject of message n below a stream's prefix.
func (a Address) subject(prefix string, n int) string {
	return fmt.Sprintf("catalogsync.%s.%s.%s.%d.%s-%d.%d.%d", prefix, a.Run, a.Kind, a.Part, a.Stage, a.Task, a.Epoch, n)
}

// Rows returns stream and subject of message n of rows.
func (a Address) Rows(n int) (stream, subject string) { return StreamRows, a.subject("rows", n) }

// Changes returns stream and subject of message n of changes.
func (a Address) Changes(n int) (stream, subject string) {
	return StreamChanges, a.subject("changes", n)
}

// Outcomes returns stream and subject of message n of outcomes.
func (a Address) Outcomes(n int) (stream, subject string) {
	return StreamOutcomes, a.subject("outcomes", n)
}

// RowsOfRun is the filter of all rows of a run, for the purge at its close.
func RowsOfRun(run string) string { return "catalogsync.rows." + run + ".>" }

// OfRun are the filters of all that is kept of a run, by stream.
func OfRun(run string) map[string]string {
	return map[string]string{
		StreamRows: RowsOfRun(run), StreamChanges: "catalogsync.changes." + run + ".>", StreamOutcomes: "catalogsync.outcomes." + run + ".>",
	}
}

// ChangesOfRun is the filter of all planned changes of a run.
func ChangesOfRun(run string) string { return "catalogsync.changes." + run + ".>" }

// OutcomesOfRun is the filter of all outcomes of a run.
func OutcomesOfRun(run string) string { return "catalogsync.outcomes." + run + ".>" }

// Audit keeps entries for 400 days, so that a yearly review finds a whole year, within 1 GiB for all tenants together.
// Of a tenant's own entries, and of its entries aside, the oldest go when there are a quarter of a million of them; those
// that are told once have a subject each and are not counted. So a tenant pushes out its own entries first, but what it
// keeps takes room: at some 500 bytes an entry, four tenants that have both in full fill the stream, and from then on the
// oldest entries go, whichever tenant's they are. Installations with more of such tenants export the log regularly.
const (
	auditAge    = 400 * 24 * time.Hour
	auditBytes  = 1 << 30
	auditTenant = 250_000
)

// AuditStream is the stream of the audit log.
func AuditStream() bus.Stream {
	return bus.Stream{
		Name: StreamAudit, Subjects: []string{"catalogsync.audit.>"}, Retention: bus.Limits, AppendOnly: true,
		MaxBytes: auditBytes, MaxAge: auditAge, MaxMsgSize: 64 << 10, MaxMsgsPerSubject: auditTenant,
	}
}

// ConnectionUnlinked is the subject on which it is told that an admin ended a connection. There is one such message for
// a connection.
func ConnectionUnlinked(tenant, connection string) string {
	return "catalogsync.event.connection.unlinked." + store.Key(tenant, connection)
}

// ConnectionsUnlinked is the filter of all of them.
const ConnectionsUnlinked = "catalogsync.event.connection.unlinked.>"

// Audit is the subject of the tenant's entries; the tenant is empty for what belongs to none.
func Audit(tenant string) string { return "catalogsync.audit." + store.Key(tenant) + ".entry" }

// AuditAside is the subject of entries that anybody of the tenant can cause by looking: they are bounded by themselves, and
// push out none of the others.
func AuditAside(tenant string) string { return "catalogsync.audit." + store.Key(tenant) + ".aside" }

// AuditOnce is the subject of the one entry that the tenant has under a key, which is a single word.
func AuditOnce(tenant, key string) string {
	return "catalogsync.audit." + store.Key(tenant) + ".once." + store.Key(key)
}

// AuditOfTenant is the filter of all entries of a tenant.
func AuditOfTenant(tenant string) string { return "catalogsync.audit." + store.Key(tenant) + ".>" }
