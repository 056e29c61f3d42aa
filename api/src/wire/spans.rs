//! The spans of an execution: when it and its steps ran, in columns.

use ensue_derive::wire;
use ensue_engine::ids::ExecutionId;
use ensue_engine::names::StepName;
use ensue_engine::time::Timestamp;
use ensue_views::Execution;
use ensue_views::executions::Status;
use serde::Serialize;

/// When an execution and its steps ran. Each column has a value for each span.
#[wire(Serialize)]
pub(crate) struct WireSpans {
    /// When the execution was requested. Times are microseconds since then.
    began_at: Timestamp,
    /// The execution, and the executions of its steps, each after the workflow that it is a step of.
    pub(crate) id: Vec<ExecutionId>,
    /// The place of the workflow in these columns, from 0; null for the execution itself.
    parent: Vec<Option<u32>>,
    step: Vec<Option<StepName>>,
    /// The item of the step, from 0.
    item: Vec<Option<u32>>,
    /// Whether it undoes the step.
    undoes: Vec<bool>,
    status: Vec<Status>,
    /// When it was requested.
    from_us: Vec<i64>,
    /// When it ended; null while it is open.
    to_us: Vec<Option<i64>>,
    /// The number of started attempts.
    attempts: Vec<u32>,
    /// From its request until it started; null if it has not started.
    waits_us: Vec<Option<i64>>,
    /// Whether there are more than 10,000 spans: the others are left out.
    pub(crate) truncated: bool,
}

impl WireSpans {
    /// Begins with the execution itself.
    pub(crate) fn of(root: &Execution) -> Self {
        let mut spans = Self {
            began_at: root.requested_at,
            id: Vec::new(),
            parent: Vec::new(),
            step: Vec::new(),
            item: Vec::new(),
            undoes: Vec::new(),
            status: Vec::new(),
            from_us: Vec::new(),
            to_us: Vec::new(),
            attempts: Vec::new(),
            waits_us: Vec::new(),
            truncated: false,
        };
        spans.add(root, None);
        spans
    }

    /// Adds an execution below the one at a place.
    pub(crate) fn add(&mut self, execution: &Execution, parent: Option<u32>) {
        self.id.push(execution.id);
        self.parent.push(parent);
        self.step.push(execution.step.clone());
        self.item.push(execution.item);
        self.undoes.push(execution.undoes);
        self.status.push(execution.status);
        self.from_us.push(execution.requested_at.micros_since(self.began_at));
        self.to_us.push(execution.ended_at.map(|ended| ended.micros_since(self.began_at)));
        self.attempts.push(execution.attempt);
        self.waits_us.push(execution.started_at.map(|started| started.micros_since(execution.requested_at)));
    }
}
