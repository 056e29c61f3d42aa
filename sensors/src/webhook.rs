//! Turns deliveries at webhooks into events: checks the proof first, then the body, then renders the events.
//!
//! It does not know schemas of triggers, rules, or which dedupe keys were seen: the node checks those.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use ensue_engine::catalog::{DELIVERY_BYTES_DEFAULT, Emit, EmitKey, HookMethod, Scheme, Sensor, Verify, WaitingReply, Webhook};
use ensue_engine::events::facts::DeliveredWith;
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::ports::{HookConnection, HookReply, HookRequest, Secret};
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;
use ensue_expression::{Budget, Document, ErrorKind, Expression, Scope, Template, Value};

pub use crate::composing::Outgoing;
use crate::delivery_headers::{is_shown, opens_doors, read_headers};
use crate::refusal::{EmitPart, HookRefusal, Stage};
use crate::replies::{self, Replying, texts};
use crate::schemes::NaturalKey;
use crate::signatures::{self, ReceivedDelivery, SignatureRefusal, UnsignedDelivery};
use crate::sns::SnsMessage;
use crate::{bodies, composing, handshakes, schemes};

pub use crate::limits::DELIVERY_STEPS_MAX;

/// The maximum size of a dedupe key, in bytes.
pub const DEDUPE_BYTES_MAX: usize = 1024;

/// The maximum size of the headers and query that are kept with a delivery's body, in bytes of JSON.
pub const KEPT_BYTES_MAX: usize = 8 * 1024;

/// An event that a delivery makes.
#[derive(Clone, Debug)]
pub struct EmittedEvent {
    /// Its trigger.
    pub trigger: VersionedTrigger,
    /// Its payload. If the sensor has no payload template, it is the body byte for byte, parsed once and
    /// shared by all events of the delivery.
    pub payload: Document,
    /// The key under which it is accepted once. `None` if the sensor has none, or the delivery lacks the
    /// field that it is taken from.
    pub dedupe: Option<String>,
}

/// The values of the key that a sensor's `verify` names.
#[derive(Clone, Copy, Default)]
pub struct HookKeys<'a> {
    /// The current value, or none if the key is not set.
    pub current: Option<&'a Secret>,
    /// The value before a rotation, as long as it is accepted.
    pub previous: Option<&'a Secret>,
}

/// What a delivery leads to.
#[derive(Clone, Debug)]
pub enum ReceiveOutcome {
    /// A reply, and no event.
    Reply(HookReply),
    /// Events: one for each emit of the sensor whose condition holds, in order. There may be none.
    Events {
        /// The events.
        emitted: Vec<EmittedEvent>,
        /// The reply that waits for what comes of them.
        waits: Option<Arc<WaitingReply>>,
    },
}

/// What a delivery is checked with, besides its sensor.
#[derive(Clone)]
pub struct Proving<'a> {
    /// The values of the key.
    pub keys: HookKeys<'a>,
    /// The time of the delivery.
    pub now: Timestamp,
    /// What the authority that the sensor names says of the sender; `None` if it names none.
    pub vouched: Option<Result<(), SignatureRefusal>>,
}

/// Makes the events of a delivery, or the reply that ends it.
///
/// # Errors
/// The proof is checked before anything else in the delivery is read, except for a reply that demands no proof. Then
/// the first problem is reported, and no event is made.
pub fn receive(sensor: &Sensor, request: &HookRequest, proving: &Proving<'_>) -> Result<ReceiveOutcome, HookRefusal> {
    let webhook = endpoint(sensor)?;
    if let Some(reply) = replies::unproven(sensor, webhook, request)? {
        return Ok(ReceiveOutcome::Reply(reply));
    }
    prove(sensor, request, proving)?;
    let of_sns = webhook.verify.sns().and_then(|accepted| SnsMessage::read(accepted, &request.body).ok());
    if let Some(reply) = of_sns.and_then(|message| handshakes::of_sns(message.kind())) {
        return Ok(ReceiveOutcome::Reply(reply));
    }
    let body = body_of(sensor, webhook, request)?;
    let handshake = webhook.verify.scheme().and_then(|scheme| handshakes::answer(scheme, body.root(), proving.keys.current));
    if let Some(reply) = handshake {
        return Ok(ReceiveOutcome::Reply(reply));
    }
    let headers = read_headers(&webhook.verify, &request.headers);
    let scope = scope_of(sensor, request, &headers, &body);
    let mut replying = Replying { sensor, scope, steps: 0, stage: Stage::Content };
    if let Some(reply) = replying.early(webhook)? {
        return Ok(ReceiveOutcome::Reply(reply));
    }
    let waits = replying.waiting(webhook)?;
    let Replying { scope, steps, .. } = replying;
    let natural_key = natural_key(&webhook.verify, request, &body);
    let emitted = Making { sensor, body: &body, scope, steps, natural_key }.events()?;
    Ok(ReceiveOutcome::Events { emitted, waits })
}

