package compose

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	directoryv1 "github.com/catalogsync/catalogsync/gen/catalogsync/directory/v1"
	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
)

const (
	// attributePrefix begins the names of custom attributes among the Catalog fields.
	attributePrefix = "attributes."
	// suggestSample is how many people are looked at for suggestions, trySample how many a field map is tried on where
	// nobody is named, and maxTry how many may be named.
	suggestSample, trySample, maxTry = 200, 20, 100
	// maxRelated is how many objects besides its own a field map may need the describe of. Each is a call of the org.
	maxRelated = 20
	// atOnce is how many questions are asked at the same time for one request.
	atOnce = 8
)

// fieldMap prepares the requests about field maps and the fields that they name. What is stored is read without asking the org, so that it can be read
// when the connection has ended; what is checked or tried needs the org's describes.
func (c *Composer) fieldMap(ctx context.Context, req any) error {
	switch r := req.(type) {
	case *mapperv1.GetFieldMapRequest:
		return c.connection(ctx, &r.ConnectionId)
	case *mapperv1.ListFieldMapsRequest:
		return c.connection(ctx, &r.ConnectionId)
	case *mapperv1.DiffFieldMapsRequest:
		return c.connection(ctx, &r.ConnectionId)
	case *mapperv1.SaveFieldMapRequest:
		return c.saveFieldMap(ctx, r)
	case *mapperv1.RollbackFieldMapRequest:
		return c.rollbackFieldMap(ctx, r)
	case *mapperv1.SuggestPairsRequest:
		return c.suggestPairs(ctx, r)
	case *mapperv1.TryFieldMapRequest:
		return c.tryFieldMap(ctx, r)
	case *syncv1.ListObjectsRequest:
		err := c.connection(ctx, &r.ConnectionId)
		if err == nil {
			r.Grant, err = c.grant(ctx, r.GetConnectionId())
		}
		return err
	case *syncv1.DescribeObjectRequest:
		err := c.connection(ctx, &r.ConnectionId)
		if err == nil {
			r.Grant, err = c.grant(ctx, r.GetConnectionId())
		}
		return err
	}
	return nil
}

func (c *Composer) saveFieldMap(ctx context.Context, r *mapperv1.SaveFieldMapRequest) error {
	if r.FieldMap == nil {
		r.FieldMap = &mapperv1.FieldMap{}
	}
	if err := c.ownMap(ctx, r.GetFieldMap()); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		r.Describe, r.Related, err = c.describes(ctx, r.GetFieldMap())
		return err
	})
	g.Go(func() (err error) {
		r.Attributes, err = c.attributes(ctx)
		return err
	})
	return g.Wait()
}

func (c *Composer) rollbackFieldMap(ctx context.Context, r *mapperv1.RollbackFieldMapRequest) error {
	if r.GetVersion() < 1 {
		return errs.New(errs.Invalid, "bad_version", "version is %d: name the version to go back to, from 1", r.GetVersion())
	}
	if err := c.connection(ctx, &r.ConnectionId); err != nil {
		return err
	}
	old, err := c.fieldMaps.GetFieldMap(ctx, &mapperv1.GetFieldMapRequest{ConnectionId: r.GetConnectionId(), Version: r.GetVersion()})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		r.Describe, r.Related, err = c.describes(ctx, old.GetFieldMap())
		return err
	})
	g.Go(func() (err error) {
		r.Attributes, err = c.attributes(ctx)
		return err
	})
	return g.Wait()
}

func (c *Composer) suggestPairs(ctx context.Context, r *mapperv1.SuggestPairsRequest) error {
	if r.GetObject() == "" {
		return errs.New(errs.Invalid, "missing_object", "object is missing: name the Salesforce object to suggest pairs for, such as Contact or Lead")
	}
	if err := c.connection(ctx, &r.ConnectionId); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		grant, err := c.grant(ctx, r.GetConnectionId())
		if err != nil {
			return err
		}
		r.Describe, err = c.describe(ctx, r.GetConnectionId(), r.GetObject(), grant)
		return err
	})
	g.Go(func() (err error) {
		r.People, err = c.sample(ctx, suggestSample)
		return err
	})
	return g.Wait()
}

