//! The conditions under which an expression can be anything but false.

use ensue_expression::{Budget, Check, Demand, Document, Expression, KnownBindings, Literal, Reach, ReadType, Scope, Test, Value};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::compile;

/// Named values as in rules: plain fields, tests, one that fails for almost everything, and one that reads
/// another.
const NAMED: [(&str, &str); 5] = [
    ("a", "event.a"),
    ("maybe", "event.?b"),
    ("is_x", "event.a == 'x'"),
    ("part", "event.a.split('/')[1]"),
    ("same", "local.is_x || local.part == 'y'"),
];

fn named_expressions() -> Vec<(String, Expression)> {
    NAMED.iter().map(|(name, source)| ((*name).to_owned(), compile(source))).collect()
}

fn config() -> Value<'static> {
    Value::map([
        ("owner", Value::from("x")),
        ("names", Value::list([Value::from("x"), Value::from("y")])),
        ("on", Value::from(true)),
        ("number", Value::from(1_i64)),
    ])
}

fn demand(source: &str) -> Demand {
    let named = named_expressions();
    compile(source).demand(&KnownBindings { constants: Scope::new().with("config", config()), named: Some(("local", &named)) })
}

fn render_demand(demand: &Demand) -> String {
    let joined = |parts: &[Demand], by: &str| parts.iter().map(render_demand).collect::<Vec<_>>().join(by);
    match demand {
        Demand::Anything => "anything".to_owned(),
        Demand::Nothing => "nothing".to_owned(),
        Demand::Test(test) => shown_test(test),
        Demand::All(parts) => format!("({})", joined(parts, " & ")),
        Demand::Any(parts) => format!("({})", joined(parts, " | ")),
    }
}

fn shown_test(test: &Test) -> String {
    let path = test.path[1..].join(".");
    let value = |literal: &Literal| match literal {
        Literal::String(text) => text.clone(),
        other => format!("{other:?}"),
    };
    match &test.check {
        Check::Is(literal) => format!("{path} is {}", value(literal)),
        Check::IsNot(literal) => format!("{path} is not {}", value(literal)),
        Check::StartsWith(start) => format!("{path} starts with {start}"),
        Check::EndsWith(end) => format!("{path} ends with {end}"),
        Check::Present => format!("{path} is there"),
        Check::Absent => format!("{path} is absent"),
        Check::Errs { lenient, wanted } => {
            let steps = test.path.iter().enumerate().skip(1);
            let path: String = steps.map(|(at, name)| format!("{}{name}", if lenient.contains(&at) { ".?" } else { "." })).collect();
            match wanted {
                ReadType::Anything => format!("{path} errs"),
                ReadType::Truth => format!("{path} errs as a truth"),
                ReadType::Text => format!("{path} errs as a text"),
            }
        }
    }
}

#[track_caller]
fn demands(source: &str, expected: &str) {
    assert_eq!(render_demand(&demand(source)), expected, "{source}");
}

#[test]
fn test_of_a_field_demands_that_it_passes_or_cannot_be_read() {
    demands("event.a == 'x'", "(a is x | .a errs)");
    demands("'x' == event['a'].b", "(a.b is x | .a.b errs)");
    demands("event.a in ['y', 'x', 'x']", "(a is x | a is y | .a errs)");
    demands("event.a.startsWith('v')", "(a starts with v | .a errs as a text)");
    demands("event.a.endsWith('v')", "(a ends with v | .a errs as a text)");
    demands("event.a", "(a is Bool(true) | .a errs as a truth)");
    demands("has(event.a.b)", "(a.b is there | .a.?b errs)");
    demands("event.?a.b.hasValue()", "(a.b is there | .?a.b errs)");
}

#[test]
fn pattern_demands_the_common_prefix_of_its_matches() {
    demands("event.a.glob('refs/heads/*')", "(a starts with refs/heads/ | .a errs as a text)");
    demands(r"event.a.matches('^v1\\.[0-9]+$')", "(a starts with v1. | .a errs as a text)");
    demands("event.a.matches('^vx*')", "(a starts with v | .a errs as a text)");
    for unanchored in ["v1", "^v|w", "(?i)^v", "^.v"] {
        demands(&format!("event.a.matches('{unanchored}')"), "(a is there | .a errs as a text)");
    }
}

