//! Operators: which outcomes comparisons can have, and which types arithmetic returns.

use super::{Checker, FindingKind, InferredPart, Reads};
use crate::arithmetic;
use crate::ast::{Comparison, Expr, Fold, Operator, Span};
use crate::compare;
use crate::error::ErrorKind;
use crate::functions::signature::{Kinds, LIST, MAP, NULL, NUMBER, ORDERED, STRING};
use crate::types::{FieldLookup, Holds, Occurrence, Others, Truths, ValueType, is_overlapping};
use crate::value::{Type, Value};

/// The maximum number of pairs of known values that are tried.
const PAIRS_MAX: usize = 64;

/// One side of an operator.
pub(super) struct Operand<'c> {
    pub(super) value: ValueType,
    pub(super) span: Span,
    /// The part alone, or none if it is the result of the operators before it.
    pub(super) expr: Option<&'c Expr>,
    /// Whether the knowledge about it came from an operand of the surrounding `&&` or `||`.
    pub(super) is_borrowed: bool,
}

impl<'c> Checker<'c> {
    /// Operators of one precedence, from left to right.
    pub(super) fn fold(&mut self, fold: &'c Fold) -> InferredPart {
        let (mut left, mut reads) = self.operand(&fold.first);
        for (operator, operand) in &fold.rest {
            let (right, right_reads) = self.operand(operand);
            let value = self.binary(*operator, &left, &right);
            reads = reads.max(right_reads);
            left = Operand { value, span: left.span.to(operand.span), expr: None, is_borrowed: left.is_borrowed || right.is_borrowed };
        }
        InferredPart { value: left.value, reads }
    }

    fn operand(&mut self, expr: &'c Expr) -> (Operand<'c>, Reads) {
        let borrowed = self.borrowed.0;
        let InferredPart { value, reads } = self.value(expr);
        (Operand { value, span: expr.span, expr: Some(expr), is_borrowed: self.borrowed.0 != borrowed }, reads)
    }

