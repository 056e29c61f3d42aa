//! Facts that are proven about conditions before any value is known hold for every value.

use std::collections::BTreeMap;

use ensue_expression::{Budget, Condition, Document, Expression, Literal, Partial, Scope};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::compile;

#[track_caller]
fn implies(one: &str, other: &str) {
    assert!(compile(one).implies(&compile(other)), "{one} should imply {other}");
}

#[track_caller]
fn implies_not(one: &str, other: &str) {
    assert!(!compile(one).implies(&compile(other)), "{one} should not imply {other}");
}

#[track_caller]
fn never_holds(source: &str) {
    assert!(compile(source).never_holds(), "{source}");
}

#[track_caller]
fn may_hold(source: &str) {
    assert!(!compile(source).never_holds(), "{source}");
}

#[test]
fn narrower_condition_implies_the_wider_one() {
    implies("event.a == 'x' && event.b == 1", "event.a == 'x'");
    implies("event.a == 'x'", "event.a in ['x', 'y']");
    implies("event.a == 'x'", "event.a == 'x' || event.b == 1");
    implies("event.a == 'x' || event.a == 'y'", "event.a in ['y', 'x', 'z']");
    implies("event.a in ['x', 'y']", "event.a == 'x' || event.a == 'y'");
    implies("event.a == 'x'", "event.a != 'y'");
    implies("event.a == 'release/1'", "event.a.startsWith('release/')");
    implies("event.a.startsWith('release/1')", "event.a.startsWith('release/')");
    implies("event.a.endsWith('.yaml')", "event.a.contains('yaml')");
    implies("event.a.startsWith('x')", "!event.a.startsWith('y')");
    implies("event.n > 7", "event.n >= 5");
    implies("5 < event.n", "event.n != 5");
    implies("event.n < 3", "!(event.n >= 3.5)");
    implies("event.draft", "event.draft == true");
    implies("!event.draft", "event.draft != true");
    implies("event.a == config.a && event.draft", "config.a == event.a");
    implies("config.n > event.n", "event.n < config.n");
}

#[test]
fn equivalent_spellings_imply_each_other() {
    implies("event['a'] == \"x\"", "(event.a) == 'x'");
    implies("!(event.a != 'x')", "'x' == event.a");
    implies("event.draft ? event.a == 'x' : event.a == 'x'", "event.a == 'x'");
    implies("!(event.a == 'x' || event.draft)", "event.a != 'x' && !event.draft");
    implies("event.a == 'x' && event.b == 'y'", "event.b == 'y' && event.a == 'x'");
    implies("event.list.exists(x, x.name == 'bug')", "event.list.exists(y, y.name == \"bug\")");
    implies("event.n == 1", "event.n == 1.0");
}

#[test]
fn field_that_is_read_exists() {
    implies("event.a.b == 'x'", "has(event.a.b) && has(event.a)");
    implies("has(event.a.b)", "has(event.a)");
    implies("event.a.b.startsWith('x')", "has(event.a.b)");
    implies("event.?a.orValue('') == 'x'", "has(event.a)");
    implies("event.?a.orValue('') == 'x'", "event.a == 'x'");
    implies("event.a == 'x'", "event.?a.orValue('') == 'x'");
    implies_not("event.?a.orValue('x') == 'x'", "event.a == 'x'");
    implies_not("event.a == 'x' || event.b", "has(event.a)");
    implies_not("event.?a.hasValue()", "has(event.b)");
}

#[test]
fn uncertain_implication_is_not_claimed() {
    implies_not("event.a == 'x'", "event.a == 'y'");
    implies_not("event.a in ['x', 'y']", "event.a == 'x'");
    implies_not("event.a != 'x'", "event.a == 'y'");
    implies_not("event.n < 5", "event.n < 3");
    // A value that is not a number is neither, and then the first fails.
    implies_not("event.n != 5", "event.n < 5 || event.n > 5");
    implies_not("!(event.n < 5)", "event.n >= 5");
    implies_not("event.a", "event.b");
    implies_not("true", "event.a == event.a");
    implies_not("event.a != true", "!event.a");
    implies_not("event.list.exists(x, x == 'a')", "event.list.all(x, x == 'a')");
    implies_not("event.n > 9007199254740993", "event.n > 9007199254740992");
}

