//! Generated schedules of appends, cuts, cancels, restarts and promotions: on the model of a primary and its standby, and
//! the same ones on two servers. Both must agree on the outcome that the writer receives, and on what others see.

use std::thread;
use std::time::Duration;

use ensue_engine::ids::Id;
use ensue_engine::ports::{AppendError, Batch, Log};
use ensue_engine::record::{Epoch, Head, Position};
use ensue_postgres::server_pair::{Cut, Event, Pair, PairLog};
use ensue_postgres::{Database, IfLed, PostgresLog};
use ensue_store::verify::verify;
use ensue_test_support::records::{LOG, Writer, event};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::nodes::node;
use crate::promotions::{cancel, wait_for_standby, waiting_for_standby};
use crate::proxy::{Direction, Fault, Proxy};
use crate::seeds::{Choices, config, count, seed};
use crate::server::{STANDBY, Server, is_missing, until, until_or};

/// The seeds of schedules that once failed, a line each. `cargo verify keep schedule SEED` adds one.
const KEPT: &str = include_str!("schedules/seeds");

/// How many schedules run on two servers, unless `ENSUE_SCHEDULES` says otherwise.
const SCHEDULES: usize = 4;

/// How long an append is tried whose outcome the model knows.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long one is tried whose outcome stays unknown.
const SHORT_PATIENCE: Duration = Duration::from_secs(4);

#[derive(Clone, Debug)]
enum Step {
    /// The writer appends a batch. If it lost the log, it takes it over first.
    Append {
        records: u64,
        cut: Option<Cut>,
        /// What happens each time that a commit of it waits for the standby.
        meanwhile: Vec<Event>,
    },
    /// Something happens while nobody appends.
    Happens(Event),
    /// The writer takes the log over, as after a restart.
    Lead,
    /// Another one takes the log over, and the writer does not know.
    Depose,
}

fn schedules() -> impl Strategy<Value = Vec<Step>> {
    let cut = || option::of(prop_oneof![Just(Cut::Call), Just(Cut::Answer)]);
    let meanwhile = prop_oneof![
        3 => Just(Event::Cancel),
        2 => Just(Event::Restart),
        2 => Just(Event::Promote),
        3 => Just(Event::StandbyReturns),
    ];
    let happens = prop_oneof![
        6 => Just(Event::StandbyLeaves),
        1 => Just(Event::StandbyReturns),
        2 => Just(Event::Cancel),
        2 => Just(Event::Restart),
        3 => Just(Event::Promote),
    ];
    let step = prop_oneof![
        8 => (1..4u64, cut(), vec(meanwhile, 0..4)).prop_map(|(records, cut, meanwhile)| Step::Append { records, cut, meanwhile }),
        6 => happens.prop_map(Step::Happens),
        1 => Just(Step::Lead),
        1 => Just(Step::Depose),
    ];
    vec(step, 6..16)
}

/// The outcome that the writer receives.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Kept,
    Behind(Position),
    Deposed(Epoch),
    Unknown,
    Other(String),
}

impl Outcome {
    fn of(appended: Result<Position, AppendError>) -> Self {
        match appended {
            Ok(_) => Self::Kept,
            Err(AppendError::Behind(head)) => Self::Behind(head.position),
            Err(AppendError::Deposed(epoch)) => Self::Deposed(epoch),
            Err(AppendError::Unknown) => Self::Unknown,
            Err(error) => Self::Other(error.to_string()),
        }
    }
}

/// The model, and what its writer knows.
struct ModelRun {
    pair: Pair,
    log: PairLog,
    writer: Writer,
    is_standby_here: bool,
    is_lost: bool,
    acknowledged: Vec<Id>,
}

impl ModelRun {
    fn new() -> Self {
        let pair = Pair::new(LOG);
        let log = pair.lead().unwrap();
        let writer = Writer::of(&log);
        Self { pair, log, writer, is_standby_here: true, is_lost: false, acknowledged: Vec::new() }
    }

