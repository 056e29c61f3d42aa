//! The steps before and after the route of every request: its id, the limits, admission, panics, and response
//! headers.
//!
//! Webhook deliveries are answered from here, ahead of the router, because they are the most frequent
//! requests.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use bytes::Bytes;
use ensue_engine::explain::{Explain, panic_text};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Body as HttpBody;
use thiserror::Error;
use tower::Service;
use tracing::Instrument as _;

use crate::addresses::{PeerCertificates, Scheme, Sender};
use crate::api::Api;
use crate::compression::{self, Coding};
use crate::context::{ENSUE_POSITION, OwnSpan, RequestContext, RequestSpan};
use crate::cookies::{self, ENSUE_PAGE};
use crate::drain::{self, Read};
use crate::framing::{self, Ambiguous};
use crate::holding_body::Holding;
use crate::metrics::Kind;
use crate::openapi;
use crate::page::{self, Page};
use crate::ports::{AnsweredRequest, Ports, RefusedLogin};
use crate::problem::{Outcome, Problem, quote};
use crate::queues::{QueueName, QueuePermit};
use crate::quotas::{Caller, NoRoom, Quotas, Room};
use crate::rates::{self, Class, RateStanding};
use crate::respond;
use crate::route::{self, BASE, Public, Route, is_write};
use crate::routes::{self, hooks};
use crate::settings::{PageServing, Settings};

/// From this size in bytes, an answer counts until it is written; smaller ones are bounded by the requests in
/// progress.
const LARGE_ANSWER_BYTES: u64 = 32 * 1024;
/// The maximum number of characters of a path in a trace.
const SHOWN_PATH_CHARS_MAX: usize = 256;
/// The maximum number of characters of a method in a trace: any word can be one.
const SHOWN_METHOD_CHARS_MAX: usize = 32;

/// Other sites cannot load an answer as a picture, a script or a style.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// The header with the secret of a trusted proxy.
const PROXY_SECRET: HeaderName = HeaderName::from_static("x-ensue-proxy-secret");
/// How long a browser uses TLS only: a year.
const STRICT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The whole API as one service, from request to answer. A clone shares it.
#[derive(Clone)]
pub struct Front {
    api: Arc<Api>,
    router: Router,
    table: Arc<[Route]>,
    /// Requests in progress, of which one address has at most a part.
    of_address: Arc<Quotas>,
}

/// One address can have at most one part in this many of the requests in progress.
const QUOTAS: u64 = 2;

/// Too many requests are in progress.
#[derive(Debug, Error, Explain)]
#[explain(fault = Busy, hint = "send it again in a second")]
enum TooManyRequests {
    /// The node has no room for any.
    #[error("too many requests are in progress")]
    #[explain(slug = "busy")]
    Full,
    /// The address is at its share.
    #[error("your address has half of all requests that the node can have in progress")]
    #[explain(slug = "over-share")]
    OverShare,
}

impl From<NoRoom> for TooManyRequests {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::Full => Self::Full,
            NoRoom::OverQuota => Self::OverShare,
        }
    }
}

/// Too many connections of one address are open.
#[derive(Debug, Error, Explain)]
#[error("your address has too many open connections: the limit is {max}")]
#[explain(slug = "too-many-connections", fault = Busy, hint = "use the connections that you have for more requests, or close some of them")]
struct TooManyConnections {
    max: usize,
}

/// Too many bytes of answers are not written yet.
#[derive(Debug, Error, Explain)]
#[error("not enough memory for the answer: too many large answers are in progress")]
#[explain(slug = "busy", fault = Busy, hint = "try again in a second, or ask for less at once")]
struct TooMuchUnwritten;

