//! Output: what a program prints, read as fast as it comes and handed on to where outputs are kept.
//!
//! It sets no cap on what is kept; the outputs' own place does, and counts what is over. Reading never stops for that.

use std::sync::Arc;

use ensue_engine::ids::AttemptId;
use ensue_engine::ports::{OutputStream, Outputs};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Mutex;

use crate::result::Head;

/// How many bytes are read from a program at once.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Where one attempt's output goes, one piece after the other.
#[derive(Clone)]
pub(crate) struct Output {
    outputs: Arc<dyn Outputs>,
    attempt: AttemptId,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Kept,
    /// It could not be kept once, which was said once.
    Lossy,
}

impl Output {
    /// Begins the output of an attempt.
    pub(crate) fn begin(outputs: Arc<dyn Outputs>, attempt: AttemptId) -> Self {
        Self { outputs, attempt, state: Arc::new(Mutex::new(State::Kept)) }
    }

    /// Reads a stream to its end and hands all on; its beginning is left in `head`, where one is given.
    pub(crate) async fn drain(&self, stream: OutputStream, mut source: impl AsyncRead + Unpin, mut head: Option<&mut Head>) {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES_MAX);
        loop {
            chunk.clear();
            match (&mut source).take(CHUNK_BYTES_MAX as u64).read_buf(&mut chunk).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(attempt = %self.attempt, %error, "the output of a program broke off");
                    return;
                }
            }
            if let Some(head) = &mut head {
                head.push(&chunk);
            }
            chunk = self.append(stream, chunk).await;
        }
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&self) {
        let outputs = Arc::clone(&self.outputs);
        let attempt = self.attempt;
        let state = Arc::clone(&self.state).lock_owned().await;
        let finished = tokio::task::spawn_blocking(move || {
            let _state = state;
            outputs.finish(attempt)
        });
        if let Ok(Err(error)) = finished.await {
            tracing::warn!(%attempt, %error, "the output of an attempt could not be ended");
        }
    }

    async fn append(&self, stream: OutputStream, chunk: Vec<u8>) -> Vec<u8> {
        let outputs = Arc::clone(&self.outputs);
        let attempt = self.attempt;
        // Held by the writing itself, so that pieces keep their order also when their reader was dropped meanwhile.
        let mut state = Arc::clone(&self.state).lock_owned().await;
        let appended = tokio::task::spawn_blocking(move || {
            if let Err(error) = outputs.append(attempt, stream, &chunk)
                && *state == State::Kept
            {
                *state = State::Lossy;
                tracing::warn!(%attempt, %error, "output is lost; the attempt goes on");
            }
            chunk
        });
        appended.await.unwrap_or_default()
    }
}
