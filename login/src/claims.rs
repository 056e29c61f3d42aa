//! The claims of a token that decide whether it counts: for whom, from when and until when.

use std::time::Duration;

use ensue_engine::time::Timestamp;
use ensue_expression::{Document, Node, NodeKind, Number};

use crate::jose::TokenFault;

/// How far the clocks of the node and of an issuer may differ.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// The maximum length of `sub`, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 255;

/// The latest time that a claim may have: the end of the year 9999, in seconds.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// The registered claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: Vec<String>,
    pub(crate) expires: Timestamp,
    not_before: Option<Timestamp>,
    pub(crate) issued: Option<Timestamp>,
    pub(crate) nonce: Option<String>,
    pub(crate) authorized_party: Option<String>,
    pub(crate) access_token_hash: Option<String>,
}

/// Why claims do not count now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Untimely {
    /// The token expired.
    Expired { at: Timestamp },
    /// It is too early, or it lasts too long.
    Fault(TokenFault),
}

impl Claims {
    /// Reads the claims. Each must have its type, even if it is not used.
    pub(crate) fn read(document: &Document) -> Result<Self, TokenFault> {
        let root = document.root();
        // A logout token has the issuer, the audience and the subject of a login.
        if root.get("events").is_some() {
            return Err(TokenFault::Event);
        }
        let subject = text(root, "sub")?.filter(|subject| !subject.is_empty() && subject.len() <= SUBJECT_BYTES_MAX);
        Ok(Self {
            issuer: text(root, "iss")?.ok_or(TokenFault::Malformed("iss"))?,
            subject: subject.ok_or(TokenFault::Malformed("sub"))?,
            audience: audience(root)?,
            expires: time(root, "exp")?.ok_or(TokenFault::Malformed("exp"))?,
            not_before: time(root, "nbf")?,
            issued: time(root, "iat")?,
            nonce: text(root, "nonce")?,
            authorized_party: text(root, "azp")?,
            access_token_hash: text(root, "at_hash")?,
        })
    }

    /// Checks that the token counts at `now`, and lasts for at most `lifetime_max`.
    pub(crate) fn check_time(&self, now: Timestamp, lifetime_max: Duration) -> Result<(), Untimely> {
        check_times(now, (self.expires, self.not_before, self.issued), lifetime_max)
    }

    /// Checks that the token is for one of `audience`.
    pub(crate) fn check_audience(&self, audience: &[String]) -> Result<(), TokenFault> {
        if self.audience.iter().any(|named| audience.contains(named)) { Ok(()) } else { Err(TokenFault::Audience) }
    }
}

/// Checks that a token counts at `now`, and lasts for at most `lifetime_max`.
pub(crate) fn check_times(
    now: Timestamp,
    (expires, not_before, issued): (Timestamp, Option<Timestamp>, Option<Timestamp>),
    lifetime_max: Duration,
) -> Result<(), Untimely> {
    let leeway = millis(LEEWAY);
    if now >= expires.plus_millis(leeway) {
        return Err(Untimely::Expired { at: expires });
    }
    let latest = now.plus_millis(leeway);
    if not_before.is_some_and(|time| time > latest) || issued.is_some_and(|time| time > latest) {
        return Err(Untimely::Fault(TokenFault::TooEarly));
    }
    if expires > issued.unwrap_or(now).plus_millis(millis(lifetime_max)) {
        return Err(Untimely::Fault(TokenFault::Lifetime));
    }
    Ok(())
}

/// Returns a duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn text(root: Node<'_>, claim: &'static str) -> Result<Option<String>, TokenFault> {
    let Some(value) = root.get(claim) else { return Ok(None) };
    value.as_str().map(|text| Some(text.into_owned())).ok_or(TokenFault::Malformed(claim))
}

pub(crate) fn audience(root: Node<'_>) -> Result<Vec<String>, TokenFault> {
    let malformed = TokenFault::Malformed("aud");
    match root.get("aud") {
        Some(list) if list.kind() == NodeKind::Array => {
            list.items().map(|item| item.as_str().map(std::borrow::Cow::into_owned).ok_or(malformed.clone())).collect()
        }
        Some(one) => one.as_str().map(|one| vec![one.into_owned()]).ok_or(malformed),
        None => Ok(Vec::new()),
    }
}

/// Returns a time that is written as seconds since 1970, perhaps with a fraction.
pub(crate) fn time(root: Node<'_>, claim: &'static str) -> Result<Option<Timestamp>, TokenFault> {
    let Some(value) = root.get(claim) else { return Ok(None) };
    let seconds = match value.number() {
        Some(Number::Int(seconds)) => seconds as f64,
        Some(Number::Uint(seconds)) => seconds as f64,
        Some(Number::Double(seconds)) => seconds,
        None => return Err(TokenFault::Malformed(claim)),
    };
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(TokenFault::Malformed(claim));
    }
    Ok(Some(Timestamp::from_micros((seconds * 1e6) as i64)))
}
