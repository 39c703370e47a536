// Package flatjson owns reading one flat JSON object: names with plain values, in their order, nothing dropped.
//
// encoding/json would quietly keep the last of two equal names, replace broken text and round numbers; here the caller
// sees every name and the text as it was written.
package flatjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Kind is the kind of a value.
type Kind uint8

const (
	// Text is a string.
	Text Kind = iota
	// Number is a number, kept as it was written.
	Number
	// Bool is true or false.
	Bool
	// Null is null.
	Null
	// Texts is an array of strings; an empty array is one.
	Texts
	// Nested is any other array and any object.
	Nested
)

// Member is one name and value of the object.
type Member struct {
	// Name as written.
	Name string
	// Kind of the value.
	Kind Kind
	// Text is the string, number or bool; for Nested the JSON text.
	Text string
	// Items are the strings of Texts.
	Items []string
	// Err says why the name or value is not good text, or is nil.
	Err error
}

// ErrNotObject is returned for JSON that is not an object.
var ErrNotObject = errors.New("not a JSON object")

// ErrSurrogate is a Member's error when an escape such as \ud800 stands for half a character.
var ErrSurrogate = errors.New("holds half of a surrogate pair")

// Parse appends the members of the object in text to members. Syntax errors name the character, from 1.
func Parse(text string, members []Member) ([]Member, error) {
	if !json.Valid([]byte(text)) {
		return members, syntaxError(text)
	}
	p := parser{s: text}
	p.space()
	if p.s[p.i] != '{' {
		return members, ErrNotObject
	}
	p.i++
	for {
		p.space()
		switch p.s[p.i] {
		case '}':
			return members, nil
		case ',':
			p.i++
			continue
		}
		var m Member
		m.Name, m.Err = p.text()
		p.space()
		p.i++ // the colon
		p.space()
		p.value(&m)
		members = append(members, m)
	}
}

func syntaxError(text string) error {
	var v json.RawMessage
	err := json.Unmarshal([]byte(text), &v)
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("%s at character %d", se.Error(), utf8.RuneCountInString(text[:min(int(max(se.Offset, 1))-1, len(text))])+1)
	}
	return err
}

// parser walks text that is known to be valid JSON.
type parser struct {
	s string
	i int
}

func (p *parser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\r', '\n':
			p.i++
		default:
			return
		}
	}
}

func (p *parser) value(m *Member) {
	begin := p.i
	switch p.s[p.i] {
	case '"':
		var err error
		if m.Text, err = p.text(); err != nil && m.Err == nil {
			m.Err = err
		}
		return
	case '{':
		m.Kind = Nested
		p.skip()
	case '[':
		p.array(m)
		if m.Kind == Texts {
			return
		}
	case 'n':
		m.Kind = Null
		p.i += len("null")
		return
	case 't':
		m.Kind = Bool
		p.i += len("true")
	case 'f':
		m.Kind = Bool
		p.i += len("false")
	default:
		m.Kind = Number
		for p.i < len(p.s) && strings.IndexByte("+-.0123456789eE", p.s[p.i]) >= 0 {
			p.i++
		}
	}
	m.Text = p.s[begin:p.i]
}

// array reads an array of strings, or skips any other.
func (p *parser) array(m *Member) {
	begin := p.i
	m.Kind = Texts
	p.i++
	for {
		p.space()
		switch p.s[p.i] {
		case ']':
			p.i++
			return
		case ',':
			p.i++
		case '"':
			item, err := p.text()
			if err != nil && m.Err == nil {
				m.Err = err
			}
			m.Items = append(m.Items, item)
		default:
			m.Kind, m.Items, p.i = Nested, nil, begin
			p.skip()
			return
		}
	}
}

// skip passes over an object or array.
func (p *parser) skip() {
	depth := 0
	for {
		switch p.s[p.i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			p.i++
			for p.s[p.i] != '"' {
				if p.s[p.i] == '\\' {
					p.i++
				}
				p.i++
			}
		}
		p.i++
		if depth == 0 {
			return
		}
	}
}

// text reads a string. Without escapes it is a piece of the input.
func (p *parser) text() (string, error) {
	p.i++
	begin := p.i
	n := strings.IndexByte(p.s[begin:], '"')
	if strings.IndexByte(p.s[begin:begin+n], '\\') < 0 {
		p.i = begin + n + 1
		return p.s[begin : begin+n], nil
	}
	var b []byte
	var bad error
	for {
		c := p.s[p.i]
		p.i++
		switch c {
		case '"':
			return string(b), bad
		case '\\':
			c = p.s[p.i]
			p.i++
			if c != 'u' {
				b = append(b, unescape(c))
				continue
			}
			r := p.hex()
			if utf16.IsSurrogate(r) {
				low := rune(utf8.RuneError)
				if strings.HasPrefix(p.s[p.i:], `\u`) {
					p.i += 2
					low = p.hex()
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					bad = ErrSurrogate
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
		}
	}
}

func (p *parser) hex() rune {
	v, _ := strconv.ParseUint(p.s[p.i:p.i+4], 16, 32) // valid JSON has four hex digits here
	p.i += 4
	return rune(v)
}

func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // \" \\ \/
}
