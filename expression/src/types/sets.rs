//! Types as sets: union, intersection, whether two share a value, and whether a value is in one.

use std::sync::Arc;

use super::{
    FieldLookup, FieldType, Holds, JSON, ListType, MapType, Occurrence, OptionalType, Others, Range, TYPE_SIZE_MAX, Texts, UnknownContents,
    ValueType,
};
use crate::functions::signature::{BOOL, NUMBER, STRING, TYPE};
use crate::json::NodeKind;
use crate::value::{Type, Value};

impl ValueType {
    /// Returns what can be one or the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.is_nothing() {
            return other;
        }
        if other.is_nothing() {
            return self;
        }
        // What is known about a kind counts only if that kind is possible.
        let either = |kind: Type| (self.kinds.has(kind), other.kinds.has(kind));
        let truth = match either(Type::Bool) {
            (true, true) if self.truth != other.truth => None,
            (false, true) => other.truth,
            _ => self.truth,
        };
        let numbers = match (self.can_be(NUMBER), other.can_be(NUMBER)) {
            (true, true) => self.numbers.or(&other.numbers),
            (false, true) => other.numbers.clone(),
            _ => self.numbers.clone(),
        };
        let texts = match either(Type::String) {
            (true, true) => self.texts.or(&other.texts),
            (false, true) => other.texts.clone(),
            _ => self.texts.clone(),
        };
        let types = match either(Type::Type) {
            (true, true) => self.types.or(other.types),
            (false, true) => other.types,
            _ => self.types,
        };
        let list = match either(Type::List) {
            (true, true) => match (&self.list, &other.list) {
                (Some(one), Some(another)) => Some(join_shared(one, another, ListType::or)),
                (Some(one), None) => Some(Arc::new(one.or(&ListType::of_unknown(&other)))),
                (None, Some(another)) => Some(Arc::new(another.or(&ListType::of_unknown(&self)))),
                (None, None) => None,
            },
            (false, true) => other.list.clone(),
            _ => self.list.clone(),
        };
        let map = match either(Type::Map) {
            (true, true) => self.map.as_ref().zip(other.map.as_ref()).map(|(one, other)| join_shared(one, other, MapType::or)),
            (false, true) => other.map.clone(),
            _ => self.map.clone(),
        };
        // What is known of a map is lost if nothing is known of the other, except that it need not be JSON.
        let lost = match (either(Type::Map), &self.map, &other.map) {
            ((true, true), Some(known), None) | ((true, true), None, Some(known)) => Some(known),
            _ => None,
        };
        let origin = if lost.is_none_or(|map| map.is_json()) { self.origin.max(other.origin) } else { UnknownContents::Made };
        let optional = match either(Type::Optional) {
            (true, true) => {
                self.optional.as_ref().zip(other.optional.as_ref()).map(|(one, other)| join_shared(one, other, OptionalType::or))
            }
            (false, true) => other.optional.clone(),
            _ => self.optional.clone(),
        };
        let sizes = [
            list.as_ref().map_or(0, |list| list.element.size),
            map.as_ref().map_or(0, |map| map.size()),
            optional.as_ref().map_or(0, |optional| optional.inner.size),
        ];
        let size = sizes.iter().fold(1_u32, |all, one| all.saturating_add(*one));
        let plain = Self { truth, numbers, texts, types, ..Self::of(self.kinds.or(other.kinds)) };
        if size > TYPE_SIZE_MAX {
            return Self { origin: UnknownContents::Made, ..plain };
        }
        Self { list, map, optional, origin, depth: self.depth.max(other.depth), size, ..plain }
    }

    /// Returns what is in both. For lists, maps and optionals, it is what the first one knows.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut kinds = self.kinds.and(other.kinds);
        let truth = self.truth.or(other.truth);
        if self.truth.zip(other.truth).is_some_and(|(one, other)| one != other) {
            kinds = kinds.without(BOOL);
        }
        let numbers = self.numbers.and(&other.numbers);
        if numbers.is_empty() {
            kinds = kinds.without(NUMBER);
        }
        let texts = self.texts.and(&other.texts);
        if texts.is_empty() {
            kinds = kinds.without(STRING);
        }
        let types = self.types.and(other.types);
        if types.is_empty() {
            kinds = kinds.without(TYPE);
        }
        Self {
            kinds,
            truth,
            numbers,
            texts,
            types,
            list: self.list.clone().or_else(|| other.list.clone()),
            map: self.map.clone().or_else(|| other.map.clone()),
            optional: self.optional.clone().or_else(|| other.optional.clone()),
            ..self.clone()
        }
    }

    /// Returns true if some value of this type can be equal to some value of the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        is_overlapping(self, other)
    }

    /// Returns the type at a JSON Pointer (RFC 6901) below it, as far as fields are declared.
    pub fn at(&self, pointer: &str) -> Option<Self> {
        let mut here = self.clone();
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let below = match here.map_known().map(|map| map.find(&part)) {
                Some(FieldLookup::Field(field)) => Some(field.value.clone()),
                Some(FieldLookup::Open(value)) => Some(value.clone()),
                Some(FieldLookup::Unknown) => None,
                None => here.list_known().map(|list| list.element.clone()),
            };
            here = below?;
        }
        Some(here)
    }

    /// Returns true if JSON can hold each of its values.
    fn is_json(&self) -> bool {
        let is_within = |known: Option<bool>, kind: Type| known.unwrap_or(!self.kinds.has(kind) || self.origin == UnknownContents::Json);
        self.kinds.is_within(JSON)
            && (!self.can_be(NUMBER) || self.numbers.or(&Range::json()) == Range::json())
            && is_within(self.list_known().map(|list| list.element.is_json()), Type::List)
            && is_within(self.map_known().map(MapType::is_json), Type::Map)
    }

    /// Returns true if a value is among them.
    pub fn admits(&self, value: &Value<'_>) -> bool {
        if !self.kinds.has(value.kind()) {
            return false;
        }
        match value {
            Value::Null | Value::Bytes(_) | Value::Timestamp(_) | Value::Duration(_) => true,
            Value::Bool(value) => self.truth != Some(!value),
            Value::Int(_) | Value::Uint(_) | Value::Double(_) => self.numbers.has(value),
            Value::String(text) => self.texts.has(text),
            Value::Type(kind) => self.types.has(*kind),
            Value::Optional(None) => self.optional_known().is_none_or(|optional| optional.occurrence != Occurrence::Always),
            Value::Optional(Some(inner)) => self.optional_known().is_none_or(|optional| optional.inner.admits(inner)),
            Value::List(_) | Value::Map(_) | Value::Json(_) => match value.kind() {
                Type::List => self.admits_elements(&value.elements().unwrap_or_default()),
                _ => self.map_known().is_none_or(|map| map.admits(value)),
            },
        }
    }

    fn admits_elements(&self, elements: &[Value<'_>]) -> bool {
        self.list_known().is_none_or(|list| {
            list.len.is_none_or(|len| len == elements.len()) && elements.iter().all(|element| list.element.admits(element))
        })
    }
}

