package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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

func (c *compiler) in(e *soql.Compare, p path) (cond, *soql.Error) {
	f := p.field
	if f.Type == "date" || f.Type == "datetime" {
		return c.inTimes(e, p)
	}
	exact := f.Type == "id" || f.Type == "reference" || f.CaseSensitive || f.Type == "boolean"
	set := make(map[string]bool, len(e.List))
	var values []string
	hasNull := false
	for _, l := range e.List {
		v, err := c.operand(f, l, e)
		if err != nil {
			return cond{}, err
		}
		if v == "" {
			hasNull = true
			continue
		}
		values = append(values, v)
		if numeric(f) {
			x, _ := strconv.ParseFloat(v, 64)
			v = strconv.FormatFloat(x, 'g', -1, 64)
		} else if !exact {
			v = strings.ToLower(v)
		}
		set[v] = true
	}
	get := c.getter(p)
	in := func(n uint32, r *store.Row) bool {
		v := get(n, r)
		switch {
		case v == "":
			return hasNull
		case numeric(f):
			x, _ := strconv.ParseFloat(v, 64)
			v = strconv.FormatFloat(x, 'g', -1, 64)
		case !exact:
			v = strings.ToLower(v)
		}
		return set[v]
	}
	if e.Op == "NOT IN" {
		return cond{test: func(n uint32, r *store.Row) bool { return !in(n, r) }}, nil
	}
	out := cond{test: in}
	if !hasNull {
		out.from = c.lookup(p, values)
	}
	return out, nil
}

func (c *compiler) includes(e *soql.Compare, p path) (cond, *soql.Error) {
	if p.field.Type != "multipicklist" {
		return cond{}, soql.At(c.q.Text, e.Pos, "INVALID_QUERY_FILTER_OPERATOR", "includes or excludes operator only valid on multipicklist field")
	}
	get := c.getter(p)
	test := func(n uint32, r *store.Row) bool {
		have := strings.Split(get(n, r), ";")
		for _, l := range e.List {
			all := true
			for _, w := range strings.Split(l.Text, ";") {
				all = all && slices.ContainsFunc(have, func(h string) bool { return strings.EqualFold(h, w) })
			}
			if all {
				return true
			}
		}
		return false
	}
	if e.Op == "EXCLUDES" {
		return cond{test: func(n uint32, r *store.Row) bool { return !test(n, r) }}, nil
	}
	return cond{test: test}, nil
}

