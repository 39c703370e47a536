package rest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

const (
	maxCollection = 200
	maxRetrieve   = 2000
)

// collections serves /composite/sobjects...
func (a *API) collections(c *Call, path []string) {
	switch {
	case len(path) == 0 && c.verb() == http.MethodDelete:
		a.collectionDelete(c)
	case len(path) == 0:
		if c.method(http.MethodPost, http.MethodPatch, http.MethodDelete) {
			a.collectionSave(c)
		}
	case len(path) == 1:
		if c.method(http.MethodGet, http.MethodPost) {
			a.collectionRetrieve(c, path[0])
		}
	case len(path) == 2:
		if c.method(http.MethodPatch) {
			a.collectionUpsert(c, path[0], path[1])
		}
	default:
		reply.NotFound(c.W)
	}
}

type itemError struct {
	Status  string   `json:"statusCode"`
	Message string   `json:"message"`
	Fields  []string `json:"fields"`
}

type collectionResult struct {
	ID      string      `json:"id,omitempty"`
	Success bool        `json:"success"`
	Errors  []itemError `json:"errors"`
	Created *bool       `json:"created,omitempty"`
}

func collectionItem(r save.Result, upsert bool) collectionResult {
	out := collectionResult{ID: r.ID, Success: r.OK(), Errors: []itemError{}}
	for _, e := range r.Errors {
		out.Errors = append(out.Errors, itemError{e.Code, e.Message, append([]string{}, e.Fields...)})
	}
	if upsert {
		created := r.Created
		out.Created = &created
	}
	return out
}

// records reads {"allOrNone":..,"records":[...]}; on an error it has answered.
func (c *Call) records() (list []value, allOrNone, ok bool) {
	v, ok := c.body()
	if !ok {
		return nil, false, false
	}
	if x := v.get("allOrNone"); x != nil {
		allOrNone = x.text == "true"
	}
	records := v.get("records")
	switch {
	case records == nil || !records.isList || len(records.list) == 0:
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "REQUIRED_FIELD_MISSING", Message: "At least 1 record is required"})
		return nil, false, false
	case len(records.list) > maxCollection:
		reply.Errors(c.W, http.StatusBadRequest, tooMany(maxCollection))
		return nil, false, false
	}
	return records.list, allOrNone, true
}

func tooMany(limit int) reply.Error {
	return reply.Error{Code: "EXCEEDED_ID_LIMIT", Message: fmt.Sprintf("record limit reached. cannot submit more than %d records into this call", limit)}
}

// typeOf finds the object that a record of a collection names.
func (a *API) typeOf(c *Call, v *value) (*schema.Object, *save.Error) {
	attrs := v.get("attributes")
	if attrs == nil {
		return nil, &save.Error{Code: "JSON_PARSER_ERROR", Message: "Nested object for polymorphic foreign key must have an attributes field before any other fields."}
	}
	t := attrs.get("type")
	if t == nil {
		return nil, &save.Error{Code: "INVALID_TYPE", Message: "sObject type is missing in attributes"}
	}
	o := c.Schema.Object(t.text)
	if o == nil {
		return nil, &save.Error{Code: "INVALID_TYPE", Message: "sObject type '" + t.text + "' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."}
	}
	return o, nil
}

// collectionSave creates (POST) or updates (PATCH) records of one or several objects.
func (a *API) collectionSave(c *Call) {
	list, allOrNone, ok := c.records()
	if !ok {
		return
	}
	op := save.Insert
	if c.verb() == http.MethodPatch {
		op = save.Update
	}
	a.DB.RLock()
	objects := make([]*schema.Object, len(list))
	rows := make([]save.Row, len(list))
	for i := range list {
		o, fault := a.typeOf(c, &list[i])
		if fault != nil {
			rows[i].Fault = fault
			o = c.Schema.Object("User") // any: the row is not saved
			if i > 0 {
				o = objects[i-1]
			}
		} else {
			rows[i] = a.row(o, &list[i])
			if op == save.Insert && rows[i].ID != "" {
				rows[i].Fault = &save.Error{Code: "INVALID_FIELD_FOR_INSERT_UPDATE", Message: "cannot specify Id in an insert call", Fields: []string{"Id"}}
			}
		}
		objects[i] = o
	}
	a.DB.RUnlock()
	c.answerCollection(a.batches(c, op, objects, rows, allOrNone), false)
}

// batches saves runs of one object together. With allOrNone and several objects the later runs see the earlier fail.
func (a *API) batches(c *Call, op save.Op, objects []*schema.Object, rows []save.Row, allOrNone bool) []save.Result {
	if allOrNone {
		return a.Pipeline.Mixed(c.Caller(), op, a.tables(objects), rows)
	}
	var out []save.Result
	for i := 0; i < len(rows); {
		j := i + 1
		for j < len(rows) && objects[j] == objects[i] {
			j++
		}
		out = append(out, a.Pipeline.Batch(c.Caller(), a.table(objects[i]), op, nil, rows[i:j], false)...)
		i = j
	}
	return out
}

