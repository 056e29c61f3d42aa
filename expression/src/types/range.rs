//! The numbers that a value can be: a range, except for some single numbers.

use crate::ast::Comparison;
use crate::value::{Type, Value};

/// Whole numbers up to this one are doubles without loss, so that a limit is exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// The maximum number of single numbers that are excluded from a range.
const EXCEPT_MAX: usize = 16;

/// A range of numbers, whatever their types.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Range {
    low: Bound,
    high: Bound,
    except: Vec<f64>,
    undefined: NanPresence,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bound {
    at: f64,
    edge: Edge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    In,
    Out,
}

/// Whether NaN is among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NanPresence {
    Never,
    Maybe,
}

impl Range {
    /// Returns all numbers that JSON can write.
    pub(crate) fn json() -> Self {
        let bound = |at| Bound { at, edge: Edge::In };
        Self { low: bound(f64::NEG_INFINITY), high: bound(f64::INFINITY), except: Vec::new(), undefined: NanPresence::Never }
    }

    /// Returns all numbers that can be computed.
    pub(crate) fn all_computable() -> Self {
        Self { undefined: NanPresence::Maybe, ..Self::json() }
    }

    /// Returns the numbers from zero.
    pub(crate) fn natural() -> Self {
        Self { low: Bound { at: 0.0, edge: Edge::In }, ..Self::json() }
    }

    /// Returns the one number, or all if it is too large to be exact.
    pub(crate) fn of(value: &Value<'_>) -> Self {
        match exact(value) {
            Some(at) => Self { low: Bound { at, edge: Edge::In }, high: Bound { at, edge: Edge::In }, ..Self::json() },
            None => Self::all_computable(),
        }
    }

    /// Returns the numbers on one side of a number, or all if that number is too large to be exact.
    pub(crate) fn beside(value: &Value<'_>, side: Comparison) -> Self {
        let Some(at) = exact(value) else { return Self::json() };
        let all = Self::json();
        match side {
            Comparison::Less => Self { high: Bound { at, edge: Edge::Out }, ..all },
            Comparison::LessOrEqual => Self { high: Bound { at, edge: Edge::In }, ..all },
            Comparison::GreaterOrEqual => Self { low: Bound { at, edge: Edge::In }, ..all },
            Comparison::Greater => Self { low: Bound { at, edge: Edge::Out }, ..all },
        }
    }

    /// Returns the range with NaN added.
    pub(crate) fn or_undefined(self) -> Self {
        Self { undefined: NanPresence::Maybe, ..self }
    }

    /// Returns all numbers except one.
    pub(crate) fn all_but(value: &Value<'_>) -> Self {
        Self { except: exact(value).into_iter().collect(), ..Self::all_computable() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let is_point = self.low.at == self.high.at;
        let has_none = self.low.at > self.high.at
            || (is_point && (self.low.edge == Edge::Out || self.high.edge == Edge::Out || self.except.contains(&self.low.at)));
        has_none && self.undefined == NanPresence::Never
    }

    pub(crate) fn has(&self, value: &Value<'_>) -> bool {
        let at = match value {
            Value::Double(value) if value.is_nan() => return self.undefined == NanPresence::Maybe,
            other => match exact(other) {
                Some(at) => at,
                // A number too large to be exact is beyond all bounds except the infinite ones.
                None => return true,
            },
        };
        let is_above = at > self.low.at || (at == self.low.at && self.low.edge == Edge::In);
        let is_below = at < self.high.at || (at == self.high.at && self.high.edge == Edge::In);
        is_above && is_below && !self.except.contains(&at)
    }

    pub(crate) fn or(&self, other: &Self) -> Self {
        let mut except: Vec<f64> = self.except.iter().filter(|at| !other.has(&Value::Double(**at))).copied().collect();
        except.extend(other.except.iter().filter(|at| !self.has(&Value::Double(**at))));
        Self {
            low: if other.low.is_before(self.low) { other.low } else { self.low },
            high: if self.high.is_before_end(other.high) { other.high } else { self.high },
            except,
            undefined: if self.undefined == NanPresence::Maybe { self.undefined } else { other.undefined },
        }
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut except: Vec<f64> = self.except.iter().chain(&other.except).copied().collect();
        except.sort_by(f64::total_cmp);
        except.dedup();
        except.truncate(EXCEPT_MAX);
        Self {
            low: if other.low.is_before(self.low) { self.low } else { other.low },
            high: if self.high.is_before_end(other.high) { self.high } else { other.high },
            except,
            undefined: if self.undefined == NanPresence::Never { self.undefined } else { other.undefined },
        }
    }

    /// Returns whether `self < other` can be true, and whether it can be false.
    pub(crate) fn can_be_less(&self, other: &Self) -> (bool, bool) {
        let touches = self.high.edge == Edge::In && other.low.edge == Edge::In;
        let can_be = self.low.at < other.high.at;
        let can_not = self.high.at > other.low.at || (self.high.at == other.low.at && touches) || self.may_be_undefined(other);
        (can_be, can_not)
    }

    /// Returns whether `self <= other` can be true, and whether it can be false.
    pub(crate) fn can_be_up_to(&self, other: &Self) -> (bool, bool) {
        let touches = self.low.edge == Edge::In && other.high.edge == Edge::In;
        let can_be = self.low.at < other.high.at || (self.low.at == other.high.at && touches);
        let can_not = self.high.at > other.low.at || self.may_be_undefined(other);
        (can_be, can_not)
    }

    fn may_be_undefined(&self, other: &Self) -> bool {
        self.undefined == NanPresence::Maybe || other.undefined == NanPresence::Maybe
    }

    /// Returns the only number of a kind in the range.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is whole, in range, and exact")]
    pub(crate) fn only(&self, kind: Type) -> Option<Option<Value<'static>>> {
        if self.low.at != self.high.at || self.undefined == NanPresence::Maybe {
            return None;
        }
        let at = self.low.at;
        let is_whole = at.fract() == 0.0;
        Some(match kind {
            _ if self.is_empty() => None,
            Type::Int => is_whole.then_some(Value::Int(at as i64)),
            Type::Uint => (is_whole && at >= 0.0).then_some(Value::Uint(at as u64)),
            _ => Some(Value::Double(at)),
        })
    }
}

impl Bound {
    fn is_before(self, other: Self) -> bool {
        self.at < other.at || (self.at == other.at && self.edge == Edge::In && other.edge == Edge::Out)
    }

    fn is_before_end(self, other: Self) -> bool {
        self.at < other.at || (self.at == other.at && self.edge == Edge::Out && other.edge == Edge::In)
    }
}

/// Returns the number as a double, if that is exact.
#[allow(clippy::cast_precision_loss, reason = "only numbers below 2^53 are taken, and they are exact")]
pub(crate) fn exact(value: &Value<'_>) -> Option<f64> {
    let at = match value {
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::Double(value) => *value,
        _ => return None,
    };
    (at.abs() < EXACT_MAX).then_some(at)
}
