// Package store owns what is true: JSON values by key, in JetStream key-value buckets, changed by compare-and-set only.
//
// A write states the revision on which it was decided and fails when somebody else was faster; [Bucket.Update] then
// decides anew. Reads are answered by the bucket's leader, so that what one process has written the next one reads;
// [Bucket.List] and [Bucket.Watch] may lag behind on a replicated bucket and must not decide alone.
//
// The buckets are those of the NATS tools in everything but how they are made.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// Errors that callers branch on with [errors.Is]. What is returned wraps them and has a kind.
var (
	// ErrNotFound: the key does not exist, or was deleted. Kind NotFound.
	ErrNotFound = errors.New("no such key")
	// ErrExists: [Bucket.Create] found the key. Kind Conflict.
	ErrExists = errors.New("the key exists")
	// ErrConflict: the key is no longer at the revision that the write was decided on. Kind Conflict.
	ErrConflict = errors.New("the key was changed at the same time")

	// NoChange is what the function given to [Bucket.Update] or [Bucket.Upsert] returns when the value may stay as it is:
	// nothing is written, and the value that is stored is returned without an error.
	NoChange = errors.New("no change") //nolint:errname,staticcheck // it is a signal, not an error
)

const (
	// maxTries is how often an update is decided before it gives up with ErrConflict.
	maxTries = 64
	// firstPause and longestPause bound the wait before an update is decided anew.
	firstPause, longestPause = time.Millisecond, 100 * time.Millisecond
	// maxValue is the largest value, in bytes.
	maxValue = 768 << 10
	// markerTTL is how long a deletion is told to watchers.
	markerTTL = 24 * time.Hour
)

// Config says what a bucket is.
type Config struct {
	// Bucket is the name, upper snake case.
	Bucket string
	// History is how many revisions of a key are kept on disk, at most 64; 1 when zero.
	History uint8
	// MaxBytes is what the bucket may take on disk, in bytes. It is required.
	MaxBytes int64
	// TTL is after what time without a change a key expires; zero for never.
	TTL time.Duration
	// Replicas is the number of copies; zero for the default of the bus.
	Replicas int
}

// Entry is a value with what is known about it.
type Entry[T any] struct {
	// Key is the key; see [Parts].
	Key string
	// Value is the value; the zero value when Deleted.
	Value T
	// Revision rises with every change of the bucket.
	Revision uint64
	// Created is when the server stored this revision. It is zero for a deletion of which the time is not known.
	Created time.Time
	// Deleted says that the key is gone. Only [Bucket.Watch] yields such entries.
	Deleted bool
}

// Bucket holds values of one type. It is safe for concurrent use.
type Bucket[T any] struct {
	bus    *bus.Bus
	name   string
	stream string
	prefix string // of subjects
}

