//! Refresh tokens of sessions: each is derived from the session's key and its generation, so that a race or a lost
//! answer makes no second successor.
//!
//! The node keeps a [`Family`] for each session in the vault, and stores what [`Family::present`] returns in one
//! transaction before it answers.

use std::fmt::Write as _;
use std::time::Duration;

use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::claims::millis;

/// What a refresh token begins with.
pub const REFRESH_PREFIX: &str = "ensr_";
/// How long after a refresh the same token returns the same answer.
pub const REFRESH_GRACE: Duration = Duration::from_secs(10);

/// A refresh token as a client sends it: `ensr_<session>_<generation>_<secret>`.
pub struct RefreshToken {
    session: Uuid,
    generation: u32,
    secret: Zeroizing<[u8; 32]>,
}

/// The refresh tokens of one session.
#[derive(Clone)]
pub struct Family {
    session: Uuid,
    key: Zeroizing<[u8; 32]>,
    generation: u32,
    since: Timestamp,
}

/// What a refresh token is worth.
pub enum RefreshOutcome {
    /// It is the newest one: store `family`, then answer with `successor`.
    Next {
        /// The family of the next generation.
        family: Family,
        /// Its token.
        successor: Secret,
    },
    /// It was used less than [`REFRESH_GRACE`] ago, and its successor was not: answer the same again.
    Again {
        /// The token of the current generation.
        successor: Secret,
    },
}

/// Why a refresh token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
pub enum RefreshRefusal {
    /// It is not a token of this session. The session continues: anyone can invent such a token.
    #[error("the refresh token is not valid")]
    #[explain(slug = "token-invalid", fault = Unauthenticated)]
    Unknown,
    /// It was used before, so somebody else may have it: the session must end.
    #[error("the refresh token was used before, so its session has ended")]
    #[explain(
        slug = "refresh-reused",
        fault = Unauthenticated,
        hint = "log in again; if you did not use the token twice, somebody else may have it"
    )]
    Reused,
}

impl RefreshToken {
    /// Reads a token. It has only one spelling.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(REFRESH_PREFIX)?.split('_');
        let session: Uuid = parts.next()?.parse().ok()?;
        let generation: u32 = parts.next()?.parse().ok()?;
        let secret = bytes(parts.next()?)?;
        let token = Self { session, generation, secret };
        (parts.next().is_none() && token.text().as_str() == text).then_some(token)
    }

    /// Returns the session that the token names. Whether it belongs to it is decided by [`Family::present`].
    pub fn session(&self) -> Uuid {
        self.session
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(format!("{REFRESH_PREFIX}{}_{}_", self.session, self.generation));
        for byte in self.secret.iter() {
            write!(text, "{byte:02x}").expect("a string takes any text");
        }
        text
    }
}

impl Family {
    /// Creates the family of a new session from a random key. Its first token is [`Family::token`].
    pub fn new(session: Uuid, key: [u8; 32], now: Timestamp) -> Self {
        Self { session, key: Zeroizing::new(key), generation: 1, since: now }
    }

    /// Restores a family from the vault.
    pub fn restore(session: Uuid, stored: &Secret) -> Option<Self> {
        let (key, rest) = stored.reveal().split_first_chunk::<32>()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let since = i64::from_be_bytes(rest.try_into().ok()?);
        Some(Self { session, key: Zeroizing::new(*key), generation: u32::from_be_bytes(*generation), since: Timestamp::from_micros(since) })
    }

    /// Returns what the vault stores: the key, the generation and its time.
    pub fn to_stored(&self) -> Secret {
        let mut bytes = self.key.to_vec();
        bytes.extend(self.generation.to_be_bytes());
        bytes.extend(self.since.micros().to_be_bytes());
        Secret::new(bytes)
    }

    /// Returns the token of the current generation.
    pub fn token(&self) -> Secret {
        let token = RefreshToken { session: self.session, generation: self.generation, secret: self.secret(self.generation) };
        Secret::new(token.text().as_bytes().to_vec())
    }

    /// Returns when the current generation began: the time from which its access token counts.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Decides what a token is worth at `now`.
    ///
    /// # Errors
    /// If the token is not of this family, or was used before.
    pub fn present(&self, token: &RefreshToken, now: Timestamp) -> Result<RefreshOutcome, RefreshRefusal> {
        let is_ours = token.session == self.session && bool::from(token.secret.ct_eq(self.secret(token.generation).as_slice()));
        if !is_ours {
            return Err(RefreshRefusal::Unknown);
        }
        if token.generation == self.generation {
            let generation = self.generation.checked_add(1).ok_or(RefreshRefusal::Reused)?;
            let family = Self { generation, since: now, ..self.clone() };
            let successor = family.token();
            return Ok(RefreshOutcome::Next { family, successor });
        }
        // A clock that was set back does not lengthen the grace by more than itself.
        let age = now.micros_since(self.since).unsigned_abs();
        if token.generation.checked_add(1) == Some(self.generation) && age <= millis(REFRESH_GRACE) * 1_000 {
            return Ok(RefreshOutcome::Again { successor: self.token() });
        }
        Err(RefreshRefusal::Reused)
    }

    fn secret(&self, generation: u32) -> Zeroizing<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_slice()).expect("HMAC takes a key of any length");
        mac.update(REFRESH_PREFIX.as_bytes());
        mac.update(self.session.as_bytes());
        mac.update(&generation.to_be_bytes());
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}

fn bytes(hex: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}
