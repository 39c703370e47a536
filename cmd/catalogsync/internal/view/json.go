package view

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// JSON writes a message as one line of JSON for programs: field names as in the proto files, numbers as numbers, enums as
// the words of [Word], times as RFC 3339 in UTC. Every field is there, also when it is empty; only messages that are
// not set, such as the plan of a run that has none yet, are left out.
func JSON(m proto.Message) []byte {
	var b bytes.Buffer
	writeMessage(&b, m.ProtoReflect())
	b.WriteByte('\n')
	return b.Bytes()
}

func writeMessage(b *bytes.Buffer, m protoreflect.Message) {
	if t, ok := m.Interface().(*timestamppb.Timestamp); ok {
		writeText(b, t.AsTime().UTC().Format(time.RFC3339Nano))
		return
	}
	b.WriteByte('{')
	fields := m.Descriptor().Fields()
	for i, first := 0, true; i < fields.Len(); i++ {
		fd := fields.Get(i)
		if fd.HasPresence() && !m.Has(fd) {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		writeText(b, string(fd.Name()))
		b.WriteByte(':')
		switch {
		case fd.IsList():
			writeList(b, fd, m.Get(fd).List())
		case fd.IsMap():
			writeMap(b, fd, m.Get(fd).Map())
		default:
			writeValue(b, fd, m.Get(fd))
		}
	}
	b.WriteByte('}')
}

func writeList(b *bytes.Buffer, fd protoreflect.FieldDescriptor, list protoreflect.List) {
	b.WriteByte('[')
	for i := range list.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		writeValue(b, fd, list.Get(i))
	}
	b.WriteByte(']')
}

func writeMap(b *bytes.Buffer, fd protoreflect.FieldDescriptor, m protoreflect.Map) {
	var keys []string
	values := map[string]protoreflect.Value{}
	for k, v := range m.Range {
		keys = append(keys, k.String())
		values[k.String()] = v
	}
	slices.Sort(keys)
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		writeText(b, k)
		b.WriteByte(':')
		writeValue(b, fd.MapValue(), values[k])
	}
	b.WriteByte('}')
}

func writeValue(b *bytes.Buffer, fd protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		writeMessage(b, v.Message())
	case protoreflect.EnumKind:
		writeText(b, word(fd.Enum(), v.Enum()))
	case protoreflect.BytesKind:
		writeText(b, base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.StringKind:
		writeText(b, v.String())
	case protoreflect.BoolKind:
		b.WriteString(strconv.FormatBool(v.Bool()))
	default: // numbers
		b.WriteString(v.String())
	}
}

func writeText(b *bytes.Buffer, text string) {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always can be
	b.Truncate(b.Len() - 1)  // the line break that Encode adds
}
