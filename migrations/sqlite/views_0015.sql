-- The ended executions that are not steps, in the order in which they ended: it finds old ones. A row is removed with the last row of its
-- execution.

CREATE TABLE ended (
  elapsed   INTEGER NOT NULL,         -- microseconds since 1970, UTC, without the steps of the clock
  at        INTEGER NOT NULL,         -- the position of the record that ended it
  execution BLOB    NOT NULL,
  sum       INTEGER NOT NULL,         -- says whether the row is the one that was written
  PRIMARY KEY (elapsed, at)
) STRICT, WITHOUT ROWID;
-- How much time has passed up to the newest folded record, and how much was removed.
ALTER TABLE made ADD COLUMN stepped INTEGER NOT NULL DEFAULT 0;            -- by how many microseconds the clock was moved
ALTER TABLE made ADD COLUMN elapsed INTEGER NOT NULL DEFAULT 0;            -- microseconds since 1970, UTC, without that
ALTER TABLE made ADD COLUMN removed_executions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE made ADD COLUMN removed_rows INTEGER NOT NULL DEFAULT 0;
