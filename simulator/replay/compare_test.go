package replay_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// node is a JSON value that keeps the order of keys.
type node struct {
	kind string // object, list, text, number, bool, null
	keys []string
	vals map[string]*node
	list []*node
	text string // of scalars
}

func parse(t *testing.T, what, text string) *node {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	n, err := read(dec)
	if err == nil {
		if _, extra := dec.Token(); !errors.Is(extra, io.EOF) {
			err = fmt.Errorf("text after the value")
		}
	}
	if err != nil {
		t.Fatalf("%s is not JSON: %v\n%.500s", what, err, text)
	}
	return n
}

func read(dec *json.Decoder) (*node, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := tok.(type) {
	case nil:
		return &node{kind: "null", text: "null"}, nil
	case bool:
		return &node{kind: "bool", text: strconv.FormatBool(v)}, nil
	case json.Number:
		return &node{kind: "number", text: v.String()}, nil
	case string:
		return &node{kind: "text", text: v}, nil
	case json.Delim:
		n := &node{kind: "list"}
		if v == '{' {
			n.kind, n.vals = "object", map[string]*node{}
		}
		for dec.More() {
			if n.kind == "object" {
				k, err := dec.Token()
				if err != nil {
					return nil, err
				}
				n.keys = append(n.keys, k.(string))
			}
			e, err := read(dec)
			if err != nil {
				return nil, err
			}
			if n.kind == "object" {
				n.vals[n.keys[len(n.keys)-1]] = e
			} else {
				n.list = append(n.list, e)
			}
		}
		_, err := dec.Token()
		return n, err
	}
	return nil, fmt.Errorf("token %v", tok)
}

// at follows keys and list positions; it gives nil where there is nothing.
func (n *node) at(path ...any) *node {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			if n == nil || n.kind != "object" {
				return nil
			}
			n = n.vals[p]
		case int:
			if n == nil || p >= len(n.list) {
				return nil
			}
			n = n.list[p]
		}
	}
	return n
}

var volatile = []struct {
	pattern *regexp.Regexp
	to      string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?(\+0000|Z)`), "<time$1$2>"},
	{regexp.MustCompile(`https?://[^/"]+`), "<origin>"},
	{regexp.MustCompile(`\b(0[0-9A-Za-z]{2}|[1-9][0-9][0-9a-z]|a0[0-9A-Za-z])[0-9A-Za-z]{12}([0-9A-Z]{3})?\b`), "<id>"},
	{regexp.MustCompile(`/v(xx|\d\d)\.0/`), "/vNN.0/"},
}

// settle replaces what is another text in each org and at each moment: ids, times, hosts.
func settle(s string) string {
	for _, v := range volatile {
		s = v.pattern.ReplaceAllString(s, v.to)
	}
	return s
}

// comparer collects differences between a captured reply and the simulator's.
type comparer struct {
	shape   bool // only keys, their order and types
	partial bool // the capture is an excerpt: what it lacks is not compared
	diffs   []string
}

func (c *comparer) say(at, format string, args ...any) {
	c.diffs = append(c.diffs, at+": "+fmt.Sprintf(format, args...))
}

// names are the keys by which elements of lists are matched, whose lists differ in length from org to org.
func name(n *node) string {
	if n.kind != "object" {
		return ""
	}
	for _, k := range []string{"name", "value", "recordTypeId"} {
		if v := n.vals[k]; v != nil && v.kind == "text" && n.vals["Id"] == nil && n.vals["attributes"] == nil {
			return settle(v.text)
		}
	}
	if o, f := n.vals["childSObject"], n.vals["field"]; o != nil && f != nil {
		return o.text + "." + f.text
	}
	return ""
}

func (c *comparer) compare(at string, got, want *node) {
	if got.kind != want.kind {
		if c.shape && (got.kind == "null" || want.kind == "null") {
			return
		}
		c.say(at, "is %s %s, captured %s %s", got.kind, brief(got), want.kind, brief(want))
		return
	}
	switch want.kind {
	case "object":
		c.keys(at, got.keys, want.keys)
		for _, k := range want.keys {
			if g := got.vals[k]; g != nil {
				c.compare(at+"."+k, g, want.vals[k])
			}
		}
	case "list":
		c.lists(at, got.list, want.list)
	case "number":
		g, _ := strconv.ParseFloat(got.text, 64)
		w, _ := strconv.ParseFloat(want.text, 64)
		if !c.shape && math.Abs(g-w) > 1e-9 {
			c.say(at, "is %s, captured %s", got.text, want.text)
		}
	default:
		if g, w := settle(got.text), settle(want.text); !c.shape && g != w {
			c.say(at, "is %q, captured %q", g, w)
		}
	}
}

func brief(n *node) string {
	if n.kind == "object" {
		return "{" + strings.Join(n.keys, ",") + "}"
	}
	return n.text
}

// keys compares which names there are and the order of those that both have.
func (c *comparer) keys(at string, got, want []string) {
	for _, k := range want {
		if !slices.Contains(got, k) {
			c.say(at, "lacks %s", k)
		}
	}
	for _, k := range got {
		if !slices.Contains(want, k) && !c.partial {
			c.say(at, "has %s", k)
		}
	}
	both := func(keys, other []string) (out []string) {
		for _, k := range keys {
			if slices.Contains(other, k) {
				out = append(out, k)
			}
		}
		return out
	}
	g, w := both(got, want), both(want, got)
	for i := range w {
		if i < len(g) && g[i] != w[i] {
			c.say(at, "has %s where the capture has %s", g[i], w[i])
			break
		}
	}
}

func (c *comparer) lists(at string, got, want []*node) {
	named := func(list []*node) (keys []string, by map[string]*node) {
		by = map[string]*node{}
		for _, n := range list {
			k := name(n)
			if k == "" || by[k] != nil {
				return nil, nil
			}
			keys = append(keys, k)
			by[k] = n
		}
		return keys, by
	}
	gk, gm := named(got)
	wk, wm := named(want)
	if gm != nil && wm != nil && len(want) > 0 && len(got) > 0 {
		c.keys(at, gk, wk)
		for _, k := range wk {
			if g := gm[k]; g != nil {
				c.compare(at+"["+k+"]", g, wm[k])
			}
		}
		return
	}
	if len(got) != len(want) && !(c.shape && len(got) > 0 && len(want) > 0) {
		c.say(at, "has %d elements, captured %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		c.compare(fmt.Sprintf("%s[%d]", at, i), got[i], want[i])
	}
}

// matches reports whether a difference is one that a pattern with * for any text describes.
func matches(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	if len(parts) == 1 {
		return s == pattern
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		_, rest, ok := strings.Cut(s, p)
		if !ok {
			return false
		}
		s = rest
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}
