//! The connection of an attempt: which one it may use, its keys, and what a failure says about its server.

use std::sync::Arc;

use ensue_engine::access::principal::Principal;
use ensue_engine::catalog::UsedConnection;
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::names::PackName;
use ensue_engine::record::AttemptOf;

use crate::attempt::{AttemptContext, AttemptError, AttemptFailure, attempt_failure};
use crate::connections::{
    Asker, Connection, ConnectionErrorKind, ConnectionUser, LentConnection, Lists, NotLent, OperatorsWord, UseOutcome, kind_of_broken,
};
use crate::ports::KeyUser;

/// Returns the connection that an attempt uses, if its action names one.
pub(super) fn of_attempt(attempt: &AttemptContext<'_>) -> Result<Option<Arc<Connection>>, AttemptError> {
    let Some((used, kind)) = attempt.action.run.connection() else { return Ok(None) };
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
            let name =
                name.ok_or_else(|| attempt_failure(FailureKind::ParametersInvalid, format!("`{field}` does not name a connection")))?;
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
    attempt.means.ports.connections.find(&name, kind, &asker).map(Some).map_err(|why| lending_failure(&why))
}

/// Waits for a connection, and notes its keys, so that what the server says is masked.
pub(super) async fn lend(attempt: &AttemptContext<'_>, connection: &Arc<Connection>) -> Result<LentConnection, AttemptError> {
    let by = AttemptOf { execution: attempt.dispatch.execution, number: attempt.dispatch.number };
    let user = ConnectionUser::Attempt(KeyUser { attempt: by, action: attempt.dispatch.action.clone() });
    let lent = attempt.means.ports.connections.lend(connection, user).await.map_err(|why| lending_failure(&why))?;
    attempt.keys.note(lent.pool.secrets());
    Ok(lent)
}

/// Returns the failure of an attempt that cannot use its connection.
pub(super) fn lending_failure(why: &NotLent) -> AttemptError {
    let message = why.to_string();
    let kind = match why {
        NotLent::Unknown(_) | NotLent::OtherKind { .. } | NotLent::NotAllowed { .. } => FailureKind::EgressDenied,
        NotLent::KeyMissing { .. } | NotLent::KeyUnusable(_) | NotLent::KeyUnfit { .. } => FailureKind::KeyMissing,
        NotLent::KeyUnavailable(_) | NotLent::NoTrust { .. } => FailureKind::Network,
        NotLent::Paused { retry_after, .. } => {
            let failure = Failure::new(FailureKind::Network, message);
            return AttemptError::Failed(Box::new(AttemptFailure { failure, body: None, retry_after: Some(*retry_after) }));
        }
    };
    attempt_failure(kind, message)
}

/// Returns what a failure says about the server of a connection; `None` if nothing. What each protocol answers is left to its runner.
pub(super) fn outcome_of_failure(failure: &Failure) -> Option<UseOutcome> {
    let said = || failure.message.clone();
    match failure.kind {
        FailureKind::Network => Some(UseOutcome::Fault(kind_of_broken(&failure.message), said())),
        FailureKind::Timeout => Some(UseOutcome::Fault(ConnectionErrorKind::Timeout, said())),
        FailureKind::EgressDenied => Some(UseOutcome::Rejected(ConnectionErrorKind::EgressDenied, said())),
        _ => None,
    }
}
