//! Tests that a backtest by several threads gives the result of one that takes a record after the other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ensue_engine::command::{Ask, Command, ObservedEvent, SeenVar};
use ensue_engine::fact::Fact;
use ensue_engine::ids::Id;
use ensue_engine::names::TriggerRef;
use ensue_engine::ports::{Batch, Log as _};
use ensue_engine::record::{Actor, Body, Record, StreamId};
use ensue_engine::rules::judge::{EventView, judge};
use ensue_expression::Document;
use ensue_store::memory::MemoryLog;
use ensue_test_support::NOON;
use ensue_test_support::spec::Spec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::test_catalog::{catalog_with, installing};

const RULE: &str = "demo.rule";

const RULES: [&str; 7] = [
    "when: event.payload.load > 2\n",
    "when: event.payload.load > vars[?'least'].orValue(1)\n",
    "when: event.payload.load > 1 && event.payload.note == 'a note'\n",
    "when: event.payload.load > 1\nthrottle: { limit: 2, per: 5m, key: event.payload.host }\n",
    "when: event.payload.load > vars[?'least'].orValue(1)\ndebounce: { quiet: 3m, key: event.payload.host }\n",
    "when: event.payload.load > 1\nwindow: { count: 3, within: 20m, key: event.payload.host }\n",
    "when: event.payload.load > 1\nmissing: { for: 15m }\n",
];

fn catalog(rule: &str) -> Catalog {
    let files = [
        ("triggers/ping.yaml", "payload: { host: string, load: integer, note: 'string?' }\n".to_owned()),
        ("triggers/other.yaml", "payload: { load: integer }\n".to_owned()),
        ("rules/rule.yaml", format!("trigger: demo.ping\n{rule}action: core.echo\nwith: {{ message: '${{{{ event.payload.host }}}}' }}\n")),
    ];
    catalog_with(files)
}

/// Something that happens while the log is made.
#[derive(Clone, Debug)]
enum Happens {
    /// An event, so many seconds later, with a host, a load and a note of so many bytes.
    Ping(u64, u8, i64, usize),
    /// An event of a trigger that the rule does not have.
    Other,
    /// A var is set.
    Least(i64),
    /// The var is removed.
    NoLeast,
    /// The clock is set, by so many seconds.
    Step(i64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0..200_u64, 0..3_u8, 0..5_i64, prop_oneof![Just(0), Just(6), Just(2_000)])
            .prop_map(|(seconds, host, load, note)| Happens::Ping(seconds, host, load, note)),
        2 => Just(Happens::Other),
        1 => (0..4_i64).prop_map(Happens::Least),
        1 => Just(Happens::NoLeast),
        1 => (-400..400_i64).prop_map(Happens::Step),
    ]
}

/// A log in the making.
struct Past {
    spec: Spec,
    catalog: Catalog,
    events: u128,
}

impl Past {
    fn of(rule: &str) -> Self {
        let catalog = catalog(rule);
        let mut spec = Spec::default().with_catalog(catalog.clone());
        spec.when(command(installing(&catalog))).answer();
        Self { spec, catalog, events: 0 }
    }

    fn wait(&mut self, until: Timestamp) {
        while let Some(due) = self.spec.engine().timers().next_due().filter(|due| *due <= until) {
            self.spec.step_clock(due.max(self.spec.now()));
            self.spec.when(command(Ask::FireTimers)).answer();
        }
        self.spec.step_clock(until);
    }

    fn happen(&mut self, happens: &Happens) {
        let least: VarName = "least".parse().unwrap();
        match happens {
            Happens::Ping(seconds, host, load, note) => {
                self.wait(self.spec.now().plus_millis(seconds * 1_000));
                let payload = match note {
                    0 => json!({ "host": format!("h{host}"), "load": load }),
                    bytes => json!({ "host": format!("h{host}"), "load": load, "note": "a note".repeat(bytes / 6) }),
                };
                self.receive("demo.ping", &payload);
            }
            Happens::Other => self.receive("demo.other", &json!({ "load": 9 })),
            Happens::Least(value) => {
                let value = Body::json(value.to_string());
                self.spec.when(command(Ask::SetVar { name: least, value, seen: SeenVar::Anyhow })).answer();
            }
            Happens::NoLeast if self.spec.engine().vars().get(&least).is_none() => {}
            Happens::NoLeast => {
                self.spec.when(command(Ask::RemoveVar { name: least, seen: SeenVar::Anyhow })).answer();
            }
            Happens::Step(seconds) => {
                let from = self.spec.now();
                let to = Timestamp::from_micros(from.micros() + seconds * 1_000_000);
                self.spec.step_clock(to);
                self.spec.when(command(Ask::NoteClockStep { from, to })).answer();
            }
        }
    }

