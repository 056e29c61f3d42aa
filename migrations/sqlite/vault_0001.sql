-- The vault: sealed values only. What a row says beside its value is bound to it, so moving or renaming one shows.

CREATE TABLE secrets (
  log     BLOB    NOT NULL,           -- 16 bytes
  purpose TEXT    NOT NULL,           -- key, token
  name    TEXT    NOT NULL,
  version INTEGER NOT NULL,
  sealed  BLOB    NOT NULL,
  PRIMARY KEY (log, purpose, name, version)
) STRICT, WITHOUT ROWID;
