-- Each set of filters has an index of its own, with the rows in the order of their positions. So no page reads rows that it does not
-- show, however few of many there are. If a column has only a few values (a state), the index of the column that is combined with it
-- ends with it, and the rows of all its values are merged.

CREATE INDEX events_by_trigger_and_source ON events ("trigger", source);

DROP INDEX enforcements_by_rule;
DROP INDEX enforcements_by_outcome;
CREATE INDEX enforcements_by_rule ON enforcements (rule, outcome);
CREATE INDEX enforcements_by_outcome ON enforcements (outcome);

DROP INDEX executions_by_status;
DROP INDEX executions_by_action;
DROP INDEX executions_by_rule;
CREATE INDEX executions_by_status ON executions (status);
CREATE INDEX executions_by_action ON executions (action, status);
CREATE INDEX executions_by_rule ON executions (rule, status) WHERE rule IS NOT NULL;
CREATE INDEX executions_by_action_and_rule ON executions (action, rule, status) WHERE rule IS NOT NULL;
