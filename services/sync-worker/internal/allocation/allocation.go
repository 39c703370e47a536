// Package allocation owns the count of the API calls that an org has had from us, and the decision whether it may have
// another: an org gives a number of calls in 24 hours, which all of its integrations share.
//
// Calls are counted in memory and written in batches, so that counting costs little. A process that is killed forgets at
// most one batch; near the limit every call is written before the next one is made.
package allocation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/store"
)

// bucketName is the bucket of the counts, by org.
const bucketName = "ALLOCATIONS"

const (
	// window is how far back an org counts.
	window = 24 * time.Hour
	// batch is how many calls a process holds back at the most.
	batch = 20
	// holdBack is how long it holds one back, and for how long it believes what it last read.
	holdBack = 5 * time.Second
	// probeEvery is how often an org that is used up is asked whether it still is: only an answer to a call says so.
	probeEvery = 5 * time.Minute
)

// Record is what is known of one org.
type Record struct {
	// Hours are our calls by hour since 1970. Those that have left the window are dropped.
	Hours map[int64]int64 `json:"hours,omitempty"`
	// Used and Max are everybody's calls and how many there may be, as the org last said at At.
	Used int64     `json:"used,omitempty"`
	Max  int64     `json:"max,omitempty"`
	At   time.Time `json:"at,omitzero"`
	// Refused is when the org last refused a call because its allocation was used up.
	Refused time.Time `json:"refused,omitzero"`
}

// Limits say what may be used. Shares are of the org's allocation; a negative one means no limit.
type Limits struct {
	// Share that is ours.
	Share float64
	// Stop is the share, used by everybody, from which on we ask for nothing more.
	Stop float64
}

// Ours is how many calls of an allocation are ours in 24 hours.
func (l Limits) Ours(limit int64) int64 {
	if l.Share < 0 {
		return limit
	}
	return int64(l.Share * float64(limit))
}

// Wait says that no call may be made now.
type Wait struct {
	// Until is when to ask again.
	Until time.Time
	// Reason is for the admin.
	Reason string
}

// Error returns the reason.
func (w *Wait) Error() string { return w.Reason }

// Book counts calls and decides about more. It may be used from several goroutines.
type Book struct {
	bucket *store.Bucket[Record]
	now    func() time.Time

	mu   sync.Mutex
	orgs map[string]*org
}

// org is what this process knows of one org.
type org struct {
	record  Record // as last read or written
	read    time.Time
	pending map[int64]int64 // not written yet, by hour
	held    int64           // their number
	since   time.Time       // of the oldest of them
	news    bool            // Used, Max and At are newer than what was written
	probed  time.Time       // when a call was last let through to see whether the org is still used up
}

// Open opens the counts, making the bucket where it is missing. now is the clock; time.Now where nil.
func Open(ctx context.Context, b *bus.Bus, maxBytes int64, now func() time.Time) (*Book, error) {
	// A record that nobody has written to for longer than the window counts nothing.
	bucket, err := store.Open[Record](ctx, b, store.Config{Bucket: bucketName, History: 1, MaxBytes: maxBytes, TTL: 3 * window})
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &Book{bucket: bucket, now: now, orgs: make(map[string]*org)}, nil
}

