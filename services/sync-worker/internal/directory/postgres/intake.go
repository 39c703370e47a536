package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory/intake"
)

// BeginImport implements [directory.Directory].
func (d *Directory) BeginImport(ctx context.Context, tenant string, mode directory.Mode) (directory.Import, error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, d.classify(err, "begin the import")
	}
	s := &intakeStore{d: d, tenant: tenant, conn: conn, key: lockKey("import", tenant)}
	var locked bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", s.key).Scan(&locked); err != nil {
		conn.Release()
		return nil, d.classify(err, "begin the import")
	}
	if !locked {
		conn.Release()
		return nil, errs.New(errs.Conflict, "import_running", "another import of the same people is running; try again when it has ended")
	}
	m, err := intake.New(ctx, s, mode)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// intakeStore implements [intake.Store]. All that it does, it does in the session that holds the lock: a session that
// was lost takes lock and import with it.
type intakeStore struct {
	d      *Directory
	tenant string
	conn   *pgxpool.Conn
	key    int64
}

func (s *intakeStore) Release() error {
	defer s.conn.Release()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := s.conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", s.key); err != nil {
		_ = s.conn.Conn().Close(ctx) // ends the session, and the lock with it; the pool makes another
		return s.d.classify(err, "end the import")
	}
	return nil
}

func (s *intakeStore) LastNum(ctx context.Context) (int64, error) {
	var n int64
	err := s.conn.QueryRow(ctx, "SELECT last_num FROM numbering WHERE tenant = $1", s.tenant).Scan(&n)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return n, s.d.classify(err, "begin the import")
}

func (s *intakeStore) Attributes(ctx context.Context) ([]string, error) {
	names, err := attributes(ctx, s.conn, s.tenant)
	return names, s.d.classify(err, "begin the import")
}

// wanted are the people of the tenant $1 with the ids $2. OFFSET 0 keeps the look-up of one id a look-up: while the
// table grows its statistics are old, and the planner would rather read all of it.
const wanted = "unnest($2::text[]) AS wanted(wanted_id) CROSS JOIN LATERAL (SELECT ctid, * FROM people WHERE tenant = $1 AND id = wanted.wanted_id OFFSET 0) AS p"

func (s *intakeStore) Lookup(ctx context.Context, ids []string) (map[string]intake.Known, error) {
	rows, err := s.conn.Query(ctx, `SELECT p.id, p.num, p.hash, p.gone_at IS NOT NULL FROM `+wanted, s.tenant, ids)
	if err != nil {
		return nil, s.d.classify(err, "look people up")
	}
	known := make(map[string]intake.Known, len(ids))
	var id string
	var num, hash int64
	var gone bool
	_, err = pgx.ForEachRow(rows, []any{&id, &num, &hash, &gone}, func() error {
		known[id] = intake.Known{Num: num, Hash: uint64(hash), Gone: gone}
		return nil
	})
	return known, s.d.classify(err, "look people up")
}

func (s *intakeStore) Load(ctx context.Context, ids []string) (map[string]*directory.Record, error) {
	rows, err := s.conn.Query(ctx, "SELECT "+personColumns+" FROM "+wanted, s.tenant, ids)
	if err != nil {
		return nil, s.d.classify(err, "read people")
	}
	people, err := collectPersons(rows)
	if err != nil {
		return nil, s.d.classify(err, "read people")
	}
	records := make(map[string]*directory.Record, len(people))
	for i := range people {
		records[people[i].ID] = &people[i].Record
	}
	return records, nil
}

// writeColumns are the columns that an import writes.
var writeColumns = append([]string{"tenant", "id", "num", "hash", "changed_at", "nulls", "attributes"}, fieldColumns...)

// mergeSQL replaces people by the rows of the temporary table. The number stays; somebody who was gone is back.
var mergeSQL = func() string {
	set := []string{"gone_at = NULL"}
	for _, c := range writeColumns[3:] {
		set = append(set, fmt.Sprintf(`"%s" = excluded."%s"`, c, c))
	}
	columns := quoted(writeColumns)
	return "INSERT INTO people (" + columns + ") SELECT " + columns + " FROM incoming_people ON CONFLICT (tenant, id) DO UPDATE SET " +
		strings.Join(set, ", ")
}()

func (s *intakeStore) Write(ctx context.Context, rows []intake.Row, attributes []string, lastNum int64) error {
	now := time.Now()
	var fresh, known []intake.Row
	for _, row := range rows {
		if row.New {
			fresh = append(fresh, row)
		} else {
			known = append(known, row)
		}
	}
	return s.d.classify(pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO numbering (tenant, last_num) VALUES ($1, $2) ON CONFLICT (tenant) DO UPDATE SET last_num = excluded.last_num",
			s.tenant, lastNum); err != nil {
			return err
		}
		if len(attributes) > 0 {
			if _, err := tx.Exec(ctx, "INSERT INTO attribute (tenant, name) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING", s.tenant, attributes); err != nil {
				return err
			}
		}
		if err := s.copy(ctx, tx, "people", now, fresh); err != nil || len(known) == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE IF NOT EXISTS incoming_people (LIKE people) ON COMMIT DELETE ROWS"); err != nil {
			return err
		}
		if err := s.copy(ctx, tx, "incoming_people", now, known); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, mergeSQL)
		return err
	}), "write people")
}

// copy copies rows into a table.
func (s *intakeStore) copy(ctx context.Context, tx pgx.Tx, table string, now time.Time, rows []intake.Row) error {
	if len(rows) == 0 {
		return nil
	}
	values := make([]any, len(writeColumns))
	_, err := tx.CopyFrom(ctx, pgx.Identifier{table}, writeColumns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		fillValues(values, s.tenant, now, rows[i])
		return values, nil
	}))
	return err
}

func fillValues(values []any, tenant string, now time.Time, row intake.Row) {
	r := row.Record
	values[0], values[1], values[2], values[3], values[4], values[5] = tenant, r.ID, row.Num, int64(row.Hash), now, int32(r.Null)
	values[6] = nil
	if a := directory.EncodeAttributes(r.Attributes); a != "" {
		values[6] = a
	}
	for f := range r.Values {
		values[7+f] = nil
		if v, p := r.Value(directory.Field(f)); p == directory.Present {
			values[7+f] = v
		}
	}
}

func (s *intakeStore) Members(ctx context.Context, after string, limit int) ([]intake.Member, error) {
	rows, err := s.conn.Query(ctx, "SELECT id, num FROM people WHERE tenant = $1 AND id > $2 AND gone_at IS NULL ORDER BY id LIMIT $3", s.tenant, after, limit)
	if err != nil {
		return nil, s.d.classify(err, "look for people who are gone")
	}
	members, err := pgx.CollectRows(rows, pgx.RowToStructByPos[intake.Member])
	return members, s.d.classify(err, "look for people who are gone")
}

func (s *intakeStore) MarkGone(ctx context.Context, ids []string) error {
	_, err := s.conn.Exec(ctx, "UPDATE people SET gone_at = $3, changed_at = $3 WHERE ctid = ANY (ARRAY(SELECT p.ctid FROM "+wanted+"))",
		s.tenant, ids, time.Now())
	return s.d.classify(err, "mark people gone")
}
