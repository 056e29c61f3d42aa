//! The values that expressions compute with: borrowed if they come from JSON, shared if they were made.
//!
//! Operations on them are elsewhere: operators in `compare` and `arithmetic`, functions in `functions`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::budget::Budget;
use crate::error::{ErrorKind, EvaluationError, Fault, fault};
use crate::json::{Node, NodeKind, Number};

mod collection;
mod convert;
mod duration;
mod json_text;
mod kind;
mod moment;
mod order;

pub(crate) use collection::Measure;
pub use collection::{List, Map};
pub use convert::{RESULT_BYTES_MAX, RESULT_VALUES_MAX};
pub(crate) use convert::{rounding_fault, scalar_text, short_enough};
pub use duration::{DurationError, parse_duration};
pub(crate) use json_text::json_text;
pub use kind::Type;
pub(crate) use moment::in_range;
pub(crate) use order::{KEY_BYTES_PER_STEP, key_order, long_text_steps, numeric_order};

/// The maximum nesting of lists, maps and optionals that an expression makes.
pub const VALUE_DEPTH_MAX: u32 = 128;

/// A value of the expression language.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A signed whole number.
    Int(i64),
    /// An unsigned whole number.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// A text.
    String(Text<'a>),
    /// Bytes that need not be text.
    Bytes(Arc<[u8]>),
    /// A list that was made.
    List(List<'a>),
    /// A map that was made.
    Map(Map<'a>),
    /// A JSON array or object, read in place. Create it with `Value::from(node)`, which converts scalars to
    /// their own form.
    Json(Node<'a>),
    /// A point in time.
    Timestamp(DateTime<Utc>),
    /// A length of time in nanoseconds.
    Duration(i64),
    /// A type, as returned by `type(x)`.
    Type(Type),
    /// A value that may be absent.
    Optional(Option<Arc<Value<'a>>>),
}

/// A text, borrowed or shared.
#[derive(Clone)]
pub enum Text<'a> {
    /// Part of the document or of the expression.
    Borrowed(&'a str),
    /// Made by the evaluation.
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<'a> Value<'a> {
    /// Returns a map with text keys. Of equal keys, the last is kept.
    pub fn map(entries: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Value<'a> {
        let mut items: Vec<_> = entries.into_iter().map(|(key, value)| (Value::from(key), value.into_native())).collect();
        items.sort_by(|one, other| key_order(&one.0, &other.0));
        items.dedup_by(|later, earlier| {
            let is_equal = key_order(&later.0, &earlier.0).is_eq();
            if is_equal {
                std::mem::swap(later, earlier);
            }
            is_equal
        });
        Value::Map(Map::new(items))
    }

    /// Returns a list.
    pub fn list(items: impl IntoIterator<Item = Value<'a>>) -> Value<'a> {
        Value::List(List::new(items.into_iter().map(Value::into_native).collect()))
    }

    /// Returns a list that an expression makes, or an error if it nests too deeply.
    pub(crate) fn made_list(items: Vec<Value<'a>>) -> Result<Value<'a>, Fault> {
        let list = List::new(items);
        list.measure().check_depth()?;
        Ok(Value::List(list))
    }

    /// Returns a map that an expression makes, or an error if it nests too deeply, or if a key is not valid
    /// or occurs twice.
    pub(crate) fn made_map(mut items: Vec<(Value<'a>, Value<'a>)>, budget: &mut Budget) -> Result<Value<'a>, Fault> {
        for (key, _) in &items {
            if let Value::String(text) = key {
                budget.charge(long_text_steps(text.len(), items.len()))?;
            } else if !matches!(key, Value::Bool(_) | Value::Int(_) | Value::Uint(_)) {
                return Err(fault(ErrorKind::Type, format!("{} cannot be a map key; keys are strings, ints, uints or bools", key.kind())));
            }
        }
        items.sort_by(|one, other| key_order(&one.0, &other.0));
        if let Some(pair) = items.windows(2).find(|pair| key_order(&pair[0].0, &pair[1].0).is_eq()) {
            return Err(fault(ErrorKind::Invalid, format!("duplicate key {} in a map", pair[0].0.brief())));
        }
        let map = Map::new(items);
        map.measure().check_depth()?;
        Ok(Value::Map(map))
    }

    pub(crate) fn some(value: Value<'a>) -> Result<Value<'a>, Fault> {
        Measure::around(std::iter::once(value.measure())).check_depth()?;
        Ok(Value::Optional(Some(Arc::new(value))))
    }

    pub(crate) const NONE: Value<'static> = Value::Optional(None);

    pub(crate) fn shared_text(text: impl Into<Arc<str>>) -> Value<'a> {
        Value::String(Text::Shared(text.into()))
    }

    /// Returns the value of a part of a JSON text as an owned copy: nothing of `node` is borrowed.
    pub(crate) fn owned_from(node: Node<'_>) -> Value<'static> {
        match node.kind() {
            NodeKind::Array => {
                let mut items = Vec::with_capacity(node.len());
                items.extend(node.items().map(Value::owned_from));
                Value::List(List::new(items))
            }
            NodeKind::Object => {
                let mut items = Vec::with_capacity(node.len());
                items.extend(node.entries().map(|(key, value)| (Value::shared_text(&*key), Value::owned_from(value))));
                items.sort_unstable_by(|one, other| key_order(&one.0, &other.0));
                Value::Map(Map::new(items))
            }
            NodeKind::String => Value::shared_text(node.as_str().unwrap_or_default()),
            NodeKind::Null | NodeKind::Bool | NodeKind::Number => match Value::from(node) {
                Value::Bool(value) => Value::Bool(value),
                Value::Int(value) => Value::Int(value),
                Value::Uint(value) => Value::Uint(value),
                Value::Double(value) => Value::Double(value),
                _ => Value::Null,
            },
        }
    }

    /// Returns the value's type.
    pub fn kind(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::List(_) => Type::List,
            Self::Map(_) => Type::Map,
            Self::Json(node) => match node.kind() {
                NodeKind::Null => Type::Null,
                NodeKind::Bool => Type::Bool,
                NodeKind::Number => match node.number() {
                    Some(Number::Int(_)) => Type::Int,
                    Some(Number::Uint(_)) => Type::Uint,
                    Some(Number::Double(_)) | None => Type::Double,
                },
                NodeKind::String => Type::String,
                NodeKind::Array => Type::List,
                NodeKind::Object => Type::Map,
            },
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::Type(_) => Type::Type,
            Self::Optional(_) => Type::Optional,
        }
    }

    /// Returns a boolean's value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Json(node) => node.as_bool(),
            _ => None,
        }
    }

    /// Returns a string's text.
    pub fn as_str(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::String(text) => Some(Cow::Borrowed(text)),
            Self::Json(node) => node.as_str(),
            _ => None,
        }
    }

    /// Returns a whole number, if it fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Uint(value) => i64::try_from(*value).ok(),
            Self::Json(node) => node.as_i64(),
            _ => None,
        }
    }

    /// Returns a list's elements, or nothing for a value that is not a list.
    pub fn elements(&self) -> Option<Vec<Value<'a>>> {
        match self {
            Self::List(list) => Some(list.items().to_vec()),
            Self::Json(node) if node.kind() == NodeKind::Array => Some(node.items().map(Value::from).collect()),
            _ => None,
        }
    }

    pub(crate) fn measure(&self) -> Measure {
        let (bytes, values) = match self {
            Self::List(list) => return list.measure(),
            Self::Map(map) => return map.measure(),
            Self::Optional(Some(value)) => {
                return Measure::around(std::iter::once(value.measure()));
            }
            // The nesting of a JSON text is limited by its own parser. Here it counts as a leaf.
            Self::Json(node) => (node.raw_len() as u64, node.values()),
            Self::String(text) => (text.len() as u64 + 2, 1),
            Self::Bytes(bytes) => (bytes.len() as u64 * 4 / 3 + 4, 1),
            Self::Null | Self::Bool(_) | Self::Optional(None) => (5, 1),
            Self::Int(_) | Self::Uint(_) | Self::Double(_) => (20, 1),
            Self::Timestamp(_) | Self::Duration(_) | Self::Type(_) => (36, 1),
        };
        Measure { depth: 0, bytes, values }
    }

    /// Charges for traversing the whole value: by the bytes of its text, and by the number of values in it.
    pub(crate) fn charge_whole(&self, budget: &mut Budget) -> Result<(), Fault> {
        let Measure { bytes, values, .. } = self.measure();
        budget.charge(values)?;
        budget.charge_bytes(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Returns approximately how many bytes its JSON text takes.
    pub(crate) fn weight(&self) -> usize {
        usize::try_from(self.measure().bytes).unwrap_or(usize::MAX)
    }

    /// Returns the value, if it is not a list or map.
    pub(crate) fn clone_scalar(&self) -> Option<Value<'a>> {
        match self.clone().into_native() {
            Value::Json(_) => None,
            scalar => Some(scalar),
        }
    }

    /// Converts a scalar that was wrapped as `Json` to its own form.
    pub(crate) fn into_native(self) -> Value<'a> {
        match self {
            Self::Json(node) => Value::from(node),
            other => other,
        }
    }

    /// Returns the text of a scalar, as in `string(x)` and joined templates, or `None` for anything else.
    pub fn scalar_text(&self) -> Option<String> {
        scalar_text(self)
    }

    /// Returns a short description of the value for messages: JSON truncated at 60 characters.
    pub fn brief(&self) -> String {
        const CHARACTERS_MAX: usize = 60;
        let text = match self {
            Self::List(list) if list.measure().bytes > 200 => {
                format!("[… {} elements]", list.items().len())
            }
            Self::Map(map) if map.measure().bytes > 200 => {
                format!("{{… {} fields}}", map.entries().len())
            }
            Self::Json(node) if node.raw_len() > 200 => match node.kind() {
                NodeKind::Array => format!("[… {} elements]", describe_count(node.items())),
                NodeKind::Object => format!("{{… {} fields}}", describe_count(node.entries())),
                NodeKind::Null | NodeKind::Bool | NodeKind::Number | NodeKind::String => node.raw().to_owned(),
            },
            // Truncated before it is escaped: a message must not cost as much as a long text.
            Self::String(text) if text.len() > 200 => {
                let start: String = text.chars().take(CHARACTERS_MAX).collect();
                serde_json::Value::String(start).to_string()
            }
            Self::Bytes(bytes) if bytes.len() > 200 => format!("{} bytes", bytes.len()),
            Self::Optional(None) => "optional.none()".to_owned(),
            Self::Optional(Some(value)) => format!("optional.of({})", value.brief()),
            Self::Type(kind) => kind.name().to_owned(),
            other => match other.to_json() {
                Ok(json) => json.to_string(),
                Err(_) => other.kind().to_string(),
            },
        };
        if text.chars().count() <= CHARACTERS_MAX {
            return text;
        }
        let cut: String = text.chars().take(CHARACTERS_MAX - 1).collect();
        format!("{cut}…")
    }

    /// Returns the value as JSON: timestamps and durations as their text, bytes as base64, keys as text.
    ///
    /// # Errors
    /// An infinite or undefined number, a type, an absent optional, keys that become equal as text, and a
    /// value of more than [`RESULT_BYTES_MAX`] bytes or [`crate::json::JSON_DEPTH_MAX`] levels have no JSON
    /// form.
    pub fn to_json(&self) -> Result<serde_json::Value, EvaluationError> {
        convert::to_json(self, convert::Foreign::Refused).map_err(|fault| *fault)
    }

    /// Returns the text of [`Value::to_json`]. A list or a map that is part of a document counts by its bytes
    /// alone, because nothing but its text is made.
    ///
    /// # Errors
    /// As for [`Value::to_json`].
    pub fn to_json_text(&self) -> Result<String, EvaluationError> {
        json_text::result_text(self).map_err(|fault| *fault)
    }

    /// Returns the value as JSON for display: like [`Value::to_json`], but with a type as its name, an absent
    /// optional as null, and doubles that JSON does not have as `"NaN"`, `"Infinity"` and `"-Infinity"`.
    ///
    /// # Errors
    /// As for [`Value::to_json`], for keys that become equal and for values that are too large.
    pub fn to_json_shown(&self) -> Result<serde_json::Value, EvaluationError> {
        convert::to_json(self, convert::Foreign::Shown).map_err(|fault| *fault)
    }

    /// Returns a copy of a JSON value.
    pub fn from_json(value: &'a serde_json::Value) -> Value<'a> {
        convert::from_json(value)
    }
}

/// Returns how many there are, or that there are more than a message counts.
fn describe_count(things: impl Iterator) -> String {
    const COUNTED_MAX: usize = 200;
    match things.take(COUNTED_MAX + 1).count() {
        count if count > COUNTED_MAX => format!("more than {COUNTED_MAX}"),
        count => count.to_string(),
    }
}

impl<'a> From<Node<'a>> for Value<'a> {
    fn from(node: Node<'a>) -> Self {
        match node.kind() {
            NodeKind::Null => Self::Null,
            NodeKind::Bool => Self::Bool(node.as_bool() == Some(true)),
            NodeKind::Number => match node.number() {
                Some(Number::Int(value)) => Self::Int(value),
                Some(Number::Uint(value)) => Self::Uint(value),
                Some(Number::Double(value)) => Self::Double(value),
                None => Self::Null,
            },
            NodeKind::String => match node.as_str() {
                Some(Cow::Borrowed(text)) => Self::String(Text::Borrowed(text)),
                Some(Cow::Owned(text)) => Self::shared_text(text),
                None => Self::Null,
            },
            NodeKind::Array | NodeKind::Object => Self::Json(node),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::shared_text(text)
    }
}

/// The values that are one of Rust's own.
macro_rules! scalars {
    ($($scalar:ty => $kind:ident),* $(,)?) => {
        $(impl From<$scalar> for Value<'_> {
            fn from(value: $scalar) -> Self {
                Self::$kind(value)
            }
        })*
    };
}

scalars! { bool => Bool, i64 => Int, u64 => Uint, f64 => Double, DateTime<Utc> => Timestamp }
