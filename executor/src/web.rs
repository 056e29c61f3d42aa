//! The web: the port through which the runner `http` finds the way to a server, sends it a request, and hears the answer.
//!
//! It does not say who carries requests: [`Destinations`](crate::Destinations) sends real ones where the operator lets them go, and a
//! simulator has a world of its own. It follows no redirect and makes no result of an answer.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use thiserror::Error;
use url::Url;

use crate::programs::Pending;

/// What requests go out to.
pub trait Web: Send + Sync {
    /// Finds the way to a URL's server, after it was checked that requests may go there. Nothing outward happens but that a name is
    /// looked up: the attempt need not have begun.
    fn way<'a>(&'a self, to: &'a Url) -> Pending<'a, Result<Box<dyn Way>, NoWay>>;
}

/// The way to one server.
pub trait Way: Send + Sync {
    /// Sends a request and waits for the head of its answer. The attempt was noted as begun before. Dropped while it waits, it waits no
    /// longer, and the server may have heard the request all the same.
    fn send(&self, letter: Letter) -> Pending<'_, Result<Answered, BrokenOff>>;
}

/// A request, with all that is rendered. It holds secrets, so it has no `Debug`.
pub struct Letter {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// The headers, but for those that belong to the connection.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Bytes>,
}

/// An answer whose head has come.
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Box<dyn AnsweredBody>,
}

/// The body of an answer, as it comes.
pub trait AnsweredBody: Send {
    /// Gives the next piece; none at the end.
    fn piece(&mut self) -> Pending<'_, Result<Option<Bytes>, BrokenOff>>;
}

/// Why there is no way to a server.
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

/// An exchange broke off: why, without the URL, which may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BrokenOff(pub String);
