// Package vault owns the encryption of credentials at rest.
//
// A key set of Tink seals them; the key set is kept wrapped by a key that lives in a file of its own, so that neither
// the store nor the file alone opens anything. What a sealed value is for is bound to it: a value moved to another
// tenant, connection, purpose or version does not open.
package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Label says what a sealed value is for. It is authenticated, not stored.
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

// Vault seals and opens. It is safe for concurrent use.
type Vault struct{ aead tink.AEAD }

// Seal encrypts plain for the label.
func (v *Vault) Seal(plain []byte, l Label) ([]byte, error) {
	sealed, err := v.aead.Encrypt(plain, l.associatedData())
	if err != nil {
		return nil, fmt.Errorf("seal %s of connection %s: %w", l.Purpose, l.Connection, err)
	}
	return sealed, nil
}

// Open decrypts what [Vault.Seal] made for the same label.
func (v *Vault) Open(sealed []byte, l Label) ([]byte, error) {
	plain, err := v.aead.Decrypt(sealed, l.associatedData())
	if err != nil {
		return nil, fmt.Errorf("open %s of connection %s, version %d: %w", l.Purpose, l.Connection, l.Version, err)
	}
	return plain, nil
}

// KeySets keeps the one wrapped key set.
type KeySets interface {
	// Load returns it; found is false when there is none yet.
	Load(ctx context.Context) (wrapped []byte, found bool, err error)
	// Create stores it; created is false when there is one already.
	Create(ctx context.Context, wrapped []byte) (created bool, err error)
}

// Load opens the key set with the key in keyFile, making the key set when there is none. Where create is set it makes
// the file too, but never beside a key set that another file wrapped.
func Load(ctx context.Context, sets KeySets, keyFile string, create bool) (*Vault, error) {
	wrapped, found, err := sets.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the key set: %w", err)
	}
	kek, err := readKey(keyFile)
	if errors.Is(err, errNoKey) {
		switch {
		case found:
			return nil, fmt.Errorf("key file %s is missing, and stored credentials can be opened with it alone: put it back from its backup", keyFile)
		case !create:
			return nil, fmt.Errorf("key file %s is missing: make one with: (umask 077; openssl rand -base64 32 >%s)", keyFile, keyFile)
		}
		kek, err = createKey(keyFile)
	}
	if err != nil {
		return nil, err
	}
	if !found {
		if wrapped, err = newKeySet(ctx, sets, kek); err != nil {
			return nil, err
		}
	}
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(wrapped)), kek, keySetLabel)
	if err != nil {
		return nil, fmt.Errorf("key file %s is not the one that wrapped the stored key set: put back the file that belongs to this data", keyFile)
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("use the key set: %w", err)
	}
	return &Vault{aead: primitive}, nil
}

// keySetLabel binds the wrapped key set to what it is.
var keySetLabel = []byte("catalogsync key set v1")

// newKeySet stores a fresh key set and returns the one that is stored: another process may have been faster.
func newKeySet(ctx context.Context, sets KeySets, kek tink.AEAD) ([]byte, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make a key set: %w", err)
	}
	var buf bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&buf), kek, keySetLabel); err != nil {
		return nil, fmt.Errorf("wrap the key set: %w", err)
	}
	created, err := sets.Create(ctx, buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("store the key set: %w", err)
	}
	if created {
		return buf.Bytes(), nil
	}
	wrapped, found, err := sets.Load(ctx)
	if err != nil || !found {
		return nil, fmt.Errorf("load the key set that another process made (found: %v): %w", found, err)
	}
	return wrapped, nil
}
