package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"golang.org/x/sync/errgroup"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// Buckets are all buckets with values that the vault has sealed. A rotation seals them anew wherever they stand in a
// record, so a bucket needs to do nothing but stand here.
//
// A BUCKET THAT IS MISSING HERE KEEPS VALUES THAT NOBODY CAN OPEN AFTER THE NEXT ROTATION. Whoever seals values into a new
// bucket adds it in the same change, and stores them as []byte fields of JSON records. A record may be replaced by a
// rotation at any time, with the same content: a write at its former revision fails with store.ErrConflict and is decided
// anew.
var Buckets = []string{"CREDENTIALS", "LINKS", "SIGNING_KEYS", "ACCESS_TOKENS", "DATA_KEYS"}

const (
	// chunk is after how many records the cursor is stored.
	chunk = 256
	// atOnce is how many records are sealed anew at once: the store takes hundreds of writes a second.
	atOnce = 16
	// settle is the default of Rotator.Settle.
	settle = 20 * time.Second
	// look is the default of Rotator.Look.
	look = 15 * time.Second
)

// Progress is how far a rotation has come.
type Progress struct {
	// Primary is the id of the key that seals.
	Primary uint32
	// Done of Total records are sealed by it.
	Done, Total int64
	// Retired are the ids of the keys that were deleted.
	Retired []uint32
}

// Rotator replaces the key that seals, while values are sealed and opened in any number of processes:
//
//  1. a new key is added to the set, and is known to every process that meets a value sealed by it;
//  2. it becomes the primary one. After Settle no process seals with another one;
//  3. every sealed value is sealed anew, by compare-and-set, until a pass finds none left;
//  4. the old keys are disabled, and a last pass makes sure that nothing needs them;
//  5. they are deleted.
//
// Each step is one compare-and-set of the key set, which itself says what the next one is: a rotation that was cut off
// anywhere goes on from there, and two that run at once do no harm.
type Rotator struct {
	Vault *Vault
	Bus   *bus.Bus
	Log   *slog.Logger
	// Settle is how long a value may be on its way to the store after it was sealed; 20 s when zero.
	Settle time.Duration
	// Look is how often [Rotator.Run] looks for a rotation that nobody works on; 15 s when zero.
	Look time.Duration
}

// Rotate replaces the key and returns when the old ones are deleted. With resumeOnly it only goes on with a rotation that
// was cut off. report is called at each step and some times a second in between; its error ends the rotation there.
func (r *Rotator) Rotate(ctx context.Context, resumeOnly bool, report func(Progress) error) error {
	var far Progress // passes begin anew; what is told does not
	tell := func(p Progress) error {
		far.Primary, far.Done, far.Total = p.Primary, max(far.Done, p.Done), max(far.Total, p.Total)
		return report(far)
	}
	for began := resumeOnly; ; began = true {
		if err := r.Vault.reload(ctx); err != nil {
			return err
		}
		s := r.Vault.state.Load()
		if len(s.keys()) == 1 && began {
			if err := r.Vault.sets.SaveCursor(ctx, Cursor{}); err != nil {
				return err
			}
			return tell(Progress{Primary: s.primary()})
		}
		step, gone, err := r.next(ctx, s, tell)
		if err != nil {
			return err
		}
		m := keyset.NewManagerFromHandle(s.handle)
		err = step(m)
		var handle *keyset.Handle
		if err == nil {
			handle, err = m.Handle()
		}
		if err != nil {
			return fmt.Errorf("change the key set: %w", err)
		}
		if err := r.change(ctx, s, handle); errors.Is(err, ErrRaced) {
			continue // another process works on it, too
		} else if err != nil {
			return err
		}
		far.Retired = append(far.Retired, gone...)
		if err := tell(Progress{Primary: handle.KeysetInfo().GetPrimaryKeyId()}); err != nil {
			return err
		}
	}
}

