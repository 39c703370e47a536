package postgres

import (
	"context"
	"encoding/json"
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
		return upsertOutcomes(ctx, tx, tenant, connection, stamp, kept)
	})
}

func upsertOutcomes(ctx context.Context, tx pgx.Tx, tenant, connection string, stamp directory.RunStamp, outcomes []*syncv1.Outcome) error {
	n := len(outcomes)
	people, kinds, records := make([]string, n), make([]int32, n), make([]string, n)
	codes, messages, fields, jobs := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for i, o := range outcomes {
		people[i], kinds[i] = withoutNUL(o.GetPersonId()), int32(o.GetKind())
		records[i], codes[i], messages[i] = withoutNUL(o.GetRecordId()), withoutNUL(o.GetCode()), withoutNUL(o.GetMessage())
		jobs[i] = withoutNUL(o.GetBulkJobId())
		if len(o.GetFields()) > 0 {
			text, err := json.Marshal(o.GetFields())
			if err != nil {
				return err
			}
			fields[i] = string(text)
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO outcome (tenant, connection, run, ended_at, person_id, kind, record_id, code, message, fields, bulk_job_id)
		SELECT $1, $2, $3, $4, o.* FROM unnest($5::text[], $6::integer[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[]) AS o
		ON CONFLICT (tenant, person_id, connection) DO UPDATE SET run = excluded.run, ended_at = excluded.ended_at, kind = excluded.kind,
		record_id = excluded.record_id, code = excluded.code, message = excluded.message, fields = excluded.fields, bulk_job_id = excluded.bulk_job_id`,
		tenant, connection, stamp.Run, stamp.EndedAt, people, kinds, records, codes, messages, fields, jobs)
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
	rows, err := d.pool.Query(ctx, `SELECT connection, run, ended_at, kind, record_id, code, message, fields, bulk_job_id
		FROM outcome WHERE tenant = $1 AND person_id = $2 ORDER BY connection`, tenant, people[0].ID)
	if err != nil {
		return directory.Person{}, nil, d.classify(err, "read the outcomes")
	}
	outcomes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (directory.PersonOutcome, error) {
		o := directory.PersonOutcome{Outcome: &syncv1.Outcome{PersonId: id}}
		var kind int32
		var fields string
		err := row.Scan(&o.Connection, &o.Run, &o.EndedAt, &kind, &o.Outcome.RecordId, &o.Outcome.Code, &o.Outcome.Message,
			&fields, &o.Outcome.BulkJobId)
		o.EndedAt = o.EndedAt.UTC()
		o.Outcome.Kind = syncv1.OutcomeKind(kind)
		if err == nil && fields != "" {
			err = json.Unmarshal([]byte(fields), &o.Outcome.Fields)
		}
		return o, err
	})
	return people[0], outcomes, d.classify(err, "read the outcomes")
}
