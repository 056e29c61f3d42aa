//! The library's pack `github` and deliveries: each creates one event of its own trigger, with a valid
//! payload.
//!
//! The deliveries are our own, written from the documented fields. GitHub's examples and schemas, as Octokit
//! publishes them, are also checked if `.ci/run` has installed them; they are not copied into the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ensue_engine::catalog::{Catalog, Extra, Fields, Misfit, Presence, Type};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::names::TriggerRef;
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_expression::{Budget, Document, Scope, Value as Cel};
use ensue_packs::{build, check, library};
use serde_json::{Value, json};

use crate::skipped::not_installed;

/// GitHub's events that have their own trigger.
const EVENTS: [&str; 20] = [
    "check_run",
    "check_suite",
    "create",
    "delete",
    "deployment",
    "deployment_status",
    "fork",
    "issue_comment",
    "issues",
    "ping",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "release",
    "repository",
    "star",
    "status",
    "workflow_job",
    "workflow_run",
];

/// The trigger of all events without their own.
const ANY_OTHER: &str = "event";

/// How many references of Octokit's schemas to follow before their content.
const REFERENCES_MAX: usize = 8;

fn catalog() -> Catalog {
    let checked = check(&library(), &BTreeMap::new());
    let id = |_: &_| RuleId(Id::root(Timestamp::from_micros(0), 1));
    let installed: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(id))).collect();
    build(CatalogRevision(1), &installed).expect("the library makes a catalog")
}

fn trigger(event: &str) -> TriggerRef {
    format!("github.{event}").parse().expect("an event's name makes a ref")
}

/// The events that the sensor creates from a delivery, each with its trigger and payload.
fn emit_events(catalog: &Catalog, event: &str, body: &Value) -> Vec<(TriggerRef, Value)> {
    let headers = json!({ "x-github-event": event, "x-github-delivery": "7c1d" });
    let empty = json!({});
    let scope = Scope::new()
        .with("headers", Cel::from_json(&headers))
        .with("body", Cel::from_json(body))
        .with("query", Cel::from_json(&empty))
        .with("config", Cel::from_json(&empty));
    let sensor = &catalog.sensors()[&"github.webhook".parse().expect("a ref")];
    let fits = |emit: &&ensue_engine::catalog::Emit| {
        emit.when.as_ref().is_none_or(|when| when.holds(&scope, &mut Budget::default()).expect("no header makes it err"))
    };
    let payload = |emit: &ensue_engine::catalog::Emit| match &emit.payload {
        Some(template) => template.render(&scope, &mut Budget::default()).expect("no body makes it err"),
        None => body.clone(),
    };
    sensor.emits.iter().filter(fits).map(|emit| (emit.trigger.clone(), payload(emit))).collect()
}

fn misfits(catalog: &Catalog, trigger: &TriggerRef, payload: &Value) -> Vec<Misfit> {
    catalog.triggers()[trigger].payload.misfits(Document::from_value(payload).root(), Extra::Allowed)
}

fn declared_fields<'a>(catalog: &'a Catalog, event: &str) -> &'a Fields {
    catalog.triggers()[&trigger(event)].payload.fields().expect("the library's payloads are in the short form, which is quick to check")
}

/// Our own deliveries, by event.
fn deliveries() -> BTreeMap<String, Vec<Value>> {
    serde_json::from_str(include_str!("fixtures/github.json")).expect("our deliveries are JSON")
}

#[test]
fn library_has_twenty_github_triggers_and_one_for_the_rest() {
    let catalog = catalog();
    let found: BTreeSet<&str> = catalog.triggers().keys().filter_map(|name| name.as_str().strip_prefix("github.")).collect();
    assert_eq!(found, EVENTS.into_iter().chain([ANY_OTHER]).collect());
    assert_eq!(deliveries().keys().map(String::as_str).collect::<Vec<_>>(), EVENTS);
}

#[test]
fn each_delivery_creates_one_valid_event_of_its_own_trigger() {
    let catalog = catalog();
    for (event, bodies) in deliveries() {
        for body in bodies {
            assert_eq!(emit_events(&catalog, &event, &body), [(trigger(&event), body.clone())], "{event}");
            assert_eq!(misfits(&catalog, &trigger(&event), &body), [], "{event}");
        }
    }
}

#[test]
fn delivery_without_its_own_trigger_is_stored_completely() {
    let catalog = catalog();
    let other = trigger(ANY_OTHER);
    for (event, body) in [("discussion", json!({ "action": "created", "discussion": {} })), ("milestone", json!({ "x": 1 }))] {
        let action = body.get("action").cloned().unwrap_or(Value::Null);
        let payload = json!({ "name": event, "action": action, "body": body });
        assert_eq!(emit_events(&catalog, event, &body), [(other.clone(), payload.clone())]);
        assert_eq!(misfits(&catalog, &other, &payload), []);
    }
}

