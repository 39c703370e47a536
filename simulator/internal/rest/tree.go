package rest

import (
	"net/http"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/reply"
	"github.com/catalogsync/catalogsync/simulator/internal/save"
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
)

type treeResult struct {
	ReferenceID string      `json:"referenceId"`
	ID          string      `json:"id,omitempty"`
	Errors      []itemError `json:"errors,omitempty"`
}

// planting is one tree request on its way.
type planting struct {
	*API
	c    *Call
	tx   *save.Tx
	done []treeResult
	bad  []treeResult
	n    int
}

// tree creates records with their children, all or none.
func (a *API) tree(c *Call, object string) {
	o := c.object(object)
	if o == nil {
		reply.NotFound(c.W)
		return
	}
	v, ok := c.body()
	if !ok {
		return
	}
	records := v.get("records")
	if records == nil || len(records.list) == 0 {
		reply.Errors(c.W, http.StatusBadRequest, reply.Error{Code: "REQUIRED_FIELD_MISSING", Message: "At least 1 record is required"})
		return
	}
	p := &planting{API: a, c: c, tx: &save.Tx{}}
	p.plant(o, records.list, "", nil, 1)
	type answer struct {
		HasErrors bool         `json:"hasErrors"`
		Results   []treeResult `json:"results"`
	}
	if len(p.bad) > 0 {
		a.Pipeline.Rollback(p.tx)
		reply.JSON(c.W, http.StatusBadRequest, answer{true, p.bad})
		return
	}
	a.Pipeline.Commit(p.tx)
	reply.JSON(c.W, http.StatusCreated, answer{false, p.done})
}

func (p *planting) refuse(ref, code, message string, fields ...string) {
	p.bad = append(p.bad, treeResult{ReferenceID: ref, Errors: []itemError{{code, message, append([]string{}, fields...)}}})
}

// plant creates records of o below a parent, then their children.
func (p *planting) plant(o *schema.Object, records []value, parentID string, lookup *schema.Field, depth int) {
	for i := range records {
		v := &records[i]
		ref := ""
		if attrs := v.get("attributes"); attrs != nil {
			if r := attrs.get("referenceId"); r != nil {
				ref = r.text
			}
			if t := attrs.get("type"); t != nil && !strings.EqualFold(t.text, o.Name) {
				p.refuse(ref, "INVALID_TYPE", "the record's type "+t.text+" is not "+o.Name)
				continue
			}
		}
		p.n++
		switch {
		case ref == "":
			p.refuse(ref, "INVALID_INPUT", "Include a reference ID for each record in the request.")
			continue
		case p.n > maxTree:
			p.refuse(ref, "INVALID_INPUT", "The request has more than 200 records.")
			return
		case depth > maxTreeDepth:
			p.refuse(ref, "INVALID_INPUT", "The tree is deeper than 5 levels.")
			continue
		}
		own, children := p.split(o, v)
		row := p.readRow(o, own)
		if lookup != nil {
			row.Columns = append(row.Columns, save.Column{Name: lookup.Name, Field: lookup})
			row.Values = append(row.Values, save.Value{Kind: save.Text, Text: parentID})
		}
		caller := p.c.Caller()
		caller.Tx = p.tx
		r := p.Pipeline.Batch(caller, p.table(o), save.Insert, nil, []save.Row{row}, false)[0]
		if !r.OK() {
			item := treeResult{ReferenceID: ref}
			for _, e := range r.Errors {
				item.Errors = append(item.Errors, itemError{e.Code, e.Message, append([]string{}, e.Fields...)})
			}
			p.bad = append(p.bad, item)
			continue
		}
		p.done = append(p.done, treeResult{ReferenceID: ref, ID: r.ID})
		for _, ch := range children {
			child := p.c.object(ch.rel.Object)
			p.plant(child, ch.records, r.ID, child.Field(ch.rel.Field), depth+1)
		}
	}
}

type branch struct {
	rel     schema.Child
	records []value
}

// split parts a record's own fields from its children.
func (p *planting) split(o *schema.Object, v *value) (*value, []branch) {
	p.DB.RLock()
	defer p.DB.RUnlock()
	own := &value{kind: v.kind}
	var children []branch
	for _, m := range v.members {
		if rel, ok := o.Child(m.name); ok && m.value.kind == save.Nested && o.Field(m.name) == nil {
			if records := m.value.get("records"); records != nil {
				children = append(children, branch{rel, records.list})
				continue
			}
		}
		own.members = append(own.members, m)
	}
	return own, children
}
