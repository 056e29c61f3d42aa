//! The API's request metrics: the statuses of answers, and how long they took.
//!
//! Requests are distinguished only by kind, because paths come from outside.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use ensue_engine::names::Names;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use super::distribution::{Distribution, LabelledMetrics, SHORT, Unit};

/// The classes of status codes.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The statuses of denied requests: without a valid token or signature, and without the permission.
const DENIED: [StatusCode; 2] = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub(crate) enum Kind {
    /// A delivery at a hook.
    Delivery,
    /// A request that reads.
    Read,
    /// A request that writes.
    Write,
}

impl Kind {
    /// Returns a request's kind by its method and path.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        match method {
            _ if path.starts_with("/hooks/") => Self::Delivery,
            method if method.is_safe() => Self::Read,
            _ => Self::Write,
        }
    }
}

/// The metrics of requests.
#[derive(Debug)]
pub(crate) struct Requests {
    answered: [AtomicU64; CLASSES.len()],
    denied: [AtomicU64; DENIED.len()],
    took: [Distribution; Kind::ALL.len()],
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            answered: Default::default(),
            denied: Default::default(),
            took: std::array::from_fn(|_| Distribution::new(Unit::Seconds, SHORT)),
        }
    }
}

impl Requests {
    /// Counts an answered request.
    pub(crate) fn note(&self, kind: Kind, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.answered[class].fetch_add(1, Ordering::Relaxed);
        if let Some(denied) = DENIED.iter().position(|denied| *denied == status) {
            self.denied[denied].fetch_add(1, Ordering::Relaxed);
        }
        self.took[kind as usize].took(took);
    }

    /// Registers the metrics.
    pub(super) fn register(&self, registry: &mut Registry) {
        let answered = CLASSES.into_iter().zip(self.answered.iter().map(|count| ConstCounter::new(count.load(Ordering::Relaxed))));
        registry.register("requests", "The requests answered since the start", LabelledMetrics::new("status", answered));
        let denied =
            DENIED.iter().zip(&self.denied).map(|(status, count)| (status.as_str(), ConstCounter::new(count.load(Ordering::Relaxed))));
        let help = "The calls denied since the start: without a valid token or signature, or without the permission";
        registry.register("requests_denied", help, LabelledMetrics::new("status", denied));
        let took = Kind::ALL.into_iter().map(Kind::as_str).zip(self.took.iter().cloned());
        let help = "The time from a request's head to the start of its answer";
        registry.register("request_seconds", help, LabelledMetrics::new("kind", took));
    }
}
