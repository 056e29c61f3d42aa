//! The CEL specification's own conformance cases; each passes or is left out by a stated rule.
//!
//! The cases are not copied: a script reads them from the npm package that `.ci/run` installs below
//! `target/npm`. If it is not installed, the test is skipped by name; if `CI` is `true`, it fails.

mod case;
mod exclusions;
mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ensue_expression::{
    Budget, CheckBudget, CompileError, Document, ErrorKind, EvaluationError, Expression, FindingKind, Knowledge, Outcome, Purpose, Scope,
    Value, ValueType,
};

use case::{Case, Expectation, Source};
use exclusions::LeftOut;

use crate::skipped::not_installed;

/// The kinds of errors for the specification's messages. The wording is not part of the specification, but
/// the kind of error is compared.
const SORTS: &[(&str, &[ErrorKind])] = &[
    ("zero", &[ErrorKind::DivisionByZero]),
    ("overflow", &[ErrorKind::Overflow]),
    ("range", &[ErrorKind::Overflow, ErrorKind::Invalid]),
    ("negative offset", &[ErrorKind::Invalid]),
    // This message also applies to values that have no keys at all.
    ("no such key", &[ErrorKind::Missing, ErrorKind::Type]),
    ("undeclared reference", &[ErrorKind::Missing]),
    ("unknown variable", &[ErrorKind::Missing]),
    ("repeated key", &[ErrorKind::Invalid]),
    ("UTF-8", &[ErrorKind::Invalid]),
    ("formatting", &[ErrorKind::Invalid]),
    ("Type conversion error", &[ErrorKind::Invalid]),
    ("key type", &[ErrorKind::Type]),
    ("field selection", &[ErrorKind::Type]),
    // An index that is not an integer, and one beyond the end of the list.
    ("invalid_argument", &[ErrorKind::Type, ErrorKind::Missing]),
    // This message applies to operands of the wrong type, and also to the error next to `true &&`.
    ("overload", &[ErrorKind::Type, ErrorKind::DivisionByZero]),
    // The message of one case, `1 / 0`.
    ("foo", &[ErrorKind::DivisionByZero]),
];

#[test]
fn conformance_cases_of_the_specification_pass() {
    let cases = match case::read() {
        Source::Cases(cases) => cases,
        Source::Missing(what) => return not_installed("conformance_cases_of_the_specification_pass", &what),
    };
    let mut tally = Tally::default();
    let findings: Vec<_> = cases.iter().filter_map(|case| tally.count(case).err().map(|why| format!("{case}: {why}"))).collect();
    assert!(findings.is_empty(), "{} of {} cases:\n{}", findings.len(), cases.len(), findings.join("\n"));
    insta::assert_snapshot!(tally.table(), @r"
    basic              42 held   1 left out: a function that nobody has
    bindings_ext        5 held
    block_ext           0 held   12 left out: a message, enum or wrapper of protobuf; 25 left out: cel.block
    comparisons       334 held   72 left out: a message, enum or wrapper of protobuf
    conversions       109 held
    dynamic             0 held   226 left out: a message, enum or wrapper of protobuf
    encoders_ext        4 held
    enums               0 held   85 left out: a message, enum or wrapper of protobuf
    fields             60 held
    fp_math            30 held
    integer_math       64 held
    lists              39 held
    logic              30 held
    macros             44 held
    macros2            46 held
    math_ext          199 held
    namespace           3 held
    optionals          59 held   11 left out: a message, enum or wrapper of protobuf
    parse             176 held   26 left out: a message, enum or wrapper of protobuf; 17 left out: a function that nobody has
    plumbing            5 held
    proto2              0 held   108 left out: a message, enum or wrapper of protobuf
    proto2_ext          0 held   18 left out: a message, enum or wrapper of protobuf
    proto3              0 held   75 left out: a message, enum or wrapper of protobuf
    string             51 held
    string_ext        206 held   3 left out: a message, enum or wrapper of protobuf
    timestamps         76 held
    type_deductions    12 held   21 left out: a message, enum or wrapper of protobuf; 14 left out: only the type is asked for
    wrappers            0 held   36 left out: a message, enum or wrapper of protobuf
    all              1594 held   750 left out
    ");
}

/// Checks that the case has the specified result, with its bindings as values and, if they can be written
/// that way, as JSON read in place.
fn check(case: &Case) -> Result<(), String> {
    let expression = match Expression::compile(&case.source, &case.roots()) {
        Ok(expression) => expression,
        Err(error) => return check_refusal(case, &error),
    };
    let made: Option<Vec<_>> = case.bindings.iter().map(|(name, value)| Some((name, values::parse_value(value)?))).collect();
    let Some(made) = made else {
        return Err("has a binding that is no value of the language".to_owned());
    };
    let mut scope = Scope::new();
    for (name, value) in &made {
        scope.set(name, value.clone());
    }
    judge(case, &expression, &scope)?;
    let documents: Option<Vec<_>> =
        case.bindings.iter().map(|(name, value)| Some((name, Document::from_value(&values::json(value)?)))).collect();
    if let Some(documents) = documents {
        let mut scope = Scope::new();
        for (name, document) in &documents {
            scope.set(name, document.root());
        }
        judge(case, &expression, &scope)?;
    }
    Ok(())
}

/// A source that does not compile is right only if the specification expects an error: what the specification
/// finds during evaluation is then found earlier here. Our own limits never count as the expected error.
fn check_refusal(case: &Case, error: &CompileError) -> Result<(), String> {
    let is_bound = error.message.contains("longer than") || error.message.contains("nested");
    match &case.expected {
        Expectation::Errors(_) if !is_bound => Ok(()),
        _ => Err(format!("does not compile: {error}")),
    }
}

fn judge<'a>(case: &Case, expression: &'a Expression, scope: &Scope<'a>) -> Result<(), String> {
    let given = expression.evaluate(scope, &mut Budget::default());
    let explained = expression.explain(scope, &mut Budget::default());
    if !agree(explained.outcome(), &given) {
        return Err(format!("gives {given:?}, and is explained by {:?}", explained.outcome()));
    }
    if let Ok(value) = &given {
        check_admission(case, expression, value)?;
    }
    match (&case.expected, given) {
        (Expectation::Value(expected), Ok(value)) if values::equals(expected, &value) => Ok(()),
        (Expectation::Value(expected), Ok(value)) => Err(format!("gives {value:?}, not {expected}")),
        (Expectation::Value(_), Err(error)) => Err(format!("errs: {error}")),
        (Expectation::Errors(messages), Err(error)) => is_meant(messages, &error),
        (Expectation::Errors(messages), Ok(value)) => Err(format!("gives {value:?}, not an error: {messages:?}")),
        (Expectation::Nothing, _) => Err("asks for no value".to_owned()),
    }
}

