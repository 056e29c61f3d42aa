//! One attempt as its runner sees it: what to run, until when, and how it may end.
//!
//! This module does not know how anything is run, nor how its end is reported.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ensue_engine::catalog::{Action, Pack};
use ensue_engine::command::{ObservedEvent, VarChange};
use ensue_engine::effect::Dispatch;
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::Secret;
use ensue_engine::record::Body;
use ensue_engine::time::Timestamp;
use ensue_engine::trace::{SpanId, TraceContext};
use ensue_expression::Document;

use crate::masks::Masks;
use crate::programs::{GivenKey, NodeSecrets};
use crate::running_attempts::{BeginError, RunningAttempt, Signal};
use crate::settings::TraceNesting;
use crate::worker_context::WorkerContext;

/// The longest time that a program may continue after it was asked to stop because the node is shutting down.
/// It applies even if the action allows more.
pub const LEAVING_GRACE_MAX: Duration = Duration::from_secs(5);

/// A running attempt.
pub(crate) struct AttemptContext<'w> {
    /// What it shares with the worker's other attempts.
    pub(crate) means: &'w WorkerContext,
    /// What the log says of it.
    pub(crate) dispatch: &'w Dispatch,
    /// The action.
    pub(crate) action: Arc<Action>,
    /// The action's pack, if it is still in the catalog.
    pub(crate) pack: Option<Arc<Pack>>,
    /// The parameters.
    pub(crate) params: Document,
    /// When its timeout expires, by the worker's clock.
    pub(crate) ends_at: Duration,
    /// Its entry among the running attempts.
    pub(crate) running: &'w RunningAttempt,
    /// The keys that were opened for it.
    pub(crate) keys: GivenKeys,
}

/// The keys that were opened for an attempt, and the secrets of the node, which no attempt is given and which are masked
/// all the same.
#[derive(Default)]
pub(crate) struct GivenKeys {
    opened: Mutex<Vec<GivenKey>>,
    node_secrets: NodeSecrets,
}

impl GivenKeys {
    /// Begins without an opened key.
    pub(crate) fn with_node_secrets(node_secrets: &NodeSecrets) -> Self {
        Self { opened: Mutex::default(), node_secrets: node_secrets.clone() }
    }