    fn happen(&mut self, event: Event) {
        self.pair.happen(event);
        self.is_standby_here = match event {
            Event::StandbyLeaves => false,
            Event::StandbyReturns | Event::Promote => true,
            Event::Cancel | Event::Restart => self.is_standby_here,
        };
    }

    fn lead(&mut self) {
        self.log = self.pair.lead().unwrap();
        self.writer = Writer::of(&self.log);
        self.is_lost = false;
    }

    fn append(&mut self, records: u64, cut: Option<Cut>, meanwhile: &[Event]) -> (Batch, Head, Outcome) {
        let head = self.writer.head();
        let first = head.position.0 + 1;
        let batch = self.writer.batch((first..first + records).map(event));
        self.pair.cut(cut);
        self.pair.meanwhile(meanwhile);
        let outcome = Outcome::of(self.writer.write(&mut self.log, &batch));
        self.pair.cut(None);
        let left = self.pair.meanwhile(&[]);
        let happened = &meanwhile[..meanwhile.len() - left];
        self.is_standby_here |= happened.iter().any(|event| matches!(event, Event::StandbyReturns | Event::Promote));
        match outcome {
            Outcome::Kept => self.acknowledged.extend(batch.id),
            _ => self.is_lost = true,
        }
        (batch, head, outcome)
    }

    /// What must hold after each step, as long as only the synchronous standby is promoted.
    fn check(&self) {
        let (visible, received) = (self.pair.visible(), self.pair.received_batches());
        let mut seen = visible.iter();
        assert!(self.acknowledged.iter().all(|id| seen.any(|other| other == id)), "an acknowledged batch is not visible");
        assert!(self.acknowledged.iter().all(|id| received.contains(id)), "the standby lacks an acknowledged batch");
        let mut once = visible.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), visible.len(), "a batch is in the log twice");
    }
}

/// A primary and its standby, each behind a proxy, and the writer of a log on them.
struct Servers {
    primary: Server,
    standby: Server,
    is_standby_here: bool,
    proxies: [(u16, Proxy); 2],
    name: String,
    database: Database,
    log: Option<PostgresLog>,
    deposing: Option<PostgresLog>,
}

impl Servers {
    fn start() -> Self {
        let primary = Server::start();
        let name = primary.database().0;
        primary.set("synchronous_standby_names", STANDBY);
        let standby = primary.start_standby(None);
        wait_for_standby(&primary);
        let proxies = [primary.port(), standby.port()].map(|port| (port, Proxy::before(port)));
        let [one, other] = &proxies;
        let address = format!("postgres://ensue@127.0.0.1:{},127.0.0.1:{}/{name}?sslmode=disable", one.1.port(), other.1.port());
        let database = Database::at(&address).unwrap();
        let log = Some(database.lead(LOG, &node(1), IfLed::Fail).unwrap());
        Self { primary, standby, is_standby_here: true, proxies, name, database, log, deposing: None }
    }

    fn lead(&mut self) -> &PostgresLog {
        (self.log, self.deposing) = (None, None);
        self.log.insert(self.database.lead(LOG, &node(1), IfLed::Fail).unwrap())
    }

