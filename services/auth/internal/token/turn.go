package token

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
)

// turnsBucket holds one record per connection: whose turn it is to ask Salesforce for a token, and what is known of the
// calls so far.
const turnsBucket = "TOKEN_REFRESHES"

// turn is the record of one connection. It changes by compare-and-set alone.
type turn struct {
	Tenant string `json:"tenant"`
	// Epoch rises each time that a process takes its turn.
	Epoch uint64 `json:"epoch"`
	// Holder is the process whose turn it is; empty when nobody asks.
	Holder string `json:"holder,omitempty"`
	// Beat rises while the holder lives. Whoever waits compares no clocks: a record that does not change for a whole
	// lease has lost its holder.
	Beat uint64 `json:"beat,omitempty"`
	// Intent is written before a refresh token is sent, and taken away once it is known what became of it.
	Intent *intent `json:"intent,omitempty"`
	// Lost is how many answers of calls with the refresh token of credentials LostVersion never came.
	Lost        int   `json:"lost,omitempty"`
	LostVersion int64 `json:"lost_version,omitempty"`
	// TokenEpoch is the turn that brought the current access token; 0 when there is none.
	TokenEpoch uint64 `json:"token_epoch,omitempty"`
}

// intent says that a refresh token is being sent.
type intent struct {
	Connection string `json:"connection"`
	Version    int64  `json:"version"` // of the credentials
	Epoch      uint64 `json:"epoch"`
	Attempt    int    `json:"attempt"` // 1, and one more for each answer that was lost before
}

// lost is how many answers were lost with the present credentials of a connection.
func (t turn) lost(c connection.Connection) int {
	if t.LostVersion != c.CredentialVersion {
		return 0
	}
	return t.Lost
}

// lose notes that the answer to the intent never came.
func (t *turn) lose() {
	if t.Intent == nil {
		return
	}
	if t.LostVersion != t.Intent.Version {
		t.Lost = 0
	}
	t.LostVersion, t.Lost, t.Intent = t.Intent.Version, t.Lost+1, nil
}

// turns are the records of all connections, as one process sees them.
type turns struct {
	bucket *store.Bucket[turn]
	holder string // this process
	lease  time.Duration

	mu     sync.Mutex
	seen   map[string]sighting // by connection
	pruned time.Time
}

// sighting is since when a record has been seen to be at a revision.
type sighting struct {
	rev  uint64
	at   time.Time // carries the monotonic clock
	last time.Time
}

// forgotten is after what time a record that nobody looks at is dropped from memory.
const forgotten = time.Hour

func openTurns(ctx context.Context, b *bus.Bus, lease time.Duration) (*turns, error) {
	bucket, err := store.Open[turn](ctx, b, store.Config{Bucket: turnsBucket, History: 1, MaxBytes: 16 << 20})
	if err != nil {
		return nil, err
	}
	return &turns{bucket: bucket, holder: rand.Text(), lease: lease, seen: map[string]sighting{}}, nil
}

// read returns the connection's record and its revision, both zero when there is none.
func (t *turns) read(ctx context.Context, id string) (turn, uint64, error) {
	have, rev, err := t.bucket.Get(ctx, store.Key(id))
	if errors.Is(err, store.ErrNotFound) {
		return turn{}, 0, nil
	}
	if err != nil {
		return turn{}, 0, fmt.Errorf("read whose turn it is for connection %s: %w", id, err)
	}
	return have, rev, nil
}

// unchanged is for how long this process has seen the record at the revision.
func (t *turns) unchanged(id string, rev uint64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	s, ok := t.seen[id]
	if !ok || s.rev != rev {
		s = sighting{rev: rev, at: now}
	}
	s.last = now
	t.seen[id] = s
	if now.Sub(t.pruned) > forgotten {
		t.pruned = now
		maps.DeleteFunc(t.seen, func(_ string, s sighting) bool { return now.Sub(s.last) > forgotten })
	}
	return now.Sub(s.at)
}

