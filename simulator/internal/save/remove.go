package save

import (
	"github.com/catalogsync/catalogsync/simulator/fault"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
	"github.com/catalogsync/catalogsync/simulator/ledger"
)

func (b *batch) remove(t *store.Table, op Op, id string) Result {
	if id == "" {
		return Result{Errors: []Error{{Code: "MISSING_ARGUMENT", Message: "Id not specified in a delete call"}}}
	}
	canonical, ok := store.ValidID(id)
	if !ok {
		return Result{Errors: []Error{{Code: "MALFORMED_ID", Message: "malformed id " + id}}}
	}
	serial := t.Serial(canonical)
	if serial == 0 || t.Row(serial).State == store.Purged {
		if t.Object.Prefix != canonical[:3] {
			return Result{Errors: []Error{{Code: "MALFORMED_ID", Message: t.Object.Label + " ID: id value of incorrect type: " + id, Fields: []string{"Id"}}}}
		}
		return Result{Errors: []Error{{Code: "INVALID_CROSS_REFERENCE_KEY", Message: "invalid cross reference id", Status: 404}}}
	}
	state := t.Row(serial).State
	if op == Undelete {
		if state == store.Live {
			return Result{Errors: []Error{{Code: "UNDELETE_FAILED", Message: "Entity is not in the recycle bin"}}}
		}
		b.setState(t, serial, store.Live, ledger.Undelete)
		return Result{ID: canonical, Serial: serial}
	}
	if state == store.Binned && op == Delete {
		return Result{Errors: []Error{{Code: "ENTITY_IS_DELETED", Message: "entity is deleted", Status: 404}}}
	}
	if !t.Object.Has('d') {
		return Result{Errors: []Error{{Code: "INSUFFICIENT_ACCESS_OR_READONLY", Message: "insufficient access rights on object id"}}}
	}
	if err := b.locked(t, serial, t.Values(t.Row(serial), nil)); err != nil {
		return Result{Errors: []Error{*err}}
	}
	if err := b.rowFault(op, t.Object.Name, canonical); err != nil {
		return Result{Errors: []Error{*err}}
	}
	b.removeOne(t, serial, op)
	return Result{ID: canonical, Serial: serial}
}

// removeOne deletes a record with its children; lookups of others to it are cleared.
func (b *batch) removeOne(t *store.Table, serial uint32, op Op) {
	for _, c := range t.Object.Children {
		child := b.db.Table(c.Object)
		f := child.Object.Field(c.Field)
		if !child.Indexed(f) {
			continue
		}
		for n := range child.Lookup(f, t.ID(serial)) {
			if child.Row(n).State != store.Live {
				continue
			}
			if c.Cascade {
				b.removeOne(child, n, Delete)
				continue
			}
			if f.Nillable && f.Updateable {
				before := *child.Row(n)
				old := child.Values(&before, nil)
				values := append([]string(nil), old...)
				values[f.Slot] = ""
				b.undos = append(b.undos, undo{child, n, before})
				child.Update(n, values, old, b.now, b.user)
			}
		}
	}
	state, action := store.Binned, ledger.Delete
	if op == HardDelete {
		state, action = store.Purged, ledger.Purge
	}
	b.setState(t, serial, state, action)
}

func (b *batch) setState(t *store.Table, serial uint32, state uint8, action ledger.Action) {
	b.undos = append(b.undos, undo{t, serial, *t.Row(serial)})
	b.applied(t, serial, action)
	t.SetState(serial, state, b.now)
}

func (b *batch) rowFault(op Op, object, id string) *Error {
	r, ok := b.faults.Row(string(op), object)
	if !ok {
		return nil
	}
	if r.Kind == fault.RowError {
		return &Error{Code: r.Code, Message: r.Message}
	}
	if id == "" {
		id = b.db.FixedID("001", 1)
	}
	return &Error{Code: "UNABLE_TO_LOCK_ROW", Message: "unable to obtain exclusive access to this record or 1 records: " + id}
}