func (a *API) tables(objects []*schema.Object) []*store.Table {
	out := make([]*store.Table, len(objects))
	for i, o := range objects {
		out[i] = a.table(o)
	}
	return out
}

func (c *Call) answerCollection(results []save.Result, upsert bool) {
	out := make([]collectionResult, len(results))
	for i, r := range results {
		out[i] = collectionItem(r, upsert)
	}
	reply.JSON(c.W, http.StatusOK, out)
}

func (a *API) collectionUpsert(c *Call, object, field string) {
	o := c.object(object)
	if o == nil {
		reply.NotFound(c.W)
		return
	}
	a.DB.RLock()
	key := keyField(o, field)
	a.DB.RUnlock()
	if key == nil {
		reply.Errors(c.W, http.StatusNotFound, reply.Error{Code: "NOT_FOUND", Message: "Provided external ID field does not exist or is not accessible: " + field})
		return
	}
	list, allOrNone, ok := c.records()
	if !ok {
		return
	}
	a.DB.RLock()
	rows := make([]save.Row, len(list))
	for i := range list {
		t, fault := a.typeOf(c, &list[i])
		switch {
		case fault != nil:
			rows[i].Fault = fault
		case t != o:
			rows[i].Fault = &save.Error{Code: "INVALID_TYPE", Message: "sObject type '" + t.Name + "' does not match the type of the request, " + o.Name}
		default:
			rows[i] = a.row(o, &list[i])
			if key.Virtual == schema.ID {
				rows[i].Key = rows[i].ID
			} else if v := list[i].get(key.Name); v != nil {
				rows[i].Key = v.text
				if rows[i].ID != "" {
					rows[i].Fault = &save.Error{Code: "INVALID_FIELD", Message: "cannot specify both an external ID reference and a salesforce id, " + o.Name}
				}
			}
		}
	}
	a.DB.RUnlock()
	c.answerCollection(a.Pipeline.Batch(c.Caller(), a.table(o), save.Upsert, key, rows, allOrNone), true)
}

func (a *API) collectionDelete(c *Call) {
	q := c.R.URL.Query()
	var ids []string
	for _, id := range strings.Split(q.Get("ids"), ",") {
		if id = strings.TrimSpace(id); id != "" {
			ids = append(ids, id)
		}
	}
	switch {
	case len(ids) == 0:
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "REQUIRED_FIELD_MISSING", Message: "At least 1 record is required"})
		return
	case len(ids) > maxCollection:
		reply.Errors(c.W, http.StatusBadRequest, tooMany(maxCollection))
		return
	}
	objects := make([]*schema.Object, len(ids))
	rows := make([]save.Row, len(ids))
	a.DB.RLock()
	for i, id := range ids {
		rows[i].ID = id
		canonical, ok := store.ValidID(id)
		if ok {
			objects[i] = c.Schema.ByPrefix(canonical[:3])
		}
		if objects[i] == nil {
			rows[i].Fault = &save.Error{Code: "MALFORMED_ID", Message: "malformed id " + id}
			objects[i] = c.Schema.Object("User")
			if i > 0 {
				objects[i] = objects[i-1]
			}
		}
	}
	a.DB.RUnlock()
	c.answerCollection(a.batches(c, save.Delete, objects, rows, strings.EqualFold(q.Get("allOrNone"), "true")), false)
}

func (a *API) collectionRetrieve(c *Call, object string) {
	o := c.object(object)
	if o == nil {
		reply.NotFound(c.W)
		return
	}
	var ids, names []string
	limit := maxRetrieve
	if c.verb() == http.MethodPost {
		v, ok := c.body()
		if !ok {
			return
		}
		ids, names = v.get("ids").strings(), v.get("fields").strings()
	} else {
		q := c.R.URL.Query()
		ids, names = split(q.Get("ids")), split(q.Get("fields"))
	}
	switch {
	case len(ids) == 0:
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "MALFORMED_QUERY", Message: "ids must be specified"})
		return
	case len(names) == 0:
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "MALFORMED_QUERY", Message: "fields must be specified"})
		return
	case len(ids) > limit:
		reply.Errors(c.W, http.StatusBadRequest, tooMany(limit))
		return
	}
	a.DB.RLock()
	defer a.DB.RUnlock()
	var fields []*schema.Field
	for _, n := range names {
		f := o.Field(n)
		if f == nil {
			reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "INVALID_FIELD", Message: fmt.Sprintf("No such column '%s' on sobject of type %s", n, o.Name)})
			return
		}
		fields = append(fields, f)
	}
	t := a.table(o)
	b := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		canonical, ok := store.ValidID(id)
		n := uint32(0)
		if ok {
			n = t.Serial(canonical)
		}
		if n == 0 || t.Row(n).State != store.Live {
			b = append(b, "null"...)
			continue
		}
		b = appendFields(b, c.Base, t, n, fields)
	}
	reply.Raw(c.W, http.StatusOK, append(b, ']'))
}

func split(s string) []string {
	var out []string
	for _, p := range strings.Split(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

func (v *value) strings() []string {
	if v == nil {
		return nil
	}
	var out []string
	for _, e := range v.list {
		out = append(out, e.text)
	}
	return out
}
