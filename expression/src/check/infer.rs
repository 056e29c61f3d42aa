//! Determines what each kind of part can return.

use super::facts::Weight;
use super::{Checker, FindingKind, InferredPart, Reads, Truth};
use crate::ast::{Choose, Element, Entry, Expr, Kind, LinkKind, Presence, Span, Times};
use crate::error::{ErrorKind, Fault};
use crate::evaluate::Evaluation;
use crate::functions::signature::{BOOL, DOUBLE, INT, LIST, MAP, NUMBER, OPTIONAL, STRING, UINT};
use crate::scope::Scope;
use crate::types::{MapType, Occurrence, Others, Truths, ValueType};
use crate::value::Value;

impl<'c> Checker<'c> {
    pub(super) fn value(&mut self, expr: &'c Expr) -> InferredPart {
        self.steps += 1;
        if self.steps > self.steps_max {
            return InferredPart { value: ValueType::anything(), reads: Reads::Names };
        }
        let before = self.mark();
        match &expr.kind {
            Kind::Literal(literal) => InferredPart { value: ValueType::of_value(&literal.value()), reads: Reads::Nothing },
            Kind::Type(kind) => InferredPart { value: ValueType::of_value(&Value::Type(*kind)), reads: Reads::Nothing },
            Kind::Root(name) => InferredPart { value: self.root(name), reads: Reads::Names },
            Kind::Local(index) => InferredPart { value: self.local(*index), reads: Reads::Locals },
            Kind::Chain(chain) => {
                let known = self.chain(chain, chain.links.len());
                let known = self.fold_constant(expr, known);
                // A field that is known to be true is not a test; a method that returns true is.
                match chain.links.last().map(|link| &link.kind) {
                    Some(LinkKind::Call(_) | LinkKind::Loop(_)) => self.report_if_constant(expr, known, before),
                    _ => known,
                }
            }
            Kind::Call(call) => {
                let known = self.call(call, None, expr.span);
                let known = self.fold_constant(expr, known);
                self.report_if_constant(expr, known, before)
            }
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::All(operands) => self.junction(expr, operands, Truth::True, before),
            Kind::Any(operands) => self.junction(expr, operands, Truth::False, before),
            Kind::Not(operand, times) => {
                let (truths, reads) = self.condition(operand);
                let truths = if times % 2 == 1 { truths.negate() } else { truths };
                InferredPart { value: ValueType::truths(truths), reads }
            }
            Kind::Negate(operand, times) => {
                let known = self.negate(expr, operand, *times);
                self.fold_constant(expr, known)
            }
            Kind::Fold(fold) => {
                let known = self.fold(fold);
                let known = self.fold_constant(expr, known);
                self.report_if_constant(expr, known, before)
            }
            Kind::Choose(choose) => self.choose(choose),
            Kind::Has(chain) => {
                let known = self.has(chain);
                self.report_if_constant(expr, known, before)
            }
            Kind::Bind(parts) => {
                let bound = self.value(&parts.0);
                if bound.value.is_nothing() {
                    return bound;
                }
                self.locals.push(bound.value);
                let body = self.value(&parts.1);
                self.locals.pop();
                InferredPart { value: body.value, reads: self.outside(bound.reads, body.reads) }
            }
        }
    }

    /// Returns whether a part that must be true or false can be each of them, and what it reads.
    pub(super) fn condition(&mut self, expr: &'c Expr) -> (Truths, Reads) {
        let InferredPart { value, reads } = self.value(expr);
        if !value.is_nothing() && !value.can_be(BOOL) {
            let hint = self.condition_hint(expr, &value);
            self.report(FindingKind::NotBoolean, expr.span, format!("expected true or false, not {value}"), hint);
        }
        (Truths { yes: value.can_be_truth(true), no: value.can_be_truth(false) }, reads)
    }

    fn root(&mut self, name: &str) -> ValueType {
        let value = self.known.find(name).cloned().unwrap_or_else(ValueType::anything);
        self.narrow(name, value)
    }

    fn local(&mut self, index: usize) -> ValueType {
        let value = self.locals.get(index).cloned().unwrap_or_else(ValueType::anything);
        self.narrow(&format!("#{index}"), value)
    }