    fn binary(&mut self, operator: Operator, left: &Operand<'c>, right: &Operand<'c>) -> ValueType {
        if left.value.is_nothing() || right.value.is_nothing() {
            return ValueType::nothing();
        }
        match operator {
            Operator::Equal => ValueType::truths(self.equality(operator, left, right)),
            Operator::NotEqual => ValueType::truths(self.equality(operator, left, right).negate()),
            Operator::In => self.membership(left, right),
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => self.order(operator, left, right),
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
                self.arithmetic(operator, left, right)
            }
        }
    }

    fn equality(&mut self, operator: Operator, left: &Operand<'c>, right: &Operand<'c>) -> Truths {
        let yes = is_overlapping(&left.value, &right.value);
        if !yes {
            let (left, right) = (self.by_itself(left), self.by_itself(right));
            if !is_overlapping(&left.value, &right.value) {
                self.report_impossible(operator, &left, &right);
            }
        }
        Truths { yes, no: !is_always_equal(&left.value, &right.value) }
    }

    /// Returns an operand without the facts of operands next to the comparison: an error of types is one
    /// whatever those say.
    fn by_itself(&mut self, operand: &Operand<'c>) -> Operand<'c> {
        let plain = Operand { value: operand.value.clone(), span: operand.span, expr: operand.expr, is_borrowed: operand.is_borrowed };
        let Some(expr) = operand.expr.filter(|_| operand.is_borrowed && self.findings.is_some()) else { return plain };
        let mut alone = Checker {
            locals: self.locals.clone(),
            steps: self.steps,
            steps_max: self.steps_max,
            facts: self.facts.firm(),
            ..Checker::new(self.source, self.known)
        };
        let value = alone.value(expr).value;
        self.steps = alone.steps;
        Operand { value, is_borrowed: false, ..plain }
    }

    fn order(&mut self, operator: Operator, left: &Operand<'c>, right: &Operand<'c>) -> ValueType {
        let kinds = comparable(left.value.kinds(), right.value.kinds());
        if kinds.is_empty() {
            self.report_unordered(operator, left, right);
            return ValueType::nothing();
        }
        if let Some(tried) = self.tried_pairs(operator, left, right) {
            return tried;
        }
        if !kinds.is_within(NUMBER) {
            return ValueType::boolean();
        }
        let (one, other) = (left.value.range(), right.value.range());
        let (yes, no) = match operator.comparison() {
            Some(Comparison::Less) => one.can_be_less(other),
            Some(Comparison::LessOrEqual) => one.can_be_up_to(other),
            Some(Comparison::Greater) => other.can_be_less(one),
            Some(Comparison::GreaterOrEqual) => other.can_be_up_to(one),
            None => (true, true),
        };
        ValueType::truths(Truths { yes, no })
    }

    fn membership(&mut self, needle: &Operand<'c>, hay: &Operand<'c>) -> ValueType {
        let mut truths = Truths::NEITHER;
        if let Some(list) = hay.value.list_known() {
            let can_be = list.len != Some(0) && is_overlapping(&needle.value, &list.element);
            let is_all = hay.value.kinds() == LIST && list.holds == Holds::All && is_within(&needle.value, &list.element);
            truths = Truths { yes: can_be, no: !is_all };
            if !can_be && hay.value.kinds() == LIST && list.len != Some(0) {
                let needle = self.by_itself(needle);
                if !is_overlapping(&needle.value, &list.element) {
                    self.report_not_among(&needle, hay, &list.element);
                }
            }
        } else if hay.value.can_be(LIST) {
            truths = Truths::BOTH;
        }
        if hay.value.can_be(MAP) {
            truths = membership_of_map(needle, hay, truths);
        }
        if truths == Truths::NEITHER {
            let message = format!("`in` needs a list or a map on its right, not {}", hay.value);
            let hint = hay.value.can_be(STRING).then(|| format!("write `{}.contains({})`", self.text(hay.span), self.text(needle.span)));
            self.report(FindingKind::Unfit, hay.span, message, hint);
        }
        ValueType::truths(truths)
    }

    fn arithmetic(&mut self, operator: Operator, left: &Operand<'c>, right: &Operand<'c>) -> ValueType {
        let mut kinds = Kinds::NONE;
        let mut is_list = false;
        for one in left.value.kinds().types() {
            for other in right.value.kinds().types() {
                if let Some(given) = arithmetic_gives(operator, one, other) {
                    kinds = kinds.or(Kinds::of(given));
                    is_list |= given == Type::List;
                }
            }
        }
        if kinds.is_empty() {
            self.report_no_arithmetic(operator, left, right);
            return ValueType::nothing();
        }
        let is_zero = matches!(right.value.constant(), Some(Value::Int(0) | Value::Uint(0)))
            || right.value.constants().is_some_and(|all| !all.is_empty() && all.iter().all(is_whole_zero));
        if is_zero && matches!(operator, Operator::Divide | Operator::Remainder) {
            let what = if operator == Operator::Divide { "division" } else { "remainder" };
            let hint = "make sure that the divisor is not 0".to_owned();
            self.report(FindingKind::Erring, left.span.to(right.span), format!("{what} by zero"), Some(hint));
            return ValueType::nothing();
        }
        if let Some(tried) = self.tried_pairs(operator, left, right) {
            return tried;
        }
        let list = if is_list { ValueType::list(self.join(left.value.element(), right.value.element())) } else { ValueType::nothing() };
        list.or(ValueType::of_computed(kinds.without(LIST)))
    }

    /// Returns the operator's result if both sides are known, or nothing if they are not, or are too many.
    fn tried_pairs(&mut self, operator: Operator, left: &Operand<'c>, right: &Operand<'c>) -> Option<ValueType> {
        let (ones, others) = (left.value.constants()?, right.value.constants()?);
        if ones.len() * others.len() > PAIRS_MAX {
            return None;
        }
        let mut given = ValueType::nothing();
        let mut erred = None;
        for one in &ones {
            for other in &others {
                match crate::evaluate::binary(operator, one, other, &mut self.budget) {
                    Ok(value) => given = given.or(ValueType::of_value(&value)),
                    Err(fault) if fault.kind == ErrorKind::Budget => return None,
                    Err(fault) => erred = erred.or(Some(fault)),
                }
            }
        }
        if let (true, Some(fault)) = (given.is_nothing(), erred) {
            self.report_fault(&fault, left.span.to(right.span));
        }
        Some(given)
    }

    fn report_no_arithmetic(&mut self, operator: Operator, left: &Operand<'c>, right: &Operand<'c>) {
        let mut hint = None;
        for one in left.value.without(NULL).kinds().types() {
            for other in right.value.without(NULL).kinds().types() {
                hint = hint.or(arithmetic::unfit(operator, one, other).hint);
            }
        }
        let message = format!("`{}` cannot be applied to {} and {}", operator.symbol(), left.value, right.value);
        self.report(FindingKind::Unfit, left.span.to(right.span), message, hint);
    }
}

