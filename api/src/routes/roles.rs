//! Roles: named sets of permissions.

use ensue_engine::access::permission::{BuiltInRole, Permission};
use ensue_engine::command::Ask;
use ensue_engine::explain::Explain;
use ensue_engine::names::RoleName;
use thiserror::Error;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::listing;
use crate::operation::{Conditional, Content, Operation, SET, WRITTEN};
use crate::paging::PageQuery;
use crate::permissions::{Permission as _, RolesRead, RolesWrite};
use crate::ports::Ports;
use crate::problem::{FieldError, Missing, Outcome, Problem, quote};
use crate::respond::{self, WriteOutcome};
use crate::route::BASE;
use crate::wire::people::{WirePermissions, WireRole};

/// The maximum number of permissions in a request.
const PERMISSIONS_MAX: usize = 200;

/// Permissions that a role cannot have.
#[derive(Debug, Error, Explain)]
#[explain(slug = "scope-invalid", fault = Invalid, hint = "`ensue roles show admin` lists all permissions")]
enum PermissionsInvalid {
    /// One does not exist.
    #[error("there is no permission `{0}`")]
    Unknown(String),
    /// There are too many.
    #[error("a role has at most {PERMISSIONS_MAX} permissions")]
    TooMany,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<RolesRead>(
        "/roles",
        list,
        Operation::lists::<WireRole>("role_list", "Lists roles, built-in and own", &[PageQuery::PARAMETERS]),
    );
    routes.get::<RolesRead>("/roles/{name}", get, Operation::shows::<WireRole>("role_get", "Returns a role with its permissions"));
    routes.put::<RolesWrite>(
        "/roles/{name}",
        set,
        Operation::new("role_set", "Sets all permissions of a role that is not built in")
            .takes_json::<WirePermissions>(r#"{"permissions": ["executions:read", "executions:rerun"]}"#)
            .gives::<WireRole>(200, "The role has these permissions, and no others.", SET)
            .refuses(&[(403, "beyond_own_rights"), (409, "role_in_use"), (409, "limit_reached"), (422, "scope_invalid")])
            .honors_conditions(Conditional::MakingOrChange),
    );
    routes.delete::<RolesWrite>(
        "/roles/{name}",
        remove,
        Operation::new("role_remove", "Removes a role that nobody has")
            .gives_content(204, "The role was removed.", Content::Nothing, WRITTEN)
            .refuses(&[(409, "role_in_use")])
            .honors_conditions(Conditional::Change),
    );
}

/// Lists roles.
pub(super) async fn list(allowed: AllowedCaller<RolesRead>, call: Call) -> Outcome {
    let directory = call.api().ports.access.directory();
    let built_in = BuiltInRole::ALL.into_iter().filter_map(|role| Some(WireRole::built_in(role, role.name().parse().ok()?)));
    let own = directory.roles().map(|(name, permissions)| WireRole::own(name, permissions));
    let mut roles: Vec<WireRole> = built_in.chain(own).collect();
    roles.sort_by(|one, other| one.name().cmp(other.name()));
    let listed = listing::of_catalog(&call, &allowed, roles.into_iter(), |role| role.name().to_string())?;
    call.answer_page(listed.items, listed.next.as_deref(), &listed.page)
}

/// Shows a role.
pub(super) async fn get(_: AllowedCaller<RolesRead>, call: Call) -> Outcome {
    let name = call.part("name");
    respond::json(&read(&call.api().ports, name)?.ok_or_else(|| Missing::new(RolesRead::THING, name))?)
}

/// Reads what [`get`] shows.
fn read(ports: &Ports, name: &str) -> Result<Option<WireRole>, Problem> {
    let Ok(name) = name.parse::<RoleName>() else { return Ok(None) };
    if let Some(role) = BuiltInRole::from_name(name.as_str()) {
        return Ok(Some(WireRole::built_in(role, name)));
    }
    Ok(ports.access.directory().role(&name).map(|permissions| WireRole::own(&name, permissions)))
}

/// Sets the permissions of a role.
pub(super) async fn set(allowed: AllowedCaller<RolesWrite>, mut call: Call) -> Outcome {
    let name: RoleName = call.parse_part("name", RolesWrite::THING)?;
    let WirePermissions { permissions } = call.json().await?;
    if permissions.len() > PERMISSIONS_MAX {
        return Err(PermissionsInvalid::TooMany.into());
    }
    let permissions = permissions.iter().enumerate().map(|(index, text)| parse_permission(index, text)).collect::<Result<Vec<_>, _>>()?;
    let lock = call.lock::<RolesRead, _>(name.as_str(), read).await?;
    let ask = Ask::SetRole { name: name.clone(), permissions };
    let committed = call.api().submit_locked(lock, call.on_behalf(&allowed)?, ask).await?;
    let now = read(&call.api().ports, name.as_str())?.ok_or_else(|| Missing::new(RolesRead::THING, name.as_str()))?;
    let answer = respond::answer_write(WriteOutcome::Done, committed.position, &now)?;
    let answer = respond::with_location(answer, &format!("{BASE}/roles/{name}"));
    Ok(call.with_new_tag(answer, committed.position, move |ports| read(ports, name.as_str())).await)
}

fn parse_permission(index: usize, text: &str) -> Result<Permission, Problem> {
    Permission::from_name(text).ok_or_else(|| {
        let why = PermissionsInvalid::Unknown(quote(text));
        let message = why.to_string();
        Problem::from(why).with_errors([FieldError { pointer: format!("/permissions/{index}"), message }])
    })
}

/// Removes a role.
pub(super) async fn remove(allowed: AllowedCaller<RolesWrite>, call: Call) -> Outcome {
    let name: RoleName = call.parse_part("name", RolesWrite::THING)?;
    let lock = call.lock::<RolesRead, _>(name.as_str(), read).await?;
    let committed = call.api().submit_locked(lock, allowed.on_behalf(call.context()), Ask::RemoveRole(name)).await?;
    Ok(respond::no_content(committed.position))
}
