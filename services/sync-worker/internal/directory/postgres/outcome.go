package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	syncv1 "github.com/catalogsync/catalogsync/gen/catalogsync/sync/v1"
	"github.com/catalogsync/catalogsync/internal/errs"
	"github.com/catalogsync/catalogsync/services/sync-worker/internal/directory"
)

// ProjectOutcomes implements [directory.Directory]. The row of the connection's newest run is locked meanwhile, so that
// several processes may project at once.
func (d *Directory) ProjectOutcomes(ctx context.Context, tenant, connection, run string, endedAt time.Time, outcomes []*syncv1.Outcome) error {
	stamp := directory.RunStamp{EndedAt: endedAt.Truncate(time.Microsecond).UTC(), Run: run}
	return d.update(ctx, "keep the outcomes", func(tx pgx.Tx) error {
		newest, err := advance(ctx, tx, tenant, connection, stamp)
		if err != nil {
			return err
		}
		stored, err := storedOutcomes(ctx, tx, tenant, connection, outcomes)
		if err != nil {
			return err
		}
		kept := directory.Superseding(outcomes, stamp, newest, stored)
		if len(kept) == 0 {
			return nil
		}
		if err := keepHistory(ctx, tx, tenant, connection, stamp, directory.Replaced(kept, run, stored)); err != nil {
			return err
		}
		return upsertOutcomes(ctx, tx, tenant, connection, stamp, kept)
	})
}

// keepHistory copies the outcomes of people, which are about to be replaced, and lets go of what is too old.
func keepHistory(ctx context.Context, tx pgx.Tx, tenant, connection string, stamp directory.RunStamp, people []string) error {
	if len(people) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `INSERT INTO history
		SELECT o.* FROM unnest($3::text[]) AS wanted(wanted_id) CROSS JOIN LATERAL (
			SELECT tenant, person_id, connection, ended_at, run, kind, record_id, code, message, fields, bulk_job_id, other_ids, field_map_version
			FROM outcome WHERE tenant = $1 AND person_id = wanted.wanted_id AND connection = $2 OFFSET 0) AS o
		ON CONFLICT DO NOTHING`, tenant, connection, people); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "DELETE FROM history WHERE tenant = $1 AND connection = $2 AND person_id = ANY($3) AND ended_at < $4",
		tenant, connection, people, stamp.EndedAt.Add(-directory.HistoryAge))
	return err
}

