//! A whole JSON Schema (2020-12), compiled: linear-time patterns, no references outside the document, and a
//! bound on the work.
//!
//! The core uses it only through the engine's trait, because its library has dependencies that the core must
//! not have.

use std::collections::BTreeSet;
use std::fmt;

use ensue_engine::catalog::{JsonSchema, MISFITS_MAX, Misfit};
use ensue_expression::Node;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use super::reads::SchemaReads;
use super::work_bound::{PlanError, ValidationPlan};

/// The only supported draft.
pub(super) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The most bytes that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// The most steps for checking one value: some tenths of a second.
const STEPS_MAX: u64 = 10_000_000;
/// The most steps for listing how a value does not fit. Each step may find a fault, and all are kept until
/// the first ones are taken.
const FAULTS_MAX: u64 = 500_000;
/// The deepest nesting of checks: a thread's stack has room for more.
const NESTING_MAX: usize = 1_500;

pub(super) struct WholeSchema {
    source: Value,
    checks: Result<Checks, String>,
}

struct Checks {
    reads: SchemaReads,
    plan: ValidationPlan,
    validator: Validator,
}

/// Why a value is not a JSON Schema.
#[derive(Debug)]
pub(super) struct SchemaFault {
    pub(super) pointer: String,
    pub(super) message: String,
}

/// Compiles a schema. One that is too complex is compiled to one that no value fits, because packs with such
/// schemas may be installed.
pub(super) fn compile(source: Value) -> Result<WholeSchema, SchemaFault> {
    if let Some(draft) = source.get("$schema")
        && draft != DIALECT
    {
        return Err(SchemaFault { pointer: "/$schema".to_owned(), message: "only draft 2020-12 is supported".to_owned() });
    }
    // Done before the library compiles the schema, because compiling too takes longer the more the references
    // multiply.
    let plan = match ValidationPlan::of(&source) {
        Err(PlanError::TooComplex(why)) => return Ok(WholeSchema { source, checks: Err(why) }),
        Err(PlanError::Unresolved) => None,
        Ok(plan) => Some(plan),
    };
    let built = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .offline()
        .build(&source);
    match built {
        Ok(validator) => {
            let checks = plan
                .map(|plan| Checks { reads: SchemaReads::of(&source), plan, validator })
                .ok_or_else(|| "one of its references does not resolve".to_owned());
            Ok(WholeSchema { source, checks })
        }
        Err(error) => Err(SchemaFault { pointer: error.instance_path().to_string(), message: error.to_string() }),
    }
}

/// Returns the number of patterns in a schema, or in what looks like one.
pub(super) fn patterns(source: &Value) -> usize {
    match source {
        Value::Array(items) => items.iter().map(patterns).sum(),
        Value::Object(fields) => {
            let own =
                fields.get("pattern").map_or(0, |_| 1) + fields.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
            own + fields.values().map(patterns).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

impl fmt::Debug for WholeSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WholeSchema").field(&self.source).finish()
    }
}

impl WholeSchema {
    /// Returns what `read` makes of the first faults of a value, at most `most`; or why they cannot be listed.
    fn faults<T>(&self, value: Node<'_>, most: usize, read: impl Fn(&ValidationError<'_>) -> T) -> Result<Vec<T>, String> {
        let Checks { reads, plan, validator } =
            self.checks.as_ref().map_err(|why| format!("cannot be checked: its schema is too complex: {why}"))?;
        let value = reads.value(value);
        let Some(work) = plan.work(&value, STEPS_MAX) else {
            return Err(format!("cannot be checked: that could take more than {STEPS_MAX} steps"));
        };
        if work.nesting > NESTING_MAX {
            return Err(format!("cannot be checked: {} checks would nest, at most {NESTING_MAX} may", work.nesting));
        }
        if validator.is_valid(&value) {
            return Ok(Vec::new());
        }
        // To list the faults, nested parts are checked again on each level.
        if work.steps.saturating_mul(work.nesting as u64) > FAULTS_MAX {
            return Err("does not fit; it is too large to report where".to_owned());
        }
        Ok(validator.iter_errors(&value).take(most).map(|error| read(&error)).collect())
    }
}

