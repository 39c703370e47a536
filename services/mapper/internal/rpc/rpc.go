// Package rpc owns how field maps, describes, people and problems look on the wire: the way between the generated types
// and the mapper's core, and nothing else.
package rpc

import (
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
func row(what string, columns, n int, r *rowv1.Row) (fieldmap.Row, error) {
	if len(r.GetValues()) != columns {
		return fieldmap.Row{}, errs.New(errs.Invalid, "row_length",
			"%s %d of the batch has %d values and the header names %d columns: send one value per column", what, n, len(r.GetValues()), columns)
	}
	return fieldmap.Row{Values: r.GetValues(), Null: r.GetNull(), Absent: r.GetAbsent()}, nil
}

// Keys answers one batch of MatchKeys.
func Keys(m *fieldmap.Mapper, people *mapperv1.People) (*mapperv1.MatchKeysResponse, error) {
	n := len(people.GetRows())
	keys, refs := make([]mapperv1.MatchKey, n), make([]*mapperv1.MatchKey, n)
	for i, person := range people.GetRows() {
		r, err := row("person", m.Columns(), i+1, person)
		if err != nil {
			return nil, err
		}
		refs[i] = &keys[i]
		refs[i].ExternalId, refs[i].Email = m.Keys(r)
	}
	return &mapperv1.MatchKeysResponse{Keys: refs}, nil
}

// People answers one batch of MapPeople.
func People(m *fieldmap.Mapper, batch *mapperv1.PeopleAndRecords) (*mapperv1.MapPeopleResponse, error) {
	b := newBatch(m, len(batch.GetRows()))
	for i, one := range batch.GetRows() {
		person, err := row("person", m.Columns(), i+1, one.GetPerson())
		if err != nil {
			return nil, err
		}
		var record *fieldmap.Row
		if one.GetRecord() != nil {
			r, err := row("record", m.RecordColumns(), i+1, one.GetRecord())
			if err != nil {
				return nil, err
			}
			record = &r
		}
		m.Map(person, record, b.next(i))
		b.put(i, one.GetPerson().GetId())
	}
	return &mapperv1.MapPeopleResponse{People: b.refs}, nil
}

// Records answers one batch of MapRecords.
func Records(m *fieldmap.Mapper, batch *mapperv1.Records) (*mapperv1.MapRecordsResponse, error) {
	b := newBatch(m, len(batch.GetRows()))
	for i, one := range batch.GetRows() {
		record, err := row("record", m.RecordColumns(), i+1, one)
		if err != nil {
			return nil, err
		}
		m.Import(record, b.next(i))
		b.put(i, one.GetId())
	}
	return &mapperv1.MapRecordsResponse{People: b.refs}, nil
}

// mapped is a person's place in an answer: one allocation for both messages of all people of a batch.
type mapped struct {
	person mapperv1.MappedPerson
	values rowv1.Row
}

// batch is an answer that is being filled, with as few allocations as it can do with.
type batch struct {
	width  int
	places []mapped
	refs   []*mapperv1.MappedPerson
	cells  []string
	marks  []uint32 // indexes of null and absent columns of all people
	out    fieldmap.Mapped
}

func newBatch(m *fieldmap.Mapper, n int) *batch {
	width := len(m.Targets())
	return &batch{width: width, places: make([]mapped, n), refs: make([]*mapperv1.MappedPerson, n), cells: make([]string, n*width)}
}

// next returns what the person's values are to be put into.
func (b *batch) next(i int) *fieldmap.Mapped {
	b.out.Values = b.cells[i*b.width : i*b.width : (i+1)*b.width]
	return &b.out
}

// put makes what was put there the answer for person i.
func (b *batch) put(i int, id string) {
	place := &b.places[i]
	place.values.Id, place.values.Values = id, b.out.Values
	place.values.Null, place.values.Absent = b.kept(b.out.Null), b.kept(b.out.Absent)
	place.person.Values, place.person.SkippedBy = &place.values, b.out.SkippedBy
	place.person.Problems, place.person.Notes = Problems(b.out.Problems), Problems(b.out.Notes)
	for _, l := range b.out.Lookups {
		place.person.Lookups = append(place.person.Lookups, &mapperv1.LookupKey{Column: uint32(l.Column), Key: l.Key})
	}
	b.refs[i] = &place.person
}

// kept copies indexes, which the next person overwrites, into a block that many people share.
func (b *batch) kept(marks []uint32) []uint32 {
	if len(marks) == 0 {
		return nil
	}
	if cap(b.marks)-len(b.marks) < len(marks) {
		b.marks = make([]uint32, 0, max(256, len(marks)))
	}
	from := len(b.marks)
	b.marks = append(b.marks, marks...)
	return b.marks[from:len(b.marks):len(b.marks)]
}
