package stage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
	"google.golang.org/protobuf/proto"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// Columns that a pull needs beside the map's targets.
const (
	fieldID               = "Id"
	fieldEmail            = "Email"
	fieldConverted        = "IsConverted"
	fieldConvertedContact = "ConvertedContactId"
	fieldCreated          = "CreatedDate"
	fieldOwner            = "OwnerId"

	objectContact = "Contact"
	objectLead    = "Lead"
)

// snapshot is what shapes a run, with what follows from it.
type snapshot struct {
	stored   *syncv1.RunSnapshot
	fieldMap *mapperv1.FieldMap
	describe *salesforcev1.ObjectDescribe
	fields   map[string]*salesforcev1.FieldDescribe
	// person are the Catalog fields that the run reads.
	person []string
	// record are the Salesforce fields that the run reads; Id is first and is also the row's id. Fields of parents, by which
	// references are compared, come last: the first own ones are the object's.
	record []salesforce.Column
	own    int
	// targets are what people are mapped to: the map's pairs, in order, then what only overrides have.
	targets []plan.Column
	// sendable are the targets that may be sent: all but those that drift stopped.
	sendable []int
	// lookups are the targets that are references, by index.
	lookups map[int]lookup
	// contactColumns are the record columns that Contact has too, and contactTargets the targets; for Leads that became one.
	contactColumns, contactTargets []int
	// indexes into record; -1 where the object has none, or nobody needs it.
	external, email, converted, convertedContact, created, owner int
	// indexes into targets; -1 where the map has none.
	externalTarget, emailTarget int
}

// lookup is a reference that is found by a key.
type lookup struct {
	*mapperv1.Lookup
	// key is the index of the parent's key field among the record columns; -1 where it is not read.
	key int
	// keep: a person whose key finds nothing is written without it.
	keep bool
}

func newSnapshot(m *syncv1.RunSnapshot) *snapshot {
	s := &snapshot{
		stored: m, fieldMap: m.GetFieldMap(), describe: m.GetDescribe(), fields: make(map[string]*salesforcev1.FieldDescribe),
		lookups: make(map[int]lookup), external: -1, email: -1, converted: -1, convertedContact: -1, created: -1, owner: -1,
		externalTarget: -1, emailTarget: -1,
	}
	for _, f := range s.describe.GetFields() {
		s.fields[f.GetName()] = f
	}
	s.person = []string{directory.IDColumn, directory.Email.String()}
	s.add(fieldID)
	pairs := allPairs(s.fieldMap)
	for i, p := range pairs {
		s.read(p.GetSource(), p.GetSecondarySource())
		f := s.fields[p.GetTarget()]
		t := plan.Column{Field: p.GetTarget(), Type: f.GetType(), Scale: int(f.GetScale()), Record: -1}
		if f != nil && !slices.Contains(m.GetStoppedTargets(), t.Field) {
			t.Record = s.add(t.Field)
			s.sendable = append(s.sendable, i)
		}
		s.targets = append(s.targets, t)
		switch t.Field {
		case s.fieldMap.GetExternalIdField():
			s.externalTarget = i
		case fieldEmail:
			s.emailTarget = i
		}
	}
	s.read(m.GetPersonFields()...)
	if f := s.fieldMap.GetExternalIdField(); f != "" {
		s.external = s.add(f)
	}
	s.email = s.addIfThere(fieldEmail)
	s.converted = s.addIfThere(fieldConverted)
	id := s.fieldMap.GetIdentity()
	if id.GetConverted() == mapperv1.Converted_CONVERTED_UPDATE_CONTACT {
		s.convertedContact = s.addIfThere(fieldConvertedContact)
	}
	switch id.GetSeveralMatches() {
	case mapperv1.SeveralMatches_SEVERAL_MATCHES_OLDEST, mapperv1.SeveralMatches_SEVERAL_MATCHES_NEWEST:
		s.created = s.addIfThere(fieldCreated)
	case mapperv1.SeveralMatches_SEVERAL_MATCHES_OWNER:
		s.owner = s.addIfThere(fieldOwner)
	}
	for _, f := range m.GetRecordFields() {
		s.addIfThere(f)
	}
	s.own = len(s.record)
	for i, p := range pairs {
		s.addLookup(i, p)
	}
	s.shareWithContact(related(m, objectContact))
	return s
}

