package query

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// Output is how records are written.
type Output struct {
	Base string // "/services/data/v67.0"
	// Page is how many children of one record are written; Open gives the locator below which the others are read on.
	Page int
	Open func(children *Plan, serials []uint32) string
}

// AppendRecord appends a record as JSON with what the query selects.
func (p *Plan) AppendRecord(b []byte, out *Output, n uint32) []byte {
	return p.appendRecord(b, out, n)
}

func (c *compiled) appendRecord(b []byte, out *Output, n uint32) []byte {
	t := c.table
	r := t.Row(n)
	b = AppendAttributes(b, out.Base, t, n)
	for i := range c.root.items {
		b = append(b, ',')
		b = c.appendItem(b, out, &c.root.items[i], t, n, r, t, n, r)
	}
	return append(b, '}')
}

// AppendAttributes appends the opening brace of a record and its attributes.
func AppendAttributes(b []byte, base string, t *store.Table, n uint32) []byte {
	b = append(b, `{"attributes":{"type":"`...)
	b = append(b, t.Object.Name...)
	b = append(b, `","url":"`...)
	b = append(b, base...)
	b = append(b, "/sobjects/"...)
	b = append(b, t.Object.Name...)
	b = append(b, '/')
	b = t.AppendID(b, n)
	return append(b, `"}`...)
}

// appendItem appends one key; root is the record queried, t, n, r the one that the node stands for.
func (c *compiled) appendItem(b []byte, out *Output, it *item, rt *store.Table, rn uint32, rr *store.Row, t *store.Table, n uint32, r *store.Row) []byte {
	b = AppendString(b, it.key)
	b = append(b, ':')
	switch {
	case it.sub != nil:
		return c.appendChildren(b, out, it, t, n)
	case it.parent != nil:
		pt, pn, pr, ok := walk(c.db, it.hops, rt, rn, rr)
		if !ok || pr.State != store.Live {
			return append(b, "null"...)
		}
		b = AppendAttributes(b, out.Base, pt, pn)
		for i := range it.parent.items {
			b = append(b, ',')
			b = c.appendItem(b, out, &it.parent.items[i], rt, rn, rr, pt, pn, pr)
		}
		return append(b, '}')
	}
	f := it.path.field
	if t.Object.Field(f.Name) != f {
		if f = t.Object.Field(it.path.name); f == nil {
			return append(b, "null"...)
		}
	}
	if it.format == "TOLABEL" {
		v := t.Value(n, r, f)
		for _, pv := range f.Values {
			if pv.Value == v {
				v = pv.Label
			}
		}
		if v == "" {
			return append(b, "null"...)
		}
		return AppendString(b, v)
	}
	return AppendJSON(b, t, n, r, f)
}

func (c *compiled) appendChildren(b []byte, out *Output, it *item, t *store.Table, n uint32) []byte {
	sub := it.sub
	id := t.ID(n)
	var serials []uint32
	if sub.table.Indexed(it.child) {
		for m := range sub.table.Lookup(it.child, id) {
			if sub.keep(m, sub.table.Row(m)) {
				serials = append(serials, m)
			}
		}
	} else {
		for m := uint32(1); m <= sub.table.Count(); m++ {
			if row := sub.table.Row(m); sub.table.Value(m, row, it.child) == id && sub.keep(m, row) {
				serials = append(serials, m)
			}
		}
	}
	sub.sort(serials)
	serials = serials[min(sub.offset, len(serials)):]
	if sub.limit >= 0 && len(serials) > sub.limit {
		serials = serials[:sub.limit]
	}
	if len(serials) == 0 {
		return append(b, "null"...)
	}
	b = append(b, `{"totalSize":`...)
	b = strconv.AppendInt(b, int64(len(serials)), 10)
	if len(serials) > out.Page && out.Open != nil {
		b = append(b, `,"done":false,"nextRecordsUrl":"`...)
		b = append(b, out.Base+"/query/"+out.Open(&Plan{compiled: sub, Table: sub.table}, serials)+"-"+strconv.Itoa(out.Page)...)
		b = append(b, `","records":[`...)
		serials = serials[:out.Page]
	} else {
		b = append(b, `,"done":true,"records":[`...)
	}
	for i, m := range serials {
		if i > 0 {
			b = append(b, ',')
		}
		b = sub.appendRecord(b, out, m)
	}
	return append(b, "]}"...)
}