    fn depose(&mut self) {
        self.deposing = Some(self.database.lead(LOG, &node(1), IfLed::Fail).unwrap());
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::StandbyLeaves if self.is_standby_here => {
                self.standby.kill();
                self.is_standby_here = false;
            }
            Event::StandbyReturns if !self.is_standby_here => {
                self.standby.start_again();
                self.is_standby_here = true;
                wait_for_standby(&self.primary);
            }
            Event::StandbyLeaves | Event::StandbyReturns => {}
            Event::Cancel => self.cancel(),
            Event::Restart => {
                self.primary.kill();
                self.primary.start_again();
                if self.is_standby_here {
                    wait_for_standby(&self.primary);
                }
            }
            Event::Promote => {
                self.primary.kill();
                if !self.is_standby_here {
                    self.standby.start_again();
                }
                self.standby.promote();
                std::mem::swap(&mut self.primary, &mut self.standby);
                let port = self.standby.port();
                self.standby = self.primary.start_standby(Some(port));
                self.is_standby_here = true;
                wait_for_standby(&self.primary);
            }
        }
    }

    fn cancel(&self) {
        for statement in waiting_for_standby(&self.primary) {
            cancel(&self.primary, &statement);
        }
    }

    fn append(&mut self, batch: &Batch, head: Head, cut: Option<Cut>, meanwhile: &[Event], patience: Duration) -> Outcome {
        let mut log = self.log.take().unwrap().with_patience(patience);
        let proxy = self.proxies.iter().position(|(port, _)| *port == self.primary.port()).unwrap();
        match cut {
            Some(Cut::Call) => self.proxies[proxy].1.arm(Fault::Cut, Direction::ToServer, 0),
            Some(Cut::Answer) => self.proxies[proxy].1.arm(Fault::Cut, Direction::ToClient, 0),
            None => {}
        }
        let epoch = log.epoch();
        let outcome = thread::scope(|scope| {
            let appending = scope.spawn(|| log.append(batch, head.position, epoch));
            for event in meanwhile {
                until(|| self.is_standby_here || appending.is_finished() || !waiting_for_standby(&self.primary).is_empty());
                if self.is_standby_here || appending.is_finished() {
                    break;
                }
                self.happen(*event);
            }
            Outcome::of(appending.join().unwrap())
        });
        self.proxies[proxy].1.disarm();
        self.log = Some(log);
        outcome
    }

    /// Waits until both servers show these batches.
    fn demand(&self, pair: &Pair, why: &str) {
        let expected: Vec<String> = pair.visible().iter().map(ToString::to_string).collect();
        let servers = [Some(&self.primary), Some(&self.standby).filter(|_| self.is_standby_here)];
        for server in servers.into_iter().flatten() {
            // A standby has what was acknowledged, and may show it later, also the tables themselves.
            let shown = || -> Vec<String> {
                let (_, said) = server.psql_may_fail(&self.name, "SELECT id FROM log_0.batches ORDER BY first");
                said.lines().map(str::to_owned).collect()
            };
            until_or(|| shown() == expected, || format!("{why}: {} shows {:?}, the model {expected:?}", server.port(), shown()));
        }
    }
}

/// Runs a schedule on the model, and on the servers if there are some.
fn run(schedule: &[Step], mut servers: Option<&mut Servers>) {
    let mut model = ModelRun::new();
    for (number, step) in schedule.iter().enumerate() {
        let why = format!("after step {number} of {schedule:?}");
        let is_lead = match step {
            Step::Append { .. } => model.is_lost,
            Step::Lead | Step::Depose => true,
            Step::Happens(_) => false,
        };
        if is_lead {
            // No log is taken over while the standby is gone.
            model.happen(Event::StandbyReturns);
            servers.iter_mut().for_each(|servers| servers.happen(Event::StandbyReturns));
        }
        if matches!(step, Step::Lead) || (is_lead && model.is_lost) {
            model.lead();
            if let Some(servers) = servers.as_mut() {
                let led = servers.lead();
                assert_eq!((led.epoch(), led.head().unwrap()), (model.log.epoch(), model.writer.head()), "{why}");
                let reader = led.reader().unwrap();
                assert_eq!(verify(&*reader, Some(model.writer.head()), |_| ()).unwrap().head, reader.head().unwrap(), "{why}");
            }
        }
        match step {
            Step::Append { records, cut, meanwhile } => {
                let (batch, head, outcome) = model.append(*records, *cut, meanwhile);
                if let Some(servers) = servers.as_mut() {
                    let patience = if outcome == Outcome::Unknown { SHORT_PATIENCE } else { PATIENCE };
                    assert_eq!(servers.append(&batch, head, *cut, meanwhile, patience), outcome, "{why}");
                }
            }
            Step::Happens(event) => {
                model.happen(*event);
                servers.iter_mut().for_each(|servers| servers.happen(*event));
            }
            Step::Lead => {}
            Step::Depose => {
                drop(model.pair.lead().unwrap());
                servers.iter_mut().for_each(|servers| servers.depose());
            }
        }
        model.check();
        if let Some(servers) = servers.as_mut() {
            assert_eq!(servers.is_standby_here, model.is_standby_here, "{why}");
            servers.demand(&model.pair, &why);
        }
    }
}

