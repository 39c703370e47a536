package store

import (
	"hash/maphash"
	"iter"
	"slices"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
)

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
		if !t.Indexed(f) {
			t.scan(f, value, yield)
			return
		}
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

// scan is Lookup for a field without an index.
func (t *Table) scan(f *schema.Field, value string, yield func(uint32) bool) {
	for n := uint32(1); n <= t.count; n++ {
		r := t.Row(n)
		if r.State == Purged {
			continue
		}
		v := t.Value(n, r, f)
		if (v == value || !f.CaseSensitive && strings.EqualFold(v, value)) && !yield(n) {
			return
		}
	}
}
