-- The vars that have a value, with when and by whom it was set.

CREATE TABLE vars (
  position INTEGER PRIMARY KEY,
  key      TEXT    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,          -- microseconds since 1970, UTC
  document BLOB    NOT NULL
) STRICT;
