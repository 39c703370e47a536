package mapfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

var mapSettings = settings[mapperv1.FieldMap]{
	text("object", func(m *mapperv1.FieldMap) *string { return &m.Object }),
	word("direction", directions, mapperv1.Direction_DIRECTION_WRITE, func(m *mapperv1.FieldMap) *mapperv1.Direction { return &m.Direction }),
	text("external_id", func(m *mapperv1.FieldMap) *string { return &m.ExternalIdField }),
	{
		key:   "fields",
		read:  func(r *reader, n *yaml.Node, m *mapperv1.FieldMap) { m.Pairs = readPairs(r, n) },
		write: func(m *mapperv1.FieldMap) (*yaml.Node, error) { return writePairs(m.GetPairs()) },
		tidy:  func(m *mapperv1.FieldMap) { tidyPairs(m.GetPairs()) },
	},
	{
		key: "rules",
		read: func(r *reader, n *yaml.Node, m *mapperv1.FieldMap) {
			r.items("rules", n, func(item *yaml.Node) {
				rule := &mapperv1.Rule{}
				has := ruleSettings.parse(r, "a rule", item, rule)
				switch {
				case rule.GetEffect() == 0 && !has["skip"] && !has["include"]:
					r.fail(item.Line, "the rule has neither skip nor include; give one of them, with the rule's name")
				case !has["when"]:
					r.fail(item.Line, "the rule has no `when`; give the condition that it is for")
				}
				m.Rules = append(m.Rules, rule)
			})
		},
		write: func(m *mapperv1.FieldMap) (*yaml.Node, error) {
			if len(m.GetRules()) == 0 {
				return nil, nil
			}
			list := &yaml.Node{Kind: yaml.SequenceNode}
			for _, rule := range m.GetRules() {
				if rule.GetEffect() != mapperv1.Effect_EFFECT_SKIP && rule.GetEffect() != mapperv1.Effect_EFFECT_INCLUDE {
					return nil, fmt.Errorf("rule %q neither skips nor includes, as far as this version of catalogsync knows", rule.GetName())
				}
				if rule.GetCondition() == nil {
					return nil, fmt.Errorf("rule %q has no condition; give it one", rule.GetName())
				}
				one, err := ruleSettings.format(rule)
				if err != nil {
					return nil, err
				}
				list.Content = append(list.Content, one)
			}
			return list, nil
		},
		tidy: func(m *mapperv1.FieldMap) {
			for _, rule := range m.GetRules() {
				ruleSettings.tidy(rule)
			}
		},
	},
	{
		key: "overrides",
		read: func(r *reader, n *yaml.Node, m *mapperv1.FieldMap) {
			r.entries("overrides", n, func(key, value *yaml.Node) {
				o := &mapperv1.Override{Subaccount: key.Value}
				overrideSettings.parse(r, "the override of "+key.Value, value, o)
				m.Overrides = append(m.Overrides, o)
			})
		},
		write: func(m *mapperv1.FieldMap) (*yaml.Node, error) {
			return keyed(m.GetOverrides(), "overrides", (*mapperv1.Override).GetSubaccount, func(o *mapperv1.Override) (*yaml.Node, error) {
				n, err := overrideSettings.format(o)
				if err == nil && (len(n.Content) == 0 || len(n.Content) == 2 && n.Content[1].Kind == yaml.ScalarNode) {
					flow(n)
				}
				return n, err
			})
		},
		tidy: func(m *mapperv1.FieldMap) {
			for _, o := range m.GetOverrides() {
				overrideSettings.tidy(o)
			}
		},
	},
	group("identity", identitySettings, func(m *mapperv1.FieldMap) **mapperv1.Identity { return &m.Identity }),
	group("guards", guardSettings, func(m *mapperv1.FieldMap) **mapperv1.Guards { return &m.Guards }),
}

