//! Equality and order of values, as defined by the language specification: numbers compare by value across
//! their types.
//!
//! Arithmetic is not here.

use std::cmp::Ordering;

use crate::budget::Budget;
use crate::error::{ErrorKind, Fault, fault};
use crate::json::{Node, NodeKind};
use crate::value::{KEY_BYTES_PER_STEP, Map, Type, Value, key_order, long_text_steps, numeric_order};

/// How deep two compared values may nest.
const COMPARE_DEPTH_MAX: u32 = 320;
/// The number of keys or elements of a document that are passed for one step.
const LOOKS_PER_STEP: u64 = 16;

/// Returns true if two values are equal. Values of different kinds are not.
pub(crate) fn equal(one: &Value<'_>, other: &Value<'_>, budget: &mut Budget) -> Result<bool, Fault> {
    equal_at(one, other, budget, 0)
}

fn equal_at(one: &Value<'_>, other: &Value<'_>, budget: &mut Budget, depth: u32) -> Result<bool, Fault> {
    Ok(match (one, other) {
        (Value::String(one), Value::String(other)) => {
            if one.len() != other.len() {
                return Ok(false);
            }
            budget.charge_bytes(one.len())?;
            **one == **other
        }
        (Value::Bytes(one), Value::Bytes(other)) => {
            budget.charge_bytes(one.len().min(other.len()))?;
            one == other
        }
        (Value::Null, Value::Null) => true,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Timestamp(one), Value::Timestamp(other)) => one == other,
        (Value::Duration(one), Value::Duration(other)) => one == other,
        (Value::Type(one), Value::Type(other)) => one == other,
        (Value::Optional(one), Value::Optional(other)) => match (one, other) {
            (Some(one), Some(other)) => equal_at(one, other, budget, deeper(depth)?)?,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        },
        (Value::Int(_) | Value::Uint(_) | Value::Double(_), _) => numeric_order(one, other) == Some(Ordering::Equal),
        (Value::List(_) | Value::Map(_) | Value::Json(_), _) => match (one.kind(), other.kind()) {
            (Type::List, Type::List) => lists_equal(one, other, budget, deeper(depth)?)?,
            (Type::Map, Type::Map) => maps_equal(one, other, budget, deeper(depth)?)?,
            _ => false,
        },
        (
            Value::Null
            | Value::Bool(_)
            | Value::String(_)
            | Value::Bytes(_)
            | Value::Timestamp(_)
            | Value::Duration(_)
            | Value::Type(_)
            | Value::Optional(_),
            _,
        ) => false,
    })
}

fn deeper(depth: u32) -> Result<u32, Fault> {
    if depth >= COMPARE_DEPTH_MAX {
        return Err(fault(ErrorKind::Budget, format!("the compared values nest deeper than {COMPARE_DEPTH_MAX} levels")));
    }
    Ok(depth + 1)
}

fn lists_equal(one: &Value<'_>, other: &Value<'_>, budget: &mut Budget, depth: u32) -> Result<bool, Fault> {
    let (mut ones, mut others) = (Elements::of(one), Elements::of(other));
    loop {
        match (ones.next(budget)?, others.next(budget)?) {
            (None, None) => return Ok(true),
            (Some(one), Some(other)) if equal_at(&one, &other, budget, depth)? => {}
            _ => return Ok(false),
        }
    }
}