    fn receive(&mut self, trigger: &str, payload: &serde_json::Value) {
        self.events += 1;
        let (id, now) = (EventId(Id::root(self.spec.now(), self.events)), self.spec.now());
        let (trigger, payload): (TriggerRef, _) = (trigger.parse().unwrap(), Document::from_value(payload));
        let view = EventView { id, trigger: &trigger, source: "api", time: now, payload: &payload, only: None };
        let event = ObservedEvent::from_view(&view, judge(&self.catalog, &view));
        self.spec.when(command(Ask::ReceiveEvents(vec![event]))).answer();
    }

    /// Returns the log, with the payloads of some events erased.
    fn log(&self, erased: &[usize]) -> Arc<LogReaders> {
        let log = self.memory_log(erased);
        Arc::new(LogReaders::new(Box::new(move || log.reader())))
    }

    fn memory_log(&self, erased: &[usize]) -> MemoryLog {
        let mut log = MemoryLog::new(self.spec.engine().log());
        let mut records = self.spec.records().to_vec();
        let events = records.iter_mut().filter(|record| matches!(record.fact, Fact::EventReceived(_)));
        for (number, record) in events.enumerate() {
            if let Some(body) = record.body.as_mut().filter(|_| erased.contains(&number)) {
                body.content = None;
            }
        }
        for records in records.chunk_by(|one, next| one.batch == next.batch) {
            let batch = Batch { id: Some(records[0].batch), records: records.to_vec(), seen: Vec::new() };
            let (head, epoch) = (log.head().unwrap().position, log.epoch());
            log.append(&batch, head, epoch).unwrap();
        }
        log
    }
}

fn command(ask: Ask) -> Command {
    Command { actor: Actor::Operator, trace: None, ask }
}

/// Does the same as [`over_log`], one record after the other.
fn in_sequence(log: &Arc<LogReaders>, catalog: &Catalog, asked: &ToBacktest) -> BacktestResult {
    let mut over = BacktestRun::new(Backtest::of(catalog, &asked.rule, log.clone()).unwrap());
    let after = asked.after.unwrap_or_default();
    over.begin_at(after, log).unwrap();
    let (mut now, mut stepped, mut at) = (Timestamp::from_micros(0), 0, after);
    for record in log.read(after, ReadLimit { records: usize::MAX, bytes: usize::MAX }).unwrap() {
        if asked.until.is_some_and(|until| record.time >= until) {
            break;
        }
        if let Fact::ClockStepped(step) = &record.fact {
            stepped += step.to.micros() - step.from.micros();
        }
        now = now.max(Timestamp::from_micros(record.time.micros() - stepped));
        at = record.position;
        take_one(&mut over, &record, now);
    }
    over.backtest.pass_time(now).unwrap();
    over.finish((after, at), log).unwrap()
}

fn take_one(over: &mut BacktestRun, record: &Record, now: Timestamp) {
    match (&record.fact, &record.stream) {
        (Fact::EventReceived(fact), StreamId::Event(id)) if fact.trigger.as_str() == "demo.ping" => {
            let Some(plain) = record.body.as_ref().and_then(|body| plain(body).unwrap()) else {
                over.unreadable += 1;
                return;
            };
            let past = PastEvent {
                position: record.position,
                id: *id,
                trigger: &fact.trigger,
                source: &fact.source,
                occurred_at: fact.occurred_at,
                received_at: now,
                version: fact.version,
                payload: Document::parse(plain).unwrap(),
            };
            over.backtest.event(&past).unwrap();
        }
        (Fact::VarSet(set), _) => {
            let value = record.body.as_ref().and_then(|body| plain(body).unwrap());
            over.backtest.var(&set.name, value, now).unwrap();
        }
        (Fact::VarRemoved(removed), _) => over.backtest.var(&removed.name, None, now).unwrap(),
        (_, StreamId::Enforcement(_)) => over.happened.note(record),
        _ => {}
    }
}