#[test]
fn each_declared_field_of_a_trigger_is_checked() {
    let catalog = catalog();
    for (event, bodies) in deliveries() {
        for field in &declared_fields(&catalog, &event).0 {
            let named = format!("{event}.{}", field.name);
            let given = |body: &&Value| body.get(&field.name).is_some_and(|value| !value.is_null());
            let body = bodies.iter().find(given).unwrap_or_else(|| panic!("no delivery of ours has {named}"));

            let mut wrong = body.clone();
            wrong[&field.name] = if matches!(field.kind, Type::Boolean) { json!("true") } else { json!(true) };
            assert_eq!(misfits(&catalog, &trigger(&event), &wrong).len(), 1, "{named} of another type is refused");

            let mut absent = body.clone();
            absent.as_object_mut().unwrap().remove(&field.name);
            let refused = usize::from(field.presence == Presence::Required);
            assert_eq!(misfits(&catalog, &trigger(&event), &absent).len(), refused, "{named} may be absent or not, as it says");
            assert!(field.description.is_some(), "{named} says what it is");
        }
    }
}

/// Reads a file of the packages that `.ci/run` installs; skips the test by name if it is missing.
fn octokit(file: &str, test: &str) -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/npm/node_modules/@octokit").join(file);
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Some(serde_json::from_str(&text).expect("what is installed is JSON"));
    }
    not_installed(test, &format!("@octokit/{file}"));
    None
}

#[test]
fn github_s_own_examples_create_valid_events() {
    let test = "github_s_own_examples_create_valid_events";
    let Some(examples) = octokit("webhooks-examples/api.github.com/index.json", test) else { return };
    let catalog = catalog();
    let mut fitting: BTreeMap<String, usize> = BTreeMap::new();
    for kind in examples.as_array().unwrap() {
        let event = kind["name"].as_str().unwrap();
        let own = if EVENTS.contains(&event) { event } else { ANY_OTHER };
        for body in kind["examples"].as_array().unwrap() {
            let events = emit_events(&catalog, event, body);
            assert_eq!(events.iter().map(|(trigger, _)| trigger).collect::<Vec<_>>(), [&trigger(own)], "{event}");
            assert_eq!(misfits(&catalog, &events[0].0, &events[0].1), [], "{event}: {body}");
            *fitting.entry(own.to_owned()).or_default() += 1;
        }
    }
    let without: Vec<&&str> = EVENTS.iter().filter(|event| !fitting.contains_key(**event)).collect();
    assert!(without.is_empty(), "no example of {without:?}");
}

#[test]
fn github_triggers_declare_only_fields_that_github_always_sends() {
    let test = "github_triggers_declare_only_fields_that_github_always_sends";
    let Some(schema) = octokit("webhooks-schemas/schema.json", test) else { return };
    let catalog = catalog();
    for event in EVENTS {
        let whole = [format!("{event}_event"), format!("{event}$event")];
        let whole = whole.iter().map(|name| &schema["definitions"][name]).find(|one| one.is_object());
        let variants = variants(&schema, whole.unwrap_or_else(|| panic!("Octokit has no {event}")), 0);
        let known: BTreeSet<&str> =
            variants.iter().flat_map(|one| one["properties"].as_object().unwrap().keys()).map(String::as_str).collect();
        let declared: BTreeSet<&str> = declared_fields(&catalog, event).0.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(declared, known, "{event}: all that any delivery has, and nothing else");
        for field in required_fields(&catalog, event) {
            let is_always_there = variants.iter().all(|one| one["required"].as_array().unwrap().iter().any(|name| name == field));
            assert!(is_always_there, "{event}.{field} is not always there, so it is no required field");
        }
    }
}

fn required_fields<'a>(catalog: &'a Catalog, event: &str) -> Vec<&'a str> {
    declared_fields(catalog, event).0.iter().filter(|field| field.presence == Presence::Required).map(|field| field.name.as_str()).collect()
}

/// The object schemas of a union.
fn variants<'a>(all: &'a Value, schema: &'a Value, depth: usize) -> Vec<&'a Value> {
    assert!(depth < REFERENCES_MAX, "Octokit's schemas lead round in circles");
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/definitions/")) {
        return variants(all, &all["definitions"][name], depth + 1);
    }
    match schema["oneOf"].as_array() {
        Some(several) => several.iter().flat_map(|one| variants(all, one, depth + 1)).collect(),
        None => vec![schema],
    }
}
