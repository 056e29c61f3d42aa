//! The possible values of an expression before it has one: declared by a schema, or inferred.
//!
//! A type is a set of values, described kind by kind. It may contain values that never occur, and never
//! leaves out one that does. How types follow from expressions is in `check`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::functions::signature::{ALL, BOOL, INT, JSON, Kinds, LIST, MAP, NULL, NUMBER, OPTIONAL, STRING, TYPE, UINT};
use crate::value::{Text, Type, Value};

mod fields;
mod range;
mod sets;
mod texts;

pub(crate) use fields::FieldLookup;
pub use fields::{FieldType, MapType, Occurrence, Others};
pub(crate) use range::Range;
pub(crate) use sets::is_overlapping;
pub(crate) use texts::Texts;

/// The depth to which a type is known. Anything deeper can be anything.
pub const TYPE_DEPTH_MAX: u8 = 16;
/// The maximum number of types within a type, each counted as often as it occurs. A larger one is known only by its kinds: what
/// works on types follows all of them.
pub const TYPE_SIZE_MAX: u32 = 10_000;
/// The maximum number of texts that a type names one by one.
pub const TYPE_TEXTS_MAX: usize = 64;
/// The maximum number of values of a type for them to be tried one by one.
const CONSTANTS_MAX: usize = 16;

/// The possible values of an expression: a set of values.
#[derive(Clone, Debug)]
pub struct ValueType {
    kinds: Kinds,
    /// For booleans, the only one that it can be.
    truth: Option<bool>,
    numbers: Range,
    texts: Texts,
    /// For types, those that it can be.
    types: Kinds,
    /// For lists. If there is none, nothing is known.
    list: Option<Arc<ListType>>,
    /// For maps. If there is none, nothing is known.
    map: Option<Arc<MapType>>,
    /// For optionals. If there is none, nothing is known.
    optional: Option<Arc<OptionalType>>,
    /// The origin of lists and maps about which nothing is known.
    origin: UnknownContents,
    depth: u8,
    /// The number of types within it, itself included.
    size: u32,
}

/// The possible contents of lists and maps about which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum UnknownContents {
    /// Values that JSON can hold.
    Json,
    /// Anything.
    Made,
}

/// What is known about a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListType {
    pub(crate) element: ValueType,
    /// The number of elements, if known.
    pub(crate) len: Option<usize>,
    /// Whether each value that an element can have occurs in the list.
    pub(crate) holds: Holds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Some,
    All,
}

/// What is known about an optional.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OptionalType {
    /// Its content if it is present, or nothing if it is never present.
    pub(crate) inner: ValueType,
    pub(crate) occurrence: Occurrence,
}

impl ValueType {
    /// Returns the type without any value, of an expression that always fails.
    pub(crate) fn nothing() -> Self {
        Self::of(Kinds::NONE)
    }

    /// Returns the type of all values.
    pub fn anything() -> Self {
        Self::of_computed(ALL)
    }

    /// Returns the type of everything that JSON can hold.
    pub fn json() -> Self {
        Self::of(JSON)
    }

    /// Returns the type of texts.
    pub fn text() -> Self {
        Self::of(STRING)
    }

