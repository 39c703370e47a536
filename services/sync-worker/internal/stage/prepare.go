package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
)

// rangeRows is how many people one snapshot task copies.
const rangeRows = 50_000

// prepare fixes what shapes the run: the field map, the org's describe, the parts, and the cheapest way to pull.
func (w *work) prepare(ctx context.Context) error {
	if w.draining() {
		return w.settle(ctx, ledger.Result{Aborted: true})
	}
	org, err := w.client()
	if err != nil {
		return err
	}
	described, _, err := org.Describe(ctx, w.run.Object, time.Time{})
	if err != nil {
		return refusal(err, "describe "+w.run.Object)
	}
	fm, err := w.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{
		ConnectionId: w.run.ConnectionID, Version: w.run.FieldMapVersion,
	})
	if err != nil {
		return fmt.Errorf("read the field map: %w", err)
	}
	snap := &syncv1.RunSnapshot{
		FieldMap: fm.GetFieldMap(), Describe: DescribeProto(described), OrgId: w.run.OrgID, Now: timestamppb.New(time.Now().Truncate(time.Second)),
	}
	if snap.Related, err = w.describeRelated(ctx, org, snap.GetFieldMap()); err != nil {
		return err
	}
	prepared := &ledger.Prepared{}
	if err := w.checkDrift(ctx, snap, prepared); err != nil {
		return err
	}
	if snap.SeveralMatchesOwnerId, err = w.owner(ctx, org, snap.GetFieldMap().GetIdentity()); err != nil {
		return err
	}
	snap.Related = slim(snap.GetRelated())
	s := newSnapshot(snap)
	ranges, people, err := w.ranges(ctx)
	if err != nil {
		return fmt.Errorf("count people: %w", err)
	}
	prepared.People = people
	for _, r := range ranges {
		prepared.Ranges = append(prepared.Ranges, ledger.Input{From: r.From, To: r.To, Rows: min(people, rangeRows)})
	}
	if err := w.countLeavers(ctx, s, prepared); err != nil {
		return err
	}
	if err := w.choosePull(ctx, org, s, prepared); err != nil {
		return err
	}
	prepared.Since = org.ServerTime()
	largest := max(people, prepared.Records)
	if prepared.Contacts = s.skipsContacts() && prepared.PullMode != ledger.PullLookup; prepared.Contacts {
		contacts, err := org.RecordCount(ctx, objectContact)
		if err != nil {
			return refusal(err, "count the Contacts")
		}
		largest = max(largest, contacts)
	}
	prepared.Parts = int(max(1, (largest+conduct.PartRows-1)/conduct.PartRows))
	raw, err := proto.Marshal(snap)
	if err != nil {
		return err
	}
	if err := w.Ledger.SaveSnapshot(ctx, w.run.ID, ledger.Snapshot{Proto: raw}); err != nil {
		return fmt.Errorf("keep what shapes the run: %w", err)
	}
	return w.settle(ctx, ledger.Result{Prepared: prepared, Counts: ledger.Counts{Leavers: prepared.Leavers}})
}