var pairSettings = settings[mapperv1.Pair]{
	text("from", func(p *mapperv1.Pair) *string { return &p.Source }),
	text("or", func(p *mapperv1.Pair) *string { return &p.SecondarySource }),
	text("constant", func(p *mapperv1.Pair) *string { return &p.Constant }),
	text("expression", func(p *mapperv1.Pair) *string { return &p.Expression }),
	text("default", func(p *mapperv1.Pair) *string { return &p.DefaultValue }),
	word("write", writeWhens, mapperv1.WriteWhen_WRITE_WHEN_ALWAYS, func(p *mapperv1.Pair) *mapperv1.WriteWhen { return &p.WriteWhen }),
	word("on_absent", blanks, mapperv1.Blank_BLANK_LEAVE, func(p *mapperv1.Pair) *mapperv1.Blank { return &p.Absent }),
	{ // null and empty at once
		key: "on_blank",
		read: func(r *reader, n *yaml.Node, p *mapperv1.Pair) {
			v := blanks.find(r, "on_blank", n)
			if p.Null != 0 || p.Empty != 0 {
				r.fail(n.Line, "on_blank stands for on_null and on_empty; leave them or it out")
			}
			p.Null, p.Empty = v, v
		},
		write: func(p *mapperv1.Pair) (*yaml.Node, error) {
			if p.GetNull() != mapperv1.Blank_BLANK_LEAVE || p.GetNull() != p.GetEmpty() {
				return nil, nil
			}
			return scalar("leave"), nil
		},
	},
	blank("on_null", func(p *mapperv1.Pair) *mapperv1.Blank { return &p.Null }, (*mapperv1.Pair).GetEmpty),
	blank("on_empty", func(p *mapperv1.Pair) *mapperv1.Blank { return &p.Empty }, (*mapperv1.Pair).GetNull),
	word("too_long", tooLongs, mapperv1.TooLong_TOO_LONG_REJECT, func(p *mapperv1.Pair) *mapperv1.TooLong { return &p.TooLong }),
	{
		key: "table",
		read: func(r *reader, n *yaml.Node, p *mapperv1.Pair) {
			p.Table = map[string]string{}
			r.entries("table", n, func(key, value *yaml.Node) { p.Table[key.Value] = r.text(key.Value, value) })
		},
		write: func(p *mapperv1.Pair) (*yaml.Node, error) {
			if len(p.GetTable()) == 0 {
				return nil, nil
			}
			n := &yaml.Node{Kind: yaml.MappingNode}
			for _, from := range slices.Sorted(maps.Keys(p.GetTable())) {
				n.Content = append(n.Content, scalar(from), scalar(p.GetTable()[from]))
			}
			return n, nil
		},
		tidy: func(p *mapperv1.Pair) {
			if len(p.Table) == 0 {
				p.Table = nil
			}
		},
	},
	word("unlisted", unlisted, mapperv1.Unlisted_UNLISTED_REJECT, func(p *mapperv1.Pair) *mapperv1.Unlisted { return &p.Unlisted }),
	text("time_zone", func(p *mapperv1.Pair) *string { return &p.TimeZone }),
	text("phone_region", func(p *mapperv1.Pair) *string { return &p.PhoneRegion }),
	word("phone_format", phoneFormats, mapperv1.PhoneFormat_PHONE_FORMAT_KEEP, func(p *mapperv1.Pair) *mapperv1.PhoneFormat { return &p.PhoneFormat }),
	{
		key: "lookup",
		read: func(r *reader, n *yaml.Node, p *mapperv1.Pair) {
			p.Lookup = &mapperv1.Lookup{}
			if v := r.visit(n); v == nil || v.Kind != yaml.ScalarNode {
				lookupSettings.parse(r, "lookup", n, p.Lookup)
				return
			}
			var ok bool
			if p.Lookup.Object, p.Lookup.Field, ok = strings.Cut(r.text("lookup", n), "."); !ok {
				r.fail(n.Line, "lookup is %q; give OBJECT.FIELD such as Account.Name, or object and field", n.Value)
			}
		},
		write: func(p *mapperv1.Pair) (*yaml.Node, error) {
			l := p.GetLookup()
			if l == nil {
				return nil, nil
			}
			if !l.GetCreateIfMissing() && l.GetObject() != "" && l.GetField() != "" && !strings.Contains(l.GetObject(), ".") {
				return scalar(l.GetObject() + "." + l.GetField()), nil
			}
			n, err := lookupSettings.format(l)
			return flow(n), err
		},
	},
}

