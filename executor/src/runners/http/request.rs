//! The request: rendered once, checked, and changed by redirects.
//!
//! It may hold secrets, so it has no `Debug`, and messages show no more of it than its server's name.

use std::borrow::Cow;

use bytes::Bytes;
use ensue_engine::catalog::{AnswerForm, HookMethod, HttpRequest, RequestSigning, Route, Scheme, SigningScheme, TextDecoding};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_engine::trace::TraceContext;
use ensue_expression::Template;
use ensue_sensors::signatures::{UnsignedDelivery, sign};
use ensue_sensors::{KEY_BYTES_MIN, SignatureRefusal};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE, USER_AGENT,
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::{Position, Url};

use super::body;
use crate::answer_body::ACCEPTED_CODINGS;
use crate::attempt::{AttemptContext, AttemptError, attempt_failure};
use crate::connections::{CredentialPlacement, Credentials, HttpEndpoint};
use crate::masks::Masks;
use crate::render::{Renderer, entries, quote, reads_keys, scalar};
use crate::web::Letter;

/// The maximum length of a URL, in bytes.
pub(crate) const URL_BYTES_MAX: usize = 16 << 10;
/// The maximum number of headers that an action may declare.
pub(crate) const HEADERS_MAX: usize = 100;

/// The maximum length of a method or of a header's name in a message.
const METHOD_SHOWN_BYTES_MAX: usize = 20;
const NAME_SHOWN_BYTES_MAX: usize = 80;

/// The replacement for a secret in a span.
const REDACTED: &str = "REDACTED";

/// Query parameters whose values are secrets: those named in OpenTelemetry's conventions, those of signed
/// URLs, and common names.
const SECRET_PARAMETERS: &[&str] = &[
    "access_token",
    "api_key",
    "api-key",
    "apikey",
    "auth",
    "awsaccesskeyid",
    "client_secret",
    "code",
    "id_token",
    "jwt",
    "key",
    "pass",
    "passwd",
    "password",
    "private_token",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-credential",
    "x-goog-signature",
];

/// The headers of Standard Webhooks.
const SIGNED_ID: HeaderName = HeaderName::from_static("webhook-id");
const SIGNED_TIME: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Headers that belong to the connection and not to the request. Setting one could make one request look like
/// two.
const REFUSED_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The headers that are sent along to another server. Any other header that an action declares may be a
/// secret meant for the first server.
const HARMLESS_HEADERS: [HeaderName; 8] =
    [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, USER_AGENT, IDEMPOTENCY_KEY, TRACEPARENT, TRACESTATE];

/// The characters that are kept as they are in an interpolated part of a URL. A value can neither end its
/// part nor begin another.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A request.
pub(crate) struct Request {
    method: Method,
    pub(super) url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    shown: UrlVisibility,
    /// Whether the action declares its own trace.
    has_own_trace: bool,
    /// What the author wants the answer to be.
    form: Option<AnswerForm>,
    /// How the answer becomes text.
    text_decoding: TextDecoding,
    /// The scheme and the key that sign it.
    signing: Option<(SigningScheme, Secret)>,
}

/// How much of a URL may be shown.
#[derive(Clone, Copy)]
pub(super) struct UrlVisibility {
    /// In messages, and for the path in spans.
    place: ShownPlace,
    /// Whether a span shows the values of the query.
    query: bool,
}

/// How much of a URL's host and path may be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ShownPlace {
    /// All of it.
    Whole,
    /// The host is a literal, and what follows it reads keys. A message does not show the host either.
    Host,
    /// The whole URL comes from a key.
    Nothing,
}

impl Request {
    /// Renders an action's request.
    pub(super) async fn render(
        action: &HttpRequest,
        attempt: &AttemptContext<'_>,
        below: Option<&HttpEndpoint>,
    ) -> Result<Self, AttemptError> {
        let opened = attempt.open(action.templates(route_of(below))).await?;
        let mut request = Self::compose(action, &mut attempt.renderer(&opened)?, below)?;
        let execution = HeaderValue::from_str(&attempt.dispatch.execution.to_string()).ok();
        if let Some(execution) = execution {
            request.headers.entry(IDEMPOTENCY_KEY).or_insert(execution);
        }
        if let Some(trace) = attempt.trace() {
            request.pass_on(&trace);
        }
        Ok(request)
    }

