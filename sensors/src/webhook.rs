//! Deliveries at webhooks: proof first, then the body, then the events that it makes.
//!
//! It does not know what a trigger's schema says, which rules listen, or whether a dedupe key was seen: the node asks those.

use bytes::Bytes;
use ensue_engine::catalog::{Emit, Sensor, Verify};
use ensue_engine::events::facts::DeliveredWith;
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::names::{KeyRef, SensorRef, TriggerRef};
use ensue_engine::ports::{HookRequest, Secret};
use ensue_expression::{Budget, Document, ErrorKind, JsonError, Scope, Template, Value};
use thiserror::Error;

use crate::signatures::{self, KEY_BYTES_MIN, SignatureRefusal};

/// The most steps that all expressions of one delivery may take together.
pub const DELIVERY_STEPS_MAX: u64 = 1_000_000;
/// The most bytes of a dedupe key.
pub const DEDUPE_BYTES_MAX: usize = 1024;

/// The most bytes, as JSON, of headers and query that are kept of a delivery beside its body.
pub const KEPT_BYTES_MAX: usize = 8 * 1024;

/// An event that a delivery makes.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// Its trigger.
    pub trigger: TriggerRef,
    /// Its payload: the body byte for byte, parsed once and shared by all events of the delivery, where the sensor makes none.
    pub payload: Document,
    /// The key under which it is accepted once; none where the sensor has none or the delivery lacks what it is made of.
    pub dedupe: Option<String>,
}

/// Why a delivery makes no events. Either all that fit are made, or none.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum HookRefusal {
    /// The hook cannot tell who delivers, so it takes nothing.
    #[error("the hook `{sensor}` accepts no deliveries: {why}")]
    Unusable {
        /// The sensor.
        sensor: SensorRef,
        /// Its key.
        key: Option<KeyRef>,
        /// What is wrong with the key.
        why: SignatureRefusal,
    },
    /// The delivery does not prove who sent it.
    #[error("the delivery is not verified: {0}")]
    Unproven(SignatureRefusal),
    /// The body is not said to be JSON.
    #[error("the delivery is {given}, but this hook accepts `application/json`")]
    NotJsonType {
        /// What it is said to be.
        given: String,
    },
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(JsonError),
    /// An expression of the sensor erred on this delivery.
    #[error("`{part}` of `emits[{index}]` (`{trigger}`) of the sensor `{sensor}` failed: {why}")]
    EmitErred {
        /// The sensor.
        sensor: SensorRef,
        /// Which of its emits, from 0.
        index: usize,
        /// The trigger.
        trigger: TriggerRef,
        /// Which field of it.
        part: EmitPart,
        /// Why.
        why: String,
    },
    /// The sensor's expressions took too long together.
    #[error("the expressions of the sensor `{sensor}` take more than {DELIVERY_STEPS_MAX} steps on this delivery")]
    TooManySteps {
        /// The sensor.
        sensor: SensorRef,
    },
}

/// A field of an emit that is an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitPart {
    /// Whether it fits.
    When,
    /// Its key.
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

/// How far a delivery came before it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Who sent it was not proven: whatever it says may be anybody's.
    Proof,
    /// It passed what the hook demands as proof; what it holds is the sender's, and worth keeping.
    Content,
}

impl HookRefusal {
    /// Says how far the delivery came.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Unusable { .. } | Self::Unproven(_) => Stage::Proof,
            Self::NotJsonType { .. } | Self::NotJson(_) | Self::EmitErred { .. } | Self::TooManySteps { .. } => Stage::Content,
        }
    }

    /// Gives the trigger whose event could not be made, where it is one trigger's.
    pub fn trigger(&self) -> Option<&TriggerRef> {
        match self {
            Self::EmitErred { trigger, .. } => Some(trigger),
            Self::Unusable { .. } | Self::Unproven(_) | Self::NotJsonType { .. } | Self::NotJson(_) | Self::TooManySteps { .. } => None,
        }
    }
}