// blank is what a pair does about one kind of nothing; on_blank says it where both kinds say the same.
func blank(key string, at func(*mapperv1.Pair) *mapperv1.Blank, other func(*mapperv1.Pair) mapperv1.Blank) setting[mapperv1.Pair] {
	s := word(key, blanks, mapperv1.Blank_BLANK_CLEAR, at)
	read, write := s.read, s.write
	s.read = func(r *reader, n *yaml.Node, p *mapperv1.Pair) {
		if *at(p) != 0 {
			r.fail(n.Line, "%s is said by on_blank already; leave one of them out", key)
		}
		read(r, n, p)
	}
	s.write = func(p *mapperv1.Pair) (*yaml.Node, error) {
		if *at(p) == mapperv1.Blank_BLANK_LEAVE && other(p) == *at(p) {
			return nil, nil
		}
		return write(p)
	}
	return s
}

var lookupSettings = settings[mapperv1.Lookup]{
	text("object", func(l *mapperv1.Lookup) *string { return &l.Object }),
	text("field", func(l *mapperv1.Lookup) *string { return &l.Field }),
	yes("create_if_missing", false, func(l *mapperv1.Lookup) *bool { return &l.CreateIfMissing }),
}

var ruleSettings = settings[mapperv1.Rule]{
	effect("skip", mapperv1.Effect_EFFECT_SKIP),
	effect("include", mapperv1.Effect_EFFECT_INCLUDE),
	{
		key:   "subaccounts",
		read:  func(r *reader, n *yaml.Node, rule *mapperv1.Rule) { rule.Subaccounts = r.list("subaccounts", n) },
		write: func(rule *mapperv1.Rule) (*yaml.Node, error) { return texts(rule.GetSubaccounts()), nil },
	},
	condition("when", func(rule *mapperv1.Rule) **mapperv1.Condition { return &rule.Condition }),
}

// effect is the key of a rule that says what it does and what it is called.
func effect(key string, e mapperv1.Effect) setting[mapperv1.Rule] {
	return setting[mapperv1.Rule]{
		key: key,
		read: func(r *reader, n *yaml.Node, rule *mapperv1.Rule) {
			if rule.GetEffect() != 0 {
				r.fail(n.Line, "the rule has both skip and include; make two rules of it")
			}
			rule.Effect, rule.Name = e, r.text(key, n)
		},
		write: func(rule *mapperv1.Rule) (*yaml.Node, error) {
			if rule.GetEffect() != e {
				return nil, nil
			}
			return scalar(rule.GetName()), nil
		},
	}
}

var overrideSettings = settings[mapperv1.Override]{
	yes("excluded", false, func(o *mapperv1.Override) *bool { return &o.Excluded }),
	condition("filter", func(o *mapperv1.Override) **mapperv1.Condition { return &o.Filter }),
	{
		key:  "fields",
		read: func(r *reader, n *yaml.Node, o *mapperv1.Override) { o.Pairs = readPairs(r, n) },
		write: func(o *mapperv1.Override) (*yaml.Node, error) {
			if len(o.GetPairs()) == 0 {
				return nil, nil
			}
			return writePairs(o.GetPairs())
		},
		tidy: func(o *mapperv1.Override) { tidyPairs(o.GetPairs()) },
	},
}

