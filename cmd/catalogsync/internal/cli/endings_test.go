package cli_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	gatewayv1 "github.com/catalogsync/catalogsync/gen/catalogsync/gateway/v1"
	"github.com/catalogsync/catalogsync/internal/rpc"
	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/simulator"
	"github.com/catalogsync/catalogsync/simulator/fault"
)

// Wrong use is told apart from what did not work, needs no gateway, and says what would be right.
func TestWrongUse(t *testing.T) {
	t.Parallel()
	token := []string{"CATALOGSYNC_TOKEN=cs_x", "CATALOGSYNC_SERVER=127.0.0.1:1"}
	tests := []struct {
		args    string
		environ []string
		want    string
	}{
		{"frobnicate", nil, "there is no command \"frobnicate\"; see `catalogsync --help`"},
		{"runs lst", nil, "did you mean `catalogsync runs list`?"},
		{"runs list extra", token, `"extra" is one argument too many`},
		{"runs cancel", token, "an argument is missing; use it as `catalogsync runs cancel RUN"},
		{"runs list --bogus", token, "unknown flag: --bogus; see `catalogsync runs list --help`"},
		{"runs list --limit x", token, `--limit is "x"; give a whole number`},
		{"runs list --timeout 3", token, `--timeout is "3"; give a time, such as 30s or 5m`},
		{"runs outcomes --kind lost", token, "--kind is \"lost\"; give one of created, updated, unchanged"},
		{"plan --limit -1", token, "--limit is -1"},
		{"map set", token, "there is no field map"},
		{"map set x.yaml --object Contact", token, "a file and flags exclude each other"},
		{"map set nope.yaml", token, "no such file"},
		{"map set --object Contact --pair title", token, "give source=Field"},
		{"map set --object Contact --pair a=Title --pair b=title", token, "names title twice"},
		{"map set --object Contact --pair a=Title --default X=y", token, "that a --pair names"},
		{"status", nil, "there is no API token"},
		{"status --token-file /nonexistent", nil, "no such file"},
		{"status", []string{"CATALOGSYNC_TOKEN=a", "CATALOGSYNC_TOKEN_FILE=b"}, "set one of them"},
		{"status", []string{"CATALOGSYNC_TOKEN=two words"}, "characters that no token has"},
		{"status --plaintext --tls-ca /nonexistent", token, "exclude each other"},
		{"status --tls-ca /nonexistent", token, "--tls-ca: open /nonexistent"},
		{"status --tls-ca /dev/null", token, "no certificate"},
		{"token create x --expires -1h", token, "--expires"},
		{"serve --bogus", nil, "see `catalogsync serve --help`"},
		{"serve extra", nil, `"extra" is one argument too many`},
		{"serve --max-bytes 1", nil, "-max-bytes"},
		{"serve --log-format xml --data /nonexistent/x", nil, "-log-format"},
		{"serve", []string{"CATALOGSYNC_SERVE_LISTN=x"}, "CATALOGSYNC_SERVE_LISTEN"},
		{"demo extra", nil, "one argument too many"},
		{"demo --people 0", nil, "--people is 0"},
		{"demo --people many", nil, `--people is "many"; give a whole number`},
		{"demo --changed 1.5", nil, "--changed is 1.5"},
		{"demo --object Account", nil, "give Contact or Lead"},
		{"demo --external-id Email", nil, "--external-id"},
		{"demo --people-file /nonexistent", nil, "no such file"},
		{"demo --people-file /", nil, "is no file"},
		{"demo --people 3 --people-file /dev/null", nil, "exclude each other"},
		{"demo --data /dev/null/x", nil, "--data"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			r := call(t.Context(), tt.environ, nil, strings.Fields(tt.args)...)
			if r.code != 2 || r.out != "" {
				t.Errorf("it ends with %d and writes %q", r.code, r.out)
			}
			contains(t, r.errOut, tt.want)
			if strings.Count(r.errOut, "\n") != 1 {
				t.Errorf("that is more than a line: %q", r.errOut)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}, {"help"}, {"people"}, {"serve", "--help"}, {"serve", "-h"}, {"demo", "--help"}, {"version"}, {"help", "plan"}} {
		if r := call(t.Context(), nil, nil, args...); r.code != 0 || r.out == "" || r.errOut != "" {
			t.Errorf("catalogsync %v: %+v", args, r)
		}
	}
	contains(t, call(t.Context(), nil, nil).out, "Exit codes:", "CATALOGSYNC_TOKEN_FILE")
	for _, args := range [][]string{{"serve", "--help"}, {"demo", "--help"}} {
		if out := call(t.Context(), nil, nil, args...).out; strings.Contains(out, "--token-file") {
			t.Errorf("catalogsync %v lists flags that it does not take:\n%s", args, out)
		}
	}
}

// Nobody answers, or not in time: the message says which, and how to go on.
func TestGatewayAway(t *testing.T) {
	t.Parallel()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := silent.Addr().String()
	environ := []string{"CATALOGSYNC_TOKEN=cs_secret", "CATALOGSYNC_SERVER=" + addr}
	late := call(t.Context(), environ, nil, "status", "--timeout", "200ms")
	contains(t, late.errOut, addr, "did not answer within 200ms", "--timeout")
	_ = silent.Close()
	away := call(t.Context(), environ, nil, "status")
	contains(t, away.errOut, "no gateway answers at "+addr, "connection refused", "catalogsync serve", "--server")
	watching := call(t.Context(), environ, nil, "runs", "watch", "run1")
	contains(t, watching.errOut, "no gateway answers")
	for _, r := range []result{late, away, watching} {
		if r.code != 1 || r.out != "" || strings.Contains(r.errOut, "cs_secret") {
			t.Errorf("%+v", r)
		}
	}
}

// People who cannot be written are reported with the run, and the exit code tells.
func TestRunWithProblems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.link(t)
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 30, Invalid: 3}))
	if err := w.org.Faults().Add(fault.Rule{Kind: fault.RowError, Path: "Contact", Count: 1, Code: "FIELD_CUSTOM_VALIDATION_EXCEPTION", Message: "Managers have no title"}); err != nil {
		t.Fatal(err)
	}
	plan := w.ok(t, "plan")
	contains(t, plan, "! rejected", "Rejected because:", "rejected.")
	r := w.fails(t, 3, []string{"not everybody is in step", "rejected", "1 failed", "--kind problems"}, "run")
	contains(t, r.out, "completed with failures", "rejected", "failed")
	contains(t, w.ok(t, "runs", "outcomes", "--kind", "problems"), "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Managers have no title", "rejected")
	contains(t, w.ok(t, "runs", "list"), "with failures")
}

func TestRunNeedsReconnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.link(t)
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 3}))
	w.reopen(t, "another-secret") // the admin has it replaced in Salesforce
	w.fails(t, 4, []string{"refuses the credentials", "catalogsync link"}, "run")
	contains(t, w.fails(t, 4, []string{"invalid_client"}, "test").out, "needs reconnect")
	contains(t, w.fails(t, 4, []string{"catalogsync link"}, "status").out, "needs reconnect")
	w.fails(t, 1, []string{"cannot be used"}, "run")
	w.link(t)
	w.ok(t, "run")
}

// slow makes runs begin slowly: the describe that they begin with takes a while.
func (w *world) slow() {
	w.org.Faults().MustAdd(fault.Rule{Kind: fault.Latency, Path: "/sobjects/Contact/describe", Delay: fault.Duration(3 * time.Second)})
}

// watch watches a run meanwhile, and returns when it has been seen for the first time.
func (w *world) watch(ctx context.Context, t *testing.T, id string) (*buffer, <-chan result) {
	t.Helper()
	out, done := &buffer{}, make(chan result, 1)
	go func() { done <- callTo(ctx, out, w.environ, "runs", "watch", id, "--json") }()
	testkit.Eventually(t, 30*time.Second, func() error {
		if out.String() == "" {
			return errors.New("nothing is seen of the run")
		}
		return nil
	})
	return out, done
}

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.link(t)
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 10}))
	w.slow()
	started := lines[run](t, w.ok(t, "run", "--watch=false", "--json"))
	w.ok(t, "runs", "cancel", started[0].ID)
	w.fails(t, 5, []string{started[0].ID + " was cancelled"}, "runs", "watch", started[0].ID)
	contains(t, w.ok(t, "runs", "show", started[0].ID), "cancelled")
	contains(t, w.ok(t, "runs", "cancel", started[0].ID), "is cancelled")
	r := w.call(t, "runs", "watch", started[0].ID, "--json")
	if seen := lines[run](t, r.out); r.code != 5 || seen[0].State != "cancelled" {
		t.Errorf("%+v", r)
	}
}

// Somebody who stops watching does not stop the run.
func TestInterruptWatching(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.link(t)
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 10}))
	w.slow()
	started := lines[run](t, w.ok(t, "run", "--watch=false", "--json", "--request-id", "mine"))
	contains(t, w.ok(t, "run", "--watch=false", "--request-id", "mine"), "catalogsync runs watch "+started[0].ID)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, done := w.watch(ctx, t, started[0].ID)
	cancel()
	r := <-done
	if r.code != 130 {
		t.Errorf("%+v", r)
	}
	contains(t, r.errOut, "goes on", "catalogsync runs watch "+started[0].ID, "catalogsync runs cancel "+started[0].ID)
	contains(t, w.ok(t, "runs", "watch", started[0].ID), "succeeded")
}

