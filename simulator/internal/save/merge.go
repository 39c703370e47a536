package save

import (
	"fmt"

	"github.com/catalogsync/catalogsync/simulator/internal/store"
	"github.com/catalogsync/catalogsync/simulator/ledger"
)

// Merge makes one record of several of an object: the losers go to the recycle bin with MasterRecordId set to the
// winner, and what pointed at them points at the winner.
func (p *Pipeline) Merge(caller Caller, t *store.Table, winnerID string, loserIDs []string) error {
	p.db.Lock()
	defer p.db.Unlock()
	b := &batch{Pipeline: p, caller: caller, user: p.db.UserSerial(caller.UserID), now: p.db.Now()}
	master := t.Object.Field("MasterRecordId")
	if master == nil {
		return fmt.Errorf("merge: %s cannot be merged", t.Object.Name)
	}
	winner, e := b.target(t, winnerID, "merge")
	if e != nil {
		return fmt.Errorf("merge into %s: %s: %s", winnerID, e.Code, e.Message)
	}
	for _, id := range loserIDs {
		loser, e := b.target(t, id, "merge")
		if e != nil || loser == winner {
			b.rollback()
			return fmt.Errorf("merge %s into %s: there is no such other record", id, winnerID)
		}
		b.repoint(t, loser, winner)
		b.change(t, loser, map[string]string{master.Name: t.ID(winner)})
		b.setState(t, loser, store.Binned, ledger.Delete)
	}
	b.change(t, winner, nil)
	b.applied(t, winner, ledger.Update)
	b.commit()
	return nil
}

// change sets stored fields of a record without checks and without an entry in the ledger.
func (b *batch) change(t *store.Table, serial uint32, fields map[string]string) {
	before := *t.Row(serial)
	old := t.Values(&before, nil)
	values := append([]string(nil), old...)
	for name, v := range fields {
		values[t.Object.Field(name).Slot] = v
	}
	b.undos = append(b.undos, undo{t, serial, before})
	t.Update(serial, values, old, b.now, b.user)
}

// repoint moves the children of one record to another.
func (b *batch) repoint(t *store.Table, from, to uint32) {
	for _, c := range t.Object.Children {
		child := b.db.Table(c.Object)
		f := child.Object.Field(c.Field)
		if !child.Indexed(f) || f.Name == "MasterRecordId" {
			continue
		}
		for n := range child.Lookup(f, t.ID(from)) {
			if child.Row(n).State == store.Live {
				b.change(child, n, map[string]string{f.Name: t.ID(to)})
			}
		}
	}
}
