//! Problems (RFC 9457): the form of every error that a caller sees. HTTP statuses are chosen only in this
//! file.
//!
//! It raises no errors: the code that fails says what went wrong, who has to act, and what to do next.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use ensue_engine::access::quota::QuotaExceeded;
use ensue_engine::catalog::Misfit;
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ids::IdentityId;
use ensue_engine::record::{Actor, Position};
use ensue_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use crate::context::RequestContext;
use crate::pages;
use crate::ports::PortError;
use crate::rate::Rate;
use crate::shapes;

/// The result of a handler.
pub(crate) type Outcome = Result<Response<Body>, Problem>;

/// The `Retry-After` in seconds if too many requests are in progress.
const RETRY_BUSY_SECONDS: u32 = 1;
/// The `Retry-After` in seconds if the node is unavailable.
const RETRY_UNAVAILABLE_SECONDS: u32 = 5;
/// The maximum number of characters of input that an error repeats.
const QUOTED_CHARS_MAX: usize = 80;

/// The maximum number of errors reported together.
const ERRORS_MAX: usize = 100;

/// Errors of the stores: their messages name files and statements, so they go to the node's log and not to a
/// caller.
const OF_THE_STORES: &[&str] = &[
    "log-unavailable",
    "log-unreadable",
    "log-index-damaged",
    "views-unavailable",
    "views-damaged",
    "output-unavailable",
    "artifact-unavailable",
    "vault-unavailable",
];

/// An error to be sent to a caller.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    slug: &'static str,
    status: StatusCode,
    detail: Option<Box<str>>,
    hint: Option<Box<str>>,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u32>,
    /// The total size in bytes, if a range was requested that does not exist.
    size: Option<u64>,
    /// The quota that the request would exceed.
    exceeded: Option<Box<QuotaExceeded>>,
    /// What is recorded of it, if it rejects a caller.
    refused: Option<Box<RecordedRefusal>>,
}

/// What was refused to a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordedRefusal {
    /// A request, because the caller lacks a permission.
    Request {
        /// The caller.
        caller: Actor,
        /// The permission.
        permission: &'static str,
    },
    /// A token.
    Token {
        /// The identity that holds it, if it was accepted once.
        identity: Option<IdentityId>,
    },
    /// A client certificate.
    Certificate,
    /// A login with a password.
    Password {
        /// The identity that has the name, if there is one.
        identity: Option<IdentityId>,
    },
}

/// One error in the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct FieldError {
    /// The place, as a JSON Pointer; empty for the whole.
    pub(crate) pointer: String,
    /// What is wrong there.
    pub(crate) message: String,
}

impl From<Misfit> for FieldError {
    fn from(misfit: Misfit) -> Self {
        Self { pointer: misfit.pointer, message: misfit.message }
    }
}

/// A problem (RFC 9457).
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireProblem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[schemars(with = "shapes::ProblemCode")]
    code: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    /// Only with `quota_exceeded`: the quota, `events_per_day`, `executions_per_hour` or `concurrent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<&'static str>,
    /// Only with `quota_exceeded`: the limit of the caller's tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// Only with `quota_exceeded`: how much of it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u64>,
    /// Only with `quota_exceeded`: when it is counted from 0 again; null if that is not a matter of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<shapes::Timestamp>")]
    resets_at: Option<Option<Timestamp>>,
    request_id: &'a str,
}

impl Problem {
    /// Creates a problem from an explained error. For an internal error, it only says that there is one; the
    /// log has the details.
    pub(crate) fn of(why: &(impl Explain + ?Sized)) -> Self {
        let fault = why.fault();
        if fault == Fault::Bug {
            return Self::bug(&why);
        }
        let exceeded = why.source().and_then(|source| source.downcast_ref::<QuotaExceeded>());
        let is_ours = OF_THE_STORES.contains(&why.slug());
        if is_ours {
            tracing::error!(error = %why, "a store failed");
        }
        Self {
            slug: why.slug(),
            status: status_of(fault, why.slug()),
            detail: (!is_ours).then(|| why.to_string().into()),
            hint: why.hint().map(Into::into),
            errors: Vec::new(),
            retry_after_seconds: match exceeded {
                Some(exceeded) => Some(u32::try_from(exceeded.retry_after_seconds).unwrap_or(u32::MAX)),
                None => retry_after_seconds(fault),
            },
            size: None,
            exceeded: exceeded.cloned().map(Box::new),
            refused: None,
        }
    }

