package rpc_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

func files(t *testing.T, a *testkit.Authority, name string) rpc.TLSFiles {
	t.Helper()
	cert, key := a.Issue(t, name)
	return rpc.TLSFiles{Cert: cert, Key: key, CA: a.File}
}

func TestServicesProveWhoTheyAre(t *testing.T) {
	t.Parallel()
	ours, other := testkit.NewAuthority(t), testkit.NewAuthority(t)
	serverFiles, clientFiles, forged := files(t, ours, "auth"), files(t, ours, "gateway"), files(t, other, "gateway")
	forged.CA = ours.File // it knows whom to call, but not how to prove itself

	onlyCA, err := credentials.NewClientTLSFromFile(ours.File, "")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		public bool
		creds  credentials.TransportCredentials
		host   string
		ok     bool
	}{
		{"another service", false, client(t, clientFiles), "auth", true},
		{"under a wrong name", false, client(t, clientFiles), "mapper", false},
		{"a service of another authority", false, client(t, forged), "auth", false},
		{"somebody without a certificate", false, onlyCA, "auth", false},
		{"somebody without TLS", false, nil, "auth", false},
		{"somebody without a certificate, at the public server", true, onlyCA, "auth", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, err := serverFiles.Server(tt.public)
			if err != nil {
				t.Fatal(err)
			}
			options := rpc.ServerOptions{Credentials: server}
			if tt.public {
				options.Authenticate = func(ctx context.Context, _ string) (context.Context, error) { return ctx, nil }
			}
			conn, _ := overTCP(t, answering(nil), options,
				rpc.DialOptions{Credentials: tt.creds, Extra: []grpc.DialOption{grpc.WithAuthority(tt.host)}})
			err = call(t.Context(), conn)
			if (err == nil) != tt.ok || err != nil && errs.KindOf(err) != errs.Unavailable {
				t.Errorf("call ended with %v", err)
			}
		})
	}
}

func client(t *testing.T, f rpc.TLSFiles) credentials.TransportCredentials {
	t.Helper()
	creds, err := f.Client()
	if err != nil {
		t.Fatal(err)
	}
	return creds
}

func TestRenewedCertificateIsUsed(t *testing.T) {
	t.Parallel()
	a := testkit.NewAuthority(t)
	f := files(t, a, "auth")
	server, err := f.Server(false)
	if err != nil {
		t.Fatal(err)
	}
	network := map[string]bool{"auth": true, "renewed": false}
	for name, before := range network {
		conn, _ := overTCP(t, answering(nil), rpc.ServerOptions{Credentials: server},
			rpc.DialOptions{Credentials: client(t, f), Extra: []grpc.DialOption{grpc.WithAuthority(name)}})
		if err := call(t.Context(), conn); (err == nil) != before {
			t.Errorf("before, as %s: %v", name, err)
		}
	}
	renewed := files(t, a, "renewed")
	for from, to := range map[string]string{renewed.Cert: f.Cert, renewed.Key: f.Key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for name, before := range network {
		conn, _ := overTCP(t, answering(nil), rpc.ServerOptions{Credentials: server},
			rpc.DialOptions{Credentials: client(t, f), Extra: []grpc.DialOption{grpc.WithAuthority(name)}})
		if err := call(t.Context(), conn); (err == nil) == before {
			t.Errorf("after, as %s: %v", name, err)
		}
	}
}

func TestTLSFilesAreChecked(t *testing.T) {
	t.Parallel()
	good := files(t, testkit.NewAuthority(t), "auth")
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want string // in the error; "" for none
	}{
		{"none", nil, ""},
		{"all", []string{"-tls-cert", good.Cert, "-tls-key", good.Key, "-tls-ca", good.CA}, ""},
		{"one only", []string{"-tls-cert", good.Cert}, "belong together"},
		{"key is missing", []string{"-tls-cert", good.Cert, "-tls-key", "/nowhere", "-tls-ca", good.CA}, "-tls-key"},
		{"CA is missing", []string{"-tls-cert", good.Cert, "-tls-key", good.Key, "-tls-ca", "/nowhere"}, "-tls-ca"},
		{"CA is broken", []string{"-tls-cert", good.Cert, "-tls-key", good.Key, "-tls-ca", broken}, "holds no PEM certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var f rpc.TLSFiles
			fs := flag.NewFlagSet("auth", flag.ContinueOnError)
			f.RegisterFlags(fs)
			if err := fs.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			_, clientErr := f.Client()
			_, serverErr := f.Server(false)
			for _, err := range []error{clientErr, serverErr} {
				if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error is %v, want %q", err, tt.want)
				}
			}
		})
	}
	for name, f := range map[string]rpc.TLSFiles{"without certificates": {}, "with a certificate": good} {
		if creds, err := f.Self(false); (creds == nil) != (f == rpc.TLSFiles{}) || err != nil {
			t.Errorf("%s: %v, %v", name, creds, err)
		}
		if creds, err := f.Self(true); creds == nil || err != nil {
			t.Errorf("%s, public: %v, %v", name, creds, err)
		}
	}
	if _, err := (rpc.TLSFiles{Cert: broken, Key: broken, CA: broken}).Self(false); err == nil {
		t.Error("a broken certificate is used")
	}
}
