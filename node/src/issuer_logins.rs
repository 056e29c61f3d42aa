//! The logins at issuers that sessions came from: the session at the issuer, and the refresh token with which the issuer
//! is asked again. All of it is sealed in the vault, and destroyed with the last session of the login.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_api::ports::AtIssuer;
use ensue_engine::ids::{IdentityId, SessionId};
use ensue_engine::names::IssuerName;
use ensue_engine::ports::{SealedKind, Secret, Vault, VaultError};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The time between two questions about a login, before a random part of [`JITTER_MILLIS`] is taken off.
const EVERY_MILLIS: u64 = 60 * 60 * 1_000;
/// How much earlier a login may be renewed, so that those of one morning are not renewed at once.
const JITTER_MILLIS: u64 = 10 * 60 * 1_000;
/// A login at an issuer.
#[derive(Clone)]
pub(crate) struct IssuerLogin {
    /// The issuer.
    pub(crate) issuer: IssuerName,
    /// Who logged in.
    pub(crate) identity: IdentityId,
    /// What identifies the person at the issuer.
    pub(crate) subject: String,
    /// The session at the issuer (`sid`), if it named one.
    pub(crate) issuer_session: Option<String>,
    /// The issuer's refresh token, if the login is renewed.
    pub(crate) refresh: Option<Secret>,
    /// When the issuer is asked next.
    pub(crate) ask_at: Timestamp,
    /// The sessions that end with the login: the one that was opened by it, and those of terminals that this one approved.
    pub(crate) sessions: BTreeSet<SessionId>,
}

/// The form of a login in the vault.
#[derive(Serialize, Deserialize)]
struct SealedLogin {
    issuer: IssuerName,
    identity: IdentityId,
    subject: String,
    issuer_session: Option<String>,
    refresh: Option<String>,
    ask_at: i64,
    sessions: BTreeSet<SessionId>,
}

impl IssuerLogin {
    /// Returns the form in the vault.
    pub(crate) fn sealed_form(&self) -> Secret {
        let refresh = self.refresh.as_ref().and_then(|token| std::str::from_utf8(token.reveal()).ok()).map(str::to_owned);
        let Self { issuer, identity, subject, issuer_session, ask_at, sessions, .. } = self.clone();
        let stored = SealedLogin { issuer, identity, subject, issuer_session, refresh, ask_at: ask_at.micros(), sessions };
        Secret::new(serde_json::to_vec(&stored).expect("texts and numbers always have a JSON form"))
    }

    fn restore(stored: &Secret) -> Option<Self> {
        let SealedLogin { issuer, identity, subject, issuer_session, refresh, ask_at, sessions } =
            serde_json::from_slice(stored.reveal()).ok()?;
        let (refresh, ask_at) = (refresh.map(|token| Secret::new(token.into_bytes())), Timestamp::from_micros(ask_at));
        Some(Self { issuer, identity, subject, issuer_session, refresh, ask_at, sessions })
    }
}

/// The logins at issuers of the open sessions, each under its first session.
pub(crate) struct IssuerLogins {
    vault: Arc<dyn Vault>,
    logins: Mutex<BTreeMap<SessionId, IssuerLogin>>,
}

impl IssuerLogins {
    /// Reads the logins from the vault.
    pub(crate) fn open_vault(vault: Arc<dyn Vault>) -> Result<Self, VaultError> {
        let mut logins = BTreeMap::new();
        for (name, stored) in vault.list(SealedKind::Issuer)? {
            match (name.parse(), IssuerLogin::restore(&stored)) {
                (Ok(id), Some(login)) => drop(logins.insert(id, login)),
                _ => tracing::warn!(session = name, "the vault has no valid form of a login at an issuer"),
            }
        }
        Ok(Self { vault, logins: Mutex::new(logins) })
    }

