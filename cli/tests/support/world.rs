//! The outside world: a server, and a folder for programs, that count the effects of actions by the key that
//! identifies equal ones.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that counts every request as an effect, and a folder in which each line of a file is one; the
/// file's name is its key.
pub(crate) struct World {
    address: SocketAddr,
    folder: TempDir,
    effects: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl World {
    /// Starts it on a free port of this machine.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let effects = Arc::new(Mutex::new(BTreeMap::new()));
        let counted = effects.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, counted.clone()));
            }
        });
        Self { address, folder: TempDir::new().unwrap(), effects }
    }

    /// Returns the address it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the number of effects by idempotency key.
    pub(crate) fn effects(&self) -> BTreeMap<String, u64> {
        let mut effects = self.effects.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for entry in std::fs::read_dir(self.folder()).unwrap() {
            let entry = entry.unwrap();
            let lines = std::fs::read_to_string(entry.path()).unwrap().lines().count();
            *effects.entry(entry.file_name().into_string().unwrap()).or_default() += lines as u64;
        }
        effects
    }
}

/// Answers one request after the other. An effect counts once its request is complete.
async fn serve(mut stream: TcpStream, effects: Arc<Mutex<BTreeMap<String, u64>>>) {
    let mut bytes = Vec::new();
    loop {
        let head_end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..head_end]).to_ascii_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        let length: usize = header("content-length:").and_then(|text| text.parse().ok()).unwrap_or(0);
        while bytes.len() < head_end + length {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        if let Some(key) = header("idempotency-key:") {
            *effects.lock().unwrap_or_else(PoisonError::into_inner).entry(key.trim_matches('"').to_owned()).or_default() += 1;
        }
        bytes.drain(..head_end + length);
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
