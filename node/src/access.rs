//! The access to a node: the log says which tokens, identities and grants there are, and the vault holds the
//! hashes of secrets and the names of identities.
//!
//! The core defines what they may do; this file keeps its state at hand for each request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use ensue_api::ports::{Access, Credential, Holder, NotAdmitted, RepresentedIdentity};
use ensue_engine::access::facts::{IdentityAdded, IdentityLinked};
use ensue_engine::access::state;
use ensue_engine::access::state::effective_rights::{EffectiveRights, NotHeld};
use ensue_engine::effect::Effect;
use ensue_engine::engine::Engine;
use ensue_engine::fact::{AccessFact, ByNoun, HealthFact};
use ensue_engine::ids::{IdentityId, SessionId, TokenId};
use ensue_engine::names::IssuerName;
use ensue_engine::ports::{Secret, Vault, VaultError};
use ensue_engine::record::{AttemptOf, CredentialId, Record};
use ensue_engine::time::Timestamp;
use ensue_login::access_tokens::AccessFault;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::clock::SteppedClock;
use crate::program_table::ProgramTable;
use crate::session_table::{SessionTable, idle_after};
use crate::token_form::{given_parts, sha256};
use crate::token_uses::TokenUses;

/// What the vault knows of an identity.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// Its name.
    pub(crate) name: String,
    /// What identifies it at each issuer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) subjects: BTreeMap<IssuerName, String>,
}

impl Profile {
    /// Returns the profile of an identity that no issuer names.
    pub(crate) fn with_name(name: String) -> Self {
        Self { name, subjects: BTreeMap::new() }
    }

    /// Returns the form in the vault.
    pub(crate) fn sealed_form(&self) -> Secret {
        Secret::new(serde_json::to_vec(self).expect("a name always has a JSON form"))
    }

    /// Reads the form in the vault; `None` if it is damaged.
    pub(crate) fn parse(secret: &Secret) -> Option<Self> {
        serde_json::from_slice(secret.reveal()).ok()
    }
}

/// The tokens, identities, roles and grants that are in force.
pub struct TokenTable {
    pub(crate) vault: Arc<dyn Vault>,
    /// What the vault holds of the sessions.
    pub(crate) sessions: SessionTable,
    /// The attempts whose programs may call the API.
    pub(crate) programs: ProgramTable,
    /// When each token was last used.
    pub(crate) uses: TokenUses,
    clock: Arc<dyn SteppedClock>,
    known: RwLock<KnownAccess>,
    /// The profiles of identities whose records are not committed yet.
    pub(crate) being_added: Mutex<BTreeMap<IdentityId, Profile>>,
    /// The number of changes that can end rights since the start.
    ended: watch::Sender<u64>,
    lost: Vec<String>,
}

/// One version of what is known.
struct KnownAccess {
    access: Arc<state::Access>,
    hashes: BTreeMap<TokenId, [u8; 32]>,
    profiles: BTreeMap<IdentityId, Profile>,
    by_name: BTreeMap<String, IdentityId>,
    /// The identities that issuers name.
    by_subject: BTreeMap<(IssuerName, String), IdentityId>,
    /// The holders that asked since the last change.
    held: RwLock<BTreeMap<CredentialId, CachedHolder>>,
    /// The same of tokens of issuers.
    held_by_issuer: RwLock<BTreeMap<(IdentityId, IssuerName), CachedHolder>>,
}

/// A holder whose rights were compiled.
#[derive(Clone)]
struct CachedHolder {
    holder: Arc<Holder>,
    /// When the rights change by themselves.
    until: Option<Timestamp>,
}

