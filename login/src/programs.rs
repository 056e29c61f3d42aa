//! The tokens of attempts, with which their programs call the API. Nothing is stored for them: a mark binds each to its
//! log and its attempt.

use ensue_engine::ids::LogId;
use ensue_engine::ports::Secret;
use ensue_engine::record::AttemptOf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The prefix of the tokens of attempts.
pub const PREFIX: &str = "ensp_";

/// The key by which a node knows the tokens that it made.
pub struct ProgramKey(Zeroizing<[u8; 32]>);

impl ProgramKey {
    /// Creates a key from random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Restores a key from the vault. Returns `None` if what is stored has another form.
    pub fn restore(stored: &Secret) -> Option<Self> {
        stored.reveal().try_into().ok().map(Self::new)
    }

    /// Returns what the vault stores.
    pub fn to_stored(&self) -> Secret {
        Secret::new(self.0.to_vec())
    }

    /// Returns the token of an attempt: `ensp_<execution>_<attempt>_<mark>`. It is the same each time.
    pub fn token(&self, log: LogId, attempt: AttemptOf) -> Secret {
        let mark = super::devices::hex(&self.mark(log, attempt).finalize().into_bytes());
        Secret::new(format!("{PREFIX}{}_{}_{mark}", attempt.execution, attempt.number).into_bytes())
    }

    /// Returns true if the mark is that of the attempt. Compares in constant time.
    pub fn knows(&self, log: LogId, attempt: AttemptOf, mark: &[u8; 32]) -> bool {
        self.mark(log, attempt).verify_slice(mark).is_ok()
    }

    fn mark(&self, log: LogId, attempt: AttemptOf) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_ref()).expect("HMAC takes a key of any length");
        mac.update(format!("program {log} {attempt}").as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::{ExecutionId, Id};
    use ensue_engine::time::Timestamp;

    use super::*;

    fn attempt(execution: u128, number: u32) -> AttemptOf {
        AttemptOf { execution: ExecutionId(Id::root(Timestamp::from_micros(0), execution)), number }
    }

    fn mark_of(token: &Secret) -> [u8; 32] {
        let text = std::str::from_utf8(token.reveal()).unwrap();
        let hex = text.rsplit('_').next().unwrap();
        let bytes = (0..32).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap());
        bytes.collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn token_counts_only_for_its_log_and_its_attempt() {
        let (log, other) = (LogId(Id::root(Timestamp::from_micros(0), 1)), LogId(Id::root(Timestamp::from_micros(0), 2)));
        let key = ProgramKey::new([7; 32]);
        let token = key.token(log, attempt(1, 1));
        let mark = mark_of(&token);
        assert!(key.knows(log, attempt(1, 1), &mark));
        assert!(!key.knows(log, attempt(1, 2), &mark), "the next attempt");
        assert!(!key.knows(log, attempt(2, 1), &mark), "another execution");
        assert!(!key.knows(other, attempt(1, 1), &mark), "another log");
        assert!(!ProgramKey::new([8; 32]).knows(log, attempt(1, 1), &mark), "another key");
        let mut changed = mark;
        changed[31] ^= 1;
        assert!(!key.knows(log, attempt(1, 1), &changed));
    }

    #[test]
    fn key_from_the_vault_makes_the_same_tokens() {
        let log = LogId(Id::root(Timestamp::from_micros(0), 1));
        let key = ProgramKey::new([7; 32]);
        let restored = ProgramKey::restore(&key.to_stored()).unwrap();
        assert_eq!(key.token(log, attempt(1, 3)).reveal(), restored.token(log, attempt(1, 3)).reveal());
        assert!(ProgramKey::restore(&Secret::new(vec![1; 31])).is_none());
    }
}
