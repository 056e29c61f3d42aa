//! The attempts that run, and what their programs may do with the tokens of their attempts.
//!
//! A token counts while the log says that its attempt runs, and nobody asked it to stop. Nothing about a token is
//! stored: the key in the vault makes it, and knows it again after a restart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ensue_api::ports::{Holder, NotAdmitted};
use ensue_engine::access::principal::Principal;
use ensue_engine::access::state::Access;
use ensue_engine::access::state::effective_rights::NotHeld;
use ensue_engine::catalog::state::InstalledPacks;
use ensue_engine::effect::Effect;
use ensue_engine::engine::Engine;
use ensue_engine::executions::program::rights_of_program;
use ensue_engine::ids::{ExecutionId, LogId};
use ensue_engine::names::PackName;
use ensue_engine::ports::{SealedKind, Secret, Vault, VaultError};
use ensue_engine::record::{AttemptOf, CredentialId, Record};
use ensue_engine::time::Timestamp;
use ensue_login::programs::ProgramKey;
use tokio::sync::watch;

use crate::session_table::random;

/// The name of the key by which the tokens of attempts are known.
const PROGRAM_KEY: &str = "current";

/// The attempts that run, and what their programs may do.
pub(crate) struct ProgramTable {
    key: ProgramKey,
    log: LogId,
    running: RwLock<BTreeMap<ExecutionId, Arc<RunningProgram>>>,
    packs: RwLock<InstalledPacks>,
    /// The number of changes of rights since the start.
    changes: AtomicU64,
    /// Where programs find the API, once the node listens.
    url: watch::Sender<Option<Arc<str>>>,
}

/// An attempt that runs.
struct RunningProgram {
    number: u32,
    pack: PackName,
    /// The caller whose rights bound those of the pack.
    caller: Option<Principal>,
    /// The holder of its token, if the token was used.
    compiled: Mutex<Option<CompiledHolder>>,
}

/// A holder whose rights were compiled.
#[derive(Clone)]
struct CompiledHolder {
    holder: Arc<Holder>,
    /// The number of changes before it was compiled.
    at: u64,
    /// When the rights change by themselves.
    until: Option<Timestamp>,
}

impl RunningProgram {
    fn compiled_holder(&self) -> MutexGuard<'_, Option<CompiledHolder>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgramTable {
    /// Starts from the state. Creates the key if the vault has none.
    pub(crate) fn open_vault(vault: &dyn Vault, engine: &Engine) -> Result<Self, VaultError> {
        let key = match vault.list(SealedKind::Program)?.iter().find_map(|(_, key)| ProgramKey::restore(key)) {
            Some(key) => key,
            None => {
                let made = ProgramKey::new(*random().map_err(|error| VaultError::Store(error.to_string()))?);
                vault.put_all(SealedKind::Program, &[(PROGRAM_KEY.to_owned(), made.to_stored())])?;
                made
            }
        };
        let table = Self {
            key,
            log: engine.log(),
            running: RwLock::default(),
            packs: RwLock::new(engine.packs().clone()),
            changes: AtomicU64::new(0),
            url: watch::Sender::new(None),
        };
        table.note_effects(&engine.owed_effects());
        Ok(table)
    }

    /// Notes which attempts begin and end. Returns true if a token that was used has ended.
    pub(crate) fn note_effects(&self, effects: &[Effect]) -> bool {
        if effects.is_empty() {
            return false;
        }
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let mut was_used = false;
        for effect in effects {
            match effect {
                Effect::Dispatch(dispatch) => {
                    let (number, pack, caller) = (dispatch.number, dispatch.action.pack(), dispatch.caller.clone());
                    let begun = RunningProgram { number, pack, caller, compiled: Mutex::default() };
                    running.insert(dispatch.execution, Arc::new(begun));
                }
                Effect::Stop { execution, .. } | Effect::Release { execution, .. } => {
                    was_used |= running.remove(execution).is_some_and(|ended| ended.compiled_holder().is_some());
                }
                Effect::RunSensor(_) | Effect::StopSensor { .. } => {}
            }
        }
        was_used
    }

    /// Notes committed records that change what packs may do.
    pub(crate) fn note_packs(&self, records: &[Record]) {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        records.iter().for_each(|record| packs.note(record));
        drop(packs);
        self.note_change();
    }

    /// Notes that rights may have changed.
    pub(crate) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the holder of the token of an attempt.
    pub(crate) fn admit(&self, attempt: AttemptOf, mark: &[u8; 32], access: &Access, now: Timestamp) -> Result<Arc<Holder>, NotAdmitted> {
        if !self.key.knows(self.log, attempt, mark) {
            return Err(NotAdmitted::Unknown);
        }
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner).get(&attempt.execution).cloned();
        let program = running.filter(|program| program.number == attempt.number).ok_or(NotAdmitted::NotRunning)?;
        let at = self.changes.load(Ordering::Acquire);
        let kept = program.compiled_holder().clone();
        if let Some(CompiledHolder { holder, at: compiled_at, until }) = kept
            && compiled_at == at
            && until.is_none_or(|until| now < until)
        {
            return Ok(holder);
        }
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner).clone();
        let held = rights_of_program(access, &packs, (&program.pack, program.caller.as_ref()), now).map_err(|why| match why {
            NotHeld::Unknown => NotAdmitted::Unknown,
            NotHeld::Expired => NotAdmitted::Expired,
            NotHeld::Disabled => NotAdmitted::Disabled,
        })?;
        let holder = Arc::new(Holder {
            by: CredentialId::Execution(attempt),
            credential: name_of(&program.pack, program.caller.as_ref()),
            identity: None,
            represents: Vec::new(),
            roles: Vec::new(),
            rights: held.rights,
            only: None,
            until: None,
        });
        *program.compiled_holder() = Some(CompiledHolder { holder: holder.clone(), at, until: held.valid_until });
        Ok(holder)
    }

    /// Returns the token of an attempt.
    pub(crate) fn token(&self, attempt: AttemptOf) -> Secret {
        self.key.token(self.log, attempt)
    }

    /// Sets where programs find the API.
    pub(crate) fn serve_at(&self, url: &str) {
        self.url.send_replace(Some(url.into()));
    }

    /// Returns where programs find the API, once the node listens.
    pub(crate) fn url(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.url.subscribe()
    }
}

/// Returns the principal on whose rights a program acts: its pack, perhaps bounded by a caller.
fn name_of(pack: &PackName, caller: Option<&Principal>) -> String {
    match caller {
        None => Principal::Pack(pack.clone()).to_string(),
        Some(caller) => format!("{}+{caller}", Principal::Pack(pack.clone())),
    }
}
