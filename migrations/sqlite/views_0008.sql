-- Inquiries: who may answer one is a column of several values, which has a table of its own. It ends with the place, so that those of one
-- assignee in one state stand in the order of their positions: who asks for all that is open for a name and some roles merges them.

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
