//! The `cel` crate as the oracle, and its values in terms of ours.

use std::sync::Arc;

use cel::extensions::{lists, math, strings};
use cel::objects::{Key, Map};
use cel::{Context, Env, Value as Theirs};
use ensue_expression::Value;
use serde_json::Value as Json;

use super::NOT_COMPILED;

/// The oracle with the extensions that we have as well.
pub(super) struct Oracle {
    env: Arc<Env>,
}

impl Oracle {
    pub(super) fn new() -> Self {
        let mut env = Env::stdlib();
        for extension in [strings, lists, math] {
            env.add_extension(extension).expect("nothing of the extension is declared yet");
        }
        Self { env: Arc::new(env) }
    }

    /// The oracle's result for the source, with the document as `event`: a value, or its error.
    pub(super) fn evaluate(&self, source: &str, event: &Json) -> Result<Theirs, String> {
        let program = self.env.compile(source).map_err(|error| format!("{NOT_COMPILED}{error}"))?;
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.add_variable_from_value("event", to_oracle_value(event));
        program.execute(&context).map_err(|error| error.to_string())
    }
}

/// A document as the oracle gets it, with numbers as we read them. Its own conversion turns all non-negative
/// integers into uints, and most expressions over integers would fail.
fn to_oracle_value(json: &Json) -> Theirs {
    match json {
        Json::Null => Theirs::Null,
        Json::Bool(value) => Theirs::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => Theirs::Int(value),
            (None, Some(value), _) => Theirs::UInt(value),
            (None, None, value) => Theirs::Float(value.unwrap_or_default()),
        },
        Json::String(text) => Theirs::String(Arc::new(text.clone())),
        Json::Array(items) => Theirs::List(Arc::new(items.iter().map(to_oracle_value).collect())),
        Json::Object(fields) => {
            let entries = fields.iter().map(|(name, value)| (Key::from(name.as_str()), to_oracle_value(value)));
            Theirs::Map(Map { map: Arc::new(entries.collect()) })
        }
    }
}

/// Returns true if both have the same type and value: maps in any order, and any NaN for NaN.
pub(super) fn same(ours: &Value<'_>, theirs: &Theirs) -> bool {
    match (ours, theirs) {
        (Value::Null, Theirs::Null) => true,
        (Value::Bool(ours), Theirs::Bool(theirs)) => ours == theirs,
        (Value::Int(ours), Theirs::Int(theirs)) => ours == theirs,
        (Value::Uint(ours), Theirs::UInt(theirs)) => ours == theirs,
        (Value::Double(ours), Theirs::Float(theirs)) => ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()),
        (Value::String(ours), Theirs::String(theirs)) => **ours == ***theirs,
        (Value::Bytes(ours), Theirs::Bytes(theirs)) => **ours == ***theirs,
        (Value::Timestamp(ours), Theirs::Timestamp(theirs)) => ours == theirs,
        (Value::Duration(ours), Theirs::Duration(theirs)) => Some(*ours) == theirs.num_nanoseconds(),
        // The crate represents a type by its name.
        (Value::Type(ours), Theirs::String(theirs)) => ours.name() == **theirs,
        (ours, Theirs::List(theirs)) => ours
            .elements()
            .is_some_and(|ours| ours.len() == theirs.len() && ours.iter().zip(theirs.iter()).all(|(ours, theirs)| same(ours, theirs))),
        (Value::Map(ours), Theirs::Map(theirs)) => {
            let is_theirs = |(key, value): &(Value<'_>, Value<'_>)| {
                theirs.map.iter().any(|(other_key, other)| same_key(key, other_key) && same(value, other))
            };
            ours.entries().len() == theirs.map.len() && ours.entries().iter().all(is_theirs)
        }
        (Value::Json(ours), Theirs::Map(theirs)) => {
            let is_ours = |(key, value): (&Key, &Theirs)| match key {
                Key::String(name) => ours.get(name).is_some_and(|ours| same(&Value::from(ours), value)),
                Key::Int(_) | Key::Uint(_) | Key::Bool(_) => false,
            };
            ours.len() == theirs.map.len() && theirs.map.iter().all(is_ours)
        }
        _ => false,
    }
}

fn same_key(ours: &Value<'_>, theirs: &Key) -> bool {
    match (ours, theirs) {
        (Value::Bool(ours), Key::Bool(theirs)) => ours == theirs,
        (Value::Int(ours), Key::Int(theirs)) => ours == theirs,
        (Value::Uint(ours), Key::Uint(theirs)) => ours == theirs,
        (Value::String(ours), Key::String(theirs)) => **ours == ***theirs,
        _ => false,
    }
}
