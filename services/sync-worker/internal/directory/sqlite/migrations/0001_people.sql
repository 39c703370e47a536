-- People: one row each, never deleted. Times are microseconds since 1970. A field that was not given is NULL; one that
-- was given as null is NULL too and has its bit set in nulls.
CREATE TABLE people (
  tenant       TEXT    NOT NULL,
  id           TEXT    NOT NULL,
  num          INTEGER NOT NULL, -- numbers the tenant's people from 1
  hash         INTEGER NOT NULL, -- of all values
  gone_at      INTEGER,          -- NULL while in the Catalog
  changed_at   INTEGER NOT NULL,
  nulls        INTEGER NOT NULL,
  email        TEXT,
  first_name   TEXT,
  last_name    TEXT,
  phone        TEXT,
  mobile_phone TEXT,
  title        TEXT,
  organization TEXT,
  department   TEXT,
  street       TEXT,
  city         TEXT,
  state        TEXT,
  postal_code  TEXT,
  country      TEXT,
  locale       TEXT,
  time_zone    TEXT,
  active       TEXT,
  "groups"     TEXT,
  subaccount   TEXT,
  created_at   TEXT,
  updated_at   TEXT,
  attributes   TEXT,             -- JSON object of strings and nulls; NULL where empty
  UNIQUE (tenant, id)
) STRICT;

-- Custom attributes that anybody of the tenant has or had.
CREATE TABLE attribute (
  tenant TEXT NOT NULL,
  name   TEXT NOT NULL,
  PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- The highest number given to a person of the tenant.
CREATE TABLE numbering (
  tenant   TEXT    NOT NULL PRIMARY KEY,
  last_num INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each person's latest outcome on a connection.
CREATE TABLE outcome (
  tenant      TEXT    NOT NULL,
  person_id   TEXT    NOT NULL,
  connection  TEXT    NOT NULL,
  run         TEXT    NOT NULL,
  ended_at    INTEGER NOT NULL,
  kind        INTEGER NOT NULL, -- catalogsync.sync.v1.OutcomeKind
  record_id   TEXT    NOT NULL,
  code        TEXT    NOT NULL,
  message     TEXT    NOT NULL,
  fields      TEXT    NOT NULL, -- JSON array of strings; empty where there are none
  bulk_job_id TEXT    NOT NULL,
  PRIMARY KEY (tenant, person_id, connection)
) STRICT, WITHOUT ROWID;

-- The newest run whose outcomes were projected.
CREATE TABLE projection (
  tenant     TEXT    NOT NULL,
  connection TEXT    NOT NULL,
  run        TEXT    NOT NULL,
  ended_at   INTEGER NOT NULL,
  PRIMARY KEY (tenant, connection)
) STRICT, WITHOUT ROWID;
