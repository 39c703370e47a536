package schema

import "strings"

// Rights are what one user may do with an object, and see of it.
type Rights struct {
	Read, Create, Edit, Delete bool
	Fields                     map[string]FieldRights // by field name; fields that are not permissionable are not looked up
}

// FieldRights are what one user may do with a field.
type FieldRights struct{ Read, Edit bool }

// Restrict is the schema as a user sees it: objects and fields that the user may not read are not there, and those that
// the user may not change say so. Objects without an entry in rights are as they are. Slots stay those of the full schema.
func (s *Schema) Restrict(rights map[string]Rights) *Schema {
	out := &Schema{objects: map[string]*Object{}, prefix: map[string]*Object{}}
	for _, name := range s.names {
		o := s.Object(name)
		r, limited := rights[name]
		if limited {
			if !r.Read {
				continue
			}
			o = o.restrict(r)
		}
		out.names = append(out.names, name)
		out.objects[strings.ToLower(name)] = o
		if o.Prefix != "" {
			out.prefix[o.Prefix] = o
		}
	}
	return out
}

func (o *Object) restrict(r Rights) *Object {
	c := *o
	c.Fields, c.byName, c.byRelationship, c.Required, c.Defaults = nil, map[string]*Field{}, map[string]*Field{}, nil, nil
	for flag, allowed := range map[string]bool{"c": r.Create, "u": r.Edit, "d": r.Delete} {
		if !allowed {
			c.Flags = strings.ReplaceAll(c.Flags, flag, "")
		}
	}
	for _, f := range o.Fields {
		if f.Permissionable {
			rights := r.Fields[f.Name]
			if !rights.Read {
				continue
			}
			if !rights.Edit && (f.Createable || f.Updateable) {
				locked := *f
				locked.Createable, locked.Updateable = false, false
				f = &locked
			}
		}
		c.enter(f)
	}
	c.Defaults, c.NameField = o.Defaults, o.NameField
	return &c
}
