package directory

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Record is what the Catalog says of one person. For every field it keeps three things apart: not given (nothing is
// known), null (known to be nothing) and a value, which may be empty. The zero Record has given nothing.
type Record struct {
	// ID identifies the person in the tenant.
	ID string
	// Values by [Field]; empty where null or not given.
	Values [NumFields]string
	// Given has bit f set where field f was given, null included.
	Given uint32
	// Null has bit f set where field f was given as null.
	Null uint32
	// Attributes are the custom attributes that were given, sorted by name, each name once.
	Attributes []Attribute
}

// Attribute is a custom attribute of a person.
type Attribute struct {
	// Name without prefix.
	Name string
	// Value is empty where Null.
	Value string
	// Null: known to be nothing.
	Null bool
}

// Presence tells apart what is known of a field.
type Presence uint8

const (
	// Absent: nothing is known.
	Absent Presence = iota
	// Null: known to be nothing.
	Null
	// Present: there is a value, which may be empty.
	Present
)

// Set gives field f a value.
func (r *Record) Set(f Field, value string) {
	r.Values[f] = value
	r.Given |= 1 << f
	r.Null &^= 1 << f
}

// SetNull gives field f as null.
func (r *Record) SetNull(f Field) {
	r.Values[f] = ""
	r.Given |= 1 << f
	r.Null |= 1 << f
}

// Value returns what is known of field f.
func (r *Record) Value(f Field) (string, Presence) {
	switch {
	case r.Given&(1<<f) == 0:
		return "", Absent
	case r.Null&(1<<f) != 0:
		return "", Null
	}
	return r.Values[f], Present
}

// Attribute returns what is known of the custom attribute of that name.
func (r *Record) Attribute(name string) (string, Presence) {
	for i := range r.Attributes {
		if r.Attributes[i].Name != name {
			continue
		}
		if r.Attributes[i].Null {
			return "", Null
		}
		return r.Attributes[i].Value, Present
	}
	return "", Absent
}

// Column returns what is known of a Catalog field.
func (r *Record) Column(c Column) (string, Presence) {
	switch {
	case c.ID:
		return r.ID, Present
	case c.Attribute != "":
		return r.Attribute(c.Attribute)
	}
	return r.Value(c.Field)
}

// Fill takes from old whatever r has not given.
func (r *Record) Fill(old *Record) {
	for f := range r.Values {
		bit := uint32(1) << f
		if r.Given&bit == 0 && old.Given&bit != 0 {
			r.Values[f] = old.Values[f]
			r.Given |= bit
			r.Null |= old.Null & bit
		}
	}
	if len(old.Attributes) == 0 {
		return
	}
	all := slices.Clone(r.Attributes)
	for _, a := range old.Attributes {
		if _, p := r.Attribute(a.Name); p == Absent {
			all = append(all, a)
		}
	}
	SortAttributes(all)
	r.Attributes = all
}

// SortAttributes sorts by name.
func SortAttributes(as []Attribute) {
	slices.SortFunc(as, func(a, b Attribute) int { return cmp.Compare(a.Name, b.Name) })
}

// Hash is the fingerprint of everything but the id: equal content, equal hash. It is stored, and compared to tell
// changed from unchanged people; it does not resist somebody who builds a collision for their own record.
func (r *Record) Hash() uint64 {
	var d xxhash.Digest
	d.Reset()
	var scratch [9]byte
	put := func(p Presence, s string) {
		scratch[0] = byte(p)
		binary.LittleEndian.PutUint64(scratch[1:], uint64(len(s)))
		_, _ = d.Write(scratch[:]) // a Digest's Write never fails
		_, _ = d.WriteString(s)
	}
	for f := range r.Values {
		v, p := r.Value(Field(f))
		put(p, v)
	}
	for i := range r.Attributes {
		put(Present, r.Attributes[i].Name)
		if r.Attributes[i].Null {
			put(Null, "")
		} else {
			put(Present, r.Attributes[i].Value)
		}
	}
	return d.Sum64()
}

// Fields returns the values by Catalog field, custom attributes included; null and absent fields and the id are left
// out.
func (r *Record) Fields() map[string]string {
	m := make(map[string]string, NumFields+len(r.Attributes))
	for f := range r.Values {
		if v, p := r.Value(Field(f)); p == Present {
			m[fieldNames[f]] = v
		}
	}
	for _, a := range r.Attributes {
		if !a.Null {
			m[AttributePrefix+a.Name] = a.Value
		}
	}
	return m
}

// String returns the record without values, which are personal data.
func (r *Record) String() string {
	var given []string
	for f := range r.Values {
		if r.Given&(1<<f) != 0 {
			given = append(given, fieldNames[f])
		}
	}
	return fmt.Sprintf("person %q with %s and %d attributes", r.ID, strings.Join(given, ","), len(r.Attributes))
}
