package salesforce

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Limits of a Bulk upload.
const (
	maxHeaderChars = 32_000
	maxFieldChars  = 131_072
	maxRowChars    = 400_000
	nullCell       = "#N/A"
)

// ErrUploadFull says that a row no longer fits into the upload: close this job and put it into another.
var ErrUploadFull = errors.New("salesforce: the upload has reached its 100 MB")

// CellError is a value that a Bulk upload cannot carry. The row was not written and the writer is still
// good: reject the row.
type CellError struct{ Column, Reason string }

func (e *CellError) Error() string {
	return fmt.Sprintf("salesforce: column %s: %s", e.Column, e.Reason)
}

// Cell is one value of a row. The zero value leaves the field as it is; a Value that is empty but Set
// does the same, because that is what Bulk makes of an empty cell.
type Cell struct {
	Value string // canonical
	Set   bool
	Null  bool // clear the field
}

// CSVWriter writes the rows of a Bulk ingest job: UTF-8 without byte-order mark, LF, null as #N/A, absent
// as an empty cell.
type CSVWriter struct {
	w       io.Writer
	columns []string
	buf     []byte
	rows    int64
	bytes   int64 // handed to w or waiting in buf
}

const csvBuffer = 64 << 10

// NewCSVWriter writes the header. Columns are API names, or Parent.Key for a lookup by a key of the parent.
func NewCSVWriter(w io.Writer, columns []string) (*CSVWriter, error) {
	c := &CSVWriter{w: w, columns: columns, buf: make([]byte, 0, csvBuffer+csvBuffer/4)}
	seen := make(map[string]bool, len(columns))
	for i, name := range columns {
		if err := Identifier(name); err != nil {
			return nil, err
		}
		if folded := strings.ToLower(name); seen[folded] {
			return nil, fmt.Errorf("salesforce: upload: column %s stands there twice", name)
		} else {
			seen[folded] = true
		}
		if i > 0 {
			c.buf = append(c.buf, ',')
		}
		c.buf = append(c.buf, name...)
	}
	if len(columns) == 0 || len(c.buf) > maxHeaderChars {
		return nil, fmt.Errorf("salesforce: upload: a header of %d columns and %d characters, Bulk takes 1 column at least and %d characters", len(columns), len(c.buf), maxHeaderChars)
	}
	c.buf = append(c.buf, '\n')
	c.bytes = int64(len(c.buf))
	return c, nil
}

// Rows is the number of rows written so far.
func (c *CSVWriter) Rows() int64 { return c.rows }

// Bytes is the size of what was written so far, the header included.
func (c *CSVWriter) Bytes() int64 { return c.bytes }

// Row writes one row, whole or not at all. It returns a *CellError for a value that cannot be sent and
// ErrUploadFull when the row does not fit.
func (c *CSVWriter) Row(cells []Cell) error {
	if len(cells) != len(c.columns) {
		return fmt.Errorf("salesforce: upload: a row of %d cells under %d columns", len(cells), len(c.columns))
	}
	start := len(c.buf)
	chars := 0
	for i := range cells {
		if i > 0 {
			c.buf = append(c.buf, ',')
		}
		switch cell := &cells[i]; {
		case cell.Null:
			c.buf = append(c.buf, nullCell...)
		case cell.Set:
			n, reason := c.cell(cell.Value)
			chars += n
			if reason == "" && chars > maxRowChars {
				reason = "the row has over 400,000 characters"
			}
			if reason != "" {
				c.buf = c.buf[:start]
				return &CellError{Column: c.columns[i], Reason: reason}
			}
		}
	}
	if len(cells) == 1 && len(c.buf) == start {
		c.buf = append(c.buf, `""`...) // a line without anything is no row
	}
	c.buf = append(c.buf, '\n')
	if c.bytes+int64(len(c.buf)-start) > MaxUpload {
		c.buf = c.buf[:start]
		return ErrUploadFull
	}
	c.bytes += int64(len(c.buf) - start)
	c.rows++
	if len(c.buf) >= csvBuffer {
		return c.Flush()
	}
	return nil
}

// Flush hands what is left to the writer below. Call it after the last row.
func (c *CSVWriter) Flush() error {
	_, err := c.w.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// cell appends a value and returns its length in characters, or why it cannot be sent.
func (c *CSVWriter) cell(v string) (chars int, reason string) {
	quote := false
	ascii := true
	for i := range len(v) {
		switch b := v[i]; {
		case b == ',', b == '"', b == '\n', b == '\r':
			quote = true
		case b == 0:
			return 0, "it holds a NUL character"
		case b >= utf8.RuneSelf:
			ascii = false
		}
	}
	chars = len(v)
	if !ascii {
		if !utf8.ValidString(v) {
			return 0, "it is not valid UTF-8"
		}
		chars = utf16Len(v)
	}
	switch {
	case chars > maxFieldChars:
		return 0, "it has over 131,072 characters"
	case len(v) == len(nullCell) && strings.EqualFold(v, nullCell):
		return 0, "it is the text #N/A, which Bulk takes as an order to clear the field"
	case v != "" && (v[0] == ' ' || v[len(v)-1] == ' '):
		quote = true
	}
	if !quote {
		c.buf = append(c.buf, v...)
		return chars, ""
	}
	c.buf = append(c.buf, '"')
	for i := 0; i < len(v); i++ {
		switch b := v[i]; b {
		case '"':
			c.buf = append(c.buf, '"', '"')
		case '\r':
			c.buf = append(c.buf, '\n')
			if i+1 < len(v) && v[i+1] == '\n' {
				i++
			}
		default:
			c.buf = append(c.buf, b)
		}
	}
	c.buf = append(c.buf, '"')
	return chars, ""
}

// utf16Len counts as Salesforce does, in UTF-16 units.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}