impl Front {
    /// Creates the API of a node.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        let api = Arc::new(Api::new(ports, settings));
        let (router, table) = routes::router(api.clone());
        let requests = api.queue(QueueName::Requests);
        let of_address = Quotas::of(requests.clone(), requests.capacity() / QUOTAS);
        Self { api, router, table: table.into(), of_address }
    }

    /// Lists the routes.
    pub fn routes(&self) -> &[Route] {
        &self.table
    }

    /// Returns the OpenAPI document of the routes.
    pub fn openapi(&self) -> serde_json::Value {
        openapi::document(&self.table)
    }

    /// Returns the OpenAPI document as an HTML page.
    pub fn openapi_page(&self) -> String {
        openapi::page::page(&self.openapi())
    }

    /// Announces that the node is stopping: `/readyz` reports it from now on, and long-lasting requests end.
    pub fn stop(&self) {
        self.api.stopping.begin();
    }

    /// Returns the limits.
    pub(crate) fn settings(&self) -> &Settings {
        &self.api.settings
    }

    /// Answers a request from an HTTP/1 connection, if its head is unambiguous.
    pub(crate) async fn answer_framed<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let is_strict = self.is_strict(&request);
        let mut response = match self.demand_head(&request) {
            Ok(()) => self.answer(request).await,
            Err(problem) => self.reject(&request, &problem),
        };
        if is_strict {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, STRICT);
        }
        response
    }

    /// Rejects a request on a connection for which its address has no room.
    pub(crate) fn answer_crowded<B>(&self, request: &Request<B>) -> Response<Body> {
        self.reject(request, &Problem::of(&TooManyConnections { max: self.settings().limits.connections_per_address }))
    }

    /// Answers a request that is not read further; its connection ends.
    fn reject<B>(&self, request: &Request<B>, problem: &Problem) -> Response<Body> {
        let begin = Instant::now();
        let context = RequestContext::of(request.headers(), OwnSpan::None);
        let mut response = problem.render(&context, request.uri().path());
        finish(&context, Read::InPart, response.headers_mut());
        self.settings().cors.headers(request).write_to(response.headers_mut());
        self.api.requests.note(Kind::of(request.method(), request.uri().path()), response.status(), begin.elapsed());
        let sender = request.extensions().get::<Sender>().copied();
        self.log(&context, (request.method(), request.uri(), sender), response.status(), begin.elapsed());
        response
    }

    /// Returns true if the browser of the sender should use TLS for this host from now on. Other programs of the sender's machine
    /// share the name `localhost`, and browsers ignore the header for an IP address.
    fn is_strict<B>(&self, request: &Request<B>) -> bool {
        let is_https = request.extensions().get::<Sender>().is_some_and(|sender| sender.scheme == Scheme::Https);
        is_https && request.headers().get(header::HOST).is_some_and(|host| self.settings().hosts.name(host.as_bytes()))
    }

    /// Writes a line about a request. It has the route and neither the path nor the query, which may hold
    /// what nobody should read in a log.
    fn log(&self, context: &RequestContext, (method, uri, sender): (&Method, &Uri, Option<Sender>), status: StatusCode, took: Duration) {
        tracing::debug!(
            method = truncate_chars(method.as_str(), SHOWN_METHOD_CHARS_MAX),
            route = route::template(&self.table, uri.path()),
            client = sender.map(|sender| tracing::field::display(sender.address)),
            status = status.as_u16(),
            took_micros = took.as_micros() as u64,
            request_id = context.request_id(),
            trace_id = context.trace_id(),
            "answered a request"
        );
    }

    fn demand_head<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        framing::demand_clear(request.version(), request.uri(), request.headers()).inspect_err(|why| warn_of(*why))?;
        self.api.settings.hosts.demand(request.uri(), request.headers())?;
        Ok(framing::demand_known_expectation(request.headers())?)
    }

    /// Answers a request with an unreadable head: returns the bytes of a complete answer, after which the
    /// connection is closed.
    pub(crate) fn answer_unreadable(&self, status: u16, why: Option<Ambiguous>) -> Vec<u8> {
        let problem = match (why, status) {
            (Some(why), _) => {
                warn_of(why);
                Problem::of(&why)
            }
            (None, 414) => Problem::target_too_long(self.settings().limits.target_bytes_max),
            (None, 431) => Problem::headers_too_large(self.settings().limits.header_bytes_max),
            (None, _) => Problem::of(&framing::MalformedRequest),
        };
        Self::render_raw(&problem)
    }

    /// Answers a caller that uses plain HTTP on a connection for TLS: returns the bytes of a complete answer, after which the
    /// connection is closed.
    pub(crate) fn answer_without_tls(&self) -> Vec<u8> {
        Self::render_raw(&Problem::of(&framing::TlsRequired))
    }

    /// Returns the bytes of a complete answer.
    fn render_raw(problem: &Problem) -> Vec<u8> {
        let context = RequestContext::of(&HeaderMap::new(), OwnSpan::None);
        let (mut parts, body) = problem.render(&context, "/").into_parts();
        finish(&context, Read::InPart, &mut parts.headers);
        // It is complete already, so there is nothing to wait for.
        let body = body.collect().now_or_never().and_then(Result::ok).map(|whole| whole.to_bytes()).unwrap_or_default();
        let reason = parts.status.canonical_reason().unwrap_or_default();
        let mut written = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16()).into_bytes();
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        for (name, value) in &parts.headers {
            written.extend_from_slice(name.as_str().as_bytes());
            written.extend_from_slice(b": ");
            written.extend_from_slice(value.as_bytes());
            written.extend_from_slice(b"\r\n");
        }
        written.extend_from_slice(b"\r\n");
        written.extend_from_slice(&body);
        written
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let (begin, from) = (Instant::now(), self.api.ports.spans.as_ref().map(|spans| spans.now()));
        let (method, uri) = (request.method().clone(), request.uri().clone());
        // A request that only reads leads to no record, so it does not become part of a trace.
        let own_span = match &self.api.ports.spans {
            Some(spans) if !method.is_safe() => OwnSpan::Wanted(spans.sampler()),
            Some(_) | None => OwnSpan::None,
        };
        let sent = match own_span {
            OwnSpan::Wanted(_) => SentTo::of(&request),
            OwnSpan::None => SentTo::default(),
        };
        let context = RequestContext::of(request.headers(), own_span);
        let sender = request.extensions().get::<Sender>().copied();
        let cors = &self.api.settings.cors;
        let (preflight, to_page) = (cors.preflight(&request), cors.headers(&request));
        let coding = Coding::negotiate(&method, request.headers());
        let (parts, body) = request.into_parts();
        let (body, leftover) = drain::lend(body, &parts.headers);
        let outcome = match preflight {
            Some(answer) => Ok(answer),
            None => contain_panics(self.admit(&context, sender, Request::from_parts(parts, body))).await,
        };
        let mut response = outcome.unwrap_or_else(|problem| problem.render(&context, uri.path()));
        let standing = response.extensions_mut().remove::<RateStanding>();
        // The router passes problems on, so that they are written here, where the request is known.
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            let allow = response.headers_mut().remove(header::ALLOW);
            response = match &allow {
                // Every path lists its methods.
                Some(_) if method == Method::OPTIONS => respond::nothing(),
                _ => problem.render(&context, uri.path()),
            };
            if let Some(allow) = allow {
                response.headers_mut().insert(header::ALLOW, with_options(&allow));
            }
        }
        let response = compression::compress_answer(&self.api.threads, self.api.queue(QueueName::AnswerBytes), coding, response).await;
        let mut response = self.within_memory(&method, response).unwrap_or_else(|why| Problem::of(&why).render(&context, uri.path()));
        let read = leftover.discard(response.status()).await;
        finish(&context, read, response.headers_mut());
        to_page.write_to(response.headers_mut());
        if let Some(standing) = standing {
            standing.write_to(response.headers_mut());
        }
        let (kind, status) = (Kind::of(&method, uri.path()), response.status());
        self.api.requests.note(kind, status, begin.elapsed());
        self.log(&context, (&method, &uri, sender), status, begin.elapsed());
        if let (Some(spans), Some(from), Some(RequestSpan { parent })) = (&self.api.ports.spans, from, context.span()) {
            let route = route::template(&self.table, uri.path()).map(str::to_owned);
            let (method, path) = (
                truncate_chars(method.as_str(), SHOWN_METHOD_CHARS_MAX).to_owned(),
                truncate_chars(uri.path(), SHOWN_PATH_CHARS_MAX).to_owned(),
            );
            let (span, status, SentTo { server, sender }) = (context.under(), status.as_u16(), sent);
            let (scheme, client) = (sender.map_or(Scheme::Http, |sender| sender.scheme).as_str(), sender.map(|sender| sender.address));
            spans.note_answered(AnsweredRequest { span, parent, method, route, path, server, scheme, client, status, from });
        }
        response
    }

    /// Answers a request unless its address has sent too many without a valid token. Deliveries have no token and a limit of
    /// their own. A valid token is accepted whatever others at the same address send.
    async fn admit<B>(&self, context: &RequestContext, sender: Option<Sender>, request: Request<B>) -> Outcome
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        // The files of the page are constant, and a browser loads many of them at once.
        let is_uncounted = ["/hooks/", page::PREFIX].iter().any(|prefix| request.uri().path().starts_with(prefix));
        let network = sender.and_then(|sender| sender.limited_as);
        let _room = self.room(network)?;
        let mut request = request;
        let is_vouched_for = self.note_vouched(sender, &mut request)?;
        let Some(network) = network.filter(|_| !is_uncounted) else { return self.dispatch(context, request).await };
        let count = || self.api.rates.count(Class::Anonymous, || Caller::Address(network));
        let has_credential = is_vouched_for
            || request.extensions().get::<PeerCertificates>().is_some()
            || request.headers().contains_key(header::AUTHORIZATION)
            || cookies::is_given(request.headers());
        if !has_credential || !checks_the_token(request.method(), request.uri().path()) {
            let standing = count();
            let asked = async {
                standing.map_or(Ok(()), |standing| standing.demand())?;
                self.dispatch(context, request).await
            };
            return rates::standing(standing, asked.await);
        }
        let outcome = self.dispatch(context, request).await;
        let status = outcome.as_ref().map_or_else(Problem::status, Response::status);
        if status != StatusCode::UNAUTHORIZED {
            return outcome;
        }
        let standing = count();
        rates::standing(standing, standing.map_or(Ok(()), |standing| standing.demand()).and(outcome))
    }

    /// Notes the caller that a trusted proxy names; returns false if there is none. The proxy's secret is not passed
    /// on, because the headers of deliveries are stored.
    fn note_vouched<B>(&self, sender: Option<Sender>, request: &mut Request<B>) -> Result<bool, Problem> {
        let Some(sender) = sender else { return Ok(false) };
        let ports = &self.api.ports;
        let vouched = ports.vouching.by_proxy(sender.peer, request.headers()).inspect_err(|_| {
            ports.refusals.login_refused(RefusedLogin { way: "proxy", identity: None, address: Some(sender.peer) });
        })?;
        request.headers_mut().remove(PROXY_SECRET);
        let is_vouched_for = vouched.is_some();
        vouched.map(|vouched| request.extensions_mut().insert(vouched));
        Ok(is_vouched_for)
    }

    /// Takes room for a request: one address has at most a part of it.
    fn room(&self, network: Option<IpAddr>) -> Result<(Option<Room>, Option<QueuePermit>), TooManyRequests> {
        match network {
            Some(network) => Ok((Some(self.of_address.enter(Caller::Address(network), 1)?), None)),
            None => Ok((None, Some(self.api.queue(QueueName::Requests).enter(1).ok_or(TooManyRequests::Full)?))),
        }
    }

    async fn dispatch<B>(&self, context: &RequestContext, request: Request<B>) -> Outcome
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.within_limits(request.uri(), request.headers())?;
        let (mut parts, body) = request.into_parts();
        if let Some(hook) = parts.uri.path().strip_prefix("/hooks/") {
            let span = tracing::debug_span!(
                "delivery",
                hook = truncate_chars(hook, SHOWN_PATH_CHARS_MAX),
                request_id = context.request_id(),
                trace_id = context.trace_id()
            );
            if parts.method == Method::OPTIONS {
                return hooks::consent(&self.api, &parts.headers, hook);
            }
            // The future is large, and that of a request is moved several times before it starts.
            return Box::pin(hooks::receive(&self.api, context, &parts, hook, body)).instrument(span).await;
        }
        demand_known_headers(&parts.headers)?;
        if self.api.settings.page == PageServing::On
            && let Some(outcome) = Page::instance().answer(&parts)
        {
            return outcome;
        }
        let span = tracing::info_span!(
            "request",
            method = %parts.method,
            path = truncate_chars(parts.uri.path(), SHOWN_PATH_CHARS_MAX),
            request_id = context.request_id(),
            trace_id = context.trace_id()
        );
        parts.extensions.insert(context.clone());
        let request = Request::from_parts(parts, Body::new(body));
        let Ok(response) = self.router.clone().call(request).instrument(span).await;
        Ok(response)
    }

    /// Counts a large answer until it is written. If there is no memory for it, a caller that only reads gets
    /// this error. A caller that changed something (the answer to its write names a position) gets the answer
    /// all the same, because otherwise it would repeat the change.
    fn within_memory(&self, method: &Method, response: Response<Body>) -> Result<Response<Body>, TooMuchUnwritten> {
        let Some(bytes) = response.body().size_hint().exact().filter(|bytes| *bytes >= LARGE_ANSWER_BYTES) else { return Ok(response) };
        let queue = self.api.queue(QueueName::AnswerBytes);
        let has_changed = is_write(method) && response.headers().contains_key(ENSUE_POSITION);
        let held = if has_changed { queue.enter_anyway(bytes) } else { queue.enter_however_large(bytes).ok_or(TooMuchUnwritten)? };
        Ok(response.map(|body| Body::new(Holding::new(body, held))))
    }

    fn within_limits(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let limits = &self.api.settings.limits;
        let target_bytes = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
        if target_bytes > limits.target_bytes_max {
            return Err(Problem::target_too_long(limits.target_bytes_max));
        }
        let header_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if header_bytes > limits.header_bytes_max {
            return Err(Problem::headers_too_large(limits.header_bytes_max));
        }
        Ok(())
    }
}

