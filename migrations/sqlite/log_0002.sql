-- The index of the remembered keys becomes a table of its own, which is written after the rows, in larger runs. A hash is a random place,
-- so an index of SQLite would write a page for each key of a commit.
CREATE TABLE seen_places (
  scope  INTEGER NOT NULL,
  prefix INTEGER NOT NULL,
  number INTEGER NOT NULL,            -- of the row of `seen`
  PRIMARY KEY (scope, prefix, number)
) STRICT, WITHOUT ROWID;
INSERT INTO seen_places (scope, prefix, number) SELECT scope, prefix, number FROM seen ORDER BY scope, prefix, number;
DROP INDEX seen_by_prefix;

-- The log's rows of `seen` up to this number are in `seen_places`. Later ones may be.
ALTER TABLE logs ADD COLUMN keys_placed INTEGER NOT NULL DEFAULT 0;
UPDATE logs SET keys_placed = coalesce((SELECT max(number) FROM seen), 0);
