-- The vault: sealed values only. The other columns of a row are bound to its value, so a moved or renamed row is detected.

CREATE TABLE secrets (
  log     BLOB    NOT NULL,           -- 16 bytes
  purpose TEXT    NOT NULL,           -- key, token
  name    TEXT    NOT NULL,
  version INTEGER NOT NULL,
  sealed  BLOB    NOT NULL,
  PRIMARY KEY (log, purpose, name, version)
) STRICT, WITHOUT ROWID;
