package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
)

// maxBody is the largest request body of the REST API.
const maxBody = 50 << 20

// maxNesting is how deep a body may nest.
const maxNesting = 30

// member is one key of a JSON object, in the order sent.
type member struct {
	name  string
	value value
}

// value is a JSON value that keeps the order of keys and its place.
type value struct {
	kind    save.Kind
	text    string // strings unescaped, numbers as written, "true", "false"
	members []member
	list    []value // arrays; kind is Nested and isList is set
	isList  bool
	offset  int // just past the value's first token
}

func (v *value) get(name string) *value {
	for i := range v.members {
		if strings.EqualFold(v.members[i].name, name) {
			return &v.members[i].value
		}
	}
	return nil
}

// body reads the request's JSON body; on an error it has answered.
func (c *Call) body() (*value, bool) {
	if ct := c.R.Header.Get("Content-Type"); ct != "" {
		if m, _, err := mime.ParseMediaType(ct); err == nil && m != "application/json" && m != "text/json" {
			reply.Errors(c.W, http.StatusUnsupportedMediaType, reply.Error{Code: "UNSUPPORTED_MEDIA_TYPE", Message: "Content-Type header specified in HTTP request is not supported: " + m})
			return nil, false
		}
	}
	data, err := io.ReadAll(io.LimitReader(c.R.Body, maxBody+1))
	if err != nil || len(data) > maxBody {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "REQUEST_RUNNING_TOO_LONG", Message: "the request body could not be read"})
		return nil, false
	}
	v, err := parseJSON(data)
	if err != nil {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "JSON_PARSER_ERROR", Message: err.Error()})
		return nil, false
	}
	return v, true
}

func parseJSON(data []byte) (*value, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := readValue(dec, 0)
	if err == nil {
		if _, extra := dec.Token(); !errors.Is(extra, io.EOF) {
			err = fmt.Errorf("unexpected text after the value")
		}
	}
	if err != nil {
		line, col := place(data, int(dec.InputOffset()))
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("Unexpected end-of-input at [line:%d, column:%d]", line, col) //nolint:staticcheck // Salesforce's text
		}
		return nil, fmt.Errorf("Unexpected character at [line:%d, column:%d]: %w", line, col, err) //nolint:staticcheck // Salesforce's text
	}
	if v.kind != save.Nested {
		return nil, fmt.Errorf("Unexpected value at [line:1, column:1]") //nolint:staticcheck // Salesforce's text
	}
	return v, nil
}

func place(data []byte, offset int) (line, col int) {
	offset = min(offset, len(data))
	line = bytes.Count(data[:offset], []byte("\n")) + 1
	return line, offset - bytes.LastIndexByte(data[:offset], '\n')
}

func readValue(dec *json.Decoder, depth int) (*value, error) {
	if depth > maxNesting {
		return nil, errors.New("nested too deep")
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	v := &value{offset: int(dec.InputOffset())}
	switch t := t.(type) {
	case nil:
		v.kind = save.Null
	case bool:
		v.kind, v.text = save.Bool, fmt.Sprint(t)
	case json.Number:
		v.kind, v.text = save.Number, t.String()
	case string:
		v.kind, v.text = save.Text, t
	case json.Delim:
		v.kind = save.Nested
		if t == '[' {
			v.isList = true
			for dec.More() {
				e, err := readValue(dec, depth+1)
				if err != nil {
					return nil, err
				}
				v.list = append(v.list, *e)
			}
		} else {
			for dec.More() {
				k, err := dec.Token()
				if err != nil {
					return nil, err
				}
				e, err := readValue(dec, depth+1)
				if err != nil {
					return nil, err
				}
				v.members = append(v.members, member{k.(string), *e})
			}
		}
		_, err = dec.Token()
	}
	return v, err
}

// row turns a record of a body into a row. Keys in skip (lower case) are left out.
func (a *API) row(o *schema.Object, v *value, skip ...string) save.Row {
	row := save.Row{}
next:
	for i := range v.members {
		m := &v.members[i]
		low := strings.ToLower(m.name)
		if low == "attributes" {
			continue
		}
		for _, s := range skip {
			if low == s {
				continue next
			}
		}
		if low == "id" {
			row.ID = m.value.text
			continue
		}
		col := save.Column{Name: m.name, Field: o.Field(m.name), Line: 1, Col: m.value.offset + 1}
		val := save.Value{Kind: m.value.kind, Text: m.value.text}
		if col.Field == nil && m.value.kind == save.Nested && !m.value.isList {
			if fault := a.parent(o, m, &col, &val); fault != nil && row.Fault == nil {
				row.Fault = fault
			}
		}
		if col.Field == nil && m.value.kind == save.Null {
			if f := o.Parent(strings.TrimSuffix(m.name, "__r")); f != nil {
				col.Field = f
			}
		}
		if f := col.Field; f != nil && f.Type == "address" && m.value.kind == save.Nested {
			val.Text = "{}"
		}
		row.Columns = append(row.Columns, col)
		row.Values = append(row.Values, val)
	}
	return row
}

// parent reads "Account":{"Ext__c":"A-1"}.
func (a *API) parent(o *schema.Object, m *member, col *save.Column, val *save.Value) *save.Error {
	f := o.Parent(m.name)
	if f == nil {
		return nil
	}
	target := f.ReferenceTo[0]
	if attrs := m.value.get("attributes"); attrs != nil {
		if t := attrs.get("type"); t != nil {
			target = t.text
		}
	} else if len(f.ReferenceTo) > 1 {
		return &save.Error{Code: "JSON_PARSER_ERROR", Message: "Nested object for polymorphic foreign key must have an attributes field before any other fields."}
	}
	parent := a.DB.Schema.Object(target)
	if parent == nil {
		return nil
	}
	for i := range m.value.members {
		k := &m.value.members[i]
		if strings.EqualFold(k.name, "attributes") {
			continue
		}
		key := parent.Field(k.name)
		if key == nil || !key.ExternalID && !key.IDLookup {
			return &save.Error{Code: "INVALID_FIELD", Message: fmt.Sprintf("Field name provided, %s is not an External ID or indexed field for %s", k.name, parent.Name)}
		}
		col.Field = f
		*val = save.Value{Kind: k.value.kind, Text: k.value.text}
		if key.Virtual != schema.ID {
			col.Parent, col.ParentKey = parent, key
		}
	}
	return nil
}
