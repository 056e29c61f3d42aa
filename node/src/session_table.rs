//! What a node has at hand of its sessions: the hashes of their cookies, the state of their refresh tokens, their last
//! use, and the keys that sign access tokens. All of it is in the vault.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use ensue_api::ports::{AtIssuer, PortError, SeenSession};
use ensue_engine::access::permission::Permission;
use ensue_engine::access::rights::Rights;
use ensue_engine::explain::Explain;
use ensue_engine::ids::{Id, IdentityId, InquiryId, LogId, SessionId, TokenId};
use ensue_engine::ports::{SealedKind, Secret, Vault, VaultError};
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;
use ensue_login::access_tokens::{AccessFault, SigningKey, session_of};
use ensue_login::devices::DeviceKey;
use ensue_login::refresh::Family;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::issuer_logins::IssuerLogins;

/// The name of the key by which devices are known.
const DEVICE_KEY: &str = "current";
/// How long a code is remembered after its end, so that its holder learns that it was used or has expired.
const CODE_REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a session lasts at most, and a link to an inquiry is valid at most.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a session lasts without being used.
pub(crate) const IDLE: Duration = Duration::from_secs(12 * 3600);
/// How long a session lasts without being used if its holder may only answer inquiries.
const IDLE_OF_ANSWERERS: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a login or a refresh fails.
#[derive(Clone, Copy, Debug, Error, Explain)]
pub(crate) enum SessionRefusal {
    /// The session is not open.
    #[error("the session has ended")]
    #[explain(slug = "session-unknown", fault = Unauthenticated, hint = "log in again")]
    Ended,
    /// The refresh token has another form.
    #[error("the refresh token is not valid")]
    #[explain(slug = "token-invalid", fault = Unauthenticated, hint = "log in again")]
    Malformed,
    /// The system provides no randomness.
    #[error("the system provides no randomness")]
    #[explain(slug = "vault-unavailable", fault = Unavailable, hint = "check the machine of the node")]
    NoRandomness,
}

/// Why a login code is refused.
#[derive(Clone, Copy, Debug, Error, Explain)]
pub(crate) enum CodeRefusal {
    /// The code does not exist, or its verifier is wrong.
    #[error("the code is not valid")]
    #[explain(slug = "token-invalid", fault = Unauthenticated, hint = "ask for a new link, or log in again")]
    Unknown,
    /// It was used.
    #[error("the link was used before")]
    #[explain(slug = "link-used", fault = Conflict, hint = "ask for a new link; if you did not use it, tell an administrator")]
    Used,
    /// It has expired.
    #[error("the link has expired")]
    #[explain(slug = "link-expired", fault = Missing, hint = "ask for a new link")]
    Expired,
}

/// A login code as the vault holds it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredCode {
    /// The SHA-256 of its secret.
    pub(crate) sha256: String,
    /// The token whose rights the session will have.
    pub(crate) token: Option<TokenId>,
    /// The identity, if no token opens the session.
    pub(crate) identity: Option<IdentityId>,
    /// How its holder logs in.
    pub(crate) way: String,
    /// The SHA-256 of the verifier that it needs.
    pub(crate) challenge: Option<String>,
    /// Until when it is valid, in microseconds.
    pub(crate) until: i64,
    /// When the session ends at the latest, in microseconds, if something shortens it. Older codes do not have it.
    #[serde(default)]
    pub(crate) ends_by: Option<i64>,
    /// The login at an issuer with which the session ends.
    #[serde(default)]
    pub(crate) at_issuer: StoredAtIssuer,
    /// Whether it was used.
    pub(crate) used: CodeState,
    /// What it is for.
    #[serde(default)]
    pub(crate) purpose: CodePurpose,
}

/// The login at an issuer with which the session of a code ends, as the vault holds it.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoredAtIssuer {
    /// There is none.
    #[default]
    None,
    /// One that has succeeded, in the form of [`crate::issuer_logins::IssuerLogin`].
    New(String),
    /// That of another session.
    Of(SessionId),
}

impl StoredAtIssuer {
    pub(crate) fn of(at_issuer: Option<&AtIssuer>) -> Self {
        match at_issuer {
            None => Self::None,
            Some(AtIssuer::New(login)) => Self::New(String::from_utf8_lossy(login.reveal()).into_owned()),
            Some(AtIssuer::Of(session)) => Self::Of(*session),
        }
    }

