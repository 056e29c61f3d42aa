//! Checks that evaluating an expression is deterministic in value and steps, that the explanation agrees with
//! the evaluation, and that nothing hides an exhausted budget.
//!
//! The input is a JSON document, a zero byte, and an expression over it.

use bytes::Bytes;
use ensue_expression::{
    Budget, Document, EVALUATION_BYTES_MAX, EVALUATION_STEPS_MAX, ErrorKind, EvaluationError, Expression, Outcome, Roots, Scope, Value,
};

/// The document for expressions that come without one.
const EVENT: &str = r#"{"a":1,"b":[1,2.5,"x",null,true,{"c":"d"}],"t":"2026-01-31T09:00:00Z","s":"aé\"\n","o":{"p":{"q":-7}},"n":null,"u":18446744073709551615}"#;

/// Checks one input.
pub(crate) fn check_input(input: &str) {
    let (event, source) = input.split_once('\0').unwrap_or((EVENT, input));
    let Ok(event) = Document::parse(Bytes::copy_from_slice(event.as_bytes())) else { return };
    let Ok(expression) = Expression::compile(source, &Roots::new(["event", "config"])) else { return };
    let scope = Scope::new().with("event", event.root());

    let mut budget = Budget::default();
    let first = render(expression.evaluate(&scope, &mut budget));
    let mut again = Budget::default();
    assert_eq!(first, render(expression.evaluate(&scope, &mut again)));
    assert_eq!((budget.steps_spent(), budget.bytes_spent()), (again.steps_spent(), again.bytes_spent()));

    let is_exhausted = matches!(&first, Err(error) if error.kind == ErrorKind::Budget);
    if is_exhausted {
        return;
    }
    assert!(budget.steps_spent() <= EVALUATION_STEPS_MAX && budget.bytes_spent() <= EVALUATION_BYTES_MAX);
    // With exactly the steps that it needs, the result is the same; with one step less, the budget runs out.
    assert_eq!(first, render(expression.evaluate(&scope, &mut Budget::steps(budget.steps_spent()))));
    if budget.steps_spent() > 0 {
        let short = render(expression.evaluate(&scope, &mut Budget::steps(budget.steps_spent() - 1)));
        assert!(matches!(&short, Err(error) if error.kind == ErrorKind::Budget), "one step less gives {short:?}");
    }

    let explanation = expression.explain(&scope, &mut Budget::steps(10 * EVALUATION_STEPS_MAX));
    let _ = (explanation.to_string(), explanation.decisive().len(), explanation.others().len());
    match (explanation.outcome(), expression.evaluate(&scope, &mut Budget::default())) {
        // An explanation evaluates every part, including those that evaluation may skip.
        (Outcome::Erred(error), _) if error.kind == ErrorKind::Budget => {}
        (Outcome::Truth(one), Ok(Value::Bool(other))) => assert_eq!(*one, other),
        (Outcome::Value(brief), Ok(value)) => assert_eq!(*brief, value.brief()),
        (Outcome::Erred(one), Err(other)) => assert_eq!(one.kind, other.kind),
        (one, other) => panic!("explained as {one:?}, evaluated to {other:?}"),
    }
}

/// Returns the result of an evaluation in a form that can be compared: an undefined number is not equal to
/// itself.
fn render(result: Result<Value<'_>, EvaluationError>) -> Result<String, EvaluationError> {
    let value = result?;
    let json = value.to_json().map_or_else(|error| error.to_string(), |json| json.to_string());
    Ok(format!("{}: {} {json}", value.kind(), value.brief()))
}
