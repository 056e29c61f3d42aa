//! Facts that are proven about conditions before any value is known hold for every value.

use std::collections::BTreeMap;

use ensue_expression::{Budget, ComparableCondition, Condition, Document, Expression, Literal, Partial, Scope};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::compile;

/// Asserts that `one` without `other` is known to be impossible.
#[track_caller]
fn exclude(one: &str, other: &str) {
    never_holds(&format!("({one}) && !({other})"));
}

/// Asserts that `one` without `other` is not known to be impossible.
#[track_caller]
fn leave_open(one: &str, other: &str) {
    may_hold(&format!("({one}) && !({other})"));
}

#[track_caller]
fn never_holds(source: &str) {
    assert!(Condition::of(&compile(source)).never_holds(), "{source}");
}

#[track_caller]
fn may_hold(source: &str) {
    assert!(!Condition::of(&compile(source)).never_holds(), "{source}");
}

#[test]
fn narrower_condition_excludes_the_opposite_of_a_wider_one() {
    exclude("event.a == 'x' && event.b == 1", "event.a == 'x'");
    exclude("event.a == 'x'", "event.a in ['x', 'y']");
    exclude("event.a == 'x'", "event.a == 'x' || event.b == 1");
    exclude("event.a == 'x' || event.a == 'y'", "event.a in ['y', 'x', 'z']");
    exclude("event.a in ['x', 'y']", "event.a == 'x' || event.a == 'y'");
    exclude("event.a == 'x'", "event.a != 'y'");
    exclude("event.a == 'release/1'", "event.a.startsWith('release/')");
    exclude("event.a.startsWith('release/1')", "event.a.startsWith('release/')");
    exclude("event.a.endsWith('.yaml')", "event.a.contains('yaml')");
    exclude("event.a.startsWith('x')", "!event.a.startsWith('y')");
    exclude("event.n > 7", "event.n >= 5");
    exclude("5 < event.n", "event.n != 5");
    exclude("event.n < 3", "!(event.n >= 3.5)");
    exclude("event.draft", "event.draft == true");
    exclude("!event.draft", "event.draft != true");
    exclude("event.draft != true", "!event.draft");
    exclude("event.a == config.a && event.draft", "config.a == event.a");
    exclude("config.n > event.n", "event.n < config.n");
}

#[test]
fn equivalent_spellings_exclude_their_opposites() {
    exclude("event['a'] == \"x\"", "(event.a) == 'x'");
    exclude("!(event.a != 'x')", "'x' == event.a");
    exclude("event.draft ? event.a == 'x' : event.a == 'x'", "event.a == 'x'");
    exclude("!(event.a == 'x' || event.draft)", "event.a != 'x' && !event.draft");
    exclude("event.a == 'x' && event.b == 'y'", "event.b == 'y' && event.a == 'x'");
    exclude("event.list.exists(x, x.name == 'bug')", "event.list.exists(y, y.name == \"bug\")");
    exclude("event.n == 1", "event.n == 1.0");
}

#[test]
fn field_that_is_read_exists() {
    exclude("event.a.b == 'x'", "has(event.a.b) && has(event.a)");
    exclude("has(event.a.b)", "has(event.a)");
    exclude("event.a.b.startsWith('x')", "has(event.a.b)");
    exclude("event.?a.orValue('') == 'x'", "has(event.a)");
    exclude("event.?a.orValue('') == 'x'", "event.a == 'x'");
    leave_open("event.?a.orValue('x') == 'x'", "event.a == 'x'");
    leave_open("event.a == 'x' || event.b", "has(event.a)");
    leave_open("event.?a.hasValue()", "has(event.b)");
}

