// Package directory owns what a directory is: the store of a tenant's people and of each person's latest outcome.
//
// People come in through imports, one at a time per tenant; runs copy them out by key ranges, in parallel. Somebody
// who is no longer in the Catalog is marked gone and never deleted. Absent, null and empty values are kept apart all
// the way. There are two implementations, one for SQLite and one for PostgreSQL; the package directorytest says what
// both must do and the package backend opens either.
package directory

import (
	"context"
	"time"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

const (
	// MaxID is the longest id, in characters.
	MaxID = 255
	// MaxValue is the longest value of a field, in characters.
	MaxValue = 32_768
	// MaxAttributes is how many different custom attributes a tenant may have.
	MaxAttributes = 500
	// MaxPage is the largest page of [Directory.List].
	MaxPage = 1_000
	// HistoryAge is how long replaced outcomes are kept: as long as runs.
	HistoryAge = 90 * 24 * time.Hour
)

// Directory is a store of people. It is safe for concurrent use. All its errors are classified (package errs).
type Directory interface {
	// BeginImport opens the tenant's one import. While one is open, in this process or another, a second is refused
	// with Conflict "import_running". The caller closes it.
	BeginImport(ctx context.Context, tenant string, mode Mode) (Import, error)

	// Ranges cuts the people who are not gone into ranges of rowsPerRange (the last one may be shorter), in the order of
	// their ids, and counts them.
	Ranges(ctx context.Context, tenant string, rowsPerRange int) ([]Range, int64, error)
	// Scan calls fn for each person in the range who is not gone, in the order of their ids. Each row is fn's to keep; it
	// holds one value per column. Columns are Catalog fields; an attribute that nobody has is absent everywhere, and any
	// other unknown name is refused with Invalid "unknown_field". Memory is bounded whatever the range. An error of fn
	// ends the scan and is returned as it is.
	Scan(ctx context.Context, tenant string, r Range, columns []string, fn func(*rowv1.Row) error) error
	// Columns returns the Catalog fields of the tenant: id, the fixed fields, then attributes.NAME by name.
	Columns(ctx context.Context, tenant string) ([]string, error)
	// Count counts the tenant's people.
	Count(ctx context.Context, tenant string) (Counts, error)
	// List returns a page of people in the order of their ids, and where the next page begins (empty at the end).
	List(ctx context.Context, tenant string, o ListOptions) ([]Person, string, error)
	// Get returns one person, gone or not, with the latest outcome of each connection. NotFound "no_person".
	Get(ctx context.Context, tenant, id string) (Person, []PersonOutcome, error)

	// ProjectOutcomes keeps each person's latest outcome on a connection: that of the run which ended last, the run's id
	// deciding between two. Doing it again changes nothing. All outcomes of a run carry the same endedAt.
	//
	// An unchanged outcome does not replace a stored one that is created, updated or unchanged and names the same record,
	// so that a nightly run of a million unchanged people writes nothing. For that reason a run which is not the newest of
	// its connection only fills gaps: it replaces nothing. What is replaced becomes history, for [HistoryAge].
	ProjectOutcomes(ctx context.Context, tenant, connection, run string, endedAt time.Time, outcomes []*syncv1.Outcome) error
	// History returns how a person ended in runs on a connection, newest first, at most limit of them: the latest outcome
	// and those that it and its predecessors took the place of. Nobody has to be in the directory for it.
	History(ctx context.Context, tenant, connection, person string, limit int) ([]PersonOutcome, error)
	// KnownRecords returns the record that was each person's last on a connection, as far as any outcome named one. People
	// without are left out.
	KnownRecords(ctx context.Context, tenant, connection string, people []string) (map[string]string, error)
	// Leavers returns a page of people who are gone and whose last record on a connection is known, in the order of their
	// ids: those after the id given, at most limit. CountLeavers counts them all.
	Leavers(ctx context.Context, tenant, connection, after string, limit int) ([]Leaver, error)
	CountLeavers(ctx context.Context, tenant, connection string) (int64, error)
	// PersonOfRecord returns whose a record was last, or no name. It reads all outcomes of the connection.
	PersonOfRecord(ctx context.Context, tenant, connection, record string) (string, error)
	// DropOutcomes forgets all outcomes on a connection, history included.
	DropOutcomes(ctx context.Context, tenant, connection string) error

	// Close releases the store. Nothing else may be called afterwards.
	Close() error
}

// Mode says what an import's silence means.
type Mode uint8

const (
	// Delta: the import holds some people; others stay as they are, and so do fields that it does not give.
	Delta Mode = iota
	// Full: the import holds everybody, and all that is known of them. Who is not in it may be marked gone.
	Full
)

// String returns the mode's name.
func (m Mode) String() string {
	if m == Full {
		return "full"
	}
	return "delta"
}

// Import is an open import. It is used by one goroutine at a time.
type Import interface {
	// Put takes a batch of at most a few thousand people, in one transaction, and says what became of each, in order.
	// What it has taken stays, whatever happens later.
	Put(ctx context.Context, records []Record) ([]Result, error)
	// Mention notes ids that the import spoke of without Put: they are not marked gone.
	Mention(ctx context.Context, ids []string) error
	// MarkGone marks everybody gone who was neither put nor mentioned, and returns how many those were. It is for full
	// imports that were read to their end.
	MarkGone(ctx context.Context) (int64, error)
	// Close ends the import and lets the next one begin. It may be called twice.
	Close() error
}

// Result is what became of one record of an import.
type Result uint8

const (
	// Added: nobody of that id was there, or they were gone.
	Added Result = iota
	// Changed: the person has new values.
	Changed
	// Unchanged: the person was so already.
	Unchanged
	// Duplicate: the import has put this id before; the record was not taken.
	Duplicate
)

// Range is a run of ids, compared byte by byte.
type Range struct {
	// From is excluded; empty for the beginning.
	From string
	// To is included.
	To string
}

// Leaver is somebody who is gone, with the record that was theirs last.
type Leaver struct {
	// Person is the id.
	Person string
	// Record is the record's id.
	Record string
}

// Counts are the people of a tenant.
type Counts struct {
	// People who are not gone.
	People int64
	// Gone people.
	Gone int64
	// BySubaccount counts people who are not gone; those without one are under the empty name.
	BySubaccount map[string]int64
}

// ListOptions choose people.
type ListOptions struct {
	// Subaccount: only of this one; of all where empty.
	Subaccount string
	// Prefix: only people whose id or e-mail starts so, ignoring case in the e-mail.
	Prefix string
	// IncludeGone includes people who are gone.
	IncludeGone bool
	// Limit is the size of the page; 100 where 0, at most [MaxPage].
	Limit int
	// After is where the page begins, as returned with the page before.
	After string
}

// PageSize returns the limit in force.
func (o ListOptions) PageSize() int {
	switch {
	case o.Limit <= 0:
		return 100
	case o.Limit > MaxPage:
		return MaxPage
	}
	return o.Limit
}

// Person is someone in the directory.
type Person struct {
	// Record is what is known of them.
	Record
	// Gone: no longer in the Catalog.
	Gone bool
	// ChangedAt is when the directory last took a change, leaving and returning included.
	ChangedAt time.Time
}

// PersonOutcome is a person's latest outcome on a connection.
type PersonOutcome struct {
	// Connection is its id.
	Connection string
	// Run is its id.
	Run string
	// EndedAt is when the run ended.
	EndedAt time.Time
	// Outcome is how it ended for the person.
	Outcome *syncv1.Outcome
}
