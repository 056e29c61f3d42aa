//! Senders of webhooks that prove themselves with a token of an issuer, which a pack names.
//!
//! Packs name these issuers and not the operator, so that requests to them follow the rules for hosts that nobody has
//! confirmed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ensue_engine::catalog::JwtVerify;
use ensue_engine::names::IssuerName;
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, Node};
use serde_json::Value;
use url::Url;

use crate::claims::{audience, millis, text, time};
use crate::fetch::Fetch;
use crate::issuers::Issuer;
use crate::jose::{Token, TokenFault};
use crate::refusal::Refusal;
use crate::settings::{IssuerSettings, SettingsError};

/// The maximum number of issuers whose keys are held. The first is forgotten over it.
const ISSUERS_MAX: usize = 256;
/// How long a token may last.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// The name of each of these issuers in errors.
const NAME: &str = "of-the-hook";

/// The issuers of senders, with their keys.
#[derive(Default)]
pub struct Senders {
    by_urls: Mutex<BTreeMap<Urls, Arc<Issuer>>>,
}

/// The URL of an issuer, and that of its keys.
type Urls = (String, Option<String>);

/// Checks the URLs of an issuer that a pack names.
///
/// # Errors
/// Which of them is not valid, and why.
pub fn check_urls(issuer: &str, jwks: Option<&str>) -> Result<(), SettingsError> {
    settings(issuer, jwks).map(drop)
}

fn settings(issuer: &str, jwks: Option<&str>) -> Result<IssuerSettings, SettingsError> {
    let name: IssuerName = NAME.parse().map_err(|error| SettingsError::Name { why: format!("{error}") })?;
    let jwks = jwks.map(|text| {
        let invalid = |why: String| SettingsError::Invalid { setting: "jwks".to_owned(), why };
        let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
        if crate::settings::is_protected(&url) { Ok(url) } else { Err(invalid("the URL must start with `https://`".to_owned())) }
    });
    IssuerSettings::of_pack(name, issuer.to_owned(), jwks.transpose()?)
}

impl Senders {
    /// Verifies the token of a delivery, and returns its claims.
    ///
    /// # Errors
    /// If the token is not valid now, is of another issuer or for another audience, or lacks a claim; or if the issuer
    /// cannot be reached. A token that does not name the issuer causes no request.
    pub fn verify(&self, verify: &JwtVerify, token: &str, now: Timestamp, fetch: &dyn Fetch) -> Result<Document, Refusal> {
        let token = Token::read(token).map_err(Refusal::TokenInvalid)?;
        if !matches!(token.kind(), None | Some("jwt" | "at+jwt")) {
            return Err(Refusal::TokenInvalid(TokenFault::Type));
        }
        let root = token.unverified_claims().root();
        if text(root, "iss").map_err(Refusal::TokenInvalid)?.as_deref() != Some(verify.issuer.as_str()) {
            return Err(Refusal::IssuerUnknown);
        }
        check_time(root, Duration::from_secs(u64::from(verify.leeway_seconds)), now)?;
        if !audience(root).map_err(Refusal::TokenInvalid)?.iter().any(|named| verify.audience.contains(named)) {
            return Err(Refusal::TokenInvalid(TokenFault::Audience));
        }
        // The pack was checked, so that its URLs are valid.
        let issuer = self.issuer(verify).map_err(|_| Refusal::IssuerUnknown)?;
        let (document, _) = issuer.verify(token, now, fetch)?;
        let lacks = |(name, expected): &&(String, Value)| document.root().get(name).map(Node::to_value).as_ref() != Some(expected);
        if let Some((name, _)) = verify.claims.iter().find(lacks) {
            let why = format!("`{name}` has another value");
            return Err(Refusal::ClaimsRefused { issuer: issuer.name().clone(), setting: "claims", why });
        }
        Ok(document)
    }

    fn issuer(&self, verify: &JwtVerify) -> Result<Arc<Issuer>, SettingsError> {
        let urls = (verify.issuer.clone(), verify.jwks.clone());
        let mut by_urls = self.by_urls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_urls.get(&urls) {
            return Ok(known.clone());
        }
        if by_urls.len() >= ISSUERS_MAX {
            by_urls.pop_first();
        }
        let issuer = Arc::new(Issuer::new(settings(&verify.issuer, verify.jwks.as_deref())?));
        by_urls.insert(urls, issuer.clone());
        Ok(issuer)
    }
}

/// Checks that a token counts now.
fn check_time(root: Node<'_>, leeway: Duration, now: Timestamp) -> Result<(), Refusal> {
    let time = |claim| time(root, claim).map_err(Refusal::TokenInvalid);
    let expires = time("exp")?.ok_or(Refusal::TokenInvalid(TokenFault::Malformed("exp")))?;
    let (issued, not_before) = (time("iat")?, time("nbf")?);
    if now >= expires.plus_millis(millis(leeway)) {
        return Err(Refusal::TokenExpired { at: expires });
    }
    let latest = now.plus_millis(millis(leeway));
    if issued.into_iter().chain(not_before).any(|time| time > latest) {
        return Err(Refusal::TokenInvalid(TokenFault::TooEarly));
    }
    if expires > issued.unwrap_or(now).plus_millis(millis(LIFETIME_MAX)) {
        return Err(Refusal::TokenInvalid(TokenFault::Lifetime));
    }
    Ok(())
}
