// Package backend owns the choice of the database behind a directory.
package backend

import (
	"context"
	"strings"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/postgres"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/sqlite"
)

// Open opens the directory that the URL names, sqlite:PATH or postgres://user:password@host:5432/database, and brings
// its schema up to date. Errors never show the URL, which may hold a password.
func Open(ctx context.Context, url string) (directory.Directory, error) {
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		d, err := sqlite.Open(ctx, path)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		d, err := postgres.Open(ctx, url)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	return nil, errs.New(errs.Invalid, "directory_url",
		"the directory's address is neither sqlite:PATH nor postgres://user:password@host:5432/database")
}
