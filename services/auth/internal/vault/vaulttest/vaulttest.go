// Package vaulttest owns what every key that wraps the key set must keep.
package vaulttest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/catalogsync/catalogsync/services/auth/internal/vault"
)

// Run tests a kind of key. open returns a key: the same one for the same name, as another process would open it.
func Run(t *testing.T, open func(t *testing.T, name string) vault.KeyEncrypter) {
	plain, label := bytes.Repeat([]byte("key set "), 512), []byte("label")
	encrypt := func(t *testing.T, k vault.KeyEncrypter) []byte {
		t.Helper()
		box, err := k.Encrypt(plain, label)
		if err != nil {
			t.Fatal(err)
		}
		return box
	}
	t.Run("what is encrypted opens in another process", func(t *testing.T) {
		t.Parallel()
		got, err := open(t, "one").Decrypt(encrypt(t, open(t, "one")), label)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("opened %d bytes, %v", len(got), err)
		}
	})
	t.Run("it shows nothing and is never the same", func(t *testing.T) {
		t.Parallel()
		k := open(t, "one")
		a, b := encrypt(t, k), encrypt(t, k)
		if bytes.Equal(a, b) || bytes.Contains(a, plain[:16]) {
			t.Error("equal values look alike, or can be read")
		}
	})
	t.Run("another key, label or ciphertext does not open", func(t *testing.T) {
		t.Parallel()
		k := open(t, "one")
		box := encrypt(t, k)
		if _, err := open(t, "two").Decrypt(box, label); err == nil {
			t.Error("it opened with another key")
		}
		for _, l := range [][]byte{nil, {}, []byte("other"), append(bytes.Clone(label), 0)} {
			if _, err := k.Decrypt(box, l); err == nil {
				t.Errorf("it opened with the label %q", l)
			}
		}
		for n := range len(box) {
			bad := bytes.Clone(box)
			bad[n] ^= 1
			if _, err := k.Decrypt(bad, label); err == nil {
				t.Fatalf("it opened with byte %d changed", n)
			}
		}
		for _, n := range []int{0, 1, len(box) / 2, len(box) - 1} {
			if _, err := k.Decrypt(box[:n], label); err == nil {
				t.Errorf("the first %d bytes opened", n)
			}
		}
	})
	t.Run("many at once", func(t *testing.T) {
		t.Parallel()
		k := open(t, "one")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 20 {
					want := fmt.Sprint(i, j)
					box, err := k.Encrypt([]byte(want), label)
					if err != nil {
						t.Error(err)
						return
					}
					if got, err := k.Decrypt(box, label); err != nil || string(got) != want {
						t.Errorf("opened %q, %v", got, err)
					}
				}
			})
		}
		wg.Wait()
	})
}
