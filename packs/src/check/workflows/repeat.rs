//! Checks `repeat` against the results of its turns: conditions are true or false, and collected values are
//! lists.

use ensue_engine::catalog;
use ensue_expression::{Expression, ValueType};

use super::step_ends::KnownEnd;
use super::{Holds, Reader, Steps};
use crate::check::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fields::first_line;
use crate::syntax::Repeat;
use crate::yaml::Node;

impl Steps<'_> {
    /// Returns the scope of a turn: with the result of the previous turn, and the turn's number.
    pub(super) fn in_turn<'s>(&mut self, place: usize, scope: Scope<'s>) -> Scope<'s> {
        let result = self.result_of_turn(place);
        scope.with("previous", result.or_null()).with("iteration", ValueType::integer())
    }

    /// Compiles how a step is repeated. Returns `None` if there is an error, which is reported.
    pub(super) fn repeat(
        &mut self,
        place: usize,
        repeat: &Repeat,
        scope: &Scope<'_>,
        end: KnownEnd,
        report: &mut Report,
    ) -> Option<catalog::Repeat> {
        let result = self.result_of_turn(place);
        let before = self.in_turn(place, scope.clone()).with("result", result.clone().or_null());
        let after = self.in_turn(place, scope.clone()).with("result", result);
        let while_holds = repeat.while_holds.as_ref().map(|node| self.condition_of_turn(place, (node, "`while`"), &before, end, report));
        let until = repeat.until.as_ref().map(|node| self.condition_of_turn(place, (node, "`until`"), &after, end, report));
        let collect = repeat.collect.as_ref().map(|node| self.compile_collect(place, node, &after, end, report));
        let every = self.period(place, repeat.every.as_ref(), "`every`", &before, end, report);
        let optional = super::optional::<Expression>;
        Some(catalog::Repeat {
            while_holds: optional(while_holds)?,
            until: optional(until)?,
            every: super::optional(every)?,
            max: repeat.max,
            collect: optional(collect)?,
        })
    }

    fn result_of_turn(&mut self, place: usize) -> ValueType {
        match self.actions[place].as_ref() {
            Some((name, action)) => self.results.result(name, action.and_then(|action| action.result.as_ref())),
            None => ValueType::anything(),
        }
    }

    fn condition_of_turn(
        &mut self,
        place: usize,
        (node, name): (&Node, &str),
        scope: &Scope<'_>,
        end: KnownEnd,
        report: &mut Report,
    ) -> Option<Expression> {
        let reads = self.look(Reader::Step(place), scope, node, Holds::Expression, report);
        self.with_steps(scope.clone(), &reads, place, end).condition(node, name, report)
    }

    fn compile_collect(&mut self, place: usize, node: &Node, scope: &Scope<'_>, end: KnownEnd, report: &mut Report) -> Option<Expression> {
        let reads = self.look(Reader::Step(place), scope, node, Holds::Expression, report);
        let scope = self.with_steps(scope.clone(), &reads, place, end);
        let (collect, value) = scope.expression(node, "`collect`", report)?;
        if !value.is_unknown_or_nothing() && !value.overlaps(&ValueType::list(ValueType::anything())) {
            let span = first_line(&node.span, self.file);
            report
                .error(Code::TypeMismatch, self.file, span, format!("`collect` must be a list for each turn, not {value}"))
                .hint(format!("for a list with only this value, write `[{}]`", collect.source().trim()));
            return None;
        }
        Some(collect)
    }
}
