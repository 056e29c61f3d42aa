//! Why a token or a login of an issuer is refused.

use ensue_engine::explain::Explain;
use ensue_engine::time::Timestamp;
use thiserror::Error;

use crate::jose::TokenFault;
use crate::settings::IssuerName;

/// The maximum length of a text of somebody else in an error, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// Why a token, or a login through an issuer, is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
pub enum Refusal {
    /// The token is not valid. The reason is for the node's own log.
    #[error("the token is not valid")]
    #[explain(slug = "token-invalid", fault = Unauthenticated)]
    TokenInvalid(TokenFault),
    /// The token was valid once.
    #[error("the token expired at {at}")]
    #[explain(slug = "token-expired", fault = Unauthenticated, hint = "ask the issuer for a new token")]
    TokenExpired {
        /// When.
        at: Timestamp,
    },
    /// No issuer with this use is configured.
    #[error("no issuer is configured that may sign this token")]
    #[explain(slug = "issuer-unknown", fault = Unauthenticated, hint = "add the issuer to `login.issuers` of `ensue.yaml`, with `use: [bearer]`")]
    IssuerUnknown,
    /// The issuer does not answer, so nothing that it signed can be verified.
    #[error("the issuer `{issuer}` is not available: {why}")]
    #[explain(slug = "issuer-unavailable", fault = Unavailable, hint = "try again later; other ways to log in still work")]
    IssuerUnavailable {
        /// The issuer.
        issuer: IssuerName,
        /// What happened.
        why: String,
    },
    /// A setting of the issuer does not admit these claims.
    #[error("`{setting}` of the issuer `{issuer}` does not admit these claims: {why}")]
    #[explain(slug = "claims-refused", fault = Forbidden, hint = "compare the claims of the token with the settings of the issuer")]
    ClaimsRefused {
        /// The issuer.
        issuer: IssuerName,
        /// `allow`, `name` or `groups`.
        setting: &'static str,
        /// What happened.
        why: String,
    },
    /// The issuer left the groups out because there are too many.
    #[error("the issuer `{issuer}` sends too many groups")]
    #[explain(
        slug = "groups-overage",
        fault = Forbidden,
        hint = "let the issuer send app roles, or only the groups that are assigned to the application"
    )]
    GroupsOverage {
        /// The issuer.
        issuer: IssuerName,
    },
}

/// Returns a text of somebody else as it may appear in an error: short, in one line.
pub(crate) fn to_short_line(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
