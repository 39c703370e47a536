package testkit_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/testkit"
)

// fakeT is a test that is looked at from outside.
type fakeT struct {
	testing.TB
	out      strings.Builder
	cleanups []func()
	failed   string
}

func (f *fakeT) Helper()           {}
func (f *fakeT) Output() io.Writer { return &f.out }
func (f *fakeT) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }
func (f *fakeT) Fatalf(format string, args ...any) {
	f.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestLoggerWritesToTheTestUntilItEnds(t *testing.T) {
	t.Parallel()
	f := &fakeT{TB: t}
	log := testkit.Logger(f)
	log.Debug("before", slog.Int("n", 1))
	for _, end := range f.cleanups {
		end()
	}
	log.Info("after")
	if got, want := f.out.String(), "level=DEBUG msg=before n=1\n"; got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}

func TestEventually(t *testing.T) {
	t.Parallel()
	calls := 0
	testkit.Eventually(t, time.Minute, func() error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if calls != 3 {
		t.Errorf("called %d times, want 3", calls)
	}
}

func TestEventuallyGivesUpWithTheLastError(t *testing.T) {
	t.Parallel()
	f := &fakeT{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() {
		testkit.Eventually(f, time.Millisecond, func() error { return errors.New("2 of 3 rows") })
	})
	wg.Wait()
	if !strings.Contains(f.failed, "2 of 3 rows") {
		t.Errorf("failed with %q", f.failed)
	}
}
