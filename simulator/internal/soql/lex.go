package soql

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	eof tokenKind = iota
	word
	number
	text
	symbol
	bind
)

type token struct {
	kind tokenKind
	text string // words as written; strings unescaped
	like string // strings: \% and \_ kept
	pos  int
}

func (t token) is(w string) bool { return t.kind == word && strings.EqualFold(t.text, w) }

func (t token) shown() string {
	if t.kind == eof {
		return "<EOF>"
	}
	return t.text
}

// At is an error at a place of the query: Salesforce shows the text around it with a caret below.
func At(query string, pos int, code, message string) *Error {
	if pos > len(query) {
		pos = len(query)
	}
	lineStart := strings.LastIndexByte(query[:pos], '\n') + 1
	row := strings.Count(query[:pos], "\n") + 1
	line := query[lineStart:]
	if end := strings.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	col := pos - lineStart
	from := max(0, col-32)
	for from > 0 && !utf8.RuneStart(line[from]) {
		from--
	}
	to := min(len(line), col+30)
	for to < len(line) && !utf8.RuneStart(line[to]) {
		to++
	}
	column := utf8.RuneCountInString(line[:col]) + 1
	caret := utf8.RuneCountInString(line[from:col])
	return &Error{Code: code, Message: fmt.Sprintf("\n%s\n%s^\nERROR at Row:%d:Column:%d\n%s", line[from:to], strings.Repeat(" ", caret), row, column, message)}
}

func lex(q string) ([]token, *Error) {
	var out []token
	for i := 0; i < len(q); {
		c := q[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i++
		case c == '\'':
			t, n, err := lexString(q, i)
			if err != nil {
				return nil, err
			}
			out = append(out, t)
			i = n
		case isLetter(c):
			j := i + 1
			for j < len(q) && (isLetter(q[j]) || isDigit(q[j]) || q[j] == '_') {
				j++
			}
			out = append(out, token{kind: word, text: q[i:j], pos: i})
			i = j
		case isDigit(c) || (c == '-' || c == '+' || c == '.') && i+1 < len(q) && (isDigit(q[i+1]) || q[i+1] == '.'):
			j := i + 1
			for j < len(q) && (isDigit(q[j]) || isLetter(q[j]) || strings.IndexByte(".:-", q[j]) >= 0 || q[j] == '+') {
				j++
			}
			out = append(out, token{kind: number, text: q[i:j], pos: i})
			i = j
		case strings.IndexByte("!<>", c) >= 0 && i+1 < len(q) && q[i+1] == '=':
			out = append(out, token{kind: symbol, text: q[i : i+2], pos: i})
			i += 2
		case c == '<' && i+1 < len(q) && q[i+1] == '>':
			out = append(out, token{kind: symbol, text: "!=", pos: i})
			i += 2
		case strings.IndexByte("(),=<>.:", c) >= 0:
			out = append(out, token{kind: symbol, text: q[i : i+1], pos: i})
			i++
		default:
			r, _ := utf8.DecodeRuneInString(q[i:])
			return nil, At(q, i, "MALFORMED_QUERY", fmt.Sprintf("line %d:%d no viable alternative at character '%c'", strings.Count(q[:i], "\n")+1, i-strings.LastIndexByte(q[:i], '\n')-1, r))
		}
	}
	return append(out, token{kind: eof, pos: len(q)}), nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func lexString(q string, start int) (token, int, *Error) {
	var plain, like strings.Builder
	for i := start + 1; i < len(q); i++ {
		c := q[i]
		if c == '\'' {
			return token{kind: text, text: plain.String(), like: like.String(), pos: start}, i + 1, nil
		}
		if c != '\\' {
			plain.WriteByte(c)
			like.WriteByte(c)
			continue
		}
		i++
		if i == len(q) {
			break
		}
		e := q[i]
		r := rune(0)
		switch e {
		case 'n', 'N':
			r = '\n'
		case 'r', 'R':
			r = '\r'
		case 't', 'T':
			r = '\t'
		case 'b', 'B':
			r = '\b'
		case 'f', 'F':
			r = '\f'
		case '"', '\'':
			r = rune(e)
		case '\\':
			plain.WriteByte('\\')
			like.WriteString(`\\`)
			continue
		case '%', '_':
			plain.WriteByte(e)
			like.WriteByte('\\')
			like.WriteByte(e)
			continue
		case 'u':
			if i+4 < len(q) {
				if v, err := strconv.ParseUint(q[i+1:i+5], 16, 32); err == nil {
					i += 4
					r = rune(v)
					if r >= 0xD800 && r < 0xDC00 && i+6 < len(q) && q[i+1] == '\\' && q[i+2] == 'u' {
						if lo, err := strconv.ParseUint(q[i+3:i+7], 16, 32); err == nil && lo >= 0xDC00 && lo < 0xE000 {
							r = (r-0xD800)<<10 + rune(lo) - 0xDC00 + 0x10000
							i += 6
						}
					}
					plain.WriteRune(r)
					like.WriteRune(r)
					continue
				}
			}
		}
		if r == 0 {
			return token{}, 0, &Error{Code: "MALFORMED_QUERY", Message: fmt.Sprintf("Invalid string literal '%s'. Illegal character sequence '\\%c' in string literal.", q[start+1:min(len(q), i+1)], e)}
		}
		plain.WriteRune(r)
		like.WriteRune(r)
	}
	return token{}, 0, At(q, start, "MALFORMED_QUERY", fmt.Sprintf("line %d:%d mismatched character '<EOF>' expecting '''", strings.Count(q, "\n")+1, len(q)))
}
