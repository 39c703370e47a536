package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
)

// Errors of taking and holding tasks.
var (
	// ErrHeld: another worker holds the task and its lease has not run out.
	ErrHeld = errors.New("ledger: the task is held by another worker")
	// ErrAsleep: the task's wake time has not come.
	ErrAsleep = errors.New("ledger: the task waits for its wake time")
	// ErrSettled: the task has ended.
	ErrSettled = errors.New("ledger: the task has ended")
	// ErrLeaseLost: this worker's lease ran out or another worker took the task. Nothing more may be sent for it.
	ErrLeaseLost = errors.New("ledger: the lease on the task is lost")
)

// Lease is the right to work on a task under one epoch.
type Lease struct {
	l *Ledger

	mu       sync.Mutex
	task     Task
	validity time.Time // monotonic; the lease counts as lost from here on
	lost     bool
}

// skew is how far the clock of whoever called a worker at a task's wake time may be ahead of this one. So long a worker
// waits: were the call turned down, the next one would come much later.
const skew = 2 * time.Second

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// margin is kept between the moment at which a holder stops and the one at which another may take over.
func (l *Ledger) margin() time.Duration { return l.opts.LeaseTTL / 5 }

// Claim takes a task: its epoch rises, and whoever held it before has lost it. It returns ErrSettled, ErrAsleep or
// ErrHeld where there is nothing to take.
func (l *Ledger) Claim(ctx context.Context, runID string, stage Stage, number int) (*Lease, error) {
	key := Task{RunID: runID, Stage: stage, Number: number}.key()
	t, rev, err := l.tasks.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	t.revision = rev
	switch t.State {
	case TaskSettled:
		return nil, ErrSettled
	case TaskWaiting:
		wait := time.Until(t.WakeAt)
		if wait > skew {
			return nil, ErrAsleep
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	case TaskLeased:
		if !l.Expired(t) {
			return nil, ErrHeld
		}
	}
	began := time.Now()
	t.State, t.Holder, t.Epoch, t.Rows, t.WakeAt = TaskLeased, l.opts.Holder, t.Epoch+1, 0, time.Time{}
	rev, err = l.tasks.Replace(ctx, key, t, rev)
	if errors.Is(err, store.ErrConflict) {
		return nil, ErrHeld
	}
	if err != nil {
		return nil, err
	}
	t.revision = rev
	l.observer.forget(key)
	return &Lease{l: l, task: t, validity: began.Add(l.opts.LeaseTTL - l.margin())}, nil
}

// Task returns the task as this lease knows it.
func (le *Lease) Task() Task {
	le.mu.Lock()
	defer le.mu.Unlock()
	return le.task
}

// Deadline is the moment from which this lease counts as lost unless it is renewed.
func (le *Lease) Deadline() time.Time {
	le.mu.Lock()
	defer le.mu.Unlock()
	return le.validity
}

// Save applies fn to the task's record and renews the lease with it. ErrLeaseLost when another worker holds the task.
func (le *Lease) Save(ctx context.Context, fn func(*Task)) error {
	le.mu.Lock()
	defer le.mu.Unlock()
	return le.write(ctx, fn)
}

func (le *Lease) write(ctx context.Context, fn func(*Task)) error {
	if le.lost {
		return ErrLeaseLost
	}
	t := le.task
	if fn != nil {
		fn(&t)
	}
	began := time.Now()
	rev, err := le.l.tasks.Replace(ctx, t.key(), t, t.revision)
	if errors.Is(err, store.ErrConflict) {
		// Our own write may have been taken though its answer was lost: then the record is as we wrote it, for nobody
		// else writes under our epoch.
		have, haveRev, getErr := le.l.tasks.Get(ctx, t.key())
		if getErr == nil && have.Epoch == t.Epoch && have.State == TaskLeased && have.Holder == t.Holder {
			have.revision = haveRev
			t.revision = haveRev
			if rev, err = le.l.tasks.Replace(ctx, t.key(), t, haveRev); err == nil {
				t.revision = rev
				return le.wrote(t, began)
			}
		}
		if getErr == nil && have.Epoch == t.Epoch && have.State == t.State && t.State != TaskLeased {
			le.lost = true
			return nil // the settling or parking write itself had been taken
		}
		if getErr == nil && (have.Epoch != t.Epoch || have.State != TaskLeased) {
			le.lost = true
			return fmt.Errorf("%s: %w", t.Name(), ErrLeaseLost)
		}
	}
	if err != nil {
		return err
	}
	t.revision = rev
	return le.wrote(t, began)
}

// wrote takes in what a write that began at a time has stored.
func (le *Lease) wrote(t Task, began time.Time) error {
	le.task, le.validity = t, began.Add(le.l.opts.LeaseTTL-le.l.margin())
	if t.State != TaskLeased {
		le.lost = true // whoever settled or parked the task holds it no more
		return nil
	}
	return le.held()
}

// held is ErrLeaseLost once the lease may be another's: also when a renewal was taken but took so long to say so that
// somebody may have watched it run out.
func (le *Lease) held() error {
	if time.Until(le.validity) > 0 {
		return nil
	}
	le.lost = true
	return fmt.Errorf("%s: %w", le.task.Name(), ErrLeaseLost)
}

// Held is ErrLeaseLost once the lease may be another's. It asks nobody: the lease stands for as long as it was last
// renewed for.
func (le *Lease) Held() error {
	le.mu.Lock()
	defer le.mu.Unlock()
	if le.lost {
		return fmt.Errorf("%s: %w", le.task.Name(), ErrLeaseLost)
	}
	return le.held()
}

// Fence renews the lease: what is sent to Salesforce right after it is sent by the task's only holder. The context of
// the task ends when the lease is lost, and so does the wait for an answer.
func (le *Lease) Fence(ctx context.Context) error { return le.Save(ctx, nil) }

// Settle ends the task with its result.
func (le *Lease) Settle(ctx context.Context, r Result) error {
	le.mu.Lock()
	defer le.mu.Unlock()
	r.Epoch = le.task.Epoch
	return le.write(ctx, func(t *Task) {
		t.State, t.Result, t.LastError = TaskSettled, &r, ""
	})
}

// Park puts the task to sleep until wake. fn may say what went wrong.
func (le *Lease) Park(ctx context.Context, wake time.Time, fn func(*Task)) error {
	le.mu.Lock()
	defer le.mu.Unlock()
	return le.write(ctx, func(t *Task) {
		t.State, t.WakeAt, t.Window, t.LastError = TaskWaiting, wake, false, ""
		if fn != nil {
			fn(t)
		}
	})
}

// Keep renews the lease until ctx ends, and calls lost once when it cannot be renewed in time. progress is asked for
// the rows and API calls so far at each renewal; check is called with each renewal and may end the work by an error,
// which is handed to lost.
func (le *Lease) Keep(ctx context.Context, progress func(*Task), check func(context.Context) error, lost func(error)) {
	every := le.l.opts.LeaseTTL / 4
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		rctx, cancel := context.WithDeadline(ctx, le.Deadline())
		err := le.Save(rctx, progress)
		if err == nil && check != nil {
			err = check(rctx)
			if errs.KindOf(err) == errs.Unavailable {
				err = nil // asked again at the next renewal
			}
		} else if err != nil && !errors.Is(err, ErrLeaseLost) && time.Until(le.Deadline()) > 0 {
			err = nil // the bus did not answer; the lease still stands
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if !errors.Is(err, ErrLeaseLost) && time.Until(le.Deadline()) <= 0 {
				err = fmt.Errorf("%w: %w", ErrLeaseLost, err)
			}
			lost(err)
			return
		}
		timer.Reset(every)
	}
}