    /// Returns the type of these texts, or of any text if there are more than [`TYPE_TEXTS_MAX`].
    pub fn one_of<T: Into<Box<str>>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self { texts: Texts::one_of(texts.into_iter().map(Into::into).collect()), ..Self::of(STRING) }
    }

    /// Returns the type of a whole number of JSON. A number written `3.0` is a double in expressions, and is
    /// not included.
    pub fn integer() -> Self {
        Self::of(INT.or(UINT))
    }

    /// Returns the type of a number of JSON.
    pub fn number() -> Self {
        Self::of(NUMBER)
    }

    /// Returns the type of true and false.
    pub fn boolean() -> Self {
        Self::of(BOOL)
    }

    /// Returns the type of null.
    pub fn null() -> Self {
        Self::of(NULL)
    }

    /// Returns the type of a JSON object about which nothing is known.
    pub fn object() -> Self {
        Self::of(MAP)
    }

    /// Returns the type of a list of such elements.
    pub fn list(element: Self) -> Self {
        Self::list_type(ListType { element, len: None, holds: Holds::Some })
    }

    /// Returns the type of a map with these fields.
    pub fn map(map: MapType) -> Self {
        let (depth, size) = (map.depth() + 1, map.size() + 1);
        if depth > TYPE_DEPTH_MAX || size > TYPE_SIZE_MAX {
            return Self { origin: UnknownContents::Made, ..Self::of(MAP) };
        }
        Self { map: Some(Arc::new(map)), depth, size, ..Self::of(MAP) }
    }

    pub(crate) fn list_type(list: ListType) -> Self {
        let (depth, size) = (list.element.depth + 1, list.element.size + 1);
        if depth > TYPE_DEPTH_MAX || size > TYPE_SIZE_MAX {
            return Self { origin: UnknownContents::Made, ..Self::of(LIST) };
        }
        Self { list: Some(Arc::new(list)), depth, size, ..Self::of(LIST) }
    }

    pub(crate) fn optional(inner: Self, occurrence: Occurrence) -> Self {
        let (depth, size) = (inner.depth + 1, inner.size + 1);
        if depth > TYPE_DEPTH_MAX || size > TYPE_SIZE_MAX {
            return Self { origin: UnknownContents::Made, ..Self::of(OPTIONAL) };
        }
        Self { optional: Some(Arc::new(OptionalType { inner, occurrence })), depth, size, ..Self::of(OPTIONAL) }
    }

    /// Returns the type of an absent optional.
    pub(crate) fn absent() -> Self {
        Self::optional(Self::nothing(), Occurrence::Sometimes)
    }

    /// Returns the type of values of these kinds about which nothing more is known.
    pub(crate) fn of(kinds: Kinds) -> Self {
        Self {
            kinds,
            truth: None,
            numbers: Range::json(),
            texts: Texts::Any,
            types: ALL,
            list: None,
            map: None,
            optional: None,
            origin: UnknownContents::Json,
            depth: 0,
            size: 1,
        }
    }

    /// Returns the number of types within it, itself included, each counted as often as it occurs; at most [`TYPE_SIZE_MAX`].
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Returns the type of values of these kinds that an expression made.
    pub(crate) fn of_computed(kinds: Kinds) -> Self {
        Self { numbers: Range::all_computable(), origin: UnknownContents::Made, ..Self::of(kinds) }
    }

    pub(crate) fn truth(value: bool) -> Self {
        Self { truth: Some(value), ..Self::of(BOOL) }
    }

    /// Returns the type of a condition that can be true and can be false as stated, or of nothing if it can
    /// be neither.
    pub(crate) fn truths(can_be: Truths) -> Self {
        match (can_be.yes, can_be.no) {
            (true, true) => Self::boolean(),
            (true, false) => Self::truth(true),
            (false, true) => Self::truth(false),
            (false, false) => Self::nothing(),
        }
    }

    /// Returns the type of numbers of these kinds in a range.
    pub(crate) fn within(kinds: Kinds, numbers: Range) -> Self {
        if numbers.is_empty() {
            return Self::nothing();
        }
        Self { numbers, ..Self::of(kinds.and(NUMBER)) }
    }

    /// Returns the type whose values are these types.
    pub(crate) fn type_of(types: Kinds) -> Self {
        Self { types, ..Self::of(TYPE) }
    }

    /// Returns the type of exactly this value, as far as types can express it.
    pub fn of_value(value: &Value<'_>) -> Self {
        match value {
            Value::Bool(value) => Self::truth(*value),
            Value::Int(_) | Value::Uint(_) | Value::Double(_) => Self::within(Kinds::of(value.kind()), Range::of(value)),
            Value::String(text) => Self::one_of([&**text]),
            Value::Type(kind) => Self::type_of(Kinds::of(*kind)),
            Value::Optional(None) => Self::absent(),
            Value::Optional(Some(inner)) => Self::optional(Self::of_value(inner), Occurrence::Always),
            Value::List(_) | Value::Json(_) if value.kind() == Type::List => {
                let elements: Vec<Self> = value.elements().unwrap_or_default().iter().map(Self::of_value).collect();
                Self::list_of(elements, Self::or)
            }
            Value::Null | Value::Bytes(_) | Value::Timestamp(_) | Value::Duration(_) => Self::of(Kinds::of(value.kind())),
            Value::List(_) | Value::Map(_) | Value::Json(_) => Self::of_computed(Kinds::of(value.kind())),
        }
    }

    /// Returns the type of a list of exactly these elements. `or` joins their types.
    pub(crate) fn list_of(elements: Vec<Self>, or: impl FnMut(Self, Self) -> Self) -> Self {
        let len = elements.len();
        let are_constant = elements.iter().all(|element| element.constant().is_some());
        let element = elements.into_iter().fold(Self::nothing(), or);
        // Several numbers become a range, which contains more than they do.
        let is_told = element.kinds.is_within(NULL.or(BOOL).or(STRING)) && element.texts != Texts::Any;
        let holds = if are_constant && is_told { Holds::All } else { Holds::Some };
        Self::list_type(ListType { element, len: Some(len), holds })
    }

    /// Returns the kinds of its values.
    pub(crate) fn kinds(&self) -> Kinds {
        self.kinds
    }

    pub(crate) fn can_be(&self, kinds: Kinds) -> bool {
        !self.kinds.and(kinds).is_empty()
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Returns the type without values of some kinds.
    pub(crate) fn without(&self, kinds: Kinds) -> Self {
        Self { kinds: self.kinds.without(kinds), ..self.clone() }
    }

    /// Returns the type with only the values of some kinds.
    pub(crate) fn only(&self, kinds: Kinds) -> Self {
        Self { kinds: self.kinds.and(kinds), ..self.clone() }
    }

    /// Returns the type without one truth. The next two exclude one number and one text.
    pub(crate) fn but_truth(self, truth: bool) -> Self {
        Self { truth: Some(!truth), ..self }
    }

    pub(crate) fn but_number(self, number: &Value<'_>) -> Self {
        Self { numbers: Range::all_but(number), ..self }
    }

    pub(crate) fn but_text(self, text: &str) -> Self {
        Self { texts: Texts::any_but(BTreeSet::from([text.into()])), ..self }
    }

    /// Returns the type with null added.
    #[must_use]
    pub fn or_null(self) -> Self {
        Self { kinds: self.kinds.or(NULL), ..self }
    }

    /// Returns the type of values that have the same type, but not the same value.
    pub(crate) fn another(&self) -> Self {
        let list = self.list.as_ref().map(|list| Arc::new(ListType { element: list.element.clone(), len: None, holds: Holds::Some }));
        Self { truth: None, numbers: Range::all_computable(), texts: Texts::Any, list, ..self.clone() }
    }

    pub(crate) fn can_be_truth(&self, value: bool) -> bool {
        self.kinds.has(Type::Bool) && self.truth != Some(!value)
    }

    pub(crate) fn list_known(&self) -> Option<&ListType> {
        self.list.as_deref().filter(|_| self.kinds.has(Type::List))
    }

    pub(crate) fn map_known(&self) -> Option<&MapType> {
        self.map.as_deref().filter(|_| self.kinds.has(Type::Map))
    }

    pub(crate) fn optional_known(&self) -> Option<&OptionalType> {
        self.optional.as_deref().filter(|_| self.kinds.has(Type::Optional))
    }

    pub(crate) fn range(&self) -> &Range {
        &self.numbers
    }

    pub(crate) fn named_texts(&self) -> &Texts {
        &self.texts
    }

    /// Returns the type of the contents of lists and maps about which nothing is known.
    pub(crate) fn below(&self) -> Self {
        match self.origin {
            UnknownContents::Json => Self::json(),
            UnknownContents::Made => Self::anything(),
        }
    }

    /// Returns the type of the list's elements.
    pub fn element(&self) -> Self {
        match self.list_known() {
            Some(list) => list.element.clone(),
            None if self.kinds.has(Type::List) => self.below(),
            None => Self::nothing(),
        }
    }

    /// Returns the type of the optional's content.
    pub(crate) fn inner(&self) -> Self {
        match self.optional_known() {
            Some(optional) => optional.inner.clone(),
            None if self.kinds.has(Type::Optional) => Self::anything(),
            None => Self::nothing(),
        }
    }

    /// Returns the single value that it can be.
    pub(crate) fn constant(&self) -> Option<Value<'static>> {
        match self.constants()?.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// Returns all values that it can be, if they are few and can be named.
    pub(crate) fn constants(&self) -> Option<Vec<Value<'static>>> {
        let mut all = Vec::new();
        for kind in self.kinds.types() {
            match kind {
                Type::Null => all.push(Value::Null),
                Type::Bool => all.extend([true, false].into_iter().filter(|truth| self.can_be_truth(*truth)).map(Value::Bool)),
                Type::String => match &self.texts {
                    Texts::OneOf(texts) => all.extend(texts.iter().map(|text| Value::String(Text::Shared((&**text).into())))),
                    Texts::Any | Texts::AnyBut(_) => return None,
                },
                Type::Int | Type::Uint | Type::Double => all.extend(self.numbers.only(kind)?),
                Type::Type => all.extend(self.types.types().map(Value::Type)),
                Type::Bytes | Type::List | Type::Map | Type::Timestamp | Type::Duration | Type::Optional => return None,
            }
            if all.len() > CONSTANTS_MAX {
                return None;
            }
        }
        Some(all)
    }

    /// Returns the type of its JSON, which is what a template makes of it if it is alone.
    pub fn to_json_type(&self) -> Self {
        let texts = Kinds::of(Type::Bytes).or(Kinds::of(Type::Timestamp)).or(Kinds::of(Type::Duration));
        let mut rendered = self.only(JSON);
        if self.can_be(texts) {
            rendered = rendered.or(Self::text());
        }
        if self.can_be(OPTIONAL) {
            rendered = rendered.or(match self.optional_known() {
                Some(optional) => optional.inner.to_json_type(),
                None => Self::json(),
            });
        }
        rendered
    }

    /// Returns true if nothing is known about it, or if there is no such value.
    pub fn is_unknown_or_nothing(&self) -> bool {
        self.is_nothing() || JSON.is_within(self.kinds)
    }

    /// Returns the texts that it can be, if they are named one by one.
    pub fn texts(&self) -> Option<&BTreeSet<Box<str>>> {
        match &self.texts {
            Texts::OneOf(texts) if self.kinds == STRING => Some(texts),
            Texts::OneOf(_) | Texts::Any | Texts::AnyBut(_) => None,
        }
    }
}

