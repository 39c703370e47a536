package node_test

import (
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/node"
)

// Nothing that others can reach or listen to goes without encryption, unless that is said; and who signs in is set here
// as for a gateway that runs by itself.
func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	issuer := []string{"-oidc-issuer", "https://accounts.example.com", "-oidc-client-id", "us"}
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"defaults", nil, nil},
		{"gRPC for everybody", []string{"-listen", "0.0.0.0:8080"}, []string{"-listen", "-insecure"}},
		{"HTTP for everybody", []string{"-http-listen", ":8081"}, []string{"-http-listen", "-insecure-http"}},
		{"both, knowingly", []string{"-listen", ":8080", "-http-listen", ":8081", "-insecure"}, nil},
		{"both, encrypted", []string{"-listen", ":8080", "-http-listen", ":8081", "-public-cert", "c", "-public-key", "k"}, nil},
		{"NATS elsewhere", []string{"-nats-url", "nats://nats:4222"}, []string{"-nats-url"}},
		{"a service elsewhere", []string{"-target", "gateway", "-nats-url", "nats://127.0.0.1:4222", "-auth-addr", "auth:9001"}, []string{"-auth-addr"}},
		{"a service for others", []string{"-target", "auth", "-nats-url", "nats://127.0.0.1:4222", "-auth-listen", ":9001"}, []string{"-auth-listen"}},
		{"an issuer", issuer, nil},
		{"an issuer without a client", issuer[:2], []string{"-oidc-client-id"}},
		{"a weak algorithm", append([]string{"-oidc-algorithms", "HS256"}, issuer...), []string{"-oidc-algorithms"}},
		{"a public URL", append([]string{"-public-url", "https://sync.example.com"}, issuer...), nil},
		{"a public URL without TLS", []string{"-public-url", "http://sync.example.com"}, []string{"-public-url"}},
	}
	for _, tt := range tests {
		o := node.DefaultOptions()
		fs := flag.NewFlagSet("serve", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		o.RegisterFlags(fs)
		if err := fs.Parse(tt.args); err != nil {
			t.Fatal(err)
		}
		err := o.Validate()
		if (err != nil) != (tt.want != nil) {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want it to name %s", tt.name, err, want)
			}
		}
	}
}
