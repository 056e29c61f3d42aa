//! Where work is done that blocks: on threads for that, so many pieces of a kind at once.
//!
//! What the work is, and what becomes of its outcome, is said by who asks for it.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ports::SubmitError;
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::ports::{Patience, Ports};
use crate::problem::Problem;
use crate::queues::{QueueName, Queues};
use crate::quotas::{Caller, NoRoom, Quotas};
use crate::settings::{Blocking, Settings};
use crate::stopping::Stopping;

/// How many answers are coded at once, where they are large.
const CODERS_MAX: usize = 4;
/// How many values are checked against schemas of callers at once.
const CHECKERS_MAX: usize = 2;
/// The most replays and backtests of one caller that run or wait.
const REHEARSALS_OF_ONE_MAX: u64 = 2;
/// How long a replay or a backtest may take.
const REHEARSAL_TIME_MAX: Duration = Duration::from_secs(600);

/// Why a replay or a backtest is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
enum RehearsalRefusal {
    /// As many wait as may.
    #[error("too many replays and backtests are waiting for their turn")]
    Full,
    /// The caller has its share.
    #[error("{REHEARSALS_OF_ONE_MAX} of your replays and backtests are running or waiting, which is the limit for one caller")]
    OverShare,
}

impl Explain for RehearsalRefusal {
    fn slug(&self) -> &'static str {
        match self {
            Self::Full => "busy",
            Self::OverShare => "over-share",
        }
    }

    fn fault(&self) -> Fault {
        Fault::Busy
    }

    fn hint(&self) -> Option<String> {
        Some("try again when one of them has ended".to_owned())
    }
}

impl From<NoRoom> for RehearsalRefusal {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::Full => Self::Full,
            NoRoom::OverQuota => Self::OverShare,
        }
    }
}

/// The threads on which work may block, and who waits for one.
pub(crate) struct Threads {
    ports: Arc<Ports>,
    mode: Blocking,
    queues: Queues,
    stopping: Stopping,
    readers: Arc<Semaphore>,
    explainers: Arc<Semaphore>,
    coders: Arc<Semaphore>,
    /// What checks values against the schemas of callers.
    checkers: Arc<Semaphore>,
    /// Who replays executions and tries rules, or waits for that.
    rehearsals: Arc<Quotas>,
    /// Whoever replays or tries something has it.
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
            rehearsals: Quotas::of(queues.of(QueueName::Rehearsals).clone(), REHEARSALS_OF_ONE_MAX),
            rehearsing: Arc::new(Semaphore::new(1)),
            queues,
        })
    }

    /// Does what blocks on a thread where that is allowed, once it is this request's turn: what is read may be large.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Ports) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.readers.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let threads = self.clone();
        let work = move || {
            let _held = threads.queues.of(QueueName::Reads).enter_anyway(1);
            let done = work(&threads.ports);
            // A caller that goes away does not give the turn to the next: the thread goes on.
            drop(turn);
            done
        };
        self.where_it_may_block(work).await
    }

    /// Codes an answer on a thread where that is allowed; none where as many are coded already: it goes out plain then, and waits for nobody.
    pub(crate) async fn coding<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let turn = self.coders.clone().try_acquire_owned().ok()?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        self.where_it_may_block(work).await.ok()
    }

    /// Does what blocks where that is allowed, at once: it waits for no turn.
    pub(crate) async fn where_it_may_block<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        match self.mode {
            Blocking::Pool => tokio::task::spawn_blocking(work).await.map_err(|why| Problem::bug(&why)),
            Blocking::InPlace => Ok(work()),
        }
    }

    /// Works out again what rules made of events, on a thread where blocking is allowed, once it is this request's turn.
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

    /// Checks a value against a schema of a caller, on a thread where blocking is allowed. It holds up no read.
    pub(crate) async fn checking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let turn = self.checkers.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let work = move || {
            let done = work();
            // A caller that goes away does not give the turn to the next: the thread goes on.
            drop(turn);
            done
        };
        self.where_it_may_block(work).await
    }

    /// Replays executions or tries rules for the holder of a token. One runs at a time, the others wait in the order in which they came, and
    /// no caller has more than its share. The work stops soon after its caller has gone.
    pub(crate) async fn rehearsing<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        work: impl FnOnce(&Ports, &Patience) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.rehearsals.enter(Caller::Token(name.to_owned()), 1).map_err(RehearsalRefusal::from)?;
        let turn = self.rehearsing.clone().acquire_owned().await.map_err(|why| Problem::bug(&why))?;
        let (patience, waiting) = Patience::of(REHEARSAL_TIME_MAX);
        let threads = self.clone();
        let work = move || {
            let done = work(&threads.ports, &patience);
            drop((turn, place));
            done
        };
        let done = tokio::select! {
            done = self.where_it_may_block(work) => done,
            () = self.stopping.begun() => Err(SubmitError::Stopping.into()),
        };
        drop(waiting);
        done
    }
}

/// As many turns as a queue has room.
fn turns(queues: &Queues, name: QueueName) -> Arc<Semaphore> {
    let most = usize::try_from(queues.of(name).capacity()).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
}
