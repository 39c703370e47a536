package connection

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

const (
	keySetsBucket = "KEYSETS"
	keySetKey     = "credentials"
	cursorKey     = "rotation"
)

// KeySets keeps the wrapped key set that seals everything, in a bucket of its own, and how far its rotation has come.
type KeySets struct {
	sets    *store.Bucket[wrapped]
	cursors *store.Bucket[vault.Cursor]
}

var _ vault.KeySets = (*KeySets)(nil)

// wrapped is the key set as each key that may open it wraps it, the newest last.
type wrapped struct {
	Wraps [][]byte `json:"wraps"`
}

// OpenKeySets opens the bucket, making it where it is missing.
func OpenKeySets(ctx context.Context, b *bus.Bus) (*KeySets, error) {
	sets, err := store.Open[wrapped](ctx, b, store.Config{Bucket: keySetsBucket, History: 1, MaxBytes: 1 << 20})
	if err != nil {
		return nil, err
	}
	return &KeySets{sets, store.Existing[vault.Cursor](b, keySetsBucket)}, nil
}

// Load returns the wrapped key set and its revision, 0 when there is none yet.
func (k *KeySets) Load(ctx context.Context) ([][]byte, uint64, error) {
	w, revision, err := k.sets.Get(ctx, keySetKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	return w.Wraps, revision, err
}

// Store replaces the wrapped key set that is at the revision, 0 for none.
func (k *KeySets) Store(ctx context.Context, wraps [][]byte, revision uint64) (uint64, error) {
	write := func() (uint64, error) { return k.sets.Replace(ctx, keySetKey, wrapped{wraps}, revision) }
	if revision == 0 {
		write = func() (uint64, error) { return k.sets.Create(ctx, keySetKey, wrapped{wraps}) }
	}
	next, err := write()
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists) {
		return 0, fmt.Errorf("%w: %w", vault.ErrRaced, err)
	}
	return next, err
}

// Watch yields the revision of the key set whenever it has changed.
func (k *KeySets) Watch(ctx context.Context) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		for e, err := range k.sets.Watch(ctx, "") {
			if e.Key == keySetKey && !yield(e.Revision, err) {
				return
			}
		}
	}
}

// Cursor returns how far a rotation has come.
func (k *KeySets) Cursor(ctx context.Context) (vault.Cursor, error) {
	c, _, err := k.cursors.Get(ctx, cursorKey)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return c, err
}

// SaveCursor stores it; the zero value deletes it.
func (k *KeySets) SaveCursor(ctx context.Context, c vault.Cursor) error {
	if c == (vault.Cursor{}) {
		return k.cursors.Delete(ctx, cursorKey, 0)
	}
	_, err := k.cursors.Upsert(ctx, cursorKey, func(vault.Cursor, bool) (vault.Cursor, error) { return c, nil })
	return err
}
