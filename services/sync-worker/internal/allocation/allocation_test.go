package allocation_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/allocation"
)

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) shift(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t *testing.T, b *bus.Bus, c *clock) *allocation.Book {
	t.Helper()
	book, err := allocation.Open(t.Context(), b, 1<<20, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return book
}

const org = "00D000000000001AAA"

var standard = allocation.Limits{Share: 0.2, Stop: 0.8}

// calls makes up to n calls and returns how many were allowed, with what stopped them.
func calls(t *testing.T, book *allocation.Book, n int) (int, *allocation.Wait) {
	t.Helper()
	for i := range n {
		err := book.Allow(t.Context(), org, standard)
		if wait, ok := errors.AsType[*allocation.Wait](err); ok {
			return i, wait
		}
		if err != nil {
			t.Fatal(err)
		}
		book.Count(org)
	}
	return n, nil
}

// Our share is kept to the call, and given back as the calls leave the window.
func TestOurShare(t *testing.T) {
	t.Parallel()
	c := newClock()
	book := open(t, testkit.Bus(t), c)
	book.Saw(org, 100, 1000)
	if n, wait := calls(t, book, 150); n != 150 {
		t.Fatalf("%d calls, then %v", n, wait)
	}
	c.shift(3 * time.Hour)
	n, wait := calls(t, book, 1000)
	if n != 50 || !strings.Contains(wait.Reason, "200 of 200") {
		t.Fatalf("%d more calls, then %v", n, wait)
	}
	if want := time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC); !wait.Until.Equal(want) {
		t.Errorf("it waits until %s, want %s, when the first hour no longer counts", wait.Until, want)
	}
	c.shift(wait.Until.Sub(c.Now()) - time.Second)
	if n, _ := calls(t, book, 1); n != 0 {
		t.Error("a call a second too early")
	}
	c.shift(time.Second)
	if n, _ := calls(t, book, 1000); n != 150 {
		t.Errorf("%d calls when the first 150 no longer count", n)
	}
}

// Others need their calls as well: from 80 % on there is none for us, and one every five minutes asks whether that is so.
func TestOthersFirst(t *testing.T) {
	t.Parallel()
	c := newClock()
	book := open(t, testkit.Bus(t), c)
	book.Saw(org, 799, 1000)
	if n, _ := calls(t, book, 1); n != 1 {
		t.Fatal("no call at 79.9 %")
	}
	book.Saw(org, 800, 1000)
	n, wait := calls(t, book, 1)
	if n != 0 || !strings.Contains(wait.Reason, "800 of its 1000") {
		t.Fatalf("%d calls at 80 %%, %v", n, wait)
	}
	c.shift(wait.Until.Sub(c.Now()))
	if n, _ := calls(t, book, 10); n != 1 {
		t.Errorf("%d calls ask whether there is room, want 1", n)
	}
	book.Saw(org, 700, 1000)
	if n, _ := calls(t, book, 10); n != 10 {
		t.Errorf("%d calls when there is room again", n)
	}
	if wait := book.UsedUp(org); wait == nil {
		t.Error("a refusal is nothing to wait for")
	}
	if n, wait := calls(t, book, 1); n != 0 || wait.Until.Sub(c.Now()) <= 0 {
		t.Errorf("%d calls after a refusal, %v", n, wait)
	}
}

// A share of an org that nobody has asked yet is not known: the first answer tells.
func TestUnknownOrg(t *testing.T) {
	t.Parallel()
	book := open(t, testkit.Bus(t), newClock())
	if n, _ := calls(t, book, 3); n != 3 {
		t.Errorf("%d calls", n)
	}
	if err := book.Allow(t.Context(), org, allocation.Limits{Share: -1, Stop: -1}); err != nil {
		t.Error(err)
	}
	book.Saw(org, 999, 1000)
	if err := book.Allow(t.Context(), org, allocation.Limits{Share: -1, Stop: -1}); err != nil {
		t.Errorf("without limits there is one call left: %v", err)
	}
}

// What a killed process held back is forgotten, and that is at most a batch; what one that stops held back is not.
func TestKillsForgetLittle(t *testing.T) {
	t.Parallel()
	b, c := testkit.Bus(t), newClock()
	first := open(t, b, c)
	first.Saw(org, 0, 100_000)
	if n, wait := calls(t, first, 1000); n != 1000 {
		t.Fatalf("%d calls, then %v", n, wait)
	}
	second := open(t, b, c)
	used, r, err := second.Known(t.Context(), org)
	if err != nil || used < 980 || used > 1000 || r.Max != 100_000 {
		t.Errorf("after a kill %d calls are known, of %d: %v", used, r.Max, err)
	}
	if err := first.Flush(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if used, _, err := open(t, b, c).Known(t.Context(), org); err != nil || used != 1000 {
		t.Errorf("after a stop %d calls are known: %v", used, err)
	}
	// A call does not stay held back for long either.
	second.Count(org)
	c.shift(6 * time.Second)
	if err := second.Flush(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if used, _, err := open(t, b, c).Known(t.Context(), org); err != nil || used != 1001 {
		t.Errorf("after six seconds %d calls are known: %v", used, err)
	}
}

// Random traces of several workers and of others in the org: our share is exceeded by no more than what is in flight or
// held back elsewhere, and never in the long run.
func TestRandomTraces(t *testing.T) {
	t.Parallel()
	b, c := testkit.Bus(t), newClock()
	rng := rand.New(rand.NewPCG(1, 2))
	const workers = 4
	books := make([]*allocation.Book, workers)
	for i := range books {
		books[i] = open(t, b, c)
	}
	const limit = 2000
	var made []time.Time
	others := int64(0)
	for range 6000 {
		switch rng.IntN(20) {
		case 0:
			c.shift(time.Duration(rng.IntN(90)) * time.Minute)
			others = max(0, others+rng.Int64N(200)-110)
		case 1:
			books[rng.IntN(workers)] = open(t, b, c) // killed and started again
		}
		book := books[rng.IntN(workers)]
		err := book.Allow(t.Context(), org, standard)
		if _, ok := errors.AsType[*allocation.Wait](err); ok {
			c.shift(time.Minute)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		now := c.Now()
		made = append(made, now)
		for len(made) > 0 && now.Sub(made[0]) > 24*time.Hour {
			made = made[1:]
		}
		book.Count(org)
		book.Saw(org, int64(len(made))+others, limit)
		const slack = workers * 20 * 3 // a batch of each worker, and of those that were killed
		if len(made) > limit/5+slack {
			t.Fatalf("%d calls of ours in 24 hours, want at most %d", len(made), limit/5)
		}
	}
}

// The counts outlive everything but the store, whose errors are told.
func TestStoreIsAway(t *testing.T) {
	t.Parallel()
	book := open(t, testkit.Bus(t), newClock())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := book.Allow(ctx, org, standard); err == nil {
		t.Error("a call is allowed though nobody can say how many there were")
	}
}