fn maps_equal(one: &Value<'_>, other: &Value<'_>, budget: &mut Budget, depth: u32) -> Result<bool, Fault> {
    let (ones, others) = (sorted_entries(one, budget)?, sorted_entries(other, budget)?);
    if ones.len() != others.len() {
        return Ok(false);
    }
    for ((key, value), (other_key, other_value)) in ones.iter().zip(&others) {
        budget.charge(1 + key_bytes(key) / KEY_BYTES_PER_STEP as u64)?;
        if !key_order(key, other_key).is_eq() || !equal_at(value, other_value, budget, depth)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A list's elements without copying the list, or nothing for any other value.
pub(crate) enum Elements<'v, 'a> {
    Made(std::slice::Iter<'v, Value<'a>>),
    Json(crate::json::Items<'a>),
    Nothing,
}

impl<'v, 'a> Elements<'v, 'a> {
    pub(crate) fn of(value: &'v Value<'a>) -> Self {
        match value {
            Value::List(list) => Self::Made(list.items().iter()),
            Value::Json(node) => Self::Json(node.items()),
            _ => Self::Nothing,
        }
    }

    /// Returns the next element, for one step.
    pub(crate) fn next(&mut self, budget: &mut Budget) -> Result<Option<Value<'a>>, Fault> {
        budget.charge(1)?;
        match self {
            Self::Made(items) => Ok(items.next().cloned()),
            Self::Json(items) => items.next().map(|node| read(node, budget)).transpose(),
            Self::Nothing => Ok(None),
        }
    }
}

/// Returns a map's entries in the order of their keys, or nothing for any other value.
pub(crate) fn sorted_entries<'a>(value: &Value<'a>, budget: &mut Budget) -> Result<Vec<(Value<'a>, Value<'a>)>, Fault> {
    match value {
        Value::Map(map) => {
            budget.charge(map.entries().len() as u64)?;
            Ok(map.entries().to_vec())
        }
        Value::Json(node) if node.kind() == NodeKind::Object => {
            // One for the copy, one for the sorting.
            let count = node.len();
            budget.charge(2 * count as u64)?;
            let mut entries = Vec::with_capacity(count);
            for (key, value) in node.entries() {
                budget.charge_bytes(key.len())?;
                let key = match key {
                    std::borrow::Cow::Borrowed(key) => Value::from(key),
                    std::borrow::Cow::Owned(key) => Value::shared_text(key),
                };
                entries.push((key, read(value, budget)?));
            }
            entries.sort_unstable_by(|one, other| key_order(&one.0, &other.0));
            Ok(entries)
        }
        _ => Ok(Vec::new()),
    }
}

/// Returns the order of `one` and `other`, or `None` if a number is undefined.
///
/// # Errors
/// Values of different kinds, and those without an order, are a type error.
pub(crate) fn order(one: &Value<'_>, other: &Value<'_>, budget: &mut Budget) -> Result<Option<Ordering>, Fault> {
    Ok(match (one, other) {
        (Value::String(one), Value::String(other)) => {
            budget.charge_bytes(one.len().min(other.len()))?;
            Some((**one).cmp(&**other))
        }
        (Value::Bytes(one), Value::Bytes(other)) => {
            budget.charge_bytes(one.len().min(other.len()))?;
            Some(one.cmp(other))
        }
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::Timestamp(one), Value::Timestamp(other)) => Some(one.cmp(other)),
        (Value::Duration(one), Value::Duration(other)) => Some(one.cmp(other)),
        (Value::Double(one), Value::Double(other)) => one.partial_cmp(other),
        // The specification orders numbers of different types as doubles, although it keeps equality exact.
        (Value::Double(one), Value::Int(_) | Value::Uint(_)) => one.partial_cmp(&nearest_double(other)),
        (Value::Int(_) | Value::Uint(_), Value::Double(other)) => nearest_double(one).partial_cmp(other),
        (Value::Int(_) | Value::Uint(_), Value::Int(_) | Value::Uint(_)) => numeric_order(one, other),
        _ => {
            return Err(fault(ErrorKind::Type, format!("{} and {} cannot be ordered", one.kind(), other.kind())));
        }
    })
}

