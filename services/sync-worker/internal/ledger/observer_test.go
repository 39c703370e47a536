package ledger

import (
	"fmt"
	"testing"
	"time"
)

// A worker that lives for months sees the leases of millions of tasks: those that have ended do not stay in memory.
func TestTheObserverForgetsTasksThatNobodyLooksAt(t *testing.T) {
	t.Parallel()
	var o observer
	for i := range 100 {
		o.see(fmt.Sprint("ended", i), 1)
	}
	long := time.Now().Add(-2 * forgotten)
	for key, s := range o.seen {
		s.last = long
		o.seen[key] = s
	}
	o.pruned = long
	o.see("open", 7)
	if len(o.seen) != 1 || o.seen["open"].revision != 7 {
		t.Errorf("%d keys are remembered", len(o.seen))
	}
}