    /// Notes what a new session came from, before its record is written.
    pub(crate) fn begin(&self, session: SessionId, from: &AtIssuer) -> Result<(), VaultError> {
        let mut logins = self.logins();
        let (first, mut login) = match from {
            AtIssuer::New(stored) => match IssuerLogin::restore(stored) {
                Some(login) => (session, login),
                None => return Err(VaultError::Store("a login at an issuer has another form".to_owned())),
            },
            AtIssuer::Of(other) => match logins.iter().find(|(_, login)| login.sessions.contains(other)) {
                Some((first, login)) => (*first, login.clone()),
                None => return Ok(()),
            },
        };
        login.sessions.insert(session);
        self.vault.put_all(SealedKind::Issuer, &[(first.to_string(), login.sealed_form())])?;
        logins.insert(first, login);
        Ok(())
    }

    /// Forgets a session that has ended, and destroys its login if no other session depends on it.
    pub(crate) fn forget(&self, session: SessionId) -> Result<(), VaultError> {
        let mut logins = self.logins();
        let Some((first, login)) = logins.iter_mut().find(|(_, login)| login.sessions.contains(&session)) else { return Ok(()) };
        let first = *first;
        if login.sessions.len() > 1 {
            let mut others = login.clone();
            others.sessions.remove(&session);
            self.vault.put_all(SealedKind::Issuer, &[(first.to_string(), others.sealed_form())])?;
            *login = others;
        } else {
            self.vault.destroy(SealedKind::Issuer, &first.to_string())?;
            logins.remove(&first);
        }
        Ok(())
    }

    /// Returns up to `most` logins whose issuer is to be asked, the longest due first. Those of `resting` issuers wait.
    pub(crate) fn due(&self, now: Timestamp, most: usize, resting: &BTreeSet<IssuerName>) -> Vec<(SessionId, IssuerLogin)> {
        let logins = self.logins();
        let is_due = |login: &&IssuerLogin| login.refresh.is_some() && login.ask_at <= now && !resting.contains(&login.issuer);
        let mut due: Vec<_> = logins.iter().filter(|(_, login)| is_due(login)).map(|(first, login)| (login.ask_at, *first)).collect();
        due.sort_unstable();
        due.iter().take(most).filter_map(|(_, first)| Some((*first, logins.get(first)?.clone()))).collect()
    }

    /// Notes when the issuer of a login is asked next, and the refresh token that replaces the old one. The store replaces
    /// the old one in one step. A login that has ended meanwhile stays ended.
    pub(crate) fn note_next_ask(&self, first: SessionId, successor: Option<Secret>, ask_at: Timestamp) -> Result<(), VaultError> {
        let mut logins = self.logins();
        let Some(login) = logins.get_mut(&first) else { return Ok(()) };
        login.ask_at = ask_at;
        if successor.is_some() {
            login.refresh = successor;
        }
        self.vault.put_all(SealedKind::Issuer, &[(first.to_string(), login.sealed_form())])
    }

    /// Destroys the refresh tokens of issuers that are no longer asked.
    pub(crate) fn stop_asking(&self, is_asked: impl Fn(&IssuerName) -> bool) -> Result<(), VaultError> {
        for (first, login) in self.logins().iter_mut().filter(|(_, login)| login.refresh.is_some() && !is_asked(&login.issuer)) {
            login.refresh = None;
            self.vault.put_all(SealedKind::Issuer, &[(first.to_string(), login.sealed_form())])?;
        }
        Ok(())
    }

    /// Returns the sessions of the logins for which `is_one` holds.
    pub(crate) fn sessions_of(&self, is_one: impl Fn(&IssuerLogin) -> bool) -> Vec<SessionId> {
        self.logins().values().filter(|login| is_one(login)).flat_map(|login| login.sessions.iter().copied()).collect()
    }

