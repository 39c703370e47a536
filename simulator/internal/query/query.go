// Package query gives SOQL its meaning: it compiles a parsed query against the schema, finds the records, and renders
// them as JSON or CSV.
//
// Callers hold the database's read lock around everything here.
package query

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/soql"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// maxOffset is the largest OFFSET that Salesforce takes.
const maxOffset = 2000

// Plan is a compiled query.
type Plan struct {
	Query *soql.Query
	Table *store.Table
	All   bool // deleted records too
	*compiled
}

// compiled is a query or subquery ready to run.
type compiled struct {
	db     *store.DB
	q      *soql.Query
	table  *store.Table
	all    bool
	cond   *cond
	root   *node
	orders []order
	groups *grouping
	limit  int
	offset int
}

type order struct {
	path       path
	descending bool
	nullsLast  bool
}

// node is one level of the result: the record itself or a parent of it.
type node struct {
	items []item
}

// item is one key of a node.
type item struct {
	key    string
	path   *path           // a field; nil otherwise
	hops   []*schema.Field // of a parent: how to get there from the record
	parent *node
	sub    *compiled
	child  *schema.Field // of a subquery: the child's reference to this record
	format string        // FORMAT, TOLABEL: how the value is shown
}

type compiler struct {
	db     *store.DB
	schema *schema.Schema // as the user sees it
	object *schema.Object
	q      *soql.Query
	table  *store.Table
	zone   *time.Location
	now    time.Time
	joins  int
}

// Compile checks a query against the schema as the user sees it; all takes deleted records in (queryAll).
func Compile(db *store.DB, s *schema.Schema, q *soql.Query, all bool, zone *time.Location) (*Plan, *soql.Error) {
	c, err := compile(db, s, q, zone, db.Now())
	if err != nil {
		return nil, err
	}
	c.all = all || q.AllRows
	return &Plan{Query: q, Table: c.table, All: c.all, compiled: c}, nil
}

func compile(db *store.DB, s *schema.Schema, q *soql.Query, zone *time.Location, now time.Time) (*compiled, *soql.Error) {
	o := s.Object(q.Object)
	if o == nil {
		return nil, soql.At(q.Text, q.FromPos, "INVALID_TYPE", fmt.Sprintf("sObject type '%s' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name.%s", q.Object, wsdl))
	}
	return compileOn(db, s, q, o, zone, now)
}

func compileOn(db *store.DB, s *schema.Schema, q *soql.Query, o *schema.Object, zone *time.Location, now time.Time) (*compiled, *soql.Error) {
	t := db.Table(o.Name)
	c := &compiler{db: db, schema: s, object: o, q: q, table: t, zone: zone, now: now}
	out := &compiled{db: db, q: q, table: t, limit: q.Limit, offset: q.Offset, all: q.AllRows}
	if !t.Object.Has('q') {
		return nil, &soql.Error{Code: "INVALID_TYPE_FOR_OPERATION", Message: "entity type " + t.Object.Name + " does not support query"}
	}
	if q.Offset > maxOffset {
		return nil, &soql.Error{Code: "NUMBER_OUTSIDE_VALID_RANGE", Message: fmt.Sprintf("Maximum SOQL offset allowed is %d", maxOffset)}
	}
	if q.Where != nil {
		w, err := c.where(q.Where)
		if err != nil {
			return nil, err
		}
		out.cond = &w
	}
	if err := c.checkAggregates(); err != nil {
		return nil, err
	}
	if q.Aggregate() {
		g, err := c.grouping()
		if err != nil {
			return nil, err
		}
		out.groups = g
		return out, nil
	}
	if q.Having != nil {
		return nil, soql.At(q.Text, q.Select[0].Pos, "MALFORMED_QUERY", "HAVING clause requires a GROUP BY clause")
	}
	var err *soql.Error
	if !q.CountOnly() {
		if out.root, err = c.selection(); err != nil {
			return nil, err
		}
	}
	for _, o := range q.OrderBy {
		if o.Item.Func != "" {
			return nil, soql.At(q.Text, o.Item.Pos, "MALFORMED_QUERY", "Ordered field must be grouped or aggregated: "+o.Item.Func)
		}
		p, err := resolve(c.schema, q, c.object, o.Item.Path, o.Item.Pos)
		if err != nil {
			return nil, err
		}
		if !p.field.Sortable {
			return nil, soql.At(q.Text, o.Item.Pos, "INVALID_FIELD", fmt.Sprintf("field '%s' can not be sorted in a query call", p.field.Name))
		}
		out.orders = append(out.orders, order{path: p, descending: o.Descending, nullsLast: o.NullsLast})
	}
	return out, nil
}

