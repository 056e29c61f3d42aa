//! HTTP requests as clients send them: built from a client's wish, with the answers read back.
//!
//! This file shares no types with the API: paths, headers and bodies are written here as a client's author
//! writes them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{HeaderMap, Method, Request, Response};
use bytes::Bytes;
use ensue_engine::command::{Answer, Novelty, ReceivedEvent};
use ensue_engine::executions::facts::Settlement;
use ensue_engine::ports::CommitReceipt;
use ensue_engine::record::Position;
use ensue_executor::Clock as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::body::Frame;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::clock::WorkerClock;
use crate::pack::{DOOR_TRIGGER, WrittenMode, trigger_of};
use crate::secrets::{DOOR_SECRET, holds_secret, key_value, token};
use crate::traffic::{Outcome, RequestNumber, Signature, Wish};

/// How long the node waits for a delayed body: less than most clients wait for an answer.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(8);

/// The W3C trace of a copy of a request. Each copy has its own, so that its effects can be found in the log.
pub(crate) fn trace(number: RequestNumber, copy: u32) -> String {
    format!("00-{number:016x}{copy:016x}-{:016x}-01", number + 1)
}

/// A fault of a request body in transit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// Nothing.
    None,
    /// Its second half arrives at this time of the world.
    Late(u64),
    /// The connection breaks in the middle of the body.
    Cut,
}