    fn logins(&self) -> MutexGuard<'_, BTreeMap<SessionId, IssuerLogin>> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns when a login is renewed that was renewed at `now`.
pub(crate) fn next_question(now: Timestamp) -> Timestamp {
    let mut drawn = [0; 8];
    // Without randomness, all are renewed after the same time.
    let _ = getrandom::fill(&mut drawn);
    now.plus_millis(EVERY_MILLIS - u64::from_le_bytes(drawn) % JITTER_MILLIS)
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::{Id, LogId};
    use ensue_store::master_key::MasterKey;
    use ensue_store::memory::MemoryVault;

    use super::*;

    fn empty() -> Arc<dyn Vault> {
        Arc::new(MemoryVault::new(LogId(Id::root(Timestamp::default(), 1)), MasterKey::from_bytes([7; 32])))
    }

    fn session(number: u128) -> SessionId {
        SessionId(Id::root(Timestamp::default(), number))
    }

    fn login() -> IssuerLogin {
        IssuerLogin {
            issuer: "corp".parse().unwrap(),
            identity: IdentityId(Id::root(Timestamp::default(), 1)),
            subject: "4711".to_owned(),
            issuer_session: Some("s".to_owned()),
            refresh: Some(Secret::new(b"first".to_vec())),
            ask_at: Timestamp::from_micros(100),
            sessions: BTreeSet::new(),
        }
    }

    fn sealed_logins(vault: &Arc<dyn Vault>) -> Vec<String> {
        vault.list(SealedKind::Issuer).unwrap().into_iter().map(|(_, value)| String::from_utf8_lossy(value.reveal()).into_owned()).collect()
    }

    #[test]
    fn login_lasts_until_the_last_session_that_depends_on_it_ends() {
        let vault = empty();
        let logins = IssuerLogins::open_vault(vault.clone()).unwrap();
        logins.begin(session(1), &AtIssuer::New(login().sealed_form())).unwrap();
        logins.begin(session(2), &AtIssuer::Of(session(1))).unwrap();
        logins.begin(session(3), &AtIssuer::Of(session(2))).unwrap();
        logins.begin(session(4), &AtIssuer::Of(session(9))).unwrap();
        let restored = IssuerLogins::open_vault(vault.clone()).unwrap();
        assert_eq!(restored.sessions_of(|login| login.issuer_session.as_deref() == Some("s")), [session(1), session(2), session(3)]);
        restored.forget(session(1)).unwrap();
        restored.forget(session(3)).unwrap();
        assert_eq!((restored.sessions_of(|_| true), sealed_logins(&vault).len()), (vec![session(2)], 1));
        restored.forget(session(2)).unwrap();
        restored.forget(session(2)).unwrap();
        assert_eq!((restored.sessions_of(|_| true), sealed_logins(&vault).len()), (Vec::new(), 0), "the refresh token is destroyed");
    }

    #[test]
    fn successor_replaces_the_refresh_token_and_a_login_that_has_ended_stays_ended() {
        let vault = empty();
        let logins = IssuerLogins::open_vault(vault.clone()).unwrap();
        logins.begin(session(1), &AtIssuer::New(login().sealed_form())).unwrap();
        let due = |at, resting: &[&str]| {
            let resting = resting.iter().map(|name| name.parse().unwrap()).collect();
            logins.due(Timestamp::from_micros(at), 10, &resting).len()
        };
        assert_eq!((due(99, &[]), due(100, &[]), due(100, &["corp"])), (0, 1, 0));
        logins.note_next_ask(session(1), Some(Secret::new(b"second".to_vec())), Timestamp::from_micros(200)).unwrap();
        assert!(sealed_logins(&vault)[0].contains("second") && !sealed_logins(&vault)[0].contains("first"));
        logins.note_next_ask(session(1), None, Timestamp::from_micros(300)).unwrap();
        assert!(sealed_logins(&vault)[0].contains("second"), "without a successor, the token stays");
        assert_eq!((due(299, &[]), due(300, &[])), (0, 1));
        logins.stop_asking(|_| false).unwrap();
        assert!(!sealed_logins(&vault)[0].contains("second") && due(300, &[]) == 0);
        logins.forget(session(1)).unwrap();
        logins.note_next_ask(session(1), Some(Secret::new(b"third".to_vec())), Timestamp::from_micros(400)).unwrap();
        assert_eq!(sealed_logins(&vault).len(), 0);
    }
}
