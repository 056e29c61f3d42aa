//! Replies to senders: renders what the `reply` of a sensor says.

use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::catalog::{EarlyReply, REPLY_BYTES_MAX, Reply, ReplyProof, Sensor, UNPROVEN_REPLY_BYTES_MAX, WaitingReply, Webhook};
use ensue_engine::ports::{Came, CameHow, HookReply, HookRequest};
use ensue_expression::{Budget, Expression, Scope, Template, Value};
use serde_json::Value as Json;

use crate::delivery_headers::read_headers;
use crate::limits::DELIVERY_STEPS_MAX;
use crate::refusal::{HookRefusal, Stage};

/// The maximum size of a header of a reply, in bytes.
const HEADER_BYTES_MAX: usize = 1024;
/// The type of a body that is a text.
const TEXT: &str = "text/plain; charset=utf-8";
/// The type of any other body.
const JSON: &str = "application/json";

/// The expressions of a webhook itself, in one scope and within one budget of steps.
pub(crate) struct Replying<'a> {
    pub(crate) sensor: &'a Sensor,
    pub(crate) scope: Scope<'a>,
    pub(crate) steps: u64,
    pub(crate) stage: Stage,
}

/// Returns the reply to a sender that has proven nothing yet, if there is one for this delivery.
pub(crate) fn unproven(sensor: &Sensor, webhook: &Webhook, request: &HookRequest) -> Result<Option<HookReply>, HookRefusal> {
    let mut items = (0..).zip(&webhook.replies).filter(|(_, item)| item.proof == ReplyProof::NotDemanded).peekable();
    if items.peek().is_none() {
        return Ok(None);
    }
    let headers = read_headers(&webhook.verify, &request.headers);
    let scope = Scope::new()
        .with("headers", Value::map(headers.iter().map(|(name, value)| (*name, Value::from(&**value)))))
        .with("query", texts(&request.query))
        .with("method", Value::from(request.method.as_str()));
    let mut replying = Replying { sensor, scope, steps: 0, stage: Stage::Proof };
    for (index, item) in items {
        if replying.applies(index, item)? {
            let reply = replying.render(&format!("reply[{index}]"), &item.reply, 200)?;
            if reply.body.len() > UNPROVEN_REPLY_BYTES_MAX {
                let why = format!("the reply has {} bytes; without a proof the limit is {UNPROVEN_REPLY_BYTES_MAX}", reply.body.len());
                return Err(replying.hook_error(format!("reply[{index}].body"), why));
            }
            // Anybody may have written it, so no browser may take it for anything but text.
            return Ok(Some(HookReply { headers: vec![("content-type".to_owned(), TEXT.to_owned())], ..reply }));
        }
    }
    Ok(None)
}

/// Returns the values of a query or a path, by name.
pub(crate) fn texts(pairs: &[(String, String)]) -> Value<'_> {
    Value::map(pairs.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str()))))
}

impl<'a> Replying<'a> {
    /// Returns the reply that ends this delivery before it creates events, if there is one.
    pub(crate) fn early(&mut self, webhook: &'a Webhook) -> Result<Option<HookReply>, HookRefusal> {
        for (index, item) in (0..).zip(&webhook.replies).filter(|(_, item)| item.proof == ReplyProof::Demanded) {
            if self.applies(index, item)? {
                return self.render(&format!("reply[{index}]"), &item.reply, 200).map(Some);
            }
        }
        Ok(None)
    }

    /// Returns the reply that waits, if it applies to this delivery.
    pub(crate) fn waiting(&mut self, webhook: &'a Webhook) -> Result<Option<Arc<WaitingReply>>, HookRefusal> {
        let Some(waits) = &webhook.waits else { return Ok(None) };
        Ok(self.holds(webhook.replies.len(), waits.when.as_ref())?.then(|| waits.clone()))
    }

    fn applies(&mut self, index: usize, item: &'a EarlyReply) -> Result<bool, HookRefusal> {
        self.holds(index, item.when.as_ref())
    }

    fn holds(&mut self, index: usize, when: Option<&'a Expression>) -> Result<bool, HookRefusal> {
        let Some(when) = when else { return Ok(true) };
        let held = self.with_budget(|scope, budget| when.holds(scope, budget))?;
        held.map_err(|why| self.hook_error(format!("reply[{index}].when"), why.to_string()))
    }

