package plan

import (
	"slices"

	eventv1 "github.com/catalogsync/catalogsync/gen/catalogsync/event/v1"
	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
)

// Value is one cell: text, null or absent.
type Value struct {
	Text   string
	Null   bool
	Absent bool
}

// Cell returns column i of a row. Absent for a row or column that is not there.
func Cell(r *rowv1.Row, i int) Value {
	if r == nil || i < 0 || i >= len(r.GetValues()) || slices.Contains(r.GetAbsent(), uint32(i)) {
		return Value{Absent: true}
	}
	if slices.Contains(r.GetNull(), uint32(i)) {
		return Value{Null: true}
	}
	return Value{Text: r.GetValues()[i]}
}

// Put changes column i of a row.
func Put(r *rowv1.Row, i int, v Value) {
	drop := func(x uint32) bool { return x == uint32(i) }
	r.Values[i], r.Null, r.Absent = v.Text, slices.DeleteFunc(r.Null, drop), slices.DeleteFunc(r.Absent, drop)
	switch {
	case v.Absent:
		r.Absent = append(r.Absent, uint32(i))
	case v.Null:
		r.Null = append(r.Null, uint32(i))
	}
}

// Set appends a value as the row's next column.
func Set(r *rowv1.Row, v Value) {
	i := uint32(len(r.GetValues()))
	r.Values = append(r.Values, v.Text)
	switch {
	case v.Absent:
		r.Absent = append(r.Absent, i)
	case v.Null:
		r.Null = append(r.Null, i)
	}
}

// Column is a target of the field map as the plan sees it.
type Column struct {
	// Field is the Salesforce field.
	Field string
	// Type is its Salesforce type.
	Type string
	// Scale is how many digits a number keeps behind the point.
	Scale int
	// Record is its index among the pulled record's columns; -1 where it is not read.
	Record int
}

// Create makes the change that creates a record. What is null or absent is not sent.
func Create(person, key string, wanted *rowv1.Row, columns []Column) *eventv1.PlannedChange {
	after := &rowv1.Row{}
	for i := range columns {
		v := Cell(wanted, i)
		if v.Null || blank(v.Text) {
			v = Value{Absent: true}
		}
		Set(after, v)
	}
	return &eventv1.PlannedChange{PersonId: person, Key: key, After: after}
}

// Update makes the change that brings a record to what is wanted, or nil when it is right already. Only what differs
// is set.
func Update(person, key string, wanted, record *rowv1.Row, columns []Column) *eventv1.PlannedChange {
	after, before := &rowv1.Row{}, &rowv1.Row{}
	differs := false
	for i, c := range columns {
		want, have := Cell(wanted, i), Cell(record, c.Record)
		if want.Absent || c.Equal(want, have) {
			Set(after, Value{Absent: true})
			Set(before, Value{Absent: true})
			continue
		}
		differs = true
		if blank(want.Text) {
			want = Value{Null: true}
		}
		Set(after, want)
		if have.Absent {
			have = Value{Null: true}
		}
		Set(before, have)
	}
	if !differs {
		return nil
	}
	return &eventv1.PlannedChange{PersonId: person, Key: key, RecordId: record.GetId(), After: after, Before: before}
}
