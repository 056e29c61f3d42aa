//! The secrets of a world, which only the vault may hold and only sealed, and how they are recognized
//! elsewhere.

/// The prefix of the values of keys.
const KEY_CANARY: &str = "canaryvalue";
/// The prefix of the secret of each client's token.
const TOKEN_CANARY: &str = "canarytoken";

/// How much is shown on each side of a secret that was found.
const AROUND_CHARS: usize = 200;

/// The secret that signs the webhook's deliveries.
pub(crate) const DOOR_SECRET: &str = "canaryvalue-door-0123456789abcdef";

/// A value of the pack's key.
pub(crate) fn key_value(number: u64) -> String {
    format!("{KEY_CANARY}{number:016x}")
}

/// The token of a client.
pub(crate) fn token(client: usize) -> String {
    format!("ens_01980000-0000-7000-8000-{client:012x}_{TOKEN_CANARY}{client:024}")
}

/// Returns true if these bytes contain a secret in plain text.
pub(crate) fn holds_secret(bytes: &[u8]) -> bool {
    around_secret(bytes).is_some()
}

/// Returns a secret that these bytes contain in plain text, with the text around it.
pub(crate) fn around_secret(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let at = [KEY_CANARY, TOKEN_CANARY].iter().filter_map(|canary| text.find(canary)).min()?;
    let from = text[..at].char_indices().rev().nth(AROUND_CHARS).map_or(0, |(from, _)| from);
    Some(text[from..].chars().take(2 * AROUND_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_of_a_world_is_recognized_anywhere() {
        for secret in [DOOR_SECRET.to_owned(), key_value(7), token(3)] {
            assert!(holds_secret(&[b"\xff{\"key\":\"", secret.as_bytes(), b"\"}"].concat()), "{secret}");
        }
    }

    #[test]
    fn name_of_a_key_is_not_a_secret() {
        assert!(!holds_secret(b"{\"key\":\"sim.canary\"}-sim.canary-token/client1"));
    }
}
