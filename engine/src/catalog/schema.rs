//! Schemas: the shape of a value, and its defaults.
//!
//! The short form (`count: integer = 3`) is checked here, directly on the raw JSON. A full JSON Schema is
//! compiled by `ensue-packs` and used through [`JsonSchema`], because its library has dependencies that the
//! core must not have.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ensue_expression::{Node, NodeKind, Number};
use regex::Regex;
use serde_json::{Map, Value};

use crate::catalog::ConnectionKind;
use crate::names::is_name;

/// The maximum number of errors that one check lists.
pub const MISFITS_MAX: usize = 20;

/// The keyword of a JSON Schema that lists the names of its properties in the order in which they were written.
pub const ORDER: &str = "x-order";

/// The keyword of a JSON Schema that says of which kind the connection is that a string names.
pub const CONNECTION: &str = "x-connection";

/// The shape of a value.
#[derive(Clone, Debug, Default)]
pub enum Schema {
    /// Anything.
    #[default]
    Any,
    /// An object with these fields.
    Fields(Fields),
    /// A full JSON Schema, draft 2020-12.
    Whole(Arc<dyn JsonSchema>),
}

/// A compiled JSON Schema.
pub trait JsonSchema: fmt::Debug + Send + Sync {
    /// Returns the ways in which `value` does not fit, at most [`MISFITS_MAX`]; an empty list means that it
    /// fits.
    fn misfits(&self, value: Node<'_>) -> Vec<Misfit>;
    /// Returns the pointers of all parts of `value` that do not fit; `None` if they cannot be listed, because the value or
    /// the schema is too large.
    fn misfit_pointers(&self, value: Node<'_>) -> Option<BTreeSet<String>>;
    /// Returns the schema's source.
    fn source(&self) -> &Value;
    /// Returns the reason why the schema is too complex to check anything against, so that no value fits it.
    fn too_complex(&self) -> Option<&str>;
}

/// One way in which a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The location, as a JSON Pointer (RFC 6901); empty for the whole value.
    pub pointer: String,
    /// The problem.
    pub message: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.pointer, self.message) }
    }
}

/// Whether a value may have fields that the schema does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// It may: payloads from outside have more fields than anyone declares.
    Allowed,
    /// It may not: a misspelled parameter is an error.
    Refused,
}

/// The short form of a schema: named fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(pub Vec<Field>);

/// One field of the short form.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What a form calls it.
    pub title: Option<String>,
    /// Its purpose.
    pub description: Option<String>,
    /// The type of its value.
    pub kind: Type,
    /// Whether it is required.
    pub presence: Presence,
    /// Whether it is code (`x-ensue: code`), into which nothing is ever interpolated.
    pub is_code: bool,
}

/// Whether a field is required.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// It is required.
    Required,
    /// It is optional; null counts as absent.
    Optional,
    /// It is optional and has this default.
    Default(Value),
}

/// A type of the short form.
#[derive(Clone, Debug)]
pub enum Type {
    /// Any value, including null.
    Any,
    /// A text, which must match the pattern if there is one.
    String {
        /// A regular expression that some part of the text must match, as in JSON Schema.
        pattern: Option<Regex>,
    },
    /// A whole number, also if written as `3.0`.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// An object.
    Object,
    /// A list.
    List(Box<Type>),
    /// One of these texts.
    OneOf(Vec<String>),
    /// The name of a connection of this kind.
    Connection(ConnectionKind),
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::String { pattern: a }, Self::String { pattern: b }) => a.as_ref().map(Regex::as_str) == b.as_ref().map(Regex::as_str),
            (Self::List(a), Self::List(b)) => a == b,
            (Self::OneOf(a), Self::OneOf(b)) => a == b,
            (Self::Connection(a), Self::Connection(b)) => a == b,
            // The others hold nothing.
            (_, _) => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for Type {
    /// Writes the type as packs spell it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::String { .. } => f.write_str("string"),
            Self::Integer => f.write_str("integer"),
            Self::Number => f.write_str("number"),
            Self::Boolean => f.write_str("boolean"),
            Self::Object => f.write_str("object"),
            Self::List(item) => write!(f, "[{item}]"),
            Self::OneOf(texts) => f.write_str(&texts.join(" | ")),
            Self::Connection(kind) => write!(f, "connection<{}>", kind.as_str()),
        }
    }
}

impl Schema {
    /// Returns the ways in which `value` does not fit, at most [`MISFITS_MAX`]; an empty list means that it
    /// fits.
    pub fn misfits(&self, value: Node<'_>, extra: Extra) -> Vec<Misfit> {
        match self {
            Self::Any => Vec::new(),
            Self::Fields(fields) => fields.misfits(value, extra),
            Self::Whole(schema) => schema.misfits(value),
        }
    }

