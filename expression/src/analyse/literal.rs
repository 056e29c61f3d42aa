//! Scalars as keys of an index.
//!
//! The tests against them are in `demand`.

use std::cmp::Ordering;

use crate::value::Value;
use crate::value::numeric_order;

/// A literal as a key of an index. Numbers that are equal in the language are equal here, whatever their
/// type.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are the types'")]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
}

impl Literal {
    /// Returns the key of a value in its canonical form, or `None` for a list, a map, an undefined number,
    /// and values that JSON does not have.
    pub fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Uint(value) => Some(i64::try_from(*value).map_or(Self::Uint(*value), Self::Int)),
            Value::Double(value) => Self::of_double(*value),
            Value::String(text) => Some(Self::String(text.to_string())),
            Value::Json(_) => value.clone_scalar().as_ref().and_then(Self::of),
            Value::Bytes(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Timestamp(_)
            | Value::Duration(_)
            | Value::Type(_)
            | Value::Optional(_) => None,
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the casts saturate, and only an exact result is taken")]
    fn of_double(value: f64) -> Option<Self> {
        if value.is_nan() {
            return None;
        }
        let whole = Value::Int(value as i64);
        if numeric_order(&whole, &Value::Double(value)) == Some(Ordering::Equal) {
            return Self::of(&whole);
        }
        let whole = Value::Uint(value as u64);
        if numeric_order(&whole, &Value::Double(value)) == Some(Ordering::Equal) {
            return Self::of(&whole);
        }
        Some(Self::Double(value))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Uint(_) => 3,
            Self::Double(_) => 4,
            Self::String(_) => 5,
        }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Literal {}

impl PartialOrd for Literal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Literal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Int(one), Self::Int(other)) => one.cmp(other),
            (Self::Uint(one), Self::Uint(other)) => one.cmp(other),
            (Self::Double(one), Self::Double(other)) => one.total_cmp(other),
            (Self::String(one), Self::String(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}
