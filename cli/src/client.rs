//! A client of the node's API for commands: requests with a token, answers as JSON, problems as failures.
//!
//! Routes are defined by each command.

use std::cell::Cell;
use std::env::VarError;
use std::error::Error as _;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;

use crate::credentials::{CredentialFile, Credentials};
use crate::profiles::{ProfileFolder, ProfileName};
use crate::report::{Exit, Failure};
use crate::trust::Trust;

/// The default address of a node.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:3678";
/// The variable that holds the token.
pub(crate) const TOKEN_VARIABLE: &str = "ENSUE_TOKEN";
/// The base path of the API.
const BASE: &str = "/api/v1";
/// The header with the position a caller has seen.
const POSITION: &str = "ensue-position";
/// The timeout for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout for an answer. Requests that take longer use a wait of their own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);
/// The most bytes of an answer that is read as a whole.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A token, and where to set another.
pub(crate) struct Token {
    text: String,
    source: TokenSource,
}

/// The source of a token.
#[derive(Clone, Debug)]
pub(crate) enum TokenSource {
    /// The environment.
    Variable,
    /// The environment, which takes precedence over a token that may be stored with this profile.
    VariableBefore(ProfileName),
    /// A profile.
    Profile(ProfileName),
    /// A login.
    Login(CredentialFile),
}

impl Token {
    /// Reads the token stored with a profile; `None` if it has none. Fails if others can read it.
    pub(crate) fn of_profile(folder: &ProfileFolder, name: &ProfileName) -> Result<Option<Self>, Failure> {
        let text = folder.token(name)?;
        Ok(text.map(|text| Self { text, source: TokenSource::Profile(name.clone()) }))
    }

    /// Reads the token of the environment; `None` if there is none. Fails if it is invalid.
    pub(crate) fn of_environment() -> Result<Option<Self>, Failure> {
        variable(TOKEN_VARIABLE)?.map_or(Ok(None), |text| Self::of_variable(&text))
    }

    /// Returns the session of `ensue login` at a node, if there is one.
    pub(crate) fn of_login(server: &str) -> Result<Option<Self>, Failure> {
        let Some(file) = CredentialFile::of(server) else { return Ok(None) };
        Ok(file.read()?.map(|_| Self { text: String::new(), source: TokenSource::Login(file) }))
    }

    /// Marks it as taking precedence over a profile's token.
    #[must_use]
    pub(crate) fn instead_of(self, name: &ProfileName) -> Self {
        Self { source: TokenSource::VariableBefore(name.clone()), ..self }
    }

    /// Parses a token as [`TOKEN_VARIABLE`] would hold it; `None` if it is empty. Fails if it is invalid.
    pub(crate) fn of_variable(text: &str) -> Result<Option<Self>, Failure> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        Self::check(text).map_err(|why| Failure::with(Exit::Usage, format!("{TOKEN_VARIABLE}: {why}")))?;
        Ok(Some(Self { text: text.to_owned(), source: TokenSource::Variable }))
    }

    /// Returns what is wrong with a text that cannot be a token, without repeating the text.
    pub(crate) fn check(text: &str) -> Result<(), &'static str> {
        if text.chars().all(|character| character.is_ascii_graphic()) {
            return Ok(());
        }
        Err("the token contains a space, a line break or another invalid character; a token is one word of letters, digits and signs")
    }
}

/// Reads an environment variable; an empty one counts as unset.
pub(crate) fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Failure::with(Exit::Usage, format!("{name} is not valid text; set it again, or unset it"))),
    }
}

/// Installs the cryptography that the HTTP clients of this process use for TLS. Clients can be created only
/// afterwards.
pub(crate) fn install_cryptography() {
    // Fails only if a provider is already installed, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A node to talk to.
pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
    token: Option<Token>,
    /// The newest position named by an answer. Later reads ask for data at least as new, so that callers see
    /// their own writes.
    seen: Cell<u64>,
}

/// An answer that is not a problem.
#[derive(Debug)]
pub(crate) struct ApiAnswer {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The body; null if there is none.
    pub(crate) body: Value,
}

