//! Logins of people through issuers: what the node keeps of each until its browser comes back.
//!
//! It is in memory only: a login that a restart interrupts is started again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_api::ports::{AfterLogin, AskedLogin, AtIssuer, FinishedLogin, Logins, PortError, SessionEnds, StartedLogin, TerminalLogin};
use ensue_engine::explain::Explain;
use ensue_engine::names::IssuerName;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_login::flow::{LOGIN_TIME_MAX, LoggedIn, LoginRandom, LoginRefusal, Pending};
use ensue_login::settings::SecretSource;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use url::Url;

use crate::clock::SteppedClock;
use crate::config::read_secret;
use crate::issuer_logins::{IssuerLogin, next_question};
use crate::key_ring::KeyRing;
use crate::login::NodeIssuers;
use crate::session_table::{SessionRefusal, millis, random};

/// The maximum number of logins that wait for their browsers. One more ends the oldest.
const WAITING_MAX: usize = 10_000;
/// How long a person has to consent to the login of a terminal.
const CONSENT_TIME_MAX: Duration = Duration::from_secs(10 * 60);

/// The secret of the node at the issuer cannot be read.
#[derive(Debug, Error, Explain)]
#[error("the issuer `{issuer}` is not available: its `client_secret` cannot be read")]
#[explain(slug = "issuer-unavailable", fault = Unavailable, hint = "an administrator finds the reason in the node's log")]
pub(crate) struct NoClientSecret {
    issuer: IssuerName,
}

/// The logins that browsers began.
pub(crate) struct NodeLogins {
    issuers: Arc<NodeIssuers>,
    keys: Arc<KeyRing>,
    clock: Arc<dyn SteppedClock>,
    started: Mutex<PendingByCookie<(Pending, AfterLogin)>>,
    consents: Mutex<PendingByCookie<TerminalLogin>>,
}

impl NodeLogins {
    /// Creates the logins of a node: none has begun.
    pub(crate) fn new(issuers: Arc<NodeIssuers>, keys: Arc<KeyRing>, clock: Arc<dyn SteppedClock>) -> Self {
        Self { issuers, keys, clock, started: Mutex::default(), consents: Mutex::default() }
    }

    /// Returns the secret of the node at an issuer, if it has one.
    pub(crate) fn client_secret(&self, issuer: &IssuerName) -> Result<Option<Secret>, NoClientSecret> {
        let Some(source) = self.issuers.client(issuer).and_then(|client| client.secret.as_ref()) else { return Ok(None) };
        let unusable = |why: String| {
            tracing::error!(%issuer, why, "the client secret of an issuer cannot be read");
            NoClientSecret { issuer: issuer.clone() }
        };
        let secret = match source {
            SecretSource::Key(key) => {
                let value = self.keys.open(key).map_err(|error| unusable(error.to_string()))?;
                value.map(|value| (*value).clone()).ok_or_else(|| unusable(format!("the key `{key}` is not set")))?
            }
            SecretSource::File(file) => read_secret(file).map_err(|error| unusable(error.to_string()))?,
        };
        Ok(Some(secret))
    }
}

impl Logins for NodeLogins {
    fn issuers(&self) -> Vec<IssuerName> {
        self.issuers.of_browsers()
    }

    fn start(&self, login: AskedLogin) -> Result<StartedLogin, PortError> {
        let AskedLogin { issuer, redirect_uri, then } = login;
        let now = self.clock.now();
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let mut drawn = LoginRandom { state: [0; 16], nonce: [0; 16], verifier: *verifier };
        drawn.state.copy_from_slice(&state[..16]);
        drawn.nonce.copy_from_slice(&nonce[..16]);
        let redirect_uri: Url = redirect_uri.parse().map_err(|_| LoginRefusal::StateUnknown)?;
        let started = self.issuers.start_login(&issuer, &redirect_uri, &drawn, now)?;
        let until = now.plus_millis(millis(LOGIN_TIME_MAX));
        let cookie = open(&self.started).put((started.pending, then), until, now)?;
        Ok(StartedLogin { url: started.url.into(), cookie })
    }

