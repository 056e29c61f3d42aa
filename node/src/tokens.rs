//! The named tokens of a node: the log says which tokens are valid, and the vault holds the hashes of their
//! secrets.
//!
//! The API's routes decide what a holder may do; this file only records which holder has which token.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use ensue_api::ports::{Access, Declined, Holder, NewToken, OnBehalf, Tokens};
use ensue_engine::access::state;
use ensue_engine::command::{Answer, Ask, Command, Refusal};
use ensue_engine::explain::Explain;
use ensue_engine::fact::{AccessFact, ByNoun};
use ensue_engine::ids::{Id, TokenId};
use ensue_engine::ports::{Committed, Secret, SubmitError, Vault, VaultError};
use ensue_engine::record::Record;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::sequencer::Asking;

/// The random bytes of a token's secret.
const SECRET_BYTES: usize = 32;
/// The shortest secret of a token that was created elsewhere, in bytes.
const GIVEN_SECRET_BYTES_MIN: usize = 32;
/// The longest name of a holder, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The most roles of a token.
const ROLES_MAX: usize = 16;

/// Why a token is not created.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Invalid)]
pub enum TokenRefusal {
    /// The name has an invalid form.
    #[error("`{0}` is not a valid name for a token: use 1 to {NAME_BYTES_MAX} of a-z, 0-9, `_`, `-` and `.`")]
    #[explain(slug = "token-name-invalid", hint = "name the token after its holder, for example `ana` or `ci.release`")]
    Name(String),
    /// There is no role, or too many, or a role has an invalid form.
    #[error("`{0}` are not valid roles for a token: give 1 to {ROLES_MAX}, each a name of a-z, 0-9 and `_`")]
    #[explain(slug = "token-roles-invalid", hint = "use, for example, one of the built-in roles: admin, operator, author and viewer")]
    Roles(String),
    /// A token that was created elsewhere has an invalid form.
    #[error(
        "the given token is invalid: expected `ens_`, a UUID, `_` and a secret of at least {GIVEN_SECRET_BYTES_MIN} letters and digits"
    )]
    #[explain(slug = "token-invalid", hint = "create one with `echo ens_$(cat /proc/sys/kernel/random/uuid)_$(openssl rand -hex 32)`")]
    Given,
}

/// The valid tokens.
pub struct TokenTable {
    vault: Arc<dyn Vault>,
    tokens: RwLock<BTreeMap<TokenId, Entry>>,
    /// The number of tokens revoked since the start.
    revoked: watch::Sender<u64>,
    lost: Vec<String>,
}

#[derive(Clone)]
struct Entry {
    hash: [u8; 32],
    holder: Arc<Holder>,
}

impl TokenTable {
    /// Starts from the state, and destroys the orphans of the vault.
    pub fn open_vault(vault: Arc<dyn Vault>, access: &state::Access) -> Result<Self, VaultError> {
        let mut hashes: BTreeMap<TokenId, [u8; 32]> = vault.tokens()?.into_iter().collect();
        let (mut tokens, mut lost) = (BTreeMap::new(), Vec::new());
        for (id, token) in access.tokens() {
            if let Some(hash) = hashes.remove(id) {
                let holder = Arc::new(Holder { name: token.name.clone(), roles: token.roles.clone() });
                tokens.insert(*id, Entry { hash, holder });
            } else {
                lost.push(token.name.clone());
            }
        }
        if !lost.is_empty() {
            tracing::warn!(tokens = lost.join(", "), "the vault has lost the secrets of tokens, so these tokens are not accepted");
        }
        for orphan in hashes.into_keys() {
            vault.destroy_token(orphan)?;
        }
        Ok(Self { vault, tokens: RwLock::new(tokens), revoked: watch::Sender::new(0), lost })
    }