/// The answer to a delivery at a webhook.
#[derive(Debug)]
pub(crate) struct HookAnswer {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The body.
    pub(crate) body: Value,
}

impl Client {
    /// Creates a client of the node at `server` with this token. Fails if a certificate file cannot be used.
    pub(crate) fn new(server: &str, token: Option<Token>, trust: &Trust) -> Result<Self, Failure> {
        let url: reqwest::Url = server.parse().map_err(|_| not_a_server(server))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(not_a_server(server));
        }
        install_cryptography();
        let (authorities, own) = (trust.authorities()?, trust.own()?);
        let builder = || {
            let builder = reqwest::Client::builder()
                .user_agent(concat!("ensue/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .http1_only()
                .redirect(reqwest::redirect::Policy::none());
            let builder = match &authorities {
                Some(authorities) => builder.tls_certs_only(authorities.clone()),
                None => builder,
            };
            let builder = match &own {
                Some(own) => builder.identity(own.clone()),
                None => builder,
            };
            match url.host_str() {
                // A proxy could not reach this machine's loopback interface.
                Some("localhost" | "127.0.0.1" | "[::1]") => builder.no_proxy(),
                Some(_) | None => builder,
            }
        };
        let http = match builder().build() {
            // Plain HTTP needs no trusted certificates, and small containers have none.
            Err(_) if url.scheme() == "http" => builder().tls_certs_only([]).build(),
            built => built,
        };
        let http = http.map_err(|error| {
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Failure::new(format!("the HTTP client cannot be created: {cause}"))
                .hint("install the certificates of trusted authorities; on many systems they are in the package `ca-certificates`")
        })?;
        Ok(Self { http, server: server.trim_end_matches('/').to_owned(), token, seen: Cell::new(0) })
    }

    /// Returns a client of the same node without a token.
    #[must_use]
    pub(crate) fn without_token(self) -> Self {
        Self { token: None, ..self }
    }

    /// Returns a client of the same node with the session of `ensue login`.
    pub(crate) fn by_login(&self) -> Result<Self, Failure> {
        let (http, server, token) = (self.http.clone(), self.server.clone(), Token::of_login(&self.server)?);
        Ok(Self { http, server, token, seen: Cell::new(0) })
    }

    /// Returns the node's address.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Returns the newest position that was seen.
    pub(crate) fn seen_position(&self) -> u64 {
        self.seen.get()
    }

    /// Records a position seen elsewhere than in an answer: later reads are at least as new.
    pub(crate) fn saw(&self, position: u64) {
        self.seen.set(self.seen.get().max(position));
    }

    /// Reads the resource at a path of the API.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let request = self.request(Method::GET, &with_query(path, query));
        Ok(self.answer(request).await?.body)
    }

    /// Reads the resource at a path of the API as raw bytes.
    pub(crate) async fn get_bytes(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, Failure> {
        let response = self.send_as_caller(self.request(Method::GET, &with_query(path, query))).await?;
        if !response.status().is_success() {
            return Err(self.problem(response).await);
        }
        self.saw(position_of(&response));
        self.bytes(response).await
    }

    /// Sends a document to a path of the API.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<ApiAnswer, Failure> {
        self.answer(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a document to a path of the API, and waits up to `seconds` for the end of the work that it
    /// starts.
    pub(crate) async fn post_and_wait(&self, path: &str, body: &Value, seconds: u64) -> Result<ApiAnswer, Failure> {
        let request = self.request(Method::POST, path).json(body).header("prefer", format!("wait={seconds}"));
        self.answer(request.timeout(ANSWER_TIMEOUT + Duration::from_secs(seconds))).await
    }

    /// Sends a document to a path of the API, whose work takes up to `seconds`.
    pub(crate) async fn post_long(&self, path: &str, body: &Value, seconds: u64) -> Result<ApiAnswer, Failure> {
        self.answer(self.request(Method::POST, path).json(body).timeout(ANSWER_TIMEOUT + Duration::from_secs(seconds))).await
    }

    /// Replaces the resource at a path of the API with a document.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<ApiAnswer, Failure> {
        self.answer(self.request(Method::PUT, path).json(body)).await
    }

    /// Deletes the resource at a path of the API.
    pub(crate) async fn delete(&self, path: &str) -> Result<ApiAnswer, Failure> {
        self.answer(self.request(Method::DELETE, path)).await
    }

    /// Opens a stream of bytes at a path of the API; it ends when the node ends it.
    pub(crate) async fn stream(&self, path: &str, query: &[(&str, String)], accept: &'static str) -> Result<Response, Failure> {
        let request = self.request_without_limit(Method::GET, &with_query(path, query)).header(header::ACCEPT, accept);
        let response = self.send_as_caller(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.problem(response).await) }
    }

