//! The order of map keys, and of numbers by value across their types. It needs no budget, because the keys
//! already exist.

use std::cmp::Ordering;

use super::Value;

/// The number of bytes of a map's long key that are compared for one step.
pub(crate) const KEY_BYTES_PER_STEP: usize = 64;

/// Returns the total order of map keys: booleans, then numbers by value, then strings. A double finds its
/// equal.
pub(crate) fn key_order(one: &Value<'_>, other: &Value<'_>) -> Ordering {
    fn rank(value: &Value<'_>) -> u8 {
        match value {
            Value::Bool(_) => 0,
            Value::Int(_) | Value::Uint(_) | Value::Double(_) => 1,
            Value::String(_) => 2,
            _ => 3,
        }
    }
    match (one, other) {
        (Value::String(one), Value::String(other)) => (**one).cmp(&**other),
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        // An undefined double cannot be a key, so its place does not matter: nothing is equal to it.
        _ if rank(one) == 1 && rank(other) == 1 => numeric_order(one, other).unwrap_or(Ordering::Less),
        _ => rank(one).cmp(&rank(other)),
    }
}

/// Returns the order of two numbers by value, or `None` if one is undefined or not a number.
pub(crate) fn numeric_order(one: &Value<'_>, other: &Value<'_>) -> Option<Ordering> {
    match (one, other) {
        (Value::Double(one), Value::Double(other)) => one.partial_cmp(other),
        (Value::Double(one), _) => whole_to_double(whole(other)?, *one).map(Ordering::reverse),
        (_, Value::Double(other)) => whole_to_double(whole(one)?, *other),
        _ => Some(whole(one)?.cmp(&whole(other)?)),
    }
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        _ => None,
    }
}

/// Compares exactly: a double near 2^63 is not rounded to a whole number that it is not.
#[allow(clippy::cast_possible_truncation, reason = "the double is within the range of an i128")]
fn whole_to_double(whole: i128, double: f64) -> Option<Ordering> {
    const BEYOND_ALL: f64 = 1e30;
    if double.is_nan() {
        return None;
    }
    if double >= BEYOND_ALL {
        return Some(Ordering::Less);
    }
    if double <= -BEYOND_ALL {
        return Some(Ordering::Greater);
    }
    let truncated = double.trunc();
    Some(whole.cmp(&(truncated as i128)).then_with(|| 0.0.partial_cmp(&(double - truncated)).unwrap_or(Ordering::Equal)))
}

/// Returns the cost of finding the place of a text of `len` bytes among `count` sorted ones. Short texts cost
/// nothing.
pub(crate) fn long_text_steps(len: usize, count: usize) -> u64 {
    let comparisons = u64::from(usize::BITS - count.leading_zeros());
    (len / KEY_BYTES_PER_STEP) as u64 * comparisons
}
