//! Mapped results: computes what an attempt returns from what its runner returned, as the action's `output` says.
//!
//! The runner's own result is kept as the output of the attempt, or as the body of its failure.

use bytes::Bytes;
use ensue_engine::catalog::Extra;
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::record::Body;
use ensue_expression::{Document, Template};
use serde_json::Value;

use crate::attempt::{AttemptContext, AttemptError, AttemptFailure, AttemptResult, Ending};
use crate::ports::format_misfits;

/// Computes a result. `raw` is the runner's own result: an object whose fields are names in the template.
pub(crate) async fn result(attempt: &AttemptContext<'_>, template: &Template, raw: &Document) -> Ending {
    compute_body(attempt, template, raw).await.map(AttemptResult::result).map_err(|broken| match broken {
        AttemptError::Failed(failed) => {
            let AttemptFailure { failure, retry_after, .. } = *failed;
            let failure = Failure { kind: FailureKind::Output, ..failure };
            AttemptError::Failed(Box::new(AttemptFailure { failure, body: Some(Body::json(raw.bytes().clone())), retry_after }))
        }
        AttemptError::Cut(..) | AttemptError::Lost(_) => broken,
    })
}

async fn compute_body(attempt: &AttemptContext<'_>, template: &Template, raw: &Document) -> Result<Body, AttemptError> {
    let opened = attempt.open_without_keys(template).await?;
    let document = attempt.renderer(&opened)?.render_output(template, raw)?;
    // A notification may have been given a link, which the log must not contain.
    let document = match attempt.keys.masks() {
        Some(masks) => {
            let masked = Bytes::from(masks.whole(document.bytes()));
            Document::parse(masked).map_err(|error| failure(format!("`output` is not JSON after masking: {error}")))?
        }
        None => document,
    };
    let misfits = attempt.action.result.as_ref().map_or_else(Vec::new, |schema| schema.misfits(document.root(), Extra::Allowed));
    if misfits.is_empty() {
        return Ok(Body::json(document.bytes().clone()));
    }
    Err(failure(format!("the value of `output` does not fit `result`: {}", format_misfits(&misfits))))
}

fn failure(message: String) -> AttemptError {
    Failure::new(FailureKind::Output, message).into()
}

/// Returns what a program returned, as `output` reads it.
pub(crate) fn of_program(stdout: &str) -> Document {
    Document::from_value(&serde_json::json!({ "stdout": Value::from(stdout), "exit_code": 0 }))
}
