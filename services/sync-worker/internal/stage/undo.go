package stage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// An undo takes the way of every run. Its snapshot is what the undone run changed and how people ended there, sorted by
// person; its plan fetches the records as they are now and reverts a field only where it still holds what that run wrote.

// Codes of people whom an undo leaves alone.
const (
	codeChangedSince = "changed_since"
	codeCreatedKept  = "created_kept"
	codeRecordGone   = "record_gone"
	codeNotKept      = "not_kept"
	codeNotWritable  = "not_writable"
)

const fieldModified = "LastModifiedDate"

// Kinds of an undo's rows: changes of the undone run, and outcomes that wrote, by part of the person.
const (
	kindUndoneChanges  = "undone_changes"
	kindUndoneOutcomes = "undone_outcomes"
)

// messagesPerTask is how many batches of the undone run one snapshot task reads.
const messagesPerTask = 100

// prepareUndo fixes what shapes an undo: what shaped the undone run, with today's describe.
func (w *work) prepareUndo(ctx context.Context) error {
	if w.draining() {
		return w.settle(ctx, ledger.Result{Aborted: true})
	}
	stored, err := w.Ledger.Snapshot(ctx, w.run.UndoRunID)
	if errs.KindOf(err) == errs.NotFound {
		return fail("What shaped run %s is not kept any more, so it cannot be undone.", w.run.UndoRunID)
	}
	if err != nil {
		return fmt.Errorf("read what shaped the undone run: %w", err)
	}
	snap := &syncv1.RunSnapshot{}
	if err := proto.Unmarshal(stored.Proto, snap); err != nil {
		return fmt.Errorf("read what shaped the undone run: %w", err)
	}
	org, err := w.client()
	if err != nil {
		return err
	}
	described, _, err := org.Describe(ctx, w.run.Object, time.Time{})
	if err != nil {
		return refusal(err, "describe "+w.run.Object)
	}
	snap.Describe = DescribeProto(described)
	prepared := &ledger.Prepared{PullMode: ledger.PullLookup, Since: org.ServerTime()}
	writable := make(map[string]bool)
	for _, f := range snap.GetDescribe().GetFields() {
		writable[f.GetName()] = f.GetUpdateable()
	}
	for _, p := range allPairs(snap.GetFieldMap()) {
		if !writable[p.GetTarget()] {
			snap.StoppedTargets = append(snap.StoppedTargets, p.GetTarget())
			prepared.Notes = append(prepared.Notes, ledger.Note{
				Code: codeNotWritable, Field: p.GetTarget(), Scope: int32(mapperv1.Scope_SCOPE_PAIR),
				Message: fmt.Sprintf("%s is not reverted: it is gone, or the connected user may not change it.", p.GetTarget()),
			})
		}
	}
	tasks, err := w.Ledger.Tasks(ctx, w.run.UndoRunID)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		for _, kind := range append([]string{rows.KindOutcomes}, rows.ChangeKinds...) {
			out, found := t.Output(kind, 0)
			for from := 0; found && from < out.Messages; from += messagesPerTask {
				ref := ledger.ChangeRef{Stage: t.Stage, Task: t.Number, Epoch: t.Result.Epoch, Kind: kind, From: from, To: min(from+messagesPerTask, out.Messages)}
				prepared.Ranges = append(prepared.Ranges, ledger.Input{Changes: []ledger.ChangeRef{ref}})
			}
			if kind == rows.KindOutcomes {
				prepared.People += out.Rows
			}
		}
	}
	prepared.Parts = int(max(1, (prepared.People+conduct.PartRows-1)/conduct.PartRows))
	raw, err := proto.Marshal(snap)
	if err != nil {
		return err
	}
	if err := w.Ledger.SaveSnapshot(ctx, w.run.ID, ledger.Snapshot{Proto: raw}); err != nil {
		return fmt.Errorf("keep what shapes the run: %w", err)
	}
	return w.settle(ctx, ledger.Result{Prepared: prepared})
}

