package query

import (
	"slices"
	"strconv"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/soql"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

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
