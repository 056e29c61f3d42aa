//! The passwords and authenticator apps of persons: the crate `login` has the rules, the vault the values, and the log
//! what changed.
//!
//! A new value is in the vault before its record is in the log.

mod apps;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use ensue_api::ports::{
    Access as _, Login, LoginFrom, LoginOf, MintedCode, NewOtp, OnBehalf, OpenedSession, OtpAtReset, PasswordAttempt, Passwords, PortError,
    RefusalNote, RefusedAttempt, Sessions as _,
};
use ensue_engine::access::facts::{CredentialChange, CredentialKind, SessionEnd};
use ensue_engine::command::{Ask, ChangedCredential, Command};
use ensue_engine::explain::Explain;
use ensue_engine::ids::{IdentityId, SessionId};
use ensue_engine::ports::{CommitReceipt, SealedKind, Secret, SubmitError, VaultError};
use ensue_engine::record::{Actor, CredentialId};
use ensue_login::passwords::{Hashing, NewPassword, PasswordCheck, PasswordHash, PasswordRefusal, TypedPassword};
use ensue_login::throttle::{Device, Throttle};
use thiserror::Error;
use uuid::Uuid;

use crate::access::TokenTable;
use crate::clock::SteppedClock;
use crate::config::PasswordLogin;
use crate::sequencer::Asking;
use crate::session_table::{CodePurpose, CodeRefusal, millis, random, uuid_of};
use crate::sessions::NodeSessions;
use apps::Apps;

/// How a person logs in with a password.
const WAY: &str = "password";
/// How long a code to set a password is valid.
const RESET_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The bytes of a salt.
const SALT_BYTES: usize = 16;

/// Why a password does not count.
#[derive(Clone, Copy, Debug, Error, Explain)]
enum PasswordFault {
    /// The operator has not switched passwords on.
    #[error("logins with a password are switched off on this node")]
    #[explain(slug = "passwords-off", fault = Forbidden,
        hint = "log in another way; the operator switches them on with `login.password: true` in `ensue.yaml`")]
    Off,
    /// The name or the password is wrong, or the identity is disabled.
    #[error("the name or the password is wrong")]
    #[explain(slug = "login-refused", fault = Unauthenticated, hint = "try again; an administrator can give you a code to set a new password")]
    Refused,
}

/// The passwords and authenticator apps.
pub struct NodePasswords {
    table: Arc<TokenTable>,
    sessions: Arc<NodeSessions>,
    sequencer: Arc<dyn Asking>,
    clock: Arc<dyn SteppedClock>,
    setting: PasswordLogin,
    hashing: Hashing,
    throttle: Mutex<Throttle>,
    hashes: RwLock<BTreeMap<IdentityId, PasswordHash>>,
    apps: Apps,
    /// Held while a password is replaced.
    changing: Mutex<()>,
}

impl NodePasswords {
    /// Reads the passwords from the vault, and destroys those of identities that do not exist.
    pub fn open_vault(sessions: Arc<NodeSessions>, setting: PasswordLogin) -> Result<Self, VaultError> {
        let table = sessions.table.clone();
        let (vault, directory) = (&table.vault, table.directory());
        let is_there = |name: &str| name.parse().ok().filter(|id| directory.identity(id).is_some());
        let mut hashes = BTreeMap::new();
        for (name, stored) in vault.list(SealedKind::Password)? {
            let Some(id) = is_there(&name) else {
                vault.destroy(SealedKind::Password, &name)?;
                continue;
            };
            match std::str::from_utf8(stored.reveal()).ok().and_then(PasswordHash::read) {
                Some(hash) => drop(hashes.insert(id, hash)),
                None => tracing::warn!(identity = %id, "the vault has no valid hash of a password, so the person cannot log in with it"),
            }
        }
        let apps = Apps::open_vault(vault.clone(), &sessions.issuer, is_there)?;
        let throttle_key = random().map_err(|error| VaultError::Store(error.to_string()))?;
        Ok(Self {
            sequencer: sessions.sequencer.clone(),
            clock: sessions.clock.clone(),
            setting,
            hashing: Hashing::default(),
            throttle: Mutex::new(Throttle::new(*throttle_key)),
            hashes: RwLock::new(hashes),
            apps,
            changing: Mutex::new(()),
            table,
            sessions,
        })
    }

    fn demand_on(&self) -> Result<(), PasswordFault> {
        if self.setting == PasswordLogin::On { Ok(()) } else { Err(PasswordFault::Off) }
    }

