//! The types of the page agree with the OpenAPI document, from which they are written.
//!
//! `ENSUE_OPENAPI_UPDATE=1` writes them, as it writes the document.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

/// Where the types are, from the root of the workspace.
const KEPT: &str = "page/app/api/types.ts";
const BASE: &str = "/api/v1";
const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

#[test]
fn types_of_the_page_are_those_of_the_document() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = std::fs::read_to_string(root.join("docs/reference/openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let types = types_of(&document);
    if std::env::var_os("ENSUE_OPENAPI_UPDATE").is_some() {
        std::fs::write(root.join(KEPT), &types).unwrap();
    }
    let kept = std::fs::read_to_string(root.join(KEPT)).unwrap_or_default();
    assert!(kept == types, "{KEPT} is out of date: run the tests of the OpenAPI document with ENSUE_OPENAPI_UPDATE=1, twice");
}

#[test]
fn schema_becomes_the_type_that_its_values_have() {
    for (schema, expected) in [
        (r#"{"type": "string"}"#, "string"),
        (r#"{"type": ["integer", "null"]}"#, "number | null"),
        (r##"{"anyOf": [{"$ref": "#/components/schemas/RuleRef"}, {"type": "null"}]}"##, "RuleRef | null"),
        (r#"{"enum": ["open", "expired"], "type": "string"}"#, "\"open\" | \"expired\""),
        (r#"{"items": {"type": ["string", "null"]}, "type": "array"}"#, "(string | null)[]"),
        (r#"{"prefixItems": [{"type": "integer"}, {"type": "string"}], "type": "array"}"#, "[number, string]"),
        (r#"{"additionalProperties": {"type": "integer"}, "type": "object"}"#, "{ [name: string]: number }"),
        (
            r#"{"properties": {"a": {"type": "boolean"}, "b-c": {}}, "required": ["a"], "type": "object"}"#,
            "{ a: boolean; \"b-c\"?: unknown }",
        ),
        (r#"{"description": "Anything."}"#, "unknown"),
    ] {
        assert_eq!(type_of(&serde_json::from_str(schema).unwrap()), expected);
    }
}

fn types_of(document: &Value) -> String {
    let mut text = "// Written from docs/reference/openapi.json by a test of `api`. Do not edit.\n\n".to_owned();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let _ = writeln!(text, "export type {name} = {};", type_of(schema));
    }
    text.push_str("\n/** The operations: the names in the path, the query, the body, and the answer. */\nexport interface Operations {\n");
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(short) = path.strip_prefix(BASE) else { continue };
        for method in METHODS {
            if let Some(operation) = operations.get(method) {
                let _ = writeln!(text, "  \"{} {short}\": {};", method.to_uppercase(), operation_type(document, operation));
            }
        }
    }
    text.push_str("}\n");
    text
}

fn operation_type(document: &Value, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let parameters: Vec<&Value> = parameters.iter().map(|parameter| resolve(document, parameter)).collect();
    let names = |place: &str| -> String {
        let names = parameters.iter().filter(|parameter| parameter["in"] == place);
        let names: Vec<String> = names.map(|parameter| parameter["name"].to_string()).collect();
        if names.is_empty() { "never".to_owned() } else { names.join(" | ") }
    };
    let body = json_of(resolve(document, &operation["requestBody"])).map_or("undefined".to_owned(), type_of);
    let answers = operation["responses"].as_object().unwrap().iter().filter(|(status, _)| status.starts_with('2'));
    let mut answers: Vec<String> =
        answers.map(|(_, answer)| json_of(resolve(document, answer)).map_or("undefined".to_owned(), type_of)).collect();
    answers.sort();
    if answers.is_empty() {
        // It leads a browser elsewhere.
        answers.push("undefined".to_owned());
    }
    answers.dedup();
    // A dry run answers with nothing.
    if answers.len() > 1 {
        answers.retain(|answer| answer != "undefined");
    }
    format!("{{ path: {}; query: {}; body: {body}; answer: {} }}", names("path"), names("query"), answers.join(" | "))
}

fn json_of(holder: &Value) -> Option<&Value> {
    holder["content"].get("application/json")?.get("schema")
}

fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

fn type_of(schema: &Value) -> String {
    let Some(schema) = schema.as_object() else { return "unknown".to_owned() };
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return reference.rsplit('/').next().unwrap().to_owned();
    }
    if let Some(only) = schema.get("const") {
        return only.to_string();
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return join_distinct(values.iter().map(Value::to_string), " | ");
    }
    for (key, between) in [("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")] {
        if let Some(parts) = schema.get(key).and_then(Value::as_array) {
            return join_distinct(parts.iter().map(type_of), between);
        }
    }
    match schema.get("type") {
        Some(Value::Array(kinds)) => join_distinct(kinds.iter().map(|kind| of_kind(schema, kind.as_str().unwrap())), " | "),
        Some(Value::String(kind)) => of_kind(schema, kind),
        _ => "unknown".to_owned(),
    }
}

fn join_distinct(parts: impl Iterator<Item = String>, between: &str) -> String {
    let mut kept: Vec<String> = Vec::new();
    for part in parts {
        if !kept.contains(&part) {
            kept.push(part);
        }
    }
    kept.join(between)
}

fn of_kind(schema: &Map<String, Value>, kind: &str) -> String {
    match kind {
        "integer" | "number" => "number".to_owned(),
        "array" if schema.contains_key("prefixItems") => {
            let items = schema["prefixItems"].as_array().into_iter().flatten().map(type_of);
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        "array" => {
            let item = schema.get("items").map_or("unknown".to_owned(), type_of);
            if item.contains(' ') { format!("({item})[]") } else { format!("{item}[]") }
        }
        "object" => object(schema),
        other => other.to_owned(),
    }
}

fn object(schema: &Map<String, Value>) -> String {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        let value = schema.get("additionalProperties").map_or("unknown".to_owned(), type_of);
        // `Record` is a type of the API.
        return format!("{{ [name: string]: {value} }}");
    };
    let required: Vec<&str> = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = properties.iter().map(|(name, value)| {
        let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let shown = if is_plain { name.clone() } else { format!("{name:?}") };
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        format!("{shown}{mark}: {}", type_of(value))
    });
    format!("{{ {} }}", fields.collect::<Vec<_>>().join("; "))
}
