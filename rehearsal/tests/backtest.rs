//! Tests that a backtest over past events gives the outcome that the rule had, with any flow control.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ensue_engine::catalog::Catalog;
use ensue_engine::command::{Ask, Command, ObservedEvent, PackChange, SeenVar};
use ensue_engine::events::version::TriggerVersion;
use ensue_engine::ids::{EventId, Id, RuleId};
use ensue_engine::names::{RuleRef, TriggerRef};
use ensue_engine::record::{Actor, Body, CatalogRevision, Position};
use ensue_engine::rules::judge::{EventView, judge_stored};
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use ensue_packs::{Manifest, PackSource, build, check, library};
use ensue_rehearsal::backtest::{Backtest, Matches, PastEvent, Payloads, Would};
use ensue_test_support::NOON;
use ensue_test_support::spec::Spec;
use proptest::prelude::*;
use serde_json::{Value, json};

const RULE: &str = "demo.rule";
const PING: &str = "demo.ping";
const TRIGGERS: [&str; 2] = [PING, "demo.pong"];
/// The form of the triggers.
const FORM: &str = "payload: { host: string, load: integer }\n";

fn catalog(rule: &str) -> Catalog {
    catalog_with(FORM, rule)
}

/// Returns the catalog of the rule with another form of the first trigger.
fn catalog_with(ping: &str, rule: &str) -> Catalog {
    let files = [
        ("pack.yaml", "name: demo\nversion: 1.0.0\n".to_owned()),
        ("triggers/ping.yaml", ping.to_owned()),
        ("triggers/pong.yaml", FORM.to_owned()),
        ("rules/rule.yaml", rule.to_owned()),
    ];
    let pack = PackSource::of("packs/demo", files).unwrap();
    let packs: Vec<PackSource> = library().into_iter().filter(|pack| pack.origin == "library/core").chain([pack]).collect();
    let checked = check(&packs, &BTreeMap::new());
    assert!(!checked.has_errors(), "{:?}", checked.diagnostics);
    let id_of = |_: &RuleRef| RuleId(Id::root(NOON, 7));
    let good: Vec<(PackSource, Manifest)> = checked.good.into_iter().map(|good| (good.source.clone(), good.manifest(id_of))).collect();
    build(CatalogRevision(1), &good).unwrap()
}

fn rule(flow: &str) -> String {
    format!(
        "trigger: [demo.ping, demo.pong]\nwhen: event.payload.load > 1\n{flow}action: core.echo\nwith: {{ message: '${{{{ event.payload.host }}}}' }}\n"
    )
}

