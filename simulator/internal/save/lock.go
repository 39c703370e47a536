package save

import (
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// lockedParent is the lookup whose target a real org locks while a record is saved or deleted, by object.
var lockedParent = map[string]string{"Contact": "AccountId", "Opportunity": "AccountId", "CampaignMember": "CampaignId"}

// Parents are the ids of the records that saving rows locks: the parents that the rows name, and those that the records
// had before.
func (p *Pipeline) Parents(t *store.Table, op Op, key *schema.Field, rows []Row) []string {
	name := lockedParent[t.Object.Name]
	if name == "" {
		return nil
	}
	p.db.RLock()
	defer p.db.RUnlock()
	lookup := t.Object.Field(name)
	seen := map[string]bool{}
	var out []string
	add := func(id string) {
		if id != "" && !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	for i := range rows {
		row := &rows[i]
		for k := range row.Columns {
			if f := row.Columns[k].Field; f != nil && f.Slot == lookup.Slot && row.Values[k].Kind == Text {
				add(p.named(&row.Columns[k], row.Values[k].Text))
			}
		}
		for _, n := range p.existing(t, op, key, row) {
			add(t.Row(n).Get(lookup.Slot))
		}
	}
	return out
}

// named is the id of the parent that a value means, or "".
func (p *Pipeline) named(c *Column, text string) string {
	if c.ParentKey == nil {
		id, _ := store.ValidID(text)
		return id
	}
	parent := p.db.MustTable(c.Parent.Name)
	for n := range parent.Lookup(c.ParentKey, text) {
		if parent.Row(n).State == store.Live {
			return parent.ID(n)
		}
	}
	return ""
}

// existing are the serials of the records that a row is about.
func (p *Pipeline) existing(t *store.Table, op Op, key *schema.Field, row *Row) []uint32 {
	if op == Upsert && key.Virtual != schema.ID {
		var out []uint32
		for n := range t.Lookup(key, row.Key) {
			if t.Row(n).State == store.Live {
				out = append(out, n)
			}
		}
		return out
	}
	id := row.ID
	if op == Upsert {
		id = row.Key
	}
	if canonical, ok := store.ValidID(id); ok && op != Insert {
		if n := t.Serial(canonical); n != 0 {
			return []uint32{n}
		}
	}
	return nil
}

// Hold locks records for a holder until Release; those that others hold stay theirs.
func (p *Pipeline) Hold(holder string, ids []string) {
	p.db.Lock()
	defer p.db.Unlock()
	for _, id := range ids {
		if _, taken := p.held[id]; !taken {
			p.held[id] = holder
		}
	}
}

// Release unlocks what a holder holds of the ids.
func (p *Pipeline) Release(holder string, ids []string) {
	p.db.Lock()
	defer p.db.Unlock()
	for _, id := range ids {
		if p.held[id] == holder {
			delete(p.held, id)
		}
	}
}

// locked refuses to save a record whose parent somebody else holds: the parent that it is to have, or the one it has.
// A real org waits ten seconds for the lock before it says so.
func (b *batch) locked(t *store.Table, serial uint32, values []string) *Error {
	name := lockedParent[t.Object.Name]
	if name == "" || len(b.held) == 0 {
		return nil
	}
	slot := t.Object.Field(name).Slot
	for _, id := range []string{values[slot], b.stored(t, serial, slot)} {
		if holder, taken := b.held[id]; taken && holder != b.caller.Holder {
			return &Error{Code: "UNABLE_TO_LOCK_ROW", Message: "unable to obtain exclusive access to this record or 1 records: " + id}
		}
	}
	return nil
}

func (b *batch) stored(t *store.Table, serial uint32, slot int) string {
	if serial == 0 {
		return ""
	}
	return t.Row(serial).Get(slot)
}
