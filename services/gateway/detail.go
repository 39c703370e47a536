package gateway

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxValue is where a value of a detail is cut, in bytes.
const maxValue = 100

// told are the text fields of requests that the audit log shows: ids, names of objects and of things that admins make.
// A text field that is not among them is not shown, because people write into it as they like, also about persons of
// the Catalog (notes), or because it names a person (user names).
var told = map[protoreflect.Name]bool{
	"client_id": true, "common_name": true, "connection_id": true, "external_id_field": true, "host": true, "name": true, "object": true,
	"plan_hash": true, "replace_org": true, "signing_key_id": true, "time": true, "undo_run_id": true, "zone": true,
}

// opened are the fields with a message whose fields are shown, too, beside those of a oneof. The others are long, and
// most of them are filled in by the gateway.
var opened = map[protoreflect.Name]bool{"field_map": true}

// detailOf tells what a request asks for, as field=value: numbers, times, yes and no, choices, and the texts that are told.
// except is what stands elsewhere in the entry. Nothing of a field with debug_redact is in it, and nothing of lists.
func detailOf(m protoreflect.Message, except string) string {
	return strings.Join(details(nil, m, except), " ")
}

func details(all []string, m protoreflect.Message, except string) []string {
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		if f.IsList() || f.IsMap() || redacted(f) || !m.Has(f) && (f.Kind() != protoreflect.BoolKind || f.HasPresence()) {
			continue
		}
		if at, ok := m.Get(f).Interface().(protoreflect.Message); ok {
			choice := f.ContainingOneof() != nil && !f.ContainingOneof().IsSynthetic()
			if t, is := at.Interface().(*timestamppb.Timestamp); is && t.IsValid() {
				all = append(all, string(f.Name())+"="+t.AsTime().Format(time.RFC3339))
			}
			if choice {
				all = append(all, string(f.ContainingOneof().Name())+"="+string(f.Name()))
			}
			if choice || opened[f.Name()] {
				all = details(all, at, except)
			}
			continue
		}
		if v := valueOf(m, f); v != "" && v != except {
			all = append(all, string(f.Name())+"="+plain(v))
		}
	}
	return all
}

// valueOf is a field that is no message, for people; empty where it is not told.
func valueOf(m protoreflect.Message, f protoreflect.FieldDescriptor) string {
	switch f.Kind() {
	case protoreflect.StringKind:
		if told[f.Name()] {
			return text(m, f.Name())
		}
		return ""
	case protoreflect.BytesKind:
		return ""
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		v := values.ByNumber(m.Get(f).Enum())
		if v == nil {
			return m.Get(f).String()
		}
		prefix := strings.TrimSuffix(string(values.ByNumber(0).Name()), "UNSPECIFIED")
		return strings.ToLower(strings.TrimPrefix(string(v.Name()), prefix))
	default:
		return m.Get(f).String()
	}
}

// plain bounds a value, and quotes one with which another field could be made believe.
func plain(v string) string {
	if len(v) > maxValue {
		end := maxValue
		for end > 0 && !utf8.RuneStart(v[end]) {
			end--
		}
		v = v[:end] + "…"
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == '=' || r == '"' || !strconv.IsPrint(r) }) {
		return strconv.Quote(v)
	}
	return v
}

// hostIn is the host of an address as somebody pastes it: what stands before or after it may be a secret.
func hostIn(address string) string {
	if _, rest, found := strings.Cut(address, "://"); found {
		address = rest
	}
	if end := strings.IndexAny(address, "/?#\\"); end >= 0 {
		address = address[:end]
	}
	return strings.TrimSpace(address[strings.LastIndexByte(address, '@')+1:])
}

// redacted reports whether a field holds a secret.
func redacted(f protoreflect.FieldDescriptor) bool {
	o, ok := f.Options().(interface{ GetDebugRedact() bool })
	return ok && o.GetDebugRedact()
}
