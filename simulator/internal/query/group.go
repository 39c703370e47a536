package query

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/soql"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// grouping is a compiled aggregate query.
type grouping struct {
	keys    []groupKey
	outputs []output
	sums    []aggregate
	having  func(*group) bool
	orders  []groupOrder
}

type groupKey struct {
	text  string
	eval  func(uint32, *store.Row) string
	field *schema.Field
}

type aggregate struct {
	fn   string
	text string // canonical "COUNT(Account.Name)"
	path *path  // nil: COUNT()
	num  bool
	typ  *schema.Field
}

// output is one selected key of a group.
type output struct {
	name     string
	key, agg int // one of them, the other -1
}

type groupOrder struct {
	key, agg   int
	descending bool
	nullsLast  bool
}

type group struct {
	keys   []string
	states []state
}

type state struct {
	count    int
	sum      *big.Rat
	min, max string
	distinct map[string]bool
}

func (c *compiler) grouping() (*grouping, *soql.Error) {
	g := &grouping{}
	for _, it := range c.q.GroupBy {
		var k groupKey
		if it.Func != "" {
			eval, f, err := c.function(it)
			if err != nil {
				return nil, err
			}
			k = groupKey{text: strings.ToLower(it.Func + "(" + strings.Join(it.Path, ".") + ")"), eval: eval, field: f}
		} else {
			p, err := resolve(c.schema, c.q, c.object, it.Path, it.Pos)
			if err != nil {
				return nil, err
			}
			if !p.field.Groupable {
				return nil, soql.At(c.q.Text, it.Pos, "MALFORMED_QUERY", fmt.Sprintf("field '%s' can not be grouped in a query call", p.field.Name))
			}
			k = groupKey{text: strings.ToLower(p.text), eval: c.getter(p), field: p.field}
		}
		g.keys = append(g.keys, k)
	}
	unnamed := 0
	for _, it := range c.q.Select {
		if it.Sub != nil || it.Func == "FIELDS" {
			return nil, soql.At(c.q.Text, it.Pos, "MALFORMED_QUERY", "Grouped query cannot use child relationships in the SELECT list")
		}
		key, agg, err := c.groupItem(g, it)
		if err != nil {
			return nil, err
		}
		name := it.Alias
		switch {
		case name != "":
		case it.Func != "":
			name = "expr" + strconv.Itoa(unnamed)
			unnamed++
		default:
			name = g.keys[key].field.Name
		}
		if slices.ContainsFunc(g.outputs, func(o output) bool { return strings.EqualFold(o.name, name) }) {
			return nil, soql.At(c.q.Text, it.Pos, "MALFORMED_QUERY", "duplicate alias: "+name)
		}
		g.outputs = append(g.outputs, output{name: name, key: key, agg: agg})
	}
	if c.q.Having != nil {
		h, err := c.having(g, c.q.Having)
		if err != nil {
			return nil, err
		}
		g.having = h
	}
	for _, o := range c.q.OrderBy {
		key, agg, err := c.groupItem(g, o.Item)
		if err != nil {
			return nil, err
		}
		g.orders = append(g.orders, groupOrder{key: key, agg: agg, descending: o.Descending, nullsLast: o.NullsLast})
	}
	return g, nil
}

