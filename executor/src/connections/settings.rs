//! The settings of connections, parsed. The node reads them from `ensue.yaml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ensue_engine::catalog::ConnectionKind;
use ensue_engine::names::{KeyRef, PackName};
use reqwest::header::{HeaderMap, HeaderName};
use url::Url;

/// A connection as the operator declares it.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// Where it leads, and how.
    pub endpoint: Endpoint,
    /// The only packs that may use it; `None` if every pack that lists it may.
    pub packs: Option<BTreeSet<PackName>>,
    /// How many uses there may be at once.
    pub max: usize,
    /// When its circuit breaker opens.
    pub breaker: BreakerSettings,
}

/// When a circuit breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// How many failures in a row open it.
    pub failures: u32,
    /// How long it stays open.
    pub open_for: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(30) }
    }
}

/// Where a connection leads, by its kind.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// A server that speaks HTTP.
    Http(Box<HttpEndpoint>),
    /// A server that takes mail.
    Smtp(Box<SmtpEndpoint>),
}

/// A server that speaks HTTP.
#[derive(Clone, Debug)]
pub struct HttpEndpoint {
    /// The address below which all requests go. It has no credentials, query or fragment.
    pub url: Url,
    /// How requests prove who sends them.
    pub auth: HttpAuth,
    /// Headers of each request that does not set them itself.
    pub headers: HeaderMap,
    /// The file of the authorities that are trusted instead of those of the machine.
    pub ca: Option<PathBuf>,
    /// The time limit of an exchange.
    pub timeout: Duration,
    /// How long to wait for a socket.
    pub connect_timeout: Duration,
    /// The path below the address that a test requests; without it, the address itself.
    pub test_path: Option<String>,
}

/// How requests prove who sends them.
#[derive(Clone, Debug)]
pub enum HttpAuth {
    /// They do not.
    None,
    /// `Authorization: Bearer <key>`.
    Bearer(KeyRef),
    /// `Authorization: Basic <user:key>`.
    Basic {
        /// The user.
        user: String,
        /// The key with the password.
        password: KeyRef,
    },
    /// A header with a key.
    Header {
        /// Its name.
        name: HeaderName,
        /// The text before the value.
        prefix: String,
        /// The key with its value.
        value: KeyRef,
    },
    /// A field of the JSON object that is the body of each request.
    JsonField {
        /// Its name.
        name: String,
        /// The key with its value.
        value: KeyRef,
    },
    /// `Authorization: Bearer <token>`, with a token that the node gets from another server.
    OAuth2(Box<OAuthClient>),
}

/// A client that gets tokens with its own credentials (RFC 6749, section 4.4).
#[derive(Clone, Debug)]
pub struct OAuthClient {
    /// The address of the server that issues tokens.
    pub token_url: Url,
    /// The name of the client.
    pub client_id: String,
    /// The key with its secret.
    pub client_secret: KeyRef,
    /// The scopes to ask for.
    pub scopes: Vec<String>,
    /// The audience to ask for, as some servers need it.
    pub audience: Option<String>,
}

/// A server that takes mail.
#[derive(Clone, Debug)]
pub struct SmtpEndpoint {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When TLS begins.
    pub tls: SmtpTls,
    /// The user and the key with the password; none if the server asks for none.
    pub login: Option<(String, KeyRef)>,
    /// The file of the authorities that are trusted instead of those of the machine.
    pub ca: Option<PathBuf>,
    /// The time limit of an exchange.
    pub timeout: Duration,
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// With the first byte.
    Implicit,
    /// With the command `STARTTLS`, without which the connection is not used.
    StartTls,
    /// Never.
    Off,
}

impl Endpoint {
    /// Returns its kind.
    pub fn kind(&self) -> ConnectionKind {
        match self {
            Self::Http(_) => ConnectionKind::Http,
            Self::Smtp(_) => ConnectionKind::Smtp,
        }
    }

    /// Returns the keys that it needs.
    pub fn keys(&self) -> Vec<&KeyRef> {
        match self {
            Self::Http(http) => match &http.auth {
                HttpAuth::None => Vec::new(),
                HttpAuth::Bearer(key)
                | HttpAuth::Basic { password: key, .. }
                | HttpAuth::Header { value: key, .. }
                | HttpAuth::JsonField { value: key, .. } => vec![key],
                HttpAuth::OAuth2(client) => vec![&client.client_secret],
            },
            Self::Smtp(smtp) => smtp.login.iter().map(|(_, key)| key).collect(),
        }
    }

    /// Returns its address, for people.
    pub fn address(&self) -> String {
        match self {
            Self::Http(http) => http.url.to_string(),
            Self::Smtp(smtp) => format!("{}:{}", smtp.host, smtp.port),
        }
    }

    /// Returns how it proves who uses it, in a word.
    pub fn auth(&self) -> &'static str {
        match self {
            Self::Http(http) => match http.auth {
                HttpAuth::None => "none",
                HttpAuth::Bearer(_) => "bearer",
                HttpAuth::Basic { .. } => "basic",
                HttpAuth::Header { .. } => "header",
                HttpAuth::JsonField { .. } => "json_field",
                HttpAuth::OAuth2(_) => "oauth2",
            },
            Self::Smtp(smtp) => {
                if smtp.login.is_some() {
                    "login"
                } else {
                    "none"
                }
            }
        }
    }

    pub(super) fn ca(&self) -> Option<&Path> {
        match self {
            Self::Http(http) => http.ca.as_deref(),
            Self::Smtp(smtp) => smtp.ca.as_deref(),
        }
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        match self {
            Self::Http(http) => http.connect_timeout,
            Self::Smtp(smtp) => smtp.timeout,
        }
    }
}
