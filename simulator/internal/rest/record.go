package rest

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/query"
	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// sobjects routes /sobjects/...
func (a *API) sobjects(c *Call, path []string) {
	if len(path) == 0 {
		if c.method(http.MethodGet) {
			a.describeGlobal(c)
		}
		return
	}
	o := c.object(path[0])
	if o == nil {
		reply.NotFound(c.W)
		return
	}
	if len(path) == 1 {
		switch c.verb() {
		case http.MethodPost:
			a.create(c, o)
		default:
			if c.method(http.MethodGet, http.MethodPost) {
				a.basicInfo(c, o)
			}
		}
		return
	}
	if len(path) == 2 {
		switch strings.ToLower(path[1]) {
		case "describe":
			if c.method(http.MethodGet) {
				a.describe(c, o)
			}
			return
		case "updated", "deleted":
			if c.method(http.MethodGet) {
				a.replication(c, o, strings.ToLower(path[1]) == "deleted")
			}
			return
		case "id":
			if c.verb() == http.MethodPost {
				a.create(c, o)
				return
			}
		case "listviews":
			reply.JSON(c.W, http.StatusOK, map[string]any{"done": true, "listviews": []string{}, "nextRecordsUrl": nil, "size": 0, "sobjectType": o.Name})
			return
		}
		a.byID(c, o, path[1])
		return
	}
	if strings.EqualFold(path[1], "describe") {
		reply.NotFound(c.W)
		return
	}
	a.byKey(c, o, path[1], strings.Join(path[2:], "/")) // a value with slashes may come unescaped
}

// object finds an object that the user may see. The call's schema is the org's own or a copy; neither loses objects.
func (c *Call) object(name string) *schema.Object { return c.Schema.Object(name) }

func (a *API) table(o *schema.Object) *store.Table { return a.DB.Table(o.Name) }

func (a *API) create(c *Call, o *schema.Object) {
	v, ok := c.body()
	if !ok {
		return
	}
	if !o.Has('c') {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", Message: "entity type cannot be inserted: " + o.Label, Fields: []string{}})
		return
	}
	row := a.readRow(o, v)
	if row.ID != "" {
		c.fail([]save.Error{{Code: "INVALID_FIELD", Message: "cannot specify Id in an insert call", Fields: []string{"Id"}}})
		return
	}
	r := a.Pipeline.Batch(c.Caller(), a.table(o), save.Insert, nil, []save.Row{row}, false)[0]
	if !r.OK() {
		c.fail(r.Errors)
		return
	}
	c.created(o, r.ID, false)
}

// readRow is row under the read lock that the schema needs.
func (a *API) readRow(o *schema.Object, v *value, skip ...string) save.Row {
	a.DB.RLock()
	defer a.DB.RUnlock()
	return a.row(o, v, skip...)
}

type saved struct {
	ID      string   `json:"id"`
	Success bool     `json:"success"`
	Errors  []string `json:"errors"`
	Created *bool    `json:"created,omitempty"`
}

func (c *Call) created(o *schema.Object, id string, upsert bool) {
	out := saved{ID: id, Success: true, Errors: []string{}}
	if upsert && c.Number() >= 46 {
		yes := true
		out.Created = &yes
	}
	c.W.Header().Set("Location", c.Base+"/sobjects/"+o.Name+"/"+id)
	reply.JSON(c.W, http.StatusCreated, out)
}

// byID serves /sobjects/X/{id}.
func (a *API) byID(c *Call, o *schema.Object, id string) {
	canonical, ok := store.ValidID(id)
	if !ok {
		reply.Errors(c.W, http.StatusNotFound, reply.Error{Code: "NOT_FOUND", Message: "Provided external ID field does not exist or is not accessible: " + id})
		return
	}
	switch c.verb() {
	case http.MethodGet, http.MethodHead:
		a.retrieve(c, o, canonical)
	case http.MethodPatch:
		a.update(c, o, canonical)
	case http.MethodDelete:
		if a.unmodified(c, o, canonical) {
			a.remove(c, o, canonical)
		}
	default:
		c.method(http.MethodGet, http.MethodPatch, http.MethodDelete)
	}
}

func (a *API) update(c *Call, o *schema.Object, id string) {
	v, ok := c.body()
	if !ok {
		return
	}
	if v.get("id") != nil {
		c.fail([]save.Error{{Code: "INVALID_FIELD", Message: "The Id field should not be specified in the sobject data.", Fields: []string{"Id"}}})
		return
	}
	if !a.unmodified(c, o, id) {
		return
	}
	row := a.readRow(o, v)
	row.ID = id
	r := a.Pipeline.Batch(c.Caller(), a.table(o), save.Update, nil, []save.Row{row}, false)[0]
	if !r.OK() {
		c.fail(r.Errors)
		return
	}
	c.W.WriteHeader(http.StatusNoContent)
}

// unmodified checks If-Unmodified-Since; on a mismatch it has answered 412.
func (a *API) unmodified(c *Call, o *schema.Object, id string) bool {
	since, err := http.ParseTime(c.R.Header.Get("If-Unmodified-Since"))
	if err != nil {
		return true
	}
	a.DB.RLock()
	defer a.DB.RUnlock()
	t := a.table(o)
	n := t.Serial(id)
	if n == 0 || !time.Unix(int64(t.Row(n).Modified), 0).After(since) {
		return true
	}
	reply.Errors(c.W, http.StatusPreconditionFailed, reply.Error{Code: "PRECONDITION_FAILED", Message: "The requested resource was modified since the given time"})
	return false
}

func (a *API) remove(c *Call, o *schema.Object, id string) {
	if !o.Has('d') {
		reply.MethodNotAllowed(c.W, c.verb(), "GET,HEAD,PATCH")
		return
	}
	r := a.Pipeline.Batch(c.Caller(), a.table(o), save.Delete, nil, []save.Row{{ID: id}}, false)[0]
	if !r.OK() {
		c.fail(r.Errors)
		return
	}
	c.W.WriteHeader(http.StatusNoContent)
}

// retrieve answers a record with the fields asked for, or all.
func (a *API) retrieve(c *Call, o *schema.Object, id string) {
	a.DB.RLock()
	defer a.DB.RUnlock()
	t := a.table(o)
	if id[:3] != o.Prefix {
		reply.NotFound(c.W)
		return
	}
	n := t.Serial(id)
	if n == 0 || t.Row(n).State != store.Live {
		reply.NotFound(c.W)
		return
	}
	if since, err := http.ParseTime(c.R.Header.Get("If-Modified-Since")); err == nil && !time.Unix(int64(t.Row(n).Modified), 0).After(since) {
		c.W.WriteHeader(http.StatusNotModified)
		return
	}
	fields := o.Fields
	if list := c.R.URL.Query().Get("fields"); list != "" {
		fields = nil
		for _, name := range strings.Split(list, ",") {
			f := o.Field(strings.TrimSpace(name))
			if f == nil {
				reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "INVALID_FIELD", Message: fmt.Sprintf("No such column '%s' on sobject of type %s", strings.TrimSpace(name), o.Name)})
				return
			}
			fields = append(fields, f)
		}
	}
	c.W.Header().Set("Last-Modified", time.Unix(int64(t.Row(n).Modified), 0).UTC().Format(http.TimeFormat))
	reply.Raw(c.W, http.StatusOK, appendFields(nil, c.Base, t, n, fields))
}

func appendFields(b []byte, base string, t *store.Table, n uint32, fields []*schema.Field) []byte {
	b = query.AppendAttributes(b, base, t, n)
	row := t.Row(n)
	seen := map[*schema.Field]bool{}
	for _, f := range fields {
		if seen[f] {
			continue
		}
		seen[f] = true
		b = append(b, ',')
		b = query.AppendString(b, f.Name)
		b = append(b, ':')
		b = query.AppendJSON(b, t, n, row, f)
	}
	return append(b, '}')
}