/// Returns true if a guarded route may answer, which checks the token of a request.
fn checks_the_token(method: &Method, path: &str) -> bool {
    path.starts_with(BASE) && !Public::ALL.iter().any(|open| open.answers(method, path))
}

/// Whoever sends such a request tries to make two servers read it differently.
fn warn_of(why: Ambiguous) {
    tracing::warn!(%why, "an ambiguous request was rejected");
}

/// Adds the method that every path supports.
fn with_options(allow: &HeaderValue) -> HeaderValue {
    let methods = allow.to_str().unwrap_or_default();
    if methods.split(',').any(|method| method.trim() == "OPTIONS") {
        return allow.clone();
    }
    HeaderValue::from_str(&format!("{methods},OPTIONS")).unwrap_or_else(|_| allow.clone())
}

/// An unknown header with the product's prefix.
#[derive(Debug, Error, Explain)]
#[error("there is no header `{name}`")]
#[explain(slug = "unknown-header", fault = Malformed, hint = header_hint(name))]
struct UnknownHeader {
    name: String,
}

fn header_hint(name: &str) -> String {
    match ensue_expression::nearest(name, OUR_HEADERS) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("leave it out; the allowed headers are `{}`", OUR_HEADERS.join("`, `")),
    }
}

/// The request headers with the product's prefix.
const OUR_HEADERS: [&str; 2] = [ENSUE_POSITION, ENSUE_PAGE];
/// The prefix of the product's headers.
const OUR_PREFIX: &str = "ensue-";

