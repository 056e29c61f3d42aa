//! Access tokens of the node's own sessions: signed with Ed25519, valid for ten minutes (RFC 9068).
//!
//! A token only names its session. The node looks the session up at each request, so a session that ended ends its
//! tokens too.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::claims::{Claims, millis};
use crate::jose::{Algorithm, Key, Token};

/// How long an access token is valid.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(600);
/// After this time, the node signs with a new key.
pub const SIGNING_KEY_PERIOD: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a key that was replaced still verifies.
pub const SIGNING_KEY_OVERLAP: Duration = Duration::from_secs(3600);

/// The type in the header of an access token.
const KIND: &str = "at+jwt";

/// A key of the node that signs access tokens.
pub struct SigningKey {
    id: String,
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
    public: Key,
    since: Timestamp,
}

/// What an access token says.
#[derive(Clone, Debug)]
pub struct AccessClaims<'c> {
    /// The address of the node.
    pub issuer: &'c str,
    /// The log for which it counts.
    pub audience: &'c str,
    /// The identity, or the name of a token that no identity holds.
    pub subject: &'c str,
    /// The session.
    pub session: Uuid,
    /// From when it counts.
    pub at: Timestamp,
}

/// Why an access token of the node is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFault {
    /// No key of the node signed it.
    NotOurs,
    /// It has expired.
    Expired,
}

impl SigningKey {
    /// Creates a key from 32 random bytes.
    pub fn new(seed: [u8; 32], since: Timestamp) -> Option<Self> {
        let seed = Zeroizing::new(seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).ok()?;
        let public = pair.public_key().as_ref().to_vec();
        let id = URL_SAFE_NO_PAD.encode(&Sha256::digest(&public)[..12]);
        Some(Self { public: Key::ed25519(id.clone(), public), id, seed, pair, since })
    }

    /// Restores a key from the vault.
    pub fn restore(stored: &Secret) -> Option<Self> {
        let (seed, since) = stored.reveal().split_first_chunk::<32>()?;
        Self::new(*seed, Timestamp::from_micros(i64::from_be_bytes(since.try_into().ok()?)))
    }

    /// Returns the key as one whose time is over by every clock: it signs nothing, and all its tokens have expired.
    pub fn retire(&self) -> Option<Self> {
        Self::new(*self.seed, Timestamp::from_micros(i64::MIN))
    }

    /// Returns what the vault stores.
    pub fn to_stored(&self) -> Secret {
        let mut bytes = self.seed.to_vec();
        bytes.extend(self.since.micros().to_be_bytes());
        Secret::new(bytes)
    }

    /// Returns the id of the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns true if the node still signs with the key.
    pub fn signs(&self, now: Timestamp) -> bool {
        now < self.since.plus_millis(millis(SIGNING_KEY_PERIOD))
    }

    /// Returns true if no token of the key is valid.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.since.plus_millis(millis(SIGNING_KEY_PERIOD) + millis(SIGNING_KEY_OVERLAP))
    }

    /// Returns the public part as a JSON Web Key (RFC 8037).
    pub fn public(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.id, "x": x })
    }

    /// Returns a signed token. The same claims always give the same token.
    pub fn sign(&self, claims: &AccessClaims<'_>) -> Secret {
        let AccessClaims { issuer, audience, subject, session, at } = claims;
        let issued = at.unix_millis() / 1000;
        let header = json!({ "alg": "EdDSA", "kid": self.id, "typ": KIND });
        let payload = json!({
            "iss": issuer,
            "aud": audience,
            "sub": subject,
            "sid": session,
            "jti": format!("{session}.{}", at.micros()),
            "iat": issued,
            "exp": issued + ACCESS_TOKEN_LIFETIME.as_secs(),
        });
        let message = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        Secret::new(format!("{message}.{signature}").into_bytes())
    }
}

