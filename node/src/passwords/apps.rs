//! Authenticator apps, with their recovery codes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_api::ports::{PortError, RefusalNote, RefusedAttempt};
use ensue_engine::explain::Explain;
use ensue_engine::ids::IdentityId;
use ensue_engine::ports::{CommitReceipt, SealedKind, Secret, SubmitError, Vault, VaultError};
use ensue_engine::time::Timestamp;
use ensue_login::one_time::{Authenticator, OTP_SECRET_BYTES, OtpRequired, RECOVERY_CODE_BYTES, RECOVERY_CODES, RecoveryCodes};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::session_table::{SessionRefusal, millis};

/// How long a new app waits for its first code.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10 * 60);
/// The maximum number of new apps that wait for their first code.
const WAITING_MAX: usize = 10_000;
/// What an app shows for a node whose address has no name.
const NAMELESS: &str = "ensue";

/// Why an authenticator app does not change.
#[derive(Clone, Copy, Debug, Error, Explain)]
pub(super) enum AppFault {
    /// There is one.
    #[error("you already have an authenticator app")]
    #[explain(slug = "otp-exists", fault = Conflict, hint = "remove it first with `ensue password otp remove`")]
    There,
    /// There is none.
    #[error("you have no authenticator app")]
    #[explain(slug = "otp-missing", fault = Conflict, hint = "add one with `ensue password otp add`")]
    NotThere,
    /// None waits for its first code.
    #[error("no new authenticator app waits for its first code")]
    #[explain(slug = "otp-missing", fault = Conflict, hint = "begin again with `ensue password otp add`; the first code is due within ten minutes")]
    NotBegun,
    /// The first code is wrong.
    #[error("the code is not that of the new authenticator app")]
    #[explain(slug = "otp-wrong", fault = Invalid, hint = "type the code that the app shows now; check the clock of the device")]
    Wrong,
}

/// The form of an app in the vault.
#[derive(Serialize, Deserialize)]
struct SealedApp {
    app: String,
    recovery: String,
}

/// An app that was confirmed.
struct App {
    app: Authenticator,
    recovery: RecoveryCodes,
}

impl App {
    fn sealed_form(&self) -> Secret {
        let stored =
            SealedApp { app: hex::encode(self.app.to_stored().reveal()), recovery: hex::encode(self.recovery.to_stored().reveal()) };
        Secret::new(serde_json::to_vec(&stored).expect("texts always have a JSON form"))
    }

    fn restore(stored: &Secret) -> Option<Self> {
        let SealedApp { app, recovery } = serde_json::from_slice(stored.reveal()).ok()?;
        let secret = |text: String| hex::decode(text).ok().map(Secret::new);
        Some(Self { app: Authenticator::restore(&secret(app)?)?, recovery: RecoveryCodes::restore(&secret(recovery)?)? })
    }
}

/// The authenticator apps of a node.
pub(super) struct Apps {
    vault: Arc<dyn Vault>,
    /// What apps show for the node.
    node: String,
    confirmed: Mutex<BTreeMap<IdentityId, App>>,
    /// The new ones, with the time until which they wait for their first code.
    waiting: Mutex<BTreeMap<IdentityId, (Authenticator, Timestamp)>>,
}

impl Apps {
    /// Reads the apps from the vault, and destroys those of identities that do not exist.
    pub(super) fn open_vault(vault: Arc<dyn Vault>, url: &str, is_there: impl Fn(&str) -> Option<IdentityId>) -> Result<Self, VaultError> {
        let mut confirmed = BTreeMap::new();
        for (name, stored) in vault.list(SealedKind::Otp)? {
            let Some(id) = is_there(&name) else {
                vault.destroy(SealedKind::Otp, &name)?;
                continue;
            };
            // A person whose app cannot be read must not log in with the password alone.
            let app = App::restore(&stored).ok_or_else(|| VaultError::Integrity(format!("otp {name}")))?;
            confirmed.insert(id, app);
        }
        Ok(Self { vault, node: node_label(url), confirmed: Mutex::new(confirmed), waiting: Mutex::default() })
    }

    /// Returns true if a person has an app.
    pub(super) fn has(&self, id: IdentityId) -> bool {
        self.confirmed_apps().contains_key(&id)
    }

    /// Checks that a person has an app.
    pub(super) fn demand_one(&self, id: IdentityId) -> Result<(), AppFault> {
        if self.has(id) { Ok(()) } else { Err(AppFault::NotThere) }
    }

