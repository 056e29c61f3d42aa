//! Output: what a program prints, handed on to where outputs are kept, one piece after the other.
//!
//! It sets no cap on what is kept; the outputs' own place does, and counts what is over. Hearing never stops for that.

use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use ensue_engine::ports::{OutputStream, Outputs};

use crate::blocking::Blocking;

/// Where one attempt's output goes.
pub(crate) struct Output {
    outputs: Arc<dyn Outputs>,
    attempt: AttemptId,
    blocking: Blocking,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Kept,
    /// It could not be kept once, which was said once.
    Lossy,
}

impl Output {
    /// Begins the output of an attempt.
    pub(crate) fn begin(outputs: Arc<dyn Outputs>, attempt: AttemptId, blocking: Blocking) -> Self {
        Self { outputs, attempt, blocking, state: State::Kept }
    }

    /// Keeps what was printed to a stream after so many bytes.
    pub(crate) async fn append(&mut self, stream: OutputStream, offset: u64, bytes: Bytes) {
        let (outputs, attempt) = (Arc::clone(&self.outputs), self.attempt);
        let appended = self.blocking.done(move || outputs.append_at(attempt, stream, offset, &bytes)).await;
        if let Some(Err(error)) = appended
            && self.state == State::Kept
        {
            self.state = State::Lossy;
            tracing::warn!(%attempt, %error, "output is lost; the attempt continues");
        }
    }

    /// Says how much was printed in all, as who held the program counted it.
    pub(crate) async fn note_printed(&self, printed: [u64; 2]) {
        let (outputs, attempt) = (Arc::clone(&self.outputs), self.attempt);
        let noted = move || {
            let streams = OutputStream::ALL;
            streams.into_iter().zip(printed).try_for_each(|(stream, bytes)| outputs.note_printed(attempt, stream, bytes))
        };
        if let Some(Err(error)) = self.blocking.done(noted).await {
            tracing::warn!(%attempt, %error, "the total size of an attempt's output could not be recorded");
        }
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(self) {
        let Self { outputs, attempt, blocking, .. } = self;
        let finished = blocking.done(move || outputs.finish(attempt)).await;
        if let Some(Err(error)) = finished {
            tracing::warn!(%attempt, %error, "the output of an attempt could not be closed");
        }
    }
}
