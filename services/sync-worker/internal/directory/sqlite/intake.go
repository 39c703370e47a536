package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/intake"
)

// BeginImport implements [directory.Directory].
func (d *Directory) BeginImport(ctx context.Context, tenant string, mode directory.Mode) (directory.Import, error) {
	d.mu.Lock()
	taken := d.importing[tenant]
	d.importing[tenant] = true
	d.mu.Unlock()
	if taken {
		return nil, errs.New(errs.Conflict, "import_running", "another import of the same people is running; try again when it has ended")
	}
	m, err := intake.New(ctx, &intakeStore{d: d, tenant: tenant}, mode)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// intakeStore implements [intake.Store].
type intakeStore struct {
	d      *Directory
	tenant string
}

func (s *intakeStore) Release() error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	delete(s.d.importing, s.tenant)
	return nil
}

func (s *intakeStore) LastNum(ctx context.Context) (int64, error) {
	var n int64
	err := s.d.read.QueryRowContext(ctx, "SELECT last_num FROM numbering WHERE tenant = ?1", s.tenant).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, s.d.classify(err, "begin the import")
}

func (s *intakeStore) Attributes(ctx context.Context) ([]string, error) {
	return s.d.attributes(ctx, s.tenant)
}

func (s *intakeStore) Lookup(ctx context.Context, ids []string) (map[string]intake.Known, error) {
	// Sorted, so that the look-ups walk the index in its order.
	sorted := slices.Sorted(slices.Values(ids))
	rows, err := s.d.read.QueryContext(ctx, `SELECT p.id, p.num, p.hash, p.gone_at IS NOT NULL
		FROM json_each(?2) j CROSS JOIN people p ON p.tenant = ?1 AND p.id = j.value`, s.tenant, jsonStrings(sorted))
	if err != nil {
		return nil, s.d.classify(err, "look people up")
	}
	defer func() { _ = rows.Close() }()
	known := make(map[string]intake.Known, len(ids))
	for rows.Next() {
		var id string
		var hash int64
		var k intake.Known
		if err := rows.Scan(&id, &k.Num, &hash, &k.Gone); err != nil {
			return nil, s.d.classify(err, "look people up")
		}
		k.Hash = uint64(hash)
		known[id] = k
	}
	return known, s.d.classify(rows.Err(), "look people up")
}

func (s *intakeStore) Load(ctx context.Context, ids []string) (map[string]*directory.Record, error) {
	people, err := s.d.people(ctx, s.tenant, ids)
	if err != nil {
		return nil, err
	}
	records := make(map[string]*directory.Record, len(people))
	for i := range people {
		records[people[i].ID] = &people[i].Record
	}
	return records, nil
}

// chunk is how many people one INSERT takes: enough to spread the cost of a statement.
const chunk = 32

func (s *intakeStore) Write(ctx context.Context, rows []intake.Row, attributes []string, lastNum int64) error {
	now := micros(time.Now())
	return s.d.update(ctx, "write people", func(tx *sql.Tx) error {
		for _, name := range attributes {
			if _, err := tx.ExecContext(ctx, "INSERT INTO attribute (tenant, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING", s.tenant, name); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO numbering (tenant, last_num) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET last_num = excluded.last_num", s.tenant, lastNum); err != nil {
			return err
		}
		return inChunks(ctx, tx, rows, rowArgs, insertPeople, replacePeople, func(args []any, row intake.Row) []any {
			return appendArgs(args, s.tenant, now, row)
		})
	})
}

// inChunks inserts items, a chunk with one statement: the values come between head and tail.
func inChunks[T any](ctx context.Context, tx *sql.Tx, items []T, columns int, head, tail string, appendTo func([]any, T) []any) error {
	one := "(?" + strings.Repeat(",?", columns-1) + ")"
	args := make([]any, 0, chunk*columns)
	var stmt *sql.Stmt
	for part := range slices.Chunk(items, chunk) {
		if stmt == nil || len(part) < chunk {
			var err error
			if stmt, err = tx.PrepareContext(ctx, head+one+strings.Repeat(","+one, len(part)-1)+tail); err != nil {
				return err
			}
			defer func() { _ = stmt.Close() }()
		}
		args = args[:0]
		for _, item := range part {
			args = appendTo(args, item)
		}
		if _, err := stmt.ExecContext(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// rowArgs is how many parameters a person takes.
const rowArgs = 7 + directory.NumFields

var insertPeople = "INSERT INTO people (tenant, id, num, hash, changed_at, nulls, attributes, " + strings.Join(fieldColumns, ", ") + ") VALUES "

// replacePeople: the number stays; somebody who was gone is back.
var replacePeople = func() string {
	var b strings.Builder
	b.WriteString(" ON CONFLICT (tenant, id) DO UPDATE SET gone_at = NULL, hash = excluded.hash, changed_at = excluded.changed_at, " +
		"nulls = excluded.nulls, attributes = excluded.attributes")
	for _, c := range fieldColumns {
		fmt.Fprintf(&b, ", %s = excluded.%s", c, c)
	}
	return b.String()
}()

func appendArgs(args []any, tenant string, now int64, row intake.Row) []any {
	r := row.Record
	args = append(args, tenant, r.ID, row.Num, int64(row.Hash), now, int64(r.Null))
	if a := directory.EncodeAttributes(r.Attributes); a != "" {
		args = append(args, a)
	} else {
		args = append(args, nil)
	}
	for f := range r.Values {
		if v, p := r.Value(directory.Field(f)); p == directory.Present {
			args = append(args, v)
		} else {
			args = append(args, nil)
		}
	}
	return args
}

func (s *intakeStore) Members(ctx context.Context, after string, limit int) ([]intake.Member, error) {
	rows, err := s.d.read.QueryContext(ctx, "SELECT id, num FROM people WHERE tenant = ?1 AND id > ?2 AND gone_at IS NULL ORDER BY id LIMIT ?3",
		s.tenant, after, limit)
	if err != nil {
		return nil, s.d.classify(err, "look for people who are gone")
	}
	defer func() { _ = rows.Close() }()
	page := make([]intake.Member, 0, limit)
	for rows.Next() {
		var m intake.Member
		if err := rows.Scan(&m.ID, &m.Num); err != nil {
			return nil, s.d.classify(err, "look for people who are gone")
		}
		page = append(page, m)
	}
	return page, s.d.classify(rows.Err(), "look for people who are gone")
}

func (s *intakeStore) MarkGone(ctx context.Context, ids []string) error {
	now := micros(time.Now())
	return s.d.update(ctx, "mark people gone", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE people SET gone_at = ?1, changed_at = ?1 WHERE tenant = ?2 AND id IN (SELECT value FROM json_each(?3))",
			now, s.tenant, jsonStrings(ids))
		return err
	})
}
