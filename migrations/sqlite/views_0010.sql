-- An execution may run another again: those that do are asked for by it. The rows are made anew, as the views are.

DELETE FROM executions;
ALTER TABLE executions ADD COLUMN rerun_of BLOB;
CREATE INDEX executions_by_rerun_of ON executions (rerun_of) WHERE rerun_of IS NOT NULL;
