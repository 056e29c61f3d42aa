//! The messages that a run holds: they were pulled and are not in the log. Their source learns in time that they are
//! worked on, so that it does not deliver them again.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ensue_connectors::world::Clock;
use ensue_connectors::{MessageSource, Pending, SourceError, Token};
use ensue_engine::sensors::facts::SensorErrorKind;
use ensue_engine::time::Timestamp;

/// The messages that a run holds, in order.
pub(super) struct HeldMessages {
    clock: Arc<dyn Clock>,
    tokens: VecDeque<Token>,
    /// Completes when the source must be asked to keep them; `None` while nothing must be kept.
    due: Option<Pending<'static, ()>>,
    /// When the source last gave them, or kept them.
    kept_at: Timestamp,
}

impl HeldMessages {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let kept_at = clock.now();
        Self { clock, tokens: VecDeque::new(), due: None, kept_at }
    }

    /// Adds messages that were just pulled.
    pub(super) fn add(&mut self, source: &dyn MessageSource, pulled: impl Iterator<Item = Token>) {
        self.tokens.extend(pulled);
        if self.due.is_none() && !self.tokens.is_empty() {
            self.wait_again(source.keep_every());
        }
    }

    /// Removes the first messages, and returns them: they are in the log.
    pub(super) fn take_first(&mut self, count: usize) -> Vec<Token> {
        let taken = self.tokens.drain(..count.min(self.tokens.len())).collect();
        if self.tokens.is_empty() {
            self.due = None;
        }
        taken
    }

    /// Removes all messages, and returns them.
    pub(super) fn take_all(&mut self) -> Vec<Token> {
        self.take_first(usize::MAX)
    }

    /// Completes when the messages must be kept.
    pub(super) async fn is_due(&mut self) {
        match &mut self.due {
            Some(due) => due.await,
            None => pending().await,
        }
    }

    /// Asks the source to keep the messages.
    ///
    /// # Errors
    /// If the source fails, or takes longer than until it must be asked again.
    pub(super) async fn keep(&mut self, source: &mut dyn MessageSource) -> Result<(), SourceError> {
        let Some(every) = source.keep_every().filter(|_| !self.tokens.is_empty()) else {
            self.due = None;
            return Ok(());
        };
        let late = || SourceError::new(SensorErrorKind::Timeout, format!("the source did not keep its messages within {every:?}"));
        let kept = tokio::select! {
            biased;
            kept = source.keep(self.tokens.make_contiguous()) => kept,
            () = self.clock.sleep(every) => Err(late()),
        };
        self.wait_again(Some(every));
        kept
    }

    /// Asks the source to keep the messages if it was not asked lately: it does something else next, and can do only one
    /// thing at a time.
    ///
    /// # Errors
    /// As of [`keep`](Self::keep).
    pub(super) async fn keep_before_a_wait(&mut self, source: &mut dyn MessageSource) -> Result<(), SourceError> {
        let passed = u128::try_from(self.clock.now().micros_since(self.kept_at));
        match source.keep_every() {
            Some(every) if passed.is_ok_and(|passed| passed < every.as_micros() / 2) => Ok(()),
            Some(_) => self.keep(source).await,
            None => Ok(()),
        }
    }

    /// Waits for something, and keeps the messages meanwhile.
    ///
    /// # Errors
    /// If the source cannot keep them.
    pub(super) async fn during<T>(&mut self, source: &mut dyn MessageSource, waited: impl Future<Output = T>) -> Result<T, SourceError> {
        let mut waited = pin!(waited);
        loop {
            tokio::select! {
                biased;
                () = self.is_due() => {}
                done = &mut waited => return Ok(done),
            }
            self.keep(source).await?;
        }
    }

    fn wait_again(&mut self, every: Option<Duration>) {
        self.kept_at = self.clock.now();
        let clock = self.clock.clone();
        self.due = every.map(|every| -> Pending<'static, ()> { Box::pin(async move { clock.sleep(every).await }) });
    }
}
