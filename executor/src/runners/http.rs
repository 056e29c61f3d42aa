//! The runner `http`: sends one request, follows a few redirects, and returns the answer as its result.
//!
//! Requests are sent through `web.rs`. Where they may go is in `egress.rs`, and how connections are pooled in
//! `destinations.rs`.

mod answer;
mod artifact;
mod body;
mod connection_use;
mod request;
mod retry_after;
mod spans;

use ensue_engine::catalog::HttpRequest;
use ensue_engine::executions::facts::FailureKind;
use reqwest::StatusCode;

use crate::attempt::{AttemptContext, AttemptError, Ending, attempt_failure};
use crate::connections::LentConnection;
use crate::runners::{Runner, lending};
use crate::web::{BrokenOff, NoWay, Web};
pub(crate) use request::Request;
pub(crate) use retry_after::of as retry_after_of;
use spans::Spans;

/// The maximum number of bytes of an answer.
pub(crate) const HTTP_ANSWER_BYTES_MAX: usize = 10 << 20;
/// The maximum number of redirects that are followed.
pub(crate) const HTTP_HOPS_MAX: usize = 5;

impl Runner for HttpRequest {
    async fn run(&self, attempt: &AttemptContext<'_>) -> Ending {
        let connection = lending::of_attempt(attempt)?;
        let below = connection.as_ref().and_then(|connection| connection.http());
        let mut request = Request::render(self, attempt, below).await?;
        let patience = below.map_or(attempt.means.settings.http_timeout, |http| http.timeout);
        let lent = match &connection {
            Some(connection) => Some(connection_use::lend_with_credentials(attempt, connection, &mut request).await?),
            None => None,
        };
        request.sign(&attempt.dispatch.execution.to_string(), attempt.now())?;
        let clock = &attempt.means.ports.clock;
        let spans = Spans::new(attempt);
        let ending = attempt
            .within(async {
                tokio::select! {
                    biased;
                    ending = exchange(attempt, request, lent.as_ref(), &spans) => ending,
                    () = clock.until(clock.now().saturating_add(patience)) => {
                        let message = format!("the complete answer did not arrive within {} seconds", patience.as_secs_f64());
                        Err(attempt_failure(FailureKind::Timeout, message))
                    }
                }
            })
            .await;
        spans.end(&ending);
        if let Some(lent) = lent {
            connection_use::note_outcome(lent, &ending).await;
        }
        ending
    }
}

async fn exchange(attempt: &AttemptContext<'_>, mut request: Request, lent: Option<&LentConnection>, spans: &Spans<'_>) -> Ending {
    let web: &dyn Web = lent.map_or(&*attempt.means.ports.web, |lent| &lent.pool.web);
    for _ in 0..=HTTP_HOPS_MAX {
        spans.begin(&mut request);
        let way = web.way(&request.url).await;
        let way = way.map_err(|error| unreachable(&request, &error))?;
        attempt.begin().await?;
        let answer = way.send(request.to_send()).await;
        let answer = answer.map_err(|error| broken_off(&request, &error))?;
        spans.note_status(answer.status);
        match request.follow_redirect(answer.status, &answer.headers)? {
            Some(next) => {
                stays_below(&request, &next, lent)?;
                request = next;
            }
            None => return answer::read_answer(attempt, &request, answer).await,
        }
    }
    Err(attempt_failure(FailureKind::TooManyRedirects, too_many_redirects(&request)))
}

/// Describes an exchange that does not end within the redirects that are followed.
pub(crate) fn too_many_redirects(last: &Request) -> String {
    format!("{} redirected again after {HTTP_HOPS_MAX} redirects", last.server())
}

/// Checks that a redirect does not leave the address of a connection, whose credentials are sent along.
pub(crate) fn stays_below(from: &Request, to: &Request, lent: Option<&LentConnection>) -> Result<(), AttemptError> {
    if lent.and_then(LentConnection::http).is_none_or(|http| http.has(to.target())) {
        return Ok(());
    }
    Err(attempt_failure(FailureKind::EgressDenied, format!("{} redirected out of the address of the connection", from.server())))
}

fn unreachable(request: &Request, error: &NoWay) -> AttemptError {
    let kind = match error {
        NoWay::Denied => FailureKind::EgressDenied,
        NoWay::Unreachable(_) => FailureKind::Network,
    };
    attempt_failure(kind, format!("{} {error}", request.server()))
}

fn broken_off(request: &Request, error: &BrokenOff) -> AttemptError {
    attempt_failure(FailureKind::Network, format!("{}: {error}", request.server()))
}

/// Returns true if a status is a client or server error.
fn is_failure(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}