    /// Returns a value narrowed by the facts about its path.
    fn narrow(&mut self, path: &str, value: ValueType) -> ValueType {
        let said = self.facts.of(path);
        match said.is {
            Some(is) => {
                let narrowed = value.and(&is);
                if narrowed != value {
                    self.borrow(said.beside);
                }
                narrowed
            }
            None => value,
        }
    }

    /// Notes that the knowledge came from a neighboring operand.
    pub(super) fn borrow(&mut self, beside: Option<Span>) {
        if beside.is_some() {
            self.borrowed = (self.borrowed.0 + 1, beside);
        }
    }

    /// Returns the state of the walk: the number of findings, and how often something was borrowed.
    pub(super) fn mark(&self) -> (usize, u32) {
        (self.count_of_findings(), self.borrowed.0)
    }

    /// Returns what a macro reads, given what its body reads. Its own variables do not count outside of it.
    pub(super) fn outside(&self, range: Reads, body: Reads) -> Reads {
        match body {
            Reads::Locals if self.locals.is_empty() => range,
            other => range.max(other),
        }
    }

    /// Evaluates a part that reads nothing.
    fn fold_constant(&mut self, expr: &'c Expr, known: InferredPart) -> InferredPart {
        if known.reads != Reads::Nothing || known.value.is_nothing() || !self.locals.is_empty() {
            return known;
        }
        let scope = Scope::new();
        let given = Evaluation::new(self.source, &scope, &mut self.budget).value(expr);
        match given.map(|value| ValueType::of_value(&value)) {
            Ok(value) => InferredPart { value, ..known },
            Err(fault) if fault.kind == ErrorKind::Budget => known,
            Err(fault) => {
                self.report_fault(&fault, expr.span);
                InferredPart { value: ValueType::nothing(), ..known }
            }
        }
    }

    /// Reports an error that occurred when known values were evaluated.
    pub(super) fn report_fault(&mut self, fault: &Fault, span: Span) {
        let kind = match fault.kind {
            ErrorKind::Type => FindingKind::Unfit,
            ErrorKind::Missing | ErrorKind::Overflow | ErrorKind::DivisionByZero | ErrorKind::Invalid | ErrorKind::Budget => {
                FindingKind::Erring
            }
        };
        let place = if fault.span == (0..0) { span } else { Span { start: offset(fault.span.start), end: offset(fault.span.end) } };
        self.report(kind, place, fault.message.clone(), fault.hint.clone());
    }

    /// Reports a test that has only one outcome, unless something in it was already reported, or only a
    /// neighboring operand makes it so.
    fn report_if_constant(&mut self, expr: &'c Expr, known: InferredPart, before: (usize, u32)) -> InferredPart {
        if before == self.mark() && known.value.kinds() == BOOL {
            match (known.value.can_be_truth(true), known.value.can_be_truth(false)) {
                (true, false) => self.report_constant(expr, Truth::True),
                (false, true) => self.report_constant(expr, Truth::False),
                _ => {}
            }
        }
        known
    }

    /// `&&` and `||`: the facts of one operand hold for those after it, as long as it does not fail.
    fn junction(&mut self, expr: &'c Expr, operands: &'c [Expr], needed: Truth, before: (usize, u32)) -> InferredPart {
        let outer = self.facts.len();
        let mut reads = Reads::Nothing;
        // All operands are as needed, or one of them decides.
        let (mut all, mut decided, mut errs) = (true, false, false);
        for operand in operands {
            let mark = self.mark();
            let (truths, operand_reads) = self.condition(operand);
            reads = reads.max(operand_reads);
            let truths = if needed == Truth::True { truths } else { truths.negate() };
            let is_borrowing = self.mark().1 != mark.1;
            errs |= truths == Truths::NEITHER;
            if all && !truths.yes && truths.no && is_borrowing && self.count_of_findings() == mark.0 {
                self.report_contradiction(operand, needed);
            }
            all &= truths.yes;
            decided |= truths.no || is_borrowing;
            self.assume(operand, needed, Weight::Beside(operand.span));
        }
        self.facts.truncate(outer);
        let truths = Truths { yes: all, no: decided };
        let truths = if needed == Truth::True { truths } else { truths.negate() };
        let known = InferredPart { value: ValueType::truths(truths), reads };
        if errs { known } else { self.report_if_constant(expr, known, before) }
    }

