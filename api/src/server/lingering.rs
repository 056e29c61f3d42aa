//! A connection that is not closed while the client is still sending.
//!
//! The kernel answers data that arrives at a closed socket with a reset, which destroys the response before the
//! client has read it (RFC 9112, 9.6). So the sending side is closed first, and incoming data is discarded
//! until the other side closes too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long the other side may be quiet before it counts as gone.
const QUIET_MAX: Duration = Duration::from_secs(5);
/// How long the other side may continue to send.
const SENDING_MAX: Duration = Duration::from_secs(30);
/// How many reads are discarded before other connections get their turn.
const READS_IN_A_ROW: u32 = 16;
const READ_BYTES: usize = 8 * 1024;

/// Whether a request on a connection was answered before all of it arrived; clones share the state.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Records that one was.
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that lingers at its end if a request was not read completely.
pub(super) struct Lingering<S> {
    stream: S,
    unread: Unread,
    close: Close,
}

/// The progress of closing a connection.
enum Close {
    Open,
    /// This side is closed; the other side has until these times to close, and to send anything at all.
    Lingers {
        until: Instant,
        quiet: Pin<Box<Sleep>>,
    },
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S, unread: Unread) -> Self {
        Self { stream, unread, close: Close::Open }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    /// Discards incoming data until the other side closes, aborts, or runs out of time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Close::Lingers { until, quiet } = &mut self.close else { return Poll::Ready(()) };
        let mut bytes = [0; READ_BYTES];
        for _ in 0..READS_IN_A_ROW {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => quiet.as_mut().reset((Instant::now() + QUIET_MAX).min(*until)),
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => return quiet.as_mut().poll(cx),
            }
            if Instant::now() >= *until {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.close, Close::Open) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.unread.is_noted() {
                return Poll::Ready(Ok(()));
            }
            this.close = Close::Lingers { until: Instant::now() + SENDING_MAX, quiet: Box::pin(sleep(QUIET_MAX)) };
        }
        this.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn connection() -> (Lingering<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Lingering::new(ours, Unread::default()), theirs)
    }

    fn with_a_request_unread() -> (Lingering<DuplexStream>, DuplexStream) {
        let (ours, theirs) = connection();
        ours.unread.note();
        (ours, theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn connection_with_all_requests_read_is_closed_at_once() {
        let (mut ours, _theirs) = connection();
        let begin = Instant::now();
        ours.shutdown().await.unwrap();
        assert!(begin.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_still_sends_can_finish_and_read_the_answer() {
        let (mut ours, mut theirs) = with_a_request_unread();
        ours.write_all(b"too large").await.unwrap();
        let closing = tokio::spawn(async move { ours.shutdown().await.unwrap() });
        theirs.write_all(&[b'x'; 100_000]).await.unwrap();
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "too large");
        drop(theirs);
        closing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_neither_sends_nor_closes_is_awaited_briefly() {
        let (mut ours, _theirs) = with_a_request_unread();
        let begin = Instant::now();
        ours.shutdown().await.unwrap();
        assert_eq!(begin.elapsed(), QUIET_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_sends_endlessly_is_cut_off() {
        let (mut ours, mut theirs) = with_a_request_unread();
        let sending = tokio::spawn(async move {
            while theirs.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let begin = Instant::now();
        ours.shutdown().await.unwrap();
        assert_eq!(begin.elapsed(), SENDING_MAX);
        drop(ours);
        sending.await.unwrap();
    }
}