    /// Returns the ways in which a partial value does not fit: missing fields are not errors. A full JSON
    /// Schema can only be checked against a whole value.
    pub fn misfits_of_part(&self, value: Node<'_>) -> Vec<Misfit> {
        match self {
            Self::Any | Self::Whole(_) => Vec::new(),
            Self::Fields(fields) => {
                let mut found = fields.misfits(value, Extra::Refused);
                found.retain(|misfit| {
                    !fields.0.iter().any(|field| misfit.pointer == format!("/{}", field.name) && value.get(&field.name).is_none())
                });
                found
            }
        }
    }

    /// Returns true if the schema is too complex to check anything against, so that no value fits it.
    pub fn is_too_complex(&self) -> bool {
        match self {
            Self::Any | Self::Fields(_) => false,
            Self::Whole(schema) => schema.too_complex().is_some(),
        }
    }

    /// Returns the fields of the short form, or `None` if the schema has another form.
    pub fn fields(&self) -> Option<&Fields> {
        match self {
            Self::Fields(fields) => Some(fields),
            Self::Any | Self::Whole(_) => None,
        }
    }

    /// Returns the schema as JSON Schema, for people and editors.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Any => Value::Bool(true),
            Self::Fields(fields) => fields.to_json(),
            Self::Whole(schema) => schema.source().clone(),
        }
    }
}

impl Fields {
    /// Returns the field with that name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.name == name)
    }

    /// Returns true if an object lacks a field that has a default.
    pub fn lack_defaults(&self, value: Node<'_>) -> bool {
        let has_default = |field: &&Field| matches!(field.presence, Presence::Default(_));
        value.kind() == NodeKind::Object && self.0.iter().filter(has_default).any(|field| value.get(&field.name).is_none())
    }

    /// Adds the defaults of absent fields to `values`.
    pub fn complete(&self, values: &mut Map<String, Value>) {
        for field in &self.0 {
            if let Presence::Default(default) = &field.presence
                && !values.contains_key(&field.name)
            {
                values.insert(field.name.clone(), default.clone());
            }
        }
    }

    fn misfits(&self, value: Node<'_>, extra: Extra) -> Vec<Misfit> {
        let mut found = Vec::new();
        if value.kind() != NodeKind::Object {
            found.push(Misfit { pointer: String::new(), message: format!("should be an object, but is {}", name_of(value)) });
            return found;
        }
        for field in &self.0 {
            match (value.get(&field.name), &field.presence) {
                (None, Presence::Required) => {
                    found.push(Misfit {
                        pointer: format!("/{}", field.name),
                        message: format!("is missing; it is a required {}", field.kind),
                    });
                }
                (None, Presence::Optional | Presence::Default(_)) => {}
                (Some(given), Presence::Optional) if given.is_null() => {}
                (Some(given), Presence::Required | Presence::Optional | Presence::Default(_)) => {
                    field.kind.misfit(given, &format!("/{}", field.name), &mut found);
                }
            }
        }
        if extra == Extra::Refused {
            let unknown = value.entries().filter(|(name, _)| self.get(name).is_none());
            for (name, _) in unknown.take(MISFITS_MAX) {
                let known: Vec<&str> = self.0.iter().map(|field| field.name.as_str()).collect();
                let message = if known.is_empty() {
                    "is unknown; no fields are accepted".to_owned()
                } else {
                    format!("is unknown; the known fields are {}", known.join(", "))
                };
                found.push(Misfit { pointer: format!("/{}", escape_pointer(&name)), message });
            }
        }
        found.truncate(MISFITS_MAX);
        found
    }

    fn to_json(&self) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in &self.0 {
            let mut property = field.kind.to_json();
            if let Value::Object(property) = &mut property {
                let notes = [("title", &field.title), ("description", &field.description)];
                property.extend(notes.into_iter().filter_map(|(name, note)| Some((name.to_owned(), Value::from(note.as_deref()?)))));
            }
            match &field.presence {
                Presence::Required => required.push(Value::from(field.name.as_str())),
                Presence::Optional => {}
                Presence::Default(default) => {
                    if let Value::Object(property) = &mut property {
                        property.insert("default".into(), default.clone());
                    }
                }
            }
            properties.insert(field.name.clone(), property);
        }
        let order: Vec<&str> = self.0.iter().map(|field| field.name.as_str()).collect();
        serde_json::json!({ "type": "object", "properties": properties, "required": required, (ORDER): order })
    }
}

/// The first double that is too large for 64 bits.
const TWO_TO_THE_64: f64 = 18_446_744_073_709_551_616.0;
/// Its negative may be the rounded form of a smaller number.
const TWO_TO_THE_63: f64 = 9_223_372_036_854_775_808.0;

