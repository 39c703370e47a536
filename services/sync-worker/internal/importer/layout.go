package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

// maxAttributeName is the longest name of a custom attribute, in characters.
const maxAttributeName = 100

// aliases are other names, folded, under which files give the Catalog fields.
var aliases = map[string]string{
	"user_id": "id", "person_id": "id", "catalog_id": "id", "userid": "id",
	"e_mail": "email", "email_address": "email", "e_mail_address": "email", "emailaddress": "email", "mail": "email",
	"firstname": "first_name", "given_name": "first_name", "givenname": "first_name", "forename": "first_name",
	"lastname": "last_name", "family_name": "last_name", "familyname": "last_name", "surname": "last_name",
	"phone_number": "phone", "phonenumber": "phone", "telephone": "phone", "tel": "phone", "work_phone": "phone", "business_phone": "phone",
	"mobile": "mobile_phone", "mobilephone": "mobile_phone", "mobile_number": "mobile_phone", "cell": "mobile_phone", "cell_phone": "mobile_phone", "cellphone": "mobile_phone",
	"job_title": "title", "jobtitle": "title",
	"organisation": "organization", "company": "organization", "company_name": "organization", "org": "organization",
	"dept":           "department",
	"street_address": "street", "address": "street",
	"town": "city", "locality": "city",
	"region": "state", "province": "state",
	"zip": "postal_code", "zip_code": "postal_code", "zipcode": "postal_code", "postcode": "postal_code", "post_code": "postal_code", "postalcode": "postal_code",
	"timezone": "time_zone", "tz": "time_zone",
	"is_active": "active", "enabled": "active",
	"group":       "groups",
	"sub_account": "subaccount",
	"created":     "created_at", "created_date": "created_at", "created_on": "created_at", "date_created": "created_at", "createdat": "created_at",
	"updated": "updated_at", "updated_date": "updated_at", "updated_on": "updated_at", "date_updated": "updated_at", "updatedat": "updated_at",
	"modified": "updated_at", "modified_at": "updated_at", "last_modified": "updated_at",
}

// slot is what a column of the file becomes.
type slot uint8

const (
	slotField slot = iota
	slotID
	slotAttribute
	slotNameless // must be empty
)

type layoutColumn struct {
	slot      slot
	field     directory.Field
	attribute string
}

// layout says which Catalog field each column of a file is, or each name of a JSON object.
type layout struct {
	names      []string // as the file has them
	columns    []layoutColumn
	attributes []int // columns that are custom attributes, by the attribute's name
	id         int
}

// layoutError says which column keeps a layout from being made.
type layoutError struct {
	column  int // from 1; 0 for none
	message string
}

// newLayout resolves the columns' names. A field's own name goes before its other names: what is left over becomes a
// custom attribute. Without an id column the layout is refused.
func newLayout(names []string) (*layout, *layoutError) {
	l := &layout{names: slices.Clone(names), columns: make([]layoutColumn, len(names)), id: -1}
	folded := make([]string, len(names))
	owner := make(map[string]int, len(names)) // Catalog field -> column
	for i, name := range names {
		l.names[i] = strings.Clone(name)
		if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }) {
			return nil, &layoutError{i + 1, "the name is not plain UTF-8 text"}
		}
		folded[i] = directory.FoldName(name)
		if _, fixed := directory.FieldNamed(folded[i]); !fixed && folded[i] != directory.IDColumn {
			continue
		}
		if other, taken := owner[folded[i]]; taken {
			return nil, &layoutError{i + 1, fmt.Sprintf("columns %d and %d are both %s; keep one", other+1, i+1, folded[i])}
		}
		owner[folded[i]] = i
	}
	for i, name := range folded {
		if field, ok := aliases[name]; ok {
			if _, taken := owner[field]; !taken {
				owner[field] = i
				folded[i] = field
			}
		}
		if e := l.resolve(i, folded[i], owner); e != nil {
			return nil, e
		}
	}
	if l.id < 0 {
		return nil, &layoutError{0, "there is no id column"}
	}
	slices.SortFunc(l.attributes, func(a, b int) int { return cmp.Compare(l.columns[a].attribute, l.columns[b].attribute) })
	return l, nil
}

// resolve fills column i.
func (l *layout) resolve(i int, name string, owner map[string]int) *layoutError {
	if name == "" {
		l.columns[i].slot = slotNameless
		return nil
	}
	if name == directory.IDColumn {
		l.columns[i].slot = slotID
		l.id = i
		return nil
	}
	if f, ok := directory.FieldNamed(name); ok {
		l.columns[i].field = f
		return nil
	}
	attribute := strings.TrimPrefix(name, directory.AttributePrefix)
	switch {
	case attribute == "":
		return &layoutError{i + 1, "a custom attribute needs a name behind " + directory.AttributePrefix}
	case utf8.RuneCountInString(attribute) > maxAttributeName:
		return &layoutError{i + 1, fmt.Sprintf("the name is longer than %d characters", maxAttributeName)}
	}
	key := directory.AttributePrefix + attribute
	if other, taken := owner[key]; taken {
		return &layoutError{i + 1, fmt.Sprintf("columns %d and %d are both the custom attribute %s; rename one", other+1, i+1, attribute)}
	}
	owner[key] = i
	l.columns[i].slot = slotAttribute
	l.columns[i].attribute = attribute
	l.attributes = append(l.attributes, i)
	return nil
}

// cell is one value of a line.
type cell struct {
	text string
	null bool
	err  string // why there is no good value
}

// record makes a person of the cells, one per column. A fault names the first column that keeps the line from being
// taken; the id is in it where it is beyond doubt.
func (l *layout) record(cells []cell) (directory.Record, *fault) {
	var r directory.Record
	id := &cells[l.id]
	if message := checkText(id); message != "" {
		return r, &fault{column: l.id + 1, value: id.text, message: message}
	}
	r.ID = strings.TrimSpace(id.text)
	switch {
	case r.ID == "":
		return r, &fault{column: l.id + 1, value: id.text, message: "the id is missing; every person needs one"}
	case utf8.RuneCountInString(r.ID) > directory.MaxID:
		return r, &fault{column: l.id + 1, value: id.text, message: fmt.Sprintf("the id is longer than %d characters", directory.MaxID)}
	case strings.ContainsFunc(r.ID, unicode.IsControl):
		return r, &fault{column: l.id + 1, value: id.text, message: "the id holds a control character"}
	}
	for i := range cells {
		column := &l.columns[i]
		if column.slot == slotID {
			continue
		}
		c := &cells[i]
		message := checkText(c)
		switch {
		case message != "" || c.null:
		case column.slot == slotNameless:
			if strings.TrimSpace(c.text) != "" {
				message = "the value stands in a column without a name; name the column in the header or remove it"
			}
		case column.slot == slotField:
			switch column.field {
			case directory.Active:
				c.text, message = normalBool(c.text)
			case directory.CreatedAt, directory.UpdatedAt:
				c.text, message = normalTime(c.text)
			}
		}
		if message != "" {
			return r, &fault{column: i + 1, value: c.text, message: message, id: r.ID}
		}
		if column.slot == slotField {
			if c.null {
				r.SetNull(column.field)
			} else {
				r.Set(column.field, c.text)
			}
		}
	}
	if len(l.attributes) > 0 {
		r.Attributes = make([]directory.Attribute, len(l.attributes))
		for i, at := range l.attributes {
			r.Attributes[i] = directory.Attribute{Name: l.columns[at].attribute, Value: cells[at].text, Null: cells[at].null}
		}
	}
	return r, nil
}
