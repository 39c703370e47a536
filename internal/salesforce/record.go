package salesforce

import (
	"fmt"
	"hash/maphash"
	"strings"
)

// Column is one value wanted of each row: a field, a path to a parent's field (Account.Name) or the alias
// of an aggregate.
type Column struct {
	Name string
	Type FieldType // values are made canonical for it; empty leaves them as they come
}

// Columns returns columns without types.
func Columns(names ...string) []Column {
	out := make([]Column, len(names))
	for i, n := range names {
		out[i].Name = n
	}
	return out
}

// Record is one row: values in the order of the columns asked for. Both slices are used again for the next
// row; the strings may be kept.
type Record struct {
	Values []string // canonical; "" when null
	Null   []bool   // Salesforce has no empty text: a value is null or not empty
}

func (r *Record) set(i int, c *Column, raw string) error {
	v, err := Canonical(c.Type, raw)
	if err != nil {
		return fmt.Errorf("%w: column %s: %w", ErrMalformed, c.Name, err)
	}
	r.Values[i], r.Null[i] = v, v == ""
	return nil
}

func (r *Record) clear() {
	clear(r.Values)
	for i := range r.Null {
		r.Null[i] = true
	}
}

func newRecord(n int) *Record {
	return &Record{Values: make([]string, n), Null: make([]bool, n)}
}

// replay hands rows to fn exactly once although their page may be read several times: after an
// interruption the rows already handed out are compared, by hash, and passed over.
type replay struct {
	fn        func(*Record) error
	seed      maphash.Seed
	delivered int64
	sum       uint64 // hash of the rows delivered
	seen      int64  // rows of the copy being read
	hash      maphash.Hash
	failed    bool // fn returned an error: it is the caller's, and final
}

func newReplay(fn func(*Record) error) *replay {
	return &replay{fn: fn, seed: maphash.MakeSeed()}
}

// start begins a copy.
func (p *replay) start() {
	p.seen = 0
	p.hash.SetSeed(p.seed)
}

func (p *replay) row(r *Record) error {
	for i, v := range r.Values {
		_, _ = p.hash.WriteString(v)
		if r.Null[i] {
			_ = p.hash.WriteByte(0xff) // appears in no text
		}
		_ = p.hash.WriteByte(0xfe)
	}
	p.seen++
	if p.seen < p.delivered {
		return nil
	}
	if p.seen == p.delivered {
		if p.hash.Sum64() != p.sum {
			return ErrReplyChanged
		}
		return nil
	}
	if err := p.fn(r); err != nil {
		p.failed = true
		return err
	}
	p.delivered++
	p.sum = p.hash.Sum64()
	return nil
}

// end checks a copy that was read to its end.
func (p *replay) end() error {
	if p.seen < p.delivered {
		return ErrReplyChanged
	}
	return nil
}

// tree finds the columns in the nested objects of a REST record. Names are compared without case.
type tree struct {
	column   int // -1 when only a parent
	children []*tree
	byName   map[string]*tree // as asked for and in lower case
}

func newTree(columns []Column) (*tree, error) {
	root := &tree{column: -1}
	for i, c := range columns {
		n := root
		for part := range strings.SplitSeq(c.Name, ".") {
			next := n.child(part)
			if next == nil {
				if n.byName == nil {
					n.byName = make(map[string]*tree)
				}
				next = &tree{column: -1}
				n.children = append(n.children, next)
				n.byName[part], n.byName[strings.ToLower(part)] = next, next
			}
			n = next
		}
		if n.column >= 0 {
			return nil, fmt.Errorf("salesforce: column %s is asked for twice", c.Name)
		}
		n.column = i
	}
	return root, nil
}

// leaves counts the columns at and below n.
func (n *tree) leaves() int {
	count := 0
	if n.column >= 0 {
		count = 1
	}
	for _, c := range n.children {
		count += c.leaves()
	}
	return count
}

func (n *tree) child(key string) *tree {
	if c, ok := n.byName[key]; ok {
		return c
	}
	return n.byName[strings.ToLower(key)]
}

// rowDecoder reads REST records into one Record.
type rowDecoder struct {
	j       *jsonReader
	columns []Column
	root    *tree
	rec     *Record
}

// record reads the object whose brace has been read.
func (d *rowDecoder) record() error {
	d.rec.clear()
	seen, err := d.members(d.root, 0)
	if err != nil {
		return err
	}
	if seen != len(d.columns) {
		return malformed("a record has %d of the %d columns asked for", seen, len(d.columns))
	}
	return nil
}

// members fills the columns below n from the rest of an object and returns how many it has seen.
func (d *rowDecoder) members(n *tree, depth int) (int, error) {
	if depth > maxDepth {
		return 0, malformed("nested deeper than %d", maxDepth)
	}
	seen := 0
	err := d.j.members(func(key string) error {
		child := n.child(key)
		if child == nil {
			return d.j.skip()
		}
		t, err := d.j.token()
		if err != nil {
			return err
		}
		var raw string
		switch v := t.(type) {
		case nil:
			seen += child.leaves()
			return nil
		case string:
			raw = v
		case bool:
			raw = "false"
			if v {
				raw = "true"
			}
		case fmt.Stringer: // json.Number, json.Delim
			if v.String() == "{" && child.column < 0 {
				below, err := d.members(child, depth+1)
				seen += below
				return err
			}
			if s := v.String(); s == "{" || s == "[" {
				return malformed("column %s is compound: ask for its parts", d.columns[max(child.column, 0)].Name)
			}
			raw = v.String()
		}
		if child.column < 0 {
			return malformed("%s is no parent", key)
		}
		seen++
		return d.rec.set(child.column, &d.columns[child.column], raw)
	})
	return seen, err
}
