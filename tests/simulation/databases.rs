//! The log of some worlds is on a primary and its synchronous standby instead of the disk: the model of
//! `ensue-postgres`, under the code that appends to a real database and settles unknown outcomes.
//!
//! Its random numbers are separate from the rest of the world's, so that the other worlds are the same with
//! and without this file.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_engine::ids::LogId;
use ensue_engine::ports::{AppendError, Log, LogError, LogReader, Vault};
use ensue_engine::record::Position;
use ensue_node::backend::sqlite::Places;
use ensue_node::backend::{Backend, KeptBlobs, KeptOutputs, StorageError, Views};
use ensue_postgres::DatabaseError;
use ensue_postgres::server_pair::{Cut, Event, Pair, PairLog};
use ensue_store::blobs::BlobLimits;
use ensue_store::master_key::MasterKeys;
use ensue_store::outputs::{Now, OutputLimits};
use ensue_store::vault::SealedVault;

use crate::ground::WorldGround;
use crate::random::Random;
use crate::sometimes;

/// Separates the random numbers of databases from the world's own.
const APART: u64 = 0x7468_655f_7061_6972;
/// How many worlds have their log in a database.
const SHARE: f64 = 0.12;

/// The two servers of a world.
pub(crate) struct Servers {
    pair: Mutex<Option<Pair>>,
    random: Mutex<Random>,
    /// How often something happens to them at an append.
    often: f64,
    ground: Arc<WorldGround>,
}

impl Servers {
    /// Draws whether a world has servers, and what happens to them.
    pub(crate) fn draw(seed: u64, ground: Arc<WorldGround>) -> Option<Arc<Self>> {
        let mut random = Random::new(seed ^ APART);
        if !random.chance(SHARE) {
            return None;
        }
        let often = random.log_uniform(0.002, 0.1);
        ground.trace("database", format!("the log is on two servers; something happens at {often:.3} of the appends"));
        Some(Arc::new(Self { pair: Mutex::default(), random: Mutex::new(random), often, ground }))
    }

    fn pair(&self) -> Option<Pair> {
        self.pair.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trace(&self, what: impl std::fmt::Display) {
        self.ground.trace("database", what);
    }

    fn happen(&self, pair: &Pair, event: Event) {
        self.trace(format!("{event:?}"));
        pair.happen(event);
    }

    /// Opens the log for writing. The servers may have fared badly while no node led.
    fn lead(&self, log: LogId) -> Result<PairLog, LogError> {
        let pair = self.pair.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Pair::new(log)).clone();
        if !self.ground.is_healed() && self.random().chance(0.3) {
            let event = self.random().pick(&[Event::Cancel, Event::Restart, Event::Promote]).copied();
            let before = pair.visible().len();
            event.into_iter().for_each(|event| self.happen(&pair, event));
            sometimes!(pair.visible().len() < before, "a visible batch was lost with its server");
        }
        if pair.lacks_standby() {
            self.happen(&pair, Event::StandbyReturns);
        }
        pair.lead()
    }

    /// Appends, while something happens to the servers, or nothing.
    pub(crate) fn disturb(&self, append: impl FnOnce() -> Result<Position, AppendError>) -> Result<Position, AppendError> {
        let Some(pair) = self.pair() else { return append() };
        self.plan(&pair);
        let had_standby = !pair.lacks_standby();
        let appended = append();
        sometimes!(appended.is_ok() && !had_standby, "an append outlasted the absence of a standby");
        sometimes!(matches!(appended, Err(AppendError::Unknown)), "an append waited for a standby that did not come");
        pair.meanwhile(&[]);
        pair.cut(None);
        appended
    }

    /// Plans what happens before or during the next append.
    fn plan(&self, pair: &Pair) {
        if self.ground.is_healed() && pair.lacks_standby() {
            self.happen(pair, Event::StandbyReturns);
        }
        let mut random = self.random();
        if self.ground.is_healed() || !random.chance(self.often) {
            return;
        }
        match random.pick_weighted(&[4, 1, 1, 1, 1]) {
            0 => {
                let rounds = random.below(3);
                let each = |_| random.pick(&[Event::Cancel, Event::Restart]).copied();
                let mut meanwhile: Vec<Event> = (0..rounds).filter_map(each).collect();
                match random.pick_weighted(&[4, 3, 2]) {
                    0 => meanwhile.push(Event::StandbyReturns),
                    1 => meanwhile.push(Event::Promote),
                    _ => {}
                }
                drop(random);
                self.happen(pair, Event::StandbyLeaves);
                self.trace(format!("{meanwhile:?} while commits wait"));
                pair.meanwhile(&meanwhile);
            }
            1 => pair.cut(Some(Cut::Call)),
            2 => pair.cut(Some(Cut::Answer)),
            3 => self.happen(pair, Event::Restart),
            _ => self.happen(pair, Event::Promote),
        }
    }
}

/// A data directory whose log is on the servers of a world.
pub(crate) struct OnServers {
    /// The rest of the directory.
    pub(crate) places: Places,
    /// The servers.
    pub(crate) servers: Arc<Servers>,
}

impl Backend for OnServers {
    fn logs(&self) -> Result<Vec<LogId>, StorageError> {
        Ok(self.servers.pair().map(|pair| pair.log()).into_iter().collect())
    }

    fn log(&self) -> Result<Option<LogId>, StorageError> {
        Ok(self.servers.pair().map(|pair| pair.log()))
    }

    fn has_secrets(&self) -> bool {
        self.places.has_secrets()
    }

    fn writer(&self, log: LogId) -> Result<Box<dyn Log>, StorageError> {
        Ok(Box::new(self.servers.lead(log).map_err(|error| storage_error(&error))?))
    }

    fn reader(&self, log: LogId) -> Result<Box<dyn LogReader>, StorageError> {
        match self.servers.pair() {
            Some(pair) => Ok(pair.reader()),
            None => Err(storage_error(&LogError::Store(format!("the log {log} does not exist")))),
        }
    }

    fn vault(&self, log: LogId, masters: MasterKeys) -> Result<Arc<dyn SealedVault>, StorageError> {
        self.places.vault(log, masters)
    }

    fn views(&self, log: LogId) -> Result<Box<dyn Views>, StorageError> {
        self.places.views(log)
    }

    fn views_beside(&self, log: LogId) -> Result<Box<dyn Views>, StorageError> {
        Backend::views_beside(&self.places, log)
    }

    fn outputs(&self, of: (LogId, &dyn Vault), limits: OutputLimits, now: Now) -> io::Result<Arc<dyn KeptOutputs>> {
        Backend::outputs(&self.places, of, limits, now)
    }

    fn blobs(&self, log: LogId, limits: BlobLimits, now: Now) -> io::Result<Arc<dyn KeptBlobs>> {
        Backend::blobs(&self.places, log, limits, now)
    }
}

fn storage_error(error: &LogError) -> StorageError {
    DatabaseError::Failed { at: "the servers of the world".to_owned(), why: error.to_string() }.into()
}