#[test]
fn contradiction_never_holds() {
    never_holds("event.a == 'x' && event.a == 'y'");
    never_holds("event.a == 'x' && event.a != 'x'");
    never_holds("event.a in ['x', 'y'] && !(event.a in ['y', 'x', 'z'])");
    never_holds("event.a in []");
    never_holds("event.draft && !event.draft");
    never_holds("event.n > 5 && event.n < 3");
    never_holds("event.n == 5 && event.n > 7");
    never_holds("event.a.startsWith('x') && event.a.startsWith('y')");
    never_holds("event.a.startsWith('x') && event.a > 3");
    never_holds("event.a == 'main' && event.a.startsWith('release/')");
    never_holds("!has(event.a.b) && event.a.b == 'x'");
    never_holds("(event.a == 'x' || event.a == 'y') && event.a == 'z'");
    never_holds("event.a == config.a && !(config.a == event.a)");
    never_holds("1 > 2 || 'a' == 'b'");
    never_holds("event.a == 'x' && 1 / 0 == 1");
    never_holds("event.?a.orValue('') == 'x' && !has(event.a)");
}

#[test]
fn contradicting_parts_are_named() {
    let parts = |source: &str| {
        let spans = compile(source).contradiction()?;
        Some(spans.into_iter().map(|span| source[span].to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(parts("event.a == 'x' && event.b && event.a == 'y'").unwrap(), ["event.a == 'x'", "event.a == 'y'"]);
    assert_eq!(parts("event.b && event.a in []").unwrap(), ["event.a in []"]);
    assert_eq!(parts("event.a == 'x' && event.b"), None);
}

#[test]
fn satisfiable_condition_is_not_rejected() {
    may_hold("event.a == 'x' || event.a == 'y'");
    may_hold("event.a != 'x' && event.a != 'y'");
    may_hold("event.n > 5 && event.n < 7");
    may_hold("event.a.startsWith('x') && event.a.endsWith('y')");
    may_hold("event.list.exists(x, x == 'a') && event.list.exists(x, x == 'b')");
    may_hold("has(event.a) && event.a == 'x'");
    may_hold("event.?a.orValue('x') == 'x' && !has(event.a)");
    may_hold("event.n == 9007199254740993 && event.n > 9007199254740992.0");
    may_hold("true");
}

#[test]
fn known_parts_of_an_event_are_used() {
    let text = |text: &str| Partial::Literal(Literal::String(text.to_owned()));
    let payload = Partial::Map(BTreeMap::from([("kind".to_owned(), text("done")), ("who".to_owned(), Partial::Unknown)]));
    let event = Partial::AtLeast(BTreeMap::from([("payload".to_owned(), payload)]));
    let known = Partial::AtLeast(BTreeMap::from([("event".to_owned(), event)]));
    let excluded = |source: &str| {
        let expression = compile(source);
        Condition::of(&expression).never_holds_given(&known)
    };
    assert!(excluded("event.payload.kind == 'begun'"));
    assert!(excluded("event.payload.other == 'x'"));
    assert!(excluded("event.payload.kind.startsWith('x') || event.payload.none"));
    assert!(excluded("has(event.payload.other)"));
    assert!(!excluded("event.payload.kind == 'done' && event.payload.who == 'x'"));
    assert!(!excluded("!has(event.payload.other)"));
    assert!(!excluded("event.trigger == 'a.b'"));
}

#[test]
fn condition_with_many_alternatives_is_bounded() {
    let many = (0..200).map(|n| format!("(event.a{n} || event.b{n})")).collect::<Vec<_>>().join(" && ");
    may_hold(&many);
    implies_not(&many, "event.a0");
    let wide = (0..300).map(|n| format!("event.a == {n}")).collect::<Vec<_>>().join(" || ");
    may_hold(&wide);
}

/// Conditions over few fields and few values, so that they interact.
fn condition() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec!["event.a", "event.b", "event.a.c"]);
    let literal = prop::sample::select(vec!["'x'", "'xy'", "'y'", "1", "2", "1.5", "true", "null"]);
    let comparison = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let method = prop::sample::select(vec!["startsWith", "endsWith", "contains"]);
    let text = prop::sample::select(vec!["'x'", "'xy'", "'y'"]);
    let part = prop_oneof![
        6 => (path.clone(), comparison.clone(), literal.clone()).prop_map(|(path, operator, literal)| format!("{path} {operator} {literal}")),
        1 => (path.clone(), comparison, literal.clone()).prop_map(|(path, operator, literal)| format!("{literal} {operator} {path}")),
        2 => (path.clone(), literal.clone(), literal.clone()).prop_map(|(path, one, other)| format!("{path} in [{one}, {other}]")),
        3 => (path.clone(), method, text).prop_map(|(path, method, text)| format!("{path}.{method}({text})")),
        2 => path.clone().prop_map(str::to_owned),
        2 => path.clone().prop_map(|path| format!("has({path})")),
        2 => (literal.clone(), literal.clone()).prop_map(|(default, literal)| format!("event.?a.orValue({default}) == {literal}")),
        1 => (literal.clone(), literal).prop_map(|(default, literal)| format!("event.?a.?c.orValue({default}) != {literal}")),
        1 => Just("event.a == event.b".to_owned()),
        1 => Just("event.b < event.a".to_owned()),
        1 => prop::sample::select(vec!["true", "false", "1 < 2", "1 / 0 == 1"]).prop_map(str::to_owned),
    ];
    part.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            3 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} && {other})")),
            3 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} || {other})")),
            2 => inner.clone().prop_map(|inner| format!("!({inner})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(condition, one, other)| format!("({condition} ? {one} : {other})")),
        ]
    })
}

