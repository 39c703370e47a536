package bulk

import (
	"bytes"
	"encoding/csv"
	"testing"
)

// FuzzReader checks that the reader ends, and reads what encoding/csv writes.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"a,b\nc,d\n", "\"a\"\"b\",\"c\nd\"\r\n", "\"", "a\"b,c", "\n\n,\n", "\"x\" ,y"} {
		f.Add([]byte(s), "x", "y\"z")
	}
	f.Fuzz(func(t *testing.T, data []byte, a, b string) {
		r := reader{data: data, delim: ','}
		for rows := 0; ; rows++ {
			at := r.at
			_, _, ok := r.next()
			if !ok {
				break
			}
			if r.at <= at || rows > len(data) {
				t.Fatalf("no progress at %d of %q", at, data)
			}
		}
		wrongLineEnding(data, false)
		var buf bytes.Buffer
		w := csv.NewWriter(&buf)
		if w.Write([]string{"k" + a, b}) != nil {
			return
		}
		w.Flush()
		r = reader{data: buf.Bytes(), delim: ','}
		_, bad, ok := r.next()
		if !ok || bad || len(r.cells) != 2 || string(r.cells[0].text) != "k"+a || string(r.cells[1].text) != b {
			t.Errorf("%q read as %+v", buf.String(), r.cells)
		}
	})
}
