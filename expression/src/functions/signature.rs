//! The types that a function accepts and returns. They determine how many values a call may have, and the
//! checker reads them.
//!
//! Whether a value of the right type is also valid is determined by the function itself.

use crate::value::Type;

/// A set of types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl Kinds {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn of(kind: Type) -> Self {
        Self(1 << kind as u16)
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn has(self, kind: Type) -> bool {
        !self.and(Self::of(kind)).is_empty()
    }

    /// Returns true if all of `self` are among `other`.
    pub(crate) const fn is_within(self, other: Self) -> bool {
        self.without(other).is_empty()
    }

    /// Returns the types, in order.
    pub(crate) fn types(self) -> impl Iterator<Item = Type> {
        Type::ALL.into_iter().filter(move |kind| self.has(*kind))
    }
}

pub(crate) const NULL: Kinds = Kinds::of(Type::Null);
pub(crate) const BOOL: Kinds = Kinds::of(Type::Bool);
pub(crate) const INT: Kinds = Kinds::of(Type::Int);
pub(crate) const UINT: Kinds = Kinds::of(Type::Uint);
pub(crate) const DOUBLE: Kinds = Kinds::of(Type::Double);
pub(crate) const STRING: Kinds = Kinds::of(Type::String);
pub(crate) const BYTES: Kinds = Kinds::of(Type::Bytes);
pub(crate) const LIST: Kinds = Kinds::of(Type::List);
pub(crate) const MAP: Kinds = Kinds::of(Type::Map);
pub(crate) const TIMESTAMP: Kinds = Kinds::of(Type::Timestamp);
pub(crate) const DURATION: Kinds = Kinds::of(Type::Duration);
pub(crate) const TYPE: Kinds = Kinds::of(Type::Type);
pub(crate) const OPTIONAL: Kinds = Kinds::of(Type::Optional);

pub(crate) const NUMBER: Kinds = INT.or(UINT).or(DOUBLE);
/// The types that `<` compares, each with its own.
pub(crate) const ORDERED: Kinds = BOOL.or(NUMBER).or(STRING).or(BYTES).or(TIMESTAMP).or(DURATION);
/// The types that `string(x)` and joined texts write out.
pub(crate) const SCALAR: Kinds = BOOL.or(NUMBER).or(STRING).or(TIMESTAMP).or(DURATION);
/// The types that JSON can hold.
pub(crate) const JSON: Kinds = NULL.or(BOOL).or(NUMBER).or(STRING).or(LIST).or(MAP);
pub(crate) const ALL: Kinds = JSON.or(BYTES).or(TIMESTAMP).or(DURATION).or(TYPE).or(OPTIONAL);

/// One way in which a function can be called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature {
    /// The receiver first, if there is one.
    pub(crate) takes: &'static [Kinds],
    /// The types of the elements of a list among the values.
    pub(crate) elements: Kinds,
    pub(crate) gives: Gives,
    last: Last,
}

/// How often the last value of a signature appears in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Once,
    OnceOrNot,
    OnceOrMore,
}

/// What a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    /// A value of one of these types.
    A(Kinds),
    /// A whole number from 0.
    Size,
    /// Anything that JSON can hold.
    Json,
    /// The first value itself.
    First,
    /// A value of the first one's type. For a list, with its elements.
    LikeFirst,
    /// A list of elements of these types.
    ListOf(Kinds),
    /// The first value as an optional.
    Optional,
    /// The first value as an optional, or none.
    MaybeOptional,
    /// An element of the list as an optional, or none.
    OptionalElement,
    /// An element of the list.
    Element,
    /// An absent optional.
    Absent,
    /// The content of the optional.
    Inner,
    /// A list of the contents of the optionals of the list.
    PresentElements,
}

/// Returns a signature with exactly these values.
pub(crate) const fn takes(takes: &'static [Kinds], gives: Gives) -> Signature {
    Signature { takes, elements: ALL, gives, last: Last::Once }
}

impl Signature {
    /// Restricts it to lists of these elements.
    pub(crate) const fn of_elements(mut self, elements: Kinds) -> Self {
        self.elements = elements;
        self
    }

    /// Makes the last value optional.
    pub(crate) const fn or_without_last(mut self) -> Self {
        self.last = Last::OnceOrNot;
        self
    }

    /// Allows the last value any number of times.
    pub(crate) const fn or_more(mut self) -> Self {
        self.last = Last::OnceOrMore;
        self
    }

    /// Returns true if it accepts this many values.
    pub(crate) fn fits(&self, values: usize) -> bool {
        match self.last {
            Last::Once => values == self.takes.len(),
            Last::OnceOrNot => values == self.takes.len() || values + 1 == self.takes.len(),
            Last::OnceOrMore => values >= self.takes.len(),
        }
    }

    /// Returns the types that the value at an index may have.
    pub(crate) fn at(&self, index: usize) -> Kinds {
        self.takes.get(index).or(self.takes.last()).copied().unwrap_or(ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::error::ErrorKind;
    use crate::functions::{self, Arguments, PatternCache};
    use crate::value::Value;

    /// The maximum number of values that a call is tried with.
    const VALUES_MAX: usize = 3;

    fn samples() -> Vec<Value<'static>> {
        vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(1),
            Value::Uint(1),
            Value::Double(1.0),
            Value::from("1.0.0"),
            Value::Bytes([1][..].into()),
            Value::list([Value::Int(1)]),
            Value::map([("a", Value::Int(1))]),
            Value::Timestamp(chrono::DateTime::UNIX_EPOCH),
            Value::Duration(1),
            Value::Type(Type::Int),
            Value::Optional(Some(std::sync::Arc::new(Value::Int(1)))),
        ]
    }

    /// Returns all calls with this many of the samples.
    fn calls(values: usize) -> Vec<Vec<Value<'static>>> {
        (0..values).fold(vec![Vec::new()], |calls, _| {
            let longer = |call: &Vec<Value<'static>>| {
                let call = call.clone();
                samples().into_iter().map(move |sample| call.iter().cloned().chain([sample]).collect())
            };
            calls.iter().flat_map(longer).collect()
        })
    }

    #[test]
    fn each_function_accepts_exactly_its_signatures() {
        for function in functions::all() {
            for values in (0..=VALUES_MAX).filter(|values| function.takes(*values)).flat_map(calls) {
                let is_taken = function
                    .signatures
                    .iter()
                    .filter(|signature| signature.fits(values.len()))
                    .any(|signature| values.iter().enumerate().all(|(index, value)| signature.at(index).has(value.kind())));
                let (budget, patterns) = (&mut Budget::default(), &mut PatternCache::default());
                let outcome = Arguments { function, values: &values, budget, pattern: None, patterns }.call();
                match outcome {
                    Err(fault) if is_taken => assert_ne!(fault.kind, ErrorKind::Type, "{function:?} of {values:?}: {}", fault.message),
                    Ok(value) => assert!(is_taken, "{function:?} of {values:?} gives {value:?}"),
                    Err(_) => {}
                }
            }
        }
    }

    #[test]
    fn kinds_behave_like_sets() {
        assert!(INT.is_within(NUMBER) && !NUMBER.is_within(INT) && NULL.and(NUMBER).is_empty());
        assert_eq!(NUMBER.types().collect::<Vec<_>>(), [Type::Int, Type::Uint, Type::Double]);
        assert_eq!(ALL.types().count(), Type::ALL.len());
    }
}
