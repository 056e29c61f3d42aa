//! Turns deliveries at webhooks into events: checks the proof first, then the body, then renders the events.
//!
//! It does not know schemas of triggers, rules, or which dedupe keys were seen: the node checks those.

use bytes::Bytes;
use ensue_engine::catalog::{Emit, Sensor, Verify};
use ensue_engine::events::facts::DeliveredWith;
use ensue_engine::explain::Explain;
use ensue_engine::names::{KeyRef, SensorRef, TriggerRef};
use ensue_engine::ports::{HookRequest, Secret};
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;
use ensue_expression::{Budget, Document, ErrorKind, JsonError, Scope, Template, Value};
use thiserror::Error;

use crate::schemes;
use crate::signatures::{self, KEY_BYTES_MIN, SignatureRefusal, Unsigned};

/// The maximum number of steps for all expressions of one delivery together.
pub const DELIVERY_STEPS_MAX: u64 = 1_000_000;
/// The maximum size of a dedupe key, in bytes.
pub const DEDUPE_BYTES_MAX: usize = 1024;

/// The maximum size of the headers and query that are kept with a delivery's body, in bytes of JSON.
pub const KEPT_BYTES_MAX: usize = 8 * 1024;

/// An event that a delivery makes.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// Its trigger.
    pub trigger: TriggerRef,
    /// Its payload. If the sensor has no payload template, it is the body byte for byte, parsed once and
    /// shared by all events of the delivery.
    pub payload: Document,
    /// The key under which it is accepted once. `None` if the sensor has none, or the delivery lacks the
    /// field that it is taken from.
    pub dedupe: Option<String>,
}

/// Why a delivery makes no events. A delivery makes all its events or none.
#[derive(Clone, Debug, Error, Explain)]
#[non_exhaustive]
pub enum HookRefusal {
    /// The hook cannot tell who delivers, so it takes nothing.
    #[error("the hook `{sensor}` accepts no deliveries: {why}")]
    #[explain(slug = "hook-unusable", fault = Unavailable, hint = key_hint(key.as_ref()))]
    Unusable {
        /// The sensor.
        sensor: SensorRef,
        /// Its key.
        key: Option<KeyRef>,
        /// The problem with the key.
        why: SignatureRefusal,
    },
    /// The delivery does not prove who sent it.
    #[error("the delivery is not verified: {0}")]
    #[explain(slug = "signature-refused", fault = Unauthenticated,
        hint = "have the sender sign the raw body with the hook's secret; compare the secret at the sender with the one set here")]
    Unproven(SignatureRefusal),
    /// The body is not said to be JSON.
    #[error("the delivery is {given}, but this hook accepts `application/json`")]
    #[explain(slug = "unsupported-media-type", fault = Malformed,
        hint = "set the webhook's content type to `application/json` at the sender, without compression")]
    NotJsonType {
        /// The declared type.
        given: String,
    },
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    #[explain(slug = "body-not-json", fault = Malformed,
        hint = "send one JSON value in UTF-8, with at most 128 levels and no duplicate keys in an object")]
    NotJson(JsonError),
    /// An expression of the sensor erred on this delivery.
    #[error("`{part}` of `emits[{index}]` (`{trigger}`) of the sensor `{sensor}` failed: {why}")]
    #[explain(slug = "sensor-erred", fault = Invalid,
        hint = "fix the sensor's expression, or read fields that may be absent with `.?field.orValue(…)`")]
    EmitErred {
        /// The sensor.
        sensor: SensorRef,
        /// The index of the emit, from 0.
        index: usize,
        /// The trigger.
        trigger: TriggerRef,
        /// The field of the emit.
        part: EmitPart,
        /// The error.
        why: String,
    },
    /// The sensor's expressions took too many steps together.
    #[error("the expressions of the sensor `{sensor}` take more than {DELIVERY_STEPS_MAX} steps on this delivery")]
    #[explain(slug = "sensor-erred", fault = Invalid, hint = "shorten the lists that the sensor's expressions loop over")]
    TooManySteps {
        /// The sensor.
        sensor: SensorRef,
    },
}

/// A field of an emit that holds an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitPart {
    /// Its condition.
    When,
    /// Its dedupe key.
    Dedupe,
    /// Its payload.
    Payload,
}

impl std::fmt::Display for EmitPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::When => "when",
            Self::Dedupe => "dedupe",
            Self::Payload => "payload",
        })
    }
}

/// How far a delivery came before it was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The sender was not proven, so the content may be anybody's.
    Proof,
    /// The delivery passed the hook's check, so its content is the sender's and worth keeping.
    Content,
}

