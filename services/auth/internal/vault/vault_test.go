package vault_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// shelf keeps a key set in memory.
type shelf struct {
	mu  sync.Mutex
	set []byte
}

func (s *shelf) Load(context.Context) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.set), s.set != nil, nil
}

func (s *shelf) Create(_ context.Context, set []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set != nil {
		return false, nil
	}
	s.set = bytes.Clone(set)
	return true, nil
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