// next does what must be done before the next change of the key set, and returns that change with the keys that it
// deletes.
func (r *Rotator) next(ctx context.Context, s *state, report func(Progress) error) (step func(*keyset.Manager) error, gone []uint32, err error) {
	keys := s.keys()
	newest, enabled := keys[len(keys)-1].GetKeyId(), false
	var old []uint32
	for _, k := range keys[:len(keys)-1] {
		old = append(old, k.GetKeyId())
		enabled = enabled || k.GetStatus() == tinkpb.KeyStatusType_ENABLED
	}
	each := func(change func(uint32) error) error {
		for _, id := range old {
			if err := change(id); err != nil {
				return err
			}
		}
		return nil
	}
	switch {
	case len(old) == 0:
		return func(m *keyset.Manager) error {
			_, err := m.Add(aead.AES256GCMKeyTemplate())
			return err
		}, nil, nil
	case s.primary() != newest:
		return func(m *keyset.Manager) error { return m.SetPrimary(newest) }, nil, nil
	case enabled:
		if err := r.wait(ctx); err != nil {
			return nil, nil, err
		}
		if err := r.passes(ctx, newest, report); err != nil {
			return nil, nil, err
		}
		return func(m *keyset.Manager) error { return each(m.Disable) }, nil, nil
	}
	err = r.passes(ctx, newest, report)
	if errors.Is(err, errLeft) {
		r.Log.WarnContext(ctx, "a value turned up that only a disabled key opens; the key is enabled again", telemetry.Err(err))
		return func(m *keyset.Manager) error { return each(m.Enable) }, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return func(m *keyset.Manager) error { return each(m.Delete) }, old, nil
}

// passes goes through all values until none is left that the key has not sealed.
func (r *Rotator) passes(ctx context.Context, key uint32, report func(Progress) error) error {
	for {
		changed, err := r.pass(ctx, key, report)
		if err != nil || changed == 0 {
			return err
		}
	}
}

// change replaces the key set of s by another. Every wrap must be made anew, so this process needs every key.
func (r *Rotator) change(ctx context.Context, s *state, handle *keyset.Handle) error {
	v := r.Vault
	var wraps [][]byte
	for _, w := range s.wraps {
		i := slices.IndexFunc([]KeyEncrypter{v.opts.Key, v.opts.Previous}, func(kek KeyEncrypter) bool {
			if kek == nil {
				return false
			}
			_, err := unwrap(w, kek)
			return err == nil
		})
		if i < 0 {
			return errs.New(errs.Precondition, "key_file_changing", "the key file is being changed: start every auth process with the new one, and without the previous one, before the keys are rotated")
		}
		next, err := wrap(handle, []KeyEncrypter{v.opts.Key, v.opts.Previous}[i])
		if err != nil {
			return err
		}
		wraps = append(wraps, next)
	}
	return v.store(ctx, handle, wraps, s.revision)
}

// wait lets values land that were sealed before.
func (r *Rotator) wait(ctx context.Context) error {
	d := r.Settle
	if d <= 0 {
		d = settle
	}
	t := time.NewTimer(d + r.Vault.opts.Fresh)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait until nobody seals with the old key: %w", ctx.Err())
	}
}

// errLeft: a value is sealed by a key that is disabled in the set.
var errLeft = errors.New("sealed by a disabled key")

// pass goes once through all values, from the cursor on, and returns how many it has sealed anew.
func (r *Rotator) pass(ctx context.Context, key uint32, report func(Progress) error) (changed int64, err error) {
	at, err := r.Vault.sets.Cursor(ctx)
	if err != nil {
		return 0, err
	}
	if at.Key != key || !slices.Contains(Buckets, at.Bucket) {
		at = Cursor{Key: key, Bucket: Buckets[0]}
		for _, name := range Buckets {
			entries, err := r.entries(ctx, name)
			if err != nil {
				return 0, err
			}
			at.Total += int64(len(entries))
		}
	}
	whole := at.Done == 0
	for i := slices.Index(Buckets, at.Bucket); i < len(Buckets); i++ {
		if Buckets[i] != at.Bucket {
			at.Bucket, at.After = Buckets[i], ""
		}
		entries, err := r.entries(ctx, at.Bucket)
		if err != nil {
			return 0, err
		}
		for chunk := range slices.Chunk(slices.DeleteFunc(entries, func(e entry) bool { return e.Key <= at.After }), chunk) {
			n, err := r.seal(ctx, at.Bucket, chunk, key)
			if err != nil {
				return 0, err
			}
			changed += n
			at.After, at.Done = chunk[len(chunk)-1].Key, at.Done+int64(len(chunk))
			at.Total = max(at.Total, at.Done)
			if err := r.Vault.sets.SaveCursor(ctx, at); err != nil {
				return 0, err
			}
			if err := report(Progress{Primary: key, Done: at.Done, Total: at.Total}); err != nil {
				return 0, err
			}
		}
	}
	// The next pass begins at the first value.
	if err := r.Vault.sets.SaveCursor(ctx, Cursor{}); err != nil {
		return 0, err
	}
	if !whole {
		changed = max(changed, 1) // a pass that began in the middle proves nothing
	}
	return changed, nil
}

