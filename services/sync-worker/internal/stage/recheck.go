package stage

import (
	"context"
	"errors"
	"slices"
	"time"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// codeChanged is the code of people whose record was modified while the run was held or waited for the org's allocation,
// and whose change cannot be planned anew by this run.
const codeChanged = "record_changed"

const (
	// recheckRows is how many modified records are read by REST; more are read by a Bulk query.
	recheckRows = 10_000
	// maxStale bounds how many changes are planned anew: their records are held in memory, and they are named in the
	// task's record.
	maxStale = 5000
)

// recheck plans the changes anew whose records were modified since the run pulled them. A run that was held may have
// waited for days: what it wants to write was decided about records that are no longer so. Records that were made
// meanwhile for people whom the run would create count too.
//
// What was planned of these people does not stand: this task's does. Where a later stage would have to find something out
// first, the person ends deferred, and the next run decides.
func (w *work) recheck(ctx context.Context) error {
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return err
	}
	r := &rechecker{w: w, s: s, d: newDecider(w, s), tasks: tasks, revoked: ledger.Revoked(tasks), modified: make(map[string]*rowv1.Row), keys: make(map[string][]string)}
	r.d.last = true
	if w.draining() {
		return r.d.settle(ctx)
	}
	if r.org, err = w.client(); err != nil {
		return err
	}
	r.since = w.readSince(tasks)
	if err := r.note(ctx); err != nil {
		return err
	}
	err = r.fetch(ctx)
	if errors.Is(err, errParked) {
		return nil
	}
	if err != nil {
		return refusal(err, "see which records were modified while the run was held")
	}
	r.d.result.Prepared = &ledger.Prepared{Since: r.asked}
	if len(r.modified) > 0 {
		if err := r.replan(ctx); err != nil {
			return err
		}
	}
	return r.d.settle(ctx)
}

type rechecker struct {
	w       *work
	s       *snapshot
	d       *decider
	org     *salesforce.Client
	tasks   []ledger.Task
	revoked ledger.Revocations
	since   time.Time
	// asked is Salesforce's clock before the modified records were read.
	asked time.Time
	// wanted are the records and match keys that planned changes are about.
	wanted idFilter
	// contacts: the run changes Contacts beside its own object.
	contacts bool
	// modified are records of the run that were modified, by id; keys are their ids by match key.
	modified map[string]*rowv1.Row
	keys     map[string][]string
}

// Prefixes keep ids, external ids and e-mails apart in one filter.
const (
	wantedKey   = "k:"
	wantedEmail = "e:"
)

