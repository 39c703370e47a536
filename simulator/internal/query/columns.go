package query

import (
	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// Long reports whether a field is a text so long that Salesforce makes smaller pages of it.
func Long(f *schema.Field) bool { return f.Type == "textarea" && f.Length > 4000 }

// Metadata is the answer to ?columns=true.
type Metadata struct {
	Columns    []ColumnMetadata `json:"columnMetadata"`
	Entity     string           `json:"entityName"`
	GroupBy    bool             `json:"groupBy"`
	IDSelected bool             `json:"idSelected"`
	KeyPrefix  string           `json:"keyPrefix"`
}

// ColumnMetadata is one column of a query.
type ColumnMetadata struct {
	Aggregate  bool             `json:"aggregate"`
	ApexType   string           `json:"apexType"`
	Boolean    bool             `json:"booleanType"`
	Name       string           `json:"columnName"`
	Custom     bool             `json:"custom"`
	Display    string           `json:"displayName"`
	ForeignKey *string          `json:"foreignKeyName"`
	Insertable bool             `json:"insertable"`
	Join       []ColumnMetadata `json:"joinColumns"`
	Number     bool             `json:"numberType"`
	Text       bool             `json:"textType"`
	Updateable bool             `json:"updatable"`
}

// Metadata describes the columns of the query.
func (p *Plan) Metadata() Metadata {
	m := Metadata{Columns: []ColumnMetadata{}, Entity: p.Table.Object.Name, GroupBy: p.groups != nil, KeyPrefix: p.Table.Object.Prefix}
	if p.groups != nil {
		for _, o := range p.groups.outputs {
			m.Columns = append(m.Columns, ColumnMetadata{Aggregate: o.agg >= 0, Name: o.name, Display: o.name, ApexType: "String", Join: []ColumnMetadata{}})
		}
		return m
	}
	if p.root != nil {
		m.Columns = p.root.metadata()
		for _, it := range p.root.items {
			m.IDSelected = m.IDSelected || it.key == "Id"
		}
	}
	return m
}

func (n *node) metadata() []ColumnMetadata {
	out := []ColumnMetadata{}
	for _, it := range n.items {
		c := ColumnMetadata{Name: it.key, Display: it.key, Join: []ColumnMetadata{}}
		switch {
		case it.parent != nil:
			c.Join = it.parent.metadata()
			c.Aggregate = true
		case it.sub != nil:
			c.Aggregate = true
			if it.sub.root != nil {
				c.Join = it.sub.root.metadata()
			}
		default:
			f := it.path.field
			c.ApexType, c.Boolean, c.Number = "String", f.Type == "boolean", numeric(f)
			c.Text, c.Custom, c.Insertable, c.Updateable = !c.Boolean && !c.Number, f.Custom, f.Createable, f.Updateable
		}
		out = append(out, c)
	}
	return out
}

// CSV renders the selected columns of a query's records as rows of a Bulk result: every value quoted, null as "".
type CSV struct {
	paths []*path
	delim byte
	eol   string
	plan  *Plan
}

// CSV makes the renderer of a query.
func (p *Plan) CSV(delim byte, eol string) *CSV {
	c := &CSV{delim: delim, eol: eol, plan: p}
	var visit func(n *node)
	visit = func(n *node) {
		for i := range n.items {
			if n.items[i].parent != nil {
				visit(n.items[i].parent)
			} else if n.items[i].path != nil {
				c.paths = append(c.paths, n.items[i].path)
			}
		}
	}
	visit(p.root)
	return c
}

// AppendHeader appends the header line.
func (c *CSV) AppendHeader(b []byte) []byte {
	for i, p := range c.paths {
		if i > 0 {
			b = append(b, c.delim)
		}
		b = append(b, '"')
		b = append(b, p.text...)
		b = append(b, '"')
	}
	return append(b, c.eol...)
}

// AppendRow appends the record n as it was in row r.
func (c *CSV) AppendRow(b []byte, n uint32, r *store.Row) []byte {
	t := c.plan.Table
	for i, p := range c.paths {
		if i > 0 {
			b = append(b, c.delim)
		}
		if len(p.hops) > 0 {
			b = AppendCell(b, p.field.Type, p.value(c.plan.db, t, n, r))
			continue
		}
		switch p.field.Virtual {
		case schema.ID:
			b = append(b, '"')
			b = t.AppendID(b, n)
			b = append(b, '"')
		case schema.CreatedDate:
			b = appendQuotedTime(b, r.Created)
		case schema.ModifiedDate:
			b = appendQuotedTime(b, r.Modified)
		case schema.Modstamp:
			b = appendQuotedTime(b, r.Modstamp)
		default:
			b = AppendCell(b, p.field.Type, t.Value(n, r, p.field))
		}
	}
	return append(b, c.eol...)
}

func appendQuotedTime(b []byte, sec uint32) []byte {
	b = append(b, '"')
	b = store.AppendTime(b, sec, "Z")
	return append(b, '"')
}

// AppendCell appends a stored value of a describe type as a quoted cell.
func AppendCell(b []byte, typ, v string) []byte {
	b = append(b, '"')
	switch typ {
	case "double", "currency", "percent":
		if v != "" {
			b = append(b, store.JavaDouble(v)...)
		}
		return append(b, '"')
	}
	start := 0
	for i := 0; i < len(v); i++ {
		if v[i] == '"' {
			b = append(b, v[start:i+1]...)
			start = i
		}
	}
	b = append(b, v[start:]...)
	return append(b, '"')
}