impl JsonSchema for WholeSchema {
    fn misfits(&self, value: Node<'_>) -> Vec<Misfit> {
        // Masked: a value from outside may be a misplaced secret, so the message names it without showing it.
        let misfit =
            |error: &ValidationError<'_>| Misfit { pointer: error.instance_path().to_string(), message: error.masked().to_string() };
        self.faults(value, MISFITS_MAX, misfit).unwrap_or_else(|message| vec![Misfit { pointer: String::new(), message }])
    }

    fn misfit_pointers(&self, value: Node<'_>) -> Option<BTreeSet<String>> {
        self.faults(value, usize::MAX, |error| error.instance_path().to_string()).ok().map(BTreeSet::from_iter)
    }

    fn source(&self) -> &Value {
        &self.source
    }

    fn too_complex(&self) -> Option<&str> {
        self.checks.as_ref().err().map(String::as_str)
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
    fn misfit_names_the_pointer_and_hides_the_value() {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
        let found = misfits(schema, &json!({ "a": "s3cret" }));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pointer, "/a");
        assert!(!found[0].message.contains("s3cret"), "{}", found[0].message);
    }

    #[test]
    fn reference_that_leaves_the_document_is_rejected() {
        assert!(compile(json!({ "$ref": "https://example.test/schema.json" })).is_err());
        assert!(compile(json!({ "$ref": "file:///etc/passwd" })).is_err());
        assert!(misfits(json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "string" } } }), &json!("x")).is_empty());
    }

    #[test]
    fn pattern_without_a_time_bound_is_rejected() {
        assert!(compile(json!({ "pattern": "^(?=a)b" })).is_err());
        assert!(compile(json!({ "pattern": "(a)\\1" })).is_err());
    }

    #[test]
    fn circular_reference_terminates() {
        for source in [
            json!({ "$ref": "#" }),
            json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } }, "$ref": "#/$defs/a" }),
        ] {
            if let Ok(schema) = compile(source) {
                assert!(schema.misfits(Document::from_value(&json!({ "a": [1] })).root()).len() < 2);
            }
        }
    }

    /// Returns a schema in which each of `parts` parts refers to the next one twice.
    fn doubling(keyword: &str, parts: usize) -> Value {
        let part = |at: usize| {
            let next = json!({ "$ref": format!("#/$defs/a{}", at + 1) });
            (format!("a{at}"), json!({ keyword: [next, next] }))
        };
        let mut parts: serde_json::Map<String, Value> = (0..parts).map(part).collect();
        parts.insert(format!("a{}", parts.len()), json!({ "type": "object" }));
        json!({ "$defs": parts, "$ref": "#/$defs/a0" })
    }

    fn why(schema: Value) -> Option<String> {
        compile(schema).unwrap_or_else(|fault| panic!("{}", fault.message)).too_complex().map(str::to_owned)
    }

    #[test]
    fn multiplying_references_are_rejected_and_match_nothing() {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            assert!(why(doubling(keyword, 5)).is_none());
            let schema = doubling(keyword, 40);
            assert!(why(schema.clone()).is_some_and(|why| why.contains("apply to one place")), "{keyword}");
            let found = misfits(schema, &json!({}));
            assert!(found[0].message.contains("too complex"), "{found:?}");
        }
        let nested = json!({ "if": { "$ref": "#/$defs/n1" }, "then": { "$ref": "#/$defs/n1" }, "$defs": { "n1": {
            "not": { "$ref": "#/$defs/n2" }, "dependentSchemas": { "a": { "$ref": "#/$defs/n2" } } }, "n2": { "type": "string" } } });
        assert!(why(nested).is_none());
    }

    #[test]
    fn references_that_multiply_per_level_are_rejected() {
        let member = json!({ "properties": { "a": { "$ref": "#" } } });
        let other = json!({ "additionalProperties": { "$ref": "#" } });
        let item = json!({ "items": { "$ref": "#" } });
        for branches in [[member.clone(), member.clone()], [member.clone(), other], [item.clone(), item.clone()]] {
            assert!(why(json!({ "anyOf": branches })).is_some(), "{branches:?}");
        }
        assert!(why(json!({ "anyOf": [member, item] })).is_none());
        let tree =
            json!({ "type": "object", "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#" } }, "additionalProperties": false });
        assert!(why(tree).is_none());
        let json = json!({ "anyOf": [{ "type": "string" }, { "items": { "$ref": "#" } }, { "additionalProperties": { "$ref": "#" } }] });
        assert!(why(json).is_none());
    }

    #[test]
    fn unevaluated_members_count_repeated_evaluation() {
        let nested = |levels: usize| {
            (0..levels).fold(json!({ "type": "object" }), |inner, _| json!({ "anyOf": [inner], "unevaluatedProperties": false }))
        };
        assert!(why(nested(3)).is_none());
        assert!(why(nested(20)).is_some());
    }

    #[test]
    fn references_are_followed_through_ids_and_anchors() {
        let mut parts = serde_json::Map::new();
        for at in 0..40 {
            let next = json!({ "$ref": format!("#a{}", at + 1) });
            parts.insert(format!("p{at}"), json!({ "$anchor": format!("a{at}"), "allOf": [next, next] }));
        }
        parts.insert("p40".into(), json!({ "$anchor": "a40", "type": "object" }));
        assert!(why(json!({ "$id": "https://example.test/a", "$defs": parts, "$ref": "#a0" })).is_some());
        let two = json!({ "$defs": { "t": { "$id": "https://example.test/t", "type": "string" } }, "$ref": "https://example.test/t" });
        assert!(why(two.clone()).is_none());
        assert_eq!(misfits(two, &json!(1)).len(), 1);
        // A value that is not a schema at its place, but is referred to as one.
        let hidden = json!({ "const": doubling("allOf", 40)["$defs"], "$ref": "#/const/a0" });
        let hidden = serde_json::from_str(&hidden.to_string().replace("#/$defs/", "#/const/")).unwrap();
        assert!(why(hidden).is_some());
    }

    #[test]
    fn many_resources_and_dynamic_anchors_are_rejected() {
        let resource = |at: usize| (format!("r{at}"), json!({ "$id": format!("https://example.test/{at}") }));
        let parts: serde_json::Map<String, Value> = (0..20).map(resource).collect();
        assert!(why(json!({ "$defs": parts })).is_some());
        let anchors = json!({ "$defs": { "a": { "$dynamicAnchor": "n" }, "b": { "$dynamicAnchor": "n" } }, "$dynamicRef": "#n" });
        assert!(why(anchors).is_some());
        assert!(why(json!({ "$ref": "https://json-schema.org/draft/2020-12/schema" })).is_some());
    }

    #[test]
    fn value_that_exceeds_the_step_limit_is_a_misfit() {
        let names: Vec<String> = (0..2_000).map(|at| format!("name {at}")).collect();
        let schema = json!({ "items": { "enum": names } });
        assert!(misfits(schema.clone(), &json!(vec!["name 1"; 1_000])).is_empty());
        let found = misfits(schema, &json!(vec!["name 1"; 10_000]));
        assert!(found[0].message.contains("steps"), "{found:?}");
        let found = misfits(json!({ "pattern": "^(a|b){900}$" }), &json!("ab".repeat(100_000)));
        assert!(found[0].message.contains("steps"), "{found:?}");
        let lists: Vec<Value> = (0..20_000).map(|at| json!([[at], []])).collect();
        let found = misfits(json!({ "uniqueItems": true }), &json!(lists));
        assert!(found[0].message.contains("steps"), "{found:?}");
        let numbers: Vec<usize> = (0..100_000).collect();
        assert!(misfits(json!({ "uniqueItems": true, "items": { "type": "integer" } }), &json!(numbers)).is_empty());
    }

    #[test]
    fn value_with_too_deeply_nested_checks_is_a_misfit() {
        let chain = |parts: usize| {
            let part = |at: usize| (format!("a{at}"), json!({ "$ref": format!("#/$defs/a{}", at + 1) }));
            let mut all: serde_json::Map<String, Value> = (0..parts).map(part).collect();
            all.insert(format!("a{parts}"), json!({ "items": { "$ref": "#/$defs/a0" } }));
            json!({ "$defs": all, "$ref": "#/$defs/a0" })
        };
        let deep = |levels: usize| (0..levels).fold(json!([]), |inner, _| json!([inner]));
        assert!(why(chain(1_000)).is_some());
        assert!(misfits(chain(100), &deep(10)).is_empty());
        let found = misfits(chain(100), &deep(60));
        assert!(found[0].message.contains("nest"), "{found:?}");
        let fits = misfits(chain(10), &deep(100));
        assert!(fits.is_empty(), "{fits:?}");
    }

    #[test]
    fn other_draft_is_rejected() {
        assert!(compile(json!({ "$schema": "http://json-schema.org/draft-07/schema#" })).is_err());
    }
}
