//! The order in which the properties of a whole JSON Schema are written: JSON objects have none, but forms do.

use ensue_engine::catalog::ORDER;
use serde_json::{Map, Value};

use crate::yaml::{Content, Node, YamlEntry};

/// Returns a schema as JSON, in which each schema that has properties lists their names as they are written. A
/// list that the author wrote stays.
pub(super) fn with_property_order(schema: &Node) -> Value {
    let Content::Map(entries) = &schema.content else { return schema.to_value() };
    let mut keywords: Map<String, Value> =
        entries.iter().map(|entry| (entry.key.value.clone(), keyword(&entry.key.value, &entry.value))).collect();
    let names = entries.iter().find(|entry| entry.key.value == "properties").and_then(|entry| names(&entry.value));
    if let Some(names) = names {
        keywords.entry(ORDER).or_insert(names);
    }
    Value::Object(keywords)
}

/// Returns the value of a keyword. Only some keywords contain schemas; anything else is data.
fn keyword(name: &str, value: &Node) -> Value {
    match (name, &value.content) {
        ("properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas", Content::Map(schemas)) => {
            let of = |entry: &YamlEntry| (entry.key.value.clone(), with_property_order(&entry.value));
            Value::Object(schemas.iter().map(of).collect())
        }
        ("allOf" | "anyOf" | "oneOf" | "prefixItems", Content::List(schemas)) => schemas.iter().map(with_property_order).collect(),
        ("items" | "additionalProperties" | "contains" | "not" | "if" | "then" | "else", _) => with_property_order(value),
        (_, _) => value.to_value(),
    }
}

fn names(properties: &Node) -> Option<Value> {
    let Content::Map(entries) = &properties.content else { return None };
    Some(entries.iter().map(|entry| Value::from(entry.key.value.as_str())).collect())
}
