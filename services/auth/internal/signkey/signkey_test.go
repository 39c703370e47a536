package signkey_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/auth/internal/connection"
	"github.com/catalogsync/catalogsync/services/auth/internal/oauth"
	"github.com/catalogsync/catalogsync/services/auth/internal/signkey"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

func open(t *testing.T, b *bus.Bus) *signkey.Store {
	t.Helper()
	sets, err := connection.OpenKeySets(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Load(t.Context(), sets, filepath.Join(t.TempDir(), "key"), true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := signkey.Open(t.Context(), b, v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func list(t *testing.T, s *signkey.Store, tenant string) (ids []string) {
	t.Helper()
	keys, err := s.List(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}

func TestAKeyAndItsCertificate(t *testing.T) {
	t.Parallel()
	b := testkit.Bus(t)
	s := open(t, b)
	k, err := s.Create(t.Context(), "acme", " ")
	if err != nil {
		t.Fatal(err)
	}
	private, err := s.Private(t.Context(), "acme", k.ID)
	if err != nil {
		t.Fatal(err)
	}
	key, err := oauth.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(k.Certificate))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(block.Bytes)
	if cert.Subject.CommonName != "catalogsync acme" || k.Fingerprint != hex.EncodeToString(sum[:]) || !cert.PublicKey.(*rsa.PublicKey).Equal(&key.PublicKey) ||
		cert.IsCA || cert.KeyUsage != x509.KeyUsageDigitalSignature || time.Until(cert.NotAfter) < 365*24*time.Hour || cert.NotBefore.After(time.Now()) {
		t.Errorf("certificate is %+v of key %+v", cert, k)
	}
	// The store holds the private key sealed, and nobody else's id opens it.
	m, err := b.Get(t.Context(), "KV_SIGNING_KEYS", "$KV.SIGNING_KEYS.acme."+k.ID)
	if err != nil || bytes.Contains(m.Data, []byte("PRIVATE")) || len(m.Data) == 0 {
		t.Errorf("stored: %d bytes, %v", len(m.Data), err)
	}
	for tenant, id := range map[string]string{"umbrella": k.ID, "acme": "key_x", "": k.ID} {
		if _, err := s.Private(t.Context(), tenant, id); errs.ReasonOf(err) != "no_such_key" {
			t.Errorf("tenant %q, key %s: %v", tenant, id, err)
		}
	}
	if _, err := s.Create(t.Context(), "acme", strings.Repeat("é", 65)); errs.ReasonOf(err) != "invalid_common_name" {
		t.Errorf("a long name: %v", err)
	}
	if _, err := s.Create(t.Context(), "acme", "a\nb"); errs.ReasonOf(err) != "invalid_common_name" {
		t.Errorf("a name of two lines: %v", err)
	}
	long, err := s.Create(t.Context(), strings.Repeat("t", 200), "")
	if err != nil || long.ID == k.ID {
		t.Errorf("a tenant with a long name: %v", err)
	}
}

func TestKeysGoWithTheirConnection(t *testing.T) {
	t.Parallel()
	s := open(t, testkit.Bus(t))
	var ids []string
	for range 3 {
		k, err := s.Create(t.Context(), "acme", "")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, k.ID)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Use(t.Context(), "acme", ids[0], "con_1"))
	must(s.Use(t.Context(), "acme", ids[0], "con_1")) // once more is the same
	must(s.Use(t.Context(), "acme", ids[1], "con_1")) // another takes its place
	if got := list(t, s, "acme"); len(got) != 2 || strings.Contains(strings.Join(got, " "), ids[0]) {
		t.Errorf("keys are %v of %v", got, ids)
	}
	must(s.Sweep(t.Context(), time.Now().Add(signkey.UnusedLife-time.Hour)))
	must(s.Erase(t.Context(), "umbrella", "con_1"))
	if got := list(t, s, "acme"); len(got) != 2 {
		t.Errorf("keys are %v", got)
	}
	must(s.Sweep(t.Context(), time.Now().Add(signkey.UnusedLife+time.Hour)))
	if got := list(t, s, "acme"); len(got) != 1 || got[0] != ids[1] {
		t.Errorf("after 30 days keys are %v, want the one in use", got)
	}
	must(s.Erase(t.Context(), "acme", "con_1"))
	if got := list(t, s, "acme"); len(got) != 0 {
		t.Errorf("keys are %v", got)
	}
	if err := s.Use(t.Context(), "acme", ids[1], "con_2"); err == nil {
		t.Error("a key that is gone is used")
	}
}
