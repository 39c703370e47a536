package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// corrections are what later stages have to say of changes that were planned before.
type corrections struct {
	// revoked are people whose earlier change does not stand.
	revoked ledger.Revocations
	// made are the ids of records that lookups had made, by reference; failed is what Salesforce said of those that it
	// would not make.
	made   map[string]string
	failed map[string]string
}

// loadCorrections reads what became of a run's plan since its changes were written. All maps are empty for most runs;
// made and failed hold one entry for each record that the run was to make for a lookup.
func (w *work) loadCorrections(ctx context.Context, tasks []ledger.Task) (corrections, error) {
	c := corrections{revoked: ledger.Revoked(tasks), made: make(map[string]string), failed: make(map[string]string)}
	for _, t := range tasks {
		if t.Stage != ledger.StageParents {
			continue
		}
		err := rows.Read(ctx, w.Bus, t, rows.KindMade, 0, &eventv1.Rows{}, func(m *eventv1.Rows) error {
			for i, key := range m.GetKeys() {
				row := m.GetBatch().GetRows()[i]
				if row.GetId() == "" {
					c.failed[key] = row.GetValues()[0]
					continue
				}
				c.made[key] = row.GetId()
			}
			return nil
		})
		if err != nil {
			return corrections{}, err
		}
	}
	return c, nil
}

// unmade says why a change cannot be sent: a record that it refers to could not be made. Its person would be written in
// part, as if nothing were missing.
func (c corrections) unmade(s *snapshot, change *eventv1.PlannedChange) (salesforce.RowError, bool) {
	for column, key := range change.GetUnresolved() {
		at := int(column)
		why, failed := c.failed[s.reference(at, key)]
		if !failed || s.lookups[at].keep {
			continue
		}
		field := s.targets[at].Field
		return salesforce.RowError{Code: plan.CodeReferenceNotMade, Fields: []string{field}, Message: fmt.Sprintf(
			"The record of %s that %s is to refer to could not be made, so the person was not written. Salesforce: %s", s.lookups[at].GetObject(), field, why)}, true
	}
	return salesforce.RowError{}, false
}

// fillIn puts the ids of records that were made meanwhile into a change. A reference without a record is left out.
func (c corrections) fillIn(s *snapshot, change *eventv1.PlannedChange) {
	for column, key := range change.GetUnresolved() {
		v := plan.Value{Text: c.made[s.reference(int(column), key)]}
		if v.Text == "" {
			v = plan.Value{Absent: true}
		}
		plan.Put(change.GetAfter(), int(column), v)
	}
}

// parent is a record that a lookup misses.
type parent struct{ reference, key, value string }

