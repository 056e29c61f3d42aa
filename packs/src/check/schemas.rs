//! Converts a schema to the type of the values that fit it, for checking expressions.
//!
//! Constraints beyond types, fields and lists of values are ignored: such values can then be anything.

use ensue_engine::catalog::{Field, Presence, Schema, Type};
use ensue_expression::{MapType, Occurrence, Others, TYPE_DEPTH_MAX, Value as Computed, ValueType};
use serde_json::{Map, Value};

/// The most parts of a whole JSON Schema that are examined; anything beyond them can be anything.
const SCHEMA_PARTS_MAX: usize = 4096;

/// Which values of a schema are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueForm {
    /// As sent by a client, with undeclared fields and without defaults.
    Sent,
    /// As stored: with defaults, and without undeclared fields.
    Completed,
    /// As accepted from a caller.
    Accepted,
}

/// Returns the type of the values that fit the schema; messages call its fields `called`.
pub(super) fn type_of(schema: &Schema, form: ValueForm, called: &'static str, each: Option<&'static str>) -> ValueType {
    match schema {
        Schema::Any => ValueType::json(),
        Schema::Fields(fields) => {
            let others = match form {
                ValueForm::Sent => Others::Undeclared,
                ValueForm::Completed | ValueForm::Accepted => Others::None,
            };
            let empty = MapType::new(others).with_wording(called, each);
            ValueType::map(fields.0.iter().fold(empty, |map, field| {
                let (value, occurrence) = of_field(field, form);
                map.with(field.name.as_str(), value, occurrence)
            }))
        }
        Schema::Whole(schema) => {
            let source = schema.source();
            SchemaConversion { root: source, parts: 0 }.value(source, 0)
        }
    }
}

fn of_field(field: &Field, form: ValueForm) -> (ValueType, Occurrence) {
    let value = of_type(&field.kind, form);
    match (&field.presence, form) {
        (Presence::Required, _) | (Presence::Default(_), ValueForm::Completed) => (value, Occurrence::Always),
        (Presence::Optional, _) => (value.or_null(), Occurrence::Sometimes),
        (Presence::Default(_), ValueForm::Sent | ValueForm::Accepted) => (value, Occurrence::Sometimes),
    }
}

fn of_type(kind: &Type, form: ValueForm) -> ValueType {
    match kind {
        Type::Any => ValueType::json(),
        Type::String { pattern: _ } | Type::Connection(_) => ValueType::text(),
        // A double without a fraction is accepted as an integer.
        Type::Integer if form == ValueForm::Accepted => ValueType::number(),
        Type::Integer => ValueType::integer(),
        Type::Number => ValueType::number(),
        Type::Boolean => ValueType::boolean(),
        Type::Object => ValueType::object(),
        Type::List(item) => ValueType::list(of_type(item, form)),
        Type::OneOf(texts) => ValueType::one_of(texts.iter().map(String::as_str)),
    }
}

/// The conversion of a whole JSON Schema (2020-12).
struct SchemaConversion<'s> {
    root: &'s Value,
    parts: usize,
}

