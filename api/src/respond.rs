//! Successful answers: JSON, and the headers of a write.
//!
//! Errors are in `problem.rs`.

use axum::BoxError;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use ensue_engine::record::Position;
use futures_util::Stream;
use serde::Serialize;

use crate::context::ENSUE_POSITION;
use crate::problem::Problem;

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// It is done.
    Done,
    /// A resource was created.
    Created,
    /// It was accepted, and continues.
    Accepted,
}

/// Serializes a value in the format of all answers.
pub(crate) fn bytes(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|why| Problem::bug(&why))
}

/// Answers with a value.
pub(crate) fn json(value: &impl Serialize) -> Result<Response<Body>, Problem> {
    let mut response = Response::new(Body::from(bytes(value)?));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Answers a write with a value, and with the position at which the write is visible.
pub(crate) fn answer_write(how: WriteOutcome, position: Position, value: &impl Serialize) -> Result<Response<Body>, Problem> {
    let mut response = json(value)?;
    *response.status_mut() = match how {
        WriteOutcome::Done => StatusCode::OK,
        WriteOutcome::Created => StatusCode::CREATED,
        WriteOutcome::Accepted => StatusCode::ACCEPTED,
    };
    response.headers_mut().insert(ENSUE_POSITION, HeaderValue::from(position.0));
    Ok(response)
}

/// Answers a write that has nothing to return.
pub(crate) fn no_content(position: Position) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ENSUE_POSITION, HeaderValue::from(position.0));
    response
}

/// Answers a dry run: the command would succeed, and nothing was changed.
pub(crate) fn dry_run() -> Response<Body> {
    nothing()
}

/// Answers with no content.
pub(crate) fn nothing() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Adds the path at which a resource that was created, or is in progress, can be read.
pub(crate) fn with_location(mut response: Response<Body>, path: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// Answers with chunks as they arrive.
pub(crate) fn stream<E: Into<BoxError> + Send + 'static>(
    chunks: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    content_type: &'static str,
) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Answers that work continues in the background.
pub(crate) fn under_way(value: &impl Serialize) -> Result<Response<Body>, Problem> {
    let mut response = json(value)?;
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reachable {
    /// Send requests here.
    Yes,
    /// Send them elsewhere.
    NotNow,
}

/// Answers a probe: load balancers look at the status alone.
pub(crate) fn probe(reachable: Reachable, value: &impl Serialize) -> Result<Response<Body>, Problem> {
    let mut response = json(value)?;
    if reachable == Reachable::NotNow {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}
