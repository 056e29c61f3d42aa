//! Generated expressions, evaluated here and by the `cel` crate; every difference is explained by a named
//! rule.

mod difference;
mod generate;
mod oracle;

use cel::Value as Theirs;
use ensue_expression::{Budget, CheckBudget, Document, Expression, Knowledge, Purpose, Roots, Scope, Value, ValueType};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value as Json, json};

use difference::Difference;
use generate::Choices;
use oracle::Oracle;

/// How many expressions are compared in one run.
const EXPRESSIONS: u32 = 5_000;
/// The seed of all random inputs of the gate: they are the same in each run, so that unrelated changes do not fail by chance.
/// `PROPTEST_RNG_SEED` selects others.
const SEED: &str = include_str!("../../../tests/seed");

/// The prefix of the error for a source that does not compile.
const NOT_COMPILED: &str = "does not compile: ";

/// The results of both for one source.
pub(super) struct Case<'c> {
    source: &'c str,
    ours: Result<Value<'c>, String>,
    theirs: Result<Theirs, String>,
}

impl Case<'_> {
    /// Returns true if both have the same value, or both fail at the same stage; the wording of errors may
    /// differ.
    fn agrees(&self) -> bool {
        let is_refused = |error: &String| error.starts_with(NOT_COMPILED);
        match (&self.ours, &self.theirs) {
            (Ok(ours), Ok(theirs)) => oracle::same(ours, theirs),
            (Err(ours), Err(theirs)) => is_refused(ours) == is_refused(theirs),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        }
    }

    fn explanations(&self) -> Vec<Difference> {
        Difference::ALL.into_iter().filter(|difference| difference.explains(self)).collect()
    }

    fn describe(&self) -> String {
        let ours = self.ours.as_ref().map(Value::brief);
        format!("`{}` gives {ours:?} here, and {:?} by the crate", self.source, self.theirs)
    }
}

/// Evaluates the source over the document with both. Our result must be among the values that the checker
/// inferred as possible.
fn compare<T>(oracle: &Oracle, source: &str, event: &Json, judge: impl FnOnce(&Case<'_>) -> T) -> T {
    let document = Document::from_value(event);
    let scope = Scope::new().with("event", document.root());
    let compiled = Expression::compile(source, &Roots::new(["event"]));
    let ours = match &compiled {
        Ok(expression) => {
            let given = expression.evaluate(&scope, &mut Budget::default()).map_err(|error| error.to_string());
            if let Ok(value) = &given {
                let inferred =
                    expression.infer(&Knowledge::new().with("event", ValueType::json()), Purpose::Value, &mut CheckBudget::default()).value;
                assert!(inferred.admits(value), "`{source}` gives {}, and was to be {inferred}", value.brief());
            }
            given
        }
        Err(error) => Err(format!("{NOT_COMPILED}{error}")),
    };
    judge(&Case { source, ours, theirs: oracle.evaluate(source, event) })
}

/// Returns true if the crate fails because both operands of a `&&` or a `||` do, and the one whose error it does
/// not return fails for a known reason, while it has a value here.
fn hides_an_explained_error(oracle: &Oracle, case: &Case<'_>, event: &Json) -> bool {
    case.theirs.is_err()
        && pairs(case.source).into_iter().any(|(left, right)| {
            let has_error = |case: &Case<'_>| case.theirs.as_ref().is_err_and(|error| !error.starts_with(NOT_COMPILED));
            let fails = |operand: &str| compare(oracle, operand, event, has_error);
            let is_known = |case: &Case<'_>| case.ours.is_ok() && case.theirs.is_err() && !case.explanations().is_empty();
            let known = |operand: &str| compare(oracle, operand, event, is_known);
            known(left) && fails(right) || known(right) && fails(left)
        })
}

/// Returns true if the two differ because `format` of the crate writes the seconds of a duration as a double, which
/// loses digits of long ones: they agree once no literal has nanoseconds.
fn rounds_a_formatted_duration(oracle: &Oracle, case: &Case<'_>, event: &Json) -> bool {
    let shorter = case.source.replace(".999999999Z'", ".5Z'").replace("1ms1us1ns'", "1ms'");
    let shorter = shorter.replace("1ns'", "1ms'").replace("0.000000001s'", "0.5s'");
    let both_have_values = case.ours.is_ok() && case.theirs.is_ok();
    both_have_values && case.source.contains(".format(") && shorter != case.source && compare(oracle, &shorter, event, |case| case.agrees())
}

/// Returns true if the two differ because the crate compares a uint with a double as two doubles, and the largest uint
/// is not one: they agree once it is small.
fn rounds_a_large_uint(oracle: &Oracle, case: &Case<'_>, event: &Json) -> bool {
    let small = |text: &str| text.replace("18446744073709551615", "7");
    let (source, smaller) = (small(case.source), serde_json::from_str(&small(&event.to_string())).expect("it is JSON"));
    let has_changed = source != case.source || smaller != *event;
    has_changed && case.source.contains("double(") && compare(oracle, &source, &smaller, |case| case.agrees())
}

/// Returns the operands of each `&&` and `||` of a source, up to the parentheses around them.
fn pairs(source: &str) -> Vec<(&str, &str)> {
    let operators = source.match_indices(" && ").chain(source.match_indices(" || "));
    operators.map(|(at, operator)| (before(&source[..at]), after(&source[at + operator.len()..]))).collect()
}

/// Returns the part of a text after the last parenthesis that is not closed in it.
fn before(text: &str) -> &str {
    let mut open = 0;
    let around = text.char_indices().rev().find(|(_, character)| {
        open += i32::from(*character == '(') - i32::from(*character == ')');
        open == 1
    });
    around.map_or(text, |(at, _)| &text[at + 1..])
}

/// Returns the part of a text before the first closing parenthesis that is not opened in it.
fn after(text: &str) -> &str {
    let mut closed = 0;
    let around = text.find(|character| {
        closed += i32::from(character == ')') - i32::from(character == '(');
        closed == 1
    });
    around.map_or(text, |at| &text[..at])
}

/// The choices from which an expression and its document are generated.
fn choices() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..120)
}

