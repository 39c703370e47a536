package natsd_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/catalogsync/catalogsync/internal/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(dir string) natsd.Options {
	return natsd.Options{Dir: dir, MaxStore: 1 << 30}
}

func start(t *testing.T, o natsd.Options) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// wantRefusal checks that a server does not start and says why.
func wantRefusal(t *testing.T, o natsd.Options, says ...string) {
	t.Helper()
	s, err := natsd.Start(o)
	if err == nil {
		s.Shutdown()
		t.Fatalf("started with %+v", o)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

func TestInProcessOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "when missing")
	s := start(t, options(dir))
	if s.URL() != "" {
		t.Errorf("listens on %s", s.URL())
	}
	if err := s.Healthz(); err != nil {
		t.Error(err)
	}
	nc, err := nats.Connect("", s.ClientOption())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if nc.ConnectedServerVersion() != natsd.Version() {
		t.Errorf("connected to version %s, want %s", nc.ConnectedServerVersion(), natsd.Version())
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: %v, %v", info.Mode(), err)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Listen = "127.0.0.1:0"
	s := start(t, o)
	if !strings.HasPrefix(s.URL(), "nats://127.0.0.1:") {
		t.Fatalf("URL %q", s.URL())
	}
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	taken := options(t.TempDir())
	taken.Listen = strings.TrimPrefix(s.URL(), "nats://")
	wantRefusal(t, taken, taken.Dir, "address already in use")
}

func TestOneProcessPerDirectory(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := start(t, o)
	wantRefusal(t, o, o.Dir, "another process uses it")
	s.Shutdown()
	s.Shutdown()
	start(t, o)
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	wantRefusal(t, natsd.Options{MaxStore: 1}, "data directory")
	wantRefusal(t, natsd.Options{Dir: dir}, dir, "limit")
	for _, addr := range []string{"0.0.0.0:0", ":4222", "[::]:0", "192.0.2.1:4222"} {
		wantRefusal(t, natsd.Options{Dir: dir, MaxStore: 1, Listen: addr}, "loopback", addr)
	}
	wantRefusal(t, natsd.Options{Dir: dir, MaxStore: 1, Listen: "nowhere"}, "nowhere")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, options(file), file)
	start(t, options(dir)) // none of these attempts kept the lock
}

func TestLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := options(t.TempDir())
	o.Log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	start(t, o).Shutdown()
	for _, want := range []string{"component=nats", "level=DEBUG", fmt.Sprintf("Version:  %s", natsd.Version())} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "level=ERROR") || strings.Contains(out.String(), "level=WARN") {
		t.Errorf("a quiet start and stop complains:\n%s", out.String())
	}
}