// each hands every change that stands to fn.
func (r *rechecker) each(ctx context.Context, fn func(kind string, c *eventv1.PlannedChange) error) error {
	for _, t := range r.tasks {
		for _, kind := range rows.ChangeKinds {
			err := rows.Read(ctx, r.w.Bus, t, kind, 0, &eventv1.PlannedChanges{}, func(m *eventv1.PlannedChanges) error {
				for _, c := range m.GetChanges() {
					if r.revoked.Covers(t.Stage, c.GetPersonId()) {
						continue
					}
					if err := fn(kind, c); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// note notes what the planned changes are about.
func (r *rechecker) note(ctx context.Context) error {
	return r.each(ctx, func(kind string, c *eventv1.PlannedChange) error {
		r.contacts = r.contacts || kind == rows.KindContactUpdates
		if kind != rows.KindCreates {
			r.wanted.add(c.GetRecordId())
			return nil
		}
		for _, key := range r.s.createKeys(c) {
			r.wanted.add(key)
		}
		return nil
	})
}

// createKeys are the keys by which a record might be found that somebody made meanwhile for a planned create.
func (s *snapshot) createKeys(c *eventv1.PlannedChange) []string {
	var keys []string
	if s.byExternalID() {
		keys = append(keys, wantedKey+s.foldExternalID(c.GetKey()))
	}
	if s.emailTarget >= 0 && s.email >= 0 {
		if email := foldEmail(plan.Cell(c.GetAfter(), s.emailTarget).Text); email != "" {
			keys = append(keys, wantedEmail+email)
		}
	}
	return keys
}

// fetch reads the records that were modified and that planned changes are about.
func (r *rechecker) fetch(ctx context.Context) error {
	where := modifiedSince(r.since)
	object := r.w.run.Object
	if len(r.w.task.Checkpoint.Jobs) == 0 {
		if r.contacts {
			err := r.org.Query(ctx, "SELECT Id FROM Contact "+where, []salesforce.Column{{Name: fieldID, Type: salesforce.TypeID}}, func(rec *salesforce.Record) error {
				if !r.wanted.has(rec.Values[0]) {
					return nil
				}
				return r.found(rec.Values[0], &rowv1.Row{Id: rec.Values[0]})
			})
			if err != nil {
				return err
			}
		}
		n, err := r.org.Count(ctx, object+" "+where)
		if err != nil {
			return err
		}
		r.asked = r.org.ServerTime()
		if n == 0 {
			return nil
		}
		if n <= recheckRows {
			soql, err := salesforce.Select(r.s.record, object, where)
			if err != nil {
				return err
			}
			return r.org.Query(ctx, soql, r.s.record, r.take)
		}
	}
	return r.w.bulkQuery(ctx, r.org, object, r.s.record, where, r.take)
}

// take takes a modified record in, if a planned change may be about it.
func (r *rechecker) take(rec *salesforce.Record) error {
	id := rec.Values[0]
	keys := r.s.recordKeys(rec)
	about := r.wanted.has(id)
	for _, key := range keys {
		if r.wanted.has(key) {
			r.keys[key], about = append(r.keys[key], id), true
		}
	}
	if !about {
		return nil
	}
	return r.found(id, recordRow(rec))
}

// recordKeys are the keys by which a record might be found for a planned create.
func (s *snapshot) recordKeys(rec *salesforce.Record) []string {
	if s.byExternalID() { // a record with somebody's external id is theirs, whatever its e-mail
		if key := s.foldExternalID(rec.Values[s.external]); key != "" {
			return []string{wantedKey + key}
		}
	}
	if s.email >= 0 {
		if email := foldEmail(rec.Values[s.email]); email != "" {
			return []string{wantedEmail + email}
		}
	}
	return nil
}

func (r *rechecker) found(id string, row *rowv1.Row) error {
	r.modified[id] = row
	if len(r.modified) > 2*maxStale {
		return r.tooMany()
	}
	return nil
}

func (r *rechecker) tooMany() error {
	return fail("More than %d of the records that the run would change were modified while it was held. Nothing was written; start a new run, which plans anew.", maxStale)
}

// replan decides anew about the people whose record was modified.
func (r *rechecker) replan(ctx context.Context) error {
	stale := make(map[string]*rowv1.Row) // person -> record
	claims, err := r.claims(ctx)
	if err != nil {
		return err
	}
	err = r.each(ctx, func(kind string, c *eventv1.PlannedChange) error {
		ids := r.about(kind, c)
		if len(ids) == 0 {
			return nil
		}
		var record *rowv1.Row // nil where this run cannot decide
		if len(ids) == 1 && claims[ids[0]] == 1 {
			record = r.modified[ids[0]]
		}
		r.d.result.Revoked = append(r.d.result.Revoked, c.GetPersonId())
		if len(r.d.result.Revoked) > maxStale {
			return r.tooMany()
		}
		switch {
		case kind == rows.KindLeavers:
			return nil // nobody ends by it; the next run looks again
		case kind != rows.KindCreates && kind != rows.KindUpdates, r.w.run.Kind == ledger.KindUndo, record == nil, r.d.isConverted(record):
			return r.d.changed(ctx, c.GetPersonId(), c.GetRecordId())
		}
		stale[c.GetPersonId()] = record
		return nil
	})
	if err != nil || len(stale) == 0 {
		return err
	}
	people, err := r.people(ctx, stale)
	if err != nil {
		return err
	}
	return r.d.decide(ctx, people)
}

// about lists the modified records that a planned change is about, or that might be the person's instead of a new one.
func (r *rechecker) about(kind string, c *eventv1.PlannedChange) []string {
	var ids []string
	if kind != rows.KindCreates {
		if r.modified[c.GetRecordId()] != nil {
			ids = append(ids, c.GetRecordId())
		}
		return ids
	}
	for _, key := range r.s.createKeys(c) {
		for _, id := range r.keys[key] {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// claims counts how many people each modified record might be of: by a planned change, or because it was right already.
// Who shares one is put off; the next run says of them what there is to say.
func (r *rechecker) claims(ctx context.Context) (map[string]int, error) {
	n := make(map[string]int, len(r.modified))
	err := r.each(ctx, func(kind string, c *eventv1.PlannedChange) error {
		for _, id := range r.about(kind, c) {
			n[id]++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range r.tasks {
		err := rows.Read(ctx, r.w.Bus, t, rows.KindOutcomes, 0, &eventv1.Outcomes{}, func(m *eventv1.Outcomes) error {
			for _, o := range m.GetOutcomes() {
				if r.modified[o.GetRecordId()] != nil && !r.revoked.Covers(t.Stage, o.GetPersonId()) {
					n[o.GetRecordId()]++
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}

// people reads those of the snapshot whose record was modified.
func (r *rechecker) people(ctx context.Context, stale map[string]*rowv1.Row) ([]plan.Joined, error) {
	var people []plan.Joined
	for _, t := range r.tasks {
		if t.Stage != ledger.StageSnapshot {
			continue
		}
		for part := range max(r.w.run.Parts, 1) {
			err := rows.Read(ctx, r.w.Bus, t, rows.KindPeople, part, &eventv1.Rows{}, func(m *eventv1.Rows) error {
				for i, row := range m.GetBatch().GetRows() {
					record := stale[row.GetId()]
					if record == nil {
						continue
					}
					k := plan.Keyed{Row: row}
					k.Key, k.Email = r.s.splitKey(m.GetKeys()[i])
					people = append(people, plan.Joined{Person: k, Record: record, Verdict: plan.Matched})
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return people, nil
}

// changed puts off a person whose record was modified in a way that this run does not follow.
func (d *decider) changed(ctx context.Context, person, record string) error {
	d.n.Deferred++
	return d.outcome(ctx, &syncv1.Outcome{
		PersonId: person, Kind: syncv1.OutcomeKind_OUTCOME_KIND_DEFERRED, RecordId: record, Code: codeChanged,
		Message: "The record was modified in Salesforce while the run was held; the next run plans it again.",
	})
}