    /// Returns the person whose name and password these are, with the hash that was compared. An unknown name, a disabled
    /// identity and a wrong password cost the same work and get the same answer.
    fn check_password(&self, attempt: &PasswordAttempt) -> Result<(IdentityId, PasswordHash), RefusedAttempt> {
        self.demand_on()?;
        let typed = typed_password(&attempt.password)?;
        let (id, now) = (self.table.identity_named(&attempt.name), self.clock.now());
        let address = attempt.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let counted = self.throttle().attempt(&attempt.name, address, self.device(attempt, id), now);
        counted.map_err(|throttled| RefusedAttempt { retry_after: Some(throttled.retry_after), ..refuse_attempt(throttled, id) })?;
        let hash = id.and_then(|id| self.hash_of(id));
        let checked = self.hashing.check(hash.as_ref(), &typed)?;
        let is_enabled = id.is_some_and(|id| self.table.directory().rights_of(id, now).is_ok());
        let (Some(id), Some(hash), true, PasswordCheck::Right | PasswordCheck::RightButOld) = (id, hash, is_enabled, checked) else {
            return Err(refuse_attempt(PasswordFault::Refused, id));
        };
        if checked == PasswordCheck::RightButOld {
            return Ok((id, self.rehash_password(id, hash, &typed)?));
        }
        Ok((id, hash))
    }

    /// Hashes a password that is right with the parameters of this release. If that cannot be done now, the next login does it.
    fn rehash_password(&self, id: IdentityId, old: PasswordHash, typed: &TypedPassword) -> Result<PasswordHash, PortError> {
        let Ok(new) = self.hashing.rehash(typed, salt()?) else { return Ok(old) };
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // Another login may have done it, and the person may have set another password.
        if self.hash_of(id).is_none_or(|now| !is_same(&now, &old)) {
            return Ok(old);
        }
        self.store(id, Some(&new))?;
        Ok(new)
    }

    /// Returns the device of an attempt, if it came in to the account before.
    fn device(&self, attempt: &PasswordAttempt, id: Option<IdentityId>) -> Device {
        let (Some(id), Some((session, secret))) = (id, &attempt.device) else { return Device::New };
        let devices = &self.table.sessions.devices;
        let is_known = devices.knows(uuid_of(*session), Uuid::from_bytes(*id.0.as_bytes()), secret);
        if is_known { Device::Known(*session.0.as_bytes()) } else { Device::New }
    }

    /// Sets a password that was accepted. The sessions of the person end, but for the one that is kept.
    fn set(
        &self,
        id: IdentityId,
        new: &NewPassword,
        kept: Option<SessionId>,
        by: (Actor, Option<String>),
    ) -> Result<CommitReceipt, PortError> {
        let hash = self.hashing.hash(new, salt()?)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.hash_of(id);
        self.store(id, Some(&hash))?;
        let change = ChangedCredential { identity: id, what: CredentialKind::Password, how: CredentialChange::Set, kept };
        let committed = self.ask(by, change);
        // If it is unknown whether it was recorded, the new password counts.
        if committed.as_ref().is_err_and(|error| !matches!(error, SubmitError::Unknown)) {
            self.store(id, before.as_ref())?;
        }
        Ok(committed?)
    }

    /// Stores the hash of a password in the vault, and then in memory. Called by whoever holds `changing`.
    fn store(&self, id: IdentityId, hash: Option<&PasswordHash>) -> Result<(), VaultError> {
        let mut hashes = self.hashes.write().unwrap_or_else(PoisonError::into_inner);
        match hash {
            Some(hash) => {
                self.table.vault.put_all(SealedKind::Password, &[(id.to_string(), hash.to_stored())])?;
                hashes.insert(id, hash.clone());
            }
            None => {
                self.table.vault.destroy(SealedKind::Password, &id.to_string())?;
                hashes.remove(&id);
            }
        }
        Ok(())
    }

    fn hash_of(&self, id: IdentityId) -> Option<PasswordHash> {
        self.hashes.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, (actor, trace): (Actor, Option<String>), change: ChangedCredential) -> Result<CommitReceipt, SubmitError> {
        self.sequencer.ask(Command { actor, trace, ask: Ask::ChangeCredential(change) })
    }
}

impl Passwords for NodePasswords {
    fn are_allowed(&self) -> bool {
        self.setting == PasswordLogin::On
    }

    fn open(&self, attempt: &PasswordAttempt, from: &LoginFrom) -> Result<OpenedSession, RefusedAttempt> {
        let (id, hash) = self.check_password(attempt)?;
        self.apps.demand(id, attempt.otp.as_ref(), self.clock.now())?;
        let opened = self.sessions.open(&Login::of(LoginOf::Identity(id), WAY, from))?;
        // If the password was replaced meanwhile, its other sessions have ended, and so does this one.
        if self.hash_of(id).is_none_or(|now| !is_same(&now, &hash)) {
            let by = OnBehalf { actor: Actor::Engine, trace: None, request: None };
            self.sessions.end(vec![opened.id], SessionEnd::PasswordChanged, &by)?;
            return Err(refuse_attempt(PasswordFault::Refused, Some(id)));
        }
        Ok(opened)
    }

