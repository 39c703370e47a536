// Package harness runs the whole system for tests: the binaries as processes, a Salesforce org beside them, and a
// client of the gateway in front. It knows two shapes, everything in one process and every service in its own, and
// the same tests run in both.
package harness

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/testkit"
)

// builds makes each binary once per test process.
var builds sync.Map // package -> func() (string, error)

// binDir outlives single tests; the operating system's temporary directory is where it belongs.
var binDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "catalogsync-bin-") })

// Cleanup removes what Build made. Call it from TestMain after m.Run.
func Cleanup() {
	if dir, err := binDir(); err == nil {
		_ = os.RemoveAll(dir)
	}
}

// Build returns the binary of a command of the project, such as "cmd/catalogsync".
func Build(t testing.TB, pkg string) string {
	t.Helper()
	once, _ := builds.LoadOrStore(pkg, sync.OnceValues(func() (string, error) {
		dir, err := binDir()
		if err != nil {
			return "", err
		}
		out := filepath.Join(dir, filepath.Base(pkg))
		cmd := exec.Command("go", "build", "-o", out, "github.com/catalogsync/catalogsync/"+pkg)
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
		}
		return out, nil
	}))
	bin, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// Process is one running binary of the system. Its output goes to the test's log when the test fails.
type Process struct {
	Name string

	t    testing.TB
	bin  string
	args []string
	env  []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	out  tail
}

// start starts the binary.
func start(t testing.TB, name, bin string, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{Name: name, t: t, bin: bin, args: args, env: env}
	p.Start()
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("last output of %s:\n%s", name, p.out.String())
		}
	})
	return p
}

// Start starts the process again after it has ended.
func (p *Process) Start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(p.bin, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	if dir := os.Getenv("CATALOGSYNC_TEST_LOGS"); dir != "" { // for looking at a test that passes, or at all of its logs
		f, err := os.CreateTemp(dir, p.Name+"-*.log")
		if err != nil {
			p.t.Fatal(err)
		}
		defer closing(p.t, f) // the process has its own descriptor
		cmd.Stdout, cmd.Stderr = f, f
	} else {
		cmd.Stdout, cmd.Stderr = &p.out, &p.out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
}

// Kill ends the process as a power cut of its machine would, without any warning.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Signal sends a signal, such as SIGSTOP.
func (p *Process) Signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.cmd.Process.Signal(s)
}

// PID is the operating system's id of the process.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Output is the last of what the process wrote.
func (p *Process) Output() string { return p.out.String() }

// end signals the process and waits for its end; a stopped or stubborn one is killed.
func (p *Process) end(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// tail keeps the last of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailBytes = 1 << 20

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if extra := w.buf.Len() - tailBytes; extra > 0 {
		w.buf.Next(extra)
	}
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// Lines calls fn for each line that the process has written so far and is still kept.
func (p *Process) Lines(fn func(string)) {
	s := bufio.NewScanner(bytes.NewBufferString(p.out.String()))
	s.Buffer(nil, tailBytes)
	for s.Scan() {
		fn(s.Text())
	}
}

// FreePort returns a loopback address that nobody listens on. Another process may take it before it is used; then the
// process that was to have it ends with a clear error and the test fails.
func FreePort(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, l)
	return l.Addr().String()
}

func closing(t testing.TB, c io.Closer) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// ready waits until the server at an address says that it is healthy.
func ready(t testing.TB, addr string, p *Process, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := rpc.Dial("passthrough:///"+addr, rpc.DialOptions{Timeout: 10 * time.Second, Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, conn) })
	testkit.Eventually(t, 60*time.Second, func() error {
		if p.Ended() {
			t.Fatalf("%s has ended:\n%s", p.Name, p.Output())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return rpc.CheckHealth(ctx, conn)
	})
	return conn
}