    /// Opens a stream of events at a path of the API, after the event with the given id.
    pub(crate) async fn follow(&self, path: &str, query: &[(&str, String)], after: Option<&str>) -> Result<Response, Failure> {
        let mut request = self.request_without_limit(Method::GET, &with_query(path, query)).header(header::ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = self.send_as_caller(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.problem(response).await) }
    }

    /// Reads the resource at a path outside the API, without a token.
    pub(crate) async fn get_public(&self, path: &str) -> Result<ApiAnswer, Failure> {
        let response = self.send(self.http.get(format!("{}{path}", self.server)).timeout(ANSWER_TIMEOUT)).await?;
        let status = response.status();
        Ok(ApiAnswer { status, body: self.body(response).await? })
    }

    /// Reads the text at a path outside the API.
    pub(crate) async fn get_text(&self, path: &str) -> Result<String, Failure> {
        let request = self.http.get(format!("{}{path}", self.server)).timeout(ANSWER_TIMEOUT);
        let response = self.send_as_caller(request).await?;
        if !response.status().is_success() {
            return Err(self.problem(response).await);
        }
        Ok(String::from_utf8_lossy(&self.bytes(response).await?).into_owned())
    }

    /// Sends a delivery to a webhook without a token; its signature authenticates it.
    pub(crate) async fn deliver(&self, path: &str, headers: &[(&'static str, String)], body: &'static [u8]) -> Result<HookAnswer, Failure> {
        let mut request = self.http.post(format!("{}{path}", self.server)).timeout(ANSWER_TIMEOUT).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = self.send(request).await?;
        Ok(HookAnswer { status: response.status(), body: self.body(response).await? })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_without_limit(method, path).timeout(ANSWER_TIMEOUT)
    }

    fn request_without_limit(&self, method: Method, path: &str) -> RequestBuilder {
        let is_read = method == Method::GET;
        let mut request = self.http.request(method, format!("{}{BASE}{path}", self.server));
        if is_read && self.seen.get() > 0 {
            request = request.header(POSITION, self.seen.get());
        }
        request
    }

    async fn answer(&self, request: RequestBuilder) -> Result<ApiAnswer, Failure> {
        let response = self.send_as_caller(request).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.problem(response).await);
        }
        self.saw(position_of(&response));
        Ok(ApiAnswer { status, body: self.body(response).await? })
    }

    /// Sends a request with the caller's token.
    async fn send_as_caller(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let request = match &self.token {
            Some(Token { source: TokenSource::Login(file), .. }) => request.bearer_auth(self.access_token(file).await?),
            Some(token) => request.bearer_auth(&token.text),
            None => request,
        };
        self.send(request).await
    }

