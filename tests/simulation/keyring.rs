//! The idempotency keys of clients, and the requests that they repeat with them.
//!
//! Their random numbers are separate from the rest of the world's, so that a world without idempotency keys
//! is the same with and without this file.

use crate::random::Random;
use crate::traffic::{Transport, Wish};

/// Separates the random numbers of keyrings from the world's own.
const APART: u64 = 0x6B65_7972_696E_6773;
/// How many requests a client remembers at most with their keys.
const REMEMBERED_MAX: usize = 20;

/// Creates the keyrings of a world's clients.
pub(crate) struct Keyrings {
    random: Random,
    often: f64,
}

impl Keyrings {
    /// Starts from the world's seed, which decides how often keys are used, if at all.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ APART);
        let often = if random.chance(0.7) { random.log_uniform(0.05, 0.8) } else { 0.0 };
        Self { random, often }
    }

    /// Creates the next client's keyring.
    pub(crate) fn next(&mut self) -> Keyring {
        Keyring { random: self.random.fork(), often: self.often, made: 0, used: Vec::new() }
    }
}

/// The keys of one client.
pub(crate) struct Keyring {
    random: Random,
    often: f64,
    made: u64,
    used: Vec<(Transport, String, Wish)>,
}

impl Keyring {
    /// Chooses what a client that wants something requests, and with which key: often a repeat of an earlier
    /// request, sometimes another request with a key that is already used.
    pub(crate) fn take(&mut self, wish: Wish, by: Transport) -> (Wish, Option<String>) {
        if !takes_key(&wish) || !self.random.chance(self.often) {
            return (wish, None);
        }
        let known: Vec<&(Transport, String, Wish)> = self.used.iter().filter(|(way, _, _)| *way == by).collect();
        // Repeats follow at once as often as later.
        let again = if self.random.chance(0.5) { known.last() } else { self.random.pick(&known) };
        match (self.random.pick_weighted(&[4, 5, 1]), again) {
            (1, Some((_, key, before))) => (before.clone(), Some(key.clone())),
            (2, Some((_, key, _))) => (wish, Some(key.clone())),
            _ => self.with_new_key(wish, by),
        }
    }

    /// Takes a key that this client has not used; other clients have keys of the same names.
    fn with_new_key(&mut self, wish: Wish, by: Transport) -> (Wish, Option<String>) {
        self.made += 1;
        let key = format!("{by:?}-{}", self.made);
        if self.used.len() >= REMEMBERED_MAX {
            self.used.remove(0);
        }
        self.used.push((by, key.clone(), wish.clone()));
        (wish, Some(key))
    }
}

/// Returns true if a request accepts an idempotency key. Other requests are idempotent or have a key of their
/// own.
fn takes_key(wish: &Wish) -> bool {
    match wish {
        Wish::Send { .. } | Wish::Run { .. } | Wish::Cancel(_) | Wish::Settle(..) | Wish::SetMode(..) => true,
        Wish::Deliver { .. } | Wish::Rerun { .. } | Wish::SetKey(_) | Wish::RemoveKey | Wish::TakeInPacks | Wish::See { .. } => false,
    }
}
