package importer

import (
	"bytes"
	"errors"
	"io"
)

// maxLine is the longest line, and the longest quoted record, in bytes.
const maxLine = 1 << 20

// window slides over the input. The unread bytes begin with the record at hand; they stay in memory until it is passed
// with advance, so that a record at fault can be read again from its second line on.
type window struct {
	r     io.Reader
	buf   []byte
	start int // first unread byte
	end   int // behind the last byte read from r
	err   error
	line  int64 // number of the line at start, from 1
}

func newWindow(r io.Reader) *window {
	return &window{r: r, buf: make([]byte, 64<<10), line: 1}
}

// lineStatus says how a line ends.
type lineStatus uint8

const (
	lineWhole lineStatus = iota // with a line feed
	lineLast                    // with the end of the input
	lineLong                    // not within maxLine of the record's beginning
	lineCut                     // with an error of the input
)

// bytes returns the unread bytes from offset from to offset to.
func (w *window) bytes(from, to int) []byte { return w.buf[w.start+from : w.start+to] }

// lineEnd returns the offset behind the line that begins at offset from, its line feed included.
func (w *window) lineEnd(from int) (int, lineStatus) {
	searched := from
	for {
		if i := bytes.IndexByte(w.buf[w.start+searched:w.end], '\n'); i >= 0 {
			if searched+i+1 > maxLine {
				return maxLine, lineLong
			}
			return searched + i + 1, lineWhole
		}
		searched = w.end - w.start
		switch {
		case searched >= maxLine:
			return maxLine, lineLong
		case w.fill():
		case errors.Is(w.err, io.EOF):
			return searched, lineLast
		default:
			return searched, lineCut
		}
	}
}

// fill reads more bytes and reports whether there were any.
func (w *window) fill() bool {
	if w.err != nil {
		return false
	}
	if w.start > 0 {
		copy(w.buf, w.buf[w.start:w.end])
		w.end -= w.start
		w.start = 0
	}
	if w.end == len(w.buf) {
		w.buf = append(w.buf, make([]byte, len(w.buf))...)
	}
	for range 100 {
		n, err := w.r.Read(w.buf[w.end:])
		w.end += n
		if err != nil {
			w.err = err
		}
		if n > 0 || err != nil {
			return n > 0
		}
	}
	w.err = io.ErrNoProgress
	return false
}

// advance passes n bytes that hold that many lines.
func (w *window) advance(n int, lines int64) {
	w.start += n
	w.line += lines
}

// skipLine passes the rest of the line, however long, holding none of it.
func (w *window) skipLine() {
	for {
		if i := bytes.IndexByte(w.buf[w.start:w.end], '\n'); i >= 0 {
			w.advance(i+1, 1)
			return
		}
		w.start = w.end
		if !w.fill() {
			w.line++
			return
		}
	}
}

// brokeOff reports whether everything was passed and the last line had no line feed.
func (w *window) brokeOff() bool {
	return w.start == w.end && w.start > 0 && w.buf[w.start-1] != '\n' && errors.Is(w.err, io.EOF)
}

// failed returns the error that ended the input, or nil when it was read to its end.
func (w *window) failed() error {
	if errors.Is(w.err, io.EOF) {
		return nil
	}
	return w.err
}

// trimEOL cuts the line feed, and a carriage return before it.
func trimEOL(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}