// A gateway that is restarted is waited for: the run goes on, and so does watching it.
func TestWatchThroughRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{})
	w.link(t)
	w.ok(t, "people", "import", w.people(t, sample.Options{People: 10}))
	w.slow()
	started := lines[run](t, w.ok(t, "run", "--watch=false", "--json"))
	out, done := w.watch(t.Context(), t, started[0].ID)
	if strings.Contains(out.String(), "succeeded") {
		t.Fatal("the run has ended before the restart")
	}
	addr := w.node.Addr()
	if err := w.node.Close(); err != nil {
		t.Fatal(err)
	}
	w.start(t, addr)
	r := <-done
	seen := lines[run](t, out.String())
	if last := seen[len(seen)-1]; r.code != 0 || last.State != "succeeded" || last.Counts.Created != 10 {
		t.Errorf("it ends with %d: %s, and was last seen as %+v", r.code, r.errOut, last)
	}
}

// status is a StatusService behind TLS.
type status struct {
	gatewayv1.UnimplementedStatusServiceServer
}

func (status) GetStatus(context.Context, *gatewayv1.GetStatusRequest) (*gatewayv1.GetStatusResponse, error) {
	return &gatewayv1.GetStatusResponse{State: gatewayv1.IntegrationState_INTEGRATION_STATE_LINKED}, nil
}

// Tokens leave the machine only encrypted, to a gateway whose certificate holds.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca := testkit.NewAuthority(t)
	cert, key := ca.Issue(t, "localhost")
	creds, err := rpc.TLSFiles{Cert: cert, Key: key, CA: ca.File}.Server(true)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(creds))
	gatewayv1.RegisterStatusServiceServer(server, status{})
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	_, port, err := net.SplitHostPort(lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"CATALOGSYNC_TOKEN=cs_x", "CATALOGSYNC_SERVER=localhost:" + port}
	contains(t, call(t.Context(), environ, nil, "status", "--tls-ca", ca.File).out, "linked")
	if r := call(t.Context(), environ, nil, "status"); r.code != 1 {
		t.Errorf("without TLS: %+v", r)
	}
	other := testkit.NewAuthority(t)
	if r := call(t.Context(), environ, nil, "status", "--tls-ca", other.File); r.code != 1 || !strings.Contains(r.errOut, "certificate") {
		t.Errorf("with another authority: %+v", r)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan result, 1)
	environ := []string{"CATALOGSYNC_SERVE_LISTEN=127.0.0.1:0"}
	args := []string{"serve", "--data", dir, "-http-listen", "127.0.0.1:0", "--log-level", "warn"}
	out := &buffer{}
	go func() { done <- callTo(ctx, out, environ, args...) }()
	addr := ""
	testkit.Eventually(t, 30*time.Second, func() error {
		for line := range strings.Lines(out.String()) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "gRPC" {
				addr = strings.TrimSpace(value)
				return nil
			}
		}
		return errors.New("serve does not say where")
	})
	made := call(t.Context(), []string{"CATALOGSYNC_SERVER=" + addr}, nil, "token", "create", "x", "--tenant", "acme", "--data", dir)
	status := call(t.Context(), []string{"CATALOGSYNC_SERVER=" + addr, "CATALOGSYNC_TOKEN=" + strings.TrimSpace(made.out)}, nil, "status")
	contains(t, status.out, "not linked")
	second := call(t.Context(), environ, nil, args...)
	if second.code != 1 {
		t.Errorf("a second process on the data directory: %+v", second)
	}
	contains(t, second.errOut, dir)
	cancel()
	if r := <-done; r.code != 0 {
		t.Errorf("serve ends with %+v", r)
	}
	contains(t, out.String(), "catalogsync is ready", dir, "operator.token")
	if taken := call(t.Context(), nil, nil, "serve", "--data", t.TempDir(), "--insecure", "--listen", "256.0.0.1:1"); taken.code != 1 || !strings.Contains(taken.errOut, "-listen") {
		t.Errorf("an address that does not exist: %+v", taken)
	}
	if logs := fmt.Sprint(second.errOut, status.errOut); strings.Contains(logs, strings.TrimSpace(made.out)) {
		t.Errorf("the token is shown: %s", logs)
	}
}
