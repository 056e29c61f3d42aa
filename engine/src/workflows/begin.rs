//! The beginning of a step: it is taken over, skipped, failed or started, once the steps that it needs have ended.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX};

use crate::catalog::{StartsIf, Step, Task, WhenCancelled, WhenFailing};
use crate::executions::facts::{Failure, FailureKind};
use crate::fact::Fact;
use crate::names::StepName;
use crate::reaction::Reaction;
use crate::record::Draft;
use crate::workflows::facts::{SkippedBecause, StepFailed, StepSkipped};
use crate::workflows::inputs::Ends;
use crate::workflows::run::{Nth, StepError, WorkflowRun};
use crate::workflows::state::StepStatus;

impl WorkflowRun<'_> {
    /// Returns how the steps that a step needs have ended; `None` if one has not.
    pub(super) fn ends_of_needs(&self, step: &Step) -> Option<Ends> {
        let needs = &step.needs;
        if !self.have_ended(needs) {
            return None;
        }
        let mut ends = Ends { succeeded: true, failed: false };
        for name in needs {
            let (needed, state) = self.workflow.step(name).zip(self.state(name))?;
            match state.status {
                StepStatus::Running => return None,
                StepStatus::Succeeded => {}
                StepStatus::Failed | StepStatus::TimedOut => {
                    ends.failed = true;
                    ends.succeeded &= !needed.on_failure.fails();
                }
                StepStatus::Cancelled => ends.succeeded &= !needed.on_failure.fails(),
                StepStatus::Skipped => ends.succeeded = false,
            }
        }
        Some(ends)
    }

    /// Returns true if all these steps have ended. Each of them asks when it ends, so this must be quick if
    /// thousands are needed: the search jumps about, so that it soon finds a step that has not ended, in
    /// whatever order they end.
    fn have_ended(&self, needs: &[StepName]) -> bool {
        let stride = stride(needs.len());
        self.progress.ended as usize >= needs.len()
            && (0..needs.len())
                .map(|turn| &needs[turn * stride % needs.len()])
                .all(|name| self.state(name).is_some_and(|state| state.status.is_end()))
    }

    /// Returns why nothing of a step may start, if the workflow was canceled or is failing.
    fn stopped(&self, step: &Step) -> Option<SkippedBecause> {
        let may_start = match self.progress.cancels {
            0 => true,
            1 => step.starts.when_cancelled() == WhenCancelled::MayStart,
            _ => false,
        };
        if !may_start {
            return Some(SkippedBecause::Cancelled);
        }
        let is_failing = self.progress.failing.is_some() && step.starts.when_failing() == WhenFailing::IsSkipped;
        is_failing.then_some(SkippedBecause::Failing)
    }

    /// Returns the record with which a step begins, or ends at once, given how those that it needs have ended.
    pub(super) fn begin(&self, step: &Step, ends: Ends) -> Result<Draft, Reaction> {
        let skipped = |because| Ok(self.draft(StepSkipped { step: step.name.clone(), because }.into(), None));
        let stopped = self.stopped(step);
        // Taking over costs nothing, and a rerun of this execution would have to run again whatever is not
        // taken over now. But a step with items may still have items to run.
        let taken_over = self.taken_over(step, ends)?;
        if let Some(taken_over) = taken_over.filter(|draft| stopped.is_none() || !matches!(draft.fact, Fact::StepExpanded(_))) {
            return Ok(taken_over);
        }
        if let Some(because) = stopped {
            return skipped(because);
        }
        if !ends.succeeded && matches!(step.starts, StartsIf::Succeeded | StartsIf::SucceededAnd(_)) {
            return skipped(SkippedBecause::Needs);
        }
        let on_failure = step.on_failure;
        let failed = |error| Ok(self.draft(StepFailed { step: step.name.clone(), item: None, error, on_failure }.into(), None));
        match self.started(step, ends) {
            Ok(Some(draft)) => Ok(draft),
            Ok(None) => skipped(SkippedBecause::Condition),
            Err(StepError::Fails(error)) => failed(error),
            Err(StepError::Stuck(reaction)) => Err(reaction),
        }
    }

    /// Returns the record that starts a step; `None` if its condition is false.
    fn started(&self, step: &Step, ends: Ends) -> Result<Option<Draft>, StepError> {
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        if let Some(condition) = step.starts.condition() {
            let inputs = self.inputs(ends, &condition.reads())?;
            if !condition.holds(&self.scope(&inputs, &[condition], &mut budget)?, &mut budget)? {
                return Ok(None);
            }
        }
        if let Some(wait) = step.wait.as_ref().filter(|_| self.state.workflows().waits().get(self.id, &step.name).is_none()) {
            return Ok(Some(self.wait_opened(step, wait, ends)?));
        }
        if let Some(each) = &step.for_each {
            return self.expanded(step, each, ends, &mut budget).map(Some);
        }
        if let Some(repeat) = &step.repeat {
            return self.first_turn(step, repeat, ends).map(Some);
        }
        match &step.task {
            Task::Action { action, with } => {
                let inputs = self.inputs(ends, &with.reads())?;
                let scope = self.scope(&inputs, &with.expressions(), &mut budget)?;
                self.requested(step, Nth::Only, action, with, &scope, &mut budget).map(Some)
            }
            Task::Fail { message } => {
                let inputs = self.inputs(ends, &message.reads())?;
                let message = message.render(&self.scope(&inputs, &message.expressions(), &mut budget)?, &mut budget)?;
                let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
                Err(StepError::Fails(Failure::new(FailureKind::Fail, message)))
            }
        }
    }
}

/// Returns the length of jumps that reach each of `count` places once and spread them early: about 0.6 of
/// all, without a common divisor.
fn stride(count: usize) -> usize {
    let has_common_divisor = |stride: &usize| {
        let (mut larger, mut smaller) = (count, *stride);
        while smaller > 0 {
            (larger, smaller) = (smaller, larger % smaller);
        }
        larger > 1
    };
    (count * 618 / 1000 + 1..).find(|stride| !has_common_divisor(stride)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn stride_visits_each_index_once() {
        for count in 1..500 {
            let reached: BTreeSet<usize> = (0..count).map(|turn| turn * stride(count) % count).collect();
            assert_eq!(reached.len(), count, "{count}");
        }
    }

    #[test]
    fn stride_quickly_finds_the_last_remaining_index() {
        let count: usize = 10_000;
        for gone in [0, 5_000, 9_000, 9_900] {
            for shift in [0, count - gone] {
                let is_left = |place: usize| !(shift..shift + gone).contains(&place);
                let tries = (0..count).position(|turn| is_left(turn * stride(count) % count)).unwrap();
                assert!(tries <= 4 * count / (count - gone), "{gone} of {count} gone from {shift}: {tries} tries");
            }
        }
    }
}
