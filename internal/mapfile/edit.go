package mapfile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

// Section returns some of the settings of the file's top level, such as rules and guards, as YAML; nothing where none of
// them is set.
func Section(m *mapperv1.FieldMap, keys ...string) (string, error) {
	var some settings[mapperv1.FieldMap]
	for _, one := range mapSettings {
		if slices.Contains(keys, one.key) {
			some = append(some, one)
		}
	}
	root, err := some.format(m)
	if err != nil || len(root.Content) == 0 {
		return "", err
	}
	b, err := encode(root)
	return string(b), err
}

// PairSettings returns in one line what a pair says besides where its value comes from and what its default is, such as
// "write: if_blank, too_long: cut".
func PairSettings(p *mapperv1.Pair) string {
	var all []string
	for _, one := range pairSettings {
		if slices.Contains([]string{"from", "constant", "expression", "default"}, one.key) {
			continue
		}
		if v := value(one, p); v != "" {
			all = append(all, one.key+": "+v)
		}
	}
	return strings.Join(all, ", ")
}

// Add writes pairs into the file of a field map, below its other fields, each with a comment behind it that may be empty.
// Everything else stays as it is, with its comments and blank lines. Pairs whose target is there already are left out.
// It returns the file and the pairs that were added.
func Add(file []byte, pairs []*mapperv1.Pair, comments []string) ([]byte, []*mapperv1.Pair, error) {
	root, err := load(file)
	if err != nil {
		return nil, nil, err
	}
	before, err := Parse(file)
	if err != nil {
		return nil, nil, err
	}
	at, indent, err := end(root, file)
	if err != nil {
		return nil, nil, err
	}
	there := map[string]bool{}
	for _, p := range before.GetPairs() {
		there[strings.ToLower(p.GetTarget())] = true
	}
	var text strings.Builder
	var added []*mapperv1.Pair
	for i, p := range pairs {
		if there[strings.ToLower(p.GetTarget())] {
			continue
		}
		there[strings.ToLower(p.GetTarget())] = true
		lines, err := pairLines(p, comments[i])
		if err != nil {
			return nil, nil, err
		}
		for line := range strings.Lines(lines) {
			text.WriteString(strings.Repeat(" ", indent) + line)
		}
		added = append(added, p)
	}
	if len(added) == 0 {
		return file, nil, nil
	}
	lines := slices.Collect(bytes.Lines(file))
	if last := lines[at-1]; !bytes.HasSuffix(last, []byte("\n")) {
		lines[at-1] = append(slices.Clone(last), '\n')
	}
	after := slices.Concat(bytes.Join(lines[:at], nil), []byte(text.String()), bytes.Join(lines[at:], nil))
	got, err := Parse(after)
	if err != nil || len(got.GetPairs()) != len(before.GetPairs())+len(added) {
		return nil, nil, errors.New("the fields of the file are written in a way that cannot be added to; put each on a line of its own below `fields:`")
	}
	return after, added, nil
}

// end finds the line behind the last field, counted from 1, and how far fields are indented.
func end(root *yaml.Node, file []byte) (at, indent int, err error) {
	lines := slices.Collect(bytes.Lines(file))
	at = len(lines)
	found := false
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if found {
			at = key.Line - 1
			break
		}
		if key.Value != "fields" {
			continue
		}
		if value.Kind != yaml.MappingNode || value.Style&yaml.FlowStyle != 0 || len(value.Content) == 0 {
			return 0, 0, fmt.Errorf("line %d: put each field on a line of its own below `fields:`, so that others can be added", key.Line)
		}
		found, indent = true, value.Content[0].Column-1
	}
	// Blank lines, and comments above what follows, belong to what follows.
	for at > 1 {
		line := bytes.TrimSpace(lines[at-1])
		if len(line) > 0 && (line[0] != '#' || bytes.HasPrefix(lines[at-1], bytes.Repeat([]byte(" "), indent)) && indent > 0) {
			break
		}
		at--
	}
	return at, indent, nil
}

// New returns the file of a field map that has pairs with a comment behind each.
func New(object, externalID string, pairs []*mapperv1.Pair, comments []string) ([]byte, error) {
	head, err := Section(&mapperv1.FieldMap{Object: object, ExternalIdField: externalID}, "object", "external_id")
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(head + "fields:\n")
	for i, p := range pairs {
		lines, err := pairLines(p, comments[i])
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(lines) {
			b.WriteString("  " + line)
		}
	}
	return []byte(b.String()), nil
}

// pairLines writes one field with a comment behind its first line.
func pairLines(p *mapperv1.Pair, comment string) (string, error) {
	n, err := writePairs([]*mapperv1.Pair{p})
	if err != nil {
		return "", err
	}
	b, err := encode(n)
	if err != nil || comment == "" {
		return string(b), err
	}
	first, rest, _ := strings.Cut(string(b), "\n")
	return first + "  # " + strings.Join(strings.Fields(comment), " ") + "\n" + rest, nil
}
