-- The artifacts of attempts.

CREATE TABLE artifacts (
  position  INTEGER PRIMARY KEY,
  key       BLOB    NOT NULL UNIQUE,
  began_at  INTEGER NOT NULL,
  execution BLOB    NOT NULL,
  document  BLOB    NOT NULL
) STRICT;
CREATE INDEX artifacts_by_execution ON artifacts (execution);