// parents makes the records that lookups miss. Each is looked for right before it is made, also because an earlier attempt
// may have made it: where its key is not unique, and the answer of that attempt was lost, the task first waits until
// Salesforce must have ended it (promise P2).
func (w *work) parents(ctx context.Context) error {
	if w.draining() {
		return w.settle(ctx, ledger.Result{Aborted: true})
	}
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return err
	}
	if sent := w.task.Checkpoint.SentAt; !sent.IsZero() {
		if wait := time.Until(sent.Add(w.Settings.UnknownWait)); wait > 0 {
			return w.park(ctx, wait)
		}
	}
	m := &maker{w: w, s: s, made: rows.NewRows(w.pub, rows.KindMade, nil, 1), waiting: make(map[int][]parent)}
	for _, t := range tasks {
		if t.Stage != ledger.StageReferences {
			continue
		}
		err := rows.Read(ctx, w.Bus, t, rows.KindParents, 0, &eventv1.Rows{}, func(b *eventv1.Rows) error {
			for i, row := range b.GetBatch().GetRows() {
				column, err := strconv.Atoi(row.GetValues()[0])
				if err != nil {
					return fmt.Errorf("%w: %w", rows.ErrCorrupt, err)
				}
				m.waiting[column] = append(m.waiting[column], parent{row.GetId(), b.GetKeys()[i], row.GetValues()[1]})
				if len(m.waiting[column]) == salesforce.MaxCollection {
					if err := m.make(ctx, column); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return settled(err)
		}
	}
	for column := range s.targets {
		if err := m.make(ctx, column); err != nil {
			return settled(err)
		}
	}
	if err := m.made.Close(ctx); err != nil {
		return err
	}
	return w.settle(ctx, ledger.Result{})
}

// settled passes over the error by which a task that sleeps ends.
func settled(err error) error {
	if errors.Is(err, errParked) {
		return nil
	}
	return err
}

type maker struct {
	w       *work
	s       *snapshot
	made    *rows.Rows
	waiting map[int][]parent
}

// make makes the waiting records of one lookup, at most as many as one call takes.
func (m *maker) make(ctx context.Context, column int) error {
	all := m.waiting[column]
	if len(all) == 0 {
		return nil
	}
	delete(m.waiting, column)
	keys := make(map[string]string, len(all))
	for _, p := range all {
		keys[p.key] = p.value
	}
	found, err := m.w.findParents(ctx, m.s, column, keys)
	if err != nil {
		return err
	}
	var missing []parent
	for _, p := range all {
		switch ids := found[p.key]; len(ids) {
		case 0:
			missing = append(missing, p)
		case 1:
			if err := m.note(ctx, p, ids[0]); err != nil {
				return err
			}
		default:
			if err := m.fail(ctx, p, "several records have its key by now"); err != nil {
				return err
			}
		}
	}
	if len(missing) == 0 || m.w.draining() {
		return nil
	}
	l := m.s.lookups[column]
	key, request := m.request(column, missing)
	if err := m.w.save(ctx, func(c *ledger.Checkpoint) { c.SentAt = time.Now() }); err != nil {
		return err
	}
	org, err := m.w.client()
	if err != nil {
		return err
	}
	results, err := org.CollectionsUpsert(ctx, l.GetObject(), key, request)
	if _, unknown := errors.AsType[*salesforce.UnknownOutcomeError](err); unknown {
		err := m.w.lease.Park(ctx, time.Now().Add(m.w.Settings.UnknownWait), func(t *ledger.Task) {
			t.Failures++
			t.LastError = "the answer of Salesforce to new records of " + l.GetObject() + " was lost"
			m.w.progress(t)
		})
		if err != nil {
			return err
		}
		return errParked
	}
	if err != nil {
		return refusal(err, "make records of "+l.GetObject())
	}
	if err := m.w.save(ctx, func(c *ledger.Checkpoint) { c.SentAt = time.Time{} }); err != nil {
		return err
	}
	for i, r := range results {
		if !r.Success {
			m.w.Log.WarnContext(ctx, "a record that a lookup misses could not be made", slog.String("run", m.w.run.ID),
				slog.String("object", l.GetObject()), slog.String("code", r.Code))
			if err := m.fail(ctx, missing[i], r.Code+": "+r.Message); err != nil {
				return err
			}
			continue
		}
		if err := m.note(ctx, missing[i], r.ID); err != nil {
			return err
		}
	}
	return nil
}

func (m *maker) note(ctx context.Context, p parent, id string) error {
	m.w.rows.Add(1)
	return m.made.Add(ctx, 0, p.reference, &rowv1.Row{Id: id})
}

// fail notes why a record could not be made; the people who refer to it are told.
func (m *maker) fail(ctx context.Context, p parent, why string) error {
	return m.made.Add(ctx, 0, p.reference, &rowv1.Row{Values: []string{why}})
}

// request are the records to make, and the key on which they are upserted: the lookup's own field where it is an external
// id, else none, so that each is created.
func (m *maker) request(column int, missing []parent) (string, []salesforce.CollectionRow) {
	l := m.s.lookups[column]
	var field, name *salesforcev1.FieldDescribe
	for _, f := range related(m.s.stored, l.GetObject()).GetFields() {
		switch f.GetName() {
		case l.GetField():
			field = f
		case "Name":
			name = f
		}
	}
	key := fieldID
	if field.GetExternalId() {
		key = l.GetField()
	}
	request := make([]salesforce.CollectionRow, len(missing))
	for i, p := range missing {
		request[i].Fields = []salesforce.FieldValue{{Name: l.GetField(), Value: p.value, Type: salesforce.FieldType(field.GetType())}}
		if l.GetField() != name.GetName() && name.GetCreateable() && !name.GetNillable() {
			request[i].Fields = append(request[i].Fields, salesforce.FieldValue{Name: name.GetName(), Value: p.value})
		}
	}
	return key, request
}
