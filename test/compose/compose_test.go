// Package compose_test checks the compose files against the binaries that they run: every variable is a setting, every
// image can be built, every address leads to somebody, and nothing has more rights than it needs.
package compose_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/catalogsync/catalogsync/internal/identity"
	"github.com/catalogsync/catalogsync/test/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}

const (
	root = "../.."
	dir  = root + "/deploy/compose"
)

// ours are the services with a binary of their own.
var ours = []string{"auth", "gateway", "mapper", "scheduler", "sync-worker"}

// load reads compose files as docker compose does, with the variables of .env and none of this process.
func load(t *testing.T, files ...string) *types.Project {
	t.Helper()
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = filepath.Join(dir, f)
	}
	env := filepath.Join(dir, ".env")
	o, err := cli.NewProjectOptions(paths, cli.WithWorkingDirectory(dir), cli.WithEnvFiles(env), cli.WithDotEnv)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("%v: %v", files, err)
	}
	return p
}

// variants are the ways in which the files are put together.
var variants = map[string][]string{
	"alone":              {"compose.yaml"},
	"with a simulator":   {"compose.yaml", "compose.simulator.yaml"},
	"with a collector":   {"compose.yaml", "compose.observability.yaml"},
	"with both of those": {"compose.yaml", "compose.simulator.yaml", "compose.observability.yaml"},
}

func each(t *testing.T, check func(t *testing.T, p *types.Project)) {
	t.Helper()
	for name, files := range variants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, load(t, files...))
		})
	}
}

// built reports whether a service's image is made here.
func built(s types.ServiceConfig) bool { return s.Build != nil }

