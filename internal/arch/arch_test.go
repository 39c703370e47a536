package arch_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/catalogsync/catalogsync"

// file is a Go file: its directory from the root of the repository, and what it imports. Imports of the repository
// itself are directories too, such as "internal/bus".
type file struct {
	dir     string
	test    bool // a _test.go file, or one of a package that only tests import
	imports []string
}

// rule forbids some imports to some files.
type rule struct {
	name   string
	why    string
	from   func(f file) bool
	forbid func(f file, imported string) bool
}

var rules = []rule{
	{
		name: "services do not import each other",
		why:  "they meet on the wire: in gen/ and on the bus",
		from: under("services"),
		forbid: func(f file, imported string) bool {
			if !inside(imported, "services") || service(imported) == service(f.dir) {
				return false
			}
			// A test may start another service, as a program does, rather than imitate it.
			return !f.test || imported != "services/"+service(imported)
		},
	},
	{
		name:   "only the bus and the store know the NATS client",
		why:    "the rules of delivery and of compare-and-set hold because one package each keeps them",
		from:   not(under("internal/bus", "internal/store", "internal/natsd", "internal/testkit")),
		forbid: importing("github.com/nats-io/nats.go"),
	},
	{
		name:   "only natsd knows the NATS server",
		why:    "it doubles the size of a binary",
		from:   not(under("internal/natsd")),
		forbid: importing("github.com/nats-io/nats-server"),
	},
	{
		name:   "only the all-in-one embeds a NATS server",
		why:    "it doubles the size of a binary",
		from:   production(not(under("cmd", "internal/testkit"))),
		forbid: importing("internal/natsd"),
	},
	{
		name:   "libraries do not know services or programs",
		why:    "they are below them",
		from:   under("internal", "gen"),
		forbid: importing("services", "cmd", "test"),
	},
	{
		name:   "the bottom stands on nothing of ours",
		why:    "everything imports it",
		from:   production(under("internal/errs", "internal/config", "internal/version")),
		forbid: importing("internal", "gen"),
	},
	{
		name:   "generated code imports its runtime only",
		why:    "contracts do not depend on code",
		from:   func(f file) bool { return inside(f.dir, "gen") && !inside(f.dir, "gen/http") },
		forbid: allExcept("gen", "google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto"),
	},
	{
		name:   "only the gateway speaks JSON over HTTP",
		why:    "it is the one public surface, and services need not link what translates",
		from:   not(under("gen/http", "services/gateway")),
		forbid: importing("gen/http", "github.com/grpc-ecosystem/grpc-gateway"),
	},
	{
		name:   "test code stays out of binaries",
		why:    "what tests need must not be shipped",
		from:   production(func(file) bool { return true }),
		forbid: func(_ file, imported string) bool { return testOnly(imported) },
	},
	{
		name:   "the simulator shares no code with what it tests",
		why:    "a mistake in shared code would be in both and so never be seen",
		from:   under("simulator"),
		forbid: importing("internal", "gen", "services", "cmd", "test"),
	},
	{
		name:   "only the all-in-one brings the simulator along",
		why:    "services talk to Salesforce, and do not know which",
		from:   production(not(under("cmd/catalogsync", "simulator"))),
		forbid: importing("simulator"),
	},
	{
		name:   "programs are imported by nobody",
		why:    "they wire, and hold nothing that others need",
		from:   func(file) bool { return true },
		forbid: func(f file, imported string) bool { p := program(imported); return p != "" && !inside(f.dir, p) },
	},
}

func TestImports(t *testing.T) {
	t.Parallel()
	files := load(t)
	if len(files) < 20 {
		t.Fatalf("only %d files found: the search is broken", len(files))
	}
	for _, r := range rules {
		for _, f := range files {
			for _, imported := range r.violations(f) {
				t.Errorf("%s imports %s, but %s: %s", f.dir, imported, r.name, r.why)
			}
		}
	}
}

