//! Threads for blocking work, with a limit for each kind of work.
//!
//! Callers define the work and handle its result.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ensue_engine::explain::Explain;
use ensue_engine::ports::SubmitError;
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::ports::{Patience, Ports};
use crate::problem::Problem;
use crate::queues::{QueueName, Queues};
use crate::quotas::{Caller, NoRoom, Quotas, Room};
use crate::settings::{Blocking, Settings};
use crate::stopping::Stopping;

/// The maximum number of large answers that are compressed at once.
const CODERS_MAX: usize = 4;
/// The maximum number of values that are checked against callers' schemas at once.
const CHECKERS_MAX: usize = 2;
/// The maximum number of signed tokens that are verified at once. Some of them may wait for an issuer.
const VERIFIERS_MAX: usize = 128;
/// The maximum number of logins with a password that are evaluated or wait for it. Of these, the node hashes two at once.
const HASHERS_MAX: usize = 34;
/// The maximum number of packs that are checked at once with files of callers. Each caller has one of them.
const PACK_CHECKS_MAX: usize = 2;
/// How long the check of a pack with files of a caller can take.
const PACK_CHECK_TIME_MAX: Duration = Duration::from_secs(30);
/// The maximum number of replays and backtests of one caller that run or wait.
const REHEARSALS_OF_ONE_MAX: u64 = 2;
/// How long a replay or a backtest can take.
const REHEARSAL_TIME_MAX: Duration = Duration::from_secs(600);

/// Why a replay or a backtest is not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Busy, hint = "try again when one of them has ended")]
enum RehearsalRefusal {
    /// The queue is full.
    #[error("too many replays and backtests are waiting for their turn")]
    #[explain(slug = "busy")]
    Full,
    /// The caller is at its share.
    #[error("{REHEARSALS_OF_ONE_MAX} of your replays and backtests are running or waiting, which is the limit for one caller")]
    #[explain(slug = "over-share")]
    OverShare,
}

/// Too many logins with a password at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("too many logins are waiting; try again in a moment")]
#[explain(slug = "busy", fault = Unavailable)]
struct TooManyLogins;

impl From<NoRoom> for RehearsalRefusal {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::Full => Self::Full,
            NoRoom::OverQuota => Self::OverShare,
        }
    }
}

/// The threads for blocking work, and the callers that wait for one.
pub(crate) struct Threads {
    ports: Arc<Ports>,
    mode: Blocking,
    queues: Queues,
    stopping: Stopping,
    readers: Arc<Semaphore>,
    explainers: Arc<Semaphore>,
    coders: Arc<Semaphore>,
    /// The turns for checking values against the schemas of callers.
    checkers: Arc<Semaphore>,
    /// The turns for checking packs with files of callers.
    pack_checks: Arc<Semaphore>,
    /// The turn of each caller that has such a check run or wait.
    pack_checks_of: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    /// The turns for verifying signed tokens.
    verifiers: Arc<Semaphore>,
    /// The turns for logins with a password.
    hashers: Arc<Semaphore>,
    /// The callers that run or wait for replays and backtests.
    rehearsals: Arc<Quotas>,
    /// The turn that a running replay or backtest holds.
    rehearsing: Arc<Semaphore>,
}

impl Threads {
    pub(crate) fn new(ports: Arc<Ports>, settings: &Settings, stopping: Stopping) -> Arc<Self> {
        let queues = settings.queues.clone();
        Arc::new(Self {
            ports,
            mode: settings.blocking,
            stopping,
            readers: turns(&queues, QueueName::Reads),
            explainers: turns(&queues, QueueName::Explanations),
            coders: Arc::new(Semaphore::new(CODERS_MAX)),
            checkers: Arc::new(Semaphore::new(CHECKERS_MAX)),
            pack_checks: Arc::new(Semaphore::new(PACK_CHECKS_MAX)),
            pack_checks_of: Mutex::default(),
            verifiers: Arc::new(Semaphore::new(VERIFIERS_MAX)),
            hashers: Arc::new(Semaphore::new(HASHERS_MAX)),
            rehearsals: Quotas::of(queues.of(QueueName::Rehearsals).clone(), REHEARSALS_OF_ONE_MAX),
            rehearsing: Arc::new(Semaphore::new(1)),
            queues,
        })
    }

