package importer

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

// batch is what the parser hands over at once.
type batch struct {
	records   []directory.Record
	lines     []int64 // of the records
	idColumn  string  // as the file names it
	read      int64   // lines, those at fault included
	faults    []LineError
	mentioned []string // ids of lines at fault
}

// reader reads people from an unpacked file.
type reader interface {
	// next returns a person or what is wrong with their line, and the line's number. False at the end of the input.
	next() (r directory.Record, line int64, more bool, f *fault)
	// name is how the file names a column.
	name(column int) string
	// idName is how the file names the id.
	idName() string
}

// parser turns a file into batches.
type parser struct {
	o      Options
	w      *window
	reader reader // nil for an empty file
	close  func()

	// Known when run has returned.
	err          error
	lastLine     int64 // read
	unknown      int64 // lines of which it is not certain whom they are about
	firstUnknown int64
	brokenOff    int64 // last line, at fault and without a line feed; 0 for none
}

// newParser reads the file's beginning. What the importer cannot read at all is refused here.
func newParser(ctx context.Context, dir directory.Directory, tenant string, src *source, o Options) (*parser, error) {
	in, done, err := unpack(src, o.Compression, o.FileName)
	if err != nil {
		return nil, err
	}
	p := &parser{o: o, close: done, w: newWindow(in)}
	if err := p.open(ctx, dir, tenant, in); err != nil {
		done()
		return nil, err
	}
	return p, nil
}

func (p *parser) open(ctx context.Context, dir directory.Directory, tenant string, in *bufio.Reader) error {
	format, empty, err := detect(in, p.o.Format, p.o.FileName)
	if err != nil || empty {
		return err
	}
	columns, err := dir.Columns(ctx, tenant)
	if err != nil {
		return err
	}
	known := newAttributeSet(columns)
	if format == NDJSON {
		p.reader = newJSONReader(p.w, known)
		return nil
	}
	c, err := newPeopleCSV(p.w, p.o.FileName, known)
	if err != nil || c == nil {
		return err
	}
	p.reader = c
	return nil
}

