//! Checks that no text is admitted as a token of an issuer whose keys are unknown to whoever wrote it, and that a
//! token reads the same each time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use ensue_engine::time::Timestamp;
use ensue_login::fetch::{FetchError, Request, Response};
use ensue_login::jose::Token;
use ensue_login::{Fetch, Issuers, check_issuers};

const ISSUER: &str = "https://id.test";
/// A key for each algorithm: those of RFC 7515 and RFC 8037.
const KEYS: &str = include_str!("../seeds/jwks/published.json");

struct Web;

impl Fetch for Web {
    fn fetch(&self, request: &Request) -> Result<Response, FetchError> {
        let body = match request.url.path() {
            "/keys" => KEYS.to_owned(),
            _ => format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{ISSUER}/keys"}}"#),
        };
        Ok(Response { status: 200, cache_control: None, body: body.into_bytes() })
    }

    fn read(&self, _: &Path) -> Result<Vec<u8>, FetchError> {
        Err(FetchError::Timeout)
    }
}

static ISSUERS: LazyLock<Issuers> = LazyLock::new(|| {
    let settings = serde_json::json!({
        "issuer": ISSUER, "use": ["bearer"], "audience": "a", "allow": "true", "name": "claims.sub", "groups": "claims.?groups.orValue(null)",
    });
    let written = BTreeMap::from([("fuzz".to_owned(), serde_json::from_value(settings).expect("the settings are valid"))]);
    Issuers::new(check_issuers(written).expect("the settings are valid"))
});

/// Checks one input.
pub(crate) fn check_input(text: &str) {
    let refusal = ISSUERS.admit(text, Timestamp::from_micros(1_300_000_000_000_000), &Web).expect_err("nobody has the private keys");
    assert!(!refusal.to_string().is_empty());
    if let Ok(token) = Token::read(text) {
        let again = Token::read(text).expect("it was read before");
        assert_eq!((token.algorithm(), token.key_id(), token.kind()), (again.algorithm(), again.key_id(), again.kind()));
        assert_eq!(token.unverified_claims().bytes(), again.unverified_claims().bytes());
    }
}
