package stage

import (
	"context"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
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
	d := newDecider(w, s)
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
	policy := s.policy()
	joined := plan.Join(wave, policy, people, records)
	if len(joined.Contested) > 0 {
		if policy.Known, err = w.knownRecords(ctx, joined.Contested); err != nil {
			return err
		}
		joined = plan.Join(wave, policy, people, records)
	}
	if wave == plan.ByExternalID {
		d.n.ForeignRecords = joined.Unclaimed
	}
	if err := d.recall(ctx, tasks, joined.People); err != nil {
		return err
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
				k := plan.Keyed{Key: m.GetKeys()[i], Row: row}
				if k.Email = k.Key; kind == rows.KindPeople {
					k.Key, k.Email = w.snap.splitKey(k.Key)
				}
				all = append(all, k)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (d *decider) decide(ctx context.Context, people []plan.Joined) error {
	values, err := d.w.wantedValues(ctx, d.s)
	if err != nil {
		return err
	}
	defer values.close()
	var waiting []plan.Joined
	size, reason := 0, ""
	if d.w.task.Stage == ledger.StageAdopt {
		reason = plan.ReasonAdopted
	}
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
			if err := d.one(ctx, subject{Joined: j, reason: reason}, mapped[i]); err != nil {
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
			err = d.reject(ctx, subject{Joined: j}, &mapperv1.Problem{Code: j.Code, Message: j.Message})
		case j.Verdict == plan.Left && j.Person.Key != "":
			d.n.Left++
			err = d.left.Add(ctx, rows.Part(j.Person.Email, d.w.run.Parts), j.Person.Email, j.Person.Row)
		case j.Verdict == plan.Matched && d.isConverted(j.Record):
			err = d.converted(ctx, j)
		case j.Known != "":
			err = d.lose(ctx, lostRecord(j.Known), j.Person)
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
