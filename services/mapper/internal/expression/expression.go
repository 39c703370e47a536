// Package expression owns the expressions of field maps: expr-lang over a person's and a record's fields, all of them
// text. Whatever an expression says and whatever data it meets, its evaluation ends soon, takes little memory and never
// panics: its size is limited, loops are not nested and their lists are short, and the text that it makes in all is
// bounded.
package expression

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/optimizer"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"github.com/catalogsync/catalogsync/services/mapper/internal/values"
)

// Limits of an expression.
const (
	MaxLength   = 2000     // bytes of its text
	MaxNodes    = 500      // operations, names and constants in it
	MaxList     = 1000     // members of a list that split makes
	MaxLooped   = 32 << 10 // bytes of fields that an expression with a loop may read
	MaxText     = 1 << 20  // bytes of text that one evaluation may make and search in all
	maxPattern  = 500      // bytes of a regular expression
	maxCutset   = 64       // bytes of characters to trim
	memoryUnits = 20_000   // members of lists and maps that one evaluation may make
)

// Fields are the names that an expression may read.
type Fields struct {
	Person []string // Catalog fields, and attributes as attributes.NAME
	// AnyAttribute admits attributes that are not in Person: those of people who come later are not known now.
	AnyAttribute bool
	Record       []string // Salesforce fields
}

// Program is a compiled expression. It is for one goroutine at a time.
type Program struct {
	program        *vm.Program
	machine        vm.VM
	env            map[string]any
	work           *work
	person, record []string // fields that it reads
	fromPerson     []cell
	fromRecord     []cell
	loops          bool
}

// cell is a variable and the column that it comes from, -1 for none.
type cell struct {
	variable string
	column   int
	last     string // what the variable holds: many people have the same
}

// Result is the value of an expression.
type Result struct {
	Text string
	Nil  bool // the expression says that there is no value
}

// Compile reads an expression. The error says in words what is wrong and where.
func Compile(source string, fields Fields) (p *Program, err error) {
	// The library's own panics are mistakes in it that no text of an expression may bring up.
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, errors.New("it cannot be understood: write it more simply")
		}
	}()
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("it is empty")
	}
	if len(source) > MaxLength {
		return nil, fmt.Errorf("it has %d bytes and may have %d: split it into two pairs, or use a table", len(source), MaxLength)
	}
	p = &Program{work: &work{}, machine: vm.VM{MemoryBudget: memoryUnits}}
	config := conf.CreateNew()
	config.MaxNodes = MaxNodes
	for name := range config.Builtins {
		if !slices.Contains(builtins, name) {
			config.Disabled[name] = true
			delete(config.Builtins, name)
		}
	}
	p.work.register(config)
	tree, err := parser.ParseWithConfig(source, config)
	if err != nil {
		return nil, inWords(err)
	}
	r := rewriter{fields: fields, program: p}
	if err := r.rewrite(tree); err != nil {
		return nil, err
	}
	env := types.Map{"now": types.TypeOf(time.Time{}), "person": types.String, "record": types.String}
	for _, name := range p.person {
		env[personPrefix+name] = types.String
	}
	for _, name := range p.record {
		env[recordPrefix+name] = types.String
	}
	config.WithEnv(env)
	if _, err := checker.Check(tree, config); err != nil {
		return nil, inWords(err)
	}
	if err := resultType(tree.Node.Type()); err != nil {
		return nil, err
	}
	if err := p.work.bind(tree); err != nil {
		return nil, err
	}
	if err := optimizer.Optimize(&tree.Node, config); err != nil {
		return nil, inWords(err)
	}
	if p.program, err = compiler.Compile(tree, config); err != nil {
		return nil, inWords(err)
	}
	p.env = make(map[string]any, len(env))
	p.Bind(nil, nil, time.Time{})
	return p, nil
}

// Person returns the Catalog fields that the expression reads.
func (p *Program) Person() []string { return p.person }

// Record returns the Salesforce fields that it reads.
func (p *Program) Record() []string { return p.record }

