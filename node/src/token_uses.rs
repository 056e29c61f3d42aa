//! When each token was last used. This is no fact: the vault has it, and a kill loses what the last second added.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ensue_engine::access::state::Access;
use ensue_engine::ids::TokenId;
use ensue_engine::ports::{SealedKind, Secret, Vault, VaultError};
use ensue_engine::time::Timestamp;

/// The time between two uses of a token that are noted, in microseconds.
const EVERY_MICROS: i64 = 60_000_000;

/// When each token was last used.
pub(crate) struct TokenUses {
    vault: Arc<dyn Vault>,
    uses: RwLock<BTreeMap<TokenId, Arc<Use>>>,
}

/// When a token was last used, in microseconds.
struct Use {
    at: AtomicI64,
    /// The use that is in the vault.
    stored_at: AtomicI64,
}

impl TokenUses {
    /// Reads the uses from the vault, and destroys those of tokens that are gone.
    pub(crate) fn open_vault(vault: Arc<dyn Vault>, access: &Access) -> Result<Self, VaultError> {
        let mut uses = BTreeMap::new();
        for (name, stored) in vault.list(SealedKind::Use)? {
            let at = stored.reveal().try_into().ok().map(i64::from_be_bytes);
            match (name.parse::<TokenId>(), at) {
                (Ok(id), Some(at)) if access.token(&id).is_some() => {
                    uses.insert(id, Arc::new(Use { at: AtomicI64::new(at), stored_at: AtomicI64::new(at) }));
                }
                _ => vault.destroy(SealedKind::Use, &name)?,
            }
        }
        Ok(Self { vault, uses: RwLock::new(uses) })
    }

    /// Notes that a token is used. Quick: of the uses within a minute, only the first is noted.
    pub(crate) fn note(&self, id: TokenId, now: Timestamp) {
        let now = now.micros();
        if let Some(used) = self.uses.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            let before = used.at.load(Ordering::Relaxed);
            // A use in the future was noted before the clock was set back.
            if now.saturating_sub(before) >= EVERY_MICROS || before > now {
                used.at.store(now, Ordering::Relaxed);
            }
            return;
        }
        let mut uses = self.uses.write().unwrap_or_else(PoisonError::into_inner);
        uses.entry(id).or_insert_with(|| Arc::new(Use { at: AtomicI64::new(now), stored_at: AtomicI64::new(0) }));
    }

    /// Returns when a token was last used, to the minute; `None` if it was not used yet.
    pub(crate) fn last(&self, id: TokenId) -> Option<Timestamp> {
        let uses = self.uses.read().unwrap_or_else(PoisonError::into_inner);
        uses.get(&id).map(|used| Timestamp::from_micros(used.at.load(Ordering::Relaxed)))
    }

    /// Stores the uses that are not in the vault yet, in one transaction, and forgets those of tokens that are gone. Called
    /// every second.
    pub(crate) fn store(&self, access: &Access) -> Result<(), VaultError> {
        let changed: Vec<(TokenId, i64, Arc<Use>)> = {
            let uses = self.uses.read().unwrap_or_else(PoisonError::into_inner);
            let at = |used: &Use| used.at.load(Ordering::Relaxed);
            let changed = uses.iter().filter(|(_, used)| at(used) != used.stored_at.load(Ordering::Relaxed));
            changed.map(|(id, used)| (*id, at(used), used.clone())).collect()
        };
        if changed.is_empty() {
            return Ok(());
        }
        let is_valid = |id: &TokenId| access.token(id).is_some();
        let values: Vec<(String, Secret)> = changed
            .iter()
            .filter(|(id, ..)| is_valid(id))
            .map(|(id, at, _)| (id.to_string(), Secret::new(at.to_be_bytes().to_vec())))
            .collect();
        self.vault.put_all(SealedKind::Use, &values)?;
        changed.iter().for_each(|(_, at, used)| used.stored_at.store(*at, Ordering::Relaxed));
        Ok(())
    }

    /// Forgets the use of a token that is gone.
    pub(crate) fn forget(&self, id: TokenId) {
        if self.uses.write().unwrap_or_else(PoisonError::into_inner).remove(&id).is_none() {
            return;
        }
        if let Err(error) = self.vault.destroy(SealedKind::Use, &id.to_string()) {
            tracing::warn!(%error, "the time of a revoked token's last use stays in the vault until the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::access::facts::TokenAdded;
    use ensue_engine::fact::{ByNoun, Fact};
    use ensue_engine::ids::{Id, LogId};
    use ensue_store::master_key::MasterKey;
    use ensue_store::memory::MemoryVault;

    use super::*;

    fn token(number: u128) -> TokenId {
        TokenId(Id::root(Timestamp::default(), number))
    }

    fn access(tokens: &[u128]) -> Access {
        let mut access = Access::default();
        for number in tokens {
            let added: Fact = TokenAdded { id: token(*number), name: format!("t{number}"), roles: Vec::new() }.into();
            let ByNoun::AccessFact(fact) = added.by_noun() else { panic!("a fact about access") };
            access.apply(fact);
        }
        access
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn last_use_is_noted_once_a_minute_and_is_there_after_a_restart() {
        let log = LogId(Id::root(Timestamp::default(), 1));
        let vault: Arc<dyn Vault> = Arc::new(MemoryVault::new(log, MasterKey::from_bytes([7; 32])));
        let uses = TokenUses::open_vault(vault.clone(), &access(&[1, 2])).unwrap();
        assert_eq!(uses.last(token(1)), None);
        uses.note(token(1), at(100));
        uses.note(token(1), at(159));
        assert_eq!(uses.last(token(1)), Some(at(100)), "the uses of a minute count as one");
        uses.note(token(1), at(160));
        uses.store(&access(&[1, 2])).unwrap();
        uses.note(token(1), at(500));
        let again = TokenUses::open_vault(vault.clone(), &access(&[1, 2])).unwrap();
        assert_eq!((again.last(token(1)), again.last(token(2))), (Some(at(160)), None), "what was not stored is lost");

        again.note(token(2), at(200));
        again.forget(token(1));
        again.store(&access(&[2])).unwrap();
        let names: Vec<String> = vault.list(SealedKind::Use).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [token(2).to_string()]);
        TokenUses::open_vault(vault.clone(), &access(&[])).unwrap();
        assert!(vault.list(SealedKind::Use).unwrap().is_empty(), "the use of a token that is gone is destroyed at the start");
    }
}