// write stores a record that was decided at a revision, 0 for none. An answer that was lost on the bus counts as what it
// was: nobody else writes this epoch and holder.
func (t *turns) write(ctx context.Context, id string, v turn, rev uint64) (uint64, error) {
	key := store.Key(id)
	put := func(rev uint64) (uint64, error) {
		if rev == 0 {
			return t.bucket.Create(ctx, key, v)
		}
		return t.bucket.Replace(ctx, key, v, rev)
	}
	next, err := put(rev)
	if v.Holder == "" || !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrExists) {
		return next, err
	}
	if have, now, gerr := t.bucket.Get(ctx, key); gerr == nil && have.Epoch == v.Epoch && have.Holder == v.Holder {
		return put(now)
	}
	return 0, err
}

// take makes it this process's turn, by the record that was read. An error that is store.ErrConflict or store.ErrExists
// says that another process was faster.
func (t *turns) take(ctx context.Context, c connection.Connection, have turn, rev uint64) (*held, error) {
	have.lose()
	have.Tenant, have.Epoch, have.Holder, have.Beat = c.Tenant, have.Epoch+1, t.holder, 0
	rev, err := t.write(ctx, c.ID, have, rev)
	if err != nil {
		return nil, err
	}
	h := &held{turns: t, id: c.ID, epoch: have.Epoch, turn: have, rev: rev, quit: make(chan struct{})}
	h.beating.Go(h.beat)
	return h, nil
}

// adopt notes a token that came without a turn, with a link, and returns its epoch. Who is at it with the old credentials
// loses its turn.
func (t *turns) adopt(ctx context.Context, c connection.Connection) (uint64, error) {
	now, err := t.bucket.Upsert(ctx, store.Key(c.ID), func(have turn, _ bool) (turn, error) {
		have.Epoch++
		return turn{Tenant: c.Tenant, Epoch: have.Epoch, TokenEpoch: have.Epoch}, nil
	})
	if err != nil {
		return 0, fmt.Errorf("note the token of connection %s: %w", c.ID, err)
	}
	return now.Epoch, nil
}

// held is this process's turn for one connection.
type held struct {
	turns *turns
	id    string
	epoch uint64

	mu   sync.Mutex
	turn turn
	rev  uint64
	gone bool // another process has taken over

	quit    chan struct{}
	beating sync.WaitGroup
}

// change stores what fn makes of the record. An error that is store.ErrConflict says that the turn is lost.
func (h *held) change(ctx context.Context, fn func(*turn)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return store.ErrConflict
	}
	next := h.turn
	fn(&next)
	rev, err := h.turns.write(ctx, h.id, next, h.rev)
	if errors.Is(err, store.ErrConflict) {
		h.gone = true
	}
	if err == nil {
		h.turn, h.rev = next, rev
	}
	return err
}

// lost is how many answers were lost with the present credentials.
func (h *held) lost(c connection.Connection) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.turn.lost(c)
}

// beat tells those who wait that this process lives, until end.
func (h *held) beat() {
	tick := time.NewTicker(h.turns.lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-h.quit:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), h.turns.lease/2)
		err := h.change(ctx, func(t *turn) { t.Beat++ })
		cancel()
		if errors.Is(err, store.ErrConflict) {
			return
		}
	}
}

// intend makes durable that the refresh token of the version is about to be sent.
func (h *held) intend(ctx context.Context, c connection.Connection) error {
	return h.change(ctx, func(t *turn) {
		t.Intent = &intent{Connection: c.ID, Version: c.CredentialVersion, Epoch: t.Epoch, Attempt: t.lost(c) + 1}
	})
}

// end gives the turn back; fn notes what came of it. The record's age is counted from here.
func (h *held) end(ctx context.Context, fn func(*turn)) error {
	h.stop()
	err := h.change(ctx, func(t *turn) {
		fn(t)
		t.Holder, t.Beat, t.Intent = "", 0, nil
	})
	if err == nil {
		h.turns.unchanged(h.id, h.rev)
	}
	return err
}

// stop ends the beating.
func (h *held) stop() {
	close(h.quit)
	h.beating.Wait()
}
