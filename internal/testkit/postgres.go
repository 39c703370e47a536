package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres returns the URL of a new, empty database, which is dropped when the test ends. All tests of a binary share
// one server, which listens on a Unix socket only, does not flush to the disk, and ends with the binary, however that
// ends.
//
// Without PostgreSQL's programs the test fails where the environment variable CI is set, and is skipped elsewhere.
func Postgres(tb testing.TB) string {
	tb.Helper()
	server, err := postgresServer()
	if errors.Is(err, errNoPostgres) && os.Getenv("CI") == "" {
		tb.Skipf("SKIPPED, NOT TESTED: %v", err)
	}
	if err != nil {
		tb.Fatalf("PostgreSQL for tests: %v", err)
	}
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if err := server.exec("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		tb.Fatalf("PostgreSQL for tests: %v", err)
	}
	tb.Cleanup(func() {
		if err := server.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			tb.Errorf("PostgreSQL for tests: %v", err)
		}
	})
	return server.url(name)
}

var (
	databases      atomic.Int64
	postgresServer = sync.OnceValues(startPostgres)
	errNoPostgres  = errors.New("PostgreSQL's server programs (initdb, postgres) are missing: " +
		"install them with `apt-get install postgresql`, or put their directory on PATH")
)

type pgServer struct{ socketDir string }

func (s *pgServer) url(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(s.socketDir)
}

func (s *pgServer) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	_, err = c.Exec(ctx, sql)
	return err
}

// postgresBin finds the directory of the newest server programs.
func postgresBin() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is good
	if len(found) == 0 {
		return "", errNoPostgres
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // what is no number is old
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// The server is run by a shell that waits for the end of its input: a pipe that the test binary holds and the kernel
// closes when the binary is gone. It then stops the server and removes the data.
const postgresScript = `
"$1/initdb" -D "$2/data" -A trust -U postgres --no-sync --no-locale -E UTF8 >"$2/log" 2>&1 || exit 1
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=200 -c shared_buffers=128MB \
  -c max_wal_size=4GB -c fsync=off -c synchronous_commit=off -c full_page_writes=off </dev/null >>"$2/log" 2>&1 &
server=$!
while read -r _; do :; done
kill -QUIT "$server"
wait "$server"
rm -rf "$2"
`

func startPostgres() (*pgServer, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "catalogsync-postgres-")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", "-c", postgresScript, "sh", bin, dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal goes to the tests alone
	if os.Geteuid() == 0 {                                // the server refuses to be run by root
		if err := runAs(cmd, "postgres", dir); err != nil {
			return nil, err
		}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	keepOpen = stdin
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	server := &pgServer{socketDir: dir}
	deadline := time.After(60 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if err = server.exec("SELECT 1"); err == nil {
			tick.Stop()
			return server, nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return nil, fmt.Errorf("the server ended:\n%s", postgresLog(dir))
		case <-deadline:
			return nil, fmt.Errorf("the server does not answer: %w\n%s", err, postgresLog(dir))
		}
	}
}

// keepOpen holds the pipe whose end stops the server.
var keepOpen io.WriteCloser //nolint:unused // it is there to be reachable: were it collected, the pipe would end

func postgresLog(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// runAs makes the command run as another user, who gets the directory.
func runAs(cmd *exec.Cmd, name, dir string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("root cannot run PostgreSQL, and %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return err
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return nil
}