/// Joins what is known of two. What is known of the same is that.
fn join_shared<T>(one: &Arc<T>, other: &Arc<T>, or: impl FnOnce(&T, &T) -> T) -> Arc<T> {
    if Arc::ptr_eq(one, other) { Arc::clone(one) } else { Arc::new(or(one, other)) }
}

/// Types are equal if all is equal that is known of them.
impl PartialEq for ValueType {
    fn eq(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
            match (one, other) {
                // What two types share is not followed.
                (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
        }
        let Self { kinds, truth, numbers, texts, types, list, map, optional, origin, depth: _, size: _ } = self;
        (kinds, truth, types, origin) == (&other.kinds, &other.truth, &other.types, &other.origin)
            && *numbers == other.numbers
            && *texts == other.texts
            && same(list.as_ref(), other.list.as_ref())
            && same(map.as_ref(), other.map.as_ref())
            && same(optional.as_ref(), other.optional.as_ref())
    }
}

/// Returns true if some value of the one can be equal to some value of the other.
pub(crate) fn is_overlapping(one: &ValueType, other: &ValueType) -> bool {
    let both = |kind: Type| one.kinds.has(kind) && other.kinds.has(kind);
    let alike = |kinds: &[Type]| kinds.iter().any(|kind| both(*kind));
    // Numbers are equal by value, whatever their types.
    (one.can_be(NUMBER) && other.can_be(NUMBER) && !one.numbers.and(&other.numbers).is_empty())
        || (both(Type::Bool) && one.truth.zip(other.truth).is_none_or(|(one, other)| one == other))
        || (both(Type::String) && !one.texts.and(&other.texts).is_empty())
        || (both(Type::Type) && !one.types.and(other.types).is_empty())
        || (both(Type::List) && are_lists_overlapping(one, other))
        || (both(Type::Optional) && are_optionals_overlapping(one, other))
        || alike(&[Type::Null, Type::Bytes, Type::Map, Type::Timestamp, Type::Duration])
}

fn are_lists_overlapping(one: &ValueType, other: &ValueType) -> bool {
    let Some((one, other)) = one.list_known().zip(other.list_known()) else { return true };
    match (one.len, other.len) {
        (Some(one), Some(other)) if one != other => false,
        (Some(0), _) | (_, Some(0)) | (None, None) => true,
        (Some(_), _) | (_, Some(_)) => is_overlapping(&one.element, &other.element),
    }
}

fn are_optionals_overlapping(one: &ValueType, other: &ValueType) -> bool {
    let Some((one, other)) = one.optional_known().zip(other.optional_known()) else { return true };
    (one.occurrence != Occurrence::Always && other.occurrence != Occurrence::Always) || is_overlapping(&one.inner, &other.inner)
}

impl ListType {
    /// Returns the type of lists of such a type about whose elements nothing is known.
    fn of_unknown(lists: &ValueType) -> Self {
        Self { element: lists.below(), len: None, holds: Holds::Some }
    }