// describeRelated describes the objects that lookups name, and Contact where a Lead map looks at it. An object that the
// user may not see is left out: the check of the field map says what that stops.
func (w *work) describeRelated(ctx context.Context, org *salesforce.Client, m *mapperv1.FieldMap) ([]*salesforcev1.ObjectDescribe, error) {
	var names []string
	for _, p := range allPairs(m) {
		if name := p.GetLookup().GetObject(); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	looks := m.GetIdentity().GetContactAndLead() != mapperv1.ContactAndLead_CONTACT_AND_LEAD_BOTH ||
		m.GetIdentity().GetConverted() == mapperv1.Converted_CONVERTED_UPDATE_CONTACT
	if w.run.Object == objectLead && looks && !slices.Contains(names, objectContact) {
		names = append(names, objectContact)
	}
	var all []*salesforcev1.ObjectDescribe
	for _, name := range names {
		d, _, err := org.Describe(ctx, name, time.Time{})
		if e, ok := errors.AsType[*salesforce.Error](err); ok && e.Code == "NOT_FOUND" {
			continue
		}
		if err != nil {
			return nil, refusal(err, "describe "+name)
		}
		all = append(all, DescribeProto(d))
	}
	return all, nil
}

// slim leaves out of describes what the run does not read: they are kept in one record.
func slim(all []*salesforcev1.ObjectDescribe) []*salesforcev1.ObjectDescribe {
	for _, d := range all {
		for _, f := range d.GetFields() {
			f.Label, f.PicklistValues, f.PicklistLabels = "", nil, nil
		}
	}
	return all
}

// checkDrift asks what stands against the field map in today's org. What concerns single pairs stops them and is noted;
// what concerns all of it ends the run with what would mend it.
func (w *work) checkDrift(ctx context.Context, snap *syncv1.RunSnapshot, prepared *ledger.Prepared) error {
	drift, err := w.Mapper.CheckFieldMap(ctx, &mapperv1.CheckFieldMapRequest{
		FieldMap: snap.GetFieldMap(), Describe: snap.GetDescribe(), Related: snap.GetRelated(),
	})
	if err != nil {
		return fmt.Errorf("check the field map: %w", err)
	}
	var texts []string
	for _, p := range drift.GetProblems() {
		switch p.GetScope() {
		case mapperv1.Scope_SCOPE_PERSON: // such a one concerns single people, whom the plan rejects
			continue
		case mapperv1.Scope_SCOPE_PAIR:
			snap.StoppedTargets = append(snap.StoppedTargets, p.GetField())
		case mapperv1.Scope_SCOPE_NOTE:
		default:
			texts = append(texts, strings.TrimSpace(p.GetMessage()+" "+p.GetRepair()))
			continue
		}
		if len(prepared.Notes) < maxNotes {
			prepared.Notes = append(prepared.Notes, ledger.Note{
				Code: p.GetCode(), Field: p.GetField(), Message: p.GetMessage(), Scope: int32(p.GetScope()), Repair: p.GetRepair(),
			})
		}
	}
	if len(texts) > 0 {
		return fail("The org no longer fits the field map; change one of them and run again. %s", strings.Join(texts, " "))
	}
	snap.RecordFields, snap.PersonFields = drift.GetRecordFields(), drift.GetPersonFields()
	return nil
}

// maxNotes bounds the notes in a run's record.
const maxNotes = 50

// owner finds the user whose record is taken where several match: named by id or username, else the connected user.
func (w *work) owner(ctx context.Context, org *salesforce.Client, id *mapperv1.Identity) (string, error) {
	if id.GetSeveralMatches() != mapperv1.SeveralMatches_SEVERAL_MATCHES_OWNER {
		return "", nil
	}
	name := id.GetSeveralMatchesOwner()
	if strings.HasPrefix(name, "005") {
		if id, err := salesforce.ID18(name); err == nil {
			return id, nil
		}
	}
	if name == "" {
		me, err := org.UserID(ctx)
		return me, refusal(err, "ask who the connected user is")
	}
	columns := []salesforce.Column{{Name: fieldID, Type: salesforce.TypeID}}
	soql, err := salesforce.Select(columns, "User", "WHERE "+salesforce.In("Username", []string{name}))
	if err != nil {
		return "", err
	}
	owner := ""
	err = org.Query(ctx, soql, columns, func(r *salesforce.Record) error {
		owner = r.Values[0]
		return nil
	})
	if err == nil && owner == "" {
		return "", fail("The field map takes the record of %s where several match, and the org has no such user; name another.", name)
	}
	return owner, refusal(err, "look for the user whose records are taken")
}

// countLeavers counts records of people who are gone, and says whether they are flagged. A source without anybody is no
// reason to flag everybody.
func (w *work) countLeavers(ctx context.Context, s *snapshot, p *ledger.Prepared) error {
	if w.run.Person != "" {
		return nil
	}
	var err error
	if p.Leavers, err = w.Directory.CountLeavers(ctx, w.run.Tenant, w.run.ConnectionID); err != nil {
		return fmt.Errorf("count who is gone: %w", err)
	}
	id := s.fieldMap.GetIdentity()
	p.FlagLeavers = id.GetLeavers() == mapperv1.Leavers_LEAVERS_FLAG && s.fields[id.GetLeaversField()].GetUpdateable() && p.People > 0
	return nil
}

// ranges cuts the people whom the run is about into ranges of ids.
func (w *work) ranges(ctx context.Context) ([]directory.Range, int64, error) {
	if p := w.run.Person; p != "" {
		return []directory.Range{onlyPerson(p)}, 1, nil
	}
	return w.Directory.Ranges(ctx, w.run.Tenant, rangeRows)
}

// Rough costs in API calls of reading a whole table.
const (
	restPage = 2000
	// bulkCalls are create, about three polls and the first page of results; bulkPage is what a page of results holds
	// at least.
	bulkCalls = 5
	bulkPage  = 100_000
	// lookupKeys is how many keys of ordinary length fit into one query's URI.
	lookupKeys = 350
)

// choosePull picks the cheapest way to read the org's records, in API calls. Few people are looked up at once: even
// counting the table would cost as much.
func (w *work) choosePull(ctx context.Context, org *salesforce.Client, s *snapshot, p *ledger.Prepared) error {
	lookups := (p.People + lookupKeys - 1) / lookupKeys
	if s.byExternalID() {
		lookups *= 2 // by external id, and by e-mail for adoption
	}
	if p.People <= w.Settings.LookupMax && lookups <= 2 {
		p.PullMode = ledger.PullLookup
		return nil
	}
	records, err := org.RecordCount(ctx, w.run.Object)
	if err != nil {
		return refusal(err, "count the records of "+w.run.Object)
	}
	p.Records = records
	rest := 1 + (records+restPage-1)/restPage
	bulk := bulkCalls + (records+bulkPage-1)/bulkPage
	switch {
	case p.People <= w.Settings.LookupMax && lookups <= min(rest, bulk):
		p.PullMode, p.Records = ledger.PullLookup, p.People
	case rest <= bulk:
		p.PullMode = ledger.PullREST
	default:
		p.PullMode = ledger.PullBulk
	}
	return nil
}

// DescribeProto converts a describe for the other services.
func DescribeProto(d *salesforce.ObjectDescribe) *salesforcev1.ObjectDescribe {
	out := &salesforcev1.ObjectDescribe{Name: d.Name, Label: d.Label}
	for i := range d.Fields {
		f := &d.Fields[i]
		pf := &salesforcev1.FieldDescribe{
			Name: f.Name, Label: f.Label, Type: string(f.Type), Length: int32(f.Length), Precision: int32(f.Precision),
			Scale: int32(f.Scale), Digits: int32(f.Digits), Createable: f.Createable, Updateable: f.Updateable,
			Nillable: f.Nillable, DefaultedOnCreate: f.DefaultedOnCreate, ExternalId: f.ExternalID, IdLookup: f.IDLookup,
			Unique: f.Unique, CaseSensitive: f.CaseSensitive, RestrictedPicklist: f.RestrictedPicklist,
			ReferenceTo: f.ReferenceTo, Calculated: f.Calculated, Filterable: f.Filterable, Custom: f.Custom,
			RelationshipName: f.RelationshipName,
		}
		labels := false
		for _, v := range f.Picklist {
			if v.Active {
				pf.PicklistValues = append(pf.PicklistValues, v.Value)
				pf.PicklistLabels = append(pf.PicklistLabels, v.Label)
				labels = labels || v.Label != v.Value
			}
		}
		if !labels {
			pf.PicklistLabels = nil
		}
		out.Fields = append(out.Fields, pf)
	}
	return out
}
