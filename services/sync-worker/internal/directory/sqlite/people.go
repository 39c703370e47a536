package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	rowv1 "github.com/catalogsync/catalogsync/gen/catalogsync/row/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

const (
	// pageRows and pageBytes end a page of a scan, whichever comes first. A page is in memory before its rows are handed
	// out, so that no read transaction is open meanwhile.
	pageRows  = 2_000
	pageBytes = 4 << 20
)

// fieldColumns are the columns of the fixed fields, in the order of [directory.Field].
var fieldColumns = func() []string {
	names := directory.FieldNames()
	for i, name := range names {
		names[i] = `"` + name + `"`
	}
	return names
}()

// Ranges implements [directory.Directory].
func (d *Directory) Ranges(ctx context.Context, tenant string, rowsPerRange int) ([]directory.Range, int64, error) {
	if rowsPerRange < 1 {
		return nil, 0, errs.New(errs.Internal, "ranges", "a range needs at least one row")
	}
	const doing = "count the people"
	tx, err := d.read.BeginTx(ctx, nil) // all ranges of one state
	if err != nil {
		return nil, 0, d.classify(err, doing)
	}
	defer tx.Rollback() //nolint:errcheck // it only read
	const present = "FROM people WHERE tenant = ?1 AND id > ?2 AND gone_at IS NULL"
	step, err := tx.PrepareContext(ctx, "SELECT id "+present+" ORDER BY id LIMIT 1 OFFSET ?3")
	if err != nil {
		return nil, 0, d.classify(err, doing)
	}
	defer func() { _ = step.Close() }()
	var ranges []directory.Range
	var r directory.Range
	for {
		err := step.QueryRowContext(ctx, tenant, r.From, rowsPerRange-1).Scan(&r.To)
		if errors.Is(err, sql.ErrNoRows) {
			break
		}
		if err != nil {
			return nil, 0, d.classify(err, doing)
		}
		ranges = append(ranges, r)
		r.From = r.To
	}
	total := int64(len(ranges)) * int64(rowsPerRange)
	var rest int64
	if err := tx.QueryRowContext(ctx, "SELECT count(*), coalesce(max(id), '') "+present, tenant, r.From).Scan(&rest, &r.To); err != nil {
		return nil, 0, d.classify(err, doing)
	}
	if rest > 0 {
		ranges = append(ranges, r)
	}
	return ranges, total + rest, nil
}

// Scan implements [directory.Directory].
func (d *Directory) Scan(ctx context.Context, tenant string, r directory.Range, columns []string, fn func(*rowv1.Row) error) error {
	s, err := directory.NewSelection(columns)
	if err != nil {
		return err
	}
	query := "SELECT id, nulls"
	for _, f := range s.Fields() {
		query += ", " + fieldColumns[f]
	}
	if s.Attributes() {
		query += ", attributes"
	}
	query += fmt.Sprintf(" FROM people WHERE tenant = ?1 AND id > ?2 AND id <= ?3 AND gone_at IS NULL ORDER BY id LIMIT %d", pageRows)
	stmt, err := d.read.PrepareContext(ctx, query)
	if err != nil {
		return d.classify(err, "read people")
	}
	defer func() { _ = stmt.Close() }()
	page := make([]*rowv1.Row, 0, pageRows)
	for more := true; more; {
		page, more, err = d.page(ctx, stmt, s, page[:0], tenant, r)
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
func (d *Directory) page(ctx context.Context, stmt *sql.Stmt, s *directory.Selection, page []*rowv1.Row, tenant string, r directory.Range) ([]*rowv1.Row, bool, error) {
	rows, err := stmt.QueryContext(ctx, tenant, r.From, r.To)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = rows.Close() }()
	var id string
	var nulls uint32
	var attributes any
	values := make([]any, len(s.Fields()))
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
			if v, ok := values[i].(string); ok {
				rec.Set(f, v)
				size += len(v)
			} else if nulls&(1<<f) != 0 {
				rec.SetNull(f)
			}
		}
		if text, ok := attributes.(string); ok {
			if rec.Attributes, err = directory.DecodeAttributes(text); err != nil {
				return nil, false, err
			}
			size += len(text)
		}
		page = append(page, s.Row(&rec))
		if size >= pageBytes {
			return page, true, rows.Close()
		}
	}
	return page, len(page) == pageRows, rows.Err()
}

// Columns implements [directory.Directory].
func (d *Directory) Columns(ctx context.Context, tenant string) ([]string, error) {
	names, err := d.attributes(ctx, tenant)
	if err != nil {
		return nil, err
	}
	columns := append([]string{directory.IDColumn}, directory.FieldNames()...)
	for _, name := range names {
		columns = append(columns, directory.AttributePrefix+name)
	}
	return columns, nil
}

