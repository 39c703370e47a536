package salesforce

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// ObjectDescribe is what an object looks like to the connected user. Fields hidden by field-level security
// are absent.
type ObjectDescribe struct {
	Name, Label, LabelPlural, KeyPrefix          string
	Createable, Updateable, Deletable, Queryable bool
	Fields                                       []FieldDescribe // in Salesforce's order
	RecordTypes                                  []RecordType
	LastModified                                 time.Time // of the org's metadata; pass it to the next Describe
}

// RecordType is a record type that exists for an object.
type RecordType struct {
	ID            string `json:"recordTypeId"`
	Name          string `json:"name"`
	DeveloperName string `json:"developerName"`
	Available     bool   `json:"available"`                // to the connected user
	Default       bool   `json:"defaultRecordTypeMapping"` // of the connected user
	Master        bool   `json:"master"`
	Active        bool   `json:"active"`
}

// FieldDescribe is one field.
type FieldDescribe struct {
	Name               string          `json:"name"`
	Label              string          `json:"label"`
	Type               FieldType       `json:"type"`
	Length             int             `json:"length"`     // characters; 0 for other types than text
	ByteLength         int             `json:"byteLength"` // three times the length for most texts
	Precision          int             `json:"precision"`  // digits of a number in all
	Scale              int             `json:"scale"`      // of them after the point
	Digits             int             `json:"digits"`     // of an int
	Createable         bool            `json:"createable"`
	Updateable         bool            `json:"updateable"`
	Nillable           bool            `json:"nillable"`
	DefaultedOnCreate  bool            `json:"defaultedOnCreate"`
	ExternalID         bool            `json:"externalId"`
	IDLookup           bool            `json:"idLookup"` // usable as upsert key
	Unique             bool            `json:"unique"`
	CaseSensitive      bool            `json:"caseSensitive"`
	Calculated         bool            `json:"calculated"` // a formula, never writable
	AutoNumber         bool            `json:"autoNumber"`
	Filterable         bool            `json:"filterable"`
	Sortable           bool            `json:"sortable"`
	Custom             bool            `json:"custom"`
	NameField          bool            `json:"nameField"`
	RestrictedPicklist bool            `json:"restrictedPicklist"` // values outside Picklist are refused
	DependentPicklist  bool            `json:"dependentPicklist"`
	Picklist           []PicklistValue `json:"picklistValues"`    // inactive ones included
	ReferenceTo        []string        `json:"referenceTo"`       // several: polymorphic
	RelationshipName   string          `json:"relationshipName"`  // prefix of parent paths
	CompoundFieldName  string          `json:"compoundFieldName"` // the compound that this field is a part of
	InlineHelpText     string          `json:"inlineHelpText"`
}

// PicklistValue is one value of a picklist.
type PicklistValue struct {
	Value   string `json:"value"`
	Label   string `json:"label"`
	Active  bool   `json:"active"`
	Default bool   `json:"defaultValue"`
}

// Required reports whether a create without the field is refused. What page layouts demand is not visible
// to the API.
func (f *FieldDescribe) Required() bool {
	return f.Createable && !f.Nillable && !f.DefaultedOnCreate
}

// MayBeKey reports whether the field can be the key of an upsert.
func (f *FieldDescribe) MayBeKey() bool { return f.ExternalID || f.IDLookup }

// Field finds a field by name, ignoring case.
func (o *ObjectDescribe) Field(name string) (*FieldDescribe, bool) {
	for i := range o.Fields {
		if strings.EqualFold(o.Fields[i].Name, name) {
			return &o.Fields[i], true
		}
	}
	return nil, false
}

// Describe returns what an object looks like. With a since other than zero it returns notModified and no
// describe when the org's metadata have not changed after it. An object that does not exist or is hidden
// from the user is an *Error with code NOT_FOUND.
func (c *Client) Describe(ctx context.Context, object string, since time.Time) (d *ObjectDescribe, notModified bool, err error) {
	if err := Identifier(object); err != nil {
		return nil, false, err
	}
	r := &request{op: "describe", path: "sobjects/" + object + "/describe"}
	if !since.IsZero() {
		r.notModified = true
		r.header = map[string]string{"If-Modified-Since": since.UTC().Format(http.TimeFormat)}
	}
	err = c.read(ctx, r, func(resp *response) error {
		if resp.status == http.StatusNotModified {
			notModified = true
			return nil
		}
		d = new(ObjectDescribe)
		if t, err := http.ParseTime(resp.header.Get("Last-Modified")); err == nil {
			d.LastModified = t.UTC()
		}
		j := newJSONReader(resp.body)
		if err := d.decode(j); err != nil {
			return err
		}
		return j.end()
	})
	if err != nil {
		return nil, false, err
	}
	return d, notModified, nil
}

// decode reads field by field: a describe can take megabytes, most of it child relationships.
func (o *ObjectDescribe) decode(j *jsonReader) error {
	err := j.object(func(key string) (err error) {
		switch key {
		case "name":
			o.Name, err = j.text()
		case "label":
			o.Label, err = j.text()
		case "labelPlural":
			o.LabelPlural, err = j.text()
		case "keyPrefix":
			o.KeyPrefix, err = j.text()
		case "createable":
			o.Createable, err = j.bool()
		case "updateable":
			o.Updateable, err = j.bool()
		case "deletable":
			o.Deletable, err = j.bool()
		case "queryable":
			o.Queryable, err = j.bool()
		case "fields":
			err = j.array(func() error {
				var f FieldDescribe
				if err := j.value(&f); err != nil {
					return err
				}
				o.Fields = append(o.Fields, f)
				return nil
			})
		case "recordTypeInfos":
			err = j.array(func() error {
				var t RecordType
				if err := j.value(&t); err != nil {
					return err
				}
				o.RecordTypes = append(o.RecordTypes, t)
				return nil
			})
		default:
			err = j.skip()
		}
		return err
	})
	if err == nil && (o.Name == "" || len(o.Fields) == 0) {
		err = malformed("a describe without name or fields")
	}
	return err
}