impl HookRefusal {
    /// Returns how far the delivery came.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Unusable { .. } | Self::Unproven(_) => Stage::Proof,
            Self::NotJsonType { .. } | Self::NotJson(_) | Self::EmitErred { .. } | Self::TooManySteps { .. } => Stage::Content,
        }
    }

    /// Returns the trigger whose event could not be made, if the error concerns a single trigger.
    pub fn trigger(&self) -> Option<&TriggerRef> {
        match self {
            Self::EmitErred { trigger, .. } => Some(trigger),
            Self::Unusable { .. } | Self::Unproven(_) | Self::NotJsonType { .. } | Self::NotJson(_) | Self::TooManySteps { .. } => None,
        }
    }
}

fn key_hint(key: Option<&KeyRef>) -> String {
    match key {
        Some(key) => format!("set the secret that the sender signs with, at least {KEY_BYTES_MIN} bytes: `ensue keys set {key}`"),
        None => "name a key in the sensor's `verify`".to_owned(),
    }
}

/// The values of the key that a sensor's `verify` names.
#[derive(Clone, Copy, Default)]
pub struct HookKeys<'a> {
    /// The current value, or none if the key is not set.
    pub current: Option<&'a Secret>,
    /// The value before a rotation, as long as it is accepted.
    pub previous: Option<&'a Secret>,
}

/// Makes the events of a delivery: one for each emit of the sensor whose condition holds, in order. There may
/// be none.
///
/// # Errors
/// The proof is checked before anything else in the delivery is read. Then the first problem is reported, and
/// no event is made.
pub fn receive(sensor: &Sensor, request: &HookRequest, keys: HookKeys<'_>, now: Timestamp) -> Result<Vec<Emitted>, HookRefusal> {
    prove(sensor, request, keys, now)?;
    events_of(sensor, request)
}

/// Makes the events of a delivery that was proven before, without checking the proof again.
///
/// # Errors
/// Reports the first problem in the content, and no event is made.
pub fn events_of(sensor: &Sensor, request: &HookRequest) -> Result<Vec<Emitted>, HookRefusal> {
    demand_json_type(&request.headers)?;
    let body = Document::parse(request.body.clone()).map_err(HookRefusal::NotJson)?;
    let headers = shown_headers(&request.headers);
    let scope = Scope::new()
        .with("headers", Value::map(headers.iter().map(|(name, value)| (*name, Value::from(value.as_str())))))
        .with("body", Value::from(body.root()))
        .with("query", Value::map(request.query.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str())))))
        .with("config", Value::from_json(&sensor.config));
    let mut making = Making { sensor, body: &body, scope, steps: 0 };
    let mut made = Vec::new();
    for (index, emit) in sensor.emits.iter().enumerate() {
        made.extend(making.event_of(index, emit)?);
    }
    Ok(made)
}

/// Returns the parts of a delivery that are kept with its body, so that the same events can be made later:
/// the headers that expressions may see, without the proof; the content encoding; and the query, if the
/// sensor's expressions read it. Returns `None` if that is more than [`KEPT_BYTES_MAX`], or if the query that
/// they read may hold a secret.
pub fn kept(sensor: &Sensor, request: &HookRequest) -> Option<DeliveredWith> {
    let scheme = sensor.source.webhook().and_then(Verify::scheme);
    let proof = scheme.map(|scheme| signatures::header_of(scheme, &request.headers));
    let encoding = request.headers.iter().filter(|(name, _)| name == "content-encoding").cloned();
    let shown = shown_headers(&request.headers).into_iter().map(|(name, value)| (name.to_owned(), value));
    let is_proof = |name: &String| proof.as_ref() == Some(name) || name.contains("signature");
    let headers = shown.chain(encoding).filter(|(name, _)| !is_proof(name)).collect();
    let query = if reads_query(sensor) { request.query.clone() } else { Vec::new() };
    if query.iter().any(|(name, _)| opens_doors(&name.to_ascii_lowercase())) {
        return None;
    }
    let with = DeliveredWith { headers, query };
    let bytes = serde_json::to_vec(&with).map_or(usize::MAX, |json| json.len());
    (bytes <= KEPT_BYTES_MAX).then_some(with)
}

/// Returns the digest of what makes a delivery the same as an earlier one, if that is more than its body: its
/// scheme signs an id as well. Two deliveries with different ids are different, even if their bodies are equal.
pub fn signed_content(sensor: &Sensor, request: &HookRequest) -> Option<Digest> {
    let scheme = sensor.source.webhook()?.scheme()?;
    let id = signatures::signed_id(scheme, &request.headers)?;
    let body = Digest::of(&request.body);
    Some(Digest::of(format!("{}/{id}{body}", id.len()).as_bytes()))
}