    /// Returns true if there is no token at all: the very first start.
    pub fn is_empty(&self) -> bool {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Returns the names of the tokens that are in the log but whose secrets the vault lost: they admit nobody.
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// Returns true if a token with the id of this one is valid; its secret is not compared.
    pub fn is_known(&self, token: &Secret) -> bool {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        given_parts(token).is_some_and(|(id, _)| tokens.contains_key(&id))
    }

    /// Notes committed records that add or revoke a token.
    pub fn note(&self, records: &[Record]) {
        for record in records {
            let ByNoun::AccessFact(fact) = record.fact.by_noun() else { continue };
            match fact {
                AccessFact::TokenAdded(fact) => {
                    let holder = Arc::new(Holder { name: fact.name.clone(), roles: fact.roles.clone() });
                    match self.hash_of(fact.id) {
                        Some(hash) => {
                            self.tokens.write().unwrap_or_else(PoisonError::into_inner).insert(fact.id, Entry { hash, holder });
                        }
                        None => {
                            tracing::error!(token = %fact.name, "the vault has no secret for a token that was added, so the token is not accepted")
                        }
                    }
                }
                AccessFact::TokenRevoked(fact) => {
                    self.tokens.write().unwrap_or_else(PoisonError::into_inner).remove(&fact.id);
                    self.revoked.send_modify(|revoked| *revoked += 1);
                }
                AccessFact::KeySet(_) | AccessFact::KeyRemoved(_) => {}
            }
        }
    }

    fn hash_of(&self, id: TokenId) -> Option<[u8; 32]> {
        let kept = self.vault.tokens().ok()?;
        kept.into_iter().find(|(kept, _)| *kept == id).map(|(_, hash)| hash)
    }
}

impl Access for TokenTable {
    fn holder(&self, id: TokenId, secret_sha256: &[u8; 32]) -> Option<Arc<Holder>> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let entry = tokens.get(&id);
        // An unknown id costs the same comparison.
        let hash = entry.map_or([0; 32], |entry| entry.hash);
        let is_equal: bool = hash.ct_eq(secret_sha256).into();
        entry.filter(|_| is_equal).map(|entry| entry.holder.clone())
    }

    fn revocations(&self) -> watch::Receiver<u64> {
        self.revoked.subscribe()
    }
}

/// Creates and revokes tokens.
pub struct NodeTokens {
    /// The tokens.
    pub table: Arc<TokenTable>,
    /// The access to the sequencer.
    pub sequencer: Arc<dyn Asking>,
    /// The source of ids.
    pub clock: Arc<dyn Clock>,
}

impl NodeTokens {
    /// Adds a token that was created elsewhere, of the form `ens_<id>_<secret>`.
    pub fn add_given(&self, name: &str, roles: &[String], token: &Secret, by: &OnBehalf) -> Result<Committed, Declined> {
        let (id, secret) = given_parts(token).ok_or(TokenRefusal::Given)?;
        self.add_hashed(id, sha256(&secret), name, roles, by)
    }

    fn fresh_id(&self) -> TokenId {
        let moment = self.clock.moment();
        TokenId(Id::root(moment.time, moment.entropy))
    }

    fn add_hashed(&self, id: TokenId, hash: [u8; 32], name: &str, roles: &[String], by: &OnBehalf) -> Result<Committed, Declined> {
        check_token(name, roles)?;
        self.table.vault.put_token(id, hash)?;
        let ask = Ask::AddToken { id, name: name.to_owned(), roles: roles.to_vec() };
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let added = self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask });
        let added = match added {
            Ok(Committed { answer: Answer::Before(_), .. }) => Err(Refusal::TokenNameTaken(name.to_owned()).into()),
            other => other,
        };
        // If it is unknown whether the token was added, the secret must stay in case it was; if it was not, the
        // next start destroys the secret.
        if matches!(&added, Err(error) if !matches!(error, SubmitError::Unknown))
            && let Err(error) = self.table.vault.destroy_token(id)
        {
            tracing::warn!(%error, "the secret of a token that was not added stays in the vault until the next start");
        }
        Ok(added?)
    }
}

impl Tokens for NodeTokens {
    fn add(&self, name: &str, roles: &[String], by: &OnBehalf) -> Result<NewToken, Declined> {
        let made = new_token(self.fresh_id());
        let committed = self.add_hashed(made.id, made.hash, name, roles, by)?;
        Ok(NewToken { id: made.id, token: made.token, committed })
    }

    fn revoke(&self, name: &str, by: &OnBehalf) -> Result<Committed, Declined> {
        let ask = Ask::RevokeToken { name: name.to_owned() };
        Ok(self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask })?)
    }
}

/// A token that was created and that nobody knows yet.
pub(crate) struct MadeToken {
    /// The token's id.
    pub(crate) id: TokenId,
    /// The whole token, `ens_<id>_<secret>`.
    pub(crate) token: Secret,
    /// The SHA-256 of its secret.
    pub(crate) hash: [u8; 32],
}

/// Creates a token with a random secret.
pub(crate) fn new_token(id: TokenId) -> MadeToken {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    let secret = hex::encode(bytes);
    MadeToken { id, token: Secret::new(format!("ens_{id}_{secret}").into_bytes()), hash: sha256(secret.as_bytes()) }
}

