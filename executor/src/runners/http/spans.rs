//! The spans of an attempt's requests: one for each request sent, redirects included, under the attempt's
//! span.
//!
//! If nobody exports spans, or nobody records the trace, there are none.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ensue_engine::executions::facts::FailureKind;
use ensue_engine::trace::{SpanId, TraceContext};
use reqwest::StatusCode;

use super::request::Request;
use crate::attempt::{AttemptContext, AttemptError, Cut, Ending};
use crate::ports::{RequestSpans, SentRequest};
use crate::settings::TraceNesting;

/// The maximum number of characters of a URL that a span shows.
const URL_CHARS_MAX: usize = 256;

/// The spans of one attempt's requests.
pub(super) struct Spans<'a> {
    attempt: &'a AttemptContext<'a>,
    /// Where they are sent, and the attempt's own span; none if there are no spans.
    to: Option<(&'a dyn RequestSpans, TraceContext)>,
    open: Mutex<OpenRequest>,
}

/// The request in progress.
#[derive(Default)]
struct OpenRequest {
    request: Option<SentRequest>,
    begun: u32,
}

impl<'a> Spans<'a> {
    pub(super) fn new(attempt: &'a AttemptContext<'a>) -> Self {
        let is_under_attempt = attempt.means.settings.traced == TraceNesting::UnderAttempt;
        let to = attempt.means.ports.spans.as_deref().zip(attempt.trace());
        let to = to.filter(|(_, trace)| is_under_attempt && trace.parent.is_sampled());
        Self { attempt, to, open: Mutex::default() }
    }

    /// Begins the span of a request and makes it the request's parent span. The previous request ended with
    /// its redirect.
    pub(super) fn begin(&self, request: &mut Request) {
        let Some((to, trace)) = &self.to else { return };
        let mut open = self.open();
        let span = trace.parent.under(SpanId::of_request(self.attempt.dispatch.attempt.0, open.begun));
        request.pass_on(&TraceContext { parent: span, state: trace.state.clone() });
        let masks = self.attempt.keys.masks();
        let now = self.attempt.now();
        let next = SentRequest {
            span,
            parent: trace.parent.span(),
            method: request.method_shown(),
            url: cut(&request.url_shown(masks.as_deref())).to_owned(),
            server: request.server_shown(masks.as_deref()),
            status: None,
            error: None,
            redirects: open.begun,
            from: now,
            until: now,
        };
        open.begun = open.begun.saturating_add(1);
        if let Some(before) = open.request.replace(next) {
            to.note_request(SentRequest { until: now, ..before });
        }
    }

    /// Sets the status of the request in progress.
    pub(super) fn note_status(&self, status: StatusCode) {
        if let Some(request) = &mut self.open().request {
            request.status = Some(status.as_u16());
        }
    }

    /// Ends the span of the request in progress, however it ended.
    pub(super) fn end(&self, ending: &Ending) {
        let (Some((to, _)), Some(request)) = (&self.to, self.open().request.take()) else { return };
        to.note_request(SentRequest { until: self.attempt.now(), error: error_of(ending), ..request });
    }

    fn open(&self) -> MutexGuard<'_, OpenRequest> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns why a request failed. An answer that cannot be used as a result is not an error of the request.
fn error_of(ending: &Ending) -> Option<&'static str> {
    let kind = match ending {
        Ok(_) => return None,
        Err(AttemptError::Failed(failed)) => failed.failure.kind,
        Err(AttemptError::Cut(Cut::TimedOut, _)) => FailureKind::Timeout,
        Err(AttemptError::Cut(Cut::Cancelled | Cut::Released | Cut::Left, _)) => FailureKind::Cancelled,
        Err(AttemptError::Lost(_)) => FailureKind::Network,
    };
    let is_of_request = matches!(
        kind,
        FailureKind::Network
            | FailureKind::Timeout
            | FailureKind::Cancelled
            | FailureKind::EgressDenied
            | FailureKind::RedirectInvalid
            | FailureKind::TooManyRedirects
            | FailureKind::OutputLimit
    );
    is_of_request.then(|| kind.as_str())
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(URL_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}
