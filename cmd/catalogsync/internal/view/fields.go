package view

import (
	"fmt"
	"strings"

	salesforcev1 "github.com/catalogsync/catalogsync/gen/catalogsync/salesforce/v1"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// Objects shows objects of an org.
func Objects(s Style, list []*syncv1.ObjectSummary) string {
	t := table{columns: []column{{title: "OBJECT", whole: true}, {title: "LABEL"}, {title: "THE USER MAY"}}}
	for _, o := range list {
		may := "read"
		if o.GetCreateable() {
			may += ", create"
		}
		if o.GetUpdateable() {
			may += ", update"
		}
		t.addTones(cell{text: o.GetName()}, cell{text: o.GetLabel()}, cell{may, Dim})
	}
	return t.String(s)
}

// maxValues is how many values of a picklist are shown.
const maxValues = 8

// Fields shows fields of an object.
func Fields(s Style, list []*salesforcev1.FieldDescribe) string {
	t := table{columns: []column{{title: "FIELD", whole: true}, {title: "LABEL", drop: 1}, {title: "TYPE"}, {title: "REMARKS"}}}
	for _, f := range list {
		kind := f.GetType()
		if f.GetLength() > 0 {
			kind += fmt.Sprintf("(%d)", f.GetLength())
		}
		t.addTones(cell{text: f.GetName()}, cell{text: f.GetLabel()}, cell{kind, Dim}, cell{strings.Join(remarks(f), ", "), Dim})
	}
	return t.String(s)
}

// remarks are what decides whether and how a field can be mapped.
func remarks(f *salesforcev1.FieldDescribe) (all []string) {
	add := func(is bool, text string) {
		if is {
			all = append(all, text)
		}
	}
	add(f.GetCreateable() && !f.GetNillable() && !f.GetDefaultedOnCreate(), "required")
	add(f.GetExternalId(), "external id")
	add(f.GetUnique(), "unique")
	add(f.GetCalculated(), "formula")
	add(!f.GetCalculated() && !f.GetCreateable() && !f.GetUpdateable(), "read-only")
	add(f.GetCreateable() && !f.GetUpdateable(), "only on create")
	add(!f.GetCreateable() && f.GetUpdateable(), "only on update")
	if to := f.GetReferenceTo(); len(to) > 0 {
		all = append(all, "refers to "+strings.Join(to, ", "))
	}
	if values := f.GetPicklistValues(); len(values) > 0 {
		more := ""
		if n := len(values) - maxValues; n > 0 {
			values, more = values[:maxValues], fmt.Sprintf(" and %d more", n)
		}
		all = append(all, "one of: "+strings.Join(values, "; ")+more)
	}
	return all
}