impl SchemaConversion<'_> {
    fn value(&mut self, schema: &Value, depth: u8) -> ValueType {
        self.parts += 1;
        let Value::Object(schema) = schema else { return ValueType::json() };
        if depth >= TYPE_DEPTH_MAX || self.parts > SCHEMA_PARTS_MAX {
            return ValueType::json();
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return target.map_or_else(ValueType::json, |target| self.value(target, depth + 1));
        }
        if let Some(only) = schema.get("const") {
            return of_value(only);
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return either(values.iter().map(of_value).collect());
        }
        match schema.get("type") {
            Some(Value::String(name)) => self.type_named(name, schema, depth),
            Some(Value::Array(names)) => {
                let types = names.iter().filter_map(Value::as_str).map(|name| self.type_named(name, schema, depth)).collect();
                either(types)
            }
            _ => {
                let choices = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array);
                choices.map_or_else(ValueType::json, |choices| either(choices.iter().map(|choice| self.value(choice, depth + 1)).collect()))
            }
        }
    }

    fn type_named(&mut self, name: &str, schema: &Map<String, Value>, depth: u8) -> ValueType {
        match name {
            "string" => ValueType::text(),
            "integer" => ValueType::integer(),
            "number" => ValueType::number(),
            "boolean" => ValueType::boolean(),
            "null" => ValueType::null(),
            "array" => {
                let items = schema.get("items").filter(|_| !schema.contains_key("prefixItems"));
                ValueType::list(items.map_or_else(ValueType::json, |items| self.value(items, depth + 1)))
            }
            "object" => self.object(schema, depth),
            _ => ValueType::json(),
        }
    }

    fn object(&mut self, schema: &Map<String, Value>, depth: u8) -> ValueType {
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let others = match schema.get("additionalProperties") {
            _ if schema.contains_key("patternProperties") => Others::Are(ValueType::json()),
            None | Some(Value::Bool(true)) => Others::Are(ValueType::json()),
            Some(Value::Bool(false)) => Others::None,
            Some(others) => Others::Are(self.value(others, depth + 1)),
        };
        let mut map = MapType::new(others);
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let occurrence = if required.contains(&name.as_str()) { Occurrence::Always } else { Occurrence::Sometimes };
            map = map.with(name.as_str(), self.value(property, depth + 1), occurrence);
        }
        ValueType::map(map)
    }
}

fn of_value(value: &Value) -> ValueType {
    ValueType::of_value(&Computed::from_json(value))
}

fn either(types: Vec<ValueType>) -> ValueType {
    types.into_iter().reduce(ValueType::or).unwrap_or_else(ValueType::json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ensue_expression::Document;
    use serde_json::json;

    fn whole(schema: &Value) -> ValueType {
        SchemaConversion { root: schema, parts: 0 }.value(schema, 0)
    }

    fn admits(known: &ValueType, value: &Value) -> bool {
        known.admits(&Computed::from(Document::from_value(value).root()))
    }

    #[test]
    fn json_schema_gives_field_list_and_value_types() {
        let known = whole(&json!({
            "type": "object",
            "required": ["state", "labels"],
            "additionalProperties": false,
            "properties": {
                "state": { "enum": ["open", "closed"] },
                "labels": { "type": "array", "items": { "$ref": "#/$defs/label" } },
                "note": { "type": ["string", "null"] },
            },
            "$defs": { "label": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } } },
        }));
        assert!(admits(&known, &json!({ "state": "open", "labels": [{ "name": "bug", "more": 1 }], "note": null })));
        assert!(!admits(&known, &json!({ "state": "ajar", "labels": [] })));
        assert!(!admits(&known, &json!({ "state": "open", "labels": [{ "name": 1 }] })));
        assert!(!admits(&known, &json!({ "state": "open", "labels": [], "other": 1 })));
    }

    #[test]
    fn recursive_schema_is_expanded_to_a_limited_depth() {
        let known = whole(&json!({ "type": "object", "properties": { "child": { "$ref": "#" } } }));
        assert!(admits(&known, &json!({ "child": { "child": { "child": {} } } })));
        let wide = json!({ "type": "object", "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#" }, "c": { "$ref": "#" } } });
        assert!(admits(&whole(&wide), &json!({ "c": 1 })), "what is beyond the parts that are looked at can be anything");
    }

    #[test]
    fn unsupported_json_schema_allows_anything() {
        for schema in [json!(true), json!({}), json!({ "allOf": [{ "type": "string" }] }), json!({ "$ref": "#/nowhere" })] {
            assert!(admits(&whole(&schema), &json!([1, null])), "{schema}");
        }
        assert!(!admits(&whole(&json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] })), &json!(1)));
    }
}
