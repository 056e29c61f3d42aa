//! The steps that a rerun of a workflow takes over: those that had succeeded, as long as everything they need
//! is unchanged.
//!
//! `executions/history.rs` determines which had succeeded.

use std::sync::Arc;

use ensue_expression::{Budget, Document, EVALUATION_STEPS_MAX};

use crate::catalog::{INQUIRY, Step, Task};
use crate::fact::Fact;
use crate::inquiries::react::question_digest;
use crate::names::StepName;
use crate::reaction::Reaction;
use crate::record::{Digest, Draft};
use crate::workflows::elements::Elements;
use crate::workflows::facts::{KeptAs, ReusableStep, StepTakenOver, TakenOverPart};
use crate::workflows::inputs::Ends;
use crate::workflows::run::Nth;
use crate::workflows::run::StepError;
use crate::workflows::run::WorkflowRun;
use crate::workflows::state::StepStatus;

impl WorkflowRun<'_> {
    /// Returns the record by which a step takes over its earlier result, if it may; for a step with items,
    /// the record of its list.
    pub(super) fn taken_over(&self, step: &Step, ends: Ends) -> Result<Option<Draft>, Reaction> {
        let Some(kept) = self.reusable_elements()? else { return Ok(None) };
        let Some(before) = find(&kept, &step.name, None).filter(|_| self.has_all_as_before(step, &kept)) else { return Ok(None) };
        match before.what {
            KeptAs::Skipped => Ok(None),
            KeptAs::Each { list } => self.expanded_as_before(step, list, ends),
            KeptAs::Done(taken) if step.for_each.is_none() && self.does_the_same(step, &taken, ends)? => {
                let fact = StepTakenOver { step: step.name.clone(), item: None, taken };
                Ok(Some(self.draft(fact.into(), None)))
            }
            KeptAs::Done(_) => Ok(None),
        }
    }

    /// Returns the record by which an item takes over its earlier result, if it had succeeded.
    pub(super) fn item_taken_over(&self, step: &Step, item: u32) -> Result<Option<Draft>, Reaction> {
        let before = self.reusable_elements()?.and_then(|kept| find(&kept, &step.name, Some(item)));
        let taken = before.and_then(|before| if let KeptAs::Done(taken) = before.what { Some(taken) } else { None });
        // An item's question is asked again, because it is not compared with the earlier one.
        let taken = taken.filter(|taken| runs(step, taken) && taken.question.is_none() && !is_inquiry(step));
        Ok(taken.map(|taken| self.draft(StepTakenOver { step: step.name.clone(), item: Some(item), taken }.into(), None)))
    }

    /// Returns what is known about the execution that is run again; `None` if nothing is taken over.
    fn reusable_elements(&self) -> Result<Option<Arc<Elements>>, Reaction> {
        let Some(handle) = self.progress.kept else { return Ok(None) };
        self.with.bodies.elements(&handle).map(Some).ok_or_else(|| Reaction::Needs(vec![handle]))
    }

    /// Returns true if nothing that a step needs runs again: a step must run again if one that it needs does.
    fn has_all_as_before(&self, step: &Step, kept: &Elements) -> bool {
        // Of several steps, those that are enough are needed.
        let chosen = self.state.workflows().chosen_needs(self.id, &step.name).map(|chosen| &chosen.ended);
        chosen.unwrap_or(&step.needs).iter().all(|name| match self.state(name) {
            Some(state) if state.is_taken_over => true,
            Some(state) if state.status == StepStatus::Skipped => {
                find(kept, name, None).is_some_and(|before| before.what == KeptAs::Skipped)
            }
            Some(_) | None => false,
        })
    }

    /// Returns true if a step would do the same as before: an answer counts only if the same question is asked.
    fn does_the_same(&self, step: &Step, taken: &TakenOverPart, ends: Ends) -> Result<bool, Reaction> {
        let is_repeated = step.repeat.is_some() || matches!(step.task, Task::Assert { .. });
        if is_repeated != taken.is_repeated || !runs(step, taken) {
            return Ok(false);
        }
        if taken.is_repeated && is_inquiry(step) {
            return Ok(false);
        }
        if !step.asks() {
            return Ok(taken.question.is_none());
        }
        match self.asked_digest(step, ends) {
            Ok(digest) => Ok(taken.question == Some(digest)),
            Err(StepError::Stuck(reaction)) => Err(reaction),
            // The reason it cannot be asked is reported when it is asked.
            Err(StepError::Fails(_)) => Ok(false),
        }
    }

    /// Returns the digest that an answer to the question of a step would be bound to.
    fn asked_digest(&self, step: &Step, ends: Ends) -> Result<Digest, StepError> {
        let Task::Action { action, with } = &step.task else {
            return Err(Reaction::Impossible("the step has no question".to_owned()).into());
        };
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let rendered = step.request_templates(with);
        let inputs = self.inputs_of(step, ends, rendered.reads())?;
        let scope = self.scope_of(step, &inputs, &rendered.expressions(), &mut budget)?;
        let asked = self.request_step(step, Nth::Only, action, with, &scope, &mut budget)?;
        let params = asked.body.and_then(|body| body.content).and_then(|content| Document::parse(content).ok());
        let params = params.ok_or_else(|| Reaction::Impossible("the parameters of a question are not JSON".to_owned()))?;
        Ok(question_digest(&params, &step.name, self.execution, self.with)?)
    }

    /// Begins a step over the same items as before; `None` if the items differ now.
    fn expanded_as_before(&self, step: &Step, list: Digest, ends: Ends) -> Result<Option<Draft>, Reaction> {
        let Some(each) = &step.for_each else { return Ok(None) };
        let mut draft = match self.expand(step, each, ends, &mut Budget::steps(EVALUATION_STEPS_MAX)) {
            Ok(draft) => draft,
            Err(StepError::Stuck(reaction)) => return Err(reaction),
            Err(StepError::Fails(_)) => return Ok(None),
        };
        if draft.body.as_ref().is_none_or(|body| body.digest != list) {
            return Ok(None);
        }
        if let Fact::StepExpanded(fact) = &mut draft.fact {
            fact.takes_over = true;
        }
        Ok(Some(draft))
    }
}

/// Returns true if a step asks people by the library's action, also if it does so for each of several items
/// or repeatedly.
fn is_inquiry(step: &Step) -> bool {
    matches!(&step.task, Task::Action { action, .. } if action.as_str() == INQUIRY)
}

fn runs(step: &Step, taken: &TakenOverPart) -> bool {
    match &step.task {
        Task::Action { action, .. } => taken.action.as_ref().is_none_or(|before| before == action),
        // It ran nothing, and says the same again about what is taken over.
        Task::Assert { .. } => taken.execution.is_none(),
        Task::Fail { .. } => false,
    }
}

/// Finds what is known about a step, or an item of it; the list is ascending.
fn find(kept: &Elements, step: &StepName, item: Option<u32>) -> Option<ReusableStep> {
    let (mut from, mut to) = (0, kept.len());
    while from < to {
        let middle = from + (to - from) / 2;
        let found: ReusableStep = serde_json::from_str(kept.get(middle)?.root().raw()).ok()?;
        match (&found.step, found.item).cmp(&(step, item)) {
            std::cmp::Ordering::Less => from = middle + 1,
            std::cmp::Ordering::Greater => to = middle,
            std::cmp::Ordering::Equal => return Some(found),
        }
    }
    None
}
