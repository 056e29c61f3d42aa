//! Local values: named expressions of a rule, each computed from the event and the values before it.
//!
//! Parameters need all of them. A condition needs only those that it reads, and only when it reads them: a
//! value that errs is absent there, and reading it is an error.

use ensue_expression::{Budget, ErrorKind, EvaluationError, Expression, Scope, Value};

/// A local value that errs, by its name.
pub type FailedLocal<'a> = (&'a str, EvaluationError);

/// Adds all local values to a scope.
///
/// # Errors
/// The first that errs.
pub(crate) fn all<'a>(scope: &mut Scope<'a>, local: &'a [(String, Expression)], budget: &mut Budget) -> Result<(), EvaluationError> {
    match computable(scope, local, budget)?.into_iter().next() {
        None => Ok(()),
        Some((_, error)) => Err(error),
    }
}

/// Adds all local values of a workflow and of a step to a scope; those of the step come after the others.
///
/// # Errors
/// The first that errs.
pub(crate) fn of_both<'a>(
    scope: &mut Scope<'a>,
    [outer, inner]: [&'a [(String, Expression)]; 2],
    budget: &mut Budget,
) -> Result<(), EvaluationError> {
    match compute_locals(scope, outer.iter().chain(inner), budget)?.into_iter().next() {
        None => Ok(()),
        Some((_, error)) => Err(error),
    }
}

/// Adds the local values that can be computed to a scope, and returns those that err.
///
/// # Errors
/// A budget that is used up.
pub fn computable<'a>(
    scope: &mut Scope<'a>,
    local: &'a [(String, Expression)],
    budget: &mut Budget,
) -> Result<Vec<FailedLocal<'a>>, EvaluationError> {
    compute_locals(scope, local.iter(), budget)
}

fn compute_locals<'a>(
    scope: &mut Scope<'a>,
    local: impl Iterator<Item = &'a (String, Expression)>,
    budget: &mut Budget,
) -> Result<Vec<FailedLocal<'a>>, EvaluationError> {
    let mut values: Vec<(&'a str, Value<'a>)> = Vec::new();
    let mut failed = Vec::new();
    scope.set("local", Value::map([]));
    for (name, expression) in local {
        match expression.evaluate(scope, budget) {
            Ok(value) => {
                values.push((name, value));
                scope.set("local", Value::map(values.iter().cloned()));
            }
            Err(error) if error.kind == ErrorKind::Budget => return Err(error),
            Err(error) => failed.push((name.as_str(), cause(expression, error, &failed))),
        }
    }
    Ok(failed)
}

/// Returns the error to report: if an expression read a local value that errs, that value's error.
pub fn cause(expression: &Expression, error: EvaluationError, failed: &[FailedLocal<'_>]) -> EvaluationError {
    if failed.is_empty() || error.kind != ErrorKind::Missing {
        return error;
    }
    let reads = expression.reads();
    let read = reads.iter().find(|path| path.span.contains(&error.span.start)).map(|path| path.segments.as_slice());
    let culprit = match read {
        Some([root, name, ..]) if root == "local" => failed.iter().find(|(failed, _)| failed == name),
        _ => None,
    };
    culprit.map_or(error, |(_, error)| error.clone())
}
