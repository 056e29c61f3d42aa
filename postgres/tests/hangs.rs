//! A server that stops answering in the middle of an exchange while the connection stays open: the call ends in its time, with
//! an error that names the database, or survives; and the next call works.

use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::explain::Explain;
use ensue_engine::ports::Log;
use ensue_postgres::{Database, DatabaseError, IfLed, PostgresLog, WaitDecision, WaitsFor};
use ensue_store::verify::verify;
use ensue_test_support::records::{LOG, Writer, read_all};

use crate::nodes::node;
use crate::proxy::{Counts, Direction, Fault, Proxy};
use crate::server::{Server, is_missing, until};

/// How much later than its time a call may end, or so many times what it usually takes here, where other tests have the processor
/// too.
const LATE: Duration = Duration::from_secs(15);
const LATE_TIMES: u32 = 10;

/// At how many places of an exchange, in each direction, it hangs.
const PLACES: usize = 4;

/// A call whose exchange hangs.
#[derive(Clone, Copy)]
struct Phase {
    name: &'static str,
    /// What was done to the database before.
    before: fn(&Database),
    call: fn(&Database) -> Result<(), DatabaseError>,
    /// The longest time that one exchange of it may take. Tables are created within 30 s, and then looked for within 10 s.
    limit: Duration,
}

const PHASES: [Phase; 5] = [
    Phase { name: "login", before: |_| (), call: connect, limit: Duration::from_secs(5) },
    Phase { name: "first start", before: |_| (), call: Database::prepare, limit: Duration::from_secs(40) },
    Phase { name: "start", before: |database| database.prepare().unwrap(), call: Database::prepare, limit: Duration::from_secs(10) },
    Phase { name: "beginning of a log", before: |database| database.prepare().unwrap(), call: lead, limit: Duration::from_secs(40) },
    Phase { name: "take-over", before: has_led, call: lead, limit: Duration::from_secs(10) },
];

/// Connects to a database without a log.
fn connect(database: &Database) -> Result<(), DatabaseError> {
    database.logs().map(drop)
}

/// Leads as a node does: it waits for a database that does not answer, but not forever.
fn led(database: &Database) -> Result<PostgresLog, DatabaseError> {
    let begin = Instant::now();
    database.lead_after(LOG, &node(2), &mut |waits_for| match waits_for {
        WaitsFor::Database(_) if begin.elapsed() < Duration::from_secs(60) => WaitDecision::GoOn,
        WaitsFor::Database(_) | WaitsFor::Leader(_) => WaitDecision::GiveUp,
    })
}

/// Leads, appends, and verifies the log.
fn lead(database: &Database) -> Result<(), DatabaseError> {
    let mut log = led(database)?;
    let mut writer = Writer::behind(&log, &read_all(&*log.reader().unwrap()));
    writer.append(&mut log, 1).unwrap();
    assert_eq!(verify(&*log.reader().unwrap(), Some(writer.head()), |_| ()).unwrap().head, writer.head());
    Ok(())
}

/// Leaves a log that another node led.
fn has_led(database: &Database) {
    database.prepare().unwrap();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    Writer::of(&log).append(&mut log, 1).unwrap();
}

impl Phase {
    /// Returns the database before the call, through a proxy.
    fn prepare(&self, server: &Server) -> (Proxy, Database) {
        let name = server.new_database();
        (self.before)(&Database::at(&server.address(&name)).unwrap());
        let proxy = Proxy::before(server.port());
        let database = Database::at(&proxy.address(&name)).unwrap();
        (proxy, database)
    }

    /// Returns how many bytes the exchange has in each direction.
    fn bytes(&self, server: &Server) -> [(Direction, usize); 2] {
        let (proxy, database) = self.prepare(server);
        (self.call)(&database).unwrap();
        [Direction::ToServer, Direction::ToClient].map(|way| (way, proxy.passed_bytes(way)))
    }

    /// Lets the exchange hang after some bytes in one direction.
    fn hangs(&self, server: &Server, way: Direction, after: usize) {
        let what = format!("{}: {after} bytes {way:?}", self.name);
        let (proxy, database) = self.prepare(server);
        proxy.arm(Fault::Hold, way, after);
        let begin = Instant::now();
        let called = (self.call)(&database);
        let took = begin.elapsed();
        let told = called.as_ref().map_or_else(ToString::to_string, |()| "survived".to_owned());
        assert_eq!(proxy.fault_count(), 1, "{what}: nothing hung");
        if let Err(error) = called {
            assert!(["database-unavailable", "database-failed"].contains(&error.slug()), "{what}: {error}");
            assert!(error.to_string().contains(database.display_name()), "{what}: {error}");
        }
        let begin = Instant::now();
        (self.call)(&database).unwrap_or_else(|error| panic!("{what}: the next call fails too: {error}"));
        let usual = begin.elapsed();
        println!("{what}: {told} after {took:?}, and usually {usual:?}");
        assert!(took < self.limit + LATE.max(usual * LATE_TIMES), "{what}: {took:?}, and usually {usual:?}");
    }
}

#[test]
fn server_that_hangs_in_any_phase_holds_a_call_up_for_its_time_only() {
    if is_missing() {
        return;
    }
    let server = Server::start();
    let mut places = Vec::new();
    for phase in PHASES {
        for (way, bytes) in phase.bytes(&server) {
            places.extend((0..PLACES).map(|place| (phase, way, bytes * place / PLACES)));
        }
    }
    // They wait, and do little.
    thread::scope(|scope| {
        for (phase, way, after) in places {
            let server = &server;
            scope.spawn(move || phase.hangs(server, way, after));
        }
    });
}

/// Returns how often the nodes have beaten.
fn beats(server: &Server, name: &str) -> i64 {
    server.psql(name, "SELECT sum(beats) FROM ensue.nodes").parse().unwrap()
}

#[test]
fn beat_that_is_never_answered_is_followed_by_others_on_a_new_connection() {
    if is_missing() {
        return;
    }
    // Each waits for the time after which a beat is given up.
    thread::scope(|scope| {
        for (way, after) in [(Direction::ToClient, 0), (Direction::ToClient, 20), (Direction::ToServer, 10)] {
            scope.spawn(move || beats_again(Server::instance(), way, after));
        }
    });
}

/// Lets a beat hang after some bytes in one direction.
fn beats_again(server: &Server, way: Direction, after: usize) {
    let (name, _) = server.database();
    let proxy = Proxy::counting(Counts::Leases, server.port());
    let database = Database::at(&proxy.address(&name)).unwrap();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let mut writer = Writer::of(&log);
    until(|| beats(server, &name) >= 3);
    proxy.arm(Fault::Hold, way, after);
    until(|| proxy.fault_count() == 1);
    // The beat that hung may have been noted.
    let (hung, beaten) = (Instant::now(), beats(server, &name) + 1);
    writer.append(&mut log, 1).unwrap();
    let watch = log.lead_watch();
    let mut was_silent = false;
    until(|| {
        was_silent |= watch.is_silent();
        beats(server, &name) > beaten
    });
    println!("{after} bytes {way:?}: it beats again after {:?}; silent: {was_silent}", hung.elapsed());
    assert!(!watch.is_lost());
    writer.append(&mut log, 1).unwrap();
}
