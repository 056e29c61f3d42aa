-- Who holds locks, and who waits for them: a row for each open execution that has to hold some, by the action and by the rule whose they are.

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
