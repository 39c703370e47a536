// Package signkey owns the key pairs with which the JWT bearer flow signs: how they are made, their certificates, and the
// private keys, which lie sealed until a link takes a copy among the credentials of its connection.
package signkey

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/config"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/store"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

const (
	// bucket is where keys are. Nobody else writes to it.
	bucket = "SIGNING_KEYS"
	// purpose binds a sealed private key to what it is.
	purpose = "signing_key"
	// bits is the length of the keys that are made.
	bits = 3072
	// life is how long a certificate is good for. Salesforce does not look, but tools that watch certificates do.
	life = 2 * 365 * 24 * time.Hour
	// UnusedLife is how long a key is kept that no connection uses.
	UnusedLife = 30 * 24 * time.Hour
	// maxUnused is how many keys a tenant may have that no connection uses.
	maxUnused = 20
	// maxName is the longest common name, which X.509 bounds.
	maxName = 64
)

// Key is a key pair without its private key.
type Key struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// Certificate is self-signed, PEM.
	Certificate string `json:"certificate"`
	// Fingerprint is the SHA-256 of the certificate, hex.
	Fingerprint string    `json:"fingerprint"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	// Connection uses the key; empty for none.
	Connection string `json:"connection,omitempty"`
}

// record is a key as it is stored.
type record struct {
	Key
	Sealed []byte `json:"sealed"`
}

// Store keeps signing keys. It is safe for concurrent use.
type Store struct {
	keys  *store.Bucket[record]
	vault *vault.Vault
}

// Open opens the bucket, making it where it is missing.
func Open(ctx context.Context, b *bus.Bus, v *vault.Vault) (*Store, error) {
	keys, err := store.Open[record](ctx, b, store.Config{Bucket: bucket, MaxBytes: 32 << 20})
	if err != nil {
		return nil, err
	}
	return &Store{keys: keys, vault: v}, nil
}

func label(k Key) vault.Label {
	return vault.Label{Purpose: purpose, Tenant: k.Tenant, Connection: k.ID, Version: 1}
}

// Create makes a key pair with a self-signed certificate of the common name; "catalogsync TENANT" where it is empty.
func (s *Store) Create(ctx context.Context, tenant, name string) (Key, error) {
	if name = strings.TrimSpace(name); name == "" {
		name = cut("catalogsync " + tenant)
	}
	if n := utf8.RuneCountInString(name); n > maxName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return Key{}, errs.New(errs.Invalid, "invalid_common_name", "common_name has %d characters: give at most %d, and none of them a control character", n, maxName)
	}
	old, err := s.List(ctx, tenant)
	if err != nil {
		return Key{}, err
	}
	unused := 0
	for _, k := range old {
		if k.Connection == "" {
			unused++
		}
	}
	if unused >= maxUnused {
		return Key{}, errs.New(errs.Exhausted, "too_many_keys", "tenant %s has %d signing keys that no connection uses: link with one of them; those that are not used go after 30 days", tenant, unused)
	}
	now := time.Now().UTC().Truncate(time.Second)
	k := Key{ID: "key_" + strings.ToLower(rand.Text()), Tenant: tenant, CreatedAt: now, ExpiresAt: now.Add(life)}
	private, err := k.generate(name)
	if err != nil {
		return Key{}, fmt.Errorf("make a signing key: %w", err)
	}
	sealed, err := s.vault.Seal(private, label(k))
	if err != nil {
		return Key{}, err
	}
	if _, err := s.keys.Create(ctx, store.Key(tenant, k.ID), record{k, sealed}); err != nil {
		return Key{}, fmt.Errorf("store signing key %s: %w", k.ID, err)
	}
	return k, nil
}

func cut(s string) string {
	runes := []rune(s)
	return string(runes[:min(len(runes), maxName)])
}

// generate makes the pair, fills in the certificate and returns the private key, PEM in PKCS 8.
func (k *Key) generate(name string) ([]byte, error) {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: k.CreatedAt.Add(-time.Hour), NotAfter: k.ExpiresAt, // an hour for clocks that are behind
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, SignatureAlgorithm: x509.SHA256WithRSA,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	k.Fingerprint = hex.EncodeToString(sum[:])
	k.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// List returns the tenant's keys, oldest first.
func (s *Store) List(ctx context.Context, tenant string) ([]Key, error) {
	entries, err := s.keys.List(ctx, store.Key(tenant))
	if err != nil {
		return nil, fmt.Errorf("list the signing keys of tenant %s: %w", tenant, err)
	}
	keys := make([]Key, 0, len(entries))
	for _, e := range entries {
		keys = append(keys, e.Value.Key)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return keys, nil
}

// Private opens the private key of the tenant's key, PEM in PKCS 8.
func (s *Store) Private(ctx context.Context, tenant, id string) (config.Secret, error) {
	rec, _, err := s.keys.Get(ctx, store.Key(tenant, id))
	if errors.Is(err, store.ErrNotFound) {
		return config.Secret{}, errs.New(errs.NotFound, "no_such_key", "tenant %s has no signing key %s: list the signing keys for their ids", tenant, id)
	}
	if err != nil {
		return config.Secret{}, fmt.Errorf("read signing key %s: %w", id, err)
	}
	plain, err := s.vault.Open(rec.Sealed, label(rec.Key))
	if err != nil {
		return config.Secret{}, errs.Wrap(err, errs.Internal, "key_unreadable", "signing key %s cannot be opened: it was changed outside this program or belongs to another key file", id)
	}
	return config.NewSecret(string(plain)), nil
}

// Use notes that the connection uses the tenant's key, or no key where id is empty, and deletes those that it used before.
func (s *Store) Use(ctx context.Context, tenant, id, connection string) error {
	err := s.delete(ctx, store.Key(tenant), func(k Key) bool { return k.Connection == connection && k.ID != id })
	if err != nil || id == "" {
		return err
	}
	_, err = s.keys.Update(ctx, store.Key(tenant, id), func(r record) (record, error) {
		if r.Connection == connection {
			return r, store.NoChange
		}
		r.Connection = connection
		return r, nil
	})
	if err != nil {
		return fmt.Errorf("note that connection %s uses signing key %s: %w", connection, id, err)
	}
	return nil
}

// Erase deletes the keys that the connection uses.
func (s *Store) Erase(ctx context.Context, tenant, connection string) error {
	return s.delete(ctx, store.Key(tenant), func(k Key) bool { return k.Connection == connection })
}

// Sweep deletes all keys that no connection has used for [UnusedLife] at the time now.
func (s *Store) Sweep(ctx context.Context, now time.Time) error {
	return s.delete(ctx, "", func(k Key) bool { return k.Connection == "" && now.Sub(k.CreatedAt) > UnusedLife })
}

func (s *Store) delete(ctx context.Context, prefix string, which func(Key) bool) error {
	entries, err := s.keys.List(ctx, prefix)
	if err != nil {
		return fmt.Errorf("list the signing keys: %w", err)
	}
	var failed error
	for _, e := range entries {
		if !which(e.Value.Key) {
			continue
		}
		// At its revision: whoever links with it meanwhile keeps it.
		if err := s.keys.Delete(ctx, e.Key, e.Revision); err != nil && !errors.Is(err, store.ErrConflict) {
			failed = errors.Join(failed, fmt.Errorf("delete signing key %s: %w", e.Value.ID, err))
		}
	}
	return failed
}
