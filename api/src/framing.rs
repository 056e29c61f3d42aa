//! Requests whose end or whose addressee a proxy in front may take for another than we do: they are refused, and their connection is
//! closed, so that nobody smuggles a second request behind a first (RFC 9112 §11.2).
//!
//! What the parser cannot read at all it refuses itself; of two lengths it keeps the chunks, and closes the connection (RFC 9112 §6.1).

use axum::http::{HeaderMap, Version, header};
use ensue_engine::explain::{Explain, Fault};
use thiserror::Error;

/// How a request can be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Ambiguous {
    /// Its body is coded in a way that is not ours.
    #[error("the request's `transfer-encoding` is something else than `chunked`")]
    Coding,
    /// It names no host, or several (RFC 9112 §3.2).
    #[error("a request has exactly one `host`")]
    Host,
}

impl Explain for Ambiguous {
    fn slug(&self) -> &'static str {
        "request-ambiguous"
    }

    fn fault(&self) -> Fault {
        Fault::Malformed
    }

    fn hint(&self) -> Option<String> {
        Some("send one `host`, and a body with its `content-length` or with `transfer-encoding: chunked`".into())
    }
}

/// Demands that the head of a request can be read in one way only.
pub(crate) fn demand_clear(version: Version, headers: &HeaderMap) -> Result<(), Ambiguous> {
    let count = |name| headers.get_all(name).iter().count();
    let hosts = count(header::HOST);
    if hosts > 1 || (hosts == 0 && version >= Version::HTTP_11) {
        return Err(Ambiguous::Host);
    }
    let Some(coding) = headers.get(header::TRANSFER_ENCODING) else { return Ok(()) };
    let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && count(header::TRANSFER_ENCODING) == 1;
    if is_chunked { Ok(()) } else { Err(Ambiguous::Coding) }
}