/// An incoming event: the delay in seconds, the trigger, the host, the load.
type Coming = (u64, &'static str, u8, i64);

/// An in-memory log that receives events, with their payloads.
struct Past {
    spec: Spec,
    catalog: Catalog,
    events: Vec<StoredEvent>,
    /// The values of the var `least`, each with the number of events before it.
    least: Vec<(usize, i64)>,
}

/// A received event.
struct StoredEvent {
    position: Position,
    id: EventId,
    trigger: TriggerRef,
    at: Timestamp,
    version: TriggerVersion,
    payload: Document,
}

struct StoredPayloads(Mutex<BTreeMap<Position, Bytes>>);

impl Payloads for StoredPayloads {
    fn at(&self, position: Position) -> Option<Bytes> {
        self.0.lock().unwrap().get(&position).cloned()
    }
}

impl Past {
    fn of(rule: &str) -> Self {
        Self::judged_by(catalog(rule))
    }

    fn judged_by(catalog: Catalog) -> Self {
        let mut spec = Spec::default().with_catalog(catalog.clone());
        let base = spec.engine().catalog_revision();
        let install = |pack: &Arc<ensue_engine::catalog::Pack>| PackChange::Install {
            name: pack.name.clone(),
            version: pack.version.clone(),
            digest: pack.digest,
            manifest: Body::json(&b"{}"[..]),
        };
        let changes = catalog.packs().values().map(install).collect();
        spec.when(Command { actor: Actor::Operator, trace: None, ask: Ask::ChangePacks { base, changes } }).answer();
        Self { spec, catalog, events: Vec::new(), least: Vec::new() }
    }

    fn wait(&mut self, until: Timestamp) {
        while let Some(due) = self.spec.engine().timers().next_due().filter(|due| *due <= until) {
            self.spec.step_clock(due);
            self.spec.when(Command { actor: Actor::Engine, trace: None, ask: Ask::FireTimers }).answer();
        }
        self.spec.step_clock(until);
    }

    fn set_least(&mut self, least: i64) {
        let ask = Ask::SetVar { name: "least".parse().unwrap(), value: Body::json(least.to_string()), seen: SeenVar::Anyhow };
        self.spec.when(Command { actor: Actor::Operator, trace: None, ask }).answer();
        self.least.push((self.events.len(), least));
    }

    fn receive(&mut self, (seconds, trigger, host, load): Coming) {
        self.wait(self.spec.now().plus_millis(seconds * 1_000));
        self.take(
            trigger,
            self.catalog.triggers()[&trigger.parse().unwrap()].version,
            &json!({ "host": format!("h{host}"), "load": load }),
        );
    }

    /// Receives an event with a payload of a version.
    fn take(&mut self, trigger: &str, version: TriggerVersion, payload: &Value) {
        let payload = Document::from_value(payload);
        let id = EventId(Id::root(self.spec.now(), self.events.len() as u128));
        let trigger: TriggerRef = trigger.parse().unwrap();
        let at = self.spec.now();
        let view = EventView { id, trigger: &trigger, source: "api", time: at, payload: &payload, only: None };
        let event = ObservedEvent::from_view(&view, judge_stored(&self.catalog, &view, version)).came_as(version, &payload);
        let position = self.spec.head().position.next();
        self.spec.when(Command { actor: Actor::Operator, trace: None, ask: Ask::ReceiveEvents(vec![event]) }).answer();
        self.events.push(StoredEvent { position, id, trigger, at, version, payload });
    }

    fn actual_outcomes(&self) -> BTreeMap<EventId, Would> {
        let mut matches = Matches::default();
        self.spec.records().iter().for_each(|record| matches.note(record));
        matches.came_to().clone()
    }

    fn would(&self, rule: &str) -> BTreeMap<EventId, Would> {
        self.would_by(&catalog(rule))
    }

    /// Returns what the rule of a catalog would have done.
    fn would_by(&self, catalog: &Catalog) -> BTreeMap<EventId, Would> {
        let kept = self.events.iter().map(|event| (event.position, event.payload.bytes().clone()));
        let kept = Arc::new(StoredPayloads(Mutex::new(kept.collect())));
        let mut backtest = Backtest::of(catalog, &RULE.parse().unwrap(), kept).unwrap();
        for (count, event) in self.events.iter().enumerate() {
            for (_, least) in self.least.iter().filter(|(before, _)| *before == count) {
                backtest.var(&"least".parse().unwrap(), Some(least.to_string().into()), event.at).unwrap();
            }
            let past = PastEvent {
                position: event.position,
                id: event.id,
                trigger: &event.trigger,
                source: "api",
                occurred_at: event.at,
                received_at: event.at,
                version: event.version,
                payload: event.payload.clone(),
            };
            backtest.event(&past).unwrap();
        }
        backtest.pass_time(self.spec.now()).unwrap();
        backtest.would().clone()
    }
}

const FLOWS: [&str; 14] = [
    "",
    "dedupe: { within: 10m, key: event.payload.host }\n",
    "throttle: { limit: 2, per: 5m, key: event.payload.host }\n",
    "throttle: { limit: 1, per: 2m, excess: delay }\n",
    "debounce: { quiet: 3m, key: event.payload.host }\n",
    "window: { count: 3, within: 20m, key: event.payload.host }\n",
    "missing: { for: 15m }\n",
    "debounce: { quiet: 3m, most: 8m }\n",
    "debounce: { quiet: 3m, most: 8m, events: all, key: event.payload.host }\n",
    "window: { until: 10m, count: 4, key: event.payload.host }\nmissing: { for: 5m }\n",
    "window: { count: 2, distinct: event.payload.load, within: 20m, key: event.payload.host }\n",
    "window: { of: [demo.pong, demo.ping], within: 20m, key: event.payload.host }\n",
    "throttle: { limit: 1, per: 2m, excess: delay }\nwindow: { of: [demo.ping, demo.pong], within: 10m }\n",
    "dedupe: { within: 1m, key: string(event.payload.load) }\nthrottle: { limit: 3, per: 10m }\nwindow: { count: 2, within: 30m }\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn backtest_of_an_unchanged_rule_equals_what_happened(
        flow in proptest::sample::select(&FLOWS[..]),
        coming in proptest::collection::vec((0..600_u64, proptest::sample::select(&TRIGGERS[..]), 0..3_u8, 0..5_i64), 1..40),
        rest in 0..3_600_u64,
    ) {
        let mut past = Past::of(&rule(flow));
        coming.iter().for_each(|event| past.receive(*event));
        past.wait(past.spec.now().plus_millis(rest * 1_000));
        prop_assert_eq!(past.would(&rule(flow)), past.actual_outcomes());
    }
}

