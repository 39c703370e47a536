package rpc_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
	"github.com/catalogsync/catalogsync/services/mapper/internal/fieldmap"
	"github.com/catalogsync/catalogsync/services/mapper/internal/rpc"
)

// fill sets every field of a message to something, two members in every list, groups three deep.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.ContainingOneof() != nil && f.ContainingOneof().Fields().Get(depth%f.ContainingOneof().Fields().Len()) != f {
			continue // one of a oneof is set, another at each depth
		}
		one := func() protoreflect.Value {
			if f.Message() != nil && !f.IsMap() {
				inner := m.NewField(f)
				if f.IsList() {
					inner = inner.List().NewElement()
				}
				if depth < 6 {
					fill(inner.Message(), depth+1)
				}
				return inner
			}
			return scalar(f)
		}
		switch {
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("k").MapKey(), protoreflect.ValueOfString("v"))
		case f.IsList():
			list := m.Mutable(f).List()
			list.Append(one())
			list.Append(one())
		default:
			m.Set(f, one())
		}
	}
}

func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(f.Enum().Values().Len() - 1).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(f.Number()) + 1)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(f.Number()) + 1)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(f.Number()) + 0.5)
	}
	return protoreflect.ValueOfString(string(f.Name()))
}

// No setting of a field map is lost on the way into the core and back, those that are yet to come included.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	for start := range 4 { // another kind of condition is outermost each time
		p := &mapperv1.FieldMap{}
		fill(p.ProtoReflect(), start)
		want := proto.CloneOf(p)
		// The identity is the service's.
		want.ConnectionId, want.Version, want.SavedAt, want.Author, want.Note, want.RolledBackTo = "", 0, nil, "", "", 0
		dropEmpty(want.ProtoReflect())
		m := rpc.Map(p)
		if diff := cmp.Diff(want, rpc.FieldMap(m), protocmp.Transform()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !rpc.Map(rpc.FieldMap(m)).Equal(m) {
			t.Error("a map is not itself")
		}
	}
	if diff := cmp.Diff(&mapperv1.FieldMap{}, rpc.FieldMap(fieldmap.Map{}), protocmp.Transform(), protocmp.IgnoreEmptyMessages()); diff != "" {
		t.Errorf("of nothing (-want +got):\n%s", diff)
	}
}

// dropEmpty takes out groups without members, which mean nothing.
func dropEmpty(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				dropEmpty(v.List().Get(i).Message())
			}
		default:
			dropEmpty(v.Message())
			if g, ok := v.Message().Interface().(*mapperv1.Conditions); ok && len(g.GetConditions()) == 0 {
				m.Clear(f)
			}
		}
		return true
	})
}
