-- An execution may be a rerun of another. Reruns are found by the original. The rows are rebuilt.

DELETE FROM executions;
ALTER TABLE executions ADD COLUMN rerun_of BLOB;
CREATE INDEX executions_by_rerun_of ON executions (rerun_of) WHERE rerun_of IS NOT NULL;