/// Returns the result of `in` for a map, given the result for a list.
fn membership_of_map(needle: &Operand<'_>, hay: &Operand<'_>, or: Truths) -> Truths {
    let known = match (needle.value.constant(), hay.value.map_known()) {
        (Some(Value::String(name)), Some(map)) => match (map.find(&name), map.others()) {
            (FieldLookup::Field(field), _) if field.occurrence == Occurrence::Always => Truths::of(true),
            (FieldLookup::Unknown, Others::None) => Truths::of(false),
            _ => Truths::BOTH,
        },
        _ => Truths::BOTH,
    };
    Truths { yes: or.yes || known.yes, no: or.no || known.no }
}

fn is_whole_zero(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(0) | Value::Uint(0))
}

/// Returns true if each value of the one is the only value of the other.
fn is_always_equal(one: &ValueType, other: &ValueType) -> bool {
    let Some((ones, others)) = one.constants().zip(other.constants()) else { return false };
    let mut budget = crate::budget::Budget::default();
    !ones.is_empty() && ones.iter().all(|one| others.iter().all(|other| matches!(compare::equal(one, other, &mut budget), Ok(true))))
}

/// Returns true if each text or truth of the one is among the others.
fn is_within(one: &ValueType, others: &ValueType) -> bool {
    let same = |kind: Type| one.only(Kinds::of(kind)).is_nothing() || others.kinds().has(kind);
    one.kinds().is_within(others.kinds())
        && one.kinds().is_within(STRING.or(NULL))
        && same(Type::Null)
        && (!one.kinds().has(Type::String) || one.named_texts().is_within(others.named_texts()))
}

/// Returns the types in `one` that can be ordered with some type in `other`.
pub(super) fn comparable(one: Kinds, other: Kinds) -> Kinds {
    let alike = one.and(other).and(ORDERED.without(NUMBER));
    if other.and(NUMBER).is_empty() { alike } else { alike.or(one.and(NUMBER)) }
}

/// Returns the type of arithmetic on values of two types.
fn arithmetic_gives(operator: Operator, one: Type, other: Type) -> Option<Type> {
    use Type::{Bytes, Double, Duration, Int, List, String, Timestamp, Uint};
    Some(match (operator, one, other) {
        (_, Int, Int) => Int,
        (_, Uint, Uint) => Uint,
        (Operator::Remainder, Double, Double) => return None,
        (_, Double, Double) => Double,
        (Operator::Add, String, String) => String,
        (Operator::Add, Bytes, Bytes) => Bytes,
        (Operator::Add, List, List) => List,
        (Operator::Add, Timestamp, Duration) | (Operator::Add, Duration, Timestamp) | (Operator::Subtract, Timestamp, Duration) => {
            Timestamp
        }
        (Operator::Add | Operator::Subtract, Duration, Duration) | (Operator::Subtract, Timestamp, Timestamp) => Duration,
        _ => return None,
    })
}
