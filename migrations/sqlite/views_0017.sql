-- Where rows belong: the pack and the labels by which rights are limited, as a number in `names`, and the action of the outermost
-- execution. Limited permissions find only the rows of some scopes. The views are rebuilt.

DROP TABLE events;
DROP TABLE enforcements;
DROP TABLE executions;
DROP TABLE inquiries;
DROP TABLE dead_letters;
DELETE FROM executions_by_label;
DELETE FROM inquiries_by_assignee;

-- The scopes that rows of each view have.
CREATE TABLE scopes (
  view   TEXT    NOT NULL,
  number INTEGER NOT NULL,            -- in `names`
  rows   INTEGER NOT NULL,
  PRIMARY KEY (view, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  position    INTEGER PRIMARY KEY,
  key         BLOB    NOT NULL UNIQUE,
  began_at    INTEGER NOT NULL,       -- microseconds since 1970, UTC
  "trigger"   INTEGER NOT NULL,
  source      INTEGER NOT NULL,
  correlation BLOB    NOT NULL,
  scope       INTEGER,
  root_action INTEGER,
  document    BLOB    NOT NULL
) STRICT;
CREATE INDEX events_by_trigger ON events ("trigger");
CREATE INDEX events_by_source ON events (source);
CREATE INDEX events_by_correlation ON events (correlation);
CREATE INDEX events_by_trigger_and_source ON events ("trigger", source);
CREATE INDEX events_by_scope ON events (scope);

CREATE TABLE enforcements (
  position    INTEGER PRIMARY KEY,
  key         BLOB    NOT NULL UNIQUE,
  began_at    INTEGER NOT NULL,       -- microseconds since 1970, UTC
  rule        INTEGER NOT NULL,
  event       BLOB    NOT NULL,
  outcome     TEXT    NOT NULL,
  scope       INTEGER,
  root_action INTEGER,
  document    BLOB    NOT NULL
) STRICT;
CREATE INDEX enforcements_by_event ON enforcements (event);
CREATE INDEX enforcements_by_rule ON enforcements (rule, outcome);
CREATE INDEX enforcements_by_outcome ON enforcements (outcome);
CREATE INDEX enforcements_by_scope ON enforcements (scope);

CREATE TABLE executions (
  position    INTEGER PRIMARY KEY,
  key         BLOB    NOT NULL UNIQUE,
  began_at    INTEGER NOT NULL,       -- microseconds since 1970, UTC
  status      TEXT    NOT NULL,
  action      INTEGER NOT NULL,
  rule        INTEGER,
  correlation BLOB    NOT NULL,
  parent      BLOB,
  rerun_of    BLOB,
  scope       INTEGER,
  root_action INTEGER,
  document    BLOB    NOT NULL
) STRICT;
CREATE INDEX executions_by_status ON executions (status);
CREATE INDEX executions_by_action ON executions (action, status);
CREATE INDEX executions_by_rule ON executions (rule, status) WHERE rule IS NOT NULL;
CREATE INDEX executions_by_action_and_rule ON executions (action, rule, status) WHERE rule IS NOT NULL;
CREATE INDEX executions_by_correlation ON executions (correlation);
CREATE INDEX executions_by_parent ON executions (parent, status) WHERE parent IS NOT NULL;
CREATE INDEX executions_by_parent_and_action ON executions (parent, action, status) WHERE parent IS NOT NULL;
CREATE INDEX executions_by_parent_and_rule ON executions (parent, rule) WHERE parent IS NOT NULL AND rule IS NOT NULL;
CREATE INDEX executions_by_rerun_of ON executions (rerun_of) WHERE rerun_of IS NOT NULL;
CREATE INDEX executions_by_scope ON executions (scope);
CREATE INDEX executions_by_scope_and_status ON executions (scope, status);

CREATE TABLE inquiries (
  position    INTEGER PRIMARY KEY,
  key         BLOB    NOT NULL UNIQUE,
  began_at    INTEGER NOT NULL,       -- microseconds since 1970, UTC
  status      TEXT    NOT NULL,
  execution   BLOB    NOT NULL,
  parent      BLOB,
  scope       INTEGER,
  root_action INTEGER,
  document    BLOB    NOT NULL
) STRICT;
CREATE INDEX inquiries_by_status ON inquiries (status);
CREATE INDEX inquiries_by_execution ON inquiries (execution);
CREATE INDEX inquiries_by_parent ON inquiries (parent, status) WHERE parent IS NOT NULL;
CREATE INDEX inquiries_by_scope ON inquiries (scope);

CREATE TABLE dead_letters (
  position    INTEGER PRIMARY KEY,
  key         BLOB    NOT NULL UNIQUE,
  began_at    INTEGER NOT NULL,       -- microseconds since 1970, UTC
  sensor      INTEGER,
  status      TEXT    NOT NULL,
  scope       INTEGER,
  root_action INTEGER,
  document    BLOB    NOT NULL
) STRICT;
CREATE INDEX dead_letters_by_sensor ON dead_letters (sensor, status) WHERE sensor IS NOT NULL;
CREATE INDEX dead_letters_by_status ON dead_letters (status);
CREATE INDEX dead_letters_by_scope ON dead_letters (scope);
