//! Sends spans to the collector: every second, and sooner if there are many.
//!
//! An unreachable collector only costs spans: they are retried a few times, then dropped and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ensue_engine::ids::LogId;
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, StatusCode};
use rustls::ClientConfig;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::otlp;
use super::settings::{Collector, TraceSettings};
use super::span::Span;
use super::waiting_spans::WaitingSpans;

/// How long spans wait to be sent together with others.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// How many times the same spans are tried.
const TRIES_MAX: u32 = 3;
/// The wait before the second try; before the third it is twice as long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The longest time that a collector may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time for sending the last spans while the node stops.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Why no spans can be sent.
#[derive(Debug, Error)]
pub(crate) enum ExporterError {
    /// There is no HTTP client.
    #[error("the HTTP client cannot be created: {0}")]
    NoClient(#[from] reqwest::Error),
    /// There is no TLS.
    #[error("no TLS can be set up: {0}")]
    NoTls(#[from] rustls::Error),
}

/// Sends spans until it is stopped.
pub(crate) struct Exporter {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts to send waiting spans to the collector.
    pub(crate) fn start(
        collector: Collector,
        settings: &TraceSettings,
        log: LogId,
        waiting: Arc<WaitingSpans>,
    ) -> Result<Self, ExporterError> {
        let mut client = Client::builder();
        if collector.url().scheme() == "http" {
            // The machine's trusted certificates are not loaded: that takes milliseconds, and they need not
            // exist.
            client = client.tls_backend_preconfigured(untrusting()?);
        }
        let client = client
            .user_agent(concat!("ensue/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .timeout(ANSWER_TIMEOUT)
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let (headers, resource) = (settings.headers.clone(), otlp::resource(log, &settings.resource));
        let sending = Sending { client, collector, headers, resource, waiting, stopped, is_heard: true };
        Ok(Self { stop, task: tokio::spawn(sending.run()) })
    }

    /// Sends the spans that still wait, for a limited time.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_PATIENCE, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the last spans of traces were not sent: the collector does not answer");
        }
    }
}

fn untrusting() -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

struct Sending {
    client: Client,
    collector: Collector,
    headers: HeaderMap,
    resource: Vec<(String, String)>,
    waiting: Arc<WaitingSpans>,
    stopped: watch::Receiver<bool>,
    /// Whether the last spans were all accepted: a failure is reported only once.
    is_heard: bool,
}

/// Why spans were not accepted.
enum NotTaken {
    /// They may be accepted another time.
    Now(String),
    /// They will never be accepted.
    Ever(String),
}

impl Sending {
    async fn run(mut self) {
        loop {
            let is_last = self.is_stopping();
            loop {
                let batch = self.waiting.next();
                if batch.is_empty() {
                    break;
                }
                let spans: Vec<&Span> = batch.iter().map(|(span, _)| span).collect();
                self.send(&spans).await;
            }
            if is_last {
                return;
            }
            let mut stopped = self.stopped.clone();
            tokio::select! {
                () = tokio::time::sleep(SEND_EVERY) => {}
                () = self.waiting.enough() => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        }
    }

    fn is_stopping(&self) -> bool {
        // If the sender is gone without an orderly stop, its owner is gone too.
        *self.stopped.borrow() || self.stopped.has_changed().is_err()
    }

    async fn send(&mut self, spans: &[&Span]) {
        let many = spans.len() as u64;
        let body = match otlp::encode_export(&self.resource, spans.iter().copied()) {
            Ok(body) => bytes::Bytes::from(body),
            Err(error) => return self.note_dropped(many, &error.to_string()),
        };
        let mut pause = AGAIN_AFTER;
        for tried in 1.. {
            match self.try_once(body.clone()).await {
                Ok(rejected) => {
                    let rejected = rejected.min(many);
                    self.waiting.counts().sent.fetch_add(many - rejected, Ordering::Relaxed);
                    return if rejected > 0 { self.note_dropped(rejected, "it accepted only some of them") } else { self.note_accepted() };
                }
                // While none are accepted, later spans do not wait for retries of each.
                Err(NotTaken::Now(_)) if tried < TRIES_MAX && self.is_heard && !self.is_stopping() => {}
                Err(NotTaken::Now(why) | NotTaken::Ever(why)) => return self.note_dropped(many, &why),
            }
            let mut stopped = self.stopped.clone();
            let _ = tokio::time::timeout(pause, stopped.wait_for(|stopped| *stopped)).await;
            pause *= 2;
        }
    }

    /// Returns how many of the spans the collector rejected.
    async fn try_once(&self, body: bytes::Bytes) -> Result<u64, NotTaken> {
        let mut headers = self.headers.clone();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        let request = self.client.post(self.collector.url().clone()).headers(headers).body(body);
        // The chain of causes says what happened; the address is the operator's own.
        let response = request.send().await.map_err(|error| NotTaken::Now(causes(&error)))?;
        let status = response.status();
        if status.is_success() {
            let is_short = response.content_length().is_some_and(|bytes| bytes <= ANSWER_BYTES_MAX);
            let answer = if is_short { response.bytes().await.unwrap_or_default() } else { bytes::Bytes::new() };
            return Ok(otlp::count_rejected(&answer));
        }
        let why = format!("it answered {status}");
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Err(NotTaken::Now(why))
            }
            _ => Err(NotTaken::Ever(why)),
        }
    }

    fn note_accepted(&mut self) {
        if !std::mem::replace(&mut self.is_heard, true) {
            tracing::info!(collector = %self.collector, "the collector of traces accepts spans again");
        }
    }

    fn note_dropped(&mut self, many: u64, why: &str) {
        self.waiting.counts().dropped.fetch_add(many, Ordering::Relaxed);
        if std::mem::replace(&mut self.is_heard, false) {
            tracing::warn!(collector = %self.collector, why, "spans of traces are dropped; `ensue_spans_total` counts them");
        }
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut causes = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        causes = format!("{causes}: {cause}");
        next = cause.source();
    }
    causes
}
