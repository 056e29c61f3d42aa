//! A primary that is killed amid appends, and its standby that is promoted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::ports::{AppendError, Log, LogError, LogReader as _};
use ensue_engine::record::{Head, Position};
use ensue_postgres::{Database, DatabaseError, IfLed, PostgresLog, PostgresLogReader, WaitDecision};
use ensue_store::verify::verify;
use ensue_test_support::records::{LOG, Writer, event};

use crate::cluster::{processes_in, signal};
use crate::faults::{append_until, wait_for_moment};
use crate::nodes::node;
use crate::proxy::Proxy;
use crate::seeds::{Choices, Moment, count, seed};
use crate::server::{STANDBY, Server, is_missing, until};

/// How long an append is tried. A new standby is copied meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a standby is promoted, unless `ENSUE_PROMOTIONS` says otherwise.
const PROMOTIONS: usize = 5;

/// The address of a database that is on one of two servers.
fn address(one: &Server, other: &Server, name: &str) -> String {
    format!("postgres://ensue@127.0.0.1:{},127.0.0.1:{}/{name}", one.port(), other.port())
}

/// Waits until a primary has its standby, and no commit is acknowledged without it.
pub(crate) fn wait_for_standby(primary: &Server) {
    until(|| primary.psql("postgres", "SELECT sync_state FROM pg_stat_replication") == "sync");
}

/// Returns the statements whose commit waits for the standby: the process of each, and when it began.
pub(crate) fn waiting_for_standby(primary: &Server) -> Vec<String> {
    let waits = "SELECT pid || '|' || query_start FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    primary.psql("postgres", waits).lines().map(str::to_owned).collect()
}

/// Cancels the wait of a statement.
pub(crate) fn cancel(primary: &Server, statement: &str) {
    let pid = statement.split('|').next().unwrap();
    primary.psql("postgres", &format!("SELECT pg_cancel_backend({pid})"));
    // The next statement of the same process may wait too.
    until(|| !waiting_for_standby(primary).iter().any(|waiting| waiting == statement));
}

/// Waits until a standby shows the log up to a position.
fn wait_for(standby: &Server, name: &str, position: Position) {
    until(|| standby.psql_may_fail(name, "SELECT max(last) FROM log_0.batches").1 == position.to_string());
}

/// The processes of a server that are frozen until this is dropped.
struct Frozen(Vec<u32>);

