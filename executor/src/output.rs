//! Output: forwards what a program prints, piece by piece, to where outputs are kept.
//!
//! This module sets no limit on how much is kept. The port for outputs does, and counts the bytes over the
//! limit. Reading never stops because of that.

use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use ensue_engine::ports::{OutputStream, Outputs};

use crate::blocking::Blocking;

/// The destination of one attempt's output.
pub(crate) struct Output {
    outputs: Arc<dyn Outputs>,
    attempt: AttemptId,
    blocking: Blocking,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Kept,
    /// Some output could not be kept. This was logged once.
    Lossy,
}

impl Output {
    /// Starts the output of an attempt.
    pub(crate) fn begin(outputs: Arc<dyn Outputs>, attempt: AttemptId, blocking: Blocking) -> Self {
        Self { outputs, attempt, blocking, state: State::Kept }
    }

    /// Keeps the bytes that were printed to a stream at this offset.
    pub(crate) async fn append(&mut self, stream: OutputStream, offset: u64, bytes: Bytes) {
        let (outputs, attempt) = (Arc::clone(&self.outputs), self.attempt);
        let appended = self.blocking.run(move || outputs.append_at(attempt, stream, offset, &bytes)).await;
        if let Some(Err(error)) = appended
            && self.state == State::Kept
        {
            self.state = State::Lossy;
            tracing::warn!(%attempt, %error, "output is lost; the attempt continues");
        }
    }

    /// Records how much was printed in total, as counted by the process that held the program.
    pub(crate) async fn note_printed(&self, printed: [u64; 2]) {
        let (outputs, attempt) = (Arc::clone(&self.outputs), self.attempt);
        let noted = move || {
            let streams = OutputStream::ALL;
            streams.into_iter().zip(printed).try_for_each(|(stream, bytes)| outputs.note_printed(attempt, stream, bytes))
        };
        if let Some(Err(error)) = self.blocking.run(noted).await {
            tracing::warn!(%attempt, %error, "the total size of an attempt's output could not be recorded");
        }
    }

    /// Ends the output: nothing more comes.
    pub(crate) async fn finish(self) {
        let Self { outputs, attempt, blocking, .. } = self;
        let finished = blocking.run(move || outputs.finish(attempt)).await;
        if let Some(Err(error)) = finished {
            tracing::warn!(%attempt, %error, "the output of an attempt could not be closed");
        }
    }
}
