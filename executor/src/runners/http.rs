//! The runner `http`: makes one request, follows a few redirects, and takes the answer for its result.
//!
//! Where requests may go is `egress.rs`; how connections are pooled is `destinations.rs`.

mod answer;
mod request;

use std::time::Duration;

use ensue_engine::catalog::HttpRequest;
use ensue_engine::executions::facts::FailureKind;
use reqwest::StatusCode;

use crate::attempt::{Attempt, Broken, Ending, failed};
use crate::destinations::DestinationError;
use crate::runners::Runner;
use request::Request;

/// How long the exchange may take, redirects and all.
pub(crate) const HTTP_TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes that are taken of an answer.
pub(crate) const HTTP_ANSWER_BYTES_MAX: usize = 10 << 20;
/// How many redirects are followed.
pub(crate) const HTTP_HOPS_MAX: usize = 5;

impl Runner for HttpRequest {
    async fn run(&self, attempt: &Attempt<'_>) -> Ending {
        let request = Request::rendered(self, attempt).await?;
        let clock = &attempt.worker.ports.clock;
        let patience = attempt.worker.settings.http_timeout;
        attempt
            .within(async {
                tokio::select! {
                    biased;
                    ending = exchange(attempt, request) => ending,
                    () = clock.until(clock.now().saturating_add(patience)) => {
                        let message = format!("the whole answer did not come within {} seconds", patience.as_secs_f64());
                        Err(failed(FailureKind::Timeout, message))
                    }
                }
            })
            .await
    }
}

async fn exchange(attempt: &Attempt<'_>, mut request: Request) -> Ending {
    for _ in 0..=HTTP_HOPS_MAX {
        let client = attempt.worker.destinations.client(&request.url).await;
        let client = client.map_err(|error| unreachable(&request, &error))?;
        attempt.begin().await?;
        let answer = client.execute(request.to_send()).await;
        let answer = answer.map_err(|error| broken_off(&request, error))?;
        match request.redirected(answer.status(), answer.headers())? {
            Some(next) => request = next,
            None => return answer::taken(attempt, &request, answer).await,
        }
    }
    let message = format!("more than {HTTP_HOPS_MAX} redirects were answered");
    Err(failed(FailureKind::EgressDenied, message))
}

fn unreachable(request: &Request, error: &DestinationError) -> Broken {
    let kind = match error {
        DestinationError::Denied => FailureKind::EgressDenied,
        DestinationError::NoAddress(_) | DestinationError::NoTrust(_) | DestinationError::NoClient(_) => FailureKind::Network,
    };
    failed(kind, format!("{} {error}", request.server()))
}

/// Tells why an exchange broke off, without the URL, which may hold a secret.
fn broken_off(request: &Request, error: reqwest::Error) -> Broken {
    let error = error.without_url();
    let mut message = format!("{}: {error}", request.server());
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        message.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    failed(FailureKind::Network, message)
}

/// Says whether a status is an error of either side.
fn is_failure(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}
