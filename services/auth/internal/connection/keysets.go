package connection

import (
	"context"
	"errors"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/store"
)

const (
	keySetsBucket = "KEYSETS"
	keySetKey     = "credentials"
)

// KeySets keeps the wrapped key set that seals all credentials, in a bucket of its own.
type KeySets struct{ bucket *store.Bucket[wrapped] }

type wrapped struct {
	Wrapped []byte `json:"wrapped"`
}

// OpenKeySets opens the bucket, making it where it is missing.
func OpenKeySets(ctx context.Context, b *bus.Bus) (*KeySets, error) {
	bucket, err := store.Open[wrapped](ctx, b, store.Config{Bucket: keySetsBucket, History: 1, MaxBytes: 1 << 20})
	if err != nil {
		return nil, err
	}
	return &KeySets{bucket}, nil
}

// Load returns the wrapped key set; found is false when there is none yet.
func (k *KeySets) Load(ctx context.Context) (set []byte, found bool, err error) {
	w, _, err := k.bucket.Get(ctx, keySetKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, false, nil
	}
	return w.Wrapped, err == nil, err
}

// Create stores the wrapped key set; created is false when there is one already.
func (k *KeySets) Create(ctx context.Context, set []byte) (created bool, err error) {
	_, err = k.bucket.Create(ctx, keySetKey, wrapped{set})
	if errors.Is(err, store.ErrExists) {
		return false, nil
	}
	return err == nil, err
}
