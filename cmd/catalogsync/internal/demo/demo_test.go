package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/client"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/demo"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/exit"
	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// line is a run as the demo writes it.
type line struct {
	RunID         string   `json:"run_id"`
	Kind          string   `json:"kind"`
	Trigger       string   `json:"trigger"`
	Object        string   `json:"object"`
	People        int64    `json:"people"`
	Created       int64    `json:"created"`
	Updated       int64    `json:"updated"`
	Unchanged     int64    `json:"unchanged"`
	Skipped       int64    `json:"skipped"`
	Rejected      int64    `json:"rejected"`
	Failed        int64    `json:"failed"`
	Superseded    int64    `json:"superseded"`
	Deferred      int64    `json:"deferred"`
	Verified      int64    `json:"verified"`
	Mismatched    int64    `json:"mismatched"`
	APICalls      int64    `json:"api_calls"`
	BulkJobs      []string `json:"bulk_jobs"`
	Seconds       float64  `json:"seconds"`
	RowsPerSecond float64  `json:"rows_per_second"`
	PeakRSSBytes  int64    `json:"peak_rss_bytes"`
}

// give runs a demo with JSON and returns its lines.
func give(t *testing.T, change func(*demo.Options)) ([]line, error) {
	t.Helper()
	var out, errOut bytes.Buffer
	o := demo.DefaultOptions()
	o.JSON, o.Stdout, o.Stderr, o.Data = true, &out, &errOut, t.TempDir()
	change(&o)
	err := demo.Run(t.Context(), o)
	t.Logf("%s%s", out.String(), errOut.String())
	var lines []line
	for text := range strings.Lines(out.String()) {
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		var l line
		if err := d.Decode(&l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var keys map[string]any
		if err := json.Unmarshal([]byte(text), &keys); err != nil || len(keys) != 20 {
			t.Errorf("%q has %d keys, want 20", text, len(keys))
		}
		lines = append(lines, l)
	}
	return lines, err
}

// want compares what matters of two runs, the first and the one of the schedule.
func want(t *testing.T, got []line, first, second line) {
	t.Helper()
	if len(got) != 2 {
		t.Fatalf("there are %d runs, want 2", len(got))
	}
	first.Trigger, second.Trigger = "manual", "schedule"
	for i, w := range []line{first, second} {
		g := got[i]
		w.Kind, w.RunID, w.BulkJobs, w.APICalls, w.Seconds, w.RowsPerSecond, w.PeakRSSBytes = "write", g.RunID, nil, g.APICalls, g.Seconds, g.RowsPerSecond, g.PeakRSSBytes
		bulk := g.BulkJobs
		g.BulkJobs = nil
		if a, b := encode(t, g), encode(t, w); a != b {
			t.Errorf("run %d is\n%s want\n%s", i+1, a, b)
		}
		if g.RunID == "" || g.APICalls <= 0 || g.Seconds <= 0 || g.RowsPerSecond <= 0 || g.PeakRSSBytes < 10<<20 || bulk == nil {
			t.Errorf("run %d says too little: %s", i+1, encode(t, got[i]))
		}
	}
}

func encode(t *testing.T, l line) string {
	t.Helper()
	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestContactsByExternalID(t *testing.T) {
	t.Parallel()
	got, err := give(t, func(o *demo.Options) { o.People, o.Changed = 2100, 0.01 })
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, line{Object: "Contact", People: 2100, Created: 2100, Verified: 2100}, line{Object: "Contact", People: 2100, Updated: 21, Unchanged: 2079, Verified: 21})
	if len(got[0].BulkJobs) == 0 {
		t.Error("2,100 people went without a Bulk job")
	}
}

func TestLeadsByEmail(t *testing.T) {
	t.Parallel()
	got, err := give(t, func(o *demo.Options) { o.People, o.Object, o.ExternalID, o.Seed, o.Changed = 120, "Lead", "", 7, 0.5 })
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, line{Object: "Lead", People: 120, Created: 120, Verified: 120}, line{Object: "Lead", People: 120, Updated: 60, Unchanged: 60, Verified: 60})
}

func TestNobodyChanged(t *testing.T) {
	t.Parallel()
	got, err := give(t, func(o *demo.Options) { o.People, o.Changed = 1, 0 })
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, line{Object: "Contact", People: 1, Created: 1, Verified: 1}, line{Object: "Contact", People: 1, Unchanged: 1})
}

