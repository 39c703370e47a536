package stage

import (
	"context"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// plan joins one part's people and records, maps, compares and decides.
func (w *work) plan(ctx context.Context) error {
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	wave, peopleFrom, peopleKind, recordKind := plan.ByEmail, ledger.StageSnapshot, rows.KindPeople, rows.KindRecords
	switch {
	case w.task.Stage == ledger.StageAdopt:
		wave, peopleFrom, peopleKind, recordKind = plan.Adopt, ledger.StagePlan, rows.KindLeft, rows.KindFree
	case s.byExternalID():
		wave = plan.ByExternalID
	}
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return err
	}
	people, err := w.loadPart(ctx, tasks, peopleFrom, peopleKind, false)
	if err != nil {
		return err
	}
	d := &decider{w: w, s: s, out: rows.NewOutcomes(w.pub), rejected: map[string]int64{}, updates: map[string]int64{}}
	d.creates = rows.NewChanges(w.pub, syncv1.Action_ACTION_CREATE, s.targetNames())
	d.changes = rows.NewChanges(w.pub, syncv1.Action_ACTION_UPDATE, s.targetNames())
	d.left = rows.NewRows(w.pub, rows.KindLeft, s.person, w.run.Parts)
	if w.draining() {
		for _, p := range people {
			d.n.Deferred++
			if err := d.out.Add(ctx, w.deferred(p.Row.GetId())); err != nil {
				return err
			}
		}
		return d.settle(ctx)
	}
	records, err := w.loadPart(ctx, tasks, ledger.StagePull, recordKind, true)
	if err != nil {
		return err
	}
	joined := plan.Join(wave, people, records)
	if wave == plan.ByExternalID {
		d.n.ForeignRecords = joined.Unclaimed
	}
	if err := d.decide(ctx, joined.People); err != nil {
		return err
	}
	return d.settle(ctx)
}

