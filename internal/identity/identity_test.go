package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/bus/policy"
	"github.com/catalogsync/catalogsync/internal/identity"
	"github.com/catalogsync/catalogsync/internal/rpc"
)

func make2(t *testing.T, dir string, o identity.Options) []string {
	t.Helper()
	wrote, err := identity.Make(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return wrote
}

func TestMake(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "secrets")
	first := make2(t, dir, identity.Options{})
	if len(first) != 2+2*6+6+1 {
		t.Errorf("wrote %v", first)
	}
	ca, err := os.ReadFile(filepath.Join(dir, identity.AuthorityCert))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, name := range append(slices.Clone(policy.Services), identity.NATSServer) {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, identity.Cert(name)), filepath.Join(dir, identity.Key(name)))
		if err != nil {
			t.Fatal(err)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, other := range policy.Services {
			if err := pair.Leaf.VerifyHostname(other); (err == nil) != (other == name) {
				t.Errorf("the certificate of %s as %s: %v", name, other, err)
			}
		}
		if err := pair.Leaf.VerifyHostname("localhost"); (err == nil) != (name == "gateway") {
			t.Errorf("the certificate of %s as localhost: %v", name, err)
		}
		if name == identity.NATSServer {
			continue
		}
		f := rpc.TLSFiles{Cert: filepath.Join(dir, identity.Cert(name)), Key: filepath.Join(dir, identity.Key(name)), CA: filepath.Join(dir, identity.AuthorityCert)}
		if _, err := f.Client(); err != nil {
			t.Error(err)
		}
	}
	for _, f := range first {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
	if again := make2(t, dir, identity.Options{}); len(again) > 0 {
		t.Errorf("what was good was made anew: %v", again)
	}
	if err := os.Remove(filepath.Join(dir, identity.NKey("auth"))); err != nil {
		t.Fatal(err)
	}
	if again := make2(t, dir, identity.Options{}); !slices.Equal(again, []string{"auth.nk", identity.NATSUsers}) {
		t.Errorf("after a key was removed: %v", again)
	}
	if again := make2(t, dir, identity.Options{GatewayHosts: []string{"sync.example.com", "10.1.2.3"}}); !slices.Equal(again, []string{"gateway-key.pem", "gateway.pem"}) {
		t.Errorf("with another name of the gateway: %v", again)
	}
	if again := make2(t, dir, identity.Options{GatewayHosts: []string{"sync.example.com", "10.1.2.3"}, Now: time.Now().Add(300 * 24 * time.Hour)}); len(again) != 12 {
		t.Errorf("before the certificates end: %v", again)
	}
}

func TestWhatCannotBeUsedIsNamed(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(dir string) error{
		identity.AuthorityKey:  func(dir string) error { return os.Remove(filepath.Join(dir, identity.AuthorityKey)) },
		identity.AuthorityCert: func(dir string) error { return os.Remove(filepath.Join(dir, identity.AuthorityCert)) },
		"holds no PEM":         func(dir string) error { return os.WriteFile(filepath.Join(dir, "auth.pem"), []byte("x"), 0o600) },
		"mapper.nk":            func(dir string) error { return os.WriteFile(filepath.Join(dir, "mapper.nk"), []byte("x"), 0o600) },
		"is not the key of": func(dir string) error {
			key, err := os.ReadFile(filepath.Join(dir, "auth-key.pem"))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, identity.AuthorityKey), key, 0o600)
		},
	} {
		dir := t.TempDir()
		make2(t, dir, identity.Options{})
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := identity.Make(dir, identity.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to say %q", err, want)
		}
	}
}
