//! The attempts that run in this process: how each is told to stop, and whether it has begun.
//!
//! This module starts nothing and reports nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ensue_engine::executions::facts::Evidence;
use ensue_engine::ids::{AttemptId, ExecutionId};
use tokio::sync::{Notify, watch};

use crate::begun_file::{BegunError, BegunFile};
use crate::lease::Lease;
use crate::programs::uptime_millis;

/// The attempts that run here, each until its end was reported to the log.
#[derive(Debug, Default)]
pub(crate) struct Running {
    attempts: Mutex<BTreeMap<AttemptId, Arc<RunningAttempt>>>,
    emptied: Notify,
}

/// A running attempt.
#[derive(Debug)]
pub(crate) struct RunningAttempt {
    /// The execution.
    pub(crate) execution: ExecutionId,
    /// The attempt.
    pub(crate) attempt: AttemptId,
    /// The W3C trace it belongs to.
    pub(crate) trace: Option<String>,
    /// The lease of its task.
    pub(crate) lease: Lease,
    stage: Mutex<BeginStage>,
    signal: watch::Sender<Signal>,
    is_deserted: AtomicBool,
    end: OnceLock<ProgramEnd>,
}

/// When the program of an attempt ended.
#[derive(Debug)]
struct ProgramEnd {
    /// How long before it was heard.
    before: Duration,
    /// When it was heard, by the worker's clock.
    heard_at: Duration,
}

/// An end that is reported later than this carries its own time.
const LATE: Duration = Duration::from_secs(1);

/// A signal to an attempt. A later one in the list takes precedence over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    /// Go on.
    GoOn,
    /// The execution was cancelled: stop, and report.
    Stop,
    /// The log no longer waits for the attempt: stop.
    Release,
    /// The node is shutting down: stop, and leave the rest to the next start.
    Leave,
}

/// Whether an attempt has begun to touch the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BeginStage {
    NotBegun,
    Begun,
    /// It was reported as lost, and must not begin.
    GivenUp,
}

/// Why an attempt may not begin.
#[derive(Debug)]
pub(crate) enum BeginError {
    /// It was told to stop, or given up.
    Over,
    /// Its beginning cannot be recorded.
    Begun(BegunError),
}

impl Running {
    /// Adds an attempt. Returns none if it is already running.
    pub(crate) fn take_in(&self, attempt: RunningAttempt) -> Option<Arc<RunningAttempt>> {
        let mut attempts = self.lock();
        if attempts.contains_key(&attempt.attempt) {
            return None;
        }
        let attempt = Arc::new(attempt);
        attempts.insert(attempt.attempt, Arc::clone(&attempt));
        Some(attempt)
    }

    /// Returns an attempt that runs here.
    pub(crate) fn get(&self, attempt: AttemptId) -> Option<Arc<RunningAttempt>> {
        self.lock().get(&attempt).cloned()
    }

