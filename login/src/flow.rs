//! The login of a person through an issuer, in a browser: the code flow of OpenID Connect with PKCE.
//!
//! [`Issuers::start_login`] returns where the browser goes, and what the node keeps until it comes back.
//! [`Issuers::finish_login`] takes that, checks the callback, exchanges the code and verifies the ID token. If the
//! issuer sent a refresh token, [`Issuers::renew_login`] asks later whom it still admits.

mod callback;
mod exchange;

use std::time::Duration;

use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use url::Url;

use crate::admission::{IssuerIdentity, admit_claims};
use crate::claims::millis;
use crate::fetch::Fetch;
use crate::issuers::Issuers;
use crate::jose::{Algorithm, TokenFault, decode_url, encode_url};
use crate::refusal::Refusal;
use crate::settings::IssuerName;
use callback::Callback;
use exchange::{NoTokens, Tokens, exchange, secret_text};

/// How long a person has for a login at the issuer.
pub const LOGIN_TIME_MAX: Duration = Duration::from_secs(10 * 60);

/// Random bytes for one login.
pub struct LoginRandom {
    /// For `state`.
    pub state: [u8; 16],
    /// For `nonce`.
    pub nonce: [u8; 16],
    /// For the verifier of PKCE.
    pub verifier: [u8; 32],
}

/// Where the browser goes, and what the node keeps until it comes back.
pub struct LoginStart {
    /// Where the browser goes.
    pub url: Url,
    /// What is kept, bound to the browser by a cookie.
    pub pending: Pending,
}

/// A login that was started. It holds the verifier, so it must be sealed wherever it is stored.
#[derive(Serialize, Deserialize)]
pub struct Pending {
    issuer: IssuerName,
    state: String,
    nonce: String,
    verifier: String,
    redirect_uri: String,
    until: Timestamp,
}

impl Pending {
    /// Returns true if a callback of `issuer` with this query belongs to the login, and comes in time.
    pub fn is_for(&self, issuer: &IssuerName, query: &str, now: Timestamp) -> bool {
        Callback::read(query).is_some_and(|callback| self.admits(issuer, &callback, now))
    }

    fn admits(&self, issuer: &IssuerName, callback: &Callback, now: Timestamp) -> bool {
        self.issuer == *issuer && now < self.until && is_same(callback.state(), &self.state)
    }
}

/// Who came in through an issuer.
pub struct LoggedIn {
    /// Whom the ID token admits.
    pub admitted: IssuerIdentity,
    /// How long the session may last, if the issuer's settings shorten it.
    pub session_max: Option<Duration>,
    /// The session at the issuer (`sid`), if it has one: a logout at the issuer names it.
    pub issuer_session: Option<String>,
    /// The issuer's refresh token, if it sent one.
    pub refresh_token: Option<Secret>,
}

/// What an issuer says about a login that is in force.
pub struct LoginRenewal {
    /// Whom it admits now; `None` if it sent no ID token, so that nothing changes.
    pub admitted: Option<IssuerIdentity>,
    /// The refresh token that replaces the old one, if it sent one.
    pub refresh_token: Option<Secret>,
}

/// A login that was not renewed.
pub struct NotRenewed {
    /// Why.
    pub why: RenewRefusal,
    /// The refresh token that replaces the old one, if the issuer sent one: the old one no longer works.
    pub refresh_token: Option<Secret>,
}

impl From<RenewRefusal> for NotRenewed {
    fn from(why: RenewRefusal) -> Self {
        Self { why, refresh_token: None }
    }
}

/// Why a login could not be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
pub enum RenewRefusal {
    /// The issuer ended the login, or its settings no longer admit the person: the session must end.
    #[error("the issuer `{issuer}` ended the login: {why}")]
    #[explain(slug = "login-refused", fault = Unauthenticated, hint = "log in again")]
    Ended {
        /// The issuer.
        issuer: IssuerName,
        /// What happened.
        why: String,
    },
    /// The issuer cannot be asked now: the session continues until it ends on its own.
    #[error(transparent)]
    #[explain(transparent)]
    NotNow(LoginRefusal),
}

