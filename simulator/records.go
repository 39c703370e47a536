package simulator

import (
	"fmt"
	"iter"

	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/seed"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// Count is the number of live records of an object ("Contact"); 0 for an unknown one.
func (s *Server) Count(object string) int {
	s.db.RLock()
	defer s.db.RUnlock()
	if o := s.db.Schema.Object(object); o != nil {
		return s.db.Table(o.Name).Live()
	}
	return 0
}

// Records yields the records of an object in the order of their creation, deleted ones (recycle bin) included.
func (s *Server) Records(object string) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		o := s.db.Schema.Object(object)
		if o == nil {
			return
		}
		t := s.db.Table(o.Name)
		for n := uint32(1); ; n++ {
			s.db.RLock()
			if n > t.Count() {
				s.db.RUnlock()
				return
			}
			gone := t.Row(n).State == store.Purged
			var r Record
			if !gone {
				r = record(t, n)
			}
			s.db.RUnlock()
			if !gone && !yield(r) {
				return
			}
		}
	}
}

func record(t *store.Table, n uint32) Record {
	row := t.Row(n)
	r := Record{ID: t.ID(n), Deleted: row.State != store.Live, Fields: map[string]string{}}
	for _, f := range t.Object.Fields {
		if v := t.Value(n, row, f); v != "" {
			r.Fields[f.Name] = v
		}
	}
	return r
}

// Record is the record with a 15- or 18-character id; ok is false if there is none.
func (s *Server) Record(id string) (r Record, ok bool) {
	canonical, ok := store.ValidID(id)
	if !ok {
		return Record{}, false
	}
	s.db.RLock()
	defer s.db.RUnlock()
	t, n, ok := s.db.Find(canonical)
	if !ok {
		return Record{}, false
	}
	return record(t, n), true
}

func (s *Server) setup() save.Caller {
	return save.Caller{UserID: s.seeded.AdminID, RequestID: "setup", AllowSave: true}
}

func (s *Server) setupSave(t *store.Table, op save.Op, row save.Row) (string, error) {
	r := s.pipe.Batch(s.setup(), t, op, nil, []save.Row{row}, false)[0]
	if !r.OK() {
		return "", fmt.Errorf("%s %s: %s: %s", op, t.Object.Name, r.Errors[0].Code, r.Errors[0].Message)
	}
	return r.ID, nil
}

// Create adds a record as the setup user, through the same checks as any save; the value "" is null. The effect is in
// the ledger with the request id "setup". It returns the record's id.
func (s *Server) Create(object string, fields map[string]string) (string, error) {
	o := s.db.Schema.Object(object)
	if o == nil {
		return "", fmt.Errorf("create: no object %q", object)
	}
	return s.setupSave(s.db.Table(o.Name), save.Insert, s.row(o, fields))
}

func (s *Server) row(o *schema.Object, fields map[string]string) save.Row {
	s.db.RLock()
	defer s.db.RUnlock()
	return seed.Row(o, fields)
}

func (s *Server) tableOf(id string) (*store.Table, error) {
	canonical, ok := store.ValidID(id)
	if ok {
		if o := s.db.Schema.ByPrefix(canonical[:3]); o != nil {
			return s.db.Table(o.Name), nil
		}
	}
	return nil, fmt.Errorf("%q is no id of a record", id)
}

// Update changes fields of a record as Create does.
func (s *Server) Update(id string, fields map[string]string) error {
	t, err := s.tableOf(id)
	if err != nil {
		return err
	}
	row := s.row(t.Object, fields)
	row.ID = id
	_, err = s.setupSave(t, save.Update, row)
	return err
}

// Delete moves a record to the recycle bin.
func (s *Server) Delete(id string) error {
	t, err := s.tableOf(id)
	if err != nil {
		return err
	}
	_, err = s.setupSave(t, save.Delete, save.Row{ID: id})
	return err
}

// Undelete takes a record out of the recycle bin.
func (s *Server) Undelete(id string) error {
	t, err := s.tableOf(id)
	if err != nil {
		return err
	}
	_, err = s.setupSave(t, save.Undelete, save.Row{ID: id})
	return err
}

// Merge puts the losers into the recycle bin with MasterRecordId set to the winner; their children go to the winner.
func (s *Server) Merge(winner string, losers ...string) error {
	t, err := s.tableOf(winner)
	if err != nil {
		return err
	}
	return s.pipe.Merge(s.setup(), t, winner, losers)
}

// ConvertLead converts a lead into a contact (of a new account named after Company) and returns the contact's id.
func (s *Server) ConvertLead(id string) (contactID string, err error) {
	return s.pipe.Convert(s.setup(), id)
}