func (d *Directory) attributes(ctx context.Context, tenant string) ([]string, error) {
	rows, err := d.read.QueryContext(ctx, "SELECT name FROM attribute WHERE tenant = ?1 ORDER BY name", tenant)
	if err != nil {
		return nil, d.classify(err, "read the custom attributes")
	}
	defer func() { _ = rows.Close() }()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, d.classify(err, "read the custom attributes")
		}
		names = append(names, name)
	}
	return names, d.classify(rows.Err(), "read the custom attributes")
}

// Count implements [directory.Directory].
func (d *Directory) Count(ctx context.Context, tenant string) (directory.Counts, error) {
	c := directory.Counts{BySubaccount: map[string]int64{}}
	rows, err := d.read.QueryContext(ctx,
		"SELECT gone_at IS NOT NULL, coalesce(subaccount, ''), count(*) FROM people WHERE tenant = ?1 GROUP BY 1, 2", tenant)
	if err != nil {
		return c, d.classify(err, "count the people")
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var gone bool
		var subaccount string
		var n int64
		if err := rows.Scan(&gone, &subaccount, &n); err != nil {
			return c, d.classify(err, "count the people")
		}
		if gone {
			c.Gone += n
			continue
		}
		c.People += n
		c.BySubaccount[subaccount] = n
	}
	return c, d.classify(rows.Err(), "count the people")
}

var personColumns = "id, gone_at IS NOT NULL, changed_at, nulls, attributes, " + strings.Join(fieldColumns, ", ")

// List implements [directory.Directory].
func (d *Directory) List(ctx context.Context, tenant string, o directory.ListOptions) ([]directory.Person, string, error) {
	query := "SELECT " + personColumns + " FROM people WHERE tenant = ?1 AND id > ?2"
	args := []any{tenant, o.After}
	if !o.IncludeGone {
		query += " AND gone_at IS NULL"
	}
	if o.Subaccount != "" {
		args = append(args, o.Subaccount)
		query += fmt.Sprintf(" AND subaccount = ?%d", len(args))
	}
	if o.Prefix != "" {
		args = append(args, o.Prefix, likePrefix(o.Prefix))
		query += fmt.Sprintf(" AND (substr(id, 1, length(?%d)) = ?%d OR email LIKE ?%d ESCAPE '\\')", len(args)-1, len(args)-1, len(args))
	}
	size := o.PageSize()
	rows, err := d.read.QueryContext(ctx, query+fmt.Sprintf(" ORDER BY id LIMIT %d", size+1), args...)
	if err != nil {
		return nil, "", d.classify(err, "list people")
	}
	defer func() { _ = rows.Close() }()
	var people []directory.Person
	for rows.Next() {
		if len(people) == size {
			return people, people[size-1].ID, d.classify(rows.Close(), "list people")
		}
		p, err := scanPerson(rows)
		if err != nil {
			return nil, "", d.classify(err, "list people")
		}
		people = append(people, p)
	}
	return people, "", d.classify(rows.Err(), "list people")
}

// likePrefix is the LIKE pattern for texts that begin so. SQLite's LIKE ignores the case of ASCII letters.
func likePrefix(prefix string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(prefix) + "%"
}

func scanPerson(rows *sql.Rows) (directory.Person, error) {
	var p directory.Person
	var changed int64
	var nulls uint32
	var attributes sql.NullString
	var values [directory.NumFields]sql.NullString
	targets := []any{&p.ID, &p.Gone, &changed, &nulls, &attributes}
	for i := range values {
		targets = append(targets, &values[i])
	}
	if err := rows.Scan(targets...); err != nil {
		return p, err
	}
	for i, v := range values {
		if f := directory.Field(i); v.Valid {
			p.Set(f, v.String)
		} else if nulls&(1<<f) != 0 {
			p.SetNull(f)
		}
	}
	p.ChangedAt = fromMicros(changed)
	var err error
	p.Attributes, err = directory.DecodeAttributes(attributes.String)
	return p, err
}

// people reads the people of those ids.
func (d *Directory) people(ctx context.Context, tenant string, ids []string) ([]directory.Person, error) {
	rows, err := d.read.QueryContext(ctx, "SELECT "+personColumns+" FROM people WHERE tenant = ?1 AND id IN (SELECT value FROM json_each(?2))",
		tenant, jsonStrings(ids))
	if err != nil {
		return nil, d.classify(err, "read people")
	}
	defer func() { _ = rows.Close() }()
	people := make([]directory.Person, 0, len(ids))
	for rows.Next() {
		p, err := scanPerson(rows)
		if err != nil {
			return nil, d.classify(err, "read people")
		}
		people = append(people, p)
	}
	return people, d.classify(rows.Err(), "read people")
}

// jsonStrings is the JSON array of the texts: a list as one parameter. The characters <, > and & stay as they are.
func jsonStrings(texts []string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(texts) // strings can always be encoded, and a Buffer takes them
	return b.String()
}
