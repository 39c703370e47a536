package importer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/flatjson"
)

// maxLayouts is how many sequences of names are remembered; most files have one.
const maxLayouts = 64

// jsonReader reads one JSON object per line.
type jsonReader struct {
	w       *window
	layouts map[string]*layout // by the objects' names in their order
	members []flatjson.Member
	cells   []cell
	names   []string
	key     []byte
	known   *attributeSet
}

func newJSONReader(w *window, known *attributeSet) *jsonReader {
	return &jsonReader{w: w, layouts: map[string]*layout{}, known: known}
}

func (j *jsonReader) name(int) string { return "" } // faults name their column themselves

func (j *jsonReader) idName() string { return directory.IDColumn }

// next reads a line. Blank lines are passed over. It reports false at the end of the input, or when the input failed.
func (j *jsonReader) next() (directory.Record, int64, bool, *fault) {
	for {
		at := j.w.line
		n, status := j.w.lineEnd(0)
		switch status {
		case lineLong:
			j.w.skipLine()
			return directory.Record{}, at, true, &fault{message: longLine}
		case lineCut:
			return directory.Record{}, 0, false, nil
		case lineLast:
			if n == 0 {
				return directory.Record{}, 0, false, nil
			}
		}
		line := bytes.TrimSpace(j.w.bytes(0, n))
		text := string(line)
		j.w.advance(n, 1)
		if text != "" {
			r, f := j.person(text)
			return r, at, true, f
		}
	}
}

func (j *jsonReader) person(text string) (directory.Record, *fault) {
	var err error
	j.members, err = flatjson.Parse(text, j.members[:0])
	switch {
	case errors.Is(err, flatjson.ErrNotObject):
		return directory.Record{}, &fault{value: text, message: `the line is not a JSON object; write one object per line, as in {"id":"17","email":"ann@example.com"}`}
	case err != nil:
		return directory.Record{}, &fault{value: text, message: "the line is not JSON: " + err.Error()}
	}
	l, f := j.layout()
	if f != nil {
		f.value = text
		return directory.Record{}, f
	}
	j.cells = j.cells[:0]
	for i := range j.members {
		j.cells = append(j.cells, jsonCell(&j.members[i], l.columns[i]))
	}
	r, f := l.record(j.cells)
	if f != nil && f.column > 0 {
		f.name, f.column = l.names[f.column-1], 0
	}
	return r, f
}

// layout returns the layout for the names of the object.
func (j *jsonReader) layout() (*layout, *fault) {
	j.key = j.key[:0]
	for i := range j.members {
		j.key = append(append(j.key, j.members[i].Name...), 0)
	}
	if l, ok := j.layouts[string(j.key)]; ok {
		return l, nil
	}
	j.names = j.names[:0]
	for i := range j.members {
		if j.members[i].Name == "" {
			return nil, &fault{message: "a value has no name; name it or remove it"}
		}
		j.names = append(j.names, j.members[i].Name)
	}
	l, e := newLayout(j.names)
	if e != nil {
		f := &fault{message: strings.Replace(e.message, "columns ", "values ", 1)}
		if e.column > 0 {
			f.name = j.names[e.column-1]
		} else {
			f.message = "the id is missing; every person needs one"
			f.name = directory.IDColumn
		}
		return nil, f
	}
	if !j.known.admit(l) {
		return nil, &fault{message: fmt.Sprintf("the line would bring the custom attributes to more than %d; leave values out that are not needed", directory.MaxAttributes)}
	}
	if len(j.layouts) >= maxLayouts {
		clear(j.layouts)
	}
	j.layouts[string(j.key)] = l
	return l, nil
}

// jsonCell turns a JSON value into a cell. Groups may be an array of strings.
func jsonCell(m *flatjson.Member, column layoutColumn) cell {
	c := cell{text: m.Text, null: m.Kind == flatjson.Null}
	groups := column.slot == slotField && column.field == directory.Groups
	switch {
	case m.Err != nil:
		c.err = "the value " + m.Err.Error()
	case m.Kind == flatjson.Nested && groups:
		c.err = "groups must be a text or an array of texts"
	case m.Kind == flatjson.Nested, m.Kind == flatjson.Texts && !groups:
		c.text = m.Text
		c.err = "the value is an array or object; give a text, number, true, false or null"
	case m.Kind == flatjson.Texts:
		c.text = strings.Join(m.Items, ";")
		for _, item := range m.Items {
			if strings.Contains(item, ";") {
				c.err = fmt.Sprintf("the group %q holds a semicolon, which separates groups; rename it", cut(item))
			}
		}
	}
	return c
}