/// Returns the items in the order of their keys, which are all numbers or all of one type. Items with equal
/// keys stay in order.
///
/// # Errors
/// Keys without an order are a type error, and NaN is not valid.
pub(crate) fn sort_by_keys<'a, T>(mut keyed: Vec<(Value<'a>, T)>, budget: &mut Budget) -> Result<Vec<T>, Fault> {
    // Whatever may fail is examined before: a comparison that gives up midway is not an order, and sorting by
    // it may panic.
    let mut bytes = 0;
    for (key, _) in &keyed {
        budget.charge(1)?;
        if order(&keyed[0].0, key, budget)?.is_none() {
            return Err(fault(ErrorKind::Invalid, "NaN cannot be sorted: it is neither less nor greater than another number"));
        }
        bytes += match key {
            Value::String(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
    }
    let rounds = usize::BITS - keyed.len().leading_zeros();
    budget.charge(keyed.len() as u64 * u64::from(rounds))?;
    budget.charge_bytes(bytes.saturating_mul(rounds as usize))?;
    keyed.sort_by(|(one, _), (other, _)| match (one, other) {
        (Value::String(one), Value::String(other)) => (**one).cmp(&**other),
        (Value::Bytes(one), Value::Bytes(other)) => one.cmp(other),
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::Timestamp(one), Value::Timestamp(other)) => one.cmp(other),
        (Value::Duration(one), Value::Duration(other)) => one.cmp(other),
        // Exact, where `order` rounds: rounding would not be a consistent order of three values.
        _ => numeric_order(one, other).unwrap_or(Ordering::Equal),
    });
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

#[allow(clippy::cast_precision_loss, reason = "the nearest double is what is compared")]
fn nearest_double(value: &Value<'_>) -> f64 {
    match value {
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        _ => f64::NAN,
    }
}

/// Returns true if `needle` is an element of the list, or a key of the map, `hay`.
pub(crate) fn contains(hay: &Value<'_>, needle: &Value<'_>, budget: &mut Budget) -> Result<bool, Fault> {
    match hay {
        Value::Map(map) => {
            budget.charge(1)?;
            Ok(made_entry(map, needle, budget)?.is_some())
        }
        Value::Json(node) if node.kind() == NodeKind::Object => match needle {
            Value::String(name) => Ok(look_up(*node, name, budget)?.is_some()),
            _ => Ok(false),
        },
        Value::List(_) | Value::Json(_) => {
            let mut elements = Elements::of(hay);
            while let Some(element) = elements.next(budget)? {
                if equal(&element, needle, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        other => Err(fault(ErrorKind::Type, format!("`in` needs a list or a map on its right, not {}", other.kind()))),
    }
}

/// Returns the value of a key of a map that was made, and charges for long keys.
pub(crate) fn made_entry<'m, 'a>(map: &'m Map<'a>, key: &Value<'_>, budget: &mut Budget) -> Result<Option<&'m Value<'a>>, Fault> {
    if let Value::String(text) = key {
        budget.charge(long_text_steps(text.len(), map.entries().len()))?;
    }
    Ok(map.get(key))
}

fn key_bytes(key: &Value<'_>) -> u64 {
    match key {
        Value::String(text) => text.len() as u64,
        _ => 0,
    }
}

/// Returns the field of a JSON object, charging for the keys that had to be examined: a look-up in the
/// document is linear.
pub(crate) fn look_up<'a>(node: Node<'a>, name: &str, budget: &mut Budget) -> Result<Option<Value<'a>>, Fault> {
    let (found, looked_at) = node.find(name);
    budget.charge(looked_at / LOOKS_PER_STEP)?;
    found.map(|node| read(node, budget)).transpose()
}

/// Returns the element of a JSON array, charging for the elements before it.
pub(crate) fn element<'a>(node: Node<'a>, position: usize, budget: &mut Budget) -> Result<Option<Value<'a>>, Fault> {
    budget.charge(node.raw_len().min(position) as u64 / LOOKS_PER_STEP)?;
    node.at(position).map(|node| read(node, budget)).transpose()
}

/// Returns the value of a part of a document, charging if it must be copied.
pub(crate) fn read<'a>(node: Node<'a>, budget: &mut Budget) -> Result<Value<'a>, Fault> {
    budget.charge_bytes(node.copied_len())?;
    if node.is_rounded() {
        budget.note_rounded();
    }
    Ok(Value::from(node))
}
