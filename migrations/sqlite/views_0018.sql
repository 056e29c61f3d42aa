-- Counts over time: how often things of a kind happened in each minute and each hour. A row has all counts of one bucket, since most
-- batches add to the same few. The views are rebuilt.

CREATE TABLE series (
  kind    TEXT    NOT NULL,
  minutes INTEGER NOT NULL,           -- the length of a bucket
  number  INTEGER NOT NULL,           -- buckets since 1970, UTC
  counts  BLOB    NOT NULL,           -- by name, scope, root action and outcome, as numbers in `names`
  PRIMARY KEY (kind, minutes, number)
) STRICT;