func (b *Book) org(id string) *org {
	o := b.orgs[id]
	if o == nil {
		o = &org{pending: make(map[int64]int64)}
		b.orgs[id] = o
	}
	return o
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// leaves is when the calls of an hour have all left the window.
func leaves(hour int64) time.Time { return time.Unix((hour+1)*3600, 0).Add(window) }

// Count notes one call.
func (b *Book) Count(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, now := b.org(id), b.now()
	if o.held == 0 {
		o.since = now
	}
	o.pending[hourOf(now)]++
	o.held++
}

// Saw notes what the org says of everybody's calls.
func (b *Book) Saw(id string, used, limit int64) {
	if limit <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.org(id)
	o.record.Used, o.record.Max, o.record.At, o.news = used, limit, b.now(), true
}

// UsedUp notes that the org has refused a call because its allocation is used up, and says how long to wait.
func (b *Book) UsedUp(id string) *Wait {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, now := b.org(id), b.now()
	o.record.Refused, o.news = now, true
	return refused(now)
}

func refused(at time.Time) *Wait {
	until := at.Add(probeEvery)
	return &Wait{Until: until, Reason: fmt.Sprintf(
		"The org refuses further API calls: those of 24 hours are used up. The run asks again at %s.", until.UTC().Format("15:04 MST"))}
}

// Allow returns a *Wait when no call may be made now. Other errors are of the store.
func (b *Book) Allow(ctx context.Context, id string, lim Limits) error {
	if err := b.refresh(ctx, id, lim); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, now := b.org(id), b.now()
	r := o.record
	if now.Before(r.Refused.Add(probeEvery)) {
		return refused(r.Refused)
	}
	if r.Max <= 0 {
		return nil // the first answer will say
	}
	if ours, used := lim.Ours(r.Max), o.used(now); lim.Share >= 0 && used >= ours {
		until := o.frees(now, used-ours+1)
		return &Wait{Until: until, Reason: fmt.Sprintf(
			"Our share of the org's API calls is used up: %d of %d in 24 hours, which is %.0f %% of the %d that the org has. The run goes on at %s, when the oldest no longer count.",
			used, ours, lim.Share*100, r.Max, until.UTC().Format("15:04 MST"))}
	}
	stop := r.Max
	if lim.Stop >= 0 {
		stop = min(stop, int64(lim.Stop*float64(r.Max)))
	}
	if r.Used < stop {
		return nil
	}
	last := r.At
	if o.probed.After(last) {
		last = o.probed
	}
	if until := last.Add(probeEvery); now.Before(until) {
		return &Wait{Until: until, Reason: fmt.Sprintf(
			"The org has had %d of its %d API calls in 24 hours, from everybody; we stop at %d, so that others can still work. The run looks again at %s.",
			r.Used, r.Max, stop, until.UTC().Format("15:04 MST"))}
	}
	o.probed = now
	return nil
}

// Known returns our calls in the last 24 hours, and the latest that is known of the org.
func (b *Book) Known(ctx context.Context, id string) (int64, Record, error) {
	if err := b.refresh(ctx, id, Limits{Share: -1}); err != nil {
		return 0, Record{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.org(id)
	return o.used(b.now()), o.record, nil
}

// used counts our calls within the window.
func (o *org) used(now time.Time) int64 {
	var n int64
	for hour, calls := range o.record.Hours {
		if leaves(hour).After(now) {
			n += calls
		}
	}
	for _, calls := range o.pending {
		n += calls
	}
	return n
}

// frees is when so many of our calls will have left the window.
func (o *org) frees(now time.Time, calls int64) time.Time {
	first := hourOf(now.Add(-window)) - 1
	for hour := first; hour <= hourOf(now); hour++ {
		if at := leaves(hour); at.After(now) {
			if calls -= o.record.Hours[hour] + o.pending[hour]; calls <= 0 {
				return at
			}
		}
	}
	return now.Add(window) // the share is less than one call
}

// refresh writes what is held back, or reads what others wrote, where either is due.
func (b *Book) refresh(ctx context.Context, id string, lim Limits) error {
	b.mu.Lock()
	o, now := b.org(id), b.now()
	most := int64(batch)
	if r := o.record; r.Max > 0 && lim.Share >= 0 && lim.Ours(r.Max)-o.used(now) <= 2*batch {
		most = 1
	}
	write := o.held >= most || o.held > 0 && now.Sub(o.since) >= holdBack
	read := o.read.IsZero() || now.Sub(o.read) >= holdBack || now.Before(o.read)
	b.mu.Unlock()
	switch {
	case write:
		return b.flush(ctx, id)
	case read:
		r, _, err := b.bucket.Get(ctx, store.Key(id))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("read how many API calls the org has had: %w", err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.org(id).take(r, now)
	}
	return nil
}

// learn takes over what another record knows better.
func (r *Record) learn(from Record) {
	if from.At.After(r.At) {
		r.Used, r.Max, r.At = from.Used, from.Max, from.At
	}
	if from.Refused.After(r.Refused) {
		r.Refused = from.Refused
	}
}

// take takes in what the bucket holds.
func (o *org) take(r Record, now time.Time) {
	r.learn(o.record)
	o.record, o.read = r, now
}

// flush writes what is held back.
func (b *Book) flush(ctx context.Context, id string) error {
	b.mu.Lock()
	o, now := b.org(id), b.now()
	pending, held, since, known, news := o.pending, o.held, o.since, o.record, o.news
	o.pending, o.held, o.news = make(map[int64]int64), 0, false
	// Until it is written it counts all the same, for those who ask meanwhile.
	o.record.Hours = sum(o.record.Hours, pending, now)
	b.mu.Unlock()
	r, err := b.bucket.Upsert(ctx, store.Key(id), func(r Record, _ bool) (Record, error) {
		r.Hours = sum(r.Hours, pending, now)
		if news {
			r.learn(known)
		}
		return r, nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		for hour, calls := range pending {
			o.pending[hour] += calls
		}
		o.record.Hours = known.Hours
		o.held, o.since, o.news = o.held+held, since, o.news || news
		return fmt.Errorf("note how many API calls the org has had: %w", err)
	}
	o.take(r, now)
	return nil
}

// sum adds counts to hours and drops what has left the window.
func sum(hours, more map[int64]int64, now time.Time) map[int64]int64 {
	all := make(map[int64]int64, len(hours)+len(more))
	for _, from := range []map[int64]int64{hours, more} {
		for hour, calls := range from {
			if leaves(hour).After(now) {
				all[hour] += calls
			}
		}
	}
	return all
}

// Flush writes what has been held back for long enough; all of it where at once is set.
func (b *Book) Flush(ctx context.Context, atOnce bool) error {
	b.mu.Lock()
	var due []string
	for id, o := range b.orgs {
		if o.held > 0 && (atOnce || b.now().Sub(o.since) >= holdBack) {
			due = append(due, id)
		}
	}
	b.mu.Unlock()
	var problems []error
	for _, id := range due {
		problems = append(problems, b.flush(ctx, id))
	}
	return errors.Join(problems...)
}
