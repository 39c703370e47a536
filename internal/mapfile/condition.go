package mapfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

// A condition is a mapping. Each of its entries is a condition, and all of them have to hold:
//
//	email: {contains: [test, example.com]}     a test of a Catalog field; several operators have to hold all
//	salesforce.Status__c: {equals: Active}     a test of the present value in Salesforce
//	any: [...]   all: [...]   not: {...}       groups

// Names of groups, and beginnings of the names of fields.
const (
	inAll, inAny, inNot = "all", "any", "not"
	ofSalesforce        = "salesforce."
	ofCatalog           = "catalog."
)

// maxDepth bounds how deep conditions are read; what is saved is bounded closer.
const maxDepth = 40

// condition is a setting that is a condition.
func condition[M any](key string, at func(*M) **mapperv1.Condition) setting[M] {
	return setting[M]{
		key:  key,
		read: func(r *reader, n *yaml.Node, m *M) { *at(m) = r.condition(key, n, 0) },
		write: func(m *M) (*yaml.Node, error) {
			if *at(m) == nil {
				return nil, nil
			}
			n, err := conditionNode(*at(m))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			return compact(n), nil
		},
		tidy: func(m *M) { tidyCondition(*at(m)) },
	}
}

func (r *reader) condition(name string, n *yaml.Node, depth int) *mapperv1.Condition {
	if depth > maxDepth {
		r.fail(n.Line, "conditions are nested more than %d deep; give the rule another rule at its side", maxDepth)
		return nil
	}
	var found []*mapperv1.Condition
	line := n.Line
	before := len(r.problems)
	r.entries(name, n, func(key, value *yaml.Node) {
		switch key.Value {
		case inAll, inAny:
			group := &mapperv1.Conditions{}
			r.items(key.Value, value, func(item *yaml.Node) {
				group.Conditions = append(group.Conditions, r.condition("a condition", item, depth+1))
			})
			if len(group.GetConditions()) == 0 {
				r.fail(key.Line, "%s is empty; give it conditions", key.Value)
			}
			if key.Value == inAll {
				found = append(found, all(group.GetConditions()...))
			} else {
				found = append(found, &mapperv1.Condition{Condition: &mapperv1.Condition_Any{Any: group}})
			}
		case inNot:
			found = append(found, not(r.condition(inNot, value, depth+1)))
		default:
			found = append(found, r.tests(key, value))
		}
	})
	switch len(found) {
	case 0:
		if len(r.problems) == before {
			r.fail(line, "%s is empty; give a condition such as `email: {contains: test}`", name)
		}
		return nil
	case 1:
		return found[0]
	}
	return all(found...)
}

// tests reads the tests of one field.
func (r *reader) tests(key, n *yaml.Node) *mapperv1.Condition {
	side, field := mapperv1.Side_SIDE_UNSPECIFIED, strings.TrimPrefix(key.Value, ofCatalog)
	if rest, ok := strings.CutPrefix(key.Value, ofSalesforce); ok {
		side, field = mapperv1.Side_SIDE_SALESFORCE, rest
	}
	if v := r.visit(n); v == nil || v.Kind != yaml.MappingNode {
		r.fail(key.Line, "%s has no operator; write for example `%s: {equals: X}`; there are %s", key.Value, key.Value, enumerate(operators.words()))
		return nil
	}
	var found []*mapperv1.Condition
	before := len(r.problems)
	r.entries(key.Value, n, func(operator, value *yaml.Node) {
		t := &mapperv1.Test{Side: side, Field: field, Operator: operators.find(r, "the operator", operator)}
		switch {
		case t.GetOperator() != mapperv1.Operator_OPERATOR_EMPTY:
			t.Values = r.list(operator.Value, value)
			found = append(found, test(t))
		default:
			switch v := r.text(operator.Value, value); v {
			case "true":
				found = append(found, test(t))
			case "false":
				found = append(found, not(test(t)))
			default:
				r.fail(value.Line, "empty is %q; give true or false", v)
			}
		}
	})
	switch {
	case len(found) == 0 && len(r.problems) == before:
		r.fail(key.Line, "%s has no operator; there are %s", key.Value, enumerate(operators.words()))
	case len(found) == 1:
		return found[0]
	}
	return all(found...)
}

func test(t *mapperv1.Test) *mapperv1.Condition {
	return &mapperv1.Condition{Condition: &mapperv1.Condition_Test{Test: t}}
}

func not(c *mapperv1.Condition) *mapperv1.Condition {
	return &mapperv1.Condition{Condition: &mapperv1.Condition_Not{Not: c}}
}

func all(cs ...*mapperv1.Condition) *mapperv1.Condition {
	return &mapperv1.Condition{Condition: &mapperv1.Condition_All{All: &mapperv1.Conditions{Conditions: cs}}}
}

