//! A whole JSON Schema (2020-12), compiled: linear-time patterns, and no reference that leaves the document.
//!
//! The core sees it only through the engine's trait, because its library draws in what the core must not know.

use std::fmt;

use ensue_engine::catalog::{JsonSchema, MISFITS_MAX, Misfit};
use ensue_expression::Node;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// The most bytes that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

pub(super) struct WholeSchema {
    source: Value,
    validator: Validator,
}

/// Why a value is not a JSON Schema.
pub(super) struct SchemaFault {
    pub(super) pointer: String,
    pub(super) message: String,
}

pub(super) fn compile(source: Value) -> Result<WholeSchema, SchemaFault> {
    if let Some(draft) = source.get("$schema")
        && draft != "https://json-schema.org/draft/2020-12/schema"
    {
        return Err(SchemaFault { pointer: "/$schema".to_owned(), message: "only draft 2020-12 is known".to_owned() });
    }
    let built = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .offline()
        .build(&source);
    match built {
        Ok(validator) => Ok(WholeSchema { source, validator }),
        Err(error) => Err(SchemaFault { pointer: error.instance_path().to_string(), message: error.to_string() }),
    }
}

impl fmt::Debug for WholeSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WholeSchema").field(&self.source).finish()
    }
}

impl JsonSchema for WholeSchema {
    fn misfits(&self, value: Node<'_>) -> Vec<Misfit> {
        let value = value.to_value();
        // Masked: a value of the outside may be a secret in the wrong place, so it is named, not shown.
        self.validator
            .iter_errors(&value)
            .take(MISFITS_MAX)
            .map(|error| Misfit { pointer: error.instance_path().to_string(), message: error.masked().to_string() })
            .collect()
    }

    fn source(&self) -> &Value {
        &self.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ensue_expression::Document;
    use serde_json::json;

    fn misfits(schema: Value, value: &Value) -> Vec<Misfit> {
        let schema = compile(schema).unwrap_or_else(|fault| panic!("{}", fault.message));
        schema.misfits(Document::from_value(value).root())
    }

    #[test]
    fn a_misfit_names_the_place_and_hides_the_value() {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
        let found = misfits(schema, &json!({ "a": "s3cret" }));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pointer, "/a");
        assert!(!found[0].message.contains("s3cret"), "{}", found[0].message);
    }

    #[test]
    fn a_reference_that_leaves_the_document_is_refused() {
        assert!(compile(json!({ "$ref": "https://example.test/schema.json" })).is_err());
        assert!(compile(json!({ "$ref": "file:///etc/passwd" })).is_err());
        assert!(misfits(json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "string" } } }), &json!("x")).is_empty());
    }

    #[test]
    fn a_pattern_that_could_take_for_ever_is_refused() {
        assert!(compile(json!({ "pattern": "^(?=a)b" })).is_err());
        assert!(compile(json!({ "pattern": "(a)\\1" })).is_err());
    }

    #[test]
    fn a_reference_that_goes_round_in_a_circle_ends() {
        for source in [
            json!({ "$ref": "#" }),
            json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } }, "$ref": "#/$defs/a" }),
        ] {
            if let Ok(schema) = compile(source) {
                assert!(schema.misfits(Document::from_value(&json!({ "a": [1] })).root()).len() < 2);
            }
        }
    }

    #[test]
    fn another_draft_is_refused() {
        assert!(compile(json!({ "$schema": "http://json-schema.org/draft-07/schema#" })).is_err());
    }
}
