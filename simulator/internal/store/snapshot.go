package store

import (
	"bufio"
	"encoding/gob"
	"fmt"
	"io"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
)

const snapshotVersion = 1

// snapshotHead opens a snapshot; the tables follow, each with its rows.
type snapshotHead struct {
	Version int
	Seed    uint64
	Jobs    uint32
	Tables  int
}

type snapshotTable struct {
	Object string
	Fields []string // names by slot, as of the snapshot
	Custom []schema.Field
	Rows   uint32
}

type snapshotRow struct {
	Slots                       []int
	Values                      []string
	Created, Modified, Modstamp uint32
	CreatedBy, ModifiedBy       uint32
	State                       uint8
}

// Save writes all records, custom fields, and standard fields that were switched on. seed is what the ids of the org were made from.
func (db *DB) Save(w io.Writer, seed uint64) error {
	db.RLock()
	defer db.RUnlock()
	buf := bufio.NewWriterSize(w, 1<<20)
	enc := gob.NewEncoder(buf)
	if err := enc.Encode(snapshotHead{snapshotVersion, seed, db.jobs.Load(), len(db.tables)}); err != nil {
		return err
	}
	for _, name := range db.Schema.Names() {
		t := db.tables[name]
		head := snapshotTable{Object: name, Rows: t.count, Fields: make([]string, t.Object.Slots())}
		for _, f := range t.Object.Fields {
			head.Fields[f.Slot] = f.Name
			if f.Custom || f.After != "" {
				head.Custom = append(head.Custom, *f)
			}
		}
		if err := enc.Encode(head); err != nil {
			return err
		}
		for n := uint32(1); n <= t.count; n++ {
			if err := enc.Encode(t.snapshot(n)); err != nil {
				return err
			}
		}
	}
	return buf.Flush()
}

func (t *Table) snapshot(n uint32) snapshotRow {
	r := t.Row(n)
	out := snapshotRow{Created: r.Created, Modified: r.Modified, Modstamp: r.Modstamp, CreatedBy: r.CreatedBy, ModifiedBy: r.ModifiedBy, State: r.State}
	for d := r.data; len(d) > 0; {
		slot, v, rest := next(d)
		out.Slots, out.Values = append(out.Slots, slot), append(out.Values, v)
		d = rest
	}
	return out
}

// Load fills an empty org from a snapshot; index makes a table's fields searchable before its rows come.
func Load(r io.Reader, s *schema.Schema, index func(*Table)) (db *DB, seed uint64, err error) {
	dec := gob.NewDecoder(bufio.NewReaderSize(r, 1<<20))
	var head snapshotHead
	if err := dec.Decode(&head); err != nil {
		return nil, 0, err
	}
	if head.Version != snapshotVersion {
		return nil, 0, fmt.Errorf("snapshot has version %d, this simulator reads %d", head.Version, snapshotVersion)
	}
	db = New(s, head.Seed)
	db.jobs.Store(head.Jobs)
	for range head.Tables {
		if err := db.loadTable(dec, index); err != nil {
			return nil, 0, err
		}
	}
	return db, head.Seed, nil
}

func (db *DB) loadTable(dec *gob.Decoder, index func(*Table)) error {
	var head snapshotTable
	if err := dec.Decode(&head); err != nil {
		return err
	}
	t := db.tables[head.Object]
	if t == nil {
		return fmt.Errorf("snapshot has an object %q that this simulator lacks", head.Object)
	}
	for i := range head.Custom {
		if t.Object.Field(head.Custom[i].Name) == nil {
			if err := db.Schema.AddField(t.Object, &head.Custom[i]); err != nil {
				return err
			}
		}
	}
	index(t)
	slots := make([]int, len(head.Fields))
	for i, name := range head.Fields {
		f := t.Object.Field(name)
		if f == nil {
			return fmt.Errorf("snapshot has a field %s.%s that this simulator lacks", head.Object, name)
		}
		slots[i] = f.Slot
	}
	var values []string
	for range head.Rows {
		var row snapshotRow
		if err := dec.Decode(&row); err != nil {
			return err
		}
		values = t.Values(&Row{}, values)
		for i, slot := range row.Slots {
			if slot < 0 || slot >= len(slots) || i >= len(row.Values) {
				return fmt.Errorf("snapshot of %s is damaged", head.Object)
			}
			values[slots[slot]] = row.Values[i]
		}
		n := t.Insert(values, db.Now(), 0)
		t.Restore(n, row.Created, row.Modified, row.Modstamp, row.CreatedBy, row.ModifiedBy, row.State)
	}
	return nil
}
