//! A log on three servers under Patroni, whose leader and standbys are lost in several ways amid appends: each batch that
//! was acknowledged is in the log, once and in order, because only the synchronous standby is ever promoted.
//!
//! It takes minutes, and runs only if `ENSUE_PATRONI` says how many failures there are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::ids::Id;
use ensue_engine::ports::{AppendError, Batch, Log, LogReader as _, ReadLimit};
use ensue_engine::record::{Chain, Head, Position};
use ensue_postgres::{APPEND_PATIENCE, Database, IfLed, PostgresLog, PostgresLogReader};
use ensue_store::verify::verify;
use ensue_test_support::records::{LOG, Writer, event};

use crate::cluster::{Cluster, MEMBERS, Role, missing_packages};
use crate::nodes::node;
use crate::server::is_missing;
use crate::skipped::skipped;

/// The database of the log.
const DATABASE: &str = "ensue";

/// How long every second leader of the log tries an append. It is less than a failover takes.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);

/// How long a node leads the log. Then another one does, perhaps amid a failover.
const TERM: Duration = Duration::from_secs(10);

/// How long a leader of the log may take to be found.
const LEAD_WITHIN: Duration = Duration::from_secs(120);

/// How long appends may take to go on.
const APPENDS_WITHIN: Duration = Duration::from_secs(60);

/// How many batches show that appends go on.
const SOME: usize = 10;

/// How long a server that lost its lease is left alone. It must not come back on its own.
const LEFT_ALONE: Duration = Duration::from_secs(8);

/// The pause after a batch, so that the log stays short.
const PAUSE: Duration = Duration::from_millis(5);

/// How often a reader on another node looks at the log.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Patroni and the server of the leader are killed at once.
    PowerOfLeader,
    /// The server of the leader is killed. Its Patroni starts it again, or another member leads.
    ServerOfLeader,
    /// An administrator asks for another leader.
    Switchover,
    /// The Patroni of the leader does nothing for longer than its lease. Two servers accept writes meanwhile.
    PatroniOfLeader,
    /// The leader does nothing for longer than its lease, and closes no connection.
    FreezeOfLeader,
    /// Nobody can renew the lease.
    Etcd,
    /// The synchronous standby is killed.
    PowerOfStandby,
    /// The leader and the synchronous standby are killed at once. The third member lacks batches.
    PowerOfBoth,
}

const FAILURES: [Failure; 8] = [
    Failure::PowerOfLeader,
    Failure::PatroniOfLeader,
    Failure::Switchover,
    Failure::FreezeOfLeader,
    Failure::PowerOfStandby,
    Failure::Etcd,
    Failure::ServerOfLeader,
    Failure::PowerOfBoth,
];

/// A batch that was appended.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: Id,
    /// The head of the log after it.
    head: Head,
    /// When its outcome was known.
    at: Instant,
}

impl Entry {
    fn of(batch: &Batch) -> Self {
        let newest = batch.records.last().unwrap();
        Self { id: batch.id.unwrap(), head: Head { position: newest.position, chain: newest.chain }, at: Instant::now() }
    }
}

/// What the threads of the test share.
#[derive(Default)]
struct SharedLedger {
    is_over: AtomicBool,
    /// What was acknowledged, kept outside the database.
    ledger: Mutex<Vec<Entry>>,
}

impl SharedLedger {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn acknowledge(&self, entry: Entry) {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).push(Entry { at: Instant::now(), ..entry });
    }

    fn entries(&self) -> Vec<Entry> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self) -> usize {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns the head after the last entry.
    fn head(&self) -> Head {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).last().map_or_else(Head::default, |entry| entry.head)
    }

    /// Waits until more batches are acknowledged.
    fn wait_for_some(&self, why: &str) {
        let (before, deadline) = (self.count(), Instant::now() + APPENDS_WITHIN);
        while self.count() < before + SOME {
            assert!(!self.is_over(), "{why}: the other threads ended");
            assert!(Instant::now() < deadline, "{why}: {} batches are acknowledged within {APPENDS_WITHIN:?}", self.count() - before);
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Ends the threads of the test when one of them ends, also by a panic.
struct Ending<'a>(&'a SharedLedger);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

/// The nodes that append, one after the other.
struct Nodes<'a> {
    database: Database,
    shared: &'a SharedLedger,
    leaders: u128,
    /// The batch whose outcome the last leader did not learn.
    open: Option<Entry>,
    /// How many there were, and how many of them were in the log.
    unknown: (usize, usize),
}

impl<'a> Nodes<'a> {
    fn of(database: Database, shared: &'a SharedLedger) -> Self {
        Self { database, shared, leaders: 0, open: None, unknown: (0, 0) }
    }

