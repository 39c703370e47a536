// Package store owns the records of the org: packed rows by object, their indexes, ids and the org's clock.
//
// A record is found by its id without an index, because the id holds its serial number. Rows are packed texts that never
// change: an update replaces the text, so a reader that copied a Row keeps a consistent record.
package store

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
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
	n := len(t.Object.Fields)
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

// index finds records by the folded text of one field. Entries are only ever added: what is found is checked against the
// record, so a stale entry costs a look and nothing else.
type index struct {
	seed maphash.Seed
	fold bool
	head map[uint64]uint32
	more map[uint64][]uint32
}

// Index makes a field searchable in constant time; existing records are entered.
func (t *Table) Index(f *schema.Field) {
	for len(t.indexes) <= f.Slot {
		t.indexes = append(t.indexes, nil)
	}
	if t.indexes[f.Slot] != nil {
		return
	}
	x := &index{seed: maphash.MakeSeed(), fold: !f.CaseSensitive, head: map[uint64]uint32{}, more: map[uint64][]uint32{}}
	t.indexes[f.Slot] = x
	for n := range t.count {
		if v := t.Row(n + 1).Get(f.Slot); v != "" {
			x.add(v, n+1)
		}
	}
}

// Indexed reports whether Lookup is fast for a field.
func (t *Table) Indexed(f *schema.Field) bool {
	return f.Slot < len(t.indexes) && t.indexes[f.Slot] != nil
}

func (x *index) hash(v string) uint64 {
	if x.fold {
		v = strings.ToLower(v)
	}
	return maphash.String(x.seed, v)
}

func (x *index) add(v string, serial uint32) {
	h := x.hash(v)
	first, ok := x.head[h]
	switch {
	case !ok:
		x.head[h] = serial
	case first != serial:
		list := x.more[h]
		if len(list) > 0 && list[len(list)-1] == serial {
			return
		}
		x.more[h] = append(list, serial)
	}
}

func (t *Table) index(serial uint32, values, old []string) {
	for slot, x := range t.indexes {
		if x == nil || values[slot] == "" || old != nil && old[slot] == values[slot] {
			continue
		}
		x.add(values[slot], serial)
	}
}

// Lookup yields the serials of the records, whatever their state short of purged, whose field equals value in the
// field's own comparison, in ascending order. The field must be Indexed.
func (t *Table) Lookup(f *schema.Field, value string) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		x := t.indexes[f.Slot]
		h := x.hash(value)
		first, ok := x.head[h]
		if !ok {
			return
		}
		match := func(n uint32) bool {
			r := t.Row(n)
			if r.State == Purged {
				return false
			}
			v := r.Get(f.Slot)
			return v == value || x.fold && strings.EqualFold(v, value)
		}
		list := x.more[h]
		if len(list) == 0 {
			if match(first) {
				yield(first)
			}
			return
		}
		all := append([]uint32{first}, list...)
		slices.Sort(all)
		for _, n := range slices.Compact(all) {
			if match(n) && !yield(n) {
				return
			}
		}
	}
}

// Value is any field's value as text: ids in 18 characters, times as 2006-01-02T15:04:05.000Z, "" for null and for
// compound addresses.
func (t *Table) Value(serial uint32, r *Row, f *schema.Field) string {
	switch f.Virtual {
	case schema.Stored:
		v := r.Get(f.Slot)
		if v == "" && f.Type == "boolean" {
			return "false" // only true is stored
		}
		return v
	case schema.ID:
		return t.ID(serial)
	case schema.IsDeleted:
		if r.State == Live {
			return "false"
		}
		return "true"
	case schema.PersonName:
		return t.personName(r)
	case schema.CreatedDate:
		return timeText(r.Created)
	case schema.ModifiedDate:
		return timeText(r.Modified)
	case schema.Modstamp:
		return timeText(r.Modstamp)
	case schema.CreatedByID:
		return t.db.userID(r.CreatedBy)
	case schema.ModifiedByID:
		return t.db.userID(r.ModifiedBy)
	case schema.PhotoURL:
		return "/services/images/photo/" + t.ID(serial)
	}
	return ""
}

func (t *Table) personName(r *Row) string {
	first, last := "", ""
	if f := t.Object.Field("FirstName"); f != nil {
		first = r.Get(f.Slot)
	}
	if f := t.Object.Field("LastName"); f != nil {
		last = r.Get(f.Slot)
	}
	if first == "" {
		return last
	}
	return first + " " + last
}

func timeText(sec uint32) string { return string(AppendTime(nil, sec, "Z")) }

// AppendTime appends the second as 2006-01-02T15:04:05.000 and the zone mark ("Z" or "+0000").
func AppendTime(b []byte, sec uint32, zone string) []byte {
	t := time.Unix(int64(sec), 0).UTC()
	y, mo, d := t.Date()
	h, mi, s := t.Clock()
	two := func(v int) { b = append(b, byte('0'+v/10), byte('0'+v%10)) }
	two(y / 100)
	two(y % 100)
	b = append(b, '-')
	two(int(mo))
	b = append(b, '-')
	two(d)
	b = append(b, 'T')
	two(h)
	b = append(b, ':')
	two(mi)
	b = append(b, ':')
	two(s)
	b = append(b, ".000"...)
	return append(b, zone...)
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