// loadPart reads this task's part of what an earlier stage wrote. unique passes over a record that was read before: two
// lookups may find the same one.
func (w *work) loadPart(ctx context.Context, tasks []ledger.Task, from ledger.Stage, kind string, unique bool) ([]plan.Keyed, error) {
	var all []plan.Keyed
	seen := make(map[string]bool)
	for _, t := range tasks {
		if t.Stage != from {
			continue
		}
		err := rows.Read(ctx, w.Bus, t, kind, w.task.Number, &eventv1.Rows{}, func(m *eventv1.Rows) error {
			for i, row := range m.GetBatch().GetRows() {
				if unique {
					if seen[row.GetId()] {
						continue
					}
					seen[row.GetId()] = true
				}
				all = append(all, plan.Keyed{Key: m.GetKeys()[i], Row: row})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// decider turns joined people into changes and outcomes.
type decider struct {
	w                *work
	s                *snapshot
	out              *rows.Outcomes
	creates, changes *rows.Changes
	left             *rows.Rows
	n                ledger.Counts
	rejected         map[string]int64
	updates          map[string]int64
	hash             uint64
}

func (d *decider) decide(ctx context.Context, people []plan.Joined) error {
	values, err := d.w.wantedValues(ctx, d.s)
	if err != nil {
		return err
	}
	defer values.close()
	var waiting []plan.Joined
	size := 0
	flush := func() error {
		if len(waiting) == 0 {
			return nil
		}
		batch := make([]*mapperv1.PersonAndRecord, len(waiting))
		for i, j := range waiting {
			batch[i] = &mapperv1.PersonAndRecord{Person: j.Person.Row, Record: j.Record}
		}
		mapped, err := values.next(batch)
		if err != nil {
			return err
		}
		for i, j := range waiting {
			if err := d.one(ctx, j, mapped[i]); err != nil {
				return err
			}
		}
		d.w.rows.Add(int64(len(waiting)))
		waiting, size = waiting[:0], 0
		return nil
	}
	for _, j := range people {
		switch {
		case j.Verdict == plan.Refused:
			err = d.reject(ctx, j.Person.Row.GetId(), &mapperv1.Problem{Code: j.Code, Message: j.Message})
		case j.Verdict == plan.Left && j.Person.Key != "":
			err = d.leave(ctx, j.Person.Row)
		case j.Verdict == plan.Matched && d.isConverted(j.Record):
			d.n.Superseded++
			err = d.out.Add(ctx, &syncv1.Outcome{
				PersonId: j.Person.Row.GetId(), Kind: syncv1.OutcomeKind_OUTCOME_KIND_SUPERSEDED, RecordId: j.Record.GetId(),
				Code: plan.CodeConverted, Message: "The Lead was converted in Salesforce, so it is left as it is.",
			})
		default:
			waiting = append(waiting, j)
			if size += proto.Size(j.Person.Row) + proto.Size(j.Record); len(waiting) == mapBatch || size >= mapBytes {
				err = flush()
			}
		}
		if err != nil {
			return err
		}
	}
	return flush()
}

func (d *decider) isConverted(record *rowv1.Row) bool {
	return d.s.converted >= 0 && plan.Cell(record, d.s.converted).Text == "true"
}

// leave hands a person to the second wave, by part of the e-mail.
func (d *decider) leave(ctx context.Context, person *rowv1.Row) error {
	d.n.Left++
	email := foldEmail(person.GetValues()[d.s.emailSource])
	return d.left.Add(ctx, rows.Part(email, d.w.run.Parts), email, person)
}

func (d *decider) reject(ctx context.Context, person string, p *mapperv1.Problem) error {
	d.n.Rejected++
	d.rejected[p.GetCode()]++
	o := &syncv1.Outcome{
		PersonId: person, Kind: syncv1.OutcomeKind_OUTCOME_KIND_REJECTED, Code: p.GetCode(), Message: p.GetMessage(),
	}
	if p.GetField() != "" {
		o.Fields = []string{p.GetField()}
	}
	return d.out.Add(ctx, o)
}

// one decides about a person whose wanted values are known.
func (d *decider) one(ctx context.Context, j plan.Joined, m *mapperv1.MappedPerson) error {
	id := j.Person.Row.GetId()
	switch {
	case m.GetSkippedBy() != "":
		d.n.Skipped++
		return d.out.Add(ctx, &syncv1.Outcome{
			PersonId: id, Kind: syncv1.OutcomeKind_OUTCOME_KIND_SKIPPED, Code: "rule", Message: m.GetSkippedBy(),
		})
	case len(m.GetProblems()) > 0:
		return d.reject(ctx, id, m.GetProblems()[0])
	}
	keyAt := d.s.emailTarget
	if d.s.byExternalID() {
		keyAt = d.s.externalTarget
	}
	key := plan.Cell(m.GetValues(), keyAt).Text
	if j.Record == nil {
		if key == "" {
			return d.reject(ctx, id, &mapperv1.Problem{
				Code: "missing_match_key", Field: d.s.keyField(),
				Message: fmt.Sprintf("The person has no value for %s, by which records are found; give them one.", d.s.keyField()),
			})
		}
		d.n.Creates++
		c := plan.Create(id, key, m.GetValues(), d.s.targets)
		if err := d.add(c); err != nil {
			return err
		}
		return d.creates.Add(ctx, c)
	}
	c := plan.Update(id, key, m.GetValues(), j.Record, d.s.targets)
	if c == nil {
		d.n.Unchanged++
		return d.out.Add(ctx, &syncv1.Outcome{
			PersonId: id, Kind: syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED, RecordId: j.Record.GetId(),
		})
	}
	d.n.Updates++
	for i, t := range d.s.targets {
		if !plan.Cell(c.GetAfter(), i).Absent {
			d.updates[t.Field]++
		}
	}
	if err := d.add(c); err != nil {
		return err
	}
	return d.changes.Add(ctx, c)
}

// add takes a change into the plan's hash, which does not depend on the order of changes.
func (d *decider) add(c *eventv1.PlannedChange) error {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return err
	}
	d.hash += xxhash.Sum64(raw)
	return nil
}

func (d *decider) settle(ctx context.Context) error {
	for _, closing := range []interface{ Close(context.Context) error }{d.out, d.creates, d.changes, d.left} {
		if err := closing.Close(ctx); err != nil {
			return err
		}
	}
	return d.w.settle(ctx, ledger.Result{
		Counts: d.n, RejectedByCode: d.rejected, UpdatesByField: d.updates, Hash: d.hash,
	})
}
