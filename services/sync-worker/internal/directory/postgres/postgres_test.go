package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/directorytest"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/postgres"
)

func TestDirectory(t *testing.T) {
	t.Parallel()
	directorytest.Run(t, func(t *testing.T) func() (directory.Directory, error) {
		url := testkit.Postgres(t)
		return func() (directory.Directory, error) { return postgres.Open(t.Context(), url) }
	})
}

func open(t testing.TB, url string) *postgres.Directory {
	t.Helper()
	d, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// TestManyOpen opens one new database from many processes at once: the schema is made once.
func TestManyOpen(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			d, err := postgres.Open(t.Context(), url)
			if err != nil {
				return err
			}
			return d.Close()
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestImportOtherProcess keeps imports of one tenant apart across processes, and frees the tenant of one that was
// killed.
func TestImportOtherProcess(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := testkit.Postgres(t)
	a, b := open(t, url), open(t, url)
	first, err := a.BeginImport(ctx, "acme", directory.Full)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.BeginImport(ctx, "acme", directory.Delta); errs.ReasonOf(err) != "import_running" {
		t.Fatalf("second import: %v, want import_running", err)
	}
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background()) //nolint:errcheck // the database is dropped
	if _, err := c.Exec(ctx, `SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); err != nil {
		t.Fatal(err)
	}
	second, err := b.BeginImport(ctx, "acme", directory.Delta)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Put(ctx, []directory.Record{{ID: "1"}}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("an import that lost its lock: %v, want unavailable", err)
	}
	_ = first.Close() // says that the session is gone
	if _, err := second.Put(ctx, []directory.Record{{ID: "1"}}); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := a.BeginImport(ctx, "acme", directory.Delta)
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	d := open(t, url)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"postgres://user:hunter2@host:port/db":                            "directory_url",
		"postgres://user:hunter2@/db?host=/nonexistent&connect_timeout=1": "directory_unreachable",
		strings.Replace(url, "/test_", "/other_", 1):                      "directory_denied",
		strings.Replace(url, "postgres@", "nobody:hunter2@", 1):           "directory_denied",
		url + "&default_transaction_read_only=on":                         "directory_busy",
	} {
		d, err := postgres.Open(t.Context(), url)
		if errs.ReasonOf(err) != want {
			t.Errorf("Open(%s) = %v, %v; want %s", url, d, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background()) //nolint:errcheck // the database is dropped
	if _, err := c.Exec(t.Context(), "INSERT INTO directory_schema (version) VALUES (99)"); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Open(t.Context(), url); errs.ReasonOf(err) != "directory_too_new" {
		t.Errorf("Open = %v, want directory_too_new", err)
	}
}
