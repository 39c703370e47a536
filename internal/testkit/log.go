// Package testkit owns what tests of several packages need: a logger that writes to the test, waiting with a deadline,
// and a bus on a fresh server. Only tests import it.
package testkit

import (
	"log/slog"
	"sync"
	"testing"
)

// Logger returns a logger that writes everything, debug included, to the log of the test. What is logged after the
// test has ended is dropped.
func Logger(t testing.TB) *slog.Logger {
	t.Helper()
	w := &testWriter{t: t}
	t.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// testWriter guards the output of a test, which must not be written to once the test has ended.
type testWriter struct {
	mu sync.Mutex
	t  testing.TB // nil when ended
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t == nil {
		return len(p), nil
	}
	return w.t.Output().Write(p)
}

func (w *testWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t = nil
}
