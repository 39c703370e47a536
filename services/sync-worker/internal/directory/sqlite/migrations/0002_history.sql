-- What an outcome says besides, and the record that was the person's last, whatever came of later runs.
ALTER TABLE outcome ADD COLUMN other_ids TEXT NOT NULL DEFAULT '';         -- JSON array of strings; empty where there are none
ALTER TABLE outcome ADD COLUMN field_map_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outcome ADD COLUMN known_record TEXT NOT NULL DEFAULT '';
UPDATE outcome SET known_record = record_id;

-- Outcomes that later ones took the place of, for as long as outcomes are kept.
CREATE TABLE history (
  tenant            TEXT    NOT NULL,
  person_id         TEXT    NOT NULL,
  connection        TEXT    NOT NULL,
  ended_at          INTEGER NOT NULL,
  run               TEXT    NOT NULL,
  kind              INTEGER NOT NULL,
  record_id         TEXT    NOT NULL,
  code              TEXT    NOT NULL,
  message           TEXT    NOT NULL,
  fields            TEXT    NOT NULL,
  bulk_job_id       TEXT    NOT NULL,
  other_ids         TEXT    NOT NULL,
  field_map_version INTEGER NOT NULL,
  PRIMARY KEY (tenant, person_id, connection, ended_at, run)
) STRICT, WITHOUT ROWID;
