//! Argon2id with fixed parameters, a few hashes at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::{NewPassword, TypedPassword};

/// The memory of one hash, in KiB.
pub const MEMORY_KIB: u32 = 19_456;
/// How many times the memory is filled.
pub const PASSES: u32 = 2;
/// The number of lanes.
const LANES: u32 = 1;
/// The length of a hash, in bytes.
const HASH_BYTES: usize = 32;
/// The length of a salt, in bytes.
const SALT_BYTES: usize = 16;
/// How many hashes are computed at once.
pub const AT_ONCE_MAX: usize = 2;
/// How many callers may wait for their turn.
pub const WAITING_MAX: usize = 32;

/// The salt of the hash that is computed if there is no account.
const NOBODY: [u8; SALT_BYTES] = *b"nobody has this!";

/// A stored hash of a password, as text in the PHC format.
#[derive(Clone)]
pub struct PasswordHash {
    text: String,
    memory_kib: u32,
    passes: u32,
    salt: Vec<u8>,
    hash: Zeroizing<Vec<u8>>,
}

/// Whether a password is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// It is right.
    Right,
    /// It is right, but was hashed with older parameters: hash it again and store that.
    RightButOld,
    /// It is wrong, or there is no account.
    Wrong,
}

/// Too many logins at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("too many logins are waiting; try again in a moment")]
#[explain(slug = "busy", fault = Unavailable)]
pub struct Busy;

/// Computes hashes: [`AT_ONCE_MAX`] at once, while at most [`WAITING_MAX`] callers wait.
#[derive(Default)]
pub struct Hashing {
    turns: Mutex<HashQueue>,
    turn_ended: Condvar,
    computed: AtomicU64,
}

#[derive(Default)]
struct HashQueue {
    running: usize,
    waiting: usize,
    /// The memory of hashes that have ended, for the next ones.
    memory: Vec<Vec<Block>>,
}

impl PasswordHash {
    /// Reads a stored hash. Returns `None` if it is not Argon2id, or has parameters that are far from ours.
    pub fn read(text: &str) -> Option<Self> {
        let phc = phc::PasswordHash::new(text).ok()?;
        let params = Params::try_from(&phc).ok()?;
        let is_ours = phc.algorithm.as_str() == "argon2id" && phc.version.is_none_or(|version| version == Version::V0x13 as u32);
        // The memory is bounded, since a stored hash says how much it needs.
        let is_bounded = params.m_cost() <= MEMORY_KIB && params.t_cost() <= 10 && params.p_cost() == LANES;
        let (salt, hash) = (phc.salt?, phc.hash?);
        let (salt, hash) = (salt.as_ref().to_vec(), Zeroizing::new(hash.as_bytes().to_vec()));
        let fits = is_ours && is_bounded && hash.len() == HASH_BYTES && (argon2::MIN_SALT_LEN..=64).contains(&salt.len());
        fits.then(|| Self { text: text.to_owned(), memory_kib: params.m_cost(), passes: params.t_cost(), salt, hash })
    }

    /// Returns the text that the vault stores.
    pub fn to_stored(&self) -> Secret {
        Secret::new(self.text.clone().into_bytes())
    }

    fn is_old(&self) -> bool {
        (self.memory_kib, self.passes) != (MEMORY_KIB, PASSES)
    }
}

impl Hashing {
    /// Hashes a new password with a random salt.
    ///
    /// # Errors
    /// If too many callers wait.
    pub fn hash(&self, password: &NewPassword, salt: [u8; SALT_BYTES]) -> Result<PasswordHash, Busy> {
        self.rehash(&password.0, salt)
    }

    /// Hashes a password that was just found [`PasswordCheck::RightButOld`], with a random salt.
    ///
    /// # Errors
    /// If too many callers wait.
    pub fn rehash(&self, typed: &TypedPassword, salt: [u8; SALT_BYTES]) -> Result<PasswordHash, Busy> {
        let hash = self.compute(typed, &salt, MEMORY_KIB, PASSES)?;
        let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, bytes);
        let text = format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${}${}", encode(&salt), encode(&hash));
        Ok(PasswordHash { text, memory_kib: MEMORY_KIB, passes: PASSES, salt: salt.to_vec(), hash })
    }

    /// Checks what was typed against the stored hash of an account. Without an account, the same work is done.
    ///
    /// # Errors
    /// If too many callers wait.
    pub fn check(&self, stored: Option<&PasswordHash>, typed: &TypedPassword) -> Result<PasswordCheck, Busy> {
        let Some(stored) = stored else {
            self.compute(typed, &NOBODY, MEMORY_KIB, PASSES)?;
            return Ok(PasswordCheck::Wrong);
        };
        let hash = self.compute(typed, &stored.salt, stored.memory_kib, stored.passes)?;
        Ok(match (bool::from(hash.ct_eq(&stored.hash)), stored.is_old()) {
            (false, _) => PasswordCheck::Wrong,
            (true, false) => PasswordCheck::Right,
            (true, true) => PasswordCheck::RightButOld,
        })
    }

    /// Returns the number of hashes that were computed.
    pub fn hash_count(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    fn compute(&self, typed: &TypedPassword, salt: &[u8], memory_kib: u32, passes: u32) -> Result<Zeroizing<Vec<u8>>, Busy> {
        let mut turn = HashPermit::wait(self)?;
        let params = Params::new(memory_kib, passes, LANES, Some(HASH_BYTES)).expect("the parameters were checked when they were read");
        turn.memory.resize(params.block_count().max(turn.memory.len()), Block::new());
        let mut hash = Zeroizing::new(vec![0; HASH_BYTES]);
        let blocks = params.block_count();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(typed.bytes(), salt, &mut hash, &mut turn.memory[..blocks])
            .expect("the lengths of the password, the salt and the hash were checked");
        self.computed.fetch_add(1, Ordering::Relaxed);
        Ok(hash)
    }

    fn turns(&self) -> MutexGuard<'_, HashQueue> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to compute one hash, with its memory.
struct HashPermit<'h> {
    hashing: &'h Hashing,
    memory: Vec<Block>,
}

impl<'h> HashPermit<'h> {
    fn wait(hashing: &'h Hashing) -> Result<Self, Busy> {
        let mut turns = hashing.turns();
        if turns.running >= AT_ONCE_MAX {
            if turns.waiting >= WAITING_MAX {
                return Err(Busy);
            }
            turns.waiting += 1;
            turns = hashing.turn_ended.wait_while(turns, |turns| turns.running >= AT_ONCE_MAX).unwrap_or_else(PoisonError::into_inner);
            turns.waiting -= 1;
        }
        turns.running += 1;
        let memory = turns.memory.pop().unwrap_or_default();
        Ok(Self { hashing, memory })
    }
}

impl Drop for HashPermit<'_> {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        memory.iter_mut().for_each(Zeroize::zeroize);
        let mut turns = self.hashing.turns();
        turns.running -= 1;
        // The memory is kept while others wait, and returned when the last one has ended.
        if turns.waiting > 0 {
            turns.memory.push(memory);
        } else if turns.running == 0 {
            turns.memory.clear();
        }
        drop(turns);
        self.hashing.turn_ended.notify_one();
    }
}
