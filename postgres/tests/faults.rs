//! Faults between the writer and the server, in each phase of an append: every batch is in the log exactly once if it was
//! acknowledged, and the writer continues.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ensue_engine::ports::{AppendError, Log};
use ensue_engine::record::Position;
use ensue_postgres::{Database, IfLed, PostgresLog};
use ensue_store::verify::verify;
use ensue_test_support::records::{DAY, LOG, Writer, dedupe_key, event, read_all, seen_at};

use crate::nodes::node;
use crate::promotions::{cancel, waiting_for_standby};
use crate::proxy::{Direction, Fault, Proxy};
use crate::seeds::{Choices, Moment, count, seed};
use crate::server::{Server, is_missing, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// How often a server is killed, unless `ENSUE_KILLS` says otherwise.
const KILLS: usize = 5;

/// Each so many bytes of a request, the connection is cut, unless `ENSUE_FAULTS` is `long`.
const CUT_EVERY: usize = 3;

/// A log behind a proxy.
struct Behind {
    proxy: Proxy,
    log: PostgresLog,
    writer: Writer,
}

impl Behind {
    fn a_proxy() -> Self {
        let server = Server::instance();
        let (name, _) = server.database();
        let proxy = Proxy::before(server.port());
        let database = Database::at(&proxy.address(&name)).unwrap();
        let log = database.lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(PATIENCE);
        let writer = Writer::of(&log);
        Self { proxy, log, writer }
    }

    /// Appends one event with a key.
    fn append(&mut self) {
        let next = self.writer.head().position.0 + 1;
        let mut batch = self.writer.batch([event(next)]);
        batch.seen.push((dedupe_key("hooks", next), seen_at(next, DAY)));
        let appended = self.writer.write(&mut self.log, &batch).unwrap();
        assert_eq!(appended, Position(next));
    }

    /// Returns the sizes of a request and its answer.
    fn exchange(&mut self) -> (usize, usize) {
        self.append();
        let before = [Direction::ToServer, Direction::ToClient].map(|way| self.proxy.passed_bytes(way));
        self.append();
        (self.proxy.passed_bytes(Direction::ToServer) - before[0], self.proxy.passed_bytes(Direction::ToClient) - before[1])
    }

    fn strike(&mut self, fault: Fault, way: Direction, after: usize) {
        self.append();
        let struck = self.proxy.fault_count();
        self.proxy.arm(fault, way, after);
        self.append();
        assert_eq!(self.proxy.fault_count(), struck + 1, "the fault after {after} bytes {way:?} did not happen");
        self.proxy.disarm();
    }

    fn check(&self) {
        let reader = self.log.reader().unwrap();
        let verified = verify(&*reader, Some(self.writer.head()), |_| ()).unwrap();
        assert_eq!(verified.head, self.writer.head());
        let keys: Vec<_> = (1..=verified.records).map(|number| dedupe_key("hooks", number)).collect();
        let seen = self.log.find_keys(&keys).unwrap();
        assert!((1..).zip(seen).all(|(number, seen)| seen == Some(seen_at(number, DAY))));
    }
}

#[test]
fn connection_may_be_cut_after_each_byte_of_an_answer() {
    if is_missing() {
        return;
    }
    let mut behind = Behind::a_proxy();
    let (_, answer) = behind.exchange();
    assert!(answer > 50, "an answer of {answer} bytes has no row");
    for after in 0..answer {
        behind.strike(Fault::Cut, Direction::ToClient, after);
    }
    behind.check();
}

/// Returns the ends of the messages of a client: a type, a length that counts itself, and so many bytes.
fn ends_of_messages(request: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut end = 0;
    while let Some(length) = request.get(end + 1..end + 5) {
        end += 1 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
        ends.push(end);
    }
    ends
}

#[test]
fn connection_may_be_cut_after_each_byte_of_a_request() {
    if is_missing() {
        return;
    }
    let cut_every = match std::env::var("ENSUE_FAULTS").as_deref() {
        Ok("long") => 1,
        Ok(other) => panic!("ENSUE_FAULTS is `{other}`; it is `long`, or not set"),
        Err(_) => CUT_EVERY,
    };
    let mut behind = Behind::a_proxy();
    let (request, _) = behind.exchange();
    assert!(request > 500, "a request of {request} bytes has no record");
    let ends = ends_of_messages(&behind.proxy.newest_to_server(request));
    assert!(ends.len() > 2 && ends.last() == Some(&request), "a request of {request} bytes has messages that end at {ends:?}");
    // At the end of each message, and one byte before: so also without the last byte of the request.
    let around = ends.iter().flat_map(|end| [end - 1, *end]).filter(|after| *after < request);
    let cuts: BTreeSet<usize> = (0..request).step_by(cut_every).chain(around).collect();
    for after in cuts {
        behind.strike(Fault::Cut, Direction::ToServer, after);
    }
    behind.check();
}

#[test]
fn answer_that_never_comes_is_settled_on_another_connection() {
    if is_missing() {
        return;
    }
    let mut behind = Behind::a_proxy();
    behind.log = behind.log.with_patience(Duration::from_secs(6));
    let (request, answer) = behind.exchange();
    for (way, after) in [(Direction::ToClient, 0), (Direction::ToClient, answer / 2), (Direction::ToServer, request / 2)] {
        behind.strike(Fault::Hold, way, after);
    }
    behind.check();
}

#[test]
fn ended_server_process_is_replaced() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, database) = server.database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(PATIENCE);
    let mut writer = Writer::of(&log);
    for count in 1..=5 {
        server.psql(
            &name,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()",
        );
        assert_eq!(writer.append(&mut log, 1).unwrap(), Position(count));
        assert_eq!(log.head().unwrap(), writer.head());
    }
}