impl TokenTable {
    /// Starts from the state, and destroys the orphans of the vault.
    pub fn open_vault(vault: Arc<dyn Vault>, engine: &Engine, clock: Arc<dyn SteppedClock>) -> Result<Self, VaultError> {
        let access = engine.access();
        let mut stored: BTreeMap<TokenId, [u8; 32]> = vault.tokens()?.into_iter().collect();
        let (mut hashes, mut lost) = (BTreeMap::new(), Vec::new());
        for (id, token) in access.tokens() {
            match stored.remove(id) {
                Some(hash) => drop(hashes.insert(*id, hash)),
                None => lost.push(token.name.clone()),
            }
        }
        if !lost.is_empty() {
            tracing::warn!(tokens = lost.join(", "), "the vault has lost the secrets of tokens, so these tokens are not accepted");
        }
        for orphan in stored.into_keys() {
            vault.destroy_token(orphan)?;
        }
        let mut profiles = BTreeMap::new();
        for (id, profile) in vault.profiles()? {
            match (access.identity(&id), Profile::parse(&profile)) {
                (Some(_), Some(profile)) => drop(profiles.insert(id, profile)),
                (Some(_), None) => tracing::warn!(identity = %id, "the vault has no valid name of an identity"),
                (None, _) => vault.destroy_profile(id)?,
            }
        }
        let by_name = profiles.iter().map(|(id, profile)| (profile.name.clone(), *id)).collect();
        let mut known = KnownAccess {
            access: Arc::new(access.clone()),
            hashes,
            profiles,
            by_name,
            by_subject: BTreeMap::new(),
            held: RwLock::default(),
            held_by_issuer: RwLock::default(),
        };
        access.identities().for_each(|(id, _)| known.note_subjects(*id, access));
        let being_added = Mutex::default();
        let sessions = SessionTable::open_vault(vault.clone(), engine.log())?;
        let programs = ProgramTable::open_vault(&*vault, engine)?;
        let uses = TokenUses::open_vault(vault.clone(), engine.access())?;
        Ok(Self { vault, sessions, programs, uses, clock, known: RwLock::new(known), being_added, ended: watch::Sender::new(0), lost })
    }

    /// Returns true if no token was ever created: the node starts for the first time.
    pub fn is_empty(&self) -> bool {
        self.known_access().hashes.is_empty()
    }

    /// Returns the names of the tokens that are in the log but whose secrets the vault lost: they admit nobody.
    pub fn lost_tokens(&self) -> &[String] {
        &self.lost
    }

    /// Returns true if this is a token of the node.
    pub fn has(&self, token: &Secret) -> bool {
        given_parts(token).is_some_and(|(id, secret)| is_equal(self.known_access().hashes.get(&id), &sha256(&secret)))
    }

    /// Notes committed records about access, and about the clock by which it ends.
    pub fn note(&self, records: &[Record]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut access = (*known.access).clone();
        let (mut can_end_rights, mut changes_rights) = (false, false);
        for record in records {
            let fact = match record.fact.by_noun() {
                ByNoun::AccessFact(fact) => fact,
                ByNoun::HealthFact(fact) => {
                    // What was compiled before is certain only by the clock as it was.
                    (can_end_rights, changes_rights) = (true, true);
                    let before = access.apply_clock(record.time, fact);
                    if let HealthFact::ClockStepped(step) = fact
                        && step.to < step.from
                        && let Err(error) = self.sessions.note_set_back(before.unwrap_or(step.to))
                    {
                        tracing::error!(%error, "what ended before the clock was set back cannot be noted in the vault");
                    }
                    continue;
                }
                _ => continue,
            };
            access.apply(fact);
            can_end_rights |= fact.can_end_rights();
            changes_rights |= !matches!(fact, AccessFact::SessionOpened(_) | AccessFact::SessionEnded(_));
            match fact {
                AccessFact::TokenAdded(fact) => match self.hash_of(fact.id) {
                    Some(hash) => drop(known.hashes.insert(fact.id, hash)),
                    None => {
                        tracing::error!(token = %fact.name, "the vault has no secret for a token that was added, so the token is not accepted");
                    }
                },
                AccessFact::TokenRevoked(fact) => {
                    known.hashes.remove(&fact.id);
                    self.uses.forget(fact.id);
                }
                AccessFact::IdentityAdded(IdentityAdded { id, .. }) | AccessFact::IdentityLinked(IdentityLinked { id, .. }) => {
                    match self.profile_being_added(*id) {
                        Some(profile) => {
                            known.by_name.insert(profile.name.clone(), *id);
                            known.profiles.insert(*id, profile);
                            known.note_subjects(*id, &access);
                        }
                        None => tracing::error!(identity = %id, "the vault has no name for an identity that was added"),
                    }
                }
                AccessFact::IdentityUnlinked(fact) => known.note_subjects(fact.id, &access),
                AccessFact::IdentityErased(fact) => {
                    if let Some(profile) = known.profiles.remove(&fact.id) {
                        known.by_name.remove(&profile.name);
                    }
                    known.note_subjects(fact.id, &access);
                }
                AccessFact::SessionEnded(fact) => {
                    known.held.get_mut().unwrap_or_else(PoisonError::into_inner).remove(&CredentialId::Session(fact.id));
                }
                _ => {}
            }
        }
        access.commit();
        known.access = Arc::new(access);
        if changes_rights {
            known.held = RwLock::default();
            known.held_by_issuer = RwLock::default();
            self.programs.note_change();
        }
        drop(known);
        if can_end_rights {
            self.ended.send_modify(|ended| *ended += 1);
        }
    }

