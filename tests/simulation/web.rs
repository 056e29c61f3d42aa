//! The web of a world: the server that its actions send requests to, and the connection to it from a node
//! that may die.
//!
//! The server's response is drawn when it receives a request; building requests and reading answers is the
//! executor's own code. The server remembers what it carried out and what it answered, and does not
//! deduplicate requests by their key: an effect that is recorded twice here happened twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use bytes::Bytes;
use ensue_executor::Clock as _;
use ensue_executor::programs::Pending;
use ensue_executor::web::{AnsweredBody, BrokenOff, HttpAnswer, HttpTransport, Letter, NoWay, Web};
use serde_json::json;
use url::Url;

use crate::clock::WorkerClock;
use crate::ground::WorldGround;
use crate::life::Life;
use crate::sometimes;

/// The URL to which the pack's actions send their requests.
pub(crate) const EFFECTS: &str = "http://world.example/effects";
/// Another server: requests redirected to it lose everything that may be a secret of the first one.
const MIRROR: &str = "http://mirror.example/effects";
/// A server that requests may not reach.
const INSIDE: &str = "inside.example";

/// The server; it survives every death of the node.
pub(crate) struct Server {
    ground: Arc<WorldGround>,
    heard: Mutex<Vec<ReceivedRequest>>,
}

/// A request that the server received.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    /// Its idempotency key: the execution.
    pub(crate) key: String,
    /// The number of the attempt in the request, or `None` if the request was redirected to another server.
    pub(crate) attempt: Option<u64>,
    /// Whether what it asks for was carried out.
    pub(crate) has_effect: bool,
    /// The status of the answer, or `None` if the answer does not come or breaks off.
    pub(crate) status: Option<u16>,
    /// Whether it came with a secret.
    pub(crate) has_secret: bool,
    /// Whether it was redirected to the other server.
    pub(crate) is_redirected: bool,
}

/// What happens to a request.
enum Fate {
    /// There is never an answer.
    Silence,
    /// The connection breaks before an answer.
    Reset,
    /// There is an answer, and its body breaks off if it must.
    Answer { status: StatusCode, location: Option<String>, body: Bytes, breaks_off: bool },
}

impl Server {
    /// Creates a server that has received nothing.
    pub(crate) fn new(ground: Arc<WorldGround>) -> Arc<Self> {
        Arc::new(Self { ground, heard: Mutex::default() })
    }

    /// Returns everything it received, in order. The number of a request is its index, from 1.
    pub(crate) fn received_requests(&self) -> Vec<ReceivedRequest> {
        self.lock().clone()
    }

    /// Receives a request: its effect happens now or never, whatever answer the sender gets and when.
    fn hear(&self, letter: &Letter) -> Fate {
        let number = self.lock().len() as u64 + 1;
        let is_redirected = letter.url.host_str() != host_of(EFFECTS).as_deref();
        let asks = letter.method == Method::POST;
        let fate = self.fate(number, letter);
        let (status, has_effect) = match &fate {
            (Fate::Answer { status, breaks_off: false, .. }, has_effect) => (Some(status.as_u16()), *has_effect),
            (Fate::Answer { .. } | Fate::Silence | Fate::Reset, has_effect) => (None, *has_effect),
        };
        let heard = ReceivedRequest {
            key: text(&letter.headers, "idempotency-key").unwrap_or_default(),
            attempt: text(&letter.headers, "x-attempt").and_then(|number| number.parse().ok()),
            has_effect: has_effect && asks,
            status,
            has_secret: letter.headers.contains_key(AUTHORIZATION),
            is_redirected,
        };
        let told = status.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
        let effect = if heard.has_effect { "an effect" } else { "no effect" };
        self.ground.trace("web", format!("request {number} of {}: {effect}, and {told} is answered", heard.key));
        self.lock().push(heard);
        fate.0
    }