// Bind says which columns rows have, and what time it is. Fields without a column are empty.
func (p *Program) Bind(person, record []string, now time.Time) {
	cells := func(prefix string, names, columns []string, same func(a, b string) bool) []cell {
		out := make([]cell, 0, len(names))
		for _, name := range names {
			column := slices.IndexFunc(columns, func(c string) bool { return same(c, name) })
			p.env[prefix+name] = ""
			if column >= 0 {
				out = append(out, cell{variable: prefix + name, column: column})
			}
		}
		return out
	}
	p.fromPerson = cells(personPrefix, p.person, person, func(a, b string) bool { return a == b })
	p.fromRecord = cells(recordPrefix, p.record, record, strings.EqualFold)
	p.env["now"] = now.UTC()
}

// Eval returns the value of the expression for a person and the record that it has; either may be nil. The error says
// what went wrong, with no more than 40 characters of a value.
func (p *Program) Eval(person, record []string) (out Result, err error) {
	size := p.fill(p.fromPerson, person) + p.fill(p.fromRecord, record)
	if p.loops && size > MaxLooped {
		return Result{}, errLooped
	}
	p.work.left = MaxText
	value, err := p.machine.Run(p.program, p.env) // the machine turns its panics into errors
	if err != nil {
		return Result{}, failure(err)
	}
	return result(value)
}

// fill sets the variables that come from a row, and returns how long their texts are in all.
func (p *Program) fill(cells []cell, row []string) (size int) {
	for i := range cells {
		c := &cells[i]
		text := at(row, c.column)
		if text != c.last {
			p.env[c.variable], c.last = text, text
		}
		size += len(text)
	}
	return size
}

func at(row []string, i int) string {
	if i >= len(row) {
		return ""
	}
	return row[i]
}

var timeType = reflect.TypeFor[time.Time]()

// resultType refuses what can be told before any data is there.
func resultType(t reflect.Type) error {
	if t == nil || t.Kind() == reflect.Interface || t == timeType {
		return nil
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Float64:
		return nil
	}
	if t == reflect.TypeFor[time.Duration]() {
		return errors.New("it gives a span of time: compare it, or add it to a time, so that it gives text, a number, true or false, or a time")
	}
	return fmt.Errorf("it gives a %s: make it text, such as by join(list, \";\")", noun(t))
}

func noun(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Map:
		return "map"
	case reflect.Func:
		return "function"
	}
	return t.String()
}

func result(value any) (Result, error) {
	switch v := value.(type) {
	case nil:
		return Result{Nil: true}, nil
	case string:
		return Result{Text: v}, nil
	case bool:
		return Result{Text: strconv.FormatBool(v)}, nil
	case int:
		return Result{Text: strconv.Itoa(v)}, nil
	case float64:
		return Result{Text: strconv.FormatFloat(v, 'f', -1, 64)}, nil
	case time.Time:
		return Result{Text: v.Format(time.RFC3339Nano)}, nil
	}
	return Result{}, fmt.Errorf("it gives a %s, which is no value of a field", noun(reflect.TypeOf(value)))
}

// inWords makes an error of the library one line that says where.
func inWords(err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return err
	}
	message := strings.TrimSpace(at.Message)
	where := ""
	if at.Line > 0 {
		where = fmt.Sprintf("line %d, column %d: ", at.Line, at.Column+1)
		if at.Line == 1 {
			where = fmt.Sprintf("column %d: ", at.Column+1)
		}
	}
	return errors.New(where + message)
}

// failure says why an evaluation failed. Texts of the library may hold whole values of a person, so only what is known
// to hold none is passed on in full.
func failure(err error) error {
	var own *limitError
	if errors.As(err, &own) {
		return own
	}
	var number *strconv.NumError
	if errors.As(err, &number) {
		return fmt.Errorf("%s is no number", values.Clip(number.Num))
	}
	var date *time.ParseError
	if errors.As(err, &date) {
		return fmt.Errorf("%s is no date or time", values.Clip(date.Value))
	}
	var at *file.Error
	if errors.As(err, &at) {
		message := at.Message
		if runes := []rune(message); len(runes) > 40 {
			message = string(runes[:40]) + "..."
		}
		return errors.New(strings.ToValidUTF8(message, "?"))
	}
	return errors.New("it could not be evaluated")
}