// Open opens a bucket, which is made when it is missing and changed to what is asked for when it differs. Opening it
// again, and in several processes at once, is fine.
func Open[T any](ctx context.Context, b *bus.Bus, c Config) (*Bucket[T], error) {
	if c.Bucket == "" || strings.IndexFunc(c.Bucket, func(r rune) bool { return r > 127 || !plain(byte(r)) }) >= 0 {
		return nil, errs.New(errs.Invalid, "bad_bucket", "bucket %q: the name has letters, digits, _ and - only", c.Bucket)
	}
	if c.History > 64 {
		return nil, errs.New(errs.Invalid, "bad_bucket", "bucket %s: at most 64 revisions are kept, not %d", c.Bucket, c.History)
	}
	s := &Bucket[T]{bus: b, name: c.Bucket, stream: "KV_" + c.Bucket, prefix: "$KV." + c.Bucket + "."}
	err := b.EnsureStreams(ctx, bus.Stream{
		Name: s.stream, Subjects: []string{s.prefix + ">"}, MaxBytes: c.MaxBytes, MaxAge: c.TTL,
		MaxMsgsPerSubject: int64(max(c.History, 1)), DiscardNew: true, Replicas: c.Replicas, KeyValue: true,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Get returns the value and its revision.
func (s *Bucket[T]) Get(ctx context.Context, key string) (T, uint64, error) {
	e, err := s.get(ctx, key)
	if err == nil && e.Deleted {
		err = s.missing(key)
	}
	return e.Value, e.Revision, err
}

// get returns the last revision of a key, which may be a deletion. ErrNotFound means that there is not even that.
func (s *Bucket[T]) get(ctx context.Context, key string) (Entry[T], error) {
	if err := check(key); err != nil {
		return Entry[T]{}, err
	}
	m, err := s.bus.Get(ctx, s.stream, s.prefix+key)
	if err != nil {
		if errs.ReasonOf(err) == "no_message" {
			err = s.missing(key)
		}
		return Entry[T]{}, err
	}
	return s.decode(m)
}

// Create stores a value under a key that does not exist. Its error wraps ErrExists when it does.
func (s *Bucket[T]) Create(ctx context.Context, key string, v T) (uint64, error) {
	rev, err := s.write(ctx, key, v, 0)
	if !errors.Is(err, ErrConflict) {
		return rev, err
	}
	// A deletion leaves a marker, which counts as a revision.
	e, gerr := s.get(ctx, key)
	switch {
	case errors.Is(gerr, ErrNotFound):
		rev, err = s.write(ctx, key, v, 0)
	case gerr != nil:
		return 0, gerr
	case e.Deleted:
		rev, err = s.write(ctx, key, v, e.Revision)
	}
	if errors.Is(err, ErrConflict) {
		return 0, s.fail(key, ErrExists, errs.Conflict, "exists", "this exists already in %s", s.name)
	}
	return rev, err
}

// Replace stores a value under a key that is at the revision, and returns the new revision. Its error wraps ErrConflict
// when the key is at another one, or gone.
func (s *Bucket[T]) Replace(ctx context.Context, key string, v T, rev uint64) (uint64, error) {
	if rev == 0 {
		return 0, s.conflict(key)
	}
	return s.write(ctx, key, v, rev)
}

// Update changes a value: fn gets what is stored and returns what it shall be. When somebody else is faster, fn is called
// again with what they stored, so it must have no effects of its own; its errors are returned as they are. Update returns
// the value that is stored then.
//
// When the server crashes in just that moment and somebody else changes the key as well, a change that was stored may be
// decided a second time: let fn look at what the value says instead of counting.
func (s *Bucket[T]) Update(ctx context.Context, key string, fn func(T) (T, error)) (T, error) {
	return s.Upsert(ctx, key, func(v T, found bool) (T, error) {
		if !found {
			return v, s.missing(key)
		}
		return fn(v)
	})
}

// Upsert is [Bucket.Update] for a key that may not exist: fn is told whether it does.
func (s *Bucket[T]) Upsert(ctx context.Context, key string, fn func(v T, found bool) (T, error)) (T, error) {
	var zero T
	for try := 1; ; try++ {
		e, err := s.get(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return zero, err
		}
		v, err := fn(e.Value, err == nil && !e.Deleted)
		if errors.Is(err, NoChange) {
			return e.Value, nil
		}
		if err != nil {
			return zero, err
		}
		_, err = s.write(ctx, key, v, e.Revision)
		if !errors.Is(err, ErrConflict) || try == maxTries {
			if err != nil {
				v = zero
			}
			return v, err
		}
		if err := pause(ctx, try); err != nil {
			return zero, err
		}
	}
}

// Delete removes a key that is at the revision, or at any with rev 0. Deleting what is gone succeeds, unless rev says
// otherwise. Watchers are told for a day.
func (s *Bucket[T]) Delete(ctx context.Context, key string, rev uint64) error {
	for try := 1; ; try++ {
		at := rev
		if rev == 0 {
			e, err := s.get(ctx, key)
			if errors.Is(err, ErrNotFound) || err == nil && e.Deleted {
				return nil
			}
			if err != nil && errs.ReasonOf(err) != reasonUnreadable {
				return err
			}
			at = e.Revision
		} else if err := check(key); err != nil {
			return err
		}
		err := s.written(key, s.mark(ctx, key, at))
		if errs.KindOf(err) == errs.Exhausted {
			return s.makeRoom(ctx, key, at)
		}
		if rev != 0 || !errors.Is(err, ErrConflict) || try == maxTries {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// mark replaces a key that is at the revision by a marker of its deletion.
func (s *Bucket[T]) mark(ctx context.Context, key string, rev uint64) error {
	return s.bus.Publish(ctx, s.prefix+key, nil,
		bus.ExpectLast(rev), bus.Replace(), bus.WithTTL(markerTTL), bus.WithHeader(headerOperation, operationPurge))
}

// makeRoom deletes a key of a bucket that is too full for the marker: what is stored goes first. A change that came in
// between stays, as its revision is higher.
func (s *Bucket[T]) makeRoom(ctx context.Context, key string, rev uint64) error {
	if err := s.bus.PurgeTo(ctx, s.stream, s.prefix+key, rev); err != nil {
		return err
	}
	err := s.written(key, s.mark(ctx, key, 0))
	if errs.KindOf(err) == errs.Exhausted {
		return nil // it is deleted; watchers learn of it when they next compare
	}
	return err
}

// write stores a value when the key is at the revision, 0 for none.
func (s *Bucket[T]) write(ctx context.Context, key string, v T, rev uint64) (uint64, error) {
	if err := check(key); err != nil {
		return 0, err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return 0, errs.Wrap(err, errs.Internal, "bad_value", "a value for %s cannot be encoded", s.name)
	}
	if len(data) > maxValue {
		return 0, errs.New(errs.Invalid, "value_too_large", "the value for %s has %d bytes; at most %d are allowed", s.name, len(data), maxValue)
	}
	seq, err := s.bus.Append(ctx, s.prefix+key, data, bus.ExpectLast(rev))
	return seq, s.written(key, err)
}

// written turns a failed expectation into ErrConflict.
func (s *Bucket[T]) written(key string, err error) error {
	if err != nil && errs.ReasonOf(err) == "wrong_revision" {
		return s.conflict(key)
	}
	return err
}

// pause waits before an update is decided anew, with jitter over the whole range: those who met shall not meet again.
func pause(ctx context.Context, try int) error {
	t := time.NewTimer(rand.N(min(firstPause<<min(try, 10), longestPause)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errs.Wrap(ctx.Err(), errs.Unavailable, "store_busy", "the change could not be made in time; retry later")
	}
}

func (s *Bucket[T]) missing(key string) error {
	return s.fail(key, ErrNotFound, errs.NotFound, "not_found", "this does not exist in %s", s.name)
}

func (s *Bucket[T]) conflict(key string) error {
	return s.fail(key, ErrConflict, errs.Conflict, "conflict", "this was changed in %s at the same time; read it again and retry", s.name)
}

// fail names the key in the log only: it may say more than whoever gets the message may know.
func (s *Bucket[T]) fail(key string, sentinel error, kind errs.Kind, reason, format string, args ...any) error {
	return errs.Wrap(keyError{key, sentinel}, kind, reason, format, args...)
}

type keyError struct {
	key string
	err error
}

func (e keyError) Error() string { return "key " + e.key + ": " + e.err.Error() }
func (e keyError) Unwrap() error { return e.err }