/// Why a login through an issuer is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
pub enum LoginRefusal {
    /// The callback does not belong to a login that this browser started.
    #[error("this login was not started here, took longer than 10 minutes, or has ended")]
    #[explain(slug = "state-unknown", fault = Malformed, hint = "start the login again")]
    StateUnknown,
    /// The issuer refused the login or the code.
    #[error("the issuer `{issuer}` refused the login: {why}")]
    #[explain(slug = "login-refused", fault = Unauthenticated, hint = "start the login again")]
    ByIssuer {
        /// The issuer.
        issuer: IssuerName,
        /// Its error.
        why: String,
    },
    /// The ID token is not valid.
    #[error("the ID token of the issuer `{issuer}` is not valid: {fault}")]
    #[explain(slug = "login-refused", fault = Unauthenticated, hint = "compare the settings of the client at the issuer with `login.issuers`")]
    IdToken {
        /// The issuer.
        issuer: IssuerName,
        /// What is wrong.
        fault: IdTokenFault,
    },
    /// The issuer is not available, or its settings do not admit the person.
    #[error(transparent)]
    #[explain(transparent)]
    Refused(#[from] Refusal),
}

/// What is wrong with an ID token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdTokenFault {
    /// There is none.
    #[error("it is missing")]
    Missing,
    /// The token itself.
    #[error(transparent)]
    Token(TokenFault),
    /// It is that of another login.
    #[error("`nonce` is not that of this login")]
    Nonce,
    /// It belongs to another access token.
    #[error("`at_hash` is not that of the access token")]
    AccessTokenHash,
}

impl Issuers {
    /// Starts a login. The issuer sends the browser back to `redirect_uri`, which must differ between issuers.
    ///
    /// # Errors
    /// If nobody logs in with a browser through the issuer, or it cannot be reached.
    pub fn start_login(
        &self,
        issuer: &IssuerName,
        redirect_uri: &Url,
        random: &LoginRandom,
        now: Timestamp,
        fetch: &dyn Fetch,
    ) -> Result<LoginStart, LoginRefusal> {
        let login = self.login(issuer, now, fetch)?;
        let pending = Pending {
            issuer: issuer.clone(),
            state: encode_url(random.state),
            nonce: encode_url(random.nonce),
            verifier: encode_url(random.verifier),
            redirect_uri: redirect_uri.to_string(),
            until: now.plus_millis(millis(LOGIN_TIME_MAX)),
        };
        let mut url = login.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &login.client.id)
            .append_pair("redirect_uri", redirect_uri.as_str())
            .append_pair("scope", &login.client.scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &challenge_of(pending.verifier.as_ref()))
            .append_pair("code_challenge_method", "S256");
        Ok(LoginStart { url, pending })
    }

    /// Ends a login: `query` is that of the callback of `issuer`. The pending login is used up, so that no code
    /// is exchanged twice; the node must have removed it from its store before.
    ///
    /// # Errors
    /// If the callback does not belong to the pending login, the issuer refuses it, or the settings do not admit
    /// the person.
    #[expect(clippy::needless_pass_by_value, reason = "the pending login is used up")]
    pub fn finish_login(
        &self,
        issuer: &IssuerName,
        pending: Pending,
        query: &str,
        client_secret: Option<&Secret>,
        now: Timestamp,
        fetch: &dyn Fetch,
    ) -> Result<LoggedIn, LoginRefusal> {
        let callback = Callback::read(query).ok_or(LoginRefusal::StateUnknown)?;
        if !pending.admits(issuer, &callback, now) {
            return Err(LoginRefusal::StateUnknown);
        }
        let login = self.login(issuer, now, fetch)?;
        let code = callback.code(&login)?;
        let parameters = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", pending.redirect_uri.as_str()),
            ("code_verifier", pending.verifier.as_str()),
        ];
        let tokens = exchange(&login, &parameters, client_secret, fetch).map_err(|why| why.refusal(&login))?;
        let Tokens { id_token, access_token, refresh_token } = tokens;
        let invalid = |fault| LoginRefusal::IdToken { issuer: issuer.clone(), fault };
        let id_token = id_token.ok_or_else(|| invalid(IdTokenFault::Missing))?;
        let algorithm = algorithm_of(&id_token).map_err(|fault| invalid(IdTokenFault::Token(fault)))?;
        let (claims, document) = self.verify_id_token(&login, &id_token, now, fetch).map_err(|refusal| match refusal {
            Refusal::TokenInvalid(fault) => invalid(IdTokenFault::Token(fault)),
            other => LoginRefusal::Refused(other),
        })?;
        if !claims.nonce.as_deref().is_some_and(|nonce| is_same(nonce, &pending.nonce)) {
            return Err(invalid(IdTokenFault::Nonce));
        }
        let hashes = |hash: &String| decode_url(hash).is_some_and(|hash| hash == algorithm.half_hash(&access_token));
        if !claims.access_token_hash.as_ref().is_none_or(hashes) {
            return Err(invalid(IdTokenFault::AccessTokenHash));
        }
        Ok(LoggedIn {
            admitted: admit_claims(login.settings, &claims, &document)?,
            session_max: login.settings.session_max,
            issuer_session: document.root().get("sid").and_then(|sid| sid.as_str()).map(std::borrow::Cow::into_owned),
            refresh_token,
        })
    }
}

