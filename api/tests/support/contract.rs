//! Compares answers with the OpenAPI document: their status, media type, headers and body.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use axum::http::{HeaderMap, Method, StatusCode, header};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Answer, TestApi};

/// The document as the routes generate it.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| TestApi::new().front.openapi());

static VALIDATORS: LazyLock<Mutex<BTreeMap<String, &'static Validator>>> = LazyLock::new(Mutex::default);

/// The documentation of an answer.
pub(crate) struct DocumentedAnswer {
    asked: String,
    response: &'static Value,
}

/// Requires that an answer's status and headers are documented. Requests to paths outside of the API are not
/// checked.
#[track_caller]
pub(crate) fn demand_documented(method: &Method, path: &str, status: StatusCode, headers: &HeaderMap) -> Option<DocumentedAnswer> {
    let (template, operation) = operation_of(method, path)?;
    // The router matches a path only in this spelling.
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return None;
    }
    let asked = format!("{method} {template} answered {}", status.as_u16());
    let Some(response) = responses_of(operation).remove(status.as_str()) else { panic!("{asked}, which the document does not tell of") };
    for name in [
        "ensue-position",
        "ensue-as-of",
        "location",
        "link",
        "preference-applied",
        "retry-after",
        "etag",
        "content-encoding",
        "content-range",
        "content-disposition",
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ] {
        let is_told = response["headers"].as_object().is_some_and(|told| told.keys().any(|known| known.eq_ignore_ascii_case(name)));
        assert!(!headers.contains_key(name) || is_told, "{asked} with `{name}`, which the document does not tell of");
    }
    let told = operation["parameters"].as_array().unwrap();
    let is_chosen = told.iter().any(|parameter| parameter["name"] == "Accept-Encoding");
    assert!(!headers.contains_key(header::CONTENT_ENCODING) || is_chosen, "{asked} under a coding, which the document lets nobody choose");
    if let Some(media) = media_of(headers) {
        let content = response["content"].as_object().unwrap();
        let is_told = status == StatusCode::NOT_MODIFIED || content.contains_key("*/*") || content.contains_key(media);
        assert!(is_told, "{asked} as {media}, which the document does not tell of");
    }
    Some(DocumentedAnswer { asked, response })
}

impl DocumentedAnswer {
    /// Requires the same of an answer's body.
    #[track_caller]
    pub(crate) fn demand_body(&self, answer: &Answer) {
        let Self { asked, response } = self;
        let Some(media) = media_of(&answer.headers) else {
            let is_told = response["content"].as_object().unwrap().is_empty();
            assert!(is_told && answer.text.is_empty(), "{asked} without a content type: {}", answer.text);
            return;
        };
        let told = &response["content"][media];
        if media == "application/problem+json" {
            let code = &answer.json()["code"];
            let codes = response["x-problem-codes"].as_array().unwrap();
            assert!(codes.contains(code), "{asked} with the code {code}, which the document does not tell of");
        }
        // A file may be JSON as well: its shape is up to its program.
        if media.ends_with("json") && media != "application/x-ndjson" && !told.is_null() {
            let body = answer.json();
            let errors: Vec<String> =
                validator(&told["schema"]).iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(errors.is_empty(), "{asked} with a body that does not fit: {errors:#?}\n{body:#}");
        }
    }
}

fn media_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().split(';').next().unwrap_or_default())
}

/// Returns the responses of an operation by status, including referenced ones.
pub(crate) fn responses_of(operation: &'static Value) -> BTreeMap<String, &'static Value> {
    let responses = operation["responses"].as_object().unwrap().iter();
    let resolved = responses.map(|(status, response)| {
        let named = response["$ref"].as_str().map(|at| DOCUMENT.pointer(at.strip_prefix('#').unwrap()).unwrap());
        (status.clone(), named.unwrap_or(response))
    });
    resolved.collect()
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

/// Compiles a schema of the document, once. Undocumented fields fail the test, although callers must accept
/// them.
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
