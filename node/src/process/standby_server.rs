//! The answers of a node that waits for its log, on the socket that it serves on afterward.
//!
//! The socket is bound once: a caller that connects while the node takes over waits for a moment, and is not refused.

use ensue_api::standby;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::start_error::{StartError, machine};

/// The address that a node listens on before it has its log. The answers end when it is dropped.
pub(super) struct StandbyServer {
    listener: std::net::TcpListener,
    answering: JoinHandle<()>,
}

impl StandbyServer {
    /// Listens, and answers what the node waits for. A node that serves TLS does not listen before it has the log.
    pub(super) async fn begin(config: &Config, waits_for: watch::Receiver<Option<String>>) -> Result<Option<Self>, StartError> {
        if config.tls.is_set() {
            return Ok(None);
        }
        let cannot = |why: std::io::Error| machine(&format!("listening on {}", config.listen), &why);
        let answers = TcpListener::bind(config.listen).await.map_err(cannot)?;
        let answers = answers.into_std().map_err(cannot)?;
        let listener = answers.try_clone().map_err(cannot)?;
        let answers = TcpListener::from_std(answers).map_err(cannot)?;
        let answering = tokio::spawn(async move {
            if let Err(error) = standby::serve(answers, waits_for).await {
                tracing::warn!(%error, "the node cannot answer while it waits for its log");
            }
        });
        Ok(Some(Self { listener, answering }))
    }

    /// Ends the answers, and returns the socket. Connections that come from now on wait until somebody accepts them.
    pub(super) async fn end(mut self) -> std::io::Result<TcpListener> {
        self.answering.abort();
        let _ = (&mut self.answering).await;
        TcpListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for StandbyServer {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    const REQUEST: &[u8] = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n";

    fn config(address: &str) -> Config {
        Config { listen: address.parse().unwrap(), ..Config::new("data".into()) }
    }

    #[tokio::test]
    async fn node_that_takes_over_never_stops_to_listen() {
        let (_tell, waits_for) = watch::channel(Some("another node leads the log: a".to_owned()));
        let waiting = StandbyServer::begin(&config("127.0.0.1:0"), waits_for).await.unwrap().unwrap();
        let address = waiting.listener.local_addr().unwrap();
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(REQUEST).await.unwrap();
        let mut answer = String::new();
        // The connection is closed, or its next request would be answered as if the node still waited.
        caller.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let listener = waiting.end().await.unwrap();
        let mut meanwhile = TcpStream::connect(address).await.unwrap();
        meanwhile.write_all(REQUEST).await.unwrap();
        let (mut served, _) = listener.accept().await.unwrap();
        let mut request = vec![0; REQUEST.len()];
        served.read_exact(&mut request).await.unwrap();
        assert_eq!(request, REQUEST);
    }

    #[tokio::test]
    async fn start_that_fails_frees_the_address() {
        let (_tell, waits_for) = watch::channel(None);
        let waiting = StandbyServer::begin(&config("127.0.0.1:0"), waits_for.clone()).await.unwrap().unwrap();
        let address = waiting.listener.local_addr().unwrap();
        drop(waiting);
        let again = || async { StandbyServer::begin(&config(&address.to_string()), waits_for.clone()).await };
        // The task ends at its next turn.
        while again().await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
