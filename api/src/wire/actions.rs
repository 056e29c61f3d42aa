//! Actions.

use ensue_engine::catalog::{Action, OnLost};
use ensue_engine::names::{ActionRef, PackName};
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::openapi::shapes;

/// An action.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireAction {
    #[schemars(with = "shapes::ActionRef")]
    r#ref: ActionRef,
    #[schemars(with = "shapes::PackName")]
    pack: PackName,
    description: String,
    runner: &'static str,
    parameters: Value,
    result: Option<Value>,
    timeout: f64,
    grace: f64,
    idempotent: bool,
    #[schemars(with = "shapes::OnLost")]
    on_lost: OnLost,
    priority: i8,
}

impl From<&Action> for WireAction {
    fn from(action: &Action) -> Self {
        Self {
            r#ref: action.name.clone(),
            pack: action.name.pack(),
            description: action.description.clone(),
            runner: action.run.runner(),
            parameters: action.parameters.to_json(),
            result: action.result.as_ref().map(ensue_engine::catalog::Schema::to_json),
            timeout: action.timeout.as_secs_f64(),
            grace: action.grace.as_secs_f64(),
            idempotent: action.idempotent,
            on_lost: action.on_lost,
            priority: action.priority,
        }
    }
}

/// What an action is to be run with.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireExecute {
    #[serde(default)]
    pub(crate) params: Option<Box<RawValue>>,
    /// When it starts, not before; at once without it, or where the time has passed.
    #[serde(default)]
    #[schemars(with = "Option<shapes::Timestamp>")]
    pub(crate) start_at: Option<Timestamp>,
}
