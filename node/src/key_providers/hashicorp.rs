//! Values in the secret engine `kv`, version 2, of HashiCorp Vault or OpenBao.
//!
//! The node logs in when it first reads a value. It renews its token at half of the token's life, and logs in again if
//! that fails or the server no longer accepts the token.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_engine::ports::Secret;
use ensue_executor::web::Letter;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::exchange::{Exchange, ServerAnswer};
use super::{KeyProvider, ProviderError, field_of};
use crate::config::{AppRole, Hashicorp, HashicorpLogin, KubernetesRole, SecretIdForm, read_secret};

/// A server with the API of HashiCorp Vault.
pub(super) struct HashicorpProvider {
    server: Hashicorp,
    exchange: Exchange,
    login: Mutex<LoginState>,
}

/// What the node has from its logins.
#[derive(Default)]
struct LoginState {
    token: Option<Token>,
    /// The secret id that was unwrapped: that works once.
    secret_id: Option<Secret>,
}

struct Token {
    value: Arc<Secret>,
    /// When it is to be renewed; `None` if it does not expire or cannot be renewed.
    renewed_at: Option<Instant>,
}

impl HashicorpProvider {
    pub(super) fn new(server: Hashicorp, exchange: Exchange) -> Self {
        Self { server, exchange, login: Mutex::default() }
    }

    /// Returns a token that the server accepted, and renews it if it is time. Blocking.
    fn token(&self) -> Result<Arc<Secret>, ProviderError> {
        let mut login = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &login.token {
            match token.renewed_at {
                Some(at) if Instant::now() >= at => {
                    let renewed = self.ask(Method::POST, "auth/token/renew-self", Some(&token.value), Some(&json!({})));
                    if let Ok(ServerAnswer { status, body, .. }) = renewed
                        && status.is_success()
                    {
                        let value = token.value.clone();
                        login.token = Some(Token { value: value.clone(), renewed_at: half_life(&body["auth"], "lease_duration") });
                        return Ok(value);
                    }
                }
                Some(_) | None => return Ok(token.value.clone()),
            }
        }
        let token = self.logged_in(&mut login)?;
        let value = token.value.clone();
        login.token = Some(token);
        Ok(value)
    }

    fn logged_in(&self, login: &mut LoginState) -> Result<Token, ProviderError> {
        let (mount, credentials) = match &self.server.login {
            HashicorpLogin::TokenFile(file) => {
                let value = Arc::new(content(file)?);
                let told = self.ask(Method::GET, "auth/token/lookup-self", Some(&value), None)?;
                let renewed_at = half_life(&success_body(told, "the token was not accepted")?["data"], "ttl");
                return Ok(Token { value, renewed_at });
            }
            HashicorpLogin::Approle(role) => (&role.mount, json!({ "role_id": role.role_id, "secret_id": self.secret_id(role, login)? })),
            HashicorpLogin::Kubernetes(KubernetesRole { role, jwt_file, mount }) => {
                (mount, json!({ "role": role, "jwt": text(&content(jwt_file)?)? }))
            }
        };
        let told = self.ask(Method::POST, &format!("auth/{mount}/login"), None, Some(&credentials))?;
        let auth = success_body(told, "the login was not accepted")?["auth"].take();
        let value = auth["client_token"].as_str().ok_or_else(|| ProviderError("the login returned no token".to_owned()))?;
        Ok(Token { value: Arc::new(Secret::new(value.as_bytes().to_vec())), renewed_at: half_life(&auth, "lease_duration") })
    }

    fn secret_id(&self, role: &AppRole, login: &mut LoginState) -> Result<String, ProviderError> {
        if let Some(unwrapped) = &login.secret_id {
            return text(unwrapped);
        }
        let stored = content(&role.secret_id_file)?;
        match role.secret_id {
            SecretIdForm::Plain => text(&stored),
            SecretIdForm::Wrapped => {
                let told = self.ask(Method::POST, "sys/wrapping/unwrap", Some(&stored), Some(&json!({})))?;
                let unwrapped = success_body(told, "the secret id could not be unwrapped; somebody may have unwrapped it before")?;
                let unwrapped = unwrapped["data"]["secret_id"].as_str().map(str::to_owned);
                let unwrapped = unwrapped.ok_or_else(|| ProviderError("the wrapped secret has no `secret_id`".to_owned()))?;
                login.secret_id = Some(Secret::new(unwrapped.clone().into_bytes()));
                Ok(unwrapped)
            }
        }
    }

