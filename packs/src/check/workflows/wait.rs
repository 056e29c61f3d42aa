//! Checks `wait` and `cancel_when` against their triggers, and the names that it can read when its event arrives.

use ensue_engine::catalog::{self, Since};
use ensue_engine::names::TriggerRef;
use ensue_expression::{Expression, ValueType};

use super::step_ends::KnownEnd;
use super::{Holds, Reader, Steps};
use crate::check::Checking;
use crate::check::literals::optional;
use crate::check::refs::trigger_named;
use crate::check::roots::event;
use crate::check::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::source::SourceText;
use crate::syntax::{CancelWhen, Wait};
use crate::yaml::{Node, WithSpan};

/// Finds the trigger of an event that a step watches for. Returns it with the type of the event.
pub(super) fn event_of(
    checking: &mut Checking<'_>,
    file: &SourceText,
    trigger: &WithSpan<String>,
    report: &mut Report,
) -> Option<(TriggerRef, ValueType)> {
    let named = trigger_named(checking, file, trigger, report)?;
    let event = event(checking, &[Some(named.clone())]);
    Some((named.0, event))
}

impl Steps<'_> {
    /// Compiles the wait of a step. Returns `None` if there is an error, which is reported. `plain` is the
    /// scope at the beginning of the workflow, `scope` the step's.
    pub(super) fn wait(
        &mut self,
        place: usize,
        wait: &Wait,
        plain: &Scope<'_>,
        scope: &Scope<'_>,
        end: KnownEnd,
        report: &mut Report,
    ) -> Option<catalog::Wait> {
        let found = self.events[place].clone();
        let when = self.when(place, (wait.when.as_ref(), wait.since, found.as_ref()), (plain, scope), end, report)?;
        let expires = self.period(place, wait.expires.as_ref(), "`expires`", scope, end, report);
        Some(catalog::Wait { trigger: found?.0, when, since: wait.since, expires: optional(expires)?, on_expire: wait.on_expire })
    }

    /// Compiles the event that cancels a step. Returns `None` if there is an error, which is reported.
    pub(super) fn cancel_when(
        &mut self,
        place: usize,
        cancel: &CancelWhen,
        scopes: (&Scope<'_>, &Scope<'_>),
        end: KnownEnd,
        report: &mut Report,
    ) -> Option<catalog::CancelWhen> {
        let found = self.cancel_events[place].clone();
        let when = self.when(place, (cancel.when.as_ref(), cancel.since, found.as_ref()), scopes, end, report)?;
        Some(catalog::CancelWhen { trigger: found?.0, when, since: cancel.since })
    }

    /// Compiles the condition for an event. Returns `None` if there is an error, which is reported.
    fn when(
        &mut self,
        place: usize,
        (when, since, found): (Option<&Node>, Since, Option<&(TriggerRef, ValueType)>),
        (plain, scope): (&Scope<'_>, &Scope<'_>),
        end: KnownEnd,
        report: &mut Report,
    ) -> Option<Option<Expression>> {
        let event = found.map_or_else(ValueType::anything, |(_, event)| event.clone());
        let Some(node) = when else { return Some(None) };
        if since == Since::Start {
            let scope = plain.clone().with("event", event);
            if self.report_step_reads(node, &scope, report) {
                return None;
            }
            return scope.condition(node, "`when`", report).map(Some);
        }
        let scope = scope.clone().with("event", event);
        let reads = self.look(Reader::Step(place), &scope, node, Holds::Expression, report);
        self.with_steps(scope, &reads, place, end).condition(node, "`when`", report).map(Some)
    }

    /// Reports a condition that reads steps but is evaluated before any has ended.
    fn report_step_reads(&self, node: &Node, scope: &Scope<'_>, report: &mut Report) -> bool {
        let scope = scope.clone().with("steps", ValueType::anything());
        let read = scope.reads(node, Holds::Expression, report).into_iter().find(|(path, _)| path.segments[0] == "steps");
        let Some((_, span)) = read else { return false };
        let message = "events count from the beginning of the workflow, when no step has ended";
        report.error(Code::StepNotNeeded, self.file, span, message).hint("let them count from the beginning of the step:\nsince: step");
        true
    }
}
