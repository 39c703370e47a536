package store

import (
	"context"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// View reads a bucket that another service owns. It neither makes nor changes it, and T may have fewer fields than what
// the owner stores.
type View[T any] struct{ bucket Bucket[T] }

// NewView returns a view of the bucket, which need not exist yet.
func NewView[T any](b *bus.Bus, bucket string) *View[T] {
	return &View[T]{Bucket[T]{bus: b, name: bucket, stream: "KV_" + bucket, prefix: "$KV." + bucket + "."}}
}

// Get returns the value and its revision, as the bucket's leader has them. While the bucket is missing so is every key.
func (v *View[T]) Get(ctx context.Context, key string) (T, uint64, error) {
	value, rev, err := v.bucket.Get(ctx, key)
	if errs.ReasonOf(err) == "no_stream" {
		err = v.bucket.missing(key)
	}
	return value, rev, err
}

// List returns the entries as [Bucket.List] does. A bucket that is missing has none.
func (v *View[T]) List(ctx context.Context, prefix string) ([]Entry[T], error) {
	entries, err := v.bucket.List(ctx, prefix)
	if errs.ReasonOf(err) == "no_stream" {
		return nil, nil
	}
	return entries, err
}

// Existing returns a bucket that another package has made, for work on its records that their owner leaves to it. Nothing
// is asked yet: calls fail with reason "no_stream" while the bucket is missing.
func Existing[T any](b *bus.Bus, bucket string) *Bucket[T] {
	return &Bucket[T]{bus: b, name: bucket, stream: "KV_" + bucket, prefix: "$KV." + bucket + "."}
}
