-- The schedules of rules and sensors, with their next times. Each belongs to a rule or to a sensor.

CREATE TABLE schedules (
  position INTEGER PRIMARY KEY,
  key      BLOB    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,          -- microseconds since 1970, UTC
  rule     INTEGER,
  sensor   INTEGER,
  document BLOB    NOT NULL
) STRICT;
CREATE INDEX schedules_by_rule ON schedules (rule) WHERE rule IS NOT NULL;
CREATE INDEX schedules_by_sensor ON schedules (sensor) WHERE sensor IS NOT NULL;
