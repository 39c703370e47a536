// Package rpc owns how field maps, describes, people and problems look on the wire: the way between the generated types
// and the mapper's core, and nothing else.
package rpc

import (
	"slices"
	"time"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// Object returns what a describe says.
func Object(d *salesforcev1.ObjectDescribe) fieldmap.Object {
	o := fieldmap.Object{Name: d.GetName(), Fields: make([]fieldmap.Field, 0, len(d.GetFields()))}
	for _, f := range d.GetFields() {
		o.Fields = append(o.Fields, fieldmap.Field{
			Spec: values.Spec{
				Name: f.GetName(), Type: f.GetType(), Length: int(f.GetLength()),
				Precision: int(f.GetPrecision()), Scale: int(f.GetScale()), Digits: int(f.GetDigits()),
				Restricted: f.GetRestrictedPicklist(), Picklist: f.GetPicklistValues(), Labels: f.GetPicklistLabels(),
			},
			Label: f.GetLabel(), Createable: f.GetCreateable(), Updateable: f.GetUpdateable(), Nillable: f.GetNillable(),
			DefaultedOnCreate: f.GetDefaultedOnCreate(), ExternalID: f.GetExternalId(), Unique: f.GetUnique(),
			CaseSensitive: f.GetCaseSensitive(), Calculated: f.GetCalculated(), IDLookup: f.GetIdLookup(),
			ReferenceTo: f.GetReferenceTo(), Relationship: f.GetRelationshipName(),
		})
	}
	return o
}

// Objects returns what describes say.
func Objects(describes []*salesforcev1.ObjectDescribe) []fieldmap.Object {
	out := make([]fieldmap.Object, len(describes))
	for i, d := range describes {
		out[i] = Object(d)
	}
	return out
}

// Header returns how to map, from the first message of a stream.
func Header(h *mapperv1.MapHeader) (fieldmap.Map, fieldmap.Header) {
	now := time.Time{}
	if h.GetNow() != nil {
		now = h.GetNow().AsTime()
	}
	return Map(h.GetFieldMap()), fieldmap.Header{
		Object: Object(h.GetDescribe()), PersonColumns: h.GetPersonColumns(), RecordColumns: h.GetRecordColumns(),
		Now: now, Stopped: h.GetStoppedTargets(),
	}
}

// Problems returns the problems for the wire; nil for none.
func Problems(problems []values.Problem) []*mapperv1.Problem {
	if len(problems) == 0 {
		return nil
	}
	out := make([]*mapperv1.Problem, len(problems))
	for i, p := range problems {
		out[i] = &mapperv1.Problem{Code: p.Code, Field: p.Field, Message: p.Message, Scope: mapperv1.Scope(p.Scope), Repair: p.Repair}
	}
	return out
}

// row checks that a row has as many values as the header has columns. n counts the rows of a batch from 1.
func row(m *fieldmap.Mapper, n int, r *rowv1.Row) (fieldmap.Row, error) {
	if len(r.GetValues()) != m.Columns() {
		return fieldmap.Row{}, errs.New(errs.Invalid, "row_length",
			"person %d of the batch has %d values and the header names %d columns: send one value per column", n, len(r.GetValues()), m.Columns())
	}
	return fieldmap.Row{Values: r.GetValues(), Null: r.GetNull(), Absent: r.GetAbsent()}, nil
}

// Keys answers one batch of MatchKeys.
func Keys(m *fieldmap.Mapper, people *mapperv1.People) (*mapperv1.MatchKeysResponse, error) {
	n := len(people.GetRows())
	keys, refs := make([]mapperv1.MatchKey, n), make([]*mapperv1.MatchKey, n)
	for i, person := range people.GetRows() {
		r, err := row(m, i+1, person)
		if err != nil {
			return nil, err
		}
		refs[i] = &keys[i]
		refs[i].ExternalId, refs[i].Email = m.Keys(r)
	}
	return &mapperv1.MatchKeysResponse{Keys: refs}, nil
}

// mapped is a person's place in an answer: one allocation for both messages of all people of a batch.
type mapped struct {
	person mapperv1.MappedPerson
	values rowv1.Row
}

// People answers one batch of MapPeople.
func People(m *fieldmap.Mapper, batch *mapperv1.PeopleAndRecords) (*mapperv1.MapPeopleResponse, error) {
	n, width := len(batch.GetRows()), m.Pairs()
	places, refs, cells := make([]mapped, n), make([]*mapperv1.MappedPerson, n), make([]string, n*width)
	var out fieldmap.Mapped
	for i, one := range batch.GetRows() {
		r, err := row(m, i+1, one.GetPerson())
		if err != nil {
			return nil, err
		}
		out.Values = cells[i*width : i*width : (i+1)*width]
		m.Map(r, record(one.GetRecord()), &out)
		place := &places[i]
		place.values.Id, place.values.Values = one.GetPerson().GetId(), out.Values
		place.values.Null, place.values.Absent = slices.Clone(out.Null), slices.Clone(out.Absent)
		place.person.Values, place.person.Problems = &place.values, Problems(out.Problems)
		refs[i] = &place.person
	}
	return &mapperv1.MapPeopleResponse{People: refs}, nil
}

func record(r *rowv1.Row) *fieldmap.Row {
	if r == nil {
		return nil
	}
	return &fieldmap.Row{Values: r.GetValues(), Null: r.GetNull(), Absent: r.GetAbsent()}
}
