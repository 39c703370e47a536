// Package vault owns the encryption of what auth keeps: credentials, keys and tokens.
//
// A key set of Tink seals them; the key set is kept wrapped by a key that lies apart, see [KeyEncrypter], so that neither
// the store nor that key alone opens anything. What a sealed value is for is bound to it: a value moved to another
// tenant, connection, purpose or version does not open.
//
// Invariant: a value that was sealed under a key of the set opens in every process until no such value is left; see
// [Rotator].
package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catalogsync/catalogsync/internal/telemetry"
)

// Label says what a sealed value is for. It is authenticated, and stands beside the value so that it can be sealed anew.
type Label struct {
	Purpose    string
	Tenant     string
	Connection string
	Version    int64
}

// associatedData is v1 | purpose | tenant | connection | version, each with its length before it, so that no two labels
// make the same bytes.
func (l Label) associatedData() []byte {
	var b []byte
	for _, part := range []string{"v1", l.Purpose, l.Tenant, l.Connection} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	b = binary.BigEndian.AppendUint32(b, 8)
	return binary.BigEndian.AppendUint64(b, uint64(l.Version))
}

// Options shape a [Vault]. The zero value of what is not required is fine.
type Options struct {
	// Key wraps the key set. It is required.
	Key KeyEncrypter
	// Previous wrapped the key set until now: it is wrapped by Key from now on.
	Previous KeyEncrypter
	// Fresh is how long a process seals without asking whether the key set has changed; 5 s.
	Fresh time.Duration
	// Log receives changes of the key set; nothing is logged when nil.
	Log *slog.Logger
}

// Vault seals and opens. It is safe for concurrent use.
type Vault struct {
	sets  KeySets
	opts  Options
	state atomic.Pointer[state]
	asked atomic.Pointer[time.Time] // when the store last said that state is current
	mu    sync.Mutex                // held while the key set is loaded
}

const (
	// fresh is the default of Options.Fresh.
	fresh = 5 * time.Second
	// remember is how long keys that were taken away open what was read before they were.
	remember = 5 * time.Minute
	// patience bounds asking the store for the key set while somebody waits for a value.
	patience = 5 * time.Second
)

// New opens the key set, making it when there is none. The error wraps [ErrWrongKey] when it was wrapped by another key.
func New(ctx context.Context, sets KeySets, o Options) (*Vault, error) {
	if o.Fresh <= 0 {
		o.Fresh = fresh
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	v := &Vault{sets: sets, opts: o}
	if err := v.enter(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// magic begins every sealed value: then come the length of the associated data, that, and Tink's ciphertext.
var magic = []byte{0xC5, 0x5E, 0xA1, 0x01}

// Seal encrypts plain for the label.
func (v *Vault) Seal(plain []byte, l Label) ([]byte, error) {
	sealed, err := v.seal(v.current(), plain, l.associatedData())
	if err != nil {
		return nil, fmt.Errorf("seal %s of connection %s: %w", l.Purpose, l.Connection, err)
	}
	return sealed, nil
}

func (v *Vault) seal(s *state, plain, label []byte) ([]byte, error) {
	box, err := s.aead.Encrypt(plain, label)
	if err != nil {
		return nil, err
	}
	b := append(bytes.Clone(magic), 0, 0)
	binary.BigEndian.PutUint16(b[len(magic):], uint16(len(label)))
	if len(label) > 1<<16-1 {
		return nil, errors.New("the label is too long")
	}
	return append(append(b, label...), box...), nil
}

// current is the state to seal with. A process that seals with a key that is on its way out would write values that
// nobody can open when it has gone; so what was confirmed a while ago is confirmed anew. When the store does not answer,
// the value can hardly be stored either, and what is known goes on.
func (v *Vault) current() *state {
	if time.Since(*v.asked.Load()) > v.opts.Fresh {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := v.reload(ctx); err != nil {
			v.opts.Log.Warn("key set not confirmed", telemetry.Err(err))
		}
	}
	return v.state.Load()
}

var (
	errNotSealed  = errors.New("this is no sealed value")
	errOtherLabel = errors.New("the value was sealed for something else")
)

// split takes a sealed value apart.
func split(sealed []byte) (label, box []byte, err error) {
	rest, ok := bytes.CutPrefix(sealed, magic)
	if !ok || len(rest) < 2 {
		return nil, nil, errNotSealed
	}
	n := int(binary.BigEndian.Uint16(rest))
	if rest = rest[2:]; len(rest) < n+keyPrefix {
		return nil, nil, errNotSealed
	}
	return rest[:n], rest[n:], nil
}

// Open decrypts what [Vault.Seal] made for the same label.
func (v *Vault) Open(sealed []byte, l Label) ([]byte, error) {
	label, box, err := split(sealed)
	if err == nil && !bytes.Equal(label, l.associatedData()) {
		err = errOtherLabel
	}
	var plain []byte
	if err == nil {
		plain, err = v.open(box, label)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s of connection %s, version %d: %w", l.Purpose, l.Connection, l.Version, err)
	}
	return plain, nil
}

func (v *Vault) open(box, label []byte) ([]byte, error) {
	id := keyID(box)
	s := v.state.Load()
	if !s.knows(id) {
		// Sealed by a process that saw the new key first.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := v.reload(ctx); err != nil {
			return nil, err
		}
		s = v.state.Load()
	}
	for s != nil {
		if s.knows(id) {
			return s.aead.Decrypt(box, label)
		}
		if time.Since(s.since) > remember {
			break
		}
		s = s.before
	}
	return nil, fmt.Errorf("it was sealed by key %d, which is not in the key set", id)
}

// Run keeps up with the key set until ctx ends.
func (v *Vault) Run(ctx context.Context) error {
	for _, err := range v.sets.Watch(ctx) {
		if err == nil {
			err = v.reload(ctx)
		}
		if err != nil && ctx.Err() == nil {
			v.opts.Log.WarnContext(ctx, "key set not loaded", telemetry.Err(err))
		}
	}
	return nil
}
