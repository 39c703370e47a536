-- What an outcome says besides, and the record that was the person's last, whatever came of later runs.
ALTER TABLE outcome ADD COLUMN other_ids text NOT NULL DEFAULT '';         -- JSON array of strings; empty where there are none
ALTER TABLE outcome ADD COLUMN field_map_version integer NOT NULL DEFAULT 0;
ALTER TABLE outcome ADD COLUMN known_record text NOT NULL DEFAULT '';
UPDATE outcome SET known_record = record_id;

-- Outcomes that later ones took the place of, for as long as outcomes are kept.
CREATE TABLE history (
  tenant            text        COLLATE "C" NOT NULL,
  person_id         text        COLLATE "C" NOT NULL,
  connection        text        COLLATE "C" NOT NULL,
  ended_at          timestamptz NOT NULL,
  run               text        COLLATE "C" NOT NULL,
  kind              integer     NOT NULL,
  record_id         text        NOT NULL,
  code              text        NOT NULL,
  message           text        NOT NULL,
  fields            text        NOT NULL,
  bulk_job_id       text        NOT NULL,
  other_ids         text        NOT NULL,
  field_map_version integer     NOT NULL,
  PRIMARY KEY (tenant, person_id, connection, ended_at, run)
);
