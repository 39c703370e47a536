package stage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// What is known of the record of a lost person; it is the first part of the key under which they are kept.
const (
	hintRecord  = "record:"
	hintContact = "contact:"
)

// lostRecord is the hint of a person whose record, written by an earlier run, no key has found.
func lostRecord(id string) string { return hintRecord + id }

// lostContact is the hint of a person whose Lead became a Contact.
func lostContact(contact, lead string) string { return hintContact + contact + ":" + lead }

// follow places the people whom keys alone do not: those whose record was merged, deleted, converted or given another
// key. It flags leavers too.
//
// It goes over them twice. First it asks the org what became of their records, and counts who would land on each; then it
// looks whether the plan has given one of these records to somebody else already, and decides. What the org said rests on
// the bus in between: memory holds a page of people, a hash for each record, and those who are in each other's way.
func (w *work) follow(ctx context.Context) error {
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return err
	}
	f := &follower{
		w: w, s: s, d: newDecider(w, s), tasks: tasks, fates: rows.NewRows(w.pub, rows.KindFates, nil, 1),
		landing: make(map[uint64]int), leavers: make(map[uint64]struct{}),
	}
	if w.draining() {
		err := f.eachLost(ctx, func(_ string, p plan.Keyed) error {
			f.d.n.Deferred++
			return f.d.out.Add(ctx, w.deferred(p.Row.GetId()))
		})
		if err != nil {
			return err
		}
		return f.d.settle(ctx)
	}
	for _, pass := range []func(context.Context) error{f.findAll, f.findLeavers, f.fates.Close, f.findRivals, f.decideAll} {
		if err := pass(ctx); err != nil {
			return err
		}
	}
	return f.d.settle(ctx)
}

type follower struct {
	w     *work
	s     *snapshot
	d     *decider
	tasks []ledger.Task
	// fates is where the first pass writes what it found, leavers included, for the second.
	fates *rows.Rows
	// landing counts who would land on a record, by hash of its id.
	landing map[uint64]int
	// rivals are people who would all land on one record, by hash of its id.
	rivals map[uint64][]string
	// leavers are hashes of the ids of records to be flagged.
	leavers map[uint64]struct{}
}