#[test]
fn uncertain_contradiction_is_not_claimed() {
    leave_open("event.a == 'x'", "event.a == 'y'");
    leave_open("event.a in ['x', 'y']", "event.a == 'x'");
    leave_open("event.a != 'x'", "event.a == 'y'");
    leave_open("event.n < 5", "event.n < 3");
    // A value that is not a number is neither, and then the first fails.
    leave_open("event.n != 5", "event.n < 5 || event.n > 5");
    leave_open("!(event.n < 5)", "event.n >= 5");
    leave_open("event.a", "event.b");
    leave_open("true", "event.a == event.a");
    leave_open("event.list.exists(x, x == 'a')", "event.list.all(x, x == 'a')");
    leave_open("event.n > 9007199254740993", "event.n > 9007199254740992");
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
    fn condition_that_never_holds_holds_for_no_event(one in condition(), other in condition(), events in prop::collection::vec(event(), 12)) {
        // Two conditions together contradict each other more often than the parts of one do.
        let both = format!("({one}) && ({other})");
        let opposed = format!("({one}) && !({other})");
        for condition in [&one, &both, &opposed].map(|source| compile(source)) {
            let prepared = Condition::of(&condition);
            for event in &events {
                if prepared.never_holds() {
                    prop_assert!(!holds(&condition, event), "{} holds of {event}", condition.source());
                }
                for forgets in [false, true] {
                    let known = Partial::AtLeast(BTreeMap::from([("event".to_owned(), known_of(event, forgets))]));
                    if prepared.never_holds_given(&known) {
                        prop_assert!(!holds(&condition, event), "{} holds of {event}, of which {known:?} is known", condition.source());
                    }
                }
            }
        }
    }
}

/// Returns true if `narrow` is known to be contained in `wide`, if only `event.given` is always there.
fn is_contained(narrow: &str, wide: &str) -> bool {
    let (narrow, wide) = (compile(narrow), compile(wide));
    let is_given = |path: &[String]| path == ["event", "given"];
    ComparableCondition::of(&narrow).is_contained_in(&ComparableCondition::of(&wide), &is_given)
}

#[test]
fn narrower_condition_is_contained_in_a_wider_one() {
    for (narrow, wide) in [
        ("event.n > 20", "event.n > 10"),
        ("event.a == 'x' && event.b == 1", "event.a == 'x'"),
        ("event.a == 'x'", "event.a in ['x', 'y']"),
        ("event.a == 'x' || event.a == 'y'", "event.a in ['y', 'x', 'z']"),
        ("event.a.startsWith('release/1')", "event.a.startsWith('release/')"),
        ("event.a == 'x'", "event.a == 'x' || event.given == 1"),
        ("event.a == 'x' && has(event.b)", "has(event.b)"),
    ] {
        assert!(is_contained(narrow, wide), "{narrow} in {wide}");
        assert!(!is_contained(wide, narrow), "{wide} in {narrow}");
    }
}

#[test]
fn condition_is_not_contained_in_one_that_may_err_or_be_false() {
    for (narrow, wide) in [
        // The wider one reads what may be missing.
        ("!has(event.a)", "event.a == 1"),
        ("!has(event.n) || event.n > 20", "event.n > 10"),
        ("event.a == 'x'", "event.a == 'x' && event.b != 2"),
        ("event.n > 10", "event.n > 20"),
        ("event.a == 'x'", "event.b == 'x'"),
        ("event.n > 5 && event.n < 3", "event.n > 10"),
    ] {
        assert!(!is_contained(narrow, wide), "{narrow} in {wide}");
    }
}

#[test]
fn example_of_a_condition_makes_it_true() {
    for source in [
        "event.n > 20",
        "event.n < 3.5 && event.n != 2.5",
        "event.a == 'x' && event.b in [2, 3]",
        "event.a.startsWith('release/') && event.a.endsWith('.yaml') && event.a.contains('beta')",
        "event.draft && !event.closed",
        "event.a != 'x'",
        "event.a == 'x' || event.n >= 7",
    ] {
        let condition = compile(source);
        let examples: Vec<_> = ComparableCondition::of(&condition).examples().collect();
        assert!(!examples.is_empty(), "{source}");
        for example in examples {
            let mut event = serde_json::Map::new();
            for (path, literal) in example {
                let value = match literal {
                    Literal::String(text) => json!(text),
                    Literal::Int(number) => json!(number),
                    Literal::Double(number) => json!(number),
                    Literal::Bool(truth) => json!(truth),
                    other => panic!("{other:?}"),
                };
                event.insert(path[1].clone(), value);
            }
            let event = Document::from_value(&Json::Object(event.clone()));
            let scope = Scope::new().with("event", ensue_expression::Value::from(event.root()));
            assert!(condition.holds(&scope, &mut Budget::steps(1_000)).unwrap(), "{source}: {event:?}");
        }
    }
}
