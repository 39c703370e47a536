package vault_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"

	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
	"github.com/catalogsync/catalogsync/services/auth/internal/vault/vaulttest"
)

// shelf keeps a key set in memory.
type shelf struct {
	mu       sync.Mutex
	wraps    [][]byte
	revision uint64
	cursor   vault.Cursor
}

func (s *shelf) Load(context.Context) ([][]byte, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wraps), s.revision, nil
}

func (s *shelf) Store(_ context.Context, wraps [][]byte, revision uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revision != revision {
		return 0, vault.ErrRaced
	}
	s.wraps, s.revision = slices.Clone(wraps), revision+1
	return s.revision, nil
}

func (s *shelf) Watch(context.Context) iter.Seq2[uint64, error] {
	return func(func(uint64, error) bool) {}
}

func (s *shelf) Cursor(context.Context) (vault.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor, nil
}

func (s *shelf) SaveCursor(_ context.Context, c vault.Cursor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor = c
	return nil
}

func open(t *testing.T, s *shelf, file string) *vault.Vault {
	t.Helper()
	v, err := vault.Load(t.Context(), s, file, true)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var (
	plain = []byte(`{"client_secret":"canary-7f3a"}`)
	label = vault.Label{Purpose: "client_credentials", Tenant: "acme", Connection: "con_1", Version: 3}
)

func seal(t *testing.T, v *vault.Vault) []byte {
	t.Helper()
	sealed, err := v.Seal(plain, label)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealedValuesOpenAfterRestart(t *testing.T) {
	t.Parallel()
	s, file := &shelf{}, filepath.Join(t.TempDir(), "new", "key")
	sealed := seal(t, open(t, s, file))
	if bytes.Contains(sealed, []byte("canary")) {
		t.Error("the sealed value shows its content")
	}
	got, err := open(t, s, file).Open(sealed, label)
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("opened %q, %v", got, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file has mode %v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the key file lie %v, %v", left, err)
	}
}

func TestEveryBitCounts(t *testing.T) {
	t.Parallel()
	v := open(t, &shelf{}, filepath.Join(t.TempDir(), "key"))
	sealed := seal(t, v)
	for i := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := v.Open(bad, label); err == nil {
			t.Fatalf("bit %d was flipped and the value opened", i)
		}
	}
	for n := range len(sealed) {
		if _, err := v.Open(sealed[:n], label); err == nil {
			t.Fatalf("the first %d bytes alone opened", n)
		}
	}
}

func TestSealedValuesDoNotMove(t *testing.T) {
	t.Parallel()
	v := open(t, &shelf{}, filepath.Join(t.TempDir(), "key"))
	sealed := seal(t, v)
	for name, l := range map[string]vault.Label{
		"another purpose":             {"refresh_token", "acme", "con_1", 3},
		"another tenant":              {"client_credentials", "umbrella", "con_1", 3},
		"another connection":          {"client_credentials", "acme", "con_2", 3},
		"an older version":            {"client_credentials", "acme", "con_1", 2},
		"fields cut at another place": {"client_credentials", "acmecon_1", "", 3},
		"nothing":                     {},
	} {
		if _, err := v.Open(sealed, l); err == nil {
			t.Errorf("the value opened for %s", name)
		}
	}
}

// TestSwapsAreRefused puts every value in the place of every other one, with and without the label that stands beside it.
func TestSwapsAreRefused(t *testing.T) {
	t.Parallel()
	v := open(t, &shelf{}, filepath.Join(t.TempDir(), "key"))
	var labels []vault.Label
	var boxes [][]byte
	for _, purpose := range []string{"web_server", "signing_key", "data_key"} {
		for _, tenant := range []string{"acme", "umbrella", ""} {
			for _, connection := range []string{"con_1", "con_2", ""} {
				for _, version := range []int64{1, 2, 1 << 40} {
					l := vault.Label{Purpose: purpose, Tenant: tenant, Connection: connection, Version: version}
					box, err := v.Seal(plain, l)
					if err != nil {
						t.Fatal(err)
					}
					labels, boxes = append(labels, l), append(boxes, box)
				}
			}
		}
	}
	const ciphertext = 12 + 16 + 5 // nonce, tag and prefix
	body := func(box []byte) []byte { return box[len(box)-ciphertext-len(plain):] }
	for i, l := range labels {
		for j, box := range boxes {
			forged := append(bytes.Clone(boxes[i][:len(boxes[i])-len(body(boxes[i]))]), body(box)...)
			_, err := v.Open(box, l)
			_, ferr := v.Open(forged, l)
			if i != j && (err == nil || ferr == nil) {
				t.Errorf("the value of %+v opened as %+v: %v, %v", labels[j], l, err, ferr)
			}
			if i == j && (err != nil || ferr != nil) {
				t.Errorf("the value of %+v does not open: %v, %v", l, err, ferr)
			}
		}
	}
}

// TestKinds tests the kinds of keys that wrap the key set: a file, and what a key management service looks like.
func TestKinds(t *testing.T) {
	t.Parallel()
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		for _, name := range []string{"one", "two"} {
			text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(name)[:1], 32))
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		vaulttest.Run(t, func(t *testing.T, name string) vault.KeyEncrypter {
			k, err := vault.ReadKeyFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			return k
		})
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		vaulttest.Run(t, func(t *testing.T, name string) vault.KeyEncrypter { return service(t, name) })
	})
}

