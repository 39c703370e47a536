package mapfile_test

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

// fill puts random values into all fields of a message, but for those of which a file cannot hold everything: names that
// must differ, and groups that must not be empty.
func fill(t *rapid.T, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.ContainingOneof() != nil || f.FullName() == "catalogsync.mapper.v1.FieldMap.saved_at" || rapid.IntRange(0, 2).Draw(t, "skip") == 0 {
			continue
		}
		name := string(f.Name())
		switch {
		case f.IsMap():
			table := m.Mutable(f).Map()
			for range rapid.IntRange(0, 3).Draw(t, name) {
				table.Set(protoreflect.ValueOfString(words().Draw(t, "key")).MapKey(), protoreflect.ValueOfString(words().Draw(t, "value")))
			}
		case f.IsList():
			list := m.Mutable(f).List()
			for range rapid.IntRange(0, 4).Draw(t, name) {
				if f.Message() == nil {
					list.Append(protoreflect.ValueOfString(words().Draw(t, name)))
					continue
				}
				element := list.NewElement()
				fill(t, element.Message(), depth)
				list.Append(element)
			}
		case f.Message() != nil && f.Message().Name() == "Condition":
			m.Set(f, protoreflect.ValueOfMessage(condition(t, 3).ProtoReflect()))
		case f.Message() != nil:
			fill(t, m.Mutable(f).Message(), depth)
		case f.Kind() == protoreflect.EnumKind:
			m.Set(f, protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.IntRange(0, f.Enum().Values().Len()-1).Draw(t, name))))
		case f.Kind() == protoreflect.BoolKind:
			m.Set(f, protoreflect.ValueOfBool(rapid.Bool().Draw(t, name)))
		case f.Kind() == protoreflect.Int32Kind:
			m.Set(f, protoreflect.ValueOfInt32(rapid.Int32Range(-2, 1000).Draw(t, name)))
		case f.Kind() == protoreflect.Int64Kind:
			m.Set(f, protoreflect.ValueOfInt64(rapid.Int64().Draw(t, name)))
		case f.Kind() == protoreflect.DoubleKind:
			m.Set(f, protoreflect.ValueOfFloat64(rapid.OneOf(rapid.SampledFrom([]float64{-1, 0.05, 0.1, 0.3, 0.5, 1}), rapid.Float64()).Draw(t, name)))
		default:
			m.Set(f, protoreflect.ValueOfString(words().Draw(t, name)))
		}
	}
}

// words are texts, those among them that YAML might take for something else.
func words() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			"title", "first_name", "no", "007", "1e3", "1E5", "TRUE", "2026-01-01", "~", "null", "", " a ", "a: b", "#x", "#N/A", "line\nbreak", "\nx", "x\n", "x\n\n",
			"\tx\n y", " a\nb", "a\r\nb", "ünï", "*star", "&and", "<<", "a, b", "{x}", "[x", "'", `"`, "\\", "\u2028", "\ufeff", "\u0085", "שלום", "😀", "upper(person.title) + \"!\"", "-", "? x", "| x", "%", "@", "`",
		}),
		rapid.StringMatching(`[a-z_]{1,12}`),
		rapid.String(),
	)
}

func condition(t *rapid.T, depth int) *mapperv1.Condition {
	group := func() *mapperv1.Conditions {
		g := &mapperv1.Conditions{}
		for range rapid.IntRange(1, 3).Draw(t, "conditions") {
			g.Conditions = append(g.Conditions, condition(t, depth-1))
		}
		return g
	}
	kind := 0
	if depth > 0 {
		kind = rapid.IntRange(0, 4).Draw(t, "kind")
	}
	switch kind {
	case 1:
		return &mapperv1.Condition{Condition: &mapperv1.Condition_All{All: group()}}
	case 2:
		return &mapperv1.Condition{Condition: &mapperv1.Condition_Any{Any: group()}}
	case 3:
		return &mapperv1.Condition{Condition: &mapperv1.Condition_Not{Not: condition(t, depth-1)}}
	}
	test := &mapperv1.Test{
		Side:     mapperv1.Side(rapid.IntRange(0, 2).Draw(t, "side")),
		Field:    rapid.OneOf(rapid.SampledFrom([]string{"email", "email", "groups", "attributes.x", "all", "not", "salesforce.X", "catalog.y"}), words()).Draw(t, "field"),
		Operator: mapperv1.Operator(rapid.IntRange(1, 11).Draw(t, "operator")),
	}
	if test.GetOperator() != mapperv1.Operator_OPERATOR_EMPTY {
		test.Values = rapid.SliceOfN(words(), 1, 3).Draw(t, "values")
	}
	return &mapperv1.Condition{Condition: &mapperv1.Condition_Test{Test: test}}
}

// fieldMap is any field map that a file can hold.
func fieldMap(t *rapid.T) *mapperv1.FieldMap {
	m := &mapperv1.FieldMap{}
	fill(t, m.ProtoReflect(), 0)
	if m.GetObject() == "" {
		m.Object = "Contact"
	}
	m.SavedAt = timestamppb.Now()
	pairs := func(list []*mapperv1.Pair) {
		for i, p := range list {
			p.Target = fmt.Sprintf("%s%d", p.GetTarget(), i)
			if p.GetSource() == "" && p.GetSecondarySource() == "" && p.GetConstant() == "" && p.GetExpression() == "" && p.GetDefaultValue() == "" {
				p.Source = "title"
			}
		}
	}
	pairs(m.GetPairs())
	for i, o := range m.GetOverrides() {
		o.Subaccount = fmt.Sprintf("%s%d", o.GetSubaccount(), i)
		pairs(o.GetPairs())
	}
	for _, r := range m.GetRules() {
		r.Effect = mapperv1.Effect(rapid.IntRange(1, 2).Draw(t, "effect"))
		if r.GetCondition() == nil {
			r.Condition = condition(t, 3)
		}
	}
	return m
}