    /// Renders a request, without the headers that belong to an attempt. With a connection, its URL is below the address of that.
    pub(crate) fn compose<'r>(
        action: &'r HttpRequest,
        renderer: &mut Renderer<'r>,
        below: Option<&HttpEndpoint>,
    ) -> Result<Self, AttemptError> {
        let route = route_of(below);
        let target = action.url(route);
        let mut url = match below {
            Some(connection) => url_below(renderer, target, connection)?,
            None => url(renderer, target)?,
        };
        append_query(&mut url, entries("query", renderer.value("query", &action.query)?)?)?;
        let method = method(renderer.scalar("method", &action.method)?.as_deref())?;
        let mut given = entries("headers", renderer.value("headers", &action.headers)?)?;
        if let Some(instead) = action.instead(route) {
            let place = "without_connection.headers";
            given.extend(entries(place, renderer.value(place, &instead.headers)?)?);
        }
        let mut headers = headers(given)?;
        let mut body = body::render(renderer, &action.body, &mut headers)?;
        if let Some(json) = action.instead(route).and_then(|instead| instead.json.as_ref()) {
            body = Some(body::with_fields(body.as_ref(), &renderer.document("without_connection.json", json)?)?);
        }
        let has_own_trace = headers.contains_key(TRACEPARENT);
        let place = match (reads_keys(target), is_whole(target)) {
            (false, _) => ShownPlace::Whole,
            (true, false) => ShownPlace::Host,
            (true, true) => ShownPlace::Nothing,
        };
        let shown = UrlVisibility { place, query: !reads_keys(&action.query) };
        let parse = action.parse.as_ref().map(|parse| renderer.scalar("parse", parse)).transpose()?.flatten();
        let form = parse.as_deref().map(form).transpose()?;
        let signing = action.signing.as_ref().map(|signing| signing_of(signing, renderer)).transpose()?;
        let text_decoding = action.text_decoding.clone();
        Ok(Self { method, url, headers, body, shown, has_own_trace, form, text_decoding, signing })
    }

    /// Adds a header, unless the author declares it.
    pub(crate) fn add_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.entry(name).or_insert(value);
    }

    /// Adds what a connection sends with each request: its headers, unless the author declares them, and its credentials.
    pub(crate) fn connect(&mut self, connection: &HttpEndpoint, credentials: Option<Credentials>) -> Result<(), AttemptError> {
        for (name, value) in &connection.headers {
            self.headers.entry(name).or_insert_with(|| value.clone());
        }
        match credentials.map(|credentials| credentials.proof) {
            None => {}
            Some(CredentialPlacement::Header(header, value)) => {
                if self.headers.contains_key(&header) {
                    return Err(invalid(&format!("the header `{header}` is set by the connection, so the request cannot set it")));
                }
                self.headers.insert(header, value);
            }
            Some(CredentialPlacement::JsonField(name, value)) => self.body = Some(body::with_secret(self.body.as_ref(), &name, &value)?),
        }
        Ok(())
    }

    /// Signs it, if its action says so. The id is that of the message, which is the same each time it is sent,
    /// unless the author declares one.
    pub(super) fn sign(&mut self, id: &str, now: Timestamp) -> Result<(), AttemptError> {
        let Some((scheme, key)) = &self.signing else { return Ok(()) };
        let scheme = match scheme {
            SigningScheme::Standard => Scheme::Standard,
        };
        let declared = self.headers.get(SIGNED_ID).map(|id| id.to_str().map(str::to_owned));
        let declared =
            declared.transpose().map_err(|_| invalid(&format!("the header `{SIGNED_ID}` is not plain ASCII, so it cannot be signed")))?;
        let body = self.body.as_deref().unwrap_or_default();
        let id = declared.as_deref().unwrap_or(id);
        let unsigned = UnsignedDelivery { body, id, now, url: self.url.as_str(), method: HookMethod::Post };
        let signed = sign(&scheme, unsigned, Some(key)).map_err(|why| invalid(&unsigned_because(&why)))?;
        for (name, value) in signed {
            let name = HeaderName::try_from(name).map_err(|_| invalid("the request cannot be signed"))?;
            let mut value = HeaderValue::try_from(value).map_err(|_| invalid("the request cannot be signed"))?;
            value.set_sensitive(name == SIGNATURE);
            self.headers.insert(name, value);
        }
        Ok(())
    }

    /// Checks that nobody expects it to be signed: a signature has the id of an execution.
    pub(crate) fn demand_unsigned(&self) -> Result<(), AttemptError> {
        match self.signing {
            None => Ok(()),
            Some(_) => Err(invalid("a request of a sensor cannot be signed: poll with an action without `sign`")),
        }
    }

    /// Returns the URL to send it to.
    pub(crate) fn target(&self) -> &Url {
        &self.url
    }

    /// Continues a trace in the request, unless the action declares one.
    pub(super) fn pass_on(&mut self, trace: &TraceContext) {
        if self.has_own_trace {
            return;
        }
        let state = trace.state.as_ref().and_then(|state| HeaderValue::from_str(state.as_str()).ok());
        // A trace state belongs to its trace, so one that the action declares is not sent with this trace.
        self.headers.remove(TRACESTATE);
        if let Ok(parent) = HeaderValue::try_from(trace.parent.to_string()) {
            self.headers.insert(TRACEPARENT, parent);
        }
        if let Some(state) = state {
            self.headers.insert(TRACESTATE, state);
        }
    }

    /// Returns the method as a span shows it. Any word can be a method, and it may come from a key.
    pub(super) fn method_shown(&self) -> &'static str {
        const KNOWN: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
        KNOWN.into_iter().find(|known| *known == self.method.as_str()).unwrap_or("_OTHER")
    }

    /// Returns the URL as a span shows it, without parts that come from a key and without values of
    /// parameters that are known to be secret.
    pub(super) fn url_shown(&self, masks: Option<&Masks>) -> String {
        let scheme = self.url.scheme();
        let shown = match self.shown.place {
            ShownPlace::Nothing => return format!("{scheme}://{REDACTED}/{REDACTED}"),
            ShownPlace::Host => format!("{}/{REDACTED}", &self.url[..Position::BeforePath]),
            ShownPlace::Whole => {
                let mut shown = self.url[..Position::AfterPath].to_owned();
                if let Some(query) = self.url.query() {
                    let pairs: Vec<String> = query.split('&').map(|pair| self.pair_shown(pair)).collect();
                    shown = format!("{shown}?{}", pairs.join("&"));
                }
                shown
            }
        };
        masks.map_or(shown.clone(), |masks| masks.text(&shown))
    }

    fn pair_shown(&self, pair: &str) -> String {
        let Some((name, _)) = pair.split_once('=') else {
            return if self.shown.query { pair.to_owned() } else { REDACTED.to_owned() };
        };
        let decoded = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        if self.shown.query && !SECRET_PARAMETERS.contains(&decoded.as_str()) { pair.to_owned() } else { format!("{name}={REDACTED}") }
    }

    /// Returns the host and the port as a span shows them.
    pub(super) fn server_shown(&self, masks: Option<&Masks>) -> Option<(String, u16)> {
        if self.shown.place == ShownPlace::Nothing {
            return None;
        }
        let (host, port) = (self.url.host_str()?, self.url.port_or_known_default()?);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((masks.map_or_else(|| host.to_owned(), |masks| masks.text(host)), port))
    }

    /// Returns the request to send.
    pub(crate) fn to_send(&self) -> Letter {
        let mut headers = self.headers.clone();
        // A part of a compressed body could not be decompressed.
        let codings = if headers.contains_key(RANGE) { "identity" } else { ACCEPTED_CODINGS };
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static(codings));
        Letter { method: self.method.clone(), url: self.url.clone(), headers, body: self.body.clone() }
    }

    /// Returns what the author wants the answer to be; `None` if its type decides.
    pub(super) fn answer_form(&self) -> Option<AnswerForm> {
        self.form
    }

    /// Returns how the answer becomes text.
    pub(super) fn text_decoding(&self) -> &TextDecoding {
        &self.text_decoding
    }

    /// Returns the last part of the path, if the URL holds no key.
    pub(super) fn file_name(&self) -> Option<String> {
        let last = self.url.path_segments()?.next_back().filter(|_| self.shown.place == ShownPlace::Whole)?;
        Some(percent_decode_str(last).decode_utf8().map_or_else(|_| last.to_owned(), Cow::into_owned))
    }

    /// Returns the server's name for a message.
    pub(crate) fn server(&self) -> String {
        match (self.shown.place, self.url.host_str(), self.url.port_or_known_default()) {
            (ShownPlace::Whole, Some(host), Some(port)) => format!("`{host}:{port}`"),
            (ShownPlace::Whole | ShownPlace::Host | ShownPlace::Nothing, _, _) => "the server".to_owned(),
        }
    }

    /// Returns the request that an answer redirects to, or none if the answer is the last.
    pub(crate) fn follow_redirect(&self, status: StatusCode, answered: &HeaderMap) -> Result<Option<Self>, AttemptError> {
        let goes_on = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let Some(location) = answered.get(LOCATION).filter(|_| goes_on) else { return Ok(None) };
        let invalid = |why: &str| attempt_failure(FailureKind::RedirectInvalid, format!("{} redirected {why}", self.server()));
        let mut url = self.location(location.as_bytes()).map_err(|why| invalid(&why))?;
        url.set_fragment(None);
        if !is_web(&url) {
            return Err(invalid("to a URL that is not http or https, or that contains a user name"));
        }
        if self.url.scheme() == "https" && url.scheme() == "http" {
            return Err(invalid("from https to http"));
        }
        let mut next = Self {
            method: self.method.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            shown: self.shown,
            has_own_trace: self.has_own_trace,
            form: self.form,
            text_decoding: self.text_decoding.clone(),
            signing: self.signing.clone(),
            url,
        };
        let becomes_get = match status.as_u16() {
            303 => next.method != Method::HEAD,
            301 | 302 => next.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            next.method = Method::GET;
            next.body = None;
            next.headers.remove(CONTENT_TYPE);
            // The signature covers the body, which is no longer sent.
            if next.signing.is_some() {
                for name in [SIGNED_ID, SIGNED_TIME, SIGNATURE] {
                    next.headers.remove(name);
                }
            }
        }
        if next.url[..Position::BeforePath] != self.url[..Position::BeforePath] {
            let declared: Vec<HeaderName> = next.headers.keys().cloned().collect();
            for name in declared.iter().filter(|name| !HARMLESS_HEADERS.contains(name)) {
                next.headers.remove(name);
            }
            // If the URL contains a key, the target of the redirect may reveal something about the key.
            if next.shown.place == ShownPlace::Host {
                next.shown.place = ShownPlace::Nothing;
            }
        }
        Ok(Some(next))
    }

    /// Returns the URL that a `Location` names. Servers also write characters there that a URL must escape: as a browser
    /// does, the URL has them percent-encoded, in UTF-8 or in whatever else the server wrote.
    fn location(&self, written: &[u8]) -> Result<Url, String> {
        let text = match std::str::from_utf8(written) {
            Ok(text) => Cow::Borrowed(text),
            // Only the bytes outside of ASCII are encoded.
            Err(_) => Cow::from(percent_encode(written, &AsciiSet::EMPTY).to_string()),
        };
        // Parsers disagree on these.
        if text.contains(|character: char| character.is_control() || character == '\\') {
            return Err("to a URL with a control character or a `\\`".to_owned());
        }
        let url = self.url.join(&text).map_err(|error| format!("to an invalid URL: {error}"))?;
        if url.as_str().len() > URL_BYTES_MAX {
            return Err(format!("to a URL of {} bytes; the limit is {URL_BYTES_MAX}", url.as_str().len()));
        }
        Ok(url)
    }
}

