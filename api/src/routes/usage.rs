//! What an identity uses, and how much it may use.

use axum::http::Method;

use super::Routes;
use crate::auth::{AllowedCaller, KnownCaller, Proof as _};
use crate::call::Call;
use crate::operation::Operation;
use crate::permissions::{IdentitiesRead, Permission as _, UsageRead};
use crate::problem::{Missing, Outcome};
use crate::query::Query;
use crate::respond;
use crate::wire::usage::WireUsage;

/// The parameter that names whose usage is shown.
#[derive(Query)]
struct UsageQuery {
    /// The name of another identity, which requires `usage:read`.
    of: Option<String>,
}

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.for_any_caller(
        Method::GET,
        "/usage",
        get,
        Operation::shows::<WireUsage>("usage_get", "Returns how much the caller, or another identity, has used of its quotas")
            .with_query(&[UsageQuery::PARAMETERS])
            .refuses(&[(404, "not_found")]),
    );
}

/// Returns what the caller has used, or another identity.
pub(super) async fn get(known: KnownCaller, call: Call) -> Outcome {
    let ports = &call.api().ports;
    let (id, name) = match call.parameters::<UsageQuery>()?.of {
        None => match &known.holder().identity {
            Some((id, name)) => (*id, name.clone()),
            // A token without an identity is in no group, and nothing is counted for it.
            None => return respond::json(&WireUsage::of_token(known.holder().name())),
        },
        Some(name) => {
            AllowedCaller::<UsageRead>::demand_whole(&*ports.access, call.request())?;
            let id = ports.access.identity_named(&name).ok_or_else(|| Missing::new(IdentitiesRead::THING, &name))?;
            (id, name)
        }
    };
    let directory = ports.access.directory();
    let tier = directory.identity(&id).and_then(|identity| ports.usage.tiers().of(|group| identity.is_in(group)));
    respond::json(&WireUsage::new((id, name), tier, &ports.usage.usage_of(id), ports.access.now()))
}
