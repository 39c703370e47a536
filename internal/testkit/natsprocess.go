package testkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/catalogsync/catalogsync/internal/bus"
)

// natsServer is the path of the server's binary, of the version in go.mod. The go command builds it once and keeps it in
// its cache.
var natsServer = sync.OnceValues(func() (string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("go", "tool", "-n", "nats-server")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build nats-server: %w: %s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
})

// Process is a NATS server in a process of its own, on loopback. It syncs before it acknowledges.
type Process struct {
	dir  string
	addr string // with a port of 0 before the first start
	more string // of its configuration
	cmd  *exec.Cmd
	log  *os.File
}

// NATSProcess starts a server in a process of its own, which ends with the test. config is added to its configuration.
func NATSProcess(t testing.TB, config ...string) *Process {
	t.Helper()
	p := &Process{dir: t.TempDir(), addr: "127.0.0.1:-1", more: strings.Join(config, "\n")}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	p.log = log
	t.Cleanup(func() {
		p.Kill(t)
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("nats-server wrote:\n%s", text)
		}
	})
	p.Start(t)
	return p
}

// Bus connects to the server. The connection ends with the test.
func (p *Process) Bus(t testing.TB) *bus.Bus {
	t.Helper()
	return Connect(t, bus.Options{URLs: p.URL()})
}

// URL returns the address, which stays the same over restarts.
func (p *Process) URL() string { return "nats://" + p.addr }

// Start starts the server and waits until it has a port.
func (p *Process) Start(t testing.TB) {
	t.Helper()
	binary, err := natsServer()
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(p.dir, "nats.conf")
	text := fmt.Sprintf("server_name: test\nlisten: %q\nports_file_dir: %q\n"+
		"jetstream { store_dir: %q, max_memory_store: 67108864, max_file_store: %d, sync_interval: always }\n",
		p.addr, p.dir, filepath.Join(p.dir, "data"), int64(maxStore)) + p.more
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(binary, "-c", config)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start nats-server: %v", err)
	}
	Eventually(t, connectTimeout, p.readPort)
}

// readPort takes the port from the file that the server writes when it listens.
func (p *Process) readPort() error {
	files, err := filepath.Glob(filepath.Join(p.dir, fmt.Sprintf("*_%d.ports", p.cmd.Process.Pid)))
	if err != nil || len(files) == 0 {
		return errors.Join(errors.New("nats-server has not told its port"), err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	var ports struct {
		NATS []string `json:"nats"`
	}
	if err := json.Unmarshal(text, &ports); err != nil || len(ports.NATS) == 0 {
		return errors.Join(errors.New("nats-server has not told its port"), err)
	}
	if addr := strings.TrimPrefix(strings.TrimPrefix(ports.NATS[0], "nats://"), "tls://"); addr != p.addr { // only after the first start: clients read it
		p.addr = addr
	}
	return nil
}

// Kill ends the process at once, as a crash would.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill nats-server: %v", err)
	}
	_ = p.cmd.Wait() // says that it was killed
	p.cmd = nil
}

// Stop halts the process without ending it: it keeps its connections and says nothing. It returns when the process stands
// still.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
		if err == nil && status.Stopped() {
			return
		}
		if !errors.Is(err, syscall.EINTR) {
			t.Fatalf("nats-server did not halt: %v, status %v", err, status)
		}
	}
}

// Cont lets a halted process go on.
func (p *Process) Cont(t testing.TB) { p.signal(t, syscall.SIGCONT) }

func (p *Process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal nats-server: %v", err)
	}
}

// Restart kills the process and starts it again on the same data and port.
func (p *Process) Restart(t testing.TB) {
	t.Helper()
	p.Kill(t)
	p.Start(t)
}

// InProcessConn connects to the server over loopback; it lets a [Link] lead to this server.
func (p *Process) InProcessConn() (net.Conn, error) { return net.Dial("tcp", p.addr) }