    /// Records keys that were opened.
    pub(crate) fn note<'k>(&self, opened: impl IntoIterator<Item = (&'k KeyRef, &'k Secret)>) {
        let opened = opened.into_iter().map(|(key, value)| GivenKey { key: key.clone(), value: value.clone() });
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).extend(opened);
    }

    /// Returns all of them, with the secrets of the node.
    pub(crate) fn all(&self) -> Vec<GivenKey> {
        let mut all = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend(self.node_secrets.iter().cloned());
        all
    }

    /// Returns true if no key was opened.
    pub(crate) fn is_empty(&self) -> bool {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Returns the masks for their values, or none if there is nothing to mask.
    pub(crate) fn masks(&self) -> Option<Arc<Masks>> {
        self.node_secrets.masks_with(&self.opened.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a successful attempt returns.
#[derive(Default)]
pub(crate) struct AttemptResult {
    /// The result.
    pub(crate) body: Option<Body>,
    /// The events it emits.
    pub(crate) emitted: Option<Box<ObservedEvent>>,
    /// The vars it changes.
    pub(crate) vars: Vec<VarChange>,
}

/// Why an attempt has no result.
pub(crate) enum AttemptError {
    /// It failed.
    Failed(Box<AttemptFailure>),
    /// It was cut off. Holds how its program ended, in words, if it had one.
    Cut(Cut, Option<String>),
    /// The process that ran it is gone, and its outcome is unknown. Holds the reason if it is known.
    Lost(Option<Failure>),
}

/// A failure, and the body that was produced nevertheless.
pub(crate) struct AttemptFailure {
    /// Why it failed.
    pub(crate) failure: Failure,
    /// The body that was produced.
    pub(crate) body: Option<Body>,
    /// How long the server asks to wait before the next attempt.
    pub(crate) retry_after: Option<Duration>,
}

/// Why an attempt is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It timed out.
    TimedOut,
    /// The execution was cancelled.
    Cancelled,
    /// The log no longer waits for it.
    Released,
    /// The node is shutting down.
    Left,
}

/// How an attempt ends.
pub(crate) type Ending = Result<AttemptResult, AttemptError>;

impl AttemptResult {
    /// Returns a result.
    pub(crate) fn result(body: Body) -> Self {
        Self { body: Some(body), ..Self::default() }
    }
}

impl AttemptError {
    /// Returns a failure that keeps the body that was produced.
    pub(crate) fn with_body(failure: Failure, body: Option<Body>) -> Self {
        Self::Failed(Box::new(AttemptFailure { failure, body, retry_after: None }))
    }
}

impl From<Failure> for AttemptError {
    fn from(failure: Failure) -> Self {
        Self::with_body(failure, None)
    }
}

impl From<Cut> for AttemptError {
    fn from(cut: Cut) -> Self {
        Self::Cut(cut, None)
    }
}

/// Returns a failure without a body.
pub(crate) fn attempt_failure(kind: FailureKind, message: impl Into<String>) -> AttemptError {
    Failure::new(kind, message).into()
}

impl AttemptContext<'_> {
    /// Returns the W3C trace that the attempt's work belongs to, or none if the log has no trace. A node that
    /// does not record a trace passes it on unchanged.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        let TraceContext { parent, state } = self.dispatch.trace.as_ref()?.parse().ok()?;
        let parent = match self.means.settings.traced {
            TraceNesting::UnderAttempt if parent.is_sampled() => parent.under(SpanId::of(self.dispatch.attempt.0)),
            TraceNesting::UnderAttempt | TraceNesting::UnderCaller => parent,
        };
        Some(TraceContext { parent, state })
    }

    /// Completes when the attempt is cut off.
    pub(crate) async fn cut(&self) -> Cut {
        let clock = &self.means.ports.clock;
        tokio::select! {
            biased;
            signal = self.running.wait_for_signal(Signal::Stop) => match signal {
                Signal::GoOn | Signal::Stop => Cut::Cancelled,
                Signal::Release => Cut::Released,
                Signal::Leave => Cut::Left,
            },
            () = clock.until(self.ends_at) => Cut::TimedOut,
        }
    }

    /// Runs `work` until it finishes or the attempt is cut off.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = Result<T, AttemptError>>) -> Result<T, AttemptError> {
        tokio::select! {
            biased;
            done = work => done,
            cut = self.cut() => Err(cut.into()),
        }
    }

    /// Does blocking work. If the work does not end, the attempt is left to the next node while this one stops; otherwise
    /// the work panicked.
    pub(crate) async fn do_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, AttemptError> {
        match self.means.settings.blocking.run(work).await {
            Some(done) => Ok(done),
            None if self.means.is_draining() => Err(Cut::Left.into()),
            None => Err(attempt_failure(FailureKind::Sandbox, "an internal error of the node interrupted the attempt; its log says more")),
        }
    }

    /// Masks the values of keys in the message of a failure.
    pub(crate) fn mask(&self, broken: AttemptError) -> AttemptError {
        match (broken, self.keys.masks()) {
            (AttemptError::Failed(mut failed), Some(masks)) => {
                failed.failure.message = masks.text(&failed.failure.message);
                AttemptError::Failed(failed)
            }
            (broken, _) => broken,
        }
    }

    /// Records that the attempt begins. Nothing outside the node may be touched before this.
    pub(crate) async fn begin(&self) -> Result<(), AttemptError> {
        match self.running.begin(&self.means.ports.begun) {
            Ok(()) => Ok(()),
            Err(BeginError::Over) => {
                // It was told to stop, or its lease has ended and its release is on the way.
                Err(self.cut().await.into())
            }
            Err(BeginError::Begun(error)) => Err(attempt_failure(FailureKind::Sandbox, error.to_string())),
        }
    }

    /// Returns the absolute path of the folder that holds the files of its action's pack.
    pub(crate) fn pack_folder(&self) -> PathBuf {
        let folder = self.means.ports.packs.folder(&self.action.pack);
        std::path::absolute(&folder).unwrap_or(folder)
    }

    /// Returns the time left before its timeout.
    pub(crate) fn remaining(&self) -> Duration {
        self.ends_at.saturating_sub(self.means.ports.clock.now())
    }

    /// Returns the log's current time.
    pub(crate) fn now(&self) -> Timestamp {
        let left = u64::try_from(self.remaining().as_micros()).unwrap_or(u64::MAX);
        Timestamp::from_micros(self.deadline().micros().saturating_sub_unsigned(left))
    }

    /// Returns the log's time at which its timeout expires.
    pub(crate) fn deadline(&self) -> Timestamp {
        self.dispatch.started_at.plus_millis(self.dispatch.timeout_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_the_secrets_of_a_node_are_made_once() {
        let secret = |key: &str, value: &str| GivenKey { key: key.parse().unwrap(), value: Secret::new(value.as_bytes().to_vec()) };
        let node_secrets = NodeSecrets::new([secret("ensue.database_password", "password-1")]);
        let keys = [GivenKeys::with_node_secrets(&node_secrets), GivenKeys::with_node_secrets(&node_secrets)];
        let [first, second] = keys.each_ref().map(|keys| keys.masks().unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        let GivenKey { key, value } = secret("demo.token", "sesame-open");
        keys[0].note([(&key, &value)]);
        let shown = keys[0].masks().unwrap().text("sesame-open password-1");
        assert_eq!(shown, "[redacted demo.token] [redacted ensue.database_password]");
        assert!(GivenKeys::default().masks().is_none());
    }
}
