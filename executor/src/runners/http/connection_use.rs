//! Requests over a connection: their credentials, and what their outcome says about the server.

use std::sync::Arc;

use ensue_engine::executions::facts::{Failure, FailureKind};
use reqwest::StatusCode;

use super::request::Request;
use crate::attempt::{AttemptContext, AttemptError, Cut, Ending, attempt_failure};
use crate::connections::{Connection, ConnectionErrorKind, LentConnection, NoCredentials, UseOutcome};
use crate::runners::lending;

/// Waits for a connection, and adds its credentials to a request.
pub(super) async fn lend_with_credentials(
    attempt: &AttemptContext<'_>,
    connection: &Arc<Connection>,
    request: &mut Request,
) -> Result<LentConnection, AttemptError> {
    attempt
        .within(async {
            let lent = lending::lend(attempt, connection).await?;
            let credentials = match lent.credentials().await {
                Ok(credentials) => credentials,
                Err(NoCredentials::NotLent(why)) => return Err(lending::lending_failure(&why)),
                Err(NoCredentials::NoToken(why)) => {
                    let (kind, message) = (why.kind, why.to_string());
                    lent.finish(&used_of(kind, message.clone()));
                    return Err(attempt_failure(kind_of(kind), message));
                }
            };
            if let Some((key, secret)) = credentials.iter().find_map(|credentials| credentials.derived.as_ref()) {
                attempt.keys.note([(key, secret)]);
            }
            if let Some(http) = lent.http() {
                request.connect(http, credentials)?;
            }
            Ok(lent)
        })
        .await
}

/// Notes what the end of a request says about the server.
pub(super) async fn note_outcome(lent: LentConnection, ending: &Ending) {
    let used = match ending {
        Ok(_) => UseOutcome::Well,
        Err(AttemptError::Failed(failed)) => match of_failure(&failed.failure) {
            Some(used) => used,
            None => return,
        },
        Err(AttemptError::Cut(Cut::TimedOut, _)) => UseOutcome::Fault(ConnectionErrorKind::Timeout, "the attempt timed out".to_owned()),
        // Nothing is known about the server.
        Err(AttemptError::Cut(Cut::Cancelled | Cut::Released | Cut::Left, _) | AttemptError::Lost(_)) => return,
    };
    if matches!(used, UseOutcome::Rejected(ConnectionErrorKind::Auth, _)) {
        lent.forget_token().await;
    }
    lent.finish(&used);
}

fn of_failure(failure: &Failure) -> Option<UseOutcome> {
    Some(match failure.kind {
        FailureKind::HttpStatus => {
            let status = failure.detail.and_then(|status| u16::try_from(status).ok()).and_then(|status| StatusCode::from_u16(status).ok());
            UseOutcome::of_status(status?)
        }
        // The server answered.
        FailureKind::AnswerUnreadable | FailureKind::ResultInvalid | FailureKind::Output | FailureKind::OutputLimit => UseOutcome::Well,
        FailureKind::RedirectInvalid | FailureKind::TooManyRedirects => {
            UseOutcome::Rejected(ConnectionErrorKind::Protocol, failure.message.clone())
        }
        _ => return lending::outcome_of_failure(failure),
    })
}

fn used_of(kind: ConnectionErrorKind, message: String) -> UseOutcome {
    match kind {
        ConnectionErrorKind::Connect | ConnectionErrorKind::Timeout | ConnectionErrorKind::Server => UseOutcome::Fault(kind, message),
        _ => UseOutcome::Rejected(kind, message),
    }
}

/// Returns the kind of failure of an attempt whose connection has no token. Only what may be different later is retried.
fn kind_of(kind: ConnectionErrorKind) -> FailureKind {
    match kind {
        ConnectionErrorKind::Connect | ConnectionErrorKind::Tls | ConnectionErrorKind::Server | ConnectionErrorKind::Protocol => {
            FailureKind::Network
        }
        ConnectionErrorKind::Timeout => FailureKind::Timeout,
        ConnectionErrorKind::EgressDenied => FailureKind::EgressDenied,
        ConnectionErrorKind::Auth | ConnectionErrorKind::Rejected | ConnectionErrorKind::KeyMissing => FailureKind::KeyMissing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_that_are_not_followed_count_against_the_server_and_unreadable_bodies_do_not() {
        for kind in [FailureKind::RedirectInvalid, FailureKind::TooManyRedirects] {
            let used = of_failure(&Failure::new(kind, "it redirected"));
            assert!(matches!(used, Some(UseOutcome::Rejected(ConnectionErrorKind::Protocol, why)) if why == "it redirected"), "{kind:?}");
        }
        for kind in [FailureKind::AnswerUnreadable, FailureKind::OutputLimit] {
            assert!(matches!(of_failure(&Failure::new(kind, "")), Some(UseOutcome::Well)), "{kind:?}");
        }
    }
}