fn route_of(below: Option<&HttpEndpoint>) -> Route {
    if below.is_some() { Route::Connection } else { Route::Own }
}

fn url<'r>(renderer: &mut Renderer<'r>, template: &'r Template) -> Result<Url, AttemptError> {
    let parts = template.parts();
    if is_whole(template) {
        return parse_url(&renderer.text("url", template, str::to_owned)?);
    }
    let first = parts.first().and_then(|part| part.pieces.first());
    // The operator's own setting is inserted as it is, if it is the beginning.
    let mut is_setting = first.is_some_and(|piece| piece.is_setting());
    let mut setting = String::new();
    let text = renderer.text("url", template, |value| {
        if std::mem::take(&mut is_setting) {
            value.clone_into(&mut setting);
            return value.to_owned();
        }
        utf8_percent_encode(value, KEPT).to_string()
    })?;
    let literal = match first {
        Some(ensue_expression::Piece::Text(literal)) => literal.clone(),
        Some(_) if !setting.is_empty() => format!("{setting}/"),
        Some(_) | None => String::new(),
    };
    let host = literal.split_once("://").and_then(|(_, rest)| rest.split_once(['/', '?', '#']));
    if host.is_none_or(|(host, _)| host.is_empty()) {
        let message = "write out the scheme and the host of `url`, up to the first `/`, or make the whole URL a single `${{ … }}`";
        return Err(attempt_failure(FailureKind::Expression, message));
    }
    if climbs(&text) {
        return Err(invalid("`url` has a part `.` or `..`, which would leave the literal part of the path"));
    }
    parse_url(&text)
}