    pub(crate) fn read(self) -> Option<AtIssuer> {
        match self {
            Self::None => None,
            Self::New(login) => Some(AtIssuer::New(Secret::new(login.into_bytes()))),
            Self::Of(session) => Some(AtIssuer::Of(session)),
        }
    }
}

/// What a code is for. A code counts for nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CodePurpose {
    /// To open a session.
    #[default]
    Login,
    /// To open a session by a link whose creation is recorded. Older links are [`Self::Login`].
    LoginLink,
    /// To set a password.
    Password,
    /// To see and answer one inquiry.
    Inquiry {
        /// The inquiry.
        id: InquiryId,
        /// The digest of what it asks.
        digest: Digest,
    },
}

/// Whether a code was used.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CodeState {
    /// It was not.
    Fresh,
    /// It was.
    Used,
    /// It has expired. A clock that is set back does not change that.
    Expired,
}

impl StoredCode {
    /// Returns the form in the vault.
    pub(crate) fn sealed_form(&self) -> Secret {
        Secret::new(serde_json::to_vec(self).expect("texts and numbers always have a JSON form"))
    }
}

/// What the vault and the memory hold of a session.
pub(crate) struct Live {
    /// The SHA-256 of the secret of its cookie; `None` if it has no cookie.
    pub(crate) sha256: Option<[u8; 32]>,
    /// When it was last used.
    pub(crate) used_at: AtomicI64,
    /// The last use that is in the vault.
    pub(crate) stored_at: AtomicI64,
    /// The program that logged in.
    pub(crate) agent: String,
    /// The address that it came from.
    pub(crate) address: String,
}

/// The form of a session in the vault.
#[derive(Serialize, Deserialize)]
struct SealedSession {
    sha256: Option<String>,
    used_at: i64,
    agent: String,
    address: String,
}

impl Live {
    /// Returns the form in the vault.
    pub(crate) fn sealed_form(&self) -> Secret {
        let (used_at, sha256) = (self.used_at.load(Ordering::Relaxed), self.sha256.map(hex::encode));
        let stored = SealedSession { sha256, used_at, agent: self.agent.clone(), address: self.address.clone() };
        Secret::new(serde_json::to_vec(&stored).expect("texts and numbers always have a JSON form"))
    }

    fn restore(stored: &Secret) -> Option<Self> {
        let SealedSession { sha256, used_at, agent, address } = serde_json::from_slice(stored.reveal()).ok()?;
        let sha256 = sha256.map(|text| hex::decode(text).ok()?.try_into().ok()).map_or(Some(None), |hash: Option<_>| hash.map(Some))?;
        Some(Self { sha256, used_at: AtomicI64::new(used_at), stored_at: AtomicI64::new(used_at), agent, address })
    }
}

/// The sessions as the node has them at hand.
pub(crate) struct SessionTable {
    pub(crate) vault: Arc<dyn Vault>,
    /// The log for which access tokens count.
    pub(crate) audience: String,
    /// What is at hand of each session.
    pub(crate) live: RwLock<BTreeMap<SessionId, Arc<Live>>>,
    /// Held while a refresh token is exchanged, so that a race makes no second successor.
    families: Mutex<BTreeMap<SessionId, Family>>,
    /// The keys that sign access tokens, oldest first.
    pub(crate) signing: RwLock<Vec<Arc<SigningKey>>>,
    codes: Mutex<BTreeMap<Id, StoredCode>>,
    /// The logins at issuers that sessions came from.
    pub(crate) issuer_logins: IssuerLogins,
    /// The key by which the secrets of cookies show whose they were.
    pub(crate) devices: DeviceKey,
}