fn sample_request() -> ToBacktest {
    ToBacktest { rule: RULE.parse().unwrap(), file: None, after: None, since: None, until: None }
}

fn by_threads(log: &Arc<LogReaders>, catalog: &Catalog, asked: &ToBacktest, division: Division) -> Result<BacktestResult, BacktestError> {
    let (patience, _waiting) = Patience::of(Duration::from_secs(3_600));
    // What is reported on the way changes nothing.
    over_log(log, catalog, (asked, &patience, &Progress::with_reader()), division)
}

fn pings(count: i64) -> Past {
    let mut past = Past::of(RULES[0]);
    (0..count).for_each(|load| past.happen(&Happens::Ping(1, 0, load, 6)));
    past
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn backtest_by_several_threads_equals_one_in_sequence(
        rule in proptest::sample::select(&RULES[..]),
        tested in proptest::sample::select(&RULES[..]),
        happened in proptest::collection::vec(happens(), 1..40),
        erased in proptest::collection::vec(0..20_usize, 0..3),
        (threads, run) in (1..5_usize, 1..12_u64),
        (part_bytes, parsed_bytes) in (prop_oneof![Just(0), Just(2_000)], prop_oneof![Just(0), Just(1_000)]),
        after in proptest::option::of(0..60_u64),
        until in proptest::option::of(0..4_000_u64),
    ) {
        let mut past = Past::of(rule);
        happened.iter().for_each(|happens| past.happen(happens));
        let log = past.log(&erased);
        let until = until.map(|seconds| NOON.plus_millis(seconds * 1_000));
        let asked = ToBacktest { after: after.map(Position), until, ..sample_request() };
        let division = Division { threads, run, part_bytes, parsed_bytes };
        let told = by_threads(&log, &catalog(tested), &asked, division).unwrap();
        prop_assert_eq!(format!("{told:?}"), format!("{:?}", in_sequence(&log, &catalog(tested), &asked)));
    }
}

#[test]
fn backtest_reports_how_much_it_has_read_and_what_it_found() {
    let past = pings(20);
    let (patience, _waiting) = Patience::of(Duration::from_secs(3_600));
    let progress = Progress::with_reader();
    let division = Division { run: 2, ..Division::of_this_machine() };
    let asked = ToBacktest { until: Some(NOON.plus_millis(10_000)), ..sample_request() };
    let told = over_log(&past.log(&[]), &past.catalog, (&asked, &patience, &progress), division).unwrap();
    let reported = progress.latest();
    let so_far = reported.so_far.unwrap();
    assert!((reported.done - 1.0).abs() < f64::EPSILON, "{}", reported.done);
    assert!(so_far.until < told.until && so_far.judged < told.judged, "{so_far:?} must be a part of {told:?}");
}

#[test]
fn backtest_without_a_waiting_caller_ends_with_an_error() {
    let past = pings(20);
    let (patience, waiting) = Patience::of(Duration::from_secs(3_600));
    drop(waiting);
    let division = Division { run: 2, ..Division::of_this_machine() };
    let ended = over_log(&past.log(&[]), &past.catalog, (&sample_request(), &patience, &Progress::without_reader()), division);
    assert!(matches!(ended, Err(BacktestError::GaveUp(Impatience::Gone))), "{ended:?}");
}

#[test]
fn backtest_over_a_log_that_cannot_be_read_ends_with_an_error() {
    let past = pings(20);
    let (whole, opened) = (past.memory_log(&[]), AtomicUsize::new(0));
    let reader = move || match opened.fetch_add(1, Ordering::Relaxed) {
        0 => whole.reader(),
        _ => Err(LogError::Store("it is broken".to_owned())),
    };
    let division = Division { threads: 2, run: 2, ..Division::of_this_machine() };
    let ended = by_threads(&Arc::new(LogReaders::new(Box::new(reader))), &past.catalog, &sample_request(), division);
    assert!(matches!(ended, Err(BacktestError::Log(_))), "{ended:?}");
}
