//! The caller itself: who it is, what it may do, and whether it may do one thing.

use axum::http::Method;
use ensue_engine::access::limit::Target;
use ensue_engine::access::permission::Permission;
use ensue_engine::access::rights::Rights;
use ensue_engine::access::state::Access;
use ensue_engine::access::state::effective_rights::EffectiveRights;
use ensue_engine::executions::labels::{LABELS_MAX, Labels};
use ensue_engine::explain::Explain;
use ensue_engine::record::CredentialId;
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};
use thiserror::Error;

use super::Routes;
use super::executions::Label;
use crate::auth::{AllowedCaller, KnownCaller, Proof as _};
use crate::call::Call;
use crate::operation::Operation;
use crate::permissions::{GrantsRead, IdentitiesRead, Permission as _};
use crate::problem::{Missing, Outcome, Problem, quote};
use crate::query::{ParameterRefusal, Query, QueryValue, bad};
use crate::respond;
use crate::wire::me::{WireBy, WireCanI, WireMe, limits};
use crate::wire::sessions::WireSession;

/// An identity whose rights are asked for, but which is disabled.
#[derive(Debug, Error, Explain)]
#[error("the identity `{0}` is disabled, so it may do nothing")]
#[explain(slug = "identity-disabled", fault = Conflict, hint = "enable it with `ensue identities enable {0}`")]
struct DisabledIdentity(String);

/// The parameters of the question whether somebody may do something.
#[derive(Query)]
struct CanIQuery {
    /// The permission. Required.
    #[query(required = "is required, for example `executions:cancel`")]
    permission: Permission,
    /// The resource: one of a pack, an action or a webhook.
    pack: Option<String>,
    /// The resource: one of a pack, an action or a webhook.
    action: Vec<String>,
    /// The resource: one of a pack, an action or a webhook.
    hook: Option<String>,
    /// Only those with this label, `<name>=<value>`. If it is given more than once, those with all of the labels.
    #[query(repeated = LABELS_MAX)]
    label: Vec<Label>,
    /// The name of another identity.
    r#as: Option<String>,
}

impl QueryValue for Permission {
    fn schema() -> Value {
        json!({ "type": "string", "enum": Self::ALL.iter().map(|permission| permission.name()).collect::<Vec<_>>() })
    }

    fn parse(name: &'static str, text: &str) -> Result<Self, ParameterRefusal> {
        let why = || format!("has no permission `{}`; `GET /me` lists permissions", quote(text));
        Self::from_name(text).ok_or_else(|| bad(name, why()))
    }
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.for_any_caller(
        Method::GET,
        "/me",
        me,
        Operation::shows::<WireMe>("me_get", "Returns who the caller is, and what it may do").serves_links().has_position(),
    );
    routes.for_any_caller(
        Method::GET,
        "/auth/can-i",
        can_i,
        Operation::shows::<WireCanI>("can_i_get", "Returns whether the caller, or another identity, has a permission")
            .with_query(&[CanIQuery::PARAMETERS])
            .refuses(&[(404, "not_found"), (409, "identity_disabled")]),
    );
}

/// Returns who the caller is, and what it may do.
pub(super) async fn me(known: KnownCaller, call: Call) -> Outcome {
    let ports = &call.api().ports;
    let session = match known.holder().by {
        CredentialId::Session(id) => ports
            .access
            .directory()
            .session(&id)
            .map(|session| WireSession::new((id, session), ports.sessions.last_seen(id), &*ports.access, Some(id))),
        CredentialId::Token(_) | CredentialId::Issuer(_) | CredentialId::Code(_) | CredentialId::Execution(_) => None,
    };
    respond::json(&WireMe::of(known.holder(), session))
}

/// Returns whether the caller has a permission, for all resources or for one.
pub(super) async fn can_i(known: KnownCaller, call: Call) -> Outcome {
    let mut query: CanIQuery = call.parameters()?;
    let labels: Labels = std::mem::take(&mut query.label).into_iter().map(|Label(name, value)| (name, value)).collect();
    let (permission, target) = (query.permission, target(&query, &labels));
    let access = &*call.api().ports.access;
    let Some(name) = query.r#as.as_deref() else {
        return respond::json(&answer(&known.holder().rights, permission, target.as_ref(), None));
    };
    // What another may do is a matter of identities and grants.
    AllowedCaller::<GrantsRead>::demand_whole(access, call.request())?;
    let id = access.identity_named(name).ok_or_else(|| Missing::new(IdentitiesRead::THING, name))?;
    let (directory, now) = (access.directory(), access.now());
    let held = directory.rights_of(id, now).map_err(|_| Problem::from(DisabledIdentity(name.to_owned())))?;
    let by = grant_for(&directory, &held, permission, target.as_ref(), now);
    respond::json(&answer(&held.rights, permission, target.as_ref(), by))
}

fn target<'c>(query: &'c CanIQuery, labels: &'c Labels) -> Option<Target<'c>> {
    let (pack, action, hook) = (query.pack.as_deref(), query.action.first().map(String::as_str), query.hook.as_deref());
    let of_ref = action.or(hook).and_then(|name| name.split_once('.')).map(|(pack, _)| pack);
    let labels = (!labels.is_empty()).then_some(labels);
    let is_given = pack.or(action).or(hook).is_some() || labels.is_some();
    is_given.then_some(Target { pack: pack.or(of_ref), action, hook, labels })
}

fn answer(rights: &Rights, permission: Permission, target: Option<&Target<'_>>, by: Option<WireBy>) -> WireCanI {
    let reach = rights.reach(permission);
    let is_allowed = match target {
        Some(target) => rights.include(permission, target),
        None => reach == Some(ensue_engine::access::rights::Reach::All),
    };
    WireCanI { permission: permission.name(), allowed: is_allowed, reach: reach.map(Into::into), on: limits(rights, permission), by }
}

/// Returns the grant by which an identity has a permission.
fn grant_for(
    access: &Access,
    held: &EffectiveRights,
    permission: Permission,
    target: Option<&Target<'_>>,
    now: Timestamp,
) -> Option<WireBy> {
    access.grants_to(held.identity).filter(|(_, grant)| grant.until.is_none_or(|until| until > now)).find_map(|(id, grant)| {
        let is_covered = match (&grant.on, target) {
            (None, _) => true,
            (Some(limit), Some(target)) => permission.is_limitable() && limit.covers(target),
            (Some(_), None) => false,
        };
        let is_carried = access.scopes_of_role(&grant.role, None).iter().any(|scope| scope.permission == permission);
        (is_covered && is_carried).then(|| WireBy { grant: *id, role: grant.role.clone(), subject: grant.subject.to_string() })
    })
}
