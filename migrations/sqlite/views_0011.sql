-- The holders of locks, and the executions that wait for them: a row for each open execution that needs locks, by the action and by the
-- rule that the locks belong to.

CREATE TABLE locks (
  position INTEGER PRIMARY KEY,
  key      BLOB    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,          -- microseconds since 1970, UTC
  action   INTEGER,
  rule     INTEGER,
  document BLOB    NOT NULL
) STRICT;
CREATE INDEX locks_by_action ON locks (action) WHERE action IS NOT NULL;
CREATE INDEX locks_by_rule ON locks (rule) WHERE rule IS NOT NULL;
