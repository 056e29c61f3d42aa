//! The headers of a delivery that a sensor's expressions see: those that describe it, and none that may hold a secret.

/// Headers that a sensor's expressions may see, by name: those with which senders describe a delivery.
const SHOWN_NAMES: &[&str] = &["content-type", "user-agent", "date", "idempotency-key"];
/// Headers that a sensor's expressions may see, by prefix.
const SHOWN_PREFIXES: &[&str] = &["x-", "ce-", "webhook-", "svix-", "linear-", "sentry-"];
/// Headers added by proxies, and headers that may hold credentials: they are hidden, because events can be
/// read by all.
const HIDDEN_PREFIXES: &[&str] = &["x-forwarded-", "x-real-", "x-original-", "x-envoy-", "x-amzn-", "x-csrf", "x-xsrf"];
const HIDDEN_WORDS: &[&str] = &["token", "secret", "auth", "cookie", "password", "session", "api-key", "apikey"];

fn is_shown(name: &str) -> bool {
    (SHOWN_NAMES.contains(&name) || SHOWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        && !HIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !opens_doors(name)
}

/// Returns true if a value with this name may be a secret.
pub(crate) fn opens_doors(name: &str) -> bool {
    HIDDEN_WORDS.iter().any(|word| name.contains(word))
}

/// Returns the headers that expressions see. The values of a repeated one are joined with `, ` (RFC 9110
/// §5.3).
pub(crate) fn shown_headers(headers: &[(String, String)]) -> Vec<(&str, String)> {
    let mut shown: Vec<(&str, String)> = Vec::new();
    for (name, value) in headers.iter().filter(|(name, _)| is_shown(name)) {
        match shown.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => {
                values.push_str(", ");
                values.push_str(value);
            }
            None => shown.push((name, value.clone())),
        }
    }
    shown
}
