//! Builds an example value for a schema, for errors that suggest what to write.

use serde_json::{Map, Value, json};

/// Returns an example value for a schema, so that an error can show what a mock could return.
pub(crate) fn example(schema: &Value) -> Value {
    let of = |schema: &Value| {
        let first = schema["enum"].as_array().and_then(|words| words.first());
        match (first, schema["type"].as_str()) {
            (Some(word), _) => word.clone(),
            (None, Some("boolean")) => json!(true),
            (None, Some("integer" | "number")) => json!(1),
            (None, Some("array")) => json!([]),
            (None, Some("object")) => json!({}),
            (None, _) => json!("…"),
        }
    };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = schema["properties"].as_object().into_iter().flatten().filter(|(name, _)| required.contains(&name.as_str()));
    Value::Object(fields.map(|(name, schema)| (name.clone(), of(schema))).collect::<Map<_, _>>())
}
