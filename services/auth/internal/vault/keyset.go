package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// KeySets keeps the one key set.
type KeySets interface {
	// Load returns the key set, wrapped by each key that may open it, the newest last, and its revision; 0 when there is
	// none yet.
	Load(ctx context.Context) (wraps [][]byte, revision uint64, err error)
	// Store replaces the key set that is at the revision, 0 for none, and returns the new one. The error wraps ErrRaced
	// when it is at another.
	Store(ctx context.Context, wraps [][]byte, revision uint64) (uint64, error)
	// Watch yields whenever the key set may have changed, until ctx ends.
	Watch(ctx context.Context) iter.Seq2[uint64, error]
	// Cursor returns how far a rotation has come; the zero value when none is under way.
	Cursor(ctx context.Context) (Cursor, error)
	// SaveCursor stores it; the zero value deletes it.
	SaveCursor(ctx context.Context, c Cursor) error
}

// Cursor is how far a rotation has come with sealing values anew. A rotation that has lost it begins at the first value
// again and finds most of them sealed by the new key.
type Cursor struct {
	// Key is the id of the new key.
	Key uint32 `json:"key"`
	// Bucket is being worked on, and After is its last key that is done.
	Bucket string `json:"bucket"`
	After  string `json:"after"`
	// Done of Total records are sealed by the new key.
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

var (
	// ErrRaced: another process has changed the key set meanwhile.
	ErrRaced = errors.New("the key set was changed at the same time")
	// ErrWrongKey: the key set was wrapped by another key.
	ErrWrongKey = errors.New("the key set was wrapped by another key")
)

// state is the key set at one revision.
type state struct {
	handle   *keyset.Handle
	aead     tink.AEAD
	wraps    [][]byte
	revision uint64
	enabled  map[uint32]bool

	before *state // the one before, for values that were read before this one was in use
	since  time.Time
}

// knows reports whether values that were sealed by the key open.
func (s *state) knows(id uint32) bool { return s.enabled[id] }

// keys are the keys of the set, oldest first.
func (s *state) keys() []*tinkpb.KeysetInfo_KeyInfo { return s.handle.KeysetInfo().GetKeyInfo() }

func (s *state) primary() uint32 { return s.handle.KeysetInfo().GetPrimaryKeyId() }

// keyPrefix is the length of Tink's prefix, which is 1 and the id of the key.
const keyPrefix = 5

func keyID(box []byte) uint32 { return binary.BigEndian.Uint32(box[1:keyPrefix]) }

// keySetLabel binds the wrapped key set to what it is.
var keySetLabel = []byte("catalogsync key set v1")

func wrap(handle *keyset.Handle, kek KeyEncrypter) ([]byte, error) {
	var buf bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&buf), kek, keySetLabel); err != nil {
		return nil, fmt.Errorf("wrap the key set: %w", err)
	}
	return buf.Bytes(), nil
}

func unwrap(wrapped []byte, kek KeyEncrypter) (*keyset.Handle, error) {
	return keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(wrapped)), kek, keySetLabel)
}

// unwrapAny returns the key set and which of the wraps the key opens.
func unwrapAny(wraps [][]byte, kek KeyEncrypter) (*keyset.Handle, int, error) {
	problems := []error{ErrWrongKey}
	for i, w := range wraps {
		handle, err := unwrap(w, kek)
		if err == nil {
			return handle, i, nil
		}
		problems = append(problems, err)
	}
	return nil, 0, errors.Join(problems...)
}

func newState(handle *keyset.Handle, wraps [][]byte, revision uint64) (*state, error) {
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("use the key set: %w", err)
	}
	s := &state{handle: handle, aead: primitive, wraps: wraps, revision: revision, enabled: map[uint32]bool{}}
	for _, k := range s.keys() {
		s.enabled[k.GetKeyId()] = k.GetStatus() == tinkpb.KeyStatusType_ENABLED
	}
	return s, nil
}

// enter makes the key set known to a process that starts, and brings it under the process's own key.
func (v *Vault) enter(ctx context.Context) error {
	for {
		err := v.tryEnter(ctx)
		if !errors.Is(err, ErrRaced) {
			return err
		}
	}
}

func (v *Vault) tryEnter(ctx context.Context) error {
	wraps, revision, err := v.sets.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the key set: %w", err)
	}
	if revision == 0 {
		handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
		if err != nil {
			return fmt.Errorf("make a key set: %w", err)
		}
		return v.store(ctx, handle, nil, 0, v.opts.Key)
	}
	handle, i, err := unwrapAny(wraps, v.opts.Key)
	switch {
	case err == nil && v.opts.Previous == nil && i > 0:
		// The change to this key is over: processes with older keys were started with it meanwhile.
		v.opts.Log.InfoContext(ctx, "key set taken from the key before")
		return v.store(ctx, handle, wraps[i:], revision)
	case err == nil:
		return v.take(handle, wraps, revision)
	case v.opts.Previous == nil:
		return err
	}
	// Processes that have the previous key alone go on with its wrap.
	if handle, i, err = unwrapAny(wraps, v.opts.Previous); err != nil {
		return err
	}
	v.opts.Log.InfoContext(ctx, "key set wrapped by the new key")
	return v.store(ctx, handle, wraps[:i+1], revision, v.opts.Key)
}

// store replaces the key set by one that has the wraps and those that the keys make.
func (v *Vault) store(ctx context.Context, handle *keyset.Handle, wraps [][]byte, revision uint64, keys ...KeyEncrypter) error {
	for _, k := range keys {
		w, err := wrap(handle, k)
		if err != nil {
			return err
		}
		wraps = append(wraps[:len(wraps):len(wraps)], w)
	}
	revision, err := v.sets.Store(ctx, wraps, revision)
	if err != nil {
		return fmt.Errorf("store the key set: %w", err)
	}
	return v.take(handle, wraps, revision)
}

// take makes a key set the one in use, unless a newer one is.
func (v *Vault) take(handle *keyset.Handle, wraps [][]byte, revision uint64) error {
	s, err := newState(handle, wraps, revision)
	if err != nil {
		return err
	}
	now := time.Now()
	for {
		old := v.state.Load()
		if old != nil && old.revision >= revision {
			break
		}
		if old != nil {
			before := *old
			if now.Sub(old.since) > remember {
				before.before = nil
			}
			s.before, s.since = &before, now
		}
		if v.state.CompareAndSwap(old, s) {
			v.opts.Log.Debug("key set in use", slog.Uint64("primary_key", uint64(s.primary())), slog.Int("keys", len(s.keys())))
			break
		}
	}
	v.asked.Store(&now)
	return nil
}

// reload asks the store for the key set.
func (v *Vault) reload(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	asked := time.Now()
	wraps, revision, err := v.sets.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the key set: %w", err)
	}
	if revision == v.state.Load().revision {
		v.asked.Store(&asked)
		return nil
	}
	if revision == 0 {
		return errors.New("the key set is gone from the store: put back the data directory's backup")
	}
	for _, kek := range []KeyEncrypter{v.opts.Key, v.opts.Previous} {
		if kek == nil {
			continue
		}
		if handle, _, err := unwrapAny(wraps, kek); err == nil {
			return v.take(handle, wraps, revision)
		}
	}
	return ErrWrongKey
}
