// Package store owns the records of the org: packed rows by object, their indexes, ids and the org's clock.
//
// A record is found by its id without an index, because the id holds its serial number. Rows are packed texts that never
// change: an update replaces the text, so a reader that copied a Row keeps a consistent record.
package store

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
)

// The states of a row.
const (
	Live    uint8 = iota
	Binned        // in the recycle bin
	Purged        // gone for good; only the serial remains
	Unknown       // never a stored state
)

// Row is one record. Its audit fields stand beside the packed values.
type Row struct {
	data                        string // uvarint slot+1, uvarint length, bytes; ascending slots; nulls left out
	Created, Modified, Modstamp uint32 // Unix seconds
	CreatedBy, ModifiedBy       uint32 // serials of users
	State                       uint8
}

const chunk = 4096

// Table is the records of one object.
type Table struct {
	Object  *schema.Object
	db      *DB
	chunks  [][]Row
	count   uint32 // rows ever made
	live    int
	changes uint64   // writes so far
	indexes []*index // by slot; nil: not indexed
}

// DB is all records of the org. Readers hold RLock, writers Lock, around everything they do with tables.
type DB struct {
	sync.RWMutex
	Schema *schema.Schema
	tables map[string]*Table
	ids    idFormat
	offset atomic.Int64 // of the clock, ns
	jobs   atomic.Uint32
}

// New makes an empty org whose ids depend on seed.
func New(s *schema.Schema, seed uint64) *DB {
	db := &DB{Schema: s, tables: map[string]*Table{}, ids: newIDFormat(seed)}
	for _, name := range s.Names() {
		db.tables[name] = &Table{Object: s.Object(name), db: db}
	}
	return db
}

// Now is the org's clock, UTC.
func (db *DB) Now() time.Time { return time.Now().Add(time.Duration(db.offset.Load())).UTC() }

// SetOffset moves the clock against the machine's.
func (db *DB) SetOffset(d time.Duration) { db.offset.Store(int64(d)) }

// Table is the table of an object by exact name, or nil.
func (db *DB) Table(name string) *Table { return db.tables[name] }

// NewID gives an id for something that is not a record, such as a Bulk job ("750").
func (db *DB) NewID(prefix string) string { return db.ids.id(prefix, db.jobs.Add(1)) }

// FixedID is the id of serial n under a prefix, for things that exist once.
func (db *DB) FixedID(prefix string, n uint32) string { return db.ids.id(prefix, n) }

// Find finds the record of a canonical id, purged ones excepted.
func (db *DB) Find(id string) (*Table, uint32, bool) {
	o := db.Schema.ByPrefix(id[:3])
	if o == nil {
		return nil, 0, false
	}
	t := db.tables[o.Name]
	n := db.ids.serial(id)
	if n == 0 || n > t.count || t.Row(n).State == Purged {
		return t, 0, false
	}
	return t, n, true
}

// ID is the 18-character id of a record.
func (t *Table) ID(serial uint32) string { return t.db.ids.id(t.Object.Prefix, serial) }

// AppendID appends the 18-character id of a record.
func (t *Table) AppendID(b []byte, serial uint32) []byte {
	var id [18]byte
	t.db.ids.put(id[:], t.Object.Prefix, serial)
	return append(b, id[:]...)
}

// Serial is the record's number behind a canonical id of this object, or 0.
func (t *Table) Serial(id string) uint32 {
	if len(id) != 18 || id[:3] != t.Object.Prefix {
		return 0
	}
	if n := t.db.ids.serial(id); n <= t.count {
		return n
	}
	return 0
}

// Row is the row of a serial between 1 and Count.
func (t *Table) Row(serial uint32) *Row { return &t.chunks[(serial-1)/chunk][(serial-1)%chunk] }

// Count is the number of rows ever made: serials run from 1 to it.
func (t *Table) Count() uint32 { return t.count }

// Live is the number of records outside the recycle bin.
func (t *Table) Live() int { return t.live }

// DB is the org that the table belongs to.
func (t *Table) DB() *DB { return t.db }

// Changes counts the writes to the table, so that what was derived from it can be known to be stale.
func (t *Table) Changes() uint64 { return t.changes }