fn reads_query(sensor: &Sensor) -> bool {
    let in_emit = |emit: &Emit| {
        let in_payload = emit.payload.iter().flat_map(Template::expressions);
        emit.when.iter().chain(&emit.dedupe).chain(in_payload).any(|expression| expression.reads_root("query"))
    };
    sensor.emits.iter().any(in_emit)
}

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
}

/// Composes a delivery as the sensor's sender would, signed with `key`, to try out a hook.
///
/// # Errors
/// If the key is not set or too short.
pub fn compose(sensor: &Sensor, outgoing: Outgoing<'_>, key: Option<&Secret>) -> Result<HookRequest, SignatureRefusal> {
    let verify = sensor.source.webhook().ok_or(SignatureRefusal::NoDeliveries)?;
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let naming = schemes::naming(verify.scheme());
    if !outgoing.event.is_empty() {
        headers.push((naming.event.to_owned(), outgoing.event.to_owned()));
    }
    let proof = match verify.scheme() {
        Some(scheme) => {
            let unsigned = Unsigned { body: &outgoing.body, id: outgoing.delivery, now: outgoing.now };
            signatures::sign(scheme, unsigned, key)?
        }
        None => Vec::new(),
    };
    // The scheme may have signed the id already.
    if !proof.iter().any(|(name, _)| name == naming.delivery) {
        headers.push((naming.delivery.to_owned(), outgoing.delivery.to_owned()));
    }
    headers.extend(proof);
    Ok(HookRequest { sensor: sensor.name.clone(), headers, query: Vec::new(), body: outgoing.body })
}

fn prove(sensor: &Sensor, request: &HookRequest, keys: HookKeys<'_>, now: Timestamp) -> Result<(), HookRefusal> {
    let verify = sensor.source.webhook();
    let checked = match verify {
        Some(Verify::Proof { scheme, .. }) => {
            let check = |key| signatures::check(scheme, &request.headers, &request.body, key, now);
            match (check(keys.current), keys.previous) {
                // If the value before does not verify it either, the current one is what the sender should use.
                (Err(why @ (SignatureRefusal::Wrong { .. } | SignatureRefusal::WrongToken { .. })), Some(previous)) => {
                    check(Some(previous)).map_err(|_| why)
                }
                (checked, _) => checked,
            }
        }
        Some(Verify::None) => Ok(()),
        None => Err(SignatureRefusal::NoDeliveries),
    };
    checked.map_err(|why| match why {
        SignatureRefusal::NoDeliveries
        | SignatureRefusal::NoKey
        | SignatureRefusal::ShortKey { .. }
        | SignatureRefusal::MalformedKey { .. }
        | SignatureRefusal::NoPrivateKey => {
            HookRefusal::Unusable { sensor: sensor.name.clone(), key: verify.and_then(Verify::key).cloned(), why }
        }
        SignatureRefusal::Missing { .. }
        | SignatureRefusal::Repeated { .. }
        | SignatureRefusal::Malformed { .. }
        | SignatureRefusal::Wrong { .. }
        | SignatureRefusal::WrongToken { .. }
        | SignatureRefusal::OutOfTime { .. } => HookRefusal::Unproven(why),
    })
}

/// Demands a declared JSON type. The type is never guessed, and compressed bodies are not unpacked.
fn demand_json_type(headers: &[(String, String)]) -> Result<(), HookRefusal> {
    let all = |wanted: &'static str| headers.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let refuse = |given: String| Err(HookRefusal::NotJsonType { given });
    if let Some(encoding) = all("content-encoding").find(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return refuse(format!("compressed as `{}`", brief(encoding)));
    }
    let types: Vec<_> = all("content-type").collect();
    match types.as_slice() {
        [] => refuse("sent without a content type".into()),
        [one] if is_json(one) => Ok(()),
        [one] => refuse(format!("`{}`", brief(one))),
        [_, _, ..] => refuse("sent with more than one content type".into()),
    }
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    is_json && parts.all(is_utf8_at_most)
}

/// Rejects charsets other than UTF-8, because JSON is UTF-8 (RFC 8259 §8.1). Other parameters are ignored.
fn is_utf8_at_most(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"),
        Some(_) | None => true,
    }
}

fn brief(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}