    /// Checks the code of a person that has an app, and uses it up: the vault has that before this returns.
    pub(super) fn demand(&self, id: IdentityId, code: Option<&Secret>, now: Timestamp) -> Result<(), RefusedAttempt> {
        let mut confirmed = self.confirmed_apps();
        let Some(known) = confirmed.get(&id) else { return Ok(()) };
        // A login without a code asks for it first.
        let code = code.ok_or(OtpRequired)?;
        let code = std::str::from_utf8(code.reveal()).unwrap_or_default();
        let mut next =
            App::restore(&known.sealed_form()).ok_or_else(|| VaultError::Integrity(format!("otp {id}"))).map_err(PortError::from)?;
        if next.app.check(code, now).is_err() && next.recovery.take(code).is_err() {
            return Err(RefusedAttempt { noted: RefusalNote::Refused(Some(id)), ..OtpRequired.into() });
        }
        self.put(id, &next).map_err(PortError::from)?;
        confirmed.insert(id, next);
        Ok(())
    }

    /// Begins a new app, and returns its URL. It counts once it is confirmed.
    pub(super) fn begin(&self, id: IdentityId, name: &str, now: Timestamp) -> Result<Secret, PortError> {
        if self.has(id) {
            return Err(AppFault::There.into());
        }
        let mut secret = [0; OTP_SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|_| SessionRefusal::NoRandomness)?;
        let app = Authenticator::new(secret, &self.node, name).map_err(|_| SessionRefusal::NoRandomness)?;
        let url = app.url().map_err(|_| SessionRefusal::NoRandomness)?;
        let mut waiting = self.waiting();
        waiting.retain(|_, (_, until)| *until > now);
        if waiting.len() >= WAITING_MAX {
            return Err(ensue_engine::command::Refusal::LimitReached { what: "new authenticator apps", max: WAITING_MAX }.into());
        }
        waiting.insert(id, (app, now.plus_millis(millis(CONFIRM_WITHIN))));
        Ok(url)
    }

    /// Confirms a new app with its first code. `record` records it once the vault has it.
    pub(super) fn confirm(
        &self,
        id: IdentityId,
        code: &Secret,
        now: Timestamp,
        record: impl FnOnce() -> Result<CommitReceipt, SubmitError>,
    ) -> Result<(Vec<Secret>, CommitReceipt), PortError> {
        let mut waiting = self.waiting();
        let (new, _) = waiting.get_mut(&id).filter(|(_, until)| *until > now).ok_or(AppFault::NotBegun)?;
        new.check(std::str::from_utf8(code.reveal()).unwrap_or_default(), now).map_err(|_| AppFault::Wrong)?;
        let (app, _) = waiting.remove(&id).ok_or(AppFault::NotBegun)?;
        drop(waiting);
        let mut random = [[0; RECOVERY_CODE_BYTES]; RECOVERY_CODES];
        getrandom::fill(random.as_flattened_mut()).map_err(|_| SessionRefusal::NoRandomness)?;
        let (recovery, shown) = RecoveryCodes::new(&random);
        let mut confirmed = self.confirmed_apps();
        if confirmed.contains_key(&id) {
            return Err(AppFault::There.into());
        }
        let app = App { app, recovery };
        self.put(id, &app)?;
        let recorded = record();
        match recorded {
            Err(error) if !matches!(error, SubmitError::Unknown) => {
                self.vault.destroy(SealedKind::Otp, &id.to_string())?;
                Err(error.into())
            }
            recorded => {
                confirmed.insert(id, app);
                Ok((shown, recorded?))
            }
        }
    }

    /// Removes the app of a person.
    pub(super) fn remove(&self, id: IdentityId) -> Result<(), PortError> {
        let mut confirmed = self.confirmed_apps();
        self.vault.destroy(SealedKind::Otp, &id.to_string())?;
        confirmed.remove(&id);
        Ok(())
    }

    fn put(&self, id: IdentityId, app: &App) -> Result<(), VaultError> {
        self.vault.put_all(SealedKind::Otp, &[(id.to_string(), app.sealed_form())])
    }

    fn confirmed_apps(&self) -> MutexGuard<'_, BTreeMap<IdentityId, App>> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<IdentityId, (Authenticator, Timestamp)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what apps show for a node: the host of its address.
fn node_label(url: &str) -> String {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.filter(|host| !host.is_empty() && !host.contains(':')).unwrap_or_else(|| NAMELESS.to_owned())
}