    fn ask(&self, method: Method, path: &str, token: Option<&Secret>, body: Option<&Value>) -> Result<ServerAnswer, ProviderError> {
        let mut url = self.server.url.clone();
        let no_path = || ProviderError("the address of the server cannot have a path".to_owned());
        url.path_segments_mut().map_err(|()| no_path())?.pop_if_empty().push("v1").extend(path.split('/'));
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-vault-request"), HeaderValue::from_static("true"));
        if let Some(namespace) = &self.server.namespace {
            headers.insert(HeaderName::from_static("x-vault-namespace"), plain(namespace.as_bytes())?);
        }
        if let Some(token) = token {
            let mut value = plain(token.reveal())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-vault-token"), value);
        }
        let body = body.map(|body| Bytes::from(body.to_string()));
        if body.is_some() {
            headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.exchange.send(Letter { method, url, headers, body })
    }
}

impl KeyProvider for HashicorpProvider {
    fn read(&self, path: &str, field: Option<&str>) -> Result<Secret, ProviderError> {
        let place = format!("{}/data/{path}", self.server.mount);
        let mut told = self.ask(Method::GET, &place, Some(&*self.token()?), None)?;
        if told.status == StatusCode::FORBIDDEN {
            // The token may have been revoked or have expired.
            self.login.lock().unwrap_or_else(PoisonError::into_inner).token = None;
            told = self.ask(Method::GET, &place, Some(&*self.token()?), None)?;
        }
        let missing = Map::new();
        let body = match told.status {
            StatusCode::NOT_FOUND => return Err(ProviderError(format!("there is no secret at `{path}`"))),
            StatusCode::FORBIDDEN => return Err(ProviderError(format!("the node may not read `{path}`"))),
            _ => success_body(told, "the secret was not returned")?,
        };
        field_of(body["data"]["data"].as_object().unwrap_or(&missing), field)
    }
}

/// Returns the body of a successful answer. Bodies of failures are dropped: they may repeat what was sent.
fn success_body(told: ServerAnswer, otherwise: &str) -> Result<Value, ProviderError> {
    if told.status.is_success() { Ok(told.body) } else { Err(ProviderError(format!("{otherwise} (status {})", told.status.as_u16()))) }
}

fn half_life(of: &Value, seconds: &str) -> Option<Instant> {
    let life = of[seconds].as_u64().filter(|life| *life > 0)?;
    Instant::now().checked_add(Duration::from_secs(life) / 2)
}

fn content(file: &std::path::Path) -> Result<Secret, ProviderError> {
    read_secret(file).map_err(|error| ProviderError(error.to_string()))
}

fn text(secret: &Secret) -> Result<String, ProviderError> {
    let text = std::str::from_utf8(secret.reveal()).map_err(|_| ProviderError("a credential is not text".to_owned()))?;
    Ok(text.trim().to_owned())
}

fn plain(bytes: &[u8]) -> Result<HeaderValue, ProviderError> {
    HeaderValue::from_bytes(bytes.trim_ascii()).map_err(|_| ProviderError("a credential or namespace has invalid characters".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::exchange::fake::FakeServer;
    use super::*;
    use crate::config::KubernetesRole;

    /// A request that the server expects, and its answer.
    struct ExpectedRequest {
        request: &'static str,
        token: Option<&'static str>,
        body: Value,
        answer: (u16, Value),
    }

    /// Makes the server expect these requests, in order.
    fn expect(server: &FakeServer, expected: Vec<ExpectedRequest>) {
        for ExpectedRequest { request, token, body, answer } in expected {
            server.expect(move |seen| {
                assert_eq!(seen.url.origin().ascii_serialization(), "https://vault.example.test:8200");
                assert_eq!(format!("{} {}", seen.method, seen.url.path()), request);
                assert_eq!(seen.header("x-vault-token"), token, "{request}");
                assert_eq!((seen.header("x-vault-request"), seen.header("x-vault-namespace")), (Some("true"), Some("team")));
                assert_eq!(seen.body, body, "{request}");
                answer
            });
        }
    }

    fn provider(server: &FakeServer, login: HashicorpLogin) -> HashicorpProvider {
        let settings = Hashicorp {
            url: "https://vault.example.test:8200".parse().unwrap(),
            mount: "secret".to_owned(),
            namespace: Some("team".to_owned()),
            login,
        };
        HashicorpProvider::new(settings, server.exchange())
    }

    fn file(folder: &tempfile::TempDir, content: &str) -> std::path::PathBuf {
        let path = folder.path().join("credential");
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Reads the same value as often as given, and returns the outcomes. All expected requests must come.
    fn read(login: HashicorpLogin, expected: Vec<ExpectedRequest>, times: usize) -> Vec<Result<String, String>> {
        let server = FakeServer::start();
        expect(&server, expected);
        let provider = provider(&server, login);
        let outcomes = (0..times).map(|_| provider.read("release/deploy", Some("token")));
        let outcomes = outcomes.map(|read| read.map(|value| text(&value).unwrap()).map_err(|error| error.to_string())).collect();
        server.is_done();
        outcomes
    }

    fn login(mount: &str, body: Value, (token, seconds): (&'static str, u64)) -> ExpectedRequest {
        let request = match mount {
            "approle" => "POST /v1/auth/approle/login",
            _ => "POST /v1/auth/cluster/login",
        };
        let auth = json!({ "auth": { "client_token": token, "lease_duration": seconds, "renewable": true } });
        ExpectedRequest { request, token: None, body, answer: (200, auth) }
    }

    fn secret(token: &'static str, status: u16) -> ExpectedRequest {
        let data = json!({ "data": { "data": { "token": "s3cret", "other": "x" }, "metadata": { "version": 3 } } });
        let answer = if status == 200 { data } else { json!({ "errors": ["s3cret"] }) };
        ExpectedRequest { request: "GET /v1/secret/data/release/deploy", token: Some(token), body: Value::Null, answer: (status, answer) }
    }

    fn approle(file: std::path::PathBuf, secret_id: SecretIdForm) -> HashicorpLogin {
        HashicorpLogin::Approle(AppRole { role_id: "r0le".to_owned(), secret_id_file: file, secret_id, mount: "approle".to_owned() })
    }

    #[test]
    fn approle_logs_in_once_and_again_when_its_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = || json!({ "role_id": "r0le", "secret_id": "1d" });
        let expected = vec![
            login("approle", credentials(), ("t1", 3600)),
            secret("t1", 200),
            secret("t1", 403),
            login("approle", credentials(), ("t2", 3600)),
            secret("t2", 200),
        ];
        let outcomes = read(approle(file(&folder, "1d\n"), SecretIdForm::Plain), expected, 2);
        assert_eq!(outcomes, [Ok("s3cret".to_owned()), Ok("s3cret".to_owned())]);
    }

    #[test]
    fn wrapped_secret_id_is_unwrapped_once() {
        let folder = tempfile::tempdir().unwrap();
        let unwrap = ExpectedRequest {
            request: "POST /v1/sys/wrapping/unwrap",
            token: Some("wr4pped"),
            body: json!({}),
            answer: (200, json!({ "data": { "secret_id": "1d" } })),
        };
        let credentials = || json!({ "role_id": "r0le", "secret_id": "1d" });
        let expected = vec![
            unwrap,
            login("approle", credentials(), ("t1", 0)),
            secret("t1", 403),
            login("approle", credentials(), ("t2", 0)),
            secret("t2", 200),
        ];
        assert_eq!(read(approle(file(&folder, "wr4pped"), SecretIdForm::Wrapped), expected, 1), [Ok("s3cret".to_owned())]);
    }

    #[test]
    fn pod_logs_in_with_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let role = KubernetesRole { role: "ensue".to_owned(), jwt_file: file(&folder, "jw.t"), mount: "cluster".to_owned() };
        let expected = vec![login("cluster", json!({ "role": "ensue", "jwt": "jw.t" }), ("t1", 60)), secret("t1", 200)];
        assert_eq!(read(HashicorpLogin::Kubernetes(role), expected, 1), [Ok("s3cret".to_owned())]);
    }

    #[test]
    fn token_is_renewed_at_half_of_its_life() {
        let folder = tempfile::tempdir().unwrap();
        let lookup = |ttl: u64| ExpectedRequest {
            request: "GET /v1/auth/token/lookup-self",
            token: Some("t0"),
            body: Value::Null,
            answer: (200, json!({ "data": { "ttl": ttl } })),
        };
        let renewed = ExpectedRequest {
            request: "POST /v1/auth/token/renew-self",
            token: Some("t0"),
            body: json!({}),
            answer: (200, json!({ "auth": { "client_token": "t0", "lease_duration": 3600 } })),
        };
        let server = FakeServer::start();
        expect(&server, vec![lookup(3600), secret("t0", 200), renewed, secret("t0", 200)]);
        let provider = provider(&server, HashicorpLogin::TokenFile(file(&folder, "t0")));
        provider.read("release/deploy", Some("token")).unwrap();
        let renewed_at = |provider: &HashicorpProvider| provider.login.lock().unwrap().token.as_ref().unwrap().renewed_at.unwrap();
        let half = renewed_at(&provider).saturating_duration_since(Instant::now());
        assert!((1_790..=1_800).contains(&half.as_secs()), "{half:?}");
        provider.login.lock().unwrap().token.as_mut().unwrap().renewed_at = Some(Instant::now());
        provider.read("release/deploy", Some("token")).unwrap();
        assert!(renewed_at(&provider) > Instant::now());
        server.is_done();
    }

    #[test]
    fn refusals_are_reported_without_what_the_server_said() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = || json!({ "role_id": "r0le", "secret_id": "1d" });
        for (status, why) in [(404, "there is no secret"), (500, "status 500"), (503, "status 503")] {
            let expected = vec![login("approle", credentials(), ("t1", 60)), secret("t1", status)];
            let [Err(said)] = &read(approle(file(&folder, "1d"), SecretIdForm::Plain), expected, 1)[..] else { panic!("{status}") };
            assert!(said.contains(why) && !said.contains("s3cret") && !said.contains("1d") && !said.contains("t1"), "{said}");
        }
        let refused = ExpectedRequest { answer: (400, json!({ "errors": ["1d"] })), ..login("approle", credentials(), ("t1", 60)) };
        let [Err(said)] = &read(approle(file(&folder, "1d"), SecretIdForm::Plain), vec![refused], 1)[..] else { panic!("accepted") };
        assert!(said.contains("the login was not accepted") && !said.contains("1d"), "{said}");
    }
}