    /// Notes which attempts begin and end, so that the token of an attempt that does not run is not accepted.
    pub fn note_effects(&self, effects: &[Effect]) {
        if self.programs.note_effects(effects) {
            self.ended.send_modify(|ended| *ended += 1);
        }
    }

    /// Notes committed records about packs, which change what their programs may do.
    pub fn note_packs(&self, records: &[Record]) {
        self.programs.note_packs(records);
        self.ended.send_modify(|ended| *ended += 1);
    }

    /// Stores the uses of tokens that are not in the vault yet. Called every second.
    pub(crate) fn store_uses(&self) -> Result<(), VaultError> {
        self.uses.store(&self.directory())
    }

    /// Returns the holder of a session that is open and was used recently enough.
    pub(crate) fn session(&self, id: SessionId) -> Result<Arc<Holder>, NotAdmitted> {
        let holder = self.known_access().holder(CredentialId::Session(id), &*self.clock).map_err(|why| match why {
            NotAdmitted::Disabled => why,
            _ => NotAdmitted::NoSession,
        })?;
        let idle = u64::try_from(idle_after(&holder.rights).as_millis()).unwrap_or(u64::MAX);
        let is_idle = self.sessions.used_at(id).is_none_or(|used_at| used_at.plus_millis(idle) <= self.clock.now());
        if is_idle { Err(NotAdmitted::NoSession) } else { Ok(holder) }
    }

    fn known_access(&self) -> RwLockReadGuard<'_, KnownAccess> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash_of(&self, id: TokenId) -> Option<[u8; 32]> {
        let kept = self.vault.tokens().ok()?;
        kept.into_iter().find(|(kept, _)| *kept == id).map(|(_, hash)| hash)
    }

    fn profile_being_added(&self, id: IdentityId) -> Option<Profile> {
        let being_added = self.being_added.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        being_added.or_else(|| {
            let profiles = self.vault.profiles().ok()?;
            profiles.into_iter().find(|(kept, _)| *kept == id).and_then(|(_, profile)| Profile::parse(&profile))
        })
    }

    /// Returns the identity that an issuer names so.
    pub(crate) fn identity_of(&self, issuer: &IssuerName, subject: &str) -> Option<IdentityId> {
        self.known_access().by_subject.get(&(issuer.clone(), subject.to_owned())).copied()
    }

    /// Returns what the vault knows of an identity.
    pub(crate) fn profile(&self, id: IdentityId) -> Option<Profile> {
        self.known_access().profiles.get(&id).cloned()
    }
}

impl KnownAccess {
    /// Notes how the issuers that are a way in for an identity name it, and forgets the others.
    fn note_subjects(&mut self, id: IdentityId, access: &state::Access) {
        self.by_subject.retain(|_, named| *named != id);
        let (Some(profile), Some(identity)) = (self.profiles.get(&id), access.identity(&id)) else { return };
        for (issuer, subject) in profile.subjects.iter().filter(|(issuer, _)| identity.link(issuer).is_some()) {
            self.by_subject.insert((issuer.clone(), subject.clone()), id);
        }
    }