// Insert adds a live record with values by slot ("" is null) and returns its serial.
func (t *Table) Insert(values []string, now time.Time, user uint32) uint32 {
	if len(t.chunks) == 0 || len(t.chunks[len(t.chunks)-1]) == chunk {
		t.chunks = append(t.chunks, make([]Row, 0, chunk))
	}
	sec := uint32(now.Unix())
	last := len(t.chunks) - 1
	t.chunks[last] = append(t.chunks[last], Row{data: pack(values), Created: sec, Modified: sec, Modstamp: sec, CreatedBy: user, ModifiedBy: user})
	t.count++
	t.live++
	t.changes++
	t.index(t.count, values, nil)
	return t.count
}

// Update replaces the values of a record; old are its values so far.
func (t *Table) Update(serial uint32, values, old []string, now time.Time, user uint32) {
	t.changes++
	r := t.Row(serial)
	r.data = pack(values)
	r.Modified, r.Modstamp, r.ModifiedBy = uint32(now.Unix()), uint32(now.Unix()), user
	t.index(serial, values, old)
}

// SetState moves a record into or out of the recycle bin, or purges it.
func (t *Table) SetState(serial uint32, state uint8, now time.Time) {
	t.changes++
	r := t.Row(serial)
	if r.State == Live {
		t.live--
	}
	if state == Live {
		t.live++
	}
	r.State = state
	r.Modstamp = uint32(now.Unix())
	if state == Purged {
		r.data = ""
	}
}

// Rollback puts a row back as it was in a copy made under the same lock.
func (t *Table) Rollback(serial uint32, r Row) {
	t.changes++
	now := t.Row(serial)
	switch {
	case now.State == Live && r.State != Live:
		t.live--
	case now.State != Live && r.State == Live:
		t.live++
	}
	*now = r
}

// Restore sets the audit fields of a record, for seeds and snapshots.
func (t *Table) Restore(serial uint32, created, modified, modstamp, createdBy, modifiedBy uint32, state uint8) {
	r := t.Row(serial)
	if r.State == Live && state != Live {
		t.live--
	}
	r.Created, r.Modified, r.Modstamp, r.CreatedBy, r.ModifiedBy, r.State = created, modified, modstamp, createdBy, modifiedBy, state
}

// Values unpacks a row into dst by slot and returns it, grown to the object's number of fields.
func (t *Table) Values(r *Row, dst []string) []string {
	n := t.Object.Slots()
	dst = slices.Grow(dst[:0], n)[:n]
	clear(dst)
	r.unpack(dst)
	return dst
}

func (r *Row) unpack(dst []string) {
	for d := r.data; len(d) > 0; {
		slot, v, rest := next(d)
		dst[slot] = v
		d = rest
	}
}

// Get is the stored value of one slot; "" is null.
func (r *Row) Get(slot int) string {
	for d := r.data; len(d) > 0; {
		s, v, rest := next(d)
		if s >= slot {
			if s == slot {
				return v
			}
			return ""
		}
		d = rest
	}
	return ""
}

func next(d string) (slot int, value, rest string) {
	s, i := uvarint(d, 0)
	n, i := uvarint(d, i)
	return s - 1, d[i : i+n], d[i+n:]
}

func uvarint(d string, i int) (int, int) {
	if d[i] < 0x80 {
		return int(d[i]), i + 1
	}
	v, shift := 0, 0
	for {
		b := d[i]
		i++
		v |= int(b&0x7f) << shift
		if b < 0x80 {
			return v, i
		}
		shift += 7
	}
}

func pack(values []string) string {
	size := 0
	for _, v := range values {
		if v != "" {
			size += len(v) + 3
		}
	}
	var small [1024]byte
	b := small[:0]
	if size > len(small) {
		b = make([]byte, 0, size)
	}
	for slot, v := range values {
		if v != "" {
			b = binary.AppendUvarint(b, uint64(slot+1))
			b = binary.AppendUvarint(b, uint64(len(v)))
			b = append(b, v...)
		}
	}
	return string(b)
}

// Hash is the content hash of a row's stored values, the same in every org.
func (r *Row) Hash() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.data))
	return h.Sum64()
}

func (db *DB) userID(serial uint32) string {
	if serial == 0 {
		return ""
	}
	return db.ids.id("005", serial)
}

// UserSerial is the number behind a user's id, or 0.
func (db *DB) UserSerial(id string) uint32 { return db.tables["User"].Serial(id) }

// MustTable is Table for objects that every org has.
func (db *DB) MustTable(name string) *Table {
	t := db.tables[name]
	if t == nil {
		panic(fmt.Sprintf("store: no object %q", name))
	}
	return t
}