// groupItem finds which key or aggregate an item means; aggregates are added.
func (c *compiler) groupItem(g *grouping, it soql.Item) (key, agg int, err *soql.Error) {
	if !it.Aggregate() {
		text := strings.ToLower(it.Func + "(" + strings.Join(it.Path, ".") + ")")
		if it.Func == "" {
			if i := slices.IndexFunc(g.outputs, func(o output) bool { return len(it.Path) == 1 && o.name == it.Path[0] }); i >= 0 && len(g.outputs) > 0 && c.object.Field(it.Path[0]) == nil {
				return g.outputs[i].key, g.outputs[i].agg, nil
			}
			p, err := resolve(c.schema, c.q, c.object, it.Path, it.Pos)
			if err != nil {
				return 0, 0, err
			}
			text = strings.ToLower(p.text)
		}
		i := slices.IndexFunc(g.keys, func(k groupKey) bool { return k.text == text })
		if i < 0 {
			return 0, 0, soql.At(c.q.Text, it.Pos, "MALFORMED_QUERY", "Field must be grouped or aggregated: "+strings.Join(it.Path, "."))
		}
		return i, -1, nil
	}
	a := aggregate{fn: it.Func, text: it.Func + "()"}
	if len(it.Path) > 0 {
		p, err := resolve(c.schema, c.q, c.object, it.Path, it.Pos)
		if err != nil {
			return 0, 0, err
		}
		a.path, a.num, a.typ = &p, numeric(p.field), p.field
		a.text = it.Func + "(" + p.text + ")"
		if (it.Func == "SUM" || it.Func == "AVG") && !a.num || (it.Func == "MIN" || it.Func == "MAX") && (p.field.Type == "boolean" || p.field.Type == "address") {
			return 0, 0, soql.At(c.q.Text, it.Pos, "MALFORMED_QUERY", fmt.Sprintf("field %s does not support aggregate operator %s", p.field.Name, it.Func))
		}
	} else if it.Func != "COUNT" {
		return 0, 0, soql.At(c.q.Text, it.Pos, "MALFORMED_QUERY", "unexpected token: ')'")
	}
	if i := slices.IndexFunc(g.sums, func(x aggregate) bool { return x.text == a.text }); i >= 0 {
		return -1, i, nil
	}
	g.sums = append(g.sums, a)
	return -1, len(g.sums) - 1, nil
}

