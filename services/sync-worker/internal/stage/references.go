package stage

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/text/unicode/norm"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/salesforce"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/conduct"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/ledger"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/plan"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/rows"
)

// fieldWebsite is compared by domain.
const fieldWebsite = "Website"

// foldReference folds a reference's key as the mapper does: composed, blanks around it gone and those within it single,
// lower case; of a Website its domain without www.
func foldReference(field, v string) string {
	v = strings.ToLower(strings.Join(strings.Fields(norm.NFC.String(v)), " "))
	if field != fieldWebsite {
		return v
	}
	if _, rest, ok := strings.Cut(v, "://"); ok {
		v = rest
	}
	if at := strings.IndexAny(v, "/?#:"); at >= 0 {
		v = v[:at]
	}
	return strings.TrimPrefix(v, "www.")
}

// maxCached bounds how many references are remembered from page to page.
const maxCached = 100_000

// references finds the records that lookups of planned changes refer to, a page of changes at a time, each key once.
func (w *work) references(ctx context.Context) error {
	s, err := w.loadSnapshot(ctx)
	if err != nil {
		return err
	}
	tasks, err := w.Ledger.Tasks(ctx, w.run.ID)
	if err != nil {
		return err
	}
	r := &referrer{
		w: w, s: s, d: newDecider(w, s), known: make(map[string][]string), missing: make(map[uint64]bool),
		parents: rows.NewRows(w.pub, rows.KindParents, []string{"column", "value"}, 1),
	}
	revoked := ledger.Revoked(tasks)
	var page []pendingChange
	flush := func() error {
		if err := r.resolve(ctx, page); err != nil {
			return err
		}
		for _, p := range page {
			if err := r.one(ctx, p); err != nil {
				return err
			}
		}
		w.rows.Add(int64(len(page)))
		page = page[:0]
		if len(r.known) > maxCached {
			clear(r.known)
		}
		return nil
	}
	for _, t := range tasks {
		if !slices.Contains(ledger.PlanStages, t.Stage) || t.State != ledger.TaskSettled {
			continue
		}
		err := rows.Read(ctx, w.Bus, t, rows.KindPending, 0, &eventv1.PlannedChanges{}, func(m *eventv1.PlannedChanges) error {
			for _, c := range m.GetChanges() {
				switch {
				case revoked.Covers(t.Stage, c.GetPersonId()):
					continue
				case w.draining():
					r.d.n.Deferred++
					if err := r.d.out.Add(ctx, w.deferred(c.GetPersonId())); err != nil {
						return err
					}
					continue
				}
				if page = append(page, pendingChange{m.GetAction(), c}); len(page) >= conduct.PartRows {
					if err := flush(); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if err := r.parents.Close(ctx); err != nil {
		return err
	}
	return r.d.settle(ctx)
}

type pendingChange struct {
	action syncv1.Action
	change *eventv1.PlannedChange
}

type referrer struct {
	w *work
	s *snapshot
	d *decider
	// known are the records found, by reference: none, one or several.
	known map[string][]string
	// missing are references whose record is to be made, by hash.
	missing map[uint64]bool
	parents *rows.Rows
}

// resolve asks for all references of a page that are not known yet, column by column.
func (r *referrer) resolve(ctx context.Context, page []pendingChange) error {
	asked := make(map[int]map[string]string) // column -> folded key -> as it is spelled
	for _, p := range page {
		for column, key := range p.change.GetUnresolved() {
			at := int(column)
			if _, ok := r.known[r.s.reference(at, key)]; ok {
				continue
			}
			if asked[at] == nil {
				asked[at] = make(map[string]string)
			}
			asked[at][key] = plan.Cell(p.change.GetAfter(), at).Text
		}
	}
	for column, keys := range asked {
		found, err := r.w.findParents(ctx, r.s, column, keys)
		if err != nil {
			return err
		}
		for key := range keys {
			r.known[r.s.reference(column, key)] = found[key]
		}
	}
	return nil
}

// findParents looks for the records that keys of one lookup mean: keys holds folded keys with their spelling. Several
// records may have one key.
func (w *work) findParents(ctx context.Context, s *snapshot, column int, keys map[string]string) (map[string][]string, error) {
	l := s.lookups[column]
	org, err := w.client()
	if err != nil {
		return nil, err
	}
	found := make(map[string][]string, len(keys))
	columns := []salesforce.Column{{Name: fieldID, Type: salesforce.TypeID}, {Name: l.GetField()}}
	take := func(r *salesforce.Record) error {
		key := foldReference(l.GetField(), r.Values[1])
		if _, wanted := keys[key]; wanted && !slices.Contains(found[key], r.Values[0]) {
			found[key] = append(found[key], r.Values[0])
		}
		return nil
	}
	if l.GetField() == fieldWebsite {
		err = queryDomains(ctx, org, l.GetObject(), keys, columns, take)
	} else {
		var spelled []string
		for key, value := range keys {
			// Salesforce compares without case, but not without blanks.
			spelled = append(spelled, strings.TrimSpace(value))
			if !strings.EqualFold(key, strings.TrimSpace(value)) {
				spelled = append(spelled, key)
			}
		}
		err = queryIn(ctx, org.Query, l.GetObject(), l.GetField(), spelled, columns, take)
	}
	return found, refusal(err, "look for records of "+l.GetObject())
}

// queryDomains asks for records by the domain of their website, however it is spelled.
func queryDomains(
	ctx context.Context, org *salesforce.Client, object string, domains map[string]string, columns []salesforce.Column, fn func(*salesforce.Record) error,
) error {
	var all []string
	for d := range domains {
		all = append(all, fieldWebsite+" LIKE "+strings.Replace(strings.TrimSuffix(salesforce.QuoteLike(d), "'")+"%'", "'", "'%", 1))
	}
	slices.Sort(all)
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) {
			if size += len(url.QueryEscape(all[n] + " OR ")); size > maxQuery-500 && n > 0 {
				break
			}
			n++
		}
		soql, err := salesforce.Select(columns, object, "WHERE "+strings.Join(all[:n], " OR "))
		if err != nil {
			return err
		}
		if err := org.Query(ctx, soql, columns, fn); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// one puts what was found into a change, and decides.
func (r *referrer) one(ctx context.Context, p pendingChange) error {
	c := p.change
	x := subject{
		Joined: plan.Joined{Person: plan.Keyed{Row: &rowv1.Row{Id: c.GetPersonId()}}, Record: &rowv1.Row{Id: c.GetRecordId()}},
		reason: c.GetReason(), object: c.GetObject(),
	}
	columns := make([]uint32, 0, len(c.GetUnresolved()))
	for column := range c.GetUnresolved() {
		columns = append(columns, column)
	}
	slices.Sort(columns)
	for _, column := range columns {
		at, key := int(column), c.GetUnresolved()[column]
		l, target := r.s.lookups[at], &r.s.targets[at]
		ids := r.known[r.s.reference(at, key)]
		switch {
		case len(ids) > 1:
			slices.Sort(ids)
			x.Others = ids
			return r.d.reject(ctx, x, &mapperv1.Problem{Code: plan.CodeReferenceSeveral, Field: target.Field, Message: fmt.Sprintf(
				"Records %s of %s all have the %s that %s is found by; merge them, or use a field with unique values.", plan.List(ids), l.GetObject(), l.GetField(), target.Field)})
		case len(ids) == 1:
			delete(c.Unresolved, column)
			v := plan.Value{Text: ids[0]}
			if p.action == syncv1.Action_ACTION_UPDATE && target.Equal(v, plan.Cell(c.GetBefore(), at)) {
				v = plan.Value{Absent: true}
			}
			plan.Put(c.GetAfter(), at, v)
		case l.GetCreateIfMissing():
			if err := r.wanting(ctx, at, key, plan.Cell(c.GetAfter(), at).Text); err != nil {
				return err
			}
		case l.keep:
			delete(c.Unresolved, column)
			plan.Put(c.GetAfter(), at, plan.Value{Absent: true})
		default:
			return r.d.reject(ctx, x, &mapperv1.Problem{Code: plan.CodeReferenceMissing, Field: target.Field, Message: fmt.Sprintf(
				"No record of %s has the %s that %s is found by; make it in Salesforce, or let the pair create what is missing.", l.GetObject(), l.GetField(), target.Field)})
		}
	}
	if len(c.GetUnresolved()) == 0 {
		c.Unresolved = nil
	}
	if p.action == syncv1.Action_ACTION_UPDATE && len(c.GetAfter().GetAbsent()) == len(c.GetAfter().GetValues()) {
		return r.d.unchanged(ctx, x)
	}
	return r.d.plan(ctx, p.action, c)
}

// wanting notes a record that is to be made before apply, once.
func (r *referrer) wanting(ctx context.Context, column int, key, value string) error {
	name := r.s.reference(column, key)
	h := xxhash.Sum64String(name)
	if r.missing[h] {
		return nil
	}
	r.missing[h] = true
	r.d.result.LookupCreates[r.s.lookups[column].GetObject()]++
	return r.parents.Add(ctx, 0, key, &rowv1.Row{Id: name, Values: []string{fmt.Sprint(column), value}})
}
