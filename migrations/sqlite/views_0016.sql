-- The audit: a row for each record that a credential caused, and for rejected requests and logins. An event has no `of`: it is found by
-- its key.

CREATE TABLE audit (
  position INTEGER PRIMARY KEY,
  key      BLOB    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,          -- microseconds since 1970, UTC
  actor    INTEGER NOT NULL,          -- in `names`
  what     TEXT    NOT NULL,          -- the kind of the fact
  of       TEXT,                      -- the stream of the record
  document BLOB    NOT NULL
) STRICT;
CREATE INDEX audit_by_actor ON audit (actor, what);
CREATE INDEX audit_by_what ON audit (what);
CREATE INDEX audit_by_of ON audit (of) WHERE of IS NOT NULL;
