// Package migrate owns the order of a store's schema changes: numbered SQL files, each applied once. How one is applied
// is the store's business.
package migrate

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/catalogsync/catalogsync/internal/errs"
)

// Step is one schema change.
type Step struct {
	// Version counts from 1 without gaps.
	Version int
	// Name of the file, for messages.
	Name string
	// SQL holds its statements.
	SQL string
}

// Load reads the steps of a directory of files named like 0001_people.sql, in order.
func Load(files fs.FS, dir string) ([]Step, error) {
	entries, err := fs.ReadDir(files, dir) // sorted by name
	if err != nil {
		return nil, err
	}
	steps := make([]Step, 0, len(entries))
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != len(steps)+1 {
			return nil, fmt.Errorf("migration %s: want number %04d", e.Name(), len(steps)+1)
		}
		sql, err := fs.ReadFile(files, path.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		steps = append(steps, Step{Version: version, Name: e.Name(), SQL: string(sql)})
	}
	return steps, nil
}

// Pending returns the steps that a store at the version still needs. A store from a newer program is refused.
func Pending(steps []Step, version int) ([]Step, error) {
	if version > len(steps) {
		return nil, errs.New(errs.Precondition, "directory_too_new",
			"the directory was made by a newer version of this program (schema %d, this one knows %d); start that version or restore a backup",
			version, len(steps))
	}
	return steps[version:], nil
}