/// Checks that a name and roles have a valid form.
pub(crate) fn check_token(name: &str, roles: &[String]) -> Result<(), TokenRefusal> {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_fine) {
        return Err(TokenRefusal::Name(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    if roles.is_empty() || roles.len() > ROLES_MAX || !roles.iter().all(|role| ensue_engine::names::is_name(role)) {
        return Err(TokenRefusal::Roles(roles.join(", ").chars().take(200).collect()));
    }
    Ok(())
}

fn sha256(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn given_parts(token: &Secret) -> Option<(TokenId, Vec<u8>)> {
    let text = std::str::from_utf8(token.reveal()).ok()?;
    let (id, secret) = text.strip_prefix("ens_")?.split_once('_')?;
    let is_secret = secret.len() >= GIVEN_SECRET_BYTES_MIN && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_secret.then_some((id.parse().ok()?, secret.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use ensue_engine::batch::{Beside, Offered, Sequencing};
    use ensue_engine::command::{Moment, Nothing, Settings};
    use ensue_engine::engine::Engine;
    use ensue_engine::ids::LogId;
    use ensue_engine::ports::Reply;
    use ensue_engine::record::{Actor, Epoch, Head};
    use ensue_engine::time::Timestamp;
    use ensue_store::master_key::MasterKey;
    use ensue_store::memory::MemoryVault;

    use super::*;
    use crate::clock::SystemClock;

    /// A log that fails with this error.
    struct FailingLog(SubmitError);

    impl ensue_engine::ports::Submit for FailingLog {
        fn submit(&self, _: Command, reply: Reply) {
            reply(Err(self.0.clone()));
        }
    }

    impl Asking for FailingLog {
        fn ask(&self, _: Command) -> Result<Committed, SubmitError> {
            Err(self.0.clone())
        }
    }

    /// Returns how many secrets the vault holds after a token was added to a log that fails with this error.
    fn kept_after(error: SubmitError) -> usize {
        let vault: Arc<dyn Vault> = Arc::new(MemoryVault::new(LogId(Id::root(Timestamp::default(), 1)), MasterKey::from_bytes([7; 32])));
        let table = Arc::new(TokenTable::open_vault(vault.clone(), &state::Access::default()).unwrap());
        let tokens = NodeTokens { table, sequencer: Arc::new(FailingLog(error)), clock: Arc::new(SystemClock::default()) };
        let by = OnBehalf { actor: Actor::Operator, trace: None, request: None };
        assert!(tokens.add("ana", &["viewer".to_owned()], &by).is_err());
        vault.tokens().unwrap().len()
    }

    #[test]
    fn token_name_is_plain_text() {
        let roles = ["viewer".to_owned()];
        for bad in ["", "a b", "é", "Ana", "ana@example", "a/b", "a\n", &"a".repeat(65)] {
            assert!(matches!(check_token(bad, &roles), Err(TokenRefusal::Name(_))), "{bad:?}");
        }
        assert!(check_token("ci.release_1-b", &roles).is_ok());
    }

    #[test]
    fn token_secret_is_removed_only_if_the_log_certainly_lacks_the_token() {
        assert_eq!(kept_after(SubmitError::StorageFull), 0);
        assert_eq!(kept_after(SubmitError::Unknown), 1, "the log may have the token; without its secret, nobody could ever use it");
    }

    #[test]
    fn token_whose_secret_is_missing_in_the_vault_is_named() {
        let log = LogId(Id::root(Timestamp::default(), 1));
        let mut sequencing = Sequencing::new(Engine::new(log), Head::default(), Epoch(1));
        let (at, id) = (Moment { time: Timestamp::default(), entropy: 1 }, TokenId(Id::root(Timestamp::default(), 2)));
        let ask = Ask::AddToken { id, name: "ana".to_owned(), roles: vec!["viewer".to_owned()] };
        let beside = Beside { catalogs: &Nothing, bodies: &Nothing, seen: &Nothing, settings: &Settings::default() };
        let added = sequencing.offer(&Command { actor: Actor::Operator, trace: None, ask }, &at, &beside);
        assert!(matches!(added, Offered::Taken { .. }));
        let vault = MemoryVault::new(log, MasterKey::from_bytes([7; 32]));
        let table = TokenTable::open_vault(Arc::new(vault), sequencing.engine().access()).unwrap();
        assert_eq!((table.is_empty(), table.lost()), (true, &["ana".to_owned()][..]));
    }

    #[test]
    fn secret_without_a_token_in_the_log_is_destroyed_at_a_start() {
        let log = LogId(Id::root(Timestamp::default(), 1));
        let vault = Arc::new(MemoryVault::new(log, MasterKey::from_bytes([7; 32])));
        vault.put_token(TokenId(Id::root(Timestamp::default(), 2)), [1; 32]).unwrap();
        TokenTable::open_vault(vault.clone(), Engine::new(log).access()).unwrap();
        assert_eq!(vault.tokens().unwrap(), []);
    }
}
