-- What the logs of one database have in common. It is created once, in a schema of its own.
CREATE SCHEMA ensue;

-- One row. `format` is the version of these tables.
CREATE TABLE ensue.cell (
  only_row smallint PRIMARY KEY CHECK (only_row = 0),
  id       uuid     NOT NULL DEFAULT gen_random_uuid(),
  format   int      NOT NULL
);

-- The nodes. `beats` grows once a second while a node lives. The row is updated often, so it must stay on its page.
CREATE TABLE ensue.nodes (
  id    uuid   PRIMARY KEY,
  name  text   NOT NULL,
  beats bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- The logs. A row is locked by each append, but written only when a node takes the log over. A counter that each append updates would
-- leave a dead version for each commit, and halve the throughput while any snapshot is held.
CREATE TABLE ensue.logs (
  number         int    PRIMARY KEY,     -- names the schema of its tables: log_<number>
  id             uuid   NOT NULL UNIQUE,
  format         int    NOT NULL,        -- the version of its tables
  epoch          bigint NOT NULL,        -- the newest right to write
  leader         uuid,                   -- the node that has it; absent if it released the log
  state          text   NOT NULL CHECK (state IN ('open', 'copying')),
  part_positions bigint NOT NULL,        -- how many positions a part of `records` holds
  parts          bigint NOT NULL         -- how many parts there are
) WITH (fillfactor = 50);

-- The newest head of each log whose append was acknowledged, as its leader says once a second. What is visible in a log may still be
-- lost with its server. A node that waits for the log compares the next primary with it.
CREATE TABLE ensue.confirmed (
  log      int    PRIMARY KEY REFERENCES ensue.logs ON DELETE CASCADE,
  epoch    bigint NOT NULL,
  position bigint NOT NULL,
  chain    bytea  NOT NULL               -- 32 bytes, at this position
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Notes that a node lives, and the head of the log that it leads. The session that calls it does not wait for the disk
-- (`synchronous_commit`): a lost beat is harmless.
CREATE FUNCTION ensue.beat(node uuid, node_name text, led int, led_epoch bigint, head bigint, head_chain bytea) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = ensue, pg_temp
AS $fn$
  INSERT INTO confirmed AS c (log, epoch, position, chain) SELECT led, led_epoch, head, head_chain WHERE led IS NOT NULL
  ON CONFLICT (log) DO UPDATE SET epoch = led_epoch, position = head, chain = head_chain
    WHERE c.epoch <= led_epoch AND c.position < head;
  INSERT INTO nodes AS n (id, name, beats) VALUES (node, node_name, 1)
  ON CONFLICT (id) DO UPDATE SET beats = n.beats + 1, name = node_name RETURNING n.beats
$fn$;

-- Gives a log to a node, under the next epoch. The caller says what it has seen: if another node took the log meanwhile, or the leader
-- beat again, nothing changes.
CREATE FUNCTION ensue.lead(log int, me uuid, seen_epoch bigint, seen_beats bigint, OUT outcome text, OUT now_epoch bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ensue, pg_temp SET lock_timeout = '2s'
AS $fn$
DECLARE
  now_leader uuid;
  now_state text;
  now_beats bigint;
BEGIN
  SELECT l.epoch, l.leader, l.state INTO now_epoch, now_leader, now_state FROM logs l WHERE l.number = log FOR NO KEY UPDATE;
  IF now_epoch IS NULL THEN outcome := 'missing'; RETURN; END IF;
  IF now_epoch <> seen_epoch THEN outcome := 'moved'; RETURN; END IF;
  IF now_state <> 'open' THEN outcome := 'closed'; RETURN; END IF;
  IF now_leader IS NOT NULL AND now_leader <> me THEN
    SELECT n.beats INTO now_beats FROM nodes n WHERE n.id = now_leader;
    IF now_beats IS DISTINCT FROM seen_beats THEN outcome := 'alive'; RETURN; END IF;
  END IF;
  UPDATE logs l SET epoch = l.epoch + 1, leader = me WHERE l.number = log RETURNING l.epoch INTO now_epoch;
  -- The node before is forgotten. If it still lives, its next beat brings it back.
  DELETE FROM nodes n WHERE n.id = now_leader AND n.id <> me;
  outcome := 'led';
END
$fn$;

-- Releases a log, so that the next node need not wait until the lease is over, and forgets a node that leads no other one.
CREATE FUNCTION ensue.release(log int, me uuid, e bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = ensue, pg_temp SET lock_timeout = '2s'
AS $fn$
  UPDATE logs SET leader = NULL WHERE number = log AND leader = me AND epoch = e;
  DELETE FROM nodes WHERE id = me AND NOT EXISTS (SELECT 1 FROM logs WHERE leader = me)
$fn$;

INSERT INTO ensue.cell (only_row, format) VALUES (0, 1);
