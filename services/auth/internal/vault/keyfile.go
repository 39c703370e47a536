package vault

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
)

// KeyEncrypter is the key that wraps the key set: one in a file, see [ReadKeyFile], or one that a key management service
// holds. It is [github.com/tink-crypto/tink-go/v2/tink.AEAD], which the clients of such services offer; another one is
// given to [New] in its place.
//
// What is asked of it, and tested by the package vaulttest: Decrypt returns what was given to Encrypt of the same key, in
// another process too, when the associated data is the same, and an error, never other bytes, when the ciphertext, the
// associated data or the key is another. The same plaintext is encrypted differently each time. Values have a few
// kilobytes. Both are safe for concurrent use. They are called when a process starts and when the key set changes, not for
// every value, and may take seconds.
type KeyEncrypter interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

// keySize is the size of a key file's key: AES-256.
const keySize = 32

var errNoKey = errors.New("no key file")

// ReadKeyFile reads a key file: 32 bytes in base64.
func ReadKeyFile(path string) (KeyEncrypter, error) { return readKey(path) }

// readKey is ReadKeyFile; the error is errNoKey when there is none.
func readKey(path string) (KeyEncrypter, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("key file %s may be read by everybody (mode %#o): run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("key file %s does not hold %d bytes in base64", path, keySize)
	}
	return subtle.NewAESGCM(key)
}

// Files are the files with the keys that wrap the key set, and what else shapes a [Vault].
type Files struct {
	// Key is the file with the key. It is required.
	Key string
	// Previous is the file with the key that wrapped the key set until now, while it is being changed; empty otherwise.
	Previous string
	// Create makes the file Key where it is missing, but never beside a key set that another file wrapped.
	Create bool
	// Fresh and Log are as in [Options].
	Fresh time.Duration
	Log   *slog.Logger
}

// Load is [New] with the key in keyFile; see [Files].
func Load(ctx context.Context, sets KeySets, keyFile string, create bool) (*Vault, error) {
	return LoadFiles(ctx, sets, Files{Key: keyFile, Create: create})
}

// LoadFiles is [New] with keys in files.
func LoadFiles(ctx context.Context, sets KeySets, f Files) (*Vault, error) {
	kek, err := readKey(f.Key)
	if errors.Is(err, errNoKey) {
		_, revision, lerr := sets.Load(ctx)
		switch {
		case lerr != nil:
			return nil, fmt.Errorf("load the key set: %w", lerr)
		case revision > 0:
			return nil, fmt.Errorf("key file %s is missing, and what is stored can be opened with it alone: put it back from its backup", f.Key)
		case !f.Create:
			return nil, fmt.Errorf("key file %s is missing: make one with: (umask 077; openssl rand -base64 32 >%s)", f.Key, f.Key)
		}
		kek, err = createKey(f.Key)
	}
	if err != nil {
		return nil, err
	}
	o := Options{Key: kek, Fresh: f.Fresh, Log: f.Log}
	if f.Previous != "" {
		if o.Previous, err = readKey(f.Previous); errors.Is(err, errNoKey) {
			return nil, fmt.Errorf("the previous key file %s is missing: put it there, or leave it out when every process has been started with the new one", f.Previous)
		} else if err != nil {
			return nil, err
		}
	}
	v, err := New(ctx, sets, o)
	if errors.Is(err, ErrWrongKey) && f.Previous != "" {
		return nil, fmt.Errorf("neither key file %s nor the previous one %s has wrapped the stored key set: put back the file that belongs to this data", f.Key, f.Previous)
	}
	if errors.Is(err, ErrWrongKey) {
		return nil, fmt.Errorf("key file %s is not the one that wrapped the stored key set: put back the file that belongs to this data", f.Key)
	}
	return v, err
}

// createKey makes a key file that its owner alone may read. It is on the disk, under its name, before it is used: a
// key set wrapped by a key that a crash took away would be lost. When another process makes the file at the same time,
// that one counts.
func createKey(path string) (KeyEncrypter, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	if err := writeKey(path, base64.StdEncoding.EncodeToString(key)+"\n"); err != nil {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	return readKey(path)
}

func writeKey(path, text string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".key-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // the link stays
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// A link appears whole or not at all, and never replaces a key that is there.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
