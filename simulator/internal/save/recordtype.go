package save

import (
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// newRecordType checks a record type that is about to be made, and gives its object the field RecordTypeId.
func (b *batch) newRecordType(t *store.Table) *Error {
	object := b.values[t.Object.Field("SobjectType").Slot]
	if !b.db.Schema.RecordTypes(object) {
		return &Error{Code: "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", Message: "SObject Type Name: bad value for restricted picklist field: " + object, Fields: []string{"SobjectType"}}
	}
	of := b.db.MustTable(b.db.Schema.Object(object).Name)
	of.Index(of.Object.Field("RecordTypeId"))
	return nil
}

// recordType checks a value of RecordTypeId: an active record type of the object itself.
func (b *batch) recordType(t *store.Table, id string) *Error {
	types := b.db.MustTable("RecordType")
	if n := types.Serial(id); n != 0 {
		r := types.Row(n)
		get := func(f string) string { return types.Value(n, r, types.Object.Field(f)) }
		if r.State == store.Live && get("IsActive") == "true" && strings.EqualFold(get("SobjectType"), t.Object.Name) {
			return nil
		}
	}
	return &Error{Code: "INVALID_CROSS_REFERENCE_KEY", Message: "Record Type ID: this ID value isn't valid for the user: " + id, Fields: []string{"RecordTypeId"}}
}