// allPairs are the pairs of a map in the order of their columns: its own, then those of overrides whose target is new.
func allPairs(m *mapperv1.FieldMap) []*mapperv1.Pair {
	pairs := slices.Clone(m.GetPairs())
	for _, o := range m.GetOverrides() {
		for _, p := range o.GetPairs() {
			if !slices.ContainsFunc(pairs, func(have *mapperv1.Pair) bool { return have.GetTarget() == p.GetTarget() }) {
				pairs = append(pairs, p)
			}
		}
	}
	return pairs
}

// related returns the describe of another object, nil where it was not asked for.
func related(m *syncv1.RunSnapshot, object string) *salesforcev1.ObjectDescribe {
	for _, d := range m.GetRelated() {
		if d.GetName() == object {
			return d
		}
	}
	return nil
}

// read adds Catalog fields to those that are copied.
func (s *snapshot) read(names ...string) {
	for _, name := range names {
		if name != "" && !slices.Contains(s.person, name) {
			s.person = append(s.person, name)
		}
	}
}

// add adds a field to those that are pulled and returns its index.
func (s *snapshot) add(name string) int {
	return s.addColumn(salesforce.Column{Name: name, Type: salesforce.FieldType(s.fields[name].GetType())})
}

func (s *snapshot) addColumn(col salesforce.Column) int {
	if i := slices.IndexFunc(s.record, func(c salesforce.Column) bool { return c.Name == col.Name }); i >= 0 {
		return i
	}
	s.record = append(s.record, col)
	return len(s.record) - 1
}

func (s *snapshot) addIfThere(name string) int {
	if _, ok := s.fields[name]; !ok {
		return -1
	}
	return s.add(name)
}

// addLookup makes the parent's key be pulled with the record, so that a reference that is right already needs no search.
func (s *snapshot) addLookup(i int, p *mapperv1.Pair) {
	if p.GetLookup() == nil || s.targets[i].Record < 0 {
		return
	}
	l := lookup{Lookup: p.GetLookup(), key: -1, keep: p.GetUnlisted() == mapperv1.Unlisted_UNLISTED_KEEP}
	f := s.fields[p.GetTarget()]
	if name := f.GetRelationshipName(); name != "" && len(f.GetReferenceTo()) == 1 && f.GetReferenceTo()[0] == l.GetObject() {
		l.key = s.addColumn(salesforce.Column{Name: name + "." + l.GetField()})
	}
	s.lookups[i] = l
}

// shareWithContact finds what a Lead's map and Contact have in common, by name.
func (s *snapshot) shareWithContact(contact *salesforcev1.ObjectDescribe) {
	if contact == nil {
		return
	}
	has := make(map[string]*salesforcev1.FieldDescribe)
	for _, f := range contact.GetFields() {
		has[f.GetName()] = f
	}
	for i, c := range s.record[:s.own] {
		if has[c.Name] != nil {
			s.contactColumns = append(s.contactColumns, i)
		}
	}
	for _, i := range s.sendable {
		if f := has[s.targets[i].Field]; f.GetUpdateable() && f.GetType() == s.targets[i].Type {
			s.contactTargets = append(s.contactTargets, i)
		}
	}
}

