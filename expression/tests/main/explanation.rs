//! Why an expression gave what it gave.

use ensue_expression::{Budget, Explanation, Outcome, Scope, Value};
use proptest::prelude::*;

use super::{EVENT, compile, document};

fn explain(source: &str) -> Explanation {
    let event = document(EVENT);
    let config = Value::map([("owner", Value::from("acme"))]);
    let scope = Scope::new().with("event", event.root()).with("config", config);
    compile(source).explain(&scope, &mut Budget::default())
}

fn decisive(source: &str) -> Vec<String> {
    explain(source).decisive().iter().map(ToString::to_string).collect()
}

#[test]
fn each_part_is_a_line_with_the_fields_that_it_reads() {
    let explanation =
        explain("event.payload.action == \"closed\"\n  && event.payload.repository.owner.login == config.owner && !event.payload.draft");
    assert_eq!(
        explanation.to_string(),
        "event.payload.action == \"closed\"  → false   (event.payload.action = \"opened\")\n\
         event.payload.repository.owner.login == config.owner  → true   \
         (event.payload.repository.owner.login = \"acme\", config.owner = \"acme\")\n\
         event.payload.draft  → false"
    );
    assert_eq!(*explanation.outcome(), Outcome::Truth(false));
}

#[test]
fn the_parts_that_decided_are_those_that_would_have_to_turn() {
    assert_eq!(
        decisive("event.payload.number == 7 && event.payload.action == 'closed'"),
        ["event.payload.action == 'closed'  → false   (event.payload.action = \"opened\")"]
    );
    assert_eq!(decisive("false || (true && 1 == 1)"), ["true  → true", "1 == 1  → true"]);
    assert_eq!(decisive("!(true && 1 == 2)"), ["1 == 2  → false"]);
    assert_eq!(decisive("1 == 2 ? true : 2 == 3"), ["1 == 2  → false", "2 == 3  → false"]);
}

#[test]
fn the_other_parts_are_told_apart() {
    let explanation = explain("event.payload.number == 7 && event.payload.action == 'closed'");
    let others: Vec<_> = explanation.others().iter().map(|part| part.source.as_str()).collect();
    assert_eq!(others, ["event.payload.number == 7"]);
}

#[test]
fn an_error_is_a_part_that_decided() {
    assert_eq!(
        decisive("event.payload.number == 7 && event.payload.assignee.login == 'ada'"),
        ["event.payload.assignee.login == 'ada'  → error: `event.payload.assignee` is null, and has no field `login`   \
          (event.payload.assignee.login = nothing)"]
    );
    assert_eq!(decisive("event.payload.nope && 1 == 2"), ["1 == 2  → false"]);
}

#[test]
fn long_values_are_cut() {
    let lines = explain("event.payload == event").lines();
    assert_eq!(lines, ["event.payload == event  → false   (event.payload = {… 10 fields}, event = {… 2 fields})"]);
}

/// Conditions over four booleans, as text.
fn any_condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec!["v.a", "v.b", "v.c", "v.d"]).prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" && "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" || "))),
            inner.prop_map(|part| format!("!{part}")),
        ]
    })
}

proptest! {
    #[test]
    fn an_explanation_gives_what_the_evaluation_gives(source in any_condition(), bits in 0..16_u8) {
        let source = source.replace("v.", "event.");
        let value = |bit: u8| Value::Bool(bits >> bit & 1 == 1);
        // `d` is missing where its bit is not set, so that errors are among the outcomes.
        let mut fields = vec![("a", value(0)), ("b", value(1)), ("c", value(2))];
        if bits & 8 != 0 {
            fields.push(("d", Value::Bool(true)));
        }
        let scope = Scope::new().with("event", Value::map(fields));
        let expression = compile(&source);
        let explained = expression.explain(&scope, &mut Budget::default());
        match expression.holds(&scope, &mut Budget::default()) {
            Ok(truth) => prop_assert_eq!(explained.outcome(), &Outcome::Truth(truth)),
            Err(error) => prop_assert_eq!(explained.outcome(), &Outcome::Erred(error)),
        }
        prop_assert!(!explained.decisive().is_empty());
    }

    #[test]
    fn turning_the_decisive_parts_turns_the_whole(seed in any::<prop::sample::Index>(), source in any_condition()) {
        // Every leaf is a field of its own, so that a part can be turned by itself.
        let mut count = 0;
        let mut source_of_own = String::new();
        for piece in source.split_inclusive("v.") {
            source_of_own += piece;
            if piece.ends_with("v.") {
                source_of_own += &format!("x{count}");
                count += 1;
            }
        }
        for letter in ["a", "b", "c", "d"] {
            for at in 0..count {
                source_of_own = source_of_own.replace(&format!("v.x{at}{letter}"), &format!("event.x{at}"));
            }
        }
        let names: Vec<_> = (0..count).map(|at| format!("x{at}")).collect();
        let bits = seed.index(1 << count.min(20));
        let mut values: Vec<_> = (0..count).map(|at| bits >> at & 1 == 1).collect();
        let expression = compile(&source_of_own);
        let outcome = |values: &[bool]| {
            let fields = names.iter().map(String::as_str).zip(values.iter().map(|value| Value::Bool(*value)));
            let scope = Scope::new().with("event", Value::map(fields));
            expression.explain(&scope, &mut Budget::default())
        };
        let before = outcome(&values);
        for part in before.decisive() {
            let at: usize = part.source.trim_start_matches("event.x").parse().unwrap();
            values[at] = !values[at];
        }
        let after = outcome(&values);
        prop_assert_ne!(before.outcome(), after.outcome(), "{}", source_of_own);
    }
}