/// A body in transit.
pub(crate) struct RequestBody {
    pieces: std::vec::IntoIter<Result<Bytes, std::io::ErrorKind>>,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl RequestBody {
    fn new(body: Bytes, fault: BodyFault, clock: &Arc<WorkerClock>) -> Self {
        let half = body.len() / 2;
        let (first, second) = (body.slice(..half), body.slice(half..));
        let (pieces, pause) = match fault {
            BodyFault::None => (vec![Ok(body)], None),
            BodyFault::Cut => (vec![Ok(first), Err(std::io::ErrorKind::ConnectionReset)], None),
            BodyFault::Late(at) => {
                let clock = clock.clone();
                let late: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move { clock.until(Duration::from_micros(at)).await });
                (vec![Ok(first), Ok(second)], Some(late))
            }
        };
        Self { pieces: pieces.into_iter(), pause }
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        // The delay is before the last piece.
        if self.pieces.len() == 1
            && let Some(pause) = &mut self.pause
        {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        Poll::Ready(self.pieces.next().map(|piece| piece.map(Frame::data).map_err(std::io::Error::from)))
    }
}

/// A copy of a request in transit.
pub(crate) struct Copy {
    /// The request's number.
    pub(crate) number: RequestNumber,
    /// The number of the copy.
    pub(crate) copy: u32,
    /// The fault of its body.
    pub(crate) fault: BodyFault,
    /// The idempotency key, if any.
    pub(crate) under: Option<String>,
}

/// Builds a request from a client's wish. Returns `None` if no route serves it.
pub(crate) fn request(wish: &Wish, client: usize, copy: &Copy, clock: &Arc<WorkerClock>) -> Option<Request<RequestBody>> {
    let mut headers: Vec<(&'static str, String)> = vec![
        ("authorization", format!("Bearer {}", token(client))),
        ("traceparent", trace(copy.number, copy.copy)),
        ("x-request-id", request_id(copy.number, copy.copy)),
    ];
    headers.extend(copy.under.clone().map(|key| ("idempotency-key", key)));
    let none = String::new;
    let (method, path, body) = match wish {
        Wish::Send { trigger, payload, key } => {
            let dedupe = key.as_ref().map_or_else(none, |key| format!(r#","dedupe":{}"#, json!(key)));
            let trigger = trigger_of(*trigger, payload);
            let body = format!(r#"{{"trigger":"{trigger}","payload":{payload}{dedupe}}}"#);
            (Method::POST, "/api/v1/events".to_owned(), body)
        }
        Wish::Deliver { payload, delivery, signature } => {
            headers.remove(0);
            headers.extend(delivery.clone().map(|delivery| ("x-delivery", delivery)));
            headers.extend(sign_delivery(payload, *signature).map(|signature| ("x-signature", signature)));
            (Method::POST, "/hooks/sim/door".to_owned(), payload.clone())
        }
        Wish::Run { action, params } => {
            headers.extend(waits_seconds(copy.number).map(|seconds| ("prefer", format!("wait={seconds}"))));
            (Method::POST, format!("/api/v1/actions/{action}/execute"), format!(r#"{{"params":{params}}}"#))
        }
        Wish::Rerun { execution, from, n } => {
            let mut body = serde_json::Map::new();
            body.extend(from.map(|from| ("from".to_owned(), json!(from))));
            body.extend(n.map(|n| ("params".to_owned(), json!({ "n": n }))));
            (Method::POST, format!("/api/v1/executions/{execution}/rerun"), Value::Object(body).to_string())
        }
        Wish::Cancel(execution) => (Method::POST, format!("/api/v1/executions/{execution}/cancel"), none()),
        Wish::Settle(execution, outcome) => {
            let body = match outcome {
                Settlement::Succeeded => json!({ "outcome": "succeeded" }),
                Settlement::Failed { error } => json!({ "outcome": "failed", "error": error }),
                Settlement::Retry => json!({ "outcome": "retry" }),
            };
            (Method::POST, format!("/api/v1/executions/{execution}/settle"), body.to_string())
        }
        Wish::SetMode(rule, mode) => {
            let verb = match mode {
                WrittenMode::Enabled => "enable",
                WrittenMode::Disabled => "disable",
                WrittenMode::Shadow => "shadow",
            };
            (Method::POST, format!("/api/v1/rules/{rule}/{verb}"), none())
        }
        Wish::SetKey(value) => (Method::PUT, "/api/v1/keys/sim.canary".to_owned(), json!({ "value": key_value(*value) }).to_string()),
        Wish::RemoveKey => (Method::DELETE, "/api/v1/keys/sim.canary".to_owned(), none()),
        Wish::See { event, position } => {
            headers.push(("ensue-position", position.to_string()));
            (Method::GET, format!("/api/v1/events/{event}"), none())
        }
        Wish::TakeInPacks => return None,
    };
    if !body.is_empty() {
        headers.push(("content-type", "application/json".to_owned()));
        headers.push(("content-length", body.len().to_string()));
    }
    let mut built = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        built = built.header(name, value);
    }
    let fault = if body.is_empty() { BodyFault::None } else { copy.fault };
    built.body(RequestBody::new(Bytes::from(body), fault, clock)).ok()
}

/// Returns how long a copy of a request may take because of the client's own delays and waits, in
/// microseconds.
pub(crate) fn own_micros(wish: &Wish, copy: &Copy) -> u64 {
    let body = if matches!(copy.fault, BodyFault::Late(_)) { BODY_TIMEOUT.as_secs() } else { 0 };
    let waits = if matches!(wish, Wish::Run { .. }) { waits_seconds(copy.number).unwrap_or(0) } else { 0 };
    (body + waits) * 1_000_000
}

/// Returns how long a caller asks the node to wait for the end of its execution, if it does.
fn waits_seconds(number: RequestNumber) -> Option<u64> {
    number.is_multiple_of(3).then_some(number % 7)
}

fn request_id(number: RequestNumber, copy: u32) -> String {
    format!("r{number}-{copy}")
}

/// Signs a delivery, correctly or not. Returns `None` for an unsigned delivery.
fn sign_delivery(body: &str, signature: Signature) -> Option<String> {
    let sign = |key: &str, body: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
        mac.update(body.as_bytes());
        Some(hex::encode(mac.finalize().into_bytes()))
    };
    match signature {
        Signature::Right => sign(DOOR_SECRET, body),
        Signature::OfAnotherKey => sign("canary-another-0123456789", body),
        Signature::OfAnotherBody => sign(DOOR_SECRET, &format!("{body} ")),
        Signature::None => None,
    }
}

/// An answer as a client reads it.
#[derive(Clone, Debug)]
pub(crate) struct ClientAnswer {
    /// The status.
    pub(crate) status: u16,
    /// The content type.
    pub(crate) content_type: String,
    /// The `Retry-After` header, in seconds.
    pub(crate) retry_after: Option<u64>,
    /// The position at which the write is visible.
    pub(crate) position: Option<u64>,
    /// The request's id.
    pub(crate) request_id: String,
    /// The body.
    pub(crate) body: Value,
    /// Whether it contains a secret anywhere.
    pub(crate) holds_secret: bool,
}

impl ClientAnswer {
    /// Parses an answer.
    pub(crate) fn of<B>(head: &Response<B>, body: &Bytes) -> Self {
        let headers = head.headers();
        let shown = format!("{headers:?}{}", String::from_utf8_lossy(body));
        Self {
            status: head.status().as_u16(),
            content_type: text(headers, "content-type"),
            retry_after: text(headers, "retry-after").parse().ok(),
            position: text(headers, "ensue-position").parse().ok(),
            request_id: text(headers, "x-request-id"),
            holds_secret: holds_secret(shown.as_bytes()),
            body: serde_json::from_slice(body).unwrap_or(Value::Null),
        }
    }

    /// Returns the code of the problem, or an empty one if the answer is not a problem.
    pub(crate) fn code(&self) -> &str {
        self.body.get("code").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the outcome from the client's point of view.
    fn outcome(&self, wish: &Wish) -> Outcome {
        let position = Position(self.position.unwrap_or(0));
        let done = |answer| Outcome::Done(CommitReceipt { position, answer });
        if matches!(wish, Wish::See { .. }) {
            return match (self.status, self.code()) {
                (200, _) => Outcome::Seen,
                (503, "view_behind") => Outcome::NotYet,
                (404, _) => Outcome::Not("it is not there".to_owned()),
                _ => Outcome::Unknown,
            };
        }
        match (self.status, wish) {
            (200..=299, Wish::Send { trigger, .. }) => {
                self.event(&self.body, *trigger).map_or(Outcome::Unknown, |event| done(Answer::Events(vec![event])))
            }
            (200..=299, Wish::Deliver { .. }) => {
                let events = self.body.get("events").and_then(Value::as_array);
                let events: Option<Vec<_>> = events.into_iter().flatten().map(|event| self.event(event, DOOR_TRIGGER)).collect();
                events.map_or(Outcome::Unknown, |events| done(Answer::Events(events)))
            }
            (200..=299, Wish::Run { .. } | Wish::Rerun { .. }) => {
                let id = self.body.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
                id.map_or(Outcome::Unknown, |id| done(Answer::Execution(id)))
            }
            (
                200..=299,
                Wish::Cancel(_)
                | Wish::Settle(..)
                | Wish::SetMode(..)
                | Wish::SetKey(_)
                | Wish::RemoveKey
                | Wish::TakeInPacks
                | Wish::See { .. },
            ) => done(Answer::Done),
            _ if self.code() == "outcome_unknown" || self.status == 500 => Outcome::Unknown,
            // Setting a key takes several steps, so a rejection does not mean that nothing was done.
            (_, Wish::SetKey(_) | Wish::RemoveKey) => Outcome::Unknown,
            (status, _) => Outcome::Not(format!("{status} {}", self.code())),
        }
    }

    fn event(&self, said: &Value, trigger: u64) -> Option<ReceivedEvent> {
        let novelty = if self.status == 202 { Novelty::New } else { Novelty::Repeat };
        let trigger = format!("sim.t{trigger}").parse().ok()?;
        let id = said.get("id")?.as_str()?.parse().ok()?;
        Some(ReceivedEvent { id, trigger, position: Position(said.get("position")?.as_u64()?), novelty })
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// The history of a copy of a request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// The request's number.
    pub(crate) number: RequestNumber,
    /// The number of the copy.
    pub(crate) copy: u32,
    /// The wish.
    pub(crate) wish: Wish,
    /// The fault of its body.
    pub(crate) fault: BodyFault,
    /// The idempotency key, if any.
    pub(crate) under: Option<String>,
    /// The answer, if there was one.
    pub(crate) told: Option<ClientAnswer>,
}

impl Exchange {
    /// Returns its trace.
    pub(crate) fn trace(&self) -> String {
        trace(self.number, self.copy)
    }

    /// Returns its own request id.
    pub(crate) fn request_id(&self) -> String {
        request_id(self.number, self.copy)
    }
}

/// All copies of requests that arrived at a node's API, as the network saw them.
#[derive(Default)]
pub(crate) struct Exchanges(Mutex<Vec<Exchange>>);

impl Exchanges {
    /// Notes a copy that arrives.
    pub(crate) fn begin(&self, wish: &Wish, copy: &Copy) {
        let Copy { number, copy, fault, ref under } = *copy;
        self.lock().push(Exchange { number, copy, wish: wish.clone(), fault, under: under.clone(), told: None });
    }

    /// Notes the answer to a copy. Returns its outcome for the client, or `None` if the connection is broken
    /// and the client receives nothing.
    pub(crate) fn note(&self, number: RequestNumber, copy: u32, told: ClientAnswer) -> Option<Outcome> {
        let mut exchanges = self.lock();
        let exchange = exchanges.iter_mut().rev().find(|exchange| (exchange.number, exchange.copy) == (number, copy))?;
        let outcome = told.outcome(&exchange.wish);
        exchange.told = Some(told);
        (exchange.fault != BodyFault::Cut).then_some(outcome)
    }

    /// Returns all of them.
    pub(crate) fn all(&self) -> Vec<Exchange> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
