-- The views: the API reads them. The file may be lost: it is rebuilt from the log.
--
-- Every view is a table of the same shape. `position` is the record that began the row, and determines its place in lists.
-- `key` identifies the row. The columns to filter by follow. `document` is last, so that reading the others never reads it.
-- An id is its 16 bytes; a name is its number in `names`. A column that is rarely filtered by, and rarely has certain values,
-- has an index of only these values.

CREATE TABLE made (
  only     INTEGER PRIMARY KEY CHECK (only = 0),
  log      BLOB    NOT NULL,          -- 16 bytes: the log that was folded
  versions TEXT    NOT NULL,          -- of the folds
  position INTEGER NOT NULL           -- of the newest record that was folded
) STRICT;

CREATE TABLE names (
  number INTEGER PRIMARY KEY,
  name   TEXT NOT NULL UNIQUE
) STRICT;

-- When the rows of 1,024 positions began: a range of times is searched only in the spans that can contain it.
CREATE TABLE spans (
  span     INTEGER PRIMARY KEY,       -- position / 1024
  earliest INTEGER NOT NULL,          -- microseconds since 1970, UTC
  latest   INTEGER NOT NULL
) STRICT;

CREATE TABLE events (
  position    INTEGER PRIMARY KEY,
  key         BLOB    NOT NULL UNIQUE,
  began_at    INTEGER NOT NULL,       -- microseconds since 1970, UTC
  "trigger"   INTEGER NOT NULL,
  source      INTEGER NOT NULL,
  correlation BLOB    NOT NULL,
  document    BLOB    NOT NULL
) STRICT;
CREATE INDEX events_by_trigger ON events ("trigger");
CREATE INDEX events_by_source ON events (source);
CREATE INDEX events_by_correlation ON events (correlation);

CREATE TABLE enforcements (
  position INTEGER PRIMARY KEY,
  key      BLOB    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,
  rule     INTEGER NOT NULL,
  event    BLOB    NOT NULL,
  outcome  TEXT    NOT NULL,
  document BLOB    NOT NULL
) STRICT;
CREATE INDEX enforcements_by_rule ON enforcements (rule);
CREATE INDEX enforcements_by_event ON enforcements (event);
CREATE INDEX enforcements_by_outcome ON enforcements (outcome) WHERE outcome <> 'executed';

CREATE TABLE executions (
  position    INTEGER PRIMARY KEY,
  key         BLOB    NOT NULL UNIQUE,
  began_at    INTEGER NOT NULL,
  status      TEXT    NOT NULL,
  action      INTEGER NOT NULL,
  rule        INTEGER,
  correlation BLOB    NOT NULL,
  document    BLOB    NOT NULL
) STRICT;
CREATE INDEX executions_by_status ON executions (status) WHERE status <> 'succeeded';
CREATE INDEX executions_by_action ON executions (action);
CREATE INDEX executions_by_rule ON executions (rule) WHERE rule IS NOT NULL;
CREATE INDEX executions_by_correlation ON executions (correlation);

CREATE TABLE rules (
  position INTEGER PRIMARY KEY,
  key      BLOB    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,
  rule     INTEGER NOT NULL,
  document BLOB    NOT NULL
) STRICT;
CREATE INDEX rules_by_rule ON rules (rule);

CREATE TABLE packs (
  position INTEGER PRIMARY KEY,
  key      TEXT    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,
  status   TEXT    NOT NULL,
  document BLOB    NOT NULL
) STRICT;

CREATE TABLE keys (
  position INTEGER PRIMARY KEY,
  key      TEXT    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,
  document BLOB    NOT NULL
) STRICT;

CREATE TABLE tokens (
  position INTEGER PRIMARY KEY,
  key      BLOB    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,
  name     INTEGER NOT NULL,
  status   TEXT    NOT NULL,
  document BLOB    NOT NULL
) STRICT;

CREATE TABLE dead_letters (
  position INTEGER PRIMARY KEY,
  key      BLOB    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,
  sensor   INTEGER NOT NULL,
  document BLOB    NOT NULL
) STRICT;
CREATE INDEX dead_letters_by_sensor ON dead_letters (sensor);

CREATE TABLE parked_reactions (
  position INTEGER PRIMARY KEY,
  key      TEXT    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,
  document BLOB    NOT NULL
) STRICT;

CREATE TABLE totals (
  position INTEGER PRIMARY KEY,
  key      TEXT    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,
  document BLOB    NOT NULL
) STRICT;
