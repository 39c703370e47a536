package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

// ProjectOutcomes implements [directory.Directory].
func (d *Directory) ProjectOutcomes(ctx context.Context, tenant, connection, run string, endedAt time.Time, outcomes []*syncv1.Outcome) error {
	stamp := directory.RunStamp{EndedAt: endedAt.Truncate(time.Microsecond), Run: run}
	return d.update(ctx, "keep the outcomes", func(tx *sql.Tx) error {
		newest, err := advance(ctx, tx, tenant, connection, stamp)
		if err != nil {
			return err
		}
		stored, err := storedOutcomes(ctx, tx, tenant, connection, outcomes)
		if err != nil {
			return err
		}
		return upsertOutcomes(ctx, tx, tenant, connection, stamp, directory.Superseding(outcomes, stamp, newest, stored))
	})
}

// outcomeArgs is how many parameters an outcome takes.
const outcomeArgs = 11

func upsertOutcomes(ctx context.Context, tx *sql.Tx, tenant, connection string, stamp directory.RunStamp, outcomes []*syncv1.Outcome) error {
	// In the order of the table, so that neighbours are written together.
	slices.SortFunc(outcomes, func(a, b *syncv1.Outcome) int { return cmp.Compare(a.GetPersonId(), b.GetPersonId()) })
	return inChunks(ctx, tx, outcomes, outcomeArgs, `INSERT INTO outcome
		(tenant, person_id, connection, run, ended_at, kind, record_id, code, message, fields, bulk_job_id) VALUES `,
		` ON CONFLICT DO UPDATE SET run = excluded.run, ended_at = excluded.ended_at, kind = excluded.kind, record_id = excluded.record_id,
		code = excluded.code, message = excluded.message, fields = excluded.fields, bulk_job_id = excluded.bulk_job_id`,
		func(args []any, o *syncv1.Outcome) []any {
			fields := ""
			if len(o.GetFields()) > 0 {
				fields = jsonStrings(o.GetFields())
			}
			return append(args, tenant, o.GetPersonId(), connection, stamp.Run, micros(stamp.EndedAt), int64(o.GetKind()),
				o.GetRecordId(), o.GetCode(), o.GetMessage(), fields, o.GetBulkJobId())
		})
}

// advance notes the run as the newest one of the connection unless there is a newer, and returns the newest.
func advance(ctx context.Context, tx *sql.Tx, tenant, connection string, stamp directory.RunStamp) (directory.RunStamp, error) {
	var newest directory.RunStamp
	var at int64
	err := tx.QueryRowContext(ctx, "SELECT run, ended_at FROM projection WHERE tenant = ?1 AND connection = ?2", tenant, connection).Scan(&newest.Run, &at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return newest, err
	}
	newest.EndedAt = fromMicros(at)
	if err == nil && !newest.Before(stamp) {
		return newest, nil
	}
	_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO projection (tenant, connection, run, ended_at) VALUES (?1, ?2, ?3, ?4)",
		tenant, connection, stamp.Run, micros(stamp.EndedAt))
	return stamp, err
}

func storedOutcomes(ctx context.Context, tx *sql.Tx, tenant, connection string, outcomes []*syncv1.Outcome) (map[string]*directory.StoredOutcome, error) {
	ids := make([]string, len(outcomes))
	for i, o := range outcomes {
		ids[i] = o.GetPersonId()
	}
	slices.Sort(ids)
	rows, err := tx.QueryContext(ctx, `SELECT o.person_id, o.run, o.ended_at, o.kind, o.record_id
		FROM json_each(?3) j CROSS JOIN outcome o ON o.tenant = ?1 AND o.person_id = j.value AND o.connection = ?2`,
		tenant, connection, jsonStrings(ids))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	stored := make(map[string]*directory.StoredOutcome, len(outcomes))
	for rows.Next() {
		var id string
		var at int64
		var s directory.StoredOutcome
		if err := rows.Scan(&id, &s.Run, &at, &s.Kind, &s.RecordID); err != nil {
			return nil, err
		}
		s.EndedAt = fromMicros(at)
		stored[id] = &s
	}
	return stored, rows.Err()
}

// Get implements [directory.Directory].
func (d *Directory) Get(ctx context.Context, tenant, id string) (directory.Person, []directory.PersonOutcome, error) {
	people, err := d.people(ctx, tenant, []string{id})
	if err != nil {
		return directory.Person{}, nil, err
	}
	if len(people) == 0 {
		return directory.Person{}, nil, errs.New(errs.NotFound, "no_person", "nobody has the id %q; ids are those of the Catalog, in the same letter case", id)
	}
	rows, err := d.read.QueryContext(ctx, `SELECT connection, run, ended_at, kind, record_id, code, message, fields, bulk_job_id
		FROM outcome WHERE tenant = ?1 AND person_id = ?2 ORDER BY connection`, tenant, id)
	if err != nil {
		return directory.Person{}, nil, d.classify(err, "read the outcomes")
	}
	defer func() { _ = rows.Close() }()
	var outcomes []directory.PersonOutcome
	for rows.Next() {
		o := directory.PersonOutcome{Outcome: &syncv1.Outcome{PersonId: id}}
		var at int64
		var fields string
		if err := rows.Scan(&o.Connection, &o.Run, &at, &o.Outcome.Kind, &o.Outcome.RecordId, &o.Outcome.Code, &o.Outcome.Message,
			&fields, &o.Outcome.BulkJobId); err != nil {
			return directory.Person{}, nil, d.classify(err, "read the outcomes")
		}
		o.EndedAt = fromMicros(at)
		if fields != "" {
			if err := json.Unmarshal([]byte(fields), &o.Outcome.Fields); err != nil {
				return directory.Person{}, nil, d.classify(err, "read the outcomes")
			}
		}
		outcomes = append(outcomes, o)
	}
	return people[0], outcomes, d.classify(rows.Err(), "read the outcomes")
}