/// Checks that the checker inferred this value as possible, both with and without knowing the bindings.
fn check_admission(case: &Case, expression: &Expression, value: &Value<'_>) -> Result<(), String> {
    let (mut unknown, mut known) = (Knowledge::new(), Knowledge::new());
    for (name, bound) in &case.bindings {
        unknown = unknown.with(name, ValueType::anything());
        known = known.with(name, values::parse_value(bound).map_or_else(ValueType::anything, |bound| ValueType::of_value(&bound)));
    }
    for knowledge in [unknown, known] {
        let inferred = expression.infer(&knowledge, Purpose::Value, &mut CheckBudget::default());
        // A field that is reported as unknown has no value, so that it causes no further findings.
        let is_told = inferred.findings.iter().any(|finding| finding.kind == FindingKind::UnknownField);
        if !is_told && !inferred.value.admits(value) {
            return Err(format!("gives {}, and was to be {}", value.brief(), inferred.value));
        }
    }
    Ok(())
}

/// Checks that the error is of a kind that the messages describe.
fn is_meant(messages: &[String], error: &EvaluationError) -> Result<(), String> {
    let sorts = |message: &String| SORTS.iter().find(|(part, _)| message.contains(part)).map(|(_, sorts)| *sorts);
    let allowed: Option<Vec<_>> = messages.iter().map(sorts).collect();
    match allowed {
        Some(allowed) if allowed.concat().contains(&error.kind) => Ok(()),
        Some(_) => Err(format!("errs by `{}` ({error}), not by {messages:?}", error.kind)),
        None => Err(format!("the sort of {messages:?} is not known")),
    }
}

fn agree(explained: &Outcome, given: &Result<Value<'_>, EvaluationError>) -> bool {
    match (explained, given) {
        (Outcome::Truth(explained), Ok(value)) => value.as_bool() == Some(*explained),
        (Outcome::Value(explained), Ok(value)) => *explained == value.brief(),
        (Outcome::Erred(explained), Err(error)) => explained == error,
        _ => false,
    }
}

/// How many cases of each file pass, and how many are left out by which rule.
#[derive(Default)]
struct Tally {
    files: BTreeMap<String, (usize, BTreeMap<LeftOut, usize>)>,
}

impl Tally {
    /// Counts a case that passes, or that is left out by a rule and does not pass.
    fn count(&mut self, case: &Case) -> Result<(), String> {
        let held = check(case);
        let (held_of_file, left_out) = self.files.entry(case.file.clone()).or_default();
        match (LeftOut::of(case), held) {
            (None, held) => {
                held?;
                *held_of_file += 1;
            }
            (Some(LeftOut::UnboundFunction), Err(why)) if !why.contains("unknown function") && !why.contains("unknown method") => {
                return Err(format!("calls a function that nobody has, and the parser says: {why}"));
            }
            // An error may have any cause; a value would not be right by chance.
            (Some(rule), Ok(())) if !matches!(case.expected, Expectation::Errors(_)) => {
                return Err(format!("is left out because of {rule}, and holds"));
            }
            (Some(rule), _) => *left_out.entry(rule).or_default() += 1,
        }
        Ok(())
    }

    fn table(&self) -> String {
        let mut table = String::new();
        let (mut held_of_all, mut left_out_of_all) = (0, 0);
        for (file, (held, left_out)) in &self.files {
            held_of_all += held;
            left_out_of_all += left_out.values().sum::<usize>();
            let rules: Vec<_> = left_out.iter().map(|(rule, count)| format!("{count} left out: {rule}")).collect();
            let row = format!("{file:<16} {held:>4} held   {}", rules.join("; "));
            writeln!(table, "{}", row.trim_end()).expect("a string takes all");
        }
        writeln!(table, "{:<16} {held_of_all:>4} held   {left_out_of_all} left out", "all").expect("a string takes all");
        table
    }
}
