//! Tokens of OAuth 2.0 for the node itself: client credentials (RFC 6749, section 4.4).
//!
//! A token is kept with the pool of its connection until shortly before it expires, or until the server rejects it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use ensue_engine::catalog::TextDecoding;
use ensue_engine::ports::Secret;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use thiserror::Error;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::settings::OAuthClient;
use super::{ConnectionErrorKind, LentConnection};
use crate::answer_body::AnswerBody;
use crate::web::{Letter, NoWay, Web as _};

/// The maximum size of the answer with a token, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long a token is used if the server does not say how long it is valid.
const LIFE_DEFAULT: Duration = Duration::from_secs(300);
/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_secs(30);

/// A token, and until when it is used, by the clock of the worker.
pub(super) struct Token {
    value: Secret,
    until: Duration,
}

/// Why there is no token.
#[derive(Debug, Error)]
#[error("no token of the connection's `token_url`: {why}")]
pub(crate) struct TokenError {
    pub(crate) kind: ConnectionErrorKind,
    why: String,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

fn error(kind: ConnectionErrorKind, why: impl Into<String>) -> TokenError {
    TokenError { kind, why: why.into() }
}

impl LentConnection {
    /// Returns the token that is kept, or asks for one. Only one request for a token is under way at a time.
    pub(super) async fn token(&self, client: &OAuthClient) -> Result<Secret, TokenError> {
        let mut kept = self.pool.token.lock().await;
        let now = self.clock.now();
        if let Some(token) = kept.as_ref().filter(|token| now < token.until) {
            return Ok(token.value.clone());
        }
        let timeout = self.http().map_or(LIFE_DEFAULT, |http| http.timeout);
        let asked = tokio::select! {
            biased;
            asked = self.ask(client) => asked?,
            () = self.clock.until(now.saturating_add(timeout)) => {
                return Err(error(ConnectionErrorKind::Timeout, format!("no answer within {} seconds", timeout.as_secs_f64())));
            }
        };
        let life = asked.expires_in.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        let life = life.map_or(LIFE_DEFAULT, |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(LIFE_DEFAULT));
        let value = Secret::new(asked.access_token.into_bytes());
        *kept = Some(Token { value: value.clone(), until: now + life.saturating_sub(MARGIN.min(life / 2)) });
        Ok(value)
    }

    /// Forgets the token, because the server rejected it.
    pub(crate) async fn forget_token(&self) {
        *self.pool.token.lock().await = None;
    }

    async fn ask(&self, client: &OAuthClient) -> Result<TokenResponse, TokenError> {
        // Both parts are form-encoded before they are joined (RFC 6749, section 2.3.1).
        let encoded = |text: &[u8]| byte_serialize(text).collect::<String>();
        let secret = self.pool.secret(&client.client_secret).trim_ascii();
        let pair = format!("{}:{}", encoded(client.client_id.as_bytes()), encoded(secret));
        let mut authorization = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
            .map_err(|_| error(ConnectionErrorKind::KeyMissing, "the client's secret cannot be sent"))?;
        authorization.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json")),
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
            (AUTHORIZATION, authorization),
        ]);
        let letter = Letter { method: Method::POST, url: client.token_url.clone(), headers, body: Some(form_of(client)) };
        let way = self.pool.web.way(&client.token_url).await.map_err(|why| match why {
            NoWay::Denied => error(ConnectionErrorKind::EgressDenied, "its server is not an allowed destination"),
            NoWay::Unreachable(why) => error(ConnectionErrorKind::Connect, why),
        })?;
        let broken = |why: crate::web::BrokenOff| error(ConnectionErrorKind::Connect, why.0);
        let mut answered = way.send(letter).await.map_err(broken)?;
        let mut body = Vec::new();
        while let Some(piece) = answered.body.piece().await.map_err(broken)? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(error(ConnectionErrorKind::Protocol, format!("its answer has more than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        if !answered.status.is_success() {
            let kind = match answered.status.as_u16() {
                400 | 401 | 403 => ConnectionErrorKind::Auth,
                500.. => ConnectionErrorKind::Server,
                _ => ConnectionErrorKind::Protocol,
            };
            return Err(error(kind, format!("its server answered {}", answered.status)));
        }
        let read = AnswerBody::decompress(&answered.headers, body.into(), ANSWER_BYTES_MAX);
        let read = read.and_then(|body| body.json(&TextDecoding::default(), None));
        let answer = read.ok().and_then(|document| serde_json::from_slice::<TokenResponse>(document.bytes()).ok());
        // The text of an error could hold the token.
        let answer = answer.ok_or_else(|| error(ConnectionErrorKind::Protocol, "its answer is not JSON with `access_token`"))?;
        let is_bearer = answer.token_type.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        if is_bearer { Ok(answer) } else { Err(error(ConnectionErrorKind::Protocol, "its token is not of the type `bearer`")) }
    }
}

/// Returns the form that asks for a token.
fn form_of(client: &OAuthClient) -> Bytes {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !client.scopes.is_empty() {
        form.append_pair("scope", &client.scopes.join(" "));
    }
    if let Some(audience) = &client.audience {
        form.append_pair("audience", audience);
    }
    Bytes::from(form.finish())
}