impl Frozen {
    fn server(server: &Server) -> Self {
        let processes = processes_in(&server.data());
        signal("STOP", &processes);
        Self(processes)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

#[test]
fn promoted_synchronous_standby_has_each_acknowledged_batch() {
    if is_missing() {
        return;
    }
    let (promotions, seed) = (count("ENSUE_PROMOTIONS", PROMOTIONS), seed());
    eprintln!("again: ENSUE_PROMOTIONS={promotions} ENSUE_SCHEDULES_SEED={seed} cargo test -p ensue-postgres promoted_synchronous");
    let mut choices = Choices::of(seed);
    let mut primary = Server::start();
    let (name, database) = primary.database();
    drop(database);
    // The copies of the primary have the setting too.
    primary.set("synchronous_standby_names", STANDBY);
    let mut standby = primary.start_standby(None);
    let database = Database::at(&address(&primary, &standby, &name)).unwrap();
    wait_for_standby(&primary);
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(PATIENCE);
    let mut writer = Writer::of(&log);
    for promotion in 0..promotions {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::default();
        let appending = append_until(&stop, &acknowledged, log, writer);
        wait_for_moment(&Moment::choose(&mut choices), &acknowledged, &appending);
        primary.kill();
        standby.promote();
        let port = primary.port();
        drop(primary);
        primary = standby;
        standby = primary.start_standby(Some(port));
        wait_for_standby(&primary);
        stop.store(true, Ordering::SeqCst);
        (log, writer) = appending.join().unwrap();
        let reader = log.reader().unwrap();
        assert_eq!(verify(&*reader, Some(writer.head()), |_| ()).unwrap().head, writer.head(), "after promotion {promotion}");
    }
}

/// A promoted standby that lacks the newest acknowledged batch, and the node that was its leader.
struct Rewound {
    _primary: Server,
    standby: Server,
    address: String,
    log: PostgresLog,
    writer: Writer,
}

impl Rewound {
    /// Calls `after` once the batch is acknowledged, and before the primary is killed.
    fn begin(after: impl FnOnce(&str, &Writer)) -> Self {
        let primary = Server::start();
        let (name, database) = primary.database();
        drop(database);
        let standby = primary.start_standby(None);
        let address = address(&primary, &standby, &name);
        let mut log = Database::at(&address).unwrap().lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(PATIENCE);
        let mut writer = Writer::of(&log);
        writer.append(&mut log, 3).unwrap();
        wait_for(&standby, &name, writer.head().position);
        standby.stop();
        writer.append(&mut log, 3).unwrap();
        after(&address, &writer);
        primary.kill();
        standby.start_again();
        standby.promote();
        Self { _primary: primary, standby, address, log, writer }
    }
}

#[test]
fn leader_stops_at_a_promoted_standby_that_lacks_its_newest_batch() {
    if is_missing() {
        return;
    }
    let Rewound { standby, mut log, mut writer, .. } = Rewound::begin(|_, _| {});
    // The node notices it without an append.
    let watch = log.lead_watch();
    until(|| watch.rewritten().is_some());
    let head = writer.head().position;
    let refused = writer.append(&mut log, 3);
    assert!(matches!(&refused, Err(AppendError::Rewritten(why)) if why.contains(&format!("up to position {head}"))), "{refused:?}");
    let read = log.reader().unwrap().head();
    assert!(matches!(read, Err(LogError::Store(_))), "{read:?}");
    drop(standby);
}

#[test]
fn waiting_node_refuses_a_promoted_standby_that_lacks_the_newest_batch() {
    if is_missing() {
        return;
    }
    let mut waiting = None;
    let rewound = Rewound::begin(|address, writer| {
        let database = Database::at(address).unwrap();
        let reader = PostgresLogReader::open_confirmed(&database, LOG).unwrap();
        until(|| reader.head().unwrap() == writer.head());
        waiting = Some(database);
    });
    // The leader is gone too.
    std::mem::forget(rewound.log);
    let refused = waiting.unwrap().lead(LOG, &node(2), IfLed::WaitFor(Duration::from_secs(60)));
    let refused = refused.map(|_| ()).unwrap_err();
    assert!(matches!(refused, DatabaseError::Rewritten { position, .. } if position == rewound.writer.head().position), "{refused}");
    // A node that never saw it cannot know.
    let other = Database::at(&rewound.address).unwrap().lead(LOG, &node(3), IfLed::WaitFor(Duration::from_secs(60)));
    assert!(other.is_ok());
}

#[test]
fn waiting_node_compares_its_server_again_once_it_leads() {
    if is_missing() {
        return;
    }
    let server = Server::start();
    let (name, database) = server.database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 1).unwrap();
    let before = writer.head().position;
    writer.append(&mut log, 1).unwrap();
    writer.append(&mut log, 1).unwrap();

    let waiting = Database::at(&server.address(&name)).unwrap();
    let (waits, has_compared) = mpsc::sync_channel(1);
    let taking = thread::spawn({
        let waiting = waiting.clone();
        move || {
            let taken = waiting.lead_after(LOG, &node(2), &mut |_| {
                let _ = waits.try_send(());
                WaitDecision::GoOn
            });
            taken.map(drop)
        }
    });
    // It has compared the server with what it knows once it waits.
    has_compared.recv_timeout(Duration::from_secs(60)).unwrap();
    let reader = PostgresLogReader::open_confirmed(&waiting, LOG).unwrap();
    assert!(reader.head().unwrap().position > before);
    // The connection of the second node stays open meanwhile.
    for table in ["records WHERE position", "batches WHERE first"] {
        server.psql(&name, &format!("DELETE FROM log_0.{table} > {before}"));
    }
    drop(log);
    let taken = taking.join().unwrap();
    assert!(matches!(taken, Err(DatabaseError::Rewritten { .. })), "{taken:?}");
}

#[test]
fn leader_moves_to_the_new_primary_while_the_old_one_still_accepts_connections() {
    if is_missing() {
        return;
    }
    let primary = Server::start();
    let (name, database) = primary.database();
    drop(database);
    primary.set("synchronous_standby_names", STANDBY);
    let standby = primary.start_standby(None);
    wait_for_standby(&primary);
    let database = Database::at(&address(&primary, &standby, &name)).unwrap();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap().with_patience(PATIENCE / 4);
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 3).unwrap();
    let reader = log.reader().unwrap();
    assert_eq!(reader.head().unwrap(), writer.head());
    // Nobody stops the old primary, which waits for its standby with each commit.
    standby.promote();
    standby.set("synchronous_standby_names", "");
    writer.append(&mut log, 3).unwrap();
    assert_eq!(reader.head().unwrap(), writer.head(), "the reader of the leader has left the old primary too");
    log.release_caches();
    database.close_idle();
    writer.append(&mut log, 3).unwrap();
    assert_eq!(read_head(&database).unwrap(), writer.head());
    drop(primary);
}