// policy is how people are placed in the cases that are not plain.
func (s *snapshot) policy() plan.Policy {
	p := plan.Policy{Created: s.created, Owner: s.owner, Converted: s.converted, OwnerID: s.stored.GetSeveralMatchesOwnerId()}
	switch s.fieldMap.GetIdentity().GetSeveralMatches() {
	case mapperv1.SeveralMatches_SEVERAL_MATCHES_OLDEST:
		p.Several = plan.Oldest
	case mapperv1.SeveralMatches_SEVERAL_MATCHES_NEWEST:
		p.Several = plan.Newest
	case mapperv1.SeveralMatches_SEVERAL_MATCHES_OWNER:
		p.Several = plan.Owner
	}
	return p
}

// columnsOf returns the columns of one kind of changes, and which of them may be sent.
func (s *snapshot) columnsOf(kind string) ([]plan.Column, []int) {
	switch kind {
	case rows.KindLeavers:
		return []plan.Column{s.leaversColumn()}, []int{0}
	case rows.KindContactUpdates:
		return s.targets, s.contactTargets
	}
	return s.targets, s.sendable
}

// leaversColumn is the field that flags leavers.
func (s *snapshot) leaversColumn() plan.Column {
	name := s.fieldMap.GetIdentity().GetLeaversField()
	f := s.fields[name]
	return plan.Column{Field: name, Type: f.GetType(), Scale: int(f.GetScale()), Record: -1}
}

// reference names a record that lookups refer to: object, field and folded key.
func (s *snapshot) reference(column int, key string) string {
	l := s.lookups[column]
	return l.GetObject() + "." + l.GetField() + "=" + key
}

// skipsContacts reports whether people of a Lead map who are a Contact already are left out.
func (s *snapshot) skipsContacts() bool {
	contact := related(s.stored, objectContact)
	hasEmail := slices.ContainsFunc(contact.GetFields(), func(f *salesforcev1.FieldDescribe) bool { return f.GetName() == fieldEmail })
	return s.describe.GetName() == objectLead && hasEmail &&
		s.fieldMap.GetIdentity().GetContactAndLead() != mapperv1.ContactAndLead_CONTACT_AND_LEAD_BOTH
}

// byExternalID reports whether people are matched by an external id.
func (s *snapshot) byExternalID() bool { return s.external >= 0 }

// keyField is the field on which creates are upserted.
func (s *snapshot) keyField() string {
	if s.byExternalID() {
		return s.fieldMap.GetExternalIdField()
	}
	return fieldEmail
}

// uniqueKey reports whether Salesforce itself keeps two records from having the same key. Where it does not, a create
// whose answer was lost is not sent again before Salesforce must have ended it.
func (s *snapshot) uniqueKey() bool { return s.fields[s.keyField()].GetUnique() }

func (s *snapshot) recordNames() []string {
	names := make([]string, len(s.record))
	for i, c := range s.record {
		names[i] = c.Name
	}
	return names
}

func (s *snapshot) targetNames() []string {
	names := make([]string, len(s.targets))
	for i, c := range s.targets {
		names[i] = c.Field
	}
	return names
}

func (s *snapshot) header() *mapperv1.MapHeader {
	return &mapperv1.MapHeader{
		FieldMap: s.fieldMap, Describe: s.describe, PersonColumns: s.person, RecordColumns: s.recordNames(),
		Now: s.stored.GetNow(), StoppedTargets: s.stored.GetStoppedTargets(),
	}
}

// foldExternalID folds an external id as the mapper does: Salesforce compares text ids without case unless the field is
// case-sensitive.
func (s *snapshot) foldExternalID(v string) string {
	v = strings.TrimSpace(norm.NFC.String(v))
	if s.fields[s.fieldMap.GetExternalIdField()].GetCaseSensitive() {
		return v
	}
	return strings.ToLower(v)
}

// personEmail is the index of the Catalog's e-mail among a person's columns.
const personEmail = 1

// personKey is under what a person of the snapshot is kept: the match key, and where that is an external id the e-mail
// as well, by which the second wave joins. It is the mapped e-mail: the Catalog's own may be another.
func (s *snapshot) personKey(p plan.Keyed) string {
	if s.byExternalID() {
		return p.Key + "\x00" + p.Email
	}
	return p.Key
}

