//! The difference of two executions.

use ensue_derive::wire;
use ensue_engine::names::StepName;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::wire::graph::WireStepState;

/// The difference of two executions. A part is null if it is the same in both; otherwise it has the value of the
/// first and of the second one.
#[wire(Serialize)]
pub(crate) struct WireDifference {
    pub(crate) executions: Pair<String>,
    pub(crate) action: Option<Pair<String>>,
    pub(crate) status: Option<Pair<WireStepState>>,
    /// The revision of the catalog with their definitions.
    pub(crate) catalog: Option<Pair<u64>>,
    /// From the request until the end; null for one that is open.
    pub(crate) seconds: Option<Pair<Option<f64>>>,
    /// The parameters; null for those that were erased.
    pub(crate) params: Option<Pair<Option<Box<RawValue>>>>,
    /// The results; null for one without a result, or whose result was erased.
    pub(crate) result: Option<Pair<Option<Box<RawValue>>>>,
    /// The steps that differ, or that only one of them has.
    pub(crate) steps: Vec<WireStepDifference>,
}

/// Two values: of the first and of the second execution.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Pair<T> {
    pub(crate) first: T,
    pub(crate) second: T,
}

impl<T: PartialEq> Pair<T> {
    /// Returns the two values if they differ.
    pub(crate) fn if_different(first: T, second: T) -> Option<Self> {
        (first != second).then_some(Self { first, second })
    }
}

/// How a step differs.
#[wire(Serialize)]
pub(crate) struct WireStepDifference {
    pub(crate) step: StepName,
    /// The states; null for an execution that does not have the step.
    pub(crate) state: Option<Pair<Option<WireStepState>>>,
    /// From the request of the first execution of the step until the end of the last.
    pub(crate) seconds: Option<Pair<Option<f64>>>,
    /// Whether the results differ, if the step had one execution in both.
    pub(crate) result_differs: bool,
}
