package expression

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"github.com/catalogsync/catalogsync/services/mapper/internal/similar"
)

// A field is one variable of the environment, whose name no expression can write.
const (
	personPrefix = "person."
	recordPrefix = "record."
	attributes   = "attributes"
)

// rewriter turns each field that is read into a variable, and refuses what is not to be had.
type rewriter struct {
	fields  Fields
	program *Program
	err     error
}

func (r *rewriter) rewrite(tree *parser.Tree) error {
	ast.Walk(&tree.Node, r)
	if r.err == nil {
		ast.Walk(&tree.Node, leftovers{r})
	}
	return r.err
}

func (r *rewriter) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// Visit looks at a node after its children.
func (r *rewriter) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.MemberNode:
		r.member(node, n)
	case *ast.CallNode:
		r.call(n)
	case *ast.BuiltinNode:
		if !slices.Contains(builtins, n.Name) {
			r.unknown(n.Name)
		}
	case *ast.PredicateNode:
		r.program.loops = true
		inner := &loops{}
		ast.Walk(&n.Node, inner)
		if inner.n > 0 {
			r.fail("it has a loop within a loop: such as filter(...) in the condition of any(...); write one after the other")
		}
	case *ast.BinaryNode:
		r.binary(n)
	}
}

// loops counts predicates.
type loops struct{ n int }

func (l *loops) Visit(node *ast.Node) {
	if _, ok := (*node).(*ast.PredicateNode); ok {
		l.n++
	}
}

func (r *rewriter) member(node *ast.Node, n *ast.MemberNode) {
	if base, ok := n.Node.(*ast.IdentifierNode); ok && (base.Value == "person" || base.Value == "record") {
		name, constant := n.Property.(*ast.StringNode)
		switch {
		case !constant:
			r.fail("it computes the name of a field of %s: name the field itself, as in %s.%s", base.Value, base.Value, "email")
		case base.Value == "person" && name.Value == attributes: // its member is to come
		case base.Value == "person":
			r.person(node, name.Value)
		default:
			r.record(node, name.Value)
		}
		return
	}
	if inner, ok := n.Node.(*ast.MemberNode); ok && isAttributes(inner) {
		name, constant := n.Property.(*ast.StringNode)
		if !constant {
			r.fail("it computes the name of an attribute: name the attribute itself, as in person.attributes[\"level\"]")
			return
		}
		r.person(node, attributes+"."+name.Value)
	}
}

func isAttributes(n *ast.MemberNode) bool {
	base, ok := n.Node.(*ast.IdentifierNode)
	name, constant := n.Property.(*ast.StringNode)
	return ok && constant && base.Value == "person" && name.Value == attributes
}

func (r *rewriter) person(node *ast.Node, name string) {
	attribute := strings.HasPrefix(name, attributes+".")
	if !slices.Contains(r.fields.Person, name) && (!attribute || !r.fields.AnyAttribute) {
		switch {
		case len(r.fields.Person) == 0:
			r.fail("it reads person.%s, but an import has no person yet: read record.FIELD", name)
		case attribute:
			r.fail("no person in the Catalog has the attribute %s%s", strings.TrimPrefix(name, attributes+"."), guess(name, r.fields.Person))
		default:
			r.fail("the Catalog has no field %s%s", name, guess(name, r.fields.Person))
		}
		return
	}
	if !slices.Contains(r.program.person, name) {
		r.program.person = append(r.program.person, name)
	}
	ast.Patch(node, &ast.IdentifierNode{Value: personPrefix + name})
}

func (r *rewriter) record(node *ast.Node, name string) {
	i := slices.IndexFunc(r.fields.Record, func(known string) bool { return strings.EqualFold(known, name) })
	if i < 0 {
		r.fail("Salesforce has no field %s that the connected user may see%s", name, guess(name, r.fields.Record))
		return
	}
	name = r.fields.Record[i]
	if !slices.Contains(r.program.record, name) {
		r.program.record = append(r.program.record, name)
	}
	ast.Patch(node, &ast.IdentifierNode{Value: recordPrefix + name})
}

func guess(name string, known []string) string {
	if nearest, ok := similar.Nearest(name, known); ok {
		return ": did you mean " + nearest + "?"
	}
	return ""
}

// methods of times that expressions may call.
var methods = []string{
	"Year", "Month", "Day", "Weekday", "Hour", "Minute", "Second", "YearDay", "Unix", "Before", "After", "Sub", "Add",
	"AddDate", "UTC", "In", "Hours", "Minutes", "Format",
}

func (r *rewriter) call(n *ast.CallNode) {
	switch callee := n.Callee.(type) {
	case *ast.IdentifierNode:
		if !slices.Contains(functions, callee.Value) {
			r.unknown(callee.Value)
		}
	case *ast.MemberNode:
		name, ok := callee.Property.(*ast.StringNode)
		if !ok || !slices.Contains(methods, name.Value) {
			r.fail("it calls a method that expressions do not have: of times there are %s", strings.Join(methods, ", "))
			return
		}
		if name.Value == "Format" {
			for _, arg := range n.Arguments {
				if layout, ok := arg.(*ast.StringNode); !ok || len(layout.Value) > maxCutset {
					r.fail("the layout of Format is to be a short text in quotes, such as \"2006-01-02\"")
				}
			}
		}
	default:
		r.fail("it calls what is no function")
	}
}

func (r *rewriter) unknown(name string) {
	r.fail("there is no function %s: there are %s", name, strings.Join(known(), ", "))
}

func (r *rewriter) binary(n *ast.BinaryNode) {
	_, leftNil := n.Left.(*ast.NilNode)
	_, rightNil := n.Right.(*ast.NilNode)
	switch {
	case n.Operator == "..":
		r.fail("it has a range (%s): list the numbers, as in [1, 2, 3]", "..")
	case n.Operator == "??":
		r.fail("?? has nothing to do, for fields are never nil but empty: use coalesce(a, b)")
	case (n.Operator == "==" || n.Operator == "!=") && (leftNil || rightNil):
		r.fail("it compares with nil, and fields are never nil but empty: use blank(x)")
	case n.Operator == "matches":
		pattern, ok := n.Right.(*ast.StringNode)
		if !ok {
			r.fail("the regular expression after matches is to be a text in quotes")
			return
		}
		if len(pattern.Value) > maxPattern {
			r.fail("a regular expression has %d bytes and may have %d", len(pattern.Value), maxPattern)
		}
	}
}

// leftovers refuses uses of person and record that are no fields.
type leftovers struct{ r *rewriter }

func (l leftovers) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		switch n.Value {
		case "person", "record":
			l.r.fail("it uses %s as a whole: name a field of it, as in %s.%s", n.Value, n.Value, map[string]string{"person": "email", "record": "Email"}[n.Value])
		case "$env":
			l.r.fail("there is no $env: name fields, as in person.email")
		}
	case *ast.VariableDeclaratorNode:
		if slices.Contains([]string{"person", "record", "now"}, n.Name) || slices.Contains(functions, n.Name) {
			l.r.fail("let %s takes a name that means something else: choose another", n.Name)
		}
	}
}
