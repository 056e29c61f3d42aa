//! Deliveries at webhooks, signed as GitHub signs its own.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

/// The body of a GitHub `pull_request` delivery, action `opened`.
pub(crate) const PULL_REQUEST: &[u8] = include_bytes!("../../../bench/fixtures/pull_request.json");
/// The secret that test deliveries are signed with.
pub(crate) const SECRET: &str = "a secret for tests, long enough";

/// A delivery to a webhook, in transit.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// The path of the hook.
    pub(crate) path: String,
    /// The headers.
    pub(crate) headers: Vec<(String, String)>,
    /// The raw body.
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    /// Creates a delivery as GitHub would, signed with [`SECRET`].
    pub(crate) fn github(event: &str, id: &str, body: &[u8]) -> Self {
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("user-agent", "GitHub-Hookshot/test".to_owned()),
            ("x-github-event", event.to_owned()),
            ("x-github-delivery", id.to_owned()),
            ("x-hub-signature-256", signature(SECRET.as_bytes(), body)),
        ];
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { path: "/hooks/github/webhook".to_owned(), headers, body: body.to_vec() }
    }

    /// The opened pull request of the fixtures. Another id has another body with the same content, as
    /// GitHub's have.
    pub(crate) fn pull_request(id: &str) -> Self {
        Self::github("pull_request", id, &[PULL_REQUEST, &spaces(id)].concat())
    }

    /// Turns it into another delivery, with its own id and a body with the same content.
    #[must_use]
    pub(crate) fn under(self, id: &str) -> Self {
        let body = [&self.body, spaces(id).as_slice()].concat();
        let signature = signature(SECRET.as_bytes(), &body);
        let signed = self.with_header("x-github-delivery", Some(id)).with_header("x-hub-signature-256", Some(&signature));
        Self { body, ..signed }
    }

    /// Replaces or removes a header.
    #[must_use]
    pub(crate) fn with_header(mut self, name: &str, value: Option<&str>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        self
    }

    /// Sends it to another hook.
    #[must_use]
    pub(crate) fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }
}

/// Spaces and tabs that encode an id.
fn spaces(id: &str) -> Vec<u8> {
    let digest = Sha256::digest(id.as_bytes());
    digest.iter().take(8).flat_map(|byte| (0..8).map(move |bit| if byte >> bit & 1 == 1 { b'\t' } else { b' ' })).collect()
}

/// Signs a body as GitHub does.
pub(crate) fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}