/// A caller that sends a header with the product's prefix relies on it, so unknown ones are rejected.
fn demand_known_headers(headers: &HeaderMap) -> Result<(), UnknownHeader> {
    let mut ours = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with(OUR_PREFIX));
    match ours.find(|name| !OUR_HEADERS.contains(name)) {
        Some(name) => Err(UnknownHeader { name: quote(name) }),
        None => Ok(()),
    }
}

/// The target of a request, and its origin.
#[derive(Default)]
struct SentTo {
    server: Option<(String, Option<u16>)>,
    sender: Option<Sender>,
}

impl SentTo {
    fn of<B>(request: &Request<B>) -> Self {
        let named = request.headers().get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let server = named.as_ref().or(request.uri().authority());
        let server = server.map(|server| {
            let host = server.host().trim_start_matches('[').trim_end_matches(']');
            (truncate_chars(host, SHOWN_PATH_CHARS_MAX).to_owned(), server.port_u16())
        });
        Self { server, sender: request.extensions().get::<Sender>().copied() }
    }
}

fn truncate_chars(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// Writes the headers that every answer has.
fn finish(context: &RequestContext, read: Read, headers: &mut HeaderMap) {
    context.write_to(headers);
    secure(headers);
    match read {
        Read::ToItsEnd => {}
        Read::InPart => drop(headers.insert(header::CONNECTION, HeaderValue::from_static("close"))),
    }
}

/// Answers of this node are for one caller, and must not be embedded in other pages.
fn secure(headers: &mut HeaderMap) {
    const FIXED: [(HeaderName, HeaderValue); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    ];
    for (name, value) in FIXED {
        headers.insert(name, value);
    }
    // A form of the node says to the node where it comes from.
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    // A file that a program created is served under a stricter policy.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Runs a handler so that a panic in it affects only its own request.
async fn contain_panics(work: impl Future<Output = Outcome>) -> Outcome {
    let mut work = pin!(work);
    std::future::poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(panic) => Poll::Ready(Err(Problem::bug(panic_text(&*panic)))),
    })
    .await
}

/// For tests, and for embedding the API in another server.
impl Service<Request<Body>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}