impl Explain for HookRefusal {
    fn slug(&self) -> &'static str {
        match self {
            Self::Unusable { .. } => "hook-unusable",
            Self::Unproven(_) => "signature-refused",
            Self::NotJsonType { .. } => "unsupported-media-type",
            Self::NotJson(_) => "body-not-json",
            Self::EmitErred { .. } | Self::TooManySteps { .. } => "sensor-erred",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Unusable { .. } => Fault::Unavailable,
            Self::Unproven(_) => Fault::Unauthenticated,
            Self::NotJsonType { .. } | Self::NotJson(_) => Fault::Malformed,
            Self::EmitErred { .. } | Self::TooManySteps { .. } => Fault::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unusable { key: Some(key), .. } => {
                format!("set the secret that the sender signs with, at least {KEY_BYTES_MIN} bytes: `ensue keys set {key}`")
            }
            Self::Unusable { key: None, .. } => "name a key in the sensor's `verify`".into(),
            Self::Unproven(_) => {
                "have the sender sign the raw body with the hook's secret; compare the secret at the sender with the one set here".into()
            }
            Self::NotJsonType { .. } => "set the webhook's content type to `application/json` at the sender, without compression".into(),
            Self::NotJson(_) => "send one JSON value in UTF-8, with at most 128 levels and no duplicate keys in an object".into(),
            Self::EmitErred { .. } => "fix the sensor's expression, or read fields that may be absent with `.?field.orValue(…)`".into(),
            Self::TooManySteps { .. } => "shorten the lists that the sensor's expressions loop over".into(),
        })
    }
}

/// Makes the events of a delivery: each emit of the sensor that fits makes one, in their order; none may fit.
///
/// `key` is the value of the key that the sensor's `verify` names.
///
/// # Errors
/// The proof is checked before anything of the delivery is read; then the first thing that is wrong is told, and no event
/// is made.
pub fn receive(sensor: &Sensor, request: &HookRequest, key: Option<&Secret>) -> Result<Vec<Emitted>, HookRefusal> {
    prove(sensor, request, key)?;
    events_of(sensor, request)
}

/// Makes the events of a delivery that was proven before: nothing is asked of its proof any more.
///
/// # Errors
/// The first thing that is wrong with what it holds is told, and no event is made.
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

/// Gives what of a delivery is kept beside its body, so that the same events can be made of it later: the headers that expressions may see, but
/// not the proof, how the body is said to be, and the query, where the sensor's expressions read it. None where that is more than
/// [`KEPT_BYTES_MAX`], or where the query that they read may hold a secret.
pub fn kept(sensor: &Sensor, request: &HookRequest) -> Option<DeliveredWith> {
    let proof = match sensor.source.webhook() {
        Some(Verify::Hmac(hmac)) => Some(hmac.header.to_ascii_lowercase()),
        Some(Verify::Github { .. } | Verify::None) | None => None,
    };
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

fn reads_query(sensor: &Sensor) -> bool {
    let in_emit = |emit: &Emit| {
        let in_payload = emit.payload.iter().flat_map(Template::expressions);
        emit.when.iter().chain(&emit.dedupe).chain(in_payload).any(|expression| expression.reads_root("query"))
    };
    sensor.emits.iter().any(in_emit)
}

/// What the sender of a delivery says: enough to make one as the sender would.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// What happened, in the sender's word: `push`; empty for a sender that does not say it in a header.
    pub event: &'a str,
    /// The id of the delivery.
    pub delivery: &'a str,
    /// The raw body, JSON.
    pub body: Bytes,
}

/// Makes the delivery that the sensor's sender would make, signed with `key`: for trying a hook out.
///
/// # Errors
/// A key that is not set or too short signs nothing.
pub fn compose(sensor: &Sensor, outgoing: Outgoing<'_>, key: Option<&Secret>) -> Result<HookRequest, SignatureRefusal> {
    let verify = sensor.source.webhook().ok_or(SignatureRefusal::NoDeliveries)?;
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let event = |name: &str| (!outgoing.event.is_empty()).then(|| (name.to_owned(), outgoing.event.to_owned()));
    match verify {
        Verify::Github { key: _ } => {
            headers.extend(event("x-github-event"));
            headers.push(("x-github-delivery".to_owned(), outgoing.delivery.to_owned()));
        }
        Verify::Hmac(_) | Verify::None => {
            headers.extend(event("x-event"));
            headers.push(("webhook-id".to_owned(), outgoing.delivery.to_owned()));
        }
    }
    headers.extend(signatures::sign(verify, &outgoing.body, key)?);
    Ok(HookRequest { sensor: sensor.name.clone(), headers, query: Vec::new(), body: outgoing.body })
}

