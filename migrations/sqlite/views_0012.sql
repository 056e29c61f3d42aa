-- Vars that have a value: since when, and by whom.

CREATE TABLE vars (
  position INTEGER PRIMARY KEY,
  key      TEXT    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,          -- microseconds since 1970, UTC
  document BLOB    NOT NULL
) STRICT;