    fn render(&mut self, part: &str, reply: &'a Reply, status: u16) -> Result<HookReply, HookRefusal> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, template) in &reply.headers {
            let value = self.value(&format!("{part}.headers"), template)?;
            let value = match value {
                Json::String(text) => text,
                other => other.to_string(),
            };
            if value.len() > HEADER_BYTES_MAX || value.chars().any(char::is_control) {
                return Err(self
                    .hook_error(format!("{part}.headers"), format!("the value of `{name}` is not one line of {HEADER_BYTES_MAX} bytes")));
            }
            headers.push((name.clone(), value));
        }
        let (body, media_type) = match reply.body.as_ref().map(|body| self.value(&format!("{part}.body"), body)).transpose()? {
            None => (Bytes::new(), None),
            Some(Json::String(text)) => (Bytes::from(text), Some(TEXT)),
            Some(other) => (Bytes::from(other.to_string()), Some(JSON)),
        };
        if body.len() > REPLY_BYTES_MAX {
            return Err(
                self.hook_error(format!("{part}.body"), format!("the reply has {} bytes; the limit is {REPLY_BYTES_MAX}", body.len()))
            );
        }
        if let Some(media_type) = media_type.filter(|_| !headers.iter().any(|(name, _)| name == "content-type")) {
            headers.push(("content-type".to_owned(), media_type.to_owned()));
        }
        Ok(HookReply { status: reply.status.unwrap_or(status), headers, body })
    }

    fn value(&mut self, part: &str, template: &'a Template) -> Result<Json, HookRefusal> {
        let rendered = self.with_budget(|scope, budget| template.render(scope, budget))?;
        rendered.map_err(|why| self.hook_error(part.to_owned(), why.to_string()))
    }

    fn hook_error(&self, part: String, why: String) -> HookRefusal {
        HookRefusal::HookErred { sensor: self.sensor.name.clone(), part, stage: self.stage, why }
    }

    /// Runs one evaluation within its own budget and that of the delivery.
    fn with_budget<T>(&mut self, evaluate: impl FnOnce(&Scope<'a>, &mut Budget) -> T) -> Result<T, HookRefusal> {
        let mut budget = Budget::default();
        let outcome = evaluate(&self.scope, &mut budget);
        self.steps = self.steps.saturating_add(budget.steps_spent());
        if self.steps > DELIVERY_STEPS_MAX {
            return Err(HookRefusal::TooManySteps { sensor: self.sensor.name.clone(), stage: self.stage });
        }
        Ok(outcome)
    }
}

/// Renders the reply for what came of a delivery. Returns `None` for the usual reply. A text of something that does
/// not exist is empty, so that a text around it can be rendered.
///
/// # Errors
/// If an expression of the reply fails.
pub fn reply_to(sensor: &Sensor, waits: &WaitingReply, came: &Came) -> Result<Option<HookReply>, HookRefusal> {
    let (part, reply, status) = match came.how {
        CameHow::Succeeded => ("body", Some(&waits.succeeded), 200),
        CameHow::Failed => ("failed", waits.failed.as_ref(), 502),
        CameHow::Late => ("late", waits.late.as_ref(), 202),
        CameHow::Nothing => ("none", waits.none.as_ref(), 200),
    };
    let Some(reply) = reply else { return Ok(None) };
    let (id, url) = came.execution.as_ref().map(|(id, url)| (id.to_string(), url)).unzip();
    let facts = serde_json::json!({
        "event": { "id": came.event.map(|id| id.to_string()).unwrap_or_default() },
        "execution": { "id": id.unwrap_or_default(), "url": url.map(String::as_str).unwrap_or_default() },
        "error": { "kind": came.error_kind.unwrap_or_default() },
    });
    let result = came.result.as_ref().map_or(Value::Null, |result| Value::from(result.root()));
    let scope = Scope::new()
        .with("event", Value::from_json(&facts["event"]))
        .with("execution", Value::from_json(&facts["execution"]))
        .with("error", Value::from_json(&facts["error"]))
        .with("status", Value::from(came.status.unwrap_or_default()))
        .with("result", result)
        .with("config", Value::from_json(&sensor.config));
    let mut replying = Replying { sensor, scope, steps: 0, stage: Stage::Content };
    replying.render(&format!("reply.{part}"), reply, status).map(Some)
}
