//! Rewrites the schemas for client generators, which do not support everything that JSON Schema allows.

use serde_json::{Map, Value, json};

/// Rewrites the schemas of a document. They accept the same values as before.
pub(super) fn make(document: &mut Value) {
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        let mut variants = Map::new();
        for (name, schema) in schemas.iter_mut() {
            rewrite(schema);
            variants.extend(named_variants(name, schema));
        }
        for (name, variant) in variants {
            let other = schemas.insert(name.clone(), variant);
            assert!(other.is_none(), "the variant `{name}` has the name of another schema");
        }
    }
}

/// Rewrites a schema and all schemas below it.
fn rewrite(schema: &mut Value) {
    match schema {
        // Many generators do not support a schema that is not an object.
        Value::Bool(true) => *schema = json!({}),
        Value::Object(members) => {
            // They treat a member with a default as always present, in requests too.
            members.remove("default");
            enumerate(members);
            for (keyword, value) in members.iter_mut() {
                match keyword.as_str() {
                    "properties" | "patternProperties" => value.as_object_mut().into_iter().flatten().for_each(|(_, below)| rewrite(below)),
                    "oneOf" | "anyOf" | "allOf" | "prefixItems" => value.as_array_mut().into_iter().flatten().for_each(rewrite),
                    "items" => rewrite(value),
                    // `true` and `false` are supported here: older versions of JSON Schema have them too.
                    "additionalProperties" if value.is_object() => rewrite(value),
                    _ => {}
                }
            }
        }
        Value::Null | Value::Bool(false) | Value::Number(_) | Value::String(_) | Value::Array(_) => {}
    }
}

/// Turns a choice between words into one list of words, with a description of each.
fn enumerate(members: &mut Map<String, Value>) {
    let Some(choices) = members.get("oneOf").and_then(Value::as_array) else { return };
    let words: Option<Vec<(&str, &str)>> =
        choices.iter().map(|choice| Some((choice["const"].as_str()?, choice["description"].as_str().unwrap_or_default()))).collect();
    let Some(words) = words else { return };
    let each: String = words.iter().map(|(word, means)| format!("\n- `{word}`: {means}")).collect();
    let described = format!("{}\n{each}", members.get("description").and_then(Value::as_str).unwrap_or_default());
    let words: Vec<Value> = words.into_iter().map(|(word, _)| word.into()).collect();
    members.remove("oneOf");
    members.insert("type".into(), "string".into());
    members.insert("enum".into(), words.into());
    members.insert("description".into(), described.trim_start().into());
}

/// Moves the variants of a tagged union to schemas of their own, with the members that all of them have, and
/// returns them. The union keeps references to them and names the member that distinguishes them.
fn named_variants(name: &str, schema: &mut Value) -> Map<String, Value> {
    let Some(tag) = tag_of(schema) else { return Map::new() };
    let (properties, required) = (schema["properties"].take(), schema["required"].take());
    let mut named = Map::new();
    let mut mapping = Map::new();
    for mut variant in schema["oneOf"].as_array_mut().map(std::mem::take).unwrap_or_default() {
        let word = variant["properties"][&tag]["const"].as_str().unwrap_or_default().to_owned();
        if let (Some(own), Some(of_all)) = (variant["properties"].as_object_mut(), properties.as_object()) {
            own.extend(of_all.clone());
        }
        if let (Some(own), Some(of_all)) = (variant["required"].as_array_mut(), required.as_array()) {
            own.splice(0..0, of_all.iter().cloned());
        }
        let variant_name = format!("{name}{}", capitalise(&word));
        mapping.insert(word, format!("#/components/schemas/{variant_name}").into());
        named.insert(variant_name, variant);
    }
    let references: Vec<Value> = mapping.values().map(|reference| json!({ "$ref": reference })).collect();
    *schema = json!({
        "description": schema["description"].take(),
        "oneOf": references,
        "discriminator": { "propertyName": tag, "mapping": mapping },
    });
    named
}

/// Returns the member that has a different word in each variant of a union, if there is one.
fn tag_of(schema: &Value) -> Option<String> {
    let mut variants = schema["oneOf"].as_array()?.iter();
    let (tag, _) = variants.next()?["properties"].as_object()?.iter().find(|(_, member)| member["const"].is_string())?;
    variants.all(|variant| variant["properties"][tag]["const"].is_string()).then(|| tag.clone())
}

fn capitalise(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make_portable(schemas: &Value) -> Value {
        let mut document = json!({ "components": { "schemas": schemas } });
        make(&mut document);
        document["components"]["schemas"].take()
    }

    #[test]
    fn schema_that_allows_everything_becomes_an_empty_object() {
        let schemas = make_portable(&json!({ "A": {
            "properties": { "a": true, "b": { "items": true } },
            "additionalProperties": true,
        } }));
        assert_eq!(schemas["A"], json!({ "properties": { "a": {}, "b": { "items": {} } }, "additionalProperties": true }));
    }

    #[test]
    fn default_is_removed_but_a_member_named_default_stays() {
        let schemas = make_portable(&json!({ "A": { "properties": { "default": { "type": "string", "default": "" } } } }));
        assert_eq!(schemas["A"], json!({ "properties": { "default": { "type": "string" } } }));
    }

    #[test]
    fn union_of_constants_becomes_an_enum() {
        let word = |word: &str| json!({ "type": "string", "const": word, "description": "It is so." });
        let schemas = make_portable(&json!({ "A": { "description": "How.", "oneOf": [word("on"), word("off")] } }));
        let described = "How.\n\n- `on`: It is so.\n- `off`: It is so.";
        assert_eq!(schemas["A"], json!({ "type": "string", "enum": ["on", "off"], "description": described }));
    }

    #[test]
    fn tagged_union_variants_have_names_and_the_common_members() {
        let variant = |kind: &str| json!({ "type": "object", "properties": { "kind": { "const": kind } }, "required": ["kind"] });
        let schemas = make_portable(&json!({ "Thing": {
            "description": "A thing.",
            "type": "object",
            "properties": { "id": { "type": "string" } },
            "required": ["id"],
            "oneOf": [variant("event"), variant("run")],
        } }));
        let mapping = json!({ "event": "#/components/schemas/ThingEvent", "run": "#/components/schemas/ThingRun" });
        assert_eq!(schemas["Thing"]["discriminator"], json!({ "propertyName": "kind", "mapping": mapping }));
        assert_eq!(schemas["Thing"]["oneOf"], json!([{ "$ref": mapping["event"] }, { "$ref": mapping["run"] }]));
        assert_eq!(schemas["ThingRun"]["required"], json!(["id", "kind"]));
        assert_eq!(schemas["ThingRun"]["properties"], json!({ "id": { "type": "string" }, "kind": { "const": "run" } }));
    }

    #[test]
    fn untagged_union_is_unchanged() {
        let union = json!({ "oneOf": [{ "type": "object", "properties": { "a": {} } }, { "type": "string" }] });
        assert_eq!(make_portable(&json!({ "A": union }))["A"], union);
    }
}