fn generate_case(choices: &[u8]) -> (String, Json) {
    let mut choices = Choices::new(choices);
    (generate::expression(&mut choices), generate::document(&mut choices))
}

/// The document of the examples.
pub(super) fn event() -> Json {
    json!({"n": 7, "s": "text", "z": null})
}

fn config() -> Config {
    let asked = Config::with_cases(EXPRESSIONS);
    let rng_seed = match asked.rng_seed {
        RngSeed::Random => RngSeed::Fixed(SEED.trim().parse().expect("tests/seed is a number")),
        RngSeed::Fixed(seed) => RngSeed::Fixed(seed),
    };
    Config { rng_seed, ..asked }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cel_crate_agrees_or_a_rule_explains_the_difference(choices in choices()) {
        thread_local!(static ORACLE: Oracle = Oracle::new());
        let (source, event) = generate_case(&choices);
        let unexplained = ORACLE.with(|oracle| {
            compare(oracle, &source, &event, |case| {
                let is_explained = case.agrees()
                    || !case.explanations().is_empty()
                    || hides_an_explained_error(oracle, case, &event)
                    || rounds_a_formatted_duration(oracle, case, &event)
                    || rounds_a_large_uint(oracle, case, &event);
                (!is_explained).then(|| case.describe())
            })
        });
        prop_assert_eq!(unexplained, None, "over {}", event);
    }
}

#[test]
fn each_difference_is_explained_by_its_own_rule_alone() {
    let oracle = Oracle::new();
    for difference in Difference::ALL {
        for source in difference.examples() {
            compare(&oracle, source, &event(), |case| {
                assert!(!case.agrees(), "{difference:?} no longer differs, remove it: {}", case.describe());
                assert_eq!(case.explanations(), [difference], "{}", case.describe());
            });
        }
    }
}

#[test]
fn error_of_the_crate_may_hide_one_that_a_rule_explains() {
    let oracle = Oracle::new();
    let is_hidden = |source: &str| compare(&oracle, source, &event(), |case| hides_an_explained_error(&oracle, case, &event()));
    assert!(is_hidden("(null in {} && (event.n || false))"));
    assert!(is_hidden("string((event.n || (2 < 1)) && null in {} || false)"));
    assert!(!is_hidden("('a' in {} && (event.n || false))"), "the crate has a value for the left operand");
    assert!(!is_hidden("(null in {} && true)"), "the error is returned");
}

#[test]
fn crate_rounds_a_formatted_duration() {
    let oracle = Oracle::new();
    let is_rounded = |source: &str| {
        compare(&oracle, source, &event(), |case| {
            assert!(!case.agrees() && case.explanations().is_empty(), "{}", case.describe());
            rounds_a_formatted_duration(&oracle, case, &event())
        })
    };
    let span = "timestamp('2026-01-31T23:30:15.25Z') - timestamp('1969-12-31T23:59:59.999999999Z')";
    assert!(is_rounded(&format!("'%s'.format([{span}])")));
    assert!(is_rounded(&format!("size('%s'.format([{span}])) > 14")));
    assert!(is_rounded("'%s'.format([duration('9223372036s') - duration('1h1m1s1ms1us1ns')])"));
    let other = "{'d': 1, 'c': 2, 'b': 3, 'a': 4, 'g': 5, 'f': 6, 'e': 7, 'i': 8}.map(k, k)";
    assert!(!is_rounded(&format!("[{other}, ['%s'.format([{span}])]]")), "the order of the keys differs too");
}

#[test]
fn crate_compares_a_uint_with_a_double_as_doubles() {
    let oracle = Oracle::new();
    let (event, small) = (json!({"big": u64::MAX}), json!({"big": 8}));
    let is_rounded = |source: &str, event: &Json| compare(&oracle, source, event, |case| rounds_a_large_uint(&oracle, case, event));
    let same = "18446744073709551615u == double(event.big)";
    compare(&oracle, same, &event, |case| assert!(!case.agrees() && case.explanations().is_empty(), "{}", case.describe()));
    assert!(is_rounded(same, &event));
    assert!(!is_rounded("8u == double(event.big)", &small), "the uint is small");
    assert!(!is_rounded(&format!("[{same}, null in {{}}]"), &event), "something else differs too");
}

#[test]
fn most_generated_expressions_agree_without_a_rule() {
    let oracle = Oracle::new();
    let mut runner = TestRunner::deterministic();
    let (mut values, mut explained) = (0, 0);
    for _ in 0..2_000 {
        let (source, event) = generate_case(&choices().new_tree(&mut runner).expect("choices are made").current());
        compare(&oracle, &source, &event, |case| {
            values += u32::from(case.agrees() && case.ours.is_ok());
            explained += u32::from(!case.agrees());
        });
    }
    assert!(values > 1_200, "only {values} of 2000 expressions give a value");
    assert!(explained < 20, "{explained} of 2000 expressions differ; the rules hide too much");
}

#[test]
fn cel_crate_reads_json_numbers_differently() {
    // That is why the oracle gets numbers as we read them: otherwise most expressions over integers would
    // differ.
    let mut context = cel::Context::default();
    context.add_variable("n", json!(7)).expect("the crate takes JSON");
    let program = cel::Program::compile("n - 8").expect("the crate compiles it");
    let error = program.execute(&context).expect_err("the crate makes a uint of it");
    assert!(error.to_string().contains("UInt"), "{error}");
}