// keyField finds an upsert key: an external id or idLookup field.
func keyField(o *schema.Object, name string) *schema.Field {
	f := o.Field(name)
	if f == nil || !f.ExternalID && !f.IDLookup {
		return nil
	}
	return f
}

// byKey serves /sobjects/X/{field}/{value}.
func (a *API) byKey(c *Call, o *schema.Object, field, value string) {
	a.DB.RLock()
	key := keyField(o, field)
	a.DB.RUnlock()
	if key == nil {
		reply.Errors(c.W, http.StatusNotFound, reply.Error{Code: "NOT_FOUND", Message: "Provided external ID field does not exist or is not accessible: " + field})
		return
	}
	switch c.verb() {
	case http.MethodPatch:
		a.upsert(c, o, key, value)
	case http.MethodGet, http.MethodHead, http.MethodDelete:
		ids := a.matches(o, key, value)
		switch {
		case len(ids) == 0:
			reply.NotFound(c.W)
		case len(ids) > 1:
			c.choices(o, ids)
		case c.verb() == http.MethodDelete:
			a.remove(c, o, ids[0])
		default:
			a.retrieve(c, o, ids[0])
		}
	default:
		c.method(http.MethodGet, http.MethodPatch, http.MethodDelete)
	}
}

func (c *Call) choices(o *schema.Object, ids []string) {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = c.Base + "/sobjects/" + o.Name + "/" + id
	}
	reply.JSON(c.W, http.StatusMultipleChoices, out)
}

func (a *API) matches(o *schema.Object, key *schema.Field, value string) []string {
	a.DB.RLock()
	defer a.DB.RUnlock()
	t := a.table(o)
	if key.Virtual == schema.ID {
		id, ok := store.ValidID(value)
		if !ok {
			return nil
		}
		if n := t.Serial(id); n == 0 || t.Row(n).State != store.Live {
			return nil
		}
		return []string{id}
	}
	var ids []string
	for n := range t.Lookup(key, strings.TrimSpace(value)) {
		if t.Row(n).State == store.Live {
			ids = append(ids, t.ID(n))
		}
	}
	return ids
}

func (a *API) upsert(c *Call, o *schema.Object, key *schema.Field, value string) {
	v, ok := c.body()
	if !ok {
		return
	}
	if v.get(key.Name) != nil {
		c.fail([]save.Error{{Code: "INVALID_FIELD", Message: fmt.Sprintf("The %s field should not be specified in the sobject data.", key.Name), Fields: []string{key.Name}}})
		return
	}
	if v.get("id") != nil {
		c.fail([]save.Error{{Code: "INVALID_FIELD", Message: "The Id field should not be specified in the sobject data.", Fields: []string{"Id"}}})
		return
	}
	row := a.readRow(o, v)
	row.Key = value
	if key.Virtual != schema.ID {
		row.Columns = append(row.Columns, save.Column{Name: key.Name, Field: key})
		row.Values = append(row.Values, save.Value{Kind: save.Text, Text: value})
	}
	if strings.EqualFold(c.R.URL.Query().Get("updateOnly"), "true") && len(a.matches(o, key, value)) == 0 {
		reply.NotFound(c.W)
		return
	}
	r := a.Pipeline.Batch(c.Caller(), a.table(o), save.Upsert, key, []save.Row{row}, false)[0]
	switch {
	case !r.OK() && r.Errors[0].Status == http.StatusMultipleChoices:
		c.choices(o, r.Errors[0].Matches)
	case !r.OK():
		c.fail(r.Errors)
	case r.Created:
		c.created(o, r.ID, true)
	case c.Number() < 46:
		c.W.WriteHeader(http.StatusNoContent)
	default:
		no := false
		reply.JSON(c.W, http.StatusOK, saved{ID: r.ID, Success: true, Errors: []string{}, Created: &no})
	}
}