func (c *compiler) checkAggregates() *soql.Error {
	q := c.q
	for i, it := range q.Select {
		if it.Func == "COUNT" && len(it.Path) == 0 {
			if len(q.Select) > 1 {
				return soql.At(q.Text, q.Select[1].Pos, "MALFORMED_QUERY", "unexpected token: 'COUNT()' must be the only element in the select list")
			}
			if len(q.OrderBy) > 0 {
				return soql.At(q.Text, q.OrderBy[0].Item.Pos, "MALFORMED_QUERY", "count() query cannot have ORDER BY")
			}
			if len(q.GroupBy) > 0 {
				return soql.At(q.Text, q.Select[i].Pos, "MALFORMED_QUERY", "Grouped query must select a grouped field or an aggregate")
			}
		}
	}
	if q.Aggregate() && len(q.GroupBy) == 0 && q.Limit >= 0 {
		return &soql.Error{Code: "MALFORMED_QUERY", Message: "Non-grouped query that uses overall aggregate functions cannot also use LIMIT"}
	}
	return nil
}

// selection builds the tree of what is selected; parents named several times become one object.
func (c *compiler) selection() (*node, *soql.Error) {
	root := &node{}
	seen := map[string]bool{}
	for _, it := range c.q.Select {
		switch {
		case it.Sub != nil:
			sub, err := c.child(it)
			if err != nil {
				return nil, err
			}
			root.items = append(root.items, *sub)
			continue
		case it.Func == "FIELDS":
			if err := c.fieldsOf(root, it, seen); err != nil {
				return nil, err
			}
			continue
		case it.Func == "" || it.Func == "TOLABEL" || it.Func == "FORMAT":
		default:
			return nil, soql.At(c.q.Text, it.Pos, "MALFORMED_QUERY", fmt.Sprintf("unexpected token: '%s'", it.Func))
		}
		p, err := resolve(c.schema, c.q, c.object, it.Path, it.Pos)
		if err != nil {
			return nil, err
		}
		key := p.text
		if it.Alias != "" {
			if it.Func == "" {
				return nil, soql.At(c.q.Text, it.Pos, "MALFORMED_QUERY", "only aggregate expressions use field aliasing")
			}
			key = it.Alias
		}
		if seen[key] {
			return nil, soql.At(c.q.Text, it.Pos, "INVALID_FIELD", "duplicate field selected: "+p.text)
		}
		seen[key] = true
		if it.Alias != "" {
			root.items = append(root.items, item{key: it.Alias, path: &p, format: it.Func})
			continue
		}
		root.put(c.db, p, it.Func)
	}
	return root, nil
}

// put adds a field below the parents that lead to it.
func (n *node) put(db *store.DB, p path, format string) {
	at := n
	for i, h := range p.hops {
		j := slices.IndexFunc(at.items, func(x item) bool { return x.parent != nil && x.key == h.Relationship })
		if j < 0 {
			at.items = append(at.items, item{key: h.Relationship, hops: p.hops[:i+1], parent: &node{}})
			j = len(at.items) - 1
		}
		at = at.items[j].parent
	}
	at.items = append(at.items, item{key: p.name, path: &p, format: format})
}

func (c *compiler) fieldsOf(root *node, it soql.Item, seen map[string]bool) *soql.Error {
	kind := strings.ToUpper(strings.Join(it.Path, "."))
	if kind != "ALL" && kind != "STANDARD" && kind != "CUSTOM" {
		return soql.At(c.q.Text, it.Pos, "MALFORMED_QUERY", "FIELDS function must have one of ALL, CUSTOM, STANDARD")
	}
	if kind != "STANDARD" && (c.q.Limit < 0 || c.q.Limit > 200) {
		return &soql.Error{Code: "MALFORMED_QUERY", Message: "The SOQL FIELDS function must have a LIMIT of at most 200"}
	}
	added := false
	for _, f := range c.object.Fields {
		if kind == "STANDARD" && f.Custom || kind == "CUSTOM" && !f.Custom || seen[f.Name] {
			continue
		}
		seen[f.Name] = true
		added = true
		root.items = append(root.items, item{key: f.Name, path: &path{field: f, name: f.Name, text: f.Name}})
	}
	if !added {
		return &soql.Error{Code: "MALFORMED_QUERY", Message: "The SOQL FIELDS function found no field of that kind"}
	}
	return nil
}

