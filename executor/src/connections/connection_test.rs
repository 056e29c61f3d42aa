//! The test of a connection: one exchange that changes nothing at the server.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::names::ConnectionName;
use reqwest::Method;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::http::{CredentialPlacement, NoCredentials};
use super::settings::{Endpoint, HttpEndpoint};
use super::{ConnectionErrorKind, ConnectionUser, Connections, LentConnection, NotLent, UseOutcome};
use crate::web::{Letter, NoWay, Web as _};

/// The outcome of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionTestOutcome {
    /// What the server said, or why the test failed.
    pub message: String,
    /// The kind of the problem; `None` if the test succeeded.
    pub error: Option<ConnectionErrorKind>,
    /// How long it took.
    pub took: Duration,
}

pub(super) type Problem = (ConnectionErrorKind, String);

impl Connections {
    /// Tests a connection, also while its breaker is open: a success closes it. Returns `None` if there is no connection with
    /// this name.
    pub async fn test(&self, name: &ConnectionName) -> Option<ConnectionTestOutcome> {
        let connection = self.all.get(name)?;
        let begun = self.clock.now();
        let lent = self.lend_for_test(connection).await;
        let done = match lent {
            Ok(lent) => {
                let outcome = self.exchange(&lent).await;
                lent.finish(&match &outcome {
                    Ok(_) => UseOutcome::Well,
                    Err((kind, message)) => match kind {
                        ConnectionErrorKind::Connect | ConnectionErrorKind::Timeout | ConnectionErrorKind::Server => {
                            UseOutcome::Fault(*kind, message.clone())
                        }
                        _ => UseOutcome::Rejected(*kind, message.clone()),
                    },
                });
                outcome
            }
            Err(why) => Err((why.kind(), why.to_string())),
        };
        let took = self.clock.now().saturating_sub(begun);
        Some(match done {
            Ok(message) => ConnectionTestOutcome { message, error: None, took },
            Err((kind, message)) => ConnectionTestOutcome { message, error: Some(kind), took },
        })
    }

    async fn lend_for_test(&self, connection: &Arc<super::Connection>) -> Result<LentConnection, NotLent> {
        let slot = Arc::clone(&connection.slots).acquire_owned().await;
        let slot = slot.map_err(|_| connection.paused_error(Duration::ZERO))?;
        let pool = self.pool(connection, ConnectionUser::Test).await?;
        let pass = connection.changing().breaker.enter_anyway();
        Ok(self.start_use(connection, pool, pass, slot))
    }

    async fn exchange(&self, lent: &LentConnection) -> Result<String, Problem> {
        let timeout = match &lent.connection.settings().endpoint {
            Endpoint::Http(http) => http.timeout,
            Endpoint::Smtp(smtp) => smtp.timeout,
        };
        let exchange = async {
            match &lent.connection.settings().endpoint {
                Endpoint::Http(http) => request(lent, http).await,
                Endpoint::Smtp(smtp) => smtp.greet(&lent.pool).await,
            }
        };
        let (kind, message) = tokio::select! {
            biased;
            outcome = exchange => match outcome {
                Ok(said) => return Ok(lent.pool.mask(&said)),
                Err(problem) => problem,
            },
            () = self.clock.until(self.clock.now().saturating_add(timeout)) => {
                (ConnectionErrorKind::Timeout, format!("no complete answer within {} seconds", timeout.as_secs_f64()))
            }
        };
        Err((kind, lent.pool.mask(&message)))
    }
}

/// Sends a `GET` with the credentials, as far as they are in a header.
async fn request(lent: &LentConnection, http: &HttpEndpoint) -> Result<String, Problem> {
    let url = http.test_url().map_err(|why| (ConnectionErrorKind::Rejected, format!("`test_path` {why}")))?;
    let credentials = lent.credentials().await.map_err(|why| match why {
        NoCredentials::NotLent(why) => (why.kind(), why.to_string()),
        NoCredentials::NoToken(why) => (why.kind, why.to_string()),
    })?;
    let mut headers: HeaderMap = http.headers.clone();
    let note = match credentials.map(|credentials| credentials.proof) {
        Some(CredentialPlacement::Header(header, value)) => {
            headers.insert(header, value);
            ""
        }
        // A request that changes nothing has no body.
        Some(CredentialPlacement::JsonField(..)) => "; the key was not tried, because only a body has it",
        None => "",
    };
    let way = lent.pool.web.way(&url).await.map_err(|why| (kind_of(&why), why.to_string()))?;
    let letter = Letter { method: Method::GET, url, headers, body: None };
    let answered = way.send(letter).await.map_err(|why| (kind_of_broken(&why.0), why.0))?;
    let status = answered.status;
    if status == StatusCode::UNAUTHORIZED {
        lent.forget_token().await;
    }
    match UseOutcome::of_status(status) {
        UseOutcome::Fault(kind, message) | UseOutcome::Rejected(kind, message) => Err((kind, message)),
        UseOutcome::Well if http.test_path.is_some() && status.is_client_error() => {
            Err((ConnectionErrorKind::Rejected, format!("the server answered {status} at `test_path`")))
        }
        UseOutcome::Well => Ok(format!("the server answered {status}{note}")),
    }
}

/// Returns the kind of problem of a server that cannot be reached.
pub(crate) fn kind_of(why: &NoWay) -> ConnectionErrorKind {
    match why {
        NoWay::Denied => ConnectionErrorKind::EgressDenied,
        NoWay::Unreachable(_) => ConnectionErrorKind::Connect,
    }
}

/// Returns the kind of problem of an exchange that broke off. The client says only in its text that it was TLS.
pub(crate) fn kind_of_broken(why: &str) -> ConnectionErrorKind {
    if why.contains("certificate") { ConnectionErrorKind::Tls } else { ConnectionErrorKind::Connect }
}
