package plan

import (
	"slices"
	"strings"

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

// Equal reports whether a record already holds what is wanted, after the normalisation that Salesforce itself applies
// to a field of the type. Both sides are in canonical spelling.
func Equal(fieldType string, want, have Value) bool {
	w, h := normalise(fieldType, want), normalise(fieldType, have)
	if w.Null || h.Null {
		return w.Null == h.Null
	}
	if w.Text == h.Text {
		return true
	}
	switch fieldType {
	case "email", "picklist":
		return strings.EqualFold(w.Text, h.Text)
	case "multipicklist":
		return sameSet(w.Text, h.Text)
	case "id", "reference":
		// 15- and 18-character spellings of one id differ by the checksum alone.
		return len(w.Text) >= 15 && len(h.Text) >= 15 && w.Text[:15] == h.Text[:15]
	}
	return false
}

// normalise maps the spellings that Salesforce stores alike onto one: surrounding white space is trimmed, line breaks
// are LF, the empty text is null, and so is what is absent.
func normalise(fieldType string, v Value) Value {
	if v.Absent || v.Null {
		return Value{Null: true}
	}
	t := v.Text
	if fieldType == "textarea" && strings.Contains(t, "\r") {
		t = strings.ReplaceAll(strings.ReplaceAll(t, "\r\n", "\n"), "\r", "\n")
	}
	t = strings.TrimSpace(t)
	if t == "" && fieldType != "boolean" {
		return Value{Null: true}
	}
	return Value{Text: t}
}

func sameSet(a, b string) bool {
	as, bs := strings.Split(a, ";"), strings.Split(b, ";")
	slices.Sort(as)
	slices.Sort(bs)
	return slices.EqualFunc(as, bs, strings.EqualFold)
}

// Column is a target of the field map as the plan sees it.
type Column struct {
	// Field is the Salesforce field.
	Field string
	// Type is its Salesforce type.
	Type string
	// Record is its index among the pulled record's columns.
	Record int
}

// Create makes the change that creates a record. What is null or absent is not sent.
func Create(person, key string, wanted *rowv1.Row, columns []Column) *eventv1.PlannedChange {
	after := &rowv1.Row{}
	for i := range columns {
		v := Cell(wanted, i)
		if v.Null {
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
		if want.Absent || Equal(c.Type, want, have) {
			Set(after, Value{Absent: true})
			Set(before, Value{Absent: true})
			continue
		}
		differs = true
		if want.Text == "" {
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
