//! Requests to stores of keys that are servers, under the rules of `egress.allow`.

use std::sync::Arc;
use std::time::Duration;

use ensue_executor::web::{BrokenOff, Letter, Web};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::runtime::Handle;

use super::ProviderError;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The maximum size of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Asks servers from threads that may block.
#[derive(Clone)]
pub(super) struct Exchange {
    web: Arc<dyn Web>,
    runtime: Handle,
}

/// An answer of a server.
pub(super) struct ServerAnswer {
    pub(super) status: StatusCode,
    /// The body; empty if it is not JSON.
    pub(super) body: Value,
    /// The body as it came.
    pub(super) bytes: Vec<u8>,
}

impl Exchange {
    pub(super) fn new(web: Arc<dyn Web>, runtime: Handle) -> Self {
        Self { web, runtime }
    }

    /// Sends a request, and returns its answer. Blocking.
    pub(super) fn send(&self, letter: Letter) -> Result<ServerAnswer, ProviderError> {
        let asked = async { tokio::time::timeout(ANSWER_WITHIN, self.exchange(letter)).await };
        // On a thread of its own, so that the caller may be on a thread of the runtime.
        let answered = std::thread::scope(|scope| scope.spawn(|| self.runtime.block_on(asked)).join());
        match answered {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Err(ProviderError("the server did not answer in time".to_owned())),
            Err(_) => Err(ProviderError("asking the server stopped at an internal error".to_owned())),
        }
    }

    async fn exchange(&self, letter: Letter) -> Result<ServerAnswer, ProviderError> {
        let way = self.web.way(&letter.url).await.map_err(|error| ProviderError(format!("the server {error}")))?;
        let broken = |error: BrokenOff| ProviderError(format!("the exchange broke off: {error}"));
        let mut answered = way.send(letter).await.map_err(broken)?;
        let mut bytes = Vec::new();
        while let Some(piece) = answered.body.piece().await.map_err(broken)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(ProviderError(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        Ok(ServerAnswer { status: answered.status, body: serde_json::from_slice(&bytes).unwrap_or_default(), bytes })
    }
}

/// A server that checks each request, in order.
#[cfg(test)]
pub(super) mod fake {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use bytes::Bytes;
    use ensue_executor::programs::Pending;
    use ensue_executor::web::{AnsweredBody, HttpAnswer, HttpTransport, NoWay};
    use reqwest::header::HeaderMap;
    use reqwest::{Method, Url};
    use tokio::runtime::Runtime;

    use super::*;

    /// A request as the server saw it.
    pub(in super::super) struct SeenRequest {
        pub(in super::super) method: Method,
        pub(in super::super) url: Url,
        pub(in super::super) body: Value,
        headers: HeaderMap,
    }

    impl SeenRequest {
        pub(in super::super) fn header(&self, name: &str) -> Option<&str> {
            self.headers.get(name).map(|value| value.to_str().unwrap())
        }
    }

    /// Checks a request, and returns the status and the body of the answer. A text is sent as it is.
    type RequestCheck = Box<dyn FnOnce(&SeenRequest) -> (u16, Value) + Send>;

    #[derive(Clone, Default)]
    struct Queue(Arc<Mutex<VecDeque<RequestCheck>>>);

    pub(in super::super) struct FakeServer {
        queue: Queue,
        runtime: Runtime,
    }

    impl FakeServer {
        pub(in super::super) fn start() -> Self {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
            Self { queue: Queue::default(), runtime }
        }

        /// Expects another request, after those that are expected already.
        pub(in super::super) fn expect(&self, check: impl FnOnce(&SeenRequest) -> (u16, Value) + Send + 'static) {
            self.queue.0.lock().unwrap().push_back(Box::new(check));
        }

        pub(in super::super) fn exchange(&self) -> Exchange {
            Exchange::new(Arc::new(self.queue.clone()), self.runtime.handle().clone())
        }

        /// Checks that all expected requests came.
        pub(in super::super) fn is_done(&self) {
            assert!(self.queue.0.lock().unwrap().is_empty(), "requests are missing");
        }
    }

    struct FakeBody(Option<Bytes>);

    impl AnsweredBody for FakeBody {
        fn piece(&mut self) -> Pending<'_, Result<Option<Bytes>, BrokenOff>> {
            Box::pin(async move { Ok(self.0.take()) })
        }
    }

    impl Web for Queue {
        fn way<'a>(&'a self, _: &'a Url) -> Pending<'a, Result<Box<dyn HttpTransport>, NoWay>> {
            Box::pin(async move { Ok(Box::new(self.clone()) as Box<dyn HttpTransport>) })
        }
    }

    impl HttpTransport for Queue {
        fn send(&self, letter: Letter) -> Pending<'_, Result<HttpAnswer, BrokenOff>> {
            let expected = self.0.lock().unwrap().pop_front().expect("no request is expected");
            let body = letter.body.map_or(Value::Null, |body| serde_json::from_slice(&body).unwrap());
            let (status, body) = expected(&SeenRequest { method: letter.method, url: letter.url, headers: letter.headers, body });
            let body = if let Value::String(text) = body { text } else { body.to_string() };
            let answered = HttpAnswer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Box::new(FakeBody(Some(body.into()))),
            };
            Box::pin(async move { Ok(answered) })
        }
    }
}