// TestRules makes sure that each rule catches what it is there for.
func TestRules(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule   string
		dir    string
		test   bool
		bad    []string
		good   []string
		nonbad bool // the same imports are fine in a test
	}{
		{
			rule: "services do not import each other", dir: "services/auth/internal/rpc",
			bad:  []string{"services/mapper", "services/mapper/internal/plan"},
			good: []string{"services/auth/internal/token", "services/auth", "gen/catalogsync/mapper/v1"},
		},
		{
			rule: "only the bus and the store know the NATS client", dir: "services/auth",
			bad: []string{"github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"}, good: []string{"internal/bus"},
		},
		{rule: "only natsd knows the NATS server", dir: "internal/bus", bad: []string{"github.com/nats-io/nats-server/v2/server"}},
		{rule: "only the all-in-one embeds a NATS server", dir: "services/auth", bad: []string{"internal/natsd"}, nonbad: true},
		{rule: "libraries do not know services or programs", dir: "internal/bus", bad: []string{"services/auth", "cmd/catalogsync"}},
		{rule: "the bottom stands on nothing of ours", dir: "internal/errs", bad: []string{"internal/bus", "gen/catalogsync/auth/v1"}, good: []string{"errors"}},
		{
			rule: "generated code imports its runtime only", dir: "gen/catalogsync/auth/v1",
			bad:  []string{"internal/errs", "github.com/google/uuid"},
			good: []string{"context", "google.golang.org/grpc/codes", "gen/catalogsync/options/v1"},
		},
		{
			rule: "only the gateway speaks JSON over HTTP", dir: "services/auth",
			bad: []string{"gen/http/catalogsync/auth/v1", "github.com/grpc-ecosystem/grpc-gateway/v2/runtime"},
		},
		{
			rule: "test code stays out of binaries", dir: "services/auth",
			bad: []string{"internal/testkit", "internal/bus/bustest", "testing", "net/http/httptest"}, nonbad: true,
		},
		{rule: "the simulator shares no code with what it tests", dir: "simulator/internal/bulk", bad: []string{"internal/salesforce"}, good: []string{"simulator/fault"}},
		{rule: "only the all-in-one brings the simulator along", dir: "services/auth", bad: []string{"simulator"}, nonbad: true},
		{rule: "programs are imported by nobody", dir: "cmd/catalogsync", bad: []string{"cmd/other", "services/auth/cmd/auth"}, good: []string{"cmd/catalogsync/internal/node", "services/auth"}},
	}
	byName := map[string]rule{}
	for _, r := range rules {
		byName[r.name] = r
	}
	for _, tt := range tests {
		r, ok := byName[tt.rule]
		if !ok {
			t.Errorf("there is no rule %q", tt.rule)
			continue
		}
		delete(byName, tt.rule)
		f := file{dir: tt.dir, test: tt.test, imports: append(slices.Clone(tt.bad), tt.good...)}
		if got := r.violations(f); !slices.Equal(got, tt.bad) {
			t.Errorf("%s: %v are caught, want %v", tt.rule, got, tt.bad)
		}
		if f.test = true; tt.nonbad && len(r.violations(f)) > 0 {
			t.Errorf("%s: tests may import %v", tt.rule, r.violations(f))
		}
	}
	for name := range byName {
		t.Errorf("rule %q has no example", name)
	}
}

func (r rule) violations(f file) (bad []string) {
	if !r.from(f) {
		return nil
	}
	for _, imported := range f.imports {
		if r.forbid(f, imported) {
			bad = append(bad, imported)
		}
	}
	return bad
}

func under(dirs ...string) func(file) bool {
	return func(f file) bool { return insideAny(f.dir, dirs) }
}

func not(match func(file) bool) func(file) bool {
	return func(f file) bool { return !match(f) }
}

// production leaves tests out.
func production(match func(file) bool) func(file) bool {
	return func(f file) bool { return !f.test && match(f) }
}

func importing(dirs ...string) func(file, string) bool {
	return func(_ file, imported string) bool { return insideAny(imported, dirs) }
}

// allExcept admits the standard library, whose paths start without a domain, and what is listed.
func allExcept(dirs ...string) func(file, string) bool {
	return func(_ file, imported string) bool {
		first, _, _ := strings.Cut(imported, "/")
		ours := insideAny(imported, []string{"internal", "services", "cmd", "gen", "simulator", "test"})
		return (ours || strings.Contains(first, ".")) && !insideAny(imported, dirs)
	}
}

func insideAny(dir string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool { return inside(dir, parent) })
}

func inside(dir, parent string) bool {
	return dir == parent || strings.HasPrefix(dir, parent+"/")
}

// service returns the name of the service that a directory under services belongs to.
func service(dir string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(dir, "services/"), "/")
	return name
}

// program returns the directory of the program of ours that a package is or belongs to, or "".
func program(imported string) string {
	parts := strings.Split(imported, "/")
	if !slices.Contains([]string{"cmd", "services", "simulator"}, parts[0]) {
		return ""
	}
	if i := slices.Index(parts, "cmd"); i >= 0 && i+1 < len(parts) {
		return path.Join(parts[:i+2]...)
	}
	return ""
}

// testOnly reports whether a package is for tests: testkit, those called …test by our custom, and those of the standard
// library.
func testOnly(imported string) bool {
	switch {
	case inside(imported, "testing"), imported == "net/http/httptest", imported == "testing/iotest":
		return true
	case insideAny(imported, []string{"internal", "services"}):
		base := path.Base(imported)
		return base == "testkit" || base != "test" && strings.HasSuffix(base, "test")
	}
	return inside(imported, "test")
}

// load parses the imports of all Go files of the repository, in both modules.
func load(t *testing.T) (files []file) {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.work")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.work above the test")
		}
		root = filepath.Dir(root)
	}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := name != root && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_"))
			if hidden || d.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parse(root, name)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parse(root, name string) (file, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		return file{}, fmt.Errorf("parse %s: %w", name, err)
	}
	rel, err := filepath.Rel(root, filepath.Dir(name))
	if err != nil {
		return file{}, err
	}
	f := file{dir: filepath.ToSlash(rel)}
	f.test = strings.HasSuffix(name, "_test.go") || testOnly(f.dir)
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, err
		}
		f.imports = append(f.imports, strings.TrimPrefix(imported, module+"/"))
	}
	return f, nil
}
