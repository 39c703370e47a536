package bulk

import (
	"bytes"
)

// reader reads the rows of an upload in place.
type reader struct {
	data  []byte
	at    int
	delim byte
	cells []cell
}

// cell is one value of a row, a slice of the upload unless it had doubled quotes.
type cell struct {
	text   []byte
	quoted bool
}

// next reads a row into r.cells; bad says that a quote stands where none may. ok is false at the end. Empty lines are
// skipped.
func (r *reader) next() (start int, bad, ok bool) {
	for r.at < len(r.data) {
		start = r.at
		if n := lineBreak(r.data[r.at:]); n > 0 {
			r.at += n
			continue
		}
		bad = r.row()
		return start, bad, true
	}
	return r.at, false, false
}

func lineBreak(b []byte) int {
	switch {
	case len(b) > 0 && b[0] == '\n':
		return 1
	case len(b) > 1 && b[0] == '\r' && b[1] == '\n':
		return 2
	}
	return 0
}

func (r *reader) row() (bad bool) {
	r.cells = r.cells[:0]
	for {
		if r.at < len(r.data) && r.data[r.at] == '"' {
			c, ok := r.quoted()
			r.cells = append(r.cells, c)
			bad = bad || !ok
		} else {
			start := r.at
			for r.at < len(r.data) && r.data[r.at] != r.delim && r.data[r.at] != '\n' {
				if r.data[r.at] == '"' {
					bad = true
				}
				r.at++
			}
			text := r.data[start:r.at]
			if r.at < len(r.data) && r.data[r.at] == '\n' {
				text = bytes.TrimSuffix(text, []byte("\r"))
			}
			r.cells = append(r.cells, cell{text: text})
		}
		if r.at >= len(r.data) {
			return bad
		}
		end := r.data[r.at] == '\n'
		r.at++
		if end {
			return bad
		}
	}
}

// quoted reads a quoted value and stops before the delimiter or line break after it.
func (r *reader) quoted() (cell, bool) {
	r.at++
	start := r.at
	doubled := false
	for {
		i := bytes.IndexByte(r.data[r.at:], '"')
		if i < 0 {
			c := cell{text: r.data[start:], quoted: true}
			r.at = len(r.data)
			return c, false
		}
		r.at += i + 1
		if r.at < len(r.data) && r.data[r.at] == '"' {
			doubled = true
			r.at++
			continue
		}
		break
	}
	text := r.data[start : r.at-1]
	if doubled {
		text = bytes.ReplaceAll(text, []byte(`""`), []byte(`"`))
	}
	ok := true
	for r.at < len(r.data) && r.data[r.at] != r.delim && lineBreak(r.data[r.at:]) == 0 {
		ok = false // text after the closing quote
		r.at++
	}
	if r.at < len(r.data) && r.data[r.at] == '\r' {
		r.at++
	}
	return cell{text: text, quoted: true}, ok
}

// wrongLineEnding reports whether the first line break outside quotes is not the declared one.
func wrongLineEnding(data []byte, crlf bool) bool {
	inside := false
	for i, c := range data {
		switch c {
		case '"':
			inside = !inside
		case '\n':
			if !inside {
				return (i > 0 && data[i-1] == '\r') != crlf
			}
		}
	}
	return false
}
