package testkit

import (
	"testing"
	"time"
)

// Eventually calls check until it returns nil. When that has not happened after d, it ends the test with the last
// error. The first call is made at once.
func Eventually(t testing.TB, d time.Duration, check func() error) {
	t.Helper()
	deadline := time.After(d)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("still not so after %v: %v", d, err)
		case <-tick.C:
		}
	}
}