#[test]
fn acknowledged_batches_outlast_every_schedule_on_the_model() {
    let mut runner = TestRunner::new(Config { cases: 5_000, ..config(seed()) });
    let on_model = |schedule: Vec<Step>| {
        run(&schedule, None);
        Ok(())
    };
    runner.run(&schedules(), on_model).unwrap();
}

#[test]
fn model_and_two_servers_agree_after_each_step_of_a_schedule() {
    if is_missing() {
        return;
    }
    let kept = KEPT.lines().filter_map(|line| line.trim().parse().ok());
    // Each schedule has a seed of its own, so that a late one can be repeated alone.
    for seed in kept.chain((seed()..).take(count("ENSUE_SCHEDULES", SCHEDULES))) {
        let schedule = Choices::of(seed).choose(schedules());
        // Shown if the test fails, in whatever step.
        eprintln!("{schedule:?}");
        eprintln!("again: ENSUE_SCHEDULES=1 ENSUE_SCHEDULES_SEED={seed} cargo test -p ensue-postgres model_and_two_servers");
        run(&schedule, Some(&mut Servers::start()));
    }
}

/// Appends batches of 1, 2, 3 and more records. The connection is cut where each entry says.
fn appends(cuts: &[Option<Cut>]) -> impl Iterator<Item = Step> {
    (1..).zip(cuts).map(|(records, cut)| Step::Append { records, cut: *cut, meanwhile: Vec::new() })
}

/// Runs a schedule on the model, and on two servers if there are some.
fn run_on_both(schedule: &[Step]) {
    run(schedule, None);
    if !is_missing() {
        run(schedule, Some(&mut Servers::start()));
    }
}

#[test]
fn batch_is_sent_if_the_connection_was_cut_while_it_was_being_made() {
    // After the restart, the append needs another connection. In the end the batch is in the log, although its outcome
    // was unknown.
    let gone = [Step::Happens(Event::Restart), Step::Happens(Event::StandbyLeaves)];
    let schedule: Vec<Step> = appends(&[None]).chain(gone).chain(appends(&[Some(Cut::Call), None])).collect();
    run_on_both(&schedule);
}

#[test]
fn batch_is_sent_if_the_connection_was_cut_while_its_statement_was_being_prepared() {
    // The connection of the second append settles it, and has prepared nothing else.
    let schedule: Vec<Step> =
        appends(&[None, Some(Cut::Answer)]).chain([Step::Happens(Event::StandbyLeaves)]).chain(appends(&[Some(Cut::Call), None])).collect();
    run_on_both(&schedule);
}

#[test]
fn batch_is_visible_but_lost_with_its_primary_if_its_wait_was_canceled() {
    let mut model = ModelRun::new();
    let (kept, _, _) = model.append(1, None, &[]);
    model.happen(Event::StandbyLeaves);
    let (batch, _, outcome) = model.append(1, None, &[Event::Cancel]);
    assert_eq!((outcome, model.pair.visible()), (Outcome::Unknown, vec![kept.id.unwrap(), batch.id.unwrap()]));
    model.happen(Event::Promote);
    assert_eq!(model.pair.visible(), [kept.id.unwrap()], "the visible batch was not acknowledged");
}
