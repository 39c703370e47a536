// Package mapfile owns the YAML file in which a field map is kept under version control, and the names that its settings
// have in it:
//
//	object: Contact
//	external_id: CatalogUserId__c
//	fields:
//	  FirstName: first_name
//	  Title:
//	    from: title
//	    default: Member
//	rules:
//	  - skip: no test accounts
//	    when: {email: {contains: [test, example.com]}}
//
// One table per group of settings says how each is read, written, compared and named; docs/field-maps.md explains them.
// Fields and rules keep their order, texts stay texts (`no` and `007` are what they are), and a setting that says what
// its default says is left out. Anything that the format does not know is an error that names the line.
//
// The file holds what a field map says, not what it is: connection, version, author, time and note are not in it.
package mapfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

// maxFile is how many bytes a file may have. A field map of a thousand pairs takes a tenth of it.
const maxFile = 1 << 20

// Parse reads a field map. The error lists everything that is wrong, one a line, each with the number of its line.
func Parse(b []byte) (*mapperv1.FieldMap, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("the file has %d bytes; a field map has at most %d", len(b), maxFile)
	}
	root, err := load(b)
	if err != nil {
		return nil, err
	}
	r := &reader{budget: 10 * len(b)}
	m := &mapperv1.FieldMap{}
	has := mapSettings.parse(r, "the file", root, m)
	if m.GetObject() == "" && len(r.problems) == 0 {
		return nil, errors.New("object is missing; give Contact or Lead")
	}
	if !has["fields"] && len(r.problems) == 0 {
		return nil, errors.New("fields is missing; give at least one line like `FirstName: first_name`")
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return Normal(m), nil
}

// load returns the root of the file's one document.
func load(b []byte) (*yaml.Node, error) {
	var doc, second yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(b))
	err := d.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF), err == nil && len(doc.Content) == 0:
		return nil, errors.New("the file is empty; give object and fields")
	case err != nil:
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: a second document begins; a file holds one field map", max(second.Line, doc.Line))
	}
	return doc.Content[0], nil
}

// Format writes a field map so that [Parse] reads it again, in its normal form. It fails for a field map that no file
// can hold: one with settings that this version of the program does not know, or with two pairs for one target.
func Format(m *mapperv1.FieldMap) ([]byte, error) {
	if Unknown(m) {
		return nil, errors.New("the field map has settings that this version of catalogsync does not know; use a newer one")
	}
	root, err := mapSettings.format(m)
	if err != nil {
		return nil, err
	}
	return encode(root)
}

func encode(root *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(root), e.Close()); err != nil {
		return nil, fmt.Errorf("the field map cannot be written as YAML: %w", err)
	}
	return b.Bytes(), nil
}

// Unknown reports whether a field map has settings that this program does not know: a newer one made it.
func Unknown(m *mapperv1.FieldMap) bool { return unknown(m.ProtoReflect()) }

func unknown(m protoreflect.Message) bool {
	found := len(m.GetUnknown()) > 0
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := 0; i < v.List().Len() && !found; i++ {
				found = unknown(v.List().Get(i).Message())
			}
		default:
			found = found || unknown(v.Message())
		}
		return !found
	})
	return found
}

// Normal returns what the field map says, in one spelling: without connection, version, author, time, note and what the
// org said when it was saved, and without settings that say what their default says. Field maps that mean the same have
// the same normal form, but for the order of their pairs, rules and overrides.
func Normal(m *mapperv1.FieldMap) *mapperv1.FieldMap {
	m = proto.CloneOf(m)
	m.ConnectionId, m.Version, m.SavedAt, m.Author, m.Note, m.RolledBackTo = "", 0, nil, "", "", 0
	for _, p := range m.GetPairs() {
		p.Type, p.Length = "", 0
	}
	for _, o := range m.GetOverrides() {
		for _, p := range o.GetPairs() {
			p.Type, p.Length = "", 0
		}
	}
	mapSettings.tidy(m)
	return m
}

// Keys returns the names of all settings, each group sorted, for a test of the documentation.
func Keys() map[string][]string {
	return map[string][]string{
		"file": mapSettings.keys(), "field": pairSettings.keys(), "lookup": lookupSettings.keys(), "rule": ruleSettings.keys(),
		"override": overrideSettings.keys(), "identity": identitySettings.keys(), "guards": guardSettings.keys(),
		"brake": brakeSettings.keys(), "test": operators.words(),
	}
}

// problem is something wrong in a line of a file.
type problem struct {
	line int
	text string
}

// maxProblems is how many problems are told.
const maxProblems = 20

// reader collects what is wrong while a file is read.
type reader struct {
	problems []problem
	// budget is how many nodes may still be visited: aliases make small files large, or endless.
	budget int
}

func (r *reader) fail(line int, format string, args ...any) {
	r.problems = append(r.problems, problem{line, fmt.Sprintf(format, args...)})
}

func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b problem) int { return a.line - b.line })
	var lines []string
	for i, p := range r.problems {
		if i == maxProblems {
			lines = append(lines, fmt.Sprintf("and %d more", len(r.problems)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("line %d: %s", p.line, p.text))
	}
	return errors.New(strings.Join(lines, "\n"))
}

// visit returns the node that n stands for, or nil when there is no end to it.
func (r *reader) visit(n *yaml.Node) *yaml.Node {
	if r.budget--; r.budget < 0 {
		if r.budget == -1 {
			r.fail(n.Line, "aliases make the file endless; write out what they stand for")
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// entries calls f for the entries of a mapping, in their order.
func (r *reader) entries(name string, n *yaml.Node, f func(key, value *yaml.Node)) {
	if n = r.visit(n); n == nil {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n.Line, "%s must hold lines like `name: value`", name)
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			r.fail(key.Line, "%s has a name that is no text", name)
			continue
		}
		if line, ok := seen[key.Value]; ok {
			r.fail(key.Line, "%s is there already, in line %d", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		f(key, n.Content[i+1])
	}
}

// items calls f for the items of a list.
func (r *reader) items(name string, n *yaml.Node, f func(item *yaml.Node)) {
	if n = r.visit(n); n == nil {
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n.Line, "%s must be a list", name)
		return
	}
	for _, item := range n.Content {
		f(item)
	}
}

// text reads a value as it is written: `no` and `007` stay what they are.
func (r *reader) text(name string, n *yaml.Node) string {
	line := n.Line
	if n = r.visit(n); n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.fail(line, "%s must be a text", name)
		return ""
	}
	return n.Value
}

// list reads a list of texts, or a single one.
func (r *reader) list(name string, n *yaml.Node) (out []string) {
	if v := r.visit(n); v == nil || v.Kind != yaml.SequenceNode {
		return []string{r.text(name, n)}
	}
	r.items(name, n, func(item *yaml.Node) { out = append(out, r.text("an item of "+name, item)) })
	if len(out) == 0 {
		r.fail(n.Line, "%s is an empty list; give at least one value", name)
	}
	return out
}
