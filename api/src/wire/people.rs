//! Identities, roles and grants.

use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_engine::access::facts::IdentityKind;
use ensue_engine::access::limit::{LabelValues, Limit, Pattern};
use ensue_engine::access::permission::{BuiltInRole, Permission};
use ensue_engine::access::state::{Absence, Grant, Identity, IssuerLink, Standing};
use ensue_engine::access::subject::Subject;
use ensue_engine::ids::{GrantId, IdentityId};
use ensue_engine::names::{GroupName, IssuerName, RoleName};
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::shapes;

/// What an identity is.
#[wire(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireIdentityKind {
    /// A human.
    Person,
    /// A program.
    Service,
}

impl From<WireIdentityKind> for IdentityKind {
    fn from(kind: WireIdentityKind) -> Self {
        match kind {
            WireIdentityKind::Person => Self::Person,
            WireIdentityKind::Service => Self::Service,
        }
    }
}

/// Whether the credentials of an identity are accepted.
#[wire(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireStanding {
    /// They are.
    Enabled,
    /// They are not.
    Disabled,
}

/// An identity.
#[wire(Serialize)]
pub(crate) struct WireIdentity {
    id: IdentityId,
    name: String,
    kind: WireIdentityKind,
    status: WireStanding,
    /// The groups that somebody set. Those of issuers are under `issuers`.
    groups: Vec<GroupName>,
    issuers: Vec<WireIssuerLink>,
    /// When it is absent, or null if it is not.
    absence: Option<WireAbsence>,
    added_at: Timestamp,
}

/// When an identity is absent, and who answers inquiries in its place.
#[wire(Serialize)]
pub(crate) struct WireAbsence {
    /// When it begins, or null if it has begun.
    from: Option<Timestamp>,
    /// When it ends, or null if that is open.
    until: Option<Timestamp>,
    /// The id of the deputy, or null if there is none.
    deputy: Option<IdentityId>,
    /// The name of the deputy.
    deputy_name: Option<String>,
}

impl WireAbsence {
    /// Shows an absence with the name of the deputy.
    pub(crate) fn new(absence: &Absence, name_of: impl Fn(IdentityId) -> Option<String>) -> Self {
        Self { from: absence.from, until: absence.until, deputy: absence.deputy, deputy_name: absence.deputy.and_then(name_of) }
    }
}

/// An absence that is asked for. Without any field, the identity is present.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAskedAbsence {
    /// When it begins; at once if it is left out.
    #[serde(default)]
    pub(crate) from: Option<Timestamp>,
    /// When it ends.
    #[serde(default)]
    pub(crate) until: Option<Timestamp>,
    /// The name of the deputy, who answers inquiries on behalf of the identity.
    #[serde(default)]
    pub(crate) deputy: Option<String>,
}

/// An issuer that is a way in for an identity.
#[wire(Serialize)]
pub(crate) struct WireIssuerLink {
    issuer: IssuerName,
    /// The groups that it named.
    groups: Vec<GroupName>,
}

/// A request to link an issuer to an identity.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAskedLink {
    pub(crate) issuer: IssuerName,
    /// `sub` of a person at the issuer; the rendered name of a service.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) subject: String,
}

impl WireIdentity {
    /// Shows an identity with its name.
    pub(crate) fn new(id: IdentityId, name: String, identity: &Identity) -> Self {
        let kind = match identity.kind {
            IdentityKind::Person => WireIdentityKind::Person,
            IdentityKind::Service => WireIdentityKind::Service,
        };
        let status = match identity.standing {
            Standing::Enabled => WireStanding::Enabled,
            Standing::Disabled => WireStanding::Disabled,
        };
        let link = |link: &IssuerLink| WireIssuerLink { issuer: link.issuer.clone(), groups: link.groups.clone() };
        let issuers = identity.issuers.iter().map(link).collect();
        Self { id, name, kind, status, groups: identity.local_groups.clone(), issuers, absence: None, added_at: time_of(id.0) }
    }

    /// Adds when it is absent.
    pub(crate) fn with_absence(self, absence: Option<WireAbsence>) -> Self {
        Self { absence, ..self }
    }
}

/// Returns the time at which an id was created.
fn time_of(id: ensue_engine::ids::Id) -> Timestamp {
    Timestamp::default().plus_millis(id.unix_millis())
}

/// A request for a new identity.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAskedIdentity {
    #[schemars(with = "shapes::TokenName")]
    pub(crate) name: String,
    /// `person` if it is left out.
    #[serde(default = "person")]
    pub(crate) kind: WireIdentityKind,
    #[serde(default)]
    pub(crate) groups: Vec<GroupName>,
}