/// Makes the events of a delivery that was proven before, without checking the proof again, and without a reply.
///
/// # Errors
/// Reports the first problem in the content, and no event is made.
pub fn events_of(sensor: &Sensor, request: &HookRequest) -> Result<Vec<EmittedEvent>, HookRefusal> {
    let webhook = endpoint(sensor)?;
    let body = body_of(sensor, webhook, request)?;
    let headers = read_headers(&webhook.verify, &request.headers);
    let natural_key = natural_key(&webhook.verify, request, &body);
    Making { sensor, body: &body, scope: scope_of(sensor, request, &headers, &body), steps: 0, natural_key }.events()
}

/// Returns the id that the sender gives a delivery, and its repeats.
fn natural_key(verify: &Verify, request: &HookRequest, body: &Document) -> Option<String> {
    if let Some(accepted) = verify.sns() {
        return SnsMessage::read(accepted, &request.body).ok().map(|message| message.id().to_owned());
    }
    let scheme = verify.scheme()?;
    let found = match schemes::natural_key(scheme) {
        // Under two names, the id that is signed counts: nobody else can change it.
        NaturalKey::Headers(names) => signatures::signed_id(scheme, &request.headers)
            .or_else(|| names.iter().find_map(|name| signatures::only(&request.headers, name).ok()))
            .map(str::to_owned),
        NaturalKey::Body(places) => places.iter().find_map(|place| {
            let found = place.iter().try_fold(body.root(), |node, name| node.get(name))?;
            found.as_str().map(|text| text.into_owned())
        }),
        NaturalKey::Nowhere => None,
    };
    found.filter(|key| !key.is_empty() && key.len() <= DEDUPE_BYTES_MAX)
}

fn endpoint(sensor: &Sensor) -> Result<&Webhook, HookRefusal> {
    let unusable = || HookRefusal::Unusable { sensor: sensor.name.clone(), key: None, why: SignatureRefusal::NoDeliveries };
    sensor.source.endpoint().ok_or_else(unusable)
}

/// Returns the body that the sensor's expressions read.
fn body_of(sensor: &Sensor, webhook: &Webhook, request: &HookRequest) -> Result<Document, HookRefusal> {
    let body = bodies::document(webhook, request)?;
    let Some(decode) = &webhook.decode else { return Ok(body) };
    let headers = read_headers(&webhook.verify, &request.headers);
    let scope = scope_of(sensor, request, &headers, &body);
    let erred = |why: String| HookRefusal::HookErred { sensor: sensor.name.clone(), part: "decode".into(), stage: Stage::Content, why };
    let text = match decode.evaluate(&scope, &mut Budget::default()) {
        Ok(Value::Null | Value::Optional(None)) => None,
        Ok(Value::Optional(Some(inner))) => inner.as_str().map(|text| text.into_owned()),
        Ok(value) => match value.as_str() {
            Some(text) => Some(text.into_owned()),
            None => return Err(erred(format!("it is {}, but it must be a string", value.kind()))),
        },
        // A sender may deliver some things in one form, and some in another.
        Err(why) if why.kind == ErrorKind::Missing => None,
        Err(why) => return Err(erred(why.to_string())),
    };
    match text {
        None => Ok(body),
        Some(text) => {
            Document::parse(text.into()).map_err(|why| HookRefusal::NotDecoded { sensor: sensor.name.clone(), why: why.to_string() })
        }
    }
}