impl SessionTable {
    /// Reads the sessions of a log from its vault.
    pub(crate) fn open_vault(vault: Arc<dyn Vault>, log: LogId) -> Result<Self, VaultError> {
        let mut live = BTreeMap::new();
        for (name, stored) in vault.list(SealedKind::Session)? {
            match (name.parse(), Live::restore(&stored)) {
                (Ok(id), Some(session)) => drop(live.insert(id, Arc::new(session))),
                _ => tracing::warn!(session = name, "the vault has no valid form of a session"),
            }
        }
        let mut families = BTreeMap::new();
        for (name, stored) in vault.list(SealedKind::Family)? {
            if let Ok(id) = name.parse::<SessionId>()
                && let Some(family) = Family::restore(uuid_of(id), &stored)
            {
                families.insert(id, family);
            }
        }
        let signing = vault.list(SealedKind::Signing)?.iter().filter_map(|(_, key)| SigningKey::restore(key)).map(Arc::new).collect();
        let mut codes = BTreeMap::new();
        for (name, stored) in vault.list(SealedKind::Code)? {
            if let (Ok(id), Ok(code)) = (name.parse(), serde_json::from_slice(stored.reveal())) {
                codes.insert(id, code);
            }
        }
        let devices = match vault.list(SealedKind::Device)?.iter().find_map(|(_, key)| DeviceKey::restore(key)) {
            Some(devices) => devices,
            None => {
                let made = DeviceKey::new(*random().map_err(|error| VaultError::Store(error.to_string()))?);
                vault.put_all(SealedKind::Device, &[(DEVICE_KEY.to_owned(), made.to_stored())])?;
                made
            }
        };
        let (live, families, signing) = (RwLock::new(live), Mutex::new(families), RwLock::new(signing));
        let issuer_logins = IssuerLogins::open_vault(vault.clone())?;
        Ok(Self { vault, audience: format!("ensue:{log}"), live, families, signing, codes: Mutex::new(codes), issuer_logins, devices })
    }

    /// Returns the hash of the cookie of a session, if it has one.
    pub(crate) fn hash(&self, id: SessionId) -> Option<[u8; 32]> {
        self.live(id)?.sha256
    }

    /// Returns when a session was last used.
    pub(crate) fn used_at(&self, id: SessionId) -> Option<Timestamp> {
        self.live(id).map(|live| Timestamp::from_micros(live.used_at.load(Ordering::Relaxed)))
    }

    /// Notes that a session is used.
    pub(crate) fn note_use(&self, id: SessionId, now: Timestamp) {
        if let Some(live) = self.live(id) {
            live.used_at.fetch_max(now.micros(), Ordering::Relaxed);
        }
    }

    /// Returns the session that an access token of the node names.
    pub(crate) fn session_of_token(&self, text: &str, now: Timestamp) -> Result<SessionId, AccessFault> {
        let keys = self.signing.read().unwrap_or_else(PoisonError::into_inner);
        let mut is_over = false;
        let key = |id: &str| {
            let key = keys.iter().find(|key| key.id() == id)?;
            is_over = key.is_over(now);
            Some(&**key)
        };
        let session = session_of(text, &self.audience, key, now)?;
        if is_over { Err(AccessFault::Expired) } else { Ok(id_of(session)) }
    }

    fn live(&self, id: SessionId) -> Option<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Returns the refresh tokens of the sessions.
    pub(crate) fn families(&self) -> MutexGuard<'_, BTreeMap<SessionId, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is known of a session besides the log.
    pub(crate) fn last_seen(&self, id: SessionId) -> Option<SeenSession> {
        let live = self.live(id)?;
        let used_at = Timestamp::from_micros(live.used_at.load(Ordering::Relaxed));
        Some(SeenSession { used_at, agent: live.agent.clone(), address: live.address.clone() })
    }

    /// Returns the key that signs now; creates one if there is none.
    pub(crate) fn signing_key(&self, now: Timestamp) -> Result<Arc<SigningKey>, PortError> {
        let mut keys = self.signing.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.iter().find(|key| key.signs(now)) {
            return Ok(key.clone());
        }
        let key = Arc::new(SigningKey::new(*random()?, now).ok_or(SessionRefusal::NoRandomness)?);
        self.vault.put_all(SealedKind::Signing, &[(key.id().to_owned(), key.to_stored())])?;
        keys.push(key.clone());
        Ok(key)
    }

