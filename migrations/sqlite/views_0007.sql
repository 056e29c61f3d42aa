-- An execution may be a step of a workflow: those of one workflow are asked for together. The table is made anew, as the rows are.

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
-- No rule asks for a step, so that this one stays empty: it says so without a walk through the steps.
CREATE INDEX executions_by_parent_and_rule ON executions (parent, rule) WHERE parent IS NOT NULL AND rule IS NOT NULL;
