-- How many executions there are in each group, so that a count of them reads no rows of executions. 0 is for rows without a value.

CREATE TABLE execution_groups (
  scope       INTEGER NOT NULL,       -- the numbers are in `names`
  root_action INTEGER NOT NULL,
  action      INTEGER NOT NULL,
  rule        INTEGER NOT NULL,
  status      TEXT    NOT NULL,
  rows        INTEGER NOT NULL,
  PRIMARY KEY (scope, root_action, action, rule, status)
) STRICT, WITHOUT ROWID;
INSERT INTO execution_groups
  SELECT ifnull(scope, 0), ifnull(root_action, 0), action, ifnull(rule, 0), status, count(*) FROM executions GROUP BY 1, 2, 3, 4, 5;
