//! The headers of a delivery: which of them expressions read, and which are kept and shown to people.

use std::borrow::Cow;

use ensue_engine::catalog::Verify;

/// Headers that people see, by name: those with which senders describe a delivery.
const SHOWN_NAMES: &[&str] = &["content-type", "user-agent", "date", "idempotency-key"];
/// Headers that people see, by prefix.
const SHOWN_PREFIXES: &[&str] = &["x-", "ce-", "webhook-", "svix-", "linear-", "sentry-"];
/// Headers added by proxies, and headers that may hold credentials: people see them only if an expression reads them, or
/// the author of the sensor names them.
const HIDDEN_PREFIXES: &[&str] = &["x-forwarded-", "x-real-", "x-original-", "x-envoy-", "x-amzn-", "x-csrf", "x-xsrf"];
const HIDDEN_WORDS: &[&str] = &["token", "secret", "auth", "cookie", "password", "session", "api-key", "apikey"];

/// Returns true if people see a header whatever its sensor reads.
pub(crate) fn is_shown(name: &str) -> bool {
    (SHOWN_NAMES.contains(&name) || SHOWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        && !HIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !opens_doors(name)
}

/// Returns true if a value with this name may be a secret.
pub(crate) fn opens_doors(name: &str) -> bool {
    HIDDEN_WORDS.iter().any(|word| name.contains(word))
}

/// Returns the headers that expressions read: all but those with credentials to the node, and the proof of the sender. The
/// values of a repeated one are joined with `, ` (RFC 9110 §5.3).
pub(crate) fn read_headers<'r>(verify: &Verify, headers: &'r [(String, String)]) -> Vec<(&'r str, Cow<'r, str>)> {
    let mut read: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !verify.hides(name)) {
        match read.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => *values = format!("{values}, {value}").into(),
            None => read.push((name, value.into())),
        }
    }
    read
}
