//! The runner `emit`: puts an event of a fixed trigger into the log, with the attempt's report.
//!
//! Nothing outside the node is touched before the report is in the log, so the attempt is never recorded as
//! begun.

use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::record::Body;
use ensue_expression::{Document, Template};
use serde_json::json;

use crate::attempt::{AttemptContext, AttemptResult, Ending, attempt_failure};
use crate::ports::Emission;
use crate::runners::Runner;

/// The trigger and payload of the event.
pub(crate) struct Emit<'a> {
    /// The trigger, and the version of the payload.
    pub(crate) trigger: &'a VersionedTrigger,
    /// The payload.
    pub(crate) payload: &'a Template,
    /// The key under which the event is accepted once.
    pub(crate) dedupe: Option<&'a Template>,
}

impl Runner for Emit<'_> {
    async fn run(&self, attempt: &AttemptContext<'_>) -> Ending {
        let payload = {
            let opened = attempt.open_without_keys(self.payload).await?;
            attempt.renderer(&opened)?.document("payload", self.payload)?
        };
        let dedupe = match self.dedupe {
            Some(key) => {
                let opened = attempt.open_without_keys(key).await?;
                attempt.renderer(&opened)?.scalar("dedupe", key)?
            }
            None => None,
        };
        emit_event(attempt, self.trigger.clone(), payload, dedupe)
    }
}

/// Returns one event. The result is its id.
pub(crate) fn emit_event(attempt: &AttemptContext<'_>, trigger: VersionedTrigger, payload: Document, dedupe: Option<String>) -> Ending {
    let emission = Emission {
        execution: attempt.dispatch.execution,
        attempt: attempt.dispatch.attempt,
        cause: attempt.dispatch.execution.0,
        index: 0,
        catalog: attempt.dispatch.catalog,
        trigger,
        payload,
        dedupe,
    };
    let event = attempt.means.ports.observe.observe(emission);
    let event = event.map_err(|error| attempt_failure(FailureKind::ParametersInvalid, error.to_string()))?;
    let result = json!({ "event": event.id }).to_string();
    Ok(AttemptResult { body: Some(Body::json(result)), emitted: Some(Box::new(event)), ..AttemptResult::default() })
}
