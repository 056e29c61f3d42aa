//! Lists and maps that were made: shared and measured.

use std::cmp::Ordering;
use std::sync::Arc;

use super::order::key_order;
use super::{VALUE_DEPTH_MAX, Value};
use crate::error::{ErrorKind, Fault, fault};

/// A list that was made by an expression or by its caller.
#[derive(Clone, Debug)]
pub struct List<'a>(Arc<MeasuredItems<Value<'a>>>);

/// A map that was made by an expression or by its caller. Its entries are in key order.
#[derive(Clone, Debug)]
pub struct Map<'a>(Arc<MeasuredItems<(Value<'a>, Value<'a>)>>);

#[derive(Debug)]
struct MeasuredItems<T> {
    items: Vec<T>,
    measure: Measure,
}

/// How deep a value nests, how many bytes its text would take and how many values it holds. These are known
/// without traversing it, because shared parts can make the traversal of a small value arbitrarily long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measure {
    pub(crate) depth: u32,
    pub(crate) bytes: u64,
    /// The value itself and everything below it, including keys.
    pub(crate) values: u64,
}

impl Measure {
    pub(super) fn around(children: impl Iterator<Item = Measure>) -> Measure {
        let mut whole = Measure { depth: 0, bytes: 2, values: 1 };
        for child in children {
            whole.depth = whole.depth.max(child.depth);
            whole.bytes = whole.bytes.saturating_add(child.bytes).saturating_add(1);
            whole.values = whole.values.saturating_add(child.values);
        }
        whole.depth += 1;
        whole
    }

    pub(crate) fn check_depth(self) -> Result<Measure, Fault> {
        if self.depth > VALUE_DEPTH_MAX {
            return Err(fault(ErrorKind::Budget, format!("the value nests deeper than {VALUE_DEPTH_MAX} levels")));
        }
        Ok(self)
    }
}

impl<'a> List<'a> {
    pub(super) fn new(items: Vec<Value<'a>>) -> Self {
        let measure = Measure::around(items.iter().map(Value::measure));
        Self(Arc::new(MeasuredItems { items, measure }))
    }

    pub(super) fn measure(&self) -> Measure {
        self.0.measure
    }

    /// Returns the elements.
    pub fn items(&self) -> &[Value<'a>] {
        &self.0.items
    }
}

impl<'a> Map<'a> {
    /// Returns a map of entries that are in key order, each once.
    pub(super) fn new(items: Vec<(Value<'a>, Value<'a>)>) -> Self {
        let measures = items.iter().flat_map(|(key, value)| [key.measure(), value.measure()]);
        let measure = Measure::around(measures);
        Self(Arc::new(MeasuredItems { items, measure }))
    }

    pub(super) fn measure(&self) -> Measure {
        self.0.measure
    }

    /// Returns the entries in key order: booleans, then numbers, then strings.
    pub fn entries(&self) -> &[(Value<'a>, Value<'a>)] {
        &self.0.items
    }

    /// Returns the value of a key. A number finds its equal of another numeric type.
    pub fn get(&self, key: &Value<'_>) -> Option<&Value<'a>> {
        let at = self.0.items.binary_search_by(|(other, _)| key_order(other, key)).ok()?;
        Some(&self.0.items[at].1)
    }

    /// Returns the value of a string key.
    pub fn get_str(&self, name: &str) -> Option<&Value<'a>> {
        let at = self
            .0
            .items
            .binary_search_by(|(key, _)| match key {
                Value::String(text) => (**text).cmp(name),
                _ => Ordering::Less,
            })
            .ok()?;
        Some(&self.0.items[at].1)
    }
}
