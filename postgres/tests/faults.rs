//! Faults between the writer and the server, in each phase of an append: every batch is in the log exactly once if it was
//! acknowledged, and the writer continues.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::ports::{AppendError, Log};
use ensue_engine::record::Position;
use ensue_postgres::{Database, IfLed, PostgresLog};
use ensue_store::verify::verify;
use ensue_test_support::records::{DAY, LOG, Writer, dedupe_key, event, read_all, seen_at};

use crate::nodes::node;
use crate::proxy::{Fault, Proxy, Way};
use crate::server::{Server, is_missing};

const PATIENCE: Duration = Duration::from_secs(60);

/// How often a server is killed, unless `ENSUE_KILLS` says otherwise.
const KILLS: usize = 20;

/// A log behind a proxy.
struct Behind {
    proxy: Proxy,
    log: PostgresLog,
    writer: Writer,
}

impl Behind {
    fn a_proxy() -> Self {
        let server = Server::shared();
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
        let before = [Way::ToServer, Way::ToClient].map(|way| self.proxy.passed(way));
        self.append();
        (self.proxy.passed(Way::ToServer) - before[0], self.proxy.passed(Way::ToClient) - before[1])
    }

    fn strike(&mut self, fault: Fault, way: Way, after: usize) {
        self.append();
        let struck = self.proxy.struck();
        self.proxy.arm(fault, way, after);
        self.append();
        assert_eq!(self.proxy.struck(), struck + 1, "the fault after {after} bytes {way:?} did not happen");
        self.proxy.disarm();
    }

    fn check(&self) {
        let reader = self.log.reader().unwrap();
        let verified = verify(&*reader, Some(self.writer.head()), |_| ()).unwrap();
        assert_eq!(verified.head, self.writer.head());
        let keys: Vec<_> = (1..=verified.records).map(|number| dedupe_key("hooks", number)).collect();
        let seen = self.log.seen(&keys).unwrap();
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
        behind.strike(Fault::Cut, Way::ToClient, after);
    }
    behind.check();
}

#[test]
fn connection_may_be_cut_after_each_byte_of_a_request() {
    if is_missing() {
        return;
    }
    let mut behind = Behind::a_proxy();
    let (request, _) = behind.exchange();
    assert!(request > 500, "a request of {request} bytes has no record");
    for after in 0..request {
        behind.strike(Fault::Cut, Way::ToServer, after);
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
    for (way, after) in [(Way::ToClient, 0), (Way::ToClient, answer / 2), (Way::ToServer, request / 2)] {
        behind.strike(Fault::Hold, way, after);
    }
    behind.check();
}

#[test]
fn ended_server_process_is_replaced() {
    if is_missing() {
        return;
    }
    let server = Server::shared();
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
    let server = Server::shared();
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
    let server = Server::shared();
    let (name, database) = server.database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(PATIENCE);
    let mut writer = Writer::of(&log);
    let holder =
        thread::spawn(move || Server::shared().psql(&name, "BEGIN; SELECT FROM ensue.logs FOR UPDATE; SELECT pg_sleep(4); COMMIT"));
    thread::sleep(Duration::from_millis(500));
    let begin = Instant::now();
    writer.append(&mut log, 1).unwrap();
    assert!(begin.elapsed() > Duration::from_secs(2), "longer than one wait for the lock");
    holder.join().unwrap();
}

/// Waits until so many backends wait for a standby, and returns their processes.
fn waiting_for_a_standby(server: &Server, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let pids = server.psql("postgres", "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
        let pids: Vec<String> = pids.lines().map(str::to_owned).collect();
        if pids.len() == count {
            return pids;
        }
        assert!(Instant::now() < deadline, "{pids:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn set_standby(server: &Server, name: &str) {
    server.psql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
    server.psql("postgres", "SELECT pg_reload_conf()");
    // The processes of the server hear of it one after the other.
    thread::sleep(Duration::from_secs(1));
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
    let is_done = Arc::new(AtomicBool::new(false));
    let done = is_done.clone();
    let appending = thread::spawn(move || {
        let appended = writer.append(&mut log, 1);
        done.store(true, Ordering::SeqCst);
        (appended, log, writer)
    });
    // The append, and then the settling of it, wait for a standby that never answers.
    for _ in 0..2 {
        let waiting = waiting_for_a_standby(&server, 1);
        server.psql("postgres", &format!("SELECT pg_cancel_backend({})", waiting[0]));
        thread::sleep(Duration::from_millis(300));
        assert!(!is_done.load(Ordering::SeqCst), "a commit that no standby has was acknowledged");
    }
    waiting_for_a_standby(&server, 1);
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

/// Disturbs a server so many times amid appends.
fn survives(times: usize, disturb: impl Fn(&Server)) {
    let server = Server::start();
    let (_, database) = server.database();
    let log = database.lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(PATIENCE);
    let writer = Writer::of(&log);
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let appending = append_until(&stop, &acknowledged, log, writer);
    // Each time the writer has found the server again: otherwise one append would wait for several starts.
    let until_more = || {
        let before = acknowledged.load(Ordering::SeqCst);
        while acknowledged.load(Ordering::SeqCst) < before + 3 && !appending.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
    };
    for _ in 0..times {
        until_more();
        disturb(&server);
        server.start_again();
    }
    until_more();
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
        survives(std::env::var("ENSUE_KILLS").map_or(KILLS, |count| count.parse().unwrap()), Server::kill);
    }
}

#[test]
fn restarted_server_loses_no_acknowledged_batch() {
    if !is_missing() {
        survives(3, Server::stop);
    }
}
