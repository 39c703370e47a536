// Package sqlite owns a directory in one SQLite file, for a program that runs alone. It needs no cgo.
//
// One process has the file (a lock beside it refuses a second one by name), one connection writes, several read. The
// file is in WAL mode, so that readers and the writer do not wait for each other, and synchronous is FULL: a
// transaction that was reported is on the disk, power cut or not. Transactions hold thousands of people, so the flush
// costs nothing that can be measured.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/migrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Directory is a directory in a file. It implements [directory.Directory].
type Directory struct {
	path string
	lock *os.File
	// write has one connection; a transaction on it begins IMMEDIATE.
	write *sql.DB
	read  *sql.DB

	mu        sync.Mutex
	importing map[string]bool // tenants with an open import
}

var _ directory.Directory = (*Directory)(nil)

// readers is how many statements read at once.
const readers = 4

// Open opens the file, which is made if missing, and brings its schema up to date.
func Open(ctx context.Context, path string) (*Directory, error) {
	if path == "" {
		return nil, errs.New(errs.Invalid, "directory_url", "sqlite: needs the path of a file, as in sqlite:data/people.db")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "directory_open", "path of the directory file %s", path)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	d := &Directory{path: path, lock: lock, importing: map[string]bool{}}
	if err := d.open(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Directory) open(ctx context.Context) error {
	// People are nobody else's business: SQLite gives the files beside it the permissions of this one.
	f, err := os.OpenFile(d.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return errs.Wrap(err, errs.Precondition, "directory_open",
			"the directory %s cannot be opened; check that it is a file and may be written", d.path)
	}
	if err := f.Close(); err != nil {
		return d.classify(err, "open")
	}
	// The page caches are small and files are not mapped: all connections together stay within some 40 MiB, and the
	// system's own cache serves the rest. The log is written back every 64 MiB, not every 4: imports run half as long.
	if d.write, err = sql.Open("sqlite", dsn(d.path, "_pragma=busy_timeout(10000)&_pragma=cache_size(-16384)&_pragma=journal_mode(WAL)"+
		"&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(16384)&_txlock=immediate")); err != nil {
		return d.classify(err, "open")
	}
	d.write.SetMaxOpenConns(1)
	if err := d.migrate(ctx); err != nil {
		return err
	}
	if d.read, err = sql.Open("sqlite", dsn(d.path, "_pragma=busy_timeout(10000)&_pragma=cache_size(-4096)&_pragma=query_only(1)")); err != nil {
		return d.classify(err, "open")
	}
	d.read.SetMaxOpenConns(readers)
	d.read.SetMaxIdleConns(readers)
	return nil
}

func dsn(path, query string) string {
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query}).String()
}

// lockFile takes the lock that keeps a second process away.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errs.Wrap(err, errs.Precondition, "directory_open",
			"the directory's lock file %s cannot be opened; check that its folder exists and may be written", path)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errs.Wrap(err, errs.Precondition, "directory_locked",
			"another process has the directory (%s is locked); stop it, or use another data directory, or PostgreSQL for several processes", path)
	}
	return f, nil
}

func (d *Directory) migrate(ctx context.Context) error {
	steps, err := migrate.Load(migrations, "migrations")
	if err != nil {
		return errs.Wrap(err, errs.Internal, "directory_schema", "schema of the directory")
	}
	return d.update(ctx, "bring the schema up to date", func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		pending, err := migrate.Pending(steps, version)
		if err != nil {
			return err
		}
		for _, step := range pending {
			if _, err := tx.ExecContext(ctx, step.SQL); err != nil {
				return fmt.Errorf("migration %s: %w", step.Name, err)
			}
			if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", step.Version)); err != nil {
				return err
			}
		}
		return nil
	})
}

// update runs fn in a write transaction and classifies what goes wrong. The doing completes "could not ...".
func (d *Directory) update(ctx context.Context, doing string, fn func(*sql.Tx) error) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return d.classify(err, doing)
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback()
		return d.classify(err, doing)
	}
	return d.classify(tx.Commit(), doing)
}

// classify gives an error of the database a kind and a text.
func (d *Directory) classify(err error, doing string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*errs.Error](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("directory: %s: %w", doing, err)
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return errs.Wrap(err, errs.Exhausted, "directory_full",
				"could not %s: the disk that holds %s is full; free space and try again, nothing that was reported is lost", doing, d.path)
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return errs.Wrap(err, errs.Unavailable, "directory_busy", "could not %s: the directory is busy; try again", doing)
		case sqlite3.SQLITE_INTERRUPT:
			return fmt.Errorf("directory: %s: %w", doing, context.Canceled)
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return errs.Wrap(err, errs.Precondition, "directory_damaged",
				"could not %s: %s is damaged or no directory; restore it from a backup, or remove it and import the people again", doing, d.path)
		case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
			return errs.Wrap(err, errs.Precondition, "directory_open",
				"could not %s: %s cannot be opened or written; check the folder and its permissions", doing, d.path)
		}
	}
	return errs.Wrap(err, errs.Internal, "directory", "could not %s", doing)
}

// Close implements [directory.Directory].
func (d *Directory) Close() error {
	var problems []error
	if d.read != nil {
		problems = append(problems, d.read.Close())
	}
	if d.write != nil {
		problems = append(problems, d.write.Close())
	}
	problems = append(problems, d.lock.Close()) // releases the lock
	return errors.Join(problems...)
}

func micros(t time.Time) int64     { return t.UnixMicro() }
func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }
