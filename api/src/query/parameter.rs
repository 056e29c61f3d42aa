//! The declaration of a query parameter, and the values that parameters can have.

use ensue_engine::ids::Id;
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use super::{ParameterRefusal, Query, bad};
use crate::problem::quote;

/// The maximum number of repetitions of a filter, and of the values in one of them, unless it has another one.
pub(crate) const VALUES_MAX: usize = 20;

/// The declaration of a parameter.
#[derive(Clone, Copy)]
pub(crate) struct Parameter {
    /// The name.
    pub(crate) name: &'static str,
    /// What it means.
    pub(crate) description: &'static str,
    /// Returns the JSON Schema of one value.
    pub(crate) schema: fn() -> Value,
    /// How many values it can have.
    pub(crate) multiplicity: Multiplicity,
    /// Whether a request must have it.
    pub(crate) is_required: bool,
}

/// How many values a parameter can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Multiplicity {
    /// One.
    Once,
    /// Several, separated by commas; the parameter is given once.
    List,
    /// Several, one of which must apply: repeated, or separated by commas. This is the maximum number of repetitions, and of
    /// the values in one of them.
    Several(usize),
    /// Several, which must all apply: repeated. This is the maximum number of repetitions.
    Repeated(usize),
}

impl Parameter {
    /// Replaces the description.
    pub(crate) const fn with_description(self, description: &'static str) -> Self {
        Self { description, ..self }
    }
}

/// Parameters that are read from a query.
pub(crate) trait FromQuery: Sized {
    /// Reads them.
    fn read(query: &Query) -> Result<Self, ParameterRefusal>;
}

/// The type of a field that is a parameter.
pub(crate) trait QueryField: Sized {
    /// The type of one value.
    type Value: QueryValue;

    /// Reads the values of the parameter with this name.
    fn read(query: &Query, name: &'static str) -> Result<Self, ParameterRefusal>;
}

impl<T: QueryValue> QueryField for Option<T> {
    type Value = T;

    fn read(query: &Query, name: &'static str) -> Result<Self, ParameterRefusal> {
        query.text(name).map(|text| T::parse(name, text)).transpose()
    }
}

impl<T: QueryValue> QueryField for Vec<T> {
    type Value = T;

    fn read(query: &Query, name: &'static str) -> Result<Self, ParameterRefusal> {
        query.texts(name).map(|text| T::parse(name, text)).collect()
    }
}

impl QueryField for bool {
    type Value = Self;

    fn read(query: &Query, name: &'static str) -> Result<Self, ParameterRefusal> {
        Ok(Option::read(query, name)?.unwrap_or(false))
    }
}

/// A value of a parameter.
pub(crate) trait QueryValue: Sized {
    /// Returns its JSON Schema.
    fn schema() -> Value;

    /// Parses it.
    fn parse(name: &'static str, text: &str) -> Result<Self, ParameterRefusal>;
}

/// A value that a column of a view can have.
pub(crate) trait ColumnText {
    /// Returns it as the column has it.
    fn to_text(&self) -> String;
}

/// One of a closed list of words.
pub(crate) trait Word: Copy + PartialEq {
    /// Returns the words with their values.
    fn words() -> Vec<(&'static str, Self)>;
}

/// Lets parameters have the names of these enums as their words, or the words of a table.
macro_rules! words {
    ($of:ty [$($word:literal => $value:expr),+]) => {
        impl $crate::query::Word for $of {
            fn words() -> Vec<(&'static str, Self)> {
                vec![$(($word, $value)),+]
            }
        }
    };
    ($($of:ty),+) => {
        $(impl $crate::query::Word for $of {
            fn words() -> Vec<(&'static str, Self)> {
                Self::ALL.iter().map(|word| (word.as_str(), *word)).collect()
            }
        })+
    };
}
pub(crate) use words;

impl<W: Word> QueryValue for W {
    fn schema() -> Value {
        let words: Vec<&str> = W::words().into_iter().map(|(word, _)| word).collect();
        json!({ "type": "string", "enum": words })
    }

    fn parse(name: &'static str, text: &str) -> Result<Self, ParameterRefusal> {
        one_of(name, text, &W::words())
    }
}

impl<W: Word> ColumnText for W {
    fn to_text(&self) -> String {
        W::words().into_iter().find(|(_, word)| word == self).map_or_else(String::new, |(word, _)| word.to_owned())
    }
}

impl QueryValue for bool {
    fn schema() -> Value {
        json!({ "type": "boolean" })
    }

    fn parse(name: &'static str, text: &str) -> Result<Self, ParameterRefusal> {
        one_of(name, text, &[("true", true), ("false", false)])
    }
}

impl QueryValue for String {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[^\\u0000]*$" })
    }

    fn parse(_: &'static str, text: &str) -> Result<Self, ParameterRefusal> {
        Ok(text.to_owned())
    }
}

impl ColumnText for String {
    fn to_text(&self) -> String {
        self.clone()
    }
}

/// Lets parameters have values of these types, each with what an error says that the value is not, and with its schema.
macro_rules! values {
    ($($of:ty: $what:literal, $schema:expr;)+) => {
        $(impl QueryValue for $of {
            fn schema() -> Value {
                $schema
            }

            fn parse(name: &'static str, text: &str) -> Result<Self, ParameterRefusal> {
                text.parse().map_err(|_| refuse(name, text, $what))
            }
        })+
    };
}
values! {
    Id: "an id", String::schema();
    Timestamp: "a time such as 2026-03-28T09:00:00Z", json!({ "type": "string", "format": "date-time" });
    u32: "a number", json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    u64: "a number", json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
}

/// Parses one of these words; returns the value that belongs to it.
fn one_of<T: Copy>(name: &'static str, text: &str, values: &[(&'static str, T)]) -> Result<T, ParameterRefusal> {
    match values.iter().find(|(known, _)| *known == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let known: Vec<&str> = values.iter().map(|(known, _)| *known).collect();
            Err(bad(name, format!("is `{}`; it must be one of `{}`", quote(text), known.join("`, `"))))
        }
    }
}

/// Returns the error for a value that is not what it must be.
pub(super) fn refuse(name: &'static str, text: &str, what: &str) -> ParameterRefusal {
    bad(name, format!("is `{}`, which is not {what}", quote(text)))
}