// settings asks a binary what its settings are: by name, value and where it comes from.
func settings(t *testing.T, service string, env []string) map[string][2]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Build(t, "services/"+service+"/cmd/"+service), "config")
	cmd.Env = append([]string{"PATH=/nowhere"}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s config with %q: %v\n%s", service, env, err, out)
	}
	found := map[string][2]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\S+) = "(.*)" \((.*)\)$`).FindAllStringSubmatch(string(out), -1) {
		found[m[1]] = [2]string{m[2], m[3]}
	}
	return found
}

// secrets makes the files that a service is given at /run/secrets, and nothing else.
func secrets(t *testing.T, s types.ServiceConfig) string {
	t.Helper()
	at := t.TempDir()
	for _, ref := range s.Secrets {
		name := ref.Target
		if name == "" {
			name = ref.Source
		}
		if err := os.WriteFile(filepath.Join(at, filepath.Base(name)), []byte("a secret that is long enough\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// Every variable is a setting of the binary that it is given to, and secrets are files that the service gets.
func TestVariablesAreSettings(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *types.Project) {
		for _, name := range ours {
			s := p.Services[name]
			at := secrets(t, s)
			var env []string
			for key, value := range s.Environment {
				if value == nil {
					t.Errorf("%s: %s has no value", name, key)
					continue
				}
				v := strings.ReplaceAll(*value, "/run/secrets", at)
				for _, file := range regexp.MustCompile(regexp.QuoteMeta(at)+`/[\w.-]+`).FindAllString(v, -1) {
					if _, err := os.Stat(file); err != nil {
						t.Errorf("%s: %s names the secret %s, which the service is not given", name, key, filepath.Base(file))
					}
				}
				env = append(env, key+"="+v)
			}
			sources := map[string]bool{}
			for _, setting := range settings(t, name, env) { // fails on a variable that is none, or with a bad value
				sources[setting[1]] = true
			}
			for key := range s.Environment {
				if !sources[key] {
					t.Errorf("%s: %s sets nothing", name, key)
				}
			}
		}
		for name := range p.Secrets {
			if !slices.ContainsFunc(p.ServiceNames(), func(s string) bool {
				return slices.ContainsFunc(p.Services[s].Secrets, func(r types.ServiceSecretConfig) bool { return r.Source == name })
			}) {
				t.Errorf("nobody is given the secret %s", name)
			}
		}
	})
}

// Images are made of packages that exist.
func TestImagesCanBeBuilt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *types.Project) {
		for _, name := range ours {
			if !built(p.Services[name]) {
				t.Errorf("%s is not built here", name)
			}
		}
		for name, s := range p.Services {
			if !built(s) {
				if !strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest") {
					t.Errorf("%s: the image %q names no version", name, s.Image)
				}
				continue
			}
			file := filepath.Join(s.Build.Context, s.Build.Dockerfile)
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			service := s.Build.Args["SERVICE"]
			if service == nil || *service != name || s.Image != "catalogsync/"+name+":"+p.Environment["CATALOGSYNC_VERSION"] {
				t.Errorf("%s: build arguments %v, image %q", name, s.Build.Args, s.Image)
			}
			pkg := filepath.Join(root, "services", name, "cmd", name)
			if other := s.Build.Args["PACKAGE"]; other != nil {
				rel, ok := strings.CutPrefix(*other, "github.com/catalogsync/catalogsync/")
				if !ok {
					t.Errorf("%s: package %q is not of this repository", name, *other)
				}
				pkg = filepath.Join(root, rel)
			}
			if _, err := os.Stat(filepath.Join(pkg, "main.go")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Every service listens where it always does, on all addresses of its container, and whoever calls it does so there.
func TestAddressesLeadToSomebody(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *types.Project) {
		ports := map[string]string{"nats": "4222", "postgres": "5432"}
		now := map[string]map[string][2]string{}
		for _, name := range ours {
			var env []string
			for key, value := range p.Services[name].Environment {
				if !strings.HasSuffix(key, "_TOKEN_FILE") { // which is read
					env = append(env, key+"="+*value)
				}
			}
			now[name] = settings(t, name, env)
			for setting, standard := range settings(t, name, nil) {
				if setting != "listen" && setting != "http-listen" {
					continue
				}
				_, want, _ := net.SplitHostPort(standard[0])
				host, port, err := net.SplitHostPort(now[name][setting][0])
				if err != nil || port != want || host != "0.0.0.0" {
					t.Errorf("%s: -%s is %q, want 0.0.0.0:%s", name, setting, now[name][setting][0], want)
				}
				if setting == "listen" {
					ports[name] = port
				}
			}
		}
		for _, name := range ours {
			for setting, value := range now[name] {
				switch {
				case setting == "nats-url":
					if value[0] != "tls://nats:"+ports["nats"] {
						t.Errorf("%s: -%s is %q", name, setting, value[0])
					}
				case strings.HasSuffix(setting, "-addr"):
					peer := strings.TrimSuffix(setting, "-addr")
					if want := "dns:///" + peer + ":" + ports[peer]; value[0] != want || peer == name {
						t.Errorf("%s: -%s is %q, want %q: every address of a service that runs several times", name, setting, value[0], want)
					}
				case setting == "directory":
					if !strings.HasPrefix(value[0], "postgres://catalogsync@postgres/catalogsync?passfile=/run/secrets/pgpass") {
						t.Errorf("%s: -%s is %q", name, setting, value[0])
					}
				case setting == "dev-origins" && value[0] != "":
					if value[0] != "http://salesforce-sim:8089" || p.Services["salesforce-sim"].Name == "" {
						t.Errorf("%s: -%s is %q", name, setting, value[0])
					}
				case setting == "otlp-endpoint" && value[0] != "":
					if value[0] != "collector:4317" || p.Services["collector"].Name == "" || now[name]["otlp-insecure"][0] != "true" {
						t.Errorf("%s: -%s is %q", name, setting, value[0])
					}
				}
			}
		}
	})
}

// Nobody outside of this machine reaches anything, and only what does not run several times has a port at all.
func TestPublishedPorts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *types.Project) {
		published := map[string]string{}
		for name, s := range p.Services {
			if s.ContainerName != "" {
				t.Errorf("%s cannot run several times: it has a container name", name)
			}
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" || port.Published == "" {
					t.Errorf("%s publishes %s of %d at %q", name, port.Published, port.Target, port.HostIP)
				}
				published[fmt.Sprint(name, ":", port.Target)] = port.Published
			}
		}
		for _, name := range []string{"sync-worker", "scheduler"} {
			if s := p.Services[name]; len(s.Ports) > 0 || s.Deploy == nil || s.Deploy.Replicas == nil || *s.Deploy.Replicas < 2 {
				t.Errorf("%s is to run several times, without a port on the host: %+v", name, s.Deploy)
			}
		}
		want := map[string]string{"gateway:8080": "8080", "gateway:8081": "8081"}
		if _, ok := p.Services["salesforce-sim"]; ok {
			want["salesforce-sim:8089"] = "8089"
		}
		if fmt.Sprint(published) != fmt.Sprint(want) {
			t.Errorf("published are %v, want %v", published, want)
		}
	})
}

// What runs our code has no rights that it does not need, is asked for its health, and has time to end.
func TestContainersAreConfined(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *types.Project) {
		for name, s := range p.Services {
			if s.Privileged || s.NetworkMode != "" || s.Pid != "" || s.Restart != "unless-stopped" {
				t.Errorf("%s: privileged %t, network %q, pid %q, restart %q", name, s.Privileged, s.NetworkMode, s.Pid, s.Restart)
			}
			for _, v := range s.Volumes {
				if v.Type == types.VolumeTypeBind && !v.ReadOnly {
					t.Errorf("%s may write to %s of the host", name, v.Source)
				}
			}
			if !built(s) {
				continue
			}
			if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.User != "" {
				t.Errorf("%s: read-only %t, capabilities -%v +%v, security %v, user %q", name, s.ReadOnly, s.CapDrop, s.CapAdd, s.SecurityOpt, s.User)
			}
			if len(s.Volumes) > 0 {
				t.Errorf("%s has volumes: it keeps nothing", name)
			}
			if !slices.Contains(ours, name) {
				continue
			}
			if s.HealthCheck == nil || !slices.Equal(s.HealthCheck.Test, []string{"CMD", "/app", "healthcheck"}) {
				t.Errorf("%s: health check %+v", name, s.HealthCheck)
			}
			grace, err := time.ParseDuration(settings(t, name, nil)["shutdown-grace"][0])
			if err != nil || s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < 2*grace {
				t.Errorf("%s has %v to end, and takes up to %v (%v)", name, s.StopGracePeriod, grace, err)
			}
			if s.DependsOn["nats"].Condition != types.ServiceConditionHealthy {
				t.Errorf("%s does not wait for NATS", name)
			}
		}
		if p.Services["sync-worker"].DependsOn["postgres"].Condition != types.ServiceConditionHealthy {
			t.Error("sync-worker does not wait for PostgreSQL")
		}
	})
}

// The NATS server takes its configuration, syncs before it acknowledges, and has room for what the workers may store.
func TestNATS(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(dir, "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	// As in the container, below another root.
	top := t.TempDir()
	if _, err := identity.Make(filepath.Join(top, "run/secrets"), identity.Options{}); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(top, "etc/nats/nats.conf")
	if err := os.MkdirAll(filepath.Dir(conf), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte(strings.ReplaceAll(string(text), " /run/secrets/", " "+top+"/run/secrets/")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "tool", "nats-server", "-t", "-c", conf).CombinedOutput()
	if err != nil {
		t.Errorf("nats-server does not take %s: %v\n%s", conf, err, out)
	}
	for _, want := range []string{
		"sync_interval: always", "store_dir: /data", "listen: 0.0.0.0:4222", "include ../../run/secrets/nats-users.conf", "cert_file: /run/secrets/nats.pem",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("nats.conf does not say %q", want)
		}
	}
	var room, taken int64
	if m := regexp.MustCompile(`max_file_store: (\d+)GB`).FindStringSubmatch(string(text)); m != nil {
		_, _ = fmt.Sscan(m[1], &room) // digits
	}
	p := load(t, "compose.yaml")
	if v := p.Services["sync-worker"].Environment["CATALOGSYNC_SYNC_WORKER_MAX_BYTES"]; v != nil {
		_, _ = fmt.Sscan(*v, &taken)
	}
	if taken == 0 || room<<30 < taken+taken/10 {
		t.Errorf("NATS may take %d GiB, the workers' streams alone %d bytes", room, taken)
	}
	nats := p.Services["nats"]
	// The plain image holds nothing but the server: no shell, and nothing that could ask for its health.
	if nats.HealthCheck == nil || nats.HealthCheck.Test[1] != "wget" || !strings.HasSuffix(nats.Image, "-alpine") {
		t.Errorf("health check %+v in image %q", nats.HealthCheck, nats.Image)
	}
	if !slices.ContainsFunc(nats.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == "/data" && v.Type == types.VolumeTypeVolume }) {
		t.Errorf("NATS keeps its data nowhere: %v", nats.Volumes)
	}
}

// No secret lies in the repository, and none is written into a compose file.
func TestSecretsAreElsewhere(t *testing.T) {
	t.Parallel()
	ignored, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil || !strings.Contains(string(ignored), "/deploy/compose/secrets/") {
		t.Errorf("the directory of secrets is not kept out of the repository: %v", err)
	}
	each(t, func(t *testing.T, p *types.Project) {
		for name, s := range p.Secrets {
			if filepath.Dir(s.File) != filepath.Join(p.WorkingDir, "secrets") || filepath.Base(s.File) != name {
				t.Errorf("secret %s is at %s", name, s.File)
			}
		}
		for name, s := range p.Services {
			for key, value := range s.Environment {
				for _, word := range []string{"PASSWORD", "TOKEN", "SECRET", "KEY"} {
					if strings.Contains(key, word) && (value == nil || !strings.HasPrefix(*value, "/run/secrets/")) {
						t.Errorf("%s: %s is no file among the secrets", name, key)
					}
				}
			}
		}
	})
	made := t.TempDir()
	script, err := os.ReadFile(filepath.Join(dir, "make-secrets.sh"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(made, "make-secrets.sh"), script, 0o700); err != nil {
		t.Fatal(err)
	}
	var first map[string]string
	for range 2 { // the second time it leaves everything alone
		cmd := exec.CommandContext(t.Context(), filepath.Join(made, "make-secrets.sh"))
		cmd.Env = append(os.Environ(), "CATALOGSYNC="+harness.Build(t, "cmd/catalogsync"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make-secrets.sh: %v\n%s", err, out)
		}
		now := map[string]string{}
		for name := range load(t, "compose.yaml").Secrets {
			file := filepath.Join(made, "secrets", name)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
			}
			now[name] = strings.TrimSpace(string(text))
		}
		if first != nil && !maps.Equal(first, now) {
			t.Error("secrets that were there were made anew")
		}
		first = now
	}
	key, err := base64.StdEncoding.DecodeString(first["auth.key"])
	if err != nil || len(key) != 32 || len(first["operator.token"]) < 24 || len(first["postgres.password"]) < 24 ||
		first["pgpass"] != "postgres:5432:catalogsync:catalogsync:"+first["postgres.password"] {
		t.Errorf("the secrets do not fit: %d bytes of key, %v", len(key), err)
	}
	for _, f := range []string{".env", "compose.yaml", "compose.simulator.yaml", "compose.observability.yaml", "Dockerfile", "nats.conf", "collector.yaml"} {
		if _, err := os.Stat(filepath.Join(dir, f)); errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is missing", f)
		}
	}
}

// Every service proves who it is, to the others and to NATS, by what is its own, and nobody has the authority's key.
func TestEveryServiceHasItsOwnIdentity(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *types.Project) {
		for _, name := range ours {
			prefix := "CATALOGSYNC_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_"
			for setting, want := range map[string]string{
				"TLS_CERT": identity.Cert(name), "TLS_KEY": identity.Key(name), "TLS_CA": identity.AuthorityCert, "NATS_CA": identity.AuthorityCert,
				"NATS_NKEY_FILE": identity.NKey(name),
			} {
				if v := p.Services[name].Environment[prefix+setting]; v == nil || *v != "/run/secrets/"+want {
					t.Errorf("%s: %s%s is %v, want %s", name, prefix, setting, v, want)
				}
			}
			if v := p.Services[name].Environment[prefix+"INSECURE"]; v != nil {
				t.Errorf("%s goes without TLS", name)
			}
		}
		for name, s := range p.Services {
			for _, secret := range s.Secrets {
				if secret.Source == identity.AuthorityKey || secret.Source == identity.NKey("operator") {
					t.Errorf("%s is given %s", name, secret.Source)
				}
				for _, other := range append([]string{identity.NATSServer}, ours...) {
					if own := []string{identity.Cert(other), identity.Key(other), identity.NKey(other)}; name != other && slices.Contains(own, secret.Source) {
						t.Errorf("%s is given %s", name, secret.Source)
					}
				}
			}
		}
	})
}