func (c *compiler) child(it soql.Item) (*item, *soql.Error) {
	rel, ok := c.object.Child(it.Sub.Object)
	if !ok {
		return nil, soql.At(c.q.Text, it.Sub.FromPos, "INVALID_TYPE", fmt.Sprintf("Didn't understand relationship '%s' in FROM part of query call. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name.%s", it.Sub.Object, wsdl))
	}
	child := c.schema.Object(rel.Object)
	if child == nil || child.Field(rel.Field) == nil {
		return nil, soql.At(c.q.Text, it.Sub.FromPos, "INVALID_TYPE", fmt.Sprintf("Didn't understand relationship '%s' in FROM part of query call.%s", it.Sub.Object, wsdl))
	}
	sub, err := compileOn(c.db, c.schema, it.Sub, child, c.zone, c.now)
	if err != nil {
		return nil, err
	}
	return &item{key: rel.Relationship, sub: sub, child: child.Field(rel.Field)}, nil
}

// Find gives the serials of the records that the query answers, in order.
func (p *Plan) Find() []uint32 { return p.run() }

// Grouped reports whether the query answers groups instead of records.
func (p *Plan) Grouped() bool { return p.groups != nil }

func (c *compiled) keep(n uint32, r *store.Row) bool {
	if r.State == store.Purged || r.State == store.Binned && !c.all {
		return false
	}
	return c.cond == nil || c.cond.test(n, r)
}

func (c *compiled) matching() []uint32 {
	t := c.table
	var out []uint32
	if c.cond != nil && c.cond.from != nil {
		offered := c.cond.from()
		slices.Sort(offered)
		for _, n := range slices.Compact(offered) {
			if c.keep(n, t.Row(n)) {
				out = append(out, n)
			}
		}
		return out
	}
	enough := -1 // without an order the first rows will do
	if len(c.orders) == 0 && c.limit >= 0 && c.groups == nil {
		enough = c.offset + c.limit
	}
	for n := uint32(1); n <= t.Count() && len(out) != enough; n++ {
		if c.keep(n, t.Row(n)) {
			out = append(out, n)
		}
	}
	return out
}

func (c *compiled) run() []uint32 {
	out := c.matching()
	c.sort(out)
	if c.offset > 0 {
		out = out[min(c.offset, len(out)):]
	}
	if c.limit >= 0 && len(out) > c.limit {
		out = out[:c.limit]
	}
	return out
}

// sortKey is one value to order by, made once per record.
type sortKey struct {
	text string
	num  float64
}

func (c *compiled) sort(serials []uint32) {
	orders := c.orders
	if len(orders) == 0 || len(orders) == 1 && len(orders[0].path.hops) == 0 && orders[0].path.field.Virtual == schema.ID && !orders[0].descending {
		return // serials ascend as ids do
	}
	width := len(orders)
	keys := make([]sortKey, len(serials)*width)
	index := make([]int, len(serials))
	for i, n := range serials {
		index[i] = i
		row := c.table.Row(n)
		for j := range orders {
			keys[i*width+j] = makeKey(&orders[j].path, c.db, c.table, n, row)
		}
	}
	slices.SortFunc(index, func(a, b int) int {
		for j := range orders {
			if d := orders[j].compare(keys[a*width+j], keys[b*width+j]); d != 0 {
				return d
			}
		}
		return cmp.Compare(serials[a], serials[b])
	})
	sorted := make([]uint32, len(serials))
	for i, k := range index {
		sorted[i] = serials[k]
	}
	copy(serials, sorted)
}

func makeKey(p *path, db *store.DB, t *store.Table, n uint32, r *store.Row) sortKey {
	v := p.value(db, t, n, r)
	if numeric(p.field) {
		x, _ := strconv.ParseFloat(v, 64)
		return sortKey{text: v, num: x}
	}
	if p.field.Type != "id" && p.field.Type != "reference" {
		v = strings.ToLower(v)
	}
	return sortKey{text: v}
}

func (o *order) compare(a, b sortKey) int {
	if a.text == "" || b.text == "" {
		switch {
		case a.text == b.text:
			return 0
		case (a.text == "") != o.nullsLast:
			return -1
		}
		return 1
	}
	d := 0
	if numeric(o.path.field) {
		d = cmp.Compare(a.num, b.num)
	} else {
		d = strings.Compare(a.text, b.text)
	}
	if o.descending {
		return -d
	}
	return d
}

// Columns names what is selected, as the header of a Bulk result: "Account.Name". It fails for what Bulk cannot select.
func (p *Plan) Columns() ([]string, []*schema.Field, bool) {
	var names []string
	var fields []*schema.Field
	ok := true
	var visit func(n *node)
	visit = func(n *node) {
		for _, it := range n.items {
			switch {
			case it.parent != nil:
				visit(it.parent)
			case it.path != nil:
				names = append(names, it.path.text)
				fields = append(fields, it.path.field)
			default:
				ok = false
			}
		}
	}
	if p.root != nil {
		visit(p.root)
	}
	return names, fields, ok
}
