package sqlite

import (
	"cmp"
	"context"
	"database/sql"
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
		kept := directory.Superseding(outcomes, stamp, newest, stored)
		if err := keepHistory(ctx, tx, tenant, connection, stamp, directory.Replaced(kept, run, stored)); err != nil {
			return err
		}
		return upsertOutcomes(ctx, tx, tenant, connection, stamp, kept)
	})
}

// keepHistory copies the outcomes of people, which are about to be replaced, and lets go of what is too old.
func keepHistory(ctx context.Context, tx *sql.Tx, tenant, connection string, stamp directory.RunStamp, people []string) error {
	if len(people) == 0 {
		return nil
	}
	ids := jsonStrings(people)
	if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO history
		SELECT o.tenant, o.person_id, o.connection, o.ended_at, o.run, o.kind, o.record_id, o.code, o.message, o.fields, o.bulk_job_id, o.other_ids, o.field_map_version
		FROM json_each(?3) j CROSS JOIN outcome o ON o.tenant = ?1 AND o.person_id = j.value AND o.connection = ?2`, tenant, connection, ids); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM history WHERE tenant = ?1 AND connection = ?2 AND ended_at < ?4
		AND person_id IN (SELECT value FROM json_each(?3))`, tenant, connection, ids, micros(stamp.EndedAt.Add(-directory.HistoryAge)))
	return err
}

// outcomeArgs is how many parameters an outcome takes.
const outcomeArgs = 14