func (c *Composer) tryFieldMap(ctx context.Context, r *mapperv1.TryFieldMapRequest) error {
	if n := len(r.GetPersonIds()); n > maxTry {
		return errs.New(errs.Invalid, "too_many_people", "the request names %d people and may name %d: name fewer, or plan a run, which looks at everybody", n, maxTry)
	}
	if r.FieldMap == nil {
		r.FieldMap = &mapperv1.FieldMap{}
	}
	if err := c.ownMap(ctx, r.GetFieldMap()); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		r.Describe, r.Related, err = c.describes(ctx, r.GetFieldMap())
		return err
	})
	g.Go(func() (err error) {
		if len(r.GetPersonIds()) > 0 {
			r.People, err = c.named(ctx, r.GetPersonIds())
		} else {
			r.People, err = c.sample(ctx, trySample)
		}
		return err
	})
	return g.Wait()
}

// ownMap makes sure that a field map names an object, and a connection of the caller.
func (c *Composer) ownMap(ctx context.Context, fm *mapperv1.FieldMap) error {
	if fm.GetObject() == "" {
		return errs.New(errs.Invalid, "missing_object", "field_map.object is missing: name the Salesforce object to write to, Contact or Lead")
	}
	return c.connection(ctx, &fm.ConnectionId)
}

// describe asks the org for an object's describe.
func (c *Composer) describe(ctx context.Context, connection, object, grant string) (*salesforcev1.ObjectDescribe, error) {
	res, err := c.objects.DescribeObject(ctx, &syncv1.DescribeObjectRequest{ConnectionId: connection, Object: object, Grant: grant})
	return res.GetDescribe(), err
}

