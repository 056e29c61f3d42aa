//! Backtests that continue without a request: each has an id, and its owner can see how far it has come, and stop it.
//!
//! They are in memory only. One that nobody asks about stops, so that a closed browser costs nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ensue_engine::ids::Id;
use ensue_engine::names::RuleRef;
use ensue_engine::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ports::{BacktestResult, Progress, ToBacktest};
use crate::problem::Problem;
use crate::threads::Threads;

/// How long a backtest runs on if its owner does not ask about it.
const UNASKED_MAX: Duration = Duration::from_secs(60);
/// How long the result of a backtest is kept after its owner last asked about it.
const ENDED_KEPT: Duration = Duration::from_secs(600);
/// The most ended backtests that are kept.
const ENDED_MAX: usize = 64;

/// The backtests that run, and those that have ended lately.
#[derive(Default)]
pub(crate) struct RunningBacktests(Mutex<BTreeMap<Id, Arc<RunningBacktest>>>);

/// A backtest that runs, or has ended.
pub(crate) struct RunningBacktest {
    pub(crate) id: Id,
    /// The caller that started it.
    owner: String,
    pub(crate) rule: RuleRef,
    pub(crate) began_at: Timestamp,
    pub(crate) progress: Progress,
    /// Its end; empty while it runs or waits for its turn.
    pub(crate) end: OnceLock<Result<BacktestResult, Problem>>,
    stop: Notify,
    /// When its owner last asked about it.
    asked_at: Mutex<Instant>,
}

impl RunningBacktest {
    fn asked_at(&self) -> Instant {
        *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once its owner has not asked about it for a while.
    async fn left_alone(&self) {
        loop {
            let until = self.asked_at() + UNASKED_MAX;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

impl RunningBacktests {
    /// Starts a backtest.
    ///
    /// # Errors
    /// If the caller or all callers have too many that run or wait.
    pub(crate) fn start(
        self: &Arc<Self>,
        threads: &Arc<Threads>,
        (id, owner, began_at): (Id, String, Timestamp),
        asked: ToBacktest,
    ) -> Result<Arc<RunningBacktest>, Problem> {
        let place = threads.enter_rehearsal(&owner)?;
        let running = Arc::new(RunningBacktest {
            id,
            owner,
            rule: asked.rule.clone(),
            began_at,
            progress: Progress::with_reader(),
            end: OnceLock::new(),
            stop: Notify::new(),
            asked_at: Mutex::new(Instant::now()),
        });
        self.keep(running.clone());
        let (all, threads, known) = (self.clone(), threads.clone(), running.clone());
        tokio::spawn(async move {
            let progress = known.progress.clone();
            let work = threads.rehearsing_at(place, move |ports, patience| ports.backtests.backtest(&asked, patience, &progress));
            // Dropping the work stops it.
            let end = tokio::select! {
                done = work => done.and_then(|found| found.map_err(Problem::from)),
                () = known.stop.notified() => return,
                () = known.left_alone() => return all.remove(known.id),
            };
            // Only this task sets it.
            let _ = known.end.set(end);
        });
        Ok(running)
    }

    /// Returns a backtest of a caller.
    pub(crate) fn of(&self, owner: &str, id: Id) -> Option<Arc<RunningBacktest>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.get(&id).filter(|one| one.owner == owner)?.clone();
        drop(all);
        *found.asked_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Some(found)
    }

    /// Stops a backtest of a caller and forgets it. Returns `None` if there is none.
    pub(crate) fn stop(&self, owner: &str, id: Id) -> Option<()> {
        let found = self.of(owner, id)?;
        self.remove(id);
        found.stop.notify_one();
        Some(())
    }

    fn remove(&self, id: Id) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Adds a backtest, and forgets ended ones that are old or too many. How many run and wait is limited elsewhere.
    fn keep(&self, one: Arc<RunningBacktest>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|_, one| one.end.get().is_none() || one.asked_at() + ENDED_KEPT > now);
        let mut ended: Vec<(Instant, Id)> =
            all.values().filter(|one| one.end.get().is_some()).map(|one| (one.asked_at(), one.id)).collect();
        ended.sort_unstable();
        for (_, id) in ended.iter().take((ended.len() + 1).saturating_sub(ENDED_MAX)) {
            all.remove(id);
        }
        all.insert(one.id, one);
    }
}