fn value() -> impl Strategy<Value = Json> {
    prop_oneof![
        prop::sample::select(vec![
            json!("x"),
            json!("xy"),
            json!("y"),
            json!(1),
            json!(2),
            json!(1.5),
            json!(true),
            json!(false),
            json!(null)
        ]),
        prop::sample::select(vec![json!({}), json!({"c": "x"}), json!({"c": 1}), json!({"c": null}), json!(["x"]), json!({"c": true})]),
    ]
}

fn event() -> impl Strategy<Value = Json> {
    (prop::option::of(value()), prop::option::of(value())).prop_map(|(a, b)| {
        let fields = [("a", a), ("b", b)];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    })
}

fn holds(condition: &Expression, event: &Json) -> bool {
    let document = Document::from_value(event);
    let scope = Scope::new().with("event", document.root());
    condition.holds(&scope, &mut Budget::default()).unwrap_or(false)
}

/// The known part of an event, somewhat less than all of it.
fn known_of(value: &Json, forgets: bool) -> Partial {
    match value {
        Json::Object(fields) => {
            let known = fields.iter().map(|(name, value)| (name.clone(), known_of(value, forgets))).collect();
            Partial::Map(known)
        }
        Json::Array(_) => Partial::Unknown,
        _ if forgets => Partial::Unknown,
        Json::String(text) => Partial::Literal(Literal::String(text.clone())),
        Json::Bool(value) => Partial::Literal(Literal::Bool(*value)),
        Json::Null => Partial::Literal(Literal::Null),
        Json::Number(number) => number.as_i64().map_or(Partial::Unknown, |number| Partial::Literal(Literal::Int(number))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn implied_condition_holds_for_every_event_of_the_stronger_one(
        one in condition(), other in condition(), weaker in condition(), events in prop::collection::vec(event(), 12),
    ) {
        let (one, other) = (compile(&one), compile(&other));
        // A weakened or strengthened condition is more likely to be implied than a random one.
        let wider = compile(&format!("({}) || ({weaker})", one.source()));
        let narrower = compile(&format!("({}) && ({weaker})", one.source()));
        for (condition, implied) in [(&one, &other), (&one, &wider), (&narrower, &one), (&narrower, &other), (&other, &wider)] {
            if condition.implies(implied) {
                for event in events.iter().filter(|event| holds(condition, event)) {
                    prop_assert!(holds(implied, event), "{} does not imply {}: {event}", condition.source(), implied.source());
                }
            }
        }
        for condition in [&one, &other, &narrower] {
            let prepared = Condition::of(condition);
            for event in &events {
                if prepared.never_holds() {
                    prop_assert!(!holds(condition, event), "{} holds of {event}", condition.source());
                }
                for forgets in [false, true] {
                    let known = Partial::AtLeast(BTreeMap::from([("event".to_owned(), known_of(event, forgets))]));
                    if prepared.never_holds_given(&known) {
                        prop_assert!(!holds(condition, event), "{} holds of {event}, of which {known:?} is known", condition.source());
                    }
                }
            }
        }
    }
}