// run sends batches until the input ends or the context does, and closes the channel.
func (p *parser) run(ctx context.Context, out chan<- *batch) {
	defer close(out)
	b := p.newBatch()
	size := 0
	send := func() bool {
		select {
		case out <- b:
			b, size = p.newBatch(), 0
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		r, line, more, f := p.reader.next()
		if !more {
			break
		}
		p.lastLine = line
		b.read++
		if f == nil {
			b.records = append(b.records, r)
			b.lines = append(b.lines, line)
			size += recordSize(&r)
		} else {
			p.reject(b, line, f)
			size += 256
		}
		if b.read >= int64(p.o.BatchRows) || size >= batchBytes {
			if !send() {
				return
			}
		}
	}
	if b.read > 0 && !send() {
		return
	}
	p.err = p.w.failed()
}

func (p *parser) newBatch() *batch {
	return &batch{records: make([]directory.Record, 0, min(p.o.BatchRows, 1_000)), idColumn: p.reader.idName()}
}

func (p *parser) reject(b *batch, line int64, f *fault) {
	name := f.name
	if f.column > 0 {
		name = p.reader.name(f.column)
	}
	b.faults = append(b.faults, LineError{Line: line, Column: cut(name), Value: cut(f.value), Message: f.message})
	if p.w.brokeOff() {
		p.brokenOff = line
	}
	if f.id != "" && utf8.ValidString(f.id) && !strings.ContainsFunc(f.id, unicode.IsControl) && len(f.id) <= directory.MaxID*utf8.UTFMax {
		b.mentioned = append(b.mentioned, strings.Clone(f.id))
		return
	}
	if p.unknown == 0 {
		p.firstUnknown = line
	}
	p.unknown++
}

func recordSize(r *directory.Record) int {
	size := 512 + len(r.ID)
	for i := range r.Values {
		size += len(r.Values[i])
	}
	for i := range r.Attributes {
		size += 40 + len(r.Attributes[i].Value)
	}
	return size
}

// peopleCSV reads people from CSV.
type peopleCSV struct {
	csvReader
	layout *layout
	cells  []cell
}

// newPeopleCSV reads the header. It returns nil for a file of blank lines.
func newPeopleCSV(w *window, file string, known *attributeSet) (*peopleCSV, error) {
	c := &peopleCSV{csvReader: csvReader{w: w, delim: delimiters[0]}}
	for { // to the first line that is not blank
		n, status := w.lineEnd(0)
		if status == lineCut {
			return nil, w.failed()
		}
		if len(trimEOL(w.bytes(0, n))) > 0 {
			c.delim = delimiterOf(w.bytes(0, n))
			break
		}
		if n == 0 {
			return nil, nil
		}
		w.advance(n, 1)
	}
	more, f := c.csvReader.next()
	switch {
	case !more:
		return nil, w.failed()
	case f != nil:
		return nil, errs.New(errs.Invalid, "bad_header", "%s has no good header in line %d: %s", file, c.line, f.message)
	}
	for _, name := range c.fields {
		if strings.Contains(name, "\r") {
			return nil, errs.New(errs.Invalid, "bad_header", "%s ends its lines with carriage returns alone; save it with line feeds (LF or CRLF)", file)
		}
	}
	l, e := newLayout(c.fields)
	switch {
	case e != nil && e.column > 0:
		return nil, errs.New(errs.Invalid, "bad_header", "%s: column %d of the header (%q): %s", file, e.column, cut(c.fields[e.column-1]), e.message)
	case e != nil:
		return nil, errs.New(errs.Invalid, "no_id_column",
			"%s has no id column: its first line must name the columns, and one of them must be id (or user_id, person_id, catalog_id); it names %s",
			file, quoteNames(c.fields))
	case !known.admit(l):
		return nil, errs.New(errs.Invalid, "too_many_attributes",
			"%s would bring the custom attributes to more than %d; leave columns out that are not needed", file, directory.MaxAttributes)
	}
	c.layout = l
	return c, nil
}

func quoteNames(names []string) string {
	const most = 8
	quoted := make([]string, 0, most+1)
	for i, name := range names {
		if i == most {
			quoted = append(quoted, "...")
			break
		}
		quoted = append(quoted, strconv.Quote(cut(name)))
	}
	return strings.Join(quoted, ", ")
}

func (c *peopleCSV) next() (directory.Record, int64, bool, *fault) {
	more, f := c.csvReader.next()
	if !more {
		return directory.Record{}, 0, false, nil
	}
	if f == nil && len(c.fields) != len(c.layout.columns) {
		f = &fault{
			value: strings.Join(c.fields, string(c.delim)),
			message: fmt.Sprintf("the line has %d values and the header %d columns; quote values that hold %q and give every column a value, empty or not",
				len(c.fields), len(c.layout.columns), string(c.delim)),
		}
		if len(c.fields) > 1 {
			c.first = c.fields[0]
		}
	}
	if f != nil {
		if c.layout.id == 0 {
			f.id = strings.TrimSpace(c.first)
		}
		return directory.Record{}, c.line, true, f
	}
	c.cells = slices.Grow(c.cells[:0], len(c.fields))
	for _, text := range c.fields {
		c.cells = append(c.cells, cell{text: text})
	}
	r, f := c.layout.record(c.cells)
	return r, c.line, true, f
}

func (c *peopleCSV) name(column int) string {
	if column > len(c.layout.names) {
		return "column " + strconv.Itoa(column)
	}
	return c.layout.names[column-1]
}

func (c *peopleCSV) idName() string { return c.layout.names[c.layout.id] }

// attributeSet bounds the custom attributes of a tenant.
type attributeSet struct{ names map[string]struct{} }

func newAttributeSet(columns []string) *attributeSet {
	s := &attributeSet{names: map[string]struct{}{}}
	for _, column := range columns {
		if name, ok := strings.CutPrefix(column, directory.AttributePrefix); ok {
			s.names[name] = struct{}{}
		}
	}
	return s
}

// admit adds the layout's attributes, unless there would be too many.
func (s *attributeSet) admit(l *layout) bool {
	var add []string
	for _, i := range l.attributes {
		name := l.columns[i].attribute
		if _, ok := s.names[name]; !ok {
			add = append(add, strings.Clone(name))
		}
	}
	if len(s.names)+len(add) > directory.MaxAttributes {
		return false
	}
	for _, name := range add {
		s.names[name] = struct{}{}
	}
	return true
}