impl Type {
    fn misfit(&self, value: Node<'_>, pointer: &str, found: &mut Vec<Misfit>) {
        if found.len() >= MISFITS_MAX {
            return;
        }
        let fits = match self {
            Self::Any => true,
            Self::String { pattern } => match (value.as_str(), pattern) {
                (Some(text), Some(pattern)) if !pattern.is_match(&text) => {
                    let message = format!("should match the pattern `{pattern}`");
                    return found.push(Misfit { pointer: pointer.to_owned(), message });
                }
                (text, _) => text.is_some(),
            },
            Self::Integer => match value.number() {
                Some(Number::Int(_) | Number::Uint(_)) => true,
                Some(Number::Double(number)) if number.fract() == 0.0 => {
                    if value.is_rounded() || number >= TWO_TO_THE_64 || number <= -TWO_TO_THE_63 {
                        let message = "should be an integer that fits in 64 bits".to_owned();
                        return found.push(Misfit { pointer: pointer.to_owned(), message });
                    }
                    true
                }
                Some(Number::Double(_)) | None => false,
            },
            Self::Number => value.as_f64().is_some(),
            Self::Boolean => value.as_bool().is_some(),
            Self::Object => value.kind() == NodeKind::Object,
            Self::List(item) => {
                if value.kind() == NodeKind::Array {
                    for (index, element) in value.items().enumerate() {
                        item.misfit(element, &format!("{pointer}/{index}"), found);
                    }
                    return;
                }
                false
            }
            Self::OneOf(texts) => value.as_str().is_some_and(|text| texts.iter().any(|one| *one == text)),
            Self::Connection(_) => value.as_str().is_some_and(|text| is_name(&text)),
        };
        if !fits {
            let message = format!("should be {self}, but is {}", name_of(value));
            found.push(Misfit { pointer: pointer.to_owned(), message });
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Any => serde_json::json!({}),
            Self::String { pattern: None } => serde_json::json!({ "type": "string" }),
            Self::String { pattern: Some(pattern) } => serde_json::json!({ "type": "string", "pattern": pattern.as_str() }),
            Self::Integer => serde_json::json!({ "type": "integer" }),
            Self::Number => serde_json::json!({ "type": "number" }),
            Self::Boolean => serde_json::json!({ "type": "boolean" }),
            Self::Object => serde_json::json!({ "type": "object" }),
            Self::List(item) => serde_json::json!({ "type": "array", "items": item.to_json() }),
            Self::OneOf(texts) => serde_json::json!({ "enum": texts }),
            Self::Connection(kind) => serde_json::json!({ "type": "string", (CONNECTION): kind.as_str() }),
        }
    }
}

fn name_of(value: Node<'_>) -> String {
    match value.kind() {
        NodeKind::Null => "null".to_owned(),
        NodeKind::Bool => "a boolean".to_owned(),
        NodeKind::Number => "a number".to_owned(),
        // A value from outside may be a secret in the wrong place: show its type, not its content.
        NodeKind::String => "a string".to_owned(),
        NodeKind::Array => "a list".to_owned(),
        NodeKind::Object => "an object".to_owned(),
    }
}

fn escape_pointer(name: &str) -> String {
    name.chars().take(80).collect::<String>().replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use ensue_expression::Document;

    use super::*;

    fn misfits(kind: Type, value: &str) -> Vec<Misfit> {
        let field = Field { name: "n".into(), title: None, description: None, kind, presence: Presence::Required, is_code: false };
        let value = Document::parse(format!("{{\"n\":{value}}}").into()).unwrap();
        Schema::Fields(Fields(vec![field])).misfits(value.root(), Extra::Refused)
    }

    #[test]
    fn integer_that_does_not_fit_in_64_bits_is_rejected_with_its_pointer() {
        for fits in ["0", "-0", "3.0", "1e3", "9223372036854775807", "-9223372036854775808", "18446744073709551615"] {
            assert_eq!(misfits(Type::Integer, fits), [], "{fits}");
        }
        for wrong in ["18446744073709551616", "-9223372036854775809", "99999999999999999999", "1e20", "-1e300", "-9223372036854775808.0"] {
            let found = misfits(Type::Integer, wrong);
            let [Misfit { pointer, message }] = &found[..] else { panic!("{wrong}: {found:?}") };
            assert_eq!((pointer.as_str(), message.as_str()), ("/n", "should be an integer that fits in 64 bits"), "{wrong}");
        }
        assert_eq!(misfits(Type::Integer, "3.5")[0].message, "should be integer, but is a number");
        assert_eq!(misfits(Type::List(Box::new(Type::Integer)), "[1, 99999999999999999999]")[0].pointer, "/n/1");
        assert_eq!(misfits(Type::Number, "99999999999999999999"), []);
    }
}