fn person() -> WireIdentityKind {
    WireIdentityKind::Person
}

/// The groups of an identity.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireGroups {
    pub(crate) groups: Vec<GroupName>,
}

/// A role.
#[wire(Serialize)]
pub(crate) struct WireRole {
    name: RoleName,
    built_in: bool,
    permissions: Vec<String>,
}

impl WireRole {
    /// Shows a built-in role.
    pub(crate) fn built_in(role: BuiltInRole, name: RoleName) -> Self {
        let permissions = Permission::ALL.iter().filter(|permission| role.may(**permission)).map(|permission| permission.name().to_owned());
        let permissions = match role {
            BuiltInRole::Approver => [Permission::InquiriesRead, Permission::InquiriesAnswer, Permission::InquiriesDelegate]
                .map(|permission| permission.name().to_owned())
                .to_vec(),
            _ => permissions.collect(),
        };
        Self { name, built_in: true, permissions }
    }

    /// Shows a role that is not built in.
    pub(crate) fn own(name: &RoleName, permissions: &[String]) -> Self {
        Self { name: name.clone(), built_in: false, permissions: permissions.to_vec() }
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> &RoleName {
        &self.name
    }
}

/// The permissions of a role.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WirePermissions {
    #[schemars(with = "Vec<shapes::PermissionName>")]
    pub(crate) permissions: Vec<String>,
}

/// The limit of a grant: all kinds with patterns must match, and one pattern of each is enough.
#[wire(Serialize)]
pub(crate) struct WireLimit {
    #[schemars(with = "Vec<String>")]
    packs: Vec<Pattern>,
    #[schemars(with = "Vec<String>")]
    actions: Vec<Pattern>,
    #[schemars(with = "Vec<String>")]
    hooks: Vec<Pattern>,
    /// The values of labels, by their names, each of which an execution must have.
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    labels: LabelValues,
}

/// A limit in a request for a grant.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAskedLimit {
    #[serde(default)]
    #[schemars(with = "Vec<shapes::PatternText>")]
    packs: Vec<Pattern>,
    #[serde(default)]
    #[schemars(with = "Vec<shapes::PatternText>")]
    actions: Vec<Pattern>,
    #[serde(default)]
    #[schemars(with = "Vec<shapes::PatternText>")]
    hooks: Vec<Pattern>,
    /// The values of labels, by their names, each of which an execution must have.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    labels: LabelValues,
}

impl WireAskedLimit {
    /// Returns the limit; fails if it is empty or too long.
    pub(crate) fn into_limit(self) -> Result<Limit, ensue_engine::access::limit::LimitError> {
        Limit::new(self.packs, self.actions, self.hooks, self.labels)
    }
}

impl From<&Limit> for WireLimit {
    fn from(limit: &Limit) -> Self {
        let [packs, actions, hooks] = limit.patterns();
        Self { packs: packs.to_vec(), actions: actions.to_vec(), hooks: hooks.to_vec(), labels: limit.labels().clone() }
    }
}

/// A grant.
#[wire(Serialize)]
pub(crate) struct WireGrant {
    id: GrantId,
    /// `identity:<name>`, `group:<name>` or `everyone`.
    subject: String,
    role: RoleName,
    on: Option<WireLimit>,
    until: Option<Timestamp>,
    added_at: Timestamp,
}

impl WireGrant {
    /// Shows a grant; `name_of` returns the name of an identity.
    pub(crate) fn new(id: GrantId, grant: &Grant, name_of: impl Fn(IdentityId) -> Option<String>) -> Self {
        Self {
            id,
            subject: format_subject(&grant.subject, name_of),
            role: grant.role.clone(),
            on: grant.on.as_ref().map(WireLimit::from),
            until: grant.until,
            added_at: time_of(id.0),
        }
    }

    /// Returns the id.
    pub(crate) fn id(&self) -> GrantId {
        self.id
    }
}

/// Returns a subject as callers write it.
pub(crate) fn format_subject(subject: &Subject, name_of: impl Fn(IdentityId) -> Option<String>) -> String {
    match subject {
        Subject::Identity(id) => format!("identity:{}", name_of(*id).unwrap_or_else(|| id.to_string())),
        Subject::Group(group) => format!("group:{group}"),
        Subject::Everyone => "everyone".to_owned(),
    }
}

/// A request for a grant.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAskedGrant {
    #[schemars(with = "shapes::GrantSubject")]
    pub(crate) subject: String,
    pub(crate) role: RoleName,
    #[serde(default)]
    pub(crate) on: Option<WireAskedLimit>,
    #[serde(default)]
    pub(crate) until: Option<Timestamp>,
}
