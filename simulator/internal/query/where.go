package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/soql"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// test says whether a record meets a condition.
type test func(n uint32, r *store.Row) bool

// candidates are serials that an index offers for a condition: a superset of those that meet it.
type candidates func() []uint32

// cond is a compiled condition.
type cond struct {
	test test
	from candidates // nil: only a scan finds them
}

func (c *compiler) where(e soql.Expr) (cond, *soql.Error) {
	switch e := e.(type) {
	case *soql.And:
		return c.and(e.Terms)
	case *soql.Or:
		return c.or(e.Terms)
	case *soql.Not:
		t, err := c.where(e.Term)
		if err != nil {
			return cond{}, err
		}
		return cond{test: func(n uint32, r *store.Row) bool { return !t.test(n, r) }}, nil
	case *soql.Compare:
		return c.compare(e)
	}
	return cond{}, &soql.Error{Code: "MALFORMED_QUERY", Message: "unexpected condition"}
}

func (c *compiler) terms(exprs []soql.Expr) ([]cond, *soql.Error) {
	out := make([]cond, 0, len(exprs))
	for _, e := range exprs {
		t, err := c.where(e)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func (c *compiler) and(exprs []soql.Expr) (cond, *soql.Error) {
	terms, err := c.terms(exprs)
	if err != nil {
		return cond{}, err
	}
	out := cond{test: func(n uint32, r *store.Row) bool {
		for i := range terms {
			if !terms[i].test(n, r) {
				return false
			}
		}
		return true
	}}
	for _, t := range terms {
		if t.from != nil {
			out.from = t.from
			break
		}
	}
	return out, nil
}

func (c *compiler) or(exprs []soql.Expr) (cond, *soql.Error) {
	terms, err := c.terms(exprs)
	if err != nil {
		return cond{}, err
	}
	out := cond{test: func(n uint32, r *store.Row) bool {
		for i := range terms {
			if terms[i].test(n, r) {
				return true
			}
		}
		return false
	}}
	for _, t := range terms {
		if t.from == nil {
			return out, nil
		}
	}
	out.from = func() []uint32 {
		var all []uint32
		for _, t := range terms {
			all = append(all, t.from()...)
		}
		return all
	}
	return out, nil
}

func (c *compiler) compare(e *soql.Compare) (cond, *soql.Error) {
	if e.Item.Func != "" {
		return c.compareFunc(e)
	}
	p, err := resolve(c.schema, c.q, c.object, e.Item.Path, e.Item.Pos)
	if err != nil {
		return cond{}, err
	}
	f := p.field
	if !f.Filterable || f.Type == "address" {
		return cond{}, soql.At(c.q.Text, e.Item.Pos, "INVALID_FIELD", fmt.Sprintf("field '%s' can not be filtered in a query call", f.Name))
	}
	if e.Sub != nil {
		return c.semiJoin(e, p)
	}
	switch e.Op {
	case "IN", "NOT IN":
		return c.in(e, p)
	case "INCLUDES", "EXCLUDES":
		return c.includes(e, p)
	case "LIKE":
		return c.like(e, p)
	}
	if f.Type == "date" || f.Type == "datetime" {
		return c.compareTime(e, p)
	}
	want, err := c.operand(f, e.Value, e)
	if err != nil {
		return cond{}, err
	}
	if (e.Op != "=" && e.Op != "!=") && (f.Type == "boolean" || e.Value.Kind == soql.Null) {
		return cond{}, soql.At(c.q.Text, e.Pos, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator")
	}
	out := cond{test: c.comparison(p, e.Op, want)}
	if e.Op == "=" && want != "" {
		out.from = c.lookup(p, []string{want})
	}
	return out, nil
}

// comparison compares as the field's type does; want is canonical.
func (c *compiler) comparison(p path, op, want string) test {
	get := c.getter(p)
	f := p.field
	if numeric(f) && want != "" {
		w, _ := strconv.ParseFloat(want, 64)
		return func(n uint32, r *store.Row) bool {
			v := get(n, r)
			if v == "" {
				return op == "!="
			}
			x, _ := strconv.ParseFloat(v, 64)
			return holds(op, compareFloat(x, w))
		}
	}
	exact := f.Type == "id" || f.Type == "reference" || f.CaseSensitive || f.Type == "boolean"
	switch op {
	case "=":
		return func(n uint32, r *store.Row) bool {
			v := get(n, r)
			return v == want || !exact && strings.EqualFold(v, want)
		}
	case "!=":
		return func(n uint32, r *store.Row) bool {
			v := get(n, r)
			return v != want && (exact || !strings.EqualFold(v, want))
		}
	}
	folded := want
	if !exact {
		folded = strings.ToLower(want)
	}
	return func(n uint32, r *store.Row) bool {
		v := get(n, r)
		if v == "" {
			return false
		}
		if !exact {
			v = strings.ToLower(v)
		}
		return holds(op, strings.Compare(v, folded))
	}
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func holds(op string, cmp int) bool {
	switch op {
	case "=":
		return cmp == 0
	case "!=":
		return cmp != 0
	case "<":
		return cmp < 0
	case "<=":
		return cmp <= 0
	case ">":
		return cmp > 0
	case ">=":
		return cmp >= 0
	}
	return false
}

func numeric(f *schema.Field) bool {
	switch f.Type {
	case "int", "long", "double", "currency", "percent":
		return true
	}
	return false
}

// operand checks that a literal suits a field and gives it in stored form.
func (c *compiler) operand(f *schema.Field, l soql.Literal, e *soql.Compare) (string, *soql.Error) {
	if l.Kind == soql.Null {
		return "", nil
	}
	wrong := func(kind, quotes string) *soql.Error {
		return soql.At(c.q.Text, e.Item.Pos, "INVALID_FIELD", fmt.Sprintf("value of filter criterion for field '%s' must be of type %s and should %sbe enclosed in quotes", f.Name, kind, quotes))
	}
	switch {
	case f.Type == "boolean":
		if l.Kind != soql.Bool {
			return "", wrong("boolean", "not ")
		}
		return l.Text, nil
	case numeric(f):
		if l.Kind != soql.Number {
			kind := "double"
			if f.Type == "int" {
				kind = "int"
			}
			return "", wrong(kind, "not ")
		}
		return l.Text, nil
	case l.Kind != soql.String:
		kind := "string"
		if f.Type == "reference" || f.Type == "id" {
			kind = "ID"
		}
		return "", wrong(kind, "")
	}
	if f.Type == "id" || f.Type == "reference" {
		if l.Text == "" {
			return "", nil
		}
		id, ok := store.ValidID(l.Text)
		if !ok {
			return "", soql.At(c.q.Text, e.Item.Pos, "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: "+l.Text)
		}
		return id, nil
	}
	return l.Text, nil
}

func (c *compiler) getter(p path) func(uint32, *store.Row) string {
	db, t := c.db, c.table
	if len(p.hops) > 0 {
		return func(n uint32, r *store.Row) string { return p.value(db, t, n, r) }
	}
	f := p.field
	if f.Virtual == schema.Stored && f.Type != "boolean" {
		slot := f.Slot
		return func(_ uint32, r *store.Row) string { return r.Get(slot) }
	}
	return func(n uint32, r *store.Row) string { return t.Value(n, r, f) }
}

// lookup offers the records that an index knows for values, or nil.
func (c *compiler) lookup(p path, values []string) candidates {
	if len(p.hops) > 0 {
		return nil
	}
	t, f := c.table, p.field
	if f.Virtual == schema.ID {
		return func() []uint32 {
			var out []uint32
			for _, v := range values {
				if n := t.Serial(v); n != 0 {
					out = append(out, n)
				}
			}
			return out
		}
	}
	if !t.Indexed(f) {
		return nil
	}
	return func() []uint32 {
		var out []uint32
		for _, v := range values {
			out = slices.AppendSeq(out, t.Lookup(f, v))
		}
		return out
	}
}

const (
	anyRun = -1
	anyOne = -2
)
