//! Logouts that start at an issuer (OpenID Connect Back-Channel Logout 1.0): a signed token names whose login ends.

use ensue_engine::explain::Explain;
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, NodeKind};
use thiserror::Error;

use crate::claims::{self, LEEWAY, SUBJECT_BYTES_MAX, Untimely, millis};
use crate::fetch::Fetch;
use crate::issuers::Issuers;
use crate::jose::{Token, TokenFault};
use crate::refusal::Refusal;
use crate::settings::IssuerName;
use crate::used_tokens::UsedBefore;

/// The event that a logout token reports.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The maximum length of `jti` and `sid`, in bytes.
const ID_BYTES_MAX: usize = 255;

/// Whose login ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// The issuer.
    pub issuer: IssuerName,
    /// What identifies the person at the issuer, if the token says so.
    pub subject: Option<String>,
    /// The session at the issuer. If it is absent, all logins of the person end.
    pub session: Option<String>,
    id: String,
}

/// Why a logout token is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
pub enum LogoutRefusal {
    /// It is not a valid logout token. The reason is for the node's own log.
    #[error("the logout token is not valid")]
    #[explain(slug = "logout-token-invalid", fault = Malformed, hint = "the node's own log has the reason; compare the client at the issuer with `login.issuers`")]
    Invalid(LogoutFault),
    /// Nobody logs in through the issuer, or it is not available.
    #[error(transparent)]
    #[explain(transparent)]
    Refused(Refusal),
}

/// What is wrong with a logout token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogoutFault {
    /// The token itself.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// It has expired.
    #[error("it expired at {0}")]
    Expired(Timestamp),
    /// It reports something else.
    #[error("`events` does not report a logout")]
    Event,
    /// It has a nonce, so it is an ID token.
    #[error("it has a `nonce`")]
    Nonce,
    /// It names nobody.
    #[error("it has neither `sub` nor `sid`")]
    Nobody,
    /// It was used before.
    #[error("it was used before")]
    Repeated,
}

impl From<TokenFault> for LogoutRefusal {
    fn from(fault: TokenFault) -> Self {
        Self::Invalid(fault.into())
    }
}

impl Issuers {
    /// Verifies a logout token of an issuer, and uses it up.
    ///
    /// # Errors
    /// If the token is not valid or was used before, or if the issuer cannot be reached.
    pub fn log_out(&self, issuer: &IssuerName, token: &str, now: Timestamp, fetch: &dyn Fetch) -> Result<Logout, LogoutRefusal> {
        let login = self.settings().find(|settings| settings.name == *issuer).filter(|settings| settings.client.is_some());
        let settings = login.ok_or(LogoutRefusal::Refused(Refusal::IssuerUnknown))?;
        let token = Token::read(token)?;
        if !matches!(token.kind(), None | Some("jwt" | "logout+jwt")) {
            return Err(TokenFault::Type.into());
        }
        let read = Claims::read(token.unverified_claims())?;
        if read.issuer != settings.issuer {
            return Err(TokenFault::Malformed("iss").into());
        }
        let is_for_us = |client: &crate::settings::Client| read.audience.contains(&client.id);
        if !settings.client.as_ref().is_some_and(is_for_us) {
            return Err(TokenFault::Audience.into());
        }
        claims::check_times(now, (read.expires, None, Some(read.issued)), settings.lifetime_max).map_err(|untimely| match untimely {
            Untimely::Expired { at } => LogoutRefusal::Invalid(LogoutFault::Expired(at)),
            Untimely::Fault(fault) => fault.into(),
        })?;
        let document = self.verify_of(issuer, token, now, fetch).map_err(|refusal| match refusal {
            Refusal::TokenInvalid(fault) => fault.into(),
            other => LogoutRefusal::Refused(other),
        })?;
        let logout = read.logout(issuer, &document).map_err(LogoutRefusal::Invalid)?;
        let until = read.expires.plus_millis(millis(LEEWAY));
        match self.used_logouts().take(&logout.issuer, &logout.id, until, now) {
            Ok(()) => Ok(logout),
            Err(UsedBefore) => Err(LogoutRefusal::Invalid(LogoutFault::Repeated)),
        }
    }

    /// Lets a logout token count again, because what it asks for could not be done.
    pub fn not_logged_out(&self, logout: &Logout) {
        self.used_logouts().give_back(&logout.issuer, &logout.id);
    }
}

/// The registered claims of a logout token.
struct Claims {
    issuer: String,
    audience: Vec<String>,
    issued: Timestamp,
    expires: Timestamp,
    id: String,
}

impl Claims {
    fn read(document: &Document) -> Result<Self, TokenFault> {
        let root = document.root();
        let id = claims::text(root, "jti")?.filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()));
        Ok(Self {
            issuer: claims::text(root, "iss")?.ok_or(TokenFault::Malformed("iss"))?,
            audience: claims::audience(root)?,
            issued: claims::time(root, "iat")?.ok_or(TokenFault::Malformed("iat"))?,
            expires: claims::time(root, "exp")?.ok_or(TokenFault::Malformed("exp"))?,
            id: id.ok_or(TokenFault::Malformed("jti"))?,
        })
    }

    fn logout(&self, issuer: &IssuerName, document: &Document) -> Result<Logout, LogoutFault> {
        let root = document.root();
        let event = root.get("events").and_then(|events| events.get(EVENT));
        if event.is_none_or(|event| event.kind() != NodeKind::Object) {
            return Err(LogoutFault::Event);
        }
        if root.get("nonce").is_some() {
            return Err(LogoutFault::Nonce);
        }
        let text = |claim: &'static str, most: usize| match claims::text(root, claim)? {
            Some(text) if text.is_empty() || text.len() > most => Err(TokenFault::Malformed(claim)),
            found => Ok(found),
        };
        let (subject, session) = (text("sub", SUBJECT_BYTES_MAX)?, text("sid", ID_BYTES_MAX)?);
        if subject.is_none() && session.is_none() {
            return Err(LogoutFault::Nobody);
        }
        Ok(Logout { issuer: issuer.clone(), subject, session, id: self.id.clone() })
    }
}
