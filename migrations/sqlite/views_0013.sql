-- A dead letter is an execution or a delivery, and has a status. The table is created again, and its rows are rebuilt.

DROP TABLE dead_letters;
CREATE TABLE dead_letters (
  position INTEGER PRIMARY KEY,
  key      BLOB    NOT NULL UNIQUE,
  began_at INTEGER NOT NULL,
  sensor   INTEGER,
  status   TEXT    NOT NULL,
  document BLOB    NOT NULL
) STRICT;
CREATE INDEX dead_letters_by_sensor ON dead_letters (sensor, status) WHERE sensor IS NOT NULL;
CREATE INDEX dead_letters_by_status ON dead_letters (status);