type entry = store.Entry[json.RawMessage]

func (r *Rotator) entries(ctx context.Context, bucket string) ([]entry, error) {
	entries, err := store.Existing[json.RawMessage](r.Bus, bucket).List(ctx, "")
	if errs.ReasonOf(err) == "no_stream" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list bucket %s: %w", bucket, err)
	}
	return entries, nil
}

// seal seals the values of some records anew and returns how many records it changed.
func (r *Rotator) seal(ctx context.Context, name string, entries []entry, key uint32) (int64, error) {
	bucket := store.Existing[json.RawMessage](r.Bus, name)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	changed := make([]bool, len(entries))
	for i, e := range entries {
		group.Go(func() error {
			_, err := bucket.Update(ctx, e.Key, func(record json.RawMessage) (json.RawMessage, error) {
				next, n, err := r.renew(record, key)
				if err == nil && n == 0 {
					err = store.NoChange
				}
				changed[i] = n > 0
				return next, err
			})
			if errors.Is(err, store.ErrNotFound) {
				changed[i] = false // deleted meanwhile
				return nil
			}
			if err != nil {
				return fmt.Errorf("seal %s in bucket %s anew: %w", e.Key, name, err)
			}
			return nil
		})
	}
	err := group.Wait()
	n := int64(0)
	for _, c := range changed {
		if c {
			n++
		}
	}
	return n, err
}

// renew returns a record with its sealed values sealed by the key, and how many that were.
func (r *Rotator) renew(record json.RawMessage, key uint32) (json.RawMessage, int, error) {
	n := 0
	for _, text := range sealedIn(record) {
		label, box, err := split(text.value)
		if err != nil {
			return nil, 0, err
		}
		if keyID(box) == key {
			continue
		}
		s := r.Vault.state.Load()
		if !s.knows(keyID(box)) {
			if slices.ContainsFunc(s.keys(), func(k *tinkpb.KeysetInfo_KeyInfo) bool { return k.GetKeyId() == keyID(box) }) {
				return nil, 0, errLeft
			}
		}
		plain, err := r.Vault.open(box, label)
		if err != nil {
			return nil, 0, errs.Wrap(err, errs.Precondition, "unreadable_value",
				"a sealed value cannot be opened: it was changed outside this program. The old keys stay until its record is deleted")
		}
		sealed, err := r.Vault.seal(r.Vault.state.Load(), plain, label)
		if err != nil {
			return nil, 0, err
		}
		record = bytes.Replace(record, []byte(text.encoded), []byte(base64.StdEncoding.EncodeToString(sealed)), 1)
		n++
	}
	return record, n, nil
}

// Run goes on with rotations that were cut off, until ctx ends. One that moves is somebody else's.
func (r *Rotator) Run(ctx context.Context) error {
	every := r.Look
	if every <= 0 {
		every = look
	}
	t := time.NewTicker(every)
	defer t.Stop()
	type sight struct {
		revision uint64
		cursor   Cursor
	}
	var last sight
	for {
		if err := r.Vault.reload(ctx); err == nil && len(r.Vault.state.Load().keys()) > 1 {
			at, cerr := r.Vault.sets.Cursor(ctx)
			now := sight{r.Vault.state.Load().revision, at}
			if cerr == nil && now == last {
				r.Log.InfoContext(ctx, "going on with a rotation of keys that was cut off")
				if err := r.Rotate(ctx, true, func(Progress) error { return nil }); err != nil && ctx.Err() == nil {
					r.Log.WarnContext(ctx, "rotation of keys not finished; it is tried again", telemetry.Err(err))
				}
			}
			last = now
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}