    /// Notes that the clock was set back, from a time until which codes have expired. Access tokens that had expired would be
    /// valid again, and nobody can know which those are. So all of them have expired, and a client gets a new one for its refresh
    /// token.
    pub(crate) fn note_set_back(&self, from: Timestamp) -> Result<(), VaultError> {
        let mut keys = self.signing.write().unwrap_or_else(PoisonError::into_inner);
        *keys = keys.iter().filter_map(|key| key.retire()).map(Arc::new).collect();
        let stored: Vec<_> = keys.iter().map(|key| (key.id().to_owned(), key.to_stored())).collect();
        drop(keys);
        // One failure must not keep the other from being noted.
        let retired = self.vault.put_all(SealedKind::Signing, &stored);
        self.forget_codes(from).and(retired)
    }

    /// Removes what is at hand of sessions.
    pub(crate) fn forget(&self, ids: &[SessionId]) -> Result<(), VaultError> {
        for id in ids {
            self.issuer_logins.forget(*id)?;
            self.vault.destroy(SealedKind::Family, &id.to_string())?;
            // A start finds by this one what an interruption left.
            self.vault.destroy(SealedKind::Session, &id.to_string())?;
            self.families().remove(id);
            self.live.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        }
        Ok(())
    }

    /// Returns the login codes. They are locked while one is used up, so that it opens one session.
    pub(crate) fn codes(&self) -> MutexGuard<'_, BTreeMap<Id, StoredCode>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which codes have expired, and destroys those that expired long enough ago.
    pub(crate) fn forget_codes(&self, now: Timestamp) -> Result<(), VaultError> {
        let mut codes = self.codes();
        let has_expired = |code: &StoredCode| code.used == CodeState::Fresh && Timestamp::from_micros(code.until) <= now;
        for (id, code) in codes.iter_mut().filter(|(_, code)| has_expired(code)) {
            let expired = StoredCode { used: CodeState::Expired, ..code.clone() };
            self.vault.put_all(SealedKind::Code, &[(id.to_string(), expired.sealed_form())])?;
            *code = expired;
        }
        // One that holds a refresh token of an issuer is of no further use.
        let is_over = |code: &StoredCode| {
            let remembered = if matches!(code.at_issuer, StoredAtIssuer::New(_)) { Duration::ZERO } else { CODE_REMEMBERED };
            Timestamp::from_micros(code.until).plus_millis(millis(remembered)) <= now
        };
        let over: Vec<Id> = codes.iter().filter(|(_, code)| is_over(code)).map(|(id, _)| *id).collect();
        for id in over {
            self.vault.destroy(SealedKind::Code, &id.to_string())?;
            codes.remove(&id);
        }
        Ok(())
    }

    /// Stores the last uses, in one transaction.
    pub(crate) fn store_uses(&self) -> Result<(), VaultError> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner).clone();
        let used = live.iter().filter(|(_, live)| live.used_at.load(Ordering::Relaxed) != live.stored_at.load(Ordering::Relaxed));
        let stored: Vec<_> = used.map(|(id, live)| (id.to_string(), live.used_at.load(Ordering::Relaxed), live)).collect();
        if stored.is_empty() {
            return Ok(());
        }
        let values: Vec<_> = stored.iter().map(|(name, _, live)| (name.clone(), live.sealed_form())).collect();
        self.vault.put_all(SealedKind::Session, &values)?;
        stored.iter().for_each(|(_, used_at, live)| live.stored_at.store(*used_at, Ordering::Relaxed));
        Ok(())
    }
}

/// Returns how long a session lasts without being used, by what its holder may do.
pub(crate) fn idle_after(rights: &Rights) -> Duration {
    let is_about_inquiries = |permission: Permission| matches!(permission, Permission::InquiriesRead | Permission::InquiriesAnswer);
    let only_answers = Permission::ALL.iter().all(|permission| is_about_inquiries(*permission) || rights.reach(*permission).is_none());
    if only_answers { IDLE_OF_ANSWERERS } else { IDLE }
}

/// Returns 32 random bytes.
pub(crate) fn random() -> Result<Zeroizing<[u8; 32]>, SessionRefusal> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|_| SessionRefusal::NoRandomness)?;
    Ok(bytes)
}

/// Returns the UUID of a session.
pub(crate) fn uuid_of(id: SessionId) -> Uuid {
    Uuid::from_bytes(*id.0.as_bytes())
}

/// Returns the session of a UUID.
pub(crate) fn id_of(uuid: Uuid) -> SessionId {
    SessionId(Id::from_bytes(*uuid.as_bytes()))
}

/// Returns a duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