/// Returns the names that expressions about a delivery read.
fn scope_of<'a>(sensor: &'a Sensor, request: &'a HookRequest, headers: &'a [(&'a str, Cow<'a, str>)], body: &'a Document) -> Scope<'a> {
    Scope::new()
        .with("headers", Value::map(headers.iter().map(|(name, value)| (*name, Value::from(&**value)))))
        .with("body", Value::from(body.root()))
        .with("query", texts(&request.query))
        .with("path", texts(&request.path))
        .with("method", Value::from(request.method.as_str()))
        .with("config", Value::from_json(&sensor.config))
}

/// Returns the parts of a delivery that are kept with its body, so that the same events can be made later: the
/// headers that people may see, without the proof; the content encoding; and the query, if the sensor's expressions
/// read it. Returns `None` if that is more than [`KEPT_BYTES_MAX`], or if the query that they read may hold a secret.
pub fn kept_parts(sensor: &Sensor, request: &HookRequest) -> Option<DeliveredWith> {
    let headers = shown_headers(sensor, request);
    let query = if reads_query(sensor) { request.query.clone() } else { Vec::new() };
    let method = (request.method != HookMethod::Post).then(|| request.method.as_str().to_owned());
    if query.iter().any(|(name, _)| opens_doors(&name.to_ascii_lowercase())) {
        return None;
    }
    let with = DeliveredWith { headers, query, method, path: request.path.clone(), message: None };
    let bytes = serde_json::to_vec(&with).map_or(usize::MAX, |json| json.len());
    (bytes <= KEPT_BYTES_MAX).then_some(with)
}

/// Returns the headers of a delivery that are kept and that people may see: those that describe it, those that the
/// sensor's expressions read, those that its author names, and those that hold its id or tell how to read its body. The
/// values of a repeated one are joined.
pub fn shown_headers(sensor: &Sensor, request: &HookRequest) -> Vec<(String, String)> {
    let Some(webhook) = sensor.source.endpoint() else { return Vec::new() };
    let reads = HeadersRead::of(sensor);
    let ids: &[&str] = match webhook.verify.scheme().map(schemes::natural_key) {
        Some(NaturalKey::Headers(names)) => names,
        Some(NaturalKey::Body(_) | NaturalKey::Nowhere) | None => &[],
    };
    let proof = webhook.verify.scheme().map(|scheme| signatures::header_of(scheme, &request.headers));
    let is_kept = |name: &str| {
        (is_shown(name) && !name.contains("signature") && proof.as_deref() != Some(name))
            || name == "content-encoding"
            || ids.contains(&name)
            || webhook.headers.iter().any(|named| named == name)
            || reads.includes(name)
    };
    let headers = read_headers(&webhook.verify, &request.headers).into_iter();
    headers.filter(|(name, _)| is_kept(name)).map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
}

/// Returns the query of a delivery that people may see, without anything that may be a secret.
pub fn shown_query(request: &HookRequest) -> Vec<(String, String)> {
    request.query.iter().filter(|(name, _)| !opens_doors(&name.to_ascii_lowercase())).cloned().collect()
}

/// Returns the digest of what makes a delivery the same as an earlier one, if that is more than its body: its
/// scheme signs an id or the URL as well. Two deliveries with different ids are different, even if their bodies are equal.
pub fn signed_content(sensor: &Sensor, request: &HookRequest) -> Option<Digest> {
    let verify = sensor.source.webhook()?;
    if let Some(accepted) = verify.sns() {
        return SnsMessage::read(accepted, &request.body).ok().map(|message| Digest::of(message.signed_text().as_bytes()));
    }
    let scheme = verify.scheme()?;
    let id = signatures::signed_id(scheme, &request.headers);
    let url = scheme.signs_the_url().then_some(request.url.as_str());
    let method = scheme.signs_the_method().then(|| request.method.as_str());
    let parts: Vec<&str> = [method, url, id].into_iter().flatten().collect();
    if parts.is_empty() {
        return None;
    }
    // Each part has its length before it, so that no two lists of parts have the same text.
    let mut text: String = parts.iter().map(|part| format!("{}/{part}", part.len())).collect();
    text.push_str(&Digest::of(&request.body).to_string());
    Some(Digest::of(text.as_bytes()))
}

fn reads_query(sensor: &Sensor) -> bool {
    expressions(sensor).any(|expression| expression.reads_root("query"))
}