    /// Appends until the test is over. A node that does not learn an outcome gives the log up at once.
    fn append(mut self) -> Self {
        let _ending = Ending(self.shared);
        while !self.shared.is_over() {
            let (mut log, mut writer) = self.lead();
            let until = Instant::now() + TERM;
            while Instant::now() < until && !self.shared.is_over() {
                let next = writer.head().position.0 + 1;
                let batch = writer.batch((next..next + 3).map(event));
                match writer.write(&mut log, &batch) {
                    Ok(_) => self.shared.acknowledge(Entry::of(&batch)),
                    Err(AppendError::Unknown) => {
                        self.open = Some(Entry::of(&batch));
                        self.unknown.0 += 1;
                        break;
                    }
                    Err(error) => panic!("after {:?}: {error}", self.shared.head()),
                }
                thread::sleep(PAUSE);
            }
        }
        if self.open.is_some() {
            drop(self.lead());
        }
        self
    }

    /// Leads the log as the next node. Its head is that of the last acknowledged batch, or of the one whose outcome was
    /// unknown. From now on, that one is in the log, or never.
    fn lead(&mut self) -> (PostgresLog, Writer) {
        let deadline = Instant::now() + LEAD_WITHIN;
        let (log, writer) = loop {
            match self.try_to_lead() {
                Ok(led) => break led,
                Err(why) => assert!(Instant::now() < deadline, "{why}"),
            }
            thread::sleep(LOOK_EVERY);
        };
        match self.open.take() {
            Some(open) if open.head == writer.head() => {
                self.unknown.1 += 1;
                self.shared.acknowledge(open);
            }
            Some(_) | None => assert_eq!(writer.head(), self.shared.head(), "leader {} found another head", self.leaders),
        }
        let patience = if self.leaders.is_multiple_of(2) { SHORT_PATIENCE } else { APPEND_PATIENCE };
        (log.with_patience(patience), writer)
    }

    fn try_to_lead(&mut self) -> Result<(PostgresLog, Writer), String> {
        self.leaders += 1;
        let led = self.database.lead(LOG, &node(self.leaders), IfLed::WaitFor(LEAD_WITHIN));
        let log = led.map_err(|error| error.to_string())?;
        let head = log.head().map_err(|error| error.to_string())?;
        let newest = match head.position.0.checked_sub(1) {
            Some(before) => log.reader().and_then(|reader| reader.read(Position(before), ReadLimit { records: 1, bytes: 0 })),
            None => Ok(Vec::new()),
        };
        let writer = Writer::behind(&log, &newest.map_err(|error| error.to_string())?);
        Ok((log, writer))
    }
}

/// Reads as another node does, until the test is over. Returns the heads that it took for confirmed.
fn read_confirmed(database: &Database, shared: &SharedLedger) -> Vec<Head> {
    let _ending = Ending(shared);
    let mut heads = Vec::new();
    while !shared.is_over() {
        let Ok(reader) = PostgresLogReader::open_confirmed(database, LOG) else {
            thread::sleep(LOOK_EVERY);
            continue;
        };
        while let Ok(head) = reader.head()
            && !shared.is_over()
        {
            if heads.last() != Some(&head) {
                heads.push(head);
            }
            thread::sleep(LOOK_EVERY);
        }
    }
    heads
}

/// Has one thing fail, and waits until the cluster is whole again. Returns the member that led it.
fn fail(cluster: &mut Cluster, failure: Failure, shared: &SharedLedger) -> usize {
    let (leader, standby) = cluster.wait_until_whole();
    match failure {
        Failure::PowerOfLeader => {
            cluster.cut_power(leader);
            cluster.wait_for_another(leader);
            shared.wait_for_some("the leader is gone");
            cluster.start_again(leader);
        }
        Failure::ServerOfLeader => cluster.kill_server(leader),
        Failure::Switchover => cluster.switch_over(leader, standby),
        Failure::PatroniOfLeader => {
            cluster.freeze_patroni(leader);
            cluster.wait_for_another(leader);
            thread::sleep(LEFT_ALONE);
            cluster.thaw(leader);
        }
        Failure::FreezeOfLeader => {
            cluster.freeze(leader);
            cluster.wait_for_another(leader);
            shared.wait_for_some("the leader does nothing");
            cluster.thaw(leader);
        }
        Failure::Etcd => {
            cluster.freeze_etcd();
            cluster.wait("the leader continues without etcd", || cluster.member(Role::Leader).is_none().then_some(()));
            cluster.thaw_etcd();
        }
        Failure::PowerOfStandby => {
            cluster.cut_power(standby);
            shared.wait_for_some("the synchronous standby is gone");
            cluster.start_again(standby);
        }
        Failure::PowerOfBoth => {
            let third = cluster.member(Role::Replica).unwrap();
            cluster.freeze(third);
            shared.wait_for_some("the third member is not needed");
            cluster.cut_power(leader);
            cluster.cut_power(standby);
            cluster.thaw(third);
            cluster.wait("the third member does not answer", || (cluster.member(Role::Replica) == Some(third)).then_some(()));
            thread::sleep(LEFT_ALONE);
            assert_eq!(cluster.member(Role::Leader), None, "a member was promoted that lacks a batch");
            cluster.start_again(leader);
            cluster.start_again(standby);
        }
    }
    cluster.wait_until_whole();
    shared.wait_for_some("the cluster is whole");
    leader
}

