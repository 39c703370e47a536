package view

import (
	"strings"

	"github.com/rivo/uniseg"
)

// column is one column of a table.
type column struct {
	title string
	right bool // numbers
	whole bool // never shortened: ids, which people copy
}

// cell is text with a tone.
type cell struct {
	text string
	tone Tone
}

// table lines up rows under titles. A table without titles has no head.
type table struct {
	columns []column
	rows    [][]cell
	indent  int
}

// minColumn is how narrow a column gets before the table becomes wider than the terminal.
const minColumn = 8

const gap = "  "

// add appends a row of plain texts.
func (t *table) add(texts ...string) {
	row := make([]cell, len(texts))
	for i, text := range texts {
		row[i].text = text
	}
	t.rows = append(t.rows, row)
}

// addTones appends a row of cells.
func (t *table) addTones(cells ...cell) { t.rows = append(t.rows, cells) }

func (t *table) String(s Style) string {
	widths := t.fit(s)
	var b strings.Builder
	headed := false
	head := make([]cell, len(t.columns))
	for i, c := range t.columns {
		head[i] = cell{c.title, Bold}
		headed = headed || c.title != ""
	}
	if headed {
		t.line(&b, s, widths, head)
	}
	for _, row := range t.rows {
		t.line(&b, s, widths, row)
	}
	return b.String()
}

func (t *table) line(b *strings.Builder, s Style, widths []int, row []cell) {
	last := len(row) - 1
	for last > 0 && row[last].text == "" {
		last--
	}
	b.WriteString(strings.Repeat(" ", t.indent))
	for i, c := range row[:last+1] {
		if i > 0 {
			b.WriteString(gap)
		}
		text := s.Clip(Clean(c.text), widths[i])
		padded := text
		if i < last || t.columns[i].right {
			padded = pad(text, widths[i], t.columns[i].right)
		}
		// The fill stays outside of the colour.
		b.WriteString(strings.Replace(padded, text, s.Paint(c.tone, text), 1))
	}
	b.WriteByte('\n')
}

// fit returns the widths of the columns, narrowed from the widest on when the terminal is too narrow.
func (t *table) fit(s Style) []int {
	widths := make([]int, len(t.columns))
	total := t.indent + len(gap)*(len(t.columns)-1)
	for i, c := range t.columns {
		widths[i] = uniseg.StringWidth(c.title)
		for _, row := range t.rows {
			if i < len(row) {
				widths[i] = max(widths[i], uniseg.StringWidth(Clean(row[i].text)))
			}
		}
		total += widths[i]
	}
	for s.Width > 0 && total > s.Width {
		widest := -1
		for i, c := range t.columns {
			if !c.right && !c.whole && widths[i] > minColumn && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	return widths
}

// pairs lines up names and values below each other and leaves out what has no value. Values may have colours, so they
// must have been cleaned.
func pairs(s Style, indent int, rows ...[2]string) string {
	names := 0
	for _, r := range rows {
		if r[1] != "" {
			names = max(names, uniseg.StringWidth(r[0]))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		if r[1] == "" {
			continue
		}
		left := indent + names + len(gap)
		columns := 0
		if s.Width > left+2*minColumn && !strings.Contains(r[1], "\x1b") {
			columns = s.Width - left
		}
		name := r[0] + strings.Repeat(" ", names-uniseg.StringWidth(r[0]))
		b.WriteString(strings.Repeat(" ", indent) + s.Paint(Dim, name) + gap)
		b.WriteString(strings.Join(wrap(r[1], columns), "\n"+strings.Repeat(" ", left)) + "\n")
	}
	return b.String()
}

// Columns lines up two columns of texts.
func Columns(s Style, indent int, rows [][2]string) string {
	t := table{columns: []column{{whole: true}, {}}, indent: indent}
	for _, r := range rows {
		t.addTones(cell{text: r[0]}, cell{r[1], Dim})
	}
	return t.String(s)
}
