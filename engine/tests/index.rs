//! The index over rules: it skips only rules that neither match nor fail.

use std::sync::Arc;

use ensue_engine::catalog::{Catalog, Rule};
use ensue_engine::ids::{EventId, Id};
use ensue_engine::names::TriggerRef;
use ensue_engine::record::CatalogRevision;
use ensue_engine::rules::judge::{EventView, judge, judge_rule};
use ensue_engine::vars::values::SeenVars;
use ensue_expression::Document;
use ensue_test_support::NOON;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::support::Pieces;
use crate::support::definitions::expression;

fn view<'a>(trigger: &'a TriggerRef, payload: &'a Document) -> EventView<'a> {
    EventView { id: EventId(Id::root(NOON, 1)), trigger, source: "api", time: NOON, payload, only: None }
}

/// The refs of the rules that are evaluated.
fn candidates(catalog: &Catalog, payload: &Value) -> Vec<String> {
    let (trigger, document) = ("demo.ping".parse().unwrap(), Document::from_value(payload));
    catalog.index().candidates(&view(&trigger, &document)).into_iter().map(|rule| rule.name.to_string()).collect()
}

/// A catalog of one trigger with a rule for each condition.
fn catalog(conditions: impl IntoIterator<Item = String>) -> Catalog {
    catalog_with(conditions, |_| {})
}

fn catalog_with(conditions: impl IntoIterator<Item = String>, change: impl Fn(&mut Rule)) -> Catalog {
    let mut pieces = Pieces::default().trigger("demo.ping").action("demo.say");
    for (number, when) in conditions.into_iter().enumerate() {
        pieces = pieces.rule_with(&format!("demo.r{number:05}"), "demo.ping", &when, "demo.say", &change);
    }
    pieces.build(CatalogRevision(1))
}

/// Typical settings of a rule: simple fields, one that fails unless `a` is a text with a slash, and one that
/// reads another.
fn with_locals_and_config(rule: &mut Rule) {
    let local = [("l", "event.payload.b"), ("part", "event.payload.a.split('/')[1]"), ("both", "local.l == 1 || local.part == '1'")];
    rule.local = local.map(|(name, value)| (name.to_owned(), expression(value))).to_vec();
    rule.config = Arc::new(json!({ "one": 1, "texts": ["1", "x/1"], "on": true }));
}

/// Literals of expressions, including numbers that are equal across types and texts that look like other
/// values.
const LITERALS: [&str; 11] = ["0", "1", "1.0", "18446744073709551615u", "-0.0", "true", "false", "null", "\"1\"", "config.one", "\"x/1\""];

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(vec!["a", "b", "c.d", "c", "?a.orValue(1)", "?c.?d.orValue(true)", "?c.d.orValue('1')", "?d.?d.orValue('')"])
            .prop_map(|field| format!("event.payload.{field}")),
        1 => select(vec!["event.payload[\"a\"]", "event.source", "event.trigger", "event.payload", "local.l", "local.part", "local.both"])
            .prop_map(str::to_owned),
    ]
}

fn literal() -> impl Strategy<Value = &'static str> {
    select(&LITERALS[..])
}