/// Renders the URL of a request over a connection.
fn url_below<'r>(renderer: &mut Renderer<'r>, template: &'r Template, connection: &HttpEndpoint) -> Result<Url, AttemptError> {
    let text = match is_whole(template) && !template.parts().is_empty() {
        true => renderer.text("url", template, str::to_owned)?,
        false => renderer.text("url", template, |value| utf8_percent_encode(value, KEPT).to_string())?,
    };
    if text.len() > URL_BYTES_MAX {
        return Err(invalid(&format!("`url` has {} bytes; the limit is {URL_BYTES_MAX}", text.len())));
    }
    if has_hidden(&text) {
        return Err(invalid("`url` contains a space, a control character or a `\\`; percent-encode it"));
    }
    if climbs(&text) {
        return Err(invalid("`url` has a part `.` or `..`, which would leave the address of the connection"));
    }
    connection.below(&text).map_err(|why| attempt_failure(FailureKind::EgressDenied, format!("`url` {why}")))
}

/// Returns true if the whole text is one expression.
fn is_whole(template: &Template) -> bool {
    template.parts().iter().all(|part| part.sole_expression().is_some())
}

fn parse_url(text: &str) -> Result<Url, AttemptError> {
    if text.len() > URL_BYTES_MAX {
        return Err(invalid(&format!("`url` has {} bytes; the limit is {URL_BYTES_MAX}", text.len())));
    }
    // Parsers disagree on these: ours drops them or reads them as another character.
    if has_hidden(text) {
        return Err(invalid("`url` contains a space, a control character or a `\\`; percent-encode it"));
    }
    let mut url = Url::parse(text).map_err(|error| invalid(&format!("`url` is not a valid URL: {error}")))?;
    if !is_web(&url) {
        let message = "`url` must be http or https and must not contain a user name; send credentials in a header";
        return Err(invalid(message));
    }
    url.set_fragment(None);
    Ok(url)
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none()
}

