//! Requests over a connection: which one an attempt may use, and what its outcome says about the server.

use std::sync::Arc;

use ensue_engine::access::principal::Principal;
use ensue_engine::catalog::{ConnectionKind, HttpRequest, UsedConnection};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::names::PackName;
use ensue_engine::record::AttemptOf;
use reqwest::StatusCode;

use super::request::Request;
use crate::attempt::{Attempt, Broken, Cut, Ending, Failed, failed};
use crate::connections::{
    Asker, Connection, ConnectionErrorKind, ConnectionUser, Lent, Lists, NoCredentials, NotLent, OperatorsWord, Used,
};
use crate::ports::KeyUser;

/// Returns the connection that an attempt uses, if its action names one.
pub(super) fn of_attempt(action: &HttpRequest, attempt: &Attempt<'_>) -> Result<Option<Arc<Connection>>, Broken> {
    let Some(used) = &action.connection else { return Ok(None) };
    let own = attempt.action.name.pack();
    let catalog = attempt.means.ports.catalogs.at(attempt.dispatch.catalog);
    let lists = |pack: &PackName, name: &str| {
        let pack = catalog.as_ref().and_then(|catalog| catalog.packs().get(pack));
        let is_listed = pack.is_some_and(|pack| pack.connections.iter().any(|listed| listed.as_str() == name));
        if is_listed { Lists::Yes } else { Lists::No }
    };
    let requested_by = match &attempt.dispatch.principal {
        Some(Principal::Pack(pack)) => Some(pack),
        Some(Principal::Identity(_) | Principal::Token(_)) | None => None,
    };
    let (name, word) = match used {
        UsedConnection::Named(name) => (name.as_str().to_owned(), OperatorsWord::NotAlone),
        UsedConnection::Parameter(field) => {
            let value = attempt.params.root().get(field).filter(|value| !value.is_null());
            let Some(value) = value else { return Ok(None) };
            let name = value.as_str().map(|name| name.into_owned());
            let name = name.ok_or_else(|| failed(FailureKind::ParametersInvalid, format!("`{field}` does not name a connection")))?;
            (name, if requested_by.is_some() { OperatorsWord::NotAlone } else { OperatorsWord::Counts })
        }
        UsedConnection::Setting(field) => match attempt.action.config.get(field).filter(|value| !value.is_null()) {
            None => return Ok(None),
            Some(value) => (value.as_str().unwrap_or_default().to_owned(), OperatorsWord::Given),
        },
    };
    // A pack that passes a parameter answers for it. Otherwise the pack of the action does.
    let passes = requested_by.filter(|pack| matches!(used, UsedConnection::Parameter(_)) && **pack != own);
    let packs = passes.into_iter().chain([&own]).map(|pack| (pack, lists(pack, &name))).collect();
    let asker = Asker { packs, word };
    attempt.means.ports.connections.found(&name, ConnectionKind::Http, &asker).map(Some).map_err(|why| broken(&why))
}

/// Waits for a connection, and adds its credentials to a request.
pub(super) async fn lent(attempt: &Attempt<'_>, connection: &Arc<Connection>, request: &mut Request) -> Result<Lent, Broken> {
    let by = AttemptOf { execution: attempt.dispatch.execution, number: attempt.dispatch.number };
    let user = ConnectionUser::Attempt(KeyUser { attempt: by, action: attempt.dispatch.action.clone() });
    attempt
        .within(async {
            let lent = attempt.means.ports.connections.lend(connection, user).await.map_err(|why| broken(&why))?;
            attempt.keys.note(lent.pool.secrets());
            let credentials = match lent.credentials().await {
                Ok(credentials) => credentials,
                Err(NoCredentials::NotLent(why)) => return Err(broken(&why)),
                Err(NoCredentials::NoToken(why)) => {
                    let (kind, message) = (why.kind, why.to_string());
                    lent.ended(&used_of(kind, message.clone()));
                    return Err(failed(kind_of(kind), message));
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
pub(super) async fn ended(lent: Lent, ending: &Ending) {
    let used = match ending {
        Ok(_) => Used::Well,
        Err(Broken::Failed(failed)) => match of_failure(&failed.failure) {
            Some(used) => used,
            None => return,
        },
        Err(Broken::Cut(Cut::TimedOut, _)) => Used::Fault(ConnectionErrorKind::Timeout, "the attempt timed out".to_owned()),
        // Nothing is known about the server.
        Err(Broken::Cut(Cut::Cancelled | Cut::Released | Cut::Left, _) | Broken::Lost(_)) => return,
    };
    if matches!(used, Used::Rejected(ConnectionErrorKind::Auth, _)) {
        lent.forget_token().await;
    }
    lent.ended(&used);
}

fn of_failure(failure: &Failure) -> Option<Used> {
    let said = || failure.message.clone();
    Some(match failure.kind {
        FailureKind::HttpStatus => {
            let status = failure.detail.and_then(|status| u16::try_from(status).ok()).and_then(|status| StatusCode::from_u16(status).ok());
            Used::of_status(status?)
        }
        FailureKind::Network => Used::Fault(crate::connections::kind_of_broken(&failure.message), said()),
        FailureKind::Timeout => Used::Fault(ConnectionErrorKind::Timeout, said()),
        FailureKind::EgressDenied => Used::Rejected(ConnectionErrorKind::EgressDenied, said()),
        // The server answered.
        FailureKind::ResultInvalid | FailureKind::Output | FailureKind::OutputLimit => Used::Well,
        _ => return None,
    })
}

fn used_of(kind: ConnectionErrorKind, message: String) -> Used {
    match kind {
        ConnectionErrorKind::Connect | ConnectionErrorKind::Timeout | ConnectionErrorKind::Server => Used::Fault(kind, message),
        _ => Used::Rejected(kind, message),
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

fn broken(why: &NotLent) -> Broken {
    let message = why.to_string();
    let kind = match why {
        NotLent::Unknown(_) | NotLent::OtherKind { .. } | NotLent::NotAllowed { .. } => FailureKind::EgressDenied,
        NotLent::KeyMissing { .. } | NotLent::KeyUnusable(_) | NotLent::KeyUnfit { .. } => FailureKind::KeyMissing,
        NotLent::KeyUnavailable(_) | NotLent::NoTrust { .. } => FailureKind::Network,
        NotLent::Paused { retry_after, .. } => {
            let failure = Failure::new(FailureKind::Network, message);
            return Broken::Failed(Box::new(Failed { failure, body: None, retry_after: Some(*retry_after) }));
        }
    };
    failed(kind, message)
}
