package rest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
)

// tooling serves the part of the Tooling API that adds custom fields.
func (a *API) tooling(c *Call, path []string) {
	switch {
	case len(path) == 1 && (strings.EqualFold(path[0], "query") || strings.EqualFold(path[0], "queryAll")):
		a.query(c, nil)
	case len(path) == 2 && strings.EqualFold(path[0], "sobjects") && strings.EqualFold(path[1], "CustomField"):
		if c.method(http.MethodPost) {
			a.customField(c)
		}
	default:
		reply.NotFound(c.W)
	}
}

type fieldMetadata struct {
	Type             string      `json:"type"`
	Label            string      `json:"label"`
	Length           json.Number `json:"length"`
	Precision        json.Number `json:"precision"`
	Scale            json.Number `json:"scale"`
	ExternalID       bool        `json:"externalId"`
	Unique           bool        `json:"unique"`
	CaseSensitive    bool        `json:"caseSensitive"`
	Required         bool        `json:"required"`
	DefaultValue     any         `json:"defaultValue"`
	ReferenceTo      string      `json:"referenceTo"`
	RelationshipName string      `json:"relationshipName"`
	ValueSet         struct {
		Restricted bool `json:"restricted"`
		Definition struct {
			Value []struct {
				FullName  string `json:"fullName"`
				ValueName string `json:"valueName"`
				Label     string `json:"label"`
				Default   bool   `json:"default"`
			} `json:"value"`
		} `json:"valueSetDefinition"`
	} `json:"valueSet"`
}

// fieldTypes are describe's types of the Metadata API's.
var fieldTypes = map[string]string{
	"text": "string", "textarea": "textarea", "longtextarea": "textarea", "html": "textarea", "email": "email", "phone": "phone", "url": "url", "number": "double",
	"currency": "currency", "percent": "percent", "checkbox": "boolean", "date": "date", "datetime": "datetime", "picklist": "picklist", "multiselectpicklist": "multipicklist", "lookup": "reference",
}

func number(n json.Number, d int) int {
	if v, err := n.Int64(); err == nil && v >= 0 && v < 1<<20 {
		return int(v)
	}
	return d
}

// customField answers POST /tooling/sobjects/CustomField.
func (a *API) customField(c *Call) {
	var body struct {
		FullName string
		Metadata fieldMetadata
	}
	if !c.decode(&body) {
		return
	}
	refuse := func(code, message string, fields ...string) {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: code, Message: message, Fields: append([]string{}, fields...)})
	}
	object, name, _ := strings.Cut(body.FullName, ".")
	m := body.Metadata
	typ := fieldTypes[strings.ToLower(m.Type)]
	a.DB.Lock()
	o := a.DB.Schema.Object(object)
	switch {
	case o == nil:
		a.DB.Unlock()
		refuse("INVALID_CROSS_REFERENCE_KEY", "Entity of field "+body.FullName+" does not exist", "FullName")
		return
	case typ == "":
		a.DB.Unlock()
		refuse("INVALID_INPUT", "field type "+m.Type+" is not supported", "Metadata")
		return
	}
	f := makeField(name, typ, m)
	if !schema.CustomName(name) {
		a.DB.Unlock()
		refuse("INVALID_INPUT", "The field's API name can only contain letters, digits and underscores, and ends in __c", "FullName")
		return
	}
	if err := a.DB.Schema.AddField(o, f); err != nil {
		a.DB.Unlock()
		refuse("DUPLICATE_DEVELOPER_NAME", "There is already a field named "+strings.TrimSuffix(name, "__c")+" on "+o.Label+".", "DeveloperName")
		return
	}
	if f.ExternalID || f.Unique || f.Type == "reference" {
		a.table(o).Index(f)
	}
	a.DB.Unlock()
	reply.JSON(c.W, http.StatusCreated, struct {
		ID       string   `json:"id"`
		Success  bool     `json:"success"`
		Errors   []string `json:"errors"`
		Warnings []string `json:"warnings"`
		Infos    []string `json:"infos"`
	}{a.DB.NewID("00N"), true, []string{}, []string{}, []string{}})
}

func makeField(name, typ string, m fieldMetadata) *schema.Field {
	f := &schema.Field{
		Name: name, Label: m.Label, Type: typ, Createable: true, Updateable: true, Nillable: !m.Required && typ != "boolean", ExternalID: m.ExternalID, IDLookup: m.ExternalID, Unique: m.Unique,
		CaseSensitive: m.Unique && m.CaseSensitive, Permissionable: !m.Required, Filterable: true, Groupable: true, Sortable: true, Custom: true,
	}
	if f.Label == "" {
		f.Label = strings.ReplaceAll(strings.TrimSuffix(name, "__c"), "_", " ")
	}
	switch strings.ToLower(m.Type) {
	case "text":
		f.Length = number(m.Length, 255)
	case "textarea", "url", "picklist":
		f.Length = 255
	case "longtextarea", "html":
		f.Length, f.Filterable, f.Groupable, f.Sortable = number(m.Length, 32768), false, false, false
	case "email":
		f.Length = 80
	case "phone":
		f.Length = 40
	case "number", "currency", "percent":
		f.Precision, f.Scale, f.Groupable = number(m.Precision, 18), number(m.Scale, 0), false
	case "multiselectpicklist":
		f.Length, f.Groupable, f.Sortable = 4099, false, false
	case "datetime":
		f.Groupable = false
	case "checkbox":
		f.Defaulted, f.Default = true, "false"
		if m.DefaultValue == true || m.DefaultValue == "true" {
			f.Default = "true"
		}
	case "lookup":
		f.Length, f.ReferenceTo, f.Relationship = 18, []string{m.ReferenceTo}, strings.TrimSuffix(name, "__c")
	}
	f.Restricted = m.ValueSet.Restricted
	for _, v := range m.ValueSet.Definition.Value {
		value := v.FullName
		if value == "" {
			value = v.ValueName
		}
		label := v.Label
		if label == "" {
			label = value
		}
		f.Values = append(f.Values, schema.Value{Value: value, Label: label, Default: v.Default})
		if v.Default {
			f.Default = value
		}
	}
	return f
}