    /// Draws what happens to a request, and whether it has an effect.
    fn fate(&self, number: u64, letter: &Letter) -> (Fate, bool) {
        let done = json!({ "effect": number }).to_string();
        let answer = |status: StatusCode, location: Option<String>| Fate::Answer {
            status,
            location,
            body: Bytes::from(done.clone()),
            breaks_off: false,
        };
        if self.ground.strikes(self.ground.plan.web_fails) {
            let has_effect = self.ground.random().chance(0.6);
            sometimes!(has_effect, "the answer to an action's request was lost after its effect");
            let half = Bytes::copy_from_slice(&done.as_bytes()[..done.len() / 2]);
            let fate = match self.ground.random().below(3) {
                0 => Fate::Silence,
                1 => Fate::Reset,
                _ => Fate::Answer { status: StatusCode::OK, location: None, body: half, breaks_off: true },
            };
            return (fate, has_effect);
        }
        // A redirected request always gets an answer.
        let is_first = letter.url.as_str() == EFFECTS;
        if !is_first {
            return (answer(StatusCode::OK, None), true);
        }
        match self.ground.random().pick_weighted(&[60, 6, 4, 4, 4, 4, 1, 1]) {
            0 => (answer(StatusCode::OK, None), true),
            1 => (answer(StatusCode::SEE_OTHER, Some(format!("/effects/{number}"))), true),
            2 => (answer(StatusCode::TEMPORARY_REDIRECT, Some(MIRROR.to_owned())), false),
            3 => (answer(StatusCode::SERVICE_UNAVAILABLE, None), false),
            4 => (answer(StatusCode::INTERNAL_SERVER_ERROR, None), true),
            5 => (answer(StatusCode::NOT_FOUND, None), false),
            6 => (answer(StatusCode::FOUND, Some(format!("http://{INSIDE}/"))), false),
            _ => (answer(StatusCode::TEMPORARY_REDIRECT, Some(EFFECTS.to_owned())), false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ReceivedRequest>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn host_of(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// The web, as one node of the world sees it.
pub(crate) struct NodeWeb {
    /// The server.
    pub(crate) server: Arc<Server>,
    /// The node's life.
    pub(crate) life: Arc<Life>,
    /// The node's clock.
    pub(crate) clock: Arc<WorkerClock>,
}

impl Web for NodeWeb {
    fn way<'a>(&'a self, to: &'a Url) -> Pending<'a, Result<Box<dyn HttpTransport>, NoWay>> {
        let ground = &self.server.ground;
        let found = if to.host_str() == Some(INSIDE) {
            sometimes!("a request was redirected to where it may not go");
            Err(NoWay::Denied)
        } else if ground.strikes(ground.plan.web_fails) {
            Err(NoWay::Unreachable("has no address: a fault of the simulated network".to_owned()))
        } else {
            Ok(NodeWay { server: self.server.clone(), life: self.life.clone(), clock: self.clock.clone() })
        };
        let found_at = ground.now() + ground.random().below(20_000);
        Box::pin(async move {
            self.clock.until(Duration::from_micros(found_at)).await;
            found.map(|way| Box::new(way) as Box<dyn HttpTransport>)
        })
    }
}

/// The connection from one node to a server.
struct NodeWay {
    server: Arc<Server>,
    life: Arc<Life>,
    clock: Arc<WorkerClock>,
}

impl HttpTransport for NodeWay {
    fn send(&self, letter: Letter) -> Pending<'_, Result<HttpAnswer, BrokenOff>> {
        let ground = &self.server.ground;
        if self.life.is_over() {
            return Box::pin(std::future::pending());
        }
        if ground.strikes(ground.plan.spawn_kill) {
            ground.trace("web", "the node dies where it sends a request");
            if ground.random().chance(0.5) {
                sometimes!("killed right after an action's request was sent");
                let _ = self.server.hear(&letter);
            }
            self.life.end();
            return Box::pin(std::future::pending());
        }
        let fate = self.server.hear(&letter);
        let pause = || Duration::from_micros(ground.random().log_uniform(500.0, 9e6) as u64);
        let (head, body_takes) = (self.clock.now() + pause(), pause() / 4);
        Box::pin(async move {
            match fate {
                Fate::Silence => std::future::pending().await,
                Fate::Reset => {
                    self.clock.until(head).await;
                    Err(BrokenOff("the connection was reset".to_owned()))
                }
                Fate::Answer { status, location, body, breaks_off } => {
                    self.clock.until(head).await;
                    let mut headers = HeaderMap::new();
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    if let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) {
                        headers.insert(LOCATION, location);
                    }
                    let body = Coming { clock: self.clock.clone(), at: head + body_takes, piece: Some(body), breaks_off };
                    Ok(HttpAnswer { status, headers, body: Box::new(body) })
                }
            }
        })
    }
}

/// A body in transit.
struct Coming {
    clock: Arc<WorkerClock>,
    /// When the rest of it arrives.
    at: Duration,
    piece: Option<Bytes>,
    breaks_off: bool,
}

impl AnsweredBody for Coming {
    fn piece(&mut self) -> Pending<'_, Result<Option<Bytes>, BrokenOff>> {
        Box::pin(async move {
            self.clock.until(self.at).await;
            match self.piece.take() {
                Some(piece) => Ok(Some(piece)),
                None if self.breaks_off => Err(BrokenOff("the connection was reset in the middle of the body".to_owned())),
                None => Ok(None),
            }
        })
    }
}