#[test]
fn server_that_accepts_connections_and_never_answers_does_not_hide_the_primary() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, _) = server.database();
    // As one that is frozen: its kernel accepts the connections.
    let frozen = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let hosts = frozen.each_ref().map(|frozen| frozen.local_addr().unwrap().to_string());
    let primary = format!("127.0.0.1:{}", server.port());
    for hosts in [[&hosts[0], &primary, &hosts[1]], [&hosts[0], &hosts[1], &primary]] {
        let database = Database::at(&format!("postgres://ensue@{}/{name}", hosts.map(String::as_str).join(","))).unwrap();
        let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
        let mut writer = Writer::behind(&log, &read_all(&*log.reader().unwrap()));
        writer.append(&mut log, 1).unwrap();
    }
}

#[test]
fn append_waits_for_a_lock_that_another_process_holds() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let (name, database) = server.database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(PATIENCE);
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 1).unwrap();
    // The process of each statement in this database, and when it began.
    let statements = |which: &str| {
        let sql = format!("SELECT pid || '|' || query_start FROM pg_stat_activity WHERE datname = current_database() AND {which}");
        server.psql(&name, &sql).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let holder = name.clone();
    thread::spawn(move || server.psql_may_fail(&holder, "BEGIN; SELECT FROM ensue.logs FOR UPDATE; SELECT pg_sleep(600)"));
    until(|| !statements("wait_event = 'PgSleep'").is_empty());
    let appending = thread::spawn(move || writer.append(&mut log, 1));
    // It waits longer than once for the lock.
    let mut waits = BTreeSet::new();
    until(|| {
        waits.extend(statements("wait_event IN ('transactionid', 'tuple') AND query LIKE '%.append(%'"));
        waits.len() > 1
    });
    assert!(!appending.is_finished(), "the lock is held");
    let holder = statements("wait_event = 'PgSleep'").concat();
    server.psql("postgres", &format!("SELECT pg_terminate_backend({})", holder.split('|').next().unwrap()));
    assert_eq!(appending.join().unwrap().unwrap(), Position(2));
}

/// Lets commits of the server wait for a standby of this name, or for none.
fn set_standby(server: &Server, name: &str) {
    server.set("synchronous_standby_names", name);
    if name.is_empty() {
        return;
    }
    // Commits begin to wait once one process of the server has told the others, which is later.
    thread::scope(|scope| {
        let commit = || scope.spawn(|| server.psql("postgres", "SELECT pg_logical_emit_message(true, '', '')"));
        let mut committing = commit();
        let mut waiting = Vec::new();
        until(|| {
            if committing.is_finished() {
                committing = commit();
            }
            waiting = waiting_for_standby(server);
            !waiting.is_empty()
        });
        waiting.iter().for_each(|statement| cancel(server, statement));
    });
}

