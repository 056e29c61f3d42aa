//! Connections of the kind `http`: addresses below the base, and credentials in headers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ensue_engine::names::KeyRef;
use ensue_engine::ports::Secret;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use url::{Position, Url};

use super::oauth::TokenError;
use super::settings::{HttpAuth, HttpEndpoint};
use super::{ConnectionErrorKind, LentConnection, NotLent, UseOutcome};

/// With what a request proves who sends it.
pub(crate) struct Credentials {
    pub(crate) proof: CredentialPlacement,
    /// What must not appear in what the server answers, besides the values of keys, under the key that it comes from.
    pub(crate) derived: Option<(KeyRef, Secret)>,
}

/// Where a request has its credentials.
pub(crate) enum CredentialPlacement {
    /// In a header.
    Header(HeaderName, HeaderValue),
    /// In a field of the JSON object that is its body.
    JsonField(String, String),
}

/// Why there are no credentials.
pub(crate) enum NoCredentials {
    /// A key does not fit.
    NotLent(NotLent),
    /// There is no token.
    NoToken(TokenError),
}

impl HttpEndpoint {
    /// Returns an address below the base: `path` begins with `/`, or is a whole address.
    ///
    /// # Errors
    /// If the address is not valid, or not below the base.
    pub(crate) fn below(&self, path: &str) -> Result<Url, String> {
        let is_whole = path.starts_with("http://") || path.starts_with("https://");
        let text = if is_whole {
            path.to_owned()
        } else if path.starts_with('/') && !path.starts_with("//") {
            format!("{}{path}", self.url.as_str().trim_end_matches('/'))
        } else {
            return Err("must begin with `/`: it is a path below the address of the connection".to_owned());
        };
        let mut url = Url::parse(&text).map_err(|error| format!("is not a valid path: {error}"))?;
        url.set_fragment(None);
        if self.has(&url) { Ok(url) } else { Err("leads out of the address of the connection".to_owned()) }
    }

    /// Returns true if an address is the base, or below it.
    pub(crate) fn has(&self, url: &Url) -> bool {
        let base = self.url.path().trim_end_matches('/');
        let below = url.path().strip_prefix(base);
        url[..Position::BeforePath] == self.url[..Position::BeforePath]
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Checks that the path of a test is below the base.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_test_path(&self) -> Result<(), String> {
        self.test_url().map(drop)
    }

    /// Returns the address that a test requests.
    pub(super) fn test_url(&self) -> Result<Url, String> {
        self.test_path.as_deref().map_or_else(|| Ok(self.url.clone()), |path| self.below(path))
    }
}

impl LentConnection {
    /// Returns the settings of a connection of the kind `http`.
    pub(crate) fn http(&self) -> Option<&HttpEndpoint> {
        self.connection.http()
    }

    /// Returns what proves who sends a request; `None` if the connection has no credentials.
    pub(crate) async fn credentials(&self) -> Result<Option<Credentials>, NoCredentials> {
        let Some(http) = self.http() else { return Ok(None) };
        let unfit = |key: &KeyRef| NoCredentials::NotLent(NotLent::KeyUnfit { name: self.connection.name().clone(), key: key.clone() });
        let header = |header: HeaderName, text: &[u8], key: &KeyRef, derived: Option<&[u8]>| {
            let mut value = HeaderValue::from_bytes(text).map_err(|_| unfit(key))?;
            value.set_sensitive(true);
            let derived = derived.map(|derived| (key.clone(), Secret::new(derived.to_vec())));
            Ok(Some(Credentials { proof: CredentialPlacement::Header(header, value), derived }))
        };
        // A value from a file may end with a line break.
        let secret = |key: &KeyRef| self.pool.secret(key).trim_ascii().to_vec();
        match &http.auth {
            HttpAuth::None => Ok(None),
            HttpAuth::Bearer(key) => header(AUTHORIZATION, &[b"Bearer ", secret(key).as_slice()].concat(), key, None),
            HttpAuth::Basic { user, password } => {
                let encoded = BASE64_STANDARD.encode([user.as_bytes(), b":", secret(password).as_slice()].concat());
                header(AUTHORIZATION, format!("Basic {encoded}").as_bytes(), password, Some(encoded.as_bytes()))
            }
            HttpAuth::Header { name, prefix, value } => {
                header(name.clone(), &[prefix.as_bytes(), secret(value).as_slice()].concat(), value, None)
            }
            HttpAuth::JsonField { name, value } => {
                let text = String::from_utf8(secret(value)).map_err(|_| unfit(value))?;
                Ok(Some(Credentials { proof: CredentialPlacement::JsonField(name.clone(), text), derived: None }))
            }
            HttpAuth::OAuth2(client) => {
                let token = self.token(client).await.map_err(NoCredentials::NoToken)?;
                let text = [b"Bearer ", token.reveal()].concat();
                header(AUTHORIZATION, &text, &client.client_secret, Some(token.reveal()))
            }
        }
    }
}

impl UseOutcome {
    /// Returns how a use ended whose answer had this status.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let said = || format!("the server answered {status}");
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Self::Rejected(ConnectionErrorKind::Auth, said())
            }
            status if status.is_server_error() => Self::Fault(ConnectionErrorKind::Server, said()),
            _ => Self::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::HeaderMap;

    use super::*;

    fn endpoint(url: &str) -> HttpEndpoint {
        HttpEndpoint {
            url: url.parse().unwrap(),
            auth: HttpAuth::None,
            headers: HeaderMap::new(),
            ca: None,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            test_path: None,
        }
    }

    #[test]
    fn path_is_appended_to_the_address() {
        for (base, path, expected) in [
            ("https://a.example", "/items", "https://a.example/items"),
            ("https://a.example/", "/items?n=1", "https://a.example/items?n=1"),
            ("https://a.example/api/v2", "/items/7", "https://a.example/api/v2/items/7"),
            ("https://a.example/api/v2/", "/", "https://a.example/api/v2/"),
            ("https://a.example/api", "https://a.example/api/next?page=2", "https://a.example/api/next?page=2"),
            ("https://a.example/api", "https://A.example:443/api", "https://a.example/api"),
        ] {
            assert_eq!(endpoint(base).below(path).unwrap().as_str(), expected, "{base} {path}");
        }
    }

    #[test]
    fn address_outside_of_the_base_is_refused() {
        for path in [
            "items",
            "",
            "//evil.example/x",
            "/../other",
            "/%2e%2e/other",
            "/x/../../other",
            "https://a.example/apix",
            "https://a.example/",
            "http://a.example/api",
            "https://a.example:8443/api",
            "https://user@a.example/api",
            "https://a.example.evil.example/api",
            "ftp://a.example/api",
            "@evil.example/",
        ] {
            assert!(endpoint("https://a.example/api").below(path).is_err(), "{path}");
        }
        assert!(endpoint("https://a.example").below("@evil.example/").is_err());
    }
}
