//! Macros over lists and maps: the types of their variables, and the outcome of their bodies.

use super::infer::is_walkable;
use super::{Checker, FindingKind, InferredPart, Reads};
use crate::ast::{Expr, Loop, LoopKind, Span, Variables};
use crate::functions::signature::{BOOL, INT, LIST, MAP, ORDERED, STRING, UINT};
use crate::types::{Holds, ListType, MapType, Others, Range, Truths, ValueType};

/// The values of the variables in one turn.
struct TurnTypes {
    element: ValueType,
    key: ValueType,
    value: ValueType,
}

impl<'c> Checker<'c> {
    pub(super) fn turns(&mut self, range: &ValueType, turns: &'c Loop, span: Span) -> (ValueType, Reads) {
        if !is_walkable(range) {
            let message = format!("a macro needs a list or a map to iterate over, not {range}");
            self.report(FindingKind::Unfit, span, message, None);
            return (ValueType::nothing(), Reads::Names);
        }
        let turn = self.turn_of(range);
        let len = if range.kinds() == LIST { range.list_known().and_then(|list| list.len) } else { None };
        let element = turn.element.clone();
        let is_text_keyed = range.kinds() == MAP && turn.key.kinds() == STRING;
        let outer = self.locals.len();
        match turns.variables {
            Variables::One => self.locals.push(turn.element),
            Variables::Two => self.locals.extend([turn.key, turn.value]),
        }
        let filter = turns.filter.as_ref().map(|filter| self.condition(filter));
        let body = self.body(turns.kind, &turns.body);
        self.locals.truncate(outer);
        let reads = self.outside(Reads::Nothing, filter.map_or(body.1, |(_, reads)| reads.max(body.1)));
        let is_run = len.is_some_and(|len| len > 0);
        (outcome(turns, &body.0, &LoopRange { element, len: len.filter(|_| filter.is_none()), is_run, is_text_keyed }), reads)
    }

    fn turn_of(&mut self, range: &ValueType) -> TurnTypes {
        let mut turn = TurnTypes { element: ValueType::nothing(), key: ValueType::nothing(), value: ValueType::nothing() };
        if range.can_be(LIST) {
            turn.element = range.element();
            turn.key = ValueType::within(INT, Range::natural());
            turn.value = range.element();
        }
        if range.can_be(MAP) {
            let is_text_keyed = range.map_known().is_some() || range.below() == ValueType::json();
            let key = if is_text_keyed { ValueType::text() } else { ValueType::of_computed(STRING.or(INT).or(UINT).or(BOOL)) };
            turn.element = self.join(turn.element, key.clone());
            turn.key = turn.key.or(key);
            let field = self.any_field(range);
            turn.value = self.join(turn.value, field);
        }
        turn
    }

    /// Returns the values that any field of a map can have.
    pub(super) fn any_field(&mut self, value: &ValueType) -> ValueType {
        let Some(map) = value.map_known() else { return value.below() };
        let others = match map.others() {
            Others::None => ValueType::nothing(),
            Others::Undeclared => return ValueType::anything(),
            Others::Are(others) => others.clone(),
        };
        map.fields().values().fold(others, |all, field| self.join(all, field.value.clone()))
    }

    fn body(&mut self, kind: LoopKind, body: &'c Expr) -> (ValueType, Reads) {
        match kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne | LoopKind::Filter => {
                let (truths, reads) = self.condition(body);
                (ValueType::truths(truths), reads)
            }
            LoopKind::List | LoopKind::Map => {
                let InferredPart { value, reads } = self.value(body);
                (value, reads)
            }
            LoopKind::Entries => {
                let InferredPart { value, reads } = self.value(body);
                if !value.is_nothing() && !value.can_be(MAP) {
                    let message = format!("each iteration must return a map of entries, not {value}");
                    self.report(FindingKind::Unfit, body.span, message, Some("write `{new_key: new_value}`".to_owned()));
                }
                (value.only(MAP), reads)
            }
            LoopKind::SortBy => {
                let InferredPart { value, reads } = self.value(body);
                if !value.is_nothing() && !value.can_be(ORDERED) {
                    self.report(FindingKind::Unfit, body.span, format!("elements cannot be sorted by {value}, which has no order"), None);
                }
                (value.only(ORDERED), reads)
            }
        }
    }
}

/// What a macro iterates over.
struct LoopRange {
    element: ValueType,
    /// The number of turns if all of them count and the number is known.
    len: Option<usize>,
    /// Whether there is at least one turn.
    is_run: bool,
    /// Whether all keys are texts.
    is_text_keyed: bool,
}

fn outcome(turns: &Loop, body: &ValueType, over: &LoopRange) -> ValueType {
    let (yes, no) = (body.can_be_truth(true), body.can_be_truth(false));
    match turns.kind {
        LoopKind::All => ValueType::truths(Truths { yes: yes || !over.is_run, no }),
        LoopKind::Exists => ValueType::truths(Truths { yes, no: no || !over.is_run }),
        LoopKind::ExistsOne => ValueType::boolean(),
        LoopKind::List => {
            let len = over.len.filter(|_| turns.filter.is_none());
            if body.is_nothing() && over.is_run && turns.filter.is_none() {
                return ValueType::nothing();
            }
            ValueType::list_type(ListType { element: body.clone(), len, holds: Holds::Some })
        }
        LoopKind::Filter | LoopKind::SortBy => ValueType::list(over.element.clone()),
        LoopKind::Map if over.is_text_keyed => ValueType::map(MapType::new(Others::Are(body.clone()))),
        LoopKind::Map | LoopKind::Entries => ValueType::of_computed(MAP),
    }
}
