//! What a schema reads of a value: the rest of a large value is not converted for the validator.

use std::collections::BTreeMap;

use ensue_engine::catalog::ORDER;
use ensue_expression::{Node, NodeKind};
use serde_json::{Map, Value};

/// What a schema reads of a value. Strings, numbers, booleans and nulls are always read.
#[derive(Debug, PartialEq)]
pub(super) enum SchemaReads {
    /// Everything in it.
    Whole,
    /// Whether it is a list or an object, these members of an object, and this of each element of a list.
    Parts { members: BTreeMap<String, SchemaReads>, elements: Option<Box<SchemaReads>> },
}

impl SchemaReads {
    /// Returns what a schema reads: everything if it has a keyword that is not known here.
    pub(super) fn of(schema: &Value) -> Self {
        let Value::Object(keywords) = schema else { return Self::nothing() };
        let (mut members, mut elements) = (BTreeMap::new(), None);
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    // A member that is also required is read as its schema says.
                    members.extend(properties.iter().map(|(name, schema)| (name.clone(), Self::of(schema))));
                }
                ("required", Value::Array(names)) => {
                    for name in names.iter().filter_map(Value::as_str) {
                        members.entry(name.to_owned()).or_insert_with(Self::nothing);
                    }
                }
                ("items", schema) => elements = Some(Box::new(Self::of(schema))),
                ("minItems" | "maxItems", _) => drop(elements.get_or_insert_with(|| Box::new(Self::nothing()))),
                ("additionalProperties", Value::Bool(true)) => {}
                (known, _) if READS_NO_PART.contains(&known) => {}
                _ => return Self::Whole,
            }
        }
        Self::Parts { members, elements }
    }

    /// Returns the value with no more in it than is read.
    pub(super) fn value(&self, node: Node<'_>) -> Value {
        match (self, node.kind()) {
            (Self::Parts { members, .. }, NodeKind::Object) => {
                let read = node.entries().filter_map(|(key, value)| members.get(&*key).map(|reads| (key.into_owned(), reads.value(value))));
                Value::Object(read.collect::<Map<_, _>>())
            }
            (Self::Parts { elements, .. }, NodeKind::Array) => {
                elements.iter().flat_map(|reads| node.items().map(|item| reads.value(item))).collect()
            }
            (Self::Whole | Self::Parts { .. }, _) => node.to_value(),
        }
    }

    fn nothing() -> Self {
        Self::Parts { members: BTreeMap::new(), elements: None }
    }
}

/// The keywords that look at no part of a list or an object: those of single values, and notes.
const READS_NO_PART: [&str; 18] = [
    "$comment",
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxLength",
    "maximum",
    "minLength",
    "minimum",
    "multipleOf",
    "pattern",
    "readOnly",
    "title",
    "type",
    ORDER,
];

#[cfg(test)]
mod tests {
    use ensue_expression::Document;
    use serde_json::json;

    use super::*;

    const SCHEMAS: [&str; 14] = [
        r#"{"type": "object"}"#,
        r#"{"type": ["object", "null"], "required": ["a"]}"#,
        r#"{"properties": {"a": {"type": "object", "properties": {"b": {"type": "string", "minLength": 2}}, "required": ["c"]}}}"#,
        r#"{"properties": {"a": {"items": {"required": ["b"]}, "minItems": 2}}, "required": ["a", "d"]}"#,
        r#"{"items": {"items": {"type": "integer", "maximum": 5}}}"#,
        r#"{"minItems": 2, "maxItems": 3}"#,
        r#"{"properties": {"a": true, "b": false}}"#,
        r#"{"properties": {"a": {"enum": [{"b": [1]}, [1, 2]]}}}"#,
        r#"{"properties": {"a": {"const": {"b": "xy"}}}, "additionalProperties": true}"#,
        r#"{"additionalProperties": false, "properties": {"a": {}}}"#,
        r#"{"properties": {"a": {"uniqueItems": true}}}"#,
        r#"{"minProperties": 2}"#,
        r#"{"anyOf": [{"required": ["d"]}, {"type": "array"}]}"#,
        r##"{"$defs": {"x": {"required": ["b"]}}, "properties": {"a": {"$ref": "#/$defs/x"}}}"##,
    ];

    const VALUES: [&str; 14] = [
        "null",
        "7",
        r#""x""#,
        "[]",
        "[[1, 2], [9]]",
        "[{}, 1, [2]]",
        "{}",
        r#"{"a": null}"#,
        r#"{"a": {"b": "x", "c": 1}, "d": 2}"#,
        r#"{"a": {"b": "xy"}}"#,
        r#"{"a": {"b": [1]}, "z": {"y": [1, {"x": 2}]}}"#,
        r#"{"a": [{"b": 1}, {"b": 2}], "d": []}"#,
        r#"{"a": [1, 1], "b": 3}"#,
        r#"{"\u0061": [{"c": 1}], "d": [[]]}"#,
    ];

    #[test]
    fn value_without_unread_parts_has_the_same_misfits() {
        let mut smaller = 0;
        for schema in SCHEMAS {
            let schema: Value = serde_json::from_str(schema).unwrap();
            let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).build(&schema).unwrap();
            let misfits = |value: &Value| -> Vec<String> {
                validator.iter_errors(value).map(|error| format!("{} {}", error.instance_path(), error.masked())).collect()
            };
            for value in VALUES {
                let document = Document::parse(value.into()).unwrap();
                let (whole, read) = (document.root().to_value(), SchemaReads::of(&schema).value(document.root()));
                assert_eq!(misfits(&read), misfits(&whole), "{schema} on {value}");
                smaller += usize::from(read != whole);
            }
        }
        assert!(smaller > 50, "{smaller}");
    }

    #[test]
    fn unnamed_members_and_elements_are_not_read() {
        let document = Document::parse(r#"{"a": {"b": 1, "c": [1, 2]}, "d": [1, {"e": 2}], "f": {}}"#.into()).unwrap();
        let read = |schema: Value| SchemaReads::of(&schema).value(document.root());
        assert_eq!(read(json!({"type": "object"})), json!({}));
        assert_eq!(read(json!({"properties": {"a": {"required": ["c"]}, "d": {"minItems": 1}}})), json!({"a": {"c": []}, "d": [1, {}]}));
        assert_eq!(read(json!({"properties": {"a": {"maxProperties": 3}}})), json!({"a": {"b": 1, "c": [1, 2]}}));
        assert_eq!(SchemaReads::of(&json!({"patternProperties": {}})), SchemaReads::Whole);
    }
}