fn prove(sensor: &Sensor, request: &HookRequest, key: Option<&Secret>) -> Result<(), HookRefusal> {
    let verify = sensor.source.webhook();
    let checked = match verify {
        Some(verify) => signatures::check(verify, &request.headers, &request.body, key),
        None => Err(SignatureRefusal::NoDeliveries),
    };
    checked.map_err(|why| match why {
        SignatureRefusal::NoDeliveries | SignatureRefusal::NoKey | SignatureRefusal::ShortKey { .. } => {
            HookRefusal::Unusable { sensor: sensor.name.clone(), key: verify.and_then(Verify::key).cloned(), why }
        }
        SignatureRefusal::Missing { .. }
        | SignatureRefusal::Repeated { .. }
        | SignatureRefusal::Malformed { .. }
        | SignatureRefusal::Wrong { .. } => HookRefusal::Unproven(why),
    })
}

/// A body is read as what its sender says it is, and never guessed; what is compressed is not unpacked.
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

/// JSON is UTF-8 (RFC 8259 §8.1); a sender that claims another charset sends something else. Other parameters say nothing.
fn is_utf8_at_most(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"),
        Some(_) | None => true,
    }
}

fn brief(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}

/// Headers that a sensor's expressions may see: what senders say about a delivery …
const SHOWN_NAMES: &[&str] = &["content-type", "user-agent", "date", "idempotency-key"];
/// … also by what their names begin with …
const SHOWN_PREFIXES: &[&str] = &["x-", "ce-", "webhook-"];
/// … but not what way stations add, and not what opens doors: it would end up in events for all to read.
const HIDDEN_PREFIXES: &[&str] = &["x-forwarded-", "x-real-", "x-original-", "x-envoy-", "x-amzn-", "x-csrf", "x-xsrf"];
const HIDDEN_WORDS: &[&str] = &["token", "secret", "auth", "cookie", "password", "session", "api-key", "apikey"];

fn is_shown(name: &str) -> bool {
    (SHOWN_NAMES.contains(&name) || SHOWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        && !HIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !opens_doors(name)
}

/// Says whether what has this name may well be a secret.
fn opens_doors(name: &str) -> bool {
    HIDDEN_WORDS.iter().any(|word| name.contains(word))
}

/// The headers that expressions see; the values of a repeated one are joined with `, ` (RFC 9110 §5.3).
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

/// One delivery on its way to events.
struct Making<'a> {
    sensor: &'a Sensor,
    body: &'a Document,
    scope: Scope<'a>,
    steps: u64,
}

impl<'a> Making<'a> {
    /// The event of one emit, if it fits.
    fn event_of(&mut self, index: usize, emit: &'a Emit) -> Result<Option<Emitted>, HookRefusal> {
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
                // A delivery without the id that its key is made of is accepted all the same.
                Err(why) if why.kind == ErrorKind::Missing => None,
                Err(why) => return Err(erred(EmitPart::Dedupe, why.to_string())),
            },
        };
        let payload = match &emit.payload {
            None => self.body.clone(),
            Some(payload) => {
                let rendered = self.counted(|scope, budget| payload.render(scope, budget))?;
                let value = rendered.map_err(|why| erred(EmitPart::Payload, why.to_string()))?;
                Document::from_value(&value)
            }
        };
        Ok(Some(Emitted { trigger: emit.trigger.clone(), payload, dedupe }))
    }

    /// Runs one evaluation within its own budget and the delivery's.
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

/// A text or a whole number is a key; null and the empty text are none.
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