impl Issuers {
    /// Asks an issuer whether a login is still in force, and for whom. `subject` is that of the login.
    ///
    /// # Errors
    /// [`RenewRefusal::Ended`] if the session must end. Otherwise the session continues, with the new refresh token if
    /// there is one: the issuer answered, but its ID token cannot be verified now.
    pub fn renew_login(
        &self,
        issuer: &IssuerName,
        subject: &str,
        refresh_token: &Secret,
        client_secret: Option<&Secret>,
        now: Timestamp,
        fetch: &dyn Fetch,
    ) -> Result<LoginRenewal, NotRenewed> {
        let ended = |why: String| RenewRefusal::Ended { issuer: issuer.clone(), why };
        let not_now = |refusal: Refusal| RenewRefusal::NotNow(LoginRefusal::Refused(refusal));
        let login = self.login(issuer, now, fetch).map_err(not_now)?;
        let token = secret_text(refresh_token).ok_or_else(|| ended("the refresh token is not text".to_owned()))?;
        let parameters = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let tokens = exchange(&login, &parameters, client_secret, fetch).map_err(|why| match why {
            NoTokens::ByIssuer { code: Some(code), why } if code == "invalid_grant" => ended(why),
            other => RenewRefusal::NotNow(other.refusal(&login)),
        })?;
        let Some(id_token) = tokens.id_token else {
            return Ok(LoginRenewal { admitted: None, refresh_token: tokens.refresh_token });
        };
        let (claims, document) = match self.verify_id_token(&login, &id_token, now, fetch) {
            Ok(verified) => verified,
            // The keys may have rotated since they were fetched.
            Err(refusal @ (Refusal::IssuerUnavailable { .. } | Refusal::TokenInvalid(TokenFault::UnknownKey))) => {
                return Err(NotRenewed { why: not_now(refusal), refresh_token: tokens.refresh_token });
            }
            Err(other) => return Err(ended(other.to_string()).into()),
        };
        if claims.subject != subject {
            return Err(ended("the ID token is that of another person".to_owned()).into());
        }
        let admitted = admit_claims(login.settings, &claims, &document).map_err(|refusal| ended(refusal.to_string()))?;
        Ok(LoginRenewal { admitted: Some(admitted), refresh_token: tokens.refresh_token })
    }
}

fn algorithm_of(token: &str) -> Result<Algorithm, TokenFault> {
    crate::jose::Token::read(token).map(|token| token.algorithm())
}

fn is_same(given: &str, expected: &str) -> bool {
    given.as_bytes().ct_eq(expected.as_bytes()).into()
}
/// Returns the challenge of a verifier (PKCE S256, RFC 7636).
pub fn challenge_of(verifier: &[u8]) -> String {
    encode_url(Sha256::digest(verifier))
}
