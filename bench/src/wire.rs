//! A lean HTTP/1.1 client: one persistent connection, one request at a time.
//!
//! It parses only as much as needed to measure a node on the same two cores without distorting the results;
//! it is not a general client.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most bytes of an answer's body.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long an answer may take. A measurement whose node is silent fails, and does not wait forever.
const ANSWER_MAX: Duration = Duration::from_secs(5 * 60);

/// A connection to a node.
pub(crate) struct HttpConnection {
    address: SocketAddr,
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer, valid until the next request.
pub(crate) struct Reply<'c> {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: &'c [u8],
}

impl HttpConnection {
    /// Opens a connection.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { address, stream: connect(address).await?, read: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a request without a body, and reconnects if the node has closed an idle connection.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        if self.is_closed()? {
            self.stream = connect(self.address).await?;
        }
        self.exchange(request).await
    }

    /// Returns true if the other side has closed the connection; nothing else can arrive between two
    /// requests.
    fn is_closed(&self) -> io::Result<bool> {
        match self.stream.try_read(&mut [0]) {
            Ok(read) => Ok(read == 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a whole request and reads the whole answer.
    ///
    /// # Errors
    /// If the connection breaks off, or the answer takes more than [`ANSWER_MAX`].
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        match tokio::time::timeout(ANSWER_MAX, self.exchange_unbounded(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("the node did not answer within {ANSWER_MAX:?}"))),
        }
    }

    async fn exchange_unbounded(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        self.stream.write_all(request).await?;
        self.read.clear();
        let head_end = loop {
            let before = self.read.len();
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let from = before.saturating_sub(3);
            if let Some(at) = self.read[from..].windows(4).position(|window| window == b"\r\n\r\n") {
                break from + at + 4;
            }
            if self.read.len() > HEAD_BYTES_MAX {
                return Err(invalid_data("the answer's head is too long"));
            }
        };
        let (status, length) = head(&self.read[..head_end])?;
        let end = head_end + length;
        while self.read.len() < end {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Reply { status, body: &self.read[head_end..end] })
    }
}

/// Sends `count` requests over this many connections, as fast as answers arrive; `request` returns the n-th,
/// counted from 0. Fails if one is not accepted.
pub(crate) async fn send_all(
    node: SocketAddr,
    connections: u64,
    count: u64,
    request: impl Fn(u64) -> Vec<u8> + Clone + Send + 'static,
) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    for first in 0..connections {
        let (request, mut connection) = (request.clone(), HttpConnection::open(node).await?);
        let mine = (first..count).step_by(usize::try_from(connections).unwrap_or(usize::MAX));
        tasks.spawn(async move {
            for number in mine {
                let reply = connection.exchange(&request(number)).await?;
                if reply.status != 202 {
                    let why = String::from_utf8_lossy(reply.body);
                    return Err(io::Error::other(format!("the node answered {}: {why}", reply.status)));
                }
            }
            Ok(())
        });
    }
    while let Some(sent) = tasks.join_next().await {
        sent.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Parses the status and the length of the body.
fn head(head: &[u8]) -> io::Result<(u16, usize)> {
    let text = std::str::from_utf8(head).map_err(|_| invalid_data("the answer's head is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok()).ok_or_else(|| invalid_data("the answer has no status"))?;
    let length = lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match length.map(|(_, value)| value.trim().parse::<usize>()) {
        Some(Ok(length)) if length <= BODY_BYTES_MAX => Ok((status, length)),
        Some(Ok(_)) => Err(invalid_data("the answer's body is too long")),
        Some(Err(_)) | None => Err(invalid_data("the answer does not say how long it is")),
    }
}

fn invalid_data(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Returns a request without a body.
pub(crate) fn get(host: SocketAddr, path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\naccept: application/json\r\n\r\n").into_bytes()
}

/// Returns a request with a JSON document.
pub(crate) fn post(host: SocketAddr, path: &str, token: &str, body: &str) -> Vec<u8> {
    post_request(host, path, token, "", body)
}

/// Returns a request with a JSON document that is answered once the work it starts has ended, or after `wait`
/// at most.
pub(crate) fn post_and_wait(host: SocketAddr, path: &str, token: &str, body: &str, wait: Duration) -> Vec<u8> {
    post_request(host, path, token, &format!("prefer: wait={}\r\n", wait.as_secs()), body)
}

fn post_request(host: SocketAddr, path: &str, token: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n{headers}content-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connection_closed_by_the_other_side_is_reopened() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connection = HttpConnection::open(address).await.unwrap();
        drop(listener.accept().await.unwrap());
        connection.stream.readable().await.unwrap();
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        });
        assert_eq!(connection.ask(&get(address, "/readyz", "")).await.unwrap().status, 200);
        answering.await.unwrap();
    }

    #[test]
    fn response_head_has_status_and_length() {
        assert_eq!(head(b"HTTP/1.1 202 Accepted\r\nContent-Length: 17\r\n\r\n").unwrap(), (202, 17));
        assert!(head(b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(head(b"nothing\r\n\r\n").is_err());
    }
}