func upsertOutcomes(ctx context.Context, tx pgx.Tx, tenant, connection string, stamp directory.RunStamp, outcomes []*syncv1.Outcome) error {
	n := len(outcomes)
	people, kinds, records := make([]string, n), make([]int32, n), make([]string, n)
	codes, messages, fields, jobs := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	others, versions := make([]string, n), make([]int32, n)
	for i, o := range outcomes {
		people[i], kinds[i] = withoutNUL(o.GetPersonId()), int32(o.GetKind())
		records[i], codes[i], messages[i] = withoutNUL(o.GetRecordId()), withoutNUL(o.GetCode()), withoutNUL(o.GetMessage())
		jobs[i] = withoutNUL(o.GetBulkJobId())
		versions[i] = o.GetFieldMapVersion()
		var err error
		if fields[i], err = list(o.GetFields()); err != nil {
			return err
		}
		if others[i], err = list(o.GetOtherRecordIds()); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO outcome (tenant, connection, run, ended_at, person_id, kind, record_id, code, message, fields, bulk_job_id, other_ids, field_map_version, known_record)
		SELECT $1, $2, $3, $4, o.* FROM unnest($5::text[], $6::integer[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::integer[], $7::text[]) AS o
		ON CONFLICT (tenant, person_id, connection) DO UPDATE SET run = excluded.run, ended_at = excluded.ended_at, kind = excluded.kind,
		record_id = excluded.record_id, code = excluded.code, message = excluded.message, fields = excluded.fields, bulk_job_id = excluded.bulk_job_id,
		other_ids = excluded.other_ids, field_map_version = excluded.field_map_version,
		known_record = CASE excluded.known_record WHEN '' THEN outcome.known_record ELSE excluded.known_record END`,
		tenant, connection, stamp.Run, stamp.EndedAt, people, kinds, records, codes, messages, fields, jobs, others, versions)
	return err
}

// withoutNUL drops the one character that PostgreSQL's text does not take.
func withoutNUL(s string) string { return strings.ReplaceAll(s, "\x00", "") }

// advance notes the run as the newest one of the connection unless there is a newer, and returns the newest.
func advance(ctx context.Context, tx pgx.Tx, tenant, connection string, stamp directory.RunStamp) (directory.RunStamp, error) {
	var newest directory.RunStamp
	err := tx.QueryRow(ctx, `INSERT INTO projection AS p (tenant, connection, run, ended_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant, connection) DO UPDATE SET
			run = CASE WHEN (p.ended_at, p.run) < (excluded.ended_at, excluded.run) THEN excluded.run ELSE p.run END,
			ended_at = greatest(p.ended_at, excluded.ended_at)
		RETURNING run, ended_at`, tenant, connection, stamp.Run, stamp.EndedAt).Scan(&newest.Run, &newest.EndedAt)
	return newest, err
}

func storedOutcomes(ctx context.Context, tx pgx.Tx, tenant, connection string, outcomes []*syncv1.Outcome) (map[string]*directory.StoredOutcome, error) {
	ids := make([]string, len(outcomes))
	for i, o := range outcomes {
		ids[i] = withoutNUL(o.GetPersonId())
	}
	// OFFSET 0 as in wanted.
	rows, err := tx.Query(ctx, `SELECT o.* FROM unnest($3::text[]) AS wanted(wanted_id) CROSS JOIN LATERAL (
		SELECT person_id, run, ended_at, kind, record_id FROM outcome WHERE tenant = $1 AND person_id = wanted.wanted_id AND connection = $2 OFFSET 0
		) AS o`, tenant, connection, ids)
	if err != nil {
		return nil, err
	}
	stored := make(map[string]*directory.StoredOutcome, len(outcomes))
	var id string
	var kind int32
	var s directory.StoredOutcome
	_, err = pgx.ForEachRow(rows, []any{&id, &s.Run, &s.EndedAt, &kind, &s.RecordID}, func() error {
		o := s
		o.Kind = syncv1.OutcomeKind(kind)
		stored[id] = &o
		return nil
	})
	return stored, err
}

// Get implements [directory.Directory].
func (d *Directory) Get(ctx context.Context, tenant, id string) (directory.Person, []directory.PersonOutcome, error) {
	people, err := d.persons(ctx, "SELECT "+personColumns+" FROM people WHERE tenant = $1 AND id = $2", tenant, withoutNUL(id))
	if err != nil {
		return directory.Person{}, nil, d.classify(err, "read people")
	}
	if len(people) == 0 || people[0].ID != id {
		return directory.Person{}, nil, errs.New(errs.NotFound, "no_person", "nobody has the id %q; ids are those of the Catalog, in the same letter case", id)
	}
	outcomes, err := d.outcomes(ctx, "SELECT "+outcomeColumns+" FROM outcome WHERE tenant = $1 AND person_id = $2 ORDER BY connection", tenant, people[0].ID)
	return people[0], outcomes, err
}

// list is how a list of strings is stored.
func list(texts []string) (string, error) {
	if len(texts) == 0 {
		return "", nil
	}
	text, err := json.Marshal(texts)
	return string(text), err
}

const outcomeColumns = "connection, run, ended_at, person_id, kind, record_id, code, message, fields, bulk_job_id, other_ids, field_map_version"

func (d *Directory) outcomes(ctx context.Context, query string, args ...any) ([]directory.PersonOutcome, error) {
	const doing = "read the outcomes"
	rows, err := d.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, d.classify(err, doing)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (directory.PersonOutcome, error) {
		o := directory.PersonOutcome{Outcome: &syncv1.Outcome{}}
		var kind int32
		var fields, others string
		err := row.Scan(&o.Connection, &o.Run, &o.EndedAt, &o.Outcome.PersonId, &kind, &o.Outcome.RecordId, &o.Outcome.Code, &o.Outcome.Message,
			&fields, &o.Outcome.BulkJobId, &others, &o.Outcome.FieldMapVersion)
		o.EndedAt = o.EndedAt.UTC()
		o.Outcome.Kind = syncv1.OutcomeKind(kind)
		if err == nil {
			err = directory.DecodeLists(o.Outcome, fields, others)
		}
		return o, err
	})
	return all, d.classify(err, doing)
}

// History implements [directory.Directory].
func (d *Directory) History(ctx context.Context, tenant, connection, person string, limit int) ([]directory.PersonOutcome, error) {
	const from = "SELECT " + outcomeColumns + " FROM "
	const where = " WHERE tenant = $1 AND connection = $2 AND person_id = $3"
	return d.outcomes(ctx, from+"outcome"+where+" UNION ALL "+from+"history"+where+" ORDER BY ended_at DESC, run DESC LIMIT $4",
		tenant, connection, withoutNUL(person), limit)
}

// KnownRecords implements [directory.Directory].
func (d *Directory) KnownRecords(ctx context.Context, tenant, connection string, people []string) (map[string]string, error) {
	const doing = "read the known records"
	ids := make([]string, len(people))
	for i, p := range people {
		ids[i] = withoutNUL(p)
	}
	rows, err := d.pool.Query(ctx, `SELECT o.* FROM unnest($3::text[]) AS wanted(wanted_id) CROSS JOIN LATERAL (
		SELECT person_id, known_record FROM outcome WHERE tenant = $1 AND person_id = wanted.wanted_id AND connection = $2 AND known_record <> '' OFFSET 0
		) AS o`, tenant, connection, ids)
	if err != nil {
		return nil, d.classify(err, doing)
	}
	known := make(map[string]string)
	var person, record string
	_, err = pgx.ForEachRow(rows, []any{&person, &record}, func() error {
		known[person] = record
		return nil
	})
	return known, d.classify(err, doing)
}

const leavers = ` FROM people p JOIN outcome o ON o.tenant = p.tenant AND o.person_id = p.id AND o.connection = $2
	WHERE p.tenant = $1 AND p.gone_at IS NOT NULL AND o.known_record <> ''`

// Leavers implements [directory.Directory].
func (d *Directory) Leavers(ctx context.Context, tenant, connection, after string, limit int) ([]directory.Leaver, error) {
	rows, err := d.pool.Query(ctx, "SELECT p.id, o.known_record"+leavers+" AND p.id > $3 ORDER BY p.id LIMIT $4", tenant, connection, after, limit)
	if err != nil {
		return nil, d.classify(err, "read the leavers")
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[directory.Leaver])
	return found, d.classify(err, "read the leavers")
}

// CountLeavers implements [directory.Directory].
func (d *Directory) CountLeavers(ctx context.Context, tenant, connection string) (int64, error) {
	var n int64
	err := d.pool.QueryRow(ctx, "SELECT count(*)"+leavers, tenant, connection).Scan(&n)
	return n, d.classify(err, "count the leavers")
}

// PersonOfRecord implements [directory.Directory].
func (d *Directory) PersonOfRecord(ctx context.Context, tenant, connection, record string) (string, error) {
	var person string
	err := d.pool.QueryRow(ctx, "SELECT person_id FROM outcome WHERE tenant = $1 AND connection = $2 AND known_record = $3 ORDER BY ended_at DESC LIMIT 1",
		tenant, connection, withoutNUL(record)).Scan(&person)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return person, d.classify(err, "find the person of a record")
}

// DropOutcomes implements [directory.Directory].
func (d *Directory) DropOutcomes(ctx context.Context, tenant, connection string) error {
	return d.update(ctx, "drop the outcomes", func(tx pgx.Tx) error {
		for _, table := range []string{"outcome", "history", "projection"} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE tenant = $1 AND connection = $2", tenant, connection); err != nil {
				return err
			}
		}
		return nil
	})
}