#[test]
fn negation_demands_that_the_test_fails_or_cannot_be_evaluated() {
    demands("event.a != 'x'", "(a is not x | .a errs)");
    demands("!(event.a in ['x', 'y'])", "((a is not x & a is not y) | .a errs)");
    demands("!event.a", "(a is Bool(false) | .a errs as a truth)");
    demands("!!event.a", "(a is Bool(true) | .a errs as a truth)");
    demands("!has(event.a)", "(a is absent | .?a errs)");
    demands("!(event.a == 1 && event.b == 2)", "(a is not Int(1) | .a errs | b is not Int(2) | .b errs)");
    demands("!(event.a == 1 || event.b == 2)", "((a is not Int(1) | .a errs) & (b is not Int(2) | .b errs))");
}

#[test]
fn default_that_passes_lets_an_absent_field_pass() {
    demands("event.?a.?b.orValue('') == 'x'", "(a.b is x | .?a.?b errs)");
    demands("event.?a.orValue('x') == 'x'", "(a is x | a is absent | .?a errs)");
    demands("event.?a.orValue('x') != 'x'", "(a is not x | .?a errs)");
    demands("event.?a.orValue(event.b) == 'x'", "(a is x | a is absent | .?a errs)");
    demands("event.?a.orValue(false)", "(a is Bool(true) | .?a errs as a truth)");
}

#[test]
fn value_known_in_advance_is_treated_as_a_literal() {
    demands("event.a == config.owner", "(a is x | .a errs)");
    demands("event.a in config.names", "(a is x | a is y | .a errs)");
    demands("event.a.startsWith('refs/' + config.owner)", "(a starts with refs/x | .a errs as a text)");
    demands("event[config.owner] == 1", "(x is Int(1) | .x errs)");
    demands("config.on && event.a == 'x'", "(a is x | .a errs)");
    demands("!config.on && event.a == 'x'", "nothing");
    demands("config.missing == event.a", "anything");
    demands("config.on ? event.a == 'x' : event.b == 'y'", "(a is x | .a errs)");
}

#[test]
fn named_values_and_variables_are_replaced_by_their_definitions() {
    demands("local.a.b == 'x'", "(a.b is x | .a.b errs)");
    demands("local.maybe.orValue(1) == 2", "(b is Int(2) | .?b errs)");
    demands("!local.is_x", "(a is not x | .a errs)");
    demands("event.b == 'x' && local.part == 'y'", "(b is x | .b errs)");
    demands("local.same", "anything");
    demands("cel.bind(a, event.a, a == 'x' || a == 'y')", "(.a errs | a is x | .a errs | a is y | .a errs)");
}

#[test]
fn conditional_demands_one_of_its_branches() {
    demands(
        "event.a ? event.b == 1 : event.c == 2",
        "(.a errs as a truth | ((a is Bool(true) | .a errs as a truth) & (b is Int(1) | .b errs)) \
         | ((a is Bool(false) | .a errs as a truth) & (c is Int(2) | .c errs)))",
    );
}

#[test]
fn unsupported_expression_demands_nothing() {
    for source in [
        "event.a.lowerAscii() == 'x'",
        "event.list.exists(x, x == 'a')",
        "event.list[0] == 'a'",
        "event.a == event.b",
        "event.a in ['x', event.b]",
        "event.a == [1]",
        "event.a > 1",
        "event.?a == 'x'",
        "local.?a == 'x'",
        "has(local.a)",
        "event.a == 'x' || event.a.size() == 3",
    ] {
        demands(source, "anything");
    }
}

#[test]
fn demand_that_grows_too_large_is_dropped() {
    let mut named: Vec<(String, Expression)> = vec![("l0".to_owned(), compile("event.a == 1 || event.b == 2"))];
    for step in 1..64 {
        named.push((format!("l{step}"), compile(&format!("local.l{0} && local.l{0}", step - 1))));
    }
    let whole = compile("local.l63").demand(&KnownBindings { constants: Scope::new(), named: Some(("local", &named)) });
    assert_eq!(whole, Demand::Anything);
    let choice = (0..40).fold("event.a == 1".to_owned(), |choice, _| format!("({choice} ? event.b == 1 : event.c == 1)"));
    assert_ne!(demand(&choice), Demand::Nothing);
}

/// A payload value: of few kinds and few values, so that tests sometimes pass.
fn any_field() -> impl Strategy<Value = serde_json::Value> {
    let scalars = [json!("x"), json!("x/y"), json!("y"), json!(1), json!(1.0), json!(true), json!(false), json!(null), json!([])];
    let scalar = select(scalars.to_vec());
    prop_oneof![
        6 => scalar.clone(),
        3 => proptest::option::of(scalar).prop_map(|b| b.map_or(json!({}), |b| json!({ "b": b }))),
    ]
}

