-- The labels of executions. An execution has several labels, which have a table of their own. Its key ends with the position, so that the
-- executions of one label in one state are in the order of their positions. The executions are rebuilt.

DELETE FROM executions;
CREATE TABLE executions_by_label (
  label    INTEGER NOT NULL,          -- `site=eu`, in `names`
  state    TEXT    NOT NULL,          -- the status of the execution
  position INTEGER NOT NULL,          -- of the execution
  PRIMARY KEY (label, state, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_by_position ON executions_by_label (position);
