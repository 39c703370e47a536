// Package save owns the one way by which records change: single records, Collections and Bulk rows all pass through
// Pipeline.Batch, which checks, applies, and writes the ledger under one lock.
package save

import (
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/fault"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
	"github.com/catalogsync/catalogsync/simulator/ledger"
)

// Op is what a save does.
type Op string

// The operations, in the words of the Bulk API.
const (
	Insert     Op = "insert"
	Update     Op = "update"
	Upsert     Op = "upsert"
	Delete     Op = "delete"
	HardDelete Op = "hardDelete"
	Undelete   Op = "undelete"
)

// Kind is how a value was written.
type Kind uint8

// The kinds of value. Text is a JSON string or a CSV cell; Ignore leaves the field as it is.
const (
	Ignore Kind = iota
	Null
	Text
	Number
	Bool
	Nested
)

// Value is one value of a row.
type Value struct {
	Kind Kind
	Text string
}

// Column is one column of a row: a field, or a parent's key field.
type Column struct {
	Name      string        // as sent
	Field     *schema.Field // nil: there is no such column
	ParentKey *schema.Field // set for Account.Ext__c: the field of the parent that Value holds
	Parent    *schema.Object
	Line, Col int // place of the value in the JSON body; Col counts the columns of an upload from 0
}

// Row is one record to save.
type Row struct {
	Columns []Column
	Values  []Value
	ID      string // Update, Delete, ...: as sent; empty if none was sent
	Key     string // Upsert: value of the key field, as sent
	Fault   *Error // the row could not be read: nothing is saved, this is its result
}

// Caller is who saves, for audit fields and ledger.
type Caller struct {
	UserID      string // 18 characters
	RequestID   string
	JobID       string
	CallOptions string
	AllowSave   bool           // Sforce-Duplicate-Rule-Header: allowSave=true
	Holder      string         // under which locks are held, see Pipeline.Hold
	Bulk        bool           // messages in the words of Bulk results
	Schema      *schema.Schema // as the user sees it; nil: all of it
	Tx          *Tx            // set when several saves stand or fall together
}

// Tx collects what several saves did, so that it can be taken back. Until Commit nothing of it is in the ledger, though
// others see the records already: the simulator has no isolation between requests beyond a single save.
type Tx struct {
	undos   []undo
	effects []applied
}

// Commit writes the transaction's effects into the ledger.
func (p *Pipeline) Commit(tx *Tx) {
	p.db.Lock()
	defer p.db.Unlock()
	(&batch{Pipeline: p, effects: tx.effects}).commit()
}

// Rollback puts back all that the transaction changed.
func (p *Pipeline) Rollback(tx *Tx) {
	p.db.Lock()
	defer p.db.Unlock()
	(&batch{Pipeline: p, undos: tx.undos}).rollback()
}

// Error is why a row was refused.
type Error struct {
	Code    string
	Message string
	Fields  []string
	Bare    bool     // a single-record reply leaves out "fields"
	Status  int      // of a single-record reply; 0: 400
	Matches []string // ids of the several records that an upsert key matched
	Detail  any      // duplicateResut
}

// Result is what became of a row.
type Result struct {
	ID      string
	Serial  uint32 // of the record in its table
	Created bool
	Errors  []Error
}

// OK reports whether the row was saved.
func (r Result) OK() bool { return len(r.Errors) == 0 }

// Hook is a rule that may refuse a row that passed all other checks: a validation rule, a trigger. It sees the values by
// field name after the save.
type Hook func(object string, op Op, value func(field string) string) *Error

// Pipeline saves records.
type Pipeline struct {
	db     *store.DB
	ledger *ledger.Ledger
	faults *fault.Plan
	hooks  []Hook
	dup    DuplicateRules
	held   map[string]string // holders of locked records, by id
}

// New makes the pipeline of an org.
func New(db *store.DB, l *ledger.Ledger, f *fault.Plan) *Pipeline {
	return &Pipeline{db: db, ledger: l, faults: f, dup: DuplicateRules{}, held: map[string]string{}}
}

// SetHooks replaces the rules that see every row after all other checks.
func (p *Pipeline) SetHooks(hooks []Hook) {
	p.db.Lock()
	defer p.db.Unlock()
	p.hooks = hooks
}

// undo puts one row back.
type undo struct {
	table  *store.Table
	serial uint32
	row    store.Row
}

type applied struct {
	effect ledger.Effect
	hash   uint64
}

// batch is the state of one Batch call.
type batch struct {
	*Pipeline
	caller  Caller
	user    uint32
	now     time.Time
	undos   []undo
	effects []applied
	values  []string
	old     []string
}

