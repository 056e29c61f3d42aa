-- What executions are labelled with: a column of several values, which has a table of its own. It ends with the place, so that those of one label
-- in one state stand in the order of their positions. The executions are made anew, as the views are.

DELETE FROM executions;
CREATE TABLE executions_by_label (
  label    INTEGER NOT NULL,          -- `site=eu`, in `names`
  state    TEXT    NOT NULL,          -- the status of the execution
  position INTEGER NOT NULL,          -- of the execution
  PRIMARY KEY (label, state, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_by_position ON executions_by_label (position);