/// Whether a condition can be true, and whether it can be false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Truths {
    pub(crate) yes: bool,
    pub(crate) no: bool,
}

impl Truths {
    pub(crate) const NEITHER: Self = Self { yes: false, no: false };
    pub(crate) const BOTH: Self = Self { yes: true, no: true };

    pub(crate) fn of(value: bool) -> Self {
        Self { yes: value, no: !value }
    }

    pub(crate) fn negate(self) -> Self {
        Self { yes: self.no, no: self.yes }
    }
}

/// The type for people, without null if there is more: `a string`, `a number`, `a list or a map`.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if JSON.is_within(self.kinds) {
            return f.write_str("a JSON value");
        }
        let kinds = if self.kinds == NULL { self.kinds } else { self.kinds.without(NULL) };
        let mut names: Vec<String> = Vec::new();
        for kind in kinds.types() {
            match kind {
                Type::Int | Type::Uint | Type::Double if NUMBER.is_within(kinds) => {
                    if kind == Type::Int {
                        names.push("a number".to_owned());
                    }
                }
                // A number of JSON is a uint only if it does not fit in an int.
                Type::Uint if kinds.has(Type::Int) => {}
                other => names.push(other.to_string()),
            }
        }
        match names.split_last() {
            None => f.write_str("nothing"),
            Some((last, [])) => f.write_str(last),
            Some((last, before)) => write!(f, "{} or {last}", before.join(", ")),
        }
    }
}
