//! The runner `builtin`: actions that the node performs itself.
//!
//! Nothing outside the node is touched before the report is in the log, so its attempts are never recorded as
//! begun.

use std::time::Duration;

use bytes::Bytes;
use ensue_engine::catalog::Builtin;
use ensue_engine::command::VarChange;
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::record::Body;
use ensue_expression::{Document, Node};

use crate::attempt::{AttemptContext, AttemptError, AttemptResult, Ending, attempt_failure};
use crate::result::fitting;
use crate::runners::Runner;
use crate::runners::emit::emit_event;

/// The maximum number of bytes of parameters that are examined on the thread that passes an attempt to the
/// worker.
const AT_ONCE_BYTES_MAX: usize = 16 << 10;

impl Runner for Builtin {
    async fn run(&self, attempt: &AttemptContext<'_>) -> Ending {
        match self {
            Self::Noop => {
                let clock = &attempt.means.ports.clock;
                let until = clock.now().saturating_add(seconds(&attempt.params)?);
                attempt
                    .within(async {
                        clock.until(until).await;
                        Ok(AttemptResult::default())
                    })
                    .await
            }
            // The log itself waits: there are no attempts of it.
            Self::Sleep | Self::Inquiry | Self::Wait => Err(invalid("an action that only waits has no attempts".to_owned())),
            Self::Echo => fitting(&attempt.action, &attempt.params).map(AttemptResult::result),
            Self::Emit => {
                let params = attempt.params.root();
                let trigger = params.get("trigger").and_then(|trigger| trigger.as_str()).unwrap_or_default();
                let trigger: VersionedTrigger =
                    trigger.parse().map_err(|error| invalid(format!("`trigger` does not name a trigger: {error}")))?;
                let payload = params.get("payload").map_or("{}", |payload| payload.raw());
                let payload = Document::parse(Bytes::copy_from_slice(payload.as_bytes()))
                    .map_err(|error| invalid(format!("`payload` is not JSON: {error}")))?;
                let dedupe = params.get("dedupe").and_then(|key| key.as_str().map(|key| key.to_string()));
                emit_event(attempt, trigger, payload, dedupe)
            }
            Self::SetVar => set_var(attempt.params.root()),
        }
    }
}

/// Runs actions that take no time on the calling thread: a no-op of 0 seconds, an echo, and the change of a
/// var. Returns none if the action needs a task.
pub(crate) fn at_once(builtin: Builtin, params: &Bytes) -> Option<AttemptResult> {
    if params.len() > AT_ONCE_BYTES_MAX {
        return None;
    }
    match builtin {
        Builtin::Noop => {
            let params = Document::parse(params.clone()).ok()?;
            (seconds(&params).ok()? == Duration::ZERO).then(AttemptResult::default)
        }
        Builtin::Echo => Some(AttemptResult::result(Body::json(params.clone()))),
        Builtin::SetVar => set_var(Document::parse(params.clone()).ok()?.root()).ok(),
        Builtin::Sleep | Builtin::Inquiry | Builtin::Wait | Builtin::Emit => None,
    }
}

/// Returns the change of a var.
fn set_var(params: Node<'_>) -> Result<AttemptResult, AttemptError> {
    let change = VarChange::asked_for(params).map_err(|error| invalid(error.to_string()))?;
    Ok(AttemptResult { vars: vec![change], ..AttemptResult::default() })
}

fn seconds(params: &Document) -> Result<Duration, AttemptError> {
    let Some(given) = params.root().get("seconds").filter(|given| !given.is_null()) else {
        return Ok(Duration::ZERO);
    };
    given
        .as_f64()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| invalid("`seconds` must be a number of seconds that is not negative".to_owned()))
}

fn invalid(message: String) -> AttemptError {
    attempt_failure(FailureKind::ParametersInvalid, message)
}