    /// An internal error, or a store that failed: the caller gets the request's id, the log has the details.
    pub(crate) fn bug(why: &(impl fmt::Display + ?Sized)) -> Self {
        tracing::error!(error = %why, "a request failed for an internal reason");
        Self::bare("internal-error", StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The path does not support the method; the router adds `Allow`.
    pub(crate) fn method_not_allowed(method: &axum::http::Method) -> Self {
        Self::bare("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED)
            .with_detail(format!("this path does not support the method `{}`", quote(method.as_str())))
            .with_hint("use one of the methods in the header `Allow`")
    }

    /// The caller accepts none of the path's media types.
    pub(crate) fn not_acceptable(given: &str) -> Self {
        Self::bare("not-acceptable", StatusCode::NOT_ACCEPTABLE)
            .with_detail(format!("`Accept` does not include {given}, which this path returns"))
            .with_hint("leave `Accept` out, or add the media type that this path returns")
    }

    /// The path does not accept the body's media type.
    pub(crate) fn unsupported_media_type(given: &str, wanted: &str) -> Self {
        Self::bare(UNSUPPORTED_MEDIA_TYPE, StatusCode::UNSUPPORTED_MEDIA_TYPE)
            .with_detail(format!("the body is {given}, but this path accepts {wanted}"))
            .with_hint(format!("send {wanted} without compression"))
    }

    /// Path and query are too long.
    pub(crate) fn target_too_long(bytes_max: usize) -> Self {
        Self::bare("target-too-long", StatusCode::URI_TOO_LONG)
            .with_detail(format!("path and query together are longer than {bytes_max} bytes"))
            .with_hint("narrow the filters, or send long values in a body")
    }

    /// The headers are too large.
    pub(crate) fn headers_too_large(bytes_max: usize) -> Self {
        Self::bare("headers-too-large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            .with_detail(format!("the headers together are larger than {bytes_max} bytes"))
            .with_hint("leave out cookies and other headers that this node does not read")
    }

    /// The body did not arrive in time.
    pub(crate) fn body_timeout(seconds: u64) -> Self {
        Self::bare("body-timeout", StatusCode::REQUEST_TIMEOUT)
            .with_detail(format!("the body did not arrive within {seconds} seconds"))
            .with_hint("send the complete request again without pauses")
    }

    /// The file does not have the requested range.
    pub(crate) fn range_not_satisfiable(size: u64) -> Self {
        let mut problem = Self::bare("range-not-satisfiable", StatusCode::RANGE_NOT_SATISFIABLE)
            .with_detail(format!("the file has {size} bytes, and none of them are in the range that `Range` asks for"))
            .with_hint("ask for a part that exists, or leave `Range` out to get the whole file");
        problem.size = Some(size);
        problem
    }

    /// The caller is over its rate limit.
    pub(crate) fn rate_limited(class: &str, rate: &Rate, free_in_seconds: u32) -> Self {
        let mut problem = Self::bare("rate-limited", StatusCode::TOO_MANY_REQUESTS)
            .with_detail(format!("too many requests of the class `{class}`: the limit for each caller is {rate}"))
            .with_hint(format!(
                "send it again in {free_in_seconds} s; the header `RateLimit` of each answer shows how many requests are left"
            ));
        problem.retry_after_seconds = Some(free_in_seconds);
        problem
    }

    /// The caller typed too many wrong codes.
    pub(crate) fn too_many_codes(free_in: Duration) -> Self {
        let seconds = u32::try_from(free_in.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let mut problem = Self::bare("rate-limited", StatusCode::TOO_MANY_REQUESTS)
            .with_detail("too many wrong codes were typed".to_owned())
            .with_hint(format!("try again in {seconds} s"));
        problem.retry_after_seconds = Some(seconds);
        problem
    }

    /// The read models have not reached the position that the caller has seen.
    pub(crate) fn view_behind(wanted: u64, reached: u64) -> Self {
        let mut problem = Self::bare("view-behind", StatusCode::SERVICE_UNAVAILABLE)
            .with_detail(format!("position {wanted} was requested, but the read models have only reached {reached}"))
            .with_hint("try again in a second; if the problem persists, run `ensue doctor` to see the cause");
        problem.retry_after_seconds = Some(RETRY_BUSY_SECONDS);
        problem
    }

    fn bare(slug: &'static str, status: StatusCode) -> Self {
        Self {
            slug,
            status,
            detail: None,
            hint: None,
            errors: Vec::new(),
            retry_after_seconds: None,
            size: None,
            exceeded: None,
            refused: None,
        }
    }

    fn with_detail(self, detail: String) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    fn with_hint(self, hint: impl Into<Box<str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds when to try again.
    pub(crate) fn retry_after(self, period: Duration) -> Self {
        Self { retry_after_seconds: Some(u32::try_from(period.as_secs()).unwrap_or(u32::MAX).max(1)), ..self }
    }

    /// Adds what is recorded of it.
    pub(crate) fn refusing(self, refused: RecordedRefusal) -> Self {
        Self { refused: Some(Box::new(refused)), ..self }
    }

    /// Returns what is recorded of it.
    pub(crate) fn refusal(&self) -> Option<&RecordedRefusal> {
        self.refused.as_deref()
    }

    /// Adds the errors in the input.
    pub(crate) fn with_errors(self, errors: impl IntoIterator<Item = impl Into<FieldError>>) -> Self {
        Self { errors: errors.into_iter().map(Into::into).collect(), ..self }
    }

    /// Adds the errors in other parts of the input.
    pub(crate) fn with_errors_of(mut self, other: Self) -> Self {
        let room = ERRORS_MAX.saturating_sub(self.errors.len());
        self.errors.extend(other.errors.into_iter().take(room));
        self
    }

    /// Creates a problem from a port's rejection; `place` maps a part of the port's input to its place in the
    /// body.
    pub(crate) fn from_port(declined: PortError, place: impl Fn(&str) -> String) -> Self {
        let PortError { why, misfits } = declined;
        let errors = misfits.into_iter().map(|misfit| FieldError { pointer: place(&misfit.pointer), message: misfit.message });
        Self::of(&*why).with_errors(errors)
    }

    /// Returns the stable name of the problem, in `snake_case`.
    pub(crate) fn code(&self) -> String {
        self.slug.replace('-', "_")
    }

    /// Returns its HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the hint.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the errors in the input.
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Returns what went wrong, as text for people.
    pub(crate) fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Writes the answer: the body, and the headers that belong to the problem itself.
    pub(crate) fn render(&self, context: &RequestContext, instance: &str) -> Response<Body> {
        let body = WireProblem {
            r#type: format!("{}/{}", pages::PREFIX, self.slug),
            title: pages::title(self.slug),
            status: self.status.as_u16(),
            detail: self.detail.as_deref(),
            // An internal error is answered with its request id and nothing else.
            instance: (self.status != StatusCode::INTERNAL_SERVER_ERROR).then_some(instance),
            code: self.code(),
            errors: &self.errors,
            hint: self.hint.as_deref(),
            what: self.exceeded.as_ref().map(|exceeded| exceeded.what.as_str()),
            limit: self.exceeded.as_ref().map(|exceeded| exceeded.limit),
            used: self.exceeded.as_ref().map(|exceeded| exceeded.used),
            resets_at: self.exceeded.as_ref().map(|exceeded| exceeded.resets_at),
            request_id: context.request_id(),
        };
        let body = serde_json::to_vec(&body).expect("texts, numbers and lists always have a JSON form");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // A webhook delivery authenticates with its signature, everything else with a token.
        let scheme = match self.slug {
            _ if instance.starts_with("/hooks/") => "Signature realm=\"hook\"",
            // The challenge to a request without a token names no error (RFC 6750 §3.1).
            "token-invalid" => "Bearer realm=\"ensue\", error=\"invalid_token\"",
            _ => "Bearer realm=\"ensue\"",
        };
        self.write_headers(headers, scheme);
        response
    }

    /// Writes the headers that belong to the problem itself. `scheme` is how the caller would authenticate.
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap, scheme: &'static str) {
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(size) = self.size
            && let Ok(none_of_it) = HeaderValue::from_str(&format!("bytes */{size}"))
        {
            headers.insert(header::CONTENT_RANGE, none_of_it);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
    }
}

impl<E: Explain> From<E> for Problem {
    fn from(why: E) -> Self {
        Self::of(&why)
    }
}

impl From<PortError> for Problem {
    fn from(declined: PortError) -> Self {
        Self::of(&*declined.why).with_errors(declined.misfits)
    }
}

/// Inside the router a problem travels as an extension: the layer around the router knows the request and
/// writes it.
impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

const PRECONDITION_FAILED: &str = "precondition-failed";
const DIGEST_REQUIRED: &str = "digest-required";
const OVER_SHARE: &str = "over-share";
const UNSUPPORTED_MEDIA_TYPE: &str = "unsupported-media-type";

fn status_of(fault: Fault, slug: &str) -> StatusCode {
    match fault {
        // HTTP has specific statuses for these kinds of malformed input.
        Fault::Malformed if slug == UNSUPPORTED_MEDIA_TYPE => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Fault::Malformed if slug == "expectation-unknown" => StatusCode::EXPECTATION_FAILED,
        Fault::Malformed if slug == "host-unknown" => StatusCode::MISDIRECTED_REQUEST,
        Fault::Malformed => StatusCode::BAD_REQUEST,
        Fault::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Fault::Unauthenticated => StatusCode::UNAUTHORIZED,
        Fault::Forbidden => StatusCode::FORBIDDEN,
        // It existed, and its removal is not a secret.
        Fault::Missing if matches!(slug, "output-removed" | "artifact-removed" | "link-expired" | "catalog-gone") => StatusCode::GONE,
        Fault::Missing => StatusCode::NOT_FOUND,
        // HTTP has a specific status for a condition of the caller's own.
        Fault::Conflict if slug == PRECONDITION_FAILED => StatusCode::PRECONDITION_FAILED,
        Fault::Conflict if slug == DIGEST_REQUIRED => StatusCode::PRECONDITION_REQUIRED,
        Fault::Conflict => StatusCode::CONFLICT,
        Fault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        // Only this caller is over its share; 503 would mean that nobody can be served.
        Fault::Busy if matches!(slug, OVER_SHARE | "too-many-connections" | "login-throttled" | "quota-exceeded") => {
            StatusCode::TOO_MANY_REQUESTS
        }
        Fault::Busy | Fault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Fault::World => StatusCode::BAD_GATEWAY,
        Fault::Bug => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn retry_after_seconds(fault: Fault) -> Option<u32> {
    match fault {
        Fault::Busy => Some(RETRY_BUSY_SECONDS),
        Fault::Unavailable => Some(RETRY_UNAVAILABLE_SECONDS),
        _ => None,
    }
}

/// A resource that does not exist, or whose existence is hidden from the caller.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[error("there is no {noun} `{name}`")]
#[explain(slug = "not-found", fault = Missing,
    hint = "check the spelling against the list of existing names; new ones may take a moment to appear")]
pub(crate) struct Missing {
    noun: &'static str,
    name: String,
}

impl Missing {
    /// Creates it with the name that the caller used.
    pub(crate) fn new(noun: &'static str, name: &str) -> Self {
        Self { noun, name: quote(name) }
    }
}

/// A resource that existed, and that the retention removed from the views.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[explain(slug = "not-found", fault = Missing,
    hint = format!("read its records with `ensue log --after {}`; `ensue replay` can still replay an execution", from.0.saturating_sub(1)))]
#[error(
    "{missing} in the views: it ended long ago and was removed because of the setting `retention`; the log still has it, from position {from} on"
)]
pub(crate) struct LeftViews {
    /// The missing resource.
    pub(crate) missing: Missing,
    /// Its first record.
    pub(crate) from: Position,
}

/// A path that the API does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("there is nothing at this path")]
#[explain(slug = "no-such-path", fault = Missing,
    hint = "use a path that begins with `/api/v1/`, is in lower case, and does not end with a slash")]
pub(crate) struct NoSuchPath;

/// Shortens input to the length that an error can repeat.
pub(crate) fn quote(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(QUOTED_CHARS_MAX).collect()
}