// eachLost hands out everybody whom plan and adopt left to this stage.
func (f *follower) eachLost(ctx context.Context, fn func(hint string, p plan.Keyed) error) error {
	for _, t := range f.tasks {
		if t.Stage != ledger.StagePlan && t.Stage != ledger.StageAdopt {
			continue
		}
		err := rows.Read(ctx, f.w.Bus, t, rows.KindLost, 0, &eventv1.Rows{}, func(m *eventv1.Rows) error {
			for i, key := range m.GetKeys() {
				hint, email, _ := strings.Cut(key, "\x00")
				if err := fn(hint, plan.Keyed{Email: email, Row: m.GetBatch().GetRows()[i]}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// findAll asks what became of everybody's record, a page of people at a time.
func (f *follower) findAll(ctx context.Context) error {
	type lost struct {
		hint   string
		person plan.Keyed
	}
	var page []lost
	flush := func() error {
		var records, contacts []string
		for _, l := range page {
			if id, ok := strings.CutPrefix(l.hint, hintRecord); ok {
				records = append(records, id)
			} else if c, _, ok := strings.Cut(strings.TrimPrefix(l.hint, hintContact), ":"); ok {
				contacts = append(contacts, c)
			}
		}
		fates, err := f.w.fates(ctx, f.s, f.w.run.Object, records)
		if err != nil {
			return err
		}
		became, err := f.w.fates(ctx, f.s, objectContact, contacts)
		if err != nil {
			return err
		}
		for _, l := range page {
			if err := f.keep(ctx, f.place(l.hint, l.person, fates, became)); err != nil {
				return err
			}
		}
		page = page[:0]
		return nil
	}
	err := f.eachLost(ctx, func(hint string, p plan.Keyed) error {
		page = append(page, lost{hint, p})
		if len(page) < conduct.PartRows {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// placed is where a lost person belongs, or the record of a leaver.
type placed struct {
	subject
	// how: a verdict of place.
	how string
}

// Verdicts on lost people.
const (
	toRecord  = "record"  // they have a record after all, for the subject's reason
	toContact = "contact" // it is a Contact
	toCreate  = "create"
	toBin     = "bin"     // it is in the recycle bin, and to be taken out of it
	toLeave   = "leave"   // it was deleted, and stays so
	toHistory = "history" // the Lead was converted, and its Contact is gone: it stays as it is
	toFlag    = "flag"    // the person is gone, and the record, which has the flag's value alone, is to say so
)

// place applies the policies to what became of a person's record.
func (f *follower) place(hint string, p plan.Keyed, fates, became map[string]fate) placed {
	x := placed{subject: subject{Joined: plan.Joined{Person: p}}, how: toCreate}
	if ids, ok := strings.CutPrefix(hint, hintContact); ok {
		contact, lead, _ := strings.Cut(ids, ":")
		x.Others = []string{lead}
		if at := became[contact]; at.record != nil {
			x.how, x.Record, x.reason, x.object = toContact, at.record, plan.ReasonContactOfLead, objectContact
			return x
		}
		x.how, x.Record = toHistory, &rowv1.Row{Id: lead}
		return x
	}
	known := strings.TrimPrefix(hint, hintRecord)
	at := fates[known]
	switch {
	case at.record != nil && at.survivor:
		x.how, x.Record, x.reason, x.Others = toRecord, at.record, plan.ReasonSurvivor, []string{known}
	case at.record != nil && f.foreign(at.record):
		// Somebody gave it another external id: it is no longer the person's.
	case at.record != nil:
		x.how, x.Record, x.reason = toRecord, at.record, plan.ReasonAdopted
	default:
		switch f.s.fieldMap.GetIdentity().GetDeleted() {
		case mapperv1.Deleted_DELETED_LEAVE:
			x.how, x.Record = toLeave, &rowv1.Row{Id: known}
		case mapperv1.Deleted_DELETED_UNDELETE:
			if at.binned {
				x.how, x.Record = toBin, &rowv1.Row{Id: known}
			}
		}
	}
	if x.how == toRecord && f.d.isConverted(x.Record) {
		x.how, x.Record = toHistory, &rowv1.Row{Id: x.Record.GetId()}
	}
	return x
}

// foreign reports whether a record has an external id: no person of the snapshot who was left without a record has it.
func (f *follower) foreign(record *rowv1.Row) bool {
	return f.s.byExternalID() && plan.Cell(record, f.s.external).Text != ""
}

// keep writes down where a person belongs: person and record as one row, for the second pass.
func (f *follower) keep(ctx context.Context, x placed) error {
	key := strings.Join(append([]string{x.how, x.reason, x.Person.Email, x.Record.GetId()}, x.Others...), "\x00")
	if x.how == toRecord || x.how == toContact {
		f.landing[xxhash.Sum64String(x.Record.GetId())]++
	}
	row := &rowv1.Row{Id: x.Person.Row.GetId()}
	for i := range f.s.person {
		plan.Set(row, plan.Cell(x.Person.Row, i))
	}
	for i := range x.Record.GetValues() {
		plan.Set(row, plan.Cell(x.Record, i))
	}
	return f.fates.Add(ctx, 0, key, row)
}

// eachPlaced hands out what keep wrote down.
func (f *follower) eachPlaced(ctx context.Context, fn func(placed) error) error {
	outputs := f.w.pub.Outputs()
	at := slices.IndexFunc(outputs, func(o ledger.Output) bool { return o.Kind == rows.KindFates })
	if at < 0 {
		return nil
	}
	t := f.w.task
	own := ledger.ChangeRef{Stage: t.Stage, Task: t.Number, Epoch: t.Epoch, Kind: rows.KindFates, To: outputs[at].Messages}
	return rows.ReadRange(ctx, f.w.Bus, f.w.run.ID, own, 0, &eventv1.Rows{}, func(m *eventv1.Rows) error {
		for i, key := range m.GetKeys() {
			parts := strings.Split(key, "\x00")
			x := placed{how: parts[0], subject: subject{reason: parts[1]}}
			all := m.GetBatch().GetRows()[i]
			person, n := &rowv1.Row{Id: all.GetId()}, len(f.s.person)
			for c := range n {
				plan.Set(person, plan.Cell(all, c))
			}
			x.Person, x.Others = plan.Keyed{Email: parts[2], Row: person}, parts[4:]
			if parts[3] != "" {
				x.Record = &rowv1.Row{Id: parts[3]}
				for c := n; c < len(all.GetValues()); c++ {
					plan.Set(x.Record, plan.Cell(all, c))
				}
			}
			if x.how == toContact {
				x.object = objectContact
			}
			if err := fn(x); err != nil {
				return err
			}
		}
		return nil
	})
}

// findRivals finds everybody who is in another's way: several lost people with one record, and people to whom the plan
// has given it already. The change or outcome of the latter is revoked.
func (f *follower) findRivals(ctx context.Context) error {
	f.rivals = make(map[uint64][]string)
	if len(f.landing) == 0 && len(f.leavers) == 0 {
		return nil
	}
	type claim struct {
		person, record string
		take           func() error // takes what was planned out of the counts; nil where nothing was
	}
	var claims []claim
	note := func(person, record string, take func() error) {
		if record == "" {
			return
		}
		h := xxhash.Sum64String(record)
		delete(f.leavers, h) // somebody who is here has the record
		if f.landing[h] > 0 {
			claims = append(claims, claim{person, record, take})
		}
	}
	if err := f.w.eachClaim(ctx, f.tasks, f.d, note); err != nil {
		return err
	}
	for _, c := range claims {
		h := xxhash.Sum64String(c.record)
		f.rivals[h] = append(f.rivals[h], c.person)
	}
	crowded := len(claims) > 0
	for _, n := range f.landing {
		crowded = crowded || n > 1
	}
	if !crowded {
		return nil
	}
	err := f.eachPlaced(ctx, func(x placed) error {
		h := xxhash.Sum64String(x.Record.GetId())
		if (x.how == toRecord || x.how == toContact) && (f.landing[h] > 1 || f.rivals[h] != nil) {
			f.rivals[h] = append(f.rivals[h], x.Person.Row.GetId())
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range claims {
		if c.take == nil {
			continue // the person is left out or rejected already
		}
		if err := c.take(); err != nil {
			return err
		}
		x := subject{Joined: plan.Joined{Person: plan.Keyed{Row: &rowv1.Row{Id: c.person}}, Record: &rowv1.Row{Id: c.record}}}
		if err := f.rejectRival(ctx, x); err != nil {
			return err
		}
		f.d.result.Revoked = append(f.d.result.Revoked, c.person)
	}
	if len(f.d.result.Revoked) > maxRevoked {
		return fail("More than %d people would share a record with somebody else, because their records were merged in Salesforce. Undo the merges, or remove the people who are no longer meant.", maxRevoked)
	}
	return nil
}

// maxRevoked bounds how many people's plans one run takes back. They are named in the task's record.
const maxRevoked = 5000

func (f *follower) rejectRival(ctx context.Context, x subject) error {
	record := x.Record.GetId()
	people := slices.Clone(f.rivals[xxhash.Sum64String(record)])
	slices.Sort(people)
	if len(x.Others) > 0 {
		// The record that was the person's stays the one by which the next run finds where it went.
		x.Record, x.Others = &rowv1.Row{Id: x.Others[0]}, []string{record}
	}
	return f.d.reject(ctx, x, &mapperv1.Problem{Code: plan.CodeClaimedBySeveral, Message: fmt.Sprintf(
		"People %s would all land on record %s; keep one of them, or give each a record of their own.", plan.List(people), record)})
}
