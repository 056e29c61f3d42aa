-- The log: one head row per log, one row per commit, one per record, one per key that was seen.
--
-- A record is in two rows. Its own row has the columns by which it is found, and its content, which may be large or erased. Everything
-- else (kind, schema, time, actor, cause, fact) is in the `contents` of its batch, which are compressed together. Facts are small and
-- similar, so this reduces them to a quarter, or to an eighth if commits are large.

-- `number` identifies the log in the other tables.
CREATE TABLE logs (
  number   INTEGER PRIMARY KEY,
  id       BLOB    NOT NULL UNIQUE,   -- 16 bytes
  position INTEGER NOT NULL,          -- of the newest record
  chain    BLOB    NOT NULL,          -- 32 bytes, there
  epoch    INTEGER NOT NULL           -- the newest right to write
) STRICT;

-- `place` is the log's number in the upper 15 bits, the position in the lower 48: one integer keys and orders all logs.
-- `sum` covers the other columns, here and below, so that damage is found where it is read.
CREATE TABLE batches (
  place    INTEGER PRIMARY KEY,       -- of the first record
  id       BLOB    NOT NULL,          -- 16 bytes
  epoch    INTEGER NOT NULL,
  sum      INTEGER NOT NULL,
  contents BLOB    NOT NULL           -- zstd
) STRICT;

-- `content` is last, so that reading the others never walks through it.
CREATE TABLE records (
  place    INTEGER PRIMARY KEY,
  log      INTEGER NOT NULL,
  step     INTEGER NOT NULL,          -- how many records of the batch stand before
  stream   BLOB    NOT NULL,          -- a byte for the noun, then 16 bytes of an id, or a name
  revision INTEGER NOT NULL,
  id       BLOB    NOT NULL,          -- 16 bytes
  digest   BLOB,                      -- 32 bytes; absent: the record has no body, and bytes to content are absent too
  bytes    INTEGER,
  encoding INTEGER,                   -- 0 raw, 1 json, 2 json+zstd
  key      TEXT,                      -- absent: the content is not sealed
  chain    BLOB    NOT NULL,          -- 32 bytes
  sum      INTEGER NOT NULL,
  content  BLOB                       -- absent beside a digest: erased
) STRICT;
CREATE UNIQUE INDEX records_by_stream ON records (log, stream, revision);
CREATE UNIQUE INDEX records_by_id ON records (log, id);

CREATE TABLE scopes (
  number INTEGER PRIMARY KEY,
  log    INTEGER NOT NULL,
  name   TEXT    NOT NULL,
  keys   INTEGER NOT NULL,            -- how many rows of `seen` are its own
  UNIQUE (log, name)
) STRICT;

-- `prefix` is the first 8 bytes of `hash`: enough to find it, and a quarter of the index.
CREATE TABLE seen (
  number   INTEGER PRIMARY KEY,
  scope    INTEGER NOT NULL,
  prefix   INTEGER NOT NULL,
  hash     BLOB    NOT NULL,          -- 32 bytes
  position INTEGER NOT NULL,
  event    BLOB    NOT NULL,          -- 16 bytes
  content  BLOB    NOT NULL,          -- 32 bytes
  until    INTEGER NOT NULL,          -- microseconds since 1970, UTC
  sum      INTEGER NOT NULL
) STRICT;
CREATE INDEX seen_by_prefix ON seen (scope, prefix);
CREATE INDEX seen_by_age ON seen (scope, until);