fn any_event() -> impl Strategy<Value = serde_json::Value> {
    let maybe = || proptest::option::weighted(0.8, any_field());
    (maybe(), maybe()).prop_map(|(a, b)| {
        let fields = [("a", a), ("b", b)].into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        serde_json::Value::Object(fields.collect())
    })
}

fn any_path() -> impl Strategy<Value = &'static str> {
    select(vec![
        "event.a",
        "event.b",
        "event.a.b",
        "event['b'].b",
        "event.?a.b.orValue('x')",
        "event.?b.?b.orValue(true)",
        "event.a.?b.value()",
    ])
}

/// Tests whose demands are met exactly if they are not false.
fn any_exact_test() -> impl Strategy<Value = String> {
    let literal = || select(vec!["'x'", "'y'", "1", "1.0", "true", "false", "null", "config.owner", "config.number"]);
    prop_oneof![
        4 => (any_path(), literal()).prop_map(|(path, literal)| format!("{path} == {literal}")),
        1 => (any_path(), literal()).prop_map(|(path, literal)| format!("{literal} != {path}")),
        2 => (any_path(), literal(), literal()).prop_map(|(path, one, other)| format!("{path} in [{one}, {other}]")),
        1 => any_path().prop_map(|path| format!("{path} in config.names")),
        2 => any_path().prop_map(str::to_owned),
        2 => select(vec!["has(event.a)", "has(event.a.b)", "event.?b.?b.hasValue()", "has(event.?b.b)", "event.?a.b.hasValue()"])
            .prop_map(str::to_owned),
        1 => select(vec!["local.is_x", "local.a == 'y'", "local.maybe.orValue('x') == 'x'"]).prop_map(str::to_owned),
    ]
}

/// Tests about which less is known.
fn any_test() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => any_exact_test(),
        1 => (any_path(), select(vec!["startsWith('x')", "endsWith('y')", "glob('x/*')", "matches('^x+/?y')", "matches('y')"]))
            .prop_map(|(path, call)| format!("{path}.{call}")),
        1 => select(vec!["local.part == 'y'", "local.same", "event.a > 0", "event.a == event.b", "config.missing", "has(local.part)"])
            .prop_map(str::to_owned),
    ]
}

fn compound_tests(test: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    test.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            3 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) && ({other})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) || ({other})")),
            2 => inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

fn joined_any_way(test: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    compound_tests(test).prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(one, two, three)| format!("({one}) ? ({two}) : ({three})")),
            (any_path(), inner.clone()).prop_map(|(path, inner)| format!("cel.bind(v, {path}, v == 'x' || ({inner}))")),
            inner.prop_map(|inner| format!("({inner}) == true")),
        ]
    })
}

/// Returns true if an expression is false for an event, with the named values that can be computed.
fn is_false(source: &str, event: &Document) -> bool {
    let (expression, named, mut budget) = (compile(source), named_expressions(), Budget::default());
    let mut scope = Scope::new().with("config", config()).with("event", event.root()).with("local", Value::map([]));
    let mut values = Vec::new();
    for (name, value) in &named {
        if let Ok(value) = value.evaluate(&scope, &mut budget) {
            values.push((name.as_str(), value));
            scope.set("local", Value::map(values.iter().cloned()));
        }
    }
    matches!(expression.holds(&scope, &mut budget), Ok(false))
}

fn is_met(demand: &Demand, event: &Document) -> bool {
    match demand {
        Demand::Anything => true,
        Demand::Nothing => false,
        Demand::Test(test) => test.check.passes(&Reach::walk(Value::from(event.root()), &test.path, 1)),
        Demand::All(parts) => parts.iter().all(|part| is_met(part, event)),
        Demand::Any(parts) => parts.iter().any(|part| is_met(part, event)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn expression_is_false_if_its_demand_is_not_met(source in joined_any_way(any_test()), event in any_event()) {
        let document = Document::from_value(&event);
        let demand = demand(&source);
        prop_assert!(is_met(&demand, &document) || is_false(&source, &document), "`{}` on {}: {}", source, event, render_demand(&demand));
    }

    #[test]
    fn demand_of_plain_tests_is_met_exactly_if_the_expression_is_not_false(source in compound_tests(any_exact_test()), event in any_event()) {
        let document = Document::from_value(&event);
        let demand = demand(&source);
        prop_assert_eq!(is_met(&demand, &document), !is_false(&source, &document), "`{}` on {}: {}", source, event, render_demand(&demand));
    }
}