    fn finish(&self, issuer: &IssuerName, cookie: &Secret, query: &str) -> Result<FinishedLogin, PortError> {
        let now = self.clock.now();
        // A callback of somebody else must not end the login that this browser began.
        let taken = open(&self.started).take_if(cookie, now, |(pending, _)| pending.is_for(issuer, query, now));
        let (pending, then) = taken.ok_or(LoginRefusal::StateUnknown)?;
        let secret = self.client_secret(issuer)?;
        let LoggedIn { admitted, session_max, issuer_session, refresh_token } =
            self.issuers.finish_login(issuer, pending, query, secret.as_ref(), now)?;
        let identity = self.issuers.admit(&admitted, now)?;
        let refresh = refresh_token.filter(|_| self.issuers.is_renewed(issuer));
        if self.issuers.is_renewed(issuer) {
            self.issuers.note_refresh_token(issuer, refresh.as_ref());
        }
        let login = IssuerLogin {
            issuer: issuer.clone(),
            identity,
            subject: admitted.subject,
            issuer_session,
            refresh,
            ask_at: next_question(now),
            sessions: BTreeSet::new(),
        };
        let ends =
            SessionEnds { by: session_max.map(|most| now.plus_millis(millis(most))), with: Some(AtIssuer::New(login.sealed_form())) };
        Ok(FinishedLogin { identity, ends, then })
    }

    fn log_out(&self, issuer: &IssuerName, token: &Secret) -> Result<(), PortError> {
        self.issuers.log_out(issuer, token)
    }

    fn ask_consent(&self, login: TerminalLogin) -> Result<Secret, PortError> {
        let now = self.clock.now();
        Ok(open(&self.consents).put(login, now.plus_millis(millis(CONSENT_TIME_MAX)), now)?)
    }

    fn waiting(&self, cookie: &Secret) -> Option<TerminalLogin> {
        open(&self.consents).get(cookie, self.clock.now()).cloned()
    }

    fn take_waiting(&self, cookie: &Secret) -> Option<TerminalLogin> {
        open(&self.consents).take_if(cookie, self.clock.now(), |_| true)
    }
}

/// What waits for browsers, by the SHA-256 of the secrets of their cookies.
struct PendingByCookie<T>(BTreeMap<[u8; 32], (Timestamp, T)>);

impl<T> Default for PendingByCookie<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> PendingByCookie<T> {
    /// Adds one, and returns the secret of its cookie.
    fn put(&mut self, waiting: T, until: Timestamp, now: Timestamp) -> Result<Secret, SessionRefusal> {
        let secret = Secret::new(hex::encode(*random()?).into_bytes());
        if self.0.len() >= WAITING_MAX {
            self.0.retain(|_, (until, _)| *until > now);
        }
        if self.0.len() >= WAITING_MAX {
            let oldest = self.0.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| *key);
            oldest.map(|key| self.0.remove(&key));
        }
        self.0.insert(key_of(&secret), (until, waiting));
        Ok(secret)
    }

    fn get(&self, secret: &Secret, now: Timestamp) -> Option<&T> {
        self.0.get(&key_of(secret)).filter(|(until, _)| *until > now).map(|(_, waiting)| waiting)
    }

    /// Removes one if it fits.
    fn take_if(&mut self, secret: &Secret, now: Timestamp, fits: impl FnOnce(&T) -> bool) -> Option<T> {
        self.get(secret, now).filter(|waiting| fits(waiting))?;
        self.0.remove(&key_of(secret)).map(|(_, waiting)| waiting)
    }
}

fn key_of(secret: &Secret) -> [u8; 32] {
    Sha256::digest(secret.reveal()).into()
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn waiting_logins_are_bounded_and_the_oldest_makes_room() {
        let mut waiting = PendingByCookie::default();
        let first = waiting.put(0, at(600), at(0)).unwrap();
        let second = waiting.put(1, at(601), at(1)).unwrap();
        for n in 2..=WAITING_MAX {
            waiting.put(n, at(700), at(2)).unwrap();
        }
        assert_eq!((waiting.0.len(), waiting.get(&first, at(3)), waiting.get(&second, at(3))), (WAITING_MAX, None, Some(&1)));
        let last = waiting.put(7, at(1400), at(800)).unwrap();
        assert_eq!((waiting.0.len(), waiting.get(&last, at(800))), (1, Some(&7)), "those whose time is over leave first");
    }

    #[test]
    fn login_is_taken_once_in_time_and_only_if_it_fits() {
        let mut waiting = PendingByCookie::default();
        let secret = waiting.put("ana", at(600), at(0)).unwrap();
        assert_eq!(waiting.take_if(&secret, at(1), |_| false), None);
        assert_eq!(waiting.take_if(&Secret::new(b"other".to_vec()), at(1), |_| true), None);
        assert_eq!(waiting.take_if(&secret, at(600), |_| true), None, "its time is over");
        assert_eq!(waiting.take_if(&secret, at(599), |_| true), Some("ana"));
        assert_eq!(waiting.take_if(&secret, at(599), |_| true), None);
    }
}