    fn choose(&mut self, choose: &'c Choose) -> InferredPart {
        let outer = self.facts.len();
        let mut value = ValueType::nothing();
        let mut reads = Reads::Nothing;
        let mut is_reached = true;
        for (condition, then) in &choose.branches {
            let (truths, condition_reads) = self.condition(condition);
            let inner = self.facts.len();
            self.assume(condition, Truth::True, Weight::Firm);
            let taken = self.value(then);
            self.facts.truncate(inner);
            self.assume(condition, Truth::False, Weight::Firm);
            reads = reads.max(condition_reads).max(taken.reads);
            if is_reached && truths.yes {
                value = self.join(value, taken.value);
            }
            is_reached &= truths.no;
        }
        let otherwise = self.value(&choose.otherwise);
        self.facts.truncate(outer);
        if is_reached {
            value = self.join(value, otherwise.value);
        }
        InferredPart { value, reads: reads.max(otherwise.reads) }
    }

    fn list(&mut self, elements: &'c [Element]) -> InferredPart {
        let mut types = Vec::with_capacity(elements.len());
        let mut reads = Reads::Nothing;
        let mut errs = false;
        let mut are_all_there = true;
        for element in elements {
            let known = self.value(&element.value);
            reads = reads.max(known.reads);
            errs |= known.value.is_nothing();
            match element.presence {
                Presence::Required => types.push(known.value),
                Presence::Optional => {
                    are_all_there = false;
                    errs |= !self.demand_optional(&element.value, &known.value);
                    types.push(known.value.inner());
                }
            }
        }
        if errs {
            return InferredPart { value: ValueType::nothing(), reads };
        }
        let list = ValueType::list_of(types, |all, element| self.join(all, element));
        InferredPart { value: if are_all_there { list } else { list.another() }, reads }
    }

    fn map(&mut self, entries: &'c [Entry]) -> InferredPart {
        let mut map = Some(MapType::new(Others::None));
        let mut reads = Reads::Nothing;
        let mut errs = false;
        for entry in entries {
            let (key, known) = (self.value(&entry.key), self.value(&entry.value));
            reads = reads.max(key.reads).max(known.reads);
            errs |= key.value.is_nothing() || known.value.is_nothing();
            if !key.value.is_nothing() && !key.value.can_be(BOOL.or(INT).or(UINT).or(STRING)) {
                errs = true;
                let message = format!("{} cannot be a map key; keys are strings, ints, uints or bools", key.value);
                self.report(FindingKind::Unfit, entry.key.span, message, None);
            }
            let (value, occurrence) = match entry.presence {
                Presence::Required => (known.value, Occurrence::Always),
                Presence::Optional => {
                    errs |= !self.demand_optional(&entry.value, &known.value);
                    (known.value.inner(), Occurrence::Sometimes)
                }
            };
            map = match key.value.constant() {
                Some(Value::String(name)) => map.map(|map| map.with(&*name, value, occurrence)),
                _ => None,
            };
        }
        let value = match (errs, map) {
            (true, _) => ValueType::nothing(),
            (false, Some(map)) => ValueType::map(map),
            (false, None) => ValueType::of_computed(MAP),
        };
        InferredPart { value, reads }
    }

    /// Returns true if the value after a `?` can be an optional, and reports it if it cannot.
    fn demand_optional(&mut self, expr: &Expr, value: &ValueType) -> bool {
        let is_fine = value.can_be(OPTIONAL);
        if !is_fine && !value.is_nothing() {
            self.report(FindingKind::Unfit, expr.span, format!("`?` needs an optional, not {value}"), Some(words_optional()));
        }
        is_fine
    }

    fn negate(&mut self, expr: &Expr, operand: &'c Expr, times: Times) -> InferredPart {
        let InferredPart { value, reads } = self.value(operand);
        if value.is_nothing() {
            return InferredPart { value, reads };
        }
        let negated = value.kinds().and(INT.or(DOUBLE));
        if negated.is_empty() {
            self.report(FindingKind::Unfit, expr.span, format!("`-` needs an int or a double, not {value}"), None);
        }
        let value = if times == 0 { value } else { value.only(NUMBER).only(negated).another() };
        InferredPart { value, reads }
    }
}

/// Returns a hint on how to get an optional.
pub(super) fn words_optional() -> String {
    "create an optional with `.?field`, `[?index]` or `optional.of(x)`".to_owned()
}

/// Returns true if something has elements to iterate over.
pub(super) fn is_walkable(value: &ValueType) -> bool {
    value.can_be(LIST.or(MAP))
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
