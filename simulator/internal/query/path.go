package query

import (
	"fmt"
	"strings"

	"github.com/catalogsync/catalogsync/simulator/internal/schema"
	"github.com/catalogsync/catalogsync/simulator/internal/soql"
	"github.com/catalogsync/catalogsync/simulator/internal/store"
)

// path leads from a record to a field of it or of a parent.
type path struct {
	hops  []*schema.Field // reference fields, from the root on; a polymorphic one ends the static knowledge
	field *schema.Field   // the leaf, for its type; of a polymorphic parent: the leaf in the first object that has it
	name  string          // leaf name
	text  string          // canonical: "Account.Name"
}

const wsdl = " Please reference your WSDL or the describe call for the appropriate names."

func noColumn(q *soql.Query, pos int, name, object string) *soql.Error {
	return soql.At(q.Text, pos, "INVALID_FIELD", fmt.Sprintf("No such column '%s' on entity '%s'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name.%s", name, object, wsdl))
}

// resolve finds the field that a dotted path means, seen from o.
func resolve(s *schema.Schema, q *soql.Query, o *schema.Object, parts []string, pos int) (path, *soql.Error) {
	if len(parts) > 1 && (strings.EqualFold(parts[0], o.Name) && o.Parent(parts[0]) == nil || q.Alias != "" && strings.EqualFold(parts[0], q.Alias)) {
		parts = parts[1:]
	}
	p := path{}
	var names []string
	at := o
	for i, part := range parts[:len(parts)-1] {
		f := at.Parent(strings.TrimSuffix(part, "__r") + suffix(part))
		if f == nil {
			return p, soql.At(q.Text, pos, "INVALID_FIELD", fmt.Sprintf("Didn't understand relationship '%s' in field path. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name.%s", part, wsdl))
		}
		if i >= 5 {
			return p, soql.At(q.Text, pos, "MALFORMED_QUERY", "SOQL relationship is too deep: at most 5 levels of parents")
		}
		p.hops = append(p.hops, f)
		names = append(names, f.Relationship)
		at = nil
		for _, to := range f.ReferenceTo {
			if c := s.Object(to); c != nil && (at == nil || c.Field(parts[len(parts)-1]) != nil && at.Field(parts[len(parts)-1]) == nil) {
				at = c
			}
		}
		if at == nil {
			return p, noColumn(q, pos, parts[len(parts)-1], f.Relationship)
		}
	}
	leaf := parts[len(parts)-1]
	p.field = at.Field(leaf)
	if p.field == nil {
		return p, noColumn(q, pos, leaf, at.Name)
	}
	p.name = p.field.Name
	p.text = strings.Join(append(names, p.name), ".")
	return p, nil
}

func suffix(part string) string {
	if strings.HasSuffix(strings.ToLower(part), "__r") {
		return "__r"
	}
	return ""
}

// walk follows the hops; ok is false where a parent is null or gone.
func walk(db *store.DB, hops []*schema.Field, t *store.Table, n uint32, r *store.Row) (*store.Table, uint32, *store.Row, bool) {
	for _, h := range hops {
		id := t.Value(n, r, h)
		if id == "" {
			return nil, 0, nil, false
		}
		parent, pn, ok := db.Find(id)
		if !ok {
			return nil, 0, nil, false
		}
		t, n, r = parent, pn, parent.Row(pn)
	}
	return t, n, r, true
}

// value is the text of the path's field seen from a record; "" is null.
func (p *path) value(db *store.DB, t *store.Table, n uint32, r *store.Row) string {
	if len(p.hops) == 0 {
		return t.Value(n, r, p.field)
	}
	t, n, r, ok := walk(db, p.hops, t, n, r)
	if !ok {
		return ""
	}
	f := p.field
	if t.Object.Field(f.Name) != f {
		if f = t.Object.Field(p.name); f == nil {
			return ""
		}
	}
	return t.Value(n, r, f)
}