// snapshotUndone sorts some batches of the undone run by person.
func (w *work) snapshotUndone(ctx context.Context) error {
	if w.draining() {
		return w.settle(ctx, ledger.Result{Aborted: true})
	}
	tasks, err := w.Ledger.Tasks(ctx, w.run.UndoRunID)
	if err != nil {
		return err
	}
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	// What lookups had made stands in the changes by its key.
	corrections, err := w.loadCorrections(ctx, tasks)
	if err != nil {
		return undoneGone(err, w.run.UndoRunID)
	}
	revoked := corrections.revoked
	changes := rows.NewRows(w.pub, kindUndoneChanges, nil, w.run.Parts)
	outcomes := rows.NewRows(w.pub, kindUndoneOutcomes, nil, w.run.Parts)
	var people int64
	add := func(to *rows.Rows, person string, row *rowv1.Row) error {
		w.rows.Add(1)
		row.Id = person
		return to.Add(ctx, rows.Part(person, w.run.Parts), person, row)
	}
	for _, ref := range w.task.Input.Changes {
		if ref.Kind == rows.KindOutcomes {
			err = rows.ReadRange(ctx, w.Bus, w.run.UndoRunID, ref, 0, &eventv1.Outcomes{}, func(m *eventv1.Outcomes) error {
				for _, o := range m.GetOutcomes() {
					if wrote(o.GetKind()) && !revoked.Covers(ref.Stage, o.GetPersonId()) {
						people++
						if err := add(outcomes, o.GetPersonId(), &rowv1.Row{Values: []string{o.GetKind().String(), o.GetRecordId()}}); err != nil {
							return err
						}
					}
				}
				return nil
			})
		} else {
			err = rows.ReadRange(ctx, w.Bus, w.run.UndoRunID, ref, 0, &eventv1.PlannedChanges{}, func(m *eventv1.PlannedChanges) error {
				for _, c := range m.GetChanges() {
					if revoked.Covers(ref.Stage, c.GetPersonId()) {
						continue
					}
					corrections.fillIn(s, c)
					if err := add(changes, c.GetPersonId(), packChange(ref.Kind, m.GetColumns(), c)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			return undoneGone(err, w.run.UndoRunID)
		}
	}
	for _, closing := range []*rows.Rows{changes, outcomes} {
		if err := closing.Close(ctx); err != nil {
			return err
		}
	}
	return w.settle(ctx, ledger.Result{Counts: ledger.Counts{People: people}})
}

// undoneGone ends an undo whose run's changes the retention took away; other errors pass as they are.
func undoneGone(err error, run string) error {
	if errs.ReasonOf(err) == "no_message" {
		return fail("What run %s changed is not kept any more, so it cannot be undone.", run)
	}
	return err
}

// wrote reports whether an outcome says that a record was written.
func wrote(k syncv1.OutcomeKind) bool {
	return k == syncv1.OutcomeKind_OUTCOME_KIND_CREATED || k == syncv1.OutcomeKind_OUTCOME_KIND_UPDATED
}

// The first values of a packed change; the fields with their images follow, three values each: name, after, before.
const (
	packedKind = iota
	packedRecord
	packedObject
	packedFields
)

func packChange(kind string, columns []string, c *eventv1.PlannedChange) *rowv1.Row {
	row := &rowv1.Row{}
	for _, text := range []string{kind, c.GetRecordId(), c.GetObject()} {
		plan.Set(row, plan.Value{Text: text})
	}
	for i, name := range columns {
		after := plan.Cell(c.GetAfter(), i)
		if after.Absent {
			continue
		}
		plan.Set(row, plan.Value{Text: name})
		plan.Set(row, after)
		plan.Set(row, plan.Cell(c.GetBefore(), i))
	}
	return row
}

// undone is what the undone run did to one record.
type undone struct {
	person, kind, record, object string
	// after and before are the images, by field.
	after, before map[string]plan.Value
}

func unpackChange(row *rowv1.Row) *undone {
	u := &undone{
		person: row.GetId(), kind: row.GetValues()[packedKind], record: row.GetValues()[packedRecord], object: row.GetValues()[packedObject],
		after: make(map[string]plan.Value), before: make(map[string]plan.Value),
	}
	for i := packedFields; i+2 < len(row.GetValues()); i += 3 {
		u.after[row.GetValues()[i]], u.before[row.GetValues()[i]] = plan.Cell(row, i+1), plan.Cell(row, i+2)
	}
	return u
}

// undoer decides what becomes of the people of one part.
type undoer struct {
	w       *work
	s       *snapshot
	columns map[string]int // index among the targets, by field
	out     *rows.Outcomes
	changes map[string]*rows.Changes
	n       ledger.Counts
	result  ledger.Result
}

// planUndo decides about one part of the people whom the undone run wrote.
func (w *work) planUndo(ctx context.Context) error {
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	u := &undoer{
		w: w, s: s, columns: make(map[string]int), out: rows.NewOutcomes(w.pub), changes: make(map[string]*rows.Changes),
		result: ledger.Result{UpdatesByField: map[string]int64{}, SkippedByRule: map[string]int64{}},
	}
	for _, i := range s.sendable {
		u.columns[s.targets[i].Field] = i
	}
	for kind, action := range map[string]syncv1.Action{
		rows.KindUpdates: syncv1.Action_ACTION_UPDATE, rows.KindContactUpdates: syncv1.Action_ACTION_UPDATE, rows.KindDeletes: syncv1.Action_ACTION_DELETE,
	} {
		u.changes[kind] = rows.NewChangesOf(w.pub, kind, action, s.targetNames())
	}
	u.changes[rows.KindLeavers] = rows.NewChangesOf(w.pub, rows.KindLeavers, syncv1.Action_ACTION_UPDATE, []string{s.leaversColumn().Field})
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return err
	}
	wrote, err := w.loadPart(ctx, tasks, ledger.StageSnapshot, kindUndoneOutcomes, false)
	if err != nil {
		return err
	}
	changed, err := w.loadPart(ctx, tasks, ledger.StageSnapshot, kindUndoneChanges, false)
	if err != nil {
		return err
	}
	byPerson := make(map[string]*undone, len(changed))
	var work []*undone
	for _, c := range changed {
		x := unpackChange(c.Row)
		byPerson[x.person] = x
		if x.kind == rows.KindLeavers {
			work = append(work, x)
		}
	}
	for _, o := range wrote {
		x := byPerson[o.Row.GetId()]
		if x == nil {
			x = &undone{person: o.Row.GetId()}
		}
		x.record = o.Row.GetValues()[1]
		work = append(work, x)
	}
	if w.draining() {
		for _, x := range work {
			if x.kind == rows.KindLeavers {
				continue
			}
			u.n.Deferred++
			if err := u.out.Add(ctx, w.deferred(x.person)); err != nil {
				return err
			}
		}
		return u.settle(ctx)
	}
	return u.run(ctx, work)
}

func (u *undoer) run(ctx context.Context, work []*undone) error {
	org, err := u.w.client()
	if err != nil {
		return err
	}
	byObject := make(map[string][]*undone)
	for _, x := range work {
		object := x.object
		if object == "" {
			object = u.w.run.Object
		}
		byObject[object] = append(byObject[object], x)
	}
	for object, all := range byObject {
		names, at := []string{fieldID, fieldCreated, fieldModified}, make(map[string]int)
		columns := []salesforce.Column{{Name: fieldID, Type: salesforce.TypeID}, {Name: fieldCreated, Type: salesforce.TypeDateTime}, {Name: fieldModified, Type: salesforce.TypeDateTime}}
		for i, field := range u.fieldsOf(object, all) {
			names = append(names, field)
			columns = append(columns, salesforce.Column{Name: field, Type: salesforce.FieldType(u.column(field).Type)})
			at[field] = 3 + i
		}
		ids, seen := make([]string, 0, len(all)), make(map[string]bool)
		for _, x := range all {
			if x.record != "" && !seen[x.record] {
				seen[x.record] = true
				ids = append(ids, x.record)
			}
		}
		now := make(map[string]*rowv1.Row, len(ids))
		err := org.RetrieveByIDs(ctx, object, ids, columns, func(id string, r *salesforce.Record) error {
			if r == nil {
				return nil
			}
			row := &rowv1.Row{Id: id}
			for i := range names {
				plan.Set(row, plan.Value{Text: r.Values[i], Null: r.Null[i]})
			}
			now[id] = row
			return nil
		})
		if err != nil {
			return refusal(err, "read the records that the run wrote")
		}
		for _, x := range all {
			if err := u.one(ctx, x, now[x.record], at); err != nil {
				return err
			}
			u.w.rows.Add(1)
		}
	}
	return u.settle(ctx)
}

// fieldsOf lists the fields that the changes set and that can still be set.
func (u *undoer) fieldsOf(object string, all []*undone) []string {
	wanted := make(map[string]bool)
	for _, x := range all {
		for field := range x.after {
			wanted[field] = true
		}
	}
	var fields []string
	for _, t := range u.s.targets {
		if _, sendable := u.columns[t.Field]; wanted[t.Field] && (sendable || object != u.w.run.Object) {
			fields = append(fields, t.Field)
		}
	}
	if l := u.s.leaversColumn().Field; l != "" && wanted[l] && u.s.fields[l].GetUpdateable() {
		if _, there := u.columns[l]; !there {
			fields = append(fields, l)
		}
	}
	return fields
}

func (u *undoer) column(field string) plan.Column {
	for _, t := range u.s.targets {
		if t.Field == field {
			return t
		}
	}
	return u.s.leaversColumn()
}

// one decides about one person. at are the columns of now, by field.
func (u *undoer) one(ctx context.Context, x *undone, now *rowv1.Row, at map[string]int) error {
	switch {
	case x.kind == rows.KindLeavers:
		return u.leaver(ctx, x, now, at)
	case x.kind == "":
		return u.skip(ctx, x, codeNotKept, nil, "What the run changed for this person is not kept any more.")
	case now == nil:
		return u.skip(ctx, x, codeRecordGone, nil, "The record is not there any more.")
	}
	var same, differs, stuck []string
	for _, field := range slices.Sorted(maps.Keys(x.after)) {
		i, there := at[field]
		if _, settable := u.columns[field]; !there || !settable && x.kind != rows.KindCreates {
			stuck = append(stuck, field)
			continue
		}
		c := u.column(field)
		have := plan.Cell(now, i)
		switch {
		case c.Equal(x.after[field], have):
			if x.kind == rows.KindCreates || !c.Equal(x.before[field], have) {
				same = append(same, field)
			}
		case !c.Equal(x.before[field], have): // else it was reverted already
			differs = append(differs, field)
		}
	}
	if x.kind == rows.KindCreates {
		return u.created(ctx, x, now, at, differs)
	}
	if len(same) == 0 {
		if len(differs) > 0 {
			return u.skip(ctx, x, codeChangedSince, differs, changedText(differs))
		}
		if len(stuck) > 0 {
			return u.skip(ctx, x, codeNotWritable, stuck, fmt.Sprintf(
				"%s cannot be changed any more: it is gone from the org, or the connected user may not change it.", strings.Join(stuck, ", ")))
		}
		u.n.Unchanged++
		return u.outcome(ctx, &syncv1.Outcome{PersonId: x.person, Kind: syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED, RecordId: x.record})
	}
	c := u.change(x, now)
	for _, field := range same {
		i := u.columns[field]
		back := x.before[field]
		if back.Absent || back.Text == "" {
			back = plan.Value{Null: true}
		}
		plan.Put(c.After, i, back)
		plan.Put(c.Before, i, plan.Cell(now, at[field]))
		u.result.UpdatesByField[field]++
		u.n.Values++
		if back.Null {
			u.n.Clears++
		}
	}
	if len(differs)+len(stuck) > 0 {
		c.Reason = plan.ReasonUndoPartly
	}
	u.n.Updates++
	kind := rows.KindUpdates
	if x.object != "" {
		kind = rows.KindContactUpdates
		u.n.ContactUpdates++
	}
	return u.add(ctx, kind, c)
}

func changedText(fields []string) string {
	return fmt.Sprintf("%s holds another value than the run wrote: somebody changed it since, so it is left as it is.", strings.Join(fields, ", "))
}

// leaver takes the flag of a leaver back. It belongs to nobody of the snapshot, so nobody ends by it.
func (u *undoer) leaver(ctx context.Context, x *undone, now *rowv1.Row, at map[string]int) error {
	column := u.s.leaversColumn()
	i, there := at[column.Field]
	if now == nil || !there || !column.Equal(x.after[column.Field], plan.Cell(now, i)) {
		return nil
	}
	back := x.before[column.Field]
	if back.Absent || back.Text == "" {
		back = plan.Value{Null: true}
	}
	c := &eventv1.PlannedChange{
		PersonId: x.person, Key: x.record, RecordId: now.GetId(), After: &rowv1.Row{}, Before: &rowv1.Row{}, Reason: plan.ReasonUndo, Object: x.object,
	}
	plan.Set(c.After, back)
	plan.Set(c.Before, plan.Cell(now, i))
	u.n.Deactivations++
	return u.add(ctx, rows.KindLeavers, c)
}

// created decides about a record that the undone run made. Untouched is a record whose two stamps are still the same and
// whose fields hold what was written: also a change of a field that the map does not know moves the later stamp.
func (u *undoer) created(ctx context.Context, x *undone, now *rowv1.Row, at map[string]int, differs []string) error {
	if !u.w.run.UndoDeleteCreated {
		return u.skip(ctx, x, codeCreatedKept, nil, "The run made this record. Undo deletes such records only when that is asked for.")
	}
	if len(differs) > 0 {
		return u.skip(ctx, x, codeChangedSince, differs, changedText(differs))
	}
	if plan.Cell(now, 1).Text != plan.Cell(now, 2).Text {
		return u.skip(ctx, x, codeChangedSince, nil, "The record was changed since the run made it, so it is not deleted.")
	}
	c := u.change(x, now)
	for field, i := range u.columns {
		if col, there := at[field]; there {
			plan.Put(c.Before, i, plan.Cell(now, col))
		}
	}
	u.n.Deletes++
	return u.add(ctx, rows.KindDeletes, c)
}

// change begins a change of a record: all columns absent.
func (u *undoer) change(x *undone, now *rowv1.Row) *eventv1.PlannedChange {
	c := &eventv1.PlannedChange{
		PersonId: x.person, Key: x.record, RecordId: now.GetId(), After: &rowv1.Row{}, Before: &rowv1.Row{}, Reason: plan.ReasonUndo, Object: x.object,
	}
	for range u.s.targets {
		plan.Set(c.After, plan.Value{Absent: true})
		plan.Set(c.Before, plan.Value{Absent: true})
	}
	return c
}

func (u *undoer) add(ctx context.Context, kind string, c *eventv1.PlannedChange) error {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return err
	}
	u.result.Hash += xxhash.Sum64(raw)
	return u.changes[kind].Add(ctx, c)
}

func (u *undoer) skip(ctx context.Context, x *undone, code string, fields []string, message string) error {
	u.n.Skipped++
	u.result.SkippedByRule[code]++
	return u.outcome(ctx, &syncv1.Outcome{
		PersonId: x.person, Kind: syncv1.OutcomeKind_OUTCOME_KIND_SKIPPED, RecordId: x.record, Code: code, Message: message, Fields: fields,
	})
}

func (u *undoer) outcome(ctx context.Context, o *syncv1.Outcome) error {
	o.FieldMapVersion = u.w.run.FieldMapVersion
	return u.out.Add(ctx, o)
}

func (u *undoer) settle(ctx context.Context) error {
	if err := u.out.Close(ctx); err != nil {
		return err
	}
	for _, c := range u.changes {
		if err := c.Close(ctx); err != nil {
			return err
		}
	}
	u.result.Counts = u.n
	return u.w.settle(ctx, u.result)
}
