package importer

import (
	"bytes"
	"strings"
)

// csvReader reads records as RFC 4180 has them, with any delimiter. A record whose quotes are wrong costs one line: the
// next record begins on the following line, even if a quote was open across it.
type csvReader struct {
	w     *window
	delim byte

	text []byte // of the record's fields, one after the other
	ends []int  // of each field in text

	fields []string // result, valid until the next call
	line   int64    // on which the record began
	first  string   // the first field where it is beyond doubt although the record is at fault
}

// next reads a record into fields. Blank lines are passed over. It reports false at the end of the input, or when the
// input failed; a fault says what is wrong with the record, which was passed over.
func (c *csvReader) next() (bool, *fault) {
	for {
		c.line = c.w.line
		c.first = ""
		n, status := c.w.lineEnd(0)
		switch status {
		case lineLong:
			c.keepFirst(c.w.bytes(0, n))
			c.w.skipLine()
			return true, &fault{message: longLine}
		case lineCut:
			return false, nil // what is left may be half a line
		case lineLast:
			if n == 0 {
				return false, nil
			}
		}
		line := trimEOL(c.w.bytes(0, n))
		if len(line) == 0 {
			c.w.advance(n, 1)
			continue
		}
		if bytes.IndexByte(line, '"') < 0 {
			c.split(string(line))
			c.w.advance(n, 1)
			return true, nil
		}
		return c.quoted(n, status)
	}
}

const longLine = "the line is longer than 1 MiB; check that a line feed ends every line and cut long values"

// split cuts a line without quotes.
func (c *csvReader) split(line string) {
	c.fields = c.fields[:0]
	for {
		i := strings.IndexByte(line, c.delim)
		if i < 0 {
			c.fields = append(c.fields, line)
			return
		}
		c.fields = append(c.fields, line[:i])
		line = line[i+1:]
	}
}

// quoted reads a record whose first line, n bytes long, has a quote.
func (c *csvReader) quoted(n int, status lineStatus) (bool, *fault) {
	c.text, c.ends = c.text[:0], c.ends[:0]
	off, stop, lines := 0, n, int64(1) // next byte, end of its line, lines so far
	bad := func(value []byte, message string) (bool, *fault) {
		f := &fault{column: len(c.ends) + 1, value: string(value), message: message}
		c.keepFirst(c.w.bytes(0, n))
		c.w.advance(n, 1) // the first line only
		return true, f
	}
	for {
		rest := c.w.bytes(off, stop)
		if len(rest) == 0 || rest[0] != '"' {
			field := trimEOL(rest)
			last := true
			if i := bytes.IndexByte(field, c.delim); i >= 0 {
				field, last = field[:i], false
			}
			if bytes.IndexByte(field, '"') >= 0 {
				return bad(field, `a quote stands in a value that does not begin with one; write the value as "..." with every quote in it doubled`)
			}
			c.text = append(c.text, field...)
			c.ends = append(c.ends, len(c.text))
			if last {
				return c.finish(stop, lines)
			}
			off += len(field) + 1
			continue
		}
		begin := len(c.text)
		off++
	value:
		for {
			rest = c.w.bytes(off, stop)
			i := bytes.IndexByte(rest, '"')
			if i < 0 { // goes on in the next line
				c.text = append(c.text, rest...)
				const open = "a quote that opens a value is not closed; close it, and double every quote within the value"
				if status == lineLast {
					more, f := bad(c.text[begin:], open)
					c.first = "" // the file may break off here, and others with it
					return more, f
				}
				off = stop
				if stop, status = c.w.lineEnd(off); status == lineCut {
					return false, nil
				} else if status == lineLong {
					return bad(c.text[begin:], open+" (within 1 MiB)")
				}
				lines++
				continue
			}
			c.text = append(c.text, rest[:i]...)
			off += i + 1
			switch rest = c.w.bytes(off, stop); {
			case len(rest) > 0 && rest[0] == '"':
				c.text = append(c.text, '"')
				off++
			case len(rest) > 0 && rest[0] == c.delim:
				c.ends = append(c.ends, len(c.text))
				off++
				break value
			case len(trimEOL(rest)) == 0:
				c.ends = append(c.ends, len(c.text))
				return c.finish(stop, lines)
			default:
				return bad(c.text[begin:], "text follows the quote that closes a value; double every quote within the value")
			}
		}
	}
}

// finish turns text and ends into fields and passes the record.
func (c *csvReader) finish(n int, lines int64) (bool, *fault) {
	s := string(c.text)
	c.fields = c.fields[:0]
	begin := 0
	for _, end := range c.ends {
		c.fields = append(c.fields, s[begin:end])
		begin = end
	}
	c.w.advance(n, lines)
	return true, nil
}

// keepFirst notes the first field of a record at fault if nothing can be wrong with it: it has no quote and its
// delimiter is there.
func (c *csvReader) keepFirst(line []byte) {
	if i := bytes.IndexByte(line, c.delim); i >= 0 && bytes.IndexByte(line[:i], '"') < 0 {
		c.first = string(line[:min(i, maxLine)])
	}
}