// service is a key management service in memory.
func service(t *testing.T, name string) vault.KeyEncrypter {
	t.Helper()
	k, err := subtle.NewXChaCha20Poly1305(bytes.Repeat([]byte(name)[:1], 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestTheKeyMayBeAnyKind wraps the key set without a file.
func TestTheKeyMayBeAnyKind(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	sealed := seal(t, start(t, s, vault.Options{Key: service(t, "one")}))
	if got, err := start(t, s, vault.Options{Key: service(t, "one")}).Open(sealed, label); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("opened %q, %v", got, err)
	}
	if _, err := vault.New(t.Context(), s, vault.Options{Key: service(t, "two")}); !errors.Is(err, vault.ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
}

func start(t *testing.T, s *shelf, o vault.Options) *vault.Vault {
	t.Helper()
	v, err := vault.New(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTheKeyThatWrapsIsReplaced goes through a change of the key, one process after the other, and crashes in between.
func TestTheKeyThatWrapsIsReplaced(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	old, next := service(t, "old"), service(t, "new")
	opens := func(v *vault.Vault, sealed []byte) {
		t.Helper()
		if got, err := v.Open(sealed, label); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("opened %q, %v", got, err)
		}
	}
	first := start(t, s, vault.Options{Key: old})
	sealed := seal(t, first)
	second := start(t, s, vault.Options{Key: next, Previous: old})
	opens(second, sealed)
	// The first process crashes and starts as it was; the new wrap stays.
	first = start(t, s, vault.Options{Key: old})
	opens(first, sealed)
	opens(first, seal(t, second))
	opens(start(t, s, vault.Options{Key: next, Previous: old}), sealed)
	if len(s.wraps) != 2 {
		t.Errorf("the key set is wrapped %d times, want once by each key", len(s.wraps))
	}
	// All have the new key; the first start without the old one takes the old wrap away.
	opens(start(t, s, vault.Options{Key: next}), sealed)
	if len(s.wraps) != 1 {
		t.Errorf("the key set is wrapped %d times", len(s.wraps))
	}
	if _, err := vault.New(t.Context(), s, vault.Options{Key: old}); !errors.Is(err, vault.ErrWrongKey) {
		t.Errorf("with the old key: %v", err)
	}
	if _, err := vault.New(t.Context(), s, vault.Options{Key: service(t, "x"), Previous: old}); !errors.Is(err, vault.ErrWrongKey) {
		t.Errorf("with keys that are not known: %v", err)
	}
	opens(start(t, s, vault.Options{Key: old, Previous: next}), sealed) // and back
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	used := &shelf{}
	open(t, used, filepath.Join(dir, "first"))

	for name, tc := range map[string]struct {
		set    *shelf
		file   string
		create bool
		want   string
	}{
		"missing, may not be made":        {&shelf{}, filepath.Join(dir, "none"), false, "openssl rand -base64 32"},
		"missing beside stored keys":      {used, filepath.Join(dir, "none"), true, "put it back"},
		"of other data":                   {used, write("other", key, 0o600), true, "not the one"},
		"readable by everybody":           {&shelf{}, write("open", key, 0o604), true, "chmod 600"},
		"too short":                       {&shelf{}, write("short", "YWJj\n", 0o600), true, "32 bytes"},
		"no base64":                       {&shelf{}, write("text", "correct horse battery staple", 0o600), true, "32 bytes"},
		"a directory, and so no key file": {&shelf{}, dir, true, "key file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := vault.Load(t.Context(), tc.set, tc.file, tc.create)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want it to say %q", err, tc.want)
			}
		})
	}
	if _, err := vault.Load(t.Context(), &shelf{}, write("group", key+"\n", 0o640), false); err != nil {
		t.Errorf("a key file that the group may read: %v", err)
	}
}

func TestFirstStartsAtOnce(t *testing.T) {
	t.Parallel()
	s, file := &shelf{}, filepath.Join(t.TempDir(), "key")
	vaults := make([]*vault.Vault, 8)
	var wg sync.WaitGroup
	for i := range vaults {
		wg.Go(func() {
			v, err := vault.Load(context.Background(), s, file, true)
			if err != nil {
				t.Error(err)
			}
			vaults[i] = v
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed := seal(t, vaults[0])
	for i, v := range vaults {
		if _, err := v.Open(sealed, label); err != nil {
			t.Errorf("process %d cannot open what process 0 sealed: %v", i, err)
		}
	}
}

func TestTheKeyFileIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, next, other := filepath.Join(dir, "old"), filepath.Join(dir, "new"), filepath.Join(dir, "other")
	s := &shelf{}
	sealed := seal(t, open(t, s, old))
	open(t, &shelf{}, next)
	open(t, &shelf{}, other)
	load := func(f vault.Files) error {
		v, err := vault.LoadFiles(t.Context(), s, f)
		if err == nil {
			_, err = v.Open(sealed, label)
		}
		return err
	}
	for _, tc := range []struct {
		f    vault.Files
		want string // in the error; empty: none
	}{
		{vault.Files{Key: next}, "is not the one that wrapped"},
		{vault.Files{Key: next, Previous: other}, "neither key file"},
		{vault.Files{Key: next, Previous: filepath.Join(dir, "none")}, "the previous key file"},
		{vault.Files{Key: next, Previous: old}, ""},
		{vault.Files{Key: old}, ""}, // a process that was not started anew yet
		{vault.Files{Key: next}, ""},
		{vault.Files{Key: old}, "is not the one that wrapped"},
	} {
		err := load(tc.f)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("with %+v the error is %v, want %q", tc.f, err, tc.want)
		}
	}
}
