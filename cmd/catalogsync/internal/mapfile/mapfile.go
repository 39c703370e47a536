// Package mapfile owns the YAML file in which a field map is kept under version control:
//
//	object: Contact
//	external_id: CatalogUserId__c
//	fields:
//	  FirstName: first_name
//	  Title:
//	    from: title
//	    default: Member
//
// Fields keep their order. Anything that the format does not know is an error that names the line.
package mapfile

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	mapperv1 "github.com/catalogsync/catalogsync/gen/catalogsync/mapper/v1"
)

// Parse reads a field map.
func Parse(b []byte) (*mapperv1.FieldMap, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("the file is empty; give object and fields")
	}
	fm := &mapperv1.FieldMap{}
	fields := false
	err := each(doc.Content[0], "the file", func(key string, value *yaml.Node) (err error) {
		switch key {
		case "object":
			fm.Object, err = text(key, value)
		case "external_id":
			fm.ExternalIdField, err = text(key, value)
		case "fields":
			fields = true
			err = each(value, key, func(target string, value *yaml.Node) error {
				pair, err := parsePair(target, value)
				fm.Pairs = append(fm.Pairs, pair)
				return err
			})
		default:
			err = fmt.Errorf("%q is not known; there are object, external_id and fields", key)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case fm.GetObject() == "":
		return nil, errors.New("object is missing; give Contact or Lead")
	case !fields:
		return nil, errors.New("fields is missing; give at least one line like `FirstName: first_name`")
	}
	return fm, nil
}

func parsePair(target string, value *yaml.Node) (*mapperv1.Pair, error) {
	pair := &mapperv1.Pair{Target: target}
	if value.Kind == yaml.ScalarNode {
		var err error
		pair.Source, err = text(target, value)
		return pair, err
	}
	err := each(value, target, func(key string, value *yaml.Node) (err error) {
		switch key {
		case "from":
			pair.Source, err = text(key, value)
		case "default":
			pair.DefaultValue, err = text(key, value)
		default:
			err = fmt.Errorf("%q is not known; a field has from and default", key)
		}
		return err
	})
	if err == nil && pair.GetSource() == "" {
		err = fmt.Errorf("line %d: %s has no `from`; name a Catalog field", value.Line, target)
	}
	return pair, err
}

// each calls f for the entries of a mapping, in their order.
func each(n *yaml.Node, name string, f func(key string, value *yaml.Node) error) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s must hold lines like `name: value`", n.Line, name)
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if line, ok := seen[key.Value]; ok {
			return fmt.Errorf("line %d: %s is there already, in line %d", key.Line, key.Value, line)
		}
		seen[key.Value] = key.Line
		if err := f(key.Value, n.Content[i+1]); err != nil {
			if !strings.HasPrefix(err.Error(), "line ") {
				err = fmt.Errorf("line %d: %w", key.Line, err)
			}
			return err
		}
	}
	return nil
}

// text reads a value as it is written: `no` and `007` stay what they are.
func text(key string, n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return "", fmt.Errorf("line %d: %s must be a text", n.Line, key)
	}
	return n.Value, nil
}

// Format writes a field map so that Parse reads it again.
func Format(fm *mapperv1.FieldMap) []byte {
	fields := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range fm.GetPairs() {
		value := scalar(p.GetSource())
		if p.GetDefaultValue() != "" {
			value = mapping("from", value, "default", scalar(p.GetDefaultValue()))
		}
		fields.Content = append(fields.Content, scalar(p.GetTarget()), value)
	}
	root := mapping("object", scalar(fm.GetObject()))
	if id := fm.GetExternalIdField(); id != "" {
		root.Content = append(root.Content, mapping("external_id", scalar(id)).Content...)
	}
	root.Content = append(root.Content, mapping("fields", fields).Content...)
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(root), e.Close()); err != nil {
		panic(fmt.Sprintf("mapfile: a tree of texts cannot be encoded: %v", err))
	}
	return []byte(b.String())
}

func mapping(entries ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i+1 < len(entries); i += 2 {
		n.Content = append(n.Content, scalar(entries[i].(string)), entries[i+1].(*yaml.Node))
	}
	return n
}

func scalar(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}
