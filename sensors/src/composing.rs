//! Composes the content of a delivery in a form, by a method and at a path that a webhook accepts, to try it out.

use bytes::Bytes;
use ensue_engine::catalog::{BodyForm, HookMethod, PathPart, Sensor};
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, NodeKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// The type of a form.
const FORM: &str = "application/x-www-form-urlencoded";
/// The characters that are encoded in a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The content of a delivery, enough to compose it as its sender would.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// The sender's name for what happened: `push`. Empty for a sender that does not put it in a header.
    pub event: &'a str,
    /// The id of the delivery.
    pub delivery: &'a str,
    /// The raw JSON body.
    pub body: Bytes,
    /// The time at which it is signed.
    pub now: Timestamp,
    /// The public URL of the hook.
    pub url: &'a str,
    /// The values of the parameters in its path.
    pub path: &'a [(String, String)],
}

/// The content of a delivery.
pub(crate) struct ComposedDelivery {
    pub(crate) method: HookMethod,
    pub(crate) url: String,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Bytes,
}

/// Composes a delivery. POST and JSON are preferred if the webhook accepts them.
pub(crate) fn compose(sensor: &Sensor, outgoing: &Outgoing<'_>) -> Result<ComposedDelivery, String> {
    let webhook = sensor.source.endpoint().ok_or("the sensor has no webhook")?;
    let prefers = [HookMethod::Post, HookMethod::Put, HookMethod::Get, HookMethod::Delete];
    let method = prefers.into_iter().find(|method| webhook.methods.contains(method)).ok_or("the webhook has no method")?;
    let url = format!("{}{}", outgoing.url, path(&webhook.path, outgoing.path)?);
    if matches!(method, HookMethod::Get | HookMethod::Delete) {
        if &*outgoing.body != b"null" {
            return Err(format!("a delivery by {} has no body here", method.as_str()));
        }
        return Ok(ComposedDelivery { method, url, content_type: None, body: Bytes::new() });
    }
    let (content_type, body) = if webhook.accepts.contains(&BodyForm::Json) {
        ("application/json", outgoing.body.clone())
    } else {
        let value: Value = serde_json::from_slice(&outgoing.body).map_err(|why| why.to_string())?;
        match (webhook.accepts.first(), value) {
            (Some(BodyForm::Form), Value::Object(fields)) => (FORM, Bytes::from(form(&fields)?)),
            (Some(BodyForm::Form), _) => return Err("it accepts forms; give an object of the fields".to_owned()),
            (Some(BodyForm::Text), Value::String(text)) => ("text/plain; charset=utf-8", Bytes::from(text)),
            (Some(BodyForm::Text), _) => return Err("it accepts texts; give a string".to_owned()),
            (Some(BodyForm::Multipart | BodyForm::Json) | None, _) => {
                return Err("it accepts only `multipart`, which cannot be composed; use `curl`".to_owned());
            }
        }
    };
    Ok(ComposedDelivery { method, url, content_type: Some(content_type), body })
}

/// Puts a time into the field of an object, in milliseconds, and leaves its other fields as they are.
pub(crate) fn with_time(body: Bytes, field: &str, now: Timestamp) -> Result<Bytes, String> {
    let object = Document::parse(body).ok().filter(|body| body.root().kind() == NodeKind::Object);
    let object = object.ok_or_else(|| format!("its sender puts the time into the field `{field}`; give an object"))?;
    let mut text = format!("{{{}:{}", Value::from(field), now.unix_millis());
    for (name, value) in object.root().entries().filter(|(name, _)| name != field) {
        text.push_str(&format!(",{}:{}", Value::from(&*name), value.raw()));
    }
    text.push('}');
    Ok(text.into())
}

fn path(declared: &[PathPart], given: &[(String, String)]) -> Result<String, String> {
    if let Some((name, _)) = given.iter().find(|(name, _)| !declared.contains(&PathPart::Parameter(name.clone()))) {
        return Err(format!("its path has no parameter `{name}`"));
    }
    let mut path = String::new();
    for part in declared {
        let text = match part {
            PathPart::Text(text) => text,
            PathPart::Parameter(name) => {
                let value = given.iter().find(|(given, _)| given == name).map(|(_, value)| value).filter(|value| !value.is_empty());
                value.ok_or_else(|| format!("its path has the parameter `{name}`; give its value"))?
            }
        };
        path.push('/');
        path.extend(utf8_percent_encode(text, IN_PATH));
    }
    Ok(path)
}

fn form(fields: &serde_json::Map<String, Value>) -> Result<String, String> {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            other => std::slice::from_ref(other),
        };
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(format!("the field `{name}` of a form is a string, or a list of strings"));
                }
            };
            let [name, text] = [name, &text].map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
            pairs.push(format!("{name}={text}"));
        }
    }
    Ok(pairs.join("&"))
}
