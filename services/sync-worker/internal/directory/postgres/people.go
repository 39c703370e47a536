package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

const (
	// pageRows and pageBytes end a page of a scan, whichever comes first. A page is in memory before its rows are handed
	// out, so that no connection is held meanwhile.
	pageRows  = 2_000
	pageBytes = 4 << 20
)

// fieldColumns are the columns of the fixed fields, in the order of [directory.Field].
var fieldColumns = directory.FieldNames()

func quoted(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }

// Ranges implements [directory.Directory].
func (d *Directory) Ranges(ctx context.Context, tenant string, rowsPerRange int) ([]directory.Range, int64, error) {
	if rowsPerRange < 1 {
		return nil, 0, errs.New(errs.Internal, "ranges", "a range needs at least one row")
	}
	rows, err := d.pool.Query(ctx, `SELECT n, id FROM (
		SELECT id, row_number() OVER (ORDER BY id) AS n, lead(id) OVER (ORDER BY id) IS NULL AS is_last
		FROM people WHERE tenant = $1 AND gone_at IS NULL
	) p WHERE n % $2 = 0 OR is_last ORDER BY n`, tenant, rowsPerRange)
	if err != nil {
		return nil, 0, d.classify(err, "count the people")
	}
	var ranges []directory.Range
	var n int64
	var from, to string
	_, err = pgx.ForEachRow(rows, []any{&n, &to}, func() error {
		ranges = append(ranges, directory.Range{From: from, To: to})
		from = to
		return nil
	})
	return ranges, n, d.classify(err, "count the people")
}

// Scan implements [directory.Directory].
func (d *Directory) Scan(ctx context.Context, tenant string, r directory.Range, columns []string, fn func(*rowv1.Row) error) error {
	s, err := directory.NewSelection(columns)
	if err != nil {
		return err
	}
	query := "SELECT id, nulls"
	for _, f := range s.Fields() {
		query += `, "` + f.String() + `"`
	}
	if s.Attributes() {
		query += ", attributes::text"
	}
	query += fmt.Sprintf(" FROM people WHERE tenant = $1 AND id > $2 AND id <= $3 AND gone_at IS NULL ORDER BY id LIMIT %d", pageRows)
	page := make([]*rowv1.Row, 0, pageRows)
	for more := true; more; {
		page, more, err = d.page(ctx, query, s, page[:0], tenant, r)
		if err != nil {
			return d.classify(err, "read people")
		}
		for _, row := range page {
			if err := fn(row); err != nil {
				return err
			}
			r.From = row.GetId()
		}
	}
	return nil
}

// page appends one page to rows and reports whether there may be more.
func (d *Directory) page(ctx context.Context, query string, s *directory.Selection, page []*rowv1.Row, tenant string, r directory.Range) ([]*rowv1.Row, bool, error) {
	rows, err := d.pool.Query(ctx, query, tenant, r.From, r.To)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	var id string
	var nulls uint32
	var attributes *string
	values := make([]*string, len(s.Fields()))
	targets := []any{&id, &nulls}
	for i := range values {
		targets = append(targets, &values[i])
	}
	if s.Attributes() {
		targets = append(targets, &attributes)
	}
	size := 0
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, false, err
		}
		rec := directory.Record{ID: id}
		for i, f := range s.Fields() {
			size += setField(&rec, f, values[i], nulls)
		}
		if attributes != nil {
			if rec.Attributes, err = directory.DecodeAttributes(*attributes); err != nil {
				return nil, false, err
			}
			size += len(*attributes)
		}
		page = append(page, s.Row(&rec))
		if size >= pageBytes {
			return page, true, nil
		}
	}
	return page, len(page) == pageRows, rows.Err()
}

// setField sets what a column holds and returns its length.
func setField(r *directory.Record, f directory.Field, v *string, nulls uint32) int {
	switch {
	case v != nil:
		r.Set(f, *v)
		return len(*v)
	case nulls&(1<<f) != 0:
		r.SetNull(f)
	}
	return 0
}

// Columns implements [directory.Directory].
func (d *Directory) Columns(ctx context.Context, tenant string) ([]string, error) {
	names, err := attributes(ctx, d.pool, tenant)
	if err != nil {
		return nil, d.classify(err, "read the custom attributes")
	}
	columns := append([]string{directory.IDColumn}, directory.FieldNames()...)
	for _, name := range names {
		columns = append(columns, directory.AttributePrefix+name)
	}
	return columns, nil
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func attributes(ctx context.Context, q querier, tenant string) ([]string, error) {
	rows, err := q.Query(ctx, "SELECT name FROM attribute WHERE tenant = $1 ORDER BY name", tenant)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Count implements [directory.Directory].
func (d *Directory) Count(ctx context.Context, tenant string) (directory.Counts, error) {
	c := directory.Counts{BySubaccount: map[string]int64{}}
	rows, err := d.pool.Query(ctx,
		"SELECT gone_at IS NOT NULL, coalesce(subaccount, ''), count(*) FROM people WHERE tenant = $1 GROUP BY 1, 2", tenant)
	if err != nil {
		return c, d.classify(err, "count the people")
	}
	var gone bool
	var subaccount string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&gone, &subaccount, &n}, func() error {
		if gone {
			c.Gone += n
		} else {
			c.People += n
			c.BySubaccount[subaccount] = n
		}
		return nil
	})
	return c, d.classify(err, "count the people")
}

var personColumns = "id, gone_at IS NOT NULL, changed_at, nulls, attributes::text, " + quoted(fieldColumns)

// List implements [directory.Directory].
func (d *Directory) List(ctx context.Context, tenant string, o directory.ListOptions) ([]directory.Person, string, error) {
	query := "SELECT " + personColumns + " FROM people WHERE tenant = $1 AND id > $2"
	args := []any{tenant, withoutNUL(o.After)}
	if !o.IncludeGone {
		query += " AND gone_at IS NULL"
	}
	if o.Subaccount != "" {
		args = append(args, withoutNUL(o.Subaccount))
		query += fmt.Sprintf(" AND subaccount = $%d", len(args))
	}
	if o.Prefix != "" {
		args = append(args, withoutNUL(o.Prefix))
		query += fmt.Sprintf(` AND (starts_with(id, $%[1]d) OR starts_with(lower(email COLLATE "C"), lower($%[1]d COLLATE "C")))`, len(args))
	}
	size := o.PageSize()
	people, err := d.persons(ctx, query+fmt.Sprintf(" ORDER BY id LIMIT %d", size+1), args...)
	if err != nil {
		return nil, "", d.classify(err, "list people")
	}
	if len(people) > size {
		return people[:size], people[size-1].ID, nil
	}
	return people, "", nil
}

// persons reads rows of personColumns.
func (d *Directory) persons(ctx context.Context, query string, args ...any) ([]directory.Person, error) {
	rows, err := d.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return collectPersons(rows)
}

func collectPersons(rows pgx.Rows) ([]directory.Person, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (directory.Person, error) {
		var p directory.Person
		var changed time.Time
		var nulls uint32
		var attributes *string
		var values [directory.NumFields]*string
		targets := []any{&p.ID, &p.Gone, &changed, &nulls, &attributes}
		for i := range values {
			targets = append(targets, &values[i])
		}
		if err := row.Scan(targets...); err != nil {
			return p, err
		}
		for f, v := range values {
			setField(&p.Record, directory.Field(f), v, nulls)
		}
		p.ChangedAt = changed.UTC()
		var err error
		if attributes != nil {
			p.Attributes, err = directory.DecodeAttributes(*attributes)
		}
		return p, err
	})
}