    /// Returns all of them.
    pub(crate) fn all(&self) -> Vec<Arc<RunningAttempt>> {
        self.lock().values().cloned().collect()
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Removes one.
    pub(crate) fn let_go(&self, attempt: AttemptId) {
        let mut attempts = self.lock();
        attempts.remove(&attempt);
        if attempts.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Completes when none is left.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Arc<RunningAttempt>>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningAttempt {
    /// Creates an attempt that has not begun.
    pub(crate) fn new(execution: ExecutionId, attempt: AttemptId, trace: Option<String>, lease: Lease) -> Self {
        Self {
            execution,
            attempt,
            trace,
            lease,
            stage: Mutex::new(BeginStage::NotBegun),
            signal: watch::Sender::new(Signal::GoOn),
            is_deserted: AtomicBool::new(false),
            end: OnceLock::new(),
        }
    }

    /// Creates an attempt that began under an earlier node.
    pub(crate) fn new_begun(execution: ExecutionId, attempt: AttemptId, trace: Option<String>, lease: Lease) -> Self {
        Self { stage: Mutex::new(BeginStage::Begun), ..Self::new(execution, attempt, trace, lease) }
    }

    /// Sends it a signal. A signal of lower precedence than the current one has no effect.
    pub(crate) fn send_signal(&self, signal: Signal) {
        self.signal.send_if_modified(|told| {
            let outweighs = signal > *told;
            if outweighs {
                *told = signal;
            }
            outweighs
        });
    }

    /// Returns the first signal that is at least `signal`.
    pub(crate) async fn wait_for_signal(&self, signal: Signal) -> Signal {
        let mut signals = self.signal.subscribe();
        let told = signals.wait_for(|told| *told >= signal).await.map(|told| *told);
        // The sender is in `self`, so it cannot be gone.
        told.unwrap_or(Signal::Leave)
    }

    /// Returns true if the log has told it to end.
    pub(crate) fn is_to_end(&self) -> bool {
        match *self.signal.borrow() {
            Signal::Stop | Signal::Release => true,
            Signal::GoOn | Signal::Leave => false,
        }
    }

    /// Records that it begins. Nothing outside the node may be touched before this.
    pub(crate) fn begin(&self, begun: &BegunFile) -> Result<(), BeginError> {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        match *stage {
            BeginStage::Begun => return Ok(()),
            BeginStage::GivenUp => return Err(BeginError::Over),
            BeginStage::NotBegun if *self.signal.borrow() > Signal::GoOn => {
                return Err(BeginError::Over);
            }
            BeginStage::NotBegun => {}
        }
        begun.note(self.attempt).map_err(BeginError::Begun)?;
        *stage = BeginStage::Begun;
        Ok(())
    }

    /// Sets when its program ended, in milliseconds since the machine's boot, and when that was heard.
    pub(crate) fn note_end(&self, ended_at: Option<u64>, heard_at: Duration) {
        if let (Some(ended_at), Some(now)) = (ended_at, uptime_millis()) {
            let before = Duration::from_millis(now.saturating_sub(ended_at));
            // There is one program, and it ends once.
            let _ = self.end.set(ProgramEnd { before, heard_at });
        }
    }

    /// Returns how long ago its program ended, in milliseconds, or none if that is unknown or was just now.
    pub(crate) fn ended_before(&self, now: Duration) -> Option<u64> {
        let ProgramEnd { before, heard_at } = self.end.get()?;
        let before = before.saturating_add(now.saturating_sub(*heard_at));
        (before > LATE).then(|| u64::try_from(before.as_millis()).unwrap_or(u64::MAX))
    }

    /// Notes that its task is gone.
    pub(crate) fn desert(&self) {
        self.is_deserted.store(true, Ordering::Release);
    }

    /// Returns true if its task is gone.
    pub(crate) fn is_deserted(&self) -> bool {
        self.is_deserted.load(Ordering::Acquire)
    }

    /// Gives it up: returns the evidence about it, and prevents it from beginning later. Returns none if it
    /// was given up before.
    pub(crate) fn give_up(&self) -> Option<Evidence> {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *stage, BeginStage::GivenUp) {
            BeginStage::NotBegun => Some(Evidence::NotBegun),
            BeginStage::Begun => Some(Evidence::MayHaveBegun),
            BeginStage::GivenUp => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::time::Timestamp;
    use tempfile::TempDir;

    use super::*;
    use crate::begun_file::Opener;

    fn running() -> RunningAttempt {
        let id = Id::root(Timestamp::from_micros(1_774_699_200_000_000), 1);
        let lease = Lease::begin(Duration::ZERO, Duration::from_secs(30));
        RunningAttempt::new(ExecutionId(id), AttemptId(id), None, lease)
    }

    fn begun_file(folder: &TempDir) -> BegunFile {
        BegunFile::open(folder.path().join("begun"), Opener::now("local"), []).unwrap().0
    }

    #[test]
    fn attempt_given_up_before_it_began_never_begins() {
        let folder = TempDir::new().unwrap();
        let attempt = running();
        assert_eq!(attempt.give_up(), Some(Evidence::NotBegun));
        assert!(matches!(attempt.begin(&begun_file(&folder)), Err(BeginError::Over)));
    }

    #[test]
    fn end_that_is_reported_later_says_how_long_ago_it_was() {
        let attempt = running();
        assert_eq!(attempt.ended_before(Duration::from_secs(10)), None, "it has not ended");
        let ended_at = uptime_millis().unwrap();
        attempt.note_end(Some(ended_at), Duration::from_secs(10));
        let before = |now: u64| attempt.ended_before(Duration::from_secs(now));
        // A busy machine may take some time to hear of an end that is just now.
        assert!(before(10).is_none_or(|before| before < 60_000));
        let later = before(100).unwrap();
        assert!((90_000..150_000).contains(&later), "{later}");
        attempt.note_end(Some(0), Duration::from_secs(200));
        assert_eq!(before(100), Some(later), "the first end counts");
        let unknown = running();
        unknown.note_end(None, Duration::from_secs(10));
        assert_eq!(unknown.ended_before(Duration::from_secs(100)), None);
    }

    #[test]
    fn attempt_is_given_up_once() {
        let folder = TempDir::new().unwrap();
        let attempt = running();
        attempt.begin(&begun_file(&folder)).unwrap();
        assert_eq!(attempt.give_up(), Some(Evidence::MayHaveBegun));
        assert_eq!(attempt.give_up(), None);
    }

    #[test]
    fn attempt_stopped_before_it_began_does_not_begin() {
        let folder = TempDir::new().unwrap();
        let attempt = running();
        attempt.send_signal(Signal::Stop);
        assert!(matches!(attempt.begin(&begun_file(&folder)), Err(BeginError::Over)));
    }

    #[tokio::test]
    async fn weaker_signal_does_not_replace_a_stronger_one() {
        let attempt = running();
        attempt.send_signal(Signal::Release);
        attempt.send_signal(Signal::Stop);
        assert_eq!(attempt.wait_for_signal(Signal::Stop).await, Signal::Release);
    }
}
