//! Two nodes share a database, and one of them leads: the leader, the server of the database and the connections between
//! them fail in a random order.
//!
//! The same ledger and the same workflows as on a node's own log are compared with the log in the database.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use rustix::process::Signal;

use super::disk_full::{SmallDisk, deliver_until};
use super::flows::Flows;
use super::ledger::{Outcome, Patience, Senders};
use super::trial::{Nodes, SentAgain, Trial};
use super::{Random, rounds, seed};
use crate::database_server::{Server, as_user, is_missing, new_folder};
use crate::support::skipped::skipped;
use crate::support::{Client, Node, NodeFolder, PATIENCE, free_port};

/// How long a caller waits for an answer before it asks the other node.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The exit code of a node that may be started again.
const TRY_AGAIN: i32 = 7;

/// What happens to the pair.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KilledLeader,
    StoppedLeader,
    /// It is paused around the end of its lease, for less or for longer.
    FrozenLeader,
    KilledServer,
    /// As if both were on one machine that is lost.
    KilledServerAndLeader,
    CutConnections,
}

const FAULTS: [Fault; 6] = [
    Fault::KilledLeader,
    Fault::StoppedLeader,
    Fault::FrozenLeader,
    Fault::KilledServer,
    Fault::KilledServerAndLeader,
    Fault::CutConnections,
];

/// A server of a database, and two nodes on it. One leads, and the other one waits.
struct Pair<'a> {
    server: &'a Server,
    places: [&'a NodeFolder; 2],
    nodes: [Option<Node>; 2],
    random: Random,
}

/// Prepares two places that share a new database and a master key, and nothing else.
fn places_on(server: &Server) -> [NodeFolder; 2] {
    let address = server.address(&server.new_database());
    let first = NodeFolder::new();
    let key = first.path().join("master.key");
    [first, NodeFolder::new()].map(|place| place.with_log_in(&address, &key).listening_on(&format!("127.0.0.1:{}", free_port())))
}

/// Returns a client of a place's node, which does not wait long for an answer.
fn impatient(place: &NodeFolder) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build().unwrap();
    Client::over(http, format!("http://{}", place.address()))
}

