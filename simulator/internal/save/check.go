package save

import (
	"errors"
	"fmt"
	"html"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// check puts a row's values into b.values and says why it cannot be saved; the order is that of a real org: the columns,
// their types, what is writable, the values, what is required, then the other records.
func (b *batch) check(t *store.Table, op Op, serial uint32, row *Row) []Error {
	if op == Update && t.Object.Name == "Lead" {
		if b.values[t.Object.Field("IsConverted").Slot] == "true" {
			return []Error{{Code: "CANNOT_UPDATE_CONVERTED_LEAD", Message: "cannot reference converted lead"}}
		}
	}
	if err := b.columns(t, op, row); err != nil {
		return []Error{*err}
	}
	var errs []Error
	for i := range row.Columns {
		if err := b.put(t, &row.Columns[i], row.Values[i]); err != nil {
			if err.Code == "JSON_PARSER_ERROR" || err.Bare {
				return []Error{*err}
			}
			errs = append(errs, *err)
		}
	}
	if err := missing(t, op, b.values, row); err != nil {
		return []Error{*err}
	}
	if errs != nil {
		return errs
	}
	if err := b.states(t, row); err != nil {
		return []Error{*err}
	}
	if err := b.locked(t, serial, b.values); err != nil {
		return []Error{*err}
	}
	if err := b.unique(t, serial, row, op); err != nil {
		return []Error{*err}
	}
	if err := b.duplicates(t, op, serial); err != nil {
		return []Error{*err}
	}
	for _, hook := range b.hooks {
		if err := hook(t.Object.Name, op, func(name string) string {
			if f := t.Object.Field(name); f != nil {
				return b.values[f.Slot]
			}
			return ""
		}); err != nil {
			return []Error{*err}
		}
	}
	id := ""
	if serial != 0 {
		id = t.ID(serial)
	}
	if err := b.rowFault(op, t.Object.Name, id); err != nil {
		return []Error{*err}
	}
	return nil
}

func (b *batch) columns(t *store.Table, op Op, row *Row) *Error {
	var readOnly []string
	for i := range row.Columns {
		c := &row.Columns[i]
		f := c.Field
		switch {
		case f == nil:
			return &Error{Code: "INVALID_FIELD", Message: fmt.Sprintf("No such column '%s' on sobject of type %s", c.Name, t.Object.Name), Bare: true}
		case row.Values[i].Kind == Ignore:
		case f.Virtual == schema.ID && op == Insert:
			if row.Values[i].Kind != Null {
				return &Error{Code: "INVALID_FIELD_FOR_INSERT_UPDATE", Message: "cannot specify Id in an insert call", Fields: []string{"Id"}}
			}
		case f.Virtual == schema.ID:
		case op == Insert && !f.Createable, op == Update && !f.Updateable:
			readOnly = append(readOnly, f.Name)
		}
	}
	if readOnly == nil {
		return nil
	}
	return &Error{Code: "INVALID_FIELD_FOR_INSERT_UPDATE", Fields: readOnly, Message: "Unable to create/update fields: " + strings.Join(readOnly, ", ") +
		". Please check the security settings of this field and verify that it is read/write for your profile or permission set."}
}

// missing names the required fields that would be null.
func missing(t *store.Table, op Op, values []string, row *Row) *Error {
	var names []string
	for _, f := range t.Object.Required {
		if values[f.Slot] != "" {
			continue
		}
		if op == Update {
			named := false
			for i := range row.Columns {
				named = named || row.Columns[i].Field.Slot == f.Slot && row.Values[i].Kind != Ignore
			}
			if !named {
				continue
			}
		}
		names = append(names, f.Name)
	}
	if names == nil {
		return nil
	}
	return &Error{Code: "REQUIRED_FIELD_MISSING", Message: "Required fields are missing: [" + strings.Join(names, ", ") + "]", Fields: names}
}

// put parses one value into b.values.
func (b *batch) put(t *store.Table, c *Column, v Value) *Error {
	f := c.Field
	if v.Kind == Ignore || f.Virtual == schema.ID {
		return nil
	}
	if c.ParentKey != nil {
		return b.putParent(t, c, v)
	}
	if v.Kind == Null {
		return b.putNull(f)
	}
	text, err := parse(f, v)
	if err != nil {
		b.values[f.Slot] = v.Text // a value that cannot be read is not a missing one
		return b.unreadable(f, c, v)
	}
	b.values[f.Slot] = text // refused or not, the field is not missing
	if e := b.limits(t, f, text, v.Text); e != nil {
		return e
	}
	switch {
	case f.Type == "reference" && text != "":
		canonical, e := b.reference(t, f, text)
		if e != nil {
			return e
		}
		text = canonical
	case f.Type == "picklist" && f.Restricted && text != "":
		value, ok := f.Allows(text)
		if !ok {
			return &Error{Code: "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", Message: f.Label + ": bad value for restricted picklist field: " + html.EscapeString(text), Fields: []string{f.Name}}
		}
		text = value
	case f.Type == "multipicklist" && f.Restricted && text != "":
		parts := strings.Split(text, ";")
		for i, p := range parts {
			value, ok := f.Allows(strings.TrimSpace(p))
			if !ok {
				return &Error{Code: "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", Message: f.Label + ": bad value for restricted picklist field: " + html.EscapeString(p), Fields: []string{f.Name}}
			}
			parts[i] = value
		}
		text = strings.Join(parts, ";")
	}
	if text == "" {
		return b.putNull(f)
	}
	b.values[f.Slot] = text
	return nil
}

func (b *batch) putNull(f *schema.Field) *Error {
	switch {
	case f.Name == "OwnerId":
		return &Error{Code: "INVALID_CROSS_REFERENCE_KEY", Message: f.Label + ": owner cannot be blank", Fields: []string{f.Name}}
	case f.Type == "picklist" && f.Default != "" && !f.Nillable:
		b.values[f.Slot] = f.Default // a defaulted picklist cannot be emptied
		return nil
	}
	b.values[f.Slot] = ""
	return nil
}

var javaTokens = map[Kind]string{Text: "VALUE_STRING", Nested: "START_OBJECT"}

func (b *batch) unreadable(f *schema.Field, c *Column, v Value) *Error {
	if b.caller.Bulk {
		return &Error{Code: "INVALID_FIELD", Message: fmt.Sprintf("Failed to deserialize field at col %d. Due to, '%s' is not a valid value for the type %s", c.Col, v.Text, SOAPType(f.Type)), Fields: []string{f.Name}}
	}
	token := javaTokens[v.Kind]
	switch {
	case v.Kind == Number && strings.ContainsAny(v.Text, ".eE"):
		token = "VALUE_NUMBER_FLOAT"
	case v.Kind == Number:
		token = "VALUE_NUMBER_INT"
	case v.Kind == Bool:
		token = "VALUE_" + strings.ToUpper(v.Text)
	}
	return &Error{Code: "JSON_PARSER_ERROR", Bare: true, Message: fmt.Sprintf("Cannot deserialize instance of %s from %s value %s or request may be missing a required field at [line:%d, column:%d]",
		f.Type, token, v.Text, c.Line, c.Col)}
}

// SOAPType is the soapType of a field type.
func SOAPType(t string) string {
	switch t {
	case "boolean", "double", "int", "date", "time":
		return "xsd:" + t
	case "currency", "percent":
		return "xsd:double"
	case "datetime":
		return "xsd:dateTime"
	case "id", "reference":
		return "tns:ID"
	case "address":
		return "urn:address"
	}
	return "xsd:string"
}

// limits checks what a readable value may be. sent is the value before trimming and parsing.
func (b *batch) limits(t *store.Table, f *schema.Field, text, sent string) *Error {
	switch f.Type {
	case "string", "textarea", "phone", "url", "picklist", "multipicklist", "combobox", "email", "encryptedstring":
		if f.Length > 0 && len(text) > f.Length && characters(text) > f.Length {
			return &Error{Code: "STRING_TOO_LONG", Message: fmt.Sprintf("%s: data value too large: %s (max length=%d)", f.Label, shorten(text), f.Length), Fields: []string{f.Name}}
		}
		if f.Type == "email" && text != "" && !validEmail(text) {
			return &Error{Code: "INVALID_EMAIL_ADDRESS", Message: f.Label + ": invalid email address: " + strings.TrimSpace(sent), Fields: []string{f.Name}}
		}
	case "double", "currency", "percent", "int":
		if !fits(f, text) {
			return &Error{Code: "NUMBER_OUTSIDE_VALID_RANGE", Message: f.Label + ": value outside of valid range on numeric field: " + sent, Fields: []string{f.Name}}
		}
	}
	return nil
}

// characters counts a text as Salesforce measures it: in UTF-16 units.
func characters(s string) int {
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// shorten keeps messages readable when a value is huge.
func shorten(s string) string {
	if len(s) <= 1000 {
		return s
	}
	cut := 1000
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// reference checks a lookup and gives the id in 18 characters.
func (b *batch) reference(t *store.Table, f *schema.Field, text string) (string, *Error) {
	id, ok := store.ValidID(text)
	if !ok {
		return "", &Error{Code: "MALFORMED_ID", Message: f.Label + ": id value of incorrect type: " + text, Fields: []string{f.Name}}
	}
	right := false
	for _, to := range f.ReferenceTo {
		if o := b.db.Schema.Object(to); o != nil && o.Prefix == id[:3] {
			right = true
		}
	}
	if !right {
		return "", &Error{Code: "FIELD_INTEGRITY_EXCEPTION", Message: f.Label + ": id value of incorrect type: " + text, Fields: []string{f.Name}}
	}
	if f.Name == "RecordTypeId" {
		return id, b.recordType(t, id)
	}
	parent, serial, ok := b.db.Find(id)
	if !ok {
		return "", &Error{Code: "INVALID_CROSS_REFERENCE_KEY", Message: "invalid cross reference id"}
	}
	if parent.Row(serial).State != store.Live {
		return "", &Error{Code: "ENTITY_IS_DELETED", Message: "entity is deleted"}
	}
	if f.Name == "OwnerId" && parent.Object.Name == "User" && parent.Value(serial, parent.Row(serial), parent.Object.Field("IsActive")) != "true" {
		return "", &Error{Code: "INACTIVE_OWNER_OR_USER", Message: fmt.Sprintf("operation performed with inactive user [%s] as owner of %s", id[:15], strings.ToLower(t.Object.Name))}
	}
	return id, nil
}

// putParent resolves a lookup given by a key field of the parent.
func (b *batch) putParent(t *store.Table, c *Column, v Value) *Error {
	if v.Kind == Null || v.Text == "" {
		b.values[c.Field.Slot] = ""
		return nil
	}
	parent := b.db.Table(c.Parent.Name)
	b.values[c.Field.Slot] = v.Text // found or not, the field is not missing
	var ids []string
	for n := range parent.Lookup(c.ParentKey, strings.TrimSpace(v.Text)) {
		if parent.Row(n).State == store.Live {
			ids = append(ids, parent.ID(n))
		}
	}
	switch len(ids) {
	case 0:
		return &Error{Code: "INVALID_FIELD", Message: fmt.Sprintf("Foreign key external ID: %s not found for field %s in entity %s", strings.ToLower(v.Text), c.ParentKey.Name, c.Parent.Name)}
	case 1:
		b.values[c.Field.Slot] = ids[0]
		return nil
	}
	return &Error{Code: "DUPLICATE_EXTERNAL_ID", Message: c.ParentKey.Label + ": more than one record found for external id field: [" + strings.Join(ids, ", ") + "]"}
}

func (b *batch) unique(t *store.Table, serial uint32, row *Row, op Op) *Error {
	if op == Insert && t.Object.Name == "PermissionSetAssignment" {
		assignee, set := t.Object.Field("AssigneeId"), t.Object.Field("PermissionSetId")
		for n := range t.Lookup(assignee, b.values[assignee.Slot]) {
			if v := b.values[set.Slot]; v != "" && t.Row(n).State == store.Live && t.Row(n).Get(set.Slot) == v {
				return &Error{
					Code: "DUPLICATE_VALUE", Fields: []string{"AssigneeId", "PermissionSetId"},
					Message: fmt.Sprintf("Duplicate PermissionSetAssignment.  Assignee: %s; Permission Set: %s", b.values[assignee.Slot][:15], v[:15]),
				}
			}
		}
	}
	for i := range row.Columns {
		f := row.Columns[i].Field
		if !f.Unique || b.values[f.Slot] == "" || row.Values[i].Kind == Ignore {
			continue
		}
		for n := range t.Lookup(f, b.values[f.Slot]) {
			if n != serial && t.Row(n).State == store.Live {
				if f.Name == "Username" {
					return &Error{Code: "DUPLICATE_USERNAME", Message: duplicateUsername, Fields: []string{f.Name}}
				}
				return &Error{Code: "DUPLICATE_VALUE", Message: fmt.Sprintf("duplicate value found: %s duplicates value on record with id: %s", f.Name, t.ID(n)[:15])}
			}
		}
	}
	return nil
}

const duplicateUsername = "Duplicate Username.<br>The username already exists in this or another Salesforce organization. Usernames must be unique across all Salesforce organizations. " +
	"To resolve, use a different username (it doesn't need to match the user's email address)."

var errType = errors.New("not of the field's type")
