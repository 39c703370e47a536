package view_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/view"
	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
)

// steps of a run as somebody sees it who looks twice a second: some stages are never seen.
func steps() []*syncv1.Run {
	running := syncv1.RunState_RUN_STATE_RUNNING
	plan := &syncv1.Plan{Creates: 4000, Updates: 100, Unchanged: 899, Rejected: 1}
	return []*syncv1.Run{
		{State: syncv1.RunState_RUN_STATE_REQUESTED, Reason: "Another run is at work."},
		{State: syncv1.RunState_RUN_STATE_REQUESTED, Reason: "Another run is at work."},
		{State: running, Stage: "prepare"},
		{State: running, Stage: "snapshot", RowsDone: 1000, RowsTotal: 5000, Counts: &syncv1.Counts{People: 1000}},
		{State: running, Stage: "plan", RowsDone: 0, RowsTotal: 5000, Counts: &syncv1.Counts{People: 5000, Records: 1000}},
		{State: running, Stage: "apply", RowsDone: 1000, RowsTotal: 4100, Counts: &syncv1.Counts{People: 5000, Records: 1000}, Plan: plan},
		{State: running, Stage: "apply", RowsDone: 3000, RowsTotal: 4100, Counts: &syncv1.Counts{People: 5000, Records: 1000}, Plan: plan},
		{
			State: syncv1.RunState_RUN_STATE_COMPLETED_WITH_FAILURES, Plan: plan,
			Counts: &syncv1.Counts{People: 5000, Records: 1000, Created: 3999, Updated: 100, Unchanged: 899, Rejected: 1, Failed: 1, Verified: 4098, Mismatched: 1},
		},
	}
}

func TestProgressInLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := view.NewProgress(&out, view.Style{}, false)
		for _, r := range steps() {
			p.Run(r)
			<-time.After(3 * time.Second)
		}
		p.Clear()
		want := `  requested Another run is at work.
  snapshot  1,000 of 5,000 (20 %)
  snapshot  5,000 people in the Catalog
  pull      1,000 records fetched from the org
  plan      4,000 to create, 100 to change, 899 unchanged, 1 rejected
  apply     4,100 changes sent to Salesforce, 1 refused
  verify    4,098 records read back, equal to what was written; 1 different
`
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestProgressInLinesOfLongStages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := view.NewProgress(&out, view.Style{}, false)
		for i := range int64(12) {
			p.Amount("import", i<<20, 11<<20, true)
			<-time.After(time.Second)
		}
		want := "  import    5.0 MiB of 11 MiB (45 %)\n  import    10 MiB of 11 MiB (91 %)\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Error(diff)
		}
	})
}

// On a terminal the bar is drawn over and over, and what stays is what stays elsewhere.
func TestProgressOnTerminal(t *testing.T) {
	t.Parallel()
	for _, s := range []view.Style{{Width: 80, Unicode: true}, {Width: 20}, {}} {
		var out buffer
		p := view.NewProgress(&out, s, true)
		for _, r := range steps() {
			p.Run(r)
		}
		p.Clear()
		text := out.String()
		for _, want := range []string{"  apply      24%", "  apply      73%", "3000/4100", " prepare", " plan      5,000", "\x1b[2K\r  apply     4,100 changes sent"} {
			if !strings.Contains(text, want) {
				t.Errorf("width %d: there is no %q in %q", s.Width, want, text)
			}
		}
		if last := text[strings.LastIndex(text, "\n")+1:]; last != "" {
			t.Errorf("width %d: something is left on the line: %q", s.Width, last)
		}
	}
}

// buffer may be read while a bar is still turning.
type buffer struct {
	mu sync.Mutex
	b  strings.Builder
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
