package backend_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/internal/testkit"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/backend"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"sqlite:" + filepath.Join(t.TempDir(), "people.db"), testkit.Postgres(t)} {
		d, err := backend.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Count(t.Context(), "acme"); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, url := range []string{"", "sqlite:", "mysql://user:hunter2@host/db", "people.db", "postgres://user:hunter2@host:x/db"} {
		d, err := backend.Open(t.Context(), url)
		if d != nil || errs.ReasonOf(err) != "directory_url" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%q) = %v, %v", url, d, err)
		}
	}
}
