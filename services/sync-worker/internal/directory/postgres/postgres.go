// Package postgres owns a directory in PostgreSQL, for services that run apart: any number of processes share it.
//
// Everything is in the schema that the connection's search path names first. New people are written through COPY,
// changed ones through COPY into a temporary table and one INSERT ... ON CONFLICT. Two imports of one tenant are kept
// apart by an advisory lock that ends with its session, so that a killed import blocks nobody. Both need a session: a
// pooler in front must pool by session, not by transaction.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/migrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Directory is a directory in PostgreSQL. It implements [directory.Directory].
type Directory struct {
	pool *pgxpool.Pool
	// where names host and database, without credentials.
	where string
}

var _ directory.Directory = (*Directory)(nil)

// defaultConns is how many connections a process makes at most, where the URL does not say: an import holds one.
const defaultConns = 16

// Open connects and brings the schema up to date. The URL is as in postgres://user:password@host:5432/database, with
// libpq's and pgxpool's parameters, such as sslmode and pool_max_conns.
func Open(ctx context.Context, url string) (*Directory, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil { // the error may quote the URL, and with it the password
		return nil, errs.New(errs.Invalid, "directory_url",
			"the directory's address is no PostgreSQL URL; write postgres://user:password@host:5432/database")
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = defaultConns
	}
	c := config.ConnConfig
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "catalogsync"
	}
	c.RuntimeParams["timezone"] = "UTC"
	// Tables grow from nothing to millions of rows while a statement stays prepared: a plan made for the empty table
	// would stay as well, and compare every row with every id.
	c.RuntimeParams["plan_cache_mode"] = "force_custom_plan"
	c.RuntimeParams["jit"] = "off" // compiling takes longer than any of the statements
	d := &Directory{where: fmt.Sprintf("PostgreSQL database %s at %s", c.Database, c.Host)}
	if d.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, d.classify(err, "connect")
	}
	if err := d.migrate(ctx); err != nil {
		d.pool.Close()
		return nil, err
	}
	return d, nil
}

// lockKey is the number of an advisory lock.
func lockKey(parts ...string) int64 {
	return int64(xxhash.Sum64String("catalogsync\x00" + strings.Join(parts, "\x00")))
}

// migrate applies what is missing, one process at a time.
func (d *Directory) migrate(ctx context.Context) error {
	steps, err := migrate.Load(migrations, "migrations")
	if err != nil {
		return errs.Wrap(err, errs.Internal, "directory_schema", "schema of the directory")
	}
	return d.update(ctx, "bring the schema up to date", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", lockKey("schema")); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS directory_schema (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"); err != nil {
			return err
		}
		var version int
		if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM directory_schema").Scan(&version); err != nil {
			return err
		}
		pending, err := migrate.Pending(steps, version)
		if err != nil {
			return err
		}
		for _, step := range pending {
			if _, err := tx.Exec(ctx, step.SQL); err != nil {
				return fmt.Errorf("migration %s: %w", step.Name, err)
			}
			if _, err := tx.Exec(ctx, "INSERT INTO directory_schema (version) VALUES ($1)", step.Version); err != nil {
				return err
			}
		}
		return nil
	})
}

// update runs fn in a transaction and classifies what goes wrong. The doing completes "could not ...".
func (d *Directory) update(ctx context.Context, doing string, fn func(pgx.Tx) error) error {
	return d.classify(pgx.BeginFunc(ctx, d.pool, fn), doing)
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
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch class := e.Code[:min(2, len(e.Code))]; {
		case e.Code == "53100", e.Code == "53400":
			return errs.Wrap(err, errs.Exhausted, "directory_full",
				"could not %s: the disk of the %s is full; free space and try again, nothing that was reported is lost", doing, d.where)
		case class == "28", e.Code == "3D000", e.Code == "42501", class == "3F":
			return errs.Wrap(err, errs.Precondition, "directory_denied",
				"could not %s: the %s refuses us (%s); check the database, the user, the password and the user's rights", doing, d.where, e.Message)
		case class == "40", class == "53", class == "55", class == "57", class == "08", class == "58", e.Code == "25006":
			return errs.Wrap(err, errs.Unavailable, "directory_busy", "could not %s: the %s cannot do it now; try again", doing, d.where)
		}
		return errs.Wrap(err, errs.Internal, "directory", "could not %s", doing)
	}
	// What is left are connections that cannot be made or broke.
	return errs.Wrap(err, errs.Unavailable, "directory_unreachable", "could not %s: the %s cannot be reached; check that it runs", doing, d.where)
}

// Close implements [directory.Directory].
func (d *Directory) Close() error {
	d.pool.Close()
	return nil
}