/// Returns the expressions that make the events of a delivery.
fn expressions(sensor: &Sensor) -> impl Iterator<Item = &Expression> {
    let decode = sensor.source.endpoint().and_then(|webhook| webhook.decode.as_ref());
    let in_emits = sensor.emits.iter().flat_map(|emit| {
        let in_payload = emit.payload.iter().flat_map(Template::expressions);
        emit.when.iter().chain(emit.dedupe.expression()).chain(in_payload)
    });
    decode.into_iter().chain(in_emits)
}

/// Which headers the expressions read that make the events of a delivery.
enum HeadersRead {
    All,
    These(BTreeSet<String>),
}

impl HeadersRead {
    fn of(sensor: &Sensor) -> Self {
        let names = expressions(sensor).flat_map(|expression| expression.names_read("headers")).map(|read| read.name);
        names.collect::<Option<_>>().map_or(Self::All, Self::These)
    }

    fn includes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }
}

/// Composes a delivery as the sensor's sender would, signed with `key`, to try out a hook.
///
/// # Errors
/// If the key is not set or too short.
pub fn compose(sensor: &Sensor, outgoing: &Outgoing<'_>, key: Option<&Secret>) -> Result<HookRequest, SignatureRefusal> {
    let verify = sensor.source.webhook().ok_or(SignatureRefusal::NoDeliveries)?;
    if matches!(verify, Verify::Vouched(_)) {
        return Err(SignatureRefusal::NoPrivateKey);
    }
    let composed = composing::compose(sensor, outgoing).map_err(|why| SignatureRefusal::NotComposed { why })?;
    let (method, mut body) = (composed.method, composed.body);
    if let Some(field) = verify.scheme().and_then(schemes::time_field) {
        body = composing::with_time(body, field, outgoing.now).map_err(|why| SignatureRefusal::NotComposed { why })?;
    }
    let mut headers: Vec<_> = composed.content_type.map(|kind| ("content-type".to_owned(), kind.to_owned())).into_iter().collect();
    let naming = schemes::naming(verify.scheme());
    if !outgoing.event.is_empty() {
        headers.push((naming.event.to_owned(), outgoing.event.to_owned()));
    }
    let mut url = composed.url;
    let query: Vec<(String, String)> = match verify.scheme() {
        Some(Scheme::Twilio) => {
            let (name, hash) = signatures::twilio::body_hash(&body);
            url = format!("{url}?{name}={hash}");
            vec![(name.to_owned(), hash)]
        }
        Some(_) | None => Vec::new(),
    };
    let proof = match verify.scheme() {
        Some(scheme) => {
            let unsigned = UnsignedDelivery { body: &body, id: outgoing.delivery, now: outgoing.now, url: &url, method };
            signatures::sign(scheme, unsigned, key)?
        }
        None => Vec::new(),
    };
    // The scheme may have signed the id already.
    if !proof.iter().any(|(name, _)| name == naming.delivery) {
        headers.push((naming.delivery.to_owned(), outgoing.delivery.to_owned()));
    }
    headers.extend(proof);
    Ok(HookRequest {
        sensor: sensor.name.clone(),
        headers,
        query,
        body_bytes_max: body.len().max(DELIVERY_BYTES_DEFAULT),
        body,
        method,
        path: outgoing.path.to_vec(),
        url,
        connection: HookConnection::default(),
    })
}