func (c *compiler) like(e *soql.Compare, p path) (cond, *soql.Error) {
	f := p.field
	switch f.Type {
	case "string", "textarea", "phone", "email", "url", "picklist", "combobox", "encryptedstring":
	default:
		return cond{}, soql.At(c.q.Text, e.Pos, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on "+f.Type+" field")
	}
	if e.Value.Kind != soql.String {
		_, err := c.operand(f, e.Value, e)
		if err == nil {
			err = soql.At(c.q.Text, e.Pos, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator")
		}
		return cond{}, err
	}
	pattern := compileLike(e.Value.Like)
	get := c.getter(p)
	return cond{test: func(n uint32, r *store.Row) bool { return pattern.match(get(n, r)) }}, nil
}

// likePattern is a LIKE pattern as runes; anyRun and anyOne stand for % and _.
type likePattern []rune

const (
	anyRun = -1
	anyOne = -2
)

func compileLike(s string) likePattern {
	var p likePattern
	escaped := false
	for _, r := range strings.ToLower(s) {
		switch {
		case escaped:
			p = append(p, r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '%':
			p = append(p, anyRun)
		case r == '_':
			p = append(p, anyOne)
		default:
			p = append(p, r)
		}
	}
	return p
}

func (p likePattern) match(s string) bool {
	if s == "" && len(p) > 0 {
		return false // null is like nothing
	}
	v := []rune(strings.ToLower(s))
	i, j, star, mark := 0, 0, -1, 0
	for j < len(v) {
		switch {
		case i < len(p) && p[i] == anyRun:
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == anyOne || p[i] == v[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == anyRun {
		i++
	}
	return i == len(p)
}

// semiJoin is field IN (SELECT field FROM ...).
func (c *compiler) semiJoin(e *soql.Compare, p path) (cond, *soql.Error) {
	if c.joins++; c.joins > 2 {
		return cond{}, &soql.Error{Code: "EXCEEDED_MAX_SEMIJOIN_SUBSELECTS", Message: "Maximum 2 semi join sub-selects are allowed"}
	}
	sub, err := compile(c.db, c.schema, e.Sub, c.zone, c.now)
	if err != nil {
		return cond{}, err
	}
	if len(e.Sub.Select) != 1 || len(sub.root.items) != 1 || sub.root.items[0].path == nil {
		return cond{}, soql.At(c.q.Text, e.ValPos, "MALFORMED_QUERY", "Semi join sub-selects must select exactly one field")
	}
	inner := sub.root.items[0].path
	var set map[string]bool
	load := func() {
		set = map[string]bool{}
		for _, n := range sub.run() {
			if v := inner.value(c.db, sub.table, n, sub.table.Row(n)); v != "" {
				set[strings.ToLower(v)] = true
			}
		}
	}
	get := c.getter(p)
	negative := e.Op == "NOT IN"
	return cond{test: func(n uint32, r *store.Row) bool {
		if set == nil {
			load()
		}
		return set[strings.ToLower(get(n, r))] != negative
	}}, nil
}

func (c *compiler) compareFunc(e *soql.Compare) (cond, *soql.Error) {
	eval, f, err := c.function(e.Item)
	if err != nil {
		return cond{}, err
	}
	want, err := c.operand(f, e.Value, e)
	if err != nil {
		return cond{}, err
	}
	w, _ := strconv.ParseFloat(want, 64)
	return cond{test: func(n uint32, r *store.Row) bool {
		v := eval(n, r)
		if v == "" {
			return e.Op == "!="
		}
		x, _ := strconv.ParseFloat(v, 64)
		return holds(e.Op, compareFloat(x, w))
	}}, nil
}

var dateParts = map[string]func(time.Time) int{
	"CALENDAR_YEAR": time.Time.Year, "CALENDAR_MONTH": func(t time.Time) int { return int(t.Month()) },
	"CALENDAR_QUARTER": func(t time.Time) int { return (int(t.Month()) + 2) / 3 }, "DAY_IN_MONTH": time.Time.Day,
	"DAY_IN_WEEK": func(t time.Time) int { return int(t.Weekday()) + 1 }, "DAY_IN_YEAR": time.Time.YearDay,
	"FISCAL_YEAR": time.Time.Year, "FISCAL_QUARTER": func(t time.Time) int { return (int(t.Month()) + 2) / 3 },
	"FISCAL_MONTH": func(t time.Time) int { return int(t.Month()) }, "HOUR_IN_DAY": time.Time.Hour,
	"WEEK_IN_MONTH": func(t time.Time) int { return (t.Day()-1)/7 + 1 }, "WEEK_IN_YEAR": func(t time.Time) int { return (t.YearDay()-1)/7 + 1 },
}

// function compiles a date function of a field.
func (c *compiler) function(i soql.Item) (func(uint32, *store.Row) string, *schema.Field, *soql.Error) {
	part, ok := dateParts[i.Func]
	if !ok {
		return nil, nil, soql.At(c.q.Text, i.Pos, "MALFORMED_QUERY", fmt.Sprintf("unexpected token: '%s'", i.Func))
	}
	p, err := resolve(c.schema, c.q, c.object, i.Path, i.Pos)
	if err != nil {
		return nil, nil, err
	}
	if p.field.Type != "date" && p.field.Type != "datetime" {
		return nil, nil, soql.At(c.q.Text, i.Pos, "INVALID_FIELD", fmt.Sprintf("field %s does not support function %s", p.text, i.Func))
	}
	get := c.getter(p)
	zone := time.UTC
	if i.Inner != nil && i.Inner.Func == "CONVERTTIMEZONE" {
		zone = c.zone
	}
	return func(n uint32, r *store.Row) string {
		v := get(n, r)
		if len(v) < 10 {
			return ""
		}
		layout := "2006-01-02"
		if p.field.Type == "datetime" {
			layout = "2006-01-02T15:04:05.000Z"
		}
		t, err := time.Parse(layout, v)
		if err != nil {
			return ""
		}
		return strconv.Itoa(part(t.In(zone)))
	}, &schema.Field{Name: i.Func, Type: "int"}, nil
}