/// Headers that a sensor's expressions may see, by name: those with which senders describe a delivery.
const SHOWN_NAMES: &[&str] = &["content-type", "user-agent", "date", "idempotency-key"];
/// Headers that a sensor's expressions may see, by prefix.
const SHOWN_PREFIXES: &[&str] = &["x-", "ce-", "webhook-", "svix-", "linear-", "sentry-"];
/// Headers added by proxies, and headers that may hold credentials: they are hidden, because events can be
/// read by all.
const HIDDEN_PREFIXES: &[&str] = &["x-forwarded-", "x-real-", "x-original-", "x-envoy-", "x-amzn-", "x-csrf", "x-xsrf"];
const HIDDEN_WORDS: &[&str] = &["token", "secret", "auth", "cookie", "password", "session", "api-key", "apikey"];

fn is_shown(name: &str) -> bool {
    (SHOWN_NAMES.contains(&name) || SHOWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        && !HIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !opens_doors(name)
}

/// Returns true if a value with this name may be a secret.
fn opens_doors(name: &str) -> bool {
    HIDDEN_WORDS.iter().any(|word| name.contains(word))
}

/// Returns the headers that expressions see. The values of a repeated one are joined with `, ` (RFC 9110
/// §5.3).
fn shown_headers(headers: &[(String, String)]) -> Vec<(&str, String)> {
    let mut shown: Vec<(&str, String)> = Vec::new();
    for (name, value) in headers.iter().filter(|(name, _)| is_shown(name)) {
        match shown.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => {
                values.push_str(", ");
                values.push_str(value);
            }
            None => shown.push((name, value.clone())),
        }
    }
    shown
}

/// The state of turning one delivery or message into events.
pub(crate) struct Making<'a> {
    pub(crate) sensor: &'a Sensor,
    pub(crate) body: &'a Document,
    pub(crate) scope: Scope<'a>,
    pub(crate) steps: u64,
}

impl<'a> Making<'a> {
    /// Returns the event of one emit, if its condition holds.
    pub(crate) fn event_of(&mut self, index: usize, emit: &'a Emit) -> Result<Option<Emitted>, HookRefusal> {
        let erred = |part: EmitPart, why: String| HookRefusal::EmitErred {
            sensor: self.sensor.name.clone(),
            index,
            trigger: emit.trigger.clone(),
            part,
            why,
        };
        let fits = match &emit.when {
            None => Ok(true),
            Some(when) => self.counted(|scope, budget| when.holds(scope, budget))?,
        };
        if !fits.map_err(|why| erred(EmitPart::When, why.to_string()))? {
            return Ok(None);
        }
        let dedupe = match &emit.dedupe {
            None => None,
            Some(dedupe) => match self.counted(|scope, budget| dedupe.evaluate(scope, budget))? {
                Ok(key) => dedupe_key(&key).map_err(|why| erred(EmitPart::Dedupe, why))?,
                // A delivery that lacks the field for its key is still accepted.
                Err(why) if why.kind == ErrorKind::Missing => None,
                Err(why) => return Err(erred(EmitPart::Dedupe, why.to_string())),
            },
        };
        let payload = match &emit.payload {
            None => self.body.clone(),
            Some(payload) => {
                let rendered = self.counted(|scope, budget| payload.render_document(scope, budget))?;
                rendered.map_err(|why| erred(EmitPart::Payload, why.to_string()))?
            }
        };
        Ok(Some(Emitted { trigger: emit.trigger.clone(), payload, dedupe }))
    }

    /// Runs one evaluation within its own budget and that of the delivery.
    fn counted<T>(&mut self, evaluate: impl FnOnce(&Scope<'a>, &mut Budget) -> T) -> Result<T, HookRefusal> {
        let mut budget = Budget::default();
        let outcome = evaluate(&self.scope, &mut budget);
        self.steps = self.steps.saturating_add(budget.spent());
        if self.steps > DELIVERY_STEPS_MAX {
            return Err(HookRefusal::TooManySteps { sensor: self.sensor.name.clone() });
        }
        Ok(outcome)
    }
}

/// Returns a string or an integer as a key. Null and the empty string are not keys.
fn dedupe_key(value: &Value<'_>) -> Result<Option<String>, String> {
    let key = match value {
        Value::Null | Value::Optional(None) => return Ok(None),
        Value::Optional(Some(inner)) => return dedupe_key(inner),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        other => match other.as_str() {
            Some(text) => text.into_owned(),
            None => return Err(format!("the key is {}, but it must be a string or a whole number", other.kind())),
        },
    };
    if key.len() > DEDUPE_BYTES_MAX {
        return Err(format!("the key is {} bytes long; the limit is {DEDUPE_BYTES_MAX}", key.len()));
    }
    Ok((!key.is_empty()).then_some(key))
}

#[cfg(test)]
mod tests;
