//! Holds answers to the OpenAPI document: their status, their media type, their headers, and their body.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use axum::http::Method;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Answer, TestApi};

/// The document as the routes say it.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| TestApi::new().front.openapi());

static VALIDATORS: LazyLock<Mutex<BTreeMap<String, &'static Validator>>> = LazyLock::new(Mutex::default);

/// Demands that an answer is one that the document tells of. What is asked of no route of ours is not held to it.
#[track_caller]
pub(crate) fn demand_documented(method: &Method, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap_or_default();
    let Some((template, operation)) = operation_of(method, path) else { return };
    // The router knows what a path names only where it is spelt so.
    if answer.status.as_u16() == 405 {
        return;
    }
    let asked = format!("{method} {template}");
    let status = answer.status.as_u16();
    let Some(told) = operation["responses"].get(status.to_string()) else {
        panic!("{asked} answered {status}, which the document does not tell of: {}", answer.text)
    };
    for name in ["ensue-position", "location", "link", "retry-after", "etag"] {
        let is_told = told["headers"].as_object().is_some_and(|headers| headers.keys().any(|known| known.eq_ignore_ascii_case(name)));
        assert!(answer.header(name).is_none() || is_told, "{asked} answered {status} with `{name}`, which the document does not tell of");
    }
    let content = told["content"].as_object().unwrap();
    let Some(media) = answer.header("content-type") else {
        assert!(content.is_empty() && answer.text.is_empty(), "{asked} answered {status} without a content type: {}", answer.text);
        return;
    };
    let media = media.split(';').next().unwrap_or_default();
    if status == 304 || content.contains_key("*/*") {
        return;
    }
    let Some(told) = content.get(media) else { panic!("{asked} answered {status} as {media}, which the document does not tell of") };
    if media.ends_with("json") {
        let body = answer.json();
        let errors: Vec<String> =
            validator(&told["schema"]).iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{asked} answered {status} with a body that does not fit: {errors:#?}\n{body:#}");
    }
}

fn operation_of(method: &Method, path: &str) -> Option<(&'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let fits = |template: &str| {
        let (parts, given): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
        parts.len() == given.len()
            && parts.iter().zip(given).all(|(part, given)| *part == given || (part.starts_with('{') && !given.is_empty()))
    };
    let mut fitting: Vec<&String> = paths.keys().filter(|template| fits(template)).collect();
    fitting.sort_by_key(|template| template.matches('{').count());
    let template = fitting.first()?;
    let operation = paths[*template].get(method.as_str().to_lowercase())?;
    Some((template, operation))
}

/// Compiles a schema of the document, once. A field that a shape does not tell of is held against it, though callers must expect more.
pub(crate) fn validator(schema: &Value) -> &'static Validator {
    let mut validators = VALIDATORS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    validators.entry(schema.to_string()).or_insert_with(|| {
        let mut components = DOCUMENT["components"].clone();
        for shape in components["schemas"].as_object_mut().unwrap().values_mut() {
            let shape = shape.as_object_mut().unwrap();
            if shape.get("type") == Some(&json!("object")) && shape.contains_key("properties") {
                shape.entry("unevaluatedProperties").or_insert(false.into());
            }
        }
        let mut whole = schema.clone();
        if let Some(whole) = whole.as_object_mut() {
            whole.insert("components".into(), components);
            whole.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        }
        Box::leak(Box::new(jsonschema::validator_for(&whole).unwrap_or_else(|why| panic!("{why}: {schema:#}"))))
    })
}