    /// Returns an access token of a login, after exchanging one that is about to end. Commands that run at the same time
    /// take turns.
    async fn access_token(&self, file: &CredentialFile) -> Result<String, Failure> {
        let logged_out =
            || Failure::with(Exit::NotAllowed, format!("you are logged out of {}", self.server)).hint("log in again with `ensue login`");
        if let Some(token) = file.read()?.as_ref().ok_or_else(logged_out)?.fresh() {
            return Ok(token.to_owned());
        }
        let _lock = file.lock().await?;
        let credentials = file.read()?.ok_or_else(logged_out)?;
        if let Some(token) = credentials.fresh() {
            return Ok(token.to_owned());
        }
        let body = serde_json::json!({ "refresh_token": credentials.refresh_token() });
        let request = self.http.post(format!("{}{BASE}/auth/refresh", self.server)).timeout(ANSWER_TIMEOUT).json(&body);
        let response = self.send(request).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            file.remove()?;
            return Err(logged_out());
        }
        if !response.status().is_success() {
            return Err(self.problem(response).await);
        }
        let answer = self.body(response).await?;
        let next = Credentials::of_answer(&answer).ok_or_else(|| self.unreadable_answer("it has no tokens"))?;
        file.write(&next)?;
        Ok(next.fresh().unwrap_or_default().to_owned())
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| {
            if error.is_builder() {
                return Failure::with(Exit::Usage, format!("the request cannot be created: {}", innermost(&error)));
            }
            let cause = innermost(&error);
            Failure::with(Exit::Unreachable, format!("no node answers at {}: {cause}", self.server)).hint(hint_for_connection(&cause))
        })
    }

    async fn body(&self, response: Response) -> Result<Value, Failure> {
        let bytes = self.bytes(response).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| {
            self.unreadable_answer("it is not JSON").hint("check that this is an Ensue node; `ensue status` shows what answers there")
        })
    }

    async fn bytes(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreadable_answer(&innermost(&error)))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(self.unreadable_answer(&format!("it is larger than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        Ok(bytes)
    }

    fn unreadable_answer(&self, why: &str) -> Failure {
        Failure::with(Exit::Unreachable, format!("the answer of {} cannot be read: {why}", self.server))
    }

    /// Converts a problem answer to a failure.
    async fn problem(&self, response: Response) -> Failure {
        let status = response.status();
        let problem = self.body(response).await.unwrap_or_default();
        let text = |name: &str| problem[name].as_str().map(str::to_owned);
        let message = text("detail").or_else(|| text("title")).unwrap_or_else(|| format!("{} answers {status}", self.server));
        let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut notes: Vec<String> = errors
            .iter()
            .map(|error| match (error["pointer"].as_str().unwrap_or_default(), error["message"].as_str().unwrap_or_default()) {
                ("", message) => message.to_owned(),
                (pointer, message) => format!("{pointer}: {message}"),
            })
            .collect();
        if let (true, Some(id)) = (status.is_server_error(), text("request_id")) {
            notes.push(format!("request {id}: look for this id in the node's own log"));
        }
        let code = text("code");
        // A wrong password says nothing about the token.
        let is_of_password = matches!(code.as_deref(), Some("login_refused" | "otp_required"));
        let is_about_token = status == StatusCode::UNAUTHORIZED && !is_of_password;
        let failure = Failure::with(exit_of(status), message).notes(notes).with_code(code);
        match text("hint") {
            Some(_) | None if is_about_token => failure.hint(self.hint_for_token()),
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    fn hint_for_token(&self) -> String {
        let server = &self.server;
        match self.token.as_ref().map(|token| &token.source) {
            None => format!(
                "log in with `ensue login`, or name a token with `export {TOKEN_VARIABLE}=…`; the node printed the first one at its very first start"
            ),
            Some(TokenSource::Variable) => {
                format!("the token in {TOKEN_VARIABLE} is not valid at {server}; create another one with `ensue tokens add`")
            }
            Some(TokenSource::VariableBefore(name)) => format!(
                "the token in {TOKEN_VARIABLE} is not valid at {server}; to use the profile's own token, run `unset {TOKEN_VARIABLE}` or use `--profile {name}`"
            ),
            Some(TokenSource::Login(_)) => "log in again with `ensue login`".to_owned(),
            Some(TokenSource::Profile(name)) => {
                format!(
                    "the token of the profile `{name}` is not valid at {server}; save another one with `ensue profiles add {name} --url {server}`"
                )
            }
        }
    }
}

/// Returns the position that an answer names; 0 if it names none.
fn position_of(response: &Response) -> u64 {
    response.headers().get(POSITION).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default()
}

fn exit_of(status: StatusCode) -> Exit {
    match status.as_u16() {
        401 | 403 => Exit::NotAllowed,
        404 | 410 => Exit::Missing,
        429 | 502..=504 => Exit::TryLater,
        500 => Exit::Internal,
        400..=499 => Exit::Refused,
        _ => Exit::Failed,
    }
}

fn not_a_server(server: &str) -> Failure {
    Failure::with(Exit::Usage, format!("`{server}` is not the address of a node"))
        .hint(format!("write a URL, for example --server {DEFAULT_SERVER}"))
}

/// Returns the innermost cause of an HTTP client error: that the request failed is already known.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Returns a path with its query, if there is one.
pub(crate) fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", segment(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// Returns what to do about a failed connection. The cause is a text of the TLS library or of the system.
fn hint_for_connection(cause: &str) -> &'static str {
    const HINTS: [(&str, &str); 4] = [
        ("CaUsedAsEndEntity", "the node's certificate is that of an authority: create one with basicConstraints=critical,CA:FALSE"),
        ("InvalidContentType", "the node does not serve TLS there: use an address that begins with http://"),
        (
            "fatal alert",
            "if the node requires a certificate of its callers, name the file of yours with --client-cert or ENSUE_CLIENT_CERT",
        ),
        ("certificate", "name the file of the authority that issued the node's certificate with --ca or ENSUE_CA"),
    ];
    let known = HINTS.into_iter().find(|(part, _)| cause.contains(part));
    known.map_or("start one with `ensue serve`, or name another with --server or ENSUE_SERVER", |(_, hint)| hint)
}

/// Encodes a text as one path segment or one query value.
pub(crate) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => segment.push(char::from(byte)),
            other => segment.push_str(&format!("%{other:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_input_stays_one_path_segment() {
        assert_eq!(segment("core.echo"), "core.echo");
        assert_eq!(segment("../keys?x=1#y"), "..%2Fkeys%3Fx%3D1%23y");
    }

    #[test]
    fn malformed_token_is_a_usage_error_and_is_not_repeated() {
        for broken in ["ens_1\nens_2", "ens_1 ens_2", "ens_é", "ens_\u{7f}"] {
            let failure = Token::of_variable(broken).err().expect(broken);
            assert_eq!(failure.exit(), Exit::Usage, "{broken}");
            assert!(!failure.to_string().contains("ens_"), "{failure}");
        }
        assert!(Token::of_variable(" \n").unwrap().is_none());
        assert!(Token::of_variable("ens_1\n").unwrap().is_some());
    }

    #[test]
    fn proxy_errors_exit_with_try_later_like_a_busy_node() {
        for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT]
        {
            assert_eq!(exit_of(status), Exit::TryLater, "{status}");
        }
    }

    #[test]
    fn removed_resource_exits_with_missing() {
        for status in [StatusCode::NOT_FOUND, StatusCode::GONE] {
            assert_eq!(exit_of(status), Exit::Missing, "{status}");
        }
        assert_eq!(exit_of(StatusCode::CONFLICT), Exit::Refused);
        assert_eq!(exit_of(StatusCode::INTERNAL_SERVER_ERROR), Exit::Internal);
    }

    #[test]
    fn known_position_never_decreases() {
        let client = Client::new(DEFAULT_SERVER, None, &Trust::default()).unwrap();
        let asks_for = |client: &Client| {
            let request = client.request(Method::GET, "/events").build().unwrap();
            request.headers().get(POSITION).map(|position| position.to_str().unwrap().to_owned())
        };
        assert_eq!(asks_for(&client), None);
        for seen in [7, 3, 0] {
            client.saw(seen);
            assert_eq!(asks_for(&client).as_deref(), Some("7"), "after {seen}");
        }
        client.saw(8);
        assert_eq!(asks_for(&client).as_deref(), Some("8"));
    }

    #[test]
    fn invalid_server_address_is_a_usage_error() {
        for server in ["", "localhost", "127.0.0.1:3678", "ftp://x", "http://"] {
            let failure = Client::new(server, None, &Trust::default()).err().expect(server);
            assert_eq!(failure.exit(), Exit::Usage, "{server}");
        }
    }
}