// conditionNode writes a condition in the one way that reads it again as it is.
func conditionNode(c *mapperv1.Condition) (*yaml.Node, error) {
	members := c.GetAll().GetConditions()
	if len(members) < 2 {
		return entry(c)
	}
	if n := oneField(members); n != nil {
		return n, nil
	}
	merged, seen := &yaml.Node{Kind: yaml.MappingNode}, map[string]bool{}
	for _, m := range members {
		n, err := entry(m)
		if err != nil {
			return nil, err
		}
		if seen[n.Content[0].Value] {
			return entry(c)
		}
		seen[n.Content[0].Value] = true
		merged.Content = append(merged.Content, n.Content...)
	}
	return merged, nil
}

// entry writes a condition as a mapping with one entry.
func entry(c *mapperv1.Condition) (*yaml.Node, error) {
	if n := oneField([]*mapperv1.Condition{c}); n != nil {
		return n, nil
	}
	switch x := c.GetCondition().(type) {
	case *mapperv1.Condition_All:
		if n := oneField(x.All.GetConditions()); n != nil && len(x.All.GetConditions()) > 1 {
			return n, nil
		}
		return groupNode(inAll, x.All)
	case *mapperv1.Condition_Any:
		return groupNode(inAny, x.Any)
	case *mapperv1.Condition_Not:
		n, err := conditionNode(x.Not)
		return single(inNot, n), err
	}
	return nil, errors.New("a condition is empty, or of a kind that this version of catalogsync does not know")
}

func groupNode(key string, group *mapperv1.Conditions) (*yaml.Node, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, c := range group.GetConditions() {
		n, err := conditionNode(c)
		if err != nil {
			return nil, err
		}
		list.Content = append(list.Content, n)
	}
	if len(list.Content) == 0 {
		return nil, fmt.Errorf("%s is an empty group", key)
	}
	return single(key, list), nil
}

func single(key string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar(key), value}}
}

// oneField writes conditions that are all tests of one field, each with another operator; nil for others.
func oneField(cs []*mapperv1.Condition) *yaml.Node {
	name, tests, seen := "", &yaml.Node{Kind: yaml.MappingNode}, map[string]bool{}
	for i, c := range cs {
		t, value := c.GetTest(), (*yaml.Node)(nil)
		if inner := c.GetNot().GetTest(); inner.GetOperator() == mapperv1.Operator_OPERATOR_EMPTY && len(inner.GetValues()) == 0 {
			t, value = inner, literal("false", "!!bool")
		}
		operator, err := operators.word("operator", t.GetOperator())
		if t == nil || err != nil || seen[operator] || i > 0 && name != fieldKey(t) {
			return nil
		}
		isEmpty := t.GetOperator() == mapperv1.Operator_OPERATOR_EMPTY
		switch {
		case isEmpty != (len(t.GetValues()) == 0):
			return nil // no test at all
		case isEmpty && value == nil:
			value = literal("true", "!!bool")
		case !isEmpty && len(t.GetValues()) == 1:
			value = scalar(t.GetValues()[0])
		case !isEmpty:
			value = texts(t.GetValues())
		}
		name, seen[operator] = fieldKey(t), true
		tests.Content = append(tests.Content, scalar(operator), value)
	}
	if name == "" {
		return nil
	}
	return single(name, tests)
}

// fieldKey is the name of a test's field in the file.
func fieldKey(t *mapperv1.Test) string {
	f := t.GetField()
	switch {
	case t.GetSide() == mapperv1.Side_SIDE_SALESFORCE:
		return ofSalesforce + f
	case slices.Contains([]string{inAll, inAny, inNot, ""}, f), strings.HasPrefix(f, ofSalesforce), strings.HasPrefix(f, ofCatalog):
		return ofCatalog + f
	}
	return f
}

func tidyCondition(c *mapperv1.Condition) {
	switch x := c.GetCondition().(type) {
	case *mapperv1.Condition_All:
		for _, c := range x.All.GetConditions() {
			tidyCondition(c)
		}
	case *mapperv1.Condition_Any:
		for _, c := range x.Any.GetConditions() {
			tidyCondition(c)
		}
	case *mapperv1.Condition_Not:
		tidyCondition(x.Not)
	case *mapperv1.Condition_Test:
		if x.Test.GetSide() == mapperv1.Side_SIDE_CATALOG {
			x.Test.Side = mapperv1.Side_SIDE_UNSPECIFIED
		}
	}
}

// texts is a list of texts in one line; nil for none.
func texts(values []string) *yaml.Node {
	if len(values) == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, v := range values {
		n.Content = append(n.Content, scalar(v))
	}
	return flow(n)
}

// flow makes a node one line, as JSON is written.
func flow(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	} else if n.Style == yaml.LiteralStyle {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		flow(c)
	}
	return n
}

// inLine is how long a condition may be to stand in one line.
const inLine = 90

// compact writes a condition in one line if it fits, and else what of it fits.
func compact(n *yaml.Node) *yaml.Node {
	if len(line(n)) <= inLine {
		return flow(n)
	}
	for _, c := range n.Content {
		if c.Kind != yaml.ScalarNode {
			compact(c)
		}
	}
	return n
}

// line returns a node as one line of YAML; a text as it is.
func line(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	b, err := encode(flow(clone(n)))
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(string(b), "\n")
}

func clone(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i := range n.Content {
		c.Content[i] = clone(n.Content[i])
	}
	return &c
}
