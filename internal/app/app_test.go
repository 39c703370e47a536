package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/catalogsync/catalogsync/internal/app"
)

// programEnv names the program that the test binary is to be, instead of running the tests.
const programEnv = "CATALOGSYNC_TEST_PROGRAM"

var programs = map[string]func(context.Context, *app.Env) error{
	"good": func(_ context.Context, env *app.Env) error {
		_, err := fmt.Fprintln(env.Stdout, strings.Join(env.Args, " "))
		return err
	},
	"bad":   func(context.Context, *app.Env) error { return errors.New("disk is full") },
	"coded": func(context.Context, *app.Env) error { return fmt.Errorf("run 7: %w", failed{}) },
	"help": func(_ context.Context, env *app.Env) error {
		return env.Parse(env.FlagSet(), "CATALOGSYNC_HELP")
	},
	"waits": func(ctx context.Context, env *app.Env) error {
		_, _ = fmt.Fprintln(env.Stdout, "ready")
		<-ctx.Done()
		return fmt.Errorf("serve: %w", ctx.Err())
	},
	"hangs": func(ctx context.Context, env *app.Env) error {
		_, _ = fmt.Fprintln(env.Stdout, "ready")
		<-ctx.Done()
		_, _ = fmt.Fprintln(env.Stdout, "stopping")
		select {}
	},
}

type failed struct{}

func (failed) Error() string { return "some rows failed" }
func (failed) ExitCode() int { return 3 }

func TestMain(m *testing.M) {
	if name := os.Getenv(programEnv); name != "" {
		app.Main(name, programs[name])
	}
	os.Exit(m.Run())
}

// start runs a program in a process of its own.
func start(t *testing.T, name string, args ...string) (cmd *exec.Cmd, stdout *bufio.Reader, stderr *bytes.Buffer) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = []string{programEnv + "=" + name, "GOCOVERDIR=" + t.TempDir()} // for runs with coverage
	stderr = &bytes.Buffer{}
	cmd.Stderr = stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(pipe), stderr
}

func TestMainEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		program string
		args    []string
		code    int
		stdout  string
		stderr  string
	}{
		{"good", []string{"a", "b"}, 0, "a b\n", ""},
		{"bad", nil, 1, "", "bad: disk is full\n"},
		{"coded", nil, 3, "", "coded: run 7: some rows failed\n"},
		{"help", []string{"-nope"}, 1, "", "help: flag provided but not defined: -nope\n"},
		{"help", []string{"-log-format", "xml"}, 1, "", "help: -log-format \"xml\": give json or text\n"},
	}
	for _, tt := range tests {
		t.Run(tt.program, func(t *testing.T) {
			t.Parallel()
			cmd, stdout, stderr := start(t, tt.program, tt.args...)
			out, err := io.ReadAll(stdout)
			if err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code is %d, want %d", code, tt.code)
			}
			if string(out) != tt.stdout || stderr.String() != tt.stderr {
				t.Errorf("stdout %q, stderr %q; want %q and %q", out, stderr, tt.stdout, tt.stderr)
			}
		})
	}
}

func TestHelpIsNoError(t *testing.T) {
	t.Parallel()
	cmd, stdout, stderr := start(t, "help", "-help")
	out, err := io.ReadAll(stdout)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if !strings.Contains(string(out), "-log-level") || stderr.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", out, stderr)
	}
}

func TestSignalEndsTheContext(t *testing.T) {
	t.Parallel()
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			cmd, stdout, stderr := start(t, "waits")
			expect(t, stdout, "ready")
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
				t.Errorf("exit: %v, stderr %q", err, stderr)
			}
		})
	}
}

func TestSecondSignalEndsTheProcess(t *testing.T) {
	t.Parallel()
	cmd, stdout, stderr := start(t, "hangs")
	expect(t, stdout, "ready")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expect(t, stdout, "stopping")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGINT) {
		t.Errorf("exit code is %d, want 130", code)
	}
	if !strings.Contains(stderr.String(), "stopping at once") {
		t.Errorf("stderr is %q", stderr)
	}
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		t.Fatalf("read %q (%v), want %q", line, err, want)
	}
}

func TestRunStopsAllAtTheFirstError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	stopped := make(chan struct{})
	err := app.Run(t.Context(),
		func(ctx context.Context) error { <-ctx.Done(); close(stopped); return nil },
		func(context.Context) error { return broken },
	)
	if !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	<-stopped
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	wait := func(ctx context.Context) error { <-ctx.Done(); return nil }
	cancel()
	if err := app.Run(ctx, wait, wait); err != nil {
		t.Errorf("error is %v", err)
	}
}

func TestLogFlags(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	env := &app.Env{
		Name: "auth", Args: []string{"-log-level", "debug"}, Environ: []string{"CATALOGSYNC_AUTH_LOG_FORMAT=json"},
		Stdout: io.Discard, Stderr: &stderr,
	}
	if err := env.Parse(env.FlagSet(), "CATALOGSYNC_AUTH"); err != nil {
		t.Fatal(err)
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	env.Log.DebugContext(trace.ContextWithSpanContext(t.Context(), span), "token refreshed")
	var line map[string]any
	if err := json.Unmarshal(stderr.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if line["level"] != "DEBUG" || line["msg"] != "token refreshed" || line["trace_id"] != span.TraceID().String() || line["span_id"] != span.SpanID().String() {
		t.Errorf("logged %v", line)
	}
}

func TestLogText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := app.NewLogger(&out, app.LogOptions{Format: "text"})
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("hidden")
	log.With("a", 1).Info("shown")
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "msg=shown a=1") {
		t.Errorf("logged %q", got)
	}
}

func TestBadLevelNamesTheFlag(t *testing.T) {
	t.Parallel()
	env := &app.Env{Name: "auth", Args: []string{"-log-level", "loud"}, Stdout: io.Discard, Stderr: io.Discard}
	fs := env.FlagSet()
	if err := env.Parse(fs, "CATALOGSYNC_AUTH"); err == nil || !strings.Contains(err.Error(), "-log-level") || errors.Is(err, flag.ErrHelp) {
		t.Errorf("error is %v", err)
	}
}