fn prove(sensor: &Sensor, request: &HookRequest, proving: &Proving<'_>) -> Result<(), HookRefusal> {
    let (keys, now) = (proving.keys, proving.now);
    let verify = sensor.source.webhook();
    let checked = match verify {
        Some(Verify::Proof { scheme, .. }) => {
            let delivered = ReceivedDelivery { headers: &request.headers, body: &request.body, url: &request.url, method: request.method };
            let check = |key| signatures::check(scheme, delivered, key, now);
            match (check(keys.current), keys.previous) {
                // If the value before does not verify it either, the current one is what the sender should use.
                (Err(why @ (SignatureRefusal::Wrong { .. } | SignatureRefusal::WrongToken { .. })), Some(previous)) => {
                    check(Some(previous)).map_err(|_| why)
                }
                (checked, _) => checked,
            }
        }
        Some(Verify::Vouched(_)) => proving.vouched.clone().unwrap_or(Err(SignatureRefusal::NoDeliveries)),
        Some(Verify::None) => Ok(()),
        None => Err(SignatureRefusal::NoDeliveries),
    };
    checked.map_err(|why| match why {
        SignatureRefusal::NoDeliveries
        | SignatureRefusal::NoKey
        | SignatureRefusal::ShortKey { .. }
        | SignatureRefusal::MalformedKey { .. }
        | SignatureRefusal::CannotAsk { .. }
        | SignatureRefusal::NotComposed { .. }
        | SignatureRefusal::NoPrivateKey => {
            HookRefusal::Unusable { sensor: sensor.name.clone(), key: verify.and_then(Verify::key).cloned(), why }
        }
        SignatureRefusal::Missing { .. }
        | SignatureRefusal::Repeated { .. }
        | SignatureRefusal::Malformed { .. }
        | SignatureRefusal::MalformedPart { .. }
        | SignatureRefusal::NotVouched { .. }
        | SignatureRefusal::Wrong { .. }
        | SignatureRefusal::WrongToken { .. }
        | SignatureRefusal::OutOfTime { .. } => HookRefusal::Unproven(why),
    })
}

/// The state of turning one delivery or message into events.
pub(crate) struct Making<'a> {
    pub(crate) sensor: &'a Sensor,
    pub(crate) body: &'a Document,
    pub(crate) scope: Scope<'a>,
    pub(crate) steps: u64,
    /// The sender's id of the delivery.
    pub(crate) natural_key: Option<String>,
}

impl<'a> Making<'a> {
    /// Returns the events of the emits whose conditions hold.
    fn events(mut self) -> Result<Vec<EmittedEvent>, HookRefusal> {
        let mut made = Vec::new();
        for (index, emit) in self.sensor.emits.iter().enumerate() {
            made.extend(self.event_of(index, emit)?);
        }
        Ok(made)
    }

    /// Returns the event of one emit, if its condition holds.
    pub(crate) fn event_of(&mut self, index: usize, emit: &'a Emit) -> Result<Option<EmittedEvent>, HookRefusal> {
        let erred = |part: EmitPart, why: String| HookRefusal::EmitErred {
            sensor: self.sensor.name.clone(),
            index,
            trigger: emit.trigger.clone(),
            part,
            why,
        };
        let fits = match &emit.when {
            None => Ok(true),
            Some(when) => self.with_budget(|scope, budget| when.holds(scope, budget))?,
        };
        if !fits.map_err(|why| erred(EmitPart::When, why.to_string()))? {
            return Ok(None);
        }
        let dedupe = match &emit.dedupe {
            EmitKey::Nothing => None,
            // A delivery may make several events of one trigger.
            EmitKey::Natural => self.natural_key.as_ref().map(|key| format!("{key}/{index}")),
            EmitKey::By(dedupe) => match self.with_budget(|scope, budget| dedupe.evaluate(scope, budget))? {
                Ok(key) => dedupe_key(&key).map_err(|why| erred(EmitPart::Dedupe, why))?,
                // A delivery that lacks the field for its key is still accepted.
                Err(why) if why.kind == ErrorKind::Missing => None,
                Err(why) => return Err(erred(EmitPart::Dedupe, why.to_string())),
            },
        };
        let payload = match &emit.payload {
            None => self.body.clone(),
            Some(payload) => {
                let rendered = self.with_budget(|scope, budget| payload.render_document(scope, budget))?;
                rendered.map_err(|why| erred(EmitPart::Payload, why.to_string()))?
            }
        };
        let trigger = VersionedTrigger { name: emit.trigger.clone(), version: emit.version };
        Ok(Some(EmittedEvent { trigger, payload, dedupe }))
    }

    /// Runs one evaluation within its own budget and that of the delivery.
    fn with_budget<T>(&mut self, evaluate: impl FnOnce(&Scope<'a>, &mut Budget) -> T) -> Result<T, HookRefusal> {
        let mut budget = Budget::default();
        let outcome = evaluate(&self.scope, &mut budget);
        self.steps = self.steps.saturating_add(budget.steps_spent());
        if self.steps > DELIVERY_STEPS_MAX {
            return Err(HookRefusal::TooManySteps { sensor: self.sensor.name.clone(), stage: Stage::Content });
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