// describes asks for the describe of a field map's object and of the objects that it relates to.
func (c *Composer) describes(ctx context.Context, fm *mapperv1.FieldMap) (object *salesforcev1.ObjectDescribe, related []*salesforcev1.ObjectDescribe, err error) {
	connection := fm.GetConnectionId()
	grant, err := c.grant(ctx, connection)
	if err != nil {
		return nil, nil, err
	}
	object, err = c.describe(ctx, connection, fm.GetObject(), grant)
	if err != nil {
		return nil, nil, err
	}
	names := relatedObjects(fm, object)
	if len(names) > maxRelated {
		return nil, nil, errs.New(errs.Invalid, "too_many_objects", "the field map's lookups name %d objects and may name %d: leave some out", len(names), maxRelated)
	}
	related = make([]*salesforcev1.ObjectDescribe, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, name := range names {
		g.Go(func() (err error) {
			related[i], err = c.describe(ctx, connection, name, grant)
			if name == contact && errs.KindOf(err) == errs.NotFound {
				return nil // an org in which the user sees Leads alone
			}
			return err
		})
	}
	err = g.Wait()
	return object, slices.DeleteFunc(related, func(d *salesforcev1.ObjectDescribe) bool { return d == nil }), err
}

// Objects of which one becomes the other.
const contact, lead = "Contact", "Lead"

// relatedObjects are the objects whose fields a field map names besides its own: those of lookups, those behind
// RELATION.FIELD in the sources of an import, and Contact for a Lead map, because a Lead becomes one.
func relatedObjects(fm *mapperv1.FieldMap, object *salesforcev1.ObjectDescribe) (names []string) {
	add := func(name string) {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		if name != "" && !same(object.GetName()) && !slices.ContainsFunc(names, same) {
			names = append(names, name)
		}
	}
	behind := func(source string) {
		relation, _, ok := strings.Cut(source, ".")
		for _, f := range object.GetFields() {
			if ok && f.GetRelationshipName() != "" && strings.EqualFold(f.GetRelationshipName(), relation) && len(f.GetReferenceTo()) > 0 {
				add(f.GetReferenceTo()[0])
			}
		}
	}
	pairs := fm.GetPairs()
	for _, o := range fm.GetOverrides() {
		pairs = append(pairs[:len(pairs):len(pairs)], o.GetPairs()...)
	}
	for _, p := range pairs {
		add(p.GetLookup().GetObject())
		if fm.GetDirection() == mapperv1.Direction_DIRECTION_IMPORT {
			behind(p.GetSource())
			behind(p.GetSecondarySource())
		}
	}
	if strings.EqualFold(object.GetName(), lead) {
		add(contact)
	}
	return names
}

// attributes returns the Catalog's custom attributes, as attributes.NAME.
func (c *Composer) attributes(ctx context.Context) ([]string, error) {
	res, err := c.people.ListPersonFields(ctx, &directoryv1.ListPersonFieldsRequest{})
	return slices.DeleteFunc(res.GetFields(), func(f string) bool { return !strings.HasPrefix(f, attributePrefix) }), err
}

// sample returns the first n people of the directory.
func (c *Composer) sample(ctx context.Context, n int32) (*rowv1.Batch, error) {
	var people []*directoryv1.Person
	g, group := errgroup.WithContext(ctx)
	g.Go(func() error {
		res, err := c.people.ListPeople(group, &directoryv1.ListPeopleRequest{PageSize: n})
		people = res.GetPeople()
		return err
	})
	var columns []string
	g.Go(func() error {
		res, err := c.people.ListPersonFields(group, &directoryv1.ListPersonFieldsRequest{})
		columns = res.GetFields()
		return err
	})
	err := g.Wait()
	return batch(columns, people), err
}

// named returns the people with the ids, in their order.
func (c *Composer) named(ctx context.Context, ids []string) (*rowv1.Batch, error) {
	people := make([]*directoryv1.Person, len(ids))
	g, group := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, id := range ids {
		g.Go(func() (err error) {
			people[i], err = c.person(group, id)
			return err
		})
	}
	var columns []string
	g.Go(func() error {
		res, err := c.people.ListPersonFields(group, &directoryv1.ListPersonFieldsRequest{})
		columns = res.GetFields()
		return err
	})
	err := g.Wait()
	return batch(columns, people), err
}

// person finds somebody by id, or by an e-mail that nobody else has.
func (c *Composer) person(ctx context.Context, id string) (*directoryv1.Person, error) {
	res, err := c.people.GetPerson(ctx, &directoryv1.GetPersonRequest{Id: id})
	if errs.KindOf(err) != errs.NotFound || !strings.Contains(id, "@") {
		return res.GetPerson(), err
	}
	found, listErr := c.people.ListPeople(ctx, &directoryv1.ListPeopleRequest{Prefix: id, PageSize: trySample})
	if listErr != nil {
		return nil, listErr
	}
	same := slices.DeleteFunc(found.GetPeople(), func(p *directoryv1.Person) bool { return !strings.EqualFold(p.GetFields()["email"], id) })
	switch len(same) {
	case 0:
		return nil, err
	case 1:
		return same[0], nil
	}
	return nil, errs.New(errs.Invalid, "several_people", "%d people have the e-mail %s, among them %s and %s: name one by id", len(same), id, same[0].GetId(), same[1].GetId())
}

// batch writes people as rows.
func batch(columns []string, people []*directoryv1.Person) *rowv1.Batch {
	b := &rowv1.Batch{Columns: columns}
	for _, p := range people {
		row := &rowv1.Row{Id: p.GetId(), Values: make([]string, len(columns))}
		for i, column := range columns {
			v, ok := p.GetFields()[column]
			switch {
			case ok:
				row.Values[i] = v
			case column == "id":
				row.Values[i] = p.GetId()
			default:
				row.Absent = append(row.Absent, uint32(i))
			}
		}
		b.Rows = append(b.Rows, row)
	}
	return b
}
