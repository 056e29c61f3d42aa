//! The settings of connections: `connections` in `ensue.yaml`.
//!
//! Nothing is opened here: keys and files of authorities are read at the first use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use ensue_derive::Settings;
use ensue_engine::names::{KeyRef, PackName};
use ensue_executor::connections::{
    BreakerSettings, ConnectionSettings, Endpoint, HttpAuth, HttpEndpoint, OAuthClient, SmtpEndpoint, SmtpTls,
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use url::{Position, Url};

use super::paths::NamedPaths;

/// How many uses of a connection there may be at once, if the settings do not say.
const MAX: usize = 16;
/// The most uses of a connection at once.
const MAX_MAX: usize = 1_000;
/// The time limit of an exchange, if the settings do not say.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait for a socket, if the settings do not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time limit.
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// The most failures that a breaker waits for.
const FAILURES_MAX: u32 = 1_000;
/// Headers that belong to the transport or to the credentials.
const REFUSED_HEADERS: [&str; 9] =
    ["authorization", "connection", "content-length", "expect", "host", "proxy-authorization", "te", "transfer-encoding", "upgrade"];

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenConnection {
    /// A server that speaks HTTP. Give either this or `smtp`.
    http: Option<WrittenHttp>,
    /// A server that takes mail. Give either this or `http`.
    smtp: Option<WrittenSmtp>,
    /// The only packs that may use it. Default: every pack that lists it.
    packs: Option<BTreeSet<PackName>>,
    /// How many uses there may be at once. Default: 16.
    #[setting(from = 1, to = MAX_MAX)]
    max: Option<usize>,
    /// When uses fail at once because the server is down.
    breaker: Option<WrittenBreaker>,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenBreaker {
    /// How many failures in a row open it. Default: 5.
    #[setting(from = 1, to = FAILURES_MAX)]
    failures: Option<u32>,
    /// How long it stays open, at most an hour. Default: 30s.
    #[setting(form = SomeTime)]
    open_for: Option<String>,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenHttp {
    /// The address below which all requests go. It has no user name, password, query or fragment.
    url: String,
    /// How requests prove who sends them. Default: they do not.
    auth: Option<WrittenAuth>,
    /// Headers of each request that does not set them itself. They are no place for secrets.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A file with the authorities to trust instead of those of the machine, in PEM.
    ca: Option<PathBuf>,
    /// The time limit of an exchange, at most an hour. Default: 60s.
    #[setting(form = SomeTime)]
    timeout: Option<String>,
    /// How long to wait for a socket, at most an hour. Default: 10s.
    #[setting(form = SomeTime)]
    connect_timeout: Option<String>,
    /// The path below `url` that `ensue connections test` requests with `GET`; it must not answer with an error. Default: `url`
    /// itself, which may answer 404.
    test_path: Option<String>,
}

/// A key of a pack, whose value is read when it is used.
#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    /// The key. Set it with `ensue keys set`.
    key: KeyRef,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WrittenAuth {
    /// `Authorization: Bearer` with the value of a key.
    Bearer(WrittenKey),
    /// `Authorization: Basic` with a user and a password.
    Basic(WrittenBasic),
    /// A header with the value of a key.
    Header(WrittenHeader),
    /// A field of the JSON object that is the body of each request.
    JsonField(WrittenJsonField),
    /// `Authorization: Bearer` with a token of OAuth 2.0 (client credentials).
    Oauth2(WrittenOAuth),
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenBasic {
    /// The user.
    user: String,
    /// The key with the password.
    password: WrittenKey,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenHeader {
    /// The name of the header.
    #[setting(form = Header)]
    name: String,
    /// The text before the value, for example `Token `. Default: none.
    #[serde(default)]
    prefix: String,
    /// The key with the value.
    value: WrittenKey,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenJsonField {
    /// The name of the field.
    name: String,
    /// The key with the value.
    value: WrittenKey,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenOAuth {
    /// The address that issues tokens.
    token_url: String,
    /// The name of the client.
    client_id: String,
    /// The key with its secret.
    client_secret: WrittenKey,
    /// The scopes to ask for.
    #[serde(default)]
    scopes: Vec<String>,
    /// The audience to ask for, if the server needs one.
    audience: Option<String>,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenSmtp {
    /// The host.
    host: String,
    /// The port. Default: 587 for `starttls`, 465 for `implicit`, 25 for `none`.
    port: Option<u16>,
    /// When TLS begins: after `STARTTLS` (the default), with the first byte, or never. A password is never sent without TLS.
    tls: Option<WrittenSmtpTls>,
    /// The user.
    user: Option<String>,
    /// The key with the password.
    password: Option<WrittenKey>,
    /// A file with the authorities to trust instead of those of the machine, in PEM.
    ca: Option<PathBuf>,
    /// The time limit of an exchange, at most an hour. Default: 60s.
    #[setting(form = SomeTime)]
    timeout: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Settings)]
#[serde(rename_all = "snake_case")]
enum WrittenSmtpTls {
    Starttls,
    Implicit,
    None,
}

impl WrittenConnection {
    /// Returns the settings.
    pub(super) fn read(self, paths: &NamedPaths) -> Result<ConnectionSettings, String> {
        let endpoint = match (self.http, self.smtp) {
            (Some(http), None) => Endpoint::Http(Box::new(http.read(paths).map_err(|why| format!("`http`: {why}"))?)),
            (None, Some(smtp)) => Endpoint::Smtp(Box::new(smtp.read(paths).map_err(|why| format!("`smtp`: {why}"))?)),
            (Some(_), Some(_)) | (None, None) => return Err("give exactly one of `http` and `smtp`".to_owned()),
        };
        let max = self.max.unwrap_or(MAX);
        if !(1..=MAX_MAX).contains(&max) {
            return Err(format!("`max` is {max}, but must be from 1 to {MAX_MAX}"));
        }
        let mut breaker = BreakerSettings::default();
        if let Some(WrittenBreaker { failures, open_for }) = self.breaker {
            breaker.failures = failures.unwrap_or(breaker.failures);
            if !(1..=FAILURES_MAX).contains(&breaker.failures) {
                return Err(format!("`breaker.failures` is {}, but must be from 1 to {FAILURES_MAX}", breaker.failures));
            }
            breaker.open_for = time("breaker.open_for", open_for, breaker.open_for)?;
        }
        Ok(ConnectionSettings { endpoint, packs: self.packs, max, breaker })
    }
}

impl WrittenHttp {
    fn read(self, paths: &NamedPaths) -> Result<HttpEndpoint, String> {
        let url = address("url", &self.url, Rewrite::Auth)?;
        let auth = match self.auth {
            None => HttpAuth::None,
            Some(WrittenAuth::Bearer(WrittenKey { key })) => HttpAuth::Bearer(key),
            Some(WrittenAuth::Basic(WrittenBasic { user, password })) => {
                if user.contains(':') || user.chars().any(char::is_control) {
                    return Err("`auth.basic.user` cannot contain `:` or control characters".to_owned());
                }
                HttpAuth::Basic { user, password: password.key }
            }
            Some(WrittenAuth::Header(WrittenHeader { name, prefix, value })) => {
                let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
                let parsed = parsed.filter(|name| name == "authorization" || !REFUSED_HEADERS.contains(&name.as_str()));
                let name = parsed.ok_or_else(|| format!("`auth.header.name` is `{name}`, but must be like X-Api-Key"))?;
                HeaderValue::from_str(&prefix).map_err(|_| "`auth.header.prefix` has a control character".to_owned())?;
                HttpAuth::Header { name, prefix, value: value.key }
            }
            Some(WrittenAuth::JsonField(WrittenJsonField { name, value })) => {
                if name.is_empty() {
                    return Err("`auth.json_field.name` is empty, but must be the name of a field, like routing_key".to_owned());
                }
                HttpAuth::JsonField { name, value: value.key }
            }
            Some(WrittenAuth::Oauth2(oauth)) => HttpAuth::OAuth2(Box::new(OAuthClient {
                token_url: address("auth.oauth2.token_url", &oauth.token_url, Rewrite::Client)?,
                client_id: oauth.client_id,
                client_secret: oauth.client_secret.key,
                scopes: oauth.scopes,
                audience: oauth.audience,
            })),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            let wrong = |why: &str| format!("`headers.{name}` {why}");
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("is not a valid name of a header"))?;
            if header == "authorization" {
                return Err(wrong("cannot be set here: write `auth: { bearer: { key: <pack>.<key> } }`"));
            }
            if REFUSED_HEADERS.contains(&header.as_str()) {
                return Err(wrong("belongs to the transport and cannot be set"));
            }
            headers.insert(header, HeaderValue::from_str(&value).map_err(|_| wrong("has a line break or another control character"))?);
        }
        let endpoint = HttpEndpoint {
            url,
            auth,
            headers,
            ca: self.ca.map(|ca| paths.share(ca)),
            timeout: time("timeout", self.timeout, TIMEOUT)?,
            connect_timeout: time("connect_timeout", self.connect_timeout, CONNECT_TIMEOUT)?,
            test_path: self.test_path,
        };
        endpoint.check_test_path().map_err(|why| format!("`test_path` {why}"))?;
        Ok(endpoint)
    }
}

impl WrittenSmtp {
    fn read(self, paths: &NamedPaths) -> Result<SmtpEndpoint, String> {
        let tls = match self.tls.unwrap_or(WrittenSmtpTls::Starttls) {
            WrittenSmtpTls::Implicit => SmtpTls::Implicit,
            WrittenSmtpTls::Starttls => SmtpTls::StartTls,
            WrittenSmtpTls::None => SmtpTls::Off,
        };
        let is_host = !self.host.is_empty() && self.host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte));
        if !is_host {
            return Err(format!("`host` is `{}`, but must be a name or an address, like mail.example.test", self.host));
        }
        let login = match (self.user, self.password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some((user, password.key)),
            (Some(_), None) => return Err("`user` needs `password: { key: <pack>.<key> }`".to_owned()),
            (None, Some(_)) => return Err("`password` needs `user`".to_owned()),
        };
        if login.is_some() && tls == SmtpTls::Off {
            return Err("a password is sent only over TLS: set `tls` to `starttls` or `implicit`".to_owned());
        }
        let port = match tls {
            SmtpTls::Implicit => 465,
            SmtpTls::StartTls => 587,
            SmtpTls::Off => 25,
        };
        Ok(SmtpEndpoint {
            host: self.host,
            port: self.port.unwrap_or(port),
            tls,
            login,
            ca: self.ca.map(|ca| paths.share(ca)),
            timeout: time("timeout", self.timeout, TIMEOUT)?,
        })
    }
}

/// What to write instead of a secret in an address.
#[derive(Clone, Copy)]
enum Rewrite {
    Auth,
    Client,
}

/// Returns an address without credentials, query and fragment. A secret in it is not repeated.
fn address(name: &str, text: &str, rewrite: Rewrite) -> Result<Url, String> {
    let wrong = || format!("`{name}` must be an address like https://orders.example.test/api");
    let mut url = Url::parse(text).map_err(|_| wrong())?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(wrong());
    }
    if !url.username().is_empty() || url.password().is_some() {
        let user = url.username().to_owned();
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        let shown = if cleared.is_ok() { url[..Position::AfterPath].to_owned() } else { "<address>".to_owned() };
        let instead = match rewrite {
            Rewrite::Auth => format!("auth: {{ basic: {{ user: {user}, password: {{ key: <pack>.<key> }} }} }}"),
            Rewrite::Client => format!("client_id: {user}, client_secret: {{ key: <pack>.<key> }}"),
        };
        return Err(format!(
            "`{name}` contains a user name or a password; write `{name}: {shown}` and `{instead}`, and set the key with `ensue keys set`"
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        let shown = &url[..Position::AfterPath];
        let instead = match rewrite {
            Rewrite::Auth => {
                "a secret belongs into `auth: { header: { name: X-Api-Key, value: { key: <pack>.<key> } } }`, and other parameters into the `query` of actions"
            }
            Rewrite::Client => "parameters of the request for a token are `scopes` and `audience`",
        };
        return Err(format!("`{name}` contains a query or a fragment; write `{name}: {shown}`: {instead}"));
    }
    Ok(url)
}

fn time(name: &str, text: Option<String>, default: Duration) -> Result<Duration, String> {
    let Some(text) = text else { return Ok(default) };
    let read = ensue_packs::parse_duration(&text).filter(|time| !time.is_zero() && *time <= TIMEOUT_MAX);
    read.ok_or_else(|| format!("`{name}` is `{text}`, but must be a duration of at most an hour, like 30s"))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use crate::config::Config;

    fn read(connections: &str) -> Result<Config, String> {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, format!("connections:\n{connections}")).unwrap();
        let said = |why: String| why.replace(folder.path().to_str().unwrap(), "");
        Config::read(Some(&file), [].into_iter()).map_err(|error| said(error.to_string()))
    }

    #[test]
    fn mistakes_in_connections_are_reported_with_what_to_write() {
        let mistakes = [
            "  orders: {}",
            "  orders: { http: { url: https://a.example }, smtp: { host: b.example } }",
            "  Orders: { http: { url: https://a.example } }",
            "  orders: { http: { url: a.example } }",
            "  orders: { http: { url: 'ftp://a.example' } }",
            "  orders: { http: { url: 'https://app:CANARY-1@a.example/api' } }",
            "  orders: { http: { url: 'https://a.example/api?api_key=CANARY-1' } }",
            "  orders: { http: { url: https://a.example, auth: { bearer: token } } }",
            "  orders: { http: { url: https://a.example, auth: { bearer: { key: token } } } }",
            "  orders: { http: { url: https://a.example, auth: { basic: { user: 'a:b', password: { key: shop.p } } } } }",
            "  orders: { http: { url: https://a.example, auth: { header: { name: Host, value: { key: shop.p } } } } }",
            "  orders: { http: { url: https://a.example, auth: { header: { name: 'X Y', value: { key: shop.p } } } } }",
            "  orders: { http: { url: https://a.example, auth: { json_field: { name: '', value: { key: shop.p } } } } }",
            "  orders: { http: { url: https://a.example, auth: { json_field: { name: p, value: CANARY-1 } } } }",
            "  orders: { http: { url: https://a.example, auth: { oauth2: { token_url: 'https://id:CANARY-1@b.example/token', client_id: id, client_secret: { key: shop.p } } } } }",
            "  orders: { http: { url: https://a.example, headers: { Authorization: Bearer CANARY-1 } } }",
            "  orders: { http: { url: https://a.example, headers: { Host: b.example } } }",
            "  orders: { http: { url: https://a.example, timeout: 2h } }",
            "  orders: { http: { url: https://a.example, connect_timeout: 0s } }",
            "  orders: { http: { url: https://a.example/api, test_path: ../health } }",
            "  orders: { http: { url: https://a.example }, max: 0 }",
            "  orders: { http: { url: https://a.example }, packs: [Shop] }",
            "  orders: { http: { url: https://a.example }, breaker: { failures: 0 } }",
            "  orders: { http: { url: https://a.example }, breaker: { open_for: soon } }",
            "  relay: { smtp: { host: 'a b' } }",
            "  relay: { smtp: { host: a.example, user: app } }",
            "  relay: { smtp: { host: a.example, password: { key: shop.p } } }",
            "  relay: { smtp: { host: a.example, tls: none, user: app, password: { key: shop.p } } }",
            "  relay: { smtp: { host: a.example, tls: maybe } }",
            "  relay: { smtp: { host: a.example, port: 70000 } }",
        ];
        let mut shown = String::new();
        for mistake in mistakes {
            let said = read(mistake).err().unwrap_or_else(|| panic!("accepted: {mistake}"));
            assert!(!said.contains("CANARY"), "{said}");
            shown.push_str(&format!("{mistake}\n    {said}\n"));
        }
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn files_of_authorities_are_relative_to_the_settings_file() {
        use ensue_executor::connections::Endpoint;
        let config = read("  orders: { http: { url: https://a.example/api, ca: orders.pem }, packs: [shop] }").unwrap();
        let orders = &config.connections[&"orders".parse().unwrap()];
        let Endpoint::Http(http) = &orders.endpoint else { panic!("it is of the kind `http`") };
        assert!(http.ca.as_ref().unwrap().ends_with("orders.pem") && http.ca.as_ref().unwrap().is_absolute());
        assert_eq!((orders.max, orders.packs.as_ref().unwrap().len()), (super::MAX, 1));
    }
}
