//! What a rerun would do.

use std::borrow::Cow;

use ensue_derive::wire;
use ensue_engine::names::StepName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::wire::executions::WireExecution;

/// What a rerun would do. An action without steps would run as a whole, and both lists are empty.
#[wire(Serialize)]
pub(crate) struct WireRerunPlan {
    /// The steps that would run, in the order in which they are written. One with an `if` runs if that holds
    /// then.
    pub(crate) runs: Vec<WirePlannedStep>,
    /// The steps whose results would be taken over. A question is asked again if it is another one by then, and
    /// all items run if the list of them is another one.
    pub(crate) taken_over: Vec<WirePlannedStep>,
    /// The steps that were skipped, and of which it is decided again whether they run.
    pub(crate) decided_again: Vec<StepName>,
}

/// A step of a plan.
#[wire(Serialize)]
pub(crate) struct WirePlannedStep {
    pub(crate) step: StepName,
    /// The number of its items, if it is done for several and not all of it runs, or not all of it is taken over.
    pub(crate) items: Option<u32>,
}

/// The answer to a request for a rerun: the execution, or for a dry run the plan.
pub(crate) enum WireRerunAnswer {}

impl JsonSchema for WireRerunAnswer {
    fn schema_name() -> Cow<'static, str> {
        "WireRerunAnswer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let either = [generator.subschema_for::<WireExecution>(), generator.subschema_for::<WireRerunPlan>()];
        json_schema!({ "description": "The execution; for a dry run, what it would do.", "anyOf": either })
    }
}
