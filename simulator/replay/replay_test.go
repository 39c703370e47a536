package replay_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/simulator"
)

// replay is one captured reply and how to provoke it.
type replay struct {
	file    string // below the folder of captures
	version string // of the API; default 60.0
	options simulator.Options
	status  int // of the capture, default 200
	// ask sets the org up and makes the request; want is the captured body, nil for one that is not JSON.
	ask   func(o *org, want *node) reply
	pick  []any // path to the part of both bodies that is compared; nil: all
	shape bool  // the captured org held other data: only keys, their order and types are compared
	// partial says that the capture is an excerpt: what it lacks is not compared.
	partial bool
	meant   []meant
}

// meant is a difference that stays.
type meant struct{ diff, why string }

// folder is where the captures are; there says whether it exists.
func folder(t *testing.T) (dir string, there bool) {
	t.Helper()
	dir = os.Getenv("CATALOGSYNC_WIRE")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "wire")
	}
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return dir, true
	}
	if os.Getenv("CATALOGSYNC_WIRE") != "" {
		t.Fatalf("CATALOGSYNC_WIRE names %s, which is no folder: %v", dir, err)
	}
	fmt.Fprintf(os.Stderr, "LEFT OUT: no folder %s, so no captured reply of a real org was compared with the simulator's; set CATALOGSYNC_WIRE\n", dir)
	return dir, false
}

// TestReplay makes every request of the table and compares the answers.
func TestReplay(t *testing.T) {
	t.Parallel()
	dir, there := folder(t)
	if !there {
		t.Logf("left out: %d captured replies, because there is no folder %s", len(cases()), dir)
		return
	}
	for _, c := range cases() {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			c.run(t, dir)
		})
	}
}

func (c replay) run(t *testing.T, dir string) {
	text, err := os.ReadFile(filepath.Join(dir, c.file))
	if err != nil {
		t.Fatal(err)
	}
	if c.version == "" {
		c.version = "60.0"
	}
	if c.status == 0 {
		c.status = http.StatusOK
	}
	var want *node
	if strings.HasSuffix(c.file, ".json") {
		want = parse(t, c.file, string(text))
	}
	got := c.ask(start(t, dir, c.version, c.options), want)
	cmp := &comparer{shape: c.shape, partial: c.partial}
	if got.status != c.status {
		cmp.say("status", "is %d, captured %d", got.status, c.status)
	}
	if want != nil {
		body := parse(t, "the simulator's answer to "+c.file, got.body)
		if c.pick != nil {
			body, want = body.at(c.pick...), want.at(c.pick...)
		}
		if body == nil || want == nil {
			t.Fatalf("nothing at %v; the simulator answered %d %.300s", c.pick, got.status, got.body)
		}
		cmp.compare("$", body, want)
	} else if strings.HasSuffix(c.file, ".csv") {
		cmp.lines(got.body, string(text))
	}
	cmp.headers(t, filepath.Join(dir, stem(c.file)+".headers.txt"), got)
	settleMeant(t, cmp.diffs, c.meant)
}

// stem is the name of a capture without what tells body from headers.
func stem(file string) string {
	for _, end := range []string{".headers.txt", ".json", ".csv"} {
		file = strings.TrimSuffix(file, end)
	}
	return file
}

// settleMeant fails for each difference that is not meant, and for each meant one that is gone.
func settleMeant(t *testing.T, diffs []string, list []meant) {
	t.Helper()
	seen := make([]bool, len(list))
	for _, d := range diffs {
		i := slices.IndexFunc(list, func(m meant) bool { return matches(m.diff, d) })
		if i < 0 {
			t.Error(d)
			continue
		}
		seen[i] = true
	}
	for i, m := range list {
		if !seen[i] {
			t.Errorf("the difference %q (%s) is gone: take it out of the table", m.diff, m.why)
		}
	}
}

// lines compares CSV, cell quoting included; the rows of a result file may come in any order.
func (c *comparer) lines(got, want string) {
	split := func(s string) []string {
		lines := strings.Split(strings.TrimRight(settle(s), "\r\n"), "\n")
		slices.Sort(lines[1:])
		return lines
	}
	g, w := split(got), split(want)
	if len(g) != len(w) {
		c.say("csv", "has %d lines, captured %d", len(g), len(w))
	}
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			c.say(fmt.Sprintf("csv line %d", i), "is %q, captured %q", g[i], w[i])
		}
	}
}

// telling are the headers that clients look at.
var telling = []string{"Content-Type", "Cache-Control", "Sforce-Limit-Info", "Location", "Etag", "Last-Modified", "X-Robots-Tag"}

var (
	usage    = regexp.MustCompile(`=\d+/`)
	httpDate = regexp.MustCompile(`^\w{3}, \d\d \w{3} \d{4} .* GMT$`)
	tag      = regexp.MustCompile(`^"[0-9a-f]{8}(--gzip)?"$`)
)

// headers compares the headers of an answer with those captured beside the body, if they were.
func (c *comparer) headers(t *testing.T, file string, got reply) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	want := http.Header{}
	for _, line := range strings.Split(string(text), "\n")[1:] {
		if k, v, ok := strings.Cut(line, ":"); ok {
			want.Add(strings.TrimSpace(k), strings.TrimSpace(v))
		}
	}
	for _, name := range telling {
		g, w := form(got.header.Get(name)), form(want.Get(name))
		if g != w {
			c.say("header "+name, "is %q, captured %q", g, w)
		}
	}
}

func form(v string) string {
	switch {
	case httpDate.MatchString(v):
		return "<date>"
	case tag.MatchString(v):
		return "<tag>"
	}
	return usage.ReplaceAllString(settle(strings.ReplaceAll(v, " ", "")), "=N/")
}

// TestEveryCaptureIsKnown fails for a capture that the table does not name.
func TestEveryCaptureIsKnown(t *testing.T) {
	t.Parallel()
	dir, there := folder(t)
	if !there {
		return
	}
	known := map[string]bool{}
	for _, c := range cases() {
		if known[c.file] {
			t.Errorf("%s is in the table twice", c.file)
		}
		known[c.file] = true
	}
	for _, u := range uploads {
		known[u.file] = true
	}
	for _, s := range notReplayed {
		if s.why == "" {
			t.Errorf("%s is left out without a reason", s.file)
		}
	}
	left := make([]int, len(notReplayed))
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		base := strings.TrimSuffix(file, ".headers.txt")
		if known[file] || known[base+".json"] {
			return nil
		}
		for i, s := range notReplayed {
			if matches(s.file, file) {
				left[i]++
				return nil
			}
		}
		t.Errorf("%s is neither replayed nor listed with the reason why not", file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range left {
		if n == 0 {
			t.Errorf("%s is listed as left out, but there is no such capture that is not replayed", notReplayed[i].file)
		}
	}
}
