package expression

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm/runtime"
)

// builtins are the library's functions whose work and whose result are no greater than what they are given.
var builtins = []string{
	"abs", "all", "any", "ceil", "count", "date", "duration", "filter", "find", "findIndex", "findLast", "findLastIndex",
	"first", "float", "floor", "hasPrefix", "hasSuffix", "indexOf", "int", "last", "lastIndexOf", "len", "map", "max",
	"min", "none", "one", "round", "take", "timezone", "trimPrefix", "trimSuffix",
}

// functions are our own: those that make text count what they make.
var functions = []string{"blank", "coalesce", "domain", "join", "lower", "replace", "split", "string", "trim", "upper"}

// known are all functions, sorted.
func known() []string {
	all := slices.Concat(builtins, functions)
	slices.Sort(all)
	return all
}

// Names that no expression can write, for the functions that stand for operators.
const (
	concatName = "+"
	matchName  = "matches"
)

// limitError is an error of our own functions: it holds no value of a person.
type limitError struct{ text string }

func (e *limitError) Error() string { return e.text }

var (
	errText   = &limitError{fmt.Sprintf("it makes or searches more than %d KiB of text for this person", MaxText>>10)}
	errList   = &limitError{fmt.Sprintf("it splits a text into more than %d parts", MaxList)}
	errLooped = &limitError{fmt.Sprintf("it has a loop and reads more than %d KiB of this person", MaxLooped>>10)}
	errCutset = &limitError{"it trims more kinds of characters than it may"}
	errAdd    = errors.New("it adds what cannot be added")
)

// work counts what one evaluation makes.
type work struct {
	left     int
	patterns map[string]*regexp.Regexp
}

func (w *work) take(n int) error {
	if w.left -= n; w.left < 0 {
		return errText
	}
	return nil
}

// register adds our functions to those that expressions have.
func (w *work) register(config *conf.Config) {
	add := func(name string, fn func(params ...any) (any, error), signatures ...any) {
		f := &builtin.Function{Name: name, Func: fn}
		for _, s := range signatures {
			f.Types = append(f.Types, reflect.TypeOf(s).Elem())
		}
		config.Functions[name] = f
	}
	add(concatName, w.concat, new(func(string, string) string))
	add(matchName, w.matches, new(func(string, string) bool))
	add("upper", w.mapped(strings.ToUpper), new(func(string) string))
	add("lower", w.mapped(strings.ToLower), new(func(string) string))
	add("trim", trim, new(func(string) string), new(func(string, string) string))
	add("split", w.split, new(func(string, string) []string))
	add("join", w.join, new(func([]any, string) string), new(func([]string, string) string))
	add("replace", w.replace, new(func(string, string, string) string))
	add("string", text, new(func(string) string), new(func(int) string), new(func(float64) string), new(func(bool) string), new(func(time.Time) string))
	add("blank", func(p ...any) (any, error) { return strings.TrimSpace(p[0].(string)) == "", nil }, new(func(string) bool))
	add("coalesce", coalesce, new(func(...string) string))
	add("domain", func(p ...any) (any, error) { return Domain(p[0].(string)), nil }, new(func(string) string))
}

// bind puts the counting functions in the place of operators, once the types are known, and compiles the patterns.
func (w *work) bind(tree *parser.Tree) error {
	b := &binder{work: w}
	ast.Walk(&tree.Node, b)
	return b.err
}

type binder struct {
	work *work
	err  error
}

func (b *binder) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.BinaryNode)
	if !ok {
		return
	}
	name := ""
	switch {
	case n.Operator == "+" && !countable(n.Left.Type()) && !countable(n.Right.Type()):
		name = concatName
	case n.Operator == "matches":
		name = matchName
		pattern := n.Right.(*ast.StringNode).Value // the rewriter has seen to it
		re, err := regexp.Compile(pattern)
		if err != nil {
			b.err = fmt.Errorf("its regular expression cannot be used: %w", err)
			return
		}
		if b.work.patterns == nil {
			b.work.patterns = map[string]*regexp.Regexp{}
		}
		b.work.patterns[pattern] = re
	default:
		return
	}
	call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: []ast.Node{n.Left, n.Right}}
	if inner, ok := n.Left.(*ast.CallNode); ok && name == concatName { // a + b + c is one call: no text is made twice
		if callee, ok := inner.Callee.(*ast.IdentifierNode); ok && callee.Value == concatName {
			call.Arguments = append(inner.Arguments, n.Right)
		}
	}
	call.SetType(n.Type())
	ast.Patch(node, call)
	call.SetType(n.Type())
}

