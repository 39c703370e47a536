package config_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catalogsync/catalogsync/internal/config"
)

const prefix = "CATALOGSYNC_AUTH"

type settings struct {
	Listen     string
	APIVersion string
	Batch      int
	Grace      time.Duration
	Debug      bool
	Key        config.Secret
}

func flags() (*settings, *flag.FlagSet) {
	s := &settings{Listen: "127.0.0.1:9001", APIVersion: "v66.0", Batch: 200, Grace: time.Second}
	fs := flag.NewFlagSet("auth", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.Listen, "listen", s.Listen, "`address` to listen on")
	fs.StringVar(&s.APIVersion, "api-version", s.APIVersion, "version of the API")
	fs.IntVar(&s.Batch, "batch", s.Batch, "rows of a batch")
	fs.DurationVar(&s.Grace, "grace", s.Grace, "time to finish")
	fs.BoolVar(&s.Debug, "debug", s.Debug, "say more")
	config.SecretVar(fs, &s.Key, "key", "key of the store")
	return s, fs
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, dir, "key", "from file\n")
	tests := []struct {
		name    string
		args    []string
		environ []string
		want    settings
	}{
		{"default", nil, nil, settings{Listen: "127.0.0.1:9001", APIVersion: "v66.0", Batch: 200, Grace: time.Second}},
		{
			"environment over default", nil,
			[]string{
				"PATH=/bin", "CATALOGSYNC_AUTH_API_VERSION=v65.0", "CATALOGSYNC_AUTH_BATCH=7", "CATALOGSYNC_AUTH_GRACE=3s",
				"CATALOGSYNC_AUTH_DEBUG=true", "CATALOGSYNC_AUTH_LISTEN=", "CATALOGSYNC_AUTH_KEY=s3cret",
			},
			settings{"127.0.0.1:9001", "v65.0", 7, 3 * time.Second, true, config.NewSecret("s3cret")},
		},
		{
			"flag over environment",
			[]string{"-api-version", "v64.0", "-debug=false", "-key", "flag"},
			[]string{"CATALOGSYNC_AUTH_API_VERSION=v65.0", "CATALOGSYNC_AUTH_DEBUG=true", "CATALOGSYNC_AUTH_KEY_FILE=/nowhere"},
			settings{"127.0.0.1:9001", "v64.0", 200, time.Second, false, config.NewSecret("flag")},
		},
		{
			"secret from the file in a variable", nil,
			[]string{"CATALOGSYNC_AUTH_KEY_FILE=" + file},
			settings{"127.0.0.1:9001", "v66.0", 200, time.Second, false, config.NewSecret("from file")},
		},
		{
			"secret from the file in a flag, over a variable",
			[]string{"-key-file", file},
			[]string{"CATALOGSYNC_AUTH_KEY=other"},
			settings{"127.0.0.1:9001", "v66.0", 200, time.Second, false, config.NewSecret("from file")},
		},
		{
			"the last of two variables", nil,
			[]string{"CATALOGSYNC_AUTH_BATCH=1", "CATALOGSYNC_AUTH_BATCH=2"},
			settings{"127.0.0.1:9001", "v66.0", 2, time.Second, false, config.Secret{}},
		},
		{
			"variables that a container platform adds", nil,
			[]string{
				"CATALOGSYNC_AUTH_SERVICE_HOST=10.0.0.1", "CATALOGSYNC_AUTH_SERVICE_PORT_GRPC=9001", "CATALOGSYNC_AUTH_PORT=tcp://10.0.0.1:9001",
				"CATALOGSYNC_AUTH_PORT_9001_TCP_ADDR=10.0.0.1", "CATALOGSYNC_AUTHORITY=x",
			},
			settings{Listen: "127.0.0.1:9001", APIVersion: "v66.0", Batch: 200, Grace: time.Second},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, fs := flags()
			if err := config.Parse(fs, prefix, tt.args, tt.environ); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorsNameTheSetting(t *testing.T) {
	t.Parallel()
	empty := write(t, t.TempDir(), "empty", "\n")
	tests := []struct {
		name    string
		args    []string
		environ []string
		want    []string
	}{
		{"flag", []string{"-batch", "many"}, nil, []string{"-batch", "many"}},
		{"unknown flag", []string{"-bach", "1"}, nil, []string{"-bach"}},
		{"variable", nil, []string{"CATALOGSYNC_AUTH_BATCH=many"}, []string{"CATALOGSYNC_AUTH_BATCH", "-batch", "many"}},
		{"misspelt variable", nil, []string{"CATALOGSYNC_AUTH_BACH=1"}, []string{"CATALOGSYNC_AUTH_BACH", "did you mean CATALOGSYNC_AUTH_BATCH (flag -batch)?"}},
		{"unknown variable", nil, []string{"CATALOGSYNC_AUTH_SOMETHING_ELSE=1"}, []string{"CATALOGSYNC_AUTH_SOMETHING_ELSE", "unset it"}},
		{
			"all at once", nil,
			[]string{"CATALOGSYNC_AUTH_BATCH=many", "CATALOGSYNC_AUTH_GRACE=soon", "CATALOGSYNC_AUTH_X=1"},
			[]string{"CATALOGSYNC_AUTH_BATCH", "CATALOGSYNC_AUTH_GRACE", "CATALOGSYNC_AUTH_X"},
		},
		{"secret file is missing", []string{"-key-file", "/nowhere/key"}, nil, []string{"-key-file", "/nowhere/key", "no such file"}},
		{"secret file is empty", nil, []string{"CATALOGSYNC_AUTH_KEY_FILE=" + empty}, []string{"CATALOGSYNC_AUTH_KEY_FILE", "-key-file", "empty"}},
		{"secret twice in variables", nil, []string{"CATALOGSYNC_AUTH_KEY=s3cret", "CATALOGSYNC_AUTH_KEY_FILE=/x"}, []string{"CATALOGSYNC_AUTH_KEY and CATALOGSYNC_AUTH_KEY_FILE are both set"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, fs := flags()
			err := config.Parse(fs, prefix, tt.args, tt.environ)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %q shows a secret", err)
			}
		})
	}
}

func TestBothSecretFlags(t *testing.T) {
	t.Parallel()
	_, fs := flags()
	err := config.Parse(fs, prefix, []string{"-key", "a", "-key-file", write(t, t.TempDir(), "key", "b")}, nil)
	if err == nil || !strings.Contains(err.Error(), "-key and -key-file are both given") {
		t.Errorf("error is %v", err)
	}
}

func TestAlsoKnown(t *testing.T) {
	t.Parallel()
	other := flag.NewFlagSet("status", flag.ContinueOnError)
	other.String("token", "", "")
	environ := []string{"CATALOGSYNC_AUTH_TOKEN=x"}
	_, fs := flags()
	if err := config.Parse(fs, prefix, nil, environ, config.AlsoKnown(other)); err != nil {
		t.Errorf("a variable of another subcommand is an error: %v", err)
	}
	_, fs = flags()
	if err := config.Parse(fs, prefix, nil, environ); err == nil {
		t.Error("an unknown variable is no error")
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	_, fs := flags()
	var out bytes.Buffer
	fs.SetOutput(&out)
	if err := config.Parse(fs, prefix, []string{"-help"}, nil); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("error is %v, want flag.ErrHelp", err)
	}
	for _, want := range []string{"Usage of auth", "-listen address", `(default "127.0.0.1:9001") [CATALOGSYNC_AUTH_LISTEN]`, "-key-file", "[CATALOGSYNC_AUTH_KEY_FILE]"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, &out)
		}
	}
}