fn has_hidden(text: &str) -> bool {
    text.contains(|character: char| character.is_control() || character.is_whitespace() || character == '\\')
}

/// Returns true if a segment of the path is `.` or `..`, also when written as `%2e`.
fn climbs(text: &str) -> bool {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    path.split('/').any(|part| {
        let part = part.to_ascii_lowercase().replace("%2e", ".");
        part == "." || part == ".."
    })
}

fn append_query(url: &mut Url, query: Vec<(String, Value)>) -> Result<(), AttemptError> {
    if query.is_empty() {
        return Ok(());
    }
    let mut pairs = url.query_pairs_mut();
    for (name, value) in query {
        let values = match value {
            Value::Array(values) => values,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => vec![value],
        };
        for value in values {
            if let Some(text) = scalar(&format!("query.{name}"), value)? {
                pairs.append_pair(&name, &text);
            }
        }
    }
    drop(pairs);
    if url.as_str().len() > URL_BYTES_MAX {
        return Err(invalid(&format!("`url` with its `query` has more than {URL_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn method(text: Option<&str>) -> Result<Method, AttemptError> {
    let text = text.unwrap_or("GET");
    match Method::from_bytes(text.to_ascii_uppercase().as_bytes()) {
        Ok(method) if method != Method::CONNECT && method != Method::TRACE => Ok(method),
        Ok(_) | Err(_) => Err(invalid(&format!("{} is not a valid HTTP method", quote(text, METHOD_SHOWN_BYTES_MAX)))),
    }
}

/// Renders the key that signs a request.
fn signing_of<'r>(signing: &'r RequestSigning, renderer: &mut Renderer<'r>) -> Result<(SigningScheme, Secret), AttemptError> {
    let key = renderer.scalar("sign.key", &signing.key)?.unwrap_or_default();
    Ok((signing.scheme, Secret::new(key.into_bytes())))
}

/// Returns the message for a request that cannot be signed.
fn unsigned_because(why: &SignatureRefusal) -> String {
    let why = match why {
        SignatureRefusal::ShortKey { bytes } => format!("its key has {bytes} bytes, but must have at least {KEY_BYTES_MIN}"),
        SignatureRefusal::MalformedKey { .. } => "its key is not `whsec_` and base64".to_owned(),
        SignatureRefusal::NoPrivateKey => "its key is a public key (`whpk_`), which cannot sign".to_owned(),
        other => other.to_string(),
    };
    format!("the request cannot be signed: {why}")
}

fn form(name: &str) -> Result<AnswerForm, AttemptError> {
    AnswerForm::ALL.into_iter().find(|form| form.as_str() == name).ok_or_else(|| {
        let names = AnswerForm::ALL.map(AnswerForm::as_str).join("`, `");
        invalid(&format!("`parse` is {}; use one of `{names}`", quote(name, METHOD_SHOWN_BYTES_MAX)))
    })
}

fn headers(given: Vec<(String, Value)>) -> Result<HeaderMap, AttemptError> {
    if given.len() > HEADERS_MAX {
        return Err(invalid(&format!("{} headers are given; the limit is {HEADERS_MAX}", given.len())));
    }
    let mut headers = HeaderMap::with_capacity(given.len() + 3);
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(&format!("{} is not a valid name for a header", quote(&name, NAME_SHOWN_BYTES_MAX))))?;
        if REFUSED_HEADERS.contains(&name.as_str()) {
            return Err(invalid(&format!("the header `{name}` belongs to the connection and cannot be set")));
        }
        let Some(text) = scalar(&format!("headers.{name}"), value)? else { continue };
        let mut value = HeaderValue::from_str(&text)
            .or_else(|error| if text.is_ascii() { Err(error) } else { HeaderValue::from_bytes(text.as_bytes()) })
            .map_err(|_| invalid(&format!("the header `{name}` contains a line break or another control character")))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

pub(super) fn invalid(message: &str) -> AttemptError {
    attempt_failure(FailureKind::ParametersInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer t0k3n"));
        headers.insert("x-api-key", HeaderValue::from_static("t0k3n"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/html"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let body = Some(Bytes::from_static(b"hello"));
        let shown = UrlVisibility { place: ShownPlace::Whole, query: true };
        Request {
            method: Method::POST,
            url: Url::parse(url).unwrap(),
            headers,
            body,
            shown,
            has_own_trace: false,
            form: None,
            text_decoding: TextDecoding::default(),
            signing: None,
        }
    }

    fn redirect(from: &str, status: u16, to: &str) -> Result<Option<Request>, String> {
        redirect_to_bytes(from, status, to.as_bytes())
    }

    fn redirect_to_bytes(from: &str, status: u16, to: &[u8]) -> Result<Option<Request>, String> {
        let mut answered = HeaderMap::new();
        answered.insert(LOCATION, HeaderValue::from_bytes(to).unwrap());
        let next = request(from).follow_redirect(StatusCode::from_u16(status).unwrap(), &answered);
        next.map_err(|broken| match broken {
            AttemptError::Failed(failed) => {
                assert_eq!(failed.failure.kind, FailureKind::RedirectInvalid);
                failed.failure.message
            }
            AttemptError::Cut(cut, _) => format!("{cut:?}"),
            AttemptError::Lost(_) => "lost".to_owned(),
        })
    }

    #[test]
    fn span_contains_no_secret_of_a_url() {
        let masks = Masks::of_values([("demo.token", b"sesame open+7".as_slice())]);
        let with = |url: &str, place: ShownPlace, query: bool| {
            let request = Request { shown: UrlVisibility { place, query }, ..request(url) };
            (request.url_shown(masks.as_deref()), request.server_shown(masks.as_deref()).map(|(host, port)| format!("{host}:{port}")))
        };
        let server = |host: &str| Some(host.to_owned());
        for (url, shown) in [
            ("https://a.example/x?page=2&q=a%20b", "https://a.example/x?page=2&q=a%20b"),
            ("https://a.example/x?sig=abc&page=2", "https://a.example/x?sig=REDACTED&page=2"),
            (
                "https://a.example/x?X-Amz-Signature=abc&Access%5FToken=d",
                "https://a.example/x?X-Amz-Signature=REDACTED&Access%5FToken=REDACTED",
            ),
            ("https://a.example/sesame%20open%2B7?to=sesame+open%2B7", "https://a.example/[redacted demo.token]?to=[redacted demo.token]"),
        ] {
            assert_eq!(with(url, ShownPlace::Whole, true), (shown.to_owned(), server("a.example:443")));
        }
        let hidden = with("https://a.example/x?page=2&flag", ShownPlace::Whole, false);
        assert_eq!(hidden.0, "https://a.example/x?page=REDACTED&REDACTED");
        let host = with("http://a.example:81/services/s3cret?x=1", ShownPlace::Host, true);
        assert_eq!(host, ("http://a.example:81/REDACTED".to_owned(), server("a.example:81")));
        assert_eq!(with("http://s3cret.example/s3cret", ShownPlace::Nothing, true), ("http://REDACTED/REDACTED".to_owned(), None));
        assert_eq!(with("http://[::1]:8080/", ShownPlace::Whole, true).1, server("::1:8080"));
    }

    #[test]
    fn request_propagates_its_trace_unless_it_declares_its_own() {
        const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace: TraceContext = format!("{TRACE} rojo=1").parse().unwrap();
        let mut sent = request("http://a.example/");
        sent.headers.insert(TRACESTATE, HeaderValue::from_static("mine=1"));
        sent.pass_on(&trace);
        assert_eq!(
            (&sent.headers[TRACEPARENT], &sent.headers[TRACESTATE]),
            (&HeaderValue::from_static(TRACE), &HeaderValue::from_static("rojo=1"))
        );
        let mut declared = Request { has_own_trace: true, ..request("http://a.example/") };
        declared.pass_on(&trace);
        assert!(!declared.headers.contains_key(TRACEPARENT) && !declared.headers.contains_key(TRACESTATE));
    }

    #[test]
    fn secrets_are_not_sent_to_another_server_after_a_redirect() {
        for to in ["https://b.example/", "https://a.example:8443/"] {
            let next = redirect("https://a.example/x", 307, to).unwrap().unwrap();
            assert!(!next.headers.contains_key("authorization") && !next.headers.contains_key("x-api-key"), "{to}");
            assert!(next.headers.contains_key(ACCEPT));
        }
        let same = redirect("https://a.example/x", 307, "/y").unwrap().unwrap();
        assert!(same.headers.contains_key("authorization"));
        assert_eq!(same.url.as_str(), "https://a.example/y");
    }

    #[test]
    fn redirect_keeps_or_drops_the_body_according_to_its_status() {
        for (status, method, has_body) in [
            (301, Method::GET, false),
            (302, Method::GET, false),
            (303, Method::GET, false),
            (307, Method::POST, true),
            (308, Method::POST, true),
        ] {
            let next = redirect("http://a.example/", status, "/y").unwrap().unwrap();
            assert_eq!((next.method, next.body.is_some()), (method, has_body), "{status}");
        }
    }

    #[test]
    fn only_a_post_becomes_a_get_unless_the_server_says_see_other() {
        for (method, status, then) in [
            (Method::PUT, 301, Method::PUT),
            (Method::PUT, 302, Method::PUT),
            (Method::DELETE, 302, Method::DELETE),
            (Method::HEAD, 302, Method::HEAD),
            (Method::PUT, 303, Method::GET),
            (Method::HEAD, 303, Method::HEAD),
            (Method::DELETE, 307, Method::DELETE),
        ] {
            let answered = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static("/y"))]);
            let request = Request { method: method.clone(), ..request("http://a.example/") };
            let has_body = then != Method::GET;
            let Ok(Some(next)) = request.follow_redirect(StatusCode::from_u16(status).unwrap(), &answered) else {
                panic!("{method} {status}")
            };
            assert_eq!((next.method, next.body.is_some()), (then, has_body), "{method} {status}");
        }
    }

    #[test]
    fn redirect_that_is_not_escaped_is_followed() {
        for (to, then) in [
            ("/ö".as_bytes(), "http://a.example/%C3%B6"),
            (b"/\xf6?q=\xf6", "http://a.example/%F6?q=%F6"),
            (b"/a b?c=d e#f", "http://a.example/a%20b?c=d%20e"),
            (b" /y ", "http://a.example/y"),
            (b"//B.example/%C3%B6", "http://b.example/%C3%B6"),
            ("http://bücher.example/".as_bytes(), "http://xn--bcher-kva.example/"),
            (b"?page=2", "http://a.example/x?page=2"),
        ] {
            let next = redirect_to_bytes("http://a.example/x", 302, to).unwrap().unwrap();
            assert_eq!(next.url.as_str(), then, "{}", to.escape_ascii());
        }
    }

    #[test]
    fn redirect_to_no_url_is_invalid() {
        for to in [b"http://".as_slice(), b"http://[/", b"/a\tb", b"\\\\b.example", b"http://\xf6.example/", b"http://a.example:99999/"] {
            let message = redirect_to_bytes("http://a.example/", 302, to).err().unwrap();
            assert!(message.starts_with("`a.example:80` redirected to a"), "{}: {message}", to.escape_ascii());
        }
        assert!(redirect("http://a.example/", 302, &format!("/{}", "a".repeat(URL_BYTES_MAX))).is_err());
    }

    #[test]
    fn redirect_to_a_non_web_scheme_is_invalid() {
        assert!(redirect("https://a.example/", 302, "http://a.example/").is_err());
        for to in ["file:///etc/passwd", "gopher://x/", "http://user@b.example/", "http://b.example\\@c", "ftp://a/"] {
            assert!(redirect("http://a.example/", 302, to).is_err(), "{to}");
        }
    }

    #[test]
    fn answer_without_a_location_is_not_followed() {
        assert!(request("http://a.example/").follow_redirect(StatusCode::FOUND, &HeaderMap::new()).is_ok_and(|next| next.is_none()));
        assert!(redirect("http://a.example/", 304, "/y").unwrap().is_none());
        assert!(redirect("http://a.example/", 201, "/y").unwrap().is_none());
    }

    #[test]
    fn ambiguous_url_is_rejected() {
        for text in [
            "http://ok.com@127.0.0.1/",
            "http://ok.com\\@127.0.0.1",
            "http://ok.com/\t",
            "http://ok\n.com/",
            "http://a%00b/",
            "file:///etc/passwd",
            "gopher://x/",
            "ftp://x/",
            "unix:/x",
            "//x/",
            "/x",
            "",
            "http://",
            "javascript:1",
        ] {
            assert!(parse_url(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_url("http://127.0.0.1#@ok.com").map(|url| url.host_str().map(str::to_owned)).ok(), Some(Some("127.0.0.1".into())));
    }

    #[test]
    fn line_breaks_are_rejected_in_headers_and_method() {
        let given = |name: &str, value: &str| vec![(name.to_owned(), Value::from(value))];
        assert!(headers(given("x", "a\r\nHost: x")).is_err());
        assert!(headers(given("x\r\ny", "a")).is_err());
        assert!(headers(given("Host", "a")).is_err());
        assert!(headers(given("Transfer-Encoding", "chunked")).is_err());
        assert!(headers(given("x", "gr\u{fc}n")).is_ok());
        for text in ["GET / HTTP/1.1\r\n", "", "G T", "CONNECT", "trace"] {
            assert!(method(Some(text)).is_err(), "{text:?}");
        }
        assert_eq!(method(Some("patch")).ok(), Some(Method::PATCH));
        assert_eq!(method(None).ok(), Some(Method::GET));
    }

    #[test]
    fn path_traversal_is_detected_in_every_spelling() {
        for text in ["http://a/x/../y", "http://a/.", "http://a/%2E%2e/y", "http://a/.%2e"] {
            assert!(climbs(text), "{text}");
        }
        for text in ["http://a/x..y/...", "http://a/?q=../x"] {
            assert!(!climbs(text), "{text}");
        }
    }
}