    fn change(&self, attempt: &PasswordAttempt, new: &Secret, by: &OnBehalf) -> Result<CommitReceipt, RefusedAttempt> {
        self.demand_on()?;
        let new = new_password(new, &attempt.name)?;
        let (id, _) = self.check_password(attempt)?;
        Ok(self.set(id, &new, attempt.session, (by.actor.clone(), by.trace.clone()))?)
    }

    fn reset(&self, id: IdentityId, otp: OtpAtReset, by: &OnBehalf) -> Result<MintedCode, PortError> {
        self.demand_on()?;
        let by = (by.actor.clone(), by.trace.clone());
        let change = |what| ChangedCredential { identity: id, what, how: CredentialChange::Reset, kept: None };
        self.ask(by.clone(), change(CredentialKind::Password))?;
        if otp == OtpAtReset::Removed && self.apps.has(id) {
            self.ask(by, change(CredentialKind::Otp))?;
            self.apps.remove(id)?;
        }
        self.sessions.forget_codes_of(id, CodePurpose::Password)?;
        let until = self.clock.now().plus_millis(millis(RESET_LIFETIME));
        Ok(self.sessions.mint_for(id, CodePurpose::Password, until)?.1)
    }

    fn set_by_code(&self, code: &Secret, new: &Secret, trace: Option<String>) -> Result<CommitReceipt, PortError> {
        self.demand_on()?;
        let (code, stored) = self.sessions.valid_code(code, None, |purpose| purpose == CodePurpose::Password)?;
        let (Some(id), Some(name)) = (stored.identity, stored.identity.and_then(|id| self.table.name_of(id))) else {
            return Err(CodeRefusal::Unknown.into());
        };
        let new = new_password(new, &name)?;
        self.sessions.use_code(code)?;
        self.set(id, &new, None, (Actor::Identity { id, by: CredentialId::Code(code) }, trace))
    }

    fn add_otp(&self, attempt: &PasswordAttempt) -> Result<NewOtp, RefusedAttempt> {
        let (id, _) = self.check_password(attempt)?;
        Ok(NewOtp { url: self.apps.begin(id, &attempt.name, self.clock.now())? })
    }

    fn confirm_otp(&self, id: IdentityId, code: &Secret, by: &OnBehalf) -> Result<(Vec<Secret>, CommitReceipt), PortError> {
        self.demand_on()?;
        let change = ChangedCredential { identity: id, what: CredentialKind::Otp, how: CredentialChange::Set, kept: None };
        self.apps.confirm(id, code, self.clock.now(), || self.ask((by.actor.clone(), by.trace.clone()), change))
    }

    fn remove_otp(&self, attempt: &PasswordAttempt, by: &OnBehalf) -> Result<CommitReceipt, RefusedAttempt> {
        let (id, _) = self.check_password(attempt)?;
        self.apps.demand_one(id)?;
        self.apps.demand(id, attempt.otp.as_ref(), self.clock.now())?;
        let change = ChangedCredential { identity: id, what: CredentialKind::Otp, how: CredentialChange::Removed, kept: None };
        let committed = self.ask((by.actor.clone(), by.trace.clone()), change)?;
        self.apps.remove(id)?;
        Ok(committed)
    }
}

/// Returns a refused attempt that is recorded.
fn refuse_attempt(why: impl Explain + Send + Sync + 'static, id: Option<IdentityId>) -> RefusedAttempt {
    RefusedAttempt { noted: RefusalNote::Refused(id), ..why.into() }
}

fn is_same(one: &PasswordHash, other: &PasswordHash) -> bool {
    one.to_stored().reveal() == other.to_stored().reveal()
}

fn typed_password(password: &Secret) -> Result<TypedPassword, PasswordRefusal> {
    TypedPassword::new(std::str::from_utf8(password.reveal()).unwrap_or_default())
}

fn new_password(new: &Secret, name: &str) -> Result<NewPassword, PasswordRefusal> {
    NewPassword::new(std::str::from_utf8(new.reveal()).unwrap_or_default(), name)
}

fn salt() -> Result<[u8; SALT_BYTES], PortError> {
    let bytes = random()?;
    Ok(*bytes.first_chunk().unwrap_or(&[0; SALT_BYTES]))
}