/// Returns the session that an access token names, if one of the node's keys signed the token for `audience`.
///
/// # Errors
/// If the token is not the node's own, or has expired.
pub fn session_of<'k>(
    text: &str,
    audience: &str,
    key: impl FnOnce(&str) -> Option<&'k SigningKey>,
    now: Timestamp,
) -> Result<Uuid, AccessFault> {
    let token = Token::read(text).map_err(|_| AccessFault::NotOurs)?;
    if token.algorithm() != Algorithm::EdDsa || token.kind() != Some(KIND) {
        return Err(AccessFault::NotOurs);
    }
    let key = token.key_id().and_then(key).ok_or(AccessFault::NotOurs)?;
    let document = token.verify(&key.public).map_err(|_| AccessFault::NotOurs)?;
    let claims = Claims::read(&document).map_err(|_| AccessFault::NotOurs)?;
    claims.check_audience(&[audience.to_owned()]).map_err(|_| AccessFault::NotOurs)?;
    // The node's own clock wrote the time, so no leeway is needed.
    if claims.expires <= now {
        return Err(AccessFault::Expired);
    }
    let session = document.root().get("sid").and_then(|sid| sid.as_str()?.parse().ok());
    session.ok_or(AccessFault::NotOurs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
    const AUDIENCE: &str = "ensue:log";

    fn key(seed: u8) -> SigningKey {
        SigningKey::new([seed; 32], NOON).unwrap()
    }

    fn sign_token(key: &SigningKey, session: Uuid) -> String {
        let claims = AccessClaims { issuer: "https://ensue.example.test", audience: AUDIENCE, subject: "ana", session, at: NOON };
        String::from_utf8(key.sign(&claims).reveal().to_vec()).unwrap()
    }

    #[test]
    fn access_token_names_its_session_for_ten_minutes() {
        let (key, session) = (key(1), Uuid::from_u128(7));
        let token = sign_token(&key, session);
        assert_eq!(token, sign_token(&key, session), "a repeat of a refresh returns the same token");
        let at = |millis| session_of(&token, AUDIENCE, |id| (id == key.id()).then_some(&key), NOON.plus_millis(millis));
        assert_eq!((at(0), at(599_999), at(600_000)), (Ok(session), Ok(session), Err(AccessFault::Expired)));
        let restored = SigningKey::restore(&key.to_stored()).unwrap();
        assert_eq!(session_of(&token, AUDIENCE, |_| Some(&restored), NOON), Ok(session));
    }

    #[test]
    fn access_token_of_another_node_log_or_kind_is_refused() {
        let (own, session) = (key(1), Uuid::from_u128(7));
        let token = sign_token(&own, session);
        let refused = |token: &str, audience: &str| session_of(token, audience, |_| Some(&own), NOON) == Err(AccessFault::NotOurs);
        assert!(refused(&sign_token(&key(2), session), AUDIENCE), "the key of another installation");
        assert!(refused(&token, "ensue:other"), "another log");
        assert_eq!(session_of(&token, AUDIENCE, |_| None, NOON), Err(AccessFault::NotOurs), "a key that is not known");
        let (head, rest) = token.split_once('.').unwrap();
        for header in [json!({ "alg": "none" }), json!({ "alg": "EdDSA", "kid": own.id() }), json!({ "alg": "HS256", "kid": own.id() })] {
            assert!(refused(&format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string())), AUDIENCE), "{header}");
        }
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(at < head.len() || refused(std::str::from_utf8(&changed).unwrap(), AUDIENCE) || changed == token.as_bytes(), "{at}");
        }
    }

    #[test]
    fn key_signs_for_thirty_days_and_verifies_an_hour_longer() {
        let day = 24 * 3600 * 1000;
        let at = |millis| (key(1).signs(NOON.plus_millis(millis)), key(1).is_over(NOON.plus_millis(millis)));
        assert_eq!([at(0), at(30 * day - 1), at(30 * day)], [(true, false), (true, false), (false, false)]);
        let minute = 60_000;
        for minutes in [9, 10, 59] {
            assert_eq!(at(30 * day + minutes * minute), (false, false), "{minutes} minutes after it last signed");
        }
        assert_eq!([at(30 * day + 60 * minute - 1), at(30 * day + 60 * minute)], [(false, false), (false, true)]);
    }

    #[test]
    fn last_token_of_a_key_counts_to_its_end() {
        let (key, session) = (key(1), Uuid::from_u128(7));
        let last = NOON.plus_millis(30 * 24 * 3600 * 1000 - 1_000);
        let claims = AccessClaims { issuer: "https://ensue.example.test", audience: AUDIENCE, subject: "ana", session, at: last };
        let token = String::from_utf8(key.sign(&claims).reveal().to_vec()).unwrap();
        let at = |millis| {
            let now = last.plus_millis(millis);
            session_of(&token, AUDIENCE, |id| (id == key.id() && !key.is_over(now)).then_some(&key), now)
        };
        assert_eq!((at(0), at(540_000), at(599_999), at(600_000)), (Ok(session), Ok(session), Ok(session), Err(AccessFault::Expired)));
    }
}