fn condition() -> impl Strategy<Value = String> {
    let texts =
        vec!["startsWith('1')", "startsWith('x/')", "endsWith('1')", "startsWith('')", "glob('x/*')", "matches('^x/?1')", "contains('1')"];
    let presence = vec!["has(event.payload.a)", "has(event.payload.c.d)", "has(event.payload.c)", "event.payload.?c.?d.hasValue()"];
    let leaf = prop_oneof![
        4 => (field(), literal()).prop_map(|(field, literal)| format!("{field} == {literal}")),
        1 => (field(), literal()).prop_map(|(field, literal)| format!("{literal} == {field}")),
        2 => (field(), proptest::collection::vec(literal(), 0..3)).prop_map(|(field, list)| format!("{field} in [{}]", list.join(", "))),
        2 => (field(), literal()).prop_map(|(field, literal)| format!("{field} != {literal}")),
        3 => (field(), select(texts)).prop_map(|(field, test)| format!("{field}.{test}")),
        1 => field().prop_map(|field| format!("{field} > 0")),
        1 => field().prop_map(|field| format!("{field} in config.texts")),
        2 => field(),
        2 => field().prop_map(|field| format!("!{field}")),
        3 => select(presence).prop_map(str::to_owned),
        1 => select(vec!["config.on", "config.gone", "event.payload", "1"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            4 => proptest::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(") && ("))),
            2 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) || ({other})")),
            2 => inner.clone().prop_map(|inner| format!("!({inner})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(one, two, three)| format!("({one}) ? ({two}) : ({three})")),
            1 => (field(), inner).prop_map(|(value, inner)| format!("cel.bind(v, {value}, v == 1 || ({inner}))")),
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
        json!("x/1"),
        json!("true"),
        json!([]),
        json!([1]),
        json!({}),
        json!({ "d": 1 }),
    ];
    select(values.to_vec())
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
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn evaluation_with_the_index_equals_evaluation_of_every_rule(
        conditions in proptest::collection::vec(condition(), 1..40),
        payloads in proptest::collection::vec(payload(), 1..8),
    ) {
        let catalog = catalog_with(conditions, with_locals_and_config);
        let trigger: TriggerRef = "demo.ping".parse().unwrap();
        for payload in payloads {
            let document = Document::from_value(&payload);
            let event = view(&trigger, &document);
            let judged: Vec<_> = judge(&catalog, &event).verdicts.iter().map(|one| (one.rule.name.clone(), format!("{:?}", one.verdict))).collect();
            let one_by_one = catalog.index().of_trigger(&trigger).iter();
            let all: Vec<_> = one_by_one.filter_map(|rule| Some((rule.name.clone(), format!("{:?}", judge_rule(rule, &event, &SeenVars::default())?)))).collect();
            let conditions: Vec<_> = catalog.rules().values().map(|rule| rule.when.as_ref().unwrap().source()).collect();
            prop_assert_eq!(judged, all, "{} {:#?}", payload, conditions);
        }
    }
}

/// A typical form of a condition, with the rule's number in it.
type Shape = fn(usize) -> String;

/// Conditions in typical forms; only number 7 holds for `matching_payload`.
fn shapes() -> Vec<(&'static str, Shape)> {
    vec![
        ("equality", |n| format!("event.payload.action == 'opened' && event.payload.name == 'n{n}'")),
        ("in", |n| format!("event.payload.name in ['n{n}', 'm{n}'] && event.payload.action in ['opened', 'closed']")),
        ("startsWith", |n| format!("event.payload.branch.startsWith('release/{n}/')")),
        ("endsWith", |n| format!("!event.payload.draft && event.payload.branch.endsWith('/{n}/x')")),
        ("glob", |n| format!("event.payload.branch.glob('release/{n}/*')")),
        ("has", |n| format!("has(event.payload.label) && event.payload.label.name == 'l{n}'")),
        ("optional", |n| format!("event.payload.?label.?name.orValue('') == 'l{n}'")),
        ("not null", |n| format!("event.payload.label != null && event.payload.label.name == 'l{n}'")),
        ("or", |n| format!("event.payload.name == 'n{n}' || event.payload.label.name == 'l{n}' || event.payload.branch == 'b{n}'")),
        ("negation", |n| format!("!(event.payload.action != 'opened' || event.payload.name != 'n{n}' || event.payload.draft)")),
        ("negated in", |n| format!("!(event.payload.action in ['closed']) && !event.payload.draft && event.payload.name == 'n{n}'")),
        ("config", |n| format!("event.payload.action == config.action && event.payload.name == 'n' + string({n})")),
        ("local", |n| format!("local.name == 'n{n}' && local.part == 'release'")),
        ("choice", |n| format!("event.payload.draft ? event.payload.name == 'd{n}' : event.payload.name == 'n{n}'")),
        ("bind", |n| format!("cel.bind(name, event.payload.name, name == 'n{n}' || name == 'm{n}')")),
        ("two of a kind", |n| format!("event.payload.name == 'n{}' && event.payload.label.name == 'l{n}'", n % 100)),
    ]
}

fn matching_payload() -> Value {
    json!({ "action": "opened", "name": "n7", "branch": "release/7/x", "draft": false, "label": { "name": "l7" } })
}

fn many(shape: Shape) -> Catalog {
    catalog_with((0..1_000).map(shape), |rule| {
        rule.config = Arc::new(json!({ "action": "opened" }));
        rule.local = vec![
            ("name".to_owned(), expression("event.payload.name")),
            ("part".to_owned(), expression("event.payload.branch.split('/')[0]")),
        ];
    })
}

#[test]
fn index_selects_only_the_matching_rule_among_a_thousand_of_any_shape() {
    for (name, shape) in shapes() {
        assert_eq!(candidates(&many(shape), &matching_payload()), ["demo.r00007"], "{name}");
    }
}

#[test]
fn missing_field_selects_only_the_rules_that_err() {
    let without = |field: &str| {
        let mut payload = matching_payload();
        payload.as_object_mut().unwrap().remove(field);
        payload
    };
    for (name, shape) in shapes() {
        let looked_at = candidates(&many(shape), &without("label")).len();
        let expected = match name {
            // No other part of these conditions is false if the label is missing.
            "not null" | "or" => 1_000,
            // The name differs: only ten in a thousand reach the label.
            "two of a kind" => 10,
            "has" | "optional" => 0,
            _ => 1,
        };
        assert_eq!(looked_at, expected, "{name}");
    }
    let mut closed = without("name");
    closed["action"] = json!("closed");
    for (name, shape) in shapes().into_iter().filter(|(name, _)| ["equality", "negation", "negated in", "config"].contains(name)) {
        assert_eq!(candidates(&many(shape), &closed).len(), 0, "{name}: another part is false, and errs or not beside it");
    }
}

#[test]
fn rule_that_can_never_hold_is_never_evaluated() {
    let catalog = catalog_with(["config.on == false && event.payload.a == 1".to_owned()], with_locals_and_config);
    assert_eq!(candidates(&catalog, &json!({ "a": 1 })), [""; 0]);
}

#[test]
fn error_of_a_local_value_affects_only_rules_that_read_it() {
    let conditions = ["event.payload.b == 2 && local.part == '1'", "event.payload.b == 1 && local.part == '1'", "local.both"];
    let catalog = catalog_with(conditions.map(str::to_owned), with_locals_and_config);
    let (trigger, document) = ("demo.ping".parse().unwrap(), Document::from_value(&json!({ "a": "no slash", "b": 1 })));
    let judged = judge(&catalog, &view(&trigger, &document));
    let shown: Vec<_> = judged.verdicts.iter().map(|one| format!("{} {:?}", one.rule.name, one.verdict)).collect();
    assert_eq!(shown.len(), 2, "{shown:#?}");
    assert!(
        shown[0].starts_with("demo.r00001 Erred") && shown[0].contains("has no element 1"),
        "the message is the value's own: {shown:#?}"
    );
    assert!(shown[1].starts_with("demo.r00002 Matched"), "{shown:#?}");
}

#[test]
fn text_as_a_condition_makes_the_rule_err() {
    let catalog = catalog(["event.payload.flag".to_owned(), "!event.payload.flag".to_owned(), "event.payload.n == 7".to_owned()]);
    assert_eq!(candidates(&catalog, &json!({ "n": 7, "flag": false })), ["demo.r00001", "demo.r00002"]);
    assert_eq!(candidates(&catalog, &json!({ "n": 7.0, "flag": true })), ["demo.r00000", "demo.r00002"]);
    assert_eq!(candidates(&catalog, &json!({ "n": "7", "flag": "true" })), ["demo.r00000", "demo.r00001"]);
}

#[test]
fn rule_with_an_unsatisfiable_test_may_still_err() {
    assert_eq!(candidates(&catalog(["event.payload.n in []".to_owned()]), &json!({})).len(), 1);
}

#[test]
fn event_of_a_trigger_without_rules_has_no_candidates() {
    assert!(candidates(&catalog([]), &json!({})).is_empty());
}