// countable reports whether a value of the type is known to be no text.
func countable(t reflect.Type) bool {
	if t == nil {
		return false
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Float64:
		return true
	}
	return t == timeType
}

// concat adds its parameters from left to right. Texts, which is what nearly all are, are joined at once.
func (w *work) concat(p ...any) (any, error) {
	n := 0
	for _, one := range p {
		s, ok := one.(string)
		if !ok {
			return w.sum(p)
		}
		n += len(s)
	}
	if err := w.take(n); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.Grow(n)
	for _, one := range p {
		b.WriteString(one.(string))
	}
	return b.String(), nil
}

func (w *work) sum(p []any) (any, error) {
	sum := p[0]
	for _, next := range p[1:] {
		a, okA := sum.(string)
		b, okB := next.(string)
		switch {
		case okA && okB:
			if err := w.take(len(a) + len(b)); err != nil {
				return nil, err
			}
			sum = a + b
		case okA || okB:
			return nil, errAdd
		default:
			sum = runtime.Add(sum, next)
		}
	}
	return sum, nil
}

func (w *work) matches(p ...any) (any, error) {
	s, _ := p[0].(string)
	if err := w.take(len(s)); err != nil {
		return nil, err
	}
	return w.patterns[p[1].(string)].MatchString(s), nil
}

func (w *work) mapped(change func(string) string) func(...any) (any, error) {
	return func(p ...any) (any, error) {
		s := p[0].(string)
		if err := w.take(2 * len(s)); err != nil {
			return nil, err
		}
		return change(s), nil
	}
}

func trim(p ...any) (any, error) {
	s := p[0].(string)
	if len(p) == 1 {
		return strings.TrimSpace(s), nil
	}
	cutset := p[1].(string)
	if len(cutset) > maxCutset {
		return nil, errCutset
	}
	return strings.Trim(s, cutset), nil
}

func (w *work) split(p ...any) (any, error) {
	s, sep := p[0].(string), p[1].(string)
	if err := w.take(len(s)); err != nil {
		return nil, err
	}
	parts := strings.SplitN(s, sep, MaxList+1)
	if len(parts) > MaxList {
		return nil, errList
	}
	return parts, nil
}

func (w *work) join(p ...any) (any, error) {
	sep := p[1].(string)
	parts, ok := p[0].([]string)
	if !ok {
		for _, one := range p[0].([]any) {
			s, ok := one.(string)
			if !ok {
				return nil, errAdd
			}
			parts = append(parts, s)
		}
	}
	n := len(parts) * len(sep)
	for _, s := range parts {
		n += len(s)
	}
	if err := w.take(n); err != nil {
		return nil, err
	}
	return strings.Join(parts, sep), nil
}

func (w *work) replace(p ...any) (any, error) {
	s, old, by := p[0].(string), p[1].(string), p[2].(string)
	if err := w.take(len(s) + strings.Count(s, old)*len(by)); err != nil {
		return nil, err
	}
	return strings.ReplaceAll(s, old, by), nil
}

func text(p ...any) (any, error) {
	switch v := p[0].(type) {
	case string:
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	case time.Time:
		return v.Format(time.RFC3339), nil
	}
	return nil, errAdd
}

func coalesce(p ...any) (any, error) {
	for _, one := range p {
		if s, ok := one.(string); ok && strings.TrimSpace(s) != "" {
			return s, nil
		}
	}
	return "", nil
}

// Domain returns the domain of an e-mail address or a web address, lower case and without www.; empty where there is
// none.
func Domain(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.Trim(s[i+1:], "0123456789") == "" {
		s = s[:i]
	}
	s = strings.Trim(strings.TrimPrefix(s, "www."), ".")
	if strings.ContainsAny(s, " \t\r\n") {
		return ""
	}
	return s
}
