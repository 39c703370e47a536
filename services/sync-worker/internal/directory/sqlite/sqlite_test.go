package sqlite_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/directorytest"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/sqlite"
)

func TestDirectory(t *testing.T) {
	t.Parallel()
	directorytest.Run(t, func(t *testing.T) func() (directory.Directory, error) {
		path := filepath.Join(t.TempDir(), "people?x=1#&%20.db")
		return func() (directory.Directory, error) { return sqlite.Open(t.Context(), path) }
	})
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "people.db")
	d, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(path, reason string) {
		t.Helper()
		if d, err := sqlite.Open(t.Context(), path); errs.ReasonOf(err) != reason {
			t.Errorf("Open(%s) = %v, %v; want %s", path, d, err, reason)
		}
	}
	check(path, "directory_locked")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files { // the database, its log and the lock
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	check("", "directory_url")
	check(filepath.Join(dir, "missing", "people.db"), "directory_open")
	check(dir, "directory_open")

	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte("this is no database, and long enough that nobody could take it for an empty one ......................"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(text, "directory_damaged")
	check(text, "directory_damaged") // not locked: the failed Open gave the lock back

	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	check(path, "directory_too_new")
}

// TestFull: a full disk is said to be one, loses nothing that was reported, and holds nothing up once there is room.
func TestFull(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "people.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if err := d.LimitPages(ctx, 200); err != nil {
		t.Fatal(err)
	}
	m, err := d.BeginImport(ctx, "acme", directory.Full)
	if err != nil {
		t.Fatal(err)
	}
	taken := int64(0)
	put := func() error {
		batch := make([]directory.Record, 100)
		for i := range batch {
			batch[i].ID = fmt.Sprintf("%08d", taken+int64(i))
			batch[i].Set(directory.Street, strings.Repeat("x", 200))
		}
		_, err := m.Put(ctx, batch)
		if err == nil {
			taken += int64(len(batch))
		}
		return err
	}
	for err == nil {
		err = put()
	}
	if errs.KindOf(err) != errs.Exhausted || errs.ReasonOf(err) != "directory_full" || taken == 0 {
		t.Fatalf("after %d people: %v, want directory_full", taken, err)
	}
	check := func() {
		t.Helper()
		if c, err := d.Count(ctx, "acme"); err != nil || c.People != taken {
			t.Errorf("%d people, %v; want %d", c.People, err, taken)
		}
	}
	check()
	if err := d.LimitPages(ctx, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Error(err)
	}
	check()
	if gone, err := m.MarkGone(ctx); err != nil || gone != 0 {
		t.Errorf("%d gone, %v", gone, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
