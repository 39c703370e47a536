package testkit

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Encodings are the ways in which a secret may be written down, by name. Of base64 only the part is there that does not
// depend on what stands around the secret.
func Encodings(secret string) map[string][]byte {
	found := map[string][]byte{
		"plain": []byte(secret), "hex": []byte(hex.EncodeToString([]byte(secret))), "HEX": []byte(strings.ToUpper(hex.EncodeToString([]byte(secret)))),
		"query": []byte(url.QueryEscape(secret)), "path": []byte(url.PathEscape(secret)), "quoted": []byte(strings.Trim(fmt.Sprintf("%q", secret), `"`)),
	}
	for shift := range 3 {
		for name, enc := range map[string]*base64.Encoding{"base64": base64.StdEncoding, "base64url": base64.URLEncoding} {
			core := enc.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
			found[fmt.Sprintf("%s+%d", name, shift)] = []byte(core[4 : len(core)-4])
		}
	}
	return found
}

// Places are texts that are searched for secrets, by name.
type Places map[string][]byte

// AddFiles adds every file below a directory but those of the given names.
func (p Places) AddFiles(t testing.TB, dir string, but ...string) {
	t.Helper()
	n := len(p)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, name := range but {
			if d.Name() == name {
				return nil
			}
		}
		p[path], err = os.ReadFile(path)
		return err
	})
	if err != nil || len(p) == n {
		t.Fatalf("no files in %s: %v", dir, err)
	}
}

// Has reports whether any place holds the text: a search that finds nothing at all proves nothing.
func (p Places) Has(text string) bool {
	for _, content := range p {
		if bytes.Contains(content, []byte(text)) {
			return true
		}
	}
	return false
}

// MustLack fails the test for each place that holds one of the secrets in any encoding.
func (p Places) MustLack(t testing.TB, secrets map[string]string) {
	t.Helper()
	for what, secret := range secrets {
		if len(secret) < 12 {
			t.Fatalf("%s is too short to be searched for", what)
		}
		for enc, needle := range Encodings(secret) {
			for place, content := range p {
				if bytes.Contains(content, needle) {
					t.Errorf("%s holds %s as %s", place, what, enc)
				}
			}
		}
	}
}
