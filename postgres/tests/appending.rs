//! What is particular to appending to PostgreSQL.

use ensue_engine::ports::{AppendError, Log, LogReader};
use ensue_engine::record::Position;
use ensue_postgres::{IfLed, PostgresLogReader};
use ensue_store::memory::MemoryLog;
use ensue_store::verify::{VerifyError, verify};
use ensue_test_support::records::{LOG, Writer, event, event_id, read_all, reseal};

use crate::nodes::node;
use crate::server::{Server, is_missing, until};

#[test]
fn records_and_chain_are_those_of_every_other_log() {
    if is_missing() {
        return;
    }
    let (_, database) = Server::instance().database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let mut memory = MemoryLog::new(LOG);
    let mut writer = Writer::of(&log);
    for count in [1, 40, 3] {
        let next = writer.head().position.0 + 1;
        let batch = writer.batch((next..next + count).map(event));
        memory.append(&batch, writer.head().position, writer.epoch()).unwrap();
        writer.write(&mut log, &batch).unwrap();
    }
    let reader = log.reader().unwrap();
    assert_eq!(read_all(&*reader), read_all(&*memory.reader().unwrap()));
    assert_eq!(reader.head().unwrap(), memory.head().unwrap());
}

#[test]
fn append_updates_no_row() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, database) = server.database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 1).unwrap();
    let version = "SELECT ctid, xmin FROM ensue.logs";
    let before = server.psql(&name, version);
    for _ in 0..20 {
        writer.append(&mut log, 2).unwrap();
    }
    assert_eq!(server.psql(&name, version), before, "the row of the log has a new version");
}

#[test]
fn append_is_one_transaction() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, database) = server.database();
    let ask = |sql: &str| -> u64 { server.psql("postgres", sql).parse().unwrap() };
    let transactions = || {
        // A connection reports its transactions when it ends.
        database.close_idle();
        until(|| ask(&format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'")) == 0);
        ask(&format!("SELECT xact_commit FROM pg_stat_database WHERE datname = '{name}'"))
    };
    let before = transactions();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let mut writer = Writer::of(&log);
    for _ in 0..200 {
        writer.append(&mut log, 1).unwrap();
    }
    // The node beats for as long as this takes.
    let beats: u64 = server.psql(&name, "SELECT sum(beats) FROM ensue.nodes").parse().unwrap();
    drop(log);
    let run = transactions() - before;
    assert!((200..400).contains(&(run - 2 * beats)), "200 appends took {run} transactions, with {beats} beats and what opens the log");
}

#[test]
fn append_is_tried_again_after_an_error_that_passes() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, database) = server.database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let mut writer = Writer::of(&log);
    // Each first try fails. A sequence is not rolled back.
    server.psql(
        &name,
        "CREATE SEQUENCE public.tries; CREATE TABLE public.fails (code text); INSERT INTO public.fails VALUES ('40001'); \
         CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE c text; BEGIN SELECT code INTO c FROM public.fails; \
         IF nextval('public.tries') % 2 = 1 THEN RAISE 'not yet' USING ERRCODE = c; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER fail BEFORE INSERT ON log_0.batches FOR EACH ROW EXECUTE FUNCTION public.fail()",
    );
    // A conflict, a lack of memory, a lock that is not available, and a statement that an administrator canceled.
    for (number, code) in (1..).zip(["40001", "53200", "55P03", "57014"]) {
        server.psql(&name, &format!("UPDATE public.fails SET code = '{code}'"));
        assert_eq!(writer.append(&mut log, 1).unwrap(), Position(number), "{code}");
    }
    server.psql(&name, "UPDATE public.fails SET code = '53100'");
    assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Full)));
}

#[test]
fn id_of_the_part_before_is_rejected() {
    if is_missing() {
        return;
    }
    let (_, database) = Server::instance().database();
    let mut log = database.with_part_positions(8).lead(LOG, &node(1), IfLed::Fail).unwrap();
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 7).unwrap();
    writer.append(&mut log, 1).unwrap();
    let mut batch = writer.batch([event(20), event(21)]);
    batch.records[1].id = event_id(3).0;
    reseal(&mut batch, writer.head());
    let refused = log.append(&batch, Position(8), writer.epoch()).unwrap_err().to_string();
    assert!(refused.contains("record 1 of the batch") && refused.contains(&event_id(3).to_string()), "{refused}");
}

#[test]
fn changed_row_is_found_with_its_position() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, database) = server.database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    Writer::of(&log).append(&mut log, 5).unwrap();
    server.psql(&name, "UPDATE log_0.records SET revision = 2 WHERE position = 3");
    let reader = PostgresLogReader::open(&database, LOG).unwrap();
    let found = verify(&reader, None, |_| ()).unwrap_err();
    assert!(matches!(&found, VerifyError::Log(error) if error.to_string().contains("position 3")), "{found}");
}

#[test]
fn missing_tail_is_found_by_the_head() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, database) = server.database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 5).unwrap();
    writer.append(&mut log, 1).unwrap();
    server.psql(&name, "DELETE FROM log_0.records WHERE position = 6");
    let reader = PostgresLogReader::open(&database, LOG).unwrap();
    assert!(reader.read(Position(5), Default::default()).is_err());
    assert!(verify(&reader, None, |_| ()).is_err());
}