// People of a file take the same way, and some of them change whatever the file's format is.
func TestPeopleFile(t *testing.T) {
	t.Parallel()
	var csv bytes.Buffer
	if err := sample.WriteCSV(&csv, sample.Options{People: 200, Seed: 3}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mine.csv")
	if err := os.WriteFile(file, csv.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := give(t, func(o *demo.Options) { o.PeopleFile, o.Changed = file, 0.1 })
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, line{Object: "Contact", People: 200, Created: 200, Verified: 200}, line{Object: "Contact", People: 200, Updated: 20, Unchanged: 180, Verified: 20})
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, csv.Bytes()) {
		t.Errorf("the demo changed somebody's file, or lost it: %v", err)
	}
}

// What is wrong in a file is said, and the rest goes through.
func TestPeopleFileWithFaults(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "people.ndjson")
	text := `{"id":"1","email":"ann@example.com","first_name":"Ann","last_name":"Archer","title":"Senior Dean"}
{"id":"2","email":"bob@example.com","first_name":"Bob","last_name":""}
{"email":"carl@example.com"}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var errOut bytes.Buffer
	got, err := give(t, func(o *demo.Options) { o.PeopleFile, o.Stderr, o.Changed = file, &errOut, 1 })
	if e, ok := errors.AsType[*exit.Error](err); !ok || e.Code != exit.Partly || !strings.Contains(e.Text, "1 line was not taken, and the runs report 2 problems") {
		t.Errorf("it ends with %v", err)
	}
	if !strings.HasPrefix(errOut.String(), "line 3") {
		t.Errorf("the line at fault is reported as %q", errOut.String())
	}
	want(t, got, line{Object: "Contact", People: 2, Created: 1, Rejected: 1, Verified: 1}, line{Object: "Contact", People: 2, Updated: 1, Rejected: 1, Verified: 1})
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty.csv": "", "nobody.csv": "id,email\n", "noid.csv": "email\nann@example.com\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := give(t, func(o *demo.Options) { o.PeopleFile = file })
			if err == nil || len(got) > 0 || !strings.Contains(err.Error(), name) {
				t.Errorf("it ends with %v after %d runs", err, len(got))
			}
		})
	}
}

// buffer may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// What people read, with everything still there to look at until it is interrupted; and again with the same directory.
func TestServeAndAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := &buffer{}
	o := demo.DefaultOptions()
	o.People, o.Changed, o.Serve, o.Data, o.Stdout, o.Stderr = 50, 0.1, true, dir, out, out
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- demo.Run(ctx, o) }()
	testkit.Eventually(t, time.Minute, func() error {
		if !strings.Contains(out.String(), "/v1/people") {
			return errors.New("the demo does not say how to reach it")
		}
		return nil
	})
	after := func(name string) string {
		for l := range strings.Lines(out.String()) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(l), name); ok {
				return strings.Fields(value)[0]
			}
		}
		t.Fatalf("there is no %q in\n%s", name, out.String())
		return ""
	}
	c, err := client.Dial(client.Options{Server: after("gRPC "), Token: after("API token ")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	status, err := c.Status.GetStatus(t.Context(), &gatewayv1.GetStatusRequest{})
	if err != nil || status.GetPeople().GetPeople() != 50 || status.GetLatestRun().GetCounts().GetUpdated() != 5 {
		t.Errorf("the status is %v, %v", status, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ends with %v", err)
	}
	for _, want := range []string{"50 people of a Catalog become Contacts", "+ create", "Plan: 50 to create", "Nothing was written.", "Nightly run", "Does it add up?", "one for each person", dir} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "NO ") {
		t.Errorf("something does not add up:\n%s", out.String())
	}

	again := &buffer{}
	o.Serve, o.Stdout, o.Stderr = false, again, again
	if err := demo.Run(t.Context(), o); err != nil {
		t.Errorf("again: %v\n%s", err, again.String())
	}
	for _, want := range []string{"with 50 Contacts already", "Plan: 0 to create, 5 to change, 45 unchanged.", "50 of them from before"} {
		if !strings.Contains(again.String(), want) {
			t.Errorf("again: there is no %q in\n%s", want, again.String())
		}
	}
}

// A temporary directory is gone in the end, whether the demo was seen to its end or not.
func TestTemporaryDirectory(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	if _, err := give(t, func(o *demo.Options) { o.People, o.Data = 5, "" }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	o := demo.DefaultOptions()
	o.People, o.Stdout, o.Stderr = 20_000, &buffer{}, &buffer{}
	if err := demo.Run(ctx, o); err == nil {
		t.Error("a demo that is interrupted ends well")
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
