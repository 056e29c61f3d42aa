//! Checks `undo` and the names that it can read: those of the step and its result.

use ensue_engine::catalog;

use super::step_ends::KnownEnd;
use super::{Holds, Reader, Steps, readable_step};
use crate::check::literals::optional;
use crate::check::parameters::with;
use crate::check::scope::Scope;
use crate::diagnostics::Report;
use crate::syntax::Undo;

impl Steps<'_> {
    /// Compiles the undo of a step. Returns `None` if there is an error, which is reported. `scope` is that
    /// of the step's own values.
    pub(super) fn undo(
        &mut self,
        place: usize,
        undo: &Undo,
        scope: &Scope<'_>,
        end: KnownEnd,
        report: &mut Report,
    ) -> Option<catalog::Undo> {
        let gave = self.results.gave(readable_step(&self.written[place], self.actions[place].as_ref(), (None, None)));
        let scope = scope.clone().with("result", gave);
        let scope = match &undo.with {
            Some(node) => {
                let reads = self.look(Reader::Step(place), &scope, node, Holds::Value, report);
                self.with_steps(scope, &reads, place, end)
            }
            None => scope,
        };
        let timeout = self.period(place, undo.timeout.as_ref(), "`timeout`", &scope, end, report);
        let named = self.undo_actions[place].as_ref();
        let parameters = named.and_then(|(_, action)| action.as_ref()?.parameters.as_ref());
        let with = with(self.file, &undo.action, undo.with.as_ref(), parameters, &scope, report);
        let retry = match &undo.retry {
            Some(retry) if crate::check::retry::has_attempts(self.file, named, &undo.action.span, "the `undo`", report) => {
                Some(crate::check::retry::retry(self.file, retry, report)?)
            }
            Some(_) => return None,
            None => None,
        };
        Some(catalog::Undo { action: named?.0.clone(), with: with?, retry, timeout: optional(timeout)? })
    }
}