/// A log with a record that the standby has too. The first node leads it.
struct ReplicatedLog {
    primary: Server,
    standby: Server,
    name: String,
    log: PostgresLog,
    writer: Writer,
}

impl ReplicatedLog {
    fn begin() -> Self {
        let primary = Server::start();
        let (name, database) = primary.database();
        let standby = primary.start_standby(None);
        let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
        let mut writer = Writer::of(&log);
        writer.append(&mut log, 1).unwrap();
        wait_for(&standby, &name, writer.head().position);
        Self { primary, standby, name, log, writer }
    }
}

/// Leads the log as the second node, while the first server of its address is frozen.
fn lead_elsewhere(database: &Database) -> PostgresLog {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match database.lead(LOG, &node(2), IfLed::WaitFor(Duration::from_secs(10))) {
            Ok(led) => return led,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

#[test]
fn frozen_primary_holds_up_a_node_that_has_idle_connections_only_once() {
    if is_missing() {
        return;
    }
    let ReplicatedLog { primary, standby, name, log: _log, writer } = ReplicatedLog::begin();
    let proxy = Proxy::before(primary.port());
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", proxy.port(), standby.port());
    let waiting = Database::at(&format!("postgres://ensue@{hosts}/{name}?sslmode=disable")).unwrap();
    // A node that waits opens the connections that it will need.
    let mut looks = 0;
    let led = waiting.lead_after(LOG, &node(2), &mut |_| {
        looks += 1;
        if looks == 1 { WaitDecision::GoOn } else { WaitDecision::GiveUp }
    });
    assert!(led.is_err());
    let frozen = Frozen::server(&primary);
    let connections = proxy.connections();
    assert!(connections >= 7, "{connections} connections were opened");
    standby.promote();
    let led = lead_elsewhere(&waiting);
    assert_eq!(led.head().unwrap(), writer.head());
    assert_eq!(proxy.used_connections(connections), 1, "idle connections that the node tried");
    drop(frozen);
}

/// Reads the head as the read models do, over a connection of their own.
fn read_head(database: &Database) -> Result<Head, LogError> {
    PostgresLogReader::open(database, LOG).map_err(|error| LogError::Unavailable(error.to_string()))?.head()
}

#[test]
fn leader_neither_reads_from_an_old_primary_nor_appends_to_it() {
    if is_missing() {
        return;
    }
    let ReplicatedLog { primary, standby, name, log, .. } = ReplicatedLog::begin();
    let database = Database::at(&address(&primary, &standby, &name)).unwrap();
    let frozen = Frozen::server(&primary);
    standby.promote();
    let mut led = lead_elsewhere(&database);
    let mut writer = Writer::of(&led);
    writer.append(&mut led, 1).unwrap();
    // Now both accept connections that write, and the old primary comes first in the address.
    drop(frozen);
    let mut led = led.with_patience(Duration::from_secs(1));
    led.release_caches();
    database.close_idle();
    // The new one is asked only if the old one is slow to answer.
    let is_not_old = |head: &Result<Head, LogError>| match head {
        Ok(head) => *head == writer.head(),
        Err(error) => matches!(error, LogError::Unavailable(_)),
    };
    for read in [led.reader().unwrap().head(), read_head(&database)] {
        assert!(is_not_old(&read), "{read:?}");
    }
    let head = led.head();
    assert!(is_not_old(&head), "{head:?}");
    let batch = writer.batch([event(3)]);
    let appended = writer.write(&mut led, &batch);
    assert!(matches!(appended, Ok(_) | Err(AppendError::Unknown)), "{appended:?}");
    drop(log);
    primary.kill();
    if appended.is_err() {
        writer.write(&mut led, &batch).unwrap();
    }
    assert_eq!(read_head(&database).unwrap(), writer.head());
}
