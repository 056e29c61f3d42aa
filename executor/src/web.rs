//! The web: the port through which the runner `http` reaches a server, sends it a request, and receives the
//! answer, and the runner `mail` connects to a server.
//!
//! This module does not say who sends requests: [`Destinations`](crate::Destinations) sends real ones where
//! the operator allows it, and a simulator has a world of its own. It follows no redirects and does not
//! convert an answer to a result.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use crate::programs::Pending;

/// Sends requests.
pub trait Web: Send + Sync {
    /// Returns the way to a URL's server, after checking that requests may go there. Nothing outside the node
    /// is touched except that a name is resolved, so the attempt need not have begun.
    fn way<'a>(&'a self, to: &'a Url) -> Pending<'a, Result<Box<dyn HttpTransport>, NoWay>>;

    /// Returns the line to a server that does not speak HTTP, after the same check. A web without such servers has none.
    fn line<'a>(&'a self, host: &'a str, port: u16) -> Pending<'a, Result<Box<dyn Line>, NoWay>> {
        let _ = (host, port);
        Box::pin(std::future::ready(Err(NoWay::Unreachable("cannot be reached: only HTTP is available here".to_owned()))))
    }
}

/// The way to one server.
pub trait HttpTransport: Send + Sync {
    /// Sends a request and waits for the head of its answer. The attempt was recorded as begun before. If
    /// dropped while waiting, the server may have received the request even so.
    fn send(&self, letter: Letter) -> Pending<'_, Result<HttpAnswer, BrokenOff>>;
}

/// A request with everything rendered. It holds secrets, so it has no `Debug`.
pub struct Letter {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// The headers, except those that belong to the connection.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Bytes>,
}

/// An answer whose head has arrived.
pub struct HttpAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Box<dyn AnsweredBody>,
}

/// The body of an answer, as it arrives.
pub trait AnsweredBody: Send {
    /// Returns the next piece, or none at the end.
    fn piece(&mut self) -> Pending<'_, Result<Option<Bytes>, BrokenOff>>;
}

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The way to one server, whose addresses were checked.
pub trait Line: Send + Sync {
    /// Connects. The attempt was recorded as begun before.
    fn open(&self) -> Pending<'_, Result<Box<dyn Stream>, BrokenOff>>;

    /// Encrypts a connection by TLS, and verifies that the server's certificate has its name. `authority` is the
    /// certificate, as PEM, of the authority to trust instead of those that the machine trusts.
    fn encrypt<'a>(&'a self, stream: Box<dyn Stream>, authority: Option<&'a str>) -> Pending<'a, Result<Box<dyn Stream>, BrokenOff>>;
}

/// Why a server cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoWay {
    /// It may not be reached.
    #[error("is not an allowed destination; an operator can allow it under `egress.allow`")]
    Denied,
    /// It cannot be reached.
    #[error("{0}")]
    Unreachable(String),
}

/// Why an exchange broke off, without the URL, which may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BrokenOff(pub String);
