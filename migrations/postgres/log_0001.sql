-- The tables of one log, in a schema of its own. `{schema}` is its name, `{number}` the log's number in `ensue.logs`.
--
-- A record has the same columns, bytes and sums as in SQLite (`migrations/sqlite/log_0001.sql`), where the log's number in the sum is 0.
-- What comes from outside is `bytea`, so no text can contain a character that a database does not take, and no collation decides.
CREATE SCHEMA {schema};

-- The row of a commit. The newest one is the head of the log.
CREATE TABLE {schema}.batches (
  first    bigint PRIMARY KEY,           -- the position of its first record
  last     bigint NOT NULL,              -- of its last one
  id       uuid   NOT NULL,
  epoch    bigint NOT NULL,
  chain    bytea  NOT NULL,              -- 32 bytes, at the last record
  sum      bigint NOT NULL,
  contents bytea  NOT NULL               -- zstd
);
ALTER TABLE {schema}.batches ALTER contents SET STORAGE EXTERNAL;

-- In parts, each with a range of positions. Ids are random, so one index over all of them would not stay in memory.
CREATE TABLE {schema}.records (
  position bigint NOT NULL,
  step     int    NOT NULL,              -- how many records of the batch stand before
  stream   bytea  NOT NULL,
  revision bigint NOT NULL,
  id       uuid   NOT NULL,
  digest   bytea,                        -- 32 bytes; absent: the record has no body, and bytes to content are absent too
  bytes    bigint,
  encoding smallint,
  key      bytea,                        -- absent: the content is not sealed
  chain    bytea  NOT NULL,              -- 32 bytes
  sum      bigint NOT NULL,
  content  bytea                         -- absent beside a digest: erased
) PARTITION BY RANGE (position);
ALTER TABLE {schema}.records ALTER content SET STORAGE EXTERNAL;

CREATE TABLE {schema}.scopes (
  number int   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name   bytea NOT NULL UNIQUE
);
CREATE TABLE {schema}.seen (
  number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  scope    int    NOT NULL,
  prefix   bigint NOT NULL,              -- the first 8 bytes of `hash`
  hash     bytea  NOT NULL,              -- 32 bytes
  position bigint NOT NULL,
  event    uuid   NOT NULL,
  content  bytea  NOT NULL,              -- 32 bytes
  until    bigint NOT NULL,              -- microseconds since 1970, UTC
  sum      bigint NOT NULL
);
CREATE INDEX seen_by_prefix ON {schema}.seen (scope, prefix);
CREATE INDEX seen_by_age ON {schema}.seen (until);

-- The sealed secrets. The other columns of a row are bound to its value, so a moved or renamed row is detected.
CREATE TABLE {schema}.secrets (
  purpose bytea  NOT NULL,
  name    bytea  NOT NULL,
  version bigint NOT NULL,
  sealed  bytea  NOT NULL,
  PRIMARY KEY (purpose, name, version)
);

-- The files of the packs that are or were installed, so that a node on another machine has them.
CREATE TABLE {schema}.pack_files (
  pack       bytea   NOT NULL,           -- 32 bytes, the digest of the pack
  path       bytea   NOT NULL,
  is_program boolean NOT NULL,
  content    bytea   NOT NULL,
  PRIMARY KEY (pack, path)
);

-- The outputs and artifacts of attempts, so that a node on another machine has them. An output is in several parts.
CREATE TABLE {schema}.objects (
  kind    bytea  NOT NULL,               -- `outputs` or `artifacts`
  owner   bytea  NOT NULL,               -- the id of the attempt, or the digest of the artifact
  part    bytea  NOT NULL,
  at      bigint NOT NULL,               -- microseconds since 1970, UTC
  content bytea  NOT NULL,
  PRIMARY KEY (kind, owner, part)
);
ALTER TABLE {schema}.objects ALTER content SET STORAGE EXTERNAL;

