//! What an event costs by the number of rules on its trigger: ten that match it, alone and among ten thousand, for each way in which
//! people write conditions. And what building the catalog of ten thousand costs.
//!
//! What a whole node makes of as many rules is `ensue bench rules`.

#![allow(missing_docs, reason = "criterion's macros make a function without")]
#![allow(clippy::unwrap_used, reason = "a catalog that cannot be made is no measurement")]

#[path = "../tests/support/definitions.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod definitions;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ensue_engine::catalog::Catalog;
use ensue_engine::ids::{EventId, Id};
use ensue_engine::names::TriggerRef;
use ensue_engine::record::CatalogRevision;
use ensue_engine::rules::judge::{EventView, judge};
use ensue_expression::Document;
use ensue_test_support::NOON;
use serde_json::json;

use self::definitions::{Pieces, expression};

/// A pull request as GitHub sends it, 22 KB.
const PAYLOAD: &[u8] = include_bytes!("../../bench/fixtures/pull_request.json");
const MATCHING: usize = 10;
const MANY: usize = 10_000;

/// The condition of a rule, from a text that is the payload's or another rule's own.
type RulePattern = fn(&str) -> String;

/// Ways to write a condition, with the value that the payload has in place of the text.
const SHAPES: [(&str, &str, RulePattern); 14] = [
    ("equality", "lamplight", |name| format!(r#"event.payload.action == "opened" && event.payload.repository.name == "{name}""#)),
    ("in", "lamplight", |name| format!(r#"event.payload.repository.name in ["{name}", "other_{name}"] && event.payload.number > 1"#)),
    ("startsWith", "dusk", |branch| format!(r#"event.payload.pull_request.head.ref.startsWith("{branch}")"#)),
    ("endsWith", "dusk", |branch| format!(r#"event.payload.pull_request.head.ref.endsWith("{branch}")"#)),
    ("glob", "dusk", |branch| format!(r#"event.payload.pull_request.head.ref.glob("{branch}*")"#)),
    ("has", "octomona", |login| format!(r#"has(event.payload.pull_request.user) && event.payload.pull_request.user.login == "{login}""#)),
    ("has not", "octomona", |login| {
        format!(
            r#"!has(event.payload.label) && event.payload.sender.login == "{login}" || has(event.payload.label) && event.payload.label.name == "{login}""#
        )
    }),
    ("optional", "octomona", |login| format!(r#"event.payload.?pull_request.?user.?login.orValue("") == "{login}""#)),
    ("or", "lamplight", |name| format!(r#"event.payload.repository.name == "{name}" || event.payload.sender.login == "of_{name}""#)),
    ("negation", "lamplight", |name| {
        format!(
            r#"!event.payload.pull_request.draft && !(event.payload.action in ["closed"]) && event.payload.repository.name == "{name}""#
        )
    }),
    ("negated or", "lamplight", |name| format!(r#"!(event.payload.action != "opened" || event.payload.repository.name != "{name}")"#)),
    ("config", "lamplight", |name| {
        format!(r#"event.payload.sender.login == config.login && event.payload.repository.full_name == config.owner + "/{name}""#)
    }),
    ("local", "lamplight", |name| format!(r#"local.name == "{name}" && local.title != """#)),
    ("mixed", "", |_| String::new()),
];

fn condition(shape: usize, number: usize) -> String {
    let (name, text, write) = SHAPES[shape];
    if name == "mixed" {
        // The ten that match are of ten ways, the others of all.
        return condition(number % (SHAPES.len() - 1), number);
    }
    if number < MATCHING { write(text) } else { write(&format!("another_{number}")) }
}

fn pieces(shape: usize, rules: usize) -> Pieces {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    let config = Arc::new(json!({ "login": "octomona", "owner": "harbour" }));
    for number in 0..rules {
        pieces = pieces.rule_with(&format!("demo.r{number:05}"), "demo.ping", &condition(shape, number), "demo.say", |rule| {
            rule.config = Arc::clone(&config);
            rule.local = vec![
                ("name".to_owned(), expression("event.payload.repository.name")),
                ("title".to_owned(), expression("event.payload.pull_request.title.lowerAscii()")),
            ];
        });
    }
    pieces
}

fn judging(criterion: &mut Criterion) {
    let (trigger, payload): (TriggerRef, _) = ("demo.ping".parse().unwrap(), Document::parse(Bytes::from_static(PAYLOAD)).unwrap());
    let event = EventView {
        id: EventId(Id::root(NOON, 1)),
        trigger: &trigger,
        source: "github.webhook",
        time: NOON,
        payload: &payload,
        only: None,
    };
    let mut group = criterion.benchmark_group("judge");
    for (shape, (name, ..)) in SHAPES.iter().enumerate() {
        for rules in [MATCHING, MANY] {
            let catalog: Catalog = pieces(shape, rules).build(CatalogRevision(1));
            let judged = judge(&catalog, &event);
            assert_eq!(judged.verdicts.len(), MATCHING, "{name}, {rules}: {:?}", judged.verdicts);
            group.bench_function(BenchmarkId::new(*name, rules), |bencher| bencher.iter(|| judge(&catalog, &event)));
        }
    }
    group.finish();
}

fn building(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10);
    for (shape, (name, ..)) in SHAPES.iter().enumerate().filter(|(_, (name, ..))| ["equality", "or", "mixed"].contains(name)) {
        let rules = pieces(shape, MANY).definitions();
        group.bench_function(BenchmarkId::new(*name, MANY), |bencher| bencher.iter(|| Catalog::new(CatalogRevision(1), rules.clone())));
    }
    group.finish();
}

criterion_group! {
    name = rules;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(30);
    targets = judging, building
}
criterion_main!(rules);