// Batch saves rows of one object in order, as one transaction of at most 200 in real life; key is the field of an
// Upsert. With allOrNone one bad row undoes the others. The results are in the order of the rows.
func (p *Pipeline) Batch(caller Caller, t *store.Table, op Op, key *schema.Field, rows []Row, allOrNone bool) []Result {
	tables := make([]*store.Table, len(rows))
	for i := range tables {
		tables[i] = t
	}
	return p.transact(caller, tables, op, key, rows, allOrNone)
}

// Mixed saves rows of several objects, all or none of them.
func (p *Pipeline) Mixed(caller Caller, op Op, tables []*store.Table, rows []Row) []Result {
	return p.transact(caller, tables, op, nil, rows, true)
}

func (p *Pipeline) transact(caller Caller, tables []*store.Table, op Op, key *schema.Field, rows []Row, allOrNone bool) []Result {
	p.db.Lock()
	defer p.db.Unlock()
	b := &batch{Pipeline: p, caller: caller, user: p.db.UserSerial(caller.UserID), now: p.db.Now()}
	out := make([]Result, len(rows))
	twice := doubledKeys(op, key, rows)
	failed := false
	for i := range rows {
		out[i] = b.row(tables[i], op, key, &rows[i], twice)
		failed = failed || !out[i].OK()
	}
	if failed && allOrNone {
		b.rollback()
		for i := range out {
			if out[i].OK() {
				out[i] = Result{Errors: []Error{{
					Code:    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
					Message: "Record rolled back because not all records were valid and the request was using AllOrNone header",
				}}}
			}
		}
		return out
	}
	if tx := caller.Tx; tx != nil {
		tx.undos, tx.effects = append(tx.undos, b.undos...), append(tx.effects, b.effects...)
		return out
	}
	b.commit()
	return out
}

func (b *batch) rollback() {
	for i := len(b.undos) - 1; i >= 0; i-- {
		b.undos[i].table.Rollback(b.undos[i].serial, b.undos[i].row)
	}
}

func (b *batch) commit() {
	for _, a := range b.effects {
		b.ledger.Append(a.effect, a.hash)
	}
}

func doubledKeys(op Op, key *schema.Field, rows []Row) map[string]bool {
	if op != Upsert || len(rows) < 2 {
		return nil
	}
	seen := make(map[string]bool, len(rows))
	for i := range rows {
		if k := foldKey(key, rows[i].Key); k != "" {
			_, dup := seen[k]
			seen[k] = dup
		}
	}
	return seen
}

func foldKey(key *schema.Field, value string) string {
	value = strings.TrimSpace(value)
	if key.CaseSensitive {
		return value
	}
	return strings.ToLower(value)
}

func (b *batch) row(t *store.Table, op Op, key *schema.Field, row *Row, twice map[string]bool) Result {
	if row.Fault != nil {
		return Result{Errors: []Error{*row.Fault}}
	}
	if err := b.mayNot(t, op); err != nil {
		return Result{Errors: []Error{*err}}
	}
	switch op {
	case Insert:
		return b.insert(t, row)
	case Update:
		serial, err := b.target(t, row.ID, "update")
		if err != nil {
			return Result{Errors: []Error{*err}}
		}
		return b.update(t, serial, row)
	case Upsert:
		return b.upsert(t, key, row, twice)
	case Delete, HardDelete, Undelete:
		return b.remove(t, op, row.ID)
	}
	return Result{Errors: []Error{{Code: "UNKNOWN_EXCEPTION", Message: "operation " + string(op), Status: 500}}}
}

// mayNot says which right on the object the user lacks.
func (b *batch) mayNot(t *store.Table, op Op) *Error {
	if b.caller.Schema == nil {
		return nil
	}
	o := b.caller.Schema.Object(t.Object.Name)
	switch {
	case o == nil:
		return &Error{Code: "INVALID_TYPE", Message: "sObject type '" + t.Object.Name + "' is not supported."}
	case op == Insert && !o.Has('c'), op == Upsert && !o.Has('c') && !o.Has('u'):
		return &Error{Code: "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", Message: "entity type cannot be inserted: " + t.Object.Label}
	case op == Update && !o.Has('u'):
		return &Error{Code: "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", Message: "entity type cannot be updated: " + t.Object.Label}
	case (op == Delete || op == HardDelete) && !o.Has('d'):
		return &Error{Code: "INSUFFICIENT_ACCESS_OR_READONLY", Message: "insufficient access rights on object id"}
	}
	return nil
}

