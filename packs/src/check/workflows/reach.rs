//! Determines how each step can end, and so which steps never start.
//!
//! Only certain findings are reported, and where they arise: the consequences of a step that was switched off
//! are intended.

use ensue_engine::catalog::{ALWAYS, FAILED, OnFailure, SUCCEEDED, StartsIf};
use ensue_expression::{Expression, Value, ValueType};

use super::step_ends::KnownEnd;
use super::{Reader, Steps};
use crate::check::scope::{Holds, Scope};
use crate::diagnostics::{Code, Report};
use crate::fields::first_line;
use crate::syntax::StepTask;

/// How a step can end, besides skipped and cancelled, which every step can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CanEnd {
    well: bool,
    badly: bool,
}

impl CanEnd {
    /// Nothing is known.
    pub(super) const ANYHOW: Self = Self { well: true, badly: true };
    /// It never starts.
    const NEVER: Self = Self { well: false, badly: false };
}

/// Returns the scope of a step's `if`, with the functions that check how the steps it needs ended.
pub(super) fn asking<'s>(plain: &Scope<'s>) -> Scope<'s> {
    let functions = [SUCCEEDED, FAILED, ALWAYS];
    functions.into_iter().fold(plain.clone(), |scope, function| scope.with(function, ValueType::boolean()))
}

impl Steps<'_> {
    /// Determines how a step can end; reports one that never starts. Without `starts`, nothing is known of
    /// its `if`.
    pub(super) fn ends_of(&mut self, place: usize, starts: Option<&StartsIf>, plain: &Scope<'_>, report: &mut Report) -> CanEnd {
        let can_start = match starts {
            Some(starts) if self.graph.is_whole => self.can_start(place, starts, plain, report),
            Some(_) | None => true,
        };
        match &self.written[place].task {
            _ if !can_start => CanEnd::NEVER,
            Some(StepTask::Fail { .. }) => CanEnd { well: false, badly: true },
            Some(StepTask::Action { .. } | StepTask::Inquiry(_) | StepTask::Wait(_) | StepTask::Sleep { .. } | StepTask::Assert { .. })
            | None => CanEnd::ANYHOW,
        }
    }

    fn can_start(&mut self, place: usize, starts: &StartsIf, plain: &Scope<'_>, report: &mut Report) -> bool {
        let ends = |needed: &usize| self.can_end[*needed];
        let is_passed_over = |needed: &usize| self.written[*needed].on_failure == OnFailure::Continue && ends(needed).badly;
        let needs = self.graph.needs(place);
        let can_succeed = match &self.written[place].enough {
            Some(enough) => needs.iter().filter(|needed| ends(needed).well).count() >= enough.count as usize,
            None => needs.iter().all(|needed| ends(needed).well || is_passed_over(needed)),
        };
        let can_fail = needs.iter().any(|needed| ends(needed).badly);
        let condition = match starts {
            StartsIf::Succeeded | StartsIf::SucceededAnd(_) if !can_succeed => {
                self.report_failing_need(place, report);
                return false;
            }
            StartsIf::Succeeded => return true,
            StartsIf::SucceededAnd(condition) | StartsIf::Holds { condition, .. } => condition,
        };
        let given = |can_be: bool, must_be: bool| match (can_be, must_be) {
            (true, true) => ValueType::of_value(&Value::Bool(true)),
            (true, false) => ValueType::boolean(),
            (false, _) => ValueType::of_value(&Value::Bool(false)),
        };
        let is_first = needs.is_empty();
        let decided = plain
            .clone()
            .with(SUCCEEDED, given(can_succeed, is_first))
            .with(FAILED, given(can_fail, false))
            .with(ALWAYS, given(true, true));
        let end = if let StartsIf::Holds { .. } = starts { KnownEnd::Any } else { KnownEnd::Success };
        if self.may_hold(place, condition, (decided, end), report) {
            return true;
        }
        // A condition that is never true by itself has been reported, or is intended.
        if self.may_hold(place, condition, (asking(plain), KnownEnd::Any), report) {
            match starts {
                StartsIf::Holds { .. } => self.report_if_in_vain(place, condition, report),
                StartsIf::Succeeded | StartsIf::SucceededAnd(_) => self.report_if_after_success(place, report),
            }
        }
        false
    }

    fn may_hold(&mut self, place: usize, condition: &Expression, (scope, end): (Scope<'_>, KnownEnd), report: &mut Report) -> bool {
        let Some(node) = &self.written[place].condition else { return true };
        // What it reads was reported when it was compiled.
        let reads = self.look(Reader::Step(place), &scope, node, Holds::Expression, &mut Report::default());
        self.with_steps(scope, &reads, place, end).may_hold(condition, report)
    }

    /// Reports a step that starts only if all steps it needs succeeded, and needs one that always fails.
    fn report_failing_need(&self, place: usize, report: &mut Report) {
        let step = &self.written[place];
        for needed in step.needs.iter().flatten() {
            let Some(failing) = self.graph.place(&needed.value).map(|place| &self.written[place]) else { continue };
            if matches!(failing.task, Some(StepTask::Fail { .. })) && failing.on_failure.fails() {
                let message =
                    format!("the step `{}` never starts: it needs `{}`, which fails or is skipped", step.name.value, needed.value);
                report.warning(Code::StepNeverStarts, self.file, needed.span.clone(), message).hint(unless_failed(&needed.value));
                return;
            }
        }
    }

    fn report_if_after_success(&self, place: usize, report: &mut Report) {
        let (Some(node), name) = (&self.written[place].condition, &self.written[place].name.value) else { return };
        let span = first_line(&node.span, self.file);
        let message = format!(
            "the step `{name}` never starts: its `if` is evaluated only if all steps that it needs succeeded, and is never true then"
        );
        report
            .warning(Code::StepNeverStarts, self.file, span, message)
            .hint("to evaluate the `if` after a failure too, begin it with `failed() &&` or `always() &&`");
    }

    fn report_if_in_vain(&self, place: usize, condition: &Expression, report: &mut Report) {
        let step = &self.written[place];
        let Some(node) = &step.condition else { return };
        let span = first_line(&node.span, self.file);
        if self.graph.needs(place).is_empty() && condition.reads().iter().any(|path| path.segments[0] == FAILED) {
            let message = format!(
                "the step `{}` never starts: `failed()` is true only if a step that it needs failed, and it needs none",
                step.name.value
            );
            report
                .warning(Code::StepNeverStarts, self.file, span, message)
                .hint("name the step whose failure it handles, for example\nneeds: [build]");
        } else if self.graph.needs(place).iter().any(|needed| matches!(self.written[*needed].task, Some(StepTask::Fail { .. }))) {
            let message =
                format!("the step `{}` never starts: it calls `succeeded()`, but needs a step that fails or is skipped", step.name.value);
            let failing = step.needs.iter().flatten().find(|needed| {
                self.graph.place(&needed.value).is_some_and(|place| matches!(self.written[place].task, Some(StepTask::Fail { .. })))
            });
            let hint = failing.map_or_else(String::new, |needed| unless_failed(&needed.value));
            report.warning(Code::StepNeverStarts, self.file, span, message).hint(hint);
        }
    }
}

/// Returns how to start a step that needs a guard: a step that fails or is skipped.
fn unless_failed(guard: &str) -> String {
    format!(
        "to start it unless `{guard}` fails, let it also need the steps that `{guard}` needs, and write\n\
         if: \"!failed()\"\n\
         with `if: always()`, it also starts after a failure and after a cancellation"
    )
}
