//! Exchanges a code or a refresh token for tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ensue_engine::ports::Secret;
use ensue_expression::{Document, Node};
use url::form_urlencoded::{Serializer, byte_serialize};

use super::LoginRefusal;
use crate::discovery::ClientAuthentication;
use crate::fetch::{FETCH_BYTES_MAX, Fetch, Method, Request, Response};
use crate::issuers::BrowserLogin;
use crate::refusal::{Refusal, to_short_line};

/// What the issuer sends.
pub(super) struct Tokens {
    pub(super) id_token: Option<String>,
    pub(super) access_token: String,
    pub(super) refresh_token: Option<Secret>,
}

/// Why there are no tokens.
pub(super) enum NoTokens {
    /// The issuer refused: its error code, and that with its description.
    ByIssuer { code: Option<String>, why: String },
    /// It does not answer as it should.
    Unavailable { why: String },
}

impl NoTokens {
    /// Returns the refusal of a login.
    pub(super) fn refusal(self, login: &BrowserLogin<'_>) -> LoginRefusal {
        let issuer = login.settings.name.clone();
        match self {
            Self::ByIssuer { why, .. } => LoginRefusal::ByIssuer { issuer, why },
            Self::Unavailable { why } => LoginRefusal::Refused(Refusal::IssuerUnavailable { issuer, why }),
        }
    }
}

/// Sends the parameters once. A failure is not retried, because the issuer may have used the code up.
pub(super) fn exchange(
    login: &BrowserLogin<'_>,
    parameters: &[(&str, &str)],
    client_secret: Option<&Secret>,
    fetch: &dyn Fetch,
) -> Result<Tokens, NoTokens> {
    let unavailable = |why: String| NoTokens::Unavailable { why };
    let secret = match (&login.client.secret, client_secret) {
        (None, _) => None,
        (Some(_), Some(secret)) => Some(secret_text(secret).ok_or_else(|| unavailable("the client secret is not text".to_owned()))?),
        (Some(_), None) => return Err(unavailable("the client secret is not set".to_owned())),
    };
    let mut form = Serializer::new(String::new());
    form.extend_pairs(parameters);
    let authorization = match (secret, login.client_authentication) {
        (None, _) => {
            form.append_pair("client_id", &login.client.id);
            None
        }
        (Some(secret), ClientAuthentication::Post) => {
            form.append_pair("client_id", &login.client.id).append_pair("client_secret", secret);
            None
        }
        (Some(secret), ClientAuthentication::Basic) => Some(basic(&login.client.id, secret)),
    };
    let request = Request {
        url: login.token_endpoint.clone(),
        host_by: login.settings.host_by(&login.token_endpoint),
        method: Method::Post { form: Secret::new(form.finish().into_bytes()), authorization },
        ca: login.settings.ca.clone(),
    };
    let response = fetch.fetch(&request).map_err(|error| unavailable(format!("{}: {}", request.url, to_short_line(&error.to_string()))))?;
    match response.status {
        200 => read(response).ok_or_else(|| unavailable("its response has no access token".to_owned())),
        400..=499 => Err(error_of(response)),
        status => Err(unavailable(format!("{}: the status is {status}", request.url))),
    }
}

/// RFC 6749, section 2.3.1: both parts are encoded as in a form.
fn basic(id: &str, secret: &str) -> Secret {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)))).into_bytes())
}

/// Returns a secret as text, without the line end that files have.
pub(super) fn secret_text(secret: &Secret) -> Option<&str> {
    std::str::from_utf8(secret.reveal().trim_ascii_end()).ok().filter(|text| !text.is_empty())
}

fn read(response: Response) -> Option<Tokens> {
    let document = document(response)?;
    let text = |name: &str| document.root().get(name).and_then(Node::as_str).map(std::borrow::Cow::into_owned);
    if !text("token_type")?.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Some(Tokens {
        id_token: text("id_token"),
        access_token: text("access_token")?,
        refresh_token: text("refresh_token").map(|token| Secret::new(token.into_bytes())),
    })
}

fn error_of(response: Response) -> NoTokens {
    let status = response.status;
    let document = document(response);
    let text = |name: &str| document.as_ref().and_then(|document| document.root().get(name)?.as_str().map(|text| to_short_line(&text)));
    let code = text("error");
    let why = match (&code, text("error_description")) {
        (Some(error), Some(description)) => format!("{error}: {description}"),
        (Some(error), None) => error.clone(),
        _ => format!("the status is {status}"),
    };
    NoTokens::ByIssuer { code, why }
}

fn document(response: Response) -> Option<Document> {
    if response.body.len() > FETCH_BYTES_MAX {
        return None;
    }
    Document::parse(Bytes::from(response.body)).ok()
}
