package access

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

const (
	// useGrain is how exactly the last use of a token is known, and how often it is written at most.
	useGrain = time.Minute
	// useTimeout bounds one write.
	useTimeout = 10 * time.Second
	// manyUses is how many tokens may wait to be written; what comes on top is not noted.
	manyUses = 10_000
)

// uses are the last uses of tokens that have not been written yet. Calls only leave a note here and never wait.
type uses struct {
	mu      sync.Mutex
	noted   map[string]time.Time // by hash: the minute that was noted last
	pending map[string]time.Time // by hash: the minute to write
	wake    chan struct{}
}

func newUses() uses {
	return uses{noted: map[string]time.Time{}, pending: map[string]time.Time{}, wake: make(chan struct{}, 1)}
}

// used notes that a token was used, once a minute.
func (s *Tokens) used(secret string) {
	now, hash, u := time.Now().UTC().Truncate(useGrain), hashOf(secret), &s.uses
	u.mu.Lock()
	defer u.mu.Unlock()
	if !now.After(u.noted[hash]) || len(u.pending) >= manyUses {
		return
	}
	if len(u.noted) >= manyUses {
		for other, at := range u.noted {
			if at.Before(now) {
				delete(u.noted, other)
			}
		}
	}
	u.noted[hash], u.pending[hash] = now, now
	select {
	case u.wake <- struct{}{}:
	default: // it is awake
	}
}

// Run writes when tokens were last used, until ctx ends.
func (s *Tokens) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.uses.wake:
		}
		s.uses.mu.Lock()
		pending := s.uses.pending
		s.uses.pending = map[string]time.Time{}
		s.uses.mu.Unlock()
		for hash, at := range pending {
			s.write(ctx, hash, at)
		}
	}
}

// write stores the last use of a token. A use that cannot be stored is lost: the next minute has another.
func (s *Tokens) write(ctx context.Context, hash string, at time.Time) {
	ctx, cancel := context.WithTimeout(ctx, useTimeout)
	defer cancel()
	_, err := s.bucket.Update(ctx, store.Key(hash), func(t Token) (Token, error) {
		if !at.After(t.UsedAt) { // another gateway was first
			return t, store.NoChange
		}
		t.UsedAt = at
		return t, nil
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil { // a token that was revoked meanwhile has no use
		s.log.WarnContext(ctx, "the last use of an API token was not stored", telemetry.Err(err))
	}
}
