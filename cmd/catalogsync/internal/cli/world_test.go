package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/cli"
	"github.com/catalogsync/catalogsync/cmd/catalogsync/internal/node"
	"github.com/catalogsync/catalogsync/internal/app"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
)

// result is what a call of catalogsync left behind.
type result struct {
	code        int
	out, errOut string
}

// call calls catalogsync as a shell would.
func call(ctx context.Context, environ []string, stdin io.Reader, args ...string) result {
	return callWith(ctx, &buffer{}, environ, stdin, args...)
}

// callTo is call with a standard output that can be read meanwhile.
func callTo(ctx context.Context, out *buffer, environ []string, args ...string) result {
	return callWith(ctx, out, environ, nil, args...)
}

func callWith(ctx context.Context, out *buffer, environ []string, stdin io.Reader, args ...string) result {
	var errOut buffer
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	err := cli.Run(ctx, &app.Env{Name: "catalogsync", Args: args, Environ: environ, Stdin: stdin, Stdout: out, Stderr: &errOut})
	r := result{out: out.String(), errOut: errOut.String()}
	if err != nil {
		r.errOut += "catalogsync: " + err.Error() + "\n"
		r.code = 1
		if coded, ok := errors.AsType[interface {
			error
			ExitCode() int
		}](err); ok {
			r.code = coded.ExitCode()
		}
	}
	return r
}

// buffer may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// world is a simulated org, the services, and a tenant's token in the environment.
type world struct {
	org     *simulator.Server
	node    *node.Node
	dir     string // of the services
	files   string // for the test's own files
	environ []string
}

func newWorld(t *testing.T, o simulator.Options) *world {
	t.Helper()
	o.ExternalIDFields = append(o.ExternalIDFields, "Contact.CatalogUserId__c")
	org, err := simulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	w := &world{org: org, dir: t.TempDir(), files: t.TempDir()}
	w.start(t, "127.0.0.1:0")
	w.environ = []string{"CATALOGSYNC_SERVER=" + w.node.Addr()}
	token := w.file(t, "token", w.ok(t, "token", "create", "test", "--role", "owner", "--tenant", "acme", "--data", w.dir))
	w.environ = append(w.environ, "CATALOGSYNC_TOKEN_FILE="+token)
	return w
}

// reopen ends the org and opens it anew at the same address, with another consumer secret.
func (w *world) reopen(t *testing.T, secret string) {
	t.Helper()
	if err := w.org.Close(); err != nil {
		t.Fatal(err)
	}
	org, err := simulator.Start(simulator.Options{
		Listen: strings.TrimPrefix(w.org.URL, "http://"), ClientSecret: secret, ExternalIDFields: []string{"Contact.CatalogUserId__c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = org.Close() })
	w.org = org
}

// start starts the services at an address.
func (w *world) start(t *testing.T, addr string) {
	t.Helper()
	no := node.DefaultOptions()
	no.Data, no.Listen, no.HTTPListen, no.Log = w.dir, addr, "127.0.0.1:0", testkit.Logger(t)
	no.DevOrigins, no.Grace = []string{w.org.URL}, time.Second
	n, err := node.Start(context.Background(), no)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	w.node = n
}

// file writes a file and returns its path.
func (w *world) file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(w.files, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) people(t *testing.T, o sample.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := sample.WriteCSV(&b, o); err != nil {
		t.Fatal(err)
	}
	return w.file(t, "people.csv", b.String())
}

// call calls catalogsync with the world's server and token.
func (w *world) call(t *testing.T, args ...string) result {
	t.Helper()
	r := call(t.Context(), w.environ, nil, args...)
	t.Logf("catalogsync %s: %d\n%.2000s%.2000s", strings.Join(args, " "), r.code, r.out, r.errOut)
	return r
}

// ok calls catalogsync, which must succeed, and returns its standard output.
func (w *world) ok(t *testing.T, args ...string) string {
	t.Helper()
	r := w.call(t, args...)
	if r.code != 0 {
		t.Fatalf("catalogsync %s ends with %d: %s", strings.Join(args, " "), r.code, r.errOut)
	}
	return r.out
}

// fails calls catalogsync, which must end with the code and say all of the words, and no secret.
func (w *world) fails(t *testing.T, code int, words []string, args ...string) result {
	t.Helper()
	r := w.call(t, args...)
	if r.code != code {
		t.Errorf("catalogsync %s ends with %d, want %d: %s", strings.Join(args, " "), r.code, code, r.errOut)
	}
	contains(t, r.errOut, words...)
	if strings.Contains(r.out+r.errOut, w.org.ClientSecret()) || strings.Contains(r.errOut, "cs_") {
		t.Errorf("catalogsync %s shows a secret: %s", strings.Join(args, " "), r.errOut)
	}
	return r
}

func contains(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("there is no %q in:\n%s", word, text)
		}
	}
}

// link links the org and saves a field map.
func (w *world) link(t *testing.T) {
	t.Helper()
	secret := w.file(t, "secret", w.org.ClientSecret()+"\n")
	w.ok(t, "link", "--host", w.org.URL, "--client-id", w.org.ClientID(), "--client-secret-file", secret)
	w.ok(t, "map", "set", w.file(t, "map.yaml", mapFile))
}

const mapFile = `object: Contact
external_id: CatalogUserId__c
fields:
  CatalogUserId__c: id
  FirstName: first_name
  LastName: last_name
  Email: email
  Title:
    from: title
    default: Member
  Department: department
`