// splitKey is the reverse of personKey.
func (s *snapshot) splitKey(key string) (match, email string) {
	if !s.byExternalID() {
		return key, key
	}
	match, email, _ = strings.Cut(key, "\x00")
	return match, email
}

// foldEmail folds an e-mail as the mapper does.
func foldEmail(v string) string { return strings.ToLower(strings.TrimSpace(norm.NFC.String(v))) }

// snapshotPeople copies a range of people out of the directory, by part of their match key.
func (w *work) snapshotPeople(ctx context.Context) error {
	if w.draining() {
		return w.settle(ctx, ledger.Result{Aborted: true})
	}
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	keys, err := w.matchKeys(ctx, s)
	if err != nil {
		return err
	}
	defer keys.close()
	out := rows.NewRows(w.pub, rows.KindPeople, s.person, w.run.Parts)
	var people int64
	batch, size := make([]*rowv1.Row, 0, mapBatch), 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		ks, err := keys.next(batch)
		if err != nil {
			return err
		}
		for i, row := range batch {
			p := plan.Keyed{Email: ks[i].GetEmail(), Row: row}
			if s.emailTarget < 0 {
				p.Email = foldEmail(plan.Cell(row, personEmail).Text)
			}
			if p.Key = p.Email; s.byExternalID() {
				p.Key = ks[i].GetExternalId()
			}
			if err := out.Add(ctx, rows.Part(p.Key, w.run.Parts), s.personKey(p), row); err != nil {
				return err
			}
		}
		people += int64(len(batch))
		w.rows.Store(people)
		batch, size = batch[:0], 0
		return nil
	}
	in := w.task.Input
	take := func(row *rowv1.Row) error {
		batch = append(batch, row)
		if size += proto.Size(row); len(batch) < mapBatch && size < mapBytes {
			return nil
		}
		return flush()
	}
	if w.run.Person == "" {
		err = w.Directory.Scan(ctx, w.run.Tenant, directory.Range{From: in.From, To: in.To}, s.person, take)
	} else {
		err = w.scanOne(ctx, s, take)
	}
	if err != nil {
		return fmt.Errorf("copy people: %w", err)
	}
	if err := flush(); err != nil {
		return err
	}
	if err := out.Close(ctx); err != nil {
		return err
	}
	return w.settle(ctx, ledger.Result{Counts: ledger.Counts{People: people}})
}

// maxSharers is how many people of one e-mail a run for one person looks at.
const maxSharers = 100

// scanOne hands out the person of a run for one, and who else has the same e-mail: they may be in each other's way, as
// they are in every other run.
func (w *work) scanOne(ctx context.Context, s *snapshot, fn func(*rowv1.Row) error) error {
	email := ""
	one := func(id string) error {
		return w.Directory.Scan(ctx, w.run.Tenant, onlyPerson(id), s.person, func(row *rowv1.Row) error {
			if row.GetId() != id {
				return nil
			}
			if id == w.run.Person {
				email = foldEmail(plan.Cell(row, personEmail).Text)
			}
			return fn(row)
		})
	}
	if err := one(w.run.Person); err != nil || email == "" {
		return err
	}
	sharers, _, err := w.Directory.List(ctx, w.run.Tenant, directory.ListOptions{Prefix: email, Limit: maxSharers})
	if err != nil {
		return err
	}
	for _, p := range sharers {
		if mail, _ := p.Value(directory.Email); p.ID == w.run.Person || foldEmail(mail) != email {
			continue
		}
		if err := one(p.ID); err != nil {
			return err
		}
	}
	return nil
}

// onlyPerson is a range of ids that holds one; a few others may be in it.
func onlyPerson(id string) directory.Range { return directory.Range{From: id[:len(id)-1], To: id} }
