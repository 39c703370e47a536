package stage

import (
	"context"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// decider turns people with their records and wanted values into changes and outcomes, and counts them.
type decider struct {
	w       *work
	s       *snapshot
	out     *rows.Outcomes
	changes map[string]*rows.Changes // by kind
	pending map[syncv1.Action]*rows.Changes
	left    *rows.Rows
	lost    *rows.Rows
	// contacts are the people of a Lead map who are a Contact already: the Contact's id by e-mail.
	contacts map[string]string
	// last: no stage comes after this one that could find references.
	last   bool
	n      ledger.Counts
	result ledger.Result
}

func newDecider(w *work, s *snapshot) *decider {
	d := &decider{
		w: w, s: s, out: rows.NewOutcomes(w.pub),
		changes: make(map[string]*rows.Changes), pending: make(map[syncv1.Action]*rows.Changes),
		left: rows.NewRows(w.pub, rows.KindLeft, s.person, w.run.Parts), lost: rows.NewRows(w.pub, rows.KindLost, s.person, 1),
		result: ledger.Result{
			RejectedByCode: map[string]int64{}, SkippedByRule: map[string]int64{}, UpdatesByField: map[string]int64{},
			LookupCreates: map[string]int64{},
		},
	}
	for _, kind := range []string{rows.KindCreates, rows.KindUpdates, rows.KindContactUpdates, rows.KindLeavers} {
		action := syncv1.Action_ACTION_UPDATE
		if kind == rows.KindCreates {
			action = syncv1.Action_ACTION_CREATE
		}
		columns, _ := s.columnsOf(kind)
		names := make([]string, len(columns))
		for i, c := range columns {
			names[i] = c.Field
		}
		d.changes[kind] = rows.NewChangesOf(w.pub, kind, action, names)
	}
	for _, action := range []syncv1.Action{syncv1.Action_ACTION_CREATE, syncv1.Action_ACTION_UPDATE} {
		d.pending[action] = rows.NewChangesOf(w.pub, rows.KindPending, action, s.targetNames())
	}
	return d
}

// subject is a person about whom is decided.
type subject struct {
	plan.Joined
	// reason is why the record is the person's, where it is not plain.
	reason string
	// object of the record, where it is not the run's.
	object string
}

// outcome publishes how a person ends.
func (d *decider) outcome(ctx context.Context, o *syncv1.Outcome) error {
	o.FieldMapVersion = d.w.run.FieldMapVersion
	return d.out.Add(ctx, o)
}

// recall finds what is known of people who have no record: one that an earlier run wrote, or a Contact that keeps them
// from becoming a Lead. Only the wave that would make records asks.
func (d *decider) recall(ctx context.Context, tasks []ledger.Task, people []plan.Joined) error {
	var ids, emails []string
	for _, j := range people {
		if j.Verdict == plan.New {
			ids = append(ids, j.Person.Row.GetId())
			emails = append(emails, j.Person.Email)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	known, err := d.w.knownRecords(ctx, ids)
	if err != nil {
		return err
	}
	for i := range people {
		if people[i].Verdict == plan.New {
			people[i].Known = known[people[i].Person.Row.GetId()]
		}
	}
	if !d.s.skipsContacts() {
		return nil
	}
	if d.w.run.PullMode == ledger.PullLookup {
		d.contacts, err = d.w.contactsByEmail(ctx, emails)
		return err
	}
	contacts, err := d.w.loadPart(ctx, tasks, ledger.StagePull, rows.KindContacts, true)
	d.contacts = make(map[string]string, len(contacts))
	for _, c := range contacts {
		if have := d.contacts[c.Key]; have == "" || c.Row.GetId() < have {
			d.contacts[c.Key] = c.Row.GetId()
		}
	}
	return err
}

// knownRecords are the records that earlier runs wrote for people.
func (w *work) knownRecords(ctx context.Context, people []string) (map[string]string, error) {
	known, err := w.Directory.KnownRecords(ctx, w.run.Tenant, w.run.ConnectionID, people)
	if err != nil {
		return nil, fmt.Errorf("read which records earlier runs wrote: %w", err)
	}
	return known, nil
}

// lose hands a person to the follow stage.
func (d *decider) lose(ctx context.Context, hint string, p plan.Keyed) error {
	d.n.Lost++
	return d.lost.Add(ctx, 0, hint+"\x00"+p.Email, p.Row)
}

// converted decides about a person whose Lead was converted.
func (d *decider) converted(ctx context.Context, j plan.Joined) error {
	if contact := plan.Cell(j.Record, d.s.convertedContact).Text; contact != "" {
		return d.lose(ctx, lostContact(contact, j.Record.GetId()), j.Person)
	}
	return d.superseded(ctx, j.Person.Row.GetId(), j.Record.GetId())
}

func (d *decider) superseded(ctx context.Context, person, record string) error {
	d.n.Superseded++
	return d.outcome(ctx, &syncv1.Outcome{
		PersonId: person, Kind: syncv1.OutcomeKind_OUTCOME_KIND_SUPERSEDED, RecordId: record,
		Code: plan.CodeConverted, Message: "The Lead was converted in Salesforce, so it is left as it is.",
	})
}

func (d *decider) reject(ctx context.Context, x subject, p *mapperv1.Problem) error {
	d.n.Rejected++
	d.result.RejectedByCode[p.GetCode()]++
	o := &syncv1.Outcome{
		PersonId: x.Person.Row.GetId(), Kind: syncv1.OutcomeKind_OUTCOME_KIND_REJECTED, RecordId: x.Record.GetId(),
		Code: p.GetCode(), Message: p.GetMessage(), OtherRecordIds: x.Others,
	}
	if p.GetField() != "" {
		o.Fields = []string{p.GetField()}
	}
	return d.outcome(ctx, o)
}

// skip leaves a person out, by a rule or by a policy, which code names.
func (d *decider) skip(ctx context.Context, x subject, code, rule, message string) error {
	d.n.Skipped++
	d.result.SkippedByRule[rule]++
	return d.outcome(ctx, &syncv1.Outcome{
		PersonId: x.Person.Row.GetId(), Kind: syncv1.OutcomeKind_OUTCOME_KIND_SKIPPED, RecordId: x.Record.GetId(),
		Code: code, Message: message, OtherRecordIds: x.Others,
	})
}

// one decides about a person whose wanted values are known.
func (d *decider) one(ctx context.Context, x subject, m *mapperv1.MappedPerson) error {
	id := x.Person.Row.GetId()
	switch {
	case m.GetSkippedBy() != "":
		return d.skip(ctx, x, "rule", m.GetSkippedBy(), m.GetSkippedBy())
	case len(m.GetProblems()) > 0:
		return d.reject(ctx, x, m.GetProblems()[0])
	}
	if contact := d.contacts[x.Person.Email]; x.Record == nil && contact != "" && x.Person.Email != "" {
		x.Others = []string{contact}
		return d.skip(ctx, x, plan.CodeContact, plan.CodeContact, "The person is a Contact already, "+contact+", and does not become a Lead.")
	}
	keyAt := d.s.emailTarget
	if d.s.byExternalID() {
		keyAt = d.s.externalTarget
	}
	key := plan.Cell(m.GetValues(), keyAt).Text
	var c *eventv1.PlannedChange
	action := syncv1.Action_ACTION_UPDATE
	switch {
	case x.Record != nil:
		d.passOver(x, m)
		c = plan.Update(id, key, m.GetValues(), x.Record, d.s.targets)
	case key == "":
		return d.reject(ctx, x, &mapperv1.Problem{
			Code: "missing_match_key", Field: d.s.keyField(),
			Message: fmt.Sprintf("The person has no value for %s, by which records are found; give them one.", d.s.keyField()),
		})
	default:
		action = syncv1.Action_ACTION_CREATE
		c = plan.Create(id, key, m.GetValues(), d.s.targets)
	}
	for _, note := range m.GetNotes() {
		if note.GetCode() == codeCut {
			d.n.Cut++
		}
	}
	if c == nil {
		return d.unchanged(ctx, x)
	}
	if x.Record != nil { // of a new record there is nothing to explain
		c.Reason = x.reason
	}
	c.Object = x.object
	for _, l := range m.GetLookups() {
		if v := plan.Cell(c.GetAfter(), int(l.GetColumn())); v.Text != "" {
			if c.Unresolved == nil {
				c.Unresolved = make(map[uint32]string)
			}
			c.Unresolved[l.GetColumn()] = l.GetKey()
		}
	}
	if len(c.GetUnresolved()) > 0 {
		if d.last {
			return d.changed(ctx, id, x.Record.GetId())
		}
		d.n.Pending++
		return d.pending[action].Add(ctx, c)
	}
	return d.plan(ctx, action, c)
}

// codeCut is the mapper's note of a text that was cut to fit.
const codeCut = "cut"

func (d *decider) unchanged(ctx context.Context, x subject) error {
	d.n.Unchanged++
	return d.outcome(ctx, &syncv1.Outcome{
		PersonId: x.Person.Row.GetId(), Kind: syncv1.OutcomeKind_OUTCOME_KIND_UNCHANGED, RecordId: x.Record.GetId(), OtherRecordIds: x.Others,
	})
}

// passOver takes out of what is wanted what cannot be sent or is right already: fields that a Contact does not have, where
// the record is one, and references whose record has the key.
func (d *decider) passOver(x subject, m *mapperv1.MappedPerson) {
	if x.object != "" {
		for i := range d.s.targets {
			if !slices.Contains(d.s.contactTargets, i) {
				plan.Put(m.GetValues(), i, plan.Value{Absent: true})
			}
		}
	}
	for _, l := range m.GetLookups() {
		at := int(l.GetColumn())
		have := plan.Cell(x.Record, d.s.lookups[at].key)
		if d.s.lookups[at].Lookup != nil && !have.Absent && !have.Null && foldReference(d.s.lookups[at].GetField(), have.Text) == l.GetKey() {
			plan.Put(m.GetValues(), at, plan.Value{Absent: true})
		}
	}
}

// plan takes a change into the plan.
func (d *decider) plan(ctx context.Context, action syncv1.Action, c *eventv1.PlannedChange) error {
	kind := rows.KindUpdates
	switch {
	case action == syncv1.Action_ACTION_CREATE:
		kind = rows.KindCreates
	case c.GetReason() == plan.ReasonLeaver:
		kind = rows.KindLeavers
	case c.GetObject() != "":
		kind = rows.KindContactUpdates
	}
	if err := d.count(kind, c, 1); err != nil {
		return err
	}
	return d.changes[kind].Add(ctx, c)
}

// count takes a change into the plan's numbers and hash, or with -1 out of them. The hash does not depend on the order of
// changes.
func (d *decider) count(kind string, c *eventv1.PlannedChange, by int64) error {
	switch kind {
	case rows.KindCreates:
		d.n.Creates += by
	case rows.KindLeavers:
		d.n.Deactivations += by
	case rows.KindContactUpdates:
		d.n.ContactUpdates += by
		fallthrough
	default:
		d.n.Updates += by
	}
	columns, _ := d.s.columnsOf(kind)
	for i := range columns {
		v := plan.Cell(c.GetAfter(), i)
		if v.Absent {
			continue
		}
		d.n.Values += by
		if v.Null {
			d.n.Clears += by
		}
		if kind != rows.KindCreates {
			d.result.UpdatesByField[columns[i].Field] += by
		}
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return err
	}
	d.result.Hash += xxhash.Sum64(raw) * uint64(by)
	return nil
}

func (d *decider) settle(ctx context.Context) error {
	closing := []interface{ Close(context.Context) error }{d.out, d.left, d.lost}
	for _, kind := range []string{rows.KindCreates, rows.KindUpdates, rows.KindContactUpdates, rows.KindLeavers} {
		closing = append(closing, d.changes[kind])
	}
	for _, action := range []syncv1.Action{syncv1.Action_ACTION_CREATE, syncv1.Action_ACTION_UPDATE} {
		closing = append(closing, d.pending[action])
	}
	for _, c := range closing {
		if err := c.Close(ctx); err != nil {
			return err
		}
	}
	d.result.Counts = d.n
	return d.w.settle(ctx, d.result)
}