func upsertOutcomes(ctx context.Context, tx *sql.Tx, tenant, connection string, stamp directory.RunStamp, outcomes []*syncv1.Outcome) error {
	// In the order of the table, so that neighbours are written together.
	slices.SortFunc(outcomes, func(a, b *syncv1.Outcome) int { return cmp.Compare(a.GetPersonId(), b.GetPersonId()) })
	return inChunks(ctx, tx, outcomes, outcomeArgs, `INSERT INTO outcome
		(tenant, person_id, connection, run, ended_at, kind, record_id, code, message, fields, bulk_job_id, other_ids, field_map_version, known_record) VALUES `,
		` ON CONFLICT DO UPDATE SET run = excluded.run, ended_at = excluded.ended_at, kind = excluded.kind, record_id = excluded.record_id,
		code = excluded.code, message = excluded.message, fields = excluded.fields, bulk_job_id = excluded.bulk_job_id,
		other_ids = excluded.other_ids, field_map_version = excluded.field_map_version, known_record = CASE excluded.known_record WHEN '' THEN known_record ELSE excluded.known_record END`,
		func(args []any, o *syncv1.Outcome) []any {
			return append(args, tenant, o.GetPersonId(), connection, stamp.Run, micros(stamp.EndedAt), int64(o.GetKind()), o.GetRecordId(),
				o.GetCode(), o.GetMessage(), list(o.GetFields()), o.GetBulkJobId(), list(o.GetOtherRecordIds()), int64(o.GetFieldMapVersion()), o.GetRecordId())
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
	outcomes, err := d.outcomes(ctx, "SELECT "+outcomeColumns+" FROM outcome WHERE tenant = ?1 AND person_id = ?2 ORDER BY connection", tenant, id)
	return people[0], outcomes, err
}

// list is how a list of strings is stored.
func list(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return jsonStrings(texts)
}

const outcomeColumns = "connection, run, ended_at, person_id, kind, record_id, code, message, fields, bulk_job_id, other_ids, field_map_version"

func (d *Directory) outcomes(ctx context.Context, query string, args ...any) ([]directory.PersonOutcome, error) {
	const doing = "read the outcomes"
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, d.classify(err, doing)
	}
	defer func() { _ = rows.Close() }()
	var all []directory.PersonOutcome
	for rows.Next() {
		o := directory.PersonOutcome{Outcome: &syncv1.Outcome{}}
		var at int64
		var fields, others string
		if err := rows.Scan(&o.Connection, &o.Run, &at, &o.Outcome.PersonId, &o.Outcome.Kind, &o.Outcome.RecordId, &o.Outcome.Code, &o.Outcome.Message,
			&fields, &o.Outcome.BulkJobId, &others, &o.Outcome.FieldMapVersion); err != nil {
			return nil, d.classify(err, doing)
		}
		o.EndedAt = fromMicros(at)
		if err := directory.DecodeLists(o.Outcome, fields, others); err != nil {
			return nil, d.classify(err, doing)
		}
		all = append(all, o)
	}
	return all, d.classify(rows.Err(), doing)
}

// History implements [directory.Directory].
func (d *Directory) History(ctx context.Context, tenant, connection, person string, limit int) ([]directory.PersonOutcome, error) {
	const from = "SELECT " + outcomeColumns + " FROM "
	const where = " WHERE tenant = ?1 AND connection = ?2 AND person_id = ?3"
	return d.outcomes(ctx, from+"outcome"+where+" UNION ALL "+from+"history"+where+" ORDER BY ended_at DESC, run DESC LIMIT ?4", tenant, connection, person, limit)
}

// KnownRecords implements [directory.Directory].
func (d *Directory) KnownRecords(ctx context.Context, tenant, connection string, people []string) (map[string]string, error) {
	const doing = "read the known records"
	rows, err := d.read.QueryContext(ctx, `SELECT o.person_id, o.known_record FROM json_each(?3) j
		CROSS JOIN outcome o ON o.tenant = ?1 AND o.person_id = j.value AND o.connection = ?2 WHERE o.known_record <> ''`, tenant, connection, jsonStrings(people))
	if err != nil {
		return nil, d.classify(err, doing)
	}
	defer func() { _ = rows.Close() }()
	known := make(map[string]string)
	for rows.Next() {
		var person, record string
		if err := rows.Scan(&person, &record); err != nil {
			return nil, d.classify(err, doing)
		}
		known[person] = record
	}
	return known, d.classify(rows.Err(), doing)
}

const leavers = ` FROM people p CROSS JOIN outcome o ON o.tenant = p.tenant AND o.person_id = p.id AND o.connection = ?2
	WHERE p.tenant = ?1 AND p.gone_at IS NOT NULL AND o.known_record <> ''`

// Leavers implements [directory.Directory].
func (d *Directory) Leavers(ctx context.Context, tenant, connection, after string, limit int) ([]directory.Leaver, error) {
	const doing = "read the leavers"
	rows, err := d.read.QueryContext(ctx, "SELECT p.id, o.known_record"+leavers+" AND p.id > ?3 ORDER BY p.id LIMIT ?4", tenant, connection, after, limit)
	if err != nil {
		return nil, d.classify(err, doing)
	}
	defer func() { _ = rows.Close() }()
	var found []directory.Leaver
	for rows.Next() {
		var l directory.Leaver
		if err := rows.Scan(&l.Person, &l.Record); err != nil {
			return nil, d.classify(err, doing)
		}
		found = append(found, l)
	}
	return found, d.classify(rows.Err(), doing)
}

// CountLeavers implements [directory.Directory].
func (d *Directory) CountLeavers(ctx context.Context, tenant, connection string) (int64, error) {
	var n int64
	err := d.read.QueryRowContext(ctx, "SELECT count(*)"+leavers, tenant, connection).Scan(&n)
	return n, d.classify(err, "count the leavers")
}

// PersonOfRecord implements [directory.Directory].
func (d *Directory) PersonOfRecord(ctx context.Context, tenant, connection, record string) (string, error) {
	var person string
	err := d.read.QueryRowContext(ctx, "SELECT person_id FROM outcome WHERE tenant = ?1 AND connection = ?2 AND known_record = ?3 ORDER BY ended_at DESC LIMIT 1",
		tenant, connection, record).Scan(&person)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return person, d.classify(err, "find the person of a record")
}

// DropOutcomes implements [directory.Directory].
func (d *Directory) DropOutcomes(ctx context.Context, tenant, connection string) error {
	return d.update(ctx, "drop the outcomes", func(tx *sql.Tx) error {
		for _, table := range []string{"outcome", "history", "projection"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE tenant = ?1 AND connection = ?2", tenant, connection); err != nil {
				return err
			}
		}
		return nil
	})
}
