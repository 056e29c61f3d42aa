//! The unread rest of a request's body when its answer is ready. It is discarded before the answer is sent,
//! so that the sender receives the answer instead of a reset, and the connection can continue.
//!
//! A connection whose last body was not read completely cannot be used for another request. The answer
//! must say so: the sender may have passed the whole body to its kernel, and consider the connection free.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// The maximum number of bytes of a body that are discarded; a body that declares a greater length is not
/// read.
const DISCARDED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long that can take.
const DISCARDED_TIMEOUT: Duration = Duration::from_secs(2);

/// The body of a request, lent to its handler. If the handler does not read it completely, the rest comes
/// back.
pub(crate) struct LentBody<B: HttpBody> {
    body: Option<B>,
    back: Arc<Mutex<Option<B>>>,
    is_broken: Arc<AtomicBool>,
}

/// The rest of a body, once its [`LentBody`] is dropped.
pub(crate) struct Leftover<B> {
    left: Arc<Mutex<Option<B>>>,
    /// Whether the body broke off, so that the beginning of the next request is unknown.
    is_broken: Arc<AtomicBool>,
    /// Whether the sender sends it only after `100 Continue`.
    is_held_back: bool,
}

/// Whether a request was read completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// It was: the connection can continue.
    ToItsEnd,
    /// More of it may come.
    InPart,
}

/// Lends a body.
pub(crate) fn lend<B: HttpBody>(body: B, headers: &HeaderMap) -> (LentBody<B>, Leftover<B>) {
    let (left, is_broken) = (Arc::default(), Arc::<AtomicBool>::default());
    let lent = LentBody { body: Some(body), back: Arc::clone(&left), is_broken: Arc::clone(&is_broken) };
    (lent, Leftover { left, is_broken, is_held_back: headers.contains_key(header::EXPECT) })
}

impl<B: HttpBody<Data = Bytes> + Unpin> Leftover<B> {
    /// Discards the rest, within limits of length and time. A body that is held back is not requested, and
    /// one that already timed out is not waited for again.
    pub(crate) async fn discard(self, answered: StatusCode) -> Read {
        if self.is_broken.load(Ordering::Relaxed) {
            return Read::InPart;
        }
        let Some(mut body) = self.left.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Read::ToItsEnd };
        let is_too_long = body.size_hint().lower() > DISCARDED_BYTES_MAX;
        if self.is_held_back || is_too_long || answered == StatusCode::REQUEST_TIMEOUT {
            return Read::InPart;
        }
        let mut bytes = 0;
        let all = async {
            while bytes <= DISCARDED_BYTES_MAX {
                match body.frame().await {
                    None => return Read::ToItsEnd,
                    Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                    Some(Err(_)) => break,
                }
            }
            Read::InPart
        };
        tokio::time::timeout(DISCARDED_TIMEOUT, all).await.unwrap_or(Read::InPart)
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for LentBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if matches!(frame, Some(Err(_))) {
            self.is_broken.store(true, Ordering::Relaxed);
        }
        if !matches!(frame, Some(Ok(_))) {
            // It ended, or broke off: nothing more will come.
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl<B: HttpBody> Drop for LentBody<B> {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.back.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;

    async fn left_of(body: impl HttpBody<Data = Bytes> + Unpin, headers: &[(&str, &str)]) -> Read {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let (lent, left) = lend(body, &headers);
        drop(lent);
        left.discard(StatusCode::UNAUTHORIZED).await
    }

    fn chunks(count: usize) -> impl HttpBody<Data = Bytes, Error = std::io::Error> + Unpin {
        let chunk = Bytes::from(vec![b'x'; 1024 * 1024]);
        StreamBody::new(tokio_stream::iter((0..count).map(move |_| Ok(Frame::data(chunk.clone())))))
    }

    #[tokio::test]
    async fn small_rest_of_a_body_is_discarded_and_the_connection_kept() {
        assert_eq!(left_of(Full::from("a body"), &[]).await, Read::ToItsEnd);
        assert_eq!(left_of(chunks(16), &[]).await, Read::ToItsEnd);
    }

    #[tokio::test]
    async fn large_rest_of_a_body_is_not_discarded() {
        assert_eq!(left_of(chunks(18), &[]).await, Read::InPart);
        let long = Full::from(vec![b'x'; DISCARDED_BYTES_MAX as usize + 1]);
        assert_eq!(left_of(long, &[]).await, Read::InPart);
    }

    #[tokio::test(start_paused = true)]
    async fn late_rest_of_a_body_is_awaited_briefly() {
        let never = StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
        let begin = tokio::time::Instant::now();
        assert_eq!(left_of(never, &[]).await, Read::InPart);
        assert_eq!(begin.elapsed(), DISCARDED_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_expects_100_continue_gets_none() {
        let never = StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
        let begin = tokio::time::Instant::now();
        assert_eq!(left_of(never, &[("expect", "100-continue")]).await, Read::InPart);
        assert!(begin.elapsed().is_zero());
    }

    #[tokio::test]
    async fn partly_read_body_leaves_a_rest_and_fully_read_body_leaves_nothing() {
        let (lent, left) = lend(chunks(3), &HeaderMap::new());
        lent.collect().await.unwrap();
        assert_eq!(left.discard(StatusCode::OK).await, Read::ToItsEnd);
        let (mut lent, left) = lend(chunks(3), &HeaderMap::new());
        lent.frame().await.unwrap().unwrap();
        drop(lent);
        assert!(left.left.lock().unwrap().is_some());
        assert_eq!(left.discard(StatusCode::OK).await, Read::ToItsEnd);
    }

    #[tokio::test]
    async fn interrupted_body_ends_its_connection() {
        let broken = tokio_stream::once(Err::<Frame<Bytes>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        let (lent, left) = lend(StreamBody::new(broken), &HeaderMap::new());
        lent.collect().await.unwrap_err();
        assert!(left.left.lock().unwrap().is_none());
        assert_eq!(left.discard(StatusCode::OK).await, Read::InPart);
    }
}