    fn or(&self, other: &Self) -> Self {
        Self {
            element: self.element.clone().or(other.element.clone()),
            len: self.len.filter(|len| other.len == Some(*len)),
            holds: Holds::Some,
        }
    }
}

impl OptionalType {
    fn or(&self, other: &Self) -> Self {
        Self { inner: self.inner.clone().or(other.inner.clone()), occurrence: self.occurrence.max(other.occurrence) }
    }
}

impl MapType {
    /// Returns true if JSON can hold each of its values.
    fn is_json(&self) -> bool {
        let others = match self.others() {
            Others::Are(value) => value.is_json(),
            Others::None | Others::Undeclared => true,
        };
        others && self.fields().values().all(|field| field.value.is_json())
    }

    fn admits(&self, value: &Value<'_>) -> bool {
        let fits = |name: &str, value: Option<Value<'_>>| match (self.fields().get(name), value) {
            (Some(FieldType { occurrence, .. }), None) => *occurrence != Occurrence::Always,
            (Some(field), Some(value)) => field.value.admits(&value),
            (None, Some(value)) => match self.others() {
                Others::None => false,
                Others::Undeclared => true,
                Others::Are(others) => others.admits(&value),
            },
            (None, None) => true,
        };
        let field = |name: &str| match value {
            Value::Map(map) => map.get_str(name).cloned(),
            Value::Json(node) if node.kind() == NodeKind::Object => node.get(name).map(Value::from),
            _ => None,
        };
        let names: Vec<String> = match value {
            Value::Map(map) => map.entries().iter().filter_map(|(key, _)| key.as_str().map(Into::into)).collect(),
            Value::Json(node) => node.entries().map(|(name, _)| name.into_owned()).collect(),
            _ => Vec::new(),
        };
        self.fields().keys().all(|name| fits(name, field(name))) && names.iter().all(|name| fits(name, field(name)))
    }
}

impl Texts {
    /// Returns true if each of them is among the others.
    pub(crate) fn is_within(&self, others: &Self) -> bool {
        self.and(&others.others()).is_empty()
    }
}
