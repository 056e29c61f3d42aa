-- Inquiries. An inquiry has several assignees, which have a table of their own. Its key ends with the position, so that the inquiries of
-- one assignee in one state are in the order of their positions. A query for a name and some roles merges them.

CREATE TABLE inquiries (
  position  INTEGER PRIMARY KEY,
  key       BLOB    NOT NULL UNIQUE,
  began_at  INTEGER NOT NULL,         -- microseconds since 1970, UTC
  status    TEXT    NOT NULL,
  execution BLOB    NOT NULL,
  parent    BLOB,
  document  BLOB    NOT NULL
) STRICT;
CREATE INDEX inquiries_by_status ON inquiries (status);
CREATE INDEX inquiries_by_execution ON inquiries (execution);
CREATE INDEX inquiries_by_parent ON inquiries (parent, status) WHERE parent IS NOT NULL;

CREATE TABLE inquiries_by_assignee (
  assignee INTEGER NOT NULL,          -- in `names`
  state    TEXT    NOT NULL,          -- the status of the inquiry
  position INTEGER NOT NULL,          -- of the inquiry
  PRIMARY KEY (assignee, state, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX inquiries_by_position ON inquiries_by_assignee (position);