var identitySettings = settings[mapperv1.Identity]{
	yes("adopt", true, func(i *mapperv1.Identity) *bool { return &i.NoAdoption }),
	word("several_matches", severalMatches, mapperv1.SeveralMatches_SEVERAL_MATCHES_REFUSE, func(i *mapperv1.Identity) *mapperv1.SeveralMatches { return &i.SeveralMatches }),
	text("several_matches_owner", func(i *mapperv1.Identity) *string { return &i.SeveralMatchesOwner }),
	word("converted", converteds, mapperv1.Converted_CONVERTED_LEAVE, func(i *mapperv1.Identity) *mapperv1.Converted { return &i.Converted }),
	word("deleted", deleteds, mapperv1.Deleted_DELETED_CREATE, func(i *mapperv1.Identity) *mapperv1.Deleted { return &i.Deleted }),
	word("contact_and_lead", contactAndLeads, mapperv1.ContactAndLead_CONTACT_AND_LEAD_SKIP, func(i *mapperv1.Identity) *mapperv1.ContactAndLead { return &i.ContactAndLead }),
	word("leavers", leavers, mapperv1.Leavers_LEAVERS_LEAVE, func(i *mapperv1.Identity) *mapperv1.Leavers { return &i.Leavers }),
	text("leavers_field", func(i *mapperv1.Identity) *string { return &i.LeaversField }),
	text("leavers_value", func(i *mapperv1.Identity) *string { return &i.LeaversValue }),
}

func readPairs(r *reader, n *yaml.Node) (pairs []*mapperv1.Pair) {
	r.entries("fields", n, func(key, value *yaml.Node) {
		p := &mapperv1.Pair{Target: key.Value}
		pairs = append(pairs, p)
		v := r.visit(value)
		switch {
		case v == nil:
		case v.Kind == yaml.ScalarNode && v.Tag == "!!null":
			r.fail(key.Line, "%s is empty; name the field that it takes its value from, or give from, constant or expression", key.Value)
		case v.Kind == yaml.ScalarNode:
			p.Source = v.Value
		default:
			if has := pairSettings.parse(r, "a field", value, p); v.Kind == yaml.MappingNode && !has["from"] && !has["or"] && !has["constant"] && !has["expression"] && !has["default"] {
				r.fail(key.Line, "%s has no `from`; name the field that it takes its value from, or give constant or expression", key.Value)
			}
		}
	})
	return pairs
}

func writePairs(pairs []*mapperv1.Pair) (*yaml.Node, error) {
	n, err := keyed(pairs, "fields", (*mapperv1.Pair).GetTarget, pairSettings.format)
	if n == nil && err == nil {
		n = &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	}
	if err != nil {
		return nil, err
	}
	for i := 1; i < len(n.Content); i += 2 {
		n.Content[i] = shortPair(n.Content[i])
	}
	return n, nil
}

// shortPair writes a pair as short as it can be: the name of the field alone, one setting in one line.
func shortPair(n *yaml.Node) *yaml.Node {
	if len(n.Content) != 2 {
		return n
	}
	if n.Content[0].Value == "from" {
		return n.Content[1]
	}
	return flow(n)
}

func tidyPairs(pairs []*mapperv1.Pair) {
	for _, p := range pairs {
		pairSettings.tidy(p)
	}
}

// keyed writes a list as a mapping by a name that each element has; nil where there are none.
func keyed[M any](list []*M, what string, name func(*M) string, format func(*M) (*yaml.Node, error)) (*yaml.Node, error) {
	if len(list) == 0 {
		return nil, nil
	}
	root, seen := &yaml.Node{Kind: yaml.MappingNode}, map[string]bool{}
	for _, one := range list {
		if seen[name(one)] {
			return nil, fmt.Errorf("%s has two entries for %q; remove one", what, name(one))
		}
		seen[name(one)] = true
		n, err := format(one)
		if err != nil {
			return nil, err
		}
		root.Content = append(root.Content, scalar(name(one)), n)
	}
	return root, nil
}
