-- Ids and names are compared byte by byte (COLLATE "C"), as everywhere else in the program.
--
-- People: one row each, never deleted. A field that was not given is NULL; one that was given as null is NULL too and
-- has its bit set in nulls.
CREATE TABLE people (
  tenant       text        COLLATE "C" NOT NULL,
  id           text        COLLATE "C" NOT NULL,
  num          bigint      NOT NULL, -- numbers the tenant's people from 1
  hash         bigint      NOT NULL, -- of all values
  gone_at      timestamptz,          -- NULL while in the Catalog
  changed_at   timestamptz NOT NULL,
  nulls        integer     NOT NULL,
  email        text,
  first_name   text,
  last_name    text,
  phone        text,
  mobile_phone text,
  title        text,
  organization text,
  department   text,
  street       text,
  city         text,
  state        text,
  postal_code  text,
  country      text,
  locale       text,
  time_zone    text,
  active       text,
  "groups"     text,
  subaccount   text,
  created_at   text,
  updated_at   text,
  attributes   json,                 -- object of strings and nulls; NULL where empty
  PRIMARY KEY (tenant, id)
);

-- Custom attributes that anybody of the tenant has or had.
CREATE TABLE attribute (
  tenant text COLLATE "C" NOT NULL,
  name   text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant, name)
);

-- The highest number given to a person of the tenant.
CREATE TABLE numbering (
  tenant   text   COLLATE "C" PRIMARY KEY,
  last_num bigint NOT NULL
);

-- Each person's latest outcome on a connection.
CREATE TABLE outcome (
  tenant      text        COLLATE "C" NOT NULL,
  person_id   text        COLLATE "C" NOT NULL,
  connection  text        COLLATE "C" NOT NULL,
  run         text        COLLATE "C" NOT NULL,
  ended_at    timestamptz NOT NULL,
  kind        integer     NOT NULL, -- catalogsync.sync.v1.OutcomeKind
  record_id   text        NOT NULL,
  code        text        NOT NULL,
  message     text        NOT NULL,
  fields      text        NOT NULL, -- JSON array of strings; empty where there are none
  bulk_job_id text        NOT NULL,
  PRIMARY KEY (tenant, person_id, connection)
);

-- The newest run whose outcomes were projected.
CREATE TABLE projection (
  tenant     text        COLLATE "C" NOT NULL,
  connection text        COLLATE "C" NOT NULL,
  run        text        COLLATE "C" NOT NULL,
  ended_at   timestamptz NOT NULL,
  PRIMARY KEY (tenant, connection)
);
