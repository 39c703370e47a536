package stage

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
)

// leaverPage is how many leavers are read at once: as many as one call returns.
const leaverPage = 2000

// findLeavers finds records of people who are gone and do not carry the flag yet, a page of people at a time.
func (f *follower) findLeavers(ctx context.Context) error {
	if !slices.ContainsFunc(f.tasks, func(t ledger.Task) bool {
		return t.Stage == ledger.StagePrepare && t.Result != nil && t.Result.Prepared != nil && t.Result.Prepared.FlagLeavers
	}) {
		return nil
	}
	org, err := f.w.client()
	if err != nil {
		return err
	}
	flag := f.s.leaversColumn()
	want := f.leaversFlag()
	columns := []salesforce.Column{f.s.record[0], {Name: flag.Field, Type: salesforce.FieldType(flag.Type)}}
	if f.s.converted >= 0 {
		columns = append(columns, f.s.record[f.s.converted])
	}
	for after := ""; ; {
		page, err := f.w.Directory.Leavers(ctx, f.w.run.Tenant, f.w.run.ConnectionID, after, leaverPage)
		if err != nil {
			return fmt.Errorf("read who is gone: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1].Person
		person := make(map[string]string, len(page))
		for _, l := range page {
			person[l.Record] = l.Person
		}
		ids := slices.DeleteFunc(slices.Sorted(maps.Keys(person)), func(id string) bool {
			return f.w.run.Object == objectLead && id[:min(3, len(id))] == contactPrefix
		})
		err = org.RetrieveByIDs(ctx, f.w.run.Object, ids, columns, func(id string, r *salesforce.Record) error {
			if r == nil || len(columns) > 2 && r.Values[2] == "true" {
				return nil // deleted, or a Lead that was converted and cannot be changed
			}
			have := plan.Value{Text: r.Values[1], Null: r.Null[1]}
			if flag.Equal(want, have) {
				return nil
			}
			h := xxhash.Sum64String(r.Values[0])
			if _, twice := f.leavers[h]; twice {
				return nil // of two people who had the record one after the other
			}
			f.leavers[h] = struct{}{}
			x := placed{how: toFlag, subject: subject{reason: plan.ReasonLeaver, Joined: plan.Joined{
				Person: plan.Keyed{Row: &rowv1.Row{Id: person[id]}}, Record: &rowv1.Row{Id: r.Values[0]},
			}}}
			plan.Set(x.Record, have)
			return f.keep(ctx, x)
		})
		if err != nil {
			return refusal(err, "read the records of people who are gone")
		}
	}
}

// flag plans the flag of a record that nobody else has.
func (f *follower) flag(ctx context.Context, x placed) error {
	h := xxhash.Sum64String(x.Record.GetId())
	if _, left := f.leavers[h]; !left || f.landing[h] > 0 {
		return nil // the plan or a merge made it somebody else's
	}
	c := &eventv1.PlannedChange{
		PersonId: x.Person.Row.GetId(), RecordId: x.Record.GetId(), After: &rowv1.Row{}, Before: &rowv1.Row{}, Reason: x.reason,
	}
	plan.Set(c.After, f.leaversFlag())
	plan.Set(c.Before, plan.Cell(x.Record, 0))
	return f.d.plan(ctx, syncv1.Action_ACTION_UPDATE, c)
}

// leaversFlag is the value that flags leavers.
func (f *follower) leaversFlag() plan.Value {
	return plan.Value{Text: f.s.fieldMap.GetIdentity().GetLeaversValue()}
}
