//! The index over rules: it leaves out only rules that neither match nor err.

use ensue_engine::ids::{EventId, Id};
use ensue_engine::names::TriggerRef;
use ensue_engine::record::CatalogRevision;
use ensue_engine::rules::judge::{EventView, with_rule_scope};
use ensue_engine::spec::NOON;
use ensue_expression::{Budget, Document};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::Pieces;
use crate::support::definitions::expression;

const FIELDS: [&str; 4] = ["a", "b", "c.d", "c"];

/// Literals as expressions write them; among them numbers that are equal across types, and texts that look like other things.
const LITERALS: [&str; 9] = ["0", "1", "1.0", "18446744073709551615u", "-0.0", "true", "false", "null", "\"1\""];

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(&FIELDS[..]).prop_map(|field| format!("event.payload.{field}")),
        1 => Just("event.payload[\"a\"]".to_owned()),
        1 => Just("event.source".to_owned()),
        1 => Just("event.payload.?a.orValue(1)".to_owned()),
        1 => Just("local.l".to_owned()),
    ]
}

fn literal() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&LITERALS[..])
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => (field(), literal()).prop_map(|(field, literal)| format!("{field} == {literal}")),
        1 => (field(), literal()).prop_map(|(field, literal)| format!("{literal} == {field}")),
        2 => (field(), proptest::collection::vec(literal(), 0..3)).prop_map(|(field, list)| format!("{field} in [{}]", list.join(", "))),
        1 => (field(), literal()).prop_map(|(field, literal)| format!("{field} != {literal}")),
        1 => field().prop_map(|field| format!("{field} > 0")),
        2 => field(),
        2 => field().prop_map(|field| format!("!{field}")),
        1 => field().prop_map(|field| format!("!!{field}")),
        1 => proptest::sample::select(&FIELDS[..]).prop_map(|field| format!("has(event.payload.{field})")),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            3 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) && ({other})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) || ({other})")),
            1 => inner.clone().prop_map(|inner| format!("!({inner})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(one, two, three)| format!("({one}) ? ({two}) : ({three})")),
        ]
    })
}

fn scalar() -> impl Strategy<Value = Value> {
    let values = [
        json!(0),
        json!(1),
        json!(1.0),
        json!(-0.0),
        json!(0.5),
        json!(u64::MAX),
        json!(true),
        json!(false),
        json!(null),
        json!("1"),
        json!("true"),
        json!([]),
        json!([1]),
        json!({}),
        json!({ "d": 1 }),
    ];
    proptest::sample::select(values.to_vec())
}

fn payload() -> impl Strategy<Value = Value> {
    let maybe = || proptest::option::weighted(0.8, scalar());
    let object = (maybe(), maybe(), maybe(), maybe()).prop_map(|(a, b, c, d)| {
        let mut payload = serde_json::Map::new();
        payload.extend(a.map(|a| ("a".to_owned(), a)));
        payload.extend(b.map(|b| ("b".to_owned(), b)));
        payload.extend(c.map(|c| ("c".to_owned(), c)));
        payload.extend(d.map(|d| ("c".to_owned(), json!({ "d": d }))));
        Value::Object(payload)
    });
    prop_oneof![12 => object, 1 => scalar()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_rule_that_matches_or_errs_is_a_candidate(
        conditions in proptest::collection::vec(condition(), 1..12),
        payloads in proptest::collection::vec(payload(), 1..6),
    ) {
        let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
        for (number, when) in conditions.iter().enumerate() {
            let local = |rule: &mut ensue_engine::catalog::Rule| rule.local = vec![("l".to_owned(), expression("event.payload.b"))];
            pieces = pieces.rule_with(&format!("demo.r{number:02}"), "demo.ping", when, "demo.say", local);
        }
        let catalog = pieces.build(CatalogRevision(1));
        let trigger: TriggerRef = "demo.ping".parse().unwrap();
        for payload in payloads {
            let document = Document::from_value(&payload);
            let event = EventView { id: EventId(Id::root(NOON, 1)), trigger: &trigger, source: "api", time: NOON, payload: &document };
            let candidates: Vec<&str> =
                catalog.index().candidates(&trigger, document.root()).iter().map(|rule| rule.name.as_str()).collect();
            for rule in catalog.index().of_trigger(&trigger) {
                let when = rule.when.as_ref().unwrap();
                let holds = with_rule_scope(rule, &event, |scope| when.holds(scope, &mut Budget::default()));
                if !matches!(holds, Ok(false)) {
                    prop_assert!(
                        candidates.contains(&rule.name.as_str()),
                        "`{}` gives {holds:?} on {payload} and is no candidate", when.source()
                    );
                }
            }
            let mut sorted = candidates.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(candidates, sorted, "candidates come once each, in the order of their refs");
        }
    }
}

#[test]
fn a_rule_on_another_value_is_not_looked_at() {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for number in 0..1_000 {
        pieces = pieces.rule(&format!("demo.r{number:03}"), "demo.ping", &format!("event.payload.n == {number}"), "demo.say");
    }
    pieces = pieces.rule("demo.flag", "demo.ping", "event.payload.flag", "demo.say");
    let catalog = pieces.build(CatalogRevision(1));
    let candidates = |payload: &Value| {
        let document = Document::from_value(payload);
        let found = catalog.index().candidates(&"demo.ping".parse().unwrap(), document.root());
        found.into_iter().map(|rule| rule.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(candidates(&json!({ "n": 7, "flag": false })), ["demo.r007"]);
    assert_eq!(candidates(&json!({ "n": 7.0, "flag": true })), ["demo.flag", "demo.r007"]);
    assert_eq!(candidates(&json!({ "n": "7", "flag": "true" })), ["demo.flag"], "a text is neither true nor false: that is an error");
    assert_eq!(candidates(&json!({ "flag": false })).len(), 1_000, "reading a field that is not there is an error");
}

#[test]
fn a_rule_whose_test_nothing_passes_may_still_err() {
    let pieces =
        Pieces::default().trigger("demo.ping").action("demo.say").rule("demo.one", "demo.ping", "event.payload.n in []", "demo.say");
    let catalog = pieces.build(CatalogRevision(1));
    let document = Document::from_value(&json!({}));
    assert_eq!(catalog.index().candidates(&"demo.ping".parse().unwrap(), document.root()).len(), 1);
}

#[test]
fn an_event_of_a_trigger_without_rules_has_no_candidates() {
    let catalog = Pieces::default().trigger("demo.ping").build(CatalogRevision(1));
    let document = Document::from_value(&json!({}));
    assert!(catalog.index().candidates(&"demo.ping".parse().unwrap(), document.root()).is_empty());
}
