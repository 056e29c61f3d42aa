//! The server that the scenario `http` calls: it answers every request with an empty object, and records the
//! arrival time.
//!
//! It parses only heads and lengths.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The received calls, by the last segment of their path: the event's id.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<CallLog>>);

#[derive(Default)]
struct CallLog {
    came: HashMap<[u8; 36], Instant>,
    awaited: HashMap<[u8; 36], oneshot::Sender<()>>,
}

impl Calls {
    /// Returns when the call of an event arrived.
    pub(crate) fn came(&self, event: &[u8; 36]) -> Option<Instant> {
        self.lock().came.get(event).copied()
    }

    /// Returns once the call of an event has arrived, or after [`CALL_TIMEOUT`].
    pub(crate) async fn wait_for(&self, event: [u8; 36]) {
        let came = {
            let mut noted = self.lock();
            if noted.came.contains_key(&event) {
                return;
            }
            let (tell, told) = oneshot::channel();
            noted.awaited.insert(event, tell);
            told
        };
        // A call that never arrives is missing from the figures.
        let _ = tokio::time::timeout(CALL_TIMEOUT, came).await;
    }

    /// Removes all calls.
    pub(crate) fn clear(&self) {
        *self.lock() = CallLog::default();
    }

    fn note(&self, event: [u8; 36], at: Instant) {
        let mut noted = self.lock();
        noted.came.entry(event).or_insert(at);
        if let Some(tell) = noted.awaited.remove(&event) {
            // The receiver may have given up.
            let _ = tell.send(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, CallLog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait for a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that records calls.
pub(crate) struct CallTarget {
    /// The address where it listens.
    pub(crate) address: SocketAddr,
    /// The received calls.
    pub(crate) calls: Calls,
}

impl CallTarget {
    /// Starts listening on a free port of the loopback interface.
    pub(crate) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let calls = Calls::default();
        let noted = calls.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, noted.clone()));
            }
        });
        Ok(Self { address, calls })
    }
}

async fn serve(mut stream: TcpStream, calls: Calls) {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    const HEAD_BYTES_MAX: usize = 16 * 1024;
    let _ = stream.set_nodelay(true);
    let mut read = Vec::with_capacity(4 * 1024);
    loop {
        let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) if read.len() > HEAD_BYTES_MAX => return,
                Ok(_) => continue,
            }
        };
        let now = Instant::now();
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        let length = body_length(&head);
        while read.len() < end + 4 + length {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        read.drain(..end + 4 + length);
        if let Some(id) = event_of_call(&head) {
            calls.note(id, now);
        }
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

fn body_length(head: &str) -> usize {
    let lengths = head.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.filter_map(|(_, value)| value.trim().parse().ok()).next().unwrap_or_default()
}

fn event_of_call(head: &str) -> Option<[u8; 36]> {
    let path = head.split(' ').nth(1)?;
    path.rsplit('/').next()?.as_bytes().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_is_identified_by_the_end_of_its_path() {
        let head = "GET /calls/019c0000-0000-7000-8000-000000000001 HTTP/1.1\r\nContent-Length: 3";
        assert_eq!(event_of_call(head).as_ref().map(|id| &id[..4]), Some(&b"019c"[..]));
        assert_eq!(body_length(head), 3);
    }
}
