//! The beginning of a step: it is taken over, skipped, failed or started, once the steps that it needs have ended.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Explanation, Expression, Template};

use crate::catalog::{ALWAYS, Enough, FAILED, Rest, StartsIf, Step, Task, WhenCancelled, WhenFailing};
use crate::executions::facts::{ExplainedPart, Failure, FailureKind};
use crate::fact::Fact;
use crate::names::StepName;
use crate::reaction::Reaction;
use crate::record::Draft;
use crate::workflows::facts::{PartRole, SkippedBecause, StepChosen, StepEnded, StepFailed, StepSkipped};
use crate::workflows::inputs::Ends;
use crate::workflows::react::ends_asked_for;
use crate::workflows::run::{Nth, StepError, WorkflowRun};
use crate::workflows::state::StepStatus;

/// The maximum size of the explanation of a condition in bytes, as JSON.
const EXPLAINED_BYTES_MAX: usize = 4 * 1024;

/// The maximum size of a message together with such an explanation in bytes, as JSON: both are in one record.
const EXPLAINED_MESSAGE_BYTES_MAX: usize = 12 * 1024;

impl WorkflowRun<'_> {
    /// Returns the record with which a step that has not begun does so, or ends; `None` if it has to wait for steps
    /// that it needs.
    pub(super) fn due(&self, step: &Step) -> Result<Option<Draft>, Reaction> {
        let ends = match &step.enough {
            None => self.ends_of_needs(&step.needs),
            Some(enough) => match self.state.workflows().chosen_needs(self.id, &step.name) {
                Some(chosen) => self.ends_of_needs(&chosen.ended),
                None => match self.choose(step, enough) {
                    Choice::Open => None,
                    // A step that is skipped in any case ends no others.
                    Choice::Made(_) if self.why_stopped(step).is_some() => Some(Ends { succeeded: true, failed: false }),
                    Choice::Made(fact) => return Ok(Some(self.draft(fact.into(), None))),
                    Choice::InVain => Some(Ends { succeeded: false, failed: false }),
                },
            },
        };
        ends.map(|ends| self.begin(step, ends)).transpose()
    }

    /// Returns whether enough of the steps that a step needs have ended as it requires.
    fn choose(&self, step: &Step, enough: &Enough) -> Choice {
        let status = |name: &StepName| self.state(name).map_or(StepStatus::Running, |state| state.status);
        let fits = |name: &&StepName| counted_ends(step).includes(status(name));
        let ended: Vec<StepName> = step.needs.iter().filter(fits).cloned().collect();
        let open = step.needs.iter().filter(|name| !status(name).is_end()).count();
        let count = (enough.count as usize).min(step.needs.len());
        if ended.len() < count {
            return if ended.len() + open < count { Choice::InVain } else { Choice::Open };
        }
        let is_rest = |name: &&StepName| !ended.contains(name);
        let cancelled = match enough.rest {
            Rest::GoesOn => Vec::new(),
            Rest::IsCancelled => step.needs.iter().filter(is_rest).cloned().collect(),
        };
        Choice::Made(StepChosen { step: step.name.clone(), ended, cancelled })
    }

    /// Asks the executions of the steps that a step no longer needs to end, a limited number at once.
    pub(super) fn rest_asked_to_end(&self, name: &StepName) -> Vec<Draft> {
        let Some(chosen) = self.state.workflows().chosen_needs(self.id, name) else { return Vec::new() };
        let open = self.state.workflows().unasked_of(self.id, &chosen.cancelled, self.state.executions());
        ends_asked_for(self.state, open, self.execution, self.record)
    }

    /// Returns how these steps have ended; `None` if one has not.
    fn ends_of_needs(&self, needs: &[StepName]) -> Option<Ends> {
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
    fn why_stopped(&self, step: &Step) -> Option<SkippedBecause> {
        let may_start = match self.progress.cancels {
            0 => true,
            1 => step.starts.when_cancelled() == WhenCancelled::MayStart,
            _ => false,
        };
        if !may_start || self.state.workflows().is_dropped(self.id, &step.name) {
            return Some(SkippedBecause::Cancelled);
        }
        let is_failing = self.progress.failing.is_some() && step.starts.when_failing() == WhenFailing::IsSkipped;
        is_failing.then_some(SkippedBecause::Failing)
    }

    /// Returns the record with which a step begins, or ends at once, given how those that it needs have ended.
    fn begin(&self, step: &Step, ends: Ends) -> Result<Draft, Reaction> {
        let skipped = |because| Ok(self.draft(StepSkipped { step: step.name.clone(), because }.into(), None));
        let stopped = self.why_stopped(step);
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
        match self.draft_start(step, ends) {
            Ok(Some(draft)) => Ok(draft),
            Ok(None) => skipped(SkippedBecause::Condition),
            Err(StepError::Fails(error)) => failed(error),
            Err(StepError::Stuck(reaction)) => Err(reaction),
        }
    }

    /// Returns the record that starts a step; `None` if its condition is false.
    fn draft_start(&self, step: &Step, ends: Ends) -> Result<Option<Draft>, StepError> {
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        if let Some(condition) = step.starts.condition() {
            let inputs = self.inputs_of(step, ends, condition.reads())?;
            if !condition.holds(&self.scope_of(step, &inputs, &[condition], &mut budget)?, &mut budget)? {
                return Ok(None);
            }
        }
        if let Some(watch) = self.next_watch(step) {
            return Ok(Some(self.wait_opened(step, watch, ends)?));
        }
        if self.state.workflows().cancelled_by(self.id, &step.name).is_some() {
            let fact = StepSkipped { step: step.name.clone(), because: SkippedBecause::Event };
            return Ok(Some(self.draft(fact.into(), None)));
        }
        if let Some(each) = &step.for_each {
            return self.expand(step, each, ends, &mut budget).map(Some);
        }
        if let Some(repeat) = &step.repeat {
            return self.first_turn(step, repeat, ends).map(Some);
        }
        match &step.task {
            Task::Action { action, with } => {
                let rendered = step.request_templates(with);
                let inputs = self.inputs_of(step, ends, rendered.reads())?;
                let scope = self.scope_of(step, &inputs, &rendered.expressions(), &mut budget)?;
                self.request_step(step, Nth::Only, action, with, &scope, &mut budget).map(Some)
            }
            Task::Fail { message } => {
                let message = self.message(step, message, ends, &mut budget)?;
                Err(StepError::Fails(Failure::new(FailureKind::Fail, message)))
            }
            Task::Assert { condition, message } => self.check_assertion(step, condition, message.as_ref(), ends).map(Some),
        }
    }

    /// Returns the end of a step whose condition is true.
    fn check_assertion(&self, step: &Step, condition: &Expression, message: Option<&Template>, ends: Ends) -> Result<Draft, StepError> {
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let inputs = self.inputs_of(step, ends, condition.reads())?;
        let scope = self.scope_of(step, &inputs, &[condition], &mut budget)?;
        if condition.holds(&scope, &mut budget)? {
            let fact = StepEnded { step: step.name.clone(), error: None, on_failure: step.on_failure, role: PartRole::Step };
            return Ok(self.draft(fact.into(), None));
        }
        let explanation = condition.explain(&scope, &mut Budget::steps(EVALUATION_STEPS_MAX));
        let message = match message {
            Some(message) => self.message(step, message, ends, &mut Budget::steps(EVALUATION_STEPS_MAX))?,
            None => format!("`{}` is false", explanation.root.source),
        };
        let failure = Failure::new(FailureKind::Assertion, message);
        let explained = explained_parts(&explanation, &failure.message);
        Err(StepError::Fails(Failure { explained, ..failure }))
    }

    /// Returns a message as text.
    fn message(&self, step: &Step, message: &Template, ends: Ends, budget: &mut Budget) -> Result<String, StepError> {
        let inputs = self.inputs_of(step, ends, message.reads())?;
        let message = message.render(&self.scope_of(step, &inputs, &message.expressions(), budget)?, budget)?;
        Ok(message.as_str().map_or_else(|| message.to_string(), str::to_owned))
    }
}