-- Makes the parts of `records` up to the one with a position, and one more.
CREATE FUNCTION {schema}.make_parts(up_to bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '2s'
AS $fn$
DECLARE
  size bigint;
  made bigint;
  part text;
BEGIN
  SELECT l.part_positions, l.parts INTO size, made FROM ensue.logs l WHERE l.number = {number} FOR NO KEY UPDATE;
  WHILE made <= up_to / size + 1 LOOP
    part := 'records_' || made;
    -- Made beside the table and then attached: a part that is created within it would lock out all readers.
    EXECUTE format('CREATE TABLE {schema}.%I (LIKE {schema}.records INCLUDING ALL, PRIMARY KEY (position), '
      'UNIQUE (stream, revision), UNIQUE (id), CHECK (position >= %s AND position < %s)) '
      'WITH (autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0.05)', part, made * size, (made + 1) * size);
    EXECUTE format('ALTER TABLE {schema}.records ATTACH PARTITION {schema}.%I FOR VALUES FROM (%s) TO (%s)',
      part, made * size, (made + 1) * size);
    made := made + 1;
    UPDATE ensue.logs l SET parts = made WHERE l.number = {number};
  END LOOP;
  RETURN made;
END
$fn$;

-- Appends a batch: all of it or nothing. It is one statement, so a client that goes away leaves nothing open.
--
-- It is volatile: each statement in it sees what was committed while the first one waited for the row of the log.
CREATE FUNCTION {schema}.append(
  e bigint, before bigint, batch uuid, batch_chain bytea, batch_sum bigint, batch_contents bytea,
  streams bytea[], revisions bigint[], ids uuid[], digests bytea[], sizes bigint[], encodings smallint[], seals bytea[],
  chains bytea[], sums bigint[], bodies bytea[],
  stream_steps int[],
  scope_names bytea[], seen_scopes bytea[], seen_prefixes bigint[], seen_hashes bytea[], seen_positions bigint[], seen_events uuid[],
  seen_contents bytea[], seen_untils bigint[], seen_sums bigint[],
  OUT outcome text, OUT now_epoch bigint, OUT now_head bigint, OUT now_chain bytea, OUT bad_step int, OUT newest bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '2s' SET plan_cache_mode = force_generic_plan
AS $fn$
DECLARE
  now_state text;
  size bigint;
  made bigint;
  part bigint;
BEGIN
  SELECT l.epoch, l.state, l.part_positions, l.parts INTO now_epoch, now_state, size, made
    FROM ensue.logs l WHERE l.number = {number} FOR NO KEY UPDATE;
  SELECT b.last, b.chain INTO now_head, now_chain FROM batches b ORDER BY b.first DESC LIMIT 1;
  now_head := coalesce(now_head, 0);
  IF now_epoch <> e THEN outcome := 'deposed'; RETURN; END IF;
  IF now_head <> before THEN outcome := 'behind'; RETURN; END IF;

  IF batch IS NOT NULL THEN
    -- The newest revision of each stream is that before the batch's first one. A part holds its own revisions and ids unique; those
    -- that end in the part before are looked up here.
    SELECT n.step, n.newest INTO bad_step, newest FROM (
      SELECT s.step, streams[s.step + 1] AS stream, revisions[s.step + 1] AS revision,
        coalesce((SELECT r.revision FROM records r WHERE r.stream = streams[s.step + 1] ORDER BY r.revision DESC LIMIT 1), 0) AS newest
      FROM unnest(stream_steps) AS s(step)
    ) n WHERE n.newest + 1 <> n.revision ORDER BY n.step LIMIT 1;
    IF bad_step IS NOT NULL THEN outcome := 'revision'; RETURN; END IF;
    part := before / size;
    IF part > 0 THEN
      SELECT n.step - 1 INTO bad_step FROM unnest(ids) WITH ORDINALITY AS n(id, step)
        WHERE EXISTS (SELECT 1 FROM records r WHERE r.id = n.id AND r.position >= (part - 1) * size AND r.position <= before)
        ORDER BY n.step LIMIT 1;
      IF bad_step IS NOT NULL THEN outcome := 'id'; RETURN; END IF;
    END IF;

    now_head := before + cardinality(ids);
    now_chain := batch_chain;
    INSERT INTO batches (first, last, id, epoch, chain, sum, contents)
      VALUES (before + 1, now_head, batch, e, batch_chain, batch_sum, batch_contents);
    INSERT INTO records (position, step, stream, revision, id, digest, bytes, encoding, key, chain, sum, content)
      SELECT before + n.o, n.o - 1, n.stream, n.revision, n.id, n.digest, n.size, n.encoding, n.seal, n.chain, n.sum, n.body
      FROM unnest(streams, revisions, ids, digests, sizes, encodings, seals, chains, sums, bodies) WITH ORDINALITY
        AS n(stream, revision, id, digest, size, encoding, seal, chain, sum, body, o);
  END IF;

  IF cardinality(seen_hashes) > 0 THEN
    INSERT INTO scopes (name) SELECT n.name FROM unnest(scope_names) AS n(name)
      WHERE NOT EXISTS (SELECT 1 FROM scopes s WHERE s.name = n.name) ON CONFLICT DO NOTHING;
    INSERT INTO seen (scope, prefix, hash, position, event, content, until, sum)
      SELECT s.number, n.prefix, n.hash, n.position, n.event, n.content, n.until, n.sum
      FROM unnest(seen_scopes, seen_prefixes, seen_hashes, seen_positions, seen_events, seen_contents, seen_untils, seen_sums)
        WITH ORDINALITY AS n(scope, prefix, hash, position, event, content, until, sum, o)
      JOIN scopes s ON s.name = n.scope ORDER BY n.o;
  END IF;
  outcome := 'kept';
END
$fn$;

-- Returns the batch at a place, for a writer that did not learn the outcome of its append. The lock waits for an append that still runs. The record in
-- the write-ahead log comes after the batch: once this commit is acknowledged, what it returned is safe too.
CREATE FUNCTION {schema}.settle(before bigint,
  OUT now_epoch bigint, OUT now_head bigint, OUT now_chain bytea, OUT found_batch uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '2s'
AS $fn$
BEGIN
  SELECT l.epoch INTO now_epoch FROM ensue.logs l WHERE l.number = {number} FOR NO KEY UPDATE;
  PERFORM pg_logical_emit_message(true, 'ensue', 'settle');
  SELECT b.last, b.chain INTO now_head, now_chain FROM batches b ORDER BY b.first DESC LIMIT 1;
  now_head := coalesce(now_head, 0);
  SELECT b.id INTO found_batch FROM batches b WHERE b.first = before + 1;
END
$fn$;

-- Forgets keys that are over, and the oldest of a scope that has too many. No append does this: it would walk over the rows that were
-- deleted before, for as long as any snapshot holds them.
CREATE FUNCTION {schema}.forget(now bigint, keys_max bigint, rows_max bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $fn$
DECLARE
  gone bigint;
  more bigint;
  scope_number int;
  kept bigint;
BEGIN
  DELETE FROM seen WHERE number IN (SELECT s.number FROM seen s WHERE s.until <= now ORDER BY s.until LIMIT rows_max);
  GET DIAGNOSTICS gone = ROW_COUNT;
  -- Numbers grow by at least one with each key, so a count is needed only if this is true.
  IF (SELECT coalesce(max(s.number) - min(s.number) + 1, 0) FROM seen s) > keys_max THEN
    FOR scope_number, kept IN SELECT s.scope, count(*) FROM seen s GROUP BY s.scope HAVING count(*) > keys_max LOOP
      DELETE FROM seen WHERE number IN (
        SELECT s.number FROM seen s WHERE s.scope = scope_number ORDER BY s.until, s.number LIMIT least(kept - keys_max, rows_max));
      GET DIAGNOSTICS more = ROW_COUNT;
      gone := gone + more;
    END LOOP;
  END IF;
  RETURN gone;
END
$fn$;

-- Writes sealed secrets, all of them or none. Returns false, and writes nothing, if another node leads the log by now.
CREATE FUNCTION {schema}.put_secrets(e bigint, purposes bytea[], names bytea[], versions bigint[], seals bytea[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '2s'
AS $fn$
BEGIN
  PERFORM 1 FROM ensue.logs l WHERE l.number = {number} AND l.epoch = e FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO secrets (purpose, name, version, sealed)
    SELECT n.purpose, n.name, n.version, n.sealed FROM unnest(purposes, names, versions, seals) AS n(purpose, name, version, sealed)
    ON CONFLICT (purpose, name, version) DO UPDATE SET sealed = excluded.sealed;
  RETURN true;
END
$fn$;

-- Removes a sealed secret. Returns false, and removes nothing, if another node leads the log by now.
CREATE FUNCTION {schema}.remove_secret(e bigint, old_purpose bytea, old_name bytea, old_version bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '2s'
AS $fn$
BEGIN
  PERFORM 1 FROM ensue.logs l WHERE l.number = {number} AND l.epoch = e FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN false; END IF;
  DELETE FROM secrets s WHERE s.purpose = old_purpose AND s.name = old_name AND s.version = old_version;
  RETURN true;
END
$fn$;

-- Writes the files of a pack. Files that are there stay: their digest says what they are.
CREATE FUNCTION {schema}.put_pack(e bigint, new_pack bytea, paths bytea[], programs boolean[], contents bytea[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '2s'
AS $fn$
BEGIN
  PERFORM 1 FROM ensue.logs l WHERE l.number = {number} AND l.epoch = e FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO pack_files (pack, path, is_program, content)
    SELECT new_pack, n.path, n.is_program, n.content FROM unnest(paths, programs, contents) AS n(path, is_program, content)
    ON CONFLICT (pack, path) DO NOTHING;
  RETURN true;
END
$fn$;
