//! The port through which keys, metadata and tokens of issuers are requested.
//!
//! This crate has no HTTP client. The node implements [`Fetch`] with the client that also guards where
//! actions may connect.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ensue_engine::ports::Secret;
use thiserror::Error;
use url::Url;

/// The maximum size of a response or of a file of keys, in bytes.
pub const FETCH_BYTES_MAX: usize = 256 * 1024;
/// How long a request may take, from its start until the last byte.
pub const FETCH_TIME_MAX: Duration = Duration::from_secs(5);

/// Sends requests to issuers.
pub trait Fetch: Send + Sync {
    /// Sends a request and returns the response, whatever its status.
    ///
    /// An implementation connects to a private address only if the operator named the host. It follows no redirect, and
    /// accepts only certificates that are valid for the host under [`Request::ca`] or, without it, under the
    /// authorities that the machine trusts.
    ///
    /// # Errors
    /// If the egress rules deny the host, or it does not answer within [`FETCH_TIME_MAX`] and [`FETCH_BYTES_MAX`].
    fn fetch(&self, request: &Request) -> Result<Response, FetchError>;

    /// Reads a file of keys.
    ///
    /// # Errors
    /// If it cannot be read, or is longer than [`FETCH_BYTES_MAX`].
    fn read(&self, file: &Path) -> Result<Vec<u8>, FetchError>;
}

/// A request to an issuer.
pub struct Request {
    /// Where to.
    pub url: Url,
    /// Who named its host.
    pub host_by: HostBy,
    /// What to do there.
    pub method: Method,
    /// A file of certificates of the authorities that are trusted instead of those of the machine.
    pub ca: Option<PathBuf>,
}

/// Who named the host of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostBy {
    /// The operator, in the settings of the issuer.
    Operator,
    /// The issuer, in its discovery document.
    Issuer,
}

/// The method of a request.
pub enum Method {
    /// A GET that accepts JSON.
    Get,
    /// A POST of a form that accepts JSON.
    Post {
        /// The form, as `application/x-www-form-urlencoded`.
        form: Secret,
        /// The value of the header `Authorization`, if the client authenticates with it.
        authorization: Option<Secret>,
    },
}

/// A response of an issuer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The value of the header `Cache-Control`, if there is one.
    pub cache_control: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the number of seconds of `max-age`, or 0 for `no-store` and `no-cache`.
    pub(crate) fn max_age(&self) -> Option<u64> {
        let directives = self.cache_control.as_deref()?.split(',').map(str::trim);
        directives.fold(None, |age, directive| {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => Some(0),
                "max-age" if age.is_none() => value.trim().trim_matches('"').parse().ok(),
                _ => age,
            }
        })
    }
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// There was no connection, or it ended early.
    #[error("{0}")]
    Unreachable(String),
    /// It took longer than [`FETCH_TIME_MAX`].
    #[error("there was no complete response within {} s", FETCH_TIME_MAX.as_secs())]
    Timeout,
    /// The issuer named a host to which the node does not connect.
    #[error("`{host}` is not an allowed destination; an operator can allow it under `egress.allow`")]
    Denied {
        /// The host.
        host: String,
    },
    /// The response is too long.
    #[error("the response is longer than {FETCH_BYTES_MAX} bytes")]
    TooLarge,
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_is_read_from_the_directives() {
        let age = |text: &str| Response { status: 200, cache_control: Some(text.to_owned()), body: Vec::new() }.max_age();
        assert_eq!(age("public, max-age=600"), Some(600));
        assert_eq!(age("Max-Age = \"60\", must-revalidate"), Some(60));
        assert_eq!(age("max-age=600, no-cache"), Some(0));
        assert_eq!(age("no-store"), Some(0));
        for nothing in ["", "public", "max-age", "max-age=", "max-age=-1", "max-age=soon", "s-maxage=5"] {
            assert_eq!(age(nothing), None, "{nothing}");
        }
    }
}