#[test]
fn backtest_uses_the_vars_of_each_event_s_time() {
    let reads = |with: &str| rule("").replace("load > 1", &format!("load > {with}"));
    let unchanged = reads("vars[?'least'].orValue(1)");
    let mut past = Past::of(&unchanged);
    for least in [None, Some(2), Some(4)] {
        least.into_iter().for_each(|least| past.set_least(least));
        [(1, PING, 0, 2), (1, PING, 0, 3)].into_iter().for_each(|event| past.receive(event));
    }
    assert_eq!(past.actual_outcomes().len(), 3);
    assert_eq!(past.would(&unchanged), past.actual_outcomes());
    assert_eq!(past.would(&reads("vars[?'least'].orValue(1) - 1")).len(), 4);
    assert!(past.would(&reads("vars.least")).values().filter(|would| matches!(would, Would::Erred(_))).count() == 2);
}

#[test]
fn backtest_with_a_new_debounce_acts_only_on_the_last_match() {
    let mut past = Past::of(&rule(""));
    [(0, PING, 0, 2), (10, PING, 0, 3), (10, PING, 0, 4)].into_iter().for_each(|event| past.receive(event));
    past.wait(past.spec.now().plus_millis(3_600_000));
    let acts = |came_to: &BTreeMap<EventId, Would>| came_to.values().map(Would::as_str).collect::<Vec<_>>();
    assert_eq!(acts(&past.actual_outcomes()), ["executed", "executed", "executed"]);
    assert_eq!(acts(&past.would(&rule("debounce: { quiet: 1m }\n"))), ["superseded", "superseded", "executed"]);
}

/// The second form of the first trigger: its load is the reciprocal of the earlier one, in minutes.
const SECOND: &str = "version: 2\nupcasts: { 1: { host: '${{ payload.name }}', load: '${{ 60 / payload.rate }}' } }\npayload: { host: string, load: integer }\n";

#[test]
fn backtest_judges_events_of_an_older_version_in_the_newest_form() {
    let (first, second) = (TriggerVersion::FIRST, catalog_with(SECOND, &rule("")).triggers()[&PING.parse().unwrap()].version);
    for flow in [
        "",
        "window: { of: [demo.ping, demo.pong], within: 20m, key: event.payload.host }\n",
        "window: { until: 10m, count: 2, key: event.payload.host }\n",
    ] {
        let newest = catalog_with(SECOND, &rule(flow));
        let mut past = Past::judged_by(newest.clone());
        past.take(PING, first, &json!({ "name": "h0", "rate": 2 }));
        past.take(PING, second, &json!({ "host": "h0", "load": 3 }));
        past.take(PING, first, &json!({ "name": "h0", "rate": 60 }));
        past.receive((60, "demo.pong", 0, 4));
        past.wait(past.spec.now().plus_millis(3_600_000));
        assert_eq!(past.actual_outcomes().len(), 3, "{flow}");
        assert_eq!(past.would_by(&newest), past.actual_outcomes(), "{flow}");
    }
}

#[test]
fn backtest_reports_events_that_a_new_version_cannot_upcast() {
    let of_first = "payload: { name: string, rate: integer }\n";
    let mut past = Past::judged_by(catalog_with(of_first, &rule("").replace("load > 1", "?load.orValue(2) > 1").replace("host", "?name")));
    for rate in [2, 60, 0, 3] {
        past.take(PING, TriggerVersion::FIRST, &json!({ "name": "h0", "rate": rate }));
    }
    let would = past.would_by(&catalog_with(SECOND, &rule("")));
    let of_each: Vec<Option<&str>> = past.events.iter().map(|event| would.get(&event.id).map(Would::as_str)).collect();
    assert_eq!(of_each, [Some("executed"), None, Some("erred"), Some("executed")]);
    let Some(Would::Erred(Some(why))) = would.get(&past.events[2].id) else { panic!("{would:?}") };
    assert!(why.contains("version 1"), "{why}");
}
