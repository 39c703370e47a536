package e2e_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/catalogsync/catalogsync/internal/sample"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/test/harness"
)

// blocks are the shell blocks of a page.
func blocks(t *testing.T, page string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
		found = append(found, m[1])
	}
	return found
}

// The README's commands work as they stand there, but for ports and the host of the org.
func TestReadme(t *testing.T) {
	t.Parallel()
	var client, rehearsal, curl string
	for _, b := range blocks(t, "README.md") {
		switch {
		case strings.Contains(b, "token create"):
			client = b
		case strings.Contains(b, "salesforce-sim"):
			rehearsal = b
		case strings.Contains(b, "curl"):
			curl = b
		case strings.HasPrefix(b, "make "):
			for line := range strings.Lines(b) {
				if target, ok := strings.CutPrefix(strings.TrimSpace(line), "make "); ok {
					if out, err := exec.Command("make", "-n", "-C", "../..", target).CombinedOutput(); err != nil {
						t.Errorf("make %s: %v\n%s", target, err, out)
					}
				}
			}
		}
	}
	if client == "" || rehearsal == "" || curl == "" {
		t.Fatal("the README lacks the blocks that this test runs")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, pkg := range map[string]string{"catalogsync": "cmd/catalogsync", "salesforce-sim": "simulator/cmd/salesforce-sim"} {
		if err := os.Symlink(harness.Build(t, pkg), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	grpc, web, org := harness.FreePort(t), harness.FreePort(t), harness.FreePort(t)
	local := strings.NewReplacer(
		"127.0.0.1:8080", grpc, "127.0.0.1:8081", web, "127.0.0.1:8089", org, "acme.my.salesforce.com", "http://"+org,
		"serve --data data", "serve --data data --listen "+grpc+" --http-listen "+web,
	)
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("people.csv", people(t, sample.Options{People: 40, Seed: 12}))
	write("secret", []byte("simulator-secret\n"))
	shell := func(ctx context.Context, script string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", local.Replace(script))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CATALOGSYNC_SERVER="+grpc, "CLIENT_ID=simulator-client")
		cmd.WaitDelay = 10 * time.Second
		return cmd
	}
	for line := range strings.Lines(rehearsal) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := shell(ctx, "exec "+line)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cancel()
			_ = cmd.Wait()
		})
	}
	testkit.Eventually(t, time.Minute, func() error {
		res, err := http.Get("http://" + web + "/readyz")
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
	out, err := shell(t.Context(), client).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"40 to create", "succeeded", "02:30", "Europe/Berlin"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the commands' output lacks %q:\n%s", want, out)
		}
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Log("curl is not on this machine, so the README's curl command was left out")
		return
	}
	if out, err := shell(t.Context(), curl).CombinedOutput(); err != nil || !strings.Contains(string(out), "latest") {
		t.Errorf("%v\n%s", err, out)
	}
}