func TestMistakesPrintNothing(t *testing.T) {
	t.Parallel()
	_, fs := flags()
	var out bytes.Buffer
	fs.SetOutput(&out)
	if err := config.Parse(fs, prefix, []string{"-nope"}, nil); err == nil {
		t.Fatal("no error")
	}
	if out.Len() > 0 {
		t.Errorf("an error that is returned was printed too: %s", &out)
	}
}

func TestDumpSaysWhereFrom(t *testing.T) {
	t.Parallel()
	_, fs := flags()
	environ := []string{"CATALOGSYNC_AUTH_BATCH=7", "CATALOGSYNC_AUTH_KEY=s3cret"}
	if err := config.Parse(fs, prefix, []string{"-listen", ":1"}, environ); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := config.Dump(&out, fs, prefix, environ); err != nil {
		t.Fatal(err)
	}
	want := `api-version = "v66.0" (default)
batch = "7" (CATALOGSYNC_AUTH_BATCH)
debug = "false" (default)
grace = "1s" (default)
key = "[redacted]" (CATALOGSYNC_AUTH_KEY)
key-file = "" (default)
listen = ":1" (-listen)
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOperandsRemain(t *testing.T) {
	t.Parallel()
	_, fs := flags()
	if err := config.Parse(fs, prefix, []string{"-debug", "people.csv"}, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"people.csv"}, fs.Args()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
