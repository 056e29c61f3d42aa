//! A sample GitHub webhook for the demonstration and the measurements: a pull request was opened.
//!
//! The body has GitHub's full shape
//! (<https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request>) with invented names.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The body of a `pull_request` delivery, action `opened`, exactly as it is sent.
pub const PULL_REQUEST: &[u8] = include_bytes!("../fixtures/pull_request.json");

/// Signs a body as GitHub does. Returns the value of `X-Hub-Signature-256`.
pub fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut signature = Signature::of(secret);
    signature.update(body);
    signature.into_header()
}

/// A signature that is computed incrementally.
#[derive(Clone)]
pub(crate) struct Signature(Hmac<Sha256>);

impl Signature {
    /// Begins the signature of a body.
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("an HMAC takes a key of any length"))
    }

    /// Adds a piece of the body.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Returns the value of `X-Hub-Signature-256`.
    pub(crate) fn into_header(self) -> String {
        format!("sha256={}", hex::encode(self.0.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GitHub's own worked example (docs.github.com, "Validating webhook deliveries").
    #[test]
    fn signature_is_github_s() {
        assert_eq!(
            signature(b"It's a Secret to Everybody", b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    #[test]
    fn body_is_a_pull_request_of_the_usual_size() {
        let body: serde_json::Value = serde_json::from_slice(PULL_REQUEST).unwrap();
        assert_eq!((body["action"].as_str(), body["number"].as_i64()), (Some("opened"), Some(42)));
        assert!((20_000..24_000).contains(&PULL_REQUEST.len()), "{}", PULL_REQUEST.len());
    }
}
