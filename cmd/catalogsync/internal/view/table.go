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
	drop  int  // left out when the terminal is too narrow, the lowest number first; 0: never
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
	var line strings.Builder
	blank := 0 // columns to fill before the next text
	for i, c := range row {
		if widths[i] < 0 {
			continue
		}
		text := s.Clip(Clean(c.text), widths[i])
		fill := widths[i] - uniseg.StringWidth(text)
		if t.columns[i].right {
			blank, fill = blank+fill, 0
		}
		if text != "" {
			line.WriteString(strings.Repeat(" ", blank) + s.Paint(c.tone, text))
			blank = 0
		}
		blank += fill + len(gap)
	}
	if line.Len() > 0 {
		b.WriteString(strings.Repeat(" ", t.indent) + line.String())
	}
	b.WriteByte('\n')
}

// comfortable is how narrow a column gets before others are dropped for it.
const comfortable = 20

// fit returns the widths of the columns. When the terminal is too narrow, columns that may be dropped get a width of -1,
// unless narrowing the widest helps enough.
func (t *table) fit(s Style) []int {
	widths := make([]int, len(t.columns))
	total := t.indent - len(gap)
	for i, c := range t.columns {
		widths[i] = uniseg.StringWidth(c.title)
		for _, row := range t.rows {
			if i < len(row) {
				widths[i] = max(widths[i], uniseg.StringWidth(Clean(row[i].text)))
			}
		}
		total += len(gap) + widths[i]
	}
	slack := 0 // what narrowing gives
	for i, c := range t.columns {
		if !c.right && !c.whole && c.drop == 0 {
			slack += max(widths[i]-comfortable, 0)
		}
	}
	for s.Width > 0 && total-slack > s.Width {
		first := -1
		for i, c := range t.columns {
			if c.drop > 0 && widths[i] >= 0 && (first < 0 || c.drop < t.columns[first].drop) {
				first = i
			}
		}
		if first < 0 {
			break
		}
		total -= len(gap) + widths[first]
		widths[first] = -1
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
