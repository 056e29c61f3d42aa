//! The caller itself.

use ensue_derive::wire;
use ensue_engine::access::permission::Permission;
use ensue_engine::access::rights::{Reach, Rights};
use ensue_engine::ids::{GrantId, IdentityId};
use ensue_engine::names::RoleName;
use ensue_engine::time::Timestamp;
use serde::Serialize;

use crate::ports::Holder;
use crate::wire::sessions::WireSession;

/// The caller.
#[wire(Serialize)]
pub(crate) struct WireMe {
    /// The id of the identity, or null if the token belongs to none.
    id: Option<IdentityId>,
    name: String,
    /// The roles and groups by which inquiries ask the caller.
    roles: Vec<String>,
    permissions: Vec<WirePermission>,
    by: WireCredential,
    /// The session of the request, or null if it has none.
    session: Option<WireSession>,
}

impl WireMe {
    /// Describes a caller to itself.
    pub(crate) fn of(holder: &Holder, session: Option<WireSession>) -> Self {
        Self {
            id: holder.identity.as_ref().map(|(id, _)| *id),
            name: holder.name().to_owned(),
            roles: holder.roles.clone(),
            permissions: permissions(&holder.rights),
            by: WireCredential { kind: holder.by.kind(), id: holder.by.id(), name: holder.credential.clone(), until: holder.until },
            session,
        }
    }
}

/// The credential of a request. Its `kind` is `token`, `session`, `issuer` or, for a program, `execution`.
#[wire(Serialize)]
pub(crate) struct WireCredential {
    kind: &'static str,
    id: String,
    name: String,
    until: Option<Timestamp>,
}

/// A permission, as far as it reaches.
#[wire(Serialize)]
pub(crate) struct WirePermission {
    pub(crate) permission: &'static str,
    pub(crate) reach: WireReach,
    /// The limits, if it is limited.
    pub(crate) on: Vec<String>,
}

/// How far a permission reaches.
#[wire(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireReach {
    /// To the execution that the caller is.
    Itself,
    /// To what the caller is asked.
    WhatIsAsked,
    /// To what the limits cover.
    Limited,
    /// To all resources of the kind.
    All,
}

impl From<Reach> for WireReach {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::Itself => Self::Itself,
            Reach::WhatIsAsked => Self::WhatIsAsked,
            Reach::Limited => Self::Limited,
            Reach::All => Self::All,
        }
    }
}

/// Whether a permission is there.
#[wire(Serialize)]
pub(crate) struct WireCanI {
    pub(crate) permission: &'static str,
    /// Whether the request would be allowed: for the named resource, or for all if none is named.
    pub(crate) allowed: bool,
    /// How far the permission reaches, or null if it is missing.
    pub(crate) reach: Option<WireReach>,
    /// The limits, if it is limited.
    pub(crate) on: Vec<String>,
    /// The grant that allows it, if an identity is asked about.
    pub(crate) by: Option<WireBy>,
}

/// A grant that carries a permission.
#[wire(Serialize)]
pub(crate) struct WireBy {
    pub(crate) grant: GrantId,
    pub(crate) role: RoleName,
    pub(crate) subject: String,
}

/// Returns the permissions of a caller, each with its limits.
fn permissions(rights: &Rights) -> Vec<WirePermission> {
    let of = |permission: &Permission| {
        let reach = rights.reach(*permission)?;
        Some(WirePermission { permission: permission.name(), reach: reach.into(), on: limits(rights, *permission) })
    };
    Permission::ALL.iter().filter_map(of).collect()
}

/// Returns the limits of a permission.
pub(crate) fn limits(rights: &Rights, permission: Permission) -> Vec<String> {
    rights.limits(permission).iter().flatten().map(ToString::to_string).collect()
}