impl<'a> Pair<'a> {
    /// Starts both nodes.
    fn start(server: &'a Server, places: [&'a NodeFolder; 2], seed: u64) -> Self {
        Self { server, places, nodes: places.map(|place| Some(place.launch())), random: Random(seed) }
    }

    /// Chooses an order of all faults.
    fn faults(&mut self) -> [Fault; 6] {
        let mut faults = FAULTS;
        for last in (1..faults.len()).rev() {
            faults.swap(last, self.random.below(last as u64 + 1) as usize);
        }
        faults
    }

    /// Starts each node again that could not reach the database at its start, as the supervisor of a machine does.
    fn start_again(&mut self) {
        for (node, place) in self.nodes.iter_mut().zip(self.places) {
            if let Some(ended) = node.take_if(|node| node.has_ended()) {
                let (code, said) = ended.end();
                assert_eq!(code, Some(TRY_AGAIN), "{said}");
                *node = Some(place.launch());
            }
        }
    }

    /// Waits until a node serves, and returns which.
    async fn leader(&mut self) -> usize {
        let begin = Instant::now();
        loop {
            self.start_again();
            for (which, place) in self.places.iter().enumerate() {
                let probe = impatient(place).anonymous(Method::GET, "/readyz").send().await;
                if self.nodes[which].is_some() && probe.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                    return which;
                }
            }
            let said = || self.nodes.iter().flatten().map(Node::stderr_text).collect::<Vec<_>>().join("\n\n");
            assert!(begin.elapsed() < PATIENCE, "no node serves: {}", said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets the fault happen to the node that serves, and waits until a node serves again.
    async fn strike(&mut self, fault: Fault) {
        let leader = self.leader().await;
        let begin = Instant::now();
        match fault {
            Fault::KilledLeader => self.end(leader, Node::kill),
            Fault::StoppedLeader => self.end(leader, |node| drop(node.stop_well())),
            Fault::FrozenLeader => {
                let node = self.nodes[leader].as_ref().unwrap();
                node.signal(Signal::STOP);
                tokio::time::sleep(Duration::from_millis(1_500 + self.random.below(4_000))).await;
                node.signal(Signal::CONT);
            }
            Fault::KilledServer => {
                self.server.kill();
                self.server_returns().await;
            }
            Fault::KilledServerAndLeader => {
                self.server.kill();
                self.end(leader, Node::kill);
                self.server_returns().await;
            }
            Fault::CutConnections => {
                const CUT: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
                self.server.psql("postgres", CUT);
            }
        }
        let then = self.leader().await;
        eprintln!("{fault:?}: node {leader}, and node {then} served after {:?}", begin.elapsed());
    }

    /// Ends a node, and starts the next one in its place.
    fn end(&mut self, which: usize, how: impl FnOnce(Node)) {
        how(self.nodes[which].take().unwrap());
        self.nodes[which] = Some(self.places[which].launch());
    }

    async fn server_returns(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.random.below(2_000))).await;
        tokio::task::block_in_place(|| self.server.start_again());
    }

    /// Lets both nodes work for a moment.
    async fn works(&mut self) {
        tokio::time::sleep(Duration::from_millis(300 + self.random.below(700))).await;
    }

    /// Stops the node that leads, and returns the other one once it serves.
    async fn last(mut self) -> (usize, Node) {
        let leader = self.leader().await;
        self.nodes[leader].take().unwrap().stop_well();
        let last = self.leader().await;
        (last, self.nodes[last].take().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_two_nodes_and_their_database_lose_duplicate_and_guess_nothing() {
    if is_missing() {
        return;
    }
    let seed = seed();
    eprintln!("two nodes on a database: again with ENSUE_FAULTS_SEED={seed}");
    let server = Server::start();
    let [first, second] = places_on(&server);
    let mut trial = Trial::at(first).await;
    let second = trial.also_at(second);
    let mut pair = Pair::start(&server, [&trial.place, &second], seed);
    pair.leader().await;
    let senders = Senders::start_to_each(&pair.places.map(impatient), &trial.ledger, Patience::TriesEachNode);
    for _ in 0..rounds(1, 12) {
        for fault in pair.faults() {
            pair.works().await;
            trial.ledger.note(&format!("{fault:?}"));
            pair.strike(fault).await;
            let (begin, before) = (Instant::now(), trial.ledger.acknowledged_events().len());
            while trial.ledger.acknowledged_events().len() == before {
                assert!(begin.elapsed() < PATIENCE, "no delivery was acknowledged after {fault:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    senders.stop().await;
    let (_, node) = pair.last().await;
    trial.holds(node, SentAgain::All).await;
    // Each place knows a head of its own that the log must have.
    second.verify_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_survive_faults_of_two_nodes_and_their_database_and_none_is_stuck() {
    if is_missing() {
        return;
    }
    let seed = seed();
    eprintln!("workflows on a database: again with ENSUE_FAULTS_SEED={seed}");
    let server = Server::start();
    let flows = Flows::on(Nodes::InSeveral).await;
    let [first, second] = places_on(&server).map(|place| flows.equip(place));
    let mut pair = Pair::start(&server, [&first, &second], seed);
    for _ in 0..rounds(1, 12) {
        for fault in pair.faults() {
            let leader = pair.leader().await;
            let users = flows.start(&impatient(pair.places[leader]), &mut pair.random);
            pair.works().await;
            pair.strike(fault).await;
            users.stop().await;
        }
    }
    let (last, node) = pair.last().await;
    flows.hold(node, [&first, &second][last]).await;
}

/// Starts a server whose data is on a small file system. It starts again whenever it ends.
fn server_on(disk: &SmallDisk, folder: &Path) -> Server {
    let inside = disk.inside(folder).iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    // The server refuses to run as root, which its user is in the namespace of the file system.
    Server::start_by(
        &format!(
            r#"exec {inside} unshare --user --map-user=1000 --map-group=1000 setpriv --pdeathsig=KILL sh -ec '
            initdb --no-sync --auth=trust --username=ensue --encoding=UTF8 --locale=C.UTF-8 --wal-segsize=1
            while sleep 0.2; do
                setpriv --pdeathsig=KILL postgres -h 127.0.0.1 -k "" -c min_wal_size=2MB -c max_wal_size=16MB || true
            done'"#
        ),
        &[("PGDATA", &folder.join("data").display().to_string())],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_of_the_database_loses_nothing_and_the_node_continues_once_there_is_space() {
    const TEST: &str = "full_disk_of_the_database_loses_nothing_and_the_node_continues_once_there_is_space";
    if is_missing() {
        return;
    }
    let folder = new_folder();
    let mounted = folder.join("disk");
    let disk = match SmallDisk::mount(&mounted, "size=120m", |program| as_user(program.into())) {
        Ok(disk) => disk,
        Err(why) => return skipped(TEST, &format!("no file system can be mounted: {}", why.trim())),
    };
    let server = server_on(&disk, &mounted);
    let place = NodeFolder::new();
    let key = place.path().join("master.key");
    let mut trial = Trial::at(place.with_log_in(&server.address(&server.new_database()), &key)).await;
    let (node, senders) = trial.start(Patience::GoesOn);
    let client = node.client();
    for _ in 0..rounds(2, 20) {
        deliver_until(&trial, &client, &Outcome::Acknowledged).await;
        trial.ledger.note("the disk is filled");
        disk.run(&mounted, "cat /dev/zero > ballast");
        let begin = Instant::now();
        loop {
            match trial.ledger.deliver_next(&client).await {
                Outcome::TurnedAway(code) => {
                    eprintln!("turned away after {:?}: {code}", begin.elapsed());
                    break;
                }
                other => assert!(begin.elapsed() < PATIENCE * 2, "a delivery was never turned away: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        trial.ledger.note("there is room again");
        let begin = Instant::now();
        disk.run(&mounted, "rm ballast");
        deliver_until(&trial, &client, &Outcome::Acknowledged).await;
        eprintln!("taken in again after {:?}", begin.elapsed());
    }
    senders.stop().await;
    trial.holds(node, SentAgain::All).await;
    drop((server, disk));
    std::fs::remove_dir_all(folder).unwrap();
}
