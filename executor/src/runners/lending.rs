//! The connection of an attempt: which one it may use, its keys, and what a failure says about its server.

use std::sync::Arc;

use ensue_engine::access::principal::Principal;
use ensue_engine::catalog::UsedConnection;
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::names::PackName;
use ensue_engine::record::AttemptOf;

use crate::attempt::{Attempt, Broken, Failed, failed};
use crate::connections::{
    Asker, Connection, ConnectionErrorKind, ConnectionUser, Lent, Lists, NotLent, OperatorsWord, Used, kind_of_broken,
};
use crate::ports::KeyUser;

/// Returns the connection that an attempt uses, if its action names one.
pub(super) fn of_attempt(attempt: &Attempt<'_>) -> Result<Option<Arc<Connection>>, Broken> {
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
    attempt.means.ports.connections.found(&name, kind, &asker).map(Some).map_err(|why| broken(&why))
}

/// Waits for a connection, and notes its keys, so that what the server says is masked.
pub(super) async fn lent(attempt: &Attempt<'_>, connection: &Arc<Connection>) -> Result<Lent, Broken> {
    let by = AttemptOf { execution: attempt.dispatch.execution, number: attempt.dispatch.number };
    let user = ConnectionUser::Attempt(KeyUser { attempt: by, action: attempt.dispatch.action.clone() });
    let lent = attempt.means.ports.connections.lend(connection, user).await.map_err(|why| broken(&why))?;
    attempt.keys.note(lent.pool.secrets());
    Ok(lent)
}

/// Returns the failure of an attempt that cannot use its connection.
pub(super) fn broken(why: &NotLent) -> Broken {
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

/// Returns what a failure says about the server of a connection; `None` if nothing. What each protocol answers is left to its runner.
pub(super) fn used(failure: &Failure) -> Option<Used> {
    let said = || failure.message.clone();
    match failure.kind {
        FailureKind::Network => Some(Used::Fault(kind_of_broken(&failure.message), said())),
        FailureKind::Timeout => Some(Used::Fault(ConnectionErrorKind::Timeout, said())),
        FailureKind::EgressDenied => Some(Used::Rejected(ConnectionErrorKind::EgressDenied, said())),
        _ => None,
    }
}