func (c *compiler) having(g *grouping, e soql.Expr) (func(*group) bool, *soql.Error) {
	switch e := e.(type) {
	case *soql.And, *soql.Or:
		var terms []soql.Expr
		all := false
		if a, ok := e.(*soql.And); ok {
			terms, all = a.Terms, true
		} else {
			terms = e.(*soql.Or).Terms
		}
		var tests []func(*group) bool
		for _, t := range terms {
			f, err := c.having(g, t)
			if err != nil {
				return nil, err
			}
			tests = append(tests, f)
		}
		return func(x *group) bool {
			for _, t := range tests {
				if t(x) != all {
					return !all
				}
			}
			return all
		}, nil
	case *soql.Not:
		t, err := c.having(g, e.Term)
		if err != nil {
			return nil, err
		}
		return func(x *group) bool { return !t(x) }, nil
	case *soql.Compare:
		key, agg, err := c.groupItem(g, e.Item)
		if err != nil {
			return nil, err
		}
		var lits []soql.Literal
		switch e.Op {
		case "LIKE", "INCLUDES", "EXCLUDES":
			return nil, soql.At(c.q.Text, e.Pos, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator in HAVING")
		case "IN", "NOT IN":
			lits = e.List
		default:
			lits = []soql.Literal{e.Value}
		}
		return func(x *group) bool {
			v := g.value(x, key, agg)
			for _, l := range lits {
				d := 0
				if l.Kind == soql.Number {
					a, _ := strconv.ParseFloat(v, 64)
					b, _ := strconv.ParseFloat(l.Text, 64)
					d = compareFloat(a, b)
				} else {
					d = strings.Compare(strings.ToLower(v), strings.ToLower(l.Text))
				}
				switch e.Op {
				case "IN":
					if d == 0 {
						return true
					}
				case "NOT IN":
					if d == 0 {
						return false
					}
				default:
					return holds(e.Op, d)
				}
			}
			return e.Op == "NOT IN"
		}, nil
	}
	return nil, &soql.Error{Code: "MALFORMED_QUERY", Message: "unexpected condition"}
}

func (g *grouping) value(x *group, key, agg int) string {
	if agg < 0 {
		return x.keys[key]
	}
	s := &x.states[agg]
	switch a := g.sums[agg]; a.fn {
	case "COUNT":
		return strconv.Itoa(s.count)
	case "COUNT_DISTINCT":
		return strconv.Itoa(len(s.distinct))
	case "SUM":
		if s.sum == nil {
			return ""
		}
		return s.sum.FloatString(10)
	case "AVG":
		if s.sum == nil {
			return ""
		}
		return new(big.Rat).Quo(s.sum, big.NewRat(int64(s.count), 1)).FloatString(10)
	case "MIN":
		return s.min
	default:
		return s.max
	}
}

// groups runs an aggregate query.
func (c *compiled) groupRows() []*group {
	g := c.groups
	byKey := map[string]*group{}
	var list []*group
	for _, n := range c.matching() {
		row := c.table.Row(n)
		keys := make([]string, len(g.keys))
		for i, k := range g.keys {
			keys[i] = k.eval(n, row)
		}
		id := strings.ToLower(strings.Join(keys, "\x00"))
		x := byKey[id]
		if x == nil {
			x = &group{keys: keys, states: make([]state, len(g.sums))}
			byKey[id] = x
			list = append(list, x)
		}
		for i := range g.sums {
			x.states[i].add(&g.sums[i], c, n, row)
		}
	}
	if len(g.keys) == 0 && len(list) == 0 {
		list = append(list, &group{states: make([]state, len(g.sums))})
	}
	if g.having != nil {
		list = slices.DeleteFunc(list, func(x *group) bool { return !g.having(x) })
	}
	slices.SortStableFunc(list, func(a, b *group) int { return g.compare(a, b) })
	list = list[min(c.offset, len(list)):]
	if c.limit >= 0 && len(list) > c.limit {
		list = list[:c.limit]
	}
	return list
}

func (g *grouping) compare(a, b *group) int {
	for _, o := range g.orders {
		x, y := g.value(a, o.key, o.agg), g.value(b, o.key, o.agg)
		if x == y {
			continue
		}
		if x == "" || y == "" {
			if (x == "") != o.nullsLast {
				return -1
			}
			return 1
		}
		d := 0
		if o.agg >= 0 && (g.sums[o.agg].num || strings.HasPrefix(g.sums[o.agg].fn, "COUNT")) || o.key >= 0 && numeric(g.keys[o.key].field) {
			p, _ := strconv.ParseFloat(x, 64)
			q, _ := strconv.ParseFloat(y, 64)
			d = compareFloat(p, q)
		} else {
			d = strings.Compare(strings.ToLower(x), strings.ToLower(y))
		}
		if o.descending {
			d = -d
		}
		if d != 0 {
			return d
		}
	}
	return 0
}

func (s *state) add(a *aggregate, c *compiled, n uint32, r *store.Row) {
	if a.path == nil {
		s.count++
		return
	}
	v := a.path.value(c.db, c.table, n, r)
	if v == "" {
		return
	}
	s.count++
	switch a.fn {
	case "COUNT_DISTINCT":
		if s.distinct == nil {
			s.distinct = map[string]bool{}
		}
		s.distinct[strings.ToLower(v)] = true
	case "SUM", "AVG":
		if s.sum == nil {
			s.sum = new(big.Rat)
		}
		if x, ok := new(big.Rat).SetString(v); ok {
			s.sum.Add(s.sum, x)
		}
	case "MIN", "MAX":
		less := func(x, y string) bool { return strings.ToLower(x) < strings.ToLower(y) }
		if a.num {
			less = func(x, y string) bool {
				p, _ := strconv.ParseFloat(x, 64)
				q, _ := strconv.ParseFloat(y, 64)
				return p < q
			}
		}
		if s.min == "" || less(v, s.min) {
			s.min = v
		}
		if s.max == "" || less(s.max, v) {
			s.max = v
		}
	}
}