    /// Returns the identity that a token of an issuer admits, with its rights as they are now.
    fn holder_by_issuer(
        &self,
        id: IdentityId,
        issuer: &IssuerName,
        until: Timestamp,
        clock: &dyn SteppedClock,
    ) -> Result<Arc<Holder>, NotAdmitted> {
        let now = clock.now();
        if until <= now {
            return Err(NotAdmitted::Expired);
        }
        let name = (id, issuer.clone());
        let kept = self.held_by_issuer.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(CachedHolder { holder, until: certain }) = kept
            && holder.until == Some(until)
            && certain.is_none_or(|certain| now < certain)
        {
            return Ok(holder);
        }
        if self.access.identity(&id).is_none_or(|identity| identity.link(issuer).is_none()) {
            return Err(NotAdmitted::Unknown);
        }
        let EffectiveRights { identity: _, roles, represents, rights, valid_until, .. } =
            self.access.rights_of(id, now).map_err(not_admitted)?;
        let credential = self.name_of(id);
        let identity = Some((id, credential.clone()));
        let holder = Arc::new(Holder {
            by: CredentialId::Issuer(issuer.clone()),
            credential,
            identity,
            roles,
            represents: self.represented_identities(&represents, now),
            rights,
            only: None,
            until: Some(until),
        });
        let compiled = CachedHolder { holder: holder.clone(), until: valid_until };
        self.held_by_issuer.write().unwrap_or_else(PoisonError::into_inner).insert(name, compiled);
        Ok(holder)
    }

    /// Returns the name of an identity, or its id if the vault lost the name.
    fn name_of(&self, id: IdentityId) -> String {
        self.profiles.get(&id).map_or_else(|| id.to_string(), |profile| profile.name.clone())
    }

    /// Returns the absent identities in whose place a holder may answer inquiries.
    fn represented_identities(&self, ids: &[IdentityId], now: Timestamp) -> Vec<RepresentedIdentity> {
        ids.iter().filter_map(|id| RepresentedIdentity::new(*id, Some(self.name_of(*id)), &self.access, now)).collect()
    }

    /// Returns the holder of a credential, from what was compiled before if that is still certain.
    fn holder(&self, by: CredentialId, clock: &dyn SteppedClock) -> Result<Arc<Holder>, NotAdmitted> {
        let kept = self.held.read().unwrap_or_else(PoisonError::into_inner).get(&by).cloned();
        if let Some(CachedHolder { holder, until }) = kept
            && until.is_none_or(|until| clock.now() < until)
        {
            return Ok(holder);
        }
        let held = match &by {
            CredentialId::Token(id) => self.access.effective_rights(id, clock.now()),
            CredentialId::Session(id) => self.access.held_in_session(id, clock.now()),
            // An issuer's token admits only with the time until which it is valid, the table of programs admits those of
            // attempts, and a code admits nobody.
            CredentialId::Issuer(_) | CredentialId::Execution(_) | CredentialId::Code(_) => Err(NotHeld::Unknown),
        };
        let EffectiveRights { name, identity, roles, represents, rights, only, expires_at, valid_until } = held.map_err(not_admitted)?;
        let identity = identity.map(|id| (id, self.name_of(id)));
        let represents = self.represented_identities(&represents, clock.now());
        let holder = Arc::new(Holder { by: by.clone(), credential: name, identity, roles, represents, rights, only, until: expires_at });
        self.held.write().unwrap_or_else(PoisonError::into_inner).insert(by, CachedHolder { holder: holder.clone(), until: valid_until });
        Ok(holder)
    }
}

fn not_admitted(why: NotHeld) -> NotAdmitted {
    match why {
        NotHeld::Unknown => NotAdmitted::Unknown,
        NotHeld::Expired => NotAdmitted::Expired,
        NotHeld::Disabled => NotAdmitted::Disabled,
    }
}

/// Compares a hash with the stored one. An unknown id costs the same comparison.
fn is_equal(stored: Option<&[u8; 32]>, given: &[u8; 32]) -> bool {
    let is_equal: bool = stored.copied().unwrap_or_default().ct_eq(given).into();
    stored.is_some() && is_equal
}

impl ensue_executor::ports::ProgramAccess for TokenTable {
    fn token(&self, attempt: AttemptOf) -> Secret {
        self.programs.token(attempt)
    }

    fn url(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.programs.url()
    }
}

