-- An execution may be a step of a workflow. The steps of one workflow are requested together. The table is created again, and its rows
-- are rebuilt.

DROP TABLE executions;
CREATE TABLE executions (
  position    INTEGER PRIMARY KEY,
  key         BLOB    NOT NULL UNIQUE,
  began_at    INTEGER NOT NULL,       -- microseconds since 1970, UTC
  status      TEXT    NOT NULL,
  action      INTEGER NOT NULL,
  rule        INTEGER,
  correlation BLOB    NOT NULL,
  parent      BLOB,
  document    BLOB    NOT NULL
) STRICT;
CREATE INDEX executions_by_status ON executions (status);
CREATE INDEX executions_by_action ON executions (action, status);
CREATE INDEX executions_by_rule ON executions (rule, status) WHERE rule IS NOT NULL;
CREATE INDEX executions_by_action_and_rule ON executions (action, rule, status) WHERE rule IS NOT NULL;
CREATE INDEX executions_by_correlation ON executions (correlation);
CREATE INDEX executions_by_parent ON executions (parent, status) WHERE parent IS NOT NULL;
CREATE INDEX executions_by_parent_and_action ON executions (parent, action, status) WHERE parent IS NOT NULL;
-- No rule requests a step, so this index stays empty: it shows that without reading the steps.
CREATE INDEX executions_by_parent_and_rule ON executions (parent, rule) WHERE parent IS NOT NULL AND rule IS NOT NULL;
