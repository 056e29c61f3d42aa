//! The streams of an HTTP/2 connection: each is a request and its response.
//!
//! A stream is reset if its caller does not read the response, and a connection ends if its caller cancels many more
//! requests than it lets the node answer (CVE-2023-44487).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::server::crowd::Answering;

/// How many more requests a caller may cancel than it lets the node answer.
const RESETS_MAX: u32 = 100;
/// The maximum bytes of a response that are passed on at once, so that only so many wait for a caller that does not read.
const PORTION_BYTES: usize = 16 * 1024;

tokio::task_local! {
    /// The progress of the stream that the current task serves.
    static PROGRESS: Arc<ResponseProgress>;
}

/// The streams of one connection; clones share them. It runs each on a task of its own.
#[derive(Clone)]
pub(super) struct Streams {
    write_timeout: Duration,
    budget: Arc<Budget>,
}

/// How many more requests the caller may cancel.
struct Budget {
    left: AtomicU32,
    is_spent: Notify,
}

impl Streams {
    /// Creates the streams of a connection, whose caller must read each response within this time.
    pub(super) fn new(write_timeout: Duration) -> Self {
        Self { write_timeout, budget: Arc::new(Budget { left: AtomicU32::new(RESETS_MAX), is_spent: Notify::new() }) }
    }

    /// Returns once the caller has canceled too many requests.
    pub(super) async fn too_many_resets(&self) {
        self.budget.is_spent.notified().await;
    }
}

impl Budget {
    fn note(&self, progress: &ResponseProgress) {
        let change = |left: u32| if progress.is_answered() { Some((left + 1).min(RESETS_MAX)) } else { left.checked_sub(1) };
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_err() {
            self.is_spent.notify_one();
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let Self { write_timeout, budget } = self.clone();
        let progress = Arc::new(ResponseProgress::new());
        tokio::spawn(async move {
            // The stream is reset when it is dropped before its end.
            tokio::select! {
                () = PROGRESS.scope(progress.clone(), stream) => {}
                () = progress.wait_for_stall(write_timeout) => tracing::debug!("a response was cut: its caller does not read it"),
            }
            budget.note(&progress);
        });
    }
}

/// How far a response has been written.
struct ResponseProgress {
    begun: Instant,
    /// When the newest portion was passed on that waits for its caller, in milliseconds after `begun`, plus 1; 0 if none waits.
    waits_since: AtomicU64,
    is_answered: AtomicBool,
}

impl ResponseProgress {
    fn new() -> Self {
        Self { begun: Instant::now(), waits_since: AtomicU64::new(0), is_answered: AtomicBool::new(false) }
    }

    fn passes_on(&self) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.waits_since.store(millis.saturating_add(1), Ordering::Relaxed);
    }

    fn is_asked(&self) {
        self.waits_since.store(0, Ordering::Relaxed);
    }

    fn answers(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }

    /// Returns once a portion has waited this long for its caller.
    async fn wait_for_stall(&self, patience: Duration) {
        loop {
            let rest = match self.waits_since.load(Ordering::Relaxed) {
                0 => patience,
                since => (self.begun + Duration::from_millis(since - 1) + patience).saturating_duration_since(Instant::now()),
            };
            if rest.is_zero() {
                return;
            }
            tokio::time::sleep(rest).await;
        }
    }
}

/// Returns a response's body that is passed on in portions. The connection is busy until it is written.
pub(super) fn pace_body(body: Body, answering: Answering) -> Body {
    let progress = PROGRESS.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(ResponseProgress::new()));
    if body.is_end_stream() {
        progress.answers();
    }
    Body::new(Portions { body, rest: Bytes::new(), progress, _answering: answering })
}

/// A body in portions.
///
/// The last byte of a complete body is a portion of its own. hyper writes it when the caller has let it write everything
/// before, so that a caller that does not read a short body stalls as well.
struct Portions {
    body: Body,
    /// What was received from `body` and is not passed on yet.
    rest: Bytes,
    progress: Arc<ResponseProgress>,
    _answering: Answering,
}

impl HttpBody for Portions {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.progress.is_asked();
        if this.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.progress.answers();
                    return Poll::Ready(None);
                }
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
        let bytes = match this.rest.len() {
            2..=PORTION_BYTES if this.body.is_end_stream() => this.rest.len() - 1,
            bytes => bytes.min(PORTION_BYTES),
        };
        let portion = this.rest.split_to(bytes);
        this.progress.passes_on();
        if this.is_end_stream() {
            this.progress.answers();
        }
        Poll::Ready(Some(Ok(Frame::data(portion))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, hint) = (self.rest.len() as u64, self.body.size_hint());
        let mut whole = SizeHint::new();
        whole.set_lower(rest + hint.lower());
        if let Some(upper) = hint.upper() {
            whole.set_upper(rest + upper);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::server::crowd::Crowd;
    use crate::settings::Limits;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn answer(bytes: usize) -> Body {
        pace_body(Body::from(vec![b'x'; bytes]), Crowd::new(&Limits::default()).place().asks())
    }

    #[tokio::test]
    async fn large_body_is_passed_on_in_portions_and_complete() {
        let mut body = answer(40_000);
        assert_eq!(body.size_hint().exact(), Some(40_000));
        let mut portions = Vec::new();
        while let Some(frame) = body.frame().await {
            portions.push(frame.unwrap().into_data().unwrap().len());
            assert_eq!(body.size_hint().exact(), Some(40_000 - portions.iter().sum::<usize>() as u64));
        }
        assert_eq!(portions, [PORTION_BYTES, PORTION_BYTES, 40_000 - 2 * PORTION_BYTES - 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn stream_is_stalled_only_while_a_portion_waits_for_its_caller() {
        let progress = Arc::new(ResponseProgress::new());
        let mut body = PROGRESS.sync_scope(progress.clone(), || answer(40_000));
        assert!(tokio::time::timeout(10 * PATIENCE, progress.wait_for_stall(PATIENCE)).await.is_err(), "the node still works on it");
        for _ in 0..2 {
            body.frame().await.unwrap().unwrap();
            tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
            assert!(tokio::time::timeout(Duration::ZERO, progress.wait_for_stall(PATIENCE)).await.is_err(), "it progresses");
        }
        tokio::time::timeout(Duration::from_secs(2), progress.wait_for_stall(PATIENCE)).await.unwrap();
    }

    #[tokio::test]
    async fn only_canceled_requests_use_up_the_budget() {
        let streams = Streams::new(PATIENCE);
        let (reset, answered) = (ResponseProgress::new(), ResponseProgress::new());
        answered.answers();
        let is_spent = || async { tokio::time::timeout(Duration::from_millis(1), streams.too_many_resets()).await.is_ok() };
        for _ in 0..3 * RESETS_MAX {
            streams.budget.note(&reset);
            streams.budget.note(&answered);
        }
        for _ in 0..RESETS_MAX {
            streams.budget.note(&reset);
        }
        assert!(!is_spent().await);
        streams.budget.note(&reset);
        assert!(is_spent().await);
    }
}