impl Access for TokenTable {
    fn admit(&self, credential: &Credential) -> Result<Arc<Holder>, NotAdmitted> {
        match credential {
            Credential::Token { id, secret_sha256 } => {
                let known = self.known_access();
                if !is_equal(known.hashes.get(id), secret_sha256) {
                    return Err(NotAdmitted::Unknown);
                }
                known.holder(CredentialId::Token(*id), &*self.clock)
            }
            Credential::Session { id, secret_sha256 } => {
                if !is_equal(self.sessions.hash(*id).as_ref(), secret_sha256) {
                    return Err(NotAdmitted::NoSession);
                }
                self.session(*id)
            }
            Credential::Program { attempt, mark } => {
                let access = self.directory();
                self.programs.admit(*attempt, mark, &access, self.clock.now())
            }
            Credential::Issuer { identity, issuer, until } => self.known_access().holder_by_issuer(*identity, issuer, *until, &*self.clock),
            Credential::Signed(text) => match self.sessions.session_of_token(text, self.clock.now()) {
                Ok(id) => self.session(id),
                Err(AccessFault::Expired) => Err(NotAdmitted::Expired),
                // An issuer may have signed it, which is verified before.
                Err(AccessFault::NotOurs) => Err(NotAdmitted::Unknown),
            },
        }
    }

    fn note_use(&self, by: &CredentialId) {
        match by {
            CredentialId::Session(id) => self.sessions.note_use(*id, self.clock.now()),
            CredentialId::Token(id) => self.uses.note(*id, self.clock.now()),
            CredentialId::Issuer(_) | CredentialId::Code(_) | CredentialId::Execution(_) => {}
        }
    }

    fn last_use(&self, token: TokenId) -> Option<Timestamp> {
        self.uses.last(token)
    }

    fn revocations(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    fn directory(&self) -> Arc<state::Access> {
        self.known_access().access.clone()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn name_of(&self, id: IdentityId) -> Option<String> {
        self.known_access().profiles.get(&id).map(|profile| profile.name.clone())
    }

    fn identity_named(&self, name: &str) -> Option<IdentityId> {
        self.known_access().by_name.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use ensue_engine::command::{Ask, Command, NewSession, NewToken};
    use ensue_engine::ids::Id;
    use ensue_engine::ports::SealedKind;
    use ensue_engine::record::Actor;
    use ensue_store::master_key::MasterKey;
    use ensue_store::memory::MemoryVault;
    use ensue_test_support::NOON;
    use ensue_test_support::spec::Spec;

    use super::*;
    use crate::clock::hand::HandClock;
    use crate::session_table::Live;

    #[test]
    fn session_that_is_in_use_ends_at_its_end() {
        let (token, session) = (TokenId(Id::root(NOON, 1)), SessionId(Id::root(NOON, 2)));
        let until = NOON.plus_millis(3_600_000);
        let asked = |ask| Command { actor: Actor::Operator, trace: None, ask };
        let (way, credential) = ("token".to_owned(), Some(token));
        let opened = NewSession { id: session, identity: None, way, credential, only: None, link: None, until, in_place_of: None };
        let spec = Spec::default().given_commands([
            asked(Ask::AddToken(NewToken::with_roles(token, "ana", vec!["viewer".to_owned()]))),
            asked(Ask::OpenSession(opened)),
        ]);
        let used = || AtomicI64::new(NOON.micros());
        let live = Live { sha256: None, used_at: used(), stored_at: used(), agent: String::new(), address: String::new() };
        let vault = MemoryVault::new(spec.engine().log(), MasterKey::from_bytes([7; 32]));
        vault.put_all(SealedKind::Session, &[(session.to_string(), live.sealed_form())]).unwrap();
        let clock = Arc::new(HandClock(used()));
        let table = TokenTable::open_vault(Arc::new(vault), spec.engine(), clock.clone()).unwrap();
        let used_at = |time: Timestamp| {
            clock.0.store(time.micros(), Ordering::Relaxed);
            let holder = table.session(session)?;
            table.note_use(&holder.by);
            Ok(holder.until)
        };
        // Each use but the first finds the rights at hand.
        for time in [NOON, NOON.plus_millis(1), until.minus_millis(1)] {
            assert_eq!(used_at(time), Ok(Some(until)), "{time}");
        }
        assert_eq!(used_at(until), Err(NotAdmitted::NoSession));
    }
}
