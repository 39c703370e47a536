package importer_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"

	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/importer"
)

// pieces reads in pieces of random size.
type pieces struct {
	r    io.Reader
	rand *rand.Rand
	most int
}

func (p *pieces) Read(b []byte) (int, error) {
	return p.r.Read(b[:min(len(b), 1+p.rand.IntN(p.most))])
}

// messy is a file with everything in it that a file may have.
func messy(r *rand.Rand) []byte {
	var b bytes.Buffer
	b.WriteString("id,email,street,active,cohort\n")
	for i := range 250 {
		id := fmt.Sprintf("p%03d", r.IntN(220))
		switch r.IntN(12) {
		case 0:
			fmt.Fprintf(&b, "%s,a%d@x,\"line 1\r\nline \"\"2\"\"\n\n\",yes,c\r\n", id, i)
		case 1:
			fmt.Fprintf(&b, "%s,\"open,x\n", id)
		case 2:
			fmt.Fprintf(&b, "%s,a,b\n", id)
		case 3:
			fmt.Fprintf(&b, "\n\r\n%s,a%d@x,\xff,no,\n", id, i)
		case 4:
			fmt.Fprintf(&b, "%s,a%d@x,ß%s,maybe,\n", id, i, strings.Repeat("é", r.IntN(300)))
		case 5:
			fmt.Fprintf(&b, "%s,\"a\"b,c,,\n", id)
		default:
			fmt.Fprintf(&b, "%s,a%d@example.com,%s,1,%d\n", id, i, strings.Repeat("日", r.IntN(30)), r.IntN(5))
		}
	}
	return b.Bytes()
}

// TestPieces: however the file comes in and however many people a transaction holds, the result is the same.
func TestPieces(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	first, second := messy(r), messy(r)
	run := func(wrap func([]byte) io.Reader, o importer.Options) (string, []string) {
		d := open(t)
		a := load(t, d, wrap(first), o)
		o.Mode = directory.Full
		b := load(t, d, wrap(second), o)
		return fmt.Sprintf("%+v\n%+v", a, b), people(t, d)
	}
	whole := func(b []byte) io.Reader { return bytes.NewReader(b) }
	wantOutcome, wantPeople := run(whole, importer.Options{})
	if !strings.Contains(wantOutcome, "Duplicate") && !strings.Contains(wantOutcome, "has come before") {
		t.Errorf("a tame file: %s", wantOutcome)
	}
	for i := range 9 {
		wrap := func(b []byte) io.Reader { return &pieces{bytes.NewReader(b), r, 1 << i} }
		switch i {
		case 0:
			wrap = func(b []byte) io.Reader { return iotest.OneByteReader(bytes.NewReader(b)) }
		case 1:
			wrap = func(b []byte) io.Reader { return iotest.DataErrReader(bytes.NewReader(b)) }
		case 2:
			wrap = func(b []byte) io.Reader { return &pieces{bytes.NewReader(gz(t, b)), r, 3} }
		case 3:
			wrap = func(b []byte) io.Reader { return &pieces{bytes.NewReader(zst(t, b)), r, 50} }
		}
		gotOutcome, gotPeople := run(wrap, importer.Options{BatchRows: 3 + r.IntN(2<<i)})
		equal(t, wantOutcome, gotOutcome)
		equal(t, wantPeople, gotPeople)
	}
}

// TestSampleCounts imports sample people twice and compares the counts with what the sample says.
func TestSampleCounts(t *testing.T) {
	t.Parallel()
	d := open(t)
	const n = 1_500
	o := importer.Options{FileName: "people.csv", Mode: directory.Full}
	equal(t, outcome{Summary: importer.Summary{Lines: n, Added: n}},
		load(t, d, bytes.NewReader(sampleCSV(t, sample.Options{People: n, Seed: 5, Invalid: 9})), o))
	equal(t, outcome{Summary: importer.Summary{Lines: n, Unchanged: n - 30, Changed: 30}},
		load(t, d, bytes.NewReader(sampleCSV(t, sample.Options{People: n, Seed: 5, Invalid: 9, Changed: 0.02, ChangeSeed: 2})), o))
	back := sampleCSV(t, sample.Options{People: n - 500, Seed: 5})
	got := load(t, d, bytes.NewReader(back), o)
	if got.Summary.Gone != 500 || got.Summary.Lines != n-500 || got.Summary.Added != 0 || got.Err != nil {
		t.Errorf("%+v", got)
	}
}

// endless yields the text over and over, and notes the most memory that was in use meanwhile.
type endless struct {
	text []byte
	at   int
	left int
	peak *uint64
	read int
}

func (e *endless) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	b = b[:min(len(b), e.left)]
	for n := 0; n < len(b); {
		k := copy(b[n:], e.text[e.at:])
		n += k
		e.at = (e.at + k) % len(e.text)
	}
	e.left -= len(b)
	if e.read += len(b); e.read > 16<<20 && e.peak != nil {
		e.read = 0
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		*e.peak = max(*e.peak, m.HeapAlloc)
	}
	return len(b), nil
}

// TestMemory: a line without end, a value without end, a bomb of gzip and people of a mebibyte each take a bounded
// amount of memory. It runs alone.
func TestMemory(t *testing.T) {
	const most = 120 << 20
	for name, c := range map[string]struct {
		header, text string
		size         int
		errors       bool
	}{
		"line":       {"id,a\n", "x", 200 << 20, true},
		"value":      {"id,a\n1,\"", strings.Repeat("x", 999) + "\n", 200 << 20, true},
		"JSON":       {"", `{"id":"`, 200 << 20, true},
		"big people": {"id" + bigHeader() + "\n", bigPerson(), 60 << 20, true},
		"all wrong":  {"id,a\n", "x,y,z\n", 2 << 20, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			runtime.GC()
			var peak uint64
			if len(c.text) == 1 {
				c.text = strings.Repeat(c.text, 4096)
			}
			body := &endless{text: []byte(c.text), left: c.size, peak: &peak}
			n := 0
			s, err := importer.Import(t.Context(), d, "acme", io.MultiReader(strings.NewReader(c.header), body), importer.Options{},
				func(importer.LineError) { n++ })
			if err != nil || (n > 0) != c.errors {
				t.Errorf("%+v, %v, %d errors", s, err, n)
			}
			if peak > most {
				t.Errorf("%d MiB of memory at most, want %d", peak>>20, most>>20)
			}
		})
	}
	t.Run("bomb", func(t *testing.T) {
		pr, pw := io.Pipe()
		go func() {
			z, _ := gzip.NewWriterLevel(pw, gzip.BestSpeed)
			_, err := io.Copy(z, io.MultiReader(strings.NewReader("id\n"), &endless{text: make([]byte, 4096), left: 256 << 20}))
			_ = z.Close()
			pw.CloseWithError(err)
		}()
		var peak uint64
		got := load(t, open(t), io.TeeReader(pr, &meter{peak: &peak}), importer.Options{})
		if got.Err != nil || got.Summary.Rejected != 1 || peak > most {
			t.Errorf("%+v, %d MiB of memory at most", got, peak>>20)
		}
	})
}

// meter notes the most memory that was in use when something was written.
type meter struct {
	peak   *uint64
	writes int
}

func (m *meter) Write(b []byte) (int, error) {
	if m.writes++; m.writes%8 == 0 {
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		*m.peak = max(*m.peak, s.HeapAlloc)
	}
	return len(b), nil
}

func bigHeader() string {
	var b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&b, ",a%d", i)
	}
	return b.String()
}

func bigPerson() string {
	return "1" + strings.Repeat(","+strings.Repeat("v", directory.MaxValue), 30) + "\n"
}