#[test]
fn canceled_wait_for_a_standby_is_not_an_acknowledgement() {
    if is_missing() {
        return;
    }
    let server = Server::start();
    let (_, database) = server.database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(PATIENCE);
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 1).unwrap();
    set_standby(&server, "nobody");
    let appending = thread::spawn(move || (writer.append(&mut log, 1), log, writer));
    let next_wait = |before: &str| {
        let mut next = None;
        until(|| {
            assert!(!appending.is_finished(), "a commit that no standby has was acknowledged");
            next = waiting_for_standby(&server).into_iter().find(|statement| statement != before);
            next.is_some()
        });
        next.unwrap()
    };
    // The append, and then the settling of it, wait for a standby that never answers.
    let mut waiting = next_wait("");
    for _ in 0..2 {
        cancel(&server, &waiting);
        waiting = next_wait(&waiting);
    }
    set_standby(&server, "");
    let (appended, log, writer) = appending.join().unwrap();
    assert_eq!(appended.unwrap(), Position(2));
    assert_eq!(verify(&*log.reader().unwrap(), Some(writer.head()), |_| ()).unwrap().records, 2);
}

#[test]
fn outcome_that_cannot_be_settled_in_time_is_unknown() {
    if is_missing() {
        return;
    }
    let server = Server::start();
    let (_, database) = server.database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(Duration::from_secs(3));
    let mut writer = Writer::of(&log);
    set_standby(&server, "nobody");
    assert!(matches!(writer.append(&mut log, 1), Err(AppendError::Unknown)));
    set_standby(&server, "");
}

/// Appends on a thread until `stop` is set, and counts the appends. Returns the log and what was acknowledged.
pub(crate) fn append_until(
    stop: &Arc<AtomicBool>,
    acknowledged: &Arc<AtomicUsize>,
    mut log: PostgresLog,
    mut writer: Writer,
) -> thread::JoinHandle<(PostgresLog, Writer)> {
    let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
    thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            writer.append(&mut log, 3).unwrap();
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        (log, writer)
    })
}

/// Waits for a moment amid appends.
pub(crate) fn wait_for_moment(moment: &Moment, acknowledged: &AtomicUsize, appending: &thread::JoinHandle<(PostgresLog, Writer)>) {
    let before = acknowledged.load(Ordering::SeqCst);
    until(|| acknowledged.load(Ordering::SeqCst) >= before + moment.batches || appending.is_finished());
    thread::sleep(Duration::from_micros(moment.microseconds));
}

/// Disturbs a server so many times amid appends.
fn survives(times: usize, seed: u64, disturb: impl Fn(&Server)) {
    let mut choices = Choices::of(seed);
    let server = Server::start();
    let (_, database) = server.database();
    let log = database.lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(PATIENCE);
    let writer = Writer::of(&log);
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let appending = append_until(&stop, &acknowledged, log, writer);
    for _ in 0..times {
        // The writer has found the server again: otherwise one append would wait for several starts.
        wait_for_moment(&Moment::choose(&mut choices), &acknowledged, &appending);
        disturb(&server);
        server.start_again();
    }
    wait_for_moment(&Moment::choose(&mut choices), &acknowledged, &appending);
    stop.store(true, Ordering::SeqCst);
    let (log, writer) = appending.join().unwrap();
    let reader = log.reader().unwrap();
    assert!(acknowledged.load(Ordering::SeqCst) >= 3 * times, "{acknowledged:?}");
    assert_eq!(verify(&*reader, Some(writer.head()), |_| ()).unwrap().head, writer.head());
    assert_eq!(read_all(&*reader).len() as u64, writer.head().position.0);
}

#[test]
fn killed_server_loses_no_acknowledged_batch() {
    if !is_missing() {
        let (kills, seed) = (count("ENSUE_KILLS", KILLS), seed());
        eprintln!("again: ENSUE_KILLS={kills} ENSUE_SCHEDULES_SEED={seed} cargo test -p ensue-postgres killed_server");
        survives(kills, seed, Server::kill);
    }
}

#[test]
fn restarted_server_loses_no_acknowledged_batch() {
    if !is_missing() {
        survives(3, seed(), Server::stop);
    }
}
