//! Types of names that are made of earlier names, as the `local` of a rule is: their size multiplies with each name.

use std::fmt::Write as _;

use ensue_expression::{CheckBudget, Document, Expression, Knowledge, Purpose, TYPE_SIZE_MAX, Value, ValueType};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

/// What a name stands for, in terms of earlier names.
#[derive(Clone, Debug)]
enum Definition {
    Map(Vec<Index>),
    List(Vec<Index>),
    /// A list of maps with different fields, which are joined.
    Joined(Vec<Index>),
    Chosen(Index, Index),
    Or(Index, Index),
    Turned(Index),
}

fn definition() -> impl Strategy<Value = Definition> {
    let some = || proptest::collection::vec(any::<Index>(), 1..9);
    prop_oneof![
        4 => some().prop_map(Definition::Map),
        2 => some().prop_map(Definition::List),
        2 => some().prop_map(Definition::Joined),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Definition::Chosen(one, other)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Definition::Or(one, other)),
        1 => any::<Index>().prop_map(Definition::Turned),
    ]
}

/// Returns the expression that defines the name with this number. Recent names are read more often than others.
fn source_of(definition: &Definition, number: usize) -> String {
    let name = |index: &Index| format!("a{}", number - 1 - index.index(number.min(3)));
    let listed = |parts: &[Index], write: &dyn Fn(usize, String) -> String| {
        parts.iter().enumerate().fold(String::new(), |mut all, (at, part)| {
            let _ = write!(all, "{}{}", if at == 0 { "" } else { ", " }, write(at, name(part)));
            all
        })
    };
    match definition {
        Definition::Map(parts) => format!("{{{}}}", listed(parts, &|at, name| format!("'f{at}': {name}"))),
        Definition::List(parts) => format!("[{}]", listed(parts, &|_, name| name)),
        Definition::Joined(parts) => format!("[{}][0]", listed(parts, &|at, name| format!("{{'f{at}': {name}, 'g': {name}}}"))),
        Definition::Chosen(one, other) => format!("e == 1 ? {} : {}", name(one), name(other)),
        Definition::Or(one, other) => format!("[{}].?e.or(optional.of({})).orValue(e)", name(one), name(other)),
        Definition::Turned(one) => format!("[{}, e].map(x, {{'x': x, 'all': [x, x]}})", name(one)),
    }
}

fn infer_type(source: &str, known: &Knowledge, budget: &mut CheckBudget) -> ValueType {
    let expression = Expression::compile(source, &known.roots()).unwrap_or_else(|error| panic!("{source}: {error}"));
    expression.infer(known, Purpose::Value, budget).value
}

proptest! {
    #[test]
    fn types_of_a_chain_of_names_stay_small_and_its_check_ends(chain in proptest::collection::vec(definition(), 1..40)) {
        let mut known = Knowledge::new().with("e", ValueType::json()).with("a0", ValueType::json());
        let mut budget = CheckBudget::default();
        for (definition, number) in chain.iter().zip(1..) {
            let value = infer_type(&source_of(definition, number), &known, &mut budget);
            prop_assert!(value.size() <= TYPE_SIZE_MAX, "a{number} has {} types within", value.size());
            known = known.with(format!("a{number}"), value);
        }
        let last = chain.len();
        for condition in ["{} == {}", "{}.f0 == {}.f1", "{} in [{}]", "{} != [{}][0]", "[{}, {}].exists(x, x == 1)"] {
            infer_type(&condition.replace("{}", &format!("a{last}")), &known, &mut budget);
        }
    }
}

#[test]
fn value_of_a_type_that_is_too_large_is_still_among_those_that_were_inferred() {
    // Each name has the one before it eight times: the last type has some 37,000 types within.
    let fields: Vec<String> = (0..8).map(|at| format!("'f{at}': last")).collect();
    let next = Expression::compile(&format!("{{{}}}", fields.join(", ")), &Knowledge::new().with("last", ValueType::json()).roots());
    let next = next.unwrap();
    let mut kind = ValueType::json();
    let mut value = json!(7);
    for _ in 0..5 {
        kind = next.infer(&Knowledge::new().with("last", kind), Purpose::Value, &mut CheckBudget::default()).value;
        value = (0..8).map(|at| (format!("f{at}"), value.clone())).collect();
        assert!(kind.admits(&Value::from(Document::from_value(&value).root())));
    }
    assert_eq!(kind.to_string(), "a map");
    let first = Expression::compile("last.f0.f1 == 1", &Knowledge::new().with("last", kind.clone()).roots()).unwrap();
    let findings = first.infer(&Knowledge::new().with("last", kind), Purpose::Condition, &mut CheckBudget::default()).findings;
    assert_eq!(findings, [], "nothing is known of its fields, so nothing is wrong");
}

#[test]
fn expression_after_the_budget_can_be_anything() {
    let known = Knowledge::new().with("e", ValueType::map(ensue_expression::MapType::new(ensue_expression::Others::None)));
    let wrong = Expression::compile("e.missing == 1", &known.roots()).unwrap();
    let findings = |budget: &mut CheckBudget| wrong.infer(&known, Purpose::Condition, budget).findings.len();
    assert_eq!(findings(&mut CheckBudget::default()), 1);
    assert_eq!(findings(&mut CheckBudget::until(std::sync::Arc::new(|| false))), 1);
    assert_eq!(findings(&mut CheckBudget::until(std::sync::Arc::new(|| true))), 0);
}