// AppendJSON appends a field's value as REST writes it.
func AppendJSON(b []byte, t *store.Table, n uint32, r *store.Row, f *schema.Field) []byte {
	switch f.Virtual {
	case schema.ID:
		b = append(b, '"')
		b = t.AppendID(b, n)
		return append(b, '"')
	case schema.CreatedDate:
		return appendSecond(b, r.Created)
	case schema.ModifiedDate:
		return appendSecond(b, r.Modified)
	case schema.Modstamp:
		return appendSecond(b, r.Modstamp)
	case schema.Address:
		return appendAddress(b, r, f)
	}
	v := t.Value(n, r, f)
	if v == "" {
		return append(b, "null"...)
	}
	return AppendTyped(b, f.Type, v)
}

func appendSecond(b []byte, sec uint32) []byte {
	b = append(b, '"')
	b = store.AppendTime(b, sec, "+0000")
	return append(b, '"')
}

// AppendTyped appends a stored value of a describe type as JSON.
func AppendTyped(b []byte, typ, v string) []byte {
	switch typ {
	case "boolean", "int", "long":
		return append(b, v...)
	case "double", "currency", "percent":
		return append(b, store.JavaDouble(v)...)
	case "datetime":
		return AppendString(b, strings.TrimSuffix(v, "Z")+"+0000")
	}
	return AppendString(b, v)
}

// appendAddress appends a compound address, keys in alphabetical order, null when all parts are.
func appendAddress(b []byte, r *store.Row, f *schema.Field) []byte {
	part := func(suffix string) (value, typ string) { // no type: the org has no such part
		for i := range f.Parts {
			if strings.HasSuffix(f.Parts[i].Name, suffix) {
				return r.Get(f.Parts[i].Slot), f.Parts[i].Type
			}
		}
		return "", ""
	}
	any := false
	start := len(b)
	for _, k := range [...][2]string{
		{"city", "City"},
		{"country", "Country"},
		{"countryCode", "CountryCode"},
		{"geocodeAccuracy", "GeocodeAccuracy"},
		{"latitude", "Latitude"},
		{"longitude", "Longitude"},
		{"postalCode", "PostalCode"},
		{"state", "State"},
		{"stateCode", "StateCode"},
		{"street", "Street"},
	} {
		v, typ := part(k[1])
		if typ == "" {
			continue
		}
		if len(b) == start {
			b = append(b, '{')
		} else {
			b = append(b, ',')
		}
		b = AppendString(b, k[0])
		b = append(b, ':')
		if v == "" {
			b = append(b, "null"...)
			continue
		}
		any = true
		b = AppendTyped(b, typ, v)
	}
	if !any {
		return append(b[:start], "null"...)
	}
	return append(b, '}')
}

const hexDigits = "0123456789abcdef"

// AppendString appends a JSON string.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				i++
				start = i
				continue
			}
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// AppendGroups appends the records of an aggregate query and gives their number.
func (p *Plan) AppendGroups(b []byte) ([]byte, int) {
	g := p.groups
	rows := p.groupRows()
	for i, x := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"attributes":{"type":"AggregateResult"}`...)
		for _, o := range g.outputs {
			b = append(b, ',')
			b = AppendString(b, o.name)
			b = append(b, ':')
			v := g.value(x, o.key, o.agg)
			if v == "" {
				b = append(b, "null"...)
				continue
			}
			b = AppendTyped(b, g.typeOf(o), v)
		}
		b = append(b, '}')
	}
	return b, len(rows)
}

func (g *grouping) typeOf(o output) string {
	if o.agg < 0 {
		return g.keys[o.key].field.Type
	}
	switch a := g.sums[o.agg]; a.fn {
	case "COUNT", "COUNT_DISTINCT":
		return "int"
	case "AVG":
		return "double"
	case "SUM":
		return "double"
	default:
		return a.typ.Type
	}
}