    /// Runs blocking work on a thread where that is allowed, once it is this request's turn: reads can be
    /// large.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Ports) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.readers.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let threads = self.clone();
        let work = move || {
            let _held = threads.queues.of(QueueName::Reads).enter_anyway(1);
            let done = work(&threads.ports);
            // The thread keeps its turn until it ends, even if its caller disconnects.
            drop(turn);
            done
        };
        self.where_it_may_block(work).await
    }

    /// Compresses an answer on a thread where blocking is allowed. Returns `None` if the maximum number is
    /// being compressed already: the answer then goes out uncompressed, without waiting.
    pub(crate) async fn coding<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let turn = self.coders.clone().try_acquire_owned().ok()?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        self.where_it_may_block(work).await.ok()
    }

    /// Runs blocking work where that is allowed, immediately: it does not wait for a turn.
    pub(crate) async fn where_it_may_block<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        match self.mode {
            Blocking::Pool => {
                // Without their types, so that the runtime's tasks are compiled once and not for each kind of work.
                let work: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send> = Box::new(move || Box::new(work()));
                let done = tokio::task::spawn_blocking(work).await.map_err(|why| Problem::bug(&why))?;
                Ok(*done.downcast().expect("the work returned a value of this type"))
            }
            Blocking::InPlace => Ok(work()),
        }
    }

    /// Recomputes what rules made of events, on a thread where blocking is allowed, once it is this request's
    /// turn.
    pub(crate) async fn explaining<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Ports) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.explainers.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let held = self.queues.of(QueueName::Explanations).enter_anyway(1);
        self.blocking(move |ports| {
            let explained = work(ports);
            drop((turn, held));
            explained
        })
        .await
    }

    /// Checks a value against a caller's schema, on a thread where blocking is allowed. It does not delay
    /// reads.
    pub(crate) async fn checking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let turn = self.checkers.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let work = move || {
            let done = work();
            // The thread keeps its turn until it ends, even if its caller disconnects.
            drop(turn);
            done
        };
        self.where_it_may_block(work).await
    }

    /// Checks packs with files of a caller, on a thread where blocking is allowed. It delays neither reads nor
    /// explanations. The checks of one caller run one after the other. A check waits rather than being refused, because an editor
    /// checks what is being typed, and drops the check before. The work stops soon after its caller has
    /// disconnected, and after [`PACK_CHECK_TIME_MAX`].
    pub(crate) async fn checking_packs<T: Send + 'static>(
        self: &Arc<Self>,
        caller: &str,
        work: impl FnOnce(&Ports, &Patience) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let own = self.pack_checks_by(caller).acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let turn = self.pack_checks.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        self.with_patience(PACK_CHECK_TIME_MAX, (own, turn), work).await
    }

    /// Returns the turn of a caller for checking packs. The turns that nobody uses are forgotten.
    fn pack_checks_by(&self, caller: &str) -> Arc<Semaphore> {
        let mut turns = self.pack_checks_of.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(caller.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
    }

    /// Verifies a signed token, on a thread where blocking is allowed. It does not delay reads.
    pub(crate) async fn verifying<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Ports) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.verifiers.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let threads = self.clone();
        let work = move || {
            let done = work(&threads.ports);
            // The thread keeps its turn until it ends, even if its caller disconnects.
            drop(turn);
            done
        };
        self.where_it_may_block(work).await
    }

    /// Evaluates a password, on a thread where blocking is allowed. It delays nothing else, and is refused if too many
    /// wait.
    pub(crate) async fn hashing<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Ports) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.hashers.clone().try_acquire_owned().map_err(|_| TooManyLogins)?;
        let threads = self.clone();
        let work = move || {
            let done = work(&threads.ports);
            // The thread keeps its turn until it ends, even if its caller disconnects.
            drop(turn);
            done
        };
        self.where_it_may_block(work).await
    }

    /// Replays executions or backtests rules for the holder of a token. One runs at a time, the others wait
    /// in order of arrival, and no caller has more than its share. The work stops soon after its caller has
    /// disconnected.
    pub(crate) async fn rehearsing<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        work: impl FnOnce(&Ports, &Patience) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.enter_rehearsal(name)?;
        self.rehearsing_at(place, work).await
    }

    /// Takes a place among the replays and backtests that run or wait, for a caller.
    pub(crate) fn enter_rehearsal(&self, name: &str) -> Result<Room, Problem> {
        Ok(self.rehearsals.enter(Caller::Token(name.to_owned()), 1).map_err(RehearsalRefusal::from)?)
    }

    /// Does the same as [`Self::rehearsing`] for a caller that has a place already.
    pub(crate) async fn rehearsing_at<T: Send + 'static>(
        self: &Arc<Self>,
        place: Room,
        work: impl FnOnce(&Ports, &Patience) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.rehearsing.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        self.with_patience(REHEARSAL_TIME_MAX, (turn, place), work).await
    }

    /// Runs work that can take this long, on a thread where blocking is allowed. It holds its turns until it ends, and
    /// stops soon after its caller has disconnected, or the node begins to stop.
    async fn with_patience<T: Send + 'static>(
        self: &Arc<Self>,
        time: Duration,
        turns: impl Send + 'static,
        work: impl FnOnce(&Ports, &Patience) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let (patience, waiting) = Patience::of(time);
        let threads = self.clone();
        let work = move || {
            let done = work(&threads.ports, &patience);
            drop(turns);
            done
        };
        let done = tokio::select! {
            done = self.where_it_may_block(work) => done,
            () = self.stopping.wait() => Err(SubmitError::Stopping.into()),
        };
        drop(waiting);
        done
    }
}

/// Returns as many turns as a queue has room.
fn turns(queues: &Queues, name: QueueName) -> Arc<Semaphore> {
    let most = usize::try_from(queues.of(name).capacity()).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
}
