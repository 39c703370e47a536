package stage

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

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
	describe := DescribeProto(described)
	fm, err := w.FieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{
		ConnectionId: w.run.ConnectionID, Version: w.run.FieldMapVersion,
	})
	if err != nil {
		return fmt.Errorf("read the field map: %w", err)
	}
	drift, err := w.Mapper.CheckFieldMap(ctx, &mapperv1.CheckFieldMapRequest{FieldMap: fm.GetFieldMap(), Describe: describe})
	if err != nil {
		return fmt.Errorf("check the field map: %w", err)
	}
	var texts []string
	for _, p := range drift.GetProblems() {
		if p.GetScope() != mapperv1.Scope_SCOPE_PERSON { // such a one concerns single people, whom the plan rejects
			texts = append(texts, p.GetMessage())
		}
	}
	if len(texts) > 0 {
		return fail("The org no longer fits the field map; change one of them and run again. %s", strings.Join(texts, " "))
	}
	ranges, people, err := w.ranges(ctx)
	if err != nil {
		return fmt.Errorf("count people: %w", err)
	}
	prepared := &ledger.Prepared{People: people}
	for _, r := range ranges {
		prepared.Ranges = append(prepared.Ranges, ledger.Input{From: r.From, To: r.To, Rows: min(people, rangeRows)})
	}
	snap := &syncv1.RunSnapshot{FieldMap: fm.GetFieldMap(), Describe: describe, OrgId: w.run.OrgID}
	if err := w.choosePull(ctx, org, newSnapshot(snap), prepared); err != nil {
		return err
	}
	prepared.Since = org.ServerTime()
	largest := max(people, prepared.Records)
	prepared.Parts = int(max(1, (largest+conduct.PartRows-1)/conduct.PartRows))
	raw, err := proto.Marshal(snap)
	if err != nil {
		return err
	}
	if err := w.Ledger.SaveSnapshot(ctx, w.run.ID, ledger.Snapshot{Proto: raw}); err != nil {
		return fmt.Errorf("keep what shapes the run: %w", err)
	}
	return w.settle(ctx, ledger.Result{Prepared: prepared})
}

// ranges cuts the people whom the run is about into ranges of ids.
func (w *work) ranges(ctx context.Context) ([]directory.Range, int64, error) {
	if p := w.run.Person; p != "" {
		return []directory.Range{{From: p[:len(p)-1], To: p}}, 1, nil // a few others may be in it, whom the snapshot leaves out
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