/// Returns the ids of the batches that a member shows.
fn batches(cluster: &Cluster, member: usize) -> Vec<String> {
    let shown = cluster.psql(member, DATABASE, "SELECT id FROM log_0.batches ORDER BY first");
    shown.lines().map(str::to_owned).collect()
}

fn ids(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.id.to_string()).collect()
}

/// Returns how many failures are asked for, or names the test that is skipped.
fn failures() -> Option<usize> {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let Ok(count) = std::env::var("ENSUE_PATRONI") else {
        skipped(&name, "it takes minutes, and runs if `ENSUE_PATRONI` is how many failures there are");
        return None;
    };
    let missing = missing_packages();
    if is_missing() || missing.is_empty() {
        return (!is_missing()).then(|| count.parse().unwrap());
    }
    let why = format!("Patroni or etcd is not installed (apt-get install {})", missing.join(" "));
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    skipped(&name, &why);
    None
}

#[test]
fn failovers_by_patroni_lose_no_acknowledged_batch() {
    let Some(failures) = failures() else { return };
    let mut cluster = Cluster::start();
    let (leader, _) = cluster.wait_until_whole();
    cluster.psql(leader, "postgres", &format!("CREATE DATABASE {DATABASE} TEMPLATE template0"));
    let database = || Database::at(&cluster.address(DATABASE)).unwrap();
    database().prepare().unwrap();
    let (of_nodes, of_reader, shared) = (database(), database(), SharedLedger::default());
    let (nodes, confirmed) = thread::scope(|scope| {
        let ending = Ending(&shared);
        let nodes = scope.spawn(|| Nodes::of(of_nodes, &shared).append());
        shared.wait_for_some("the log begins");
        let confirmed = scope.spawn(|| read_confirmed(&of_reader, &shared));
        for number in 0..failures {
            let failure = FAILURES[number % FAILURES.len()];
            let (begin, before) = (Instant::now(), shared.count());
            // It comes at another moment of an append each time.
            thread::sleep(Duration::from_millis(200 + 37 * number as u64 % 100));
            let led = fail(&mut cluster, failure, &shared);
            let entries = shared.entries();
            let gaps = entries[before - 1..].windows(2).map(|pair| pair[1].at - pair[0].at);
            eprintln!(
                "failure {number}, {failure:?} while member {led} led: {} batches in {:.1} s, at most {:.1} s without one",
                entries.len() - before,
                begin.elapsed().as_secs_f32(),
                gaps.max().unwrap_or_default().as_secs_f32(),
            );
            let (leader, _) = cluster.wait_until_whole();
            let shown = batches(&cluster, leader);
            assert!(shown.starts_with(&ids(&entries)), "after failure {number}, {failure:?}");
        }
        drop(ending);
        (nodes.join().unwrap(), confirmed.join().unwrap())
    });
    let entries = shared.entries();
    let reader = PostgresLogReader::open(&nodes.database, LOG).unwrap();
    assert_eq!(verify(&reader, Some(shared.head()), |_| ()).unwrap().head, shared.head());
    for member in 0..MEMBERS {
        cluster.wait("a member lacks a batch", || (batches(&cluster, member).len() >= entries.len()).then_some(()));
        assert_eq!(batches(&cluster, member), ids(&entries), "on member {member}");
    }
    assert!(!confirmed.is_empty(), "the other node read nothing");
    let chains: BTreeMap<Position, Chain> = entries.iter().map(|entry| (entry.head.position, entry.head.chain)).collect();
    for head in &confirmed {
        assert_eq!(chains.get(&head.position), Some(&head.chain), "a batch was lost that was read as confirmed");
    }
    eprintln!(
        "{failures} failures: {} batches, {} leaders of the log, {} unknown outcomes of which {} were in the log, {} heads read",
        entries.len(),
        nodes.leaders,
        nodes.unknown.0,
        nodes.unknown.1,
        confirmed.len(),
    );
}