// target finds the record that an id as sent means.
func (b *batch) target(t *store.Table, id, call string) (uint32, *Error) {
	if id == "" {
		return 0, &Error{Code: "MISSING_ARGUMENT", Message: "Id not specified in an " + call + " call"}
	}
	canonical, ok := store.ValidID(id)
	if !ok {
		return 0, &Error{Code: "MALFORMED_ID", Message: t.Object.Label + " ID: id value of incorrect type: " + id, Fields: []string{"Id"}}
	}
	if canonical[:3] != t.Object.Prefix {
		return 0, &Error{Code: "MALFORMED_ID", Message: t.Object.Label + " ID: id value of incorrect type: " + id, Fields: []string{"Id"}}
	}
	serial := t.Serial(canonical)
	if serial == 0 || t.Row(serial).State == store.Purged {
		return 0, &Error{Code: "INVALID_CROSS_REFERENCE_KEY", Message: "invalid cross reference id", Status: 404}
	}
	if t.Row(serial).State == store.Binned {
		return 0, &Error{Code: "ENTITY_IS_DELETED", Message: "entity is deleted", Status: 404}
	}
	return serial, nil
}

func (b *batch) upsert(t *store.Table, key *schema.Field, row *Row, twice map[string]bool) Result {
	value := strings.TrimSpace(row.Key)
	if key.Virtual == schema.ID {
		if value == "" {
			r := b.insert(t, row)
			r.Created = r.OK()
			return r
		}
		serial, err := b.target(t, value, "upsert")
		if err != nil {
			return Result{Errors: []Error{*err}}
		}
		return b.update(t, serial, row)
	}
	if value == "" {
		return Result{Errors: []Error{{Code: "MISSING_ARGUMENT", Message: key.Name + " not specified", Fields: nil}}}
	}
	if twice[foldKey(key, value)] {
		return Result{Errors: []Error{{Code: "DUPLICATE_VALUE", Message: "Duplicate external id specified: " + value}}}
	}
	var live []uint32
	for n := range t.Lookup(key, value) {
		if t.Row(n).State == store.Live {
			live = append(live, n)
		}
	}
	switch len(live) {
	case 0:
		r := b.insert(t, row)
		r.Created = r.OK()
		return r
	case 1:
		for i := range row.Columns { // the key found the record: it is not written again, in another case say
			if row.Columns[i].Field.Slot == key.Slot {
				row.Values[i].Kind = Ignore
			}
		}
		return b.update(t, live[0], row)
	}
	ids := make([]string, len(live))
	for i, n := range live {
		ids[i] = t.ID(n)
	}
	return Result{Errors: []Error{{
		Code: "DUPLICATE_EXTERNAL_ID", Status: 300, Matches: ids,
		Message: key.Label + ": more than one record found for external id field: [" + strings.Join(ids, ", ") + "]",
	}}}
}

func (b *batch) insert(t *store.Table, row *Row) Result {
	b.values = t.Values(&store.Row{}, b.values)
	for _, f := range t.Object.Defaults {
		if f.Default != "false" {
			b.values[f.Slot] = f.Default
		}
	}
	if f := t.Object.Field("OwnerId"); f != nil && f.Createable {
		b.values[f.Slot] = b.caller.UserID
	}
	if errs := b.check(t, Insert, 0, row); errs != nil {
		return Result{Errors: errs}
	}
	if t.Object.Name == "RecordType" {
		if err := b.newRecordType(t); err != nil {
			return Result{Errors: []Error{*err}}
		}
	}
	serial := t.Insert(b.values, b.now, b.user)
	purged := store.Row{State: store.Purged}
	b.undos = append(b.undos, undo{t, serial, purged})
	b.applied(t, serial, ledger.Create)
	return Result{ID: t.ID(serial), Serial: serial}
}

func (b *batch) update(t *store.Table, serial uint32, row *Row) Result {
	before := *t.Row(serial)
	b.old = t.Values(&before, b.old)
	b.values = append(b.values[:0], b.old...)
	if errs := b.check(t, Update, serial, row); errs != nil {
		return Result{Errors: errs}
	}
	b.undos = append(b.undos, undo{t, serial, before})
	t.Update(serial, b.values, b.old, b.now, b.user)
	b.applied(t, serial, ledger.Update)
	return Result{ID: t.ID(serial), Serial: serial}
}

func (b *batch) applied(t *store.Table, serial uint32, action ledger.Action) {
	row := t.Row(serial)
	external := ""
	for _, f := range t.Object.Fields {
		if f.ExternalID {
			external = row.Get(f.Slot)
			break
		}
	}
	b.effects = append(b.effects, applied{ledger.Effect{
		Time: b.now, UserID: b.caller.UserID, Object: t.Object.Name, RecordID: t.ID(serial), ExternalID: external,
		Action: action, RequestID: b.caller.RequestID, BulkJobID: b.caller.JobID, CallOptions: b.caller.CallOptions,
	}, row.Hash()})
}
