//! The items of steps that a trace counts instead of showing them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ensue_engine::ids::ExecutionId;
use ensue_engine::names::StepName;
use ensue_views::Execution;

use crate::ports::Ports;
use crate::problem::Problem;
use crate::rows::read_row;
use crate::wire::traces::WireTraceFold;

/// A step of a workflow with several items.
type Wide = (ExecutionId, StepName);

/// Separates the executions that are counted from those that are shown.
pub(super) struct Folds<'a> {
    ports: &'a Ports,
    /// The executions that are shown in any case: the requested one, and the workflows above it.
    kept: Vec<ExecutionId>,
    /// The step whose item an execution is, or is below; for the executions that were looked at.
    known: RefCell<BTreeMap<ExecutionId, Option<Wide>>>,
}

impl<'a> Folds<'a> {
    /// Folds all items, except those above the requested execution.
    pub(super) fn new(ports: &'a Ports, kept: Vec<ExecutionId>) -> Self {
        Self { ports, kept, known: RefCell::default() }
    }

    /// Returns the outermost step whose item an execution is, or is below; `None` if it is shown. Blocking.
    pub(super) fn step_of(&self, execution: &Execution) -> Result<Option<Wide>, Problem> {
        if let Some(known) = self.known.borrow().get(&execution.id) {
            return Ok(known.clone());
        }
        let above = match execution.parent {
            // The workflow may be on an earlier page.
            Some(parent) => self.step_above(parent)?,
            None => None,
        };
        let own = || Some((execution.parent?, execution.step.clone()?)).filter(|_| execution.item.is_some());
        let wide = if self.kept.contains(&execution.id) { None } else { above.or_else(own) };
        self.known.borrow_mut().insert(execution.id, wide.clone());
        Ok(wide)
    }

    fn step_above(&self, parent: ExecutionId) -> Result<Option<Wide>, Problem> {
        if let Some(known) = self.known.borrow().get(&parent) {
            return Ok(known.clone());
        }
        match read_row::<Execution>(self.ports, &parent.to_string())? {
            Some(parent) => self.step_of(&parent),
            None => Ok(None),
        }
    }
}

/// Counts executions by the step that they are folded into.
pub(super) fn count_folded(folded: Vec<(Wide, Execution)>) -> Vec<WireTraceFold> {
    let mut counts: BTreeMap<Wide, WireTraceFold> = BTreeMap::new();
    for ((parent, step), execution) in folded {
        let fold = counts.entry((parent, step.clone())).or_insert_with(|| WireTraceFold {
            parent,
            step: step.clone(),
            items: 0,
            statuses: BTreeMap::new(),
            below: 0,
        });
        if (execution.parent, execution.step.as_ref()) == (Some(parent), Some(&step)) {
            fold.items += 1;
            *fold.statuses.entry(execution.status.as_str().to_owned()).or_default() += 1;
        } else {
            fold.below += 1;
        }
    }
    counts.into_values().collect()
}