/// Whether enough of the steps that a step needs have ended.
enum Choice {
    /// Not yet.
    Open,
    /// They have.
    Made(StepChosen),
    /// They never will.
    InVain,
}

/// The ends of needed steps that count for a step of which some are enough.
#[derive(Clone, Copy)]
enum CountedEnds {
    Success,
    Failure,
    Anything,
}

impl CountedEnds {
    fn includes(self, status: StepStatus) -> bool {
        match self {
            Self::Success => status == StepStatus::Succeeded,
            Self::Failure => matches!(status, StepStatus::Failed | StepStatus::TimedOut),
            Self::Anything => status.is_end(),
        }
    }
}

/// Returns which ends the condition of a step asks for.
fn counted_ends(step: &Step) -> CountedEnds {
    let calls = |condition: &Expression, function: &str| condition.reads().iter().any(|path| path.segments[0] == function);
    match &step.starts {
        StartsIf::Holds { condition, .. } if calls(condition, ALWAYS) => CountedEnds::Anything,
        StartsIf::Holds { condition, .. } if calls(condition, FAILED) => CountedEnds::Failure,
        StartsIf::Succeeded | StartsIf::SucceededAnd(_) | StartsIf::Holds { .. } => CountedEnds::Success,
    }
}

/// Returns the parts of a condition with their values, the whole first, as far as the record has space for them.
fn explained_parts(explanation: &Explanation, message: &str) -> Vec<ExplainedPart> {
    let length = |text: &str| serde_json::Value::from(text).to_string().len();
    let mut left = EXPLAINED_BYTES_MAX.min(EXPLAINED_MESSAGE_BYTES_MAX.saturating_sub(length(message)));
    let mut found: Vec<ExplainedPart> = Vec::new();
    let mut open = vec![&explanation.root];
    while let Some(part) = open.pop() {
        open.extend(part.parts.iter().rev());
        let shown = ExplainedPart { part: part.source.clone(), value: part.outcome.to_string() };
        // A literal is its own value.
        if shown.part == shown.value || found.contains(&shown) {
            continue;
        }
        let bytes = length(&shown.part) + length(&shown.value) + r#"{"part":,"value":},"#.len();
        if bytes > left {
            break;
        }
        left -= bytes;
        found.push(shown);
    }
    found
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
