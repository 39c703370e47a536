package store

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
)

// Headers of the key-value convention, and the one with which the server marks what expired by age.
const (
	headerOperation = "KV-Operation"
	operationPurge  = "PURGE"
	operationDelete = "DEL"
	headerMarker    = "Nats-Marker-Reason"
)

// reasonUnreadable marks values that are not of the bucket's type.
const reasonUnreadable = "unreadable_value"

// decode reads an entry from a stored message. After an error the entry has its key and revision.
func (s *Bucket[T]) decode(m *bus.Message) (Entry[T], error) {
	e := Entry[T]{Key: strings.TrimPrefix(m.Subject, s.prefix), Revision: m.Seq, Created: m.Time}
	op := m.Header[headerOperation]
	if op == operationPurge || op == operationDelete || m.Header[headerMarker] != "" {
		e.Deleted = true
		return e, nil
	}
	if err := json.Unmarshal(m.Data, &e.Value); err != nil {
		var zero T
		e.Value = zero
		return e, errs.Wrap(keyError{e.Key, err}, errs.Internal, reasonUnreadable, "a value in %s cannot be read", s.name)
	}
	return e, nil
}

// filter returns the pattern of the subjects below a prefix of keys.
func (s *Bucket[T]) filter(prefix string) (string, error) {
	if prefix == "" {
		return s.prefix + ">", nil
	}
	if err := check(prefix); err != nil {
		return "", err
	}
	return s.prefix + prefix + ".>", nil
}

// List returns the entries whose key begins with the prefix and has more parts, sorted by key; an empty prefix is for
// all. All of them are in memory at once. It fails when a value cannot be read.
func (s *Bucket[T]) List(ctx context.Context, prefix string) ([]Entry[T], error) {
	filter, err := s.filter(prefix)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		entries, err := s.list(ctx, filter)
		if err == nil {
			return entries, nil
		}
		if errs.KindOf(err) != errs.Unavailable || closed(err) || ctx.Err() != nil || try == maxTries {
			return nil, err
		}
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
	}
}

func (s *Bucket[T]) list(ctx context.Context, filter string) ([]Entry[T], error) {
	last := map[string]Entry[T]{} // a key that changes meanwhile comes twice
	for m, err := range s.bus.Follow(ctx, s.stream, filter) {
		if err != nil {
			return nil, err
		}
		if m == nil {
			break
		}
		e, err := s.decode(m)
		if err != nil {
			return nil, err
		}
		last[e.Key] = e
	}
	entries := make([]Entry[T], 0, len(last))
	for _, e := range last {
		if !e.Deleted {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b Entry[T]) int { return strings.Compare(a.Key, b.Key) })
	return entries, nil
}

// Watch yields the entries below the prefix, as [Bucket.List] does but in no order, and then every change, until ctx
// ends. After an interruption it compares with what is stored, so that in the end nothing is missed, a deletion included;
// of a key that changes quickly, revisions in between may be left out. It serves caches: a change may arrive late.
//
// A value that cannot be read is yielded as an error with its key and revision, and watching goes on. After a wrong prefix
// and when the bus is closed, it ends with an error.
func (s *Bucket[T]) Watch(ctx context.Context, prefix string) iter.Seq2[Entry[T], error] {
	return func(yield func(Entry[T], error) bool) {
		filter, err := s.filter(prefix)
		if err != nil {
			yield(Entry[T]{}, err)
			return
		}
		w := watch[T]{bucket: s, known: map[string]uint64{}, yield: yield}
		for try := 1; ctx.Err() == nil; try++ {
			seen, goOn := w.session(ctx, filter)
			if !goOn {
				return
			}
			if seen {
				try = 1
			}
			_ = pause(ctx, try) // when it fails, ctx has ended
		}
	}
}

// closed reports whether an error says that the bus is closed for good.
func closed(err error) bool { return err != nil && errs.ReasonOf(err) == "bus_closed" }

// watch is one running [Bucket.Watch].
type watch[T any] struct {
	bucket *Bucket[T]
	known  map[string]uint64 // revisions of the keys that were yielded and not deleted
	yield  func(Entry[T], error) bool
}

// session follows the bucket until it is interrupted. goOn is false when the caller wants no more, seen is true when it
// came as far as to know all keys.
func (w *watch[T]) session(ctx context.Context, filter string) (seen, goOn bool) {
	present := map[string]bool{}
	for m, err := range w.bucket.bus.Follow(ctx, w.bucket.stream, filter) {
		switch {
		case closed(err):
			w.yield(Entry[T]{}, err)
			return seen, false
		case err != nil:
			return seen, true
		case m == nil:
			seen = true
			if !w.vanished(present) {
				return seen, false
			}
			present = nil
		default:
			e, err := w.bucket.decode(m)
			if present != nil && !e.Deleted {
				present[e.Key] = true
			}
			if !w.change(e, err) {
				return seen, false
			}
		}
	}
	return seen, true
}

// change yields an entry unless it is known.
func (w *watch[T]) change(e Entry[T], err error) bool {
	rev, known := w.known[e.Key]
	switch {
	case known && rev >= e.Revision:
		return true
	case e.Deleted && !known:
		return true
	case e.Deleted:
		delete(w.known, e.Key)
	default:
		w.known[e.Key] = e.Revision
	}
	return w.yield(e, err)
}

// vanished yields the deletion of keys that are known and no longer there.
func (w *watch[T]) vanished(present map[string]bool) bool {
	for key, rev := range w.known {
		if present[key] {
			continue
		}
		delete(w.known, key)
		if !w.yield(Entry[T]{Key: key, Revision: rev, Created: time.Time{}, Deleted: true}, nil) {
			return false
		}
	}
	return true
}
